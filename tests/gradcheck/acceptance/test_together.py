"""Many elements at once along directions: what is plain, what is confirmed, and what it costs."""

import numpy as np
import pytest

from gradcheck.acceptance import together
from gradcheck.acceptance.decide import Outcome
from gradcheck.acceptance.directions import Directions, Slopes
from gradcheck.acceptance.ledger import Estimate, Kind
from gradcheck.acceptance.screening import screen
from gradcheck.acceptance.together import (
    PRECISE,
    confirm_together,
    contradicted_plainly,
    contradicted_without_kink,
    equal_elements_may_tie,
    may_tie,
)
from gradcheck.differences.noise import DISAGREES, PLAINLY

from .benches import bench_of, calls, enter

NAN = float("nan")
SLOPES = np.random.default_rng(1).normal(size=30)


def linear(claims, *, slopes=1.0, bend=0.0, kink=0.0, **options):
    """A sum times ``slopes``, with a parabola and an absolute value at the point."""
    claims = np.asarray(claims, float)
    x = np.linspace(1.0, 2.0, len(claims))

    def f(p):
        away = p["x"] - x
        return float(np.sum(slopes * p["x"]) + bend * np.sum(away**2) + kink * np.sum(np.abs(away)))

    return bench_of(f, {"x": x}, {"x": claims}, **options)


def kinds(bench, index):
    return [int(kind) for kind in bench.ledgers[0].evidence(np.array([index])).kind[0, :, 0]]


def outcomes(bench):
    return bench.decide(0, np.arange(len(bench.claims[0].values))).outcome[:, 0]


# ---- plainly --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "noise", "share", "plain"),
    [
        (2.0, 1e-9, 0.99, True),
        (2.0, 1e-9, 1.01, False),  # the functions bend by a thirtieth of the error
        (0.0, 1e-9, -0.99, True),
        (0.0, 1e-9, -1.01, False),
        (1.001, 1e-9, 0.0, True),
        (1.0 + 1e-9, 1e-12, 0.0, False),  # excluded by the noise, and right to within what matters
        (1.001, 2e-3, 0.0, False),  # within the noise
        (2.0, 1e-9, NAN, False),
    ],
)
def test_an_error_is_plain_far_beyond_what_the_functions_bend_between_the_points(claim, noise, share, plain):
    bench = linear([claim, claim])
    bend = share * abs(claim - 1) / PLAINLY / (bench.steps[0] * bench.lengths[0])[:, None]
    shown = np.full((2, 1), noise)
    bench.ledgers[0].add(Estimate.difference(np.arange(2), np.ones((2, 1)), shown, bend))
    assert contradicted_plainly(bench, 0, np.arange(2)).tolist() == [plain] * 2


BEND_NOISE = np.linalg.norm([1, -2, 1]) / np.linalg.norm([1 / 2, 0, -1 / 2])
"""Of three values the weights of the bend, and those of the slope over the same step."""


@pytest.mark.parametrize(("times", "plain"), [(0.99, True), (1.1, False)])
def test_a_bend_that_noise_makes_is_none(times, plain):
    noise = 1e-2
    bench = linear([1.02, 1.02])
    bend = times * BEND_NOISE * noise / (bench.steps[0] * bench.lengths[0])[:, None]
    bench.ledgers[0].add(Estimate.difference(np.arange(2), np.ones((2, 1)), np.full((2, 1), noise), bend))
    assert contradicted_plainly(bench, 0, np.arange(2)).tolist() == [plain] * 2


def test_an_error_in_one_function_is_enough():
    bench = bench_of(
        lambda p: np.full(2, np.sum(p["x"])), {"x": np.arange(1.0, 3)}, {"x": np.array([[1.0, 3.0], [1.0, 1.0]])}
    )
    ones = np.ones((2, 2))
    bench.ledgers[0].add(Estimate.difference(np.arange(2), ones, 1e-9 * ones, 0 * ones))
    assert contradicted_plainly(bench, 0, np.arange(2)).tolist() == [True, False]


# ---- confirmed ------------------------------------------------------------------------------------------------------------


def screened(**options):
    bench = linear(3 * SLOPES, slopes=SLOPES, **options)
    screen(bench)
    return bench


def test_what_contradicts_is_confirmed_at_eighteen_calls_however_many_there_are():
    bench = screened()
    before = calls(bench)
    assert not np.any(outcomes(bench) == Outcome.WRONG)
    confirm_together(bench, {0: np.arange(30)})
    assert calls(bench) - before == 18 and np.all(outcomes(bench) == Outcome.WRONG)


def test_beside_a_kink_nothing_is_confirmed():
    """Differences at the kinks of an absolute value give zero; directions that move all of them do not agree."""
    bench = screened(kink=30.0)
    confirm_together(bench, {0: np.arange(30)})
    assert not np.any(outcomes(bench) == Outcome.WRONG)


