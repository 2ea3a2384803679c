"""Noise and steps before the first element: the parts, against closed forms."""

import numpy as np
import pytest

from gradcheck.differences.ladder import FIRST_STEP, RATIO
from gradcheck.differences.noise import OFFSETS
from gradcheck.differences.steps import (
    DEFAULT_STEP,
    SPACINGS,
    _balanced,
    _continued,
    _exact,
    _middle,
    _settled,
    _signed,
    choose_step,
    lost_in_rounding,
    measure_noise,
)
from gradcheck.functions.blocks import BLOCK
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe


def probe_of(f, x):
    x = np.asarray(x)
    value = np.atleast_1d(np.asarray(f(x.copy()), float))
    return Probe(
        lambda tree: np.atleast_1d(np.asarray(f(tree), float)),
        point_of(x, "x"),
        Output.of(value, "f"),
        np.eye(len(value)),
        Budget(),
    )


def chosen(f, n=6, noise=1e-16, rtol=1e-6, at=0.7):
    probe = probe_of(f, np.full(n, at))
    base, noises = np.atleast_1d(f(np.full(n, at))), np.full(len(probe.cotangents), noise)
    step = choose_step(probe, 0, np.ones(n), base, noises, rtol, np.random.default_rng(0))
    return step, probe.budget.used


@pytest.mark.parametrize("frequency", [1.0, 30.0, 1000.0])
def test_the_truncation_error_of_the_step_is_about_an_eighth_of_what_matters(frequency):
    """That of a central difference of a sine is ``(frequency * step)**2 / 6`` of its slope, where that is not near zero."""
    step, _ = chosen(lambda x: np.sum(np.sin(frequency * (x - 0.7) + 0.3)) / frequency)
    assert 1e-9 < (frequency * step) ** 2 / 6 < 1e-6 / 8 * 1.5


def test_a_linear_function_takes_the_longest_step_that_suits_kinks_or_noise():
    assert chosen(lambda x: np.sum(x)) == (DEFAULT_STEP, 4)
    step, calls = chosen(lambda x: np.sum(x), noise=1e-9)
    assert DEFAULT_STEP < step <= FIRST_STEP and calls == 4


def test_where_nothing_moves_there_is_no_step_and_where_noise_hides_all_it_is_the_longest():
    assert chosen(lambda x: 1.0) == (None, 4)
    assert chosen(lambda x: np.sum(x), noise=10.0)[0] is None


def test_each_factor_of_eight_of_an_oscillation_costs_two_calls():
    calls = [chosen(lambda x, f=f: np.sum(np.sin(f * (x - 0.7) + 0.3)) / f)[1] for f in (1e3, 8e3, 64e3)]
    assert calls[1] - calls[0] in (0, 2, 4) and calls[2] - calls[1] in (0, 2, 4) and calls[2] > calls[0]


@pytest.mark.parametrize(
    ("change", "jitter", "share", "expected"),
    [
        (
            1e-6,
            1e-12,
            1e-6,
            1e-4 * RATIO,
        ),  # truncation is the share at the longer step: that one, as long as it is usual
        (4e-6, 1e-12, 1e-6, DEFAULT_STEP),  # half as long would do, the usual one is shorter
        (1e-2, 1e-16, 1e-6, 1e-4 * RATIO * 1e-2),  # the square root of the ratio of both
    ],
)
def test_a_step_balances_truncation_and_noise(change, jitter, share, expected):
    found = _balanced(1e-4, np.array([change]), np.array([jitter]), np.array([share]))
    assert found == pytest.approx(min(expected, DEFAULT_STEP))


def test_where_no_step_makes_both_small_they_are_least_together():
    """``jitter * s / h + change * (h / (s r))**2`` is least at ``cbrt(jitter s (s r)**2 / (2 change))``; a share of that is taken."""
    step, change, jitter = 1e-4, 1e-2, 1e-5
    found = _balanced(step, np.array([change]), np.array([jitter]), np.array([1e-9]))
    steps = np.geomspace(1e-7, 1e-2, 200_001)
    best = steps[np.argmin(jitter * step / steps + change * (steps / (step * RATIO)) ** 2)]
    assert found == pytest.approx(0.6 * best, rel=1e-3)


def test_no_step_is_shorter_than_numbers_resolve():
    """A wave of a hundred spacings, a tenth of a spacing long: none is resolved."""
    step, _ = chosen(lambda x: np.sum(np.sin(x / (0.1 * np.spacing(0.7)))), n=1)
    assert step is None or step >= SPACINGS * np.spacing(0.7)
    step, _ = chosen(lambda x: np.sum(np.sin((x - 0.7) / (3000 * np.spacing(0.7)))), n=1)
    assert SPACINGS * np.spacing(0.7) <= step <= 3000 * np.spacing(0.7)


