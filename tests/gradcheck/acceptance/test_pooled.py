"""Evidence of many elements together: closed forms, and the same by loops."""

import numpy as np
import pytest

from gradcheck.acceptance.pooled import CommonError, fit_common_error, joint_slope, tied_groups
from gradcheck.differences.counts import DOZEN
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe


def of(share, deviations):
    return CommonError(np.array([share]), np.array([deviations]))


@pytest.mark.parametrize(
    ("first", "second", "confirmed"),
    [
        ((0.02, 7.0), (0.02, 7.0), True),
        ((0.02, 7.0), (0.0301, 7.0), False),  # farther apart than half of the smaller
        ((0.02, 7.0), (0.0299, 7.0), True),
        ((0.03, -7.0), (0.019, -7.0), False),
        ((0.02, 6.0), (0.02, 7.0), False),
        ((0.02, 7.0), (0.02, 6.0), False),
        ((0.02, 7.0), (-0.02, -7.0), False),
        ((-0.02, -7.0), (-0.02, -7.0), True),
    ],
)
def test_an_error_in_common_is_confirmed_by_another_measurement_that_says_the_same(first, second, confirmed):
    assert of(*first).confirmed_by(of(*second)).tolist() == [confirmed]
    assert of(*second).confirmed_by(of(*first)).tolist() == [confirmed]


def by_loops(claimed, measured, deviation, places):
    """The weighted least squares fit and its cluster-robust deviation, a number at a time."""
    weights = [1 / d**2 for d in deviation]
    evidence = sum(w * c * c for w, c in zip(weights, claimed, strict=True))
    share = sum(w * c * (c - m) for w, c, m in zip(weights, claimed, measured, strict=True)) / evidence
    variances = [evidence]
    for place in places:
        sums = dict.fromkeys(place.tolist(), 0.0)
        for label, w, c, m in zip(place.tolist(), weights, claimed, measured, strict=True):
            sums[label] += w * c * (c - m - share * c)
        variances.append(sum(total**2 for total in sums.values()) * len(sums) / max(len(sums) - 1, 1))
    return share, share / np.sqrt(max(variances) / evidence**2)


@pytest.mark.parametrize("alike", [False, True])
def test_the_fit_of_a_common_error_and_what_noise_in_common_does_to_it(alike):
    rng = np.random.default_rng(0)
    places = tuple(axis.ravel() for axis in np.indices((6, 4)))
    claimed, deviation = rng.normal(size=24), rng.uniform(0.01, 0.02, 24)
    noise = deviation * (rng.normal(size=6)[places[0]] if alike else rng.normal(size=24))
    measured = claimed / 1.03 + noise
    found = fit_common_error(claimed[:, None], measured[:, None], deviation[:, None], places)
    share, deviations = by_loops(claimed, measured, deviation, places)
    np.testing.assert_allclose([found.share[0], found.deviations[0]], [share, deviations], rtol=1e-12)


def test_an_exact_error_is_found_and_what_cannot_be_used_is_left_out():
    claimed = np.append(1.02 * np.arange(1.0, 13), [np.nan, 5.0, 5.0])[:, None]
    measured = np.append(np.arange(1.0, 13), [1.0, np.inf, 99.0])[:, None]
    deviation = np.append(np.full(14, 1e-3), 0.0)[:, None]
    found = fit_common_error(claimed, measured, deviation, (np.arange(15),))
    assert found.share[0] == pytest.approx(0.02 / 1.02) and found.significant[0]


@pytest.mark.parametrize("place", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("moved", [0.1, 0.3, 0.9])
def test_elements_that_move_a_rounded_function_by_less_than_a_unit_show_no_common_error(moved, place):
    """All 1,000 leave it unchanged, or move it by a whole unit, depending on where the value is between two numbers."""
    change = moved * np.random.default_rng(0).uniform(0.5, 1.0, 1000)[:, None]
    measured = np.round(place + change / 2) - np.round(place - change / 2)
    found = fit_common_error(change, measured, np.full_like(change, np.sqrt(2) / 2), (np.arange(1000),))
    assert not found.significant.any()


def test_too_few_elements_say_nothing():
    for count, said in ((DOZEN - 1, False), (DOZEN, True)):
        claimed = np.append(np.full(count, 1.1), np.zeros(5))[:, None]
        measured = np.append(np.ones(count), np.zeros(5))[:, None]
        found = fit_common_error(claimed, measured, np.full_like(claimed, 1e-3), (np.arange(count + 5),))
        assert bool(found.share[0] != 0) is said and bool(found.significant[0]) is said


def probe_of(f, x):
    point, value = point_of(np.asarray(x, float), "x"), np.atleast_1d(f(np.asarray(x, float)))
    return Probe(lambda tree: np.atleast_1d(f(tree)), point, Output.of(value, "f"), np.eye(len(value)), Budget())


@pytest.mark.parametrize(
    ("f", "slope", "calls"),
    [
        (lambda x: 3.0 * np.median(x), 3e-3, 4),
        (lambda x: np.sum(x * [1.0, -1.0, 0.0]), 0.0, 2),  # nothing moved
        (lambda x: 1e-13 * np.sum(x), 0.0, 2),  # no more than noise
        (lambda x: np.max(np.abs(x - x[0])) + float(x[0] > 1.0005), 0.0, 4),  # a jump on the way is of no order
        (lambda x: np.sum((x - 1) ** 3), 0.0, 4),  # of third order
    ],
)
def test_elements_moved_together_show_a_derivative_of_first_order(f, slope, calls):
    probe = probe_of(f, np.ones(3))
    found = joint_slope(probe, {0: np.full(3, 1e-3)}, np.array([1e-12]))
    assert found[0] == pytest.approx(slope, rel=1e-9, abs=1e-15) and probe.budget.used == calls


def test_ties_are_of_elements_that_are_exactly_equal():
    value = np.array([[1.0, 2.0, 1.0], [3.0, 2.0, 1.0 + 1e-16]])
    groups = tied_groups(value, np.array([0, 1, 2, 3, 4, 5]))
    assert [group.tolist() for group in groups] == [[0, 2, 5], [1, 4]]
    assert [group.tolist() for group in tied_groups(value, np.array([0, 1, 4]))] == [[1, 4]]
    assert tied_groups(value, np.array([0, 1, 3])) == []
