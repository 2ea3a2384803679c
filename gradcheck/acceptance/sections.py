"""Explanations of a claim that is off by one factor in some slices of a leaf, and right in others.

The gradient of the keys of an attention layer is a third of the rows of one matrix; halved, it is no multiple of the claim
for that matrix, and most of its rows are right. Halving along an axis separates the two: a part is finished when the claim
agrees with it, or when both its halves are off by the same factor, so only the edges of a section are followed to the end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradcheck.acceptance.directions import DISAGREES, Directions
from gradcheck.acceptance.locate import Group, groups_of, halves
from gradcheck.acceptance.parts import Span
from gradcheck.acceptance.whole_claim import Multiple, fit
from gradcheck.aliases import Floats
from gradcheck.differences.counts import FEW

__all__ = ["Sections", "sections"]

MOST_EDGES = 6
"""Parts of one level that are neither right nor off by a known factor: four edges of two sections, and two parts inside them of
which the factor is not known yet."""


class Sections(NamedTuple):
    """Factors that explain a claim, constant over sections of one axis.

    Attributes
    ----------
    factors : array, shape (n, 1)
        Derivative by claim of every element; NaN where an edge was not resolved.
    uncertainty : float
        The half-width of the widest interval of a factor.
    edges : list of Group
        Few elements each, or claims of zero, that are neither right nor off by a factor that others have.
    """

    factors: Floats
    uncertainty: float
    edges: list[Group]


def sections(directions: Directions, leaf: int) -> Sections | None:
    """Explain the claim for a leaf by factors of sections along one of its axes; None where what is wrong is scattered.

    Notes
    -----
    Costs four calls, and two a halving: two where the whole claim is off by one factor, about twenty for each edge of a
    section among a thousand slices, 18 an axis where there are no sections.
    """
    shape = directions.bench.leaves[leaf].value.shape
    along = (_along(directions, leaf, axis) for axis in range(len(shape)) if shape[axis] > 1)
    return next((found for found in along if found is not None), None)


def _along(directions: Directions, leaf: int, axis: int) -> Sections | None:
    """Explain the claim by factors of sections along one axis, all of them measured along one direction while that is sure."""
    places = np.arange(len(directions.believed[leaf])).reshape(directions.bench.leaves[leaf].value.shape)
    order = None if axis == 0 else np.moveaxis(places, axis, 0).ravel()
    span = Span(leaf, 0, places.size, order, places.size // places.shape[axis])
    factors, known, widest = np.full(places.size, np.nan), [], 0.0
    single: list[Group] = []
    waiting = groups_of(directions.measure([directions.redraw(directions.draw((span,)))]))
    while waiting:
        if len(waiting) + len(single) > MOST_EDGES:
            return None
        pairs, waiting = halves(directions, waiting), []
        for pair in pairs:
            multiples = [_multiple(directions, half) for half in pair]
            common = _common(*multiples)
            if common is not None:
                widest = max(widest, common.uncertainty)
                known.append(common.factor)
            for half, multiple in zip(pair, multiples, strict=True):
                (part,) = half.part.spans
                factor = 1.0 if half.significance <= DISAGREES else _known(multiple, known)
                factors[part.indices] = common.factor if common is not None else factor
                if common is None and np.isnan(factor):  # zeros times any factor are zeros
                    is_open = part.size > FEW and np.any(directions.believed[leaf][part.indices])
                    (waiting if is_open else single).append(half)
    return Sections(factors[:, None], widest, single)


def _multiple(directions: Directions, group: Group) -> Multiple | None:
    """Return by which factor the claim is off; None where the functions do not agree, or it is not known well enough.

    A section whose claims are small in their leaf may be off by less than the others may.
    """
    deviation = np.sqrt(group.variance + directions.allowed([group.part])[0] ** 2)
    return fit(group.predicted, group.predicted - group.residual, deviation, group.predicted)


def _common(one: Multiple | None, other: Multiple | None) -> Multiple | None:
    """Return what two intervals have in common."""
    if one is None or other is None:
        return None
    low, high = max(one.low, other.low), min(one.high, other.high)
    return Multiple(low, high) if low <= high else None


def _known(multiple: Multiple | None, known: list[float]) -> float:
    """Return the factor in an interval that other slices have too, else NaN."""
    return next((factor for factor in known if multiple and multiple.low <= factor <= multiple.high), np.nan)
