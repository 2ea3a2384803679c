"""Checks of a function inside of bounds, which are never left: at a bound differences are one-sided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.aliases import Bools, Floats
from gradcheck.checks.orders import with_remarks
from gradcheck.functions.boxes import Box
from gradcheck.functions.dense import written_out
from gradcheck.functions.options import CheckOptions
from gradcheck.reports.report import Report

__all__ = ["check_inside", "held", "inside"]

Function = Callable[..., Any]

CALLS_BEYOND = 3
"""Calls of a function for one value of its continuation beyond a bound."""


def check_inside(check: Callable[..., Report], box: Box, f: Function, claim: Function, options: CheckOptions) -> Report:
    """Make a check of a function continued beyond its bounds, and count the calls of the function itself."""
    calls = 0

    def counted(x: Floats) -> Any:
        nonlocal calls
        calls += 1
        return f(x)

    is_bounded = bool(np.any(np.isfinite(box.lower) | np.isfinite(box.upper)))
    limit = options.get("max_evaluations")
    if is_bounded and isinstance(limit, int) and limit >= CALLS_BEYOND:
        options = {**options, "max_evaluations": limit // CALLS_BEYOND}
    report = check(box.extend(counted) if is_bounded else counted, claim, box.x, **options)
    fixed = np.flatnonzero(box.fixed)
    said = (f"x0[{i}]: its bounds are equal, so it was held fixed and not checked" for i in fixed)
    return replace(with_remarks(report, *said), evaluations=calls)


def inside(box: Box, derivative: Function, x: Floats, shape: tuple[int, ...] = ()) -> Any:
    """Ask for a derivative at the nearest point inside; zero along elements that cannot move.

    Whatever does not fit is left as it is: the check says what is wrong with it.
    """
    given = derivative(box.clip(x))
    if not shape and callable(getattr(given, "matvec", None)) and not np.any(box.fixed):
        return given
    numbers = np.asarray(written_out(given))
    if numbers.dtype.kind not in "biufc":
        return given
    return held(numbers.reshape(shape) if shape else np.atleast_2d(numbers), box.fixed)


def held(derivative: Any, fixed: Bools) -> Any:
    """Return a derivative with zeros along elements that cannot move, where it has the shape of one."""
    fits = np.ndim(derivative) >= fixed.ndim and len(fixed) in (1, np.shape(derivative)[-fixed.ndim])
    return np.where(fixed, 0.0, derivative) if fits and np.any(fixed) else derivative
