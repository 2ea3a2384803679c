"""The layers agree with PyTorch, forward and backward, at hundreds of random geometries."""

import numpy as np
import pytest

from network import layers, losses

torch = pytest.importorskip("torch")
F = torch.nn.functional

RTOL = 1e-10


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Arrays this small take several times as long on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def numbers(rng, least, most):
    return tuple(int(n) for n in rng.integers(least, most + 1, size=2))


def assert_close(actual, desired):
    desired = desired.detach().numpy()
    scale = float(np.max(np.abs(desired), initial=1e-300))
    np.testing.assert_allclose(actual, desired, rtol=RTOL, atol=RTOL * scale)


def tensors(*arrays):
    return tuple(torch.tensor(array, requires_grad=True) for array in arrays)


def gradients_of(y, dy, operands):
    return torch.autograd.grad(y, operands, torch.tensor(dy))


def conv2d_case(rng):
    """A geometry whose kernel fits, and groups that divide."""
    groups = int(rng.integers(1, 4))
    samples, channels, outputs = (int(n) for n in rng.integers(1, 4, size=3))
    kernel, stride, padding, dilation = numbers(rng, 1, 4), numbers(rng, 1, 3), numbers(rng, 0, 5), numbers(rng, 1, 3)
    covered = [d * (k - 1) + 1 - 2 * p for k, p, d in zip(kernel, padding, dilation, strict=True)]
    image = tuple(max(1, least) + int(rng.integers(0, 6)) for least in covered)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (samples, groups * channels, *image), (groups * outputs, channels, *kernel), geometry


@pytest.mark.parametrize("seed", range(300))
def test_conv2d(seed):
    rng = np.random.default_rng(seed)
    x_shape, w_shape, geometry = conv2d_case(rng)
    operands = [rng.normal(size=x_shape), rng.normal(size=w_shape), rng.normal(size=w_shape[:1])][: 2 + seed % 2]
    y, cache = layers.conv2d_forward(*operands, **geometry)
    of_torch = tensors(*operands)
    y_of_torch = F.conv2d(*of_torch, **geometry)
    assert_close(y, y_of_torch)
    dy = rng.normal(size=y.shape)
    for gradient, desired in zip(
        layers.conv2d_backward(dy, cache), gradients_of(y_of_torch, dy, of_torch), strict=True
    ):
        assert_close(gradient, desired)


@pytest.mark.parametrize("seed", range(60))
def test_conv2d_with_leading_axes(seed):
    """Against PyTorch's own batching over an axis of x, of w, or of both."""
    rng = np.random.default_rng(seed)
    x_shape, w_shape, geometry = conv2d_case(rng)
    of_x, of_w, of_b = [(3, 3, 3), (0, 3, 3), (3, 0, 0), (3, 3, 0), (0, 0, 3), (3, 0, 3)][seed % 6]
    operands = [
        rng.normal(size=((size,) if size else ()) + shape)
        for size, shape in ((of_x, x_shape), (of_w, w_shape), (of_b, w_shape[:1]))
    ]
    y, cache = layers.conv2d_forward(*operands, **geometry)
    of_torch = tensors(*operands)
    axes = tuple(0 if size else None for size in (of_x, of_w, of_b))
    y_of_torch = torch.vmap(lambda x, w, b: F.conv2d(x, w, b, **geometry), in_dims=axes)(*of_torch)
    assert_close(y, y_of_torch)
    dy = rng.normal(size=y.shape)
    for gradient, desired in zip(
        layers.conv2d_backward(dy, cache), gradients_of(y_of_torch, dy, of_torch), strict=True
    ):
        assert_close(gradient, desired)


@pytest.mark.parametrize("values", ["normal", "ties", "nan"])
@pytest.mark.parametrize("seed", range(100))
def test_max_pool2d(seed, values):
    """Bit for bit in y; which of equal maxima, of -inf, and of several NaN gets the gradient is the same too."""
    rng = np.random.default_rng(seed)
    kernel, stride = numbers(rng, 1, 4), numbers(rng, 1, 4)
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    image = tuple(max(1, k - 2 * p) + int(rng.integers(0, 6)) for k, p in zip(kernel, padding, strict=True))
    shape = (int(rng.integers(1, 3)), int(rng.integers(1, 4)), *image)
    x = rng.normal(size=shape)
    if values != "normal":
        x = rng.choice([-np.inf, -1.0, 0.0, 1.0, np.nan if values == "nan" else 1.0], size=shape)
    y, cache = layers.max_pool2d_forward(x, kernel, stride=stride, padding=padding)
    (of_torch,) = tensors(x)
    y_of_torch = F.max_pool2d(of_torch, kernel, stride, padding)
    np.testing.assert_array_equal(y, y_of_torch.detach().numpy())
    dy = rng.normal(size=y.shape)
    assert_close(layers.max_pool2d_backward(dy, cache), gradients_of(y_of_torch, dy, of_torch)[0])


@pytest.mark.parametrize("shapes", [((5, 3), (3, 2), (2,)), ((4, 5, 3), (3, 2), (2,)), ((4, 5, 3), (4, 3, 2), (2,))])
def test_dense(shapes, rng):
    operands = [rng.normal(size=shape) for shape in shapes]
    y, cache = layers.dense_forward(*operands)
    of_torch = tensors(*operands)
    y_of_torch = of_torch[0] @ of_torch[1] + of_torch[2]
    assert_close(y, y_of_torch)
    dy = rng.normal(size=y.shape)
    for gradient, desired in zip(layers.dense_backward(dy, cache), gradients_of(y_of_torch, dy, of_torch), strict=True):
        assert_close(gradient, desired)


@pytest.mark.parametrize("name", ["relu", "arctan", "tanh", "sigmoid"])
def test_activations(name, rng):
    x = np.concatenate([3 * rng.normal(size=200), [0.0, -0.0]])
    y, cache = getattr(layers, f"{name}_forward")(x)
    (of_torch,) = tensors(x)
    y_of_torch = getattr(torch, name)(of_torch)
    assert_close(y, y_of_torch)
    dy = rng.normal(size=x.shape)
    assert_close(getattr(layers, f"{name}_backward")(dy, cache), gradients_of(y_of_torch, dy, of_torch)[0])


def test_squared_error(rng):
    outputs, targets = rng.normal(size=7), rng.normal(size=7)
    loss, cache = losses.squared_error_forward(outputs, targets)
    of_torch = tensors(outputs, targets)
    of_torch_loss = F.mse_loss(*of_torch, reduction="sum") / 2
    assert_close(loss, of_torch_loss)
    for gradient, desired in zip(
        losses.squared_error_backward(1.0, cache), gradients_of(of_torch_loss, 1.0, of_torch), strict=True
    ):
        assert_close(gradient, desired)
