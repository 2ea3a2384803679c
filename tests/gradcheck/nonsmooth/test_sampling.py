"""The radius of the ball, and what is at stake."""

import numpy as np
import pytest

from gradcheck.differences.lengths import CLOSEST
from gradcheck.nonsmooth.sampling import FARTHEST, STEP, Flagged

from .balls import ball_of, flag


def flagged(claimed, reference, bound, gap=0.0):
    return Flagged(0, 0, *(np.array([v], float) for v in (claimed, reference, bound, gap)))


def test_what_is_at_stake_is_the_error_or_the_gap():
    assert flagged(2.0, 1.0, 0.1).stake == 1.0
    assert flagged(0.2, 0.5, 0.5, gap=1.0).stake == 1.0
    assert flagged(1.05, 1.0, 0.1).stake == 0.0  # agrees, and no kink was seen


def test_nothing_is_decided_at_first():
    element = flagged(2.0, 1.0, 0.1)
    assert element.open.all()
    assert not element.valid.any()
    element.conclude(np.array([False]))
    assert not element.open.any()


@pytest.mark.parametrize("noise", [1e-17, 1e-13, 1e-9, 1e-7, 1e-5, 1e-2])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_noise_blurs_slopes_by_a_few_per_cent_of_the_stake_or_the_radius_is_the_largest(noise, scale):
    ball = ball_of(lambda x: float(np.abs(x).sum()), np.zeros(1), [0.0], noise=noise, scales=np.array([scale]))
    element = flagged(0.0, 0.0, 1.0, gap=2.0)
    radius = ball.radius([element])
    assert 1.07e-10 <= radius <= 0.27
    assert noise / (0.05 * radius * scale) <= 0.02 * 2.0 or radius >= FARTHEST


def test_a_displacement_is_longer_than_what_the_dtype_rounds_it_by():
    x = np.full(1, 3e7, np.float32)
    ball = ball_of(lambda x: np.abs(x - np.float32(3e7)).sum(), x, [0.0], scales=np.array([3e7]))
    radius = ball.radius([flagged(1.0, 0.0, 1.0, gap=2.0)])
    assert STEP * radius * 3e7 > np.spacing(x[0])


def test_near_points_move_every_element_within_the_radius():
    ball = ball_of(lambda x: float(x.sum()), np.ones(50), np.ones(50), scales=np.linspace(1, 9, 50))
    move = ball.near(1e-3)[0] / np.linspace(1, 9, 50)
    assert np.all((np.abs(move) >= 0.3e-3) & (np.abs(move) <= 1e-3))


def test_columns_are_read_through_the_cotangents():
    cotangents = np.array([[1.0, 2.0, -1.0], [0.0, 1.0, 3.0]])
    ball = ball_of(np.abs, np.array([0.0, 1.0, -2.0]), np.zeros((3, 2)), cotangents=cotangents)
    outputs = ball.outputs(ball.at_rest())
    np.testing.assert_allclose(ball.read(outputs, None), cotangents @ [0, 1, 2])
    np.testing.assert_allclose(ball.read(outputs, np.array([1])), cotangents[:, 1])
    assert flag(ball, 0).gap == pytest.approx([2.0, 0.0])


def elements_of(x, scales, stakes, claims=None):
    """A ball, and elements with these scales and stakes in order."""
    count = len(scales)
    ball = ball_of(lambda x: float(x.sum()), np.array(x), np.zeros(count), scales=np.array(scales, float))
    one = np.ones(1)
    claims = np.zeros(count) if claims is None else claims
    found = [Flagged(0, i, claims[i] * one, 0 * one, one, 0 * one, np.atleast_1d(stakes[i])) for i in range(count)]
    return ball, found


@pytest.mark.parametrize(
    ("x", "scales", "stakes", "moved"),
    [
        ([1, 2], [1, 1], [1, 1], [1, 1]),
        ([1, 2], [1, 1], [3, 0.5], [1 / 6, 1]),  # so far that what is at stake changes the function alike
        ([0, 0, 1], [2, 1, 1], [1, 3, 0.5], [1 / 6, 1 / 6, 1]),  # equal ones alike, by the largest stake
        ([1, 2], [1, 1], [0, 4], [1, 1]),  # nothing is at stake in one of them
        ([1, 2], [1, 1], [np.inf, 4], [1, 1]),
        ([1], [5], [3], [5]),
    ],
)
def test_elements_are_moved_so_far_that_what_is_at_stake_is_alike(x, scales, stakes, moved):
    ball, found = elements_of(np.array(x, float), scales, stakes)
    np.testing.assert_allclose(ball.scale(found), moved)


