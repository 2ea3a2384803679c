"""The public strategies: what they promise, of every example, and what examples shrink to."""

import math

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gradcheck import InvalidArgument, check_gradient, check_layer
from gradcheck.strategies import (
    KINKS,
    conv_geometries,
    kinked_arrays,
    pool_geometries,
    smooth_arrays,
    trees,
)

FLOATS = st.sampled_from([np.float16, np.float32, np.float64])
SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)


@given(
    SHAPES,
    FLOATS,
    st.sampled_from([1e-2, 0.1]),
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 3.0]), unique=True),
    st.data(),
)
def test_smooth_arrays_have_no_ties_and_keep_away(shape, dtype, gap, avoid, data):
    x = data.draw(smooth_arrays(shape, dtype, min_gap=gap, avoid=avoid))
    assert x.shape == shape and x.dtype == dtype and np.isfinite(x).all()
    values = np.sort(x.astype(np.float64).ravel())
    assert np.all(np.diff(values) >= gap)
    assert all(np.all(np.abs(values - kink) >= gap) for kink in avoid)


def test_smooth_arrays_take_any_size_and_cover_both_signs():
    x = find(smooth_arrays(10_000), lambda x: np.any(x < 0) and np.any(x > 0))
    assert len(np.unique(x)) == 10_000 and np.min(np.diff(np.sort(x))) >= 1e-2


@pytest.mark.parametrize("gap", [1e-4, 1e-9, 1e-300])
def test_a_small_gap_costs_no_more_than_a_usual_one(gap):
    x = find(smooth_arrays([2, 3], min_gap=gap), lambda x: np.any(x < 0))
    assert x.shape == (2, 3) and np.min(np.diff(np.sort(x.ravel()))) >= gap and np.min(np.abs(x)) >= gap


def test_smooth_arrays_shrink_to_rising_numbers():
    assert np.all(np.diff(find(smooth_arrays(7), lambda x: True)) > 0)


def test_shapes_and_dtypes_may_be_strategies():
    x = find(
        smooth_arrays(array_shapes(max_dims=2, max_side=3), FLOATS), lambda x: x.dtype == np.float32 and x.ndim == 2
    )
    assert x.shape == (1, 1)
    assert find(kinked_arrays(SHAPES, FLOATS), lambda x: x.size == 2 and x.dtype == np.float16).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (smooth_arrays(3, np.int64), "is no floating-point dtype"),
        (kinked_arrays(3, bool), "is no floating-point dtype"),
        (smooth_arrays(3, min_gap=0.0), "min_gap=0.0 must be a finite positive number"),
        (smooth_arrays(10_000, np.float16), "too small for 10000 numbers in float16"),
        (smooth_arrays(3, np.float16, min_gap=1e5), "min_gap=100000.0 is too large for 3 numbers in float16"),
        (smooth_arrays(3, min_gap="x"), "min_gap='x' must be a finite positive number"),
        (smooth_arrays(3, min_gap=10**400), "must be a finite positive number"),
        (smooth_arrays(3, avoid=[10**400]), "must be a sequence of finite numbers"),
        (smooth_arrays(True), "shape=True must be a whole number"),
        (smooth_arrays(3, avoid=0.0), r"avoid=0.0 must be a sequence of finite numbers, such as \(0.0, 1.0\)"),
        (smooth_arrays(3, avoid=(np.nan,)), "must be a sequence of finite numbers"),
        (smooth_arrays(-1), "shape=-1 must be a whole number, or a tuple of them, none negative"),
        (kinked_arrays((2, 1.5)), "must be a whole number"),
        (smooth_arrays(3, "nonsense"), "dtype='nonsense' is no floating-point dtype"),
        (conv_geometries(ndim=0), "ndim=0 must be a positive whole number"),
        (pool_geometries(max_side=2.5), "max_side=2.5 must be a positive whole number"),
    ],
)
def test_what_cannot_be_is_refused(strategy, message):
    with pytest.raises(InvalidArgument, match=message):
        find(strategy, lambda _: True)


def test_trees_of_what_is_no_strategy_are_refused():
    with pytest.raises(InvalidArgument, match=r"leaves=array\(\[1., 1.\]\) must be a strategy"):
        trees(np.ones(2))


def test_kinked_arrays_hold_kinks_ties_and_numbers_near_them():
    x = kinked_arrays((3,))
    for kink in KINKS:
        assert find(x, lambda x, kink=kink: kink in x) is not None
    assert find(x, lambda x: 0 < np.min(np.abs(x)) <= 1e-6) is not None
    assert find(x, lambda x: len(np.unique(x)) == 2) is not None
    assert find(x, lambda x: np.any((x != 1) & (np.abs(x - 1) < 1e-6))) is not None


