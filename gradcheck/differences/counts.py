"""Numbers that the engine shares: how many count as few or many, how large a sample is, and what share is negligible."""

from __future__ import annotations

import numpy as np

from gradcheck.aliases import Indices

__all__ = ["DOZEN", "FEW", "NEGLIGIBLE", "SMALL", "STAYS", "evenly"]

FEW = 4
"""What counts as few: a group of so many elements is measured one by one rather than halved; so many directions or elements
decide about others; fewer distinct values show no grid."""

DOZEN = 12
"""Size of a sample: a property of half of the elements is missing in the whole sample once in 4,096 cases. Also how many trailing
zero bits are no coincidence (`noise`), the largest group not divided further (`groups`) or divided pair by pair
(`subdifferential`), and how many leaves get a step of their own (`screening.prepare`)."""

SMALL = 128
"""With at most this many elements a difference of each is cheap: they are compared together only if many contradict their claims,
and one by one if directions do not show enough. Also the largest number of gradients sampled (`searches`), and of values
computed again at the point (`irregular`)."""

NEGLIGIBLE = 1e-3
"""Share below which something is negligible: the gradient of a leaf, relative to the largest of another; how far a claim lies
outside the range of the slopes at a kink, relative to that range."""

STAYS = 0.875
"""What keeps at least this share of its size does not shrink: a jump with the interval around it, the slopes near a cusp with the
step, the number of contradicted elements with the step of screening."""


def evenly(items: Indices, count: int) -> Indices:
    """Return ``count`` of the items, evenly spaced and with the first; all if there are no more."""
    return items[np.linspace(0, len(items), min(count, len(items)), endpoint=False, dtype=np.intp)]
