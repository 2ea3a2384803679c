"""What a check could not have seen, whatever it measured: read off the point, the shapes and the signature.

Each says what would open its eyes. They are no findings: a right gradient has them too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.checks.check import Check
from gradcheck.functions.points import Point
from gradcheck.functions.selection import is_part_of

__all__ = ["of_the_point", "unseen"]

MOST_NAMED = 5
"""Parameters that a sentence names; the rest is counted."""

NEVER_TAKEN = "with negative strides"
"""The layout that some libraries refuse as a whole, torch among them: a user of theirs can do nothing about it."""

NEUTRAL = {"stride": 1, "strides": 1, "dilation": 1, "dilations": 1, "groups": 1, "padding": 0}
"""Arguments of layers, and the value at which an error in their use does not show."""


def unseen(check: Check) -> list[str]:
    """Return what a check could not see.

    Parameters
    ----------
    check : Check
        When everything was asked and measured.
    """
    return [
        *_of_the_calls(check),
        *of_the_point(check.point, has_branches=check.subject.pulls_back),
        *_of_the_signature(check),
    ]


def _of_the_calls(check: Check) -> Iterator[str]:
    name = check.subject.derivative
    held = [
        s
        for s in check.point.settings
        if any(is_part_of(leaf.name, s) and leaf.format.eps for leaf in check.point.leaves)
    ]
    if held:
        yield f"{_listed(held)}: held fixed, as settings: no gradient of the floats in it was asked for; give them apart"
    others = [
        leaf.name
        for leaf in check.point.leaves
        if leaf.is_fixed
        and leaf.value.dtype.kind == "f"
        and not any(is_part_of(leaf.name, s) for s in check.point.settings)
    ]
    if others:
        yield f"{_listed(others)}: held fixed, as wrt= asks"
    if not check.point.free():
        yield "every array is empty: only shapes were seen; give one that holds numbers"
        return
    if check.output.leaves and not check.output.size:
        yield f"{check.output.name} returned no numbers: only shapes were seen; give a point at which it has some"
        return
    if check.subject.is_given:
        yield (
            "the gradient was given as numbers: what only calls of it show (other points and memory layouts, what it changes "
            "or keeps) was not seen; pass the function that computes it"
        )
    elif check.elsewhere is None:
        yield f"{name} was called at one point only: a gradient kept from it would not show; check another point too"
    if check.untried and not all(words.startswith(NEVER_TAKEN) for words in check.untried):
        yield f"memory layouts that were refused: {', '.join(check.untried)}; accept them, or copy what comes in"


def of_the_point(*points: Point, has_branches: bool = True) -> Iterator[str]:
    """Give what the values and shapes of a point, or of several together, hide.

    That nothing is negative is said of layers, which have branches for it: a volatility or a length cannot be negative.
    """
    arrays = {point.leaves[i].name: point.leaves[i].value for point in points for i in point.free()}
    for holds, sentence in PROPERTIES:
        names = [name for name, array in arrays.items() if holds(array)]
        if names and (has_branches or holds is not _has_no_negative):
            yield f"{_listed(names)}: {sentence}"
    for name, array in arrays.items():
        ones = int(np.count_nonzero(array == 1))
        if 0 < ones < array.size:
            are = "is 1, so a factor of it" if ones == 1 else "are 1, so a factor of them"
            yield f"{name}: {ones:,} of {array.size:,} elements {are} would not show; try other values"
    if len(arrays) > 1 and not _has_batch_of_many(list(arrays.values())):
        yield "every first axis has size one: a missing sum or mean over it would not show; give a batch of several"


def _of_the_signature(check: Check) -> Iterator[str]:
    neutral = [f"{name}={value}" for name, value in _settings(check.subject.function) if NEUTRAL.get(name) == value]
    if neutral:
        yield f"{', '.join(neutral)}: an error in how it is used would not show; try another value"


def _settings(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """Give the keyword arguments that a function is called with: defaults, and what a partial fixes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except Exception:  # noqa: BLE001 - whatever the attributes of a callable raise
        return
    for parameter in parameters:
        if isinstance(parameter.default, int):
            yield parameter.name, parameter.default


def _is_square(array: NDArray[Any]) -> bool:
    return array.ndim >= 2 and array.shape[-1] == array.shape[-2] > 1


def _has_size_one(array: NDArray[Any]) -> bool:
    return array.ndim >= 1 and 1 in array.shape


def _has_batch_of_many(arrays: list[NDArray[Any]]) -> bool:
    return any(array.ndim >= 2 and array.shape[0] != 1 for array in arrays) or all(array.ndim < 2 for array in arrays)


def _has_no_negative(array: NDArray[Any]) -> bool:
    return array.size > 1 and bool((array > 0).all()) and not (array == 1).all()  # of ones more is said


def _has_no_ties(array: NDArray[Any]) -> bool:
    return array.size > 1 and np.unique(array).size == array.size and bool((array != 0).all())


PROPERTIES: list[tuple[Callable[[NDArray[Any]], bool], str]] = [
    (_is_square, "square, so a transposed gradient has the right shape too; try unequal sizes"),
    (_has_size_one, "an axis of size one, over which a missing sum would not show; try a longer one"),
    (lambda a: bool((a == 1).all()), "all ones, so a missing factor of it would not show; try other values"),
    (lambda a: bool((a == 0).all()), "all zeros, so a missing term with it would not show; try other values"),
    (_has_no_negative, "no negative element; if there may be some, what happens there was not seen"),
    (_has_no_ties, "no zeros and no equal elements; what happens at kinks and ties was not seen"),
]
"""What a leaf may be like, and what that hides."""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
