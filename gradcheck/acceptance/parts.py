"""Directions restricted to some elements, as data: which of them move, how far, and in which order they are halved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from gradcheck.aliases import Chosen, Indices

__all__ = ["Part", "Span", "elements_of"]


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive elements of one leaf: positions ``start`` to ``stop`` in the order of the leaf, or in another order.

    Attributes
    ----------
    leaf, start, stop : int
    order : array of indices, optional
        The flat index at each position; by default the order of the leaf.
    width : int
        The number of elements in a slice: halving does not divide slices until only one is left.
    """

    leaf: int
    start: int
    stop: int
    order: Indices | None = None
    width: int = 1

    @property
    def size(self) -> int:
        """How many elements there are."""
        return self.stop - self.start

    def where(self, start: int, stop: int) -> slice | Indices:
        """Return the elements at some positions."""
        return slice(start, stop) if self.order is None else self.order[start:stop]

    @property
    def indices(self) -> Indices:
        """The elements, as flat indices."""
        return np.arange(self.start, self.stop) if self.order is None else self.order[self.start : self.stop]


@dataclass(frozen=True, slots=True)
class Part:
    """A direction restricted to some elements.

    Attributes
    ----------
    number : int
        The number of the direction, from which its components are drawn.
    step : float
        How far the elements move, in units of their lengths.
    spans : tuple of Span
        The elements that move.
    """

    number: int
    step: float
    spans: tuple[Span, ...]

    @property
    def size(self) -> int:
        """How many elements move."""
        return sum(span.size for span in self.spans)

    @property
    def leaves(self) -> list[int]:
        """The leaves with elements that move."""
        return list(dict.fromkeys(span.leaf for span in self.spans))

    def halves(self) -> tuple[Part, Part]:
        """Halve the elements: of several spans at the edge nearest to the middle, else within the span."""
        if len(self.spans) > 1:
            edges = np.cumsum([span.size for span in self.spans])
            cut = 1 + int(np.abs(edges[:-1] - edges[-1] / 2).argmin())
            return replace(self, spans=self.spans[:cut]), replace(self, spans=self.spans[cut:])
        (span,) = self.spans
        width = span.width if span.size > span.width else 1
        middle = (span.start // width + span.stop // width) // 2 * width
        left, right = replace(span, stop=middle), replace(span, start=middle)
        return replace(self, spans=(left,)), replace(self, spans=(right,))


def elements_of(parts: Iterable[Part]) -> Chosen:
    """Return the elements that move along some directions, leaf by leaf."""
    chosen: dict[int, list[Indices]] = {}
    for part in parts:
        for span in part.spans:
            chosen.setdefault(span.leaf, []).append(span.indices)
    return {leaf: np.unique(np.concatenate(indices)) for leaf, indices in chosen.items()}
