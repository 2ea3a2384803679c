import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.losses import squared_error_backward, squared_error_forward
from tests.network.properties import assert_broadcasts, assert_close, assert_pure, assert_shapes_and_dtypes
from tests.network.strategies import DTYPES, leading_axes, rngs


@st.composite
def operands(draw):
    """Outputs and targets."""
    axes, samples = draw(leading_axes(2)), draw(st.integers(0, 4))
    rng, dtype = draw(rngs()), draw(DTYPES)
    return [rng.normal(size=(*leading, samples)).astype(dtype) for leading in axes]


def test_value_and_gradient_by_hand():
    loss, cache = squared_error_forward(np.array([1.0, 2.0, 4.0]), np.array([1.0, 0.0, 1.0]))
    assert loss == (0 + 4 + 9) / 2
    d_outputs, d_targets = squared_error_backward(1.0, cache)
    np.testing.assert_array_equal(d_outputs, [0, 2, 3])
    np.testing.assert_array_equal(d_targets, [0, -2, -3])


@given(operands(), rngs())
def test_gradient_is_the_slope(arrays, rng):
    """The loss is quadratic, so the central difference of any step is the slope exactly."""
    loss, cache = squared_error_forward(*arrays)
    dy = rng.normal(size=loss.shape).astype(loss.dtype)
    gradients = squared_error_backward(dy, cache)
    assert_shapes_and_dtypes(loss, gradients, arrays)
    for which, gradient in enumerate(gradients):
        tangent = rng.normal(size=arrays[which].shape).astype(loss.dtype)
        above, below = (
            squared_error_forward(*(a + sign * tangent if i == which else a for i, a in enumerate(arrays)))[0]
            for sign in (1, -1)
        )
        slope = np.vdot(dy, (above.astype(float) - below) / 2)
        np.testing.assert_allclose(np.vdot(gradient, tangent), slope, rtol=0, atol=2000 * np.finfo(loss.dtype).eps)


@given(operands(), rngs())
def test_leading_axes_broadcast(arrays, rng):
    assert_broadcasts(squared_error_forward, squared_error_backward, arrays, (1, 1), rng)


@given(operands(), rngs())
def test_pure(arrays, rng):
    assert_pure(squared_error_forward, squared_error_backward, arrays, rng)


def test_of_equal_outputs_and_targets_nothing_is_left(rng):
    outputs = rng.normal(size=(3, 4))
    loss, cache = squared_error_forward(outputs, outputs)
    assert_close(loss, np.zeros(3))
    assert_close(squared_error_backward(np.ones(3), cache)[0], np.zeros((3, 4)))


def test_mixed_dtypes(rng):
    arrays = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=4)
    loss, cache = squared_error_forward(*arrays)
    assert_shapes_and_dtypes(loss, squared_error_backward(np.ones(3), cache), arrays)


def test_huge_values_give_infinity_and_no_warning():
    loss, cache = squared_error_forward(np.array([1e308]), np.array([-1e308]))
    assert np.isposinf(loss)
    squared_error_backward(1e308, cache)


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        (1.0, np.ones(3), r"outputs is a single number, but squared_error sums over a last axis"),
        (np.ones(3), 1.0, r"targets is a single number"),
        (np.ones(3), np.ones(1), r"outputs has 3 samples \(shape \(3,\)\), but targets has 1"),
        (np.ones((2, 3)), np.ones((4, 3)), r"leading axes of outputs \(2,\), targets \(4,\) do not broadcast"),
        (np.ones(3, int), np.ones(3), r"outputs has dtype int64, but squared_error computes in float32 or float64"),
        (np.ones(3), np.ones(3, bool), r"targets has dtype bool"),
    ],
)
def test_bad_arguments_get_one_clear_error(outputs, targets, message):
    with pytest.raises(ValueError, match=message):
        squared_error_forward(outputs, targets)


def test_dy_has_exactly_the_shape_of_the_loss():
    _, cache = squared_error_forward(np.ones((2, 3)), np.ones(3))
    with pytest.raises(ValueError, match=r"dy has shape \(\), but y of squared_error has shape \(2,\)"):
        squared_error_backward(1.0, cache)
