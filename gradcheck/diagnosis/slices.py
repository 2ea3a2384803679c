"""The slices into which normalisations and reductions part an array."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gradcheck.diagnosis.clues import Floats

__all__ = ["SHORTEST", "Slices", "partings"]

SHORTEST = 3
"""Least length of a slice: of two elements, one along the direction, the other tells nothing that a factor would not."""


@dataclass(frozen=True)
class Slices:
    """A way to part an array: the shape in which it is laid out, the axes of a slice (a leading one counted), and its name."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    words: str

    def __call__(self, array: Floats) -> Floats:
        """Lay an array with a leading axis out so."""
        return array.reshape(len(array), *self.shape)


def partings(shape: tuple[int, ...]) -> Iterator[Slices]:
    """Give the slices that normalisations take: all, along one axis, over all axes but one or two, over groups of channels."""
    ndim = len(shape)
    sets = [tuple(range(ndim))] if ndim > 1 else []
    sets += [(axis,) for axis in range(ndim)]
    if ndim > 2:
        sets += [tuple(i for i in range(ndim) if i != axis) for axis in range(ndim)]
        sets += [tuple(range(first, ndim)) for first in range(2, ndim - 1)]
    for axes in dict.fromkeys(sets):
        if math.prod(shape[axis] for axis in axes) >= SHORTEST:
            where = f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
            words = "" if len(axes) == ndim else f" in each slice along {where}"
            yield Slices(shape, tuple(axis + 1 for axis in axes), words)
    if ndim > 1:
        for count in range(2, shape[1]):
            if shape[1] % count == 0:
                laid = (shape[0], count, shape[1] // count, *shape[2:])
                words = f" in each of {count} groups along axis 1"
                yield Slices(laid, tuple(range(3, len(laid) + 1)), words)
