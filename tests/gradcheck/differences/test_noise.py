"""The noise of sampled values, and the grids that values lie on: tables and closed forms."""

import numpy as np
import pytest

from gradcheck.differences.noise import (
    OFFSETS,
    POINTS,
    WHOLE_OFFSETS,
    _polynomials,
    noise_from_samples,
    output_quantum,
    ulp,
)

DRAWS = np.random.default_rng(0).normal(size=(200, POINTS))


@pytest.mark.parametrize(
    ("values", "spacing"),
    [
        ([1.0, -3.0], np.spacing(3.0)),
        ([np.nan, 2.0, np.inf], np.spacing(2.0)),
        ([0.0], 5e-324),
        ([np.nan], 5e-324),
        ([], 5e-324),
    ],
)
def test_the_spacing_is_that_of_the_largest_finite_magnitude(values, spacing):
    assert ulp(np.array(values)) == spacing


def test_it_is_of_each_column():
    np.testing.assert_array_equal(ulp(np.array([[1.0, 8.0], [3.0, 1.0]])), np.spacing([3.0, 8.0]))


def test_places_are_spread_evenly_enough_and_never_in_step():
    gaps = np.diff(OFFSETS)
    assert OFFSETS[0] == 0 and np.min(gaps) > 0 and np.max(gaps) < 2.5 * np.min(gaps)
    assert len(np.unique(np.round(gaps, 2))) == len(gaps) and np.all(np.diff(WHOLE_OFFSETS) >= 1)


@pytest.mark.parametrize("offsets", [OFFSETS, WHOLE_OFFSETS], ids=["floats", "whole"])
@pytest.mark.parametrize("degree", range(5))
def test_noise_beside_a_polynomial_is_its_deviation(offsets, degree):
    """The median over many draws is within a tenth, whatever the polynomial below the fifth degree."""
    rough = np.random.default_rng(degree).normal(size=degree + 1) @ (offsets / 50) ** np.arange(degree + 1)[:, None]
    found, settled = zip(*(noise_from_samples(1e3 * rough + 1e-3 * draw, offsets) for draw in DRAWS), strict=True)
    assert 0.75e-3 <= np.median(found) <= 1.15e-3
    assert np.quantile(found, 0.05) >= 0.2e-3 and np.quantile(found, 0.99) <= 2e-3
    assert np.mean(settled) >= 0.9


def levels(values):
    """Residuals of least squares by polynomials of degree 1 to 6, over their degrees of freedom."""
    fits = [np.polynomial.Polynomial.fit(OFFSETS, values, degree)(OFFSETS) for degree in range(1, 7)]
    return np.array([np.sqrt(np.sum((values - fit) ** 2) / (6 - i)) for i, fit in enumerate(fits)])


def residuals(*sizes):
    """Values whose residuals after polynomials of degree 1 to 6 have these sizes."""
    basis = np.linalg.qr(np.vander(OFFSETS / OFFSETS[-1] * 2 - 1, increasing=True))[0]
    squares = np.array(sizes) ** 2 * np.arange(6, 0, -1)
    parts = np.sqrt(squares - np.append(squares[1:], 0.0))
    return basis[:, 2:] @ parts


@pytest.mark.parametrize(
    ("sizes", "noise", "settled"),
    [
        ((1, 1, 1, 1, 1, 1), 1, True),
        ((1e4, 900, 90, 1, 1, 1), 1, True),
        ((1e4, 3.9, 2, 1, 1, 1), 3.9, True),  # three in a row within a factor of four
        ((1e4, 4.1, 2, 1, 1, 1), 2, True),
        ((1e4, 4, 2, 1.5, 0.5, 0.4), 4, True),
        ((1e4, 1e3, 100, 3.9, 1, 0.01), 3.9, True),  # the last is one number: noise may leave it small
        ((1e4, 1e3, 100, 4.1, 1, 0.01), 1, False),
        ((1e5, 1e4, 1e3, 100, 10, 1), 10, False),
    ],
)
def test_noise_is_the_level_at_which_three_residuals_stand_still(sizes, noise, settled):
    values = residuals(*sizes)
    np.testing.assert_allclose(levels(values), sizes, rtol=1e-6, atol=1e-8)
    found, is_settled = noise_from_samples(values + 3.0)
    assert found == pytest.approx(noise, rel=1e-6) and is_settled is settled


