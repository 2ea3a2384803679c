"""The Jacobian that `scipy.optimize.least_squares` is given, checked by its own call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from gradcheck.assertions import asserting
from gradcheck.errors import InvalidArgument
from gradcheck.functions.boxes import Box
from gradcheck.functions.dense import written_out
from gradcheck.functions.options import CheckOptions, require_callable
from gradcheck.reports.report import Finding, Report
from gradcheck.scipy.arguments import INFINITE, Function, behind, of_checks, point, sides
from gradcheck.scipy.judging import judge_jacobian
from gradcheck.watching import watched

__all__ = ["assert_least_squares", "check_least_squares"]


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
        See `CheckOptions`. What only the solver reads is taken and not used.

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
    options, x, args, extra = of_checks(least_squares, options), point(x0), behind(args), dict(kwargs or {})
    box = Box(x, *sides(bounds))
    report = judge_jacobian(box, lambda x: fun(x, *args, **extra), lambda x: jac(x, *args, **extra), options)
    return report if jac_sparsity is None else _within(report, np.asarray(written_out(jac_sparsity)) != 0)


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


assert_least_squares = asserting(check_least_squares, __name__)
