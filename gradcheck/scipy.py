"""The problems of `scipy.optimize`: the derivatives that its solvers are given, by the call that they are given in.

``check_problem`` takes the arguments of `scipy.optimize.minimize`, ``check_least_squares`` those of
`scipy.optimize.least_squares`. Bounds are never left: at a bound differences are one-sided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from gradcheck.checks.first_order import check_gradient
from gradcheck.checks.matrices import check_hessian, check_jacobian
from gradcheck.errors import GradientError, InvalidArgument, MissingDependency
from gradcheck.functions.boxes import Box
from gradcheck.functions.options import CheckOptions, require_callable
from gradcheck.reports.report import Finding, Report
from gradcheck.watching import watched

try:
    from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint
except ImportError as error:  # pragma: no cover - needs an environment without it
    raise MissingDependency("gradcheck.scipy needs scipy, which is not installed: pip install scipy") from error

__all__ = ["assert_least_squares", "assert_problem", "check_least_squares", "check_problem"]

Floats = NDArray[np.float64]
Function = Callable[..., Any]
INFINITE = (-np.inf, np.inf)

CALLS_BEYOND = 3
"""Of a function for its continuation beyond a bound."""


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
    x = _point(x0)
    box = Box(x, *_limits(bounds, x.size))
    args = args if isinstance(args, tuple) else (args,)
    fixed = partial(_with_args, args=args)
    value, gradient = fixed(fun), fixed(jac)
    if jac is True:
        value, gradient = (lambda x: fun(x, *args)[0]), (lambda x: fun(x, *args)[1])
    reports = {} if gradient is None else {"jac": _gradient(box, value, gradient, options)}
    slope = gradient if reports and reports["jac"].ok else None
    if callable(hess):
        reports["hess"] = _hessian(box, value, slope, fixed(hess), options)
    if callable(hessp):
        reports["hessp"] = _hessian(box, value, slope, _columns(hessp, args), options)
    listed = [constraints] if isinstance(constraints, Mapping) or not isinstance(constraints, Iterable) else constraints
    for number, constraint in enumerate(listed):
        reports |= _constraint(box, f"constraints[{number}]", constraint, options)
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
    x, extra = _point(x0), dict(kwargs or {})
    box = Box(x, *((bounds.lb, bounds.ub) if isinstance(bounds, Bounds) else bounds))
    report = _jacobian(box, lambda x: fun(x, *args, **extra), lambda x: jac(x, *args, **extra), options)
    return report if jac_sparsity is None else _within(report, _dense(jac_sparsity, x.size) != 0)


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


def assert_least_squares(*args: Any, **kwargs: Any) -> Report:
    """Do as `check_least_squares`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_least_squares(*args, **kwargs)
    report.assert_ok()
    return report


# ---- one function and its derivative ---------------------------------------------------------------------------------


def _gradient(box: Box, value: Function, gradient: Function, options: CheckOptions) -> Report:
    def check(f: Function, given: CheckOptions) -> Report:
        return check_gradient(f, lambda x: np.ravel(_claim(box, gradient, x)), box.x, **given)

    return _counted(box, lambda x: np.reshape(value(x), ()), check, options)


def _jacobian(box: Box, values: Function, jac: Function, options: CheckOptions) -> Report:
    def check(f: Function, given: CheckOptions) -> Report:
        return check_jacobian(f, lambda x: np.atleast_2d(_claim(box, jac, x)), box.x, **given)

    return _counted(box, lambda x: np.atleast_1d(values(x)), check, options)


def _hessian(box: Box, value: Function, slope: Function | None, hess: Function, options: CheckOptions) -> Report:
    """Check a Hessian by differences of a gradient that is right, or by values where there is none."""
    if slope is not None:
        return _jacobian(box, lambda x: np.ravel(_dense(slope(x), box.x.size)), hess, options)

    def check(f: Function, given: CheckOptions) -> Report:
        return check_hessian(f, lambda x: np.where(box.fixed[:, None], 0.0, _claim(box, hess, x)), box.x, **given)

    return _counted(box, lambda x: np.reshape(value(x), ()), check, options)


