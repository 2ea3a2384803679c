"""An input of whole numbers picks slices of a parameter, and some of them more than once: their upstreams add up."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnosis.candidates import Candidate
from gradcheck.diagnosis.clues import Bools, Case, Clues, Floats
from gradcheck.diagnosis.regions import Region, binomial, evidence_of, some_slices
from gradcheck.diagnosis.scale import ratio_of

__all__ = ["overwritten"]

LEAST_EVIDENCE = 3.0
"""Digits beyond which it is no chance that all wrong elements are in such slices."""


def overwritten(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that of the upstreams of slices that are picked more than once not all are added."""
    for axis, length in enumerate(clues.shape):
        repeated = {name: _picked_twice(index, length) for name, index in case.indices.items()}
        masks = {name: mask for name, mask in repeated.items() if mask is not None and np.any(mask)}
        groups = [(name,) for name in masks] + ([tuple(masks)] if len(masks) > 1 else [])
        for names in groups:  # each index alone, then all of them: those of the two ends of an edge
            mask = np.logical_or.reduce([masks[name] for name in names])
            if np.any(clues.wrong & clues.used & ~_along(mask, clues, axis)):
                continue
            kept = _kept(clues, case, names[0], axis) if len(names) == 1 else None
            if len(names) == 1:
                yield from _averaged(clues, names[0], case.indices[names[0]], axis)
            named = _named(case, length)
            is_used = np.any((np.abs(clues.reference) > clues.margin) & clues.used, axis=_others(clues, axis))
            is_lost = np.any((np.abs(clues.reference) > clues.margin) & clues.wrong & clues.used)  # of zero nothing is
            is_other = np.any(is_used & ~named) or not is_lost or _is_multiple(clues)
            if kept == "" or (kept is None and is_other):
                continue  # no index of these slices, or nothing that a lost upstream makes of them
            region = Region(
                "repeated-index", some_slices(np.flatnonzero(mask), length, axis), _along(mask, clues, axis)
            )
            cost = math.log10(len(case.indices) * len(clues.shape))
            cost -= binomial(length, int(np.sum(named))) if np.array_equal(named, is_used) else 0.0
            if not kept and evidence_of(clues, region) - cost < LEAST_EVIDENCE:
                continue
            cause = "are all of their terms added, as np.add.at does?"
            if kept:
                cause = f"backward uses only the {kept} upstream of each: add them all, as np.add.at does"
            yield Candidate(
                kind="repeated-index",
                message=(
                    f"the gradient is wrong only in {region.words}, whose index occurs more than once in {' or '.join(names)}: "
                    f"{cause}"
                ),
                predicted=np.where(region.mask, clues.claimed, clues.reference),
                margin=clues.margin,
                is_observation=True,
                evidence={"index": ", ".join(names), "axis": axis, "slices": np.flatnonzero(mask).tolist()},
            )
            break


def _averaged(clues: Clues, name: str, index: NDArray[np.intp], axis: int) -> Iterator[Candidate]:
    """Propose that the sum of the upstreams of each slice is divided by their number."""
    length = clues.shape[axis]
    counts = np.maximum(np.bincount(index.ravel() % length, minlength=length), 1)
    shares = 1.0 / counts.reshape([-1 if i == axis + 1 else 1 for i in range(len(clues.shape) + 1)])
    yield Candidate(
        kind="slice-ratios",
        message=(
            f"the gradient equals the true one divided by how often each index occurs in {name}: a mean over the places that "
            "pick a slice where a sum is asked"
        ),
        predicted=shares * clues.reference,
        margin=shares * clues.margin,
        evidence={"axis": axis, "ratios": shares.ravel().tolist()},
    )


def _others(clues: Clues, axis: int) -> tuple[int, ...]:
    return tuple(i for i in range(len(clues.shape) + 1) if i != axis + 1)


def _named(case: Case, length: int) -> Bools:
    """Return which of some slices any index names; where the others have a gradient it is none of these slices."""
    named = np.zeros(length, dtype=bool)
    for index in case.indices.values():
        if index.size and np.min(index) >= -length and np.max(index) < length:
            named[index.ravel() % length] = True
    return named


def _is_multiple(clues: Clues) -> bool:
    """Whether the wrong elements are one multiple of the true ones: zero, or minus those, which no lost upstream makes of them."""
    wrong = clues.wrong & clues.used
    fitted = ratio_of(clues, wrong)
    if fitted is None:
        return not np.any(clues.claimed[wrong])
    apart = np.abs(clues.claimed - fitted[0] * clues.reference)
    return bool(
        np.count_nonzero(wrong) > 1 and np.all((apart <= 2 * np.maximum(1.0, abs(fitted[0])) * clues.margin)[wrong])
    )


def _picked_twice(index: NDArray[np.intp], length: int) -> Bools | None:
    """Return which of some slices an index names more than once; None where it cannot be an index of them."""
    if not index.size or np.min(index) < -length or np.max(index) >= length:
        return None
    return np.asarray(np.bincount(index.ravel() % length, minlength=length) > 1)


def _along(mask: Bools, clues: Clues, axis: int) -> Bools:
    """Lay a mask of slices along an axis of the claims."""
    return np.asarray(mask.reshape([-1 if i == axis + 1 else 1 for i in range(len(clues.shape) + 1)]))


def _kept(clues: Clues, case: Case, name: str, axis: int) -> str | None:
    """Say which upstream of those of one slice is the only one used, none of them where it is empty; None where that cannot be asked.

    It is asked by leaving out the others.
    """
    if case.dy is None or case.y is None or case.pull is None:
        return None
    kept = None
    index = case.indices[name] % clues.shape[axis]  # -1 is the last
    for first in range(case.y.ndim - index.ndim + 1):
        if case.y.shape[first : first + index.ndim] != index.shape:
            continue
        ends = [
            mask.reshape((1,) * first + index.shape + (1,) * (case.y.ndim - first - index.ndim))
            for mask in _ends(index)
        ]
        answers = case.pulled(f"{name} {first} of {clues.shape[axis]}", [mask * case.dy for mask in ends])
        same = [_is_unchanged(answer.get(clues.name), clues) for answer in answers]
        if sum(same) == 1:
            return "last" if same[0] else "first"
        kept = "" if answers else kept
    return kept


def _ends(index: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return where each number occurs for the last time, and where for the first: one there, zero elsewhere."""
    flat = index.ravel()
    last, first = np.zeros(flat.size), np.zeros(flat.size)
    first[np.unique(flat, return_index=True)[1]] = 1.0
    last[flat.size - 1 - np.unique(flat[::-1], return_index=True)[1]] = 1.0
    return last.reshape(index.shape), first.reshape(index.shape)


def _is_unchanged(answer: Floats | None, clues: Clues) -> bool:
    if answer is None or answer.shape != clues.claimed.shape:
        return False
    return bool(np.all(np.abs(answer - clues.claimed) <= 1e-12 * np.abs(clues.claimed) + 1e-3 * clues.margin))