@given(conv_geometries(ndim=1) | conv_geometries() | conv_geometries(ndim=3, max_side=4) | conv_geometries(max_side=1))
def test_geometries_of_convolutions_are_valid(geometry):
    x, w, stride, padding, dilation, groups = geometry
    assert x[1] == groups * w[1] and w[0] % groups == 0
    assert len(x) == len(w) == 2 + len(stride)
    outputs = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x[2:], w[2:], stride, padding, dilation, strict=True)
    ]
    assert min(outputs) >= 1 and min(*x, *w, *stride, *dilation) >= 1 and min(padding) >= 0


@given(pool_geometries(ndim=1) | pool_geometries() | pool_geometries(max_side=1))
def test_every_window_of_a_pooling_holds_a_pixel(geometry):
    x, kernel, stride, padding = geometry
    for n, k, s, p in zip(x[2:], kernel, stride, padding, strict=True):
        starts = range(0, n + 2 * p - k + 1, s)
        assert len(starts) >= 1
        assert all(any(p <= start + i < p + n for i in range(k)) for start in starts)


def test_geometries_shrink_to_one_pixel_or_to_what_is_needed():
    assert find(conv_geometries(), lambda _: True) == ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), (0, 0), (1, 1), 1)
    assert find(pool_geometries(), lambda _: True) == ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0))
    assert find(conv_geometries(), lambda g: g.groups == 2 and g.dilation == (1, 2)).groups == 2
    uneven = find(conv_geometries(), lambda g: g.w[2] != g.w[3])
    assert sorted(uneven.w[2:]) == [1, 2] and math.prod(uneven.x) == 2


def leaves_of(tree):
    if isinstance(tree, dict):
        return [leaf for part in tree.values() for leaf in leaves_of(part)]
    return [leaf for part in tree for leaf in leaves_of(part)] if isinstance(tree, list | tuple) else [tree]


def mapped(function, tree):
    if isinstance(tree, dict):
        return {key: mapped(function, part) for key, part in tree.items()}
    return type(tree)(mapped(function, part) for part in tree) if isinstance(tree, list | tuple) else function(tree)


@settings(max_examples=12)
@given(trees(smooth_arrays((2,))))
def test_trees_are_points_of_a_check(tree):
    def f(tree):
        return sum(np.sum(np.sin(leaf)) for leaf in leaves_of(tree))

    report = check_gradient(f, lambda tree: mapped(np.cos, tree), tree)
    assert report.ok, str(report)
    assert len(report.parameters) == len(leaves_of(tree)) >= 1
    assert check_gradient(f, lambda tree: mapped(np.sin, tree), tree).verdict == "fail"


def test_trees_shrink_to_one_leaf():
    assert find(trees(st.just(1.5)), lambda _: True) == 1.5
    assert find(trees(st.just(1.5)), lambda tree: isinstance(tree, dict)) == {"w": 1.5}


def test_the_profile_has_no_explain_phase_and_no_deadline():
    profile = settings.get_profile("gradcheck")
    assert profile.deadline is None
    assert set(Phase) - set(profile.phases) == {Phase.explain}


@settings(max_examples=10)
@given(smooth_arrays((2, 3)), st.sampled_from([np.float32, np.float64]))
def test_relu_away_from_its_kink_has_one_gradient(x, dtype):
    x = x.astype(dtype)

    def forward(x):
        return np.maximum(x, 0), x > 0

    assert check_layer(forward, lambda dy, mask: dy * mask, x).ok
    if np.any(x < 0):
        assert check_layer(forward, lambda dy, mask: dy, x).verdict == "fail"


@given(arrays(np.float64, array_shapes(max_dims=2, max_side=4), elements=st.floats(-3, 3)))
def test_softmax_of_what_hypothesis_draws_by_itself(x):
    """Ties, zeros and numbers of 1e-300 beside ones are no reason to fail, nor to give up."""

    def forward(x):
        e = np.exp(x - np.max(x, axis=-1, keepdims=True))
        y = e / np.sum(e, axis=-1, keepdims=True)
        return y, y

    def backward(dy, y):
        return y * (dy - np.sum(dy * y, axis=-1, keepdims=True))

    report = check_layer(forward, backward, x)
    assert report.verdict == "pass", str(report)
