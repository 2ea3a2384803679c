"""What a bug does to a call: most change the numbers that it returns, some keep something from one call to the next."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import InvalidArgument
from gradcheck.functions.arrays import as_numpy, memory_of, overwrite
from gradcheck.functions.options import default_rtol
from gradcheck.functions.trees import MISSING, Leaf, align, arrays_in, flatten
from gradcheck.mutants.changes import Change, Scene

__all__ = [
    "Accumulated",
    "Accuracy",
    "Behaviour",
    "Changed",
    "Ones",
    "Overwriting",
    "Reused",
    "Stale",
    "Taken",
    "Unsteady",
    "parameters_of",
    "point_of_call",
    "upstream_of",
]

Array = NDArray[Any]
Function = Callable[..., Any]

ROUNDOFF = 16
"""Units in the last place of a leaf's largest element by which two right gradients may differ, where nothing better is
known: sums taken in another order."""

UPSTREAMS = frozenset(
    "dy dout d_out dz dl d_y dA delta g grad grad_y grad_out grad_output grad_outputs gout upstream cotangent cotangents ct "
    "output_grad out_grad dL_dy dldy".lower().split()
)
"""What an upstream gradient is called, in lower case."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A gradient taken apart."""

    entries: list[Any]
    """The leaves as the user gave them."""
    leaves: list[Leaf]
    build: Callable[[Sequence[Any]], Any]

    @classmethod
    def of(cls, tree: Any) -> Taken | None:
        """Take a tree apart; None for what is no tree of numbers."""
        try:
            leaves, build = flatten(tree, argument="the gradient", is_value=True)
        except InvalidArgument:
            return None
        return cls(align(tree, tree)[0], leaves, build)

    def floats(self) -> list[int]:
        """Return the positions of the leaves that hold floating-point numbers."""
        return [i for i, leaf in enumerate(self.leaves) if leaf.value.dtype.kind == "f" and leaf.value.size]

    def find(self, name: str) -> int | None:
        """Return the position of a leaf."""
        return next((i for i in self.floats() if self.leaves[i].name == name), None)

    def arrays(self) -> list[Array]:
        """Return the numbers of all leaves."""
        return [leaf.value for leaf in self.leaves]

    def beside(self, leaf: Leaf) -> Array | None:
        """Return the numbers of the leaf that has the name and the shape of another tree's."""
        index = self.find(leaf.name)
        value = None if index is None else self.leaves[index].value
        return value if value is not None and value.shape == leaf.value.shape else None

    def with_changes(self, changed: Mapping[int, Any]) -> Any:
        """Build the tree with other arrays in some places; what is not changed is the user's own object."""
        entries = list(self.entries)
        made: dict[int, Any] = {}  # one array for two leaves stays one
        for i, array in changed.items():
            if array is MISSING:
                entries[i] = None
                continue
            if id(array) not in made:
                made[id(array)] = self.leaves[i].restore(array)
            entries[i] = made[id(array)]
        return self.build(entries)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How near two gradients must be to count as the same.

    Attributes
    ----------
    rtol : float or None
        Relative to each element of the right one; None for the default of its dtype.
    floors : mapping
        Name of a leaf -> what no difference quotient can see, an array of its shape; where a name is missing, the round-off
        of sums taken in another order.
    """

    rtol: float | None = None
    floors: Mapping[str, Array] = field(default_factory=dict)

    def wrong(self, leaf: Leaf, claimed: Any) -> Array:
        """Return where other numbers are not those of a right leaf; everywhere where they cannot be laid on it."""
        right = leaf.value
        if claimed is MISSING or np.shape(claimed) != right.shape:
            return np.ones(right.shape, dtype=bool)
        eps = leaf.format.eps
        rtol = default_rtol(eps) if self.rtol is None else self.rtol
        with np.errstate(all="ignore"):
            exact, size = right.astype(np.float64), np.abs(right.astype(np.float64))
            floor = self.floors.get(leaf.name, ROUNDOFF * eps * np.max(size, initial=0.0))
            given = np.asarray(claimed).astype(np.float64)
            same = (
                (np.abs(given - exact) <= rtol * size + floor) | (given == exact) | (np.isnan(given) & np.isnan(exact))
            )
        return np.asarray(~same)


@dataclass(slots=True)
class State:
    """What one planted bug remembers.

    Attributes
    ----------
    leaf, key
        As in the mutant.
    accuracy : Accuracy
    differed : bool
        Whether any call returned, or did, something else than the right function does.
    elements : dict
        Name of a leaf -> where the first call that differed was wrong.
    kept : dict
        What a behaviour keeps from one call to the next.
    overwritten : dict
        Arrays of a caller that the bug wrote into, by ``id``, with what they held before and what it wrote.
    """

    leaf: str
    key: int
    accuracy: Accuracy
    differed: bool = False
    elements: dict[str, Array] = field(default_factory=dict)
    kept: dict[Any, Any] = field(default_factory=dict)
    overwritten: dict[int, tuple[Any, Array, Array]] = field(default_factory=dict)

    def overwrite(self, array: Any, written: Array) -> None:
        """Write into an array of the caller, and keep what it held: before an earlier write, if that is still in it."""
        held = np.array(as_numpy(array))
        _, before, last = self.overwritten.get(id(array), (array, held, held))
        self.overwritten[id(array)] = array, before if np.array_equal(held, last, equal_nan=True) else held, written
        overwrite(array, written)

    def restore(self) -> None:
        """Give the arrays of callers what they held, but those into which somebody else has written since."""
        for array, before, written in self.overwritten.values():
            if np.array_equal(as_numpy(array), written, equal_nan=True):
                overwrite(array, before)
        self.overwritten.clear()

    def compare(self, taken: Taken, changed: Mapping[int, Any]) -> None:
        """Note where what is returned differs from what is right."""
        wrong = {i: self.accuracy.wrong(taken.leaves[i], array) for i, array in changed.items()}
        if any(mask.any() for mask in wrong.values()):
            if not self.differed:
                self.elements = {taken.leaves[i].name: mask for i, mask in wrong.items() if mask.any()}
            self.differed = True


class Behaviour:
    """What a bug does to a call; it holds nothing itself, so that one may serve many functions."""

    is_stateful = False
    """Whether it shows only when the function is called again."""

    shows_elsewhere = False
    """Whether that has to be at another point."""

    is_whole = False
    """Whether it is no matter of one leaf."""

    def call(self, state: State, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function with the bug in it."""
        right = function(*args, **kwargs)
        taken = Taken.of(right)
        index = None if taken is None else taken.find(state.leaf)
        if taken is None or index is None:
            return right
        changed = self.change(state, taken, index, parameters_of(args, kwargs))
        state.compare(taken, changed)
        return taken.with_changes(changed)

    def change(self, state: State, taken: Taken, index: int, known: Taken | None) -> dict[int, Any]:
        """Return new arrays for some leaves; ``known`` is what the call is given first."""
        raise NotImplementedError


