"""One function and its derivative inside of bounds, and one constraint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint

from gradcheck.checks.bounded import check_inside, held, inside
from gradcheck.checks.first_order import check_gradient
from gradcheck.checks.matrices import check_hessian, check_jacobian
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.boxes import Box
from gradcheck.functions.dense import written_out
from gradcheck.functions.options import CheckOptions, require_callable
from gradcheck.reports.report import Report
from gradcheck.scipy.arguments import Function, behind, derivative, number

__all__ = ["judge_constraint", "judge_gradient", "judge_hessian", "judge_jacobian"]


def judge_gradient(box: Box, value: Function, jac: Function, options: CheckOptions) -> Report:
    """Check the gradient of a function with one value."""
    return check_inside(check_gradient, box, lambda x: number(value(x)), lambda x: inside(box, jac, x, (-1,)), options)


def judge_jacobian(box: Box, values: Function, jac: Function, options: CheckOptions) -> Report:
    """Check the Jacobian of a function with several values."""
    return check_inside(check_jacobian, box, lambda x: np.atleast_1d(values(x)), lambda x: inside(box, jac, x), options)


def judge_hessian(box: Box, value: Function, slope: Function | None, hess: Function, options: CheckOptions) -> Report:
    """Check a Hessian by differences of a gradient that is right, or by values where there is none."""
    if slope is not None:
        return judge_jacobian(box, lambda x: np.ravel(written_out(slope(x))), hess, options)
    claim = lambda x: held(inside(box, hess, x), box.fixed[:, None])  # noqa: E731
    return check_inside(check_hessian, box, lambda x: number(value(x)), claim, options)


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
