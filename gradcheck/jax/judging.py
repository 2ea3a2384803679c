"""How what JAX gives is compared with differences, in the first of the modes that a function has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from gradcheck.checks.autodiff import against_differences, compare_values
from gradcheck.checks.modes import compare_modes
from gradcheck.checks.orders import with_faults, with_remarks
from gradcheck.functions.options import CheckOptions
from gradcheck.functions.probe import calling
from gradcheck.jax.problem import JaxProblem, compiled
from gradcheck.reports.report import Finding, Report

__all__ = ["check"]

LACKING = re.compile(r"forward-mode|reverse-mode|custom_vjp|custom_jvp|differentiation rule", re.IGNORECASE)
"""What JAX says where a function has no derivative in some mode."""

NAMES = {"rev": "reverse mode", "fwd": "forward mode"}


def check(problem: JaxProblem, modes: Sequence[str], reference: str | None, options: CheckOptions) -> Report:
    """Compare the first mode that there is with differences, and the other one with it."""
    problem, values = problem.tried()
    leaves = list(problem.inputs.values())
    calls = {mode: compiled(partial(problem.both, mode)) for mode in modes}
    lacking: dict[str, Exception] = {}
    faults: list[Finding] = []
    for mode, call in calls.items():
        try:
            with calling(NAMES[mode], "at the given point"):
                differentiated = call(values if mode == "rev" else leaves, *leaves)[0]
        except (TypeError, ValueError, NotImplementedError) as error:
            if not LACKING.search(str(error)):
                raise
            lacking[mode] = error
        else:
            faults = faults or compare_values(problem, values, differentiated)
    present = [mode for mode in calls if mode not in lacking]
    if not present:
        raise next(iter(lacking.values()))
    report = against_differences(problem, values, options, forward=present[0] == "fwd", reference=reference)
    if len(present) > 1:
        faults = faults or compare_modes(problem, calls)
    said = [
        f"{NAMES[mode]}: JAX has no rule for the function in it (a custom_vjp has none), so it was not checked"
        for mode in lacking
    ]
    return with_remarks(with_faults(report, faults), *said)
