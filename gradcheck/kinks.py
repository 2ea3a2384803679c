"""Points at which there is no derivative but a set of valid ones (Clarke's subdifferential).

Moving one element alone can be blind to a kink: the median of three equal numbers stays where it is when any one of
them moves, and yet one-hot is its right gradient. So nobody is accused before derivatives were taken at points very
near, all elements moved together. By F. H. Clarke, "Optimization and Nonsmooth Analysis" (1983), their range along a
direction is what a valid claim must stay within: along the element's own axis, and where elements share a kink along
joint directions too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from gradcheck.evaluation import Moves, Probe

__all__ = ["MOST_SHARING", "Suspect", "acquit"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CLOSEST, FARTHEST = 1.07e-10, 1.86e-2
"""Distances of near points, in units of the elements' lengths."""

SPAN = 1.39
"""An element is swept from this far below to this far above others that lie within 1."""

FEWEST_PLACES, MOST_PLACES = 17, 129
"""Points of a sweep: enough to stop twice between any two of a tie."""

SPREADS = (0.0, 1.0, -1.0)
"""How far the others are moved: not at all, so that the element decides alone, and as far as the element itself; equal
ones in some order and, where the sign is negative, in the opposite one."""

CLOSER = 8.0
"""A claim is looked for a second time among the slopes of sweeps that are so many times shorter."""

SMOOTH_DEGREE = 5
"""Of the polynomial that is taken away from the slopes of a sweep."""

LOOKED_AT = 4
"""Accused elements of a leaf of which none sits at a kink: after so many the others are taken to be no different."""

MOST_SWEPT = 64
"""Suspects of which each is looked at on its own."""

MOST_SHARING = 40
"""Elements that may share one kink; a larger tie is left open."""

DIRECTIONS = 8

RANDOM_POINTS = 24

ALL_ORDERS = 4
"""Elements of which all orders are tried."""

WITHIN = 0.2
"""Half the length over which a slope is taken, where neighbouring ranks are 1 apart."""

SEARCHES, SEARCHED_FROM, NEIGHBOURS = 8, 3, 8
"""Before a claim is found outside the range of the slopes met, the range is widened: so often, from so many of its
outermost points, with so many neighbours of each."""
SLACK = 1e-3
"""A claim may leave the range of the near derivatives by this share of the kink."""


@dataclass(slots=True)
class Suspect:
    """An element whose claim contradicts its measured derivative, or whose derivative jumps.

    Attributes
    ----------
    leaf, index : int
    claimed, reference, bound, gap : arrays, shape (K,)
        ``gap`` is the right minus the left derivative, where the ladder saw a difference.
    valid, open : arrays of bool, shape (K,)
        What came out: a valid claim at a kink; one about which nothing can be said. Neither: the claim is wrong.
    """

    leaf: int
    index: int
    claimed: Floats
    reference: Floats
    bound: Floats
    gap: Floats
    valid: Bools
    open: Bools

    @property
    def is_stand_in(self) -> bool:
        """Whether the element is no suspect itself, but may share the kink of one."""
        return not np.any(self.bound)

    def contradicted(self, tolerance: Floats) -> Bools:
        """Where the claim lies outside the interval between the one-sided derivatives."""
        return np.asarray(np.abs(self.claimed - self.reference) > self.bound + tolerance)


