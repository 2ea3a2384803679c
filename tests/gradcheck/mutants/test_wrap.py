"""A bug planted in a function that returns a gradient, of whatever form."""

import inspect
from typing import NamedTuple

import numpy as np
import pytest

from gradcheck import InvalidArgument
from gradcheck.mutants import CATALOGUE, Accuracy, mutants_of, wrap

RNG = np.random.default_rng(0)
W, B, V = RNG.normal(size=(4, 4)), RNG.normal(size=4), RNG.normal(size=(4, 4))
G = {"w": RNG.normal(size=(4, 4)), "b": RNG.normal(size=4), "v": RNG.normal(size=(4, 4))}


def grad(params):
    scale = float(np.sum(params["w"]) / np.sum(W))
    return {name: scale * g for name, g in G.items()}


def point():
    return {"w": W.copy(), "b": B.copy(), "v": V.copy()}


def planted(name, leaf=None):
    found = mutants_of(grad(point()), function=grad, args=(point(),), mutants=name)
    return next(m for m in found if leaf in (None, m.leaf))


def called(name, params=None, leaf=None):
    mutant = planted(name, leaf)
    return mutant, wrap(grad, mutant)(params or point())


CLOSED_FORMS = {
    "sign flipped": lambda g, p: -g,
    "sign lost": lambda g, p: np.abs(g),
    "doubled": lambda g, p: 2 * g,
    "halved": lambda g, p: g / 2,
    "sum for mean": lambda g, p: 4 * g,
    "n - 1 for n": lambda g, p: g * g.size / (g.size - 1),
    "dropped": lambda g, p: 0 * g,
    "transposed": lambda g, p: g.T,
    "rotated": lambda g, p: np.rot90(g, 2),
    "flipped": lambda g, p: np.flip(g, -1),
    "off by 1e-6": lambda g, p: g * (1 + 1e-6),
    "half precision": lambda g, p: g.astype(np.float16).astype(float),
    "decay added": lambda g, p: g + 0.01 * p,
    "decay dropped": lambda g, p: g - 0.01 * p,
    "times the parameter": lambda g, p: g * p,
    "the parameter itself": lambda g, p: p,
    "dropped at negatives": lambda g, p: np.where(p < 0, 0, g),
    "whole numbers": lambda g, p: np.trunc(g),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_changes_are_what_they_say(name):
    mutant, wrong = called(name)
    expected = CLOSED_FORMS[name](G[mutant.leaf], point()[mutant.leaf])
    np.testing.assert_allclose(wrong[mutant.leaf], expected, rtol=1e-15)
    for other in {"w", "b", "v"} - {mutant.leaf}:
        np.testing.assert_array_equal(wrong[other], G[other])


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_each_bug_changes_something_and_never_what_it_was_given(entry):
    """At a point with zeros and both signs every bug but a missing upstream shows, after at most three calls."""
    params = point()
    params["w"][0, 1] = params["b"][2] = params["v"][3, 0] = 0
    right = grad(params)
    mutants = mutants_of(right, function=grad, args=(params,), mutants=entry.name)
    assert len(mutants) == (3 if entry.is_each else 0 if entry.needs_upstream else 1)
    for mutant in mutants:
        mutated = wrap(grad, mutant)
        for place in (params, params, {name: 0.9 * p for name, p in params.items()}):
            mutated({name: p.copy() for name, p in place.items()})
        assert mutated.state.differed
        assert mutant.remedy and mutant.name.startswith(entry.name)
        np.testing.assert_equal(grad(params), right)


def test_one_element_is_one_element_and_the_same_at_every_call():
    mutant, wrong = called("sign of one")
    (place,) = np.argwhere(wrong[mutant.leaf] != G[mutant.leaf])
    mutated = wrap(grad, mutant)
    for _ in range(3):
        assert np.argwhere(mutated(point())[mutant.leaf] != G[mutant.leaf]).tolist() == [place.tolist()]
    elements = mutated.state.elements
    assert list(elements) == [mutant.leaf] and np.argwhere(elements[mutant.leaf]).tolist() == [place.tolist()]


def test_two_leaves_of_one_shape_are_exchanged_or_share_one_buffer():
    _, wrong = called("swapped")
    np.testing.assert_array_equal(wrong["w"], G["v"])
    np.testing.assert_array_equal(wrong["v"], G["w"])
    _, wrong = called("one buffer for two")
    assert wrong["w"] is wrong["v"]
    np.testing.assert_array_equal(wrong["b"], G["b"])


def test_missing_stacked_and_nan():
    mutant, wrong = called("left out")
    assert wrong[mutant.leaf] is None
    mutant, wrong = called("sum left out")
    assert wrong[mutant.leaf].shape == (2, *G[mutant.leaf].shape)
    mutant, wrong = called("one is NaN")
    assert np.isnan(wrong[mutant.leaf]).sum() == 1


def test_state_is_kept_from_call_to_call_and_not_from_wrap_to_wrap():
    elsewhere = {name: 2 * p for name, p in point().items()}
    stale = planted("stale")
    for start, scale in ((point(), 1), (elsewhere, 2)):
        mutated = wrap(grad, stale)
        mutated(start)
        np.testing.assert_allclose(mutated(elsewhere)["w"], scale * G["w"])
    adding = planted("accumulated")
    mutated = wrap(grad, adding)
    first, second = mutated(point())[adding.leaf], mutated(point())[adding.leaf]
    np.testing.assert_allclose(first, G[adding.leaf])
    np.testing.assert_allclose(second, 2 * G[adding.leaf])
    reused = planted("buffer reused")
    mutated = wrap(grad, reused)
    first, second = mutated(point())[reused.leaf], mutated(elsewhere)[reused.leaf]
    assert first is second
    np.testing.assert_allclose(first, 2 * G[reused.leaf])


def test_the_argument_is_changed_in_place():
    params = point()
    wrong = wrap(grad, planted("argument changed"))(params)
    np.testing.assert_array_equal(wrong["w"], G["w"])
    assert not np.array_equal(params["w"], W)


def test_what_was_overwritten_is_given_back_but_for_what_somebody_else_wrote_since():
    params, other = point(), point()
    mutated = wrap(grad, planted("argument changed"))
    (changed,) = [name for name in params if mutated(params) and not np.array_equal(params[name], point()[name])]
    mutated(params)
    mutated(other)
    other[changed] += 1
    theirs = other[changed].copy()
    mutated.state.restore()
    np.testing.assert_array_equal(params[changed], point()[changed])
    np.testing.assert_array_equal(other[changed], theirs)
    params[changed][...] = 7.0
    mutated.state.restore()
    assert np.all(params[changed] == 7.0)


def backward(dy, cache):
    x, w = cache
    return dy @ w.T, x.T @ dy


def test_upstream_is_ignored_by_name():
    dy, cache = RNG.normal(size=(3, 2)), (RNG.normal(size=(3, 5)), RNG.normal(size=(5, 2)))
    (mutant,) = mutants_of(backward(dy, cache), function=backward, args=(dy, cache), mutants="upstream")
    ones = backward(np.ones_like(dy), cache)
    for wrong in (wrap(backward, mutant)(dy, cache), wrap(backward, mutant)(cache=cache, dy=dy)):
        np.testing.assert_array_equal(wrong[0], ones[0])
        np.testing.assert_array_equal(wrong[1], ones[1])
    mutated = wrap(backward, mutant)
    mutated(np.ones_like(dy), cache)
    assert not mutated.state.differed
    names = {m.name for m in mutants_of(backward(dy, cache), function=backward, args=(dy, cache))}
    assert "doubled: [0]" in names or "doubled: [1]" in names
    assert not any("decay" in name for name in names)  # the upstream is no parameter


class Pair(NamedTuple):
    a: np.ndarray
    b: float


@pytest.mark.parametrize(
    "tree",
    [np.arange(3.0), 2.5, np.float32(2.5), [1.5, 2.0], (np.ones(2), None, np.ones((2, 2))), Pair(np.ones(2), 3.0)],
    ids=["array", "float", "float32", "numbers", "tuple", "named tuple"],
)
def test_what_comes_back_is_of_the_same_form(tree):
    for mutant in mutants_of(tree, mutants=["sign flipped", "doubled", "off by 1 %"]):
        wrong = wrap(lambda: tree, mutant)()
        assert type(wrong) is type(tree)
        if isinstance(tree, tuple):
            assert [type(part) for part in wrong] == [type(part) for part in tree]
        elif not isinstance(tree, list):
            assert np.asarray(wrong).dtype == np.asarray(tree).dtype


@pytest.mark.parametrize("tree", ["text", None, object(), np.arange(3), ()])
def test_what_is_no_gradient_has_no_mutants_and_passes_through(tree):
    assert mutants_of(tree) == ()
    mutant = planted("sign flipped")
    assert wrap(lambda: tree, mutant)() is tree


def test_what_is_no_mutant_or_no_function_is_refused():
    (mutant,) = mutants_of(np.ones(2), mutants="sign lost")
    with pytest.raises(InvalidArgument, match="mutant='sign lost' is a str; one that mutants_of gave was required"):
        wrap(lambda x: x, "sign lost")
    with pytest.raises(InvalidArgument, match=r"function=None.*a function was required"):
        wrap(None, mutant)


def test_a_method_stays_one_and_keeps_its_signature():
    class Layer:
        def backward(self, dy):
            """Say what it does."""
            return 3 * dy

    (mutant,) = mutants_of(np.ones(3), mutants="sign flipped")
    Layer.backward = wrap(Layer.backward, mutant)
    np.testing.assert_array_equal(Layer().backward(np.ones(3)), -3)
    assert (
        Layer.backward.__doc__ == "Say what it does." and list(inspect.signature(Layer.backward).parameters)[1] == "dy"
    )


def test_the_same_seed_plants_the_same_bugs_in_leaves_where_they_show():
    def names(seed):
        return [m.name for m in mutants_of(grad(point()), function=grad, args=(point(),), seed=seed)]

    assert names(1) == names(1) != names(2)
    blank = {"w": np.zeros((4, 4)), "b": G["b"]}
    for seed in range(5):
        (mutant,) = mutants_of(blank, mutants="sign flipped", seed=seed)
        assert mutant.leaf == "b"


def test_accuracy_decides_what_differs():
    (mutant,) = mutants_of(G["w"], mutants="off by 1e-4")
    for accuracy, differs in ((None, True), (Accuracy(1e-3), False), (Accuracy(1e-5, {"params": 10.0}), False)):
        mutated = wrap(lambda: G["w"], mutant, accuracy)
        mutated()
        assert mutated.state.differed is differs


def test_patterns_choose_names_and_kinds_and_unknown_ones_are_refused():
    assert {m.kind for m in mutants_of(G["w"], mutants="t*")} == {"tiny", "transpose"}
    assert [m.name for m in mutants_of(G["w"], mutants=["doubled", "sign flipped"])] == [
        "sign flipped: params",
        "doubled: params",
    ]
    with pytest.raises(InvalidArgument, match=r"mutants='singn' fits no mutant; give names or kinds.*sign, factor"):
        mutants_of(G["w"], mutants="singn")


def test_a_mutant_is_chosen_by_its_own_name_in_its_own_leaf():
    every = mutants_of(grad(point()), function=grad, args=(point(),))
    for mutant in every:
        (found,) = mutants_of(grad(point()), function=grad, args=(point(),), mutants=mutant.name)
        assert found == mutant
    others = mutants_of(grad(point()), function=grad, args=(point(),), mutants=["doubled: b", "doubled: v", "halved"])
    assert [m.name.partition(":")[0] for m in others] == ["doubled", "doubled", "halved"]
    assert [m.leaf for m in others[:2]] == ["b", "v"]
    for wrong in ([every[0]], [3], "doubled of b", ()):
        with pytest.raises(InvalidArgument, match="give names or kinds"):
            mutants_of(grad(point()), mutants=wrong)


def test_names_and_remedies_are_unambiguous():
    assert len({entry.name for entry in CATALOGUE}) == len(CATALOGUE) >= 40
    assert all(entry.remedy and ": " not in entry.name for entry in CATALOGUE)
