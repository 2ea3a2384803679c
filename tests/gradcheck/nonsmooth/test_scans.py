"""A single element moved along its own axis: whether its claim is among the slopes met."""

import numpy as np
import pytest

from gradcheck.nonsmooth.sampling import FARTHEST, Flagged
from gradcheck.nonsmooth.scans import has_steady_gap, scan

from .balls import ball_of


def scanned(f, claim, reference, *, bound=1e-6, gap=0.0, noise=4e-16, size=2, seed=0, x=None):
    """Scan the first of some elements; return it, what the scan says, and its calls."""
    x = np.zeros(size) if x is None else x
    ball = ball_of(f, x, np.full(len(x), claim), noise=noise, seed=seed)
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


@pytest.mark.parametrize(("noise", "hidden"), [(1e-4, True), (1e-10, False)])
def test_a_kink_that_is_seen_from_afar_alone_is_hidden_where_noise_forbids_a_nearer_look(noise, hidden):
    """It is at half the largest radius, and a claim that is the slope beyond it is wrong."""
    element, is_bent, _ = scanned(lambda x: abs(x[0] - FARTHEST / 2), 1.0, -1.0, noise=noise)
    assert outcome(element) == (False, hidden) and is_bent is hidden


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


def test_noise_is_allowed_for():
    """Twenty times what it may change a value by: the nearer pair is taken four times."""
    wobble = iter([0.0, 18e-6, 0.0, 0.0, 0.0, 0.0])
    ball = ball_of(lambda x: abs(x[0]) + next(wobble), np.zeros(1), [0.0], noise=1e-6)
    element = Flagged(0, 0, *(np.array([v], float) for v in (0.0, 0.0, 1.0, 2.0)))
    assert has_steady_gap(ball, element).all()