def acquit(
    probe: Probe,
    suspects: list[Suspect],
    claims: dict[int, Floats],
    lengths: dict[int, Floats],
    noise: Floats,
    *,
    multiplier: float,
    rng: np.random.Generator,
) -> None:
    """Decide which suspects make a valid claim at a kink, and write it into them.

    Parameters
    ----------
    probe : Probe
        The functions.
    suspects : list of Suspect
        All elements that are about to be accused, and all at which the ladder saw a kink.
    claims : dict
        For each free leaf its claim, shape (n, K).
    lengths : dict
        For each free leaf the lengths of its elements; all are moved.
    noise : array, shape (K,)
        Standard deviations.
    multiplier : float
        How many of them count.
    rng : Generator
        Draws the near points and directions.

    Notes
    -----
    Costs 72 to 108 calls for each suspect that is looked at, and about ``2 * 9 * (k + 24)`` for ``k`` that share a kink.
    """
    court = _Court(probe, claims, lengths, noise, multiplier, rng)
    order = [suspects[i] for i in rng.permutation(len(suspects))]
    order.sort(key=lambda suspect: not np.any(suspect.gap))
    sharing, smooth = [], Counter[int]()
    for number, suspect in enumerate(order):
        at_kink = suspect.gap != 0
        if not np.any(at_kink) and smooth[suspect.leaf] >= LOOKED_AT:
            suspect.valid, suspect.open = np.zeros_like(at_kink), np.zeros_like(at_kink)
        elif number < MOST_SWEPT:
            kind = court.sweep(suspect)
            smooth[suspect.leaf] += kind == "smooth"
            if kind == "shared":
                sharing.append(suspect)
        else:  # too many to look at each: what lies between its one-sided derivatives is let go
            suspect.valid = ~suspect.contradicted(SLACK * np.abs(suspect.gap)) & at_kink
            suspect.open = ~suspect.valid
    for group in court.groups(sharing + court.equals(sharing)):
        court.try_together(group)


def _smooth_part(places: Floats, slopes: Floats) -> tuple[Floats, Floats]:
    """Fit the columns of ``slopes`` by a polynomial: return it at ``places`` and in the middle.

    Its residual tells kinks, at which slopes jump, from curvature.
    """
    powers = np.polynomial.legendre.legvander(places / SPAN, SMOOTH_DEGREE)
    finite = np.where(np.isfinite(slopes), slopes, 0.0)
    coefficients = np.linalg.lstsq(powers, finite, rcond=None)[0]
    middle = np.polynomial.legendre.legvander(np.zeros(1), SMOOTH_DEGREE)
    return np.asarray(powers @ coefficients), np.asarray((middle @ coefficients)[0])


