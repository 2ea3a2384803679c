"""What a contradicted claim may be in place of wrong: beside a jump, on a stair, at a kink. Each look, and what it costs."""

from types import SimpleNamespace

import numpy as np
import pytest

from gradcheck.acceptance import irregular
from gradcheck.acceptance.decide import Outcome
from gradcheck.acceptance.irregular import (
    _is_on_coarse_stair,
    _require_repeatable,
    _without_common_errors,
    look_for_jumps,
    look_for_kinks,
    look_for_stairs,
    look_for_zeros_on_stairs,
)
from gradcheck.acceptance.ledger import Estimate, Kind, Membership
from gradcheck.acceptance.refinement import EXAMPLES, SECOND_STEP
from gradcheck.differences.counts import SMALL
from gradcheck.differences.lengths import BEYOND, FIRST_STEP
from gradcheck.differences.steps import DEFAULT_STEP
from gradcheck.functions.repeated import NotRepeatableError
from gradcheck.nonsmooth.sampling import Ball, Flagged

from .benches import bench_of, calls

HERE = np.array([0])


def climbed(f, x, claims, **options):
    """A bench whose elements have been measured twice with ladders."""
    x = np.asarray(x, float)
    bench = bench_of(lambda p: f(p["x"]), {"x": x}, {"x": np.asarray(claims, float)}, **options)
    for step in (FIRST_STEP, SECOND_STEP):
        bench.climb(0, np.arange(len(x)), step)
    bench.probe.budget.used = 0
    return bench


def sides(bench, value, gap=0.0, *, index=0, bound=1e-3):
    """Enter two measurements of an element that say the same."""
    for _ in range(2):
        bench.ledgers[0].add(
            Estimate.sides(np.array([index]), np.array([[value]]), np.array([[gap]]), np.array([[bound]]))
        )


def kinds(bench, index):
    return {int(kind) for kind in bench.ledgers[0].evidence(np.array([index])).kind[0, :, 0]}


def outcomes(bench):
    return [int(found) for found in bench.decide(0, np.arange(len(bench.claims[0].values))).outcome[:, 0]]


# ---- jumps ----------------------------------------------------------------------------------------------------------------

PIECE, LOSS = 0.03, 0.01


def in_pieces(x):
    """Slopes of 0.99, and jumps that make up for it: the trend is one."""
    return float(np.sum(x - LOSS * ((x - 1.0 + PIECE / 2) % PIECE)))


def test_an_error_that_jumps_make_up_for_contradicts_no_more():
    bench = climbed(in_pieces, [1.0, 1.0], [1.0, 1.2])
    assert bench.decide(0, np.arange(2)).contradicted.all()
    look_for_jumps(bench)
    found = bench.decide(0, np.arange(2))
    assert found.contradicted[:, 0].tolist() == [False, True]
    assert Kind.JUMPS in kinds(bench, 0) and Kind.JUMPS not in kinds(bench, 1)
    np.testing.assert_allclose(bench.noise_seen[0], LOSS * PIECE, rtol=0.1)


@pytest.mark.parametrize(
    ("claim", "gap", "looked"),
    [(1.04, 0.0, True), (1.06, 0.0, False), (0.96, 0.0, True), (1.04, 0.05, False)],
)
def test_jumps_are_looked_for_where_the_error_is_small_and_there_is_no_kink(claim, gap, looked):
    bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.ones(2)}, {"x": np.array([claim, 1.0])})
    sides(bench, 1.0, gap)
    look_for_jumps(bench)
    assert (calls(bench) >= 25) is looked and Kind.JUMPS not in kinds(bench, 0)


def test_without_a_jump_nothing_is_measured_anew():
    bench = climbed(lambda x: float(np.sum(x + x**2)), [1.0, 1.2], 1.001 * (1 + 2 * np.array([1.0, 1.2])), noise=1e-14)
    look_for_jumps(bench)
    assert kinds(bench, 0) == {Kind.LADDER} and calls(bench) == 100 and not bench.noise_seen


