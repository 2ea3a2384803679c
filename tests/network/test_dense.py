import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.layers import dense_backward, dense_forward
from tests.network import naive
from tests.network.properties import (
    assert_adjoint,
    assert_broadcasts,
    assert_close,
    assert_pure,
    assert_shapes_and_dtypes,
)
from tests.network.strategies import DTYPES, leading_axes, rngs


@st.composite
def operands(draw, *, leading=True):
    """Of a dense layer, with and without b."""
    n, i, o = (draw(st.integers(0, 4)) for _ in range(3))
    axes = draw(leading_axes(3)) if leading else ((), (), ())
    rng, dtype = draw(rngs()), draw(DTYPES)
    shapes = [(*axes[0], n, i), (*axes[1], i, o), (*axes[2], o)][: draw(st.integers(2, 3))]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@given(operands(leading=False), rngs())
def test_forward_and_backward_are_the_loops_over_the_formulas(arrays, rng):
    y, cache = dense_forward(*arrays)
    assert_close(y, naive.dense(*arrays[:2], arrays[2] if len(arrays) == 3 else None), y.dtype)
    dy = rng.normal(size=y.shape).astype(y.dtype)
    gradients = dense_backward(dy, cache)
    assert_shapes_and_dtypes(y, gradients, arrays)
    for gradient, loops in zip(gradients, naive.dense_gradients(dy, *arrays[:2]), strict=False):
        assert_close(gradient, loops, y.dtype)


@given(operands(), rngs(), st.sampled_from([0, 1]))
def test_backward_is_the_adjoint_of_forward(arrays, rng, which):
    assert_adjoint(dense_forward, dense_backward, arrays, which, rng)


@given(operands(), rngs())
def test_leading_axes_broadcast(arrays, rng):
    assert_broadcasts(dense_forward, dense_backward, arrays, (2, 2, 1)[: len(arrays)], rng)


@given(operands(), rngs())
def test_pure(arrays, rng):
    assert_pure(dense_forward, dense_backward, arrays, rng)


def test_mixed_dtypes(rng):
    arrays = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=(4, 2)).astype(np.float32), rng.normal(size=2)
    y, cache = dense_forward(*arrays)
    assert_shapes_and_dtypes(y, dense_backward(np.ones_like(y), cache), arrays)


def test_huge_values_give_infinity_and_no_warning():
    x = np.full((2, 2), 1e308)
    y, cache = dense_forward(x, x, x[0])
    assert np.isposinf(y).all()
    dense_backward(x, cache)


X, W = np.ones((5, 3)), np.ones((3, 2))

ERRORS = [
    ({"x": X[0]}, r"x has shape \(3,\), but dense takes samples"),
    ({"w": W[0]}, r"w has shape \(2,\), but dense takes weights"),
    ({"x": X[:, :2]}, r"x has 2 inputs per sample \(shape \(5, 2\)\), but w takes 3"),
    ({"b": np.ones(3)}, r"b has shape \(3,\), but w has 2 outputs; b must have shape \(\.\.\., 2\)"),
    ({"b": np.ones(())}, r"b has shape \(\), but w has 2 outputs"),
    ({"x": np.ones((2, 5, 3)), "w": np.ones((4, 3, 2))}, r"leading axes of x \(2,\), w \(4,\) do not broadcast"),
    ({"x": X.astype(int)}, r"x has dtype int64, but dense computes in float32 or float64"),
    ({"w": W.astype(complex)}, r"w has dtype complex128"),
    ({"b": np.ones(2, bool)}, r"b has dtype bool"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_bad_arguments_get_one_clear_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        dense_forward(**{"x": X, "w": W, **arguments})


@pytest.mark.parametrize(
    ("dy", "message"),
    [
        (np.ones((5, 1)), r"dy has shape \(5, 1\), but y of dense has shape \(5, 2\)"),
        (np.ones((5, 2), int), r"dy has dtype int64"),
    ],
)
def test_dy_has_exactly_the_shape_of_y(dy, message):
    _, cache = dense_forward(X, W)
    with pytest.raises(ValueError, match=message):
        dense_backward(dy, cache)
