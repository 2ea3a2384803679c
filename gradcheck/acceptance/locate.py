"""Locating wrong elements when claim and derivative disagree along a direction: adaptive group testing by halving.

Derivatives are linear in the direction, so the residual of one half of a group gives that of the other by subtraction.
That adds noise; when the residual is no longer far above it, both halves are measured along new directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradcheck.acceptance.directions import Directions, Slopes
from gradcheck.acceptance.parts import Part
from gradcheck.aliases import Floats
from gradcheck.differences.counts import FEW
from gradcheck.differences.noise import DISAGREES, PLAINLY

__all__ = ["Group", "contradicted_leaves", "groups_of", "halves", "locate", "strongest"]


@dataclass(frozen=True, slots=True)
class Group:
    """Elements that disagree along a direction.

    Attributes
    ----------
    part : Part
        The elements, and the direction.
    predicted : array, shape (K,)
        The predicted change.
    residual, variance : arrays, shape (K,)
        Predicted minus measured change, and its variance.
    fresh : array, shape (K,)
        The variance of a single measurement.
    """

    part: Part
    predicted: Floats
    residual: Floats
    variance: Floats
    fresh: Floats

    @property
    def significance(self) -> float:
        """The residual in standard deviations, of the worst function."""
        ratio = np.abs(self.residual) / np.sqrt(self.variance)
        return float(np.where(self.residual == 0, 0.0, ratio).max(initial=0.0))


def groups_of(slopes: Slopes) -> list[Group]:
    """Return a group for each direction, with what was measured along it."""
    rows = zip(slopes.parts, slopes.predicted, slopes.residual, slopes.deviation**2, strict=True)
    return [Group(part, each.sum(axis=0), residual, variance, variance) for part, each, residual, variance in rows]


def contradicted_leaves(directions: Directions, group: Group, most: int) -> tuple[list[Group], list[Group]]:
    """Halve a group of leaves until each group is one leaf.

    If more than ``most`` groups disagree the last ones are followed: a backward pass reaches those first, and an error
    there spoils the others. Costs as `locate` does.

    Returns
    -------
    leaves, left : list of Group
        Leaves that disagree, and groups of several leaves that were not separated.
    """
    followed: list[Group] = [group]
    left: list[Group] = []
    while several := [group for group in followed if len(group.part.spans) > 1]:
        single = [group for group in followed if len(group.part.spans) == 1]
        followed = sorted(single + _followed(halves(directions, several)), key=lambda group: group.part.leaves[0])
        left, followed = left + followed[:-most], followed[-most:]
    return followed, left


def locate(directions: Directions, groups: list[Group], most: int) -> tuple[list[Group], list[Group]]:
    """Halve groups that disagree until few elements are left in each.

    The search ends early when more than ``most`` groups disagree, or every half does: then more than a few elements are wrong.

    Returns
    -------
    found, left : list of Group
        Groups of at most four elements each and nothing; or nothing and all groups if the search ended early.

    Notes
    -----
    Costs two calls a halving of a group that disagrees strongly, and eight of another.
    """
    found, left = _split(groups)
    counts = [len(left)]
    # If every half disagreed in the last FEW halvings many elements are wrong: with fewer than forty some half would
    # agree.
    while left and counts[-1] < 2**FEW * counts[0]:
        few, left = _split(_followed(halves(directions, left)))
        found += few
        if len(found) + len(left) > most:
            break
        counts = [*counts, len(left)][-FEW - 1 :]
    return ([], found + left) if left or len(found) > most else (found, [])


def strongest(directions: Directions, groups: list[Group], most: int) -> list[Group]:
    """Halve groups until few elements are left in each, following only the ``most`` groups of largest residual.

    Costs as `locate` does, for the halves that are followed.
    """
    done: list[Group] = []
    while groups:
        best = sorted(done + groups, key=lambda group: -group.significance)[:most]
        done, large = _split(best)
        groups = _followed(halves(directions, large))
    return done


def _split(groups: list[Group]) -> tuple[list[Group], list[Group]]:
    """Return the groups of few elements, and the others."""
    return [group for group in groups if group.part.size <= FEW], [group for group in groups if group.part.size > FEW]


def _followed(pairs: list[tuple[Group, Group]]) -> list[Group]:
    """Choose the halves that disagree; of two that do not clearly, the likelier one, since their whole did."""
    chosen = []
    for pair in pairs:
        clear = [half for half in pair if half.significance > DISAGREES]
        likelier = max(pair, key=lambda half: half.significance)
        # The likelier one is followed from half the usual significance on.
        chosen += clear or [half for half in [likelier] if half.significance > DISAGREES / 2]
    return chosen


def halves(directions: Directions, groups: list[Group]) -> list[tuple[Group, Group]]:
    """Return both halves of every group."""
    certain = [group for group in groups if group.significance >= PLAINLY]
    uncertain = [half for group in groups if group.significance < PLAINLY for half in group.part.halves()]
    pairs = [group.part.halves() for group in certain]
    compared = zip(*directions.compare([left for left, _ in pairs]), strict=True)
    found = []
    for group, (left, right), (predicted, residual) in zip(certain, pairs, compared, strict=True):
        rest = group.predicted - predicted, group.residual - residual, group.variance + group.fresh
        one = Group(left, predicted, residual, group.fresh, group.fresh)
        found.append((one, Group(right, *rest, group.fresh)))
    measured = groups_of(directions.measure([directions.redraw(half) for half in uncertain]))
    return found + list(zip(measured[::2], measured[1::2], strict=True))
