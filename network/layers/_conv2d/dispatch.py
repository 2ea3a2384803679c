"""Which algorithm computes a convolution, and its gradients.

Each algorithm is a module of three functions on arrays whose leading axes are sorted::

    forward(windows, x, w, b, out)            writes y
    input_gradient(windows, dy, w, out)       writes dx
    kernel_gradient(windows, dy, x)           returns dw, and db (B, G, P * O) or None where that is no by-product

with images x (B, N, G, C, H, W), kernels w (B, G, P * O, C, KH, KW), b (G, P * O) or None, results y and their gradients
dy (B, N, G, P, O, OH, OW): B batches of both, N samples, G groups, P sets of kernels for the same images.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from network.layers._arguments import Array, common_dtype, quiet, sum_to
from network.layers._conv2d import im2col, one_product, whole_layer
from network.layers._conv2d import winograd as winograd_rows
from network.layers._conv2d.plan import Plan
from network.layers._conv2d.windows import Windows

__all__ = ["backward", "forward"]


class Algorithm(Protocol):
    """A module with the three functions above."""

    def forward(self, windows: Windows, x: Array, w: Array, b: Array | None, out: Array) -> None: ...
    def input_gradient(self, windows: Windows, dy: Array, w: Array, out: Array) -> None: ...
    def kernel_gradient(self, windows: Windows, dy: Array, x: Array) -> tuple[Array, Array | None]: ...


SMALL_COLUMNS = 32_768
"""Numbers in the columns of all windows up to which calls cost more than arithmetic: half as many where the whole layer's
matrix would do."""

LEAST_SAMPLES = 8
"""Least samples of a batch for which the whole layer's matrix is worth being written."""

MOST_PRODUCTS = 8
"""Products of the whole layer's matrix for each that the formula has: H * W / (KH * KW)."""

LARGEST_MATRIX = 2**18
"""Numbers in the whole layer's matrix times its products for each of the formula's."""

LEAST_CHANNELS = 20
"""Channels * outputs / (channels + outputs) from which Winograd saves more products than its transformations cost."""

LEAST_WIDTH = 16
"""Results in a row from which Winograd's products are wide enough."""

MOST_WASTE = 1.05
"""Results of Winograd's tiles of four for each in a row: 1 where its width is a multiple of four. Near it both take
about as long: 0.9 to 1.15 times `im2col`'s time at 1.07 to 1.09, 0.8 to 1.05 at 1.04 (`python -m benchmarks.thresholds MOST_WASTE`)."""


