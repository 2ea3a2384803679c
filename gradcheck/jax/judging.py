"""How what JAX gives is compared with differences, in the first of the modes that a function has."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gradcheck.checks.autodiff import against_differences
from gradcheck.checks.orders import with_faults, with_remarks
from gradcheck.functions.options import CheckOptions
from gradcheck.jax.modes import compare_modes
from gradcheck.jax.problem import JaxProblem, compiled
from gradcheck.reports.report import Report

__all__ = ["check"]

LACKING = re.compile(r"forward-mode|reverse-mode|custom_vjp|custom_jvp|differentiation rule", re.IGNORECASE)
"""What JAX says where a function has no derivative in some mode."""

NAMES = {"rev": "reverse mode", "fwd": "forward mode"}


def check(problem: JaxProblem, modes: Sequence[str], reference: str | None, options: CheckOptions) -> Report:
    """Compare the first mode that there is with differences, and the other one with it."""
    problem, values = problem.tried()
    leaves = list(problem.inputs.values())
    calls = {"rev": compiled(problem.pull), "fwd": compiled(problem.push)}
    lacking = {}
    for mode in dict.fromkeys(modes):
        try:
            calls[mode](values if mode == "rev" else leaves, *leaves)
        except (TypeError, ValueError, NotImplementedError) as error:
            if not LACKING.search(str(error)):
                raise
            lacking[mode] = error
    present = [mode for mode in dict.fromkeys(modes) if mode not in lacking]
    if not present:
        raise next(iter(lacking.values()))
    report = against_differences(problem, values, options, forward=present[0] == "fwd", reference=reference)
    faults = compare_modes(problem, calls) if len(present) > 1 else []
    said = [
        f"{NAMES[mode]}: JAX has no rule for the function in it (a custom_vjp has none), so it was not checked"
        for mode in lacking
    ]
    return with_remarks(with_faults(report, faults), *said)
