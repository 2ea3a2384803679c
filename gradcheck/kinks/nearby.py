"""Points very near the one that is checked, and the elements that have to be looked at there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gradcheck.functions.displacements import Moves
from gradcheck.functions.probe import Probe

__all__ = ["FARTHEST", "Neighbourhood", "Suspect"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CLOSEST, FARTHEST = 1.07e-10, 1.86e-2
"""Distances of near points, in units of the elements' lengths."""

FARTHEST_IN_NOISE, LESS_SHARP = 0.27, 20.0
"""Where noise would hide what is at stake even there: points so far away at most, for slopes so many times less sharp."""


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
    hidden : array of bool, shape (K,)
        A wrong claim that would be right at a kink so near that noise hides it.
    """

    leaf: int
    index: int
    claimed: Floats
    reference: Floats
    bound: Floats
    gap: Floats
    valid: Bools
    open: Bools
    hidden: Bools = field(init=False)

    def __post_init__(self) -> None:
        self.hidden = np.zeros_like(self.valid)

    @property
    def at_stake(self) -> Bools:
        """Where there is something to decide: elsewhere claim and derivative agree, and no kink was seen."""
        return np.asarray(self.contradicted(np.zeros_like(self.bound)) | (self.gap != 0))

    def contradicted(self, tolerance: Floats) -> Bools:
        """Where the claim lies outside the interval between the one-sided derivatives."""
        return np.asarray(np.abs(self.claimed - self.reference) > self.bound + tolerance)


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The functions, claims and lengths that all suspects have in common.

    Attributes
    ----------
    probe : Probe
        The functions.
    claims : dict
        For each free leaf its claim, shape (n, K).
    lengths : dict
        For each free leaf the lengths of its elements; all are moved.
    noise : array, shape (K,)
        By how much noise may change a value.
    rng : Generator
        Draws the near points and directions.
    fellows : dict
        Leaf and index of an element -> the elements of the leaf with which it has outputs in common, where that is known.
    """

    probe: Probe
    claims: dict[int, Floats]
    lengths: dict[int, Floats]
    noise: Floats
    rng: np.random.Generator
    fellows: dict[tuple[int, int], NDArray[np.intp]] = field(default_factory=dict)

    def near(self, distance: float) -> Moves:
        """Draw a near point: random signs times a spread of sizes, so that ties break in every order."""
        return {
            leaf: distance * scale * self.rng.choice([-1.0, 1.0], scale.shape) * self.rng.uniform(0.3, 1.0, scale.shape)
            for leaf, scale in self.lengths.items()
        }

    def unit(self, suspects: list[Suspect]) -> float:
        """Return the shortest of the suspects' lengths."""
        return float(min(self.lengths[s.leaf][s.index] for s in suspects))

    def distance(self, suspects: list[Suspect]) -> float:
        """Choose how near: so that noise blurs a slope of a sweep by about a hundredth of what is at stake.

        Where even `FARTHEST` is not far enough for that, by about a fifth.
        """
        with np.errstate(all="ignore"):
            apart = [np.maximum(np.abs(s.claimed - s.reference), np.abs(s.gap)) for s in suspects]
            stakes = [np.where(s.at_stake, size, 0.0) for s, size in zip(suspects, apart, strict=True)]
            stake = np.max(stakes, axis=0)
            slope = np.max([np.abs(s.claimed) + np.abs(s.reference) for s in suspects], axis=0)
            blur = self.noise + self._rounding(suspects) * slope
            needed = 2000 * blur / (self.unit(suspects) * np.where(np.isfinite(stake) & (stake > 0), stake, np.inf))
        distance = float(np.max(np.nan_to_num(needed, nan=0.0, posinf=0.0)))
        return float(np.clip(distance, CLOSEST, np.clip(distance / LESS_SHARP, FARTHEST, FARTHEST_IN_NOISE)))

    def _rounding(self, suspects: list[Suspect]) -> float:
        """Return by how much the dtype of the parameters may round a displacement."""
        leaves = self.probe.point.leaves
        return max(
            float(leaves[s.leaf].format.spacing(np.abs(leaves[s.leaf].value.ravel()[s.index]))) for s in suspects
        )

    def tied(self, suspect: Suspect) -> Bools:
        """Return which elements of the leaf have exactly the suspect's value, and may share its kink."""
        flat = self.probe.point.leaves[suspect.leaf].value.ravel()
        tied = np.asarray(flat == flat[suspect.index])
        fellows = self.fellows.get((suspect.leaf, suspect.index))
        return tied if fellows is None else tied & np.isin(np.arange(flat.size), fellows)
