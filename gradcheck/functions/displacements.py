"""Batches of points near a given one, written down compactly and made only where the function is called.

A batch is a few indices and numbers, however large the leaves are: it is what goes to another process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.functions.blocks import BLOCK
from gradcheck.functions.points import Point
from gradcheck.functions.trees import Leaf

__all__ = ["Displacements", "Elements", "Line", "Moves", "Parts", "Ray"]

Arrays = dict[int, NDArray[Any]]
"""Position of a leaf -> the array that stands in its place."""

Moves = dict[int, Floats]
"""Position of a leaf -> by how much its elements are moved, shape (n,)."""


class Displacements(ABC):
    """A batch of displaced points, one a row."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how many points there are."""

    @abstractmethod
    def rows(self, chosen: slice) -> Displacements:
        """Return some of the points."""

    @property
    @abstractmethod
    def leaves(self) -> list[int]:
        """The leaves that are displaced."""

    @abstractmethod
    def lone_leaf(self) -> int | None:
        """Return the leaf in which alone the points differ, so that it can carry them along a leading axis."""

    @property
    def is_imaginary(self) -> bool:
        """Whether the imaginary parts of the values are wanted."""
        return False

    @abstractmethod
    def arrays(self, point: Point, row: int) -> Arrays:
        """Return fresh arrays for the displaced leaves of one point."""

    @abstractmethod
    def block(self, point: Point) -> Arrays:
        """Return the same for all points in one, the lone leaf with a leading axis."""


@dataclass(frozen=True, slots=True)
class Parts(Sequence[Displacements]):
    """A batch in parts of ``size`` points each, made as they are asked for."""

    batch: Displacements
    size: int

    def __len__(self) -> int:
        return (len(self.batch) + self.size - 1) // self.size

    def __getitem__(self, number: int) -> Displacements:  # type: ignore[override]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self.batch.rows(slice(number * self.size, (number + 1) * self.size))


@dataclass(frozen=True, slots=True)
class Elements(Displacements):
    """Single elements of a leaf, set to other values; complex ones are steps along the imaginary axis.

    Attributes
    ----------
    leaf : int
    indices, targets : arrays, shape (P,)
    """

    leaf: int
    indices: NDArray[np.intp]
    targets: NDArray[Any]

    @property
    def is_imaginary(self) -> bool:
        """Whether the targets are complex."""
        return self.targets.dtype.kind == "c"

    def __len__(self) -> int:
        return len(self.indices)

    def rows(self, chosen: slice) -> Elements:
        """Return some of the points."""
        return Elements(self.leaf, self.indices[chosen], self.targets[chosen])

    @property
    def leaves(self) -> list[int]:
        """The leaf."""
        return [self.leaf]

    def lone_leaf(self) -> int:
        """Return the leaf."""
        return self.leaf

    def arrays(self, point: Point, row: int) -> Arrays:
        """Return a copy of the leaf, one element changed."""
        copy = point.leaves[self.leaf].value.astype(self.targets.dtype)
        copy.reshape(-1)[self.indices[row]] = self.targets[row]  # a flat iterator ends at 32 axes
        return {self.leaf: copy}

    def block(self, point: Point) -> Arrays:
        """Return as many copies as there are points, one element changed in each."""
        value, count = point.leaves[self.leaf].value, len(self.indices)
        copies = np.empty((count, value.size), self.targets.dtype)
        copies[:] = value.ravel()
        copies[np.arange(count), self.indices] = self.targets
        return {self.leaf: copies.reshape(-1, *value.shape)}


@dataclass(frozen=True, slots=True)
class Ray(Displacements):
    """Points along one direction, all leaves named in it moved together.

    Attributes
    ----------
    directions : dict
    lengths : array, shape (P,)
    """

    directions: Moves
    lengths: Floats

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self, chosen: slice) -> Ray:
        """Return some of the points."""
        return replace(self, lengths=self.lengths[chosen])

    @property
    def leaves(self) -> list[int]:
        """The leaves of the direction."""
        return list(self.directions)

    def lone_leaf(self) -> int | None:
        """Return the leaf, where there is one alone."""
        return self.leaves[0] if len(self.directions) == 1 else None

    def arrays(self, point: Point, row: int) -> Arrays:
        """Return the leaves moved by one length."""
        length = float(self.lengths[row])  # of no dtype of its own: moves may be in that of the leaf
        return {leaf: _moved_along(point.leaves[leaf], part, length) for leaf, part in self.directions.items()}

    def block(self, point: Point) -> Arrays:
        """Return the one leaf moved by every length."""
        return {
            leaf: _moved(point, leaf, np.multiply.outer(self.lengths, part)) for leaf, part in self.directions.items()
        }


@dataclass(frozen=True, slots=True)
class Line(Displacements):
    """Points that differ in one element, all leaves having been moved from the given one before.

    Attributes
    ----------
    start : dict
    leaf, index : int
    shifts : array, shape (P,)
        By how much the element is moved, in place of what ``start`` says.
    """

    start: Moves
    leaf: int
    index: int
    shifts: Floats

    def __len__(self) -> int:
        return len(self.shifts)

    def rows(self, chosen: slice) -> Line:
        """Return some of the points."""
        return replace(self, shifts=self.shifts[chosen])

    @property
    def leaves(self) -> list[int]:
        """The leaves that were moved."""
        return list(self.start)

    def lone_leaf(self) -> int:
        """Return the leaf of the element."""
        return self.leaf

    def arrays(self, point: Point, row: int) -> Arrays:
        """Return all moved leaves, the element shifted."""
        moves = {**self.start, self.leaf: self.start[self.leaf].copy()}
        moves[self.leaf][self.index] = self.shifts[row]
        return {leaf: _moved(point, leaf, move) for leaf, move in moves.items()}

    def block(self, point: Point) -> Arrays:
        """Return all moved leaves, that of the element with every shift."""
        moves = np.repeat(self.start[self.leaf][None], len(self), axis=0)
        moves[:, self.index] = self.shifts
        return {leaf: _moved(point, leaf, move) for leaf, move in {**self.start, self.leaf: moves}.items()}


def _moved(point: Point, leaf: int, moves: Floats) -> NDArray[Any]:
    """Return a leaf moved by ``moves``, shape (..., n), in its own dtype; who calls keeps NumPy's warnings off."""
    held = point.leaves[leaf]
    return held.format.rounded(np.asarray(held.value + moves.reshape((*moves.shape[:-1], *held.value.shape))))


def _moved_along(held: Leaf, direction: Floats, length: float) -> NDArray[Any]:
    """Return a leaf moved along a direction, a piece at a time: what is computed on the way stays in the cache."""
    start = held.value.reshape(-1)
    if start.size <= BLOCK and start.dtype == direction.dtype:  # nearly always, and thousands of times
        together = direction * length
        np.add(start, together, out=together)
        return held.format.rounded(together).reshape(held.value.shape)
    moved = np.empty_like(held.value)
    flat = moved.reshape(-1)
    for first in range(0, flat.size, BLOCK):
        piece = slice(first, first + BLOCK)
        target = flat[piece]
        np.multiply(direction[piece], length, out=target, casting="same_kind")
        np.add(start[piece], target, out=target)
        rounded = held.format.rounded(target)
        if rounded is not target:
            target[:] = rounded
    return moved
