"""Where bugs are tried: many show only at points that tests seldom try."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.errors import InvalidArgument
from gradcheck.functions.formats import format_of
from gradcheck.functions.kinds import JaxArray, Number
from gradcheck.functions.points import Point
from gradcheck.functions.trees import Leaf
from gradcheck.mutants.behaviours import Taken

__all__ = ["POINTS", "point_at", "read_points"]

TINY = 1e-6
"""Root mean square of a leaf whose values are all small, such as a bias soon after initialisation."""

LEARNING_RATE = 1e-3
"""Learning rate of the one step from zeros: small, so that the point is near them."""


def read_points(names: Any) -> tuple[str, ...]:
    """Validate the names of points.

    Raises
    ------
    InvalidArgument
        For a name that is none, or none at all.
    """
    if not isinstance(names, str | Iterable | None):
        raise InvalidArgument(
            f"points={names!r} must be a sequence of names; choose among {', '.join(map(repr, POINTS))}."
        )
    chosen = (names,) if isinstance(names, str) else tuple(names or ())
    for name in chosen:
        if not isinstance(name, str) or name not in POINTS:
            raise InvalidArgument(f"points: {name!r} is unknown; choose among {', '.join(map(repr, POINTS))}.")
    if not chosen:
        raise InvalidArgument(f"points={names!r} names no point; choose among {', '.join(map(repr, POINTS))}.")
    return tuple(dict.fromkeys(chosen))


def point_at(name: str, point: Point, grad: Callable[[Any], Any]) -> Point:
    """Return the point of a name; ``grad`` is called for one that is a step away."""
    return POINTS[name](point, grad)


def _given(point: Point, grad: Callable[[Any], Any]) -> Point:
    del grad
    return point


def _zeros(point: Point, grad: Callable[[Any], Any]) -> Point:
    del grad
    return _with_values(point, [np.zeros_like(leaf.value) for leaf in point.leaves])


def _tiny(point: Point, grad: Callable[[Any], Any]) -> Point:
    del grad
    scales = [float(np.sqrt(np.mean(np.square(point.leaves[i].value, dtype=float)))) for i in point.free()]
    values = [leaf.value for leaf in point.leaves]
    for i, scale in zip(point.free(), scales, strict=True):
        values[i] = values[i] * (TINY / scale) if scale else np.full_like(values[i], TINY)
    return _with_values(point, values)


def _step(point: Point, grad: Callable[[Any], Any]) -> Point:
    start = _zeros(point, grad)
    taken = Taken.of(grad(start.tree()))
    values: list[Any] = []
    for leaf in start.leaves:
        slope = None if taken is None else taken.beside(leaf)
        values.append(leaf.value if slope is None else leaf.value - LEARNING_RATE * slope)
    return _with_values(start, values)


def _float32(point: Point, grad: Callable[[Any], Any]) -> Point:
    del grad
    leaves = list(point.leaves)
    for i in point.free():
        leaves[i] = _in_single(leaves[i])
    return replace(point, leaves=leaves)


def _in_single(leaf: Leaf) -> Leaf:
    single = np.dtype(np.float32)
    if leaf.value.dtype.itemsize <= single.itemsize:
        return leaf
    kind = leaf.restore
    if isinstance(kind, JaxArray):
        kind = replace(kind, dtype=single)
    elif isinstance(kind, Number):
        kind = Number(np.float32)
    return Leaf(leaf.name, leaf.value.astype(single), kind, format_of(single))


def _with_values(point: Point, values: Sequence[Any]) -> Point:
    """Return the point with other numbers in the leaves that are differentiated."""
    free = set(point.free())
    leaves = [
        replace(leaf, value=leaf.format.rounded(np.asarray(value))) if i in free else leaf
        for i, (leaf, value) in enumerate(zip(point.leaves, values, strict=True))
    ]
    return replace(point, leaves=leaves)


POINTS = {"given": _given, "zeros": _zeros, "tiny": _tiny, "step": _step, "float32": _float32}
"""Name of a point -> what makes it of the one that was given."""