def test_a_jump_explains_an_error_up_to_four_times_itself_on_the_way_to_it(monkeypatch):
    for claim, measured in ((1.0 + 3.9e-3, True), (1.0 + 4.1e-3, False)):
        bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.full(2, 4.0)}, {"x": np.array([claim, 1.0])})
        sides(bench, 1.0)
        monkeypatch.setattr(irregular, "jump_nearby", lambda *args: (np.array([1e-4]), 0.1 / bench.lengths[0][0]))  # noqa: B023
        look_for_jumps(bench)
        assert (Kind.JUMPS in kinds(bench, 0)) is measured


def test_three_are_measured_first_and_the_others_if_that_explains_one(monkeypatch):
    for explains, measured in ((True, 7), (False, EXAMPLES)):
        bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.ones(7)}, {"x": np.full(7, 1.01)})
        for index in range(7):
            sides(bench, 1.0, index=index)
        monkeypatch.setattr(irregular, "jump_nearby", lambda *args, s=explains: (np.array([3e-4 if s else 5e-5]), 0.01))
        look_for_jumps(bench)
        assert sum(Kind.JUMPS in kinds(bench, i) for i in range(7)) == measured
        assert (0 in bench.noise_seen) is explains


# ---- stairs ---------------------------------------------------------------------------------------------------------------


def rounded(digits):
    return lambda x: float(np.round(np.sum(x), digits))


def test_on_a_stair_the_trend_is_measured_with_steps_longer_than_it():
    bench = bench_of(
        lambda p: rounded(6)(p["x"]), {"x": np.array([0.7001234, 1.3004322])}, {"x": np.ones(2)}, noise=1e-9
    )
    for index in range(2):
        sides(bench, 0.0, index=index)
    look_for_stairs(bench)
    assert all(Kind.STAIR in kinds(bench, i) for i in range(2))
    found = bench.decide(0, np.arange(2))
    np.testing.assert_allclose(found.reference[:, 0], 1.0, atol=1e-3)
    assert not found.contradicted.any()
    np.testing.assert_allclose(bench.noise_seen[0], 1e-6 / np.sqrt(12), rtol=1e-6)


def test_elsewhere_three_elements_of_a_leaf_are_looked_at_for_eight_calls_each():
    bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.ones(6)}, {"x": np.full(6, 2.0)})
    for index in range(6):
        sides(bench, 1.0, index=index)
    look_for_stairs(bench)
    assert (
        calls(bench) == EXAMPLES * 8
        and not bench.noise_seen
        and all(Kind.STAIR not in kinds(bench, i) for i in range(6))
    )


def floors(x):
    return float(np.sum(np.floor(4 * x)))


@pytest.mark.parametrize(
    ("f", "claims", "standing"),
    [
        (floors, [0.0, 0.0], [True, True]),
        (floors, [4.0, 0.0], [False, True]),
        (lambda x: float(np.sum(x)), [0.0, 0.0], [False, False]),
        (lambda x: float(np.float32(np.sum(x))), [0.0, 0.0], [False, False]),  # what was dropped in single precision
    ],
)
def test_a_claim_of_zero_on_a_step_function_stands(f, claims, standing):
    bench = bench_of(lambda p: f(p["x"]), {"x": np.array([0.6, 0.62])}, {"x": np.array(claims)})
    for index in range(2):
        sides(bench, 1.0, index=index)
    look_for_zeros_on_stairs(bench)
    assert (bench.ledgers[0].membership[:, 0] == Membership.STANDING).tolist() == standing
    again = calls(bench)
    look_for_zeros_on_stairs(bench)
    assert calls(bench) == (again if any(standing) else 2 * again)  # what stands is not looked at again


