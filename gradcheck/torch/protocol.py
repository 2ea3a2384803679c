"""What PyTorch's own call asks of derivatives beside their values, without any difference.

Several cotangents or tangents at once, by vmap, must give what they give one by one; an undefined one must do what zeros do;
and a second backward pass must give what the first gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from gradcheck.functions.options import default_rtol
from gradcheck.reports.report import Finding
from gradcheck.torch.problems import Problem, pulled
from gradcheck.torch.tensors import Tensors, like

__all__ = ["Asked", "examine"]

TOGETHER = 2
"""Cotangents that make a batch."""

ROUNDINGS = 1e3
"""Units of rounding, relative to the largest number of a tensor, by which two ways to the same number may differ."""

LONGEST_TOLD = 160
"""Characters of an exception's text that a finding quotes."""


class Asked(NamedTuple):
    """What is asked of the derivatives of one mode: of several upstreams at once, of undefined ones, and of a second pass."""

    forward: bool
    batches: bool
    undefined: bool
    nondeterminism: float


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
        found += _batched_tangents(problem) if asked.forward else _batched_cotangents(problem)
    if asked.undefined:
        found += _undefined_tangents(problem) if asked.forward else _undefined_cotangents(problem)
    return found if asked.forward else [*found, *_repeated(problem, asked.nondeterminism)]


def _batched_cotangents(problem: Problem) -> Iterator[Finding]:
    """Pull two cotangents of each output back at once."""
    (values, leaves), draw = problem.graph(), _drawing()
    for value in values:
        seeds = [draw(value) for _ in range(TOGETHER)]
        alone = [pulled([value], leaves, [seed], retain_graph=True) for seed in seeds]
        yield from _compared(
            list(problem.inputs),
            list(map(torch.stack, zip(*alone, strict=True))),
            partial(pulled, [value], leaves, [torch.stack(seeds)], retain_graph=True, is_grads_batched=True),
            "batched-gradient",
            ("backward, called with several cotangents at once by vmap,", "what it gives for each"),
        )


def _batched_tangents(problem: Problem) -> Iterator[Finding]:
    """Push all unit tangents of each leaf forward at once: that gives its Jacobian."""
    leaves, draw = list(problem.inputs.values()), _drawing()
    for place, (name, leaf) in enumerate(problem.inputs.items()):
        move = draw(leaf)
        expected = problem.push([move if i == place else None for i in range(len(leaves))], *leaves)

        def values(given: Any, place: int = place) -> tuple[Any, ...]:
            return tuple(problem.outputs([*leaves[:place], given, *leaves[place + 1 :]]))

        def pushed(values: Callable[[Any], Any] = values, leaf: Any = leaf, move: Any = move) -> Tensors:
            jacobian = torch.autograd.functional.jacobian
            matrices = jacobian(values, leaf.detach(), strategy="forward-mode", vectorize=True)
            return [torch.tensordot(matrix, move, dims=move.ndim) for matrix in matrices]

        said = ("forward mode, called with several tangents at once by vmap,", "what it gives for each")
        yield from _compared([name] * len(expected), expected, pushed, "batched-gradient", said)


def _undefined_cotangents(problem: Problem) -> Iterator[Finding]:
    """Leave out the cotangents of all outputs, and of each in turn."""
    count, draw = len(problem.graph()[0]), _drawing()
    for cut in [set(range(count)), *([{i} for i in range(count)] if count > 1 else [])]:
        values, leaves = problem.graph()
        seeds = list(map(draw, values))
        expected = pulled(values, leaves, [seed * (i not in cut) for i, seed in enumerate(seeds)], retain_graph=True)
        parted = [_Undefined.apply(value) if i in cut else value for i, value in enumerate(values)]
        outputs = "all outputs" if len(cut) == count else f"output {min(cut)}"
        said = (f"backward, called without an upstream of {outputs},", "what it gives for zeros")
        call = partial(pulled, parted, leaves, seeds, retain_graph=True)
        yield from _compared(list(problem.inputs), expected, call, "undefined-upstream", said)


def _undefined_tangents(problem: Problem) -> Iterator[Finding]:
    """Leave out the tangent of each leaf in turn."""
    leaves = list(problem.inputs.values())
    tangents = list(map(_drawing(), leaves))
    for place, name in enumerate(problem.inputs):
        expected = problem.push([tangent * (i != place) for i, tangent in enumerate(tangents)], *leaves)
        without = [None if i == place else tangent for i, tangent in enumerate(tangents)]
        said = (f"forward mode, called without a tangent of {name},", "what it gives for zeros")
        call = partial(problem.push, without, *leaves)
        yield from _compared([name] * len(expected), expected, call, "undefined-upstream", said)


def _repeated(problem: Problem, allowed: float) -> Iterator[Finding]:
    """Go backward through one graph twice."""
    values, leaves = problem.graph()
    seeds = list(map(_drawing(), values))
    first, second = (pulled(values, leaves, seeds, retain_graph=True) for _ in range(2))
    for name, one, other in zip(problem.inputs, first, second, strict=True):
        apart = float((one - other).abs().max()) if one.numel() else 0.0
        if apart > allowed:
            message = (
                f"a second backward pass gave something else, by up to {apart:.3g}; nondet_tol={allowed:g} is allowed"
            )
            yield Finding(code="second-call-differs", where=name, message=message, evidence={"difference": apart})


def _compared(
    names: Sequence[str], expected: Tensors, call: Callable[[], Tensors], code: str, said: tuple[str, str]
) -> Iterator[Finding]:
    """Give a finding where a call raises, and for each tensor, of the parameter of that name, in which it gives something else.

    ``said`` is what was done, and what should have come out.
    """
    what, expectation = said
    try:
        found = call()
    except Exception as error:  # noqa: BLE001 - what works in one way fails in the other
        told = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_TOLD]
        yield Finding(code=code, message=f"{what} raised {told}", evidence={"error": told})
        return
    for name, one, other in zip(names, expected, found, strict=True):
        apart, eps = (one - other).abs(), torch.finfo(one.dtype).eps
        size = float(one.abs().max()) if one.numel() else 0.0
        if not bool((apart <= default_rtol(eps) * one.abs() + ROUNDINGS * eps * size).all()):
            largest = float(apart.max())
            message = f"{what} gave something else than {expectation}: they differ by up to {largest:.3g}"
            yield Finding(code=code, where=name, message=message, evidence={"difference": largest})


def _drawing() -> Callable[[Any], Any]:
    """Return what draws numbers in a tensor's shape and dtype, without the user's generator."""
    rng = torch.Generator().manual_seed(0)
    return lambda tensor: like(tensor, torch.randn(tensor.shape, generator=rng, dtype=torch.float64))