def test_nothing_costs_nothing():
    bench = linear(np.full(5, 3.0))
    confirm_together(bench, {0: np.arange(0)})
    assert calls(bench) == 0


def test_the_few_of_several_leaves_count_together():
    x = {"a": np.arange(1.0, 3), "b": np.arange(1.0, 3)}
    bench = bench_of(lambda p: float(np.sum(p["a"]) + np.sum(p["b"])), x, {"a": np.full(2, 3.0), "b": np.full(2, -1.0)})
    for leaf in range(2):
        enter(bench, np.ones(2), 1e-9, leaf=leaf)
    confirm_together(bench, {0: np.arange(2), 1: np.arange(1, 2)})
    found = [bench.ledgers[leaf].evidence(np.arange(2)).kind[..., 0] for leaf in range(2)]
    assert [np.any(kind == Kind.MULTIPLE, axis=1).tolist() for kind in found] == [[True, True], [False, True]]


def both(claims, **options):
    """Two functions that are the same, and what was measured of one element of one of them is off."""
    claims = np.asarray(claims, float)
    return bench_of(
        lambda p: np.full(2, np.sum(p["x"])), {"x": np.arange(1.0, 1 + len(claims))}, {"x": claims}, **options
    )


def test_one_function_that_disagrees_is_enough_to_confirm_nothing():
    bench = both(np.full((5, 2), 3.0))
    values = np.ones((5, 2))
    values[3, 1] = 1.5
    bench.ledgers[0].add(Estimate.difference(np.arange(5), values, 1e-9 * np.ones((5, 2)), np.zeros((5, 2))))
    confirm_together(bench, {0: np.arange(5)})
    assert calls(bench) == 18 and not any(Kind.MULTIPLE in kinds(bench, i) for i in range(5))


def test_what_has_no_derivative_in_one_function_is_not_confirmed(monkeypatch):
    monkeypatch.setattr(together, "Directions", Told)
    monkeypatch.setattr(Told, "residual", np.zeros((4, 2)))
    monkeypatch.setattr(Told, "predicted", 1.0)
    monkeypatch.setattr(Told, "deviation", np.full((4, 2), 1e-6))
    monkeypatch.setattr(Told, "deviation_along", lambda self, parts, deviations: np.zeros((4, 2)))
    bench = both(np.full((4, 2), 3.0))
    values = np.ones((4, 2))
    values[1, 0], values[2] = NAN, NAN
    bench.ledgers[0].add(Estimate.difference(np.arange(4), values, 1e-9 * np.ones((4, 2)), np.zeros((4, 2))))
    confirm_together(bench, {0: np.arange(4)})
    assert [Kind.MULTIPLE in kinds(bench, i) for i in range(4)] == [True, False, False, True]


def test_directions_of_derivatives_that_were_measured_know_no_rounding_of_claims(monkeypatch):
    made = []

    class Noted(Directions):
        def __init__(self, bench, key, *, of_claims=True):
            made.append(of_claims)
            super().__init__(bench, key, of_claims=of_claims)

    monkeypatch.setattr(together, "Directions", Noted)
    bench = linear(np.full(4, 3.0))
    enter(bench, np.ones(4), 1e-9)
    confirm_together(bench, {0: np.arange(4)})
    contradicted_without_kink(bench, 0, np.arange(4), np.ones((4, 1)))
    assert made == [False, False]


@pytest.mark.parametrize(("noise", "confirmed"), [(1.9 / PRECISE, True), (2.1 / PRECISE, False)])
def test_an_error_must_be_known_to_two_digits(noise, confirmed):
    bench = linear(np.full(4, 3.0))
    enter(bench, np.ones(4), noise, typical=1e-9)
    confirm_together(bench, {0: np.arange(4)})
    assert [Kind.MULTIPLE in kinds(bench, i) for i in range(4)] == [confirmed] * 4
    if confirmed:
        bound = bench.ledgers[0].evidence(np.arange(4)).bound[:, -1, 0]
        assert np.all((bound > noise) & (bound < noise + 1e-6))


def test_what_no_measurement_excludes_is_confirmed_too():
    bench = linear([3.0, 3.0, 3.0, 1.0 + 1e-4])
    enter(bench, np.ones(4), [1e-9, 1e-9, 1e-9, 2e-4], typical=1e-9)
    confirm_together(bench, {0: np.arange(4)})
    assert all(Kind.MULTIPLE in kinds(bench, i) for i in range(4))


