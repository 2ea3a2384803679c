"""Windows are copied into the columns of a matrix, block by block, and multiplied with kernels or with dy.

Shapes are those of `network.layers._conv2d.dispatch`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from network.layers._arguments import Array, Shape
from network.layers._conv2d.blocks import Block, blocks, rows_of
from network.layers._conv2d.windows import Windows

__all__ = ["correlate", "correlate_gradient"]


def correlate(windows: Windows, x: Array, w: Array, b: Array | None, out: Array) -> None:
    """Write the products of the kernels with the columns of x; b is one more row of these, of ones."""
    kernels = _matrices(w, b)
    flat = out.reshape(*out.shape[:3], w.shape[2], out.shape[-2] * out.shape[-1]) if out.flags.c_contiguous else None
    for block, columns in _columns(windows, x, w.dtype, w.shape[2], has_ones=b is not None):
        if flat is not None:
            np.matmul(kernels[block.batch], columns, out=flat[block.of_flat(windows)])
        else:
            target = out[block.of_y]
            target[...] = np.matmul(kernels[block.batch], columns).reshape(target.shape)


def correlate_gradient(windows: Windows, dy: Array, x: Array) -> tuple[Array, Array]:
    """Return the products of dy with the columns of x, and with one more row of these, of ones."""
    batches, _, groups, channels = x.shape[:4]
    outputs = dy.shape[3] * dy.shape[4]
    cells = channels * windows.kernel[0] * windows.kernel[1]
    dw = np.zeros((batches, groups, outputs, cells + 1), dy.dtype)
    for block, columns in _columns(windows, x, dy.dtype, outputs, has_ones=True):
        product = np.matmul(rows_of(dy, block, windows.output[1]), columns.mT)
        dw[block.batch] += product[:, 0] if product.shape[1] == 1 else np.add.reduce(product, axis=1)
    return dw[..., :-1].reshape(batches, groups, outputs, channels, *windows.kernel), dw[..., -1]


class Memory(NamedTuple):
    """Where the columns of a block are made.

    Attributes
    ----------
    rows : slice
        Of the images, those that the block sees.
    inside, source : Array
        Where these are written between zeros, and the view of every window there.
    target, edges : Array, list of Array
        Where that is copied to, and the parts of it that become zero afterwards.
    columns : Array
    """

    rows: slice
    inside: Array
    source: Array
    target: Array
    edges: list[Array]
    columns: Array


def _columns(
    windows: Windows, x: Array, dtype: np.dtype[Any], outputs: int, *, has_ones: bool = False
) -> Iterator[tuple[Block, Array]]:
    """Yield block after block, and every window of it as a column, (B, N, G, C * KH * KW, rows * OW).

    Below them a row of ones where asked for. Blocks of one size are written into the same memory.
    """
    cells = x.shape[3] * windows.kernel[0] * windows.kernel[1]
    of_size: dict[Any, Memory] = {}
    for block in blocks(windows, x.shape[:2], x.shape[2] * (cells + has_ones + outputs) * dtype.itemsize):
        images = x[block.batch, block.samples]
        size = images.shape[0], images.shape[1], block.rows.start, block.rows.stop
        if (memory := of_size.get(size)) is None:
            memory = _memory(windows, images.shape, block.rows, dtype, has_ones=has_ones)
            of_size = {size: memory}
        memory.inside[...] = images[..., memory.rows, :]
        memory.target[...] = memory.source
        for edge in memory.edges:
            edge[...] = 0
        yield block, memory.columns


def _memory(windows: Windows, shape: Shape, rows: slice, dtype: np.dtype[Any], *, has_ones: bool) -> Memory:
    """Return where columns of images (B, N, G, C, H, W) are made.

    Where windows are as many as pixels of a row, those that one cell of the kernel sees are one run of pixels, but for the
    edges, where it meets the neighbouring rows instead of zeros; runs are copied several times as quickly as rows.
    """
    *images, cells, height, width = *shape[:3], shape[3] * windows.kernel[0] * windows.kernel[1], *windows.image
    (above, left), count = windows.padding, rows.stop - rows.start
    seen = (count - 1) * windows.stride[0] + (windows.kernel[0] - 1) * windows.dilation[0] + 1
    start = rows.start * windows.stride[0] - above
    first = min(max(0, start), height)
    last = max(first, min(height, start + seen))
    columns = np.empty((*images, cells + has_ones, count * windows.output[1]), dtype)
    columns[..., cells:, :] = 1
    target = columns[..., :cells, :].reshape(*shape[:4], *windows.kernel, count, windows.output[1])
    edges: list[Array] = []
    if windows.stride == (1, 1) and windows.output[1] == width:
        pixels = np.zeros(math.prod(shape[:4]) * seen * width + 2 * left, dtype)
        placed = pixels[left : pixels.size - left].reshape(*shape[:4], seen, width)
        inside = placed[..., first - start : last - start, :]
        *before, to_row, to_column = placed.strides
        to_cells = to_row * windows.dilation[0], to_column * windows.dilation[1], to_column
        source = np.ndarray((*target.shape[:6], count * width), dtype, pixels, 0, (*before, *to_cells))
        for cell in range(windows.kernel[1]):
            shift = cell * windows.dilation[1] - left
            if shift:
                edges.append(target[..., cell, :, slice(-shift) if shift < 0 else slice(max(0, width - shift), None)])
        target = target.reshape(source.shape)
    else:
        placed = np.zeros((*shape[:4], seen, width + 2 * left), dtype)
        inside = placed[..., first - start : last - start, left : left + width]
        source = windows.view(placed)
    return Memory(slice(first, last), inside, source, target, edges, columns)


def _matrices(w: Array, b: Array | None = None) -> Array:
    """Return the kernels as matrices (B, 1, G, O, C * KH * KW), with b as one more column."""
    batches, groups, outputs, *cells = w.shape
    matrices = w.reshape(batches, 1, groups, outputs, cells[0] * cells[1] * cells[2])
    if b is None:
        return matrices
    column = np.broadcast_to(b[..., np.newaxis], (*matrices.shape[:-1], 1))
    return np.concatenate((matrices, column), axis=-1)
