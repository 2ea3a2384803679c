"""Max pooling that notes who won: one byte a window, and backward needs no more. No pixel is in two windows.

The winner is the first maximum in row-major order: of the maxima of the window's rows the first, and in that row the
first. Every other pixel is copied before anything is computed: a copy of such a view and a function of contiguous arrays
take NumPy less time than the function of the view.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from network.layers._arguments import Array, quiet
from network.layers._pool2d.axes import Plan
from network.layers._pool2d.stages import blocks, images_of

__all__ = ["gradient", "maximum"]


@quiet
def maximum(plan: Plan, x: Array) -> tuple[Array, Array | None]:
    """Return the maximum of every window, and the number of its winner; None if there is a NaN."""
    y = np.empty(plan.y_shape, x.dtype)
    images, maxima = images_of(x), images_of(y)
    winners = np.empty(maxima.shape, np.uint8)
    memory = _memory(plan, 0, x.dtype)
    for block in blocks(images):
        if len(memory.best) != len(maxima[block]):
            memory = _memory(plan, len(maxima[block]), x.dtype)
        maxima[block], winners[block] = _contest(plan, images[block], memory)
    return y, None if math.isnan(y.reshape(-1).dot(y.reshape(-1))) else winners


def gradient(plan: Plan, dy: Array, winners: Array) -> Array:
    """Return dx: each dy goes to the cell that won its window."""
    dx = np.zeros(plan.x_shape, dy.dtype)
    images, upstream = images_of(dx), images_of(dy)
    (rows, columns), size = ([cell[1] for cell in axis.cells] for axis in (plan.rows, plan.columns)), images[:1].size
    pixels = np.arange(size).reshape(images.shape[1:])
    starts = pixels[rows[0]][columns[0]].reshape(-1)
    offsets = np.array([pixels[row][column].flat[0] for row in rows for column in columns]) - starts[0]
    for block in blocks(images):
        places = offsets.take(winners[block]).reshape(-1, starts.size)
        places += starts
        places += np.arange(0, len(places) * size, size)[:, np.newaxis]
        images[block].reshape(-1)[places.reshape(-1)] = upstream[block].reshape(-1)
    return dx


class Memory(NamedTuple):
    """For a block of images (N, H, W): the cells of the windows along W, and for every row the best of it and those below.

    Attributes
    ----------
    cells, best : Array
        Shapes (KW, N, H, OW) and (N, H, OW).
    numbers, winners, wins : Array
        Bytes (N, H, OW): which cell of the row is the first with its maximum, which one of the window, and to work with.
    """

    cells: Array
    best: Array
    numbers: Array
    winners: Array
    wins: Array


def _memory(plan: Plan, images: int, dtype: np.dtype[Any]) -> Memory:
    shape = images, plan.x_shape[-2], plan.columns.output
    numbers, winners, wins = (np.empty(shape, np.uint8) for _ in range(3))
    return Memory(np.empty((len(plan.columns.cells), *shape), dtype), np.empty(shape, dtype), numbers, winners, wins)


def _contest(plan: Plan, x: Array, memory: Memory) -> tuple[Array, Array]:
    """Return the maximum of every window, and the number of the cell that has it first.

    Rows are compared as one run of all of them, whether or not a window begins there: that is quicker than picking some.
    """
    cells, best, numbers, winners, wins = memory
    for cell, (_, inputs) in zip(cells, plan.columns.cells, strict=True):
        cell[...] = x[inputs]
    numbers.fill(0)
    for column in range(1, len(cells)):
        _compete(cells[0], numbers, cells[column], np.uint8(column), cells[0], numbers, wins)
    maxima, first_numbers = cells[0].reshape(-1), numbers.reshape(-1)
    leader, leading, count = maxima, first_numbers, len(plan.rows.cells)
    for row in range(1, count):
        start, length = row * best.shape[-1], maxima.size - row * best.shape[-1]
        number = first_numbers[start:] + np.uint8(row * len(cells))
        to, to_winners, work = (array.reshape(-1)[:length] for array in (best, winners, wins))
        _compete(leader[:length], leading[:length], maxima[start:], number, to, to_winners, work)
        leader, leading = best.reshape(-1), winners.reshape(-1)
    first = plan.rows.cells[0][1]
    return leader.reshape(best.shape)[first], leading.reshape(best.shape)[first]


def _compete(best: Array, winners: Array, cell: Array, number: Any, to: Array, to_winners: Array, wins: Array) -> None:
    """Write the maximum of the best and a cell, and the cell's number, greater than all before it, where it is greater."""
    np.greater(cell, best, out=wins.view(bool))
    np.maximum(best, cell, out=to)
    np.multiply(wins, number, out=wins)
    np.maximum(winners, wins, out=to_winners)