@pytest.mark.parametrize("count", [3, 4, 9, 30])
def test_a_few_are_looked_at_and_the_others_taken_to_be_like_them(monkeypatch, count):
    for of_stair in (lambda index: True, lambda index: index == 0):
        bench = bench_of(lambda p: floors(p["x"]), {"x": np.full(count, 0.6)}, {"x": np.zeros(count)})
        for index in range(count):
            sides(bench, 1.0, index=index)
        asked = []
        monkeypatch.setattr(
            irregular, "_is_on_coarse_stair", lambda b, leaf, i, s, a=asked, t=of_stair: a.append(i) or t(i)
        )
        look_for_zeros_on_stairs(bench)
        stands = bench.ledgers[0].membership[:, 0] == Membership.STANDING
        assert np.all(stands) == (of_stair(1)) and np.any(stands) == of_stair(1)
        assert asked[0] == 0 and len(asked) <= EXAMPLES and (len(asked) == min(count, len(asked)))
        if of_stair(1):
            assert len(asked) == min(count, EXAMPLES)


@pytest.mark.parametrize(
    ("height", "slope", "coarse"),
    [
        (1.1, 0.0, True),
        (0.9, 0.0, False),  # fifteen epsilon of single precision of the value
        (100.0, 99.0, True),
        (100.0, 101.0, False),  # by its trend no longer than fifteen epsilon of the element
    ],
)
def test_a_stair_is_coarse_that_is_higher_and_longer_than_rounding_makes_one(monkeypatch, height, slope, coarse):
    bench = bench_of(lambda p: 8.0 + float(np.sum(p["x"])), {"x": np.zeros(1)}, {"x": np.zeros(1)})
    unit = 15 * float(np.finfo(np.float32).eps)
    monkeypatch.setattr(irregular, "nearest_stair", lambda *args: np.array([height * unit * 8.0]))
    per_length = 8.0 / bench.lengths[0][0]
    assert _is_on_coarse_stair(bench, 0, 0, np.array([slope * per_length])) is coarse
    assert _is_on_coarse_stair(bench, 0, 0, np.array([-slope * per_length])) is coarse


# ---- kinks ----------------------------------------------------------------------------------------------------------------


def test_claims_at_a_kink_are_valid_or_not():
    bench = climbed(lambda x: float(np.max(x) + np.sum(x**2)), [1.0, 1.0, 0.4], [3.0, 2.0, 0.8])
    for claims, expected in (
        ([3.0, 2.0, 0.8], [Outcome.RIGHT] * 3),
        ([3.0, 3.0, 0.8], [Outcome.WRONG, Outcome.WRONG, Outcome.RIGHT]),
        ([2.5, 2.5, 0.9], [Outcome.RIGHT, Outcome.RIGHT, Outcome.WRONG]),
    ):
        bench = climbed(lambda x: float(np.max(x) + np.sum(x**2)), [1.0, 1.0, 0.4], claims)
        look_for_kinks(bench)
        assert outcomes(bench) == expected


def concluded(monkeypatch, **fields):
    """The membership of one element, contradicted, after a look that ends so."""
    bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.ones(1)}, {"x": np.array([2.0])})
    sides(bench, 1.0)

    def judge(ball, flagged):
        for one in flagged:
            one.open[:] = False
            for name, value in fields.items():
                getattr(one, name)[:] = value

    monkeypatch.setattr(irregular, "judge_flagged", judge)
    look_for_kinks(bench)
    return int(bench.ledgers[0].membership[0, 0])


@pytest.mark.parametrize(
    ("fields", "membership"),
    [
        ({}, Membership.INVALID),
        ({"valid": True}, Membership.VALID),
        ({"hidden": True}, Membership.HIDDEN),
        ({"open": True}, Membership.OPEN),
        ({"open": True, "valid": True}, Membership.OPEN),
    ],
)
def test_what_the_look_said_is_entered(monkeypatch, fields, membership):
    assert concluded(monkeypatch, **fields) == membership


