"""The length of an element: the scale over which the functions are assumed to change with it. Steps are in units of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.functions.blocks import blocks
from gradcheck.functions.probe import Probe

__all__ = [
    "BETWEEN",
    "BEYOND",
    "CLOSEST",
    "FIRST_STEP",
    "RATIO",
    "SHORTEST_STEP",
    "exceeds_own_size",
    "lengths_of",
    "own_sizes",
    "resolution_of",
    "scale_is_hidden",
    "smallest_usual_size",
]

RATIO = 7.8172937
"""Each step of the ladder is this many times shorter than the one before. Not an integer, or all steps could be multiples of
the period of an oscillation, which would then look smooth."""

FIRST_STEP = 0.0291438719
"""The longest step, in units of the element's length. Not a round number, at which functions may be rounded."""

SHORTEST_STEP = 1e-9
"""The shortest usual step, in units of the element's length. If even this is too long for the functions, the values of the leaf
say nothing about its scale."""

BETWEEN = float(np.sqrt(RATIO))
"""Ratio of a step to one halfway, in ratio, to the next step of the ladder."""

CLOSEST = 1.07e-10
"""Shortest step of ladders at kinks and along directions, and smallest radius of the ball, in units of the element's
length: it leaves six digits of a displacement in float64. `other_steps` counts it in units of the screening step."""

REACH = 1e4
"""Largest ratio of a length to the size of its element: of the nine decades of the ladder five then remain below the element."""

BEYOND = 10.0
"""A move this many times longer than an element may pass over all that the function does near it, or lead out of its domain. One
that many times shorter does neither."""


def lengths_of(value: NDArray[np.generic]) -> Floats:
    """Return the length of each element: its absolute value, or the root mean square of the leaf if that is larger.

    The length of a much smaller element is at most `REACH` times its size, so that the last steps of a ladder are short for it.

    Returns
    -------
    lengths : array, shape (n,)
        Positive and finite; 1 throughout for a leaf of zeros.
    """
    sizes = _sizes(value)
    usual = _rms(sizes)
    if usual == 0:
        return np.ones_like(sizes)
    for size in blocks(sizes):
        reach = np.where(size > 0, size * REACH, np.inf)
        np.maximum(np.clip(usual, size, reach), np.finfo(np.float64).tiny, out=size)
    return sizes


def smallest_usual_size(value: NDArray[np.generic]) -> float:
    """Return the size below which an element is too small beside its leaf to get the leaf's length."""
    return _rms(_sizes(value)) / REACH


def _sizes(value: NDArray[np.generic]) -> Floats:
    """Return absolute values, with zero in place of values that are not finite."""
    sizes = np.abs(value.ravel()).astype(np.float64)
    return np.where(np.isfinite(sizes), sizes, 0.0)


def _rms(sizes: Floats) -> float:
    """Return the root mean square, without overflow."""
    largest = float(sizes.max(initial=0.0))
    return largest * math.sqrt(float(((sizes / largest) ** 2).sum()) / sizes.size) if largest else 0.0


def exceeds_own_size(sizes: Floats, steps: Floats | float) -> Bools:
    """Tell which elements are so much smaller than a step that it may not show their derivative.

    The step is long because of larger elements in the leaf, which need not have the same scale. For a size of zero, see
    `own_sizes`, no other scale is known, so no step is too long.
    """
    return np.asarray((sizes > 0) & (steps > BEYOND * sizes))


def own_sizes(value: NDArray[Any], lengths: Floats) -> Floats:
    """Return the absolute values of elements, or zero where they say nothing about the scale, see `scale_is_hidden`."""
    sizes = np.abs(value).astype(np.float64)
    return np.where(scale_is_hidden(sizes, lengths), 0.0, sizes)


def scale_is_hidden(sizes: Floats, lengths: Floats) -> Bools:
    """Tell which elements say nothing about their own scale: zeros, and those whose length was increased because of noise."""
    return np.asarray((sizes == 0) | (lengths > 2 * REACH * sizes))


def resolution_of(probe: Probe, leaf: int, indices: Indices) -> Floats:
    """Return the shortest steps that the dtype of the parameters resolves, shape (m,)."""
    held = probe.point.leaves[leaf]
    return np.asarray(2 * held.format.spacing(np.abs(held.value.ravel()[indices])))
