"""Whether points along a leading axis are points of their own: functions that mix, drop or count them."""

import numpy as np
import pytest

from gradcheck import InvalidArgument
from gradcheck.differences.vectorized import elements, require_rowwise, require_same_alone
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe

X = np.array([0.3, -1.2, 2.0])


def probe_of(f, *, vectorized=True):
    return Probe(
        lambda tree: f(tree["x"]),
        point_of({"x": X}, "point"),
        Output.of(1.0, "f"),
        np.ones((1, 1)),
        Budget(),
        vectorized=vectorized,
    )


def rowwise(x):
    return np.sum(x**2, axis=-1)


def mean_of_all(x):
    return np.sum(x**2, axis=-1) - (0.1 * np.mean(x) if x.ndim > 1 else 0.0)


def first_of_all(x):
    return np.broadcast_to(np.sum(x[0] ** 2), x.shape[:1]) if x.ndim > 1 else np.sum(x**2)


def rolled(x):
    return np.roll(np.sum(x**2, axis=-1), 1) if x.ndim > 1 else np.sum(x**2)


def backwards(x):
    return np.sum(x**2, axis=-1)[::-1] if x.ndim > 1 else np.sum(x**2)


def minds_how_many(x):
    return np.sum(x**2, axis=-1) + (0.1 if x.ndim > 1 and len(x) > 4 else 0.0)


def rounds_otherwise(x):
    return np.sum(x**2, axis=-1) * (1 + (1e-13 if x.ndim > 1 else 0.0))


LENGTHS, NOISE = {0: np.ones(3)}, np.array([1e-15])


@pytest.mark.parametrize("f", [mean_of_all, first_of_all, rolled])
def test_what_mixes_points_is_refused_and_the_leaf_is_named(f):
    with pytest.raises(InvalidArgument, match=r"vectorized=True, but f gives .* for a point of x .* alone"):
        require_rowwise(probe_of(f), LENGTHS, NOISE, np.random.default_rng(0))


@pytest.mark.parametrize("f", [rowwise, rounds_otherwise])
def test_what_treats_each_as_its_own_passes_in_two_calls(f):
    probe = probe_of(f)
    require_rowwise(probe, LENGTHS, NOISE, np.random.default_rng(0))
    assert probe.budget.used == 2


def test_nothing_is_asked_of_a_function_that_is_not_said_to_be_vectorized():
    probe = probe_of(mean_of_all, vectorized=False)
    require_rowwise(probe, LENGTHS, NOISE, np.random.default_rng(0))
    require_same_alone(probe, LENGTHS, 1.0, np.array([1e9]), NOISE)
    assert probe.budget.used == 0


def test_at_the_edge_of_a_domain_nearer_points_are_compared():
    """Not finite a hundredth away; there both agree on that, and nearer by it mixes."""

    def f(x):
        near = np.abs(x - X).max(axis=-1) < 1e-3
        return np.where(near, mean_of_all(x), np.nan)

    probe = probe_of(f)
    with pytest.raises(InvalidArgument):
        require_rowwise(probe, LENGTHS, NOISE, np.random.default_rng(0))
    assert probe.budget.used == 4


@pytest.mark.parametrize(
    ("among", "same"), [(1.0, True), (1.0 + 0.9e-12, True), (1.0 + 1.1e-12, False), (np.nan, False), (np.inf, False)]
)
def test_a_thousand_deviations_of_the_noise_are_no_rounding(among, same):
    probe = probe_of(lambda x: np.ones(len(x)) if x.ndim > 1 else 1.0)
    if same:
        require_same_alone(probe, LENGTHS, 0.0, np.array([among]), NOISE)
    else:
        with pytest.raises(InvalidArgument):
            require_same_alone(probe, LENGTHS, 0.0, np.array([among]), NOISE)


def test_values_that_are_not_finite_on_both_sides_are_the_same():
    for value in (np.nan, np.inf):
        probe = probe_of(lambda x, v=value: np.full(len(x), v) if x.ndim > 1 else v)
        require_same_alone(probe, LENGTHS, 0.0, np.array([np.nan]), NOISE)


def test_the_first_chunk_of_a_leaf_is_compared_once():
    probe = probe_of(rowwise)
    indices, steps = np.arange(3), np.full(3, 0.1)
    values, moved = elements(probe, 0, indices, steps, NOISE)
    assert probe.budget.used == 2
    np.testing.assert_allclose(values[:, 0], [np.sum((X + 0.1 * row) ** 2) for row in np.eye(3)])
    np.testing.assert_allclose(moved, 0.1)
    elements(probe, 0, indices, steps, NOISE)
    assert probe.budget.used == 3
    elements(probe_of(rowwise), 0, indices[:0], steps[:0], NOISE)


@pytest.mark.parametrize("f", [minds_how_many, backwards])
def test_what_three_points_do_not_show_a_chunk_does(f):
    """How many there are, and an order in which the second of three stays where it is."""
    require_rowwise(probe_of(f), LENGTHS, NOISE, np.random.default_rng(0))
    with pytest.raises(InvalidArgument):
        elements(probe_of(f), 0, np.array([0, 1, 2, 0, 1]), np.full(5, 0.1), NOISE)