def test_a_column_that_was_not_in_question_stays_untested():
    bench = bench_of(
        lambda p: np.array([np.sum(p["x"]), 2 * np.sum(p["x"])]), {"x": np.ones(1)}, {"x": np.array([[2.0, 2.0]])}
    )
    for _ in range(2):
        bench.ledgers[0].add(Estimate.sides(HERE, np.array([[1.0, 2.0]]), np.zeros((1, 2)), np.full((1, 2), 1e-3)))
    look_for_kinks(bench)
    assert bench.ledgers[0].membership[0].tolist() == [Membership.INVALID, Membership.UNTESTED]


def flagged(gap=0.0, valid=True, leaf=0):
    one = Flagged(leaf, 0, np.array([2.0]), np.array([1.0]), np.array([1e-3]), np.array([gap]))
    one.valid[:] = valid
    return one, np.ones(1, dtype=bool)


@pytest.mark.parametrize(
    ("elements", "used", "made"),
    [
        ([flagged()], 100, 10),
        ([flagged()], 10_000, SMALL),
        ([flagged(gap=1.0)], 100, 0),  # differences showed the kink
        ([flagged(valid=False)], 100, 0),  # none was found
        ([flagged(gap=1.0), flagged()], 100, 10),
        ([], 100, 0),
    ],
)
def test_the_point_is_looked_at_again_where_a_kink_was_found_that_differences_did_not_see(elements, used, made):
    asked = []
    budget = SimpleNamespace(used=used)

    def ray(moves, places):
        asked.append(len(places))
        assert not moves[0].any() and not places.any()
        return np.full((len(places), 1), 5.0)

    ball = SimpleNamespace(
        probe=SimpleNamespace(budget=budget, ray=ray), scales={0: np.ones(3)}, noise=np.array([1e-9])
    )
    _require_repeatable(ball, np.array([5.0]), elements)
    assert sum(asked) == made
    if made:
        with pytest.raises(NotRepeatableError):
            _require_repeatable(ball, np.array([5.1]), elements)


# ---- errors in common -----------------------------------------------------------------------------------------------------


def in_common(factor, *, count=12, noise=1e-9, f=None, gaps=(), bound=1e-6, **options):
    """Claims of a gradient of ones that are all off by one factor, each by less than its own noise tells for sure."""
    x = np.linspace(1.0, 2.0, count)
    bench = bench_of(
        lambda p: float(np.sum(p["x"]) if f is None else f(p["x"])),
        {"x": x},
        {"x": np.full(count, factor)},
        noise=noise,
        **options,
    )
    for index in range(count):
        sides(bench, 1.0, 0.5 if index in gaps else 0.0, index=index, bound=bound)
    return bench


def test_elements_off_by_one_factor_are_wrong_without_a_look_at_each():
    bench = in_common(1.01)
    assert _without_common_errors(bench, bench.flagged) == []
    assert np.all(bench.ledgers[0].membership == Membership.INVALID) and calls(bench) <= 18


@pytest.mark.parametrize(("count", "alone"), [(11, True), (12, False)])
def test_a_dozen_elements_at_least_have_an_error_in_common(count, alone):
    bench = in_common(1.01, count=count)
    rest = _without_common_errors(bench, bench.flagged)
    assert len(rest) == (count if alone else 0)


def test_those_at_kinks_are_left_to_the_look_at_each():
    bench = in_common(1.5, count=14, gaps=(3, 5))
    rest = _without_common_errors(bench, bench.flagged)
    assert sorted(one.index for one, _ in rest) == [3, 5]
    assert np.flatnonzero(bench.ledgers[0].membership[:, 0] == Membership.INVALID).tolist() == [
        i for i in range(14) if i not in (3, 5)
    ]


def test_a_kink_that_all_of_them_share_makes_none_wrong():
    """They bend the function together by as much as the claims are off."""
    bench = in_common(1.01, f=lambda x: float(np.sum(x) + 0.01 * np.sum(np.abs(x - np.linspace(1.0, 2.0, 12)))))
    rest = _without_common_errors(bench, bench.flagged)
    assert len(rest) == 12 and not bench.ledgers[0].membership.any()


