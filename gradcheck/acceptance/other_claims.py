"""A pass is tested on itself: the same evidence must have rejected a wrong claim.

A check that finds nothing wrong may have seen that the claim is right, or nothing at all. Since the decision is a pure
function of claim and evidence, it is also computed for minus, twice, half and none of the claim, without further calls. A
leaf for which one of these would have passed too is unseen, unless its gradient is negligible beside those of the others.
"""

from __future__ import annotations

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import Outcome, decide, excludes
from gradcheck.acceptance.judgement import known_blocks
from gradcheck.acceptance.pooled import CommonError, fit_common_error
from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.counts import DOZEN, NEGLIGIBLE, SMALL
from gradcheck.differences.lengths import FIRST_STEP
from gradcheck.differences.sampled_noise import lost_in_rounding, noise_of_single
from gradcheck.functions.blocks import SMALL_ARRAY, random_signs

__all__ = ["negligible_columns", "other_multiples", "unseen", "unseen_columns"]

GROSS = 0.2
"""Residual along directions, as a share of the predicted change, beyond which many elements count as wrong. For twice the
gradient it is a half; one wrong element among a hundred contributes no more than this."""

UNDERFLOW = float(np.finfo(np.float64).tiny / np.finfo(np.float64).eps)
"""Gradients below this, in units of the functions, count as zero: what noise hides where the functions vanish."""


def unseen(bench: Bench, leaves: list[int]) -> list[int]:
    """Return the leaves for which the evidence could not have told a wrong claim from a right one."""
    return [leaf for leaf in leaves if unseen_columns(bench, leaf).any()]


def unseen_columns(bench: Bench, leaf: int) -> Bools:
    """Tell in which columns the evidence could not have told a wrong claim for a leaf from a right one, shape (K,).

    If they would have been called wrong in some column, of the others only those are unseen that are noisier than single precision makes
    them, as a step function is: what rounding hides is small beside the values. A claim of zero has no other multiple, and a leaf without
    elements needs no evidence.
    """
    if not bench.claims[leaf].values.size:
        return np.zeros(len(bench.base), dtype=bool)
    loud = bench.noise > noise_of_single(bench.probe, bench.base, list(bench.claims))
    asked = loud & (bench.claims[leaf].values != 0).any(axis=0)
    hidden = ~_rejects_all(bench, leaf, asked)
    if not hidden.any() or _is_constant(bench, leaf):
        return np.zeros_like(hidden)
    return np.asarray(hidden & ~negligible_columns(bench, leaf))


def other_multiples(rtol: float) -> list[float]:
    """Return the multiples of a claim that the evidence must exclude; half of it only if ``rtol`` does not allow that."""
    return [-1.0, 2.0, 0.0] + [0.5] * (rtol < 0.5)


def _rejects_all(bench: Bench, leaf: int, each: Bools) -> Bools:
    """Tell in which columns the other claims would not have passed, shape (K,), if each would have been called wrong in some column.

    Columns not among ``each`` are not asked one by one, and none of them for half of the claim.
    """
    factors = np.array(other_multiples(bench.rtol))
    # A common relative error of this size would have shown.
    wrong = bench.share_along[leaf] < np.abs(factors - 1)[:, None]
    doubted = wrong | ~each | (factors == 0.5)[:, None]
    for indices in _strongest_first(bench, leaf):
        if wrong.any(axis=1).all() and doubted.all():
            break
        claim = bench.claims[leaf].values[indices]
        _, evidence, tolerance = bench.known(leaf, indices)
        wrong |= excludes(np.multiply.outer(factors, claim), evidence, tolerance).any(axis=1)
        doubted |= wrong
        for row in np.flatnonzero(~doubted.all(axis=1)):
            found = decide(factors[row] * claim, evidence, tolerance)
            doubted[row] |= (found.excluded & np.isin(found.outcome, (Outcome.OPEN, Outcome.WRONG))).any(axis=0)
    for row in np.flatnonzero(~(wrong.any(axis=1) & doubted.all(axis=1))):
        wrong[row] |= _pooled(bench, leaf, float(factors[row])).significant
    is_seen = wrong.any(axis=1).all() and not _is_contradicted(bench, leaf)
    return np.asarray((wrong | doubted).all(axis=0) & is_seen)


