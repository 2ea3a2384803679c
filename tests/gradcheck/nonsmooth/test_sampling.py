"""The radius of the ball, and what is at stake."""

import numpy as np
import pytest

from gradcheck.nonsmooth.sampling import CLOSEST, FARTHEST, FARTHEST_IN_NOISE, STEP, Flagged

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
    assert CLOSEST <= radius <= FARTHEST_IN_NOISE
    assert noise / (STEP * radius * scale) <= 0.02 * 2.0 or radius >= FARTHEST


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