def test_what_noise_makes_of_an_error_in_common_is_that_of_one_deviation():
    """The bound of an element allows for several of them: four, of twelve elements."""
    bench = in_common(1.01, bound=6.8e-3)
    assert _without_common_errors(bench, bench.flagged) == []


# ---- two functions at once ------------------------------------------------------------------------------------------------


def two(f, x, claims, **options):
    x = np.asarray(x, float)
    return bench_of(lambda p: np.array(f(p["x"])), {"x": x}, {"x": np.asarray(claims, float)}, **options)


def two_sides(bench, values, gaps=(0.0, 0.0), *, index=0, bound=1e-3):
    for _ in range(2):
        shown = Estimate.sides(np.array([index]), np.array([values]), np.array([gaps]), np.full((1, 2), bound))
        bench.ledgers[0].add(shown)


def sums(x):
    return [np.sum(x), np.sum(x)]


@pytest.mark.parametrize(("other", "explained"), [(1.0, True), (1.01, False)])
def test_a_jump_in_one_function_explains_no_error_in_another(monkeypatch, other, explained):
    bench = two(sums, np.ones(1), [[1.01, other]])
    two_sides(bench, [1.0, 1.0])
    monkeypatch.setattr(irregular, "jump_nearby", lambda *args: (np.array([3e-4, 1e-11 * (other > 1)]), 1e-9))
    look_for_jumps(bench)
    assert Kind.JUMPS in kinds(bench, 0) and (0 in bench.noise_seen) is explained


def test_the_highest_stair_of_a_leaf_is_its_noise(monkeypatch):
    for heights in ((1e-4, 1e-6), (1e-6, 1e-4)):
        bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.ones(2)}, {"x": np.full(2, 2.0)})
        for index in range(2):
            sides(bench, 1.0, index=index)
        monkeypatch.setattr(irregular, "_stair_height", lambda b, leaf, index, jitter, h=heights: np.array([h[index]]))
        look_for_stairs(bench)
        assert bench.noise_seen[0][0] == pytest.approx(1e-4 / np.sqrt(12), rel=1e-9)


def test_a_claim_of_zero_in_one_function_stands_whatever_that_in_another_is():
    bench = two(lambda x: [floors(x), floors(x)], [0.6], [[0.0, 4.0]])
    two_sides(bench, [1.0, 1.0])
    look_for_zeros_on_stairs(bench)
    assert bench.ledgers[0].membership[0].tolist() == [Membership.STANDING, Membership.UNTESTED]


@pytest.mark.parametrize(
    ("gap", "valid", "made"),
    [([0.0, 1.0], [True, False], 0), ([0.0, 0.0], [True, False], 10), ([0.0, 0.0], [False, False], 0)],
)
def test_a_kink_in_one_function_is_one(gap, valid, made):
    one = Flagged(0, 0, np.full(2, 2.0), np.ones(2), np.full(2, 1e-3), np.array(gap))
    one.valid[:] = valid
    asked = []
    ball = SimpleNamespace(
        probe=SimpleNamespace(
            budget=SimpleNamespace(used=100),
            ray=lambda moves, places: asked.append(len(places)) or np.ones((len(places), 2)),
        ),
        scales={0: np.ones(3)},
        noise=np.full(2, 1e-9),
    )
    _require_repeatable(ball, np.ones(2), [(one, np.ones(2, dtype=bool))])
    assert sum(asked) == made


def test_one_with_a_kink_in_one_function_is_left_to_the_look_at_each():
    bench = two(sums, np.linspace(1.0, 2.0, 13), np.full((13, 2), 1.01))
    for index in range(13):
        two_sides(bench, [1.0, 1.0], (0.0, 0.5) if index == 3 else (0.0, 0.0), index=index, bound=1e-6)
    elements = bench.flagged
    rest = _without_common_errors(bench, elements)
    assert [one.index for one, _ in rest] == [3] and len(elements) == 13
    assert np.flatnonzero(~bench.ledgers[0].membership.any(axis=1)).tolist() == [3]


