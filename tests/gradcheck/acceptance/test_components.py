"""Directions of many small leaves, made together: against each leaf alone, and against what random bits are."""

from dataclasses import replace

import numpy as np
import pytest

from gradcheck.acceptance.components import LARGEST, SMALLEST
from gradcheck.acceptance.directions import Directions
from gradcheck.functions.bits import random_bits
from gradcheck.functions.blocks import BLOCK
from tests.gradcheck.acceptance.benches import bench_of

COUNT = 4096


def bits_set(words):
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8)).reshape(len(words), 64)


@pytest.mark.parametrize("seeds", [np.zeros(COUNT), np.arange(COUNT), np.full(COUNT, 2.0**63)])
def test_half_of_the_bits_are_set_and_no_two_go_together(seeds):
    found = bits_set(random_bits(seeds.astype(np.uint64), np.arange(COUNT, dtype=np.uint64), 5, 1))
    assert np.abs(found.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(COUNT)
    together = np.corrcoef(found.T) - np.eye(64)
    assert np.abs(together).max() < 6 / np.sqrt(COUNT)
    after = np.corrcoef(np.concatenate([found[:-1], found[1:]], axis=1).T)[:64, 64:]
    assert np.abs(after).max() < 6 / np.sqrt(COUNT)


@pytest.mark.parametrize(("seed", "place", "key", "number"), [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)])
def test_the_next_seed_place_key_or_direction_changes_half_of_the_bits(seed, place, key, number):
    seeds, places = np.arange(0, 7 * COUNT, 7, dtype=np.uint64), np.arange(COUNT, dtype=np.uint64)
    one = random_bits(seeds, places, 2**70 + 3, 9)
    other = random_bits(seeds + np.uint64(seed), places + np.uint64(place), 2**70 + 3 + key, 9 + number)
    changed = bits_set(one ^ other)
    assert np.abs(changed.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(COUNT)


def made(shapes, *, key=3, functions=1, dtypes=None):
    """Return directions through leaves of some shapes, of functions that are linear."""
    rng = np.random.default_rng(1)
    params = {name: rng.normal(size=shape).astype((dtypes or {}).get(name, float)) for name, shape in shapes.items()}
    claims = {name: rng.normal(size=(*shape, functions)) for name, shape in shapes.items()}

    def f(p):
        return sum(np.tensordot(p[name].astype(float), claims[name], p[name].ndim) for name in params)

    bench = bench_of(f, params, claims)
    directions = Directions(bench, key)
    directions.step = 1e-4
    return directions, [leaf.name for leaf in bench.leaves]


SHAPES = {"a": (), "b": (3,), "c": (2, 2), "d": (64,), "e": (5, 1), "f": (2 * BLOCK + 7,), "g": (1,)}
DTYPES = {"c": np.float32, "e": np.float32, "g": np.float16}


@pytest.mark.parametrize("functions", [1, 3])
def test_leaves_that_move_together_move_as_each_alone(functions):
    directions, names = made(SHAPES, functions=functions, dtypes=DTYPES)
    directions.hold(names.index("b"), np.array([1]))
    directions.correct(names.index("b"), np.array([1]), np.full((1, functions), np.inf))
    part = directions.draw_leaves()
    moves, predicted, variance = directions._along(part)
    deviations = {leaf: np.abs(values) for leaf, values in directions.derivatives.items()}
    squares = np.zeros(functions)
    for row, span in enumerate(part.spans):
        leaf = span.leaf
        alone = directions.moves(replace(part, spans=(span,)))[leaf].astype(float)
        assert moves[leaf].dtype == (np.float32 if names[leaf] in ("c", "e") else np.float64)
        np.testing.assert_array_equal(moves[leaf], alone)
        moving = alone != 0
        assert np.count_nonzero(~moving) == (names[leaf] == "b")
        expected = alone[moving] @ directions.derivatives[leaf][moving]
        np.testing.assert_allclose(predicted[row], expected, rtol=1e-13, atol=1e-18)
        squares += (alone[moving, None] ** 2 * deviations[leaf][moving] ** 2).sum(axis=0)
    assert variance.shape == (functions,)
    np.testing.assert_allclose(directions.deviation_along([part], deviations), [np.sqrt(squares)], rtol=1e-13)


def test_other_leaves_change_nothing():
    few, few_names = made({name: SHAPES[name] for name in "bd"})
    many, many_names = made(SHAPES)
    one, other = few.moves(few.draw_leaves()), many.moves(many.draw_leaves())
    for name in "bd":
        signs = [np.sign(move[names.index(name)]) for move, names in ((one, few_names), (other, many_names))]
        np.testing.assert_array_equal(*signs)


def test_components_are_spread_over_their_range_with_either_sign():
    directions, _ = made({f"p{i}": (3,) for i in range(1500)})
    moves = directions.moves(directions.draw_leaves())
    shares = np.concatenate([move / directions.lengths(leaf, slice(None), 1e-4) for leaf, move in moves.items()])
    sizes = np.sort(np.abs(shares))
    places = (np.arange(len(sizes)) + 0.5) / len(sizes)
    assert np.abs((sizes - SMALLEST) / (LARGEST - SMALLEST) - places).max() < 2 / np.sqrt(len(sizes))
    assert abs(np.count_nonzero(shares > 0) / len(shares) - 0.5) < 2.5 / np.sqrt(len(shares))
