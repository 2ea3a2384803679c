"""Random numbers for the elements of a direction, and how far these move.

Each number follows from a seed, the name of the leaf, the number of the direction and the place in the leaf alone: it does not
depend on what other leaves there are, any block can be drawn again, and nothing is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats, Indices
from gradcheck.functions.bits import Words, random_bits
from gradcheck.functions.formats import Format
from gradcheck.functions.trees import Leaf

__all__ = ["LARGEST", "SMALLEST", "SMALL_LEAF", "PackedLeaves", "draw", "exact", "pack", "reach", "seed_of"]

SMALLEST, LARGEST = 0.5, 1.32
"""Range of the components, in units of the elements' lengths times the step. With these one wrong element shows at
4.5 to 7 standard deviations, and two equal errors do not cancel as they do with plain signs."""

SMALL_LEAF = 64
"""Elements of a leaf up to which a generator takes longer to be set up than to draw: small leaves are drawn many at a time."""

HALF_RANGE = 2.0**15
"""Half the range of the 16-bit integers that give sign and size of a component."""

WITHIN = 0.1
"""Largest move of an element, as a share of its own size: the edge of a domain may be at zero."""

IN_A_WORD = np.dtype(np.uint64).itemsize // np.dtype(np.int16).itemsize
"""16-bit integers in a 64-bit word of random bits."""


def seed_of(name: str) -> int:
    """Return the seed of a leaf."""
    encoded = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")


def draw(seed: int, key: int, number: int, size: int, block: int, count: int) -> NDArray[np.int16]:
    """Draw integers for the first ``count`` elements of a block of a leaf with ``size`` elements, for the direction ``number``."""
    words = -(-count // IN_A_WORD)
    if size <= SMALL_LEAF:
        bits = random_bits(np.full(words, seed, np.uint64), np.arange(words, dtype=np.uint64), key, number)
    else:
        bits = np.random.SFC64([key, number, seed, block]).random_raw(words)
    return bits.view(np.int16)[:count]


def reach(size: Floats, length: Floats, step: float) -> Floats:
    """Return how far elements of some size and length move."""
    farthest = WITHIN * size
    np.copyto(farthest, np.inf, where=size <= 0)
    return np.minimum(step * length, farthest, out=farthest)


def exact(integers: NDArray[np.int16], size: Floats, farthest: Floats, form: Format) -> Floats:
    """Return displacements of elements of some size, whole and halves of which their format holds exactly.

    A number is rounded to multiples of two units in the last place of ``near`` when a large enough multiple of ``near``
    is added to it and subtracted again.
    """
    signed = integers.astype(np.float64)
    signed += 0.5
    unit = max(form.eps / np.finfo(np.float64).eps, 1.0)
    moves = np.abs(signed)  # in place from here on: this takes most of the time of a check of a cheap function
    moves *= (LARGEST - SMALLEST) / HALF_RANGE
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


@dataclass(frozen=True, slots=True)
class PackedLeaves:
    """Whole small leaves of one format, laid end to end: there may be thousands, and a NumPy call takes as long for one as for all.

    Attributes
    ----------
    leaves : list of int
    form : Format
    sizes : array, shape (n,)
        Absolute values of all elements.
    starts : array of int
        Where each leaf starts among them.
    ranges : list of pairs of int
        Where each leaf starts and stops.
    """

    leaves: list[int]
    form: Format
    sizes: Floats
    starts: Indices
    ranges: list[tuple[int, int]]
    _seeds: Words
    """For each word of random bits the seed of its leaf."""
    _places: Words
    """For each word its place in the leaf."""
    _where: Indices
    """For each element the place of its integer among those of all words."""

    @classmethod
    def of(cls, leaves: Sequence[int], held: Sequence[Leaf], seeds: dict[int, int]) -> PackedLeaves:
        """Lay leaves end to end."""
        own = [held[leaf] for leaf in leaves]
        counts = np.array([leaf.value.size for leaf in own])
        words = -(-counts // IN_A_WORD)
        starts = np.cumsum(counts) - counts
        first = np.cumsum(words) - words
        within = np.arange(counts.sum()) - np.repeat(starts, counts)
        return cls(
            list(leaves),
            own[0].format,
            np.concatenate([np.abs(leaf.value.reshape(-1)).astype(np.float64) for leaf in own]),
            starts,
            list(zip(starts.tolist(), (starts + counts).tolist(), strict=True)),
            np.repeat(np.array([seeds[leaf] for leaf in leaves], np.uint64), words),
            (np.arange(words.sum()) - np.repeat(first, words)).astype(np.uint64),
            IN_A_WORD * np.repeat(first, counts) + within,
        )

    def moves(self, key: int, number: int, step: float, lengths: Floats) -> Floats:
        """Return by how much all elements move along the direction of a number."""
        integers = random_bits(self._seeds, self._places, key, number).view(np.int16)[self._where]
        return exact(integers, self.sizes, reach(self.sizes, lengths, step), self.form)

    def parts(self, joined: Floats) -> dict[int, Floats]:
        """Split an array of all elements into those of each leaf."""
        return {leaf: joined[start:end] for leaf, (start, end) in zip(self.leaves, self.ranges, strict=True)}


def pack(leaves: Sequence[int], held: Sequence[Leaf], seeds: dict[int, int]) -> list[PackedLeaves]:
    """Lay small leaves end to end, those of one format together."""
    kinds: dict[tuple[str, np.dtype], list[int]] = {}
    for leaf in leaves:
        kinds.setdefault((held[leaf].format.name, held[leaf].value.dtype), []).append(leaf)
    return [PackedLeaves.of(some, held, seeds) for some in kinds.values()]
