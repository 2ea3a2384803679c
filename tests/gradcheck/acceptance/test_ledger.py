"""What is kept of measurements, and what is asked of it: against what was entered, element by element."""

from types import SimpleNamespace

import numpy as np
import pytest

from gradcheck.acceptance.ledger import Estimate, Kind, Ledger, Membership, by_leaf, numbers_of, rms
from gradcheck.functions.blocks import BLOCK

NAN, INF = float("nan"), float("inf")


def column(*values):
    return np.array(values, float)[:, None]


def difference(indices, values, noise=1e-3, **options):
    values = column(*values)
    return Estimate.difference(
        np.array(indices), values, np.broadcast_to(float(noise), values.shape), np.zeros_like(values), **options
    )


def pair(indices, values, bound=1e-3):
    values = column(*values)
    shown = np.broadcast_to(float(bound), values.shape)
    return Estimate.pair(np.array(indices), values, shown, shown / 2)


# ---- one estimate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("noise", "median"), [([5, 1, 3], 3), ([4, 1, 3, 2], 2), ([7], 7), ([2, 9], 2)])
def test_beside_differences_stands_the_noise_of_the_typical_one(noise, median):
    """The median, of an even number the lower one: a number that was measured."""
    shown = column(*noise)
    made = Estimate.difference(np.arange(len(noise)), shown, shown, 3 * shown)
    assert made.typical.tolist() == [median] and made.kind == Kind.DIFFERENCE
    np.testing.assert_array_equal(made.bound, shown)
    np.testing.assert_array_equal(made.curvature, 3 * shown)
    assert not made.gap.any() and not made.limited.any() and not made.ended.any()


def test_of_no_differences_nothing_is_typical():
    nothing = np.zeros((0, 2))
    assert Estimate.difference(np.arange(0), nothing, nothing, nothing).typical.tolist() == [0, 0]


def test_differences_say_nothing_but_where_they_are_asked():
    made = difference([0, 1], [3.0, 4.0], where=column(1, 0).astype(bool), kind=Kind.CLOSEST, limited=True)
    assert made.kind == Kind.CLOSEST and made.limited.all()
    np.testing.assert_array_equal(made.value, column(3.0, NAN))


def test_a_pair_without_a_bound_bounds_nothing():
    values = column(1.0, 2.0, 3.0)
    made = Estimate.pair(np.arange(3), values, column(NAN, INF, 0.5), column(0.1, 0.2, 0.3))
    np.testing.assert_array_equal(made.bound, column(INF, INF, 0.5))
    np.testing.assert_array_equal(made.noise, column(0.1, 0.2, 0.3))
    assert made.kind == Kind.PAIR and not made.gap.any() and made.typical.tolist() == [0]
    assert not made.limited.any() and not made.ended.any()


def test_between_the_sides_of_a_kink_each_derivative_is_possible():
    made = Estimate.sides(np.arange(2), column(1.0, -1.0), column(-4.0, 2.0), column(0.25, 0.5))
    np.testing.assert_array_equal(made.bound, column(2.25, 1.5))
    np.testing.assert_array_equal(made.gap, column(-4.0, 2.0))
    assert made.kind == Kind.LADDER and not made.limited.any() and not made.ended.any()


def test_an_explanation_of_a_leaf_needs_no_other_step():
    made = Estimate.multiple(np.arange(2), column(1.0, 2.0), column(0.1, 0.2))
    assert made.kind == Kind.MULTIPLE and made.limited.all() and not made.ended.any() and not made.gap.any()
    np.testing.assert_array_equal(made.bound, made.noise)


def test_a_joint_move_says_zero_with_its_slope_as_gap_and_nothing_where_it_has_none():
    made = Estimate.joint(np.array([1, 3]), np.array([0.1, 0.2]), np.array([2.0, 0.0]))
    np.testing.assert_array_equal(made.value, [[0, NAN], [0, NAN]])
    np.testing.assert_array_equal(made.gap, [[2, 0], [2, 0]])
    np.testing.assert_array_equal(made.bound, [[0.1, 0.2], [0.1, 0.2]])
    assert made.kind == Kind.JOINT and not made.limited.any() and not made.ended.any()


def test_a_ladder_that_gave_no_number_bounds_nothing():
    measured = SimpleNamespace(
        value=column(1.0, NAN, 2.0),
        bound=column(NAN, 0.1, 0.2),
        noise=column(0.1, 0.1, 0.1),
        gap=column(0.0, 0.0, 1.0),
        curvature=column(1.0, 2.0, 3.0),
        exhausted=column(0, 0, 1).astype(bool),
        ended=np.array([[False], [True], [False]]),
    )
    made = Estimate.measurement(np.arange(3), measured, Kind.STAIR)
    np.testing.assert_array_equal(made.bound, column(INF, INF, 0.2))
    assert made.kind == Kind.STAIR and made.limited[:, 0].tolist() == [False, False, True]
    assert made.ended[:, 0].tolist() == [False, True, False]


