"""Many channels: Winograd's F(4, 3) along the rows of an image, for kernels of width 3.

Four neighbouring results of a row depend on six pixels (a tile) and three cells of a kernel. Instead of 4 * 3 products
of pixel and cell it takes 6, of linear combinations of pixels with linear combinations of cells:
``y = RESULTS ((KERNEL w) * (PIXELS x))`` for one row of one channel. Over channels and the kernel's rows the six products are
sums, hence matrix products of half as many multiplications as the formula has. The gradient of the kernels is the
transpose, ``dw = KERNEL.T ((RESULTS.T dy) * (PIXELS x))``; that of the images is a convolution of dy.

Source: A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", 2016 (the matrices, there for points 0, 1,
-1, 2, -2). Rounding is amplified some five times: the largest error, relative to the largest result, is 2e-6 to 3e-6
in float32 and 4e-15 to 6e-15 in float64 for 32 to 64 channels, where sums of products have 4e-7 to 8e-7 and 1e-15.

Shapes are those of `network.layers._conv2d.dispatch`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from network.layers._arguments import Array
from network.layers._conv2d.windows import Windows, flip

__all__ = ["forward", "input_gradient", "kernel_gradient"]

STEP, TILE = 4, 6
"""Results of a tile, and its pixels."""

TILES = 32
"""Tiles of a block, along the rows: the width of its matrix products."""

BLOCK_BYTES = 2_000_000
"""Bytes of a block's transformed pixels and products, measured; less makes the products too small."""

PIXELS = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=float,
)
KERNEL = (
    np.array(
        [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]],
        dtype=float,
    )
    / 24
)
RESULTS = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=float,
)


def forward(windows: Windows, x: Array, w: Array, b: Array | None, out: Array) -> None:
    """Write the results of all kernels on all images."""
    for batch, group in np.ndindex(*w.shape[:2]):
        bias = None if b is None else b[group]
        _correlate(windows, x[batch, :, group], w[batch, group], bias, out[batch, :, group])


def input_gradient(windows: Windows, dy: Array, w: Array, out: Array) -> None:
    """Write the gradient of the images."""
    flipped = windows.flipped()
    if flipped is None:
        raise ValueError("no convolution of dy gives the gradient; stride must be 1, and padding below the kernel.")
    images = dy.reshape(*dy.shape[:3], w.shape[2], *windows.output)
    forward(flipped, images, flip(w), None, out[:, :, :, np.newaxis])


def kernel_gradient(windows: Windows, dy: Array, x: Array) -> tuple[Array, None]:
    """Return the gradient of the kernels."""
    batches, _, groups, channels = x.shape[:4]
    outputs = dy.shape[3] * dy.shape[4]
    dw = np.empty((batches, groups, outputs, channels, *windows.kernel), dy.dtype)
    images = dy.reshape(*dy.shape[:3], outputs, *windows.output)
    for batch, group in np.ndindex(batches, groups):
        dw[batch, group] = _correlate_gradient(windows, images[batch, :, group], x[batch, :, group])
    return dw, None


def _correlate(windows: Windows, x: Array, w: Array, b: Array | None, out: Array) -> None:
    """Write (N, P, O, OH, OW) for images (N, C, H, W) and kernels (P * O, C, KH, 3)."""
    dtype = w.dtype
    outputs, channels, height, _ = w.shape
    kernels = (w @ KERNEL.T.astype(dtype)).transpose(3, 0, 2, 1).reshape(TILE, 1, outputs, height * channels)
    pixels, results = PIXELS.astype(dtype), RESULTS.astype(dtype)
    for samples, rows in _blocks(windows, x, outputs):
        tiles = _tiles(windows, x[samples], rows, dtype).transpose(0, 3, 2, 1, 4)
        transformed = (pixels @ tiles.reshape(TILE, -1)).reshape(TILE, *tiles.shape[1:3], -1)
        products = np.matmul(kernels, _rows_below(transformed, height))
        y = results @ products.reshape(TILE, -1)
        count, width = rows.stop - rows.start, tiles.shape[-1]
        y = y.reshape(STEP, count, *out.shape[1:3], -1, width).transpose(0, 4, 2, 3, 1, 5)
        if b is not None:
            np.add(y, b.reshape(*out.shape[1:3], 1, 1), out=y)
        for step in range(STEP):
            target = out[samples, :, :, rows, step::STEP]
            target[...] = y[step, ..., : target.shape[-1]]


