"""A pass is tested on itself: the same evidence must have rejected a wrong claim.

A check that finds nothing wrong may have seen that the claim is right, or nothing at all. What decides is a pure
function of claim and evidence, so it can be asked what it would have said of minus the claim, of twice the claim, of half
of it and of zero, without one more call of the functions. A parameter of which any of these would have passed as well was not
seen, unless its gradient is as good as zero beside those of the others.
"""

from __future__ import annotations

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import excludes
from gradcheck.acceptance.judgement import known_blocks
from gradcheck.acceptance.pooled import FEWEST_POOLED, CommonError, fit_common_error
from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.counts import NEGLIGIBLE, SMALL
from gradcheck.differences.lengths import FIRST_STEP
from gradcheck.differences.sampled_noise import lost_in_rounding
from gradcheck.functions.blocks import SMALL_ARRAY, random_signs

__all__ = ["is_negligible", "other_multiples", "unseen"]

GROSS = 0.2
"""Share of what the claims predict beyond which many elements count as wrong together. Twice the gradient is off by half of itself,
and one wrong element among a hundred contributes no more than this."""

UNDERFLOW = float(np.finfo(np.float64).tiny / np.finfo(np.float64).eps)
"""What noise hides where the functions are zero throughout: less than this, in units of the functions, is nothing."""


def unseen(bench: Bench, leaves: list[int]) -> list[int]:
    """Return those leaves of which the evidence could not have told a wrong claim from a right one.

    A leaf without elements needs no evidence.
    """
    return [
        leaf
        for leaf in leaves
        if bench.claims[leaf].values.size
        and not _rejects_all(bench, leaf)
        and not is_negligible(bench, leaf)
        and not _is_constant(bench, leaf)
    ]


def other_multiples(rtol: float) -> list[float]:
    """Return the multiples of a claim that must have been called wrong: half of it not where that is within ``rtol``."""
    return [-1.0, 2.0, 0.0] + [0.5] * (rtol < 0.5)


def _rejects_all(bench: Bench, leaf: int) -> bool:
    """Tell whether each of the other claims would have been called wrong."""
    along = float(np.fmin.reduce(bench.share_along[leaf]))  # an error of this share of every element would have shown
    waiting = [factor for factor in other_multiples(bench.rtol) if not along < abs(factor - 1)]
    for indices in _strongest_first(bench, leaf):
        if not waiting:
            break
        claim = bench.claims[leaf].values[indices]
        _, evidence, tolerance = bench.known(leaf, indices)
        excluded = excludes(np.multiply.outer(waiting, claim), evidence, tolerance)
        rejected = np.asarray(excluded.any(axis=(1, 2)))
        waiting = [factor for factor, is_rejected in zip(waiting, rejected, strict=True) if not is_rejected]
    are_rejected = all(_pooled(bench, leaf, factor).significant.any() for factor in waiting)
    return are_rejected and not _is_contradicted(bench, leaf)


def _is_contradicted(bench: Bench, leaf: int) -> bool:
    """Tell whether elements each of which agrees to within its noise contradict the claim together: on a staircase, for one.

    A change of slope along all of them together keeps them from being wrong, and clears none of them.
    """
    found = bench.judgement(leaf)
    within = np.asarray((np.abs(bench.claims[leaf].values - found.reference) <= found.noise).all(axis=1))
    if np.count_nonzero(within) < FEWEST_POOLED:  # as of a number
        return False
    pooled = _pooled(bench, leaf, 1.0, within, GROSS)
    return bool((pooled.significant & (np.abs(pooled.share) > GROSS)).any())


def _strongest_first(bench: Bench, leaf: int) -> list[Indices]:
    parts, known = known_blocks(bench.ledgers[leaf]), bench.ledgers[leaf].known
    if known.size * bench.ledgers[leaf].columns <= SMALL_ARRAY:
        return parts
    sizes = np.nan_to_num(np.abs(bench.claims[leaf].values[known]).max(axis=1, initial=0.0), posinf=0.0)
    first = np.sort(known[np.argsort(-sizes, kind="stable")[:SMALL]])
    return [first, *parts]


