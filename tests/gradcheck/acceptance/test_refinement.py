"""The second look: what is measured again, in which order and how often, and what comes of it."""

from dataclasses import replace

import numpy as np
import pytest

from gradcheck.acceptance import refinement
from gradcheck.acceptance.decide import Outcome
from gradcheck.acceptance.ledger import Estimate, Kind, Limit
from gradcheck.acceptance.refinement import (
    EXAMPLES,
    SECOND_STEP,
    _add_sides,
    _climb_leaf,
    _confirm_many,
    _may_show_error,
    _measure_at_kinks,
    _measure_at_shortest_step,
    _measure_briefly,
    _queue,
    _refine_leaf,
    refine,
)
from gradcheck.differences.counts import DOZEN
from gradcheck.differences.lengths import CLOSEST, FIRST_STEP, RATIO
from gradcheck.differences.noise import CLOSEST_STEP, DISAGREES

from .benches import bench_of, calls, enter

NAN, INF = float("nan"), float("inf")


def linear(claims, **options):
    """A sum, whose gradient is ones."""
    claims = np.asarray(claims, float)
    return bench_of(lambda p: float(np.sum(p["x"])), {"x": np.linspace(1, 2, len(claims))}, {"x": claims}, **options)


def waves(claims, **options):
    x = np.linspace(0.5, 1.5, len(claims))
    return bench_of(lambda p: float(np.sum(np.sin(p["x"]))), {"x": x}, {"x": claims}, **options), np.cos(x)


def kinds(bench, index, leaf=0):
    evidence = bench.ledgers[leaf].evidence(np.array([index]))
    return [int(kind) for kind in evidence.kind[0, :, 0]]


# ---- what waits -----------------------------------------------------------------------------------------------------------


def test_the_queue_has_what_contradicts_its_claim_most_first_and_nothing_that_is_right():
    bench = linear([1.0, 1.1, 3.0, 1.01, NAN, 2.0])
    enter(bench, [1.0, 1.0, 1.0, 1.0, 1.0, INF], 1e-3)
    assert [index for _, index in _queue(bench)] == [5, 2, 1, 3]


def test_what_was_measured_noted_or_explained_by_an_error_in_common_waits_for_nothing():
    bench = linear([3.0] * 4)
    enter(bench, np.ones(4), 1e-3)
    bench.ledgers[0].add(Estimate.pair(np.array([1]), np.array([[1.0]]), np.array([[1e-3]]), np.array([[1e-3]])))
    bench.note(0, np.array([2]), Limit.GROUP)
    assert [index for _, index in _queue(bench)] == [0, 3]
    bench.common_error[0][:] = 2 / 3
    assert _queue(bench) == []


def undecided(count, noise=0.5, **options):
    """A bench in which ``count`` elements are open, hidden by noise, and no difference contradicts the claim of any."""
    bench = linear(np.ones(count), **options)
    enter(bench, 1.0 + 1e-3 * np.ones(count), noise, typical=1e-9)
    return bench


@pytest.mark.parametrize(
    ("elements", "spent", "queued"),
    [
        (20, 0, 4),  # a few ladders
        (159, 0, 5),  # and one more in eighty elements
        (160, 0, 6),
        (20, 20 * 2 + 100 - 32, 2),  # four ladders are left of two calls an element and a hundred, and two are kept
        (20, 20 * 2 + 100 - 31, 1),
        (20, 1000, 0),
    ],
)
def test_without_evidence_only_so_many_are_looked_at_as_there_are_calls_for(elements, spent, queued):
    bench = undecided(20)
    bench.elements, bench.spent_before = elements, 7
    bench.probe.budget.points = spent + 7
    assert len(_queue(bench)) == queued


def test_what_calls_would_decide_is_looked_at_whatever_was_spent():
    bench = undecided(20, noise=2e-3)
    bench.probe.budget.points = 1000
    assert len(_queue(bench)) == 20


@pytest.mark.parametrize(
    ("contradicted", "open_", "spent", "queued"),
    [
        (2, 10, 0, 2 + EXAMPLES),
        (2, 10, 1000, 2 + EXAMPLES),
        (2, 2, 1000, 4),
        (7, 10, 0, 7 + EXAMPLES),
        (4, 10, 0, 4 + EXAMPLES),
    ],
)
def test_beside_evidence_a_few_are_looked_at_anyway(contradicted, open_, spent, queued):
    count = contradicted + open_
    bench = linear(np.ones(count))
    enter(bench, [1.1] * contradicted + [1.001] * open_, [2e-3] * contradicted + [0.5] * open_, typical=1e-9)
    bench.spent_before, bench.probe.budget.points = 0, spent
    found = [index for _, index in _queue(bench)]
    assert len(found) == queued and set(range(contradicted)) <= set(found)


