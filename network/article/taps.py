"""Tables of indices: which pixel each tap of a kernel, or of a pool, sees.

Maps are flat and *tap-major*: first the upper left pixel of every 2x2 window, then the upper right ones, and so on, so
that pooling is a maximum over four rows. What lies outside a map is its entry after the last pixel: who looks things up
keeps a zero there.
"""

from __future__ import annotations

import numpy as np

from network.article.variants import transform
from network.layers._arguments import Array

__all__ = ["KERNEL", "TAPS", "columns_table", "moves_table", "spread_table"]

KERNEL, TAPS = 9, 4
"""Taps of a 3x3 kernel and of a 2x2 pool."""


def tap_major(size: int) -> Array:
    """Return the row-major pixel at each tap-major position."""
    half = size // 2
    return np.arange(size * size).reshape(half, 2, half, 2).transpose(1, 3, 0, 2).ravel()


def columns_table(size: int) -> Array:
    """Return for each tap of a flipped kernel and each position the pixel it sees, shape (9, size**2)."""
    return _seen(size, 1)[:, tap_major(size)]


def spread_table(size: int, maps: int, groups: int) -> Array:
    """Return for each group, (map, tap) and pixel where in the tap-major maps its gradient comes from."""
    places = np.append(np.argsort(tap_major(size)), maps * size * size)
    table = places[_seen(size, -1)]
    outside = table == places[-1]
    tables = np.stack([np.where(outside, places[-1], table + o * size * size) for o in range(maps)])
    return tables.reshape(groups, -1, size * size)


def _seen(size: int, sign: int) -> Array:
    """Return the pixel at (i + sign (1 - u), j + sign (1 - v)), or size**2 outside, shape (9, size**2)."""
    u, v, i, j = np.ogrid[:3, :3, :size, :size]
    rows, columns = i + sign * (1 - u), j + sign * (1 - v)
    inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    return np.where(inside, rows * size + columns, size * size).reshape(KERNEL, size * size)


def moves_table(names: list[str], size: int, *, is_tap_major: bool) -> Array | None:
    """Return the table that keeps, transposes or rotates the map of each channel, None where all are kept."""
    if all(name == "keep" for name in names):
        return None
    order = tap_major(size) if is_tap_major else np.arange(size * size)
    place = np.argsort(order)
    pixels = np.arange(size * size).reshape(size, size)
    tables = [place[transform(name, pixels).ravel()[order]] for name in names]
    return np.concatenate([table + channel * size * size for channel, table in enumerate(tables)])