def _pooled(bench: Bench, leaf: int, factor: float, among: Bools | None = None, least: float = 0.0) -> CommonError:
    """Return what elements, all or some of those that were looked at, say together of a multiple of the claim, as `excess` does."""
    looked_at = bench.ledgers[leaf].count > 0
    known = (looked_at if among is None else looked_at & among).nonzero()[0]
    found = bench.judgement(leaf)
    claim, reference, noise = (array[known] for array in (bench.claims[leaf].values, found.reference, found.noise))
    # The error of the other claim, as one of the claim itself, of which it is a multiple.
    other = (1 - factor) * claim + reference
    places = np.unravel_index(known, bench.leaves[leaf].value.shape or (1,))
    return fit_common_error(claim, other, noise / bench.multiplier, places, least)


def _is_constant(bench: Bench, leaf: int) -> bool:
    """Tell whether zero is claimed of functions that stood still wherever they were looked at: of a dead unit there is no more to see."""
    if bench.claims[leaf].values.any() or bench.judgement(leaf).reference.any():
        return False
    return bool((bench.noise == lost_in_rounding(bench.probe, bench.base, list(bench.claims))).all())


def is_negligible(bench: Bench, leaf: int) -> bool:
    """Tell whether claim, reference and what would have shown are as good as zero beside the other gradients.

    They are compared with the gradients of the other leaves, or if there are none with the functions over the longest usable step.
    """
    found, claim = bench.judgement(leaf), bench.claims[leaf].values
    along = np.isfinite(bench.floor_along[leaf]).all()
    floor = np.broadcast_to(bench.floor_along[leaf], claim.shape) if along else found.floor
    floor = np.where(np.isfinite(found.floor), np.fmin(floor, found.floor), floor)
    # A zero that is measured as well has no round-off: no sum was so near to it by luck.
    is_zero = (claim == 0) & (np.abs(found.reference) <= found.noise)
    floor = np.where(is_zero, np.fmin(floor, found.noise), floor)
    largest = np.fmax(np.abs(claim), floor).max(axis=0)
    negligible = bench.negligible[leaf]
    if (negligible <= 0).any():
        is_stationary = bool((is_zero | (claim == 0) & np.isnan(found.reference)).all())
        steepest = _steepest(bench, leaf, is_stationary=is_stationary)
        negligible = np.where(negligible > 0, negligible, NEGLIGIBLE * steepest)
    return bool((largest <= np.maximum(negligible, UNDERFLOW)).all())


def _steepest(bench: Bench, leaf: int, *, is_stationary: bool) -> Floats:
    """Return a slope beside which the gradient of a leaf without others may be as good as zero; shape (K,).

    It is by how much the functions bend over the step of the differences, divided by the longest step; where all slopes are measured
    as zero, by how much they change over the longest step, at four calls. Their values count too where noise hides all that they
    change by over the lengths of the elements and the claim is zero but for rounding: then nothing shows that they depend on the leaf,
    and nothing says so.
    """
    claim, lengths = bench.claims[leaf], bench.lengths[leaf]
    longest = FIRST_STEP * lengths.max(initial=1.0)
    known = bench.ledgers[leaf].known
    curvature = np.abs(bench.ledgers[leaf].evidence(known[:SMALL]).curvature)
    # At a longer step than that of the differences f may be curved in another way.
    step = bench.steps.get(leaf, FIRST_STEP) * lengths.max(initial=0.0)
    size = np.where(np.isfinite(curvature), curvature, 0.0).max(axis=(0, 1), initial=0.0) * step**2 / 2
    beyond = np.zeros((2, len(bench.base)))
    with bench.probe.budget.until_exhausted():
        move = lengths * random_signs(len(lengths), bench.rng)
        reaches = np.array([1.0, -1.0, FIRST_STEP, -FIRST_STEP][: 4 if is_stationary else 2])
        change = np.abs(bench.probe.ray({leaf: move}, reaches) - bench.base) - bench.multiplier * bench.noise
        beyond[: len(reaches) // 2] = np.nan_to_num(change).reshape(-1, 2, len(bench.base)).max(axis=1)
    rounding = np.fmax(
        claim.roundoff(np.zeros_like(bench.base)), np.finfo(np.float64).eps * np.abs(bench.base) / longest
    )
    depends = (beyond[0] > 0) | (np.abs(claim.values).max(axis=0, initial=0.0) > rounding)
    size = np.maximum(size, beyond[1] / len(lengths)) + np.where(depends, 0.0, np.abs(bench.base))
    return np.asarray(size / longest)
