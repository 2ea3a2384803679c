"""Multiples of a claim that agree with directional derivatives."""

import numpy as np
import pytest

from gradcheck.acceptance.whole_claim import multiple_of, rearranged

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("factor", [-1.0, 2.0, 0.5, 0.0, 1 / 1.01, -3 / 7])
@pytest.mark.parametrize("noise", [1e-9, 1e-4])
def test_the_simplest_factor_within_the_noise(factor, noise):
    predicted = RNG.normal(size=(6, 1))
    measured = factor * predicted + noise * RNG.normal(size=(6, 1))
    multiple = multiple_of(predicted, measured, np.full((6, 1), noise), predicted)
    assert abs(multiple.factor - factor) <= multiple.uncertainty
    assert multiple.factor == pytest.approx(factor, abs=1e-15) or noise == 1e-4
    assert multiple.uncertainty < 20 * noise


@pytest.mark.parametrize(
    ("predicted", "measured", "deviation"),
    [
        ([1.0, 2.0, -1.0], [1.0, -2.0, 1.0], 1e-6),  # no multiple
        ([1.0, 2.0, -1.0], [1.0, 2.0, -1.0], 1e-6),  # once: nothing to explain
        ([1.0, 2.0, -1.0], [2.0, 4.0, -2.0], 1.0),  # any claim would do in this noise
        ([1.0, 2.0], [2.0, 4.0], 1e-6),  # too few
        ([0.0, 0.0, 0.0], [2.0, 4.0, 1.0], 1e-6),  # nothing was claimed
        ([1.0, 2.0, -1.0], [2.0, 4.0, -2.0], np.inf),  # nothing was measured
        ([np.nan, 2.0, -1.0], [2.0, 4.0, -2.0], 1e-6),
    ],
)
def test_no_multiple(predicted, measured, deviation):
    predicted, measured = np.array(predicted)[:, None], np.array(measured)[:, None]
    assert multiple_of(predicted, measured, np.full_like(predicted, deviation), predicted) is None


@pytest.mark.parametrize("noise", [1e-9, 1e-3])
def test_once_another_order_of_the_claim_is_an_explanation_where_the_orders_differ(noise):
    ordered, claimed = RNG.normal(size=(2, 6, 1))
    measured, deviation = ordered + noise * RNG.normal(size=(6, 1)), np.full((6, 1), noise)
    assert multiple_of(ordered, measured, deviation, claimed).factor == 1
    assert multiple_of(ordered, measured, deviation, ordered + 3 * noise) is None


def test_right_claims_are_rarely_multiples():
    predicted = RNG.normal(size=(2000, 4, 1))
    noise = 1e-3 * RNG.normal(size=(2000, 4, 1))
    deviation = np.full((4, 1), 1e-3)
    found = [multiple_of(p, p + e, deviation, p) for p, e in zip(predicted, noise, strict=True)]
    assert not any(found)


@pytest.mark.parametrize(
    ("shape", "turn"),
    [
        ((5, 5), np.transpose),
        ((3, 4), lambda g: g.reshape(4, 3).T),
        ((3, 4), lambda g: g[::-1]),
        ((3, 4), lambda g: g[:, ::-1]),
        ((3, 4), lambda g: g[::-1, ::-1]),
        ((2, 3, 3), lambda g: g.swapaxes(1, 2)),
        ((2, 3, 4), lambda g: g.reshape(4, 3, 2).transpose(2, 1, 0)),
        ((7,), lambda g: g[::-1]),
    ],
)
def test_orders_that_a_mistake_brings_about(shape, turn):
    given = RNG.normal(size=shape)
    wanted = turn(given).reshape(-1, 1)
    orders = list(rearranged(given.reshape(-1, 1), shape))
    np.testing.assert_array_equal(orders[0], given.reshape(-1, 1))
    assert sum(np.array_equal(order, wanted) for order in orders) == 1
