"""Forward and reverse mode, compared with each other without any step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.checks.autodiff import Problem
from gradcheck.functions.arrays import format_in
from gradcheck.functions.blocks import random_signs
from gradcheck.reports.report import Finding

__all__ = ["compare_modes"]

TANGENTS, NUDGES, ROUNDINGS = 3, 4, 16.0
"""Tangents of each leaf along which forward mode is compared with reverse mode; points an ulp away, at which the round-off of both
shows; and standard deviations of that by which the two may differ, beside half the digits of their dtype."""


def compare_modes(problem: Problem, calls: dict[str, Callable[..., Any]]) -> list[Finding]:
    """Compare forward with reverse mode: ``<u, J t>`` is ``<J^T u, t>``, for tangents of one leaf each."""
    rng = np.random.default_rng(0)
    leaves = list(problem.inputs.values())
    values = problem.value(*leaves)
    seeds = [_signed(rng, part) for part in values]
    of_values = np.nan_to_num(_inner(seeds, values)[1], posinf=0.0)
    met = [format_in(leaf).eps for leaf in leaves]
    eps = max(met if problem.inside is None else [*met, problem.inside.eps])
    nudged = (
        [(leaf * (1 + rng.choice([-eps, eps], leaf.shape))).astype(leaf.dtype) for leaf in leaves]
        for _ in range(NUDGES)
    )
    points = [leaves, *nudged]
    pulled = [calls["rev"](seeds, *point)[1] for point in points]
    found = []
    for number, name in enumerate(problem.inputs):
        for _ in range(TANGENTS):
            moves = [_signed(rng, leaf) * (i == number) for i, leaf in enumerate(leaves)]
            pushed = np.array([_inner(seeds, calls["fwd"](moves, *point)[1])[0] for point in points])
            # Of this leaf alone: zero times what is not finite in another one is not zero.
            of_leaf = [_inner([moves[number]], [gradient[number]]) for gradient in pulled]
            backward, sizes = np.transpose(of_leaf)
            # Where the true derivative is zero, as that of a sum of probabilities, both are residues of the values' round-off.
            residue = eps * of_values * _norm(moves[number]) / (_norm(leaves[number]) or np.inf)
            rounding = np.hypot(np.std(pushed), np.std(backward)) + residue
            apart = abs(pushed[0] - backward[0])
            are_nan = np.isnan(pushed[0]) and np.isnan(backward[0])  # the report says so, and they agree
            if not (are_nan or apart <= np.sqrt(eps) * sizes[0] + ROUNDINGS * rounding):
                message = (
                    f"forward and reverse mode differ: along a random tangent {pushed[0]:.6g} and {backward[0]:.6g}, "
                    f"summed from terms of {sizes[0]:.3g} in all"
                )
                found.append(Finding(code="modes-differ", where=name, message=message, evidence={"difference": apart}))
                break
    return found


def _inner(one: Sequence[Any], other: Sequence[Any]) -> tuple[float, float]:
    """Return the inner product in double precision, and the sum of the sizes of its terms."""
    terms = [np.asarray(a, np.float64) * np.asarray(b, np.float64) for a, b in zip(one, other, strict=True)]
    return float(sum(np.sum(part) for part in terms)), float(sum(np.sum(np.abs(part)) for part in terms))


def _norm(leaf: Any) -> float:
    return float(np.linalg.norm(np.asarray(leaf, np.float64).ravel()))


def _signed(rng: np.random.Generator, like: Any) -> NDArray[Any]:
    """Draw numbers of either sign, none of them small."""
    shape = np.shape(like)
    return np.asarray(rng.uniform(0.5, 1.5, shape) * random_signs(shape, rng)).astype(like.dtype)
