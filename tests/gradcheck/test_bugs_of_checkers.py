"""Bugs that gradient checkers themselves have had, each of which let a wrong gradient pass: none of them is ours.

Named is the project that had it. Each test plants what went unnoticed there.
"""

import re

import numpy as np
import pytest

import gradcheck
from gradcheck import GradientError, InvalidArgument, assert_gradient, assert_layer, check_gradient, check_layer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4))


def cube(x):
    return np.sum(x**3)


def slope(x):
    return 3 * x**2


def product(x, w):
    return x @ w, (x, w)


def product_back(dy, cache):
    x, w = cache
    return dy @ w.T, x.T @ dy


@pytest.mark.parametrize("keep", [1, 2])
def test_a_gradient_with_fewer_entries_is_not_cut_to_what_both_have(keep):
    """autograd 5cc08c4: zip stopped at the shorter of two lists, and what was missing was never compared."""
    params = [np.ones(2), 2 * np.ones(3), 3 * np.ones(2)]
    total = lambda p: sum(cube(a) for a in p)  # noqa: E731
    assert check_gradient(total, lambda p: [slope(a) for a in p], params).ok
    report = check_gradient(total, lambda p: [slope(a) for a in p[:keep]], params)
    assert report.verdict == "fail"
    assert [p.wrong.all() for p in report.parameters.values()] == [i >= keep for i in range(3)]
    w = RNG.normal(size=(4, 2))
    assert check_layer(product, lambda dy, cache: product_back(dy, cache)[:1], X, w).verdict == "fail"


def test_zero_and_zero_agree_only_where_the_function_stands_still():
    """tiny-dnn#871: analytic and numerical gradients were both zero, one for want of a call, the other of a large enough step."""
    never_read = np.ones(3)
    report = check_gradient(lambda p: cube(never_read), lambda p: np.zeros(3), np.ones(3))
    assert not report.ok or report.blind_spots
    far = check_gradient(lambda p: np.sum(1e-9 * p) + 1.0, lambda p: np.zeros(3), np.ones(3))
    assert far.verdict == "fail"


def test_claimed_and_true_are_not_exchanged_in_the_report():
    """autograd 6303970: the report called the numbers of one the other's."""
    report = check_gradient(cube, lambda x: 10 * slope(x), X)
    found = report.parameters["params"]
    np.testing.assert_allclose(found.claimed, 10 * slope(X))
    np.testing.assert_allclose(found.reference, slope(X), rtol=1e-4)
    claimed, true = re.search(r"claimed ([\d.]+), true ([\d.]+)", str(report)).groups()
    assert float(claimed) == pytest.approx(10 * float(true), rel=1e-3) and found.norm_ratio == pytest.approx(
        10, rel=1e-4
    )


@pytest.mark.parametrize("scale", [1e-12, 1e-8, 1.0, 1e8])
@pytest.mark.parametrize("factor", [0.0, -1.0, 1.001])
def test_no_tolerance_lets_small_gradients_escape(scale, factor):
    """GPy 85a471e0: an escape for small differences let every small gradient pass."""
    assert check_gradient(lambda x: scale * cube(x), lambda x: scale * slope(x), X).ok
    assert check_gradient(lambda x: scale * cube(x), lambda x: factor * scale * slope(x), X).verdict == "fail"


def test_whole_numbers_are_not_moved_by_a_step_that_they_cannot_take():
    """GPy 6678bca0: a step added to integers changed nothing, so the difference was zero."""
    with pytest.raises(InvalidArgument, match="integers are held fixed"):
        check_gradient(cube, lambda x: 0 * x, np.arange(3))
    params = {"n": np.arange(3), "x": np.ones(3)}
    f, grad = lambda p: np.sum(p["n"] * p["x"]), lambda p: {"n": None, "x": p["n"].astype(float)}
    assert check_gradient(f, grad, params).ok
    assert check_gradient(f, lambda p: {"n": None, "x": 2.0 * p["n"]}, params).verdict == "fail"
    assert check_gradient(f, lambda p: {"n": None, "x": 0.0 * p["n"]}, params).verdict == "fail"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, slice(None)])
def test_nan_is_no_agreement(value, place):
    """OpenMDAO#997: NaN is not larger than a tolerance, so it passed."""

    def grad(x):
        g = slope(x)
        g.flat[place] = value
        return g

    report = check_gradient(cube, grad, X)
    assert report.verdict == "fail" and report.parameters["params"].wrong.flat[0]
    undefined = check_gradient(lambda x: np.nan * cube(x), slope, X)
    assert not undefined.ok


