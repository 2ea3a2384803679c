from collections import OrderedDict, defaultdict
from typing import NamedTuple

import numpy as np
import pytest

from gradcheck import InvalidArgument
from gradcheck.functions.trees import MISSING, align, flatten


class Layer(NamedTuple):
    w: np.ndarray
    b: object = None


def names(tree):
    return [leaf.name for leaf in flatten(tree)[0]]


def test_names_are_paths():
    tree = {"W1a": np.ones(2), "layers": [Layer(np.ones(1)), (1.0, {"x": 2.0})]}
    assert names(tree) == ["W1a", "layers[0].w", "layers[1][0]", "layers[1][1].x"]


def test_a_bare_array_or_float_is_called_params():
    assert names(np.ones(3)) == names(1.5) == ["params"]


@pytest.mark.parametrize(
    "tree",
    [
        {"a.b": 1.0, "a": {"b": 2.0}},
        {"a[0]": 1.0, "a": [2.0]},
        {0: 1.0, "0": 2.0, "[0]": 3.0},
        {"a.b": 1.0, "a": {"b": 2.0}, "['a.b']": 3.0},
        {"": 1.0, "''": 2.0},
        {1: {1: 1.0}, "[1][1]": 1.0},
    ],
)
def test_two_leaves_never_share_a_name(tree):
    found = names(tree)
    assert len(set(found)) == len(found) == len(flatten(tree)[0])


class Weights(list):
    """A list of the user's own kind."""


def test_building_gives_back_types_and_values():
    tree = OrderedDict(a=Layer(np.ones((2, 2), np.float32), [1.5, np.float32(2)]), b=defaultdict(list, c=3), d=None)
    leaves, build = flatten(tree)
    twin = build([leaf.restore(leaf.value.copy()) for leaf in leaves])
    assert type(twin) is OrderedDict and type(twin["a"]) is Layer and type(twin["b"]) is defaultdict
    assert type(twin["a"].b[0]) is float and type(twin["a"].b[1]) is np.float32 and twin["d"] is None
    np.testing.assert_array_equal(twin["a"].w, tree["a"].w)
    weights = Weights([1.5, np.ones(2)])
    leaves, build = flatten(weights)
    twin = build([leaf.value for leaf in leaves])
    assert type(twin) is Weights and twin is not weights and len(twin) == 2


@pytest.mark.parametrize("bad", ["text", {"a": object()}, {"a": np.array(["x"])}, [np.array([None])]])
def test_other_leaves_are_refused_by_name(bad):
    with pytest.raises(InvalidArgument, match="leaf"):
        flatten(bad)


def test_a_tree_that_contains_itself_is_refused():
    tree = {"a": []}
    tree["a"].append(tree)
    with pytest.raises(InvalidArgument, match="contains itself"):
        flatten(tree)


def test_alignment_ignores_key_order_and_reports_what_differs():
    entries, mismatches = align({"a": 1.0, "b": [2.0, np.float32(3.0)]}, {"b": (20.0, 30.0), "a": 10.0})
    assert entries == [10.0, 20.0, 30.0] and not mismatches
    entries, mismatches = align({"a": 1.0, "b": 2.0}, {"a": 10.0, "c": 1.0})
    assert entries == [10.0, MISSING] and "'c'" in mismatches[0].message