@pytest.mark.parametrize(("reference", "looked"), [(1.0, True), (0.05, False)])
def test_how_small_an_error_is_counts_beside_the_element_or_its_leaf(reference, looked):
    """One of 0.05 in a leaf of ones: off by 0.04 is little beside those."""
    bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.ones(5)}, {"x": np.array([0.09, 1.0, 1.0, 1.0, 1.0])})
    sides(bench, 0.05)
    for index in range(1, 5):
        sides(bench, reference, index=index)
    look_for_jumps(bench)
    assert (calls(bench) >= 25) is looked


def test_a_jump_must_explain_the_error_in_every_function_in_question(monkeypatch):
    bench = two(sums, np.ones(1), [[1.01, 1.01]])
    two_sides(bench, [1.0, 1.0])
    monkeypatch.setattr(irregular, "jump_nearby", lambda *args: (np.array([3e-4, 0.0]), 0.1))
    look_for_jumps(bench)
    assert Kind.JUMPS not in kinds(bench, 0)


def test_without_a_stair_a_few_elements_are_looked_at_and_no_more(monkeypatch):
    bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.ones(6)}, {"x": np.full(6, 2.0)})
    for index in range(6):
        sides(bench, 1.0, index=index)
    asked = []
    monkeypatch.setattr(irregular, "_stair_height", lambda b, leaf, index, jitter: asked.append(index) or np.zeros(1))
    look_for_stairs(bench)
    assert asked == list(range(EXAMPLES))


def test_a_stair_is_as_long_as_rounding_makes_one_of_a_larger_element(monkeypatch):
    unit = 15 * float(np.finfo(np.float32).eps)
    bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.full(1, 8.0)}, {"x": np.zeros(1)})
    for height, coarse in ((8.0 * 8.0 * 1.1, True), (8.0 * 8.0 * 0.9, False)):
        monkeypatch.setattr(irregular, "nearest_stair", lambda *args, h=height: np.array([h * unit]))
        assert _is_on_coarse_stair(bench, 0, 0, np.array([8.0])) is coarse


def test_one_of_the_first_three_that_is_explained_is_enough_to_go_on(monkeypatch):
    claims = np.full(7, 1.04)
    claims[2] = 1.001
    bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.ones(7)}, {"x": claims})
    for index in range(7):
        sides(bench, 1.0, index=index, bound=1e-5)
    monkeypatch.setattr(irregular, "jump_nearby", lambda *args: (np.array([2e-5]), 1e-9))
    look_for_jumps(bench)
    assert sum(Kind.JUMPS in kinds(bench, i) for i in range(7)) == 7
    assert np.flatnonzero(~bench.decide(0, np.arange(7)).contradicted[:, 0]).tolist() == [2]


def test_an_error_in_common_of_one_function_needs_none_of_another():
    bench = two(sums, np.linspace(1.0, 2.0, 12), np.tile([1.01, 1.0], (12, 1)))
    for index in range(12):
        two_sides(bench, [1.0, 1.0], index=index, bound=1e-6)
    assert _without_common_errors(bench, bench.flagged) == []
    assert np.all(bench.ledgers[0].membership == [Membership.INVALID, Membership.UNTESTED])


@pytest.mark.parametrize("smooth", [1.01, 1.0])
def test_where_a_kink_may_make_claims_valid_in_one_function_each_element_is_looked_at(smooth):
    """Whether the other is off by a factor as well or not at all."""
    x, claims = np.linspace(1.0, 2.0, 12), np.tile([smooth, 1.01], (12, 1))
    bench = two(lambda y: [np.sum(y), np.sum(y) + 0.01 * np.sum(np.abs(y - x))], x, claims, noise=1e-9)
    for index in range(12):
        two_sides(bench, [1.0, 1.0], index=index, bound=1e-6)
    rest = _without_common_errors(bench, bench.flagged)
    assert len(rest) == 12 and not bench.ledgers[0].membership.any()


