"""The claim is right in one part and wrong in another: zero, a multiple, or just wrong in a part that has a name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import ENOUGH, REAL, SURE, Candidate
from gradcheck.diagnosis.clues import Case, Clues
from gradcheck.diagnosis.numbers import digits_apart, name_ratio
from gradcheck.diagnosis.regions import Region, binomial, regions_of
from gradcheck.diagnosis.scale import ratio_of
from gradcheck.diagnosis.undone import is_sampled

__all__ = ["parts", "slice_ratios"]

LISTED = 6
"""Ratios that a message lists."""

FEWEST = 3
"""Wrong elements that are a multiple, or zero in one of both: fewer are found by chance."""

SLIGHT = 0.01
"""Largest distance from one of ratios that a small number in a denominator explains."""

LEAST_EVIDENCE = 3.0
"""Digits beyond which it is no chance where the wrong elements are; nothing else is known there."""


def parts(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that some elements are right; the others are zero, or a multiple, or lie together."""
    wrong = clues.wrong & clues.used
    if np.all(wrong[clues.is_alive]):
        return
    regions = regions_of(clues, case)
    exact = next((region for region in regions if region.is_exact and region.evidence >= 0), None)
    count = int(np.count_nonzero(np.any(wrong, axis=0)))
    known = int(np.count_nonzero(np.any(clues.used | clues.kink, axis=0)))
    is_whole = known == clues.claimed[0].size
    some = f"{clues.claimed[0].size:,} elements" if is_whole else f"the {known:,} elements that are decided"
    elsewhere = "elsewhere" if is_whole else "in the others of these"
    where = exact.words if exact else f"{count:,} of {some}"
    if not np.any(clues.claimed[wrong]):
        yield Candidate(
            kind="zeroed",
            message=f"the gradient is zero in {where}, where the true one is not, and right {elsewhere}",
            predicted=np.where(wrong, 0.0, clues.reference),
            margin=clues.margin,
            is_observation=True,
        )
    yield from _multiple(clues, case, exact, f"in {where}, and is right {elsewhere}")
    yield from _masked(clues, some, elsewhere)
    for region in regions[:1]:
        if region.evidence >= LEAST_EVIDENCE:
            yield _located(clues, region, "" if is_whole else f", of {some}")


def _multiple(clues: Clues, case: Case, exact: Region | None, where: str) -> Iterator[Candidate]:
    """Propose that the wrong elements are one multiple of the true ones."""
    wrong = clues.wrong & clues.used
    fitted = ratio_of(clues, wrong)
    if fitted is None:
        return
    named = name_ratio(*fitted, case)
    yield Candidate(
        kind="constant-ratio",
        message=f"the gradient equals {named.words} the true one {where}",
        predicted=np.where(wrong, fitted[0] * clues.reference, clues.reference),
        margin=np.maximum(1.0, abs(fitted[0])) * clues.margin,
        cost=named.cost + (exact.cost if exact else 2.0),
        most=SURE if named.cost < REAL and np.count_nonzero(wrong) >= FEWEST else REAL,
        evidence={"ratio": fitted[0], "region": exact.kind if exact else ""},
    )


def _masked(clues: Clues, some: str, elsewhere: str) -> Iterator[Candidate]:
    """Say that the claim is wrong only where it or the true gradient is zero: a mask is missing, or another one."""
    wrong = clues.wrong & clues.used
    is_zero = clues.used & (np.abs(clues.reference) <= clues.margin)
    is_empty = clues.used & (clues.claimed == 0)
    if np.any(wrong & ~is_zero & ~is_empty) or np.count_nonzero(wrong & is_zero) < FEWEST:
        return
    if not np.any(wrong & is_empty):
        total, zeros, count = (int(np.count_nonzero(np.any(a, axis=0))) for a in (clues.used, is_zero, wrong))
        if binomial(total, count) - binomial(zeros, count) < LEAST_EVIDENCE - 1:
            return
        message = (
            f"the gradient is wrong only where the true one is zero, in {count:,} of {some}, and right {elsewhere}: "
            "a mask is forgotten or too wide, or a buffer was not zeroed"
        )
    elif np.count_nonzero(wrong & is_empty) >= FEWEST:
        message = f"the gradient and the true one are zero in different elements, and equal {elsewhere}: another mask"
    else:
        return
    yield Candidate(
        kind="other-mask",
        message=message,
        predicted=np.where(wrong, clues.claimed, clues.reference),
        margin=clues.margin,
        cost=ENOUGH - 0.1,  # before a place that holds all wrong elements: why tells more than where
        is_observation=True,
        is_generic=True,
    )


def _located(clues: Clues, region: Region, of: str) -> Candidate:
    """Say where the wrong elements are, of those that are known."""
    mask = np.broadcast_to(region.mask, clues.claimed.shape)
    return Candidate(
        kind=region.kind,
        message=f"the gradient is wrong {'' if region.words.startswith('all') else 'only '}in {region.words}{of}",
        predicted=np.where(mask, clues.claimed, clues.reference),
        margin=clues.margin,
        cost=ENOUGH,
        is_observation=True,
        is_generic=True,
        evidence={"digits": region.evidence},
    )


def _short(ratio: float, *, is_off: bool) -> str:
    """Write a ratio with four digits, or as many as it takes to see that it is not one where it is not."""
    text = f"{ratio:.4g}"
    return digits_apart(ratio) if text == "1" and is_off else text


def slice_ratios(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that each slice along an axis is a multiple of its own."""
    del case
    known = clues.used & (np.abs(clues.reference) > clues.margin)
    n, c = np.where(known, clues.reference, 0.0), np.where(known, clues.claimed, 0.0)
    share = np.where(known, n / (clues.margin + 1e-16 * np.abs(n)), 0.0)
    weights = (share / (np.max(share**2, initial=0.0) ** 0.5 or 1.0)) ** 2
    for axis, length in enumerate(clues.shape):
        if not 2 <= length <= clues.claimed.size // 3:
            continue
        others = tuple(i for i in range(n.ndim) if i != axis + 1)
        quotients = np.divide(c, n, out=np.zeros_like(c), where=n != 0)
        total = np.sum(weights, axis=others, keepdims=True)
        ratio = np.where(total > 0, np.sum(weights * quotients, axis=others, keepdims=True) / total, 1.0)
        flat, fitted = ratio.ravel(), np.flatnonzero(total > 0)
        is_off = np.any(clues.wrong, axis=others).ravel()
        places = fitted if is_sampled(clues) else np.arange(length)
        listed = ", ".join(
            f"{_short(flat[i], is_off=is_off[i])}{f' in slice {i}' if is_sampled(clues) else ''}"
            for i in places[:LISTED]
        )
        listed += ", ..." if length > LISTED else ""
        if np.max(np.abs(flat - 1)) < SLIGHT:
            listed += ": a small number, such as one beside a variance, is in f or in the gradient and not in both?"
        yield Candidate(
            kind="slice-ratios",
            message=f"each slice of the gradient along axis {axis} is a multiple of the true one: {listed}",
            predicted=ratio * clues.reference,
            margin=np.abs(ratio) * clues.margin,
            cost=REAL * (len(fitted) if is_sampled(clues) else length),
            is_generic=True,
            evidence={"axis": axis, "ratios": flat.tolist()},
        )
