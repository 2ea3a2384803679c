"""Vectors at a point: trees like it, with numbers for what is differentiated and zeros for what is held fixed."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.errors import InvalidArgument
from gradcheck.functions.points import Layout, Point, as_given
from gradcheck.functions.trees import flatten

__all__ = ["differentiable", "read_tangent", "tangent"]


def differentiable(point: Point) -> list[int]:
    """Return the positions of the floating-point leaves, the empty ones among them."""
    return [i for i, leaf in enumerate(point.leaves) if leaf.is_differentiable]


def tangent(point: Point, vector: Floats, layout: Layout = as_given) -> Any:
    """Build a fresh tree like the point: ``vector`` in the floating-point leaves' own dtypes, else zeros in float64."""
    parts, start = [], 0
    for leaf in point.leaves:
        if leaf.is_differentiable:
            part = vector[start : start + leaf.value.size].reshape(leaf.value.shape)
            parts.append(leaf.restore(leaf.laid_out(leaf.format.rounded(part.copy()), layout)))
            start += leaf.value.size
        else:
            parts.append(leaf.restore.nothing(leaf.value))
    return point.build(parts)


def read_tangent(point: Point, tree: Any) -> Floats:
    """Read back the vector of a tree that `tangent` built.

    Raises
    ------
    InvalidArgument
        When the tree has been given another form since.
    """
    found = {leaf.name: leaf.value for leaf in flatten(tree)[0]}
    parts = []
    for leaf in (point.leaves[i] for i in differentiable(point)):
        value = found.get(leaf.name)
        if value is None or value.shape != leaf.value.shape:
            raise InvalidArgument("the vector has another form than the point; it must be like it.")
        parts.append(value.ravel().astype(np.float64))
    return np.concatenate(parts) if parts else np.zeros(0)
