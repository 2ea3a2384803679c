"""Elements share a kink if effects of first order do not add up."""

import numpy as np
import pytest

from gradcheck import check_gradient
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe
from gradcheck.nonsmooth.groups import LINKED, Group, _Additivity, _differ, groups_of
from gradcheck.nonsmooth.sampling import FARTHEST, Ball, Flagged

from .balls import ball_of, flag_all


def indices(groups):
    return sorted(sorted(member.index for member in group.members) for group in groups)


def groups(f, x, claim, **options):
    ball = ball_of(f, x, claim, **options)
    found = groups_of(ball, flag_all(ball))
    return indices(found), ball.probe.budget.used


@pytest.mark.parametrize("count", [2, 12, 13, 400])
def test_elements_that_are_kinked_by_themselves_are_told_apart_in_a_few_calls(count):
    weights = np.random.default_rng(0).normal(size=count)
    found, calls = groups(lambda x: float(weights @ np.abs(x)), np.zeros(count), np.zeros(count))
    assert found == [[i] for i in range(count)]
    assert calls <= 11


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "f",
    [
        np.max,
        np.min,
        np.median,
        lambda x: max(x.sum() - x.size, 0.0),
        lambda x: min(max(x[0], x[1]), x[2:].max()),
        lambda x: np.linalg.norm(x - 1),
        lambda x: np.sort(x) @ np.arange(x.size),
    ],
)
def test_elements_that_share_a_kink_stay_together(f, seed):
    claim = np.eye(5)[0] + np.eye(5)[1]
    found, _ = groups(lambda x: float(f(x)), np.ones(5), claim, seed=seed)
    assert found == [[0, 1, 2, 3, 4]]


def test_a_pair_among_many_is_seen():
    found, _ = groups(lambda x: float(np.abs(x).sum() + max(x[3], x[7])), np.zeros(10), np.zeros(10))
    assert found == [list(range(10))]


@pytest.mark.parametrize("seed", range(3))
def test_units_of_a_layer_whose_weights_are_zero_are_slices_of_them(seed):
    rng = np.random.default_rng(seed)
    data, factors = rng.normal(size=(6, 3)), rng.normal(size=(6, 8))

    def f(w):
        return float(np.sum(factors * np.maximum(data @ w, 0)))

    found, calls = groups(f, np.zeros((3, 8)), np.zeros(24))
    assert found == [[i, i + 8, i + 16] for i in range(8)]
    assert calls <= 50


def test_curvature_links_nothing():
    matrix = np.random.default_rng(0).normal(size=(4, 4))

    def f(x):
        return float(np.abs(x).sum() + np.sum((matrix @ x) ** 2))

    assert groups(f, np.zeros(4), np.zeros(4))[0] == [[0], [1], [2], [3]]


@pytest.mark.parametrize("away", [1e-10, 1e-9, 1e-8])
def test_a_kink_near_by_may_link_elements_and_does_them_no_harm(away):
    def f(x):
        return float(np.abs(x).sum() + 0.1 * max(x.sum() - away, 0))

    assert check_gradient(f, np.array([0.5, -0.9, 0.0, 0.2]), np.zeros(4)).ok
    assert check_gradient(f, np.array([0.5, -1.5, 0.0, 0.2]), np.zeros(4)).verdict == "fail"


def test_outputs_tell_windows_apart():
    def pool(x):
        return x.reshape(5, 3).max(axis=1)

    found, calls = groups(pool, np.zeros(15), np.zeros(15), cotangents=np.random.default_rng(0).normal(size=(2, 5)))
    assert found == [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(5)]
    assert calls <= 2 * 15 + 5 * 4


def test_elements_equal_to_a_flagged_one_take_part():
    """Moved alone, two of three equal ones change nothing, and claim nothing."""
    found, _ = groups(lambda x: float(np.median(x)), np.ones(3), [1.0, 0.0, 0.0])
    assert found == [[0, 1, 2]]


@pytest.mark.parametrize("ratio", np.linspace(0.55, 0.95, 9))
def test_curvature_of_two_orders_that_comes_to_as_much_at_two_distances_links_nothing(ratio):
    """Single precision reads slopes so far away that the third order makes up for part of the second."""
    slopes = np.array([0.2, -0.2, 1.2, 0.8])
    far = 4 * 1.5 * FARTHEST

    def f(x):
        return float(x @ slopes + 20 * x.sum() ** 2 * (1 - ratio * x.sum() / far))

    ball = ball_of(f, np.zeros(4), slopes * 1.02, noise=6e-7)
    flagged = [Flagged(0, i, ball.claims[0][i], slopes[i : i + 1], np.array([3e-4]), np.zeros(1)) for i in range(4)]
    assert indices(groups_of(ball, flagged)) == [[0], [1], [2], [3]]


