"""How many of many are looked at."""

from __future__ import annotations

import numpy as np

from gradcheck.aliases import Indices

__all__ = ["DOZEN", "FEW", "SMALL", "evenly"]

FEW = 4
"""Smallest number that counts as several: a group of no more elements costs as little one by one as halved; so many
directions or elements speak for others; fewer distinct values show no grid."""

DOZEN = 12
"""Size of a sample of contradicted elements: what holds for half of them holds for none of the sample in one of 4,096
cases. Also the largest group not split further (`groups`), and the leaves that get a pilot (`screening.prepare`)."""

SMALL = 128
"""With at most this many elements a difference of each is cheap: they are compared together only if many contradict their claims,
and looked at one by one if directions do not see enough of them, or cannot, as of infinite claims."""


def evenly(items: Indices, count: int) -> Indices:
    """Return so many of some items, the first among them, as far apart as they can be; all where there are no more."""
    return items[np.linspace(0, len(items), min(count, len(items)), endpoint=False, dtype=np.intp)]
