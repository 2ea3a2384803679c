"""How small an error in each leaf would have shown along random directions."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.components import LARGEST, SMALLEST
from gradcheck.acceptance.decide import MOST_HIDDEN
from gradcheck.acceptance.directions import MISSED, Directions, Slopes
from gradcheck.acceptance.ledger import rms
from gradcheck.aliases import Floats
from gradcheck.differences.lengths import FIRST_STEP
from gradcheck.differences.noise import DISAGREES

__all__ = ["Detection"]

UNLUCKY = -NormalDist().inv_cdf(MISSED)
"""Standard deviations that noise exceeds with probability `MISSED`."""


class Detection:
    """Records in a bench how small an error would have shown so far, and tells whether that is enough."""

    def __init__(self, bench: Bench, directions: Directions) -> None:
        self.bench = bench
        self.directions = directions
        self.is_blurred = False
        """Whether kinks, rather than noise, hide most along directions."""
        self._sizes: dict[int, Floats] = {}
        for leaf in bench.claims:
            bench.floor_along[leaf] = np.full(len(bench.base), np.inf)

    def record(self, slopes: Slopes, allowed: Floats | float = 0.0) -> None:
        """Record how small an error would have shown along some directions."""
        is_blurred = slopes.are_blurred(self.bench.noise)
        needed = DISAGREES * slopes.deviation + allowed
        hidden = _hidden(needed, UNLUCKY * self.bench.noise / np.sqrt(2))
        for place, span in enumerate(slopes.parts[0].spans):
            leaf, before = span.leaf, self.bench.floor_along[span.leaf]
            contributed = np.abs([changes[place] for changes in slopes.predicted])
            share = (needed / contributed).min(axis=0)
            floor = np.maximum(hidden / self.directions.short_move(leaf), self.bench.rtol * self._size(leaf))
            self.is_blurred |= is_blurred and bool((MOST_HIDDEN * floor > self.bench.rtol * self._size(leaf)).any())
            self.bench.floor_along[leaf] = np.minimum(before, floor)
            self.bench.share_along[leaf] = np.fmin(self.bench.share_along[leaf], share)

    def shows_enough(self, leaf: int) -> bool:
        """Tell whether an error common to a leaf would show, or a wrong sign of one element, or whatever noise does not hide."""
        floor = self.bench.floor_along[leaf]
        if not np.isfinite(floor).any():
            return False
        wrong_sign = 2 * self._size(leaf)
        visible = 2 * self.bench.multiplier * self.bench.noise / self.directions.short_move(leaf, FIRST_STEP)
        # If round-off was only assumed it may hide errors of a few elements: a common error says nothing then.
        shares = np.full_like(floor, np.inf) if self.bench.claims[leaf].assumed else self.bench.share_along[leaf]
        return bool((floor <= np.maximum(wrong_sign, visible)).any() or (shares <= MOST_HIDDEN).any())

    def _size(self, leaf: int) -> Floats:
        """Return the root mean square of the claims for a leaf, shape (K,)."""
        if leaf not in self._sizes:
            self._sizes[leaf] = rms(self.bench.claims[leaf].values)
        return self._sizes[leaf]


def _hidden(needed: Floats, jitter: Floats) -> Floats:
    """Return the largest error that shows along none of the directions, times how far the element moves, shape (K,).

    ``needed``, shape (P, K), is the change that shows along each; ``jitter``, shape (K,), is added for noise. The largest of
    an element's components along several directions is larger, at quantile `MISSED`, than a single one.
    """
    easiest = np.sort(needed, axis=0) + jitter
    components = SMALLEST + (LARGEST - SMALLEST) * MISSED ** (1 / np.arange(1, len(needed) + 1))
    return np.asarray((easiest / components[:, None]).min(axis=0))