@pytest.mark.parametrize(("columns", "parts"), [(6, 1), (7, 2)])
def test_a_dozen_that_share_kinks_are_not_parted_any_further(columns, parts):
    def f(x):
        return float(x.reshape(2, columns).max(axis=1).sum())

    found, _ = groups(f, np.zeros((2, columns)), np.zeros(2 * columns))
    assert len(found) == parts and sum(map(len, found)) == 2 * columns


@pytest.mark.parametrize("shape", [(3, 2, 5), (5, 2, 3), (5, 6, 1)])
def test_slices_are_those_along_the_last_axis_or_the_first(shape):
    """One kink for each of five indices."""
    axes = (0, 1) if shape[-1] == 5 else (1, 2)
    found, _ = groups(lambda x: float(x.max(axis=axes).sum()), np.zeros(shape), np.zeros(30))
    numbers = np.arange(30).reshape(shape)
    assert found == sorted(
        sorted(part.ravel().tolist()) for part in np.split(numbers, 5, axis=2 if shape[-1] == 5 else 0)
    )


def test_a_shared_kink_that_shows_downwards_alone():
    def f(x):
        return np.array([min(x[0], x[1], 0.0), x[2], abs(x[3])])

    found, _ = groups(f, np.zeros(4), [0.0, 0, 0.5, 0.5], cotangents=np.array([[1.0, 1, 1]]), scales=np.full(4, 0.01))
    assert found == [[0, 1], [2], [3]]


@pytest.mark.parametrize(("off", "linked"), [(0.05, False), (0.5, True)])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 50.0])
def test_what_derivatives_may_be_off_by_is_no_shared_kink(off, linked, scale):
    """References off by half of their bound; and by five bounds, which no bound explains."""
    slopes = np.array([0.2, -0.2, 1.2, 0.8])
    ball = ball_of(lambda x: float(x @ slopes), np.zeros(4), slopes + 1, noise=1e-12 * scale, scales=np.full(4, scale))
    near = slopes + off * np.array([1, 1, -1, 1])
    flagged = [Flagged(0, i, ball.claims[0][i], near[i : i + 1], np.array([0.1]), np.zeros(1)) for i in range(4)]
    assert indices(groups_of(ball, flagged)) == ([[0, 1, 2, 3]] if linked else [[0], [1], [2], [3]])


def test_each_column_may_link_elements():
    cotangents = np.array([[1.0, 0.0], [0.0, 1.0]])
    found, _ = groups(
        lambda x: np.array([np.abs(x).sum(), max(x[0], x[1]) + abs(x[2])]),
        np.zeros(3),
        np.zeros((3, 2)),
        cotangents=cotangents,
    )
    assert found == [[0, 1, 2]]


def test_one_element_is_a_group_and_costs_nothing():
    found, calls = groups(lambda x: abs(float(x[0])) + float(x[1]), np.array([0.0, 2.0]), [0.0, 1.0])
    assert found == [[0]] and calls == 0


@pytest.mark.parametrize("count", [4, 13])
@pytest.mark.parametrize(
    "f", [lambda x: max(x.min(), 0.0), lambda x: min(x.max(), 0.0)], ids=["all go up", "all go down"]
)
def test_a_kink_that_shows_only_where_all_elements_go_one_way(f, count):
    """Random signs of thirteen elements never all agree; single ones change nothing."""
    found, _ = groups(lambda x: float(f(x)), np.zeros(count), np.ones(count))
    assert found == [list(range(count))]


def test_an_output_has_changed_by_more_than_thirty_roundings():
    base = np.array([1.0, 3.0, -1e-3, 0.0])
    for roundings, changed in ((0, False), (30, False), (31, True), (-30, False), (-31, True)):
        np.testing.assert_array_equal(_differ(base + roundings * np.spacing(np.abs(base)), base), np.full(4, changed))
    assert _differ(np.array([np.nan]), np.array([1.0])).all()


