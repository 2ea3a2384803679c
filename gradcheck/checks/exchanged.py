"""Whether a derivative takes its arguments in another order than they are given: ``backward(cache, dy)``, ``hvp(v, x)``.

Another order is tried only where what the derivative gives is no product of any Jacobian, and it is said only where it gives
the slope of the function along a direction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.checks.check import Check
from gradcheck.differences.ladder import lengths_of
from gradcheck.functions.float_errors import at_our_own_points

__all__ = ["is_like", "is_marked", "note_on", "walk"]

Floats = NDArray[np.float64]

MARKS = {"not-linear", "wrong-shape", "wrong-structure", "wrong-type", "wrong-dtype"}
"""What a derivative that takes its arguments in another order is found to do, beside what it does with zeros."""

LIKE = 1e-2
"""The share of its terms by which a slope may be off: enough to tell one order of arguments from another."""


def is_marked(check: Check) -> bool:
    """Tell whether the derivative was found to be no linear map of its seed, or to give nothing that fits."""
    role = check.claimant.role
    return not {finding.code for finding in check.faults}.isdisjoint(MARKS | {f"zero-{role}", f"{role}-ignored"})


def note_on(error: Exception, orders: dict[str, Callable[[], bool]]) -> None:
    """Note on an exception of a derivative in which other order of its arguments it gives what fits: the first of some."""
    for words, fits in orders.items():
        try:
            is_fitting = fits()
        except Exception:  # noqa: BLE001, S112 - that order is not right either
            continue
        if is_fitting:
            error.add_note(f"{words} it raises nothing and gives what fits")
            return


def walk(check: Check, seen: Callable[[Any], Floats]) -> tuple[dict[int, Floats], Floats]:
    """Take a step to either side of the point, of all leaves together.

    Returns
    -------
    steps : dict
        Leaf -> the way from one side to the other, as one vector.
    change : array
        By how much the function changes along it.

    Notes
    -----
    Costs two calls of the function.
    """
    ahead, behind = check.point.copies(), check.point.copies()
    steps = {}
    for leaf in check.point.free():
        held = check.point.leaves[leaf]
        step = (np.sqrt(held.format.eps) * lengths_of(held.value)).reshape(held.value.shape)
        step *= check.settings.rng.uniform(0.5, 1.5, step.shape)
        ahead[leaf], behind[leaf] = (held.format.rounded(held.value + sign * step) for sign in (1.0, -1.0))
        steps[leaf] = (ahead[leaf] - behind[leaf]).astype(np.float64).ravel()
    with at_our_own_points():
        values = [seen(check.claimant.value(check.point.hand(arrays).tree)) for arrays in (ahead, behind)]
    check.budget.used += 2
    return steps, values[0] - values[1]


def is_like(change: float, terms: Floats) -> bool:
    """Tell whether a change is the sum of some terms."""
    return bool(abs(change - np.sum(terms)) <= LIKE * np.sum(np.abs(terms)))
