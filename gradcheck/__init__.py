"""Decide whether a gradient is right, and if not say which elements, by how much and why."""

from gradcheck.assertions import (
    assert_adjoint,
    assert_chain,
    assert_gradient,
    assert_hessian,
    assert_hvp,
    assert_jacobian,
    assert_jvp,
    assert_layer,
    assert_vjp,
)
from gradcheck.checks.chains import check_chain
from gradcheck.checks.first_order import check_gradient, check_jvp, check_layer, check_vjp
from gradcheck.checks.matrices import check_adjoint, check_hessian, check_hvp, check_jacobian
from gradcheck.derivatives import NumericalDerivative, numerical_gradient, numerical_jacobian
from gradcheck.errors import GradcheckError, GradientError, InvalidArgument, MissingDependency
from gradcheck.functions.options import CheckOptions
from gradcheck.reports.comparison import Comparison, Divergence, compare
from gradcheck.reports.report import Diagnosis, Finding, ParameterReport, Report

__version__ = "0.1.0"

__all__ = [
    "CheckOptions",
    "Comparison",
    "Diagnosis",
    "Divergence",
    "Finding",
    "GradcheckError",
    "GradientError",
    "InvalidArgument",
    "MissingDependency",
    "NumericalDerivative",
    "ParameterReport",
    "Report",
    "assert_adjoint",
    "assert_chain",
    "assert_gradient",
    "assert_hessian",
    "assert_hvp",
    "assert_jacobian",
    "assert_jvp",
    "assert_layer",
    "assert_vjp",
    "check_adjoint",
    "check_chain",
    "check_gradient",
    "check_hessian",
    "check_hvp",
    "check_jacobian",
    "check_jvp",
    "check_layer",
    "check_vjp",
    "compare",
    "numerical_gradient",
    "numerical_jacobian",
]
