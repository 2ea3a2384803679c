"""The parts of the test of a subdifferential, one by one: closed forms and tables."""

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest

from gradcheck.differences.counts import DOZEN, SMALL
from gradcheck.nonsmooth import subdifferential
from gradcheck.nonsmooth.groups import Group
from gradcheck.nonsmooth.hull import best_place, nearest_in_hull
from gradcheck.nonsmooth.sampling import STEP, Ball, Flagged
from gradcheck.nonsmooth.searches import Background, Request
from gradcheck.nonsmooth.subdifferential import _answer, _Hull, _judge_groups, _judge_singles, _slopes, judge

from .balls import ball_of


def hull_of(
    f, claims, references, *, gaps=0.0, bounds=1e-6, stakes=1.0, noise=1e-12, scale=1.0, seed=0, cotangents=None
):
    """A hull of all elements of a function at zero; claims and the rest of shape (m, K), or (m,)."""
    claims = np.array(claims, float).reshape(len(claims), -1)
    references, gaps, bounds, stakes = (
        np.broadcast_to(np.array(a, float).reshape((*np.shape(a)[:1], -1) if np.ndim(a) else ()), claims.shape)
        for a in (references, gaps, bounds, stakes)
    )
    count = len(claims)
    scales = np.full(count, scale) if np.ndim(scale) == 0 else np.array(scale, float)
    ball = ball_of(f, np.zeros(count), claims, noise=noise, seed=seed, cotangents=cotangents, scales=scales)
    members = [Flagged(0, i, *(a[i].copy() for a in (claims, references, bounds, gaps, stakes))) for i in range(count)]
    ball.probe.budget.used = 0
    return _Hull(ball, Group(members), ball.radius(members))


def answered(hull, asking):
    """Run what asks for slopes; return its result."""
    result = []

    def kept():
        result.append((yield from asking))

    _answer(hull.ball, [hull], [kept()])
    return result[0]


def total(x):
    return float(np.sum(x))


TRIANGLE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize("size", [1e-150, 1.0, 1e150])
@pytest.mark.parametrize(
    ("target", "nearest"),
    [
        ((1, 1), (0.5, 0.5)),
        ((-1, -1), (0, 0)),
        ((2, -1), (1, 0)),
        ((0.2, 0.3), (0.2, 0.3)),
        ((0.6, -5), (0.6, 0)),
        ((0, 0), (0, 0)),
    ],
)
def test_the_nearest_point_of_a_triangle(target, nearest, size):
    found = nearest_in_hull(size * TRIANGLE, size * np.array(target, float))
    np.testing.assert_allclose(found, size * np.array(nearest, float), rtol=1e-9, atol=1e-12 * size)


def test_the_hull_of_one_point_is_that_point_and_a_target_among_equal_points_is_itself():
    assert nearest_in_hull(np.array([[3.0, -1.0]]), np.array([0.0, 0.0])).tolist() == [3.0, -1.0]
    target = np.array([2.0, 5.0])
    found = nearest_in_hull(np.array([[2.0, 5.0]] * 3), target)
    assert found.tolist() == [2.0, 5.0] and found is not target


def test_a_direction_in_ranks():
    assert _Hull._ranked(np.array([3.0, -1.0, 3.0, 10.0])).tolist() == [0.0, -1.0, 0.0, 1.0]
    assert _Hull._ranked(np.array([5.0, 5.0])).tolist() == [-1.0, -1.0]
    assert _Hull._ranked(np.array([1e-9, 0.0, 1e9])).tolist() == [0.0, -1.0, 1.0]


def test_each_element_is_put_in_every_rank_around_the_point_and_on_either_side_of_it():
    for count in (2, 5):
        orders = np.array(hull_of(total, np.ones(count), 0.0)._rankings()).reshape(3, count, count)
        for ranks in (*orders[0], *orders[0].T):
            assert sorted(ranks) == [rank - (count - 1) / 2 for rank in range(count)]
        assert np.all(orders[1] < 0) and np.all(orders[2] > 0)
    assert len(hull_of(total, np.ones(SMALL + 40), 0.0)._rankings()) == 3 * 128


def test_a_place_along_a_direction_orders_what_the_direction_does_not_tell_apart():
    hull = hull_of(total, np.ones(4), 0.0)
    direction = np.array([1.0, 0.0, 0.0, -1.0])
    assert hull._far_along(direction, 0.0).tolist() == [4.0, 0.0, 0.0, -4.0]
    assert sorted(hull._far_along(np.zeros(4))) == [-0.75, -0.25, 0.25, 0.75]
    assert len({tuple(hull._far_along(np.zeros(4))) for _ in range(50)}) > 10
    place = hull._far_along(direction)
    assert place.argmax() == 0 and place.argmin() == 3 and place[1] != place[2]


@pytest.mark.parametrize(
    ("claims", "references", "gaps", "axis"),
    [
        ([1.0, 0.3], [0.0, 0.0], [2.0, 2.0], [1, 0]),  # the first is what the element gives upwards
        ([-1.0, 0.3], [0.0, 0.0], [2.0, 2.0], [-1, 0]),
        ([0.3, -1.0], [0.0, 0.0], [2.0, 2.0], [0, -1]),
        ([1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0, 1]),  # no gap, no kink of its own
        ([1.0, 2.0], [0.0, 1.0], [2.0, 2.0], [0, 1]),  # both fit: the larger claim
        ([1.0, 1.0], [0.0, 0.5], [2.0, 1.0], [1, 0]),  # as large: the larger gap
    ],
)
def test_the_first_axis_is_that_of_the_element_whose_one_sided_derivative_is_nearest_to_its_claim(
    claims, references, gaps, axis
):
    assert hull_of(total, claims, references, gaps=gaps)._axis(0).tolist() == axis


