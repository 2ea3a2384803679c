"""What PyTorch's own call asks of derivatives beside their values, without any difference.

Several cotangents or tangents at once, by vmap, must give what they give one by one; an undefined one must do what zeros do;
and a second backward pass must give what the first gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch

from gradcheck.functions.options import default_rtol
from gradcheck.functions.probe import quoted
from gradcheck.reports.report import Finding
from gradcheck.torch.problem import TorchProblem, pulled
from gradcheck.torch.tensors import Tensors, like

__all__ = ["Asked", "examine"]

ROUNDINGS = 1e3
"""Units of rounding, relative to the largest number of a tensor, by which two ways to the same number may differ."""


class Asked(NamedTuple):
    """What is asked of the derivatives of one mode: of several upstreams at once, of undefined ones, and of a second pass."""

    forward: bool
    batches: bool
    undefined: bool
    nondeterminism: float


class _Way(NamedTuple):
    """Another way to some derivatives: what it is, and the tensors, one of each parameter in ``where``, that it must give."""

    code: str
    where: list[str]
    said: str
    expected: Tensors
    call: Callable[[], Any]


class _Undefined(torch.autograd.Function):  # type: ignore[misc] # whether PyTorch is there or not, it is of any type
    """The identity, behind which no gradient arrives: not zeros, but none."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        del ctx
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        del ctx, dy


def examine(problem: TorchProblem, asked: Asked) -> list[Finding]:
    """Return what is wrong with the derivatives of a function, beside their values."""
    rng = torch.Generator().manual_seed(0)  # not the user's

    def draw(tensor: Any) -> Any:
        return like(tensor, torch.randn(tensor.shape, generator=rng, dtype=torch.float64))

    ways = _tangents if asked.forward else _cotangents
    found = [finding for way in ways(problem, asked, draw) for finding in _compared(way)]
    return found if asked.forward else [*found, *_repeated(problem, asked.nondeterminism, draw)]


def _cotangents(problem: TorchProblem, asked: Asked, draw: Callable[[Any], Any]) -> Iterator[_Way]:
    """Pull two cotangents of each output back at once, and leave out those of all outputs, and of each in turn."""
    (values, leaves), names = problem.graph(), list(problem.inputs)
    pull = partial(pulled, retain_graph=True)
    for value in values if asked.batches else ():
        seeds = [draw(value), draw(value)]
        alone = [pull([value], leaves, [seed]) for seed in seeds]
        said = "backward, called with several cotangents at once by vmap, {} what it gives for each"
        together = partial(pull, [value], leaves, [torch.stack(seeds)], is_grads_batched=True)
        yield _Way("batched-gradient", names, said, list(map(torch.stack, zip(*alone, strict=True))), together)
    every = set(range(len(values)))
    for cut in (every, *({i} for i in every if len(every) > 1)) if asked.undefined else ():
        seeds = list(map(draw, values))
        expected = pull(values, leaves, [seed * (i not in cut) for i, seed in enumerate(seeds)])
        outputs = "all outputs" if cut == every else f"output {min(cut)}"
        parted = [_Undefined.apply(value) if i in cut else value for i, value in enumerate(values)]
        said = f"backward, called without an upstream of {outputs}, {{}} what it gives for zeros"
        yield _Way("undefined-upstream", names, said, expected, partial(pull, parted, leaves, seeds))


def _tangents(problem: TorchProblem, asked: Asked, draw: Callable[[Any], Any]) -> Iterator[_Way]:
    """Push all unit tangents of each leaf forward at once, which gives its Jacobian, and leave out its tangent."""
    leaves = list(problem.inputs.values())
    tangents = list(map(draw, leaves))

    def push(moves: Tensors) -> Tensors:
        return problem.push(moves, *leaves)

    def jacobian_times(place: int) -> Tensors:
        def values(given: Any) -> tuple[Any, ...]:
            return tuple(problem.outputs([*leaves[:place], given, *leaves[place + 1 :]]))

        jacobian, move = torch.autograd.functional.jacobian, tangents[place]
        matrices = jacobian(values, leaves[place].detach(), strategy="forward-mode", vectorize=True)
        return [torch.tensordot(matrix, move, dims=move.ndim) for matrix in matrices]

    for place, name in enumerate(problem.inputs):
        without = [None if i == place else move for i, move in enumerate(tangents)]
        alone = [move if i == place else None for i, move in enumerate(tangents)]
        zero = [move * (i != place) for i, move in enumerate(tangents)]
        if asked.batches:
            said = "forward mode, called with several tangents at once by vmap, {} what it gives for each"
            expected = push(alone)
            yield _Way("batched-gradient", [name] * len(expected), said, expected, partial(jacobian_times, place))
        if asked.undefined:
            said = f"forward mode, called without a tangent of {name}, {{}} what it gives for zeros"
            expected = push(zero)
            yield _Way("undefined-upstream", [name] * len(expected), said, expected, partial(push, without))


def _repeated(problem: TorchProblem, allowed: float, draw: Callable[[Any], Any]) -> Iterator[Finding]:
    """Go backward through one graph twice."""
    values, leaves = problem.graph()
    seeds = list(map(draw, values))
    first, second = (pulled(values, leaves, seeds, retain_graph=True) for _ in range(2))
    for name, one, other in zip(problem.inputs, first, second, strict=True):
        apart = float((one - other).abs().max()) if one.numel() else 0.0
        if apart > allowed:
            message = (
                f"a second backward pass gave something else, by up to {apart:.3g}; nondet_tol={allowed:g} is allowed"
            )
            yield Finding(code="second-call-differs", where=name, message=message, evidence={"difference": apart})


def _compared(way: _Way) -> Iterator[Finding]:
    """Give a finding where a call raises, and for each tensor in which it gives something else."""
    try:
        found = way.call()
    except Exception as error:  # noqa: BLE001 - what works in one way fails in the other
        message = f"{way.said.partition(' {}')[0]} raised {quoted(error)}"
        yield Finding(code=way.code, message=message, evidence={"error": quoted(error)})
        return
    for name, one, other in zip(way.where, way.expected, found, strict=True):
        apart, eps = (one - other).abs(), torch.finfo(one.dtype).eps
        size = float(one.abs().max()) if one.numel() else 0.0
        if not bool((apart <= default_rtol(eps) * one.abs() + ROUNDINGS * eps * size).all()):
            largest = float(apart.max())
            message = f"{way.said.format('gave something else than')}: they differ by up to {largest:.3g}"
            yield Finding(code=way.code, where=name, message=message, evidence={"difference": largest})