@pytest.mark.parametrize(
    ("noise", "stake", "scale", "radius"),
    [
        (1e-16, 2.0, 1.0, CLOSEST),
        (1e-9, 2.0, 1.0, 1e-6),
        (1e-9, 2.0, 1e-3, 1e-3),
        (1e-5, 2.0, 1.0, 1e-2),
        (1e-4, 2.0, 1.0, FARTHEST),
        (1e-3, 2.0, 1.0, 0.05),  # a fifth of the sharpness
        (1.0, 2.0, 1.0, 0.27),
        (1.0, 0.0, 1.0, CLOSEST),  # nothing is at stake
        (1.0, np.inf, 1.0, CLOSEST),
        (1.0, np.nan, 1.0, CLOSEST),
        (0.0, 0.0, 1.0, CLOSEST),
    ],
)
def test_the_radius_is_two_thousand_times_noise_over_the_stake(noise, stake, scale, radius):
    ball, found = elements_of([0.0], [scale], [stake])
    object.__setattr__(ball, "noise", np.array([noise]))
    assert ball.radius(found) == pytest.approx(radius)


@pytest.mark.parametrize(("claim", "share"), [(10.0, 1.0), (np.inf, 0.0), (np.nan, 0.0)])
def test_the_dtype_rounds_a_displacement_by_as_much_as_the_slope_makes_of_it(claim, share):
    """Of both, the claimed and the measured one; it comes on top of noise."""
    ball, found = elements_of([2.0**20], [1.0], [1.0], [claim])
    object.__setattr__(ball, "noise", np.array([1e-9]))
    assert ball.radius(found) == pytest.approx(2000 * (1e-9 + share * 10 * 2.0**-32))
    found[0].reference = np.array([-30.0])
    assert ball.radius(found) == pytest.approx(2000 * (1e-9 + share * 40 * 2.0**-32))


def test_of_several_elements_and_columns_the_one_that_needs_most_counts():
    ball, found = elements_of([0.0, 1e-300], [1.0, 1.0], [np.array([1.0, 4.0]), np.array([2.0, 1.0])])
    object.__setattr__(ball, "noise", np.array([1e-9, 3e-9]))
    own = ball.scale(found)
    stakes = np.max(own[:, None] * [[1.0, 4.0], [2.0, 1.0]], axis=0)
    assert ball.radius(found) == pytest.approx(2000 * max(1e-9 / stakes[0], 3e-9 / stakes[1]))


def test_one_sided_derivatives_lie_half_a_gap_apart_from_the_middle():
    element = flagged(0.0, 1.0, 3.0, gap=4.0)
    assert element.slope(1.0) == 3.0 and element.slope(-1.0) == -1.0
    assert not element.contradicted.any() and flagged(4.1, 1.0, 3.0, gap=4.0).contradicted.all()
    assert flagged(4.1, 1.0, 3.0, gap=0.5).stake == pytest.approx(3.1)


def test_a_conclusion_is_a_copy():
    element, valid = flagged(2.0, 1.0, 0.1), np.array([True])
    element.conclude(valid)
    valid[0] = False
    assert element.valid.all() and not element.open.any() and not element.hidden.any()


def test_at_rest_nothing_moves_and_several_outputs_are_told_apart():
    ball = ball_of(np.abs, np.array([0.0, 1.0]), np.zeros((2, 1)))
    assert ball.separates_outputs and not ball.at_rest()[0].any()
    np.testing.assert_array_equal(ball.outputs({0: np.array([2.0, 1.0])}), [2.0, 2.0])
    single = ball_of(lambda x: float(x.sum()), np.zeros(2), np.zeros(2))
    assert not single.separates_outputs and single.each is single.probe
    np.testing.assert_array_equal(single.read(np.array([3.0]), np.array([0])), [3.0])


@pytest.mark.parametrize("radius", [1e-3, 1.0])
def test_near_points_go_both_ways(radius):
    ball = ball_of(lambda x: float(x.sum()), np.ones(200), np.ones(200), scales=np.full(200, 2.0))
    move = ball.near(radius)[0] / (2 * radius)
    assert 0.3 < np.mean(move > 0) < 0.7 and np.min(np.abs(move)) >= 0.3 and np.max(np.abs(move)) <= 1
    assert np.min(np.abs(move)) < 0.35 and np.max(np.abs(move)) > 0.95


def test_an_element_at_its_bound_is_not_contradicted_and_a_slope_is_read_over_a_twentieth():
    assert not flagged(1.5, 1.0, 0.5).contradicted.any() and STEP == 0.05


def test_the_largest_stake_and_the_coarsest_rounding_of_three_elements_count_in_each_of_two_columns():
    cotangents, x = np.eye(2), np.array([1.0, 2.0**20, 2.0])
    ball = ball_of(lambda x: np.array([x.sum(), x[0]]), x, np.zeros((3, 2)), cotangents=cotangents, noise=1e-9)
    claim, stakes = np.array([3.0, 0.0]), [[1.0, 0.5], [1.0, 1.0], [1.0, 0.0]]
    found = [
        Flagged(0, i, claim, np.zeros(2), np.ones(2), np.zeros(2), np.array(stake)) for i, stake in enumerate(stakes)
    ]
    assert ball.scale(found).tolist() == [1.0, 1.0, 1.0]
    assert ball.radius(found) == pytest.approx(2000 * (1e-9 + 3 * 2.0**-32))
    ball.probe.budget.used = 0
    ball.outputs(ball.at_rest())
    assert ball.probe.budget.used == 1
