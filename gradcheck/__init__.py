"""Decide whether a gradient is right, and if not say which elements, by how much and why.

A name is loaded when it is first used: ``import gradcheck`` itself needs nothing, not even NumPy, so a test suite
that checks no gradient does not pay for the package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from gradcheck.mutants.catalogue import Mutant
    from gradcheck.mutants.score import MutationOptions, MutationScore, mutation_score
    from gradcheck.reports.comparison import Comparison, Divergence, compare
    from gradcheck.reports.report import Diagnosis, Finding, ParameterReport, Report, write_html

__version__ = "0.2.0"

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
    "Mutant",
    "MutationOptions",
    "MutationScore",
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
    "mutation_score",
    "numerical_gradient",
    "numerical_jacobian",
    "write_html",
]

_NAMES = {
    "assertions": (
        "assert_adjoint assert_chain assert_gradient assert_hessian assert_hvp assert_jacobian assert_jvp "
        "assert_layer assert_vjp"
    ),
    "checks.chains": "check_chain",
    "checks.first_order": "check_gradient check_jvp check_layer check_vjp",
    "checks.matrices": "check_adjoint check_hessian check_hvp check_jacobian",
    "derivatives": "NumericalDerivative numerical_gradient numerical_jacobian",
    "errors": "GradcheckError GradientError InvalidArgument MissingDependency",
    "functions.options": "CheckOptions",
    "mutants.catalogue": "Mutant",
    "mutants.score": "MutationOptions MutationScore mutation_score",
    "reports.comparison": "Comparison Divergence compare",
    "reports.report": "Diagnosis Finding ParameterReport Report write_html",
}
"""Module -> the public names it defines: what the imports above tell type checkers, for the interpreter."""

_HOMES = {name: f"gradcheck.{module}" for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it, once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gradcheck' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
