"""Of which function differences are taken: the user's own, or the same one computed better.

A float32 function is a staircase, and what its steps hide of a gradient is far more than what float32 hides of the
gradient itself. The same function in float64, at the same parameters, shows it: the claim is made by the one and judged
by the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.checks.check import NEAR, NUDGES, Check
from gradcheck.checks.protocol import examine_repeated_value
from gradcheck.errors import InvalidArgument
from gradcheck.functions.float_errors import at_our_own_points
from gradcheck.functions.points import Output, Point
from gradcheck.functions.probe import BudgetExhaustedError, calling

__all__ = ["Differenced", "choose_differenced"]

ROUND_OFF = 16.0
"""Standard deviations of their difference near by that two functions may be apart at the point."""


class Differenced(NamedTuple):
    """A function of which differences are taken, where, and its value there."""

    function: Callable[[Any], Any]
    point: Point
    output: Output
    value: Any


def choose_differenced(check: Check, value: Any) -> Differenced | None:
    """Choose the function of which differences are taken.

    Parameters
    ----------
    check : Check
        Its function was called at the point, and the form of its value is known.
    value : object
        That value.

    Returns
    -------
    Differenced or None
        The reference at the point widened to float64; without one, or where an optional one cannot be had, the function
        itself. None where the reference is another function: nothing can be judged then.

    Notes
    -----
    Costs two calls of the reference, and four more of each where the two differ by more than half the digits of the
    function's dtype.
    """
    own = Differenced(check.subject.value, check.point, _as_coarse_as_inside(check), value)
    if check.reference is None:
        return own
    try:
        better = _evaluate(check, check.reference.function)
        why = _difference(check, better)
    except Exception as error:
        if not check.reference.is_optional or isinstance(error, BudgetExhaustedError):
            raise
        why = f"raised {type(error).__name__}: {error}"
        better = own
    if not why:
        examine_repeated_value(check, better.output, better.function, better.point, better.output.read(better.value))
        return better
    if check.reference.is_optional:
        message = f"reference {why}; differences were taken of {check.output.name} as it is"
        check.find("reference-unavailable", message)
        return own
    check.find("reference-differs", f"reference {why}: it is another function, so nothing was judged; correct it")
    return None


def _as_coarse_as_inside(check: Check) -> Output:
    """Return the form of the value, its numbers no more exact than those that they were computed from."""
    inside = check.subject.inside
    if inside is None:
        return check.output
    leaves = [replace(leaf, format=max(leaf.format, inside, key=lambda each: each.eps)) for leaf in check.output.leaves]
    return replace(check.output, leaves=leaves)


def _evaluate(check: Check, reference: Callable[..., Any]) -> Differenced:
    """Call the reference at the widened point."""
    function, point = check.subject.like_value(reference), check.point.widened()
    check.budget.spend()
    with calling("reference", "at the given point"):
        value = function(point.hand().tree)
    output = Output.of(value, "reference")
    mine, theirs = ([leaf.value.shape for leaf in form.leaves] for form in (check.output, output))
    if mine != theirs:
        raise InvalidArgument(
            f"reference returned shapes {theirs} where {check.output.name} gives {mine}; it must be the same function, "
            "computed better."
        )
    return Differenced(function, point, output, value)


def _difference(check: Check, better: Differenced) -> str:
    """Say by how much two functions differ at the point, where rounding does not explain it."""
    value = better.output.read(better.value)
    # A narrow parameter makes products narrow, however wide the output is that they are summed into.
    eps = check.eps()
    signed = np.where((value == check.value) | (np.isnan(value) & np.isnan(check.value)), 0.0, value - check.value)
    apart = np.abs(signed)
    allowed = np.sqrt(eps or np.finfo(np.float64).eps) * _sizes(check, value)
    if (apart <= allowed).all():
        return ""
    allowed = np.maximum(allowed, ROUND_OFF * _measured_rounding(check, better, signed))
    if (apart <= allowed).all():
        return ""
    worst = int(np.where(np.isnan(apart), np.inf, apart).argmax())
    return f"gives {value[worst]:.6g} where {check.output.name} gives {check.value[worst]:.6g}"


def _sizes(check: Check, value: Floats) -> Floats:
    """Return for each output the largest of its array: sums of other outputs' size may have gone into it."""
    parts, start = [np.zeros(0)], 0
    for leaf in check.output.leaves:
        part = np.abs(value[start : start + leaf.value.size])
        parts.append(np.full(leaf.value.size, part[np.isfinite(part)].max(initial=0.0)))
        start += leaf.value.size
    return np.concatenate(parts)


def _measured_rounding(check: Check, better: Differenced, apart: Floats) -> Floats:
    """Return the standard deviation of the difference of the two functions at this point and a few near by.

    Between two functions it hardly changes there; what rounding makes of one is another number at each.
    """
    differences = [apart]
    for _ in range(NUDGES):
        arrays = check.point.moved(NEAR, check.settings.rng)
        wide = [array.astype(leaf.value.dtype) for array, leaf in zip(arrays, better.point.leaves, strict=True)]
        check.budget.spend()
        check.budget.spend()
        with at_our_own_points():
            value = check.output.read(check.subject.value(check.point.hand(arrays).tree))
            differences.append(better.output.read(better.function(better.point.hand(wide).tree)) - value)
    return np.asarray(np.std(differences, axis=0))
