"""Bits that look random and follow from a few numbers: thousands of streams at a time, where a generator for each takes too long."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Words", "random_bits"]

Words = NDArray[np.uint64]

GOLDEN, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
"""The odd numbers of SplitMix64: G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA (2014)."""


def random_bits(seeds: Words, places: Words, *streams: int) -> Words:
    """Return 64 bits for each seed and place. They follow from these and the streams alone; any other number gives unrelated bits."""
    bits = _avalanche(seeds + (places + np.uint64(1)) * GOLDEN)
    for stream in np.array([number % 2**64 for number in streams], np.uint64):
        bits = _avalanche(bits + _avalanche(np.array([stream]) * GOLDEN + FIRST))
    return bits


def _avalanche(bits: Words) -> Words:
    """Let each bit of some words change all of theirs."""
    bits = (bits ^ (bits >> np.uint64(30))) * FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * SECOND
    return bits ^ (bits >> np.uint64(31))
