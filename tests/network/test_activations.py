import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from network import layers
from tests.network.properties import assert_pure, assert_shapes_and_dtypes
from tests.network.strategies import DTYPES, rngs

# Name, value and derivative in high precision.
ACTIVATIONS = {
    "relu": (lambda x: max(x, 0), lambda x: 1 if x > 0 else 0),
    "arctan": (mpmath.atan, lambda x: 1 / (1 + x * x)),
    "tanh": (mpmath.tanh, lambda x: mpmath.sech(x) ** 2),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2),
}
activations = pytest.mark.parametrize("name", ACTIVATIONS)


def pair(name):
    return getattr(layers, f"{name}_forward"), getattr(layers, f"{name}_backward")


def arrays(dtype):
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))


@activations
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_and_derivative_to_the_last_digits(name, dtype):
    """Relative to the exact ones, from very negative to very positive, where formulas that are merely right lose all."""
    x = np.concatenate([s * np.array([0, 1e-6, 0.1, 0.5, 1, 2.5, 7, 15, 30, 42]) for s in (-1, 1)]).astype(dtype)
    forward, backward = pair(name)
    y, cache = forward(x)
    dx = backward(np.ones_like(y), cache)
    value, derivative = ACTIVATIONS[name]
    with mpmath.workdps(60):
        rtol = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(y, [float(value(mpmath.mpf(float(v)))) for v in x], rtol=rtol)
        np.testing.assert_allclose(dx, [float(derivative(mpmath.mpf(float(v)))) for v in x], rtol=rtol)


@activations
@given(data=st.data(), dtype=DTYPES, rng=rngs())
def test_pure_and_elementwise(name, data, dtype, rng):
    x = data.draw(arrays(dtype))
    forward, backward = pair(name)
    assert_pure(forward, backward, (x,), rng)
    y, cache = forward(x)
    dy = rng.normal(size=x.shape).astype(dtype)
    dx = backward(dy, cache)
    assert_shapes_and_dtypes(y, (dx,), (x,))
    for index in np.ndindex(*x.shape):
        one, cache_of_one = forward(x[index].reshape(1))
        np.testing.assert_allclose(y[index], one[0], rtol=1e-5)
        np.testing.assert_allclose(dx[index], backward(dy[index].reshape(1), cache_of_one)[0], rtol=1e-5)


@activations
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_values_are_finite_and_give_no_warning(name, dtype):
    largest = np.finfo(dtype).max
    x = np.array([-largest, -800, -1e-310, 0, 1e-310, 800, largest], dtype)
    forward, backward = pair(name)
    y, cache = forward(x)
    assert np.isfinite(y).all()
    assert np.isfinite(backward(np.full_like(y, largest), cache)).all()


@activations
def test_nan_stays_nan(name):
    y, _ = pair(name)[0](np.array([np.nan]))
    assert np.isnan(y).all()


def test_sigmoid_at_both_ends():
    y, cache = layers.sigmoid_forward(np.array([-np.inf, -800.0, 800.0, np.inf]))
    np.testing.assert_array_equal(y, [0, 0, 1, 1])
    np.testing.assert_array_equal(layers.sigmoid_backward(np.ones(4), cache), np.zeros(4))


def test_the_derivative_of_relu_at_zero_is_zero():
    _, cache = layers.relu_forward(np.array([-0.0, 0.0]))
    np.testing.assert_array_equal(layers.relu_backward(np.array([np.inf, 1.0]), cache), [0, 0])


@activations
@pytest.mark.parametrize("dtype", [int, bool, complex, object, np.float16])
def test_only_floats_are_taken(name, dtype):
    with pytest.raises(ValueError, match=f"x has dtype .*but {name} computes in float32 or float64"):
        pair(name)[0](np.ones(3, dtype))


@activations
def test_dy_has_exactly_the_shape_of_y(name):
    forward, backward = pair(name)
    _, cache = forward(np.ones((2, 3)))
    with pytest.raises(ValueError, match=rf"dy has shape \(3,\), but y of {name} has shape \(2, 3\)"):
        backward(np.ones(3), cache)
    with pytest.raises(ValueError, match="dy has dtype int64"):
        backward(np.ones((2, 3), int), cache)