def _is_contradicted(bench: Bench, leaf: int) -> bool:
    """Tell whether elements that each agree to within noise contradict the claim together, as on a staircase."""
    found = bench.judgement(leaf)
    within = np.asarray((np.abs(bench.claims[leaf].values - found.reference) <= found.noise).all(axis=1))
    if np.count_nonzero(within) < DOZEN:
        return False
    pooled = _pooled(bench, leaf, 1.0, within, GROSS)
    return bool((pooled.significant & (np.abs(pooled.share) > GROSS)).any())


def _strongest_first(bench: Bench, leaf: int) -> list[Indices]:
    """Return the measured elements in blocks; of a large leaf first those with the largest claims."""
    parts, known = known_blocks(bench.ledgers[leaf]), bench.ledgers[leaf].known
    if known.size * bench.ledgers[leaf].columns <= SMALL_ARRAY:
        return parts
    sizes = np.nan_to_num(np.abs(bench.claims[leaf].values[known]).max(axis=1, initial=0.0), posinf=0.0)
    first = np.sort(known[np.argsort(-sizes, kind="stable")[:SMALL]])
    return [first, *parts]


def _pooled(bench: Bench, leaf: int, factor: float, among: Bools | None = None, least: float = 0.0) -> CommonError:
    """Return the common error of ``factor`` times the claim over the measured elements, or those ``among`` them."""
    looked_at = bench.ledgers[leaf].count > 0
    known = (looked_at if among is None else looked_at & among).nonzero()[0]
    found = bench.judgement(leaf)
    claim, reference, noise = (array[known] for array in (bench.claims[leaf].values, found.reference, found.noise))
    # claim - other is the error of factor * claim; it is fitted by a multiple of the claim.
    other = (1 - factor) * claim + reference
    places = np.unravel_index(known, bench.leaves[leaf].value.shape or (1,))
    return fit_common_error(claim, other, noise / bench.multiplier, places, least)


def _is_constant(bench: Bench, leaf: int) -> bool:
    """Tell whether zero is claimed and the functions never changed, as those of a dead unit: there is no more to see."""
    if bench.claims[leaf].values.any() or bench.judgement(leaf).reference.any():
        return False
    return bool((bench.noise == lost_in_rounding(bench.probe, bench.base, list(bench.claims))).all())


def negligible_columns(bench: Bench, leaf: int) -> Bools:
    """Tell in which columns the claim, and every error that would not have shown, is negligible beside other gradients, shape (K,).

    These are the gradients of the other leaves, or if all vanish the change of the functions over the longest step. Beside others a
    function that is zero, and stays so, as the output of a dead unit does, shows all there is of a claim of zero.
    """
    found, claim = bench.judgement(leaf), bench.claims[leaf].values
    is_dead = (claim == 0).all(axis=0) & (found.reference == 0).all(axis=0) & (bench.base == 0)
    is_dead &= not is_dead.all()
    along = np.isfinite(bench.floor_along[leaf]).all()
    floor = np.broadcast_to(bench.floor_along[leaf], claim.shape) if along else found.floor
    floor = np.where(np.isfinite(found.floor), np.fmin(floor, found.floor), floor)
    # A claim of zero that is measured as zero has no round-off: no sum comes so near by chance.
    is_zero = (claim == 0) & (np.abs(found.reference) <= found.noise)
    floor = np.where(is_zero, np.fmin(floor, found.noise), floor)
    largest = np.fmax(np.abs(claim), floor).max(axis=0)
    negligible = bench.negligible[leaf]
    if (negligible <= 0).any():
        is_stationary = bool((is_zero | (claim == 0) & np.isnan(found.reference)).all())
        steepest = _slope_to_compare(bench, leaf, is_stationary=is_stationary)
        negligible = np.where(negligible > 0, negligible, NEGLIGIBLE * steepest)
    return np.asarray((largest <= np.maximum(negligible, UNDERFLOW)) | is_dead)


def _slope_to_compare(bench: Bench, leaf: int, *, is_stationary: bool) -> Floats:
    """Return the slope beside which a gradient may be negligible if all others vanish, shape (K,), at two or four calls.

    It is the change of the functions by curvature over the step of the differences, divided by the longest step; for slopes measured
    as zero (``is_stationary``) their change over the longest step. If nothing shows that the functions depend on the leaf (noise hides
    any change over the lengths of the elements, and the claim is zero but for rounding), their values are added.
    """
    claim, lengths = bench.claims[leaf], bench.lengths[leaf]
    longest = FIRST_STEP * lengths.max(initial=1.0)
    known = bench.ledgers[leaf].known
    curvature = np.abs(bench.ledgers[leaf].evidence(known[:SMALL]).curvature)
    # Over longer steps the curvature may be another one.
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
