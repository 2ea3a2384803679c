"""The general path: windows are copied into the columns of a matrix, block by block, and multiplied with the kernels.

Shapes are those of `network.layers._conv2d.dispatch`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from network.layers._arguments import Array
from network.layers._conv2d.blocks import Block, blocks, rows_of
from network.layers._conv2d.col2im import input_gradient
from network.layers._conv2d.windows import Windows

__all__ = ["forward", "input_gradient", "kernel_gradient"]


def forward(windows: Windows, x: Array, w: Array, b: Array | None, out: Array) -> None:
    """Write the results of all kernels on all images; b is one more row of the columns, of ones."""
    kernels = _matrices(w, b)
    flat = out.reshape(*out.shape[:3], w.shape[2], out.shape[-2] * out.shape[-1]) if out.flags.c_contiguous else None
    for block, columns in _columns(windows, x, w.dtype, w.shape[2], has_ones=b is not None):
        if flat is not None:
            np.matmul(kernels[block.batch], columns, out=flat[block.of_flat(windows)])
        else:
            target = out[block.of_y]
            target[...] = np.matmul(kernels[block.batch], columns).reshape(target.shape)


def kernel_gradient(windows: Windows, dy: Array, x: Array) -> Array:
    """Return the gradient of the kernels."""
    batches, _, groups, channels = x.shape[:4]
    outputs = dy.shape[3] * dy.shape[4]
    cells = channels * windows.kernel[0] * windows.kernel[1]
    dw = np.zeros((batches, groups, outputs, cells), dy.dtype)
    for block, columns in _columns(windows, x, dy.dtype, outputs):
        product = np.matmul(rows_of(dy, block, windows.output[1]), columns.mT)
        dw[block.batch] += product[:, 0] if product.shape[1] == 1 else np.add.reduce(product, axis=1)
    return dw.reshape(batches, groups, outputs, channels, *windows.kernel)


def _columns(
    windows: Windows, x: Array, dtype: np.dtype[Any], outputs: int, *, has_ones: bool = False
) -> Iterator[tuple[Block, Array]]:
    """Yield block after block, and every window of it as a column, (B, N, G, C * KH * KW, rows * OW).

    Below them a row of ones where asked for. Blocks of one size are written into the same memory.
    """
    cells = x.shape[3] * windows.kernel[0] * windows.kernel[1]
    nbytes = x.shape[2] * (cells + has_ones + outputs) * dtype.itemsize
    placed = inside = view = columns = target = np.empty(0, dtype)
    last: tuple[Any, ...] = ()
    for block in blocks(windows, x.shape[:2], nbytes):
        images = x[block.batch, block.samples]
        if last != (images.shape, block.rows):
            if last[:1] != (images.shape,):
                placed = np.zeros((*images.shape[:-2], *windows.placed), dtype)
                inside = windows.inside(placed)
            view, last = windows.view(placed, block.rows), (images.shape, block.rows)
            shape = (*view.shape[:3], cells + has_ones, view.shape[6] * view.shape[7])
            if columns.shape != shape:
                columns = np.empty(shape, dtype)
                columns[..., cells:, :] = 1
                target = columns[..., :cells, :].reshape(view.shape)
        if block.rows.start == 0:
            inside[...] = images
        target[...] = view
        yield block, columns


def _matrices(w: Array, b: Array | None = None) -> Array:
    """Return the kernels as matrices (B, 1, G, O, C * KH * KW), with b as one more column."""
    batches, groups, outputs, *cells = w.shape
    matrices = w.reshape(batches, 1, groups, outputs, cells[0] * cells[1] * cells[2])
    if b is None:
        return matrices
    column = np.broadcast_to(b[..., np.newaxis], (*matrices.shape[:-1], 1))
    return np.concatenate((matrices, column), axis=-1)
