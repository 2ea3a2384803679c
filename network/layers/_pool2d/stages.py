"""Max pooling in two stages: of the rows of a window, then of its columns; its gradient the other way round.

The winner of a window is the first maximum in row-major order: of the maxima of its rows the first, and in that row
the first. Backward therefore finds the maxima of the rows anew.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from network.layers._arguments import Array
from network.layers._pool2d.axes import Axis, Cell, Plan

__all__ = ["gradient", "maximum"]

BLOCK_BYTES = 1_000_000
"""Of images that are worked on at a time, so that maxima, masks and remainders stay in the cache."""


def maximum(plan: Plan, x: Array) -> Array:
    """Return the maximum of every window: first over its rows, which lie together in memory."""
    y = np.empty(plan.y_shape, x.dtype)
    images, maxima = (array.reshape(-1, *array.shape[-2:]) for array in (x, y))
    for block in _blocks(images):
        maxima[block] = _maximum(_maximum(images[block], plan.rows), plan.columns)
    return y


def gradient(plan: Plan, dy: Array, x: Array, y: Array, *, has_nan: bool) -> Array:
    """Return dx: each dy goes to the first maximum of its window, or to the last NaN."""
    is_apart = plan.are_apart and not has_nan
    # Nothing has to be zero where every pixel is written.
    dx = (np.empty if is_apart and plan.are_tiled else np.zeros)(x.shape, x.dtype)
    images, maxima, upstream, gradients = (array.reshape(-1, *array.shape[-2:]) for array in (x, y, dy, dx))
    for block in _blocks(images):
        if is_apart:
            _write_to_winners(plan, upstream[block], images[block], maxima[block], gradients[block])
        else:
            _add_to_winners(plan, upstream[block], images[block], maxima[block], gradients[block], has_nan=has_nan)
    return dx


def _blocks(images: Array) -> list[slice]:
    each = max(1, BLOCK_BYTES // max(1, images[:1].nbytes))
    return [slice(start, start + each) for start in range(0, len(images), each)]


def _maximum(x: Array, axis: Axis) -> Array:
    """Return the maximum of every window along one axis."""
    cells = axis.cells
    if axis.is_whole and len(cells) > 1:
        y, cells = np.maximum(x[cells[0][1]], x[cells[1][1]]), cells[2:]
    elif axis.is_whole:
        return x[cells[0][1]].copy()
    else:
        shape = list(x.shape)
        shape[axis.axis] = axis.output
        y = np.full(shape, -np.inf, x.dtype)
    for outputs, inputs in cells:
        target = y[outputs]
        np.maximum(target, x[inputs], out=target)
    return y


# ---- no pixel in two windows: gradients are written ------------------------------------------------------------------


def _write_to_winners(plan: Plan, dy: Array, x: Array, y: Array, dx: Array) -> None:
    """Write each dy to the cell that wins its window."""
    cells = [x[inputs].copy() for _, inputs in plan.columns.cells]  # every other pixel is read once, slowly
    row_maxima = functools.reduce(np.maximum, cells)
    row_gradients = (np.empty if plan.rows.is_tiled else np.zeros)(row_maxima.shape, dx.dtype)
    _write_along(plan.rows, dy, [row_maxima[inputs] for _, inputs in plan.rows.cells], y, row_gradients)
    _write_along(plan.columns, row_gradients, cells, row_maxima, dx)


def _write_along(axis: Axis, dy: Array, cells: list[Array], y: Array, dx: Array) -> None:
    """Write each dy to the first cell along one axis that has the maximum y; the last takes what is left.

    That is multiplied, as bits, by 0 or 1: of floats that would make NaN of an infinite dy, and a masked copy takes
    several times as long.
    """
    bits = np.dtype(f"i{dy.dtype.itemsize}")
    remaining, target = dy.view(bits), dx.view(bits)
    for (_, inputs), cell in zip(axis.cells[:-1], cells, strict=False):
        given = np.multiply(remaining, cell == y)
        target[inputs] = given
        remaining = np.subtract(remaining, given, out=given)
    target[axis.cells[-1][1]] = remaining


# ---- overlapping windows, padding or NaN: gradients are added --------------------------------------------------------


def _add_to_winners(plan: Plan, dy: Array, x: Array, y: Array, dx: Array, *, has_nan: bool) -> None:
    """Add each dy to the cell that wins its window; dx is zero before."""
    row_maxima = _maximum(x, plan.columns)
    row_gradients = np.zeros(row_maxima.shape, dx.dtype)
    _add_along(plan.rows, dy, row_maxima, y, row_gradients, has_nan=has_nan)
    _add_along(plan.columns, row_gradients, x, row_maxima, dx, has_nan=has_nan)


def _add_along(axis: Axis, dy: Array, x: Array, y: Array, dx: Array, *, has_nan: bool) -> None:
    """Add each dy to the cell of x that wins its window along one axis, as bits (see `_write_along`)."""
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
