"""Nested containers of arrays, seen as a list of named leaves.

A tree is an array, a float, or a nested container of them. ``None`` is an empty container. Leaves keep the order of their
containers, dicts the order of their keys. Strings, functions and the like are settings: leaves that are held fixed.
"""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from operator import itemgetter
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.arrays import as_numpy, form_of, is_array, is_mutable
from gradcheck.functions.containers import Key, assembler_of, is_number_list, parts_of, twins_of
from gradcheck.functions.formats import Format, format_of
from gradcheck.functions.kinds import Constant, Kind

__all__ = [
    "DEEPEST",
    "MISSING",
    "ROOT",
    "Leaf",
    "Mismatch",
    "align",
    "arrays_in",
    "flatten",
    "holds_settings",
    "opened",
    "values_in",
]

ROOT = "params"
"""The name of a tree that is a single leaf."""

DEEPEST = 200
"""Containers within one another: a level costs up to three calls within each other, and Python allows 1,000 in all."""

MISSING = type("Missing", (), {"__repr__": lambda _: "MISSING"})()
"""Stands for a leaf that the other tree does not have."""

Path = tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One array of a tree.

    Attributes
    ----------
    name : str
        Its path, such as ``layers[0].w``; unique within the tree.
    value : ndarray
        A contiguous copy of the user's array, never handed out itself.
    restore : Kind
        ``restore(array)`` gives the array in the form in which the user gave the leaf: a float stays a float, a tensor
        a tensor.
    format : Format
        Of its numbers; ``value`` has a dtype that holds them.
    is_fixed : bool
        Whether it is held fixed whatever its numbers are.
    """

    name: str
    value: NDArray[Any]
    restore: Kind
    format: Format
    is_fixed: bool = False

    @property
    def is_differentiable(self) -> bool:
        """Whether the leaf is perturbed at all: integers, booleans and settings are held fixed."""
        return self.value.dtype.kind in "fc" and not self.is_fixed

    def widened(self) -> Leaf:
        """Return the leaf in float64, where it is a coarser float."""
        double = np.dtype(np.float64)
        if self.value.dtype.kind != "f" or self.value.dtype.itemsize >= double.itemsize:
            return self
        return Leaf(self.name, self.value.astype(double), self.restore.widened(), format_of(double))

    def laid_out(self, array: NDArray[Any], layout: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
        """Return an array in another memory layout, where arrays of the leaf's kind can have it."""
        other = layout(array)
        return other if self.restore.can_hold(other) else array


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A place at which another tree is not built like this one."""

    where: str
    message: str


def flatten(
    tree: Any, *, root: str = ROOT, argument: str = "params", is_value: bool = False, settings: Sequence[str] = ()
) -> tuple[list[Leaf], Callable[[Sequence[Any]], Any]]:
    """Take a tree apart.

    Parameters
    ----------
    tree : tree
        What the user gave.
    root : str
        The name of the leaf when the tree is a single array or number.
    argument : str
        What error messages call the tree.
    is_value : bool
        Whether a function returned it; see `form_of`.
    settings : sequence of str
        Keys of the tree, a dict, whose values are handed through in fresh containers, whatever their leaves are.

    Returns
    -------
    leaves : list of Leaf
        With copies of the arrays, in the order of the containers.
    build : callable
        ``build(values)``, one value per leaf, puts them into containers of the user's types.

    Raises
    ------
    InvalidArgument
        For a leaf that is neither a number nor an array of numbers, for a container that contains itself, and for
        containers nested deeper than `DEEPEST`.
    """
    paths: list[Path] = []
    values: list[Any] = []
    build = _visit(tree, (), (), paths, values, root=root, argument=argument)
    names = _unique_names(paths, root)
    handed = {f"[{key!r}]" for key in settings}
    leaves = []
    for name, path, value in zip(names, paths, values, strict=True):
        is_handed = bool(path) and path[0].exact in handed
        if is_handed or (path and _is_setting(value) and not is_value):
            leaves.append(_handed_through(name, value))
        else:
            leaves.append(_leaf(name, value, argument, is_value=is_value))
    return leaves, build


def opened(tree: Any, argument: str) -> tuple[dict[str, Any], Callable[[Sequence[Any]], Any]]:
    """Return the leaves of a tree by name, as they are, and what builds it from others in their order."""
    paths: list[Path] = []
    values: list[Any] = []
    build = _visit(tree, (), (), paths, values, root=ROOT, argument=argument)
    return dict(zip(_unique_names(paths, ROOT), values, strict=True)), build


def values_in(tree: Any) -> list[Any]:
    """Return the leaves of a tree as they are; None is one here."""
    parts = parts_of(tree)
    if tree is None or parts is None:
        return [tree]
    return [value for part in parts.values() for value in values_in(part)]


def _visit(
    node: Any, path: Path, above: tuple[int, ...], paths: list[Path], values: list[Any], *, root: str, argument: str
) -> Callable[[Sequence[Any]], Any]:
    """Append the leaves of a tree to ``paths`` and ``values``, and return what builds it from new ones.

    No inner function: one that calls itself is a cycle, which keeps large arrays in memory until they are collected.
    """
    parts = parts_of(node)
    if parts is None:
        paths.append(path)
        values.append(node)
        return itemgetter(len(values) - 1)
    if id(node) in above:
        raise InvalidArgument(f"{argument} contains itself at {_name(path) or root!r}; give a finite tree of arrays.")
    if len(above) == DEEPEST:
        raise InvalidArgument(
            f"{argument}: its containers are nested deeper than {DEEPEST} levels; put the arrays into one list or dict."
        )
    first = len(values)
    builders = [
        _visit(part, (*path, key), (*above, id(node)), paths, values, root=root, argument=argument)
        for key, part in parts.items()
    ]
    if len(values) - first == len(builders) and all(isinstance(build, itemgetter) for build in builders):
        return _FlatBuilder(assembler_of(node), slice(first, len(values)))
    return _Builder(assembler_of(node), builders)


@dataclass(frozen=True, slots=True)
class _Builder:
    """Builds a container from the entries of the whole tree. It pickles, unlike a closure."""

    assemble: Callable[[list[Any]], Any]
    builders: list[Callable[[Sequence[Any]], Any]]

    def __call__(self, entries: Sequence[Any]) -> Any:
        return self.assemble([build(entries) for build in self.builders])


@dataclass(frozen=True, slots=True)
class _FlatBuilder:
    """Builds a container all of whose parts are leaves, which follow one another: there may be thousands."""

    assemble: Callable[[list[Any]], Any]
    where: slice

    def __call__(self, entries: Sequence[Any]) -> Any:
        return self.assemble(list(entries[self.where]))


def align(tree: Any, other: Any, axis: int = -1) -> tuple[list[Any], list[Mismatch]]:
    """Lay another tree beside this one.

    Parameters
    ----------
    tree, other : tree
    axis : int
        Axis along which an array stands for a tuple or list of as many numbers.

    Returns
    -------
    entries : list
        For each leaf of ``tree`` what ``other`` has in its place, or `MISSING`. A list may stand for a tuple, a plain
        tuple or list for a NamedTuple of as many parts and the reverse, any mapping for a dict in any order, and a
        dict for a class with these names and the reverse.
    mismatches : list of Mismatch
        Where ``other`` has another container, or something that ``tree`` does not have. What it lacks is `MISSING`
        among the entries.
    """
    entries: list[Any] = []
    mismatches: list[Mismatch] = []
    _lay_beside(tree, other, (), axis, entries, mismatches)
    return entries, mismatches


def _lay_beside(node: Any, twin: Any, path: Path, axis: int, entries: list[Any], mismatches: list[Mismatch]) -> None:
    """Append what stands beside the leaves of a tree to ``entries``, and what does not fit to ``mismatches``."""
    parts = parts_of(node)
    if parts is None:
        entries.append(twin)
        return
    twins = {} if twin is MISSING else twins_of(node, twin)
    if twins is None and isinstance(node, tuple | list) and is_array(twin):
        twins = _numbers_of(parts, as_numpy(twin), axis)
    where = _name(path)
    if twins is None:
        mismatches.append(Mismatch(where, f"is {described(twin)} in place of {described(node)}"))
        twins = {}
    elif twin is not MISSING:
        extra = [key for key in twins if key not in parts]
        if extra:
            mismatches.append(Mismatch(where, f"has {_listed(path, extra)}, which was not asked for"))
    for key, part in parts.items():
        _lay_beside(part, twins.get(key, MISSING), (*path, key), axis, entries, mismatches)


def _numbers_of(parts: dict[Key, Any], array: NDArray[Any], axis: int) -> dict[Key, Any] | None:
    """Split an array that stands for a tuple or list of as many numbers, or lists of numbers; None where it does not fit one."""
    are_lists = all(map(is_number_list, parts.values()))
    if not (are_lists or all(isinstance(part, int | float | np.generic) for part in parts.values())):
        return None
    axis -= are_lists and axis < 0  # the last one is that of the lists
    if array.ndim < 1 + are_lists or array.shape[axis] != len(parts):
        return None
    return dict(zip(parts, np.moveaxis(array, axis, 0), strict=True))


def arrays_in(thing: Any, depth: int = 6) -> Iterator[Any]:
    """Give every array inside any object that can be changed in place, as it is: in containers, and in attributes."""
    if is_mutable(thing):
        yield thing
    elif depth and thing is not None:
        is_container = isinstance(thing, list | tuple | set | frozenset)
        parts = (
            thing.values()
            if isinstance(thing, Mapping)
            else thing
            if is_container
            else vars(thing).values()
            if (hasattr(thing, "__dict__") and not isinstance(thing, type | ModuleType) and not callable(thing))
            else ()
        )
        for part in parts:
            yield from arrays_in(part, depth - 1)


def _name(path: Path) -> str:
    return "".join(key.plain for key in path).removeprefix(".")


def _listed(path: Path, keys: list[Key], most: int = 5) -> str:
    names = [repr(_name((*path, key))) for key in keys[:most]]
    return ", ".join(names) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def _unique_names(paths: list[Path], root: str) -> list[str]:
    """Name leaves by their plain paths; where two would share one, by exact paths; then by number."""
    names = [_name(path) if path else root for path in paths]
    counts = Counter(names)
    taken: set[str] = set()
    unique = []
    for path, name in zip(paths, names, strict=True):
        exact = "".join(key.exact for key in path) if counts[name] > 1 else name or "''"
        candidate, number = exact, 2
        while candidate in taken or (candidate != name and candidate in counts):
            candidate, number = f"{exact}#{number}", number + 1
        taken.add(candidate)
        unique.append(candidate)
    return unique


def _leaf(name: str, value: Any, argument: str, *, is_value: bool) -> Leaf:
    try:
        kind, format_ = form_of(value, is_value=is_value)
        array = np.array(as_numpy(value), order="C", copy=True, subok=False)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        if hasattr(value, "named_parameters"):
            raise InvalidArgument(
                f"{argument}: {name!r} is {described(value)}, a module and no point; "
                "use gradcheck.torch.check_module(module, *inputs)."
            ) from error
        what, remedy = error.args if len(error.args) == 2 else (str(error), "convert it with numpy.asarray")
        if is_value:
            remedy = "return numbers, or arrays of numbers"
        elif not is_array(value):
            remedy = _remedy(value)
        raise InvalidArgument(
            f"{argument}: the leaf {name!r} is {what}; leaves are numbers or arrays of numbers of any library; {remedy}."
        ) from error
    if array.dtype.kind not in "biufc":
        fields = array.dtype.names
        remedy = f"give its fields, as in {{{fields[0]!r}: array[{fields[0]!r}]}}" if fields else "convert it to float"
        raise InvalidArgument(
            f"{argument}: the leaf {name!r} has dtype {array.dtype}, but leaves hold numbers; {remedy}, or leave it out."
        )
    return Leaf(name, array, kind, format_)


def _remedy(value: Any) -> str:
    """Say what to do with something that is neither an array nor a container of arrays."""
    if isinstance(value, numbers.Number):
        return "convert it with float(...)"
    if isinstance(value, str) or callable(value):
        return "the functions come first, the point behind them"
    if isinstance(value, Iterable) or hasattr(type(value), "__getitem__"):
        return "give a list, a dict or an array in its place"
    return "give the arrays that it holds, as in {'w': thing.w}, or make its class a dataclass"


def _handed_through(name: str, value: Any) -> Leaf:
    """Return a leaf that is handed through: numbers as a copy, anything else as it is."""
    if is_array(value) or isinstance(value, int | float | complex | np.generic):
        try:
            return replace(_leaf(name, value, name, is_value=False), is_fixed=True)
        except InvalidArgument:
            pass
    nothing = np.zeros(0, dtype=np.bool_)
    return Leaf(name, nothing, Constant(value), format_of(nothing.dtype), is_fixed=True)


def holds_settings(tree: Any) -> bool:
    """Tell whether an input is no point: there is no float in it, or a string, None or function somewhere."""
    try:
        leaves = values_in(tree)
    except RecursionError:
        return False  # it contains itself, which is said elsewhere
    if any(value is None or _is_setting(value) for value in leaves):
        return True
    return not any(_is_float(value) for value in leaves)


def _is_float(value: Any) -> bool:
    """Tell whether a leaf is a number or an array of numbers that are no integers, or a module, which is refused later."""
    if hasattr(value, "named_parameters"):
        return True
    try:
        return as_numpy(value).dtype.kind in "fc"
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        return is_array(value)


def _is_setting(value: Any) -> bool:
    """Tell whether a leaf is no number and no array of them, but something that is handed through: text, a function.

    What holds parameters of its own is none, callable or not.
    """
    if str(getattr(value, "dtype", "")).startswith("key<"):  # a JAX random key
        return True
    return isinstance(value, str | bytes | Enum) or (callable(value) and not hasattr(value, "parameters"))
