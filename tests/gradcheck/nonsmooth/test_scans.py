"""A single element moved along its own axis: whether its claim is among the slopes met."""

import numpy as np
import pytest

from gradcheck.differences.counts import NEGLIGIBLE
from gradcheck.nonsmooth.sampling import FARTHEST, Flagged
from gradcheck.nonsmooth.scans import _smooth_part, _within, has_steady_gap, scan

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
    element, has_kink, calls = scanned(lambda x: float(np.exp(x).sum()), factor, 1.0)
    assert outcome(element) == (False, False) and not has_kink and calls == 54 and not element.open.any()


def test_a_claim_that_is_the_slope_at_the_point_is_valid_whatever_the_reference():
    element, has_kink, calls = scanned(lambda x: float(np.exp(x).sum()), 1.0, 1.5)
    assert outcome(element) == (True, False) and has_kink and calls == 108


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("claim", "is_valid"),
    [(1.0, True), (-1.0, True), (0.3, True), (1.003, False), (-1.003, False), (1.5, False)],
)
def test_at_a_kink_every_slope_between_those_on_both_sides_is_valid(claim, is_valid, seed):
    element, has_kink, calls = scanned(lambda x: float(np.abs(x).sum()), claim, 0.0, gap=2.0, bound=0.1, seed=seed)
    assert outcome(element) == (is_valid, False) and has_kink and calls == (108 if is_valid else 54)


def test_a_kink_that_shows_when_the_others_are_moved_makes_a_claim_valid():
    """The larger of two equal ones: alone, in a tie with an element above, it moves nothing on one side."""
    element, has_kink, _ = scanned(lambda x: float(np.median(x)), 1.0, 0.0, size=3)
    assert outcome(element) == (True, False) and has_kink


@pytest.mark.parametrize(("noise", "radius", "hidden"), [(1e-4, FARTHEST, True), (1e-6, 1e-3, False)])
@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_a_kink_that_is_seen_from_afar_alone_is_hidden_where_noise_forbids_a_nearer_look(noise, radius, hidden, scale):
    """It is at half the radius, and a claim that is the slope beyond it is wrong."""
    place = scale * radius / 2
    element, has_kink, _ = scanned(lambda x: abs(x[0] - place), 1.0, -1.0, noise=noise * scale, scale=scale)
    assert outcome(element) == (False, hidden) and has_kink


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
@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_noise_widens_the_slopes_by_what_it_does_to_them(beyond, is_valid, scale):
    """Two values with noise, a seventeenth of a scan apart, from -1.39 to 1.39 radii of 1e-4."""
    noise = 1e-7
    blur = 2 * noise / (2 * 1.39 * (2000 * noise / 2) / 17)
    claim = 1 + 0.002 + beyond * blur
    element, _, _ = scanned(lambda x: abs(x[0]), claim, 0.0, bound=0.1, gap=2.0, noise=noise * scale, scale=scale)
    assert outcome(element) == (is_valid, False)


