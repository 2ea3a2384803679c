"""Points at which there is no derivative but a set of valid ones (Clarke's subdifferential).

Moving one element alone can be blind to a kink: the median of three equal numbers stays where it is when any one of
them moves, and yet one-hot is its right gradient. So nobody is accused before derivatives were taken at points very
near, all elements moved together. By F. H. Clarke, "Optimization and Nonsmooth Analysis" (1983), their range along a
direction is what a valid claim must stay within: along the element's own axis, and where elements share a kink along
joint directions too (`gradcheck.kinks.ties`).
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from gradcheck.kinks.nearby import FARTHEST, Neighbourhood, Suspect
from gradcheck.kinks.ties import MOST_SHARING, SLACK, equals, groups, try_together

__all__ = ["acquit"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SPAN = 1.39
"""An element is swept from this far below to this far above others that lie within 1."""

FEWEST_PLACES, PLACES_AMONG_MANY, MOST_PLACES = 17, 33, 129
"""Points of a sweep: enough to stop twice between any two of a tie. In a large one few can matter, as in a pool; where
these show no kink it is looked at closer, as for a median."""

SPREADS = (0.0, 1.0, -1.0)
"""How far the others are moved: not at all, so that the element decides alone, and as far as the element itself; equal
ones in some order and, where the sign is negative, in the opposite one."""

ORDERS = 6
"""Of the elements equal to the swept one, tried until it shows a kink: in nested minima and maxima few orders let it."""

CLOSER = 8.0
"""A claim is looked for a second time among the slopes of sweeps that are so many times shorter."""

SMOOTH_DEGREE = 5
"""Of the polynomial that is taken away from the slopes of a sweep."""

LOOKED_AT, LOOKED_IN_ALL = 4, 12
"""Accused elements of a leaf of which none sits at a kink: after so many the others are taken to be no different. After
so many in all leaves one of each leaf is enough."""

MOST_SWEPT = 64
"""Suspects of which each is looked at on its own."""


def acquit(nearby: Neighbourhood, suspects: list[Suspect]) -> None:
    """Decide which suspects make a valid claim at a kink, and write it into them.

    Parameters
    ----------
    nearby : Neighbourhood
        The functions and claims near the point.
    suspects : list of Suspect
        All elements that are about to be accused, and all at which the ladder saw a kink.

    Notes
    -----
    Costs 72 to 108 calls for each suspect that is looked at, and for ``k`` that share a kink about ``30 k`` to find
    each other and ``26 * (2 * k + 28)`` along joint directions; more only where a claim seems to be contradicted.
    """
    sweeps = _Sweeps(nearby)
    order = [suspects[i] for i in nearby.rng.permutation(len(suspects))]
    order.sort(key=lambda suspect: not np.any(suspect.gap))
    sharing, smooth, swept = [], Counter[int](), 0
    for suspect in order:
        at_kink = suspect.gap != 0
        enough = LOOKED_AT if smooth.total() < LOOKED_IN_ALL else 1
        if not np.any(at_kink) and smooth[suspect.leaf] >= enough:
            suspect.valid, suspect.open = np.zeros_like(at_kink), np.zeros_like(at_kink)
        elif swept < MOST_SWEPT:
            kind = sweeps.sweep(suspect)
            swept += 1
            smooth[suspect.leaf] += kind == "smooth"
            if kind == "shared":
                sharing.append(suspect)
        else:  # too many to look at each: what lies between its one-sided derivatives is let go
            suspect.valid = ~suspect.contradicted(SLACK * np.abs(suspect.gap)) & at_kink
            suspect.open = ~suspect.valid
    for group in groups(nearby, sharing, equals(nearby, sharing)):
        try_together(nearby, group)


def _smooth_part(places: Floats, slopes: Floats) -> tuple[Floats, Floats, float]:
    """Fit the columns of ``slopes`` by a polynomial: return it at ``places`` and in the middle.

    Its residual tells kinks, at which slopes jump, from curvature. The last number is by how much the values that the
    slopes are differences of blur the middle, in units of what they blur a slope.
    """
    powers = np.polynomial.legendre.legvander(places / SPAN, SMOOTH_DEGREE)
    middle = np.polynomial.legendre.legvander(np.zeros(1), SMOOTH_DEGREE)[0]
    finite = np.where(np.isfinite(slopes), slopes, 0.0)
    weights = np.linalg.pinv(powers)
    shares = middle @ weights
    blur = float(np.linalg.norm(np.diff(shares, prepend=0.0, append=0.0)) / np.sqrt(2))
    return np.asarray(powers @ (weights @ finite)), np.asarray(shares @ finite), blur


class _Sweeps:
    """One element moved among all others."""

    def __init__(self, nearby: Neighbourhood) -> None:
        self.nearby = nearby

    def sweep(self, suspect: Suspect) -> str:
        """Move one element through the ranks of all others, and compare its claim with the slopes met.

        Returns
        -------
        str
            ``"smooth"``: every slope was the same, and the claim is another for certain. ``"alone"``: there is a kink, which does
            not depend on the others. ``"shared"``: it does, and nothing is decided yet where the claim is one of the
            slopes.
        """
        distance = self.nearby.distance([suspect])
        tied = int(np.count_nonzero(self.nearby.tied(suspect)))
        places = PLACES_AMONG_MANY
        for _ in range(ORDERS if 1 < tied <= MOST_SHARING else 1):
            order = self.nearby.rng.permutation(tied)
            within, is_bent, shared = self._within(suspect, distance, order, places)
            if is_bent or np.any(within):
                break
        if tied > MOST_SHARING and not is_bent and not np.any(within):
            places = MOST_PLACES
            within, is_bent, shared = self._within(suspect, distance, order, places)
        if is_bent and tied > MOST_SHARING and not np.any(within):  # too many ranks to go through
            suspect.valid, suspect.open = np.zeros_like(suspect.valid), np.ones_like(suspect.open)
            return "alone"
        if np.any(within):  # a fast oscillation, which looks like a kink from afar, does not from near by
            from_afar = within
            within = within & self._within(suspect, distance / CLOSER, order, places)[0]
            # As near as noise allows there is no kink: one may be nearer still where there are others farther away.
            suspect.hidden = from_afar & ~within & is_bent & (distance >= FARTHEST)
        # A claim between the one-sided derivatives is no fault of this element alone.
        within |= (suspect.gap != 0) & ~suspect.contradicted(np.zeros_like(suspect.gap))
        suspect.valid, suspect.open = within, np.zeros_like(within)
        if np.any(within) and shared:
            return "shared"
        return "alone" if is_bent or np.any(within) else "smooth"

    def _within(
        self, suspect: Suspect, distance: float, order: NDArray[np.intp], places_among_many: int
    ) -> tuple[Bools, bool, bool]:
        """Tell where the claim is among the slopes of sweeps, whether there is a kink, and whether others share it."""
        apart = np.abs(suspect.claimed - suspect.reference)
        low, high = np.full_like(suspect.reference, np.inf), np.full_like(suspect.reference, -np.inf)
        shared, is_bent = False, False
        for spread in SPREADS:
            slopes, places, unsure = self._slopes(suspect, distance, spread, order, places_among_many)
            smooth, middle, blur = _smooth_part(places, slopes)
            kinked = suspect.at_stake & (np.ptp(slopes - smooth, axis=0) > 0.5 * apart + unsure)
            is_bent |= bool(np.any(kinked))
            shared |= self._depends_on_others(suspect, slopes, places, unsure)
            # Without a kink the slope at the point is the derivative; with others moved it says nothing about it.
            alone = np.broadcast_to(middle if spread == 0 else np.nan, slopes.shape)
            use = kinked & np.all(np.isfinite(slopes), axis=0)
            slopes, unsure = np.where(use, slopes, alone), np.where(use, unsure, blur * unsure)
            slack = SLACK * np.ptp(slopes, axis=0)
            low = np.fmin(low, np.min(slopes, axis=0) - unsure - slack)
            high = np.fmax(high, np.max(slopes, axis=0) + unsure + slack)
            within = suspect.at_stake & (suspect.claimed >= low) & (suspect.claimed <= high)
            if spread == 1.0 and np.all(within | ~suspect.at_stake):
                break
        return within, is_bent, shared

    def _slopes(
        self, suspect: Suspect, distance: float, spread: float, order: NDArray[np.intp], places_among_many: int
    ) -> tuple[Floats, Floats, Floats]:
        """Return the slopes along a sweep, the middles of their intervals, and how noise blurs them."""
        tied = np.flatnonzero(self.nearby.tied(suspect))
        wanted = 4 * len(tied) + 1 if len(tied) <= MOST_SHARING else places_among_many
        ends = np.linspace(-SPAN, SPAN, max(wanted, FEWEST_PLACES))
        step = (ends[1] - ends[0]) * distance * self.nearby.lengths[suspect.leaf][suspect.index]
        start = self.nearby.near(distance * abs(spread))
        # Equal elements at equal distances, so that no rank among them is too narrow to be seen; and none in the middle,
        # where its kink would look like one of the swept element alone.
        ranks = (np.linspace(-0.55, 1.25, len(tied)) if len(tied) > 1 else np.zeros(1))[order]
        start[suspect.leaf][tied] = spread * distance * ranks * self.nearby.lengths[suspect.leaf][tied]
        shifts = self._rounded(suspect, ends * distance * self.nearby.lengths[suspect.leaf][suspect.index])
        values = self.nearby.probe.line(start, suspect.leaf, suspect.index, shifts)
        with np.errstate(all="ignore"):
            slopes = np.diff(values, axis=0) / np.diff(shifts)[:, None]
        return slopes, (ends[1:] + ends[:-1]) / 2, 2 * self.nearby.noise / step

    def _rounded(self, suspect: Suspect, shifts: Floats) -> Floats:
        """Return displacements of an element as its dtype rounds them."""
        leaf = self.nearby.probe.point.leaves[suspect.leaf]
        value = leaf.value.ravel()[suspect.index]
        return np.asarray((leaf.format.rounded(value + shifts) - value).astype(np.float64))

    def _depends_on_others(self, suspect: Suspect, slopes: Floats, places: Floats, unsure: Floats) -> bool:
        """Tell whether the slopes are other than the one-sided derivatives at the point, with the kink at it."""
        right = suspect.reference + suspect.gap / 2
        left = suspect.reference - suspect.gap / 2
        expected = np.where(places[:, None] < 0, left, right)
        away = np.abs(places) > places[1] - places[0]
        apart = np.abs(suspect.claimed - suspect.reference)
        other = np.abs(slopes - expected)[away] > unsure + 0.05 * np.abs(suspect.gap) + 0.25 * apart
        return bool(np.any(other & suspect.at_stake))
