"""Cotangents through which outputs of all sizes are seen: each counts for as much as it changes.

In a sum with random weights of order one the error of a small output is less than what is tolerated of a large one, and less
than the noise of that. Weighed by the inverse of its size it is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.checks.check import Check
from gradcheck.checks.second_point import AWAY
from gradcheck.functions.blocks import BLOCK, random_signs
from gradcheck.functions.float_errors import at_our_own_points
from gradcheck.functions.points import Output
from gradcheck.functions.probe import calling, means_undefined

__all__ = ["can_be_single", "each_of", "equalising", "weights_of"]

FARTHER = 2
"""Points as far away as the second one at which the function is called too: along a single direction what an output changes by may cancel."""


def can_be_single(check: Check) -> bool:
    """Tell whether claims for all elements may be kept for each output."""
    elements = sum(check.point.leaves[leaf].value.size for leaf in check.point.free())
    return max(elements, check.output.size) * check.output.size <= BLOCK


def each_of(output: Output) -> Floats:
    """Return a cotangent for each output; zeros for what is no floating-point number, shape (M, M)."""
    parts = [np.full(leaf.value.size, float(leaf.is_differentiable)) for leaf in output.leaves]
    return np.diag(np.concatenate(parts))


def equalising(check: Check, output: Output) -> Floats:
    """Return further cotangents, in which each output counts for as much as it changes, shape (0 to 2, M).

    Parameters
    ----------
    check : Check
    output : Output
        The form of what differences are taken of; that of the function itself, or better.

    Notes
    -----
    Costs four calls of the function where it has several outputs; two if differences are taken of a better one,
    none without a second point.
    """
    if check.output.size < 2:
        return np.zeros((0, check.output.size))
    rng, noise = check.settings.rng, output.rounding()
    if check.elsewhere is None:  # of changes nothing is known: the values themselves say how large they may be
        changes = np.abs(check.value)
    else:
        far = [check.elsewhere.value, *_values(check, [check.point.moved(AWAY[0], rng) for _ in range(FARTHER)])]
        changes = np.max([np.abs(value - check.value) for value in far], axis=0)
        if output.eps >= check.output.eps:  # else it is better than the function, and so is its noise
            noise = _noise(check, changes, noise)
    rows = weights_of(changes, noise, check.rtol)
    return np.asarray(rows * random_signs(changes.size, rng) * rng.uniform(0.5, 1.5, rows.shape))


def _noise(check: Check, changes: Floats, rounding: Floats) -> Floats:
    """Return the noise of the outputs, their rounding at least, as far as it is more than what is tolerated of their changes, shape (M,).

    It is seen so near by that they change by as much: more of it bends a line, or keeps them where they are, though they should move
    by more than one unit in the last place. Of such a staircase nothing but the change is known, which its steps may be as high as.
    """
    assert check.elsewhere is not None  # noqa: S101 - tells the type checker
    ways = [
        (leaf, (away - leaf.value) * check.rtol if leaf.is_differentiable else 0)
        for leaf, away in zip(check.point.leaves, check.elsewhere.arrays, strict=True)
    ]
    near = _values(check, [[leaf.format.rounded(leaf.value + sign * way) for leaf, way in ways] for sign in (1, -1)])
    if len(near) < 2:
        return rounding
    apart = near - check.value
    stands = (apart == 0).all(axis=0) & (check.rtol * changes > 2 * rounding)
    return np.maximum(rounding, np.where(stands, changes, np.abs(apart.sum(axis=0))))


def weights_of(changes: Floats, noise: Floats, rtol: float) -> Floats:
    """Return weights of the outputs, by what they change by over a long step and by their noise, shape (0 to 2, M).

    Where noise is less than what is tolerated of the change, the change of each counts alike; of the others the noise does, as far as
    they change by more. Each of these in a row of its own, unless the outputs as they are show half the digits of all of them.
    """
    known = np.isfinite(changes) & np.isfinite(noise) & (changes > noise)
    quiet = known & (noise < rtol * changes)
    enough = np.sqrt(rtol) * changes.max(where=known, initial=0.0), noise.max(where=np.isfinite(noise), initial=0.0)
    rows = []
    for chosen, sizes, least in (
        (quiet, changes, max(enough[0], enough[1] / np.sqrt(rtol))),
        (known & ~quiet, noise, np.sqrt(rtol) * max(enough)),
    ):
        if (sizes[chosen] < least).any():
            middle = np.sqrt(sizes[chosen].min()) * np.sqrt(
                sizes[chosen].max()
            )  # narrow dtypes hold neither huge nor tiny ones
            rows.append(np.divide(middle, sizes, out=np.zeros_like(sizes), where=chosen))
    return np.array(rows).reshape(len(rows), changes.size)


def _values(check: Check, places: list[list[NDArray[Any]]]) -> Floats:
    """Return values of the function at a few places, as far as it is defined there, shape (P, M)."""
    values = []
    for arrays in places:
        check.budget.spend()
        try:
            with at_our_own_points(), calling(check.subject.name, "near the given point"):
                values.append(check.output.read(check.subject.value(check.point.hand(arrays).tree)))
        except Exception as error:
            if not means_undefined(error):
                raise
    return np.array(values).reshape(len(values), check.output.size)
