"""Every layer's backward, and whole random networks, under `gradcheck` over random shapes."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gradcheck
from gradcheck.strategies import pool_geometries, smooth_arrays
from network import layers
from network.losses import squared_error_backward, squared_error_forward
from tests.network.strategies import conv2d_cases, leading_axes, rngs

FLOATS = st.sampled_from([np.float32, np.float64])
ACTIVATIONS = ["relu", "arctan", "tanh", "sigmoid"]

TIED = settings(max_examples=max(10, settings().max_examples // 3))
"""Ties cost hundreds of calls an example, and each has several: fewer examples of them."""

PLANTED = settings(max_examples=max(4, settings().max_examples // 3))
"""Examples of a bug differ in their numbers alone, and each is located and explained: fewer of them."""


def passes(forward, backward, *inputs):
    report = gradcheck.check_layer(forward, backward, *inputs)
    assert report.verdict == "pass", str(report)


@given(conv2d_cases(leading=True))
def test_convolution(case):
    assume(any(operand.size for operand in case.operands))
    passes(lambda *operands: layers.conv2d_forward(*operands, **case.geometry), layers.conv2d_backward, *case.operands)


@given(rngs(), FLOATS, leading_axes(3), st.tuples(*[st.integers(0, 3)] * 3), st.booleans())
def test_dense(rng, dtype, leading, sizes, has_bias):
    samples, inputs, outputs = sizes
    shapes = [(*leading[0], samples, inputs), (*leading[1], inputs, outputs), (*leading[2], outputs)]
    operands = [rng.normal(size=shape).astype(dtype) for shape in shapes[: 2 + has_bias]]
    assume(any(operand.size for operand in operands))
    passes(layers.dense_forward, layers.dense_backward, *operands)


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(rng=rngs(), dtype=FLOATS, shape=st.lists(st.integers(1, 3), max_size=4))
def test_activations(name, rng, dtype, shape):
    x = np.asarray(rng.uniform(-4, 4, size=shape)).astype(dtype)  # saturated float32 shows no slope to be checked
    passes(getattr(layers, f"{name}_forward"), getattr(layers, f"{name}_backward"), x)


@given(pool_geometries(max_side=5), FLOATS, st.lists(st.integers(1, 2), max_size=2), st.data())
def test_max_pooling(geometry, dtype, leading, data):
    shape, kernel, stride, padding = geometry
    x = data.draw(smooth_arrays((*leading, *shape), dtype))
    passes(
        lambda x: layers.max_pool2d_forward(x, kernel, stride=stride, padding=padding), layers.max_pool2d_backward, x
    )


@TIED
@given(rngs())
def test_max_pooling_with_ties_and_relu_at_zero(rng):
    """The first maximum, and 0 at 0, are valid derivatives where there is no other."""
    x = rng.integers(-1, 2, size=(1, 1, 4, 4)).astype(float)
    passes(lambda x: layers.max_pool2d_forward(x, 2), layers.max_pool2d_backward, x)
    passes(layers.relu_forward, layers.relu_backward, x)


@given(rngs(), leading_axes(2), st.integers(1, 4))
def test_squared_error(rng, leading, samples):
    operands = [rng.normal(size=(*axes, samples)) for axes in leading]
    assume(any(operand.size for operand in operands))
    passes(squared_error_forward, squared_error_backward, *operands)


# ---- deliberately wrong backwards ---------------------------------------------------------------------------------


def fails(forward, backward, *inputs):
    report = gradcheck.check_layer(forward, backward, *inputs)
    assert report.verdict == "fail", str(report)
    return report


@PLANTED
@given(rngs())
def test_a_rotated_kernel_gradient_is_named(rng):
    x, w = rng.normal(size=(2, 1, 6, 5)), rng.normal(size=(2, 1, 3, 3))

    def backward(dy, cache):
        dx, dw = layers.conv2d_backward(dy, cache)
        return dx, dw[..., ::-1, ::-1]

    report = fails(layers.conv2d_forward, backward, x, w)
    assert not report.parameters["x"].wrong.any() and report.parameters["w"].diagnoses[0].kind == "rotated"


@PLANTED
@given(rngs())
def test_a_bias_that_is_averaged_over_the_batch_is_named(rng):
    x, w, b = rng.normal(size=(4, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)

    def backward(dy, cache):
        dx, dw, db = layers.dense_backward(dy, cache)
        return dx, dw, db / len(dy)

    report = fails(layers.dense_forward, backward, x, w, b)
    assert report.parameters["b"].diagnoses[0].evidence["ratio"] == pytest.approx(0.25)


@PLANTED
@given(rngs())
def test_a_transposed_weight_gradient_fails(rng):
    x, w = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))

    def backward(dy, cache):
        dx, dw = layers.dense_backward(dy, cache)
        return dx, dw.T

    assert fails(layers.dense_forward, backward, x, w).parameters["w"].diagnoses[0].kind == "transposed"


@TIED
@given(rngs())
def test_gradient_to_every_tied_maximum_fails(rng):
    x = rng.normal(size=(1, 1, 2, 2))
    x[...] = x.max()

    def backward(dy, cache):
        return np.where(cache == cache.max(), dy, 0.0)

    fails(lambda x: (x.max(axis=(-2, -1), keepdims=True), x), backward, x)


# ---- whole networks -----------------------------------------------------------------------------------------------


@st.composite
def networks(draw):
    """A composition of layers that fit, as a list of (name, size of its weight or None)."""
    size = draw(st.integers(4, 6))
    channels = 1
    plan = []
    for _ in range(draw(st.integers(1, 2))):
        outputs = draw(st.integers(1, 2))
        plan += [("conv2d", (outputs, channels, 3, 3)), (draw(st.sampled_from(ACTIVATIONS)), None)]
        channels = outputs
        if size >= 4 and draw(st.booleans()):
            plan.append(("max_pool2d", None))
            size //= 2
    plan.append(("flatten", None))
    width = channels * size * size
    for _ in range(draw(st.integers(1, 2))):
        outputs = draw(st.integers(1, 3))
        plan += [("dense", (width, outputs)), (draw(st.sampled_from(ACTIVATIONS)), None)]
        width = outputs
    return plan, draw(rngs())


def run(plan, weights, x):
    """Return the output, and the caches with the names of their layers."""
    caches, index = [], 0
    for name, shape in plan:
        if name == "flatten":
            caches.append((name, x.shape))
            x = x.reshape(len(x), -1)
            continue
        options = {"padding": 1} if name == "conv2d" else {}
        operands = [2] if name == "max_pool2d" else [weights[index]] if shape else []
        index += bool(shape)
        x, cache = getattr(layers, f"{name}_forward")(x, *operands, **options)
        caches.append((name, cache))
    return x, caches


def pull(caches, dy):
    """Return the gradients of the weights, last layer first."""
    gradients = []
    for name, cache in reversed(caches):
        if name == "flatten":
            dy = dy.reshape(cache)
            continue
        dy = getattr(layers, f"{name}_backward")(dy, cache)
        if isinstance(dy, tuple):
            dy, *own = dy
            gradients += own
    return gradients


@given(networks())
def test_whole_random_networks(network):
    plan, rng = network
    side = side_of(plan)
    x = rng.normal(size=(3, 1, side, side))
    # As networks are initialised: saturated ones have gradients in the noise of the loss, and nothing to be checked.
    shapes = [shape for _, shape in plan if shape]
    weights = {
        f"w{i}": rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) if len(shape) == 4 else shape[0])
        for i, shape in enumerate(shapes)
    }
    targets = rng.normal(size=run(plan, list(weights.values()), x)[0].size)

    def loss(w):
        y, _ = run(plan, list(w.values()), x)
        return squared_error_forward(y.ravel(), targets)[0]

    def gradient(w):
        y, caches = run(plan, list(w.values()), x)
        _, cache = squared_error_forward(y.ravel(), targets)
        dy, _ = squared_error_backward(np.array(1.0), cache)
        return dict(zip(w, pull(caches, dy.reshape(y.shape))[::-1], strict=True))

    report = gradcheck.check_gradient(loss, gradient, weights)
    assert report.verdict == "pass", str(report)
    wrong = gradcheck.check_gradient(loss, lambda w: {**gradient(w), "w0": gradient(w)["w0"] + 0.1}, weights)
    if wrong.findings[0].code != "f-ignores-params":  # the last ReLU is dead, so the loss is constant
        assert wrong.parameters["w0"].wrong.all()
    assert not any(parameter.wrong.any() for name, parameter in wrong.parameters.items() if name != "w0")


def side_of(plan):
    """Work out the images' side from the first dense layer's width."""
    width = next(shape for name, shape in plan if name == "dense")[0]
    channels = [shape for name, shape in plan if name == "conv2d"][-1][0]
    side = round((width / channels) ** 0.5)
    return side * 2 ** sum(name == "max_pool2d" for name, _ in plan)
