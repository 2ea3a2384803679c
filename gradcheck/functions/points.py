"""The forms of what goes into a function and of what comes out: trees taken apart, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.arrays import NUMBERS, as_numpy, is_still
from gradcheck.functions.blocks import blocks
from gradcheck.functions.kinds import Kind
from gradcheck.functions.selection import Wrt, is_part_of, selected
from gradcheck.functions.trees import Leaf, flatten, holds_settings

__all__ = ["Handed", "Layout", "Output", "Point", "as_given", "inputs_of", "point_of"]

Layout = Callable[[NDArray[Any]], NDArray[Any]]
"""Holds the same numbers in another way in memory."""

FEW = 3
"""Leaves that an error names."""


def as_given(array: NDArray[Any]) -> NDArray[Any]:
    """Leave an array as it is."""
    return array


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a tree space: leaves, and how to build the user's tree from arrays."""

    leaves: list[Leaf]
    build: Callable[[Sequence[Any]], Any]
    settings: tuple[str, ...] = ()
    """Inputs that are handed through as they are."""
    shared: list[Any] = field(init=False)
    """For each leaf what it is handed over as, where that can be the same every time, as numbers can."""
    plain: list[tuple[int, NDArray[Any]]] = field(init=False)
    """Positions and arrays of the leaves that are handed over as plain copies."""
    copied: list[tuple[int, Leaf]] = field(init=False)
    """The other leaves, with their positions."""

    def __post_init__(self) -> None:
        is_shared = [leaf.restore.can_be_shared for leaf in self.leaves]
        pairs = list(zip(self.leaves, is_shared, strict=True))
        object.__setattr__(self, "shared", [leaf.restore(leaf.value) if same else None for leaf, same in pairs])
        others = [(i, leaf) for i, (leaf, same) in enumerate(pairs) if not same]
        object.__setattr__(self, "plain", [(i, leaf.value) for i, leaf in others if type(leaf.restore) is Kind])
        object.__setattr__(self, "copied", [(i, leaf) for i, leaf in others if type(leaf.restore) is not Kind])

    def tree(self, replaced: dict[int, NDArray[Any]] | None = None) -> Any:
        """Build the tree from fresh copies, some leaves replaced by arrays that are handed over as they are."""
        replaced = replaced or {}
        entries = self.shared.copy()  # called for every point, of thousands of numbers perhaps
        for i, value in self.plain:
            if i not in replaced:
                entries[i] = value.copy()
        for i, leaf in self.copied:
            if i not in replaced:
                entries[i] = leaf.restore(leaf.value.copy())
        for i, array in replaced.items():
            entries[i] = self.leaves[i].restore(array)
        return self.build(entries)

    def copies(self) -> list[NDArray[Any]]:
        """Return a fresh copy of each leaf."""
        return [leaf.value.copy() for leaf in self.leaves]

    def hand(self, arrays: Sequence[NDArray[Any]] | None = None, layout: Layout = as_given) -> Handed:
        """Build the tree from one array per leaf, or from fresh copies, laid out in memory like that."""
        source = (leaf.value.copy() for leaf in self.leaves) if arrays is None else arrays  # one copy at a time
        given = [leaf.restore(leaf.laid_out(array, layout)) for leaf, array in zip(self.leaves, source, strict=True)]
        return Handed(self, given, self.build(given))

    def nudged(self, eps: float, rng: np.random.Generator) -> list[NDArray[Any]]:
        """Return copies of the leaves, every element of the free ones moved by ``eps`` of its size, up or down.

        By an ulp of its own where that is more.
        """
        arrays = self.copies()
        for i in self.free():
            share = max(eps, self.leaves[i].format.eps)
            for part in blocks(arrays[i]):
                signs = np.where(rng.random(part.size) < 0.5, -share, share)
                with np.errstate(under="ignore"):
                    part[:] = self.leaves[i].format.rounded(part * (1 + signs))
        return arrays

    def moved(self, away: float, rng: np.random.Generator, *, tiny: float = 0.0) -> list[NDArray[Any]]:
        """Return copies of the leaves, every element of the free ones up to ``away`` of its size nearer to zero.

        That way leads out of few domains. Where all elements of a leaf are zero, or no larger than ``tiny``, they are moved up
        by as much: in proportion to their own sizes nothing would change.
        """
        arrays = self.copies()
        for i in self.free():
            is_small = (np.abs(arrays[i]) <= tiny).all()
            for part in blocks(arrays[i]):
                shares = away * rng.uniform(0.3, 1.0, part.size)
                with np.errstate(under="ignore"):
                    moved = part + shares if is_small else part * (1 - shares)
                    part[:] = self.leaves[i].format.rounded(moved)
        return arrays

    def widened(self) -> Point:
        """Return the same point with its floats in float64."""
        return replace(self, leaves=[leaf.widened() for leaf in self.leaves])

    def held(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the inputs of these names in which nothing is differentiated."""
        varied = [leaf.name for leaf in self.leaves if leaf.is_differentiable]
        return tuple(name for name in names if not any(is_part_of(leaf, name) for leaf in varied))

    def free(self) -> list[int]:
        """Return the positions of the leaves that are differentiated."""
        return [i for i, leaf in enumerate(self.leaves) if leaf.is_differentiable and leaf.value.size]


@dataclass(frozen=True, slots=True)
class Handed:
    """What a function is given for a point: a tree of the user's own kind, and its leaves."""

    point: Point
    leaves: list[Any]
    tree: Any

    def named(self) -> list[tuple[str, Any]]:
        """Return what was given for each leaf with the leaf's name."""
        return [(leaf.name, given) for leaf, given in zip(self.point.leaves, self.leaves, strict=True)]

    def changed(self) -> list[str]:
        """Return the names of the leaves that are no longer those of the point."""
        return [
            leaf.name
            for leaf, given in zip(self.point.leaves, self.leaves, strict=True)
            if leaf.value.size and not is_still(given, leaf.value)
        ]


def point_of(tree: Any, argument: str, wrt: Wrt = None) -> Point:
    """Take a point apart and refuse what cannot be differentiated.

    Raises
    ------
    InvalidArgument
        For complex or non-finite leaves, and when there is no floating-point array, an empty one counted too.
    """
    leaves, build = flatten(tree, argument=argument)
    return _checked(Point(selected(leaves, wrt), build), argument)


def inputs_of(inputs: Mapping[str, Any], argument: str, wrt: Wrt = None) -> Point:
    """Take the inputs of a layer apart: those without any float, or with a setting anywhere in them, are held fixed.

    Raises
    ------
    InvalidArgument
        As `point_of` does, and where all inputs are held fixed.
    """
    settings = tuple(name for name, value in inputs.items() if holds_settings(value))
    leaves, build = flatten(inputs, argument=argument, settings=settings)
    return _checked(Point(selected(leaves, wrt), build, settings), argument)


def _kind_of(leaf: Leaf) -> str:
    value = getattr(leaf.restore, "value", None)
    return f"an array of {leaf.value.dtype}" if value is None else described(value)


def _checked(point: Point, argument: str) -> Point:
    """Return a point after refusing what cannot be differentiated."""
    for leaf in point.leaves:
        if leaf.value.dtype.kind == "c" and not leaf.is_fixed:
            raise InvalidArgument(
                f"{argument}: {leaf.name} is complex ({leaf.value.dtype}); real parameters are required; "
                "pass its real and imaginary parts as two leaves."
            )
        if leaf.is_differentiable and not np.isfinite(leaf.value).all():
            raise InvalidArgument(
                f"{argument}: {leaf.name} holds NaN or infinity; there is no derivative there; give a finite point."
            )
    if not any(leaf.is_differentiable for leaf in point.leaves):
        given = ", ".join(f"{leaf.name} is {_kind_of(leaf)}" for leaf in point.leaves[:FEW]) or "it is None or empty"
        more = f" and {len(point.leaves) - FEW} more" if len(point.leaves) > FEW else ""
        raise InvalidArgument(
            f"{argument} holds no floating-point element ({given}{more}); there is nothing to check; integers are held fixed, "
            "as are text and objects: convert what is to be differentiated to float."
        )
    return point


@dataclass(slots=True)
class Output:
    """The form of the function's value: learnt from its first value, then required of all others."""

    name: str
    leaves: list[Leaf] = field(default_factory=list)
    build: Callable[[Sequence[Any]], Any] = list
    is_bare: bool = field(init=False)
    """Whether the value is one array or number, in no container."""
    is_number: bool = field(init=False)
    """Whether it is a single number or an array of no axes."""

    def __post_init__(self) -> None:
        self.is_bare = len(self.leaves) == 1 and isinstance(self.build, itemgetter)
        self.is_number = self.is_bare and not self.leaves[0].value.ndim

    @classmethod
    def of(cls, value: Any, name: str) -> Output:
        """Learn the form from a value."""
        leaves, build = flatten(value, root="y", argument=f"the value of {name}", is_value=True)
        for leaf in leaves:
            if leaf.value.dtype.kind == "c":
                raise InvalidArgument(
                    f"{name} returned {leaf.name} of dtype {leaf.value.dtype}; real values are required; "
                    "return its real and imaginary parts as two arrays."
                )
        return cls(name, leaves, build)

    @property
    def eps(self) -> float:
        """Machine epsilon of the coarsest floating-point format among the values; 0 when they are integers."""
        return max((leaf.format.eps for leaf in self.leaves), default=0.0)

    @property
    def size(self) -> int:
        """How many numbers a value holds."""
        return sum(leaf.value.size for leaf in self.leaves)

    def widened(self) -> Output:
        """Return the same form with its floats in float64."""
        return replace(self, leaves=[leaf.widened() for leaf in self.leaves])

    def rounding(self) -> Floats:
        """Return half a unit in the last place of each number of the first value, shape (M,)."""
        parts = [
            np.maximum(
                leaf.format.eps * np.abs(leaf.value.ravel().astype(np.float64)), leaf.format.spacing(np.zeros(1))
            )
            / 2
            for leaf in self.leaves
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def read(self, value: Any) -> Floats:
        """Return the value as one float64 vector."""
        if self.is_number and type(value) in NUMBERS:  # nearly always, and thousands of times
            number = np.empty(1)
            number[0] = value
            return number
        if self.is_bare:
            array = as_numpy(value)
            if array.shape == self.leaves[0].value.shape and array.dtype.kind != "c":
                return array.astype(np.float64).ravel()
            parts = [array]
        else:
            parts = [leaf.value for leaf in flatten(value, root="y", argument=f"the value of {self.name}")[0]]
        shapes = [part.shape for part in parts]
        expected = [leaf.value.shape for leaf in self.leaves]
        if shapes != expected:
            raise InvalidArgument(
                f"{self.name} returned shapes {shapes} at a displaced point but {expected} at the given one; "
                "its value must have the same form everywhere."
            )
        if any(
            part.dtype.kind == "c" for part in parts
        ):  # such as Python's power of a negative number: it has no real value
            return np.full(self.size, np.nan)
        return np.concatenate([part.ravel() for part in parts]).astype(np.float64) if parts else np.zeros(0)

    def imaginary(self, value: Any) -> Any:
        """Return a value of the same form that holds the imaginary parts; raise TypeError when it is not complex."""
        leaves, build = flatten(value, root="y", argument=f"the value of {self.name}")
        if not any(leaf.value.dtype.kind == "c" for leaf in leaves):
            raise TypeError(f"{self.name} gives real values for complex arguments")
        return build([leaf.value.imag for leaf in leaves])

    def like(self, vector: Floats, layout: Layout = as_given) -> Any:
        """Build a fresh value of the same form and dtypes from a vector, as for a cotangent."""
        arrays, start = [], 0
        for leaf in self.leaves:
            part = vector[start : start + leaf.value.size].reshape(leaf.value.shape)
            array = leaf.format.rounded(part.copy()) if leaf.is_differentiable else part.copy()
            arrays.append(leaf.restore(leaf.laid_out(array, layout)))
            start += leaf.value.size
        return self.build(arrays)