@pytest.mark.parametrize(
    ("value", "noise", "step", "limited", "worth"),
    [
        (1.001, 2e-3, 0.09, False, True),
        (1.001, 2e-3, 0.13, False, False),  # its step was long
        (1.0, 2e-3, 0.09, False, False),  # right, noise or not
        (1.5, 2e-3, 0.09, False, False),  # contradicted
        (1.001, 2e-3, 0.09, True, True),
    ],
)
def test_it_is_worth_it_where_noise_hides_what_a_longer_step_would_show(value, noise, step, limited, worth):
    bench = linear([1.0, 1.0], step=step * FIRST_STEP)
    enter(bench, [value], noise, limited=limited)
    assert _may_show_error(bench, 0, np.array([0])).tolist() == [[worth]]


def test_it_is_not_worth_it_where_no_other_step_would_tell_more():
    bench = linear([1.0, 1.0], step=1e-6)
    enter(bench, [1.01], 0.02, limited=True, typical=1e-9)
    assert bench.decide(0, np.array([0])).rough.all()
    assert _may_show_error(bench, 0, np.array([0])).tolist() == [[False]]


def test_one_that_is_worth_it_waits_without_evidence():
    bench = linear(np.ones(3), step=1e-6)
    enter(bench, [1.0, 1.001, 1.0], [1e-12, 2e-3, 1e-12], typical=2e-3)
    assert [index for _, index in _queue(bench)] == [1]


# ---- ladders --------------------------------------------------------------------------------------------------------------


def test_a_ladder_is_confirmed_by_a_second_one_and_a_closer_look_where_it_excludes_the_claim():
    bench, right = waves([2.0, *np.cos(np.linspace(0.5, 1.5, 3)[1:])])
    contradicted, plain, gaps = _climb_leaf(bench, 0, np.arange(3))
    assert contradicted.tolist() == plain.tolist() == [True, False, False] and not gaps.any()
    assert kinds(bench, 0) == [Kind.LADDER, Kind.LADDER, Kind.CLOSEST] and kinds(bench, 1) == [Kind.LADDER]
    np.testing.assert_allclose(bench.decide(0, np.arange(3)).reference[:, 0], right, rtol=1e-8)


def test_at_a_kink_the_gap_is_told_and_nothing_is_plain():
    x = np.array([0.0, 0.0, 1.0])
    bench = bench_of(lambda p: float(np.sum(np.abs(p["x"])) + p["x"][1]), {"x": x}, {"x": np.array([3.0, 0.5, 1.0])})
    contradicted, plain, gaps = _climb_leaf(bench, 0, np.arange(3))
    assert contradicted.tolist() == [True, False, False] and not plain.any()
    np.testing.assert_allclose(gaps[:, 0], [2, 2, 0], atol=1e-6)


def test_a_kink_very_near_is_seen_with_the_shortest_step_that_noise_allows():
    """A slope of one at the point and of two from 2e-12 on, on both sides: all longer steps say two."""
    bench = bench_of(
        lambda p: float(p["x"][0] + max(p["x"][0] - 2e-12, 0.0) + min(p["x"][0] + 2e-12, 0.0)),
        {"x": np.zeros(1)},
        {"x": np.ones(1)},
        noise=1e-28,
    )
    enter(bench, [2.0], 1e-9)
    bench.climb(0, np.arange(1), FIRST_STEP)
    bench.climb(0, np.arange(1), SECOND_STEP)
    before = calls(bench)
    _measure_at_shortest_step(bench, 0, np.arange(1))
    assert calls(bench) == before + 2 and kinds(bench, 0)[-1] == Kind.CLOSEST
    found = bench.decide(0, np.arange(1))
    assert found.outcome[0, 0] == Outcome.RIGHT_TO_RESOLUTION and found.reference[0, 0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("noise", "apart", "expected"),
    [
        (1e-15, 1.0, CLOSEST_STEP),
        (
            1e-12,
            1.0,
            1.6e-12 * RATIO,
        ),  # eight times as long as noise demands: rounding of the element may be noise as well
        (1e-11, 1.0, CLOSEST),  # but no longer than this for that
        (1e-9, 1.0, 1.6e-9),  # 1.6 times what noise makes of the error
        (1e-9, 0.01, 1.6e-7),
        (1e-3, 1e-3, SECOND_STEP),  # no longer than that of a ladder
    ],
)
def test_how_close_a_look_is(monkeypatch, noise, apart, expected):
    bench = linear([1.0 + apart, 1.0], noise=noise)
    wide = apart / 10
    for value in (1.0, 1.0):
        bench.ledgers[0].add(Estimate.sides(np.array([0]), np.array([[value]]), np.zeros((1, 1)), np.array([[wide]])))
    asked = []
    measured = bench.difference
    monkeypatch.setattr(bench, "difference", lambda *args: asked.append(args) or measured(*args))
    _measure_at_shortest_step(bench, 0, np.arange(2))
    ((_, indices, steps),) = asked
    length = bench.lengths[0][0]
    scaled = expected if expected in (CLOSEST_STEP, CLOSEST, SECOND_STEP) else expected * bench.multiplier / length
    assert indices.tolist() == [0] and steps[0] == pytest.approx(scaled, rel=1e-6)