def test_how_near_is_measured_beside_the_gap():
    """Off by 0.1 of a gap of 2, and by 0.04 of one of 0.2."""
    assert hull_of(total, [0.9, 0.06], 0.0, gaps=[2.0, 0.2])._axis(0).tolist() == [1, 0]
    assert hull_of(total, [0.5, 0.09], 0.0, gaps=[2.0, 0.2])._axis(0).tolist() == [0, 1]


def test_claims_are_measured_in_the_scales_of_the_elements():
    hull = hull_of(total, [2.0, 3.0], 0.0, scale=[0.5, 0.5], noise=1e-12)
    assert hull.claim[:, 0].tolist() == [1.0, 1.5] and hull.stake.tolist() == [0.5]
    np.testing.assert_allclose(hull.noise, 2e-12 / (0.05 * hull.unit))
    np.testing.assert_allclose(hull.uncertainty, hull.noise + 1e-3 * 0.5)
    moves = hull.ball.at_rest()
    hull.move(moves, np.array([1.0, -2.0]))
    np.testing.assert_allclose(moves[0], hull.unit * 0.5 * np.array([1.0, -2.0]))


def with_samples(hull, *gradients):
    hull.gradients = [np.array(gradient, float).reshape(hull.claim.shape) for gradient in gradients]
    return hull


ALL = np.ones(2, dtype=bool)


@pytest.mark.parametrize(
    ("claim", "beyond", "direction"),
    [
        ((0.25, 0.75), 0.0, (0, 0)),
        ((0.5, 0.5005), 0.0, (0, 0)),  # by less than is uncertainty
        ((1.0, 1.0), 1.0, (1, 1)),  # the sum is beyond: both alike
        ((-1.0, -1.0), 3.0, (-1, -1)),
        ((2.0, -1.0), 1.0, (1, -1)),  # the sum is not: towards the nearest point
    ],
)
def test_how_far_claims_lie_outside_of_the_hull_and_in_which_direction(claim, beyond, direction):
    """Of the gradients of a maximum of two, whose sum is one; a thousandth of the stake, and noise, are uncertainty."""
    hull = with_samples(hull_of(np.max, claim, 0.0), (1, 0), (0, 1))
    found, directions = hull._outside(ALL)
    assert found[0] * hull.uncertainty[0] == pytest.approx(beyond)
    np.testing.assert_allclose(directions[0], direction, atol=1e-9)


def test_only_the_elements_among_and_the_columns_at_stake_count_and_a_column_moved_alike_is_not_moved_so_again():
    hull = with_samples(hull_of(np.max, (1.0, 1.0), 0.0), (1, 0), (0, 1))
    found, directions = hull._outside(np.array([True, False]))
    assert found[0] == 0 and not directions[0].any()
    hull.tried_alike.add(0)
    hull.claim[:] = [[1.0], [1.2]]
    found, directions = hull._outside(ALL)
    np.testing.assert_allclose(directions[0], [1, 1])  # (0.6, 0.6) beyond (0.4, 0.6)
    assert found[0] * hull.uncertainty[0] == pytest.approx(0.6)
    hull = with_samples(hull_of(np.max, (1.0, 1.0), 0.0), (1, 0), (0, 1))
    hull.stake[:] = 0.0
    found, directions = hull._outside(ALL)
    assert found[0] == 0 and not directions[0].any()


def linear(x):
    return np.array([x @ [1.0, 2.0, -3.0], x @ [0.5, 0.0, 4.0]])


@pytest.mark.parametrize("together", [False, True])
def test_slopes_of_a_linear_function_are_its_coefficients_wherever_they_are_asked_for(together):
    factor = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]) if together else np.eye(2)
    hull = hull_of(linear, np.ones((3, len(factor))), 0.0, cotangents=factor, scale=2.0)
    directions = np.array([[1.0, 0, 0], [0, 1, 0], [1, -1, 0.5]])
    slopes = _slopes(hull.ball, [hull], {0: Request(np.array([3.0, -1.0, 0.5]), directions)})
    table = 2.0 * np.array([[1.0, 2.0, -3.0], [0.5, 0.0, 4.0]])
    np.testing.assert_allclose(slopes[0], directions @ table.T @ factor.T, rtol=1e-4, atol=1e-12)


def test_a_sample_is_a_gradient_and_where_a_kink_passes_between_its_points_another_place_is_tried():
    hull = hull_of(np.max, (1.0, 0.0), 0.0)
    answered(hull, hull._sample(np.array([1.0, 0.0])))
    np.testing.assert_allclose(hull.gradients[0][:, 0], [1, 0], atol=1e-6)
    assert hull.places[0].tolist() == [1.0, 0.0] and len(hull.backgrounds) == 1
    assert hull.ball.probe.budget.used == 4  # the place, two axes, and all of them backwards
    hull.ball.probe.budget.used = 0
    answered(hull, hull._sample(np.array([STEP / 2, 0.0])))
    place = hull.places[1]
    assert np.all(np.abs(place - [STEP / 2, 0.0]) <= 0.7 * 2) and place.tolist() != [STEP / 2, 0.0]
    assert hull.ball.probe.budget.used in (8, 12)
    np.testing.assert_allclose(hull.gradients[1].sum(), 1.0, atol=1e-6)


def test_after_three_tries_there_is_no_sample():
    rng = np.random.default_rng(0)
    hull = hull_of(lambda x: rng.normal(), (1.0, 0.0), 0.0)
    answered(hull, hull._sample(np.zeros(2)))
    assert not hull.gradients and hull.ball.probe.budget.used == 12


@pytest.mark.parametrize(
    ("claim", "is_met"), [((1.0, 0.0, 0.0), True), ((0.0, 0.0, 1.0), True), ((0.0, 1.0, 1.0), False)]
)
def test_a_gradient_is_looked_for_that_is_along_a_direction_as_large_as_claimed(claim, is_met):
    """The derivative of a maximum of three along the claim is one; two at most say two."""
    hull = hull_of(np.max, claim, 0.0)
    answered(hull, hull._sample(np.array([0.0, 2.0, 0.0]) if claim[1] == 0 else np.array([2.0, 0.0, 0.0])))
    assert answered(hull, hull._search(np.array(claim), 0)) is is_met
    if is_met:
        np.testing.assert_allclose(hull.gradients[-1][:, 0], claim, atol=1e-6)
    else:  # not looked for again
        used = hull.ball.probe.budget.used
        assert answered(hull, hull._search(np.array(claim), 0)) is False and hull.ball.probe.budget.used == used


