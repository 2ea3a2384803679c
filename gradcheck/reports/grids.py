"""Where the elements of an array lie on a flat picture: a matrix as it is, kernels side by side, vectors in rows."""

from __future__ import annotations

import math

import numpy as np

from gradcheck.aliases import Indices

__all__ = ["blocks_of", "grid_of"]

GAP = -1
"""A place without an element."""

ROW = 32
"""Elements of a vector in one row of the picture: what a phone shows at ten pixels each."""


def grid_of(shape: tuple[int, ...]) -> Indices:
    """Return the flat index of the element at each place of the picture, or -1; shape (rows, columns).

    A vector is wrapped into rows. Of arrays with more than two axes the last two are tiles, one apart: those of the
    third axis from the end side by side, those of the axes before it below each other.
    """
    size = math.prod(shape)
    if len(shape) < 2:
        rows = max(1, math.ceil(size / ROW))
        flat = np.full(rows * (ROW if rows > 1 else size), GAP, dtype=np.intp)
        flat[:size] = np.arange(size)
        return flat.reshape(rows, -1)
    height, width = shape[-2:]
    if len(shape) == 2 or not size:
        return np.arange(size).reshape(height, width)
    down, across = math.prod(shape[:-3]), shape[-3]
    tiles = np.full((down, across, height + 1, width + 1), GAP, dtype=np.intp)
    tiles[:, :, :height, :width] = np.arange(size).reshape(down, across, height, width)
    joined = tiles.transpose(0, 2, 1, 3).reshape(down * (height + 1), across * (width + 1))
    return np.ascontiguousarray(joined[:-1, :-1])


def blocks_of(grid: Indices, most: int) -> list[list[Indices]]:
    """Part a picture into at most about ``most`` cells; each holds the flat indices of its elements.

    Returns
    -------
    cells : list of rows
        Each cell a vector of flat indices, empty where the picture has a gap.
    """
    rows, columns = grid.shape
    if not grid.size:
        return []
    side = max(1, math.ceil(math.sqrt(rows * columns / most)))
    # A long thin picture is cut along its length only.
    high, wide = min(side, rows), min(side, columns)
    while math.ceil(rows / high) * math.ceil(columns / wide) > most:
        high, wide = (high + 1, wide) if math.ceil(rows / high) >= math.ceil(columns / wide) else (high, wide + 1)
    cells = []
    for top in range(0, rows, high):
        strip = grid[top : top + high]
        row = [strip[:, left : left + wide].ravel() for left in range(0, columns, wide)]
        cells.append([cell[cell >= 0] for cell in row])
    return cells