def test_nothing_is_looked_at_closely_that_is_not_contradicted():
    bench = linear(np.ones(2))
    enter(bench, [1.0, 1.5], 1e-12)
    _measure_at_shortest_step(bench, 0, np.arange(2))
    assert calls(bench) == 0


# ---- many at once ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "plain"),
    [([3.0, -1.0], [True, True]), ([1.0, 3.0], [False, True]), ([1.0 + 1e-9, 1.0 + 1e-5], [False, False])],
)
def test_a_brief_look_tells_an_error_that_is_plain(claims, plain):
    x = np.array([0.7, 0.9])
    bench = bench_of(lambda p: float(np.sum(p["x"] + (p["x"] - x) ** 3)), {"x": x}, {"x": np.array(claims)}, step=1e-2)
    enter(bench, 1.0 + (1e-2 * bench.lengths[0]) ** 2, 1e-12)
    assert _measure_briefly(bench, 0, np.arange(2)).tolist() == plain
    assert kinds(bench, 0)[:2] == [Kind.DIFFERENCE, Kind.PAIR]
    found = bench.ledgers[0].evidence(np.arange(2))
    step = 1e-2 / RATIO * bench.lengths[0]
    np.testing.assert_allclose(found.value[:, 1, 0] - 1, step**2, rtol=1e-3)
    np.testing.assert_allclose(found.bound[:, 1, 0], (1e-2 * bench.lengths[0]) ** 2 - step**2, rtol=1e-2)


def test_where_the_sides_differ_a_share_of_that_is_the_least_bound_of_a_brief_look():
    bench = bench_of(lambda p: float(np.sum(np.abs(p["x"]))), {"x": np.zeros(2)}, {"x": np.full(2, 5.0)}, step=1e-2)
    enter(bench, np.zeros(2), 1e-12)
    _measure_briefly(bench, 0, np.arange(2))
    np.testing.assert_allclose(bench.ledgers[0].evidence(np.arange(2)).bound[:, 1, 0], 2 / DISAGREES, rtol=1e-6)


def at_kinks(claims, *, noise=1e-15, gap=2.0, **options):
    """``gap / 2`` times the absolute value, at zeros."""
    claims = np.asarray(claims, float)
    return bench_of(
        lambda p: float(gap / 2 * np.sum(np.abs(p["x"]))),
        {"x": np.zeros(len(claims))},
        {"x": claims},
        noise=noise,
        **options,
    )


@pytest.mark.parametrize(
    ("noise", "known", "made"), [(1e-15, True, 3 * 2 + 2), (1e-11, True, 3 * 2 + 2), (1e-10, False, 0)]
)
def test_kinks_of_many_are_measured_with_one_step_and_what_is_outside_with_two(noise, known, made):
    bench = at_kinks([1.0, 0.3, 1.5], noise=noise)
    found = _measure_at_kinks(bench, 0, np.arange(3), np.full(1, 2.0))
    assert found.tolist() == [known] * 3
    assert calls(bench) == made
    if known:
        assert [len(kinds(bench, i)) for i in range(3)] == [1, 1, 2]
        decided = bench.decide(0, np.arange(3))
        np.testing.assert_allclose(decided.gap[:, 0], 2, rtol=1e-3)
        assert decided.contradicted[:, 0].tolist() == [False, False, True]


