"""Elements where a few slices along every axis of an array cross.

A dozen elements drawn at random of a large array lie in as many slices of it, so that none of them shows what is the matter
with whole slices: a factor of each, another order of them.
"""

from __future__ import annotations

import math

import numpy as np

from gradcheck.aliases import Floats, Indices
from gradcheck.differences.counts import DOZEN

__all__ = ["subgrid"]


def subgrid(shape: tuple[int, ...], values: Floats, rng: np.random.Generator) -> Indices:
    """Draw a dozen elements of an array, a few more of one of many axes, where slices along every axis cross.

    The slices are those of elements whose claims are not zero, as far as there are any.

    Parameters
    ----------
    shape : tuple of int
    values : array, shape (n, K)
        Claims for its elements.
    """
    counts = [1] * len(shape)
    while math.prod(counts) < min(DOZEN, math.prod(shape)):
        counts[min((axis for axis in range(len(shape)) if counts[axis] < shape[axis]), key=counts.__getitem__)] += 1
    order = rng.permutation(np.flatnonzero(values.any(axis=1)))
    along = []
    for places, count, length in zip(np.unravel_index(order, shape), counts, shape, strict=True):
        taken = list(dict.fromkeys([*places.tolist(), *range(length)]))
        along.append(np.sort(taken[:count]))
    return np.sort(np.ravel_multi_index(np.meshgrid(*along, indexing="ij"), shape).ravel())