@pytest.mark.parametrize(("times", "agrees"), [(1.0, True), (10.0, False)])
def test_directions_disagree_beyond_the_noise_of_one_deviation(times, agrees):
    """What was entered is off by so many deviations in every element."""
    bench, noise = linear(np.full(4, 3.0)), 1e-3
    enter(bench, np.full(4, 1.0 + times * noise / bench.multiplier), noise)
    confirm_together(bench, {0: np.arange(4)})
    assert calls(bench) == 18 and (Kind.MULTIPLE in kinds(bench, 0)) is agrees


@pytest.mark.parametrize(("off", "agrees"), [(2e-4, True), (5e-3, False)])
def test_derivatives_may_be_off_by_what_matters_three_times(off, agrees):
    bench = linear(np.full(4, 300.0), slopes=100.0, rtol=1e-4)
    enter(bench, np.full(4, 100.0 * (1 + off)), 1e-9)
    confirm_together(bench, {0: np.arange(4)})
    assert calls(bench) == 18 and (Kind.MULTIPLE in kinds(bench, 0)) is agrees


def test_where_one_function_is_not_finite_directions_do_not_agree():
    x = np.arange(1.0, 5)
    bench = bench_of(
        lambda p: np.array([np.sum(p["x"]), 0.0 if np.array_equal(p["x"], x) else NAN]),
        {"x": x},
        {"x": np.full((4, 2), 3.0)},
    )
    ones = np.ones((4, 2))
    bench.ledgers[0].add(Estimate.difference(np.arange(4), ones, 1e-9 * ones, 0 * ones))
    confirm_together(bench, {0: np.arange(4)})
    assert calls(bench) > 18 and not any(Kind.MULTIPLE in kinds(bench, i) for i in range(4))


class Told(Directions):
    """Directions of which it is known what they show: of one leaf, each element moved by the number of the direction."""

    predicted, residual, deviation = 0.0, np.zeros((4, 1)), np.array([[1e-6], [2e-6], [1e-7], [8e-6]])

    def measure(self, parts):
        return Slopes(
            tuple(parts),
            tuple(np.full((1, self.residual.shape[1]), self.predicted) for _ in parts),
            self.residual,
            self.deviation,
        )

    def moves(self, part):
        return {0: np.full(len(self.derivatives[0]), -1.0 * part.number)}


def test_the_bound_of_an_element_is_twice_what_the_best_direction_leaves_open(monkeypatch):
    monkeypatch.setattr(together, "Directions", Told)
    monkeypatch.setattr(Told, "residual", np.array([[0.0], [1e-6], [-3e-7], [0.0]]))
    monkeypatch.setattr(Told, "predicted", 1.0)
    bench = linear(np.full(3, 3.0))
    enter(bench, np.ones(3), 1e-4)
    confirm_together(bench, {0: np.arange(3)})
    bound = bench.ledgers[0].evidence(np.arange(3)).bound[:, -1, 0]
    numbers = 2.0 * np.arange(4) + 3  # the first chose the step, and each is drawn twice
    best = np.min(2 * (np.abs(Told.residual[:, 0]) + DISAGREES * Told.deviation[:, 0]) / numbers)
    np.testing.assert_allclose(bound - 1e-4, best, rtol=1e-6)


def test_directions_that_are_unsure_by_more_than_they_are_confirm_nothing(monkeypatch):
    monkeypatch.setattr(together, "Directions", Told)
    monkeypatch.setattr(Told, "predicted", 3e-6)
    bench = linear(np.full(3, 3.0))
    enter(bench, np.ones(3), 1e-4)
    confirm_together(bench, {0: np.arange(3)})
    assert not any(Kind.MULTIPLE in kinds(bench, i) for i in range(3))


@pytest.mark.parametrize(("times", "contradicts"), [(1.99, False), (2.01, True), (-2.01, True)])
def test_a_claim_is_contradicted_by_twice_what_is_an_accident(monkeypatch, times, contradicts):
    monkeypatch.setattr(together, "Directions", Told)
    monkeypatch.setattr(Told, "predict", lambda self, parts, leaf, values: times * DISAGREES * Told.deviation)
    bench = linear(np.full(3, 3.0))
    assert contradicted_without_kink(bench, 0, np.arange(3), np.ones((3, 1))).tolist() == [contradicts]


@pytest.mark.parametrize(("shown", "contradicts"), [(2, False), (3, True), (4, True)])
def test_three_directions_of_four_must_contradict_a_claim(monkeypatch, shown, contradicts):
    monkeypatch.setattr(together, "Directions", Told)
    told = np.where(np.arange(4)[:, None] < shown, 1.0, 0.0)
    monkeypatch.setattr(Told, "predict", lambda self, parts, leaf, values: told)
    bench = linear(np.full(3, 3.0))
    assert contradicted_without_kink(bench, 0, np.arange(3), np.ones((3, 1))).tolist() == [contradicts]