def _constraint(box: Box, name: str, constraint: Any, options: CheckOptions) -> dict[str, Report]:
    """Check a constraint: a dictionary, as SLSQP and COBYLA take them, or a `NonlinearConstraint`."""
    if isinstance(constraint, LinearConstraint | Bounds):
        return {}
    if isinstance(constraint, Mapping):
        fixed = partial(_with_args, args=tuple(constraint.get("args", ())))
        fun, jac, hess = fixed(constraint["fun"]), fixed(constraint.get("jac")), None
    elif isinstance(constraint, NonlinearConstraint):
        fun, jac, hess = constraint.fun, _with_args(constraint.jac, ()), constraint.hess
    else:
        raise InvalidArgument(
            f"{name} is a {type(constraint).__name__}; a dictionary, a NonlinearConstraint or a LinearConstraint was "
            "required."
        )
    reports = {} if jac is None else {f"{name}.jac": _jacobian(box, fun, jac, options)}
    if callable(hess):
        is_right = bool(reports) and reports[f"{name}.jac"].ok
        v = np.linspace(0.5, 1.5, np.size(fun(box.x.copy())))
        slope = (lambda x: v @ np.atleast_2d(_dense(jac(x), box.x.size))) if is_right and jac is not None else None
        reports[f"{name}.hess"] = _hessian(box, lambda x: v @ np.ravel(fun(x)), slope, lambda x: hess(x, v), options)
    return reports


def _within(report: Report, allowed: NDArray[np.bool_]) -> Report:
    """Fail a report whose claim has entries where there may be none."""
    (parameter,) = report.parameters.values()
    if allowed.shape != parameter.shape:
        raise InvalidArgument(f"jac_sparsity has shape {allowed.shape}; that of the Jacobian is {parameter.shape}.")
    outside = np.argwhere((parameter.claimed != 0) & ~np.isnan(parameter.claimed) & ~allowed)
    if not len(outside):
        return report
    message = (
        f"{len(outside):,} non-zero entries of the Jacobian are outside of jac_sparsity, the first at "
        f"{[int(i) for i in outside[0]]}: a solver that groups columns by it mixes them up"
    )
    evidence = {"elements": len(outside), "first": outside[:20].tolist()}
    finding = Finding(code="outside-sparsity", where=parameter.name, message=message, evidence=evidence)
    return replace(report, verdict="fail", findings=(finding, *report.findings))


# ---- calls -----------------------------------------------------------------------------------------------------------


def _counted(box: Box, f: Function, check: Callable[[Function, CheckOptions], Report], options: CheckOptions) -> Report:
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
    report = check(box.extend(counted) if is_bounded else counted, options)
    held = tuple(
        f"x0[{i}]: its bounds are equal, so it was held fixed and not checked" for i in np.flatnonzero(box.fixed)
    )
    return replace(report, evaluations=calls, blind_spots=(*report.blind_spots, *held))


def _with_args(function: Any, args: tuple[Any, ...]) -> Any:
    """Return a function of the point alone; None for what is no function, as ``'2-point'``."""
    return (lambda x: function(x, *args)) if callable(function) else None


def _columns(hessp: Function, args: tuple[Any, ...]) -> Function:
    """Return the Hessian whose products these are."""
    return lambda x: np.stack([np.ravel(hessp(x.copy(), e, *args)) for e in np.eye(x.size)], axis=-1)


def _claim(box: Box, derivative: Function, x: Floats) -> Any:
    """Ask for a derivative at the nearest point inside; zero along elements that cannot move."""
    return np.where(box.fixed, 0.0, _dense(derivative(box.clip(x)), box.x.size))


def _dense(matrix: Any, columns: int) -> Any:
    """Return the array that a sparse matrix or a linear operator stands for."""
    if hasattr(matrix, "toarray"):
        return matrix.toarray()
    return matrix @ np.eye(columns) if hasattr(matrix, "matvec") else np.asarray(matrix)


def _point(x0: Any) -> Floats:
    x = np.atleast_1d(np.asarray(x0))
    if x.dtype.kind not in "biuf" or x.ndim != 1:
        raise InvalidArgument(f"x0 has dtype {x.dtype} and shape {x.shape}; a vector of real numbers was required.")
    return x.astype(np.float64)


def _limits(bounds: Any, size: int) -> tuple[Any, Any]:
    """Read bounds as SciPy does: a `Bounds`, a pair (lower, upper) of arrays, or a sequence of pairs, None for none."""
    if bounds is None:
        return INFINITE
    if isinstance(bounds, Bounds):
        return bounds.lb, bounds.ub
    pairs = list(bounds)
    if len(pairs) != size or any(np.size(pair) != 2 for pair in pairs):
        raise InvalidArgument(
            f"bounds hold {len(pairs)} entries; one (min, max) for each of the {size} elements of x0."
        )
    lower = [-np.inf if low is None else low for low, _ in pairs]
    return lower, [np.inf if high is None else high for _, high in pairs]