# ---- side by side ---------------------------------------------------------------------------------------------------------


def test_each_element_has_its_estimates_in_the_order_asked_for():
    ledger = Ledger(5, 1)
    ledger.add(difference([0, 2, 4], [1.0, 3.0, 5.0], 0.5))
    ledger.add(pair([4, 1], [50.0, 20.0], 0.25))
    ledger.add(difference([4], [500.0], limited=True))
    assert ledger.count.tolist() == [1, 1, 1, 0, 3] and ledger.version == 3
    found = ledger.evidence(np.array([4, 3, 1, 0]))
    assert found.kind[..., 0].tolist() == [[1, 3, 1], [0, 0, 0], [3, 0, 0], [1, 0, 0]]
    expected = [[5, 50, 500], [NAN] * 3, [20, NAN, NAN], [1, NAN, NAN]]
    np.testing.assert_array_equal(found.value[..., 0], expected)
    np.testing.assert_array_equal(found.noise[..., 0], [[0.5, 0.125, 1e-3], [0] * 3, [0.125, 0, 0], [0.5, 0, 0]])
    np.testing.assert_array_equal(found.bound[..., 0], [[0.5, 0.25, 1e-3], [0] * 3, [0.25, 0, 0], [0.5, 0, 0]])
    np.testing.assert_array_equal(found.typical[..., 0], [[0.5, 0, 1e-3], [0] * 3, [0] * 3, [0.5, 0, 0]])
    assert found.limited[..., 0].tolist() == [[False, False, True], *[[False] * 3] * 3]
    assert not found.gap.any() and not found.curvature.any() and not found.ended.any()
    np.testing.assert_array_equal(ledger.evidence(np.array([0])).value, [[[1.0]]])
    np.testing.assert_array_equal(ledger.evidence(np.array([3])).value, np.zeros((1, 0, 1)))


def test_gaps_curvatures_and_ends_stay_beside_their_values():
    ledger = Ledger(2, 1)
    ledger.add(Estimate.sides(np.array([1]), column(1.0), column(2.0), column(0.5)))
    ledger.add(Estimate.difference(np.array([1]), column(3.0), column(0.5), column(7.0)))
    measured = SimpleNamespace(
        value=column(1.0), bound=column(0.1), noise=column(0.1), gap=column(0.0), curvature=column(9.0)
    )
    measured.exhausted, measured.ended = np.array([[False]]), np.array([[True]])
    ledger.add(Estimate.measurement(np.array([1]), measured))
    found = ledger.evidence(np.array([1]))
    assert found.gap.ravel().tolist() == [2, 0, 0] and found.curvature.ravel().tolist() == [0, 7, 9]
    assert found.ended.ravel().tolist() == [False, False, True]


def test_nothing_known_and_nothing_asked():
    ledger = Ledger(3, 2)
    assert ledger.evidence(np.array([0, 2])).value.shape == (2, 0, 2)
    ledger.add(difference([], []))
    assert ledger.version == 0 and not ledger.count.any()
    assert ledger.evidence(np.arange(0)).value.shape == (0, 0, 2)
    assert not ledger.measured(np.arange(3)).any()


def test_what_was_examined_and_distrusted_stays_so():
    ledger = Ledger(3, 2)
    ledger.enter_membership(
        np.array([0, 2]), np.array([[Membership.VALID, Membership.UNTESTED], [Membership.INVALID] * 2])
    )
    ledger.enter_membership(np.array([0]), np.array([[Membership.UNTESTED, Membership.OPEN]]))
    expected = [[Membership.VALID, Membership.OPEN], [Membership.UNTESTED] * 2, [Membership.INVALID] * 2]
    np.testing.assert_array_equal(ledger.membership, expected)
    ledger.mark_nonlinear(np.array([1]), np.array([[True, False]]))
    ledger.mark_nonlinear(np.array([1, 2]), np.array([[False, False], [False, True]]))
    assert ledger.nonlinear.tolist() == [[False, False], [True, False], [False, True]] and ledger.version == 4
    found = ledger.evidence(np.array([2, 0]))
    np.testing.assert_array_equal(found.membership, [expected[2], expected[0]])
    assert found.nonlinear.tolist() == [[False, True], [False, False]]


def test_plain_differences_bound_nothing_and_all_others_do():
    for kind in numbers_of(Kind).values():
        ledger = Ledger(3, 1)
        ledger.add(difference([0, 2], [1.0, 1.0], kind=kind))
        bounded = kind not in (Kind.NONE, Kind.DIFFERENCE, Kind.CLOSEST)
        assert ledger.measured(np.array([1, 2])).tolist() == [False, bounded]
    ledger.add(pair([1], [1.0]))
    assert ledger.measured(np.arange(3)).all()