def test_each_function_has_slopes_of_its_own():
    bench = bench_of(
        lambda p: np.array([np.sum(p["x"]), -3 * np.sum(p["x"])]),
        {"x": np.arange(1.0, 5)},
        {"x": np.tile([1.0, -3.3], (4, 1))},
    )
    assert contradicted_without_kink(bench, 0, np.arange(4), np.tile([1.0, -3.0], (4, 1))).tolist() == [False, True]


def test_what_is_confirmed_is_known_to_two_digits_in_every_function_that_excludes_its_claim():
    claims = np.array([[3.0, 1.001], [3.0, 3.0], [3.0, 3.0], [3.0, 1.0]])
    bench = bench_of(lambda p: np.full(2, np.sum(p["x"])), {"x": np.arange(1.0, 5)}, {"x": claims})
    ones = np.ones((4, 2))
    bench.ledgers[0].add(Estimate.difference(np.arange(4), ones, 2e-5 * ones, 0 * ones))
    confirm_together(bench, {0: np.arange(4)})
    assert [Kind.MULTIPLE in kinds(bench, i) for i in range(4)] == [False, True, True, True]


def test_few_elements_of_one_size_are_not_confirmed_together():
    """Few directions lead to the other side of a kink that they may share; those of a size of their own share none."""
    x = np.array([1.0, 2.0, -2.0, 3.0, 4.0, 4.0, 5.0])
    bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": x}, {"x": np.full(7, 1.4)})
    enter(bench, np.ones(7), 1e-9)
    assert may_tie(bench, 0, np.arange(7)).tolist() == [False, True, True, False, True, True, False]
    assert may_tie(bench, 0, np.array([0, 1, 4])).tolist() == [False, True, True]
    confirm_together(bench, {0: np.arange(7)})
    assert [i for i in range(7) if Kind.MULTIPLE in kinds(bench, i)] == [0, 3, 6]


def capped(x, sizes):
    """The sum, and where the elements of some sizes all become smaller, as much less as the smallest change."""
    moved = np.abs(x) - np.abs(MANY)
    return float(np.sum(x) + sum(min(np.max(moved[np.abs(MANY) == size]), 0.0) for size in sizes))


MANY = np.concatenate([[1.0], np.full(10, 2.0), np.full(10, -2.0), [3.0], np.full(30, 4.0)])


@pytest.mark.parametrize("sizes", [[], [2.0], [4.0], [2.0, 4.0]])
@pytest.mark.parametrize("count", [52, 25])
def test_many_elements_of_one_size_are_where_moving_all_of_them_shows_no_kink(sizes, count):
    """Also those whose claims agree."""
    bench = bench_of(lambda p: capped(p["x"], sizes), {"x": MANY}, {"x": np.where(np.arange(52) < count, 1.4, 1.0)})
    enter(bench, np.ones(52), 1e-9)
    suspected = may_tie(bench, 0, np.arange(count))
    assert bool(suspected.any()) == bool(sizes) and not suspected[[0, 21]].any()
    assert suspected[np.isin(np.abs(MANY[:count]), sizes)].all()
    confirm_together(bench, {0: np.arange(count)})
    confirmed = np.array([Kind.MULTIPLE in kinds(bench, i) for i in range(count)])
    assert not (confirmed & suspected).any() and (sizes or confirmed.all())


@pytest.mark.parametrize(("claimed", "bends"), [(1.1, True), (1.0, False)])
def test_elements_together_contradict_claims_and_agree_with_derivatives(claimed, bends):
    bench = linear(claimed * SLOPES, slopes=SLOPES)
    truth = SLOPES.reshape(-1, 1)
    assert contradicted_without_kink(bench, 0, np.arange(30), truth).tolist() == [bends]
    assert calls(bench) == 18
    assert not contradicted_without_kink(
        bench, 0, np.arange(30), 1.3 * truth
    ).any()  # nor where the derivatives are wrong themselves


@pytest.mark.parametrize(
    ("sizes", "claimed", "bends"),
    [([], 1.04, False), ([2.0], 1.04, True), ([4.0], 0.96, True), ([1.0, 3.0], 1.04, False), ([4.0], 4.0, False)],
)
def test_a_kink_that_equal_elements_share_is_seen_where_all_of_one_size_are_moved(sizes, claimed, bends):
    """Derivatives of one, which directions agree with; where claims are off by far more than the kink bends it does not explain them."""
    bench = bench_of(lambda p: capped(p["x"], sizes), {"x": MANY}, {"x": np.full(52, claimed)})
    assert equal_elements_may_tie(bench, {0: np.full((52, 1), claimed)}, {0: np.ones((52, 1))}, 1e-6) == bends
    assert bench.probe.budget.used == 2