@pytest.mark.parametrize("width", [1e-3, 1e-6, 1e-9, 1e-12])
def test_a_pulse_that_both_points_of_a_difference_lie_beyond_is_found(width):
    """Far away on either side the function is the same, and no slope."""
    step, _ = chosen(lambda x: 1 - np.exp(-np.sum(((x - 0.7) / width - 0.4) ** 2)), n=2)
    assert width / 10_000 <= step <= width / 2


def test_the_middle():
    assert _middle(np.array([3.0])) == 3.0 and _middle(np.array([3.0, 1.0, 2.0])) == 2.0
    assert _middle(np.array([4.0, 1.0])) == 2.5


def test_signs_and_sizes_are_of_both_kinds_and_go_on_beyond_a_block():
    drawn = _signed(BLOCK + 1000, np.random.default_rng(0))
    assert len(drawn) == BLOCK + 1000
    assert np.min(np.abs(drawn)) >= 0.5 and np.max(np.abs(drawn)) <= 1.32
    assert abs(np.mean(drawn > 0) - 0.5) < 0.02 and abs(np.mean(np.abs(drawn)) - 0.91) < 0.01


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_multiples_of_a_move_are_held_exactly_by_the_dtype(dtype):
    x = np.array([1.0, -3.3, 0.02, 1e4, 0.0], dtype=dtype)
    probe = probe_of(lambda tree: float(np.sum(tree)), x)
    signs = np.array([1.0, -0.7, 1.2, -0.5, 0.9])
    moves = _exact(probe, 0, 1.8834172961e-7, signs, np.ones(5), 5512.0)
    assert np.all(np.sign(moves) == np.sign(signs)) and np.all(moves != 0)
    for times in (1, 3, 7, 5507):
        there = x.astype(np.float64) + times * moves
        np.testing.assert_array_equal(there.astype(dtype).astype(np.float64), there)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_units_are_those_beyond_the_next_power_of_two(dtype):
    """Single units of what lies just below it would be rounded there."""
    x = np.nextafter(np.array([1.0, 2.0, 0.25], dtype=dtype), dtype(0))
    moves = _exact(probe_of(lambda tree: float(np.sum(tree)), x), 0, 1e-9, np.ones(3), np.ones(3), 7.0)
    np.testing.assert_array_equal(moves, np.spacing(np.array([1.0, 2.0, 0.25], dtype=dtype)).astype(np.float64))


@pytest.mark.parametrize("seed", range(4))
def test_the_noise_of_a_coarse_value_is_its_rounding_however_curved_the_function_is_farther_away(seed):
    """Near by it stands still, and where it has moved by hundreds of units no parabola fits it any more."""
    rng = np.random.default_rng(seed)
    x, w = (100 + rng.normal(size=4)).astype(np.float32), rng.normal(size=4)
    f = lambda x: np.float32(1e4 + 0.1 * (w @ np.tanh(x.astype(np.float64) - 100)))  # noqa: E731
    found = measure_noise(probe_of(f, x), np.array([float(f(x))]), {0: np.full(4, 100.0)}, rng)
    assert 0.2 < found[0] / np.spacing(np.float32(1e4)) < 0.6


def test_noise_that_is_not_settled_is_infinite_unless_it_is_enough():
    rng = np.random.default_rng(0)
    assert 1e-7 < _settled(1.0 + 1e-6 * rng.normal(size=8), OFFSETS, 0.0) < 1e-5
    assert _settled(np.ones(8), OFFSETS, 0.0) == 0.0
    assert np.isinf(_settled(np.sin(OFFSETS / 10), OFFSETS, 1e-9))
    assert np.isfinite(_settled(np.sin(OFFSETS / 10), OFFSETS, 10.0))


@pytest.mark.parametrize("place", [3e5, 1e6])
@pytest.mark.parametrize("seed", range(4))
def test_a_wave_of_few_units_in_the_last_place_is_no_noise(place, seed):
    """At 1e6 single precision has sixteen units in a radian: points fifty units apart tell nothing of its slope."""
    rng = np.random.default_rng(seed)
    weights, x = rng.uniform(0.5, 2, 4), (place + rng.normal(size=4)).astype(np.float32)
    f = lambda x: np.float32(weights @ np.sin(x.astype(np.float64) - place))  # noqa: E731
    found = measure_noise(probe_of(f, x), np.array([float(f(x))]), {0: np.full(4, place)}, rng)
    assert found[0] < 1e-4


