"""Explanations of a claim that is off by one factor in some slices of a leaf, and right in others.

An example is one third of the rows of an attention matrix, those of the keys, off by a factor of two. Halving along an axis
separates the sections: a part is finished when the claim agrees with it, or when both its halves are off by the same factor,
so only the edges of a section are followed to the end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradcheck.acceptance.directions import Directions
from gradcheck.acceptance.locate import Group, groups_of, halves
from gradcheck.acceptance.parts import Span
from gradcheck.acceptance.whole_claim import Multiple, fit
from gradcheck.aliases import Floats
from gradcheck.differences.counts import FEW
from gradcheck.differences.noise import DISAGREES

__all__ = ["Sections", "sections"]

MOST_EDGES = 6
"""Largest number of parts followed at one level: four edges of two sections, and two parts inside them whose factor is not
known yet."""


class Sections(NamedTuple):
    """Factors that explain a claim, constant over sections of one axis.

    Attributes
    ----------
    factors : array, shape (n, 1)
        Derivative divided by claim of every element; NaN where an edge was not resolved.
    uncertainty : float
        The half-width of the widest interval of a factor.
    edges : list of Group
        Groups of few elements, or of zero claims, that are neither right nor off by a factor that others have.
    """

    factors: Floats
    uncertainty: float
    edges: list[Group]


def sections(directions: Directions, leaf: int) -> Sections | None:
    """Explain the claim for a leaf by factors of sections along one of its axes; None if the errors are scattered.

    Notes
    -----
    Costs four calls, and two a halving: two if the whole claim is off by one factor, about twenty for each edge of a
    section among a thousand slices, 18 an axis without sections.
    """
    shape = directions.bench.leaves[leaf].value.shape
    along = (_along(directions, leaf, axis) for axis in range(len(shape)) if shape[axis] > 1)
    return next((found for found in along if found is not None), None)


def _along(directions: Directions, leaf: int, axis: int) -> Sections | None:
    """Explain the claim by factors of sections along one axis; see `sections`."""
    places = np.arange(len(directions.derivatives[leaf])).reshape(directions.bench.leaves[leaf].value.shape)
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
                    is_open = part.size > FEW and np.any(directions.derivatives[leaf][part.indices])
                    (waiting if is_open else single).append(half)
    return Sections(factors[:, None], widest, single)


def _multiple(directions: Directions, group: Group) -> Multiple | None:
    """Return the factor by which the claim for a group is off; None if it differs between functions or is uncertain."""
    deviation = np.sqrt(group.variance + directions.allowed([group.part])[0] ** 2)
    return fit(group.predicted, group.predicted - group.residual, deviation, group.predicted)


def _common(one: Multiple | None, other: Multiple | None) -> Multiple | None:
    """Return the intersection of two intervals, or None."""
    if one is None or other is None:
        return None
    low, high = max(one.low, other.low), min(one.high, other.high)
    return Multiple(low, high) if low <= high else None


def _known(multiple: Multiple | None, known: list[float]) -> float:
    """Return a factor of other slices that lies in an interval, else NaN."""
    return next((factor for factor in known if multiple and multiple.low <= factor <= multiple.high), np.nan)
