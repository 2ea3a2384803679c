"""Large arrays a piece at a time: what is computed of a piece takes little memory and stays in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats

__all__ = ["BLOCK", "SMALL_ARRAY", "are_equal", "blocks", "product", "random_signs", "signed"]

BLOCK = 2**16
"""Elements of a piece: half a megabyte in float64."""

SMALL_ARRAY = 2**12
"""Numbers up to which calling a NumPy function takes longer than its arithmetic: computing more of them than are asked for costs nothing."""

UNTHREADED = 2**13
"""Numbers up to which no BLAS starts threads. For two vectors in the cache they cost more than they bring, a hundred times as
much where the function has threads of its own, or other programs run."""


def blocks(array: NDArray[Any]) -> list[NDArray[Any]]:
    """Return views of a contiguous array, as vectors that follow one another."""
    flat = array.reshape(-1)
    if 0 < flat.size <= BLOCK:  # nearly always, and thousands of times
        return [flat]
    return [flat[start : start + BLOCK] for start in range(0, flat.size, BLOCK)]


def random_signs(shape: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Draw random signs: what ``rng.choice([-1.0, 1.0], shape)`` draws, in two thirds of the time."""
    return np.asarray(2.0 * rng.integers(0, 2, shape) - 1.0)


def signed(count: int, rng: np.random.Generator) -> Floats:
    """Draw random signs times a spread of sizes: plain signs cancel in a linear function, and round points look rounded."""
    drawn = np.empty(count)
    for block in blocks(drawn):
        np.multiply(random_signs(len(block), rng), rng.uniform(0.5, 1.32, len(block)), out=block)
    return drawn


def are_equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Tell whether two arrays hold the same numbers, NaN in the same places."""
    if one.shape != other.shape:
        return False
    if one.size <= BLOCK and (one == other).all():  # nearly always
        return True
    is_nan_equal = one.dtype.kind in "fc" and other.dtype.kind in "fc"
    pairs = zip(blocks(one), blocks(other), strict=True)
    return all(np.array_equal(a, b) or (is_nan_equal and np.array_equal(a, b, equal_nan=True)) for a, b in pairs)


def product(vector: Floats, matrix: Floats) -> Floats:
    """Return ``vector @ matrix``, shapes (n,) and (n, K) or (n,), in one thread."""
    if matrix.size <= UNTHREADED:
        return np.asarray(vector @ matrix)
    size = max(1, UNTHREADED * len(matrix) // matrix.size)
    starts = range(0, len(vector), size)
    return np.asarray(sum(vector[start : start + size] @ matrix[start : start + size] for start in starts))
