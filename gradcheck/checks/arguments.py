"""The arguments of a call of a framework's function: as named leaves, and laid out again from others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gradcheck.aliases import Indices
from gradcheck.checks.subjects import input_names
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.arrays import as_numpy
from gradcheck.functions.selection import is_part_of
from gradcheck.functions.trees import opened

__all__ = ["arguments_of", "require_some", "whole_numbers"]

Leaves = dict[str, Any]
Spread = Callable[[Mapping[str, Any]], tuple[list[Any], dict[str, Any]]]


def arguments_of(
    function: Callable[..., Any],
    inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    taken: Iterable[str] = (),
    static: Iterable[int] = (),
) -> tuple[list[Leaves], Spread]:
    """Take the arguments of a call apart.

    Parameters
    ----------
    function : callable
        Inputs are named as in its signature; ``input x`` where ``x`` is the name of a keyword argument, or taken.
    inputs, kwargs
        What it is called with.
    taken : iterable of str
        Names of other leaves.
    static : iterable of int
        Places of inputs that have no leaves: they are handed through as they are.

    Returns
    -------
    leaves : list of dict
        For each input, and then each keyword argument: its leaves by name.
    spread : callable
        Returns inputs and keyword arguments, made of leaves by name.

    Raises
    ------
    InvalidArgument
        For keyword arguments that are no dict.
    """
    if not isinstance(kwargs or {}, Mapping):
        raise InvalidArgument(f"kwargs is {described(kwargs)}; a dict of keyword arguments was required.")
    keywords = dict(kwargs or {})
    given = input_names(function, len(inputs))
    names = [*(_untaken(name, (*taken, *keywords)) for name in given), *(_untaken(name, taken) for name in keywords)]
    things = [*inputs, *keywords.values()]
    parts: list[tuple[Leaves, Callable[[list[Any]], Any] | None]] = [
        ({}, None) if i in static else opened({names[i]: thing}, "inputs") for i, thing in enumerate(things)
    ]

    def spread(leaves: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        made = [
            thing if build is None else build([leaves[leaf] for leaf in own])[name]
            for name, thing, (own, build) in zip(names, things, parts, strict=True)
        ]
        return made[: len(inputs)], dict(zip(keywords, made[len(inputs) :], strict=True))

    return [own for own, _ in parts], spread


def _untaken(name: str, others: Iterable[str]) -> str:
    """Return a name, and another one where leaves with that name are among others."""
    return f"input {name}" if any(is_part_of(other, name) for other in others) else name


def require_some(free: Leaves, leaves: Leaves, what: str) -> None:
    """Refuse arguments of which nothing can be differentiated."""
    if not free:
        given = [
            f"{name} is {described(leaf)}{f' of {leaf.dtype}' if hasattr(leaf, 'dtype') else ''}"
            for name, leaf in leaves.items()
        ]
        raise InvalidArgument(
            f"there is no floating-point {what} to differentiate ({', '.join(given) or 'no argument'}); give floats, one by one "
            "after the function, or of an object the arrays that it holds; for arrays of other libraries there is check_vjp."
        )


def whole_numbers(leaves: Leaves) -> dict[str, Indices]:
    """Return the arrays of whole numbers among some leaves: places in another, perhaps."""
    kinds = {name: str(getattr(leaf, "dtype", "")).removeprefix("torch.") for name, leaf in leaves.items()}
    return {
        name: as_numpy(leaf).astype(np.intp) for name, leaf in leaves.items() if kinds[name].startswith(("int", "uint"))
    }
