"""Over what length an element is taken to matter: its scale; and the steps in units of it."""

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
    "is_beyond",
    "lengths_of",
    "own_sizes",
    "resolution_of",
    "scale_is_hidden",
    "smallest_of_a_kind",
]

RATIO = 7.8172937
"""Each step of the ladder is this many times shorter than the one before. Not a whole number, or the steps could all be
multiples of the period of an oscillation, which then looks smooth."""

FIRST_STEP = 0.0291438719
"""The longest step, in units of the element's length. Not a round number: functions are rounded at those."""

SHORTEST_STEP = 1e-9
"""The shortest usual step, in units of the element's length. If the functions resolve nothing at longer ones, the size of the leaf
says nothing of its scale."""

BETWEEN = float(np.sqrt(RATIO))
"""Ratio of a step to one halfway to the ladder's next. Screening with shorter steps may have used the same points."""

CLOSEST = 1.07e-10
"""Shortest step of ladders at kinks and along directions, and smallest radius of the ball, in units of the element's
length: it leaves six digits of a displacement in float64. `closer` counts it in units of the step of screening."""

REACH = 1e4
"""Largest ratio of a length to its element: the ladder spans nine decades, of which five then remain below the element."""

BEYOND = 10.0
"""A move this many times longer than an element may miss everything that the function does near it, or lead out of its domain. One
that many times shorter does neither."""


def lengths_of(value: NDArray[np.generic]) -> Floats:
    """Return the length over which each element is taken to matter: its size, or the leaf's if that is larger.

    An element much smaller than its leaf keeps a length within `REACH` of its own size, so that the ladder gets down
    to steps that are short for it.

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


def smallest_of_a_kind(value: NDArray[np.generic]) -> float:
    """Return the size below which an element is too small beside its leaf to have the leaf's scale."""
    return _rms(_sizes(value)) / REACH


def _sizes(value: NDArray[np.generic]) -> Floats:
    """Return absolute values, zero for what is not finite."""
    sizes = np.abs(value.ravel()).astype(np.float64)
    return np.where(np.isfinite(sizes), sizes, 0.0)


def _rms(sizes: Floats) -> float:
    """Return the root mean square of numbers of any size."""
    largest = float(sizes.max(initial=0.0))
    return largest * math.sqrt(float(((sizes / largest) ** 2).sum()) / sizes.size) if largest else 0.0


def is_beyond(sizes: Floats, steps: Floats | float) -> Bools:
    """Tell which elements are so small beside a step that what it shows may not be their derivative.

    Others of the leaf being larger is why it is so long; nothing says that the element's own scale is theirs. Of zeros
    nothing else is known, nor of elements whose own scale is hidden by noise: their size counts as zero, see `own_sizes`.
    """
    return np.asarray((sizes > 0) & (steps > BEYOND * sizes))


def own_sizes(value: NDArray[Any], lengths: Floats) -> Floats:
    """Return the absolute values of elements where they say something about their scale, else zero."""
    sizes = np.abs(value).astype(np.float64)
    return np.where(scale_is_hidden(sizes, lengths), 0.0, sizes)


def scale_is_hidden(sizes: Floats, lengths: Floats) -> Bools:
    """Tell for which elements the length says that nothing is known of their own scale: zeros, and those widened."""
    return np.asarray((sizes == 0) | (lengths > 2 * REACH * sizes))


def resolution_of(probe: Probe, leaf: int, indices: Indices) -> Floats:
    """Return the shortest steps that the dtype of the parameters still resolves."""
    held = probe.point.leaves[leaf]
    return np.asarray(2 * held.format.spacing(np.abs(held.value.ravel()[indices])))
