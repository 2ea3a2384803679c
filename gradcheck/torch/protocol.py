"""What PyTorch's own call asks of derivatives beside their values, without any difference.

Batches of cotangents; a cotangent or tangent that is undefined, which must do what zeros do; and a second backward pass, which
must give what the first gave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from gradcheck.errors import InvalidArgument
from gradcheck.reports.report import Finding
from gradcheck.torch.batches import Draw, Gradients, batched_cotangents, batched_tangents, compared
from gradcheck.torch.problems import Problem
from gradcheck.torch.tensors import Tensors

__all__ = ["Asked", "asked_of", "examine"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the derivatives of one mode.

    Attributes
    ----------
    option : str
        By which the mode is asked for.
    is_asked : bool
    forward : bool
        Whether of forward mode; else of reverse mode.
    batches, undefined : bool
        Whether several cotangents or tangents at once are tried, and undefined ones.
    nondeterminism : float
        By how much two backward passes may differ.
    """

    option: str
    is_asked: bool
    forward: bool
    batches: bool
    undefined: bool
    nondeterminism: float = 0.0


def asked_of(*modes: Asked) -> list[Asked]:
    """Return the modes that are asked for.

    Raises
    ------
    InvalidArgument
        Where none is, or batches are in one that is not.
    """
    for mode in modes:
        if mode.batches and not mode.is_asked:
            batches = "check_batched_forward_grad" if mode.forward else "check_batched_grad"
            raise InvalidArgument(f"{batches}=True needs {mode.option}=True.")
    asked = [mode for mode in modes if mode.is_asked]
    if not asked:
        options = " and ".join(mode.option for mode in modes)
        raise InvalidArgument(f"{options} are False: nothing would be checked; at least one must be True.")
    return asked


class _Undefined(torch.autograd.Function):  # type: ignore[misc] # whether PyTorch is there or not, it is of any type
    """The identity, behind which no gradient arrives: not zeros, but none."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        del ctx
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        del ctx, dy


def examine(problem: Problem, asked: Asked) -> list[Finding]:
    """Return what is wrong with the derivatives of a function, beside their values."""
    found: list[Finding] = []
    if asked.batches:
        found += batched_tangents(problem) if asked.forward else batched_cotangents(problem)
    if asked.undefined:
        found += _undefined_tangents(problem) if asked.forward else _undefined_cotangents(problem)
    if not asked.forward:
        found += _repeated(problem, asked.nondeterminism)
    return found


def _undefined_cotangents(problem: Problem) -> Iterator[Finding]:
    """Leave out the cotangents of all outputs, and of each in turn."""
    count, draw = len(problem.graph()[0]), Draw()
    for cut in [set(range(count)), *([{i} for i in range(count)] if count > 1 else [])]:
        values, leaves = problem.graph()
        seeds = [draw(value) for value in values]
        expected = _pulled(values, leaves, [seed * (i not in cut) for i, seed in enumerate(seeds)])
        parted = [_Undefined.apply(value) if i in cut else value for i, value in enumerate(values)]
        outputs = "all outputs" if len(cut) == count else f"output {min(cut)}"
        yield from compared(
            list(problem.inputs),
            expected,
            partial(_pulled, parted, leaves, seeds),
            "undefined-upstream",
            (f"backward, called without an upstream of {outputs},", "what it gives for zeros"),
        )


def _undefined_tangents(problem: Problem) -> Iterator[Finding]:
    """Leave out the tangent of each leaf in turn."""
    leaves, draw = list(problem.inputs.values()), Draw()
    tangents = [draw(leaf) for leaf in leaves]
    for place, name in enumerate(problem.inputs):
        zeros = [tangent * (i != place) for i, tangent in enumerate(tangents)]
        without = [None if i == place else tangent for i, tangent in enumerate(tangents)]
        expected = problem.push(zeros, *leaves)
        yield from compared(
            [name] * len(expected),
            expected,
            partial(problem.push, without, *leaves),
            "undefined-upstream",
            (f"forward mode, called without a tangent of {name},", "what it gives for zeros"),
        )


def _repeated(problem: Problem, allowed: float) -> Iterator[Finding]:
    """Go backward through one graph twice."""
    values, leaves = problem.graph()
    seeds = list(map(Draw(), values))
    first, second = (_pulled(values, leaves, seeds) for _ in range(2))
    for name, one, other in zip(problem.inputs, first, second, strict=True):
        apart = 0.0 if one is None or other is None or not one.numel() else float((one - other).abs().max())
        if apart > allowed:
            message = (
                f"a second backward pass gave something else, by up to {apart:.3g}; nondet_tol={allowed:g} is allowed"
            )
            yield Finding(code="second-call-differs", where=name, message=message, evidence={"difference": apart})


def _pulled(values: Tensors, leaves: Tensors, seeds: Tensors) -> Gradients:
    pairs = [(value, seed) for value, seed in zip(values, seeds, strict=True) if value.requires_grad]
    if not pairs:
        return [None] * len(leaves)
    outputs, given = zip(*pairs, strict=True)
    gradients: Gradients = torch.autograd.grad(outputs, leaves, given, retain_graph=True, allow_unused=True)
    return gradients
