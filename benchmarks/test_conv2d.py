"""Convolution, 3x3, stride 1, padding 1, with bias: ours beside every peer that is installed.

``benchmark.extra_info`` has the GFLOP/s of the direct formula, and their share of what a large matrix product reaches.
"""

import numpy as np
import pytest

from benchmarks.peers import CONV2D, both

# (N, C, H, W, O): one sample and batches of the article's layers, then MNIST, CIFAR and the middle of deep networks.
SHAPES = [
    (1, 1, 8, 8, 2),
    (1, 2, 4, 4, 4),
    (64, 1, 8, 8, 2),
    (64, 2, 4, 4, 4),
    (360, 1, 8, 8, 2),
    (64, 1, 28, 28, 32),
    (64, 32, 14, 14, 64),
    (32, 64, 32, 32, 64),
    (8, 64, 56, 56, 64),
    (32, 3, 32, 32, 16),
]

# Beyond so many multiplications a peer takes seconds.
LARGEST = {"naive": 2e4, "scipy": 3e7, "autograd": 2e7}


def products(shape):
    n, c, h, w, o = shape
    return 9 * n * c * h * w * o


CASES = [
    pytest.param(shape, peer, id=f"{'x'.join(map(str, shape[:4]))}->{shape[4]}-{peer}")
    for shape in SHAPES
    for peer in CONV2D
    if products(shape) <= LARGEST.get(peer, np.inf)
]
cases = pytest.mark.parametrize(("shape", "peer"), CASES)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def operands(shape, dtype):
    n, c, h, w, o = shape
    rng = np.random.default_rng(0)
    shapes = {"dy": (n, o, h, w), "x": (n, c, h, w), "w": (o, c, 3, 3), "b": (o,)}
    return [rng.normal(size=size).astype(dtype) for size in shapes.values()]


def assert_close(actual, desired, dtype):
    scale = max(1.0, float(np.abs(desired).max()))
    np.testing.assert_allclose(actual, desired, rtol=0, atol=scale * (1e-11 if dtype == np.float64 else 1e-3))


def describe(benchmark, direction, shape, dtype, peer):
    n, c, h, w, o = shape
    benchmark.group = f"conv2d {direction} {n}x{c}x{h}x{w}->{o} {dtype.__name__}"
    benchmark.name = peer


def note(benchmark, flops, seconds, limit):
    benchmark.extra_info["GFLOP/s"] = round(flops / seconds / 1e9, 2)
    benchmark.extra_info["share of GEMM"] = round(flops / seconds / 1e9 / limit, 3)


@dtypes
@cases
def test_forward(benchmark, measure, gemm_limit, shape, peer, dtype):
    _, x, w, b = operands(shape, dtype)
    call = CONV2D[peer]().conv2d_forward(x, w, b)
    (y,) = call.results()
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(float)
    for index in places(y.shape):
        n, o, i, j = index
        assert_close(y[index], b[o] + np.vdot(padded[n, :, i : i + 3, j : j + 3], w[o]), dtype)
    if peer != "ours":
        assert_close(y, CONV2D["ours"]().conv2d_forward(x, w, b).results()[0], dtype)
    describe(benchmark, "forward", shape, dtype, peer)
    note(benchmark, 2 * products(shape), measure(call), gemm_limit(dtype))


@dtypes
@cases
def test_backward(benchmark, measure, gemm_limit, shape, peer, dtype):
    dy, x, w, b = operands(shape, dtype)
    call = CONV2D[peer]().conv2d_backward(dy, x, w, b)
    dx, dw, db = call.results()
    padded = [np.pad(array, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(float) for array in (x, dy)]
    for index in places(dx.shape):
        n, c, p, q = index
        assert_close(dx[index], np.vdot(padded[1][n, :, p : p + 3, q : q + 3], w[:, c, ::-1, ::-1]), dtype)
    for index in places(dw.shape):
        o, c, u, v = index
        assert_close(dw[index], np.vdot(padded[0][:, c, u : u + x.shape[2], v : v + x.shape[3]], dy[:, o]), dtype)
    if peer != "ours":
        for actual, desired in zip((dx, dw, db), CONV2D["ours"]().conv2d_backward(dy, x, w, b).results(), strict=True):
            assert_close(actual, desired, dtype)
    describe(benchmark, "backward", shape, dtype, peer)
    note(benchmark, 4 * products(shape), measure(call), gemm_limit(dtype))


@dtypes
@cases
def test_both(benchmark, measure, gemm_limit, shape, peer, dtype):
    """Forward and backward in one go: some peers save in one what they paid for in the other."""
    dy, x, w, b = operands(shape, dtype)
    functions = CONV2D[peer]()
    describe(benchmark, "both", shape, dtype, peer)
    call = both(functions.conv2d_forward(x, w, b), functions.conv2d_backward(dy, x, w, b))
    note(benchmark, 6 * products(shape), measure(call), gemm_limit(dtype))


def places(shape):
    """Return some indices, the corners among them."""
    rng = np.random.default_rng(1)
    corners = [tuple(0 for _ in shape), tuple(size - 1 for size in shape)]
    return corners + [tuple(int(rng.integers(size)) for size in shape) for _ in range(10)]
