"""Small images in batches: the whole layer as one matrix (a block Toeplitz matrix) from all pixels to all results.

Entry ``[(c, p, q), (o, i, j)]`` is ``w[o, c, u, v]`` where window (i, j) sees pixel (p, q) in its cell (u, v), else 0.
Most products are with zeros, which one large product makes up for while images are small.

Shapes are those of `network.layers._conv2d.dispatch`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from network.layers._arguments import Array
from network.layers._conv2d.windows import Windows

__all__ = ["forward", "input_gradient", "kernel_gradient"]


def forward(windows: Windows, x: Array, w: Array, b: Array | None, out: Array) -> None:
    """Write the results of all kernels on all images."""
    _multiply(_rows(x), _matrix(windows, w), out.swapaxes(1, 2))
    if b is not None:
        np.add(out, b.reshape(*out.shape[2:5], 1, 1), out=out)


def input_gradient(windows: Windows, dy: Array, w: Array, out: Array) -> None:
    """Write the gradient of the images."""
    _multiply(_rows(dy), _matrix(windows, w).mT, out.swapaxes(1, 2))


def kernel_gradient(windows: Windows, dy: Array, x: Array) -> tuple[Array, None]:
    """Return the gradient of the kernels: the sums over the entries of the matrix that each weight fills."""
    batches, _, groups, channels = x.shape[:4]
    outputs, results = dy.shape[3] * dy.shape[4], dy.shape[5] * dy.shape[6]
    pixels, upstream = _rows(x).mT, _rows(dy)
    entries = np.zeros((batches, groups, pixels.shape[2] * upstream.shape[3] + 1), dy.dtype)
    _multiply(pixels, upstream, entries[..., :-1])
    terms = entries.take(_places(windows, channels, outputs), axis=-1)
    sums: Array = terms.reshape(-1, results).dot(np.ones(results, terms.dtype))
    return sums.reshape(batches, groups, outputs, channels, *windows.kernel), None


def _matrix(windows: Windows, w: Array) -> Array:
    """Return the matrix (B, G, C * H * W, O * OH * OW) of kernels (B, G, O, C, KH, KW)."""
    batches, groups, outputs, channels = w.shape[:4]
    weights = np.zeros((batches * groups, w[0, 0].size + 1), w.dtype)
    weights[:, :-1] = w.reshape(batches * groups, -1)
    table = _weights(windows, channels, outputs)
    matrices: Array = weights.take(table, axis=1, mode="clip")
    return matrices.reshape(batches, groups, *table.shape)


@lru_cache(maxsize=16)
def _weights(windows: Windows, channels: int, outputs: int) -> Array:
    """Return which weight each entry of the matrix is, shape (C * H * W, O * OH * OW): none is the one after the last.

    To read every entry takes less time than to write the few that are not zero, one by one. A table has up to 1.2 MB.
    """
    (height, width), results = windows.image, windows.output[0] * windows.output[1]
    shape, count = (channels * height * width, outputs * results), outputs * channels * math.prod(windows.kernel)
    table = np.full(shape[0] * shape[1] + 1, count)
    table[_places(windows, channels, outputs)] = np.repeat(np.arange(count), results)
    return table[:-1].reshape(shape)


@lru_cache(maxsize=64)
def _places(windows: Windows, channels: int, outputs: int) -> Array:
    """Return which entries of the flat matrix each weight fills, shape (O * C * KH * KW * OH * OW,).

    Where a weight meets the zeros around an image, that is the entry after the last.
    """
    (height, width), results = windows.image, windows.output[0] * windows.output[1]
    pixels = np.arange(1, height * width + 1).reshape(1, height, width)
    pixel = windows.view(windows.place(pixels, pixels.dtype)).reshape(-1, results) - 1  # (KH * KW, OH * OW)
    output, channel = np.ogrid[:outputs, :channels]
    row = channel[..., np.newaxis, np.newaxis] * (height * width) + pixel
    column = output[..., np.newaxis, np.newaxis] * results + np.arange(results)
    last = channels * height * width * outputs * results
    return np.where(pixel < 0, last, row * (outputs * results) + column).reshape(-1)


def _rows(arrays: Array) -> Array:
    """Return each sample as a row, (B, G, N, everything else)."""
    rows = arrays.swapaxes(1, 2)
    return rows.reshape(*rows.shape[:3], -1)


def _multiply(a: Array, b: Array, out: Array) -> None:
    """Write the products of matrices (B, G, ...), each flat or in any shape; a single one straight to its place."""
    if out.shape[:2] == (1, 1) and out[0, 0].flags.c_contiguous:
        a[0, 0].dot(b[0, 0], out=out[0, 0].reshape(a.shape[2], b.shape[3]))
    else:
        out[...] = np.matmul(a, b).reshape(out.shape)
