"""Little work: one matrix product, its columns looked up in a table of indices.

For a few small images the calls cost more than the arithmetic. The images, a zero (what lies outside) and a one (what
b is multiplied with) are put into one vector, and a table says which entry each cell of each window is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from network.layers._arguments import Array
from network.layers._conv2d.plan import Plan

__all__ = ["backward", "forward"]


def forward(plan: Plan, x: Array, w: Array, b: Array | None, dtype: np.dtype[Any]) -> Array:
    """Return y (N, O, OH, OW) of x (N, C, H, W), w (O, C, KH, KW) and b (O,)."""
    columns = _columns(plan, x, dtype)
    matrix = w.reshape(w.shape[0], -1)
    matrix, columns = (
        (matrix, columns[:-1]) if b is None else (np.concatenate((matrix, b.reshape(-1, 1)), axis=1), columns)
    )
    y: Array = matrix.dot(columns)
    samples, outputs, *windows = plan.product_shape
    if samples == 1:
        return y.reshape(plan.product_shape)
    return np.ascontiguousarray(y.reshape(outputs, samples, *windows).swapaxes(0, 1))


def backward(
    plan: Plan, dy: Array, x: Array, w: Array, dtype: np.dtype[Any], *, needs_dx: bool
) -> tuple[Array | None, Array, Array]:
    """Return dx (None unless needed), dw and db for dy (N, O, OH, OW)."""
    columns = _columns(plan, x, dtype)
    upstream = (dy if len(dy) == 1 else dy.swapaxes(0, 1)).reshape(w.shape[0], columns.shape[1])
    upstream = upstream.astype(dtype, copy=False)
    gradients = upstream.dot(columns.T)
    dw, db = gradients[:, :-1].reshape(w.shape), gradients[:, -1].copy()
    if not needs_dx:
        return None, dw, db
    terms = np.empty(columns.size - columns.shape[1] + 1, dtype)
    terms[-1] = 0
    matrix = w.reshape(w.shape[0], -1).astype(dtype, copy=False)
    np.dot(matrix.T, upstream, out=terms[:-1].reshape(-1, columns.shape[1]))
    sources = _sources(plan)
    return np.ones(len(sources), dtype).dot(terms.take(sources)).reshape(x.shape), dw, db


def _columns(plan: Plan, x: Array, dtype: np.dtype[Any]) -> Array:
    """Return the windows as columns (C * KH * KW, N * OH * OW), and below them a row of ones."""
    seen = np.empty(x.size + 2, dtype)
    seen[:-2] = x.reshape(-1)
    seen[-2:] = 0, 1
    return seen.take(_table(plan))


@lru_cache(maxsize=32)
def _table(plan: Plan) -> Array:
    """Return for each cell of each window its place in x, a zero and a one, shape (C * KH * KW + 1, N * OH * OW)."""
    _, samples, _, channels, *image = plan.images_shape
    size = samples * channels * image[0] * image[1]
    pixels = np.arange(1, size + 1).reshape(samples, channels, *image)
    placed = plan.windows.place(pixels, pixels.dtype)  # where zeros are around it, so 1 is the first pixel
    cells = plan.windows.view(placed).transpose(1, 2, 3, 0, 4, 5)
    inside = cells.reshape(cells.shape[0] * cells.shape[1] * cells.shape[2], -1) - 1
    table = np.full((len(inside) + 1, inside.shape[1]), size + 1)
    table[:-1] = np.where(inside < 0, size, inside)
    return table


@lru_cache(maxsize=32)
def _sources(plan: Plan) -> Array:
    """Return for each cell of a kernel and each pixel the window that sees it there, shape (KH * KW, x.size).

    As a place among the terms (C * KH * KW, N * OH * OW) and a zero after them, where there is no such window.
    """
    table = _table(plan)[:-1]
    channels = plan.images_shape[3]
    cells = len(table) // channels
    sources = np.full((cells, np.prod(plan.images_shape, dtype=int) + 1), table.size)
    place = np.arange(table.size).reshape(channels, cells, -1)
    for cell, pixels in enumerate(table.reshape(channels, cells, -1).swapaxes(0, 1)):
        sources[cell, pixels] = place[:, cell]
    sources[:, -1] = table.size
    return np.ascontiguousarray(sources[:, :-1])
