"""A single element moved along its own axis: whether its claim is among the slopes met."""

import numpy as np
import pytest

from gradcheck.nonsmooth.sampling import FARTHEST, Flagged
from gradcheck.nonsmooth.scans import has_steady_gap, scan

from .balls import ball_of


def scanned(f, claim, reference, *, bound=1e-6, gap=0.0, noise=4e-16, size=2, seed=0, scale=1.0):
    """Scan the first of some elements; return it, what the scan says, and its calls."""
    ball = ball_of(f, np.zeros(size), np.full(size, claim), noise=noise, seed=seed, scales=np.full(size, scale))
    element = Flagged(0, 0, *(np.array([v], float) for v in (claim, reference, bound, gap)))
    ball.probe.budget.used = 0
    return element, scan(ball, element), ball.probe.budget.used


def outcome(element):
    return bool(element.valid[0]), bool(element.hidden[0])


@pytest.mark.parametrize("factor", [0.9, 1.001, -1.0])
def test_where_the_function_is_smooth_the_slope_at_the_point_decides(factor):
    """Curvature up to the fifth order is no kink: claims of slopes elsewhere on the scan are wrong."""
    element, is_bent, calls = scanned(lambda x: float(np.exp(x).sum()), factor, 1.0)
    assert outcome(element) == (False, False) and not is_bent and calls == 54 and not element.open.any()


def test_a_claim_that_is_the_slope_at_the_point_is_valid_whatever_the_reference():
    element, is_bent, calls = scanned(lambda x: float(np.exp(x).sum()), 1.0, 1.5)
    assert outcome(element) == (True, False) and is_bent and calls == 108


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("claim", "is_valid"),
    [(1.0, True), (-1.0, True), (0.3, True), (1.003, False), (-1.003, False), (1.5, False)],
)
def test_at_a_kink_every_slope_between_those_on_both_sides_is_valid(claim, is_valid, seed):
    element, is_bent, calls = scanned(lambda x: float(np.abs(x).sum()), claim, 0.0, gap=2.0, bound=0.1, seed=seed)
    assert outcome(element) == (is_valid, False) and is_bent and calls == (108 if is_valid else 54)


def test_a_kink_that_shows_when_the_others_are_moved_makes_a_claim_valid():
    """The larger of two equal ones: alone, in a tie with an element above, it moves nothing on one side."""
    element, is_bent, _ = scanned(lambda x: float(np.median(x)), 1.0, 0.0, size=3)
    assert outcome(element) == (True, False) and is_bent


@pytest.mark.parametrize(("noise", "radius", "hidden"), [(1e-4, FARTHEST, True), (1e-6, 1e-3, False)])
@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_a_kink_that_is_seen_from_afar_alone_is_hidden_where_noise_forbids_a_nearer_look(noise, radius, hidden, scale):
    """It is at half the radius, and a claim that is the slope beyond it is wrong."""
    place = scale * radius / 2
    element, is_bent, _ = scanned(lambda x: abs(x[0] - place), 1.0, -1.0, noise=noise * scale, scale=scale)
    assert outcome(element) == (False, hidden) and is_bent


def test_columns_are_decided_one_by_one():
    """A kink in one, and wrong slopes of smooth functions in two others; the last agrees, so that nothing is at stake."""
    cotangents = np.eye(4)
    ball = ball_of(
        lambda x: np.array([abs(x[0]), np.exp(x[0]), np.sin(x[0]), x[0]]),
        np.zeros(1),
        [[0.3, 1.01, 0.5, 1.0]],
        noise=4e-16,
        cotangents=cotangents,
    )
    ball = type(ball)(ball.probe, ball.claims, ball.scales, np.full(4, 4e-16), ball.rng)
    reference, gap = np.array([0.0, 1, 1, 1]), np.array([2.0, 0, 0, 0])
    element = Flagged(0, 0, ball.claims[0][0], reference, np.abs(gap) / 2 + 1e-6, gap)
    assert scan(ball, element)
    assert element.valid.tolist() == [True, False, False, False] and not element.hidden.any()