@pytest.mark.parametrize(
    ("f", "gap", "steady"),
    [
        (lambda x: abs(x[0]), 2.0, True),
        (lambda x: abs(x[0]) + 3 * x[0] ** 2, 2.0, True),
        (lambda x: abs(x[0]) + 3 * x[0] + 5, 2.0, True),
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


@pytest.mark.parametrize(("share", "steady"), [(0.2, True), (0.25, True), (0.4, False)])
def test_a_quarter_of_the_gap_over_the_radius_is_allowed_for_too(share, steady):
    values = [0.0]  # that at the point, when the ball is made
    ball = ball_of(lambda x: values.pop(0), np.zeros(1), [0.0], noise=0.0, scales=np.array([2.0]))
    element = Flagged(0, 0, *(np.array([v], float) for v in (0.0, 0.0, 1.0, 1.0)))
    values += [share * (2.0 * ball.radius([element])), 0.0, 0.0, 0.0, 0.0]
    assert has_steady_gap(ball, element).tolist() == [steady]


def columns(f, claims, references, *, gaps=0.0, x=(0.0, 0.0), noise=4e-16, seed=0):
    """A ball of a function of two elements with as many outputs as claims, and its first element."""
    claims = np.array(claims, float)
    ball = ball_of(f, np.array(x), np.tile(claims, (2, 1)), noise=noise, seed=seed, cotangents=np.eye(len(claims)))
    references, gaps = np.array(references, float), np.broadcast_to(np.array(gaps, float), claims.shape)
    element = Flagged(0, 0, claims, references, np.abs(gaps) / 2 + 1e-6, gaps)
    ball.probe.budget.used = 0
    return ball, element


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("radius", "share"), [(FARTHEST / 10, 0.1), (FARTHEST, 1.0), (5 * FARTHEST, 1.0)])
def test_a_claim_may_lie_beyond_the_slopes_by_a_thousandth_of_their_range_in_proportion_to_the_radius(
    radius, share, side
):
    for beyond, is_valid in ((0.9, True), (1.1, False)):
        claim = side * (1 + beyond * NEGLIGIBLE * share * 2)
        ball = ball_of(lambda x: abs(x[0]), np.zeros(1), [claim], noise=1e-17)
        element = Flagged(0, 0, *(np.array([v], float) for v in (claim, 0.0, 0.1, 2.0)))
        within, has_kink, _ = _within(ball, element, radius)
        assert within.tolist() == [is_valid] and has_kink


def test_the_middle_of_noisy_slopes_is_as_unsure_as_it_is_said_to_be():
    """Over four thousand draws: the deviation of the middle beside that of a slope."""
    values = np.random.default_rng(0).normal(size=(18, 4000))
    _, middle, blur = _smooth_part(np.diff(values, axis=0))
    assert np.std(middle) / np.sqrt(2) == pytest.approx(blur, rel=0.04)


def test_the_smooth_part_is_a_polynomial_of_the_fifth_degree_and_its_middle_is_at_the_point():
    places = np.linspace(-1, 1, 17)
    smooth, middle, _ = _smooth_part(
        np.stack([places**5 - 4 * places**2 + 0.5, np.cos(places) * places, places**6], axis=1)
    )
    np.testing.assert_allclose(smooth[:, 0], places**5 - 4 * places**2 + 0.5, atol=1e-12)
    np.testing.assert_allclose(middle[:2], [0.5, 0.0], atol=1e-12)
    assert np.ptp(smooth[:, 2] - places**6) > 1e-2


def test_strong_curvature_is_no_kink_and_makes_no_claim_valid():
    """Slopes go from 0.7 to 1.3 along the scan, to which noise of what is at stake forces it."""
    ball = ball_of(lambda x: float(x[0] + 500 * x[0] ** 2), np.zeros(1), [1.1], noise=1e-7)
    element = Flagged(0, 0, *(np.array([v], float) for v in (1.1, 1.0, 1e-6, 0.0, 1.0)))
    assert ball.radius([element]) == pytest.approx(2e-4)
    assert not scan(ball, element)
    assert outcome(element) == (False, False)


def test_where_noise_hides_the_error_no_kink_is_seen():
    """Noise blurs slopes by six tenths of the error; what is at stake, a hundred times as much, chose the radius."""
    ball = ball_of(lambda x: float(x[0]), np.zeros(1), [2.0], noise=1e-9)
    element = Flagged(0, 0, *(np.array([v], float) for v in (2.0, 1.0, 1e-6, 0.0, 100.0)))
    _, has_kink, left = _within(ball, element, ball.radius([element]))
    assert not has_kink and left < 1e-3


def test_a_value_that_is_not_finite_at_the_end_of_a_scan_widens_nothing():
    for cut in (1.3, -1.3):  # between the last two places
        ball, element = columns(
            lambda x: np.array([abs(x[0]), x[1]]), [3.0, 1.0], [0.0, 1.0], gaps=[2.0, 0.0], noise=1e-6
        )
        end = cut * ball.radius([element])
        beyond = (lambda v, end=end: v > end) if cut > 0 else (lambda v, end=end: v < end)
        ball, element = columns(
            lambda x, beyond=beyond: np.array([np.inf if beyond(x[0]) else abs(x[0]), x[1]]),
            [3.0, 1.0],
            [0.0, 1.0],
            gaps=[2.0, 0.0],
            noise=1e-6,
        )
        scan(ball, element)
        assert element.valid.tolist() == [False, False]


def test_the_others_stand_still_in_one_scan_and_are_moved_by_no_more_than_its_radius_in_two():
    seen = []

    def f(x):
        seen.append(x.copy())
        return float(np.abs(x).sum())

    _, _, calls = scanned(f, 1.5, 0.0, bound=0.1, gap=2.0, noise=1e-6, size=3)
    moved = np.abs(np.array(seen)[-calls:])
    radius = 2000 * 1e-6 / 2
    assert calls == 54 and np.sum(~moved[:, 1:].any(axis=1)) == 18
    assert np.max(moved[:, 1:]) <= radius and np.min(moved[18:, 1:]) >= 0.3 * radius
    assert np.max(moved[:, 0]) == pytest.approx(1.39 * radius)


def test_the_slope_at_the_point_is_taken_with_the_others_at_rest():
    """That of a product changes with the other factor, by more than the error."""
    for claim, is_valid in ((1.0, True), (1.1, False), (0.9, False)):
        element, _, _ = scanned(lambda x: float(x[0] * (1 + 1e3 * x[1])), claim, 1.05, noise=1e-8)
        element.stake = np.array([1.0])
        ball = ball_of(lambda x: float(x[0] * (1 + 1e5 * x[1])), np.zeros(2), [claim] * 2, noise=1e-8)
        scan(ball, element)
        assert outcome(element) == (is_valid, False)


@pytest.mark.parametrize(("share", "is_valid"), [(0.05, True), (0.2, False)])
@pytest.mark.parametrize("at", [0.0, 1.0])
def test_a_kink_within_a_twentieth_of_a_radius_makes_a_claim_valid(share, is_valid, at):
    """Scans go to 1.39 radii; a second one, shorter by eight, must show it too."""
    ball = ball_of(lambda x: abs(x[0] - at), np.array([at]), [1.0], noise=1e-6)
    element = Flagged(0, 0, *(np.array([v], float) for v in (1.0, -1.0, 1e-6, 0.0)))
    place = at + share * ball.radius([element])
    ball = ball_of(lambda x: abs(x[0] - place), np.array([at]), [1.0], noise=1e-6)
    scan(ball, element)
    assert outcome(element) == (is_valid, False)


def noisy(size):
    """A function of noise that is the same at the same place: the fractional part of a large multiple."""
    return lambda x: size * (2 * np.modf(abs(np.sin(1e9 * x[0]) * 1e4))[0] - 1)


def test_noise_larger_than_it_was_measured_does_not_make_a_claim_valid():
    """Where it looks like kinks a longer scan is taken, though another column has nothing at stake."""
    noise = noisy(3e-8)
    ball, element = columns(lambda x: np.array([x[0] + noise(x), x[0]]), [1.5, 1.0], [1.0, 1.0], noise=1e-10)
    assert not scan(ball, element)  # the last one, long enough, is straight
    assert element.valid.tolist() == [False, False] and not element.hidden.any()
    assert ball.probe.budget.used > 108


def test_scans_grow_no_longer_than_the_farthest():
    """Noise of a tenth of what is at stake over all of it: nothing is seen, and it is no use to go on."""
    seen, noise = [], noisy(0.3)

    def f(x):
        seen.append(abs(x[0]))
        return float(x[0] + noise(x))

    scanned(f, 1.5, 1.0, noise=1e-10)
    assert 0 < np.max(seen) <= 1.39 * FARTHEST


def test_a_claim_of_the_slope_is_valid_at_once_where_the_reference_is_its_opposite():
    element, _, calls = scanned(lambda x: float(np.exp(x).sum()), 1.0, -1.0)
    assert outcome(element) == (True, False) and calls == 108


def test_a_claim_that_a_shorter_scan_rejects_is_wrong_beside_a_wrong_one_of_a_smooth_column():
    """The kink is at half the radius, and at the farthest one it may be hidden; the smooth column has none to hide."""
    for noise, radius in ((1e-6, 1e-3), (1e-4, FARTHEST)):
        place = radius / 2
        ball, element = columns(
            lambda x, place=place: np.array([abs(x[0] - place), x[0]]), [1.0, 3.0], [-1.0, 1.0], noise=noise
        )
        assert scan(ball, element)
        assert element.valid.tolist() == [False, False]
        assert element.hidden.tolist() == [radius == FARTHEST, False]


def test_a_kink_in_one_column_is_told_though_no_claim_is_valid_and_a_valid_claim_though_there_is_no_kink():
    ball, element = columns(lambda x: np.array([abs(x[0]), x[0]]), [1.5, 2.0], [0.0, 1.0], gaps=[2.0, 0.0])
    assert scan(ball, element) and not element.valid.any()
    ball, element = columns(lambda x: np.array([x[0], x[0]]), [1.0, 2.0], [1.5, 1.0])
    assert scan(ball, element) and element.valid.tolist() == [True, False]


@pytest.mark.parametrize("power", [7, 8, 10])
def test_where_noise_forbids_a_nearer_look_curvature_of_a_high_order_makes_no_claim_valid(power):
    """What it leaves of the slopes is larger than the error, and 7.8**6 times less in the nearer scan: of a kink as much is left."""
    element, *_ = scanned(lambda x: float(x[0] ** power), 1e-12, 0.0, noise=2e-15, bound=1e-13)
    assert not element.valid.any() and (element.open | element.hidden).all()
    element, *_ = scanned(lambda x: float(x[0] ** power + 2e-12 * abs(x[0])), 1e-12, 0.0, noise=2e-16, bound=1e-13)
    assert outcome(element)[0] or element.open.all()
