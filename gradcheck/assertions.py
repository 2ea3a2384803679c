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
    "asserting",
]

P = ParamSpec("P")


def asserting(check: Callable[P, Report], module: str) -> Callable[P, Report]:
    """Return the twin of a check, with the same arguments, which is found in a module of this name."""

    @wraps(check)
    def twin(*args: P.args, **kwargs: P.kwargs) -> Report:
        __tracebackhide__ = True
        report = check(*args, **kwargs)
        report.assert_ok()
        return report

    name = check.__name__
    twin.__name__ = twin.__qualname__ = name.replace("check_", "assert_")
    twin.__module__ = module
    twin.__doc__ = f'Do as `{name}`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report.'
    return twin


assert_adjoint = asserting(check_adjoint, __name__)
assert_chain = asserting(check_chain, __name__)
assert_gradient = asserting(check_gradient, __name__)
assert_hessian = asserting(check_hessian, __name__)
assert_hvp = asserting(check_hvp, __name__)
assert_jacobian = asserting(check_jacobian, __name__)
assert_jvp = asserting(check_jvp, __name__)
assert_layer = asserting(check_layer, __name__)
assert_vjp = asserting(check_vjp, __name__)
