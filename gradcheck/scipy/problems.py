"""The derivatives that `scipy.optimize.minimize` is given, checked by its own call."""

from __future__ import annotations

from typing import Any, Unpack

from scipy.optimize import minimize

from gradcheck.errors import GradientError, InvalidArgument
from gradcheck.functions.boxes import Box
from gradcheck.functions.options import CheckOptions, require_callable
from gradcheck.reports.report import Report
from gradcheck.scipy.arguments import Function, behind, both, columns, derivative, limits, listed, of_checks, point
from gradcheck.scipy.judging import judge_constraint, judge_gradient, judge_hessian
from gradcheck.watching import watched

__all__ = ["assert_problem", "check_problem"]


@watched
def check_problem(
    fun: Function,
    x0: Any,
    args: tuple[Any, ...] = (),
    *,
    jac: Function | bool | str | None = None,
    hess: Any = None,
    hessp: Any = None,
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
        See `CheckOptions`; they hold for every check. What only the solver reads, its ``method`` too, is taken and not used.

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
    options, x, args = of_checks(minimize, options), point(x0), behind(args)
    box = Box(x, *limits(bounds, x.size))
    value, gradient = both(fun, args) if jac is True else (derivative("fun", fun, args), derivative("jac", jac, args))
    reports = {} if gradient is None else {"jac": judge_gradient(box, value, gradient, options)}
    slope = gradient if reports and reports["jac"].ok else None
    seconds = {"hess": derivative("hess", hess, args)}
    seconds["hessp"] = None if derivative("hessp", hessp) is None else columns(hessp, args)
    for name, second in seconds.items():
        if second is not None:
            reports[name] = judge_hessian(box, value, slope, second, options)
    for number, constraint in enumerate(listed(constraints)):
        reports |= judge_constraint(box, f"constraints[{number}]", constraint, options)
    if not reports:
        raise InvalidArgument(
            "jac, hess, hessp and constraints hold no function: there is nothing to check; give one by its name, as jac=gradient."
        )
    return reports


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
