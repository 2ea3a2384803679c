"""Explanations of a claim that is off by one factor in some slices of a leaf, and right in others.

The gradient of the keys of an attention layer is a third of the rows of one matrix; halved, it is no multiple of the claim
for that matrix, and most of its rows are right. Halving along an axis separates the two: a part is finished when the claim
agrees with it, or when both its halves are off by the same factor, so only the edges of a section are followed to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradcheck.acceptance.directions import DISAGREES, Directions
from gradcheck.acceptance.locate import Group
from gradcheck.acceptance.parts import Span
from gradcheck.acceptance.whole_claim import Multiple, fit
from gradcheck.aliases import Floats

__all__ = ["Sections", "sections"]

MOST_EDGES = 6
"""Parts of one level that are neither right nor off by a known factor: four edges of two sections, and two parts inside them of
which the factor is not known yet."""


@dataclass(frozen=True, slots=True)
class Sections:
    """Factors that explain a claim, constant over sections of one axis.

    Attributes
    ----------
    factors : array, shape (n, 1)
        Derivative by claim of every element; NaN where an edge was not resolved.
    uncertainty : float
        The half-width of the widest interval of a factor.
    edges : list of Group
        The slices that are neither right nor off by a factor that others have.
    """

    factors: Floats
    uncertainty: float
    edges: list[Group]


@dataclass(frozen=True, slots=True)
class _Slices:
    """What is measured of slices ``start`` to ``stop``; arrays have shape (K,).

    ``noise`` is the variance of the residual, ``allowed`` that of what ``rtol`` allows to the claims: a section whose claims
    are small in their leaf may be off by less than the others may.
    """

    start: int
    stop: int
    predicted: Floats
    residual: Floats
    noise: Floats
    allowed: Floats

    @property
    def is_right(self) -> bool:
        return bool((np.abs(self.residual) <= DISAGREES * np.sqrt(self.noise)).all())

    def less(self, part: _Slices) -> _Slices:
        """Return the rest, without slices at the beginning."""
        predicted, residual = self.predicted - part.predicted, self.residual - part.residual
        allowed = np.maximum(self.allowed - part.allowed, 0.0)
        return _Slices(part.stop, self.stop, predicted, residual, self.noise + part.noise, allowed)

    def multiple(self) -> Multiple | None:
        """Return by which factor the claim is off; None where the functions do not agree, or it is not known well enough."""
        deviation = np.sqrt(self.noise + self.allowed)
        return fit(self.predicted, self.predicted - self.residual, deviation, self.predicted)


class _Axis:
    """Measures slices along one axis of a leaf, all of them with the same direction."""

    def __init__(self, directions: Directions, leaf: int, axis: int) -> None:
        shape = directions.bench.leaves[leaf].value.shape
        self.directions, self.leaf, self.count = directions, leaf, shape[axis]
        places = np.arange(np.prod(shape)).reshape(shape)
        self.order = None if axis == 0 else np.moveaxis(places, axis, 0).ravel()
        self.width = places.size // self.count
        self.direction = directions.redraw(directions.draw((self._span(0, self.count),)))
        self.slopes = directions.measure([self.direction])

    def _span(self, start: int, stop: int) -> Span:
        return Span(self.leaf, start * self.width, stop * self.width, self.order)

    def whole(self) -> _Slices:
        """Return what was measured of the whole leaf."""
        allowed = self.directions.allowed([self.direction])[0]
        predicted, residual = self.slopes.predicted[0].sum(axis=0), self.slopes.residual[0]
        return _Slices(0, self.count, predicted, residual, self.slopes.deviation[0] ** 2, allowed**2)

    def halves(self, each: Sequence[_Slices]) -> list[tuple[_Slices, _Slices]]:
        """Measure the first halves of some parts; the others are what is left."""
        middles = [(part.start + part.stop) // 2 for part in each]
        parts = [
            replace(self.direction, spans=(self._span(part.start, middle),))
            for part, middle in zip(each, middles, strict=True)
        ]
        predicted, residual = self.directions.compare(parts)
        allowed = self.directions.allowed(parts) ** 2
        first = [
            _Slices(part.start, middle, predicted[i], residual[i], self.slopes.deviation[0] ** 2, allowed[i])
            for i, (part, middle) in enumerate(zip(each, middles, strict=True))
        ]
        return [(half, part.less(half)) for part, half in zip(each, first, strict=True)]

    def group(self, part: _Slices) -> Group:
        """Return slices as a group that disagrees."""
        direction = replace(self.direction, spans=(self._span(part.start, part.stop),))
        return Group(direction, part.residual, part.noise, self.slopes.deviation[0] ** 2)

    def spread(self, factors: Floats) -> Floats:
        """Return the factors of slices for all elements, shape (n, 1)."""
        values = np.repeat(factors, self.width)
        if self.order is not None:
            values[self.order] = values.copy()
        return values[:, None]


def sections(directions: Directions, leaf: int) -> Sections | None:
    """Explain the claim for a leaf by factors of sections along one of its axes; None where what is wrong is scattered.

    Notes
    -----
    Costs four calls, and two a halving: two where the whole claim is off by one factor, about twenty for each edge of a
    section among a thousand slices, 18 an axis where there are no sections.
    """
    shape = directions.bench.leaves[leaf].value.shape
    along = (_along(_Axis(directions, leaf, axis)) for axis in range(len(shape)) if shape[axis] > 1)
    return next((found for found in along if found is not None), None)


def _along(axis: _Axis) -> Sections | None:
    """Explain the claim by factors of sections along one axis."""
    factors, widest = np.full(axis.count, np.nan), 0.0
    known: list[float] = []
    single: list[_Slices] = []
    edges = [axis.whole()]
    for _ in range(axis.count.bit_length()):
        if len(edges) + len(single) > MOST_EDGES:
            return None
        waiting: list[_Slices] = []
        for left, right in axis.halves(edges):
            common = _common(left.multiple(), right.multiple())
            if common is not None:
                factors[left.start : right.stop] = common.factor
                widest = max(widest, common.uncertainty)
                known.append(common.factor)
                continue
            for half in (left, right):
                factors[half.start : half.stop] = factor = 1.0 if half.is_right else _known(half.multiple(), known)
                if np.isnan(factor):
                    (waiting if half.stop - half.start > 1 else single).append(half)
        edges = waiting
    return Sections(axis.spread(factors), widest, [axis.group(part) for part in single])


def _common(one: Multiple | None, other: Multiple | None) -> Multiple | None:
    """Return what two intervals have in common."""
    if one is None or other is None:
        return None
    low, high = max(one.low, other.low), min(one.high, other.high)
    return Multiple(low, high) if low <= high else None


def _known(multiple: Multiple | None, known: list[float]) -> float:
    """Return the factor in an interval that other slices have too, else NaN."""
    if multiple is None:
        return np.nan
    return next((factor for factor in known if multiple.low <= factor <= multiple.high), np.nan)