@lru_cache(maxsize=1024)
def choose(plan: Plan, *, winograd: bool) -> Algorithm | None:
    """Return the algorithm for shapes, None where the whole work is one small product.

    ``python -m benchmarks.thresholds [NAME ...]`` times all algorithms on both sides of each threshold, or of those named.
    """
    batches, samples, groups, channels, height, width = plan.images_shape
    outputs = plan.kernels_shape[1] * plan.kernels_shape[3]
    windows, cells = plan.windows, math.prod(plan.windows.kernel)
    results = math.prod(windows.output)
    if 0 in (*plan.upstream_shape, *plan.images_shape):
        return im2col
    matrix, waste = batches * groups * channels * height * width * outputs * results, height * width / cells
    is_matrix = samples >= LEAST_SAMPLES and waste <= MOST_PRODUCTS and matrix * waste <= LARGEST_MATRIX
    if plan.is_plain and channels * cells * samples * results <= SMALL_COLUMNS / (1 + is_matrix):
        return None
    if is_matrix:
        return whole_layer
    is_3x3 = windows.kernel == (3, 3) and windows.dilation == (1, 1) and windows.flipped() is not None
    has_many = channels * outputs >= LEAST_CHANNELS * (channels + outputs)
    of_row = windows.output[1]
    is_tiled = of_row >= LEAST_WIDTH and -(-of_row // 4) * 4 <= MOST_WASTE * of_row
    return winograd_rows if winograd and is_3x3 and has_many and is_tiled else im2col


@quiet
def forward(plan: Plan, x: Array, w: Array, b: Array | None, dtype: np.dtype[Any], *, winograd: bool) -> Array:
    """Return y in ``plan.y_shape``."""
    algorithm = choose(plan, winograd=winograd)
    if algorithm is None:
        return one_product.forward(plan, x, w, b, dtype)
    images, kernels, bias = plan.images(x).astype(dtype, copy=False), plan.kernels(w, dtype), plan.bias(b, dtype)
    y = np.empty(plan.upstream_shape, dtype)
    algorithm.forward(plan.windows, images, kernels, bias, plan.by_samples(y))
    if not _is_trusted(algorithm, y):
        im2col.forward(plan.windows, images, kernels, bias, plan.by_samples(y))
    y = plan.leading.unsort(y, plan.product_shape, 4)
    if b is None or bias is not None:
        return y
    fits = plan.y_shape == plan.product_shape
    return np.add(y, b[..., np.newaxis, :, np.newaxis, np.newaxis], out=y if fits else None)


@quiet
def backward(
    plan: Plan, dy: Array, x: Array, w: Array, b: Array | None, *, winograd: bool, needs_dx: bool
) -> tuple[Array | None, Array, Array | None]:
    """Return dx (None unless needed), dw and db, in the shapes and dtypes of x, w and b."""
    algorithm, dtype = choose(plan, winograd=winograd), common_dtype(x, w, dy)
    if algorithm is None:
        dx, dw, ones = one_product.backward(plan, dy, x, w, dtype, needs_dx=needs_dx)
        dx = None if dx is None else dx.astype(x.dtype, copy=False)
        return dx, dw.astype(w.dtype, copy=False), None if b is None else ones.astype(b.dtype, copy=False)
    upstream = plan.upstream(sum_to(dy, plan.product_shape, dtype))  # a sum only where b alone has an axis
    dx = _input_gradient(algorithm, plan, upstream, x, w) if needs_dx else None
    images = plan.images(x).astype(dtype, copy=False)
    dw, db = algorithm.kernel_gradient(plan.windows, upstream, images)
    if not _is_trusted(algorithm, dw):
        dw, db = im2col.kernel_gradient(plan.windows, upstream, images)
    return dx, plan.unarrange(dw, w), None if b is None else _bias_gradient(plan, dy, db, b)


def _input_gradient(algorithm: Algorithm, plan: Plan, upstream: Array, x: Array, w: Array) -> Array:
    kernels = plan.kernels(w, upstream.dtype)
    dx = np.empty(plan.images_shape, upstream.dtype)
    algorithm.input_gradient(plan.windows, upstream, kernels, dx)
    if not _is_trusted(algorithm, dx):
        im2col.input_gradient(plan.windows, upstream, kernels, dx)
    return plan.leading.unsort(dx, x.shape, 4).astype(x.dtype, copy=False)


def _bias_gradient(plan: Plan, dy: Array, db: Array | None, b: Array) -> Array:
    if db is None or b.ndim > 1:
        return sum_to(_sums(dy), b.shape, b.dtype)
    _, kernels, groups, *_ = plan.kernels_shape
    of_kernels = db.reshape(len(db), groups, kernels, len(b) // groups)
    return sum_to(np.add.reduce(of_kernels, axis=(0, 2)).reshape(b.shape), b.shape, b.dtype)


def _is_trusted(algorithm: Algorithm, result: Array) -> bool:
    """Whether a result is free of what the algorithm made itself: NaN of zero times infinity, or of overflow.

    All but ``im2col`` let every pixel meet kernels that do not see it, with weight zero or weights that cancel. One
    product of the result with itself finds whether anything is not finite (or so large that it might be).
    """
    if algorithm is im2col:
        return True
    flat = result.reshape(-1)
    return math.isfinite(flat.dot(flat))


def _sums(dy: Array) -> Array:
    """Sum dy (..., N, O, OH, OW) to (..., O); products with ones are several times as quick as sums over axes."""
    *maps, height, width = dy.shape
    of_maps: Array = dy.reshape(math.prod(maps), height * width).dot(np.ones(height * width, dy.dtype))
    sums: Array = np.add.reduce(of_maps.reshape(maps), axis=-2)
    return sums