def test_elements_are_moved_by_no_more_than_the_radius_in_their_scale_to_see_which_outputs_change():
    """A kink of two elements a little farther away, at which they change an output in common."""
    scale, seen = 1e-3, []

    def f(x):
        seen.append(np.abs(x).max())
        return np.array([abs(x[0]), abs(x[1])])

    ball = ball_of(f, np.zeros(2), np.zeros(2), cotangents=np.array([[1.0, 2.0]]), scales=np.full(2, scale), noise=1e-9)
    flagged = flag_all(ball)
    seen.clear()
    groups_of(ball, flagged)
    moved = np.array(seen)[np.array(seen) > 0]
    assert np.allclose(moved, scale * ball.radius(flagged))


def test_a_group_has_all_outputs_that_any_of_its_elements_changes():
    """Two that have one in common, and one more that no other element changes; the last element changes none."""

    def f(x):
        return np.array([abs(x[0]), abs(x[0] + x[1]), abs(x[1]), abs(x[2]), 1.0])

    ball = ball_of(f, np.zeros(5), [3.0, 3, 0, 1, 1], cotangents=np.ones((1, 5)), noise=1e-12)
    found = groups_of(ball, flag_all(ball))
    outputs = {tuple(member.index for member in group.members): group.outputs.tolist() for group in found}
    assert outputs == {(0, 1): [0, 1, 2], (2,): [3], (3,): [], (4,): []}


def test_joint_moves_are_from_a_fifth_to_four_fifths_longer_than_the_radius_and_nearer_ones_a_quarter_and_a_sixteenth():
    """So that no move of the sum meets a place at which a derivative was read."""
    seen = []

    def f(x):
        seen.append(np.abs(x))
        return float(x.max())

    ball = ball_of(f, np.zeros(6), np.zeros(6), noise=1e-9, scales=np.full(6, 0.1))
    flagged = flag_all(ball)
    seen.clear()
    groups_of(ball, flagged)
    moved = np.array(seen)[1:] / (0.1 * ball.radius(flagged))
    assert len(moved) == 3
    for sizes, share in zip(moved, (1, 1 / 4, 1 / 16), strict=True):
        assert np.all((sizes >= 1.2 * share) & (sizes <= 1.8 * share))
        np.testing.assert_allclose(sizes, share * moved[0])


@pytest.mark.parametrize("columns", [(2,), (3, 5)])
def test_a_column_in_which_nothing_is_at_stake_links_nothing(columns):
    """There all elements share a kink, and no claim is contradicted; in the first column slices do at most."""
    shape = columns

    def f(x):
        return np.array([float(np.abs(x).sum() if x.ndim == 1 else x.max(axis=0).sum()), min(x.max(), 0.0)])

    count = int(np.prod(shape))
    found, _ = groups(f, np.zeros(shape), np.zeros((count, 2)), cotangents=np.eye(2))
    assert found == ([[0], [1]] if shape == (2,) else [[i, i + 5, i + 10] for i in range(5)])


@pytest.mark.parametrize("at", [(), (1,)])
def test_elements_of_a_number_and_of_an_array_are_not_parted_by_slices(at):
    """A number has no index along an axis."""
    leaves = {"a": np.zeros(at), "b": np.zeros(13)}
    point = point_of(leaves, "x")
    f = lambda tree: float(max(np.sum(tree["a"]), tree["b"].max()))  # noqa: E731
    output = Output.of(f(leaves), "f")
    probe = Probe(f, point, output, np.ones((1, 1)), Budget())
    claims, scales = {0: np.ones((1, 1)), 1: np.ones((13, 1))}, {0: np.ones(1), 1: np.ones(13)}
    ball = Ball(probe, claims, scales, np.full(1, 4e-16), np.random.default_rng(0))
    one = np.ones(1)
    flagged = [Flagged(leaf, i, one, one / 2, one, one) for leaf, count in ((0, 1), (1, 13)) for i in range(count)]
    assert [len(group.members) for group in groups_of(ball, flagged)] == [14]


def test_curvature_in_one_column_links_nothing_beside_a_straight_one():
    slopes = np.array([0.2, -0.2, 1.2, 0.8])
    ball = ball_of(
        lambda x: np.array([x @ slopes + 100 * x.sum() ** 2, x @ slopes]),
        np.zeros(4),
        np.stack([slopes * 1.02] * 2, axis=1),
        cotangents=np.eye(2),
        noise=1e-7,
    )
    flagged = [
        Flagged(0, i, ball.claims[0][i], np.full(2, slopes[i]), np.full(2, 1e-4), np.zeros(2), np.ones(2))
        for i in range(4)
    ]
    assert indices(groups_of(ball, flagged)) == [[0], [1], [2], [3]]


