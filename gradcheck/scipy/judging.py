"""One function and its derivative inside of bounds, and one constraint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint

from gradcheck.checks.first_order import check_gradient
from gradcheck.checks.matrices import check_hessian, check_jacobian
from gradcheck.checks.orders import with_remarks
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.boxes import Box
from gradcheck.functions.dense import written_out
from gradcheck.functions.options import CheckOptions, require_callable
from gradcheck.reports.report import Report
from gradcheck.scipy.arguments import Floats, Function, behind, derivative, number

__all__ = ["judge_constraint", "judge_gradient", "judge_hessian", "judge_jacobian"]

CALLS_BEYOND = 3
"""Of a function for its continuation beyond a bound."""


def judge_gradient(box: Box, value: Function, jac: Function, options: CheckOptions) -> Report:
    """Check the gradient of a function with one value."""
    return _judge(check_gradient, box, lambda x: number(value(x)), lambda x: _inside(box, jac, x, (-1,)), options)


def judge_jacobian(box: Box, values: Function, jac: Function, options: CheckOptions) -> Report:
    """Check the Jacobian of a function with several values."""
    return _judge(check_jacobian, box, lambda x: np.atleast_1d(values(x)), lambda x: _inside(box, jac, x), options)


def judge_hessian(box: Box, value: Function, slope: Function | None, hess: Function, options: CheckOptions) -> Report:
    """Check a Hessian by differences of a gradient that is right, or by values where there is none."""
    if slope is not None:
        return judge_jacobian(box, lambda x: np.ravel(written_out(slope(x))), hess, options)
    claim = lambda x: _held(_inside(box, hess, x), box.fixed[:, None])  # noqa: E731
    return _judge(check_hessian, box, lambda x: number(value(x)), claim, options)


def judge_constraint(box: Box, name: str, given: Any, options: CheckOptions) -> dict[str, Report]:
    """Check a constraint: a dictionary, as SLSQP and COBYLA take them, or a `NonlinearConstraint`."""
    if isinstance(given, LinearConstraint | Bounds):
        return {}
    if isinstance(given, Mapping):
        args = behind(given.get("args", ()))
        require_callable("", **{f"{name}['fun']": given.get("fun")})
        fun, jac = (derivative(f"{name}[{key!r}]", given.get(key), args) for key in ("fun", "jac"))
        hess = None
    elif isinstance(given, NonlinearConstraint):
        fun, jac, hess = given.fun, derivative(f"{name}.jac", given.jac), given.hess
    else:
        raise InvalidArgument(
            f"{name} is {described(given)}; a dictionary, a NonlinearConstraint or a LinearConstraint was required."
        )
    reports = {} if jac is None else {f"{name}.jac": judge_jacobian(box, fun, jac, options)}
    if callable(hess):
        is_right = bool(reports) and reports[f"{name}.jac"].ok
        v = np.linspace(0.5, 1.5, np.size(fun(box.x.copy())))
        slope = (lambda x: v @ np.atleast_2d(written_out(jac(x)))) if is_right and jac is not None else None
        reports[f"{name}.hess"] = judge_hessian(
            box, lambda x: v @ np.ravel(fun(x)), slope, lambda x: hess(x, v), options
        )
    return reports


def _judge(check: Callable[..., Report], box: Box, f: Function, claim: Function, options: CheckOptions) -> Report:
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
    held = (f"x0[{i}]: its bounds are equal, so it was held fixed and not checked" for i in fixed)
    return replace(with_remarks(report, *held), evaluations=calls)


def _inside(box: Box, derivative: Function, x: Floats, shape: tuple[int, ...] = ()) -> Any:
    """Ask for a derivative at the nearest point inside; zero along elements that cannot move.

    Whatever does not fit is left as it is: the check says what is wrong with it.
    """
    given = derivative(box.clip(x))
    if not shape and callable(getattr(given, "matvec", None)) and not np.any(box.fixed):
        return given
    numbers = np.asarray(written_out(given))
    if numbers.dtype.kind not in "biufc":
        return given
    return _held(numbers.reshape(shape) if shape else np.atleast_2d(numbers), box.fixed)


def _held(derivative: Any, fixed: NDArray[np.bool_]) -> Any:
    """Return a derivative with zeros along elements that cannot move, where it has the shape of one."""
    fits = np.ndim(derivative) >= fixed.ndim and len(fixed) in (1, np.shape(derivative)[-fixed.ndim])
    return np.where(fixed, 0.0, derivative) if fits and np.any(fixed) else derivative