def test_kinds_rise_with_what_they_bound():
    """Nothing, by noise alone, by two steps, by many, by rounding alone."""
    names = "NONE DIFFERENCE CLOSEST PAIR JOINT LADDER JUMPS STAIR EXACT MULTIPLE"
    assert numbers_of(Kind) == {name: number for number, name in enumerate(names.split())}
    assert Membership.UNTESTED == 0 and len(numbers_of(Membership)) == 6


# ---- the typical element --------------------------------------------------------------------------------------------------


def test_the_typical_size_is_that_of_the_best_measurement_of_each_element():
    ledger = Ledger(3, 1)
    assert ledger.typical_size().tolist() == [0]
    ledger.add(difference([0, 2], [3.0, 100.0], 0.1))
    ledger.add(difference([2], [4.0], 0.2))  # of two differences that of more noise: its step was the shorter one
    ledger.add(difference([0], [7.0], 0.05))
    assert ledger.typical_size()[0] == pytest.approx(np.sqrt((9 + 16) / 2))
    ledger.add(pair([0], [6.0], 0.5))
    ledger.add(pair([0], [1.0], 0.1))
    ledger.add(pair([0], [8.0], 0.2))
    assert ledger.typical_size()[0] == pytest.approx(np.sqrt((1 + 16) / 2))


def test_no_typical_size_comes_of_joint_moves_of_closest_looks_and_of_what_is_no_number():
    ledger = Ledger(3, 1)
    ledger.add(difference([0, 1], [3.0, 3.0], 0.1))
    ledger.add(difference([0], [50.0], 0.5, kind=Kind.CLOSEST))
    ledger.add(Estimate.joint(np.array([1]), np.array([1e-9]), np.array([5.0])))
    ledger.add(pair([1], [NAN], 1e-9))
    assert ledger.typical_size()[0] == pytest.approx(3.0)


def test_sizes_of_several_columns_and_what_is_entered_later():
    ledger = Ledger(2, 2)
    values = np.array([[3.0, NAN], [4.0, 2.0]])
    ledger.add(Estimate.pair(np.arange(2), values, np.full((2, 2), 0.1), np.full((2, 2), 0.1)))
    np.testing.assert_allclose(ledger.typical_size(), [np.sqrt(12.5), 2.0])
    assert ledger.typical_size() is ledger.typical_size()  # it is not made anew for nothing
    ledger.add(Estimate.pair(np.array([1]), np.array([[0.0, 6.0]]), np.full((1, 2), 0.01), np.full((1, 2), 0.01)))
    np.testing.assert_allclose(ledger.typical_size(), [np.sqrt(4.5), 6.0])


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1.0, 1e308])
def test_the_root_mean_square_neither_overflows_nor_vanishes(size):
    assert rms(size * column(0.6, -0.8))[0] == pytest.approx(size * np.sqrt(0.5), rel=1e-6)


def test_the_root_mean_square_is_of_what_is_finite_column_by_column():
    values = np.array([[3.0, NAN, 0.0, INF], [4.0, -2.0, 0.0, NAN], [INF, -INF, 0.0, -INF]])
    np.testing.assert_allclose(rms(values), [np.sqrt(12.5), 2.0, 0.0, 0.0])
    assert rms(np.zeros((0, 3))).tolist() == [0, 0, 0]


def test_the_root_mean_square_of_more_than_a_block():
    values = np.random.default_rng(0).normal(size=(BLOCK // 2 + 77, 3)) * [1, 10, 100]
    np.testing.assert_allclose(rms(values), np.sqrt(np.mean(values**2, axis=0)), rtol=1e-12)


def test_one_estimate_alone_is_the_evidence_that_it_is_beside_others():
    made = difference([0, 1, 3], [3.0, 4.0, NAN], noise=0.25, limited=True)
    alone, beside = Ledger(5, 1), Ledger(5, 1)
    for ledger in (alone, beside):
        ledger.add(made)
        ledger.enter_membership(np.array([1]), np.array([[Membership.OPEN]], np.int8))
        ledger.mark_nonlinear(np.array([3]), column(1).astype(bool))
    beside.add(pair([4], [9.0]))
    for mine, theirs in zip(alone.evidence(made.indices), beside.evidence(made.indices), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


def test_what_is_known_grows_with_every_estimate():
    ledger = Ledger(5, 1)
    assert ledger.known.tolist() == []
    ledger.add(difference([3, 1], [3.0, 4.0]))
    assert ledger.known.tolist() == [1, 3]
    ledger.add(pair([4, 1], [9.0, 4.0]))
    assert ledger.known.tolist() == [1, 3, 4]


def test_elements_leaf_by_leaf_in_their_order():
    found = by_leaf([(1, 4), (0, 2), (1, 0), (0, 7)])
    assert {leaf: indices.tolist() for leaf, indices in found.items()} == {1: [4, 0], 0: [2, 7]}
    assert list(found) == [1, 0] and by_leaf([]) == {}