@pytest.mark.parametrize(
    ("f", "claim", "told"),
    [
        (lambda x: max(x[0], 0.0) - max(x[1], 0.0), (0.9, 0.0), True),
        (lambda x: max(x[0], 0.0) - max(x[1], 0.0), (1.1, 0.0), False),
        # Up to slope one, down and up again: in another order of the same kinks it would be two.
        (lambda x: x[0] - sorted((0.0, x[0], x[1]))[1], (1.0, 0.0), True),
        (lambda x: x[0] - sorted((0.0, x[0], x[1]))[1], (1.5, 0.0), None),
        (lambda x: x[0] - sorted((0.0, x[0], x[1]))[1], (2.1, 0.0), False),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_a_claim_is_refuted_beyond_all_that_the_derivative_rises_by(f, claim, told, seed):
    hull = hull_of(f, claim, 0.0, seed=seed)
    answered(hull, hull._sample(np.array([-1.0, -2.0])))
    assert answered(hull, hull._search(np.array([1.0, 0.0]), 0)) is told


def test_places_whose_gradients_hold_a_claim():
    hull = with_samples(hull_of(np.max, (0.3, 0.7), 0.0), (1, 0), (0.5, -3), (0, 1))
    hull.places = [np.array([3.0, 0.0]), np.array([0.0, 0.0]), np.array([0.0, 3.0])]
    assert [place.tolist() for place in hull.supporting_places()] == [[3.0, 0.0], [0.0, 3.0]]


def test_elements_stay_where_they_were_while_a_line_is_followed():
    """What all others are displaced by is drawn for every other question."""
    hull, places = hull_of(total, np.ones(2), 0.0), []
    hull.ball.scales[0] = np.ones(3)
    hull.ball.claims[0] = np.ones((3, 1))

    def asking():
        for stays in (False, True, True, False):
            yield Request(np.ones(2), np.eye(2), stays)
            places.append(hull.background)

    answered(hull, asking())
    assert places[0] is places[1] is places[2] and places[3] is not places[0]


def hinges(seed, count, many):
    """A sum of hinges of either sign, and the change of its gradient at each of them."""
    rng = np.random.default_rng(seed)
    normals, factors = rng.normal(size=(many, count)), rng.choice([-1.0, 1.0], many) * rng.uniform(0.5, 2.0, many)
    return lambda x: float(factors @ np.maximum(normals @ x, 0)), normals, factors


@pytest.mark.parametrize("seed", range(4))
def test_a_kink_on_a_line_is_learned_with_its_normal_and_its_side(seed):
    f, normals, factors = hinges(seed, 5, 2)
    hull = hull_of(f, np.full(5, 9.0), 0.0, seed=seed)
    answered(hull, hull._sample(np.array([1.0, 4.0, -2.0, 3.0, -5.0])))
    answered(hull, hull._find_kinks(np.ones(5), 0))
    jumps = normals * factors[:, None] * hull.scale.T
    assert 1 <= len(hull.kinks[0]) <= 2  # one may be met at nearly a right angle
    for normal, side in hull.kinks[0]:
        (number,) = np.flatnonzero(
            np.max(np.abs(np.abs(jumps) - np.abs(normal)), axis=1) <= 0.01 * np.max(np.abs(jumps))
        )
        assert side == np.sign(factors[number])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("many", [1, 4, 6, 15])
def test_a_place_on_the_sides_of_hyperplanes_that_are_wanted(seed, many):
    """No more of them than dimensions: on all; of more on as many as of the best of a thousand places at random, nearly."""
    _, normals, factors = hinges(seed, 6, many)
    rng = np.random.default_rng(seed)
    direction, sides = rng.normal(size=6), np.sign(factors)
    along = normals @ direction

    def gain(places):
        return (np.sign(places @ normals.T) == sides * np.sign(along)) @ np.abs(along)

    place = best_place(normals, sides, direction, rng)
    best = np.sum(np.abs(along)) if many <= 6 else np.max(gain(rng.normal(size=(1000, 6))))
    assert gain(place[None])[0] >= (1 - 1e-9 if many <= 6 else 0.9) * best
    assert np.all(np.isfinite(best_place(normals, sides, np.zeros(6), rng)))


@pytest.mark.parametrize("seed", range(3))
def test_pairs_whose_effects_do_not_add_up_have_one_label(seed):
    def f(x):
        return float(max(x[0], x[2]) + abs(x[1]) + min(x[3], x[4]) + x[5])

    hull = hull_of(f, np.ones(6), 0.0, seed=seed)
    labels = hull._linked(np.arange(6), 0)
    assert labels[0] == labels[2] and labels[3] == labels[4] and len(set(labels.tolist())) == 4
    assert hull.ball.probe.budget.used == 1 + 2 * (6 + 15)
    labels = hull._linked(np.array([0, 1, 3]), 0)
    assert len(set(labels.tolist())) == 3


def test_chains_of_pairs_have_one_label_and_what_adds_up_to_a_twentieth_of_the_stake_links_none():
    hull = hull_of(lambda x: float(max(x[0], x[1]) + max(x[1], x[2]) + abs(x[3])), np.ones(4), 0.0)
    labels = hull._linked(np.arange(4), 0)
    assert labels[0] == labels[1] == labels[2] != labels[3]
    for share, linked in ((0.9, False), (3.0, True)):
        hull = hull_of(lambda x, s=share: float(2 * 0.05 / 1.5 * s * max(x[0], x[1])), np.ones(2), 0.0, stakes=2.0)
        assert (len(set(hull._linked(np.arange(2), 0).tolist())) == 1) is linked


def test_smooth_errors_are_of_contradicted_claims_without_a_gap_in_the_scales():
    hull = hull_of(total, [1.5, 1.5, 1.0, 1.5], 1.0, gaps=[0.0, 1.0, 0.0, 0.0], bounds=[0.1, 0.1, 0.1, 0.9], scale=2.0)
    assert hull._smooth_errors()[:, 0].tolist() == pytest.approx([1.0, np.nan, np.nan, np.nan], nan_ok=True)
    hull.wrong[0, 0] = True
    assert np.isnan(hull._smooth_errors()).all()


def test_samples_are_taken_nearer_while_noise_leaves_a_thirtieth_of_the_error():
    hull = hull_of(total, [1.5, 1.0], 1.0, stakes=[1.0, 0.0])
    assert hull.shrink_factor() == 0.0
    with_samples(hull, (1, 1))
    assert hull.shrink_factor() == pytest.approx(0.5 / (30 * hull.noise[0]), rel=1e-3)
    assert not hull.hidden_by_noise().any()
    for noise, blind in ((0.2, False), (0.25, False), (0.3, True)):  # half of the error
        hull.uncertainty = np.array([noise])
        assert hull.hidden_by_noise()[:, 0].tolist() == [blind, False]


def test_a_derivative_is_extrapolated_to_the_point():
    """That of a quadratic function changes linearly; a kink stays."""

    def f(x):
        return float(x @ [2.0, -1.0] + 1e5 * (x @ x) + 3 * abs(x[0]))

    hull = hull_of(f, [1.0, 1.0], 0.0, noise=1e-10)
    hull.places, hull.backgrounds = [np.array([2.0, -1.0]), np.array([-2.0, 0.5])], [Background(0, hull.unit)] * 2
    np.testing.assert_allclose(hull._at_the_point(0, np.array([1.0, 0.0]))[0], 5.0, atol=1e-3)
    np.testing.assert_allclose(hull._at_the_point(1, np.array([1.0, 0.0]))[0], -1.0, atol=1e-3)
    end, shift = hull._at_the_point(0, np.array([0.5, 1.0]))
    np.testing.assert_allclose(end, 1.5, atol=1e-3)
    # A quarter of the way curvature adds 2e5 times the component along, 0.25 (2 * 0.5 - 1 * 1 + 0.05 * 1.25 / 2).
    np.testing.assert_allclose(shift, 2e5 * hull.unit * 0.25 * 0.05 * 1.25 / 2, atol=1e-3)


@pytest.mark.parametrize(("claim", "wrong"), [(1.0, False), (1.5, True), (0.6, True)])
def test_a_claim_among_gradients_by_curvature_alone_is_wrong(claim, wrong):
    """Slopes of a parabola at both places, one above and one below the claim."""
    hull = hull_of(lambda x: float(x @ [1.0, 1.0] + 1e6 * (x @ x)), [claim, 1.0], [1.2, 1.0], bounds=0.05, noise=1e-10)
    for place in ([3.0, 0.0], [-3.0, 0.0]):
        answered(hull, hull._sample(np.array(place)))
    low, high = sorted(gradient[0, 0] for gradient in hull.gradients)
    assert low < 0.6 and high > 1.5
    hull.settle_curvature()
    assert hull.wrong[:, 0].tolist() == [wrong, False]


def test_a_claim_between_the_gradients_at_a_kink_is_not_wrong_by_curvature():
    hull = hull_of(lambda x: float(abs(x[0]) + x[1] + 1e6 * (x @ x)), [0.5, 1.0], [0.0, 1.0], bounds=0.05, noise=1e-10)
    for place in ([3.0, 0.0], [-3.0, 0.0]):
        answered(hull, hull._sample(np.array(place)))
    hull.settle_curvature()
    assert not hull.wrong.any()


def test_no_more_directions_than_there_are_samples_are_tried():
    """A norm at zero: every direction has a gradient of its own, and a claim beyond the sphere is contradicted."""
    hull = hull_of(lambda x: float(np.linalg.norm(x)), [0.9, 0.0, 0.9], 0.0, gaps=2.0)
    for place in hull._first_places():
        answered(hull, hull._sample(place))
    before = len(hull.gradients)
    found = answered(hull, hull._contradictions(np.ones(3, dtype=bool)))
    assert list(found) == [0] and len(hull.gradients) - before < DOZEN
    assert found[0] @ hull.claim[:, 0] > np.linalg.norm(found[0])


def test_members_that_are_contradicted_alone_are_named_and_others_like_them():
    hull = hull_of(lambda x: float(x.max()), [3.0, 2.5, 0.0], 0.0)
    for place in np.eye(3):
        answered(hull, hull._sample(place))
    found = answered(hull, hull._contradicted_alone({0: np.ones(3)}, np.ones(3, dtype=bool)))
    assert found[:, 0].tolist() == [True, True, False]
    found = answered(hull, hull._contradicted_alone({}, np.ones(3, dtype=bool)))
    assert not found.any()
    found = answered(hull, hull._contradicted_alone({0: np.ones(3)}, np.array([False, True, True])))
    assert found[:, 0].tolist() == [False, True, False]


def test_a_start_is_drawn_from_its_seed_in_the_whole_radius_or_a_share_of_it():
    hull = hull_of(total, np.ones(3), 0.0)
    start = Background(5, hull.unit)
    for share, moves in ((1.0, start.moves(hull.ball)), (0.25, start.moves(hull.ball, 0.25))):
        expected = hull.ball.near(share * hull.unit, np.random.default_rng(5))
        np.testing.assert_array_equal(moves[0], expected[0])
        assert np.max(np.abs(moves[0])) <= share * hull.unit


def test_groups_that_are_moved_at_once_start_within_the_smallest_of_their_radii():
    one, other = (hull_of(linear, np.ones((3, 2)), 0.0, cotangents=np.eye(2)) for _ in range(2))
    other.unit = one.unit / 8
    place = np.zeros(3)
    _slopes(one.ball, [one, other], {0: Request(place, np.eye(3)), 1: Request(place, np.eye(3))})
    assert one.background.radius == other.background.radius == other.unit


def test_what_rounding_makes_of_a_place_counts_where_samples_are_taken_nearer(monkeypatch):
    hull = with_samples(hull_of(total, [1.5, 1.0], 1.0, stakes=[1.0, 0.0]), (1, 1))
    rounding = 1e-8
    monkeypatch.setattr(Ball, "rounded", lambda ball, members: np.array([rounding]))
    blur = hull.noise[0] + 2 * rounding / (STEP * hull.unit)
    assert hull.shrink_factor() == pytest.approx(0.5 / (30 * blur), rel=1e-9)


def test_claims_are_judged_by_curvature_along_their_errors():
    """Of a linear function with slopes of one: along the errors the claims give 0.04 more; along their sums with the slopes, the same."""
    claims = [1.02, np.sqrt(2 - 1.02**2)]
    hull = hull_of(total, claims, 1.0, bounds=1e-3, stakes=0.01, noise=1e-13)
    for place in ([3.0, 0.0], [-3.0, 0.0]):
        answered(hull, hull._sample(np.array(place)))
    hull.settle_curvature()
    assert hull.wrong.all()


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_largest_derivative_of_sorted_elements_is_found_from_one_sample(seed):
    """Against all orders: the weights of the ranks go neither up nor down."""
    rng = np.random.default_rng(seed)
    weights, direction = rng.normal(size=5), rng.normal(size=5)
    hull = hull_of(lambda x: float(weights @ np.sort(x)), weights, 0.0, gaps=1.0)
    answered(hull, hull._sample(np.array([2.0, -1.0, 0.0, 1.0, -2.0])))
    place = hull._by_rank(direction, 0)
    assert direction @ weights[np.argsort(np.argsort(place))] == pytest.approx(
        max(direction @ weights[list(order)] for order in permutations(range(5)))
    )


def test_places_at_which_no_gradient_can_be_sampled_are_left(monkeypatch):
    """Only the first one is: the others are tried once each."""
    hull, tried, sample = hull_of(total, np.full(3, 7.0), 1.0), [], _Hull._sample

    def once(hull, place):
        tried.append(place)
        return sample(hull, place) if len(tried) == 1 else given(None)

    monkeypatch.setattr(_Hull, "_sample", once)
    monkeypatch.setattr(_Hull, "_contradictions", lambda hull, among: given({}))
    answered(hull, hull.compare())
    assert len(hull.gradients) == 1 and len(tried) <= 8


def test_without_a_sample_nothing_is_wrong():
    rng = np.random.default_rng(0)
    hull = hull_of(lambda x: rng.normal(), (5.0, -3.0), 0.0)
    answered(hull, hull.compare())
    assert not hull.gradients and not hull.wrong.any()


def test_samples_are_no_more_than_a_dozen_and_contradicted_columns_no_more_than_four(monkeypatch):
    hull = hull_of(np.max, np.ones((2, 6)), 0.0, cotangents=np.ones((6, 1)))
    samples = []
    monkeypatch.setattr(_Hull, "_outside", lambda hull, among: (np.ones(6), [np.ones(2)] * 6))
    monkeypatch.setattr(_Hull, "_search", lambda hull, direction, column: given(samples.append(column) is None))
    assert not answered(hull, hull._contradictions(ALL)) and len(samples) == DOZEN
    monkeypatch.setattr(_Hull, "_search", lambda hull, direction, column: given(False))
    assert sorted(answered(hull, hull._contradictions(ALL))) == [0, 1, 2, 3]
    monkeypatch.setattr(_Hull, "_search", lambda hull, direction, column: given(None))
    assert not answered(hull, hull._contradictions(ALL))


def given(value):
    """Ask nothing, and give a value."""
    yield from ()
    return value


def test_the_two_members_farthest_outside_are_tested_in_units_of_what_is_unsure(monkeypatch):
    hull = hull_of(linear, np.zeros((3, 2)), 0.0, cotangents=np.eye(2))
    hull.uncertainty = np.array([0.001, 1.0])
    hull.claim = np.array([[0.0, 3.0], [0.5, 0.0], [0.0, 4.0]])
    with_samples(hull, np.zeros((3, 2)))
    tested = []
    monkeypatch.setattr(_Hull, "_contradictions", lambda hull, among: given(tested.append(among.tolist()) or {}))
    answered(hull, hull._contradicted_alone({0: np.ones(3), 1: np.ones(3)}, np.ones(3, dtype=bool)))
    assert tested == [[False, True, False], [False, False, True]]


def test_members_are_parted_by_pairs_up_to_a_dozen():
    for count, calls in ((12, 1 + 2 * (12 + 66)), (13, 0)):
        hull = with_samples(hull_of(total, np.ones(count), 1.0), np.ones(count))
        rows = np.arange(count)
        asked = hull._contradicted_parts(rows, 0)
        answered(hull, asked)
        assert hull.ball.probe.budget.used == calls


class Stub:
    """A hull of a group that is compared at no call, and how near it may be."""

    def __init__(self, ball, group, radius):
        self.group, self.members, self.unit, self.nearer = group, group.members, radius, Stub.nearer
        self.gradients, self.wrong = list(Stub.gradients), np.array(Stub.wrong[len(Stub.made)])
        self.settled, self.maybe_curved = False, np.zeros_like(self.wrong)
        Stub.made.append(self)

    def compare(self, places=()):
        return given(None)

    def supporting_places(self):
        return []

    def shrink_factor(self):
        return self.nearer

    def settle_curvature(self):
        self.settled = True

    def hidden_by_noise(self):
        return np.zeros_like(self.wrong)

    def unsettled(self, wrong):
        return np.zeros_like(wrong)


@pytest.mark.parametrize(
    ("nearer", "gradients", "flagged", "valid"),
    [
        (2.0, [1], (0, 1), [False, False]),  # the first is wrong near by, the second nearer
        (1.9, [1], (0, 1), [False, True]),  # there is no nearer one
        (2.0, [], (0, 1), [None, None]),  # no sample, nothing decided
        (2.0, [1], (1,), [None, False]),
    ],
)
def test_a_claim_is_valid_where_neither_samples_nor_nearer_ones_contradict_it(
    monkeypatch, nearer, gradients, flagged, valid
):
    monkeypatch.setattr(subdifferential, "_Hull", Stub)
    Stub.made, Stub.nearer, Stub.gradients = [], nearer, gradients
    Stub.wrong = [[[True], [False]], [[False], [True]]]
    concluded = {}
    members = [
        SimpleNamespace(
            stake=np.ones(1),
            valid=np.zeros(1, bool),
            open=np.zeros(1, bool),
            conclude=lambda v, i=i: concluded.update({i: bool(v[0])}),
        )
        for i in range(2)
    ]
    ball = SimpleNamespace(radius=lambda members: 8.0)
    _judge_groups(ball, [Group(members)], {id(members[i]) for i in flagged})
    assert [concluded.get(i) for i in range(2)] == valid
    assert [hull.unit for hull in Stub.made] == ([8.0, 4.0] if nearer == 2.0 else [8.0])
    assert [hull.settled for hull in Stub.made] == [False, True][-len(Stub.made) :]


def test_of_smooth_elements_of_a_leaf_that_are_wrong_four_are_scanned(monkeypatch):
    scanned = []

    def scan(ball, element):
        scanned.append(element)
        return False

    monkeypatch.setattr(subdifferential, "scan", scan)
    hull = hull_of(total, [2.0] * 6, 1.0, bounds=0.1)
    _judge_singles(hull.ball, hull.members)
    assert len(scanned) == 4
    assert all(not member.valid.any() and not member.open.any() for member in hull.members[4:])


def test_an_element_whose_bound_is_infinite_in_one_function_is_not_judged():
    hull = hull_of(linear, np.full((3, 2), 9.0), 1.0, gaps=1.0, cotangents=np.eye(2))
    for member in hull.members:
        member.bound[1] = np.inf
    judge(hull.ball, hull.members)
    assert hull.ball.probe.budget.used == 0 and all(member.open.all() for member in hull.members)


def test_hulls_are_moved_at_once_though_they_ask_for_different_numbers_of_slopes():
    """Two of a table of outputs that each element changes alone; and one after the other where there is one output."""
    table = np.array([2.0, -3.0, 5.0])
    for f, cotangents, calls in ((lambda x: table * x, np.eye(3), 1 + 3), (lambda x: float(table @ x), None, 1 + 4)):
        whole = hull_of(f, np.ones((3, 3 if cotangents is not None else 1)), 0.0, cotangents=cotangents)
        ball = whole.ball
        hulls = [_Hull(ball, Group([ball_member]), whole.unit) for ball_member in (whole.members[0], whole.members[2])]
        asked = {
            0: Request(np.zeros(1), np.ones((3, 1)) * [[1.0], [2.0], [-1.0]]),
            1: Request(np.zeros(1), np.ones((1, 1))),
        }
        ball.probe.budget.used = 0
        slopes = _slopes(ball, hulls, asked)
        assert ball.probe.budget.used == calls
        np.testing.assert_allclose(
            slopes[0].sum(axis=1),
            2.0 * np.array([1, 2, -1]) + (5.0 if calls == 4 else 0) * np.array([1, 0, 0]),
            rtol=1e-4,
        )
        assert slopes[1].shape[0] == 1


def test_a_claim_whose_error_noise_hides_stays_open(monkeypatch):
    monkeypatch.setattr(subdifferential, "_Hull", Stub)
    monkeypatch.setattr(Stub, "hidden_by_noise", lambda hull: np.array([[True], [False]]))
    Stub.made, Stub.nearer, Stub.gradients, Stub.wrong = [], 0.0, [1], [[[False], [False]]]
    members = []
    for _ in range(2):
        member = SimpleNamespace(stake=np.ones(1), valid=np.zeros(1, bool), open=np.ones(1, bool))

        def conclude(valid, member=member):
            member.valid, member.open = valid.copy(), np.zeros_like(valid)

        member.conclude = conclude
        members.append(member)
    _judge_groups(SimpleNamespace(radius=lambda members: 8.0), [Group(members)], {id(member) for member in members})
    assert [(bool(m.valid[0]), bool(m.open[0])) for m in members] == [(False, True), (True, False)]


@pytest.mark.parametrize(("claim", "wrong"), [(2.16, False), (2.18, True), (0.84, False), (0.82, True), (1.5, False)])
def test_what_is_extrapolated_is_unsure_by_its_noise_and_a_thousandth_of_the_stake(monkeypatch, claim, wrong):
    """Ends at 1 and 2, noise of 0.03, of which extrapolation makes 0.17, and 0.001 for a stake of one."""
    hull = hull_of(total, [claim, 1.0], [0.0, 1.0], bounds=1e-3, stakes=1.0)
    hull.noise = np.full(1, 0.03 * 0.999)
    with_samples(hull, (0.5, 1.0), (2.5, 1.0), (1.0, 1.0))
    hull.places, hull.backgrounds = [np.zeros(2)] * 3, [Background(0, hull.unit)] * 3
    asked = []

    def at_the_point(hull, sample, along):
        asked.append((sample, along.tolist()))
        return np.array([[{0: 1.0, 1: 2.0}[sample]], [0.0]])

    monkeypatch.setattr(_Hull, "_at_the_point", at_the_point)
    hull.settle_curvature()
    assert sorted(asked) == [(0, [1.0, 0.0]), (1, [1.0, 0.0])]  # the outermost ones, along the error, of size one
    assert hull.wrong[:, 0].tolist() == [wrong, False]


@pytest.mark.parametrize(("shift", "bent"), [(0.7, False), (0.8, True)])
def test_a_claim_is_open_where_extrapolation_moves_an_end_by_more_than_half_of_its_error(monkeypatch, shift, bent):
    """A claim of 1.5 between ends at 1 and 2, where 0 was measured."""
    hull = hull_of(total, [1.5, 1.0], [0.0, 1.0], bounds=1e-3, stakes=1.0)
    with_samples(hull, (0.5, 1.0), (2.5, 1.0))
    ends = {0: [[1.0], [0.1]], 1: [[2.0], [shift]]}
    monkeypatch.setattr(_Hull, "_at_the_point", lambda hull, sample, along: np.array(ends[sample]))
    hull.settle_curvature()
    assert hull.maybe_curved[:, 0].tolist() == [bent, False] and not hull.wrong.any()


def test_no_curvature_is_looked_for_in_columns_with_something_wrong_or_without_a_sample(monkeypatch):
    asked = []
    monkeypatch.setattr(_Hull, "_at_the_point", lambda hull, sample, along: asked.append(sample) or np.zeros((2, 2)))
    hull = hull_of(linear, np.full((3, 2), 9.0), 1.0, cotangents=np.eye(2))
    hull.settle_curvature()
    assert not asked
    with_samples(hull, np.ones((3, 2)))
    hull.wrong[0, 1] = True
    hull.settle_curvature()
    assert asked == [0, 0] and hull.wrong[:, 0].all() and hull.wrong[:, 1].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("alone", "found"),
    [
        ({0: [0], 1: [0]}, [True, True, True, False]),  # both that are tested: the third is like them
        ({0: [0], 1: []}, [True, False, False, False]),
        ({0: [], 1: [0]}, [False, True, False, False]),
        ({0: [], 1: []}, [False, False, False, False]),
    ],
)
def test_others_are_wrong_like_those_that_were_tested_if_both_are(monkeypatch, alone, found):
    """Four claims of which the fourth is among the gradients, in the one of two columns that is contradicted."""
    hull = hull_of(lambda x: np.full(2, x.sum()), np.zeros((4, 2)), 0.0, cotangents=np.eye(2))
    hull.claim = np.array([[5.0, 9.0], [4.0, 9.0], [3.0, 9.0], [1.0, 9.0]])
    with_samples(hull, np.zeros((4, 2)), np.ones((4, 2)))

    def contradictions(hull, among):
        (row,) = np.flatnonzero(among)
        return given({column: np.ones(4) for column in alone[int(row)]})

    monkeypatch.setattr(_Hull, "_contradictions", contradictions)
    told = answered(hull, hull._contradicted_alone({0: np.ones(4)}, np.ones(4, dtype=bool)))
    assert told[:, 0].tolist() == found and not told[:, 1].any()


def test_how_far_a_claim_is_outside_counts_in_units_of_what_is_unsure():
    """Outside by twice what is uncertainty, or by half of it; below and above."""
    for claim, seen in ((1.2, True), (1.05, False), (-0.2, True), (-0.05, False)):
        hull = hull_of(total, np.zeros(2), 0.0)
        hull.claim, hull.uncertainty = np.array([[claim], [0.5]]), np.array([0.1])
        with_samples(hull, (0, 0), (1, 1))
        tested = []

        def contradictions(hull, among, tested=tested):
            return given(tested.append(among.tolist()) or {0: np.ones(2)})

        original, _Hull._contradictions = _Hull._contradictions, contradictions
        try:
            found = answered(hull, hull._contradicted_alone({0: np.ones(2)}, ALL))
        finally:
            _Hull._contradictions = original
        assert tested == ([[True, False]] if seen else []) and found[:, 0].tolist() == [seen, False]


@pytest.mark.parametrize(
    ("labels", "contradicted", "parts", "wrong"),
    [
        ([0, 0, 2], {0, 2}, [[1, 3], [4]], [1, 3, 4]),
        ([0, 0, 2], {2}, [[1, 3], [4]], [4]),
        ([0, 1, 2], {0, 1}, [[1], [3], [4]], [1, 3]),
        ([1, 1, 1], {1}, [], []),  # all have one label: no parts
    ],
)
def test_parts_whose_effects_do_not_add_up_are_tested_by_themselves(monkeypatch, labels, contradicted, parts, wrong):
    hull = with_samples(hull_of(total, np.ones(5), 1.0), np.ones(5))
    monkeypatch.setattr(_Hull, "_linked", lambda hull, rows, column: np.array(labels))
    tested = []

    def contradictions(hull, among):
        members = np.flatnonzero(among).tolist()
        tested.append(members)
        (label,) = {labels[[1, 3, 4].index(member)] for member in members}
        return given({0: np.ones(5)} if label in contradicted else {1: np.ones(5)})

    monkeypatch.setattr(_Hull, "_contradictions", contradictions)
    found = answered(hull, hull._contradicted_parts(np.array([1, 3, 4]), 0))
    assert tested == parts and found.tolist() == wrong


def test_one_member_alone_is_not_parted():
    hull = with_samples(hull_of(total, np.ones(3), 1.0), np.ones(3))
    assert answered(hull, hull._contradicted_parts(np.array([1]), 0)).tolist() == []
    assert hull.ball.probe.budget.used == 3  # its own effect, up and down, and the point


@pytest.mark.parametrize(
    ("directions", "contradicted", "alone", "wrong"),
    [
        ([1.0, 0.06, 0.04], {0}, [], [True, True, False]),  # who has part in it: more than a twentieth
        ([1.0, -0.06, 0.04], {0}, [], [True, True, False]),
        ([1.0, 0.06, 0.04], {0}, [0], [True, False, False]),  # one alone explains it
        ([1.0, 0.06, 0.04], set(), [], [False, False, False]),
    ],
)
def test_members_with_a_part_in_a_contradiction_are_wrong(monkeypatch, directions, contradicted, alone, wrong):
    hull = with_samples(hull_of(total, np.full(3, 7.0), 1.0), np.ones(3))
    rounds = []
    monkeypatch.setattr(_Hull, "_first_places", lambda hull: [])

    def contradictions(hull, among):
        rounds.append(among.tolist())
        return given({0: np.array(directions)} if 0 in contradicted else {})

    def test_alone(hull, contradicted, among):
        found = np.zeros((3, 1), dtype=bool)
        found[alone] = among[alone][:, None]
        return given(found)

    monkeypatch.setattr(_Hull, "_contradictions", contradictions)
    monkeypatch.setattr(_Hull, "_contradicted_alone", test_alone)
    monkeypatch.setattr(_Hull, "_contradicted_parts", lambda hull, rows, column: given(np.zeros(0, dtype=np.intp)))
    monkeypatch.setattr(_Hull, "_outside", lambda hull, among: (np.ones(1), [np.where(among, directions, 0.0)]))
    answered(hull, hull.compare())
    if alone:  # those left are compared once more without it
        assert rounds == [[True] * 3, [False, True, True]]
        assert hull.wrong[:, 0].tolist() == [True, True, False] or hull.wrong[:, 0].tolist() == wrong
    else:
        assert hull.wrong[:, 0].tolist() == wrong and rounds == [[True] * 3]


def test_a_cusp_in_one_function_leaves_an_element_open_though_another_has_a_kink_there(monkeypatch):
    hull = hull_of(linear, np.full((3, 2), 9.0), 1.0, gaps=1.0, cotangents=np.eye(2))
    scanned = []
    monkeypatch.setattr(subdifferential, "scan", lambda ball, element: scanned.append(element) or True)
    monkeypatch.setattr(subdifferential, "has_steady_gap", lambda ball, element: np.array([True, element.index == 1]))
    _judge_singles(hull.ball, hull.members)
    assert [element.index for element in scanned] == [1]
    assert hull.members[0].open.all() and hull.members[2].open.all()


def test_a_claim_between_one_sided_derivatives_is_valid_without_a_call():
    hull = hull_of(
        linear,
        [[1.2, 1.0], [9.0, 1.0], [1.0, 1.0]],
        1.0,
        gaps=[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]],
        bounds=0.5,
        cotangents=np.eye(2),
    )
    for member in hull.members:
        member.gap = member.gap.copy()
    _judge_singles(hull.ball, [hull.members[0], hull.members[2]])
    assert hull.ball.probe.budget.used == 0
    assert hull.members[0].valid.tolist() == [True, False] and not hull.members[0].open.any()


