"""Several elements that share a kink: who they are, and whether their claims are valid together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, permutations

import numpy as np
from numpy.typing import NDArray

from gradcheck.kinks.nearby import Neighbourhood, Suspect

__all__ = ["MOST_SHARING", "SLACK", "equals", "groups", "try_together"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Signs = dict[int, float]
"""Identity of a suspect -> up or down."""

MOST_SHARING = 40
"""Elements that may share one kink; a larger tie is left open."""

SLACK = 1e-3
"""A claim may leave the range of the near derivatives by this share of the kink."""

LINKED = 0.05
"""Elements share a kink when moving them together differs by this share of it from the sum of moving each."""

ONE_BY_ONE = 12
"""Elements among which partners are looked for singly: moved together, those of an order statistic hide each other."""

MERGING = 8
"""Random moves of all groups with which it is tried whether their effects add up."""

DIRECTIONS, FLAT_DIRECTIONS, RANDOM_POINTS = 8, 4, 24
"""Joint directions beside the common one, and near points beside those that take every element through every rank."""

ALL_ORDERS = 4
"""Elements of which all orders are tried."""

WITHIN = 0.2
"""Half the length over which a slope is taken, where neighbouring ranks are 1 apart."""

SEARCHES, SEARCHED_FROM, NEIGHBOURS = 8, 3, 8
"""Before a claim is found outside the range of the slopes met, the range is widened: so often, from so many of its
outermost points, with so many neighbours of each."""


# ---- who shares a kink ------------------------------------------------------------------------------------------------


def equals(nearby: Neighbourhood, suspects: list[Suspect]) -> list[Suspect]:
    """Return stand-ins for the elements that have exactly the value of a suspect: they may share its kink."""
    taken = {(suspect.leaf, suspect.index) for suspect in suspects}
    found = []
    for leaf in dict.fromkeys(suspect.leaf for suspect in suspects):
        tied = np.any([nearby.tied(suspect) for suspect in suspects if suspect.leaf == leaf], axis=0)
        for index in np.flatnonzero(tied):
            if (leaf, int(index)) not in taken:
                claimed = nearby.claims[leaf][index]
                yes, no = np.ones(claimed.shape, dtype=bool), np.zeros(claimed.shape, dtype=bool)
                zero = np.zeros_like(claimed)
                found.append(Suspect(leaf, int(index), claimed, claimed, zero, zero, yes, no))
    return found


def groups(nearby: Neighbourhood, suspects: list[Suspect], stand_ins: list[Suspect]) -> list[list[Suspect]]:
    """Part suspects, and stand-ins that take part, into those whose effects at first order do not add up.

    Notes
    -----
    Costs for each element that has partners ``6 * k`` calls among few others; among many they are found by halving. Eight
    calls a group, and eight a pair of groups where there are nested ones.
    """
    if not suspects:
        return []
    links = _Links(nearby, suspects + stand_ins)
    rest = suspects + stand_ins
    found, alone = [], []
    for suspect in suspects:
        if not _remove(rest, [suspect]):
            continue
        group, frontier = [], [suspect]
        while frontier:
            member = frontier.pop()
            group.append(member)
            partners = links.partners(member, rest)
            _remove(rest, partners)
            frontier += partners
        if len(group) > 1:
            found.append(group)
        else:
            alone += group
    # Whoever shares a kink with nobody found shares it with the others of that sort, as in an order statistic.
    return links.merge([*found, alone + rest] if alone else found)


def _remove(suspects: list[Suspect], gone: list[Suspect]) -> bool:
    """Take some out of a list, by identity, and tell whether any was there."""
    before = len(suspects)
    names = {id(suspect) for suspect in gone}
    suspects[:] = [suspect for suspect in suspects if id(suspect) not in names]
    return len(suspects) < before


def _joined(groups: list[list[Suspect]], pairs: list[tuple[int, int]]) -> list[list[Suspect]]:
    """Return the groups with those that are linked, directly or through others, made one."""
    names = list(range(len(groups)))
    for one, other in pairs:
        low, high = sorted((names[one], names[other]))
        names = [low if name == high else name for name in names]
    return [
        [s for name, group in zip(names, groups, strict=True) if name == kept for s in group]
        for kept in sorted(set(names))
    ]


class _Links:
    """Which elements share a kink: f(all moved) - f(one moved) - f(others moved) + f is not small."""

    def __init__(self, nearby: Neighbourhood, suspects: list[Suspect]) -> None:
        self.nearby = nearby
        self.distance, self.unit = nearby.distance(suspects), nearby.unit(suspects)
        self.background = nearby.near(self.distance)
        for suspect in suspects:
            self.background[suspect.leaf][suspect.index] = 0.0
        self.sizes = {id(suspect): float(nearby.rng.uniform(1.2, 1.8)) for suspect in suspects}
        self.base = self._at()

    def _at(self, *parts: tuple[list[Suspect], Signs]) -> Floats:
        """Return the values with some suspects moved, up or down."""
        moves = {leaf: shift.copy() for leaf, shift in self.background.items()}
        for suspects, signs in parts:
            for suspect in suspects:
                size = self.sizes[id(suspect)] * self.distance * self.unit
                moves[suspect.leaf][suspect.index] = signs[id(suspect)] * size
        return np.asarray(self.nearby.probe.ray(moves, np.array([1.0]))[0])

    def partners(self, one: Suspect, others: list[Suspect]) -> list[Suspect]:
        """Return those of the others that share a kink with this one."""
        found: list[Suspect] = []
        for sign, signs in self._patterns(others):
            names = {id(partner) for partner in found}
            left = [other for other in others if id(other) not in names]
            own = {id(one): sign}
            alone = self._at(([one], own))
            found += self._halve(one, own, alone, left, signs)
        return found

    def merge(self, groups: list[list[Suspect]]) -> list[list[Suspect]]:
        """Join groups whose effects do not add up either, the others being moved at random.

        So it is with a minimum of maxima: two elements of different maxima matter together only where the third lets them.
        """
        for _ in range(MERGING if len(groups) > 1 else 0):
            start, other = (
                [{id(s): float(self.nearby.rng.choice([-1.0, 1.0])) for s in group} for group in groups]
                for _ in range(2)
            )

            def at(moved: set[int]) -> Floats:
                return self._at(*((g, (other if i in moved else start)[i]) for i, g in enumerate(groups)))  # noqa: B023

            base = at(set())
            one = [at({i}) - base for i in range(len(groups))]
            if not self._is_kinked(at(set(range(len(groups)))) - base - sum(one), groups):
                continue
            pairs = [
                (i, j)
                for i, j in combinations(range(len(groups)), 2)
                if self._is_kinked(at({i, j}) - base - one[i] - one[j], groups)
            ]
            groups = _joined(groups, pairs or list(pairwise(range(len(groups)))))
            if len(groups) == 1:
                break
        return groups

    def _is_kinked(self, excess: Floats, groups: list[list[Suspect]]) -> bool:
        """Tell whether effects that do not add up are of first order."""
        stakes = [np.maximum(np.abs(s.gap), np.abs(s.claimed - s.reference)) for group in groups for s in group]
        stake = np.max(stakes, axis=0) * self.distance * self.unit
        return bool(np.any(np.abs(excess) > (2 * len(groups) + 2) * self.nearby.noise + LINKED * stake))

    def _patterns(self, others: list[Suspect]) -> Iterator[tuple[float, Signs]]:
        """Give the signs with which the one and the others are moved: alike, opposite, and at random for many."""
        for sign, towards in ((1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)):
            yield sign, dict.fromkeys(map(id, others), towards)
        for sign in (1.0, -1.0) if len(others) > ONE_BY_ONE else ():
            yield sign, {id(other): float(self.nearby.rng.choice([-1.0, 1.0])) for other in others}

    def _halve(self, one: Suspect, own: Signs, alone: Floats, others: list[Suspect], signs: Signs) -> list[Suspect]:
        """Look for partners among others that are moved together, then in each half; among few one by one."""
        if not others:
            return []
        if len(others) == 1 or len(others) > ONE_BY_ONE:
            without, joint = self._at((others, signs)), self._at(([one], own), (others, signs))
            stake = np.maximum(np.abs(one.gap), np.abs(one.claimed - one.reference)) * self.distance * self.unit
            if not np.any(np.abs(joint - alone - without + self.base) > 4 * self.nearby.noise + LINKED * stake):
                return []
        if len(others) == 1:
            return others
        size = 1 if len(others) <= ONE_BY_ONE else (len(others) + 1) // 2
        parts = [others[start : start + size] for start in range(0, len(others), size)]
        return [found for part in parts for found in self._halve(one, own, alone, part, signs)]


# ---- whether their claims are valid together ----------------------------------------------------------------------------


def try_together(nearby: Neighbourhood, suspects: list[Suspect]) -> None:
    """Compare the claims of elements that share a kink with derivatives along joint directions.

    The near points give every element every rank (a cyclic design); the common move of the whole group is always
    among the directions, since there every valid claim agrees with the derivative and a dropped one does not.
    """
    if len(suspects) > MOST_SHARING:
        for suspect in suspects:
            suspect.valid, suspect.open = np.zeros_like(suspect.valid), np.ones_like(suspect.open)
        return
    trial = _Trial(nearby, suspects)
    contradicted = np.any([trial.contradicts(direction) for direction in trial.directions()], axis=0)
    for suspect in suspects:
        suspect.valid = suspect.valid & ~contradicted


class _Trial:
    """Elements that share a kink, seen from near points."""

    def __init__(self, nearby: Neighbourhood, suspects: list[Suspect]) -> None:
        self.nearby = nearby
        self.members = [(suspect.leaf, suspect.index) for suspect in suspects]
        self.distance, self.unit = nearby.distance(suspects), nearby.unit(suspects)
        self.claimed = np.array([nearby.claims[leaf][index] for leaf, index in self.members])
        self.ranks = self._ranks(len(suspects))
        gaps = np.array([suspect.gap for suspect in suspects])
        self.jump = gaps[:, int(np.argmax(np.sum(np.abs(gaps), axis=0)))]
        stakes = [np.maximum(np.abs(s.gap), np.abs(s.claimed - s.reference)) for s in suspects]
        blur = nearby.noise / (self.unit * self.distance * WITHIN)
        self.unsure = blur + SLACK * np.max(stakes, axis=0)

    def directions(self) -> list[Floats]:
        """Return the common direction, random ones (signs times a spread of sizes), and some along which nothing bends.

        The last are orthogonal to the jump of the gradient at a single kink: there only one derivative is valid.
        """
        rng, count = self.nearby.rng, len(self.members)
        signs = rng.choice([-1.0, 1.0], (DIRECTIONS, count))
        drawn = list(signs * rng.uniform(0.5, 1.32, signs.shape))
        jump = self.jump / max(float(np.linalg.norm(self.jump)), np.finfo(np.float64).tiny)
        flat = [part - (part @ jump) * jump for part in drawn[:FLAT_DIRECTIONS]]
        return [np.ones(count), *drawn, *flat]

    def contradicts(self, direction: Floats) -> Bools:
        """Tell where the claims along a direction leave the range of the derivatives met at near points."""
        along = direction @ self.claimed
        # For a convex or concave function the points along the direction itself give the ends of the range.
        places = np.concatenate([self.ranks, np.multiply.outer([1.0, -1.0, 3.0, -3.0], direction)])
        slopes = self._slopes(places, direction)
        for search in range(SEARCHES + 1):
            above = along > np.max(slopes, axis=0) + self.unsure
            below = along < np.min(slopes, axis=0) - self.unsure
            if search == SEARCHES or not np.any(above | below):
                break
            column = int(np.argmax(above | below))
            best = np.argsort(slopes[:, column] * (-1.0 if above[column] else 1.0))[:SEARCHED_FROM]
            closer = self._neighbours(places[best])
            places = np.concatenate([places, closer])
            slopes = np.concatenate([slopes, self._slopes(closer, direction)])
        return np.asarray(above | below)

    def _slopes(self, places: Floats, direction: Floats) -> Floats:
        """Return the derivatives along a direction at near points, one row per row of ``places``."""
        step = WITHIN * self.unit * self.distance
        slopes = []
        for place in places:
            moves = self.nearby.near(self.distance)
            ends = []
            for sign in (1.0, -1.0):
                for (leaf, index), at, part in zip(self.members, place, direction, strict=True):
                    moves[leaf][index] = at * self.distance * self.unit + sign * part * step
                ends.append(self.nearby.probe.ray(moves, np.array([1.0]))[0])
            with np.errstate(all="ignore"):
                slopes.append((ends[0] - ends[1]) / (2 * step))
        return np.array(slopes)

    def _ranks(self, count: int) -> Floats:
        """Return near points, one per row: every order of a few elements; of many, every rank for every element."""
        rng = self.nearby.rng
        if count <= ALL_ORDERS:
            orders = np.array(list(permutations(range(count))), dtype=np.float64)
        else:
            drawn = [rng.permutation(count) for _ in range(2)]
            orders = np.array([(order + j) % count for order in drawn for j in range(count)], dtype=np.float64)
        signs = rng.choice([-1.0, 1.0], (RANDOM_POINTS, count))
        return np.concatenate([orders - (count - 1) / 2, signs * rng.uniform(0.3, 1.0, signs.shape) * count / 2])

    def _neighbours(self, places: Floats) -> Floats:
        """Return points like the given ones, two elements of each having changed places or one been moved anew."""
        rng, count = self.nearby.rng, places.shape[1]
        found = np.repeat(places, NEIGHBOURS, axis=0)
        rows = np.arange(len(found))
        one, other = rng.integers(count, size=(2, len(found)))
        found[rows, one], found[rows, other] = found[rows, other], found[rows, one]
        redrawn = rows[::3]
        found[redrawn, one[::3]] = rng.uniform(-0.7, 0.7, len(redrawn)) * count
        return found
