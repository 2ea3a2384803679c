"""The twins of the checks for use in tests: they raise `GradientError` unless the verdict is ``"pass"``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Unpack

from gradcheck.checks.chains import check_chain
from gradcheck.checks.first_order import check_gradient, check_jvp, check_layer, check_vjp
from gradcheck.checks.matrices import check_adjoint, check_hessian, check_hvp, check_jacobian
from gradcheck.functions.options import CheckOptions
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


def assert_gradient(
    f: Callable[[Any], Any],
    grad: Callable[[Any], Any] | Literal[True],
    params: Any,
    *,
    reference: Callable[[Any], Any] | None = None,
    **options: Unpack[CheckOptions],
) -> Report:
    """Do as `check_gradient`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_gradient(f, grad, params, reference=reference, **options)
    report.assert_ok()
    return report


def assert_layer(
    forward: Callable[..., Any],
    backward: Callable[[Any, Any], Any],
    *inputs: Any,
    reference: Callable[..., Any] | None = None,
    **options: Unpack[CheckOptions],
) -> Report:
    """Do as `check_layer`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_layer(forward, backward, *inputs, reference=reference, **options)
    report.assert_ok()
    return report


def assert_vjp(
    f: Callable[..., Any],
    vjp: Callable[..., Any],
    *inputs: Any,
    reference: Callable[..., Any] | None = None,
    **options: Unpack[CheckOptions],
) -> Report:
    """Do as `check_vjp`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_vjp(f, vjp, *inputs, reference=reference, **options)
    report.assert_ok()
    return report


def assert_jvp(
    f: Callable[..., Any],
    jvp: Callable[..., Any],
    *inputs: Any,
    reference: Callable[..., Any] | None = None,
    **options: Unpack[CheckOptions],
) -> Report:
    """Do as `check_jvp`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_jvp(f, jvp, *inputs, reference=reference, **options)
    report.assert_ok()
    return report


def assert_jacobian(
    f: Callable[[Any], Any], jac: Callable[[Any], Any], x: Any, **options: Unpack[CheckOptions]
) -> Report:
    """Do as `check_jacobian`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_jacobian(f, jac, x, **options)
    report.assert_ok()
    return report


def assert_hvp(
    grad: Callable[[Any], Any], hvp: Callable[[Any, Any], Any], x: Any, **options: Unpack[CheckOptions]
) -> Report:
    """Do as `check_hvp`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_hvp(grad, hvp, x, **options)
    report.assert_ok()
    return report


def assert_adjoint(
    matvec: Callable[[Any], Any], rmatvec: Callable[[Any], Any], x: Any, y: Any, **options: Unpack[CheckOptions]
) -> Report:
    """Do as `check_adjoint`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_adjoint(matvec, rmatvec, x, y, **options)
    report.assert_ok()
    return report


def assert_hessian(
    f: Callable[[Any], Any], hess: Callable[[Any], Any], x: Any, **options: Unpack[CheckOptions]
) -> Report:
    """Do as `check_hessian`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_hessian(f, hess, x, **options)
    report.assert_ok()
    return report


def assert_chain(
    stages: Iterable[tuple[str, Callable[..., Any], Callable[[Any, Any], Any], tuple[Any, ...]]],
    x: Any,
    **options: Unpack[CheckOptions],
) -> Report:
    """Do as `check_chain`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_chain(stages, x, **options)
    report.assert_ok()
    return report
