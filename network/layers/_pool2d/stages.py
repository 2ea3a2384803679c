"""Max pooling in two stages, for every geometry: of the rows of a window, then of its columns; its gradient the other way.

The winner of a window is the first maximum in row-major order: of the maxima of its rows the first, and in that row
the first. Backward therefore finds the maxima of the rows anew.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from network.layers._arguments import Array
from network.layers._pool2d.axes import Axis, Cell, Plan

__all__ = ["blocks", "gradient", "images_of", "maximum"]

BLOCK_BYTES = 600_000
"""Bytes of images that are worked on at a time, so that maxima, winners and remainders stay in the cache."""


def maximum(plan: Plan, x: Array) -> Array:
    """Return the maximum of every window: first over its rows, which lie together in memory."""
    y = np.empty(plan.y_shape, x.dtype)
    images, maxima = images_of(x), images_of(y)
    for block in blocks(images):
        maxima[block] = _maximum(_maximum(images[block], plan.rows), plan.columns)
    return y


def gradient(plan: Plan, dy: Array, x: Array, y: Array, *, has_nan: bool) -> Array:
    """Return dx: each dy is added to the first maximum of its window, or to the last NaN."""
    dx = np.zeros(x.shape, x.dtype)
    images, maxima, upstream, gradients = map(images_of, (x, y, dy, dx))
    for block in blocks(images):
        _add_to_winners(plan, upstream[block], images[block], maxima[block], gradients[block], has_nan=has_nan)
    return dx


def images_of(array: Array) -> Array:
    """View images (..., H, W) as (N, H, W)."""
    return array.reshape(math.prod(array.shape[:-2]), *array.shape[-2:])


def blocks(images: Array) -> list[slice]:
    """Return which images are worked on at a time: blocks of much the same size, since their memory is used again."""
    most = max(1, BLOCK_BYTES // max(1, images[:1].nbytes))
    each = -(-len(images) // max(1, -(-len(images) // most))) or 1
    return [slice(start, start + each) for start in range(0, len(images), each)]


def _maximum(x: Array, axis: Axis) -> Array:
    """Return the maximum of every window along one axis."""
    cells = axis.cells
    if axis.is_whole:
        return functools.reduce(
            lambda y, cell: np.maximum(y, x[cell[1]].copy(), out=y), cells[1:], x[cells[0][1]].copy()
        )
    shape = list(x.shape)
    shape[axis.axis] = axis.output
    y = np.full(shape, -np.inf, x.dtype)
    for outputs, inputs in cells:
        target = y[outputs]
        np.maximum(target, x[inputs], out=target)
    return y


def _add_to_winners(plan: Plan, dy: Array, x: Array, y: Array, dx: Array, *, has_nan: bool) -> None:
    """Add each dy to the cell that wins its window; dx is zero before."""
    row_maxima = _maximum(x, plan.columns)
    row_gradients = np.zeros(row_maxima.shape, dx.dtype)
    _add_along(plan.rows, dy, row_maxima, y, row_gradients, has_nan=has_nan)
    _add_along(plan.columns, row_gradients, x, row_maxima, dx, has_nan=has_nan)


def _add_along(axis: Axis, dy: Array, x: Array, y: Array, dx: Array, *, has_nan: bool) -> None:
    """Add each dy to the cell of x that wins its window along one axis, multiplied as bits by 0 or 1.

    Of floats that would make NaN of an infinite dy, and a masked copy takes several times as long.
    """
    remaining = dy.view(np.dtype(f"i{dy.dtype.itemsize}")).copy()
    for cells, wins in _contests(axis, has_nan=has_nan):
        for outputs, inputs in cells:
            left = remaining[outputs]
            given = np.multiply(left, wins(x[inputs], y[outputs]))
            np.subtract(left, given, out=left)
            target = dx[inputs]
            np.add(target, given.view(dy.dtype), out=target)
    if axis.is_whole and not has_nan:
        target = dx[axis.cells[-1][1]]
        np.add(target, remaining.view(dy.dtype), out=target)


def _contests(axis: Axis, *, has_nan: bool) -> list[tuple[tuple[Cell, ...], Callable[[Array, Array], Array]]]:
    """Return in which order cells are asked whether they win, and how: the first maximum does, or the last NaN."""
    if has_nan:
        return [(axis.cells, np.equal), (axis.cells[::-1], lambda x, _: np.isnan(x))]
    return [(axis.cells[:-1] if axis.is_whole else axis.cells, np.equal)]  # the last takes what is left