def _correlate_gradient(windows: Windows, dy: Array, x: Array) -> Array:
    """Return (O, C, KH, 3) for dy (N, O, OH, OW) and images (N, C, H, W)."""
    dtype, (outputs, channels), height = dy.dtype, (dy.shape[1], x.shape[1]), windows.kernel[0]
    pixels, results = PIXELS.astype(dtype), RESULTS.T.astype(dtype)
    total = np.zeros((TILE, height, outputs, channels), dtype)
    for samples, rows in _blocks(windows, x, outputs):
        tiles = _tiles(windows, x[samples], rows, dtype).transpose(0, 2, 3, 1, 4)
        count, width = rows.stop - rows.start, tiles.shape[-1] * tiles.shape[-2]
        transformed = (pixels @ tiles.reshape(TILE, -1)).reshape(TILE, channels, -1)
        upstream = _steps(dy[samples, :, rows], tiles.shape[-1]).transpose(0, 2, 3, 1, 4)
        upstream = (results @ upstream.reshape(STEP, -1)).reshape(TILE, outputs, -1)
        for row in range(height):
            below = transformed[:, :, row * width : (row + count) * width]
            total[:, row] += np.matmul(upstream, below.mT)
    return (
        (KERNEL.T.astype(dtype) @ total.reshape(TILE, -1)).reshape(3, height, outputs, channels).transpose(2, 3, 1, 0)
    )


def _blocks(windows: Windows, x: Array, outputs: int) -> Iterator[tuple[slice, slice]]:
    """Yield which samples and rows of results are worked on at a time."""
    samples, channels = x.shape[:2]
    height, width = windows.output
    tiles = -(-width // STEP)
    each = min(samples, max(1, TILES // tiles))
    rows_each = max(1, BLOCK_BYTES // (TILE * tiles * each * (channels + outputs) * x.itemsize) - windows.kernel[0] + 1)
    for start in range(0, samples, each):
        for row in range(0, height, rows_each):
            yield slice(start, min(start + each, samples)), slice(row, min(row + rows_each, height))


def _tiles(windows: Windows, x: Array, rows: slice, dtype: np.dtype[Any]) -> Array:
    """View the pixels of each tile of these rows of results, (6, N, C, rows + KH - 1, tiles)."""
    (above, left), (height, width) = windows.padding, windows.image
    tiles = -(-windows.output[1] // STEP)
    count = rows.stop - rows.start + windows.kernel[0] - 1
    first, last = max(0, rows.start - above), min(height, rows.start - above + count)
    placed = np.zeros((*x.shape[:2], count, (tiles - 1) * STEP + TILE), dtype)
    if first < last:
        start = first + above - rows.start
        placed[:, :, start : start + last - first, left : left + width] = x[:, :, first:last]
    *before, to_column = placed.strides
    shape = (TILE, *placed.shape[:-1], tiles)
    return np.ndarray(shape, dtype, placed, 0, (to_column, *before, STEP * to_column))


def _steps(dy: Array, tiles: int) -> Array:
    """View the gradients of each tile's results, (4, N, O, rows, tiles)."""
    if dy.shape[-1] != tiles * STEP:
        placed = np.zeros((*dy.shape[:-1], tiles * STEP), dy.dtype)
        placed[..., : dy.shape[-1]] = dy
        dy = placed
    return np.moveaxis(dy.reshape(*dy.shape[:-1], tiles, STEP), -1, 0)


def _rows_below(transformed: Array, height: int) -> Array:
    """View (6, rows + KH - 1, C, tiles) as (6, rows, KH * C, tiles): a row, and those below it that its windows see."""
    _, rows, channels, tiles = transformed.shape
    shape = (TILE, rows - height + 1, height * channels, tiles)
    return np.ndarray(shape, transformed.dtype, transformed, 0, transformed.strides)
