"""Many kinks at once: those of a layer whose outputs each depend on few of the elements that are at one.

A map of windows that are all tied, as pooling of a blank image, has a kink in every window, and all have the same value.
Elements that change no output in common are moved together, and the outputs that each group changes are read apart: as
many calls as one group takes serve all. At near points the gradients of a group are sampled; a claim in their convex
hull, which is Clarke's subdifferential, is valid (gradient sampling: Burke, Lewis and Overton, 2005). What is not is
looked at more closely, some of many.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gradcheck.functions.displacements import Moves
from gradcheck.functions.outputs import EachOutput
from gradcheck.kinks.nearby import Neighbourhood, Suspect
from gradcheck.kinks.sweeps import acquit
from gradcheck.kinks.ties import MOST_SHARING

__all__ = ["acquit_many"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Place = tuple[int, int]

FEWEST = 8
"""Suspects; so few are cheaper to look at one by one, unless too many others have their value."""

MOST_MEMBERS = 8
"""Of a group: more orders of them are not met at `POINTS` points."""

POINTS, ROUNDS = 48, 3
"""Near points, and how often so many are added before some claim is not valid. The chance that one of four tied elements
is not the largest at any of 48 is one in a million."""

LOOKED_AT = 4
"""Groups that are looked at closely of those whose claims were not found valid."""

STEP = 0.1
"""Over which a gradient is sampled, in units of the distance of the near points."""

SLACK = 1e-3
"""A claim may leave the hull by this share of the kink."""

ROUNDINGS = 8
"""An output that differs by no more units in its last place has not changed."""

ITERATIONS, EXHAUSTED = 60, 1e-12
"""Points that are tried for a place in the hull at most, and a weight or gain that is none."""


@dataclass(slots=True)
class _Group:
    """Elements at a kink that change outputs in common, and those outputs."""

    members: list[Place] = field(default_factory=list)
    outputs: set[int] = field(default_factory=set)


def acquit_many(nearby: Neighbourhood, suspects: list[Suspect]) -> None:
    """Do as `gradcheck.kinks.sweeps.acquit`, and judge together what can be told apart by the outputs.

    Of the groups whose claims were not found in the hull some are looked at closely. If all of these are accused the
    others are taken to be no different; if not, they are left open.

    Parameters
    ----------
    nearby : Neighbourhood
        The functions and claims near the point. Afterwards it knows which equal elements have outputs in common.
    suspects : list of Suspect
        As for `gradcheck.kinks.sweeps.acquit`.

    Notes
    -----
    Costs two calls for each suspect and each element that equals one, and ``96 m`` for groups of up to ``m`` elements,
    three times as much where some are not acquitted; and what `gradcheck.kinks.sweeps.acquit` costs for those looked at.
    """
    bent = [suspect for suspect in suspects if np.any(suspect.gap)]
    output = nearby.probe.output
    is_few = len(bent) <= FEWEST and all(np.count_nonzero(nearby.tied(suspect)) <= MOST_SHARING for suspect in bent)
    if is_few or output.size <= 1 or isinstance(nearby.probe, EachOutput):
        acquit(nearby, suspects)
        return
    apart = _Apart(nearby, bent)
    groups = [group for group in apart.groups() if len(group.members) <= MOST_MEMBERS]
    valid = apart.are_valid(groups)
    for group in groups:
        for leaf, index in group.members:
            nearby.fellows[leaf, index] = np.array([i for other, i in group.members if other == leaf])
    grouped = {id(apart.suspects[place]) for group in groups for place in group.members if place in apart.suspects}
    close = [suspect for suspect in suspects if id(suspect) not in grouped]
    others, examples = [], []
    looked_at = set(nearby.rng.permutation(np.flatnonzero(~np.all(valid, axis=1)))[:LOOKED_AT])
    for row, (group, is_valid) in enumerate(zip(groups, valid, strict=True)):
        members = [apart.suspects[place] for place in group.members if place in apart.suspects]
        for suspect in members:
            suspect.valid, suspect.open = is_valid.copy(), np.zeros_like(is_valid)
        if row in looked_at:
            examples += members
        elif not np.all(is_valid):
            others += members
    acquit(nearby, close + examples)
    if not all(np.any(~suspect.valid & ~suspect.open) for suspect in examples):
        for suspect in others:
            suspect.open = ~suspect.valid


class _Apart:
    """Elements at kinks, each seen through the outputs that it changes."""

    def __init__(self, nearby: Neighbourhood, suspects: list[Suspect]) -> None:
        probe = nearby.probe
        self.nearby = nearby
        self.suspects = {(suspect.leaf, suspect.index): suspect for suspect in suspects}
        self.distance = nearby.distance(suspects)
        factors = np.ones((probe.output.size, 1))
        self.each = EachOutput(probe.function, probe.point, probe.output, factors, probe.budget)

    def groups(self) -> list[_Group]:
        """Part suspects and their equals into those that change outputs in common."""
        base = self.each.ray({}, np.zeros(1))[0]
        changed = {place: self._changes(place, base) for place in self._places()}
        heads: dict[int, _Group] = {}
        for place, outputs in changed.items():
            merged = _Group([place], set(outputs))
            for group in {id(heads[o]): heads[o] for o in outputs if o in heads}.values():
                merged.members += group.members
                merged.outputs |= group.outputs
            heads |= dict.fromkeys(merged.outputs, merged)
        groups = {id(group): group for group in heads.values()}.values()
        return [group for group in groups if any(place in self.suspects for place in group.members)]

    def _places(self) -> list[Place]:
        places = dict.fromkeys(self.suspects)
        for leaf in dict.fromkeys(leaf for leaf, _ in self.suspects):
            values = self.nearby.probe.point.leaves[leaf].value.ravel()
            at = values[[index for other, index in self.suspects if other == leaf]]
            places |= dict.fromkeys((leaf, int(i)) for i in np.flatnonzero(np.isin(values, at)))
        return list(places)

    def _changes(self, place: Place, base: Floats) -> list[int]:
        """Return the outputs that change when an element is moved up or down."""
        leaf, index = place
        step = self.distance * self.nearby.lengths[leaf][index]
        values, _ = self.each.elements(leaf, np.array([index, index]), np.array([step, -step]))
        return [int(o) for o in np.flatnonzero(np.any(_differ(values, base), axis=0))]

    def are_valid(self, groups: list[_Group]) -> Bools:
        """Tell of each group for which cotangents its claims are in the hull of its gradients near by, shape (G, K)."""
        shape = (len(groups), len(self.nearby.noise))
        width = max((len(group.members) for group in groups), default=0)
        targets = np.zeros((*shape, width))
        for row, group in enumerate(groups):
            claims = [self.nearby.claims[leaf][index] for leaf, index in group.members]
            targets[row, :, : len(claims)] = np.stack(claims, axis=1)
        tolerance = np.array([self._tolerance(group) for group in groups]).reshape(shape)
        points = np.zeros((*shape, 0, width))
        valid = np.zeros(shape, dtype=bool)
        for _ in range(ROUNDS):
            if not np.all(valid):
                points = np.concatenate([points, self._sample(groups, width)], axis=2)
                flat = points.reshape(-1, *points.shape[2:])
                valid = _are_in_hull(flat, targets.reshape(-1, width), tolerance.ravel()).reshape(shape)
        return valid

    def _tolerance(self, group: _Group) -> Floats:
        """Return how far outside the hull claims may be: by what noise does to gradients, and a share of the kink."""
        found = [self.suspects[place] for place in group.members if place in self.suspects]
        stake = np.max([np.maximum(np.abs(s.gap), np.abs(s.claimed - s.reference)) for s in found], axis=0)
        shortest = min(self.nearby.lengths[leaf][index] for leaf, index in group.members)
        blur = self.nearby.noise / (STEP * self.distance * shortest)
        return np.asarray(np.sqrt(len(group.members)) * blur + SLACK * stake)

    def _sample(self, groups: list[_Group], width: int) -> Floats:
        """Return gradients of each group under each cotangent at near points, shape (G, K, POINTS, width)."""
        sampled = np.zeros((len(groups), len(self.nearby.noise), POINTS, width))
        outputs = [np.array(sorted(group.outputs)) for group in groups]
        for point in range(POINTS):
            start = self.nearby.near(self.distance)
            for number in range(width):
                moved = [
                    (row, group.members[number]) for row, group in enumerate(groups) if number < len(group.members)
                ]
                ends = [self._moved(start, [place for _, place in moved], sign) for sign in (STEP, -STEP)]
                with np.errstate(all="ignore"):
                    change = (ends[0] - ends[1]) / (2 * STEP * self.distance)
                    for row, (leaf, index) in moved:
                        slopes = self.nearby.probe.cotangents[:, outputs[row]] @ change[outputs[row]]
                        sampled[row, :, point, number] = slopes / self.nearby.lengths[leaf][index]
        return sampled

    def _moved(self, start: Moves, moved: list[Place], sign: float) -> Floats:
        """Return the outputs with one element of each group moved from a near point."""
        moves = {leaf: shift.copy() for leaf, shift in start.items()}
        for leaf, index in moved:
            moves[leaf][index] += sign * self.distance * self.nearby.lengths[leaf][index]
        return np.asarray(self.each.ray(moves, np.array([1.0]))[0])


def _differ(values: Floats, base: Floats) -> Bools:
    """Tell where values differ by more than rounding."""
    with np.errstate(all="ignore"):
        return np.asarray(~(np.abs(values - base) <= ROUNDINGS * np.spacing(np.abs(base))))


def _are_in_hull(points: Floats, targets: Floats, tolerance: Floats) -> Bools:
    """Tell whether targets, shape (Q, m), are in the convex hulls of points, shape (Q, P, m)."""
    with np.errstate(all="ignore"):
        nearest = np.min(np.linalg.norm(points - targets[:, None], axis=2), axis=1)
    rows = zip(points, targets, tolerance, nearest <= tolerance, strict=True)
    return np.array([known or _is_in_hull(hull, target, most) for hull, target, most, known in rows], dtype=bool)


def _is_in_hull(points: Floats, target: Floats, tolerance: float) -> bool:
    """Tell whether a target is in the convex hull of points, the rows, by non-negative least squares.

    The weights of the points are found with the active set method of Lawson and Hanson (1974).
    """
    size = float(np.max(np.abs(points), initial=0.0))
    if not (size > 0 and np.isfinite(size) and np.all(np.isfinite(target))):
        return False
    system, wanted = np.vstack([points.T / size, np.ones(len(points))]), np.append(target / size, 1.0)
    weights, used = np.zeros(len(points)), np.zeros(len(points), dtype=bool)
    for _ in range(ITERATIONS):
        total = weights.sum()
        if total > 0 and np.linalg.norm(points.T @ weights / total - target) <= tolerance:
            return True
        gain = np.where(used, -np.inf, system.T @ (wanted - system @ weights))
        best = int(np.argmax(gain))
        if not gain[best] > EXHAUSTED:
            return False
        used[best] = True
        weights = _solve(system, wanted, weights, used)
    return False


def _solve(system: Floats, wanted: Floats, weights: Floats, used: Bools) -> Floats:
    """Fit the weights in use, and take out of use whatever would become negative."""
    while True:
        fitted = np.zeros_like(weights)
        fitted[used] = np.linalg.lstsq(system[:, used], wanted, rcond=None)[0]
        negative = used & (fitted <= 0)
        if not np.any(negative):
            return fitted
        fall = np.maximum(weights[negative] - fitted[negative], np.finfo(np.float64).tiny)
        share = float(np.min(weights[negative] / fall))
        weights = weights + share * (fitted - weights)
        used &= ~(negative & (weights <= EXHAUSTED))
