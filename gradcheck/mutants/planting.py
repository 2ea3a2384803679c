"""Choosing bugs for a gradient, and planting them in the function that returns it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import wraps
from typing import Any, Protocol
from zlib import crc32

from gradcheck.errors import InvalidArgument
from gradcheck.functions.options import require_callable
from gradcheck.mutants.behaviours import Accuracy, Changed, State, Taken, parameters_of, point_of_call, upstream_of
from gradcheck.mutants.catalogue import CATALOGUE, Entry, Mutant
from gradcheck.mutants.changes import Scene

__all__ = ["Mutated", "mutants_of", "wrap"]

Patterns = str | Sequence[str] | None


class Mutated(Protocol):
    """A function with a bug in it.

    Attributes
    ----------
    state : State
        ``differed``: whether any call so far returned, or did, something else than the right function does. Where it
        never did the mutant is equivalent at the points it was called at.
    """

    state: State

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""


def mutants_of(
    gradient: Any,
    *,
    function: Callable[..., Any] | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    mutants: Patterns = None,
    point: str = "given",
    seed: int = 0,
) -> tuple[Mutant, ...]:
    """Choose the bugs that a function's gradient can have, from one call of it.

    Parameters
    ----------
    gradient : tree
        What the call returned: an array, or a tuple, list or dict of them.
    function : callable, optional
        With ``args`` and ``kwargs`` tells whether there is an upstream gradient: an argument called ``dy``, ``dout``,
        ``grad_output``, ....
    args, kwargs : optional
        Of that call. Bugs that depend on the parameter are chosen where the first of them that holds numbers, which the object
        of a method does not, has a leaf of the gradient's name and shape, and is no upstream.
    mutants : str or sequence of str, optional
        Names or kinds of the catalogue, patterns allowed, or names of mutants, which say the leaf too; default all.
    point : str
        What the point is called.
    seed : int
        The same seed gives the same mutants.

    Returns
    -------
    mutants : tuple of Mutant
        Each bug once, in a leaf that is drawn, where there are any in which it changes something among those; a bug of all
        leaves once in each. Empty where the gradient holds no floating-point number.

    Raises
    ------
    InvalidArgument
        For a pattern that fits no bug.
    """
    chosen = _chosen(mutants)
    taken = Taken.of(gradient)
    if taken is None or not taken.floats():
        return ()
    upstream = None if function is None else upstream_of(function, tuple(args), kwargs or {})
    called = tuple(args), kwargs or {}
    known = None if upstream is not None and upstream == point_of_call(*called) else parameters_of(*called)
    found = []
    for entry, named in chosen.items():
        if entry.needs_upstream and upstream is None:
            continue
        leaves = _places(entry, taken, known)
        key = crc32(f"{seed} {entry.name}".encode("utf-8", "surrogatepass"))
        drawn = leaves if entry.is_each else _drawn(entry, leaves, taken, known, key)
        if named:
            drawn = [i for i in leaves if taken.leaves[i].name in named]
        found += [
            Mutant(_named(entry, name), entry.kind, point, entry.remedy, name, key)
            for name in (taken.leaves[i].name for i in drawn)
        ]
    return tuple(found)


def wrap(function: Callable[..., Any], mutant: Mutant, accuracy: Accuracy | None = None) -> Mutated:
    """Return the function with the bug in it, which begins anew: state it keeps is its own.

    Parameters
    ----------
    function : callable
        Returns a gradient: an array, or a tuple, list or dict of them. What is none is returned as it is.
    mutant : Mutant
    accuracy : Accuracy, optional
        How near two gradients must be to count as the same; default the relative error that matters in their dtype.

    Returns
    -------
    mutated : function
        With the function's own name and signature, and an attribute ``state``; see `Mutated`.

    Raises
    ------
    InvalidArgument
        For a function or a mutant that is none.
    """
    require_callable("wrap(function, mutant)", function=function)
    if not isinstance(mutant, Mutant):
        raise InvalidArgument(f"mutant={mutant!r} is a {type(mutant).__name__}; one that mutants_of gave was required.")
    state = State(mutant.leaf, mutant.key, accuracy or Accuracy())

    @wraps(function)
    def mutated(*args: Any, **kwargs: Any) -> Any:
        return mutant.entry.behaviour.call(state, function, args, kwargs)

    mutated.state = state  # type: ignore[attr-defined]
    return mutated  # type: ignore[return-value]


def _chosen(mutants: Patterns) -> dict[Entry, set[str]]:
    """Return the bugs that are asked for, each with the leaves that are; none where any will do."""
    if mutants is None:
        return {entry: set() for entry in CATALOGUE}
    patterns = [mutants] if isinstance(mutants, str) else list(mutants) if isinstance(mutants, Iterable) else []
    kinds = ", ".join(dict.fromkeys(entry.kind for entry in CATALOGUE))
    if not patterns:
        raise InvalidArgument(f"mutants={mutants!r} chooses none; give names or kinds; the kinds are {kinds}.")
    chosen: dict[Entry, set[str]] = {}
    for entry in CATALOGUE:
        fitting = [pattern for pattern in patterns if isinstance(pattern, str) and _fits(entry, pattern)]
        named = [pattern.partition(": ")[2] for pattern in patterns if _is_named(entry, pattern)]
        if fitting or named:
            chosen[entry] = set() if fitting else set(named)
    for pattern in patterns:
        if not any(isinstance(pattern, str) and (_fits(e, pattern) or _is_named(e, pattern)) for e in chosen):
            raise InvalidArgument(
                f"mutants={pattern!r} fits no mutant; give names or kinds, patterns allowed; the kinds are {kinds}."
            )
    return chosen


def _is_named(entry: Entry, pattern: Any) -> bool:
    """Tell whether this is a mutant's own name, with its leaf."""
    return isinstance(pattern, str) and not entry.behaviour.is_whole and pattern.startswith(f"{entry.name}: ")


def _named(entry: Entry, leaf: str) -> str:
    return entry.name if entry.behaviour.is_whole else f"{entry.name}: {leaf}"


def _fits(entry: Entry, pattern: str) -> bool:
    return any(fnmatchcase(text, pattern) for text in (entry.name, entry.kind))


def _places(entry: Entry, taken: Taken, known: Taken | None) -> list[int]:
    """Return the leaves in which a bug can be."""
    places = taken.floats()
    if entry.needs_parameter:
        places = [i for i in places if known is not None and known.beside(taken.leaves[i]) is not None]
    if entry.needs_twin:
        places = [i for i in places if Scene(taken.arrays(), i, None, 0).twin() is not None]
    return places


def _drawn(entry: Entry, places: list[int], taken: Taken, known: Taken | None, key: int) -> list[int]:
    """Draw one leaf, among those in which the bug shows if there are any."""
    behaviour = entry.behaviour
    showing = []
    if isinstance(behaviour, Changed) and len(places) > 1:
        for i in places:
            state = State(taken.leaves[i].name, key, Accuracy())
            parameter = None if known is None else known.beside(taken.leaves[i])
            state.compare(taken, behaviour.apply(Scene(taken.arrays(), i, parameter, key)))
            showing += [i] if state.differed else []
    among = showing or places
    return [among[key % len(among)]] if among else []
