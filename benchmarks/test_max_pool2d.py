"""Max pooling, 2x2, stride 2, of images after a relu (many ties): ours beside every peer that is installed.

``benchmark.extra_info`` has the GB/s of the traffic that no method avoids (forward: x read, y written; backward: dy read,
dx written), and their share of what copying as many bytes reaches. Judge forward and backward together: some peers
save in one what they paid for in the other.
"""

import numpy as np
import pytest

from benchmarks.peers import MAX_POOL2D, both

# As of the convolutions: N, C, H, W.
SHAPES = [
    (1, 1, 8, 8),
    (1, 2, 4, 4),
    (64, 1, 8, 8),
    (64, 2, 4, 4),
    (360, 1, 8, 8),
    (64, 1, 28, 28),
    (64, 32, 14, 14),
    (32, 64, 32, 32),
    (8, 64, 56, 56),
    (32, 3, 32, 32),
]

CASES = [
    pytest.param(shape, peer, id=f"{'x'.join(map(str, shape))}-{peer}")
    for shape in SHAPES
    for peer in MAX_POOL2D
    if peer != "naive" or np.prod(shape) <= 1e4
]
cases = pytest.mark.parametrize(("shape", "peer"), CASES)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])

# Gradient to every one of several equal maxima, or to another than the first: not the same function, so not compared.
OTHER_TIES = ("jax", "mygrad")


def operands(shape, dtype, peer):
    """Return dy and x; for peers with another rule for ties without any."""
    rng = np.random.default_rng(0)
    n, c, h, w = shape
    x = rng.normal(size=shape)
    if peer not in OTHER_TIES:
        x = np.maximum(x, 0)
    return rng.normal(size=(n, c, h // 2, w // 2)).astype(dtype), x.astype(dtype)


def describe(benchmark, direction, shape, dtype, peer):
    benchmark.group = f"max_pool2d {direction} {'x'.join(map(str, shape))} {dtype.__name__}"
    benchmark.name = peer


def note(benchmark, nbytes, seconds, limit):
    benchmark.extra_info["GB/s"] = round(nbytes / seconds / 1e9, 2)
    benchmark.extra_info["share of copy"] = round(nbytes / seconds / 1e9 / limit, 3)


def windows(x):
    """Copy the windows of x into a last axis of four, in row-major order."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)


@dtypes
@cases
def test_forward(benchmark, measure, copy_limit, shape, peer, dtype):
    dy, x = operands(shape, dtype, peer)
    call = MAX_POOL2D[peer]().max_pool2d_forward(x)
    np.testing.assert_array_equal(call.results()[0], windows(x).max(-1))
    describe(benchmark, "forward", shape, dtype, peer)
    note(benchmark, x.nbytes + dy.nbytes, measure(call), copy_limit(x.nbytes))


@dtypes
@cases
def test_backward(benchmark, measure, copy_limit, shape, peer, dtype):
    dy, x = operands(shape, dtype, peer)
    call = MAX_POOL2D[peer]().max_pool2d_backward(dy, x)
    desired = np.eye(4, dtype=dtype)[windows(x).argmax(-1)] * dy[..., np.newaxis]
    np.testing.assert_array_equal(windows(call.results()[0]), desired)
    describe(benchmark, "backward", shape, dtype, peer)
    note(benchmark, x.nbytes + dy.nbytes, measure(call), copy_limit(x.nbytes))


@dtypes
@cases
def test_both(benchmark, measure, copy_limit, shape, peer, dtype):
    dy, x = operands(shape, dtype, peer)
    functions = MAX_POOL2D[peer]()
    describe(benchmark, "both", shape, dtype, peer)
    call = both(functions.max_pool2d_forward(x), functions.max_pool2d_backward(dy, x))
    note(benchmark, 2 * (x.nbytes + dy.nbytes), measure(call), copy_limit(x.nbytes))
