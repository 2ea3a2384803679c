"""The twins of the checks for use in tests: they raise `GradientError` unless the verdict is ``"pass"``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from gradcheck.checks.chains import check_chain
from gradcheck.checks.first_order import check_gradient, check_jvp, check_layer, check_vjp
from gradcheck.checks.matrices import check_adjoint, check_hessian, check_hvp, check_jacobian
from gradcheck.reports.report import Report

__all__ = [
    "assert_adjoint",
    "assert_chain",
    "assert_gradient",
    "assert_hessian",
    "assert_hvp",
    "assert_jacobian",
    "assert_jvp",
    "assert_layer",
    "assert_vjp",
]

P = ParamSpec("P")


def _asserting(check: Callable[P, Report]) -> Callable[P, Report]:
    """Return the twin of a check, with the same arguments."""

    @wraps(check)
    def twin(*args: P.args, **kwargs: P.kwargs) -> Report:
        __tracebackhide__ = True
        report = check(*args, **kwargs)
        report.assert_ok()
        return report

    name = check.__name__
    twin.__name__ = twin.__qualname__ = name.replace("check_", "assert_")
    twin.__module__ = __name__
    twin.__doc__ = f'Do as `{name}`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report.'
    return twin


assert_adjoint = _asserting(check_adjoint)
assert_chain = _asserting(check_chain)
assert_gradient = _asserting(check_gradient)
assert_hessian = _asserting(check_hessian)
assert_hvp = _asserting(check_hvp)
assert_jacobian = _asserting(check_jacobian)
assert_jvp = _asserting(check_jvp)
assert_layer = _asserting(check_layer)
assert_vjp = _asserting(check_vjp)
