"""How many wrong gradients a check notices: counted over bugs and points, right ones never rejected."""

import pickle
import unittest
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gradcheck
from gradcheck import InvalidArgument, MutationScore, check_gradient, mutation_score
from gradcheck.mutants import CATALOGUE, POINTS, wrap

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=6)
PARAMS = {"w": RNG.normal(size=3), "v": RNG.normal(size=3), "b": np.array(0.5)}


def residual(p):
    x = X.astype(p["w"].dtype)
    return x, x @ p["w"] + np.tanh(x) @ p["v"] + p["b"] - Y.astype(p["w"].dtype)


def f(p):
    return np.mean(residual(p)[1] ** 2)


def grad(p):
    x, r = residual(p)
    r = 2 * r / len(r)
    return {"w": x.T @ r, "v": np.tanh(x).T @ r, "b": np.asarray(r.sum())}


def thorough(f, grad, params):
    """Everything a test of a gradient in closed form would ask, at two points, twice at the first."""
    copies = {name: p.copy() for name, p in params.items()}
    first = grad(params)
    for name, p in params.items():
        np.testing.assert_array_equal(p, copies[name])
    kept = {name: g.copy() for name, g in first.items()}
    for place in (params, {name: 1.5 * p + 0.1 for name, p in params.items()}):
        claims, right = grad(place), RIGHT(place)
        for name, p in place.items():
            assert claims[name].shape == p.shape and claims[name].dtype == p.dtype
            np.testing.assert_allclose(claims[name], right[name], rtol=1e-7)
        np.testing.assert_equal(first, kept)
    assert not np.shares_memory(first["w"], first["v"])


RIGHT = grad


def test_a_thorough_check_catches_all_and_a_blind_one_none():
    """Where it goes to a second point itself, and in every form that a check has of saying so."""
    found = mutation_score(
        thorough, f, grad, PARAMS, mutants=["sign", "tiny", "one-element", "stale", "in-place", "buffer"]
    )
    assert not found.survived and found.score == 1
    for blind in (lambda f, g, p: None, lambda f, g, p: True, lambda f, g, p: np.True_, lambda f, g, p: "fine"):
        found = mutation_score(blind, f, grad, PARAMS, mutants="sign")
        assert not found.caught and found.score == 0 and [m.kind for m in found.survived] == ["sign", "sign"]


@pytest.mark.parametrize(
    "answer",
    [False, 0, np.False_, "", AssertionError("x"), ValueError("x"), pytest.fail.Exception("x"), SystemExit(1)],
)
def test_falsy_and_any_exception_are_caught(answer):
    def check(f, g, p):
        if np.array_equal(g(p)["w"], RIGHT(p)["w"]) and np.array_equal(g(p)["b"], RIGHT(p)["b"]):
            return True
        if isinstance(answer, BaseException):
            raise answer
        return answer

    found = mutation_score(check, f, grad, PARAMS, mutants="dropped")
    assert [m.name for m in found.caught] == ["dropped: w", "dropped: b"]
    assert [m.name for m in found.survived] == ["dropped: v"]


@pytest.mark.parametrize(
    "given_up", [pytest.skip.Exception("x"), pytest.xfail.Exception("x"), unittest.SkipTest("x")], ids=type
)
def test_a_test_that_is_skipped_has_noticed_nothing(given_up):
    """As for ``--gradcheck-mutate``, where such a test did not fail."""

    def check(f, g, p):
        if np.array_equal(g(p)["w"], RIGHT(p)["w"]):
            return True
        raise given_up

    found = mutation_score(check, f, grad, PARAMS, mutants="dropped")
    assert not found.caught and len(found.survived) == 3


def test_our_own_check_catches_what_is_wrong_and_passes_what_is_right():
    kinds = ["one-element", "alias", "dtype", "buffer"]
    found = mutation_score(check_gradient, f, grad, PARAMS, mutants=kinds)
    assert not found.survived, str(found)
    assert len(found.caught) == 8