@dataclass(frozen=True)
class Changed(Behaviour):
    """Change the numbers."""

    apply: Change

    def change(self, state: State, taken: Taken, index: int, known: Taken | None) -> dict[int, Any]:
        """Apply the change."""
        parameter = None if known is None else known.beside(taken.leaves[index])
        return self.apply(Scene(taken.arrays(), index, parameter, state.key))


class Stale(Behaviour):
    """Return the gradient of the first call, for each combination of shapes."""

    is_stateful = shows_elsewhere = is_whole = True

    def change(self, state: State, taken: Taken, index: int, known: Taken | None) -> dict[int, Any]:
        """Keep the first, and give copies of it."""
        del index, known
        first = state.kept.setdefault(_shapes(taken), taken.arrays())
        return {i: first[i].copy() for i in taken.floats()}


class Accumulated(Behaviour):
    """Add to what the calls before gave, in one leaf."""

    is_stateful = True

    def change(self, state: State, taken: Taken, index: int, known: Taken | None) -> dict[int, Any]:
        """Add up."""
        del known
        before = state.kept.get(_shapes(taken), 0)
        with np.errstate(all="ignore"):
            total = state.kept[_shapes(taken)] = before + taken.leaves[index].value
        return {index: np.array(total)}


class Reused(Behaviour):
    """Return one array again and again, overwriting what it held for the caller of before."""

    is_stateful = shows_elsewhere = True

    def call(self, state: State, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Overwrite the array of before, where it can be."""
        right = function(*args, **kwargs)
        taken = Taken.of(right)
        index = None if taken is None else taken.find(state.leaf)
        if taken is None or index is None:
            return right
        entry, value = taken.entries[index], taken.leaves[index].value
        kept = state.kept.setdefault(_shapes(taken), entry)
        if kept is not entry:
            if memory_of(kept) is None:
                return right
            held = np.array(as_numpy(kept))
            state.differed |= bool(state.accuracy.wrong(taken.leaves[index], held).any())
            overwrite(kept, value)
        return taken.build([kept if i == index else old for i, old in enumerate(taken.entries)])


class Unsteady(Behaviour):
    """Return something a little different each time."""

    is_stateful = True

    def change(self, state: State, taken: Taken, index: int, known: Taken | None) -> dict[int, Any]:
        """Multiply each element by about one."""
        del known
        rng = state.kept.setdefault("rng", np.random.default_rng(state.key))
        value = taken.leaves[index].value
        return {index: np.asarray(value * (1 + 1e-2 * rng.normal(size=value.shape))).astype(value.dtype)}


class Overwriting(Behaviour):
    """Change the first array among the arguments a little, after the gradient was computed."""

    is_whole = True

    def call(self, state: State, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Change the caller's memory."""
        right = function(*args, **kwargs)
        for array in _writable((*args, *kwargs.values())):
            numbers = np.array(as_numpy(array))
            step = 1e-3 * (np.max(np.abs(numbers)) or 1)
            state.overwrite(array, np.asarray(numbers + step).astype(numbers.dtype))
            state.differed = True
            break
        return right


class Ones(Behaviour):
    """Take the upstream gradient for all ones."""

    is_whole = True

    def call(self, state: State, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Give ones in its place."""
        name = upstream_of(function, args, kwargs)
        taken = None if name is None else Taken.of(kwargs[name] if isinstance(name, str) else args[name])
        if name is None or taken is None:
            return function(*args, **kwargs)
        ones = {i: np.ones_like(taken.leaves[i].value) for i in taken.floats()}
        state.differed |= any(np.any(taken.leaves[i].value != 1) for i in ones)
        given = taken.with_changes(ones)
        if isinstance(name, str):
            return function(*args, **{**kwargs, name: given})
        return function(*args[:name], given, *args[name + 1 :], **kwargs)


def parameters_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Taken | None:
    """Return the argument of a call that holds the parameters, taken apart."""
    place = point_of_call(args, kwargs)
    return None if place is None else Taken.of(kwargs[place] if isinstance(place, str) else args[place])


def point_of_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | str | None:
    """Return which argument holds the parameters: the first with numbers in it, since a method is given its object before."""
    places: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    for place, argument in places:
        taken = Taken.of(argument)
        if taken is not None and taken.floats():
            return place
    return None


def upstream_of(function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | str | None:
    """Return which argument of a call is an upstream gradient, as its name says: a position, or a keyword."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return None
    for position, name in enumerate(bound.arguments):
        if name.lower() in UPSTREAMS:
            return name if name in kwargs else position
    return None


def _shapes(taken: Taken) -> tuple[Any, ...]:
    return tuple(leaf.value.shape for leaf in taken.leaves)


def _writable(things: Any) -> Iterator[Any]:
    """Give the arrays of floats that can be written into."""
    for array in arrays_in(things):
        memory = memory_of(array)
        if memory is not None and memory.flags.writeable and memory.size and as_numpy(array).dtype.kind == "f":
            yield array