def test_a_value_that_is_not_finite_decides_nothing_by_itself():
    element, _, _ = scanned(lambda x: abs(x[0]) if x[0] < 1e-11 else np.inf, 0.3, 0.0, gap=2.0, bound=1.0)
    assert outcome(element) == (True, False)  # it lies between the one-sided derivatives that were measured
    element, _, _ = scanned(lambda x: abs(x[0]) if x[0] < 1e-11 else np.inf, 3.0, 0.0, gap=2.0, bound=1.0)
    assert outcome(element) == (False, False)


def test_a_claim_between_the_one_sided_derivatives_is_valid_by_that_alone():
    element, _, _ = scanned(lambda x: float(x.sum()), 0.5, 0.4, bound=0.2, gap=0.3)
    assert outcome(element) == (True, False)
    element, _, _ = scanned(lambda x: float(x.sum()), 0.5, 0.2, bound=0.2, gap=0.3)
    assert outcome(element) == (False, False)


@pytest.mark.parametrize(("beyond", "is_valid"), [(0.8, True), (1.3, False)])
def test_noise_widens_the_slopes_by_what_it_does_to_them(beyond, is_valid):
    """Two values with noise, a seventeenth of a scan apart, from -1.39 to 1.39 radii of 1e-4."""
    noise = 1e-7
    blur = 2 * noise / (2 * 1.39 * (2000 * noise / 2) / 17)
    claim = 1 + 0.002 + beyond * blur
    element, _, _ = scanned(lambda x: abs(x[0]), claim, 0.0, bound=0.1, gap=2.0, noise=noise)
    assert outcome(element) == (is_valid, False)


@pytest.mark.parametrize(
    ("f", "gap", "steady"),
    [
        (lambda x: abs(x[0]), 2.0, True),
        (lambda x: abs(x[0]) + 3 * x[0] ** 2, 2.0, True),
        (lambda x: np.sqrt(abs(x[0])), 2e4, False),
        (lambda x: abs(x[0]) ** 0.9, 10.0, False),
        (lambda x: x[0] ** 2, 0.0, True),
        (lambda x: np.sqrt(abs(x[0])), 0.0, True),
    ],
)
def test_the_gap_of_a_kink_is_the_same_at_two_radii_and_that_of_a_cusp_is_not(f, gap, steady):
    ball = ball_of(lambda x: float(f(x)), np.zeros(1), [0.0], noise=1e-12)
    element = Flagged(0, 0, *(np.array([v], float) for v in (0.0, 0.0, 1.0, gap)))
    ball.probe.budget.used = 0
    assert has_steady_gap(ball, element).tolist() == [steady]
    assert ball.probe.budget.used == 5


@pytest.mark.parametrize(("wobble", "steady"), [(18.0, True), (30.0, False)])
def test_noise_is_allowed_for(wobble, steady):
    """Twenty times what it may change a value by: the nearer pair is taken four times. And a quarter of the gap over a radius."""
    noise, gap = 1e-6, 1e-4
    values = iter([0.0, wobble * noise, 0.0, 0.0, 0.0, 0.0])
    ball = ball_of(lambda x: next(values), np.zeros(1), [0.0], noise=noise, scales=np.array([0.01]))
    element = Flagged(0, 0, *(np.array([v], float) for v in (0.0, 0.0, 1.0, gap)))
    assert ball.radius([element]) * 0.01 * gap / 4 < noise / 10
    assert has_steady_gap(ball, element).tolist() == [steady]


@pytest.mark.parametrize(("share", "steady"), [(0.2, True), (0.4, False)])
def test_a_quarter_of_the_gap_over_the_radius_is_allowed_for_too(share, steady):
    values = [0.0]  # that at the point, when the ball is made
    ball = ball_of(lambda x: values.pop(0), np.zeros(1), [0.0], noise=1e-17, scales=np.array([2.0]))
    element = Flagged(0, 0, *(np.array([v], float) for v in (0.0, 0.0, 1.0, 1.0)))
    values += [share * 2.0 * ball.radius([element]), 0.0, 0.0, 0.0, 0.0]
    assert has_steady_gap(ball, element).tolist() == [steady]
