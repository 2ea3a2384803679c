"""How many of many are looked at, and how small a part of something counts as nothing."""

from __future__ import annotations

import numpy as np

from gradcheck.aliases import Indices

__all__ = ["DOZEN", "FEW", "NEGLIGIBLE", "SMALL", "evenly"]

FEW = 4
"""Smallest number that counts as several: a group of no more elements costs as little one by one as halved; so many
directions or elements speak for others; fewer distinct values show no grid."""

DOZEN = 12
"""Size of a sample of contradicted elements: what holds for half of them holds for none of the sample in one of 4,096
cases. Also the zero bits at the end of numbers that are no chance (`noise`), the largest group not split further (`groups`) or
separated pair by pair (`subdifferential`), and the leaves that get a pilot (`screening.prepare`)."""

SMALL = 128
"""With at most this many elements a difference of each is cheap: they are compared together only if many contradict their claims,
and looked at one by one if directions do not see enough of them, or cannot, as of infinite claims. Also the most gradients that are
sampled (`searches`), and values at the point that are computed again."""

NEGLIGIBLE = 1e-3
"""Share below which something is negligible: a leaf, of the largest root mean square of another; how far a claim lies outside the
range of the slopes at a kink, of that range."""


def evenly(items: Indices, count: int) -> Indices:
    """Return so many of some items, the first among them, as far apart as they can be; all where there are no more."""
    return items[np.linspace(0, len(items), min(count, len(items)), endpoint=False, dtype=np.intp)]
