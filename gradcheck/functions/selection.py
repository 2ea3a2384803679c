"""Which leaves of a point are to be differentiated, by name."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from reprlib import repr as abbreviated
from typing import Any

from gradcheck.errors import InvalidArgument
from gradcheck.functions.trees import Leaf

__all__ = ["Wrt", "fitting", "is_part_of", "selected"]

Wrt = str | list[str] | tuple[str, ...] | None
"""Names or glob patterns of leaves; None for all."""

MOST_NAMED = 20
"""Leaves that a message names; the rest is counted."""


def is_part_of(leaf: str, name: str) -> bool:
    """Tell whether a leaf has a name or lies in the container that has it."""
    return leaf == name or leaf.startswith((f"{name}.", f"{name}["))


def selected(leaves: list[Leaf], wrt: Wrt) -> list[Leaf]:
    """Hold all leaves fixed but those that are named.

    Raises
    ------
    InvalidArgument
        As `fitting`, and where no float is left.
    """
    if wrt is None:
        return leaves
    chosen = fitting([leaf.name for leaf in leaves], wrt)
    held = [leaf if leaf.name in chosen else replace(leaf, is_fixed=True) for leaf in leaves]
    if not any(leaf.is_differentiable for leaf in held):
        raise InvalidArgument(f"wrt={abbreviated(wrt)} names no floating-point leaf; there is nothing to check.")
    return held


def fitting(names: list[str], wrt: Any, remedy: str = "") -> set[str]:
    """Return the names that are asked for.

    Parameters
    ----------
    names : list of str
        Of all leaves.
    wrt : str or sequence of str
        The name of a leaf or of what holds several, or a pattern with ``*`` and ``?``. What is the exact name of
        something is no pattern.
    remedy : str
        What to do where none fits, beside naming another.

    Raises
    ------
    InvalidArgument
        For a name that fits nothing, with a list of what there is.
    """
    asked = [wrt] if isinstance(wrt, str) else list(wrt) if isinstance(wrt, list | tuple | set | frozenset) else []
    listed = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
    there = f"there are {listed or 'none'}{f'; {remedy}' if remedy else ''}"
    if not asked or not all(isinstance(name, str) for name in asked):
        raise InvalidArgument(
            f"wrt={abbreviated(wrt)} must be a name, a pattern such as 'W*', or a list of them; {there}."
        )
    found = {name: _fitting(names, name) for name in asked}
    for name, those in found.items():
        if not those:
            raise InvalidArgument(f"wrt={name!r} fits nothing; {there}.")
    return {name for those in found.values() for name in those}


def _fitting(names: list[str], asked: str) -> list[str]:
    """Return the names that are asked for: by their own, by that of a container, or by a pattern."""
    if asked in names:
        return [asked]
    inside = [name for name in names if is_part_of(name, asked)]
    if inside:
        return inside
    literal = asked.replace("[", "[[]")  # brackets are places in a list; and sets of characters where nothing else fits
    return [name for name in names if fnmatchcase(name, literal)] or [n for n in names if fnmatchcase(n, asked)]
