"""Random components of a direction, and how far the elements move.

A component follows from the seed, the name of the leaf, the number of the direction and the place in the leaf alone. So it
does not depend on other leaves, any block can be drawn again, and nothing is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.differences.lengths import BEYOND
from gradcheck.functions.bits import random_bits
from gradcheck.functions.formats import Format

__all__ = ["LARGEST", "SMALLEST", "draw", "exact", "reach", "seed_of"]

SMALLEST, LARGEST = 0.5, 1.32
"""Range of the components, in units of the elements' lengths times the step. With these one wrong element shows at
4.5 to 7 standard deviations, and two equal errors do not cancel as they do with plain signs."""

IN_A_WORD = np.dtype(np.uint64).itemsize // np.dtype(np.int16).itemsize
"""16-bit integers in a 64-bit word of random bits."""


def seed_of(name: str) -> int:
    """Return the seed of a leaf with this name."""
    encoded = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")


def draw(seeds: Sequence[int], starts: Sequence[int], stops: Sequence[int], key: int, number: int) -> NDArray[np.int16]:
    """Draw integers for places ``start`` to ``stop`` of some leaves, one leaf after the other, for direction ``number``; shape (m,)."""
    first, count = np.array(starts) // IN_A_WORD, np.subtract(stops, starts)
    words = -(-np.array(stops) // IN_A_WORD) - first
    before, after = np.cumsum(words) - words, np.cumsum(count)
    places = np.arange(words.sum()) + np.repeat(first - before, words)
    streams = random_bits(np.array(seeds, np.uint64), np.zeros(len(words), np.uint64), key, number)
    bits = random_bits(np.repeat(streams, words), places.astype(np.uint64)).view(np.int16)
    if len(words) == 1:
        return bits[starts[0] % IN_A_WORD :][: count[0]]
    return np.asarray(
        bits[np.arange(after[-1]) + np.repeat(IN_A_WORD * (before - first) + starts - after + count, count)]
    )


def reach(size: Floats, length: Floats, step: float) -> Floats:
    """Return how far elements with these absolute values and lengths move at most, shape (m,)."""
    farthest = size / BEYOND  # the edge of a domain may be at zero
    np.copyto(farthest, np.inf, where=size <= 0)
    return np.minimum(step * length, farthest, out=farthest)


def exact(integers: NDArray[np.int16], size: Floats, farthest: Floats, form: Format) -> Floats:
    """Return displacements of elements with these absolute values, shape (m,); they and their halves are exact in the format.

    Adding a large enough multiple of ``near`` and subtracting it again rounds a number to multiples of two units in the
    last place of ``near``.
    """
    signed = integers.astype(np.float64)
    signed += 0.5
    unit = max(form.eps / np.finfo(np.float64).eps, 1.0)
    moves = np.abs(signed)  # in place from here on: this takes most of the time of a check of a cheap function
    moves *= (SMALLEST - LARGEST) / np.iinfo(np.int16).min
    moves += SMALLEST
    moves *= farthest
    near = size + moves
    np.maximum(near, float(np.finfo(form.dtype).tiny), out=near)
    anchor = 2 * unit * near
    near *= 2 * form.eps
    rounded = np.maximum(moves, near, out=near)
    rounded += anchor
    rounded -= anchor
    if not np.isfinite(anchor).all():
        rounded = np.where(np.isfinite(anchor), rounded, moves)
    return np.copysign(rounded, signed, out=rounded)