def test_a_check_at_one_point_misses_what_shows_only_elsewhere():
    def close(f, grad, p):
        return all(np.allclose(a, b, rtol=1e-7) for a, b in zip(grad(p).values(), RIGHT(p).values(), strict=True))

    found = mutation_score(close, f, grad, PARAMS)
    names = {m.name.partition(":")[0] for m in found.survived}
    assert {"stale", "accumulated", "buffer reused", "sum left out"} <= names
    assert names <= {
        e.name for e in CATALOGUE if e.kind in ("stale", "accumulate", "buffer", "unsteady", "alias", "shape")
    }
    text = str(found)
    assert all(f"\n    {m.name}" in text and text.count(m.remedy) == 1 for m in found.survived)
    assert f"{len(found.caught)} of {len(found.caught) + len(found.survived)} wrong gradients caught" in text


def test_at_zeros_what_depends_on_the_parameter_is_equivalent_and_what_is_wrong_at_zeros_is_not():
    found = mutation_score(
        lambda f, g, p: True, f, grad, PARAMS, points=("given", "zeros"), mutants=["parameter-term", "at-zero"]
    )
    assert {(m.point, m.kind) for m in found.equivalent} == {("given", "at-zero"), ("zeros", "parameter-term")}
    assert {(m.point, m.kind) for m in found.survived} == {("given", "parameter-term"), ("zeros", "at-zero")}


def test_errors_below_the_accuracy_of_the_dtype_are_equivalent():
    found = mutation_score(lambda f, g, p: True, f, grad, PARAMS, points=("given", "float32"), mutants="tiny")
    assert {(m.point, m.name.partition(":")[0]) for m in found.equivalent} == {
        ("float32", "off by 1e-6"),
        ("float32", "off by 1e-4"),
    }


def test_a_mutant_is_equivalent_only_where_no_element_is_off_by_more_than_can_be_seen():
    """A gradient of 1e-20 beside one of 1: rounding of f hides its sign; in a function of its own it does not."""

    def beside(p):
        return p["a"][0] * 1e-20 + p["b"][0]

    def alone(p):
        return p["a"][0] * 1e-20

    point = {"a": np.ones(1), "b": np.ones(1)}
    for function, slope, is_equivalent in ((beside, 1.0, True), (alone, 0.0, False)):
        found = mutation_score(
            lambda f, g, p: True,
            function,
            lambda p, slope=slope: {"a": np.full(1, 1e-20), "b": np.full(1, slope)},
            point,
            mutants="dropped",
        )
        assert ("dropped: a" in [m.name for m in found.equivalent]) is is_equivalent


def test_points_are_what_they_say():
    seen = {}

    def look(f, g, p):
        seen[len(seen)] = p

    mutation_score(look, f, grad, PARAMS, points=tuple(POINTS), mutants="sign flipped")
    given, zeros, tiny, step, single = [seen[i] for i in range(5)]  # the right gradient comes first at each
    np.testing.assert_equal(given, PARAMS)
    assert not any(p.any() for p in zeros.values())
    assert all(np.sqrt(np.mean(p**2)) == pytest.approx(1e-6) for p in tiny.values())
    np.testing.assert_allclose(step["w"], -1e-3 * grad(zeros)["w"])
    assert all(p.dtype == np.float32 for p in single.values())


def test_each_mutant_knows_which_elements_are_wrong():
    found = mutation_score(lambda f, g, p: True, f, grad, PARAMS, mutants=["sign of one", "flip", "swap", "stale"])
    elements = {m.name.partition(":")[0]: m.elements for m in found.survived}
    assert [mask.sum() for mask in elements["sign of one"].values()] == [1]
    assert [mask.tolist() for mask in elements["flipped"].values()] == [[True, False, True]]
    assert set(elements["swapped"]) == {"w", "v"}


def test_the_catalogue_has_every_kind():
    kinds = """sign factor missing-mean one-element slice transpose rotate flip shift permute-channels swap parameter-term mask borders
    stale accumulate alias in-place dtype nan upstream random tiny"""
    assert set(kinds.split()) <= {entry.kind for entry in CATALOGUE}
    assert set(POINTS) == {"given", "zeros", "tiny", "step", "float32"}