@pytest.fixture
def only_directions(monkeypatch):
    """Places are the directions that they lie in."""
    monkeypatch.setattr(_Hull, "_far_along", lambda hull, direction, spread=0.5: np.asarray(direction))


@pytest.mark.usefixtures("only_directions")
def test_gradients_are_sampled_first_along_and_against_the_claim_and_its_order_and_all_up_and_down():
    """One column at stake with a claim, one with a claim of zero, one not at stake."""
    hull = hull_of(lambda x: np.full(3, x.sum()), np.zeros((3, 3)), 0.0, cotangents=np.eye(3))
    hull.claim, hull.stake = np.array([[2.0, 0.0, 5.0], [-1.0, 0.0, 5.0], [0.0, 0.0, 5.0]]), np.array([1.0, 1.0, 0.0])
    along, ranked, ones = np.array([1.0, -0.5, 0.0]), np.array([1.0, -1.0, 0.0]), np.ones(3)
    expected = [hull._axis(0), along, -along, ranked, -ranked, hull._axis(1), ones, -ones]
    np.testing.assert_array_equal(list(hull._first_places()), expected)


@pytest.mark.usefixtures("only_directions")
def test_a_search_begins_along_and_against_the_direction_and_its_order(monkeypatch):
    hull = hull_of(total, np.ones(3), 0.0)
    monkeypatch.setattr(_Hull, "_rankings", lambda hull: [])
    direction, ranked = np.array([1.0, -0.5, 0.0]), np.array([1.0, -1.0, 0.0])
    expected = [direction, -direction, direction, -direction, ranked, -ranked]
    np.testing.assert_array_equal(list(hull._places(direction, 0)), expected)