@pytest.mark.parametrize("level", [1e-12, 1e-8, 1e-4])
@pytest.mark.parametrize("seed", range(3))
def test_noise_of_a_known_level_is_measured(level, seed):
    rng = np.random.default_rng(seed)
    f = lambda x: float(np.sum(x**2) + level * rng.normal())  # noqa: E731
    probe = probe_of(f, np.linspace(0.5, 1.5, 5))
    found = measure_noise(probe, np.array([5.6]), {0: np.ones(5)}, np.random.default_rng(seed))
    assert level / 4 < found[0] < 4 * level


def test_the_noise_of_a_smooth_function_is_rounding_at_eight_calls():
    probe = probe_of(lambda x: float(np.sum(np.sin(x))), np.linspace(0.5, 1.5, 5))
    found = measure_noise(probe, np.array([4.2]), {0: np.ones(5)}, np.random.default_rng(0))
    assert 2.0**-52 / 2 <= found[0] < 1e-14 and probe.budget.used == 8


def measured(f, x, seed=0):
    probe = probe_of(f, x)
    base = np.atleast_1d(np.asarray(f(np.array(x)), float))
    return measure_noise(probe, base, {0: np.ones(len(x))}, np.random.default_rng(seed)), probe.budget.used


X = np.linspace(0.5, 1.5, 5)


def grainy(x):
    """Noise that is the same at the same place, and another at the next number."""
    return float(np.sum(x) + 1e-6 * np.random.default_rng(int.from_bytes(np.float64(x[0]).tobytes())).normal())


def quantised(x):
    return float(np.round(np.sum(x**2), 6))


def test_several_functions_are_each_as_noisy_as_alone():
    functions = [lambda x: float(np.sum(np.sin(x))), grainy, quantised, lambda x: 3.0]
    together, _ = measured(lambda x: np.array([f(x) for f in functions]), X)
    alone = [measured(f, X)[0][0] for f in functions]
    np.testing.assert_allclose(together, alone, rtol=0.5)
    assert alone[0] < 1e-14 and 2.5e-7 < alone[1] < 4e-6 and alone[3] == 2.0**-53 * 3


@pytest.mark.parametrize("digits", [3, 6, 9])
def test_the_noise_of_rounded_values_is_half_their_quantum_at_least(digits):
    found, _ = measured(lambda x: float(np.round(np.sum(np.sin(x)), digits)), X)
    assert 0.25 * 10.0**-digits <= found[0] <= 10.0**-digits


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("many", [1, 2])
def test_a_kink_on_one_side_is_no_noise(side, many):
    """At the distance at which noise is sampled, for a step that is the same for all."""
    direction = np.random.default_rng(0).choice([-1.0, 1.0], 5)

    def f(x):
        away = float(direction @ (x - X)) * side
        return np.array([np.sum(x) + max(away - k * 1e-3, 0.0) for k in range(1, many + 1)])

    for seed in range(4):
        assert np.all(measured(f, X, seed)[0] < 1e-13)


def test_what_stands_still_may_lose_what_rounding_of_numbers_as_large_as_one_or_the_parameters_loses():
    half = 2.0**-53
    for x, base, expected in ((0.1, 3.0, 3.0), (0.1, 0.0, 1.0), (50.0, 3.0, 50.0), (-50.0, 100.0, 100.0)):
        probe = probe_of(lambda x, b=base: b, np.array([x, 0.0]))
        assert lost_in_rounding(probe, np.array([base]), [0]).tolist() == [half * expected]
    probe = probe_of(lambda x: np.array([0.0, 0.0]), np.array([50.0]))
    weighted = probe.with_cotangents(np.array([[1.0, -3.0], [0.5, 0.0]]))
    assert lost_in_rounding(weighted, np.zeros(2), [0]).tolist() == [half * 200, half * 25]


def test_slope_and_curvature_are_continued_and_a_curvature_of_rounding_is_none():
    places = OFFSETS / OFFSETS[-1]
    values = np.stack([5 + 2 * places, 5 + 2 * places - 3 * places**2, 5 - 2 * places], axis=1)
    np.testing.assert_allclose(_continued(values, OFFSETS, 10.0), [20.0, 320.0, 20.0], rtol=1e-9)
    tiny = 1e6 + 1e-3 * places + 1e-9 * places**2
    assert _continued(tiny[:, None], OFFSETS, 1e4)[0] == pytest.approx(10.0, rel=1e-3)