@pytest.mark.parametrize(("gap", "known"), [(2.0, True), (1.99 * RATIO, True), (2.01 * RATIO, False), (0.0, False)])
def test_a_gap_eight_times_as_large_as_those_of_others_is_no_such_kink(gap, known):
    bench = at_kinks([0.0, 0.0], gap=gap)
    found = _add_sides(bench, 0, np.arange(2), np.full(2, 1e-6), np.full(1, 2.0))
    assert found.tolist() == [known] * 2 and bench.ledgers[0].count.tolist() == [known] * 2


@pytest.mark.parametrize(("noise", "known"), [(0.9, True), (1.1, False)])
def test_a_gap_of_eight_times_the_noise_is_one(noise, known):
    """Twice what noise does to a difference is the noise of a slope to one side."""
    bench = at_kinks([0.0])
    step = 1e-6 * bench.lengths[0][0]
    bench.noise = np.full(1, noise * 2.0 / (RATIO * 2 * bench.multiplier * np.sqrt(2) / (2 * step)))
    assert _add_sides(bench, 0, np.arange(1), np.full(1, 1e-6), np.full(1, 2.0)).tolist() == [known]


@pytest.mark.parametrize(("count", "confirmed"), [(EXAMPLES, False), (EXAMPLES + 1, True), (DOZEN, True)])
def test_more_than_a_few_that_are_plainly_wrong_are_confirmed_along_directions(count, confirmed):
    bench = linear(np.full(count, 3.0))
    enter(bench, np.ones(count), 1e-9)
    waiting = {0: np.arange(count)}
    left = _confirm_many(bench, waiting)
    assert (left == {}) is confirmed and (left is waiting) is not confirmed
    ladders = [i for i in range(count) if Kind.LADDER in kinds(bench, i)]
    assert len(ladders) == (EXAMPLES if confirmed else 0)
    if confirmed:
        assert np.all(bench.decide(0, np.arange(count)).contradicted) and ladders[0] == 0


def test_where_a_few_of_many_are_not_plain_all_go_on_waiting():
    bench = at_kinks(np.full(DOZEN, 3.0))
    enter(bench, np.zeros(DOZEN), 1e-9)
    waiting = {0: np.arange(DOZEN)}
    assert _confirm_many(bench, waiting) is waiting
    assert sum(Kind.LADDER in kinds(bench, i) for i in range(DOZEN)) == EXAMPLES


def test_one_of_the_few_that_is_not_plain_keeps_all_waiting():
    x = np.linspace(1, 2, DOZEN)
    bench = bench_of(lambda p: float(np.sum(p["x"]) + abs(p["x"][4] - x[4])), {"x": x}, {"x": np.full(DOZEN, 3.0)})
    enter(bench, np.ones(DOZEN), 1e-9)
    waiting = {0: np.arange(DOZEN)}
    assert _confirm_many(bench, waiting) is waiting
    assert [i for i in range(DOZEN) if Kind.LADDER in kinds(bench, i)] == [0, 4, 8]


def test_what_directions_do_not_decide_goes_on_waiting():
    """One of thirteen has no evidence: only the others are confirmed."""
    bench = linear([*np.full(DOZEN, 3.0), 1.0])
    enter(bench, [*np.ones(DOZEN), 1.001], [*np.full(DOZEN, 1e-9), 2e-3], typical=1e-9)
    left = _confirm_many(bench, {0: np.arange(DOZEN + 1)})
    assert {leaf: indices.tolist() for leaf, indices in left.items()} == {0: [DOZEN]}