def test_at_every_point_each_mutant_knows_which_elements_are_wrong():
    """What differs there, by more than rounding and what matters; the rest is right to within that."""
    places = {}

    def look(f, g, p):
        places.setdefault(len(places), {name: value.copy() for name, value in p.items()})

    found = mutation_score(look, f, grad, PARAMS, points=tuple(POINTS))
    at = dict(zip(POINTS, (places[i] for i in range(5)), strict=True))  # the right gradient is asked about first
    told = [m for m in found.survived if not m.entry.behaviour.is_stateful and m.elements]
    assert {m.point for m in told} == set(POINTS) and len({m.kind for m in told}) >= 20
    for mutant in told:
        right, wrong = grad(at[mutant.point]), wrap(grad, mutant)(at[mutant.point])
        matters = 1e-2 if mutant.point == "float32" else 1e-6
        for name, value in right.items():
            mask = mutant.elements.get(name, np.zeros(value.shape, dtype=bool))
            if np.shape(wrong.get(name)) != value.shape:
                assert mask.all()
                continue
            apart = np.abs(np.asarray(wrong[name], float) - value)
            assert not np.any(apart[mask] == 0)
            assert np.all(apart[~mask] <= matters * max(1.0, np.max(np.abs(value))))


def test_a_check_that_rejects_the_right_gradient_is_an_invalid_argument():
    def never(f, g, p):
        raise AssertionError("no\nnever")

    for check, told in ((lambda f, g, p: False, "it returned False"), (never, "it raised AssertionError: no")):
        with pytest.raises(InvalidArgument, match=rf"rejects the right gradient at the point 'given' \({told}\)"):
            mutation_score(check, f, grad, PARAMS)
    with pytest.raises(InvalidArgument, match="at the point 'zeros'"):
        mutation_score(lambda f, g, p: p["w"].any(), f, grad, PARAMS, points=("given", "zeros"))


def test_a_check_that_returns_an_error_is_an_invalid_argument():
    """As `scipy.optimize.check_grad` does: the larger the worse."""
    for error in (1e-9, np.float32(0.0), np.array(1e-9)):
        with pytest.raises(InvalidArgument, match="return whether the gradient passes"):
            mutation_score(lambda f, g, p, e=error: e, f, grad, PARAMS, mutants="sign")


@pytest.mark.parametrize("answer", [(False, "0.3 off"), [0.3], {"jac": "a report of gradcheck.scipy.check_problem"}])
def test_a_check_that_returns_a_container_is_an_invalid_argument(answer):
    """It is true whatever it holds, so that every bug would survive."""
    with pytest.raises(InvalidArgument, match="which is true whatever it holds; return whether the gradient passes"):
        mutation_score(lambda f, g, p: answer, f, grad, PARAMS, mutants="sign")


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (None, "grad returned a NoneType without floating-point numbers at the point 'given'"),
        ("w", "grad returned a str without"),
        (np.ones(3, int), "grad returned a ndarray without"),
        (np.ones(2), "grad returned shape (2,) for params, whose shape is (3,)"),
    ],
)
def test_a_right_gradient_that_is_none_is_an_invalid_argument(returned, told):
    """A check that passes whatever it is given would have a score of nothing."""
    with pytest.raises(InvalidArgument) as error:
        mutation_score(lambda f, g, p: True, np.sum, lambda p: returned, np.ones(3))
    assert told in str(error.value)


def test_where_there_is_no_element_there_is_no_bug():
    found = mutation_score(check_gradient, lambda p: 0.0, lambda p: p, np.zeros(0))
    assert not found.caught and not found.survived and np.isnan(found.score)


def test_where_the_function_is_not_defined_is_said():
    with pytest.raises(InvalidArgument, match="not finite at the point 'zeros'"), np.errstate(all="ignore"):
        mutation_score(check_gradient, lambda x: np.log(x).sum(), lambda x: 1 / x, np.ones(2), points="zeros")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"points": ("given", "origin")}, "points: 'origin' is unknown; choose among 'given', 'zeros'"),
        ({"points": ()}, "names no point"),
        ({"points": 3}, "points=3 must be a sequence of names"),
        ({"points": [["given"]]}, "points: ['given'] is unknown"),
        ({"mutants": "singn"}, "fits no mutant"),
        ({"mutants": 3}, "mutants=3 chooses none"),
        ({"mutants": "sign flipped: nowhere"}, "mutants='sign flipped: nowhere' can be planted nowhere"),
        (
            {"rtol": 1e-3},
            "rtol= is not an option; the options are rng, workers, progress. An option of the check goes into",
        ),
        ({"workers": 0}, "workers=0"),
        ({"rng": -1}, "rng=-1"),
    ],
)
def test_wrong_options_are_answered_in_one_sentence(options, told):
    with pytest.raises(InvalidArgument) as error:
        mutation_score(check_gradient, f, grad, PARAMS, **options)
    assert told in str(error.value)


