"""A small grid of elements of an array: a few indices along every axis, in all combinations.

Elements drawn at random from a large array share no slice, so they cannot show an error of whole slices, such as a
factor for each row or another order of the rows. Elements on a grid do share slices.
"""

from __future__ import annotations

import math

import numpy as np

from gradcheck.aliases import Floats, Indices
from gradcheck.differences.counts import DOZEN

__all__ = ["subgrid"]


def subgrid(shape: tuple[int, ...], values: Floats, rng: np.random.Generator) -> Indices:
    """Draw about a dozen elements on a grid through elements whose claims are not zero, as far as there are any.

    Parameters
    ----------
    shape : tuple of int
    values : array, shape (n, K)
        Claims for its elements.

    Returns
    -------
    array of int, shape (m,)
        Flat indices, sorted.
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