class _Court:
    """The functions, claims and lengths that all suspects have in common."""

    def __init__(
        self,
        probe: Probe,
        claims: dict[int, Floats],
        lengths: dict[int, Floats],
        noise: Floats,
        multiplier: float,
        rng: np.random.Generator,
    ) -> None:
        self.probe = probe
        self.claims = claims
        self.lengths = lengths
        self.noise = noise * multiplier
        self.rng = rng

    # ---- one element among all others ------------------------------------------------------------------------

    def sweep(self, suspect: Suspect) -> str:
        """Move one element through the ranks of all others, and compare its claim with the slopes met.

        Returns
        -------
        str
            ``"smooth"``: every slope was the same, and the claim is another for certain. ``"alone"``: there is a kink, which does
            not depend on the others. ``"shared"``: it does, and nothing is decided yet where the claim is one of the
            slopes.
        """
        distance = self._distance([suspect])
        order = self.rng.permutation(np.count_nonzero(self._tied(suspect)))
        within, is_bent, shared = self._within(suspect, distance, order)
        if np.any(within):  # a fast oscillation, which looks like a kink from afar, does not from near by
            within &= self._within(suspect, distance / CLOSER, order)[0]
        # A claim between the one-sided derivatives is no fault of this element alone.
        within |= (suspect.gap != 0) & ~suspect.contradicted(np.zeros_like(suspect.gap))
        suspect.valid, suspect.open = within, np.zeros_like(within)
        if np.any(within) and shared:
            return "shared"
        return "alone" if is_bent or np.any(within) else "smooth"

    def _within(self, suspect: Suspect, distance: float, order: NDArray[np.intp]) -> tuple[Bools, bool, bool]:
        """Tell where the claim is among the slopes of sweeps, whether there is a kink, and whether others share it."""
        apart = np.abs(suspect.claimed - suspect.reference)
        low, high = np.full_like(suspect.reference, np.inf), np.full_like(suspect.reference, -np.inf)
        shared, is_bent = False, False
        for spread in SPREADS:
            slopes, places, unsure = self._slopes(suspect, distance, spread, order)
            smooth, middle = _smooth_part(places, slopes)
            kinked = np.ptp(slopes - smooth, axis=0) > 0.5 * apart + unsure
            is_bent |= bool(np.any(kinked))
            shared |= self._depends_on_others(suspect, slopes, places, unsure)
            # Without a kink the slope at the point is the derivative; with others moved it says nothing about it.
            alone = np.broadcast_to(middle if spread == 0 else np.nan, slopes.shape)
            slopes = np.where(kinked & np.all(np.isfinite(slopes), axis=0), slopes, alone)
            slack = SLACK * np.ptp(slopes, axis=0)
            low = np.fmin(low, np.min(slopes, axis=0) - unsure - slack)
            high = np.fmax(high, np.max(slopes, axis=0) + unsure + slack)
            within = (suspect.claimed >= low) & (suspect.claimed <= high)
            if spread == 1.0 and np.all(within):
                break
        return within, is_bent, shared

    def _tied(self, suspect: Suspect) -> Bools:
        """Return which elements of the leaf have exactly the suspect's value."""
        flat = self.probe.point.leaves[suspect.leaf].value.ravel()
        return np.asarray(flat == flat[suspect.index])

    def _slopes(
        self, suspect: Suspect, distance: float, spread: float, order: NDArray[np.intp]
    ) -> tuple[Floats, Floats, Floats]:
        """Return the slopes along a sweep, the middles of their intervals, and how noise blurs them."""
        tied = np.flatnonzero(self._tied(suspect))
        ends = np.linspace(-SPAN, SPAN, int(np.clip(4 * len(tied) + 1, FEWEST_PLACES, MOST_PLACES)))
        step = (ends[1] - ends[0]) * distance * self.lengths[suspect.leaf][suspect.index]
        start = self._near(distance * abs(spread))
        # Equal elements at equal distances, so that no rank among them is too narrow to be seen.
        ranks = (np.linspace(-0.9, 0.9, len(tied)) if len(tied) > 1 else np.zeros(1))[order]
        start[suspect.leaf][tied] = spread * distance * ranks * self.lengths[suspect.leaf][tied]
        shifts = ends * distance * self.lengths[suspect.leaf][suspect.index]
        values = self.probe.line(start, suspect.leaf, suspect.index, shifts)
        with np.errstate(all="ignore"):
            slopes = np.diff(values, axis=0) / step
        return slopes, (ends[1:] + ends[:-1]) / 2, 2 * self.noise / step

    def _depends_on_others(self, suspect: Suspect, slopes: Floats, places: Floats, unsure: Floats) -> bool:
        """Tell whether the slopes are other than the one-sided derivatives at the point, with the kink at it."""
        right = suspect.reference + suspect.gap / 2
        left = suspect.reference - suspect.gap / 2
        expected = np.where(places[:, None] < 0, left, right)
        away = np.abs(places) > places[1] - places[0]
        apart = np.abs(suspect.claimed - suspect.reference)
        return bool(np.any(np.abs(slopes - expected)[away] > unsure + 0.05 * np.abs(suspect.gap) + 0.25 * apart))

    def _near(self, distance: float) -> Moves:
        """Draw a near point: random signs times a spread of sizes, so that ties break in every order."""
        return {
            leaf: distance * scale * self.rng.choice([-1.0, 1.0], scale.shape) * self.rng.uniform(0.3, 1.0, scale.shape)
            for leaf, scale in self.lengths.items()
        }

    # ---- several elements that share a kink -------------------------------------------------------------------

    def equals(self, suspects: list[Suspect]) -> list[Suspect]:
        """Return stand-ins for the elements that have exactly the value of a suspect: they may share its kink."""
        taken = {(suspect.leaf, suspect.index) for suspect in suspects}
        found = []
        for leaf in dict.fromkeys(suspect.leaf for suspect in suspects):
            tied = np.any([self._tied(suspect) for suspect in suspects if suspect.leaf == leaf], axis=0)
            for index in np.flatnonzero(tied):
                if (leaf, int(index)) not in taken:
                    claimed = self.claims[leaf][index]
                    yes, no = np.ones(claimed.shape, dtype=bool), np.zeros(claimed.shape, dtype=bool)
                    zero = np.zeros_like(claimed)
                    found.append(Suspect(leaf, int(index), claimed, claimed, zero, zero, yes, no))
        return found

    def groups(self, suspects: list[Suspect]) -> list[list[Suspect]]:
        """Part the suspects into those whose effects at first order do not add up, and so share a kink."""
        groups: list[list[Suspect]] = []
        rest = list(suspects)
        if not rest:
            return []
        if len(rest) > MOST_SHARING:
            return [rest]
        linked = self._links(rest)
        while rest:
            group, frontier = [], [rest.pop(0)]
            while frontier:
                member = frontier.pop()
                group.append(member)
                joined = [other for other in rest if frozenset((id(member), id(other))) in linked]
                rest = [other for other in rest if other not in joined]
                frontier += joined
            groups.append(group)
        # Whoever shares a kink with nobody found shares it with the others of that sort, as in an order statistic.
        single = [group[0] for group in groups if len(group) == 1]
        single = single if any(not suspect.is_stand_in for suspect in single) else []
        return [group for group in groups if len(group) > 1] + ([single] if single else [])

    def _links(self, suspects: list[Suspect]) -> set[frozenset[int]]:
        """Find the pairs for which f(a and b moved) - f(a moved) - f(b moved) + f is not small."""
        distance = self._distance(suspects)
        background = self._near(distance)
        for suspect in suspects:
            background[suspect.leaf][suspect.index] = 0.0

        def at(*moved: tuple[Suspect, float]) -> Floats:
            moves = {leaf: shift.copy() for leaf, shift in background.items()}
            for suspect, sign in moved:
                moves[suspect.leaf][suspect.index] = sign * 1.5 * distance * self._unit(suspects)
            return np.asarray(self.probe.ray(moves, np.array([1.0]))[0])

        base = at()
        alone = {(id(s), sign): at((s, sign)) for s in suspects for sign in (-1.0, 1.0)}
        links = set()
        for i, one in enumerate(suspects):
            for other in suspects[i + 1 :]:
                size = np.maximum(np.abs(one.gap), np.abs(one.claimed - one.reference)) * distance
                for signs in ((1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)):
                    joint = at((one, signs[0]), (other, signs[1]))
                    excess = np.abs(joint - alone[id(one), signs[0]] - alone[id(other), signs[1]] + base)
                    if np.any(excess > 4 * self.noise + 0.05 * size * self._unit(suspects)):
                        links.add(frozenset((id(one), id(other))))
                        break
        return links

    def _unit(self, suspects: list[Suspect]) -> float:
        return float(min(self.lengths[s.leaf][s.index] for s in suspects))

    def _distance(self, suspects: list[Suspect]) -> float:
        """Choose how near: so that noise blurs a slope of a sweep by about a hundredth of what is at stake."""
        with np.errstate(all="ignore"):
            stake = np.max([np.maximum(np.abs(s.claimed - s.reference), np.abs(s.gap)) for s in suspects], axis=0)
            slope = np.max([np.abs(s.claimed) + np.abs(s.reference) for s in suspects], axis=0)
            blur = self.noise + self._rounding(suspects) * slope
            needed = 2000 * blur / (self._unit(suspects) * np.where(np.isfinite(stake) & (stake > 0), stake, np.inf))
        return float(np.clip(np.max(np.nan_to_num(needed, nan=0.0, posinf=0.0)), CLOSEST, FARTHEST))

    def _rounding(self, suspects: list[Suspect]) -> float:
        """Return by how much the dtype of the parameters may round a displacement."""
        values = [self.probe.point.leaves[s.leaf].value.ravel()[s.index] for s in suspects]
        return float(max(np.spacing(np.abs(value)) for value in values))

    def try_together(self, suspects: list[Suspect]) -> None:
        """Compare the claims of elements that share a kink with derivatives along joint directions.

        The near points give every element every rank (a cyclic design); the common move of the whole group is always
        among the directions, since there every valid claim agrees with the derivative and a dropped one does not.
        """
        members = [(suspect.leaf, suspect.index) for suspect in suspects]
        if len(members) > MOST_SHARING:
            for suspect in suspects:
                suspect.valid, suspect.open = np.zeros_like(suspect.valid), np.ones_like(suspect.open)
            return
        unit, distance = self._unit(suspects), self._distance(suspects)
        claimed = np.array([self.claims[leaf][index] for leaf, index in members])
        scale = np.max([np.maximum(np.abs(s.gap), np.abs(s.claimed - s.reference)) for s in suspects], axis=0)
        unsure = self.noise / (unit * distance * WITHIN) + SLACK * scale
        contradicted = np.zeros(claimed.shape[1], dtype=bool)
        ranks = self._ranks(len(members))
        for direction in self._directions(len(members)):
            along = direction @ claimed

            def slopes_at(places: Floats, direction: Floats = direction) -> Floats:
                return self._joint_slopes(members, places, direction, distance, unit)

            # For a convex or concave function the points along the direction itself give the ends of the range.
            places = np.concatenate([ranks, np.multiply.outer([1.0, -1.0, 3.0, -3.0], direction)])
            slopes = slopes_at(places)
            for _ in range(SEARCHES):
                above, below = along > np.max(slopes, axis=0) + unsure, along < np.min(slopes, axis=0) - unsure
                if not np.any(above | below):
                    break
                column = int(np.argmax(above | below))
                best = np.argsort(slopes[:, column] * (-1.0 if above[column] else 1.0))[:SEARCHED_FROM]
                closer = self._neighbours(places[best])
                places, slopes = np.concatenate([places, closer]), np.concatenate([slopes, slopes_at(closer)])
            contradicted |= (along > np.max(slopes, axis=0) + unsure) | (along < np.min(slopes, axis=0) - unsure)
        for suspect in suspects:
            suspect.valid = suspect.valid & ~contradicted

    def _joint_slopes(
        self, members: list[tuple[int, int]], places: Floats, direction: Floats, distance: float, unit: float
    ) -> Floats:
        """Return the derivatives along a direction at near points, one row per row of ``places``."""
        step = WITHIN * unit * distance
        slopes = []
        for place in places:
            moves = self._near(distance)
            ends = []
            for sign in (1.0, -1.0):
                for (leaf, index), at, part in zip(members, place, direction, strict=True):
                    moves[leaf][index] = at * distance * unit + sign * part * step
                ends.append(self.probe.ray(moves, np.array([1.0]))[0])
            slopes.append((ends[0] - ends[1]) / (2 * step))
        return np.array(slopes)

    def _ranks(self, count: int) -> Floats:
        """Return near points, one per row: every order of a few elements; of many, every rank for every element."""
        middle = (count - 1) / 2
        if count <= ALL_ORDERS:
            orders = np.array(list(permutations(range(count))), dtype=np.float64)
        else:
            drawn = [self.rng.permutation(count) for _ in range(2)]
            orders = np.array([(order + j) % count for order in drawn for j in range(count)], dtype=np.float64)
        signs = self.rng.choice([-1.0, 1.0], (RANDOM_POINTS, count))
        return np.concatenate([orders - middle, signs * self.rng.uniform(0.3, 1.0, signs.shape) * count / 2])

    def _neighbours(self, places: Floats) -> Floats:
        """Return points like the given ones, two elements of each having changed places or one been moved anew."""
        found = np.repeat(places, NEIGHBOURS, axis=0)
        rows = np.arange(len(found))
        one, other = self.rng.integers(places.shape[1], size=(2, len(found)))
        found[rows, one], found[rows, other] = found[rows, other], found[rows, one]
        redrawn = rows[::3]
        found[redrawn, one[::3]] = self.rng.uniform(-0.7, 0.7, len(redrawn)) * places.shape[1]
        return found

    def _directions(self, count: int) -> list[Floats]:
        signs = np.where(self.rng.random((DIRECTIONS, count)) < 0.5, -1.0, 1.0)
        return [np.ones(count), *(signs * self.rng.uniform(0.5, 1.32, size=(DIRECTIONS, count)))]
