"""Finding the wrong elements when claim and derivative disagree along a direction: group testing by halves.

Derivatives are linear in the direction, so one half of a group measured gives the other by subtraction. That adds
noise, and both are measured anew, along another direction, when little is left of the disagreement beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.directions import Directions, Part, Slopes

__all__ = ["CERTAIN", "DISAGREES", "Group", "groups_of", "locate"]

Floats = NDArray[np.float64]

DISAGREES = 3.3
"""Deviations that are no accident: along four directions of a right gradient they are met in 1 of 50,000 checks."""

FAINT = 1.5
"""Deviations of the likelier of two halves, neither of which disagrees clearly, that are worth following."""

CERTAIN = 20.0
"""A disagreement of so many deviations is followed by subtraction; a smaller one is measured anew."""

FEW = 4
"""Elements that are told apart one by one: halving them would cost as much."""


@dataclass(frozen=True, slots=True)
class Group:
    """Elements that disagree along a direction.

    Attributes
    ----------
    part : Part
        Which, and along which direction.
    residual, variance : arrays, shape (K,)
        Claimed minus measured, and what is unsure about it.
    fresh : array, shape (K,)
        The variance of one measurement.
    """

    part: Part
    residual: Floats
    variance: Floats
    fresh: Floats

    @property
    def significance(self) -> float:
        """Return how many deviations the residual is, in the worst function."""
        with np.errstate(all="ignore"):
            ratio = np.abs(self.residual) / np.sqrt(self.variance)
        return float(np.max(np.where(self.residual == 0, 0.0, ratio), initial=0.0))


def locate(directions: Directions, groups: list[Group], crowd: int) -> tuple[list[Group], list[Group]]:
    """Halve groups that disagree until few elements are left in each.

    Parameters
    ----------
    directions : Directions
        Measures.
    groups : list of Group
        Where to begin.
    crowd : int
        The search ends when more groups than this disagree: then it is not a few elements that are wrong.

    Returns
    -------
    found : list of Group
        Of at most four elements each.
    left : list of Group
        Larger ones, where the search ended early.

    Notes
    -----
    Costs two calls a halving of a group that disagrees strongly, and eight of another.
    """
    found: list[Group] = []
    while groups:
        if len(groups) + len(found) > crowd:
            return found, groups
        groups = _followed(_halves(directions, groups))
        found += [group for group in groups if group.part.size <= FEW]
        groups = [group for group in groups if group.part.size > FEW]
    return found, []


def _followed(halves: list[Group]) -> list[Group]:
    """Choose the halves that disagree, or the likelier of two where neither does clearly: their whole did."""
    chosen = []
    for pair in zip(halves[::2], halves[1::2], strict=True):
        clear = [half for half in pair if half.significance > DISAGREES]
        chosen += clear or [
            half for half in [max(pair, key=lambda half: half.significance)] if half.significance > FAINT
        ]
    return chosen


def _halves(directions: Directions, groups: list[Group]) -> list[Group]:
    """Return both halves of every group, one after the other."""
    sure = [group for group in groups if group.significance >= CERTAIN]
    unsure = [group for group in groups if group.significance < CERTAIN]
    halves = []
    pairs = [directions.halves(group.part) for group in sure]
    residuals = directions.compare([left for left, _ in pairs])
    for group, (left, right), residual in zip(sure, pairs, residuals, strict=True):
        halves.append(Group(left, residual, group.fresh, group.fresh))
        halves.append(Group(right, group.residual - residual, group.variance + group.fresh, group.fresh))
    parts = [directions.redraw(half) for group in unsure for half in directions.halves(group.part)]
    return halves + groups_of(parts, directions.measure(parts))


def groups_of(parts: list[Part], slopes: Slopes) -> list[Group]:
    """Return the elements of some directions as groups, with what was measured along them."""
    rows = zip(parts, slopes.residual, slopes.deviation**2, strict=True)
    return [Group(part, residual, variance, variance) for part, residual, variance in rows]
