"""Decide whether a gradient is right, and if not say which elements, by how much and why."""

from gradcheck.checks import assert_gradient, assert_layer, check_gradient, check_layer
from gradcheck.comparison import Comparison, Divergence, compare
from gradcheck.derivatives import NumericalDerivative, numerical_gradient
from gradcheck.errors import GradcheckError, GradientError, InvalidArgument, MissingDependency
from gradcheck.report import Diagnosis, Finding, ParameterReport, Report

__version__ = "0.1.0"

__all__ = [
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
    "assert_gradient",
    "assert_layer",
    "check_gradient",
    "check_layer",
    "compare",
    "numerical_gradient",
]
