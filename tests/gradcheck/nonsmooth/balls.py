"""A ball around a point, and flagged elements whose one-sided derivatives are known to many digits."""

import numpy as np

from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe
from gradcheck.nonsmooth.sampling import Ball, Flagged


def ball_of(f, x, claim, *, seed=0, noise=4e-16, cotangents=None, scales=None):
    """Make a ball of a function of one array, claims of shape (n, K), and count its calls in ``ball.probe.budget``."""
    point = point_of(np.asarray(x), "x")
    output = Output.of(f(point.leaves[0].value.copy()), "f")
    cotangents = np.ones((1, output.size)) if cotangents is None else cotangents
    probe = Probe(lambda tree: f(tree), point, output, cotangents, Budget())
    claims = {0: np.asarray(claim, float).reshape(np.size(x), -1)}
    scales = {0: np.ones(np.size(x)) if scales is None else scales}
    return Ball(probe, claims, scales, np.full(len(cotangents), noise), np.random.default_rng(seed))


def flag(ball, index, *, step=1e-7):
    """Flag an element; the derivatives on both sides come from differences with a short step."""
    values, moved = ball.probe.elements(0, np.array([index] * 3), np.array([step, 0.0, -step]))
    right, left = (values[0] - values[1]) / moved[0], (values[1] - values[2]) / -moved[2]
    gap = np.where(np.abs(right - left) > 1e-5, right - left, 0.0)
    reference = (right + left) / 2
    return Flagged(0, index, ball.claims[0][index], reference, np.abs(gap) / 2 + 1e-6, gap)


def flag_all(ball):
    """Flag every element that is at a kink or contradicted."""
    found = [flag(ball, index) for index in range(ball.claims[0].shape[0])]
    found = [element for element in found if np.any(element.stake)]
    ball.probe.budget.used = 0
    return found
