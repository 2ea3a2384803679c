"""How what JAX gives is compared with differences, in the first of the modes that a function has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradcheck.checks.check import Check, Claimant, Reference
from gradcheck.checks.claimants import VjpClaimant
from gradcheck.checks.losses import LossClaimant
from gradcheck.checks.orders import with_faults, with_remarks
from gradcheck.checks.pushforwards import JvpClaimant
from gradcheck.checks.run import run
from gradcheck.errors import InvalidArgument
from gradcheck.functions.options import CheckOptions, read_options
from gradcheck.functions.points import point_of
from gradcheck.functions.probe import calling
from gradcheck.jax.arrays import Arrays, enable_x64
from gradcheck.jax.modes import compare_modes
from gradcheck.jax.problems import Problem
from gradcheck.reports.report import Report

__all__ = ["check"]

LACKING = re.compile(r"forward-mode|reverse-mode|custom_vjp|custom_jvp|differentiation rule", re.IGNORECASE)
"""What JAX says where a function has no derivative in some mode."""

NAMES = {"rev": "reverse mode", "fwd": "forward mode"}

REMEDY = "arguments follow the function one by one: check_grad(f, x, y)"
"""What to do where the arguments of a call do not fit."""

UNTRACEABLE = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""What a function raises that can be evaluated and differentiated, but not compiled."""


def check(problem: Problem, modes: Sequence[str], reference: str | None, options: CheckOptions) -> Report:
    """Compare the first mode that there is with differences, and the other one with it."""
    leaves = list(problem.inputs.values())
    with calling("f", "at the given point", REMEDY):
        values = problem.plain(*leaves)
    if not any(part.size for part in values):
        raise InvalidArgument("f returned no floating-point number; there is nothing to differentiate.")
    calls = {"rev": _compiled(problem.pulled), "fwd": _compiled(problem.pushed)}
    lacking = {}
    for mode in dict.fromkeys(modes):
        try:
            calls[mode](values if mode == "rev" else leaves, leaves)
        except (TypeError, ValueError, NotImplementedError) as error:
            if not LACKING.search(str(error)):
                raise
            lacking[mode] = error
    present = [mode for mode in dict.fromkeys(modes) if mode not in lacking]
    if not present:
        raise next(iter(lacking.values()))
    claimant = _claimant(problem, present[0], values)
    settings = read_options(options, vectorizable=False, directional=claimant.is_whole)
    better = None
    if reference and not problem.is_wide:
        is_scalar = isinstance(claimant, LossClaimant)
        better = Reference(_on_doubles(problem, is_scalar=is_scalar), is_optional=True)
    report = run(Check(settings, point_of(problem.inputs, "args"), claimant, better))
    faults = compare_modes(problem, calls) if len(present) > 1 else []
    said = [f"{NAMES[mode]}: the function has no derivative in it, so none was checked" for mode in lacking]
    return with_remarks(with_faults(report, faults), *said)


def _claimant(problem: Problem, mode: str, values: Arrays) -> Claimant:
    if mode == "fwd":
        return JvpClaimant(problem.plain, problem.push, problem.inputs)
    if len(values) == 1 and values[0].size == 1:
        return LossClaimant(
            lambda p: problem.plain(*p.values())[0].reshape(()),
            lambda number, *leaves: problem.pull([np.full_like(values[0], number)], *leaves),
            problem.inputs,
        )
    return VjpClaimant(problem.plain, problem.pull, problem.inputs)


def _on_doubles(problem: Problem, *, is_scalar: bool) -> Callable[..., Any]:
    """Return the function in double precision, compiled where it can be: it is called hundreds of times."""
    compiled = _compiled(lambda leaves: problem.function(leaves, True))

    def function(leaves: Iterable[Any]) -> Arrays:
        with enable_x64(True):
            return [np.asarray(part) for part in compiled([jnp.asarray(leaf) for leaf in leaves])]

    if is_scalar:
        return lambda p: function(p.values())[0].reshape(())
    return lambda *leaves: function(leaves)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called; where that cannot be it is called as it is."""
    left: list[Callable[..., Any]] = [jax.jit(function), function]

    def call(*args: Any) -> Any:
        try:
            return left[0](*args)
        except UNTRACEABLE:
            if len(left) == 1:
                raise
            del left[0]
            return left[0](*args)

    return call