def test_what_derivatives_may_be_off_by_beyond_half_of_a_gap_is_no_shared_kink():
    """The bound of an element at a kink holds half of its gap: what is left is how uncertainty its derivatives are."""
    slopes, gap = np.array([0.2, -0.2, 1.2, 0.8]), 0.1
    for off, linked in ((0.05, False), (0.5, True)):
        ball = ball_of(lambda x: float(x @ slopes + gap / 2 * np.abs(x).sum()), np.zeros(4), slopes + 1, noise=1e-12)
        near = slopes + off * np.array([1, 1, -1, 1])
        flagged = [
            Flagged(0, i, ball.claims[0][i], near[i : i + 1], np.array([gap / 2 + 0.1]), np.array([gap]))
            for i in range(4)
        ]
        assert indices(groups_of(ball, flagged)) == ([[0, 1, 2, 3]] if linked else [[0], [1], [2], [3]])


def scripted(left, count=2, noise=0.0):
    """Additivity of elements with derivatives of zero and a stake of four, and a function that goes up by so much of four radii:
    one number for each distance at which it is looked at (1, a quarter, a sixteenth); the noise is in the same units."""
    unit = 2000 * 1e-9 / 4

    def f(x):
        moved = np.abs(x).max() / unit
        if np.count_nonzero(x) < count or moved == 0:
            return 0.0
        number = round(np.log2(1.5 / moved) / 2)
        return 4 * unit * left[number] / 4**number

    ball = ball_of(f, np.zeros(count), np.zeros(count), noise=1e-9)
    zero = np.zeros(1)
    members = [Flagged(0, i, zero, zero, zero, zero, np.array([4.0])) for i in range(count)]
    found = _Additivity(ball, Group(members), np.zeros(1))
    assert found.unit == pytest.approx(unit)
    object.__setattr__(ball, "noise", np.array([4 * unit * noise]))
    return found


@pytest.mark.parametrize(
    ("left", "noise", "linked"),
    [
        ((1.1 * LINKED,) * 3, 0.0, True),
        ((0.9 * LINKED,) * 3, 0.0, False),
        ((0.5,) * 3, 0.2, True),  # noise may make 2 * 0.2 + 0.05 of it
        ((0.4,) * 3, 0.2, False),
        ((1.0, 0.76, 0.76), 0.0, True),  # as much nearer, to a quarter of it: of first order
        ((1.0, 0.74, 0.74), 0.0, False),
        ((1.0, 1.24, 1.24), 0.0, True),
        ((1.0, 1.26, 1.26), 0.0, False),
        ((1.0, 1.0, 0.74), 0.0, False),  # at both
        ((1.0, 0.6, 0.6), 0.05, True),  # and to what noise does nearer: 0.05 * 4
        ((1.0, 0.5, 0.5), 0.05, False),
        ((0.3, 0.3, 1.2), 0.05, False),  # 0.3 / 4 + 0.05 * 16
        ((0.3, 0.3, 1.1), 0.05, True),
    ],
)
def test_what_is_left_over_links_where_it_is_of_first_order_and_more_than_noise(left, noise, linked):
    assert scripted(left, noise=noise)._singles_add_up() is not linked


@pytest.mark.parametrize(
    ("left", "noise", "add_up"),
    [
        (0.9 * LINKED, 0.0, True),
        (1.1 * LINKED, 0.0, False),
        (0.9 * (LINKED + 0.2), 0.1, True),
        (1.1 * (LINKED + 0.2), 0.1, False),
    ],
)
def test_two_blocks_add_up_to_the_noise_of_four_values_and_a_twentieth_of_the_stake(left, noise, add_up):
    found = scripted((left,) * 3, noise=noise)
    assert found._blocks_add_up(np.full(2, 1.5), [np.array([0]), np.array([1])]) is add_up


def test_blocks_must_add_up_in_every_column():
    ball = ball_of(
        lambda x: np.array([np.abs(x).sum(), x.max()]), np.zeros(2), np.zeros((2, 2)), cotangents=np.eye(2), noise=1e-12
    )
    flagged = flag_all(ball)
    found = _Additivity(ball, Group(flagged), ball.outputs(ball.at_rest()))
    assert not found._blocks_add_up(np.full(2, 1.5), [np.array([0]), np.array([1])])
