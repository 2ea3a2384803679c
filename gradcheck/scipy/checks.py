"""Checks of the problems of SciPy's solvers, by the solvers' own calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Unpack

import numpy as np
from scipy.optimize import Bounds

from gradcheck.assertions import asserting
from gradcheck.errors import GradientError, InvalidArgument
from gradcheck.functions.boxes import Box
from gradcheck.functions.dense import written_out
from gradcheck.functions.options import CheckOptions, require_callable
from gradcheck.reports.report import Report
from gradcheck.scipy.arguments import INFINITE, Function, columns, limits, point, with_args
from gradcheck.scipy.judging import judge_constraint, judge_gradient, judge_hessian, judge_jacobian, within
from gradcheck.watching import watched

__all__ = ["assert_least_squares", "assert_problem", "check_least_squares", "check_problem"]


@watched
def check_problem(
    fun: Function,
    x0: Any,
    args: tuple[Any, ...] = (),
    *,
    jac: Function | bool | str | None = None,
    hess: Any = None,
    hessp: Function | None = None,
    bounds: Any = None,
    constraints: Any = (),
    **options: Unpack[CheckOptions],
) -> dict[str, Report]:
    """Check every derivative that `scipy.optimize.minimize` would be given.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``, or ``(float, gradient)`` with ``jac=True``.
    x0 : array_like, shape (n,)
        The point.
    args : tuple
        Handed to ``fun``, ``jac``, ``hess`` and ``hessp`` after the point.
    jac, hess, hessp, bounds, constraints
        As in `minimize`. What is not a function (``'2-point'``, a quasi-Newton strategy, None) has nothing to check.
    **options
        See `CheckOptions`; they hold for every check.

    Returns
    -------
    dict of Report
        ``"jac"``, ``"hess"``, ``"hessp"``, ``"constraints[0].jac"``, ``"constraints[0].hess"``, ..., as far as given.

    Raises
    ------
    InvalidArgument
        When there is nothing to check, or the point is out of bounds.

    Notes
    -----
    A Hessian is compared with differences of the gradient where that passed, in ``2 n`` calls of it and some, else with
    second differences of the function, in ``10 n**2``. Beyond a bound one call becomes three.

    Examples
    --------
    >>> from scipy.optimize import rosen, rosen_der, rosen_hess_prod
    >>> reports = check_problem(rosen, [1.3, 0.7, 0.8], jac=rosen_der, hessp=rosen_hess_prod)
    >>> {name: report.verdict for name, report in reports.items()}
    {'jac': 'pass', 'hessp': 'pass'}
    """
    require_callable(fun=fun)
    x = point(x0)
    box = Box(x, *limits(bounds, x.size))
    args = args if isinstance(args, tuple) else (args,)
    fixed = partial(with_args, args=args)
    value, gradient = fixed(fun), fixed(jac)
    if jac is True:
        value, gradient = (lambda x: fun(x, *args)[0]), (lambda x: fun(x, *args)[1])
    reports = {} if gradient is None else {"jac": judge_gradient(box, value, gradient, options)}
    slope = gradient if reports and reports["jac"].ok else None
    if callable(hess):
        reports["hess"] = judge_hessian(box, value, slope, fixed(hess), options)
    if callable(hessp):
        reports["hessp"] = judge_hessian(box, value, slope, columns(hessp, args), options)
    listed = [constraints] if isinstance(constraints, Mapping) or not isinstance(constraints, Iterable) else constraints
    for number, constraint in enumerate(listed):
        reports |= judge_constraint(box, f"constraints[{number}]", constraint, options)
    if not reports:
        raise InvalidArgument("jac, hess, hessp and constraints hold no function: there is nothing to check.")
    return reports


@watched
def check_least_squares(
    fun: Function,
    x0: Any,
    jac: Function,
    *,
    jac_sparsity: Any = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    bounds: Any = INFINITE,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check the Jacobian that `scipy.optimize.least_squares` would be given.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args, **kwargs) ->`` residuals, shape (m,).
    x0 : array_like, shape (n,)
        The point.
    jac : callable
        ``jac(x, *args, **kwargs) ->`` an array, a sparse matrix or a `LinearOperator`, shape (m, n).
    jac_sparsity : array_like or sparse, shape (m, n), optional
        Where the Jacobian may be other than zero. An entry outside of it fails the check, with the finding
        ``outside-sparsity``.
    args, kwargs, bounds
        As in `least_squares`.
    **options
        See `CheckOptions`.

    Returns
    -------
    Report
        Of one parameter of shape (m, n).

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check, or the point is out of bounds.

    Notes
    -----
    Costs two calls of ``fun`` an element of ``x0``, and at most about a hundred more.
    """
    require_callable(fun=fun, jac=jac)
    x, extra = point(x0), dict(kwargs or {})
    box = Box(x, *((bounds.lb, bounds.ub) if isinstance(bounds, Bounds) else bounds))
    report = judge_jacobian(box, lambda x: fun(x, *args, **extra), lambda x: jac(x, *args, **extra), options)
    return report if jac_sparsity is None else within(report, np.asarray(written_out(jac_sparsity)) != 0)


def assert_problem(*args: Any, **kwargs: Any) -> dict[str, Report]:
    """Do as `check_problem`, and raise `GradientError` for the first report whose verdict is not ``"pass"``."""
    __tracebackhide__ = True
    reports = check_problem(*args, **kwargs)
    for name, report in reports.items():
        try:
            report.assert_ok()
        except GradientError as error:
            error.add_note(f"this is the report of {name}")
            raise
    return reports


assert_least_squares = asserting(check_least_squares, __name__)
