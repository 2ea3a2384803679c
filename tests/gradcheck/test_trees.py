from collections import OrderedDict, defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest

import gradcheck
from gradcheck import InvalidArgument
from gradcheck.functions.points import point_of
from gradcheck.functions.trees import DEEPEST, MISSING, align, flatten


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


class Tagged(float):
    """A number that holds more than its value."""


def test_each_point_is_made_anew_but_for_what_nobody_can_change():
    tree = {"w": np.ones(2), "number": 1.5, "tagged": Tagged(2.5), "text": "relu", "more": [np.float32(3), np.zeros(1)]}
    point = point_of(tree, "params")
    one, other = point.tree(), point.tree()
    assert one["w"] is not other["w"] and one["more"][1] is not other["more"][1]
    assert one["tagged"] is not other["tagged"] and type(one["tagged"]) is Tagged
    assert one["number"] == 1.5 and type(one["more"][0]) is np.float32 and one["text"] == "relu"
    moved = point.tree({1: np.array(7.0), 4: np.array(8.0, np.float32)})
    assert moved["number"] == 7 and type(moved["number"]) is float and moved["more"][0] == 8
    assert point.tree()["number"] == 1.5 and moved["tagged"] == 2.5


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


@pytest.mark.parametrize("as_claim", [tuple, list, lambda parts: Layer(*parts)])
@pytest.mark.parametrize("as_params", [tuple, list, lambda parts: Layer(*parts)])
def test_tuples_with_names_and_without_are_the_same_point(as_params, as_claim):
    """By place; NamedTuples of two classes are laid side by side by their names, as they always were."""
    w, b = np.array([1.0, -2.0]), np.array([0.5, 3.0])

    def check(*slopes):
        return gradcheck.check_gradient(
            lambda p: (p[0] ** 2 * p[1]).sum(), lambda p: as_claim(slopes), as_params((w, b))
        )

    assert check(2 * w * b, w**2).verdict == "pass"
    assert check(w**2, 2 * w * b).verdict == "fail"


def test_a_tuple_of_another_length_is_no_named_tuple():
    entries, mismatches = align(Layer(np.ones(2), 1.0), (np.ones(2), 1.0, 2.0))
    assert entries == [MISSING, MISSING] and mismatches
    assert align(Layer(np.ones(2), 1.0), (np.ones(2),))[0] == [MISSING, MISSING]


@pytest.mark.parametrize("number", [Decimal(2), Fraction(1, 2)])
def test_numbers_that_are_no_floats_are_to_be_converted(number):
    for tree in (number, {"a": number}):
        with pytest.raises(InvalidArgument, match=r"convert it with float\(\.\.\.\)"):
            flatten(tree)


def nested(thing, levels):
    for _ in range(levels):
        thing = [thing]
    return thing


@pytest.mark.parametrize("levels", [DEEPEST + 1, 400, 1500])
def test_containers_nested_too_deep_are_refused_in_one_sentence(levels):
    tree = nested(np.ones(2), levels)
    for call in (
        lambda: gradcheck.check_gradient(lambda p: 1.0, lambda p: p, tree),
        lambda: gradcheck.check_vjp(lambda x: tree, lambda dy, x: x, np.ones(2)),
        lambda: gradcheck.compare(tree, tree),
    ):
        with pytest.raises(InvalidArgument, match="nested deeper"):
            call()


def test_containers_nested_as_deep_as_allowed_are_checked():
    def f(tree):
        while isinstance(tree, list):
            (tree,) = tree
        return (tree**2).sum()

    x = np.array([1.0, -2.0])
    assert gradcheck.check_gradient(f, lambda p: nested(2 * x, DEEPEST), nested(x, DEEPEST)).verdict == "pass"


@pytest.mark.parametrize("key", ["a\nb", "a\r\n", "\u2028", "\t", ("a\nb",), "\x1b[31m"])
def test_no_key_breaks_a_line_of_the_report(key):
    report = gradcheck.check_gradient(
        lambda p: (p[key] ** 2).sum(), lambda p: {key: 3 * p[key]}, {key: np.arange(1.0, 4)}
    )
    (name,) = report.parameters
    assert name.isprintable() and name in str(report) and len(str(report).splitlines()[0]) > len(name) + 10
    assert all(line.isprintable() for line in str(report).split("\n"))


def test_keys_that_read_alike_with_their_escapes_have_names_of_their_own():
    assert len(set(names({"a\nb": 1.0, "a\\nb": 2.0, "['a\\nb']": 3.0}))) == 3


def test_keys_that_are_equal_keep_their_own_names():
    leaves = [flatten({key: 1.0, "other": 2.0})[0][0].name for key in (1, True, 1.0, "1", np.int64(1))]
    assert leaves == ["[1]", "[True]", "[1.0]", "1", "[np.int64(1)]"]
