"""The ways in which an array of a given shape may be laid out wrongly: turned, mirrored, shifted, axes exchanged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Move", "reshapes", "shifts", "symmetries"]

Array = NDArray[Any]

MOST_AXES = 5
"""Largest number of axes all pairs of which are exchanged; of more only the last two are."""


@dataclass(frozen=True)
class Move:
    """One rearrangement: of an array with a leading axis, which it leaves alone."""

    kind: str
    words: str
    apply: Callable[[Array], Array]
    is_partial: bool = False
    """Whether it leaves some places open."""


def _ordinal(axis: int, ndim: int) -> str:
    """Name an axis of an array."""
    return {1: "its last axis", 2: "its last but one axis"}.get(ndim - axis, f"axis {axis}")


def _pair(i: int, j: int, ndim: int) -> str:
    return "its last two axes" if (i, j) == (ndim - 2, ndim - 1) else f"axes {i} and {j}"


def symmetries(shape: tuple[int, ...]) -> list[Move]:
    """Return the moves that keep the shape: rotations, transposes, flips; the common ones first."""
    ndim = len(shape)
    pairs = [(i, j) for j in reversed(range(ndim)) for i in reversed(range(j)) if min(shape[i], shape[j]) > 1]
    pairs = pairs if ndim <= MOST_AXES else pairs[:1]
    moves = []
    for i, j in pairs:
        where = "" if (i, j) == (ndim - 2, ndim - 1) else f" in {_pair(i, j, ndim)}"
        moves.append(Move("rotated", f"rotated by 180 degrees{where}", partial(np.flip, axis=(i + 1, j + 1))))
    for i, j in pairs:
        if shape[i] == shape[j]:
            words = f"transposed in {_pair(i, j, ndim)}"
            moves.append(Move("transposed", words, partial(np.swapaxes, axis1=i + 1, axis2=j + 1)))
    for axis in reversed(range(ndim)):
        if shape[axis] > 1:
            words = "in reverse order" if ndim == 1 else f"flipped along {_ordinal(axis, ndim)}"
            moves.append(Move("flipped", words, partial(np.flip, axis=axis + 1)))
    for i, j in pairs:
        if shape[i] == shape[j]:
            where = "" if (i, j) == (ndim - 2, ndim - 1) else f" in {_pair(i, j, ndim)}"
            for quarter in (1, 3):
                turn = partial(np.rot90, k=quarter, axes=(i + 1, j + 1))
                moves.append(Move("rotated", f"rotated by {90 * quarter} degrees{where}", turn))
            moves.append(Move("transposed", f"transposed about its other diagonal{where}", partial(_anti, i=i, j=j)))
    if ndim > 2 and sum(length > 1 for length in shape) > 2:
        moves.append(
            Move("flipped", "in reverse order along all axes", partial(np.flip, axis=tuple(range(1, ndim + 1))))
        )
    return moves


def _anti(array: Array, i: int, j: int) -> Array:
    """Transpose about the diagonal from top right to bottom left."""
    return np.flip(np.swapaxes(array, i + 1, j + 1), axis=(i + 1, j + 1))


def reshapes(shape: tuple[int, ...]) -> list[Move]:
    """Return the moves that read the numbers with the axes in another order and lay them out in the same shape."""
    ndim = len(shape)
    if not 2 <= ndim <= MOST_AXES - 1:
        return []
    moves = []
    for order in permutations(range(ndim)):
        moved = tuple(shape[axis] for axis in order)
        is_swap = sum(axis != i for i, axis in enumerate(order)) <= 2
        if (moved == shape and is_swap) or tuple(a for a in order if shape[a] > 1) == tuple(
            a for a in range(ndim) if shape[a] > 1
        ):
            continue
        words = f"with its axes in the order {order}" + ("" if moved == shape else f", then reshaped to {shape}")
        words = "transposed and reshaped back" if ndim == 2 else words
        moves.append(Move("transposed", words, partial(_reordered, order=order)))
    return moves


def _reordered(array: Array, order: tuple[int, ...]) -> Array:
    return np.transpose(array, (0, *(axis + 1 for axis in order))).reshape(array.shape)


def shifts(shape: tuple[int, ...]) -> list[Move]:
    """Return shifts by one or two along an axis, and by one along the last two: wrapped, filled with zeros, unfilled."""
    ndim = len(shape)
    steps: list[dict[int, int]] = [
        {axis: step} for axis in reversed(range(ndim)) for step in (1, -1, 2, -2) if shape[axis] > abs(step) + 1
    ]
    for i, j in combinations(range(ndim), 2):
        if min(shape[i], shape[j]) > 2 and j == i + 1:
            steps += [{i: one, j: other} for one in (1, -1) for other in (1, -1)]
    moves = []
    for step in steps:
        way = " and ".join(f"{by:+d} along {_ordinal(axis, ndim)}" for axis, by in step.items())
        for fill, words in ((None, "wrapping around"), (0.0, "zeros entering"), (math.nan, "other numbers entering")):
            moves.append(
                Move(
                    "shifted",
                    f"shifted by {way}, {words}",
                    partial(_shifted, step=step, fill=fill),
                    fill is not None and fill != 0,
                )
            )
    return moves


def _shifted(array: Array, step: dict[int, int], fill: float | None) -> Array:
    axes = tuple(axis + 1 for axis in step)
    moved = np.roll(array, tuple(step.values()), axes)
    if fill is None:
        return moved
    if moved.dtype == bool:
        return np.asarray(moved)
    for axis, by in step.items():
        entered = slice(0, by) if by > 0 else slice(by, None)
        moved[(slice(None),) * (axis + 1) + (entered,)] = fill
    return moved