def test_functions_in_the_wrong_order_are_named():
    with pytest.raises(InvalidArgument, match=r"grad=\{.*the order is mutation_score\(check, f, grad, params\)"):
        mutation_score(check_gradient, f, PARAMS, grad)
    with pytest.raises(InvalidArgument, match="a single number was required"):
        mutation_score(check_gradient, grad, grad, PARAMS)


def signs_only(f, grad, p):
    """At the top level, so that it can be sent to a process."""
    return all(np.array_equal(np.sign(a), np.sign(b)) for a, b in zip(grad(p).values(), RIGHT(p).values(), strict=True))


@pytest.mark.parametrize("workers", [1, map, "threads"])
def test_the_score_is_the_same_whatever_the_workers(workers):
    alone = mutation_score(signs_only, f, grad, PARAMS, mutants=["sign", "factor", "flip", "tiny"])
    with ThreadPoolExecutor(2) as pool:
        given = pool if workers == "threads" else workers
        again = mutation_score(signs_only, f, grad, PARAMS, mutants=["sign", "factor", "flip", "tiny"], workers=given)
    assert (alone.caught, alone.survived) == (again.caught, again.survived)
    assert alone.caught and alone.survived


def test_the_same_seed_gives_the_same_score_and_another_seed_other_places():
    def names(rng):
        return [m.name for m in mutation_score(signs_only, f, grad, PARAMS, rng=rng).caught]

    assert names(3) == names(3) != names(4)


def test_progress_rises_to_its_total():
    told = []
    found = mutation_score(signs_only, f, grad, PARAMS, mutants="sign", progress=lambda *counts: told.append(counts))
    assert told == sorted(told) and told[-1] == (2, 2) and len(found.caught) == 2


def test_nothing_of_the_users_is_changed_and_a_check_may_write_into_what_it_gets():
    before = {name: p.copy() for name, p in PARAMS.items()}

    def rude(f, g, p):
        claims = g(p)
        for array in (*p.values(), *claims.values()):
            array[...] = 0
        return True

    found = mutation_score(rude, f, grad, PARAMS, points=tuple(POINTS))
    np.testing.assert_equal(PARAMS, before)
    assert len(found.survived) > 150


def test_it_pickles_and_counts_nothing_as_nan():
    found = mutation_score(signs_only, f, grad, PARAMS, mutants="sign")
    again = pickle.loads(pickle.dumps(found))  # noqa: S301 - its own bytes
    assert again.caught == found.caught and str(again) == str(found)
    assert np.isnan(MutationScore((), (), ()).score)
    assert repr(MutationScore((), (), ())) == "<MutationScore nan: caught=0, survived=0, equivalent=0>"
    assert repr(found) == f"<MutationScore {found.score:.3f}: caught={len(found.caught)}, survived=0, equivalent=0>"


def test_bare_arrays_numbers_and_lists():
    for params in (np.array([1.0, 2.0]), [1.0, 2.0], (np.array([1.0]), np.array([2.0])), 1.5):
        total = (
            (lambda p: np.sum(np.asarray(p, float) ** 2))
            if not isinstance(params, tuple)
            else (lambda p: p[0][0] ** 2 + p[1][0] ** 2)
        )
        slope = (
            (lambda p: 2 * np.asarray(p, float)) if not isinstance(params, tuple) else (lambda p: (2 * p[0], 2 * p[1]))
        )
        found = mutation_score(check_gradient, total, slope, params, mutants=["sign flipped", "nan", "stale"])
        assert not found.survived and len(found.caught) > 2


def test_it_is_public():
    assert gradcheck.mutation_score is mutation_score and {"mutation_score", "Mutant", "MutationScore"} <= set(
        gradcheck.__all__
    )
