"""Two ways to the same gradients: several cotangents or tangents at once by vmap must give what they give one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from gradcheck.functions.options import default_rtol
from gradcheck.reports.report import Finding
from gradcheck.torch.problems import Problem

__all__ = ["Draw", "Gradients", "batched_cotangents", "batched_tangents", "compared"]

Gradients = Sequence[Any]

TOGETHER = 2
"""Cotangents, or tangents, that make a batch."""

ROUNDINGS = 1e3
"""Units of rounding, relative to the largest number of a tensor, by which two ways to the same number may differ."""

LONGEST_TOLD = 160
"""Characters of an exception's text that a finding quotes."""


class Draw:
    """Draws numbers in a tensor's shape and dtype, without the user's generator."""

    def __init__(self) -> None:
        self.rng = torch.Generator().manual_seed(0)

    def __call__(self, like: Any) -> Any:
        """Draw a tensor like this one."""
        drawn = torch.randn(like.shape, generator=self.rng, dtype=torch.float64)
        return drawn.to(dtype=like.dtype, device=like.device)


def batched_cotangents(problem: Problem) -> Iterator[Finding]:
    """Pull two cotangents of each output back at once."""
    (values, leaves), draw = problem.graph(), Draw()
    for value in values:
        if not value.requires_grad:
            continue
        pull = partial(torch.autograd.grad, value, leaves, retain_graph=True, allow_unused=True)
        seeds = torch.stack([draw(value) for _ in range(TOGETHER)])
        alone = [pull(seed) for seed in seeds]
        expected = [None if parts[0] is None else torch.stack(parts) for parts in zip(*alone, strict=True)]
        yield from compared(
            list(problem.inputs),
            expected,
            partial(pull, seeds, is_grads_batched=True),
            "batched-gradient",
            ("backward, called with several cotangents at once by vmap,", "what it gives for each"),
        )


def batched_tangents(problem: Problem) -> Iterator[Finding]:
    """Push all unit tangents of each leaf forward at once: that gives its Jacobian."""
    leaves, draw = list(problem.inputs.values()), Draw()
    for place, (name, leaf) in enumerate(problem.inputs.items()):
        move = draw(leaf)
        expected = problem.push([move if i == place else None for i in range(len(leaves))], *leaves)

        def values(given: Any, place: int = place) -> tuple[Any, ...]:
            return tuple(problem.outputs([*leaves[:place], given, *leaves[place + 1 :]]))

        def pushed(values: Callable[[Any], Any] = values, leaf: Any = leaf, move: Any = move) -> Gradients:
            jacobian = torch.autograd.functional.jacobian
            matrices = jacobian(values, leaf.detach(), strategy="forward-mode", vectorize=True)
            return [torch.tensordot(matrix, move, dims=move.ndim) for matrix in matrices]

        yield from compared(
            [name] * len(expected),
            expected,
            pushed,
            "batched-gradient",
            ("forward mode, called with several tangents at once by vmap,", "what it gives for each"),
        )


def compared(
    names: Sequence[str], expected: Gradients, call: Callable[[], Gradients], code: str, said: tuple[str, str]
) -> Iterator[Finding]:
    """Give a finding where a call raises, and for each tensor in which it gives something else than was expected.

    Parameters
    ----------
    names : sequence of str
        The parameter that each tensor belongs to.
    expected : sequence of tensors or None
        None stands for zeros, among what the call gives too.
    call : callable
    code : str
        Of the finding.
    said : pair of str
        What was done, and what should have come out.
    """
    what, like = said
    try:
        found = call()
    except Exception as error:  # noqa: BLE001 - what works in one way fails in the other
        told = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_TOLD]
        yield Finding(code=code, message=f"{what} raised {told}", evidence={"error": told})
        return
    for name, *pair in zip(names, expected, found, strict=True):
        one, other = (torch.zeros(()) if part is None else part for part in pair)
        apart, eps = (one - other).abs(), torch.finfo(one.dtype).eps
        size = float(one.abs().max()) if one.numel() else 0.0
        if not bool((apart <= default_rtol(eps) * one.abs() + ROUNDINGS * eps * size).all()):
            largest = float(apart.max())
            message = f"{what} gave something else than {like}: they differ by up to {largest:.3g}"
            yield Finding(code=code, where=name, message=message, evidence={"difference": largest})
