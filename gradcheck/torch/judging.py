"""How what autograd gives is compared with differences: as a gradient where the value is one number, as products else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from gradcheck.checks.check import Check, Claimant, Reference
from gradcheck.checks.claimants import VjpClaimant
from gradcheck.checks.losses import LossClaimant
from gradcheck.checks.orders import both_orders, with_remarks
from gradcheck.checks.pushforwards import JvpClaimant
from gradcheck.checks.run import MOST_EXHAUSTIVE, run
from gradcheck.errors import InvalidArgument
from gradcheck.functions.options import CheckOptions, read_options
from gradcheck.functions.points import point_of
from gradcheck.reports.report import Report
from gradcheck.torch.problems import Problem
from gradcheck.torch.tensors import Tensors, cast

__all__ = ["check"]

FEWEST_VECTORIZED = 200
"""Elements from which on one call for many displaced copies is worth the attempt."""


def check(
    problem: Problem, order: int, reference: str | None, options: CheckOptions, *, forward: bool = False
) -> Report:
    """Compare what autograd gives, in reverse mode or in forward mode, with differences."""
    if torch.is_inference_mode_enabled():
        raise InvalidArgument(
            "torch.inference_mode() is on, in which autograd records nothing; make the check outside of it."
        )
    problem = problem.tried()
    values = problem.value(*problem.inputs.values())
    is_scalar = len(values) == 1 and values[0].numel() == 1 and not forward
    is_better = reference is not None and not problem.is_wide
    if is_scalar and "vectorized" not in options and _is_vectorizable(problem, wide=is_better):
        options = {**options, "vectorized": True}
    settings = read_options(options, vectorizable=is_scalar, directional=not forward)
    better: Callable[..., Any] = _scalar(problem, wide=True) if is_scalar else partial(problem.value, wide=True)
    point = point_of(problem.inputs, "inputs")
    wide = Reference(better, is_optional=True) if is_better else None
    report = run(Check(settings, point, _claimant(problem, values, is_scalar=is_scalar, forward=forward), wide))
    report = with_remarks(report, *problem.remarks)
    return report if order == 1 else both_orders(report, check(problem.derivative(), 1, reference, options))


def _claimant(problem: Problem, values: Tensors, *, is_scalar: bool, forward: bool) -> Claimant:
    if forward:
        return JvpClaimant(problem.value, problem.push, problem.inputs)
    if not is_scalar:
        return VjpClaimant(problem.value, problem.pull, problem.inputs)
    return LossClaimant(
        _scalar(problem, wide=False),
        lambda number, *leaves: problem.pull([torch.full_like(values[0], number)], *leaves),
        problem.inputs,
    )


def _scalar(problem: Problem, *, wide: bool) -> Callable[[dict[str, Any]], Any]:
    """Return the value of a problem that has one number; of a stack of them where a leaf has one axis more."""
    axes = [leaf.ndim for leaf in problem.inputs.values()]

    def one(*leaves: Any) -> Any:
        return problem.value(*leaves, wide=wide)[0].reshape(())

    def value(p: dict[str, Any]) -> Any:
        stacked = [0 if leaf.ndim > ndim else None for leaf, ndim in zip(p.values(), axes, strict=True)]
        if all(axis is None for axis in stacked):
            return one(*p.values())
        return torch.func.vmap(one, in_dims=tuple(stacked), randomness="same")(*(leaf.detach() for leaf in p.values()))

    return value


def _is_vectorizable(problem: Problem, *, wide: bool) -> bool:
    """Tell whether many elements are to be looked at one by one, and `torch.func.vmap` gives what single calls give."""
    if not FEWEST_VECTORIZED <= sum(leaf.numel() for leaf in problem.inputs.values()) <= MOST_EXHAUSTIVE:
        return False
    value = _scalar(problem, wide=wide)
    start = {name: cast(leaf.detach(), wide=wide) for name, leaf in problem.inputs.items()}
    try:
        for name, leaf in start.items():
            both = torch.stack([leaf, leaf * 0.99])
            alone = [value({**start, name: part}) for part in both]
            if not torch.allclose(value({**start, name: both}), torch.stack(alone), rtol=1e-9, atol=0.0):
                return False
    except (RuntimeError, NotImplementedError, ValueError, TypeError):  # what vmap cannot do
        return False
    return True