def test_a_result_that_nobody_reads_is_no_pass():
    """pytorch#53916: a test called the check and left its answer alone."""
    with pytest.raises(GradientError):
        assert_gradient(cube, lambda x: -slope(x), X)
    report = check_gradient(cube, lambda x: -slope(x), X)
    assert not report
    with pytest.raises(GradientError):
        report.assert_ok()


def test_what_is_checked_is_not_changed_by_the_check():
    """HomericIntelligence/Odyssey#3758: the check left its last displacement in the input."""
    x, w = X.copy(), RNG.normal(size=(4, 2))
    kept = w.copy()
    for wrong in (product_back, lambda dy, cache: (dy @ cache[1].T, -cache[0].T @ dy)):
        check_layer(product, wrong, x, w)
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(w, kept)
    memory = X.copy()
    check_gradient(lambda p: cube(memory), lambda p: slope(memory), memory, in_place=True)
    np.testing.assert_array_equal(memory, X)


def test_the_upstream_is_not_ones_on_one_side_and_a_sum_on_the_other():
    """HomericIntelligence/Odyssey#2018: with ones and a sum, what mixes outputs up goes unseen."""

    def softmax(x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        y = e / e.sum(axis=1, keepdims=True)
        return y, y

    assert check_layer(softmax, lambda dy, y: y * (dy - np.sum(dy * y, axis=1, keepdims=True)), X).ok
    assert check_layer(softmax, lambda dy, y: 0 * y, X).verdict == "fail"  # right for an upstream of ones
    assert check_layer(lambda x: (x[:, ::-1], None), lambda dy, _: dy, X).verdict == "fail"  # and so is this


def test_a_backward_that_is_given_no_upstream_and_says_nothing():
    """Several: a backward that starts from None leaves every gradient unset, and the check compared nothing."""
    report = check_layer(product, lambda dy, cache: (None, None), X, RNG.normal(size=(4, 2)))
    assert not report.ok
    assert check_gradient(cube, lambda x: None, X).verdict == "fail"


@pytest.mark.parametrize("size", [1e8, 1e12, 1e16])
def test_a_step_is_never_too_short_to_move_a_large_number(size):
    """jax#7742: a step below the last place of x makes every difference zero."""
    x = size * np.array([1.0, -1.5, 2.0])
    f, grad = lambda x: np.sum((x / size) ** 3), lambda x: 3 * (x / size) ** 2 / size
    assert check_gradient(f, grad, x).ok
    for factor in (0, -1, 1.01):
        assert check_gradient(f, lambda x, k=factor: k * grad(x), x).verdict == "fail"


@pytest.mark.parametrize("check", [check_gradient, assert_gradient])
def test_an_option_reaches_the_decision(check):
    """pytorch#115634: the step of a caller was not handed on."""

    def verdict(factor, **options):
        try:
            return check(cube, lambda x: factor * slope(x), X, **options).verdict
        except GradientError as error:
            return error.report.verdict

    assert verdict(1.001) == "fail" and verdict(1.001, rtol=0.01) == "pass" and verdict(1.1, rtol=0.01) == "fail"
    short = check_gradient(cube, slope, X, max_evaluations=5)
    assert short.evaluations <= 5 and not short.ok


@pytest.mark.parametrize(("size", "method"), [(10, "exhaustive"), (1_000, "exhaustive"), (2_000, "directional")])
def test_one_wrong_element_does_not_drown_in_many_right_ones(size, method):
    """JAX and chex: a tolerance that grows with the norm, or with the number of elements."""
    x = np.random.default_rng(1).normal(size=size)

    def grad(x):
        g = slope(x)
        g[size // 2] *= -1
        return g

    report = check_gradient(cube, grad, x, method=method)
    assert report.verdict == "fail"
    assert np.flatnonzero(report.parameters["params"].wrong).tolist() == [size // 2]


def test_layers_are_asserted_as_gradients_are():
    w = RNG.normal(size=(4, 2))
    assert_layer(product, product_back, X, w)
    with pytest.raises(GradientError):
        assert_layer(product, lambda dy, cache: (dy @ cache[1].T, cache[0].T @ dy + 1e-5), X, w)
    assert issubclass(gradcheck.GradientError, AssertionError)