def test_a_constant_has_none_however_large():
    assert noise_from_samples(np.full(POINTS, 1e9)) == (0.0, True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_no_noise_that_is_known(bad):
    values = np.ones(POINTS)
    values[5] = bad
    assert noise_from_samples(values) == (np.inf, False)


SMOOTH = np.sin(1 + OFFSETS / 100)


@pytest.mark.parametrize(
    ("values", "quantum"),
    [
        (SMOOTH, 0.0),
        (SMOOTH.astype(np.float32).astype(float), 2.0**-24),
        (SMOOTH + 2.0**20 - 2.0**20, 2.0**-32),
        (-(SMOOTH + 2.0**20 - 2.0**20), 2.0**-32),
        *((np.round(SMOOTH * 2000, places) / 1.0, 10.0**-places) for places in (0, 1, 4, 6)),
        (np.round(SMOOTH, 12), 1e-12),
        (np.round(SMOOTH, 13), 0.0),
        (np.round(SMOOTH * 1e-8, 12), 1e-12),
        (np.round(SMOOTH * 1e-9, 14), 1e-14),
        (np.round(SMOOTH * 1e-11, 16), 0.0),  # functions round to the fifteen places of float64 at most
        (np.append(np.round(SMOOTH, 5), [0.0, np.nan, np.inf]), 1e-5),
        (np.round(SMOOTH, 5)[:-1], 0.0),  # too few
        (np.append(np.round(SMOOTH * 100, 9), 5e4 + 0.123456789), 0.0),  # one of them is too large for that many places
        (np.round(np.arange(3, 11) / 10, 1), 0.1),
        (np.array([1.5, 2.5, 3.5] * 3), 0.0),  # three different ones lie on any grid
        (np.array([1.5, 2.5, 3.5, 4.5] * 2), 0.5),
    ],
)
def test_the_grid_that_values_lie_on(values, quantum):
    assert output_quantum(values) == pytest.approx(quantum, rel=1e-12, abs=0)


@pytest.mark.parametrize(("bits", "on_a_grid"), [(11, False), (12, True), (13, True)])
def test_a_binary_grid_has_twelve_bits_of_zeros(bits, on_a_grid):
    """Odd multiples of 2**bits, as 53-bit integers."""
    integers = 2**52 + 2**bits * (2 * np.array([1, 5, 7, 1000, 77, 12345, 99, 4321]) + 1)
    assert output_quantum(np.ldexp(integers.astype(float), -53)) == (2.0 ** (bits - 53) if on_a_grid else 0.0)


@pytest.mark.parametrize(("scale", "quantum"), [(1e3, 1e-9), (1e4, 0.0)])
def test_decimals_are_looked_for_while_an_integer_of_forty_bits_holds_them(scale, quantum):
    assert output_quantum(np.round(SMOOTH * scale, 9)) == quantum


def test_sums_that_overflow_leave_no_noise_that_is_known():
    """That of all values does; those of higher degree, in which signs alternate, stay finite."""
    assert noise_from_samples(np.append(0.0, np.full(POINTS - 1, 1.7e308))) == (np.inf, False)


def test_what_is_kept_from_call_to_call_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        _polynomials(tuple(OFFSETS.tolist()))[0, 0] = 1.0


def test_an_integer_of_exactly_forty_bits_is_held():
    assert output_quantum(np.append(np.array([1, 3, 7, 9, 11, 13, 17]) / 10, 2.0**40 / 10)) == 0.1


@pytest.mark.parametrize(("roundings", "quantum"), [(1, 1.0), (4, 1.0), (6, 0.0)])
def test_decimals_may_be_off_by_four_roundings(roundings, quantum):
    integers = np.array([3.0, 5, 7, 9, 11, 13, 17, 1001])
    assert output_quantum(integers + roundings * np.spacing(integers)) == quantum


def test_values_that_differ_by_rounding_alone_lie_on_no_grid():
    assert output_quantum(1 + np.spacing(1.0) * np.array([-2, -1, 0, 1, 2, 1, 0, -1])) == 0.0
