"""How what autograd gives is compared with differences: many displaced points at once where `torch.func.vmap` gives the same."""

from __future__ import annotations

import torch

from gradcheck.checks.autodiff import against_differences, compare_values, is_scalar, is_wide
from gradcheck.checks.orders import with_faults
from gradcheck.checks.run import MOST_EXHAUSTIVE
from gradcheck.functions.options import CheckOptions
from gradcheck.reports.report import Report
from gradcheck.torch.problem import TorchProblem
from gradcheck.torch.tensors import cast

__all__ = ["check"]

FEWEST_VECTORIZED = 200
"""Elements from which on one call for many displaced copies is worth the attempt."""


def check(problem: TorchProblem, reference: str | None, options: CheckOptions, *, forward: bool = False) -> Report:
    """Compare what autograd gives, in reverse mode or in forward mode, with differences."""
    values = problem.value(*problem.inputs.values())
    wide = reference is not None and not is_wide(problem)
    if "vectorized" not in options and is_scalar(values) and not forward and _is_vectorizable(problem, wide=wide):
        options = {**options, "vectorized": True}
    report = against_differences(problem, values, options, forward=forward, reference=reference, stacks=True)
    return with_faults(report, compare_values(problem, values, [part.detach() for part in problem.graph()[0]]))


def _is_vectorizable(problem: TorchProblem, *, wide: bool) -> bool:
    """Tell whether many elements are to be looked at one by one, and `torch.func.vmap` gives what single calls give."""
    if not FEWEST_VECTORIZED <= sum(leaf.numel() for leaf in problem.inputs.values()) <= MOST_EXHAUSTIVE:
        return False
    start = {name: cast(leaf.detach(), wide=wide) for name, leaf in problem.inputs.items()}
    try:
        for name, leaf in start.items():
            both = torch.stack([leaf, leaf * 0.99])
            alone = [problem.number({**start, name: part}, wide=wide) for part in both]
            together = problem.number({**start, name: both}, wide=wide)
            if not torch.allclose(together, torch.stack(alone), rtol=1e-9, atol=0.0):
                return False
    except (RuntimeError, NotImplementedError, ValueError, TypeError):  # what vmap cannot do
        return False
    return True