def test_what_was_measured_once_is_not_looked_at_for_stairs():
    bench = bench_of(lambda p: floors(p["x"]), {"x": np.array([0.6, 0.62])}, {"x": np.zeros(2)})
    bench.ledgers[0].add(Estimate.multiple(np.arange(2), np.ones((2, 1)), np.full((2, 1), 1e-3)))
    assert bench.decide(0, np.arange(2)).contradicted.all()
    look_for_zeros_on_stairs(bench)
    assert calls(bench) == 0


def test_a_stair_of_one_function_is_one(monkeypatch):
    bench = two(sums, np.ones(1), [[2.0, 2.0]])
    two_sides(bench, [1.0, 1.0])
    monkeypatch.setattr(irregular, "_stair_height", lambda b, leaf, index, jitter: np.array([1e-4, 0.0]))
    look_for_stairs(bench)
    assert Kind.STAIR in kinds(bench, 0)
    np.testing.assert_allclose(bench.noise_seen[0], [1e-4 / np.sqrt(12), bench.noise[1]])


@pytest.mark.parametrize(("share", "membership"), [(0.9, Membership.INVALID), (1.1, Membership.OPEN)])
def test_what_is_not_in_sight_within_the_scale_of_an_element_stays_open(monkeypatch, share, membership):
    """Noise hides kinks up to a length times the radius, farther than the element reaches."""
    bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.full(2, 8.0)}, {"x": np.array([2.0, 1.0])})
    sides(bench, 1.0)
    bench.steps[0], length = DEFAULT_STEP, bench.lengths[0][0]
    assert length != 1
    monkeypatch.setattr(irregular, "own_sizes", lambda value, lengths: np.array([1e-3]))
    monkeypatch.setattr(Ball, "radius", lambda self, flagged: share * BEYOND * 1e-3 / length)

    monkeypatch.setattr(Flagged, "contradicted", np.zeros(1, dtype=bool))

    def judge(ball, flagged):
        for one in flagged:
            one.open[:] = False

    monkeypatch.setattr(irregular, "judge_flagged", judge)
    look_for_kinks(bench)
    assert bench.ledgers[0].membership[0, 0] == membership


def test_a_stair_of_one_function_is_coarse(monkeypatch):
    bench = two(sums, np.ones(1), [[0.0, 0.0]])
    monkeypatch.setattr(irregular, "nearest_stair", lambda *args: np.array([1.0, 0.0]))
    assert _is_on_coarse_stair(bench, 0, 0, np.ones(2))


@pytest.mark.parametrize(("step", "share"), [(None, 1.0), (0.25, 0.25), (4.0, 1.0)])
def test_kinks_are_looked_for_within_less_than_the_length_where_the_step_is_shorter_than_usual(
    monkeypatch, step, share
):
    bench = bench_of(lambda p: float(np.sum(p["x"])), {"x": np.full(2, 8.0)}, {"x": np.array([2.0, 1.0])})
    sides(bench, 1.0)
    bench.steps = {} if step is None else {0: step * DEFAULT_STEP}
    balls = []
    monkeypatch.setattr(irregular, "judge_flagged", lambda ball, flagged: balls.append(ball))
    look_for_kinks(bench)
    np.testing.assert_allclose(balls[0].scales[0], share * bench.lengths[0])


@pytest.mark.parametrize(("other", "looked"), [(1.0, True), (1.04, True), (1.5, False)])
def test_an_error_is_small_if_it_is_in_every_function_in_question(other, looked):
    bench = two(sums, np.ones(1), [[1.04, other]])
    two_sides(bench, [1.0, 1.0])
    look_for_jumps(bench)
    assert (calls(bench) >= 25) is looked