@pytest.mark.parametrize(("slope", "found"), [(0.9, True), (0.89, False)])
def test_a_place_will_do_where_the_derivative_is_what_is_claimed_less_what_is_unsure(monkeypatch, slope, found):
    hull = with_samples(hull_of(total, [1.0, 0.0], 0.0), (0.0, 0.0))
    hull.uncertainty, hull.places = np.array([0.1 + 1e-12]), [np.ones(2)]
    sampled = []
    monkeypatch.setattr(_Hull, "_sample", lambda hull, place: given(sampled.append(place)))
    asking = hull._search(np.array([1.0, 0.0]), 0)
    place = next(asking).place
    asking.send(np.array([[slope]]))
    assert bool(sampled) == found and (not found or sampled[0] is place)


def test_a_group_goes_no_nearer_than_the_dtype_lets_each_of_its_members_move():
    """Zeros can move by less than elements of size two; a displacement is common to all."""
    x = np.array([0.0, 2.0], np.float32)
    ball = ball_of(lambda x: float(np.abs(x.astype(float)).sum()), x, np.full(2, 0.5))
    members = [Flagged(0, i, np.full(1, 0.5), np.zeros(1), np.full(1, 1e-6), np.zeros(1)) for i in range(2)]
    hull = _Hull(ball, Group(members), 1e-3)
    hull.gradients = [np.zeros((2, 1))]
    nearest = hull.unit / hull.shrink_factor()
    assert 0.05 * nearest * hull.scale[0, 0] > np.spacing(np.float32(2.0))
