"""Whether arguments come in another order than they are asked for: ``backward(cache, dy)``, ``hvp(v, x)``, ``(f, params, grad)``.

Another order is tried only where what the derivative gives is no product of any Jacobian, or where numbers that were given as
the gradient are wrong; and it is said only where it gives the slope of the function along a direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.checks.check import Check
from gradcheck.differences.lengths import lengths_of
from gradcheck.functions.float_errors import at_our_own_points
from gradcheck.functions.points import Point

__all__ = ["examine_places", "is_marked", "is_slope", "note_on"]

MARKS = {"not-linear", "wrong-shape", "wrong-structure", "wrong-type", "wrong-dtype"}
"""What a derivative that takes its arguments in another order is found to do, beside what it does with zeros."""

LIKE = 1e-2
"""The share of its terms by which a slope may be off: enough to tell one order of arguments from another."""


def is_marked(check: Check) -> bool:
    """Tell whether the derivative was found to be no linear map of its seed, or to give nothing that fits."""
    role = check.subject.role
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


def examine_places(check: Check) -> None:
    """Say where what was given as the gradient may be the point, and the point the gradient there.

    Not where one is nearly a multiple of the other, as any two single numbers are: then a factor explains the error as well.
    Costs two calls of a function whose gradient is wrong.
    """
    values, free = check.readings[0].values, check.point.free()
    leaves = dict(enumerate(check.point.leaves))
    if not any(found.wrong.any() for found in check.judgements.values()) or any(i not in values for i in free):
        return
    at, claimed = (
        np.concatenate([part[i].ravel() for i in free]) for part in ({i: leaves[i].value for i in free}, values)
    )
    if abs(at @ claimed) >= (1 - LIKE) * np.linalg.norm(at) * np.linalg.norm(claimed):
        return
    for i in free:
        held = leaves[i].value
        leaves[i] = replace(leaves[i], value=values[i].reshape(held.shape).astype(held.dtype))
    point = replace(check.point, leaves=list(leaves.values()))
    try:
        is_exchanged = is_slope(check, np.ones(1), lambda steps: at * np.concatenate([steps[i] for i in free]), point)
    except Exception:  # noqa: BLE001 - f need not be defined at what is no point
        return
    if is_exchanged:
        message = (
            "are grad and params swapped? The order is check_gradient(f, grad, params); what was given as params is the slope of f at "
            "what was given as grad"
        )
        check.find("arguments-swapped", message, fatal=True)


def is_slope(
    check: Check, row: Floats, terms: Callable[[dict[int, Floats]], Floats], point: Point | None = None
) -> bool:
    """Tell whether the function, seen through a cotangent, changes along two random walks by what terms add up to.

    Parameters
    ----------
    check : Check
    row : array
        The cotangent.
    terms : callable
        ``terms(steps)`` gives what should add up to the change, for the way from one side of the point to the other, one vector
        by leaf.
    point : Point, optional
        That of the check unless another is given.

    Notes
    -----
    Along one walk terms of both signs may add up to the change by luck. Costs two calls of the function, and two more where they do;
    raises `BudgetExhaustedError` where they are not left.
    """
    for _ in range(2):
        steps, change = _walk(check, point or check.point)
        parts = terms(steps)
        if not abs(float(row @ change) - parts.sum()) <= LIKE * np.abs(parts).sum():
            return False
    return True


def _walk(check: Check, point: Point) -> tuple[dict[int, Floats], Floats]:
    """Take a random step to either side of a point, of all leaves together; return the way between them and the change."""
    ahead, behind = point.copies(), point.copies()
    steps = {}
    for leaf in point.free():
        held = point.leaves[leaf]
        step = (np.sqrt(held.format.eps) * lengths_of(held.value)).reshape(held.value.shape)
        step *= check.settings.rng.uniform(0.5, 1.5, step.shape)
        ahead[leaf], behind[leaf] = (held.format.rounded(held.value + sign * step) for sign in (1.0, -1.0))
        steps[leaf] = (ahead[leaf] - behind[leaf]).astype(np.float64).ravel()
    values = []
    with at_our_own_points():
        for arrays in (ahead, behind):
            check.budget.spend()
            values.append(check.output.read(check.subject.value(point.hand(arrays).tree)))
    return steps, values[0] - values[1]
