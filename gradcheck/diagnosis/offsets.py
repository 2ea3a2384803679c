"""The claim is off by constants, which do not depend on the point: a mean, a target, or what keeps a balance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import ENOUGH, REAL, Candidate
from gradcheck.diagnosis.clues import Case, Clues, Floats
from gradcheck.diagnosis.slices import SHORTEST, partings

__all__ = ["balances", "few_offsets", "offsets"]

MOST_OFFSETS = 2
"""Different numbers by which a claim may be off: where a label is, and where it is not."""

AFTER_PLACES = 1.5
"""Digits that such numbers cost, so that a place that holds all wrong elements is named before them."""

SLACK = 4.0
"""Margins by which a sum of true derivatives may be off zero."""

BEFORE_PLACES = ENOUGH - 0.1
"""Cost of what is said before the place that holds all wrong elements: why they are wrong tells more than where."""

MOST_PARTS, ROUND = 4, 1e-3
"""Parts of the smallest number in which others may be whole, and by how much they may be off that."""

BALANCED = 1e-6
"""Sums count as zero when terms of any sign would make them this near zero with at most this probability."""


def offsets(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is off by one number throughout, or by one for each slice."""
    del case
    is_signed = clues.value is None or np.ptp(np.sign(clues.value), axis=None) != 0
    if clues.claimed.size < 4:
        return
    weights = np.where(clues.used, 1 / (clues.margin + 1e-300), 0.0)
    error = np.where(clues.used, clues.error, 0.0)
    for slices in partings(clues.shape):
        share = slices(weights / np.max(weights))
        total = np.sum(share, axis=slices.axes, keepdims=True)
        offset = np.sum(share * slices(error), axis=slices.axes, keepdims=True) / np.where(total > 0, total, 1.0)
        where, number, cause = (slices.words if len(clues.shape) > 1 else ""), "", "a sum or a mean over them"
        if offset.size == 1:
            penalty = "" if is_signed else ", an L1 penalty (all elements have one sign)"
            number, cause = f", {offset.item():.6g},", f"a constant{penalty}, or {cause},"
        yield Candidate(
            kind="constant-offset",
            message=(
                f"the gradient is off by the same number{number} in all elements{where}: {cause} is missing, or is too much"
            ),
            predicted=clues.reference + np.broadcast_to(offset, share.shape).reshape(clues.claimed.shape),
            margin=clues.margin,
            cost=REAL * offset.size,
            is_generic=True,
        )


def few_offsets(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that all wrong elements are off by one of at most two numbers, as where another target is taken."""
    del case
    wrong = clues.wrong & clues.used
    if len(clues.claimed) > 1 or np.count_nonzero(wrong) < 3:
        return
    order = np.argsort(clues.error[wrong], kind="stable")
    error, margin = clues.error[wrong][order], 2 * clues.margin[wrong][order]
    is_new = np.diff(error) > margin[1:] + margin[:-1]
    if np.count_nonzero(is_new) >= MOST_OFFSETS:
        return
    groups = np.concatenate([[0], np.cumsum(is_new)])
    weights = 1 / (margin + 1e-300)
    weights = weights / np.max(weights)
    numbers = np.bincount(groups, weights * error) / np.bincount(groups, weights)
    counts = np.bincount(groups)
    of_element = np.empty_like(groups)
    of_element[order] = groups
    predicted = clues.reference.copy()
    predicted[wrong] += numbers[of_element]
    parts = [f"by {number:.6g} in {count}" for number, count in zip(numbers, counts, strict=True)]
    rest = "" if np.all(wrong[clues.used]) else ", and right elsewhere"
    yield Candidate(
        kind="constant-offset",
        message=(
            f"the gradient is off {' and '.join(parts)} of {clues.claimed[0].size} elements{rest}: "
            "constants, such as targets or labels, that are not those in f"
        ),
        predicted=predicted,
        margin=clues.margin,
        cost=AFTER_PLACES + REAL * len(numbers) + len(error) * np.log10(len(numbers)),
        is_generic=True,
        evidence={"offsets": numbers.tolist(), "counts": counts.tolist()},
    )


def balances(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Say that the true gradient sums to zero along an axis, as forces do, and the claim does not."""
    del case
    if not np.all(clues.used):
        return
    for axis, length in enumerate(clues.shape):
        if length < SHORTEST or (clues.claimed.size < 2 * length and _is_whole(clues.reference)):
            continue  # of whole numbers one sum is zero by chance
        true, claimed = (np.sum(array, axis=axis + 1) for array in (clues.reference, clues.claimed))
        reach, usual = (np.sqrt(np.sum(array**2, axis=axis + 1)) for array in (clues.margin, clues.reference))
        is_zero = np.all(np.abs(true) <= SLACK * reach)
        is_sure = np.all(np.abs(true) <= BALANCED * usual) or _chance(reach, usual) <= BALANCED
        if not np.any(usual) or not is_zero or not is_sure or not np.any(np.abs(claimed) > SLACK * reach):
            continue
        where = f" along axis {axis}" if len(clues.shape) > 1 else ""
        yield Candidate(
            kind="unbalanced",
            message=(
                f"the true gradient sums to zero{where}, since f does not change when all is shifted alike there; the claim sums to "
                f"{float(claimed.ravel()[np.argmax(np.abs(claimed))]):.4g} at worst: is the term that keeps the balance (the sum that a "
                "softmax subtracts, a mean, a reaction between bodies) missing, over another axis or counted twice?"
            ),
            predicted=clues.claimed,
            margin=clues.margin,
            cost=BEFORE_PLACES,
            is_observation=True,
            is_generic=True,
            evidence={"axis": axis},
        )


def _chance(reach: Floats, usual: Floats) -> float:
    """Return the probability that all sums are this near zero by chance, from their usual sizes; equal ones count once."""
    alive = usual.ravel() > 0
    if not np.any(alive):
        return 1.0
    shares = np.clip(SLACK * reach.ravel()[alive] / usual.ravel()[alive], BALANCED, 1.0)
    _, first = np.unique(np.round(usual.ravel()[alive] / np.max(usual), 3), return_index=True)
    return float(np.prod(shares[first]))


def _is_whole(terms: Floats) -> bool:
    """Whether numbers are, in halves, thirds or quarters of the smallest at most, whole ones."""
    size = np.abs(terms[terms != 0])
    if len(size) < SHORTEST:
        return True
    shares = np.outer(np.arange(1, MOST_PARTS + 1), size / np.min(size))
    return bool(np.any(np.all(np.abs(shares - np.round(shares)) < ROUND, axis=1)))
