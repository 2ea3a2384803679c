"""The general path: windows are copied into the columns of a matrix, block by block, and multiplied with the kernels.

Shapes are those of `network.layers._conv2d.dispatch`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from network.layers._arguments import Array
from network.layers._conv2d.windows import Windows

__all__ = ["forward", "input_gradient", "kernel_gradient"]

BLOCK_BYTES = 1_600_000
"""Columns and products of one block: small enough for the caches, large enough that its calls do not show."""

MIN_COLUMNS = 64
"""Of a block, however large: narrower products waste the processor."""


def forward(windows: Windows, x: Array, w: Array, b: Array | None, out: Array) -> None:
    """Write the results of all kernels on all images; b is one more row of the columns, of ones."""
    kernels = _matrices(w, b)
    flat = out.reshape(*out.shape[:3], w.shape[2], out.shape[-2] * out.shape[-1]) if out.flags.c_contiguous else None
    for block, placed in _placed_blocks(windows, x, kernels):
        columns = _columns(windows, placed, block.rows, has_ones=b is not None)
        if flat is not None:
            np.matmul(kernels[block.batch], columns, out=flat[block.of_flat(windows)])
        else:
            target = out[block.of_y]
            target[...] = np.matmul(kernels[block.batch], columns).reshape(target.shape)


def input_gradient(windows: Windows, dy: Array, w: Array, out: Array) -> None:
    """Write the gradient of the images.

    With few outputs the flipped kernels are convolved with dy; with few channels the columns of dx are computed and
    added to the windows that they belong to, which every geometry allows.
    """
    outputs, channels = w.shape[2:4]
    flipped = windows.flipped()
    is_finite = bool(np.isfinite(w).all())  # else a weight that meets zeros only must not make NaN of them
    if flipped is not None and is_finite and outputs <= 2 * channels:
        forward(flipped, dy.reshape(*dy.shape[:3], outputs, *windows.output), flip(w), None, out[:, :, :, np.newaxis])
        return
    kernels = _matrices(w).mT
    wide = windows.widened() if is_finite else windows
    height, width = windows.placed
    for batch, sample, rows_each in _samples(windows, out, kernels):
        placed = np.zeros((*out[batch, sample].shape[:-2], height + 1, width), out.dtype)
        for rows in _slices(windows.output[0], rows_each):
            columns = np.matmul(kernels[batch], _rows_of(dy, Block(batch, sample, rows), wide.output[1]))
            shape = (*placed.shape[:-2], *windows.kernel, rows.stop - rows.start, wide.output[1])
            wide.add(columns.reshape(shape), rows, placed)
        out[batch, sample] = windows.inside(placed)


def kernel_gradient(windows: Windows, dy: Array, x: Array) -> Array:
    """Return the gradient of the kernels."""
    batches, _, groups, channels = x.shape[:4]
    outputs = dy.shape[3] * dy.shape[4]
    cells = channels * windows.kernel[0] * windows.kernel[1]
    dw = np.zeros((batches, groups, outputs, cells), dy.dtype)
    for block, placed in _placed_blocks(windows, x.astype(dy.dtype, copy=False), dw[:, np.newaxis]):
        columns = _columns(windows, placed, block.rows)
        product = np.matmul(_rows_of(dy, block, windows.output[1]), columns.mT)
        dw[block.batch] += product[:, 0] if product.shape[1] == 1 else np.add.reduce(product, axis=1)
    return dw.reshape(batches, groups, outputs, channels, *windows.kernel)


def flip(w: Array) -> Array:
    """Return the kernels (B, G, C, O, KH, KW) that compute dx from dy."""
    return np.ascontiguousarray(w.swapaxes(2, 3)[..., ::-1, ::-1])


class Block(NamedTuple):
    """Which batches, samples and rows of windows are worked on at a time."""

    batch: slice
    samples: slice
    rows: slice

    @property
    def of_y(self) -> tuple[slice, ...]:
        """Index into results and their gradients (B, N, G, P, O, OH, OW)."""
        every = slice(None)
        return self.batch, self.samples, every, every, every, self.rows

    def of_flat(self, windows: Windows) -> tuple[slice, ...]:
        """Index into results (B, N, G, P * O, OH * OW)."""
        every, width = slice(None), windows.output[1]
        return self.batch, self.samples, every, every, slice(self.rows.start * width, self.rows.stop * width)


def _placed_blocks(windows: Windows, x: Array, kernels: Array) -> Iterator[tuple[Block, Array]]:
    """Yield block after block, and its images with their zeros around them."""
    for batch, sample, rows_each in _samples(windows, x, kernels):
        placed = windows.place(x[batch, sample], kernels.dtype)
        for rows in _slices(windows.output[0], rows_each):
            yield Block(batch, sample, rows), placed


def _samples(windows: Windows, x: Array, kernels: Array) -> Iterator[tuple[slice, slice, int]]:
    """Yield batches and samples of a block, and its number of rows of windows."""
    batches, samples, groups = x.shape[:3]
    height, width = windows.output[0], max(1, windows.output[1])
    of_sample = max(1, height * width)
    numbers = groups * sum(kernels.shape[-2:])
    columns = max(MIN_COLUMNS, BLOCK_BYTES // max(1, numbers * kernels.itemsize))
    for batch in _slices(batches, max(1, columns // (of_sample * max(1, samples)))):
        for sample in _slices(samples, max(1, columns // of_sample)):
            yield batch, sample, min(max(1, height), max(1, columns // width))


def _slices(length: int, each: int) -> list[slice]:
    return [slice(start, min(start + each, length)) for start in range(0, length, each)]


def _columns(windows: Windows, placed: Array, rows: slice, *, has_ones: bool = False) -> Array:
    """Copy every window of these rows into a column, (B, N, G, C * KH * KW, rows * OW); below them a row of ones."""
    view = windows.view(placed, rows)
    cells, width = view.shape[3] * view.shape[4] * view.shape[5], view.shape[6] * view.shape[7]
    columns = np.empty((*view.shape[:3], cells + has_ones, width), placed.dtype)
    columns[..., :cells, :].reshape(view.shape)[...] = view
    if has_ones:
        columns[..., cells, :] = 1
    return columns


def _rows_of(dy: Array, block: Block, width: int) -> Array:
    """Return a block of dy, (B, N, G, P, O, OH, OW), as matrices (B, N, G, P * O, rows * width), zero beyond OW."""
    part = dy[block.of_y]
    if width != part.shape[-1]:
        part = np.zeros((*part.shape[:-1], width), dy.dtype)
        part[..., : dy.shape[-1]] = dy[block.of_y]
    batches, samples, groups, kernels, outputs, rows, _ = part.shape
    return part.reshape(batches, samples, groups, kernels * outputs, rows * width)


def _matrices(w: Array, b: Array | None = None) -> Array:
    """Return the kernels as matrices (B, 1, G, O, C * KH * KW), with b as one more column."""
    batches, groups, outputs, *cells = w.shape
    matrices = w.reshape(batches, 1, groups, outputs, cells[0] * cells[1] * cells[2])
    if b is None:
        return matrices
    column = np.broadcast_to(b[..., np.newaxis], (*matrices.shape[:-1], 1))
    return np.concatenate((matrices, column), axis=-1)