@pytest.mark.parametrize(
    ("count", "ladders"),
    [(3, 3), (DOZEN // 2 - 1, DOZEN // 2 - 1), (DOZEN - 1, DOZEN - 1), (DOZEN, EXAMPLES), (3 * DOZEN, EXAMPLES)],
)
def test_of_many_in_a_leaf_a_few_climb_and_the_others_are_measured_briefly(count, ladders):
    bench = linear(np.full(count, 3.0))
    enter(bench, np.ones(count), 1e-9)
    assert _refine_leaf(bench, 0, np.arange(count)) is True
    found = [Kind.LADDER in kinds(bench, i) for i in range(count)]
    assert sum(found) == ladders and found[0]
    assert np.all(bench.decide(0, np.arange(count)).contradicted)


def test_of_several_at_kinks_a_few_climb_and_the_others_are_measured_with_a_step_or_two():
    bench = at_kinks(np.full(8, 0.4))
    enter(bench, np.zeros(8), 1e-9)
    assert _refine_leaf(bench, 0, np.arange(8)) is False
    assert [len(kinds(bench, i)) for i in range(8)] == [2] * 8 and calls(bench) > 10
    np.testing.assert_allclose(bench.decide(0, np.arange(8)).gap, 2, rtol=1e-3)


def test_a_leaf_without_errors_says_no():
    bench, right = waves(np.cos(np.linspace(0.5, 1.5, 3)))
    enter(bench, right + 1e-5, 1e-9)
    assert _refine_leaf(bench, 0, np.arange(3)) is False
    assert np.all(bench.decide(0, np.arange(3)).outcome == Outcome.RIGHT)


# ---- the whole ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [[], [1], list(range(20))])
def test_what_screening_left_open_is_decided(wrong):
    x = np.linspace(0.5, 1.5, 30)
    claims = np.cos(x)
    claims[wrong] *= 1.01
    bench, right = waves(claims)
    enter(bench, right, 1e-9)
    refine(bench)
    found = bench.decide(0, np.arange(30))
    assert np.flatnonzero(found.contradicted[:, 0]).tolist() == wrong
    assert np.all((found.outcome == Outcome.RIGHT) | found.contradicted)
    assert (calls(bench) == 0) is (not wrong)


def test_where_one_is_wrong_those_that_noise_hides_are_looked_at_too(monkeypatch):
    for value, climbs in ((3.0, True), (1.0, False)):
        bench = linear([value, *np.ones(5)], step=1e-6)
        enter(bench, [1.0, *np.full(5, 1.001)], [1e-12, *np.full(5, 2e-3)], typical=2e-3)
        monkeypatch.setattr(refinement, "_queue", lambda bench: [(0, 0)])
        refine(bench)
        assert [Kind.LADDER in kinds(bench, i) for i in range(1, 6)] == [climbs] * 5


# ---- several functions, several sorts of elements ---------------------------------------------------------------------------


def two(f, x, claims, **options):
    x = np.asarray(x, float)
    return bench_of(lambda p: np.array(f(p["x"])), {"x": x}, {"x": np.asarray(claims, float)}, **options)


def enter_two(bench, values, noise, typical=None):
    values = np.array(values, float)
    noise = np.broadcast_to(np.array(noise, float), values.shape).copy()
    made = Estimate.difference(np.arange(len(values)), values, noise, np.zeros_like(values))
    bench.ledgers[0].add(made if typical is None else replace(made, typical=np.full(2, typical)))


def sums(x):
    return [np.sum(x), np.sum(x)]


def test_a_claim_that_one_function_excludes_is_measured_twice():
    bench = two(sums, np.ones(2), [[2.0, 1.0], [1.0, 1.0]])
    contradicted, plain, _ = _climb_leaf(bench, 0, np.arange(2))
    assert contradicted.tolist() == plain.tolist() == [True, False]
    assert kinds(bench, 0).count(Kind.LADDER) == 2 and kinds(bench, 1).count(Kind.LADDER) == 1


@pytest.mark.parametrize(("other", "plain"), [(1.0, True), (1.001, False)])
def test_a_brief_look_is_enough_if_no_function_leaves_a_doubt(other, plain):
    x = np.array([0.7])
    bench = two(lambda y: [np.sum(y + (y - x) ** 3)] * 2, x, [[3.0, other]], step=1e-2)
    enter_two(bench, np.full((1, 2), 1.0 + (1e-2 * bench.lengths[0][0]) ** 2), 1e-12)
    assert _measure_briefly(bench, 0, np.arange(1)).tolist() == [plain]


@pytest.mark.parametrize(("slopes", "known"), [([1.0, 1.0], True), ([1.0, 11.0], False), ([0.0, 1.0], True)])
def test_gaps_are_those_of_a_kink_in_every_function_and_there_is_one_in_some(slopes, known):
    bench = two(lambda x: [s * np.sum(np.abs(x)) for s in slopes], np.zeros(1), [[0.0, 0.0]])
    assert _add_sides(bench, 0, np.arange(1), np.full(1, 1e-6), np.full(2, 2.0)).tolist() == [known]


def test_what_is_outside_at_a_kink_is_measured_with_a_step_of_the_ladder_longer(monkeypatch):
    bench, asked = at_kinks([1.5]), []
    measured = bench.difference
    monkeypatch.setattr(bench, "difference", lambda *args: asked.append(args[2][0]) or measured(*args))
    _measure_at_kinks(bench, 0, np.arange(1), np.full(1, 2.0))
    np.testing.assert_allclose(asked, [CLOSEST, RATIO * CLOSEST])


def test_a_close_look_moves_single_precision_by_two_units_at_least(monkeypatch):
    x = np.ones(1, dtype=np.float32)
    bench, asked = bench_of(lambda p: float(np.sum(p["x"])), {"x": x}, {"x": np.array([2.0])}, noise=1e-12), []
    for _ in range(2):
        bench.ledgers[0].add(Estimate.sides(np.array([0]), np.ones((1, 1)), np.zeros((1, 1)), np.full((1, 1), 0.1)))
    measured = bench.difference
    monkeypatch.setattr(bench, "difference", lambda *args: asked.append(args[2][0]) or measured(*args))
    _measure_at_shortest_step(bench, 0, np.arange(1))
    assert asked == [pytest.approx(2 * 2.0**-23 / bench.lengths[0][0])]


def test_a_small_excess_is_evidence_too():
    bench = linear(np.ones(12))
    enter(bench, [1.004] * 2 + [1.001] * 10, [2e-3] * 2 + [0.5] * 10, typical=1e-9)
    bench.probe.budget.points = 1000
    assert [index for _, index in _queue(bench)][:2] == [0, 1] and len(_queue(bench)) == 2 + EXAMPLES


@pytest.fixture
def measured_at_kinks(monkeypatch):
    """The calls of `_measure_at_kinks` and `_climb_leaf`."""
    made = {"kinks": [], "climbed": []}
    climb = refinement._climb_leaf

    def climbed(bench, leaf, indices):
        made["climbed"].append(indices.tolist())
        return climb(bench, leaf, indices)

    def kinks(bench, leaf, indices, gaps):
        made["kinks"].append((indices.tolist(), gaps.tolist()))
        return np.ones(len(indices), dtype=bool)

    monkeypatch.setattr(refinement, "_climb_leaf", climbed)
    monkeypatch.setattr(refinement, "_measure_at_kinks", kinks)
    return made


@pytest.mark.parametrize(
    ("slopes", "kinks"), [(np.ones(8), True), ([1, 1, 3, 1, 1, 1, 1, 1], True), ([1, 1, 0, 1, 1, 1, 1, 1], False)]
)
def test_the_others_are_taken_to_be_at_kinks_if_all_examples_are(measured_at_kinks, slopes, kinks):
    slopes = np.array(slopes, float)
    bench = bench_of(lambda p: float(slopes @ np.abs(p["x"])), {"x": np.zeros(8)}, {"x": np.full(8, 0.4)})
    enter(bench, np.zeros(8), 1e-9)
    _refine_leaf(bench, 0, np.arange(8))
    assert measured_at_kinks["climbed"][0] == [0, 2, 5]
    if kinks:
        ((indices, gaps),) = measured_at_kinks["kinks"]
        assert indices == [1, 3, 4, 6, 7] and gaps == pytest.approx([2 * slopes[[0, 2, 5]].max()], rel=1e-4)
    else:
        assert not measured_at_kinks["kinks"] and measured_at_kinks["climbed"][1] == [1, 3, 4, 6, 7]


def test_one_that_is_wrong_is_enough_for_a_leaf():
    bench = linear([3.0, 1.0, 1.0])
    enter(bench, [1.0, 1.1, 1.1], 1e-9)
    assert _refine_leaf(bench, 0, np.arange(3)) is True
    assert np.any(bench.decide(0, np.arange(3)).contradicted, axis=1).tolist() == [True, False, False]


def test_what_noise_hides_of_one_function_is_worth_a_look_beside_something_wrong(monkeypatch):
    bench = two(sums, np.ones(2), [[3.0, 1.0], [1.0, 1.0]], step=1e-6)
    enter_two(bench, [[1.0, 1.0], [1.0, 1.001]], [[1e-12, 1e-12], [1e-12, 2e-3]], typical=2e-3)
    monkeypatch.setattr(refinement, "_queue", lambda bench: [(0, 0)])
    refine(bench)
    assert Kind.LADDER in kinds(bench, 1)
