"""Little work: windows looked up in a table of indices, since calls cost more than the arithmetic.

For windows that lie inside the image, no pixel in two of them, and images without NaN.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from network.layers._arguments import Array
from network.layers._pool2d.axes import Plan

__all__ = ["gradient", "maximum"]


def maximum(plan: Plan, x: Array) -> Array:
    """Return the maximum of every window."""
    cells, _, _ = _tables(plan)
    y: Array = np.maximum.reduce(x.take(cells), axis=0)
    return y.reshape(plan.y_shape)


def gradient(plan: Plan, dy: Array, x: Array) -> Array:
    """Return dx: each dy goes to the first maximum of its window in row-major order."""
    _, windows, starts = _tables(plan)
    winners = x.take(windows).argmax(axis=1)
    winners += starts
    dx = np.zeros(plan.x_shape, x.dtype)
    dx.reshape(-1)[windows.take(winners)] = dy.reshape(-1)
    return dx


@lru_cache(maxsize=64)
def _tables(plan: Plan) -> tuple[Array, Array, Array]:
    """Return the places in x of all cells (KH * KW, windows), the same by windows, and where each window starts there."""
    places = np.arange(np.prod(plan.x_shape, dtype=int)).reshape(plan.x_shape)
    cells = [places[row][column].reshape(-1) for _, row in plan.rows.cells for _, column in plan.columns.cells]
    windows = np.stack(cells, axis=1)
    return np.array(cells), windows, np.arange(0, windows.size, len(cells))
