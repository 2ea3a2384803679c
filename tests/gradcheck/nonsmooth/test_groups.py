"""Elements share a kink if effects of first order do not add up."""

import numpy as np
import pytest

from gradcheck.nonsmooth.groups import groups_of
from gradcheck.nonsmooth.sampling import FARTHEST, Flagged

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
    assert calls <= 7


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


def test_curvature_and_a_kink_near_by_link_nothing():
    matrix = np.random.default_rng(0).normal(size=(4, 4))

    def f(x):
        return float(np.abs(x).sum() + np.sum((matrix @ x) ** 2) + 0.1 * max(x.sum() - 1e-10, 0))

    assert groups(f, np.zeros(4), np.zeros(4))[0] == [[0], [1], [2], [3]]


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


@pytest.mark.parametrize("shape", [(3, 2, 5), (5, 2, 3)])
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
