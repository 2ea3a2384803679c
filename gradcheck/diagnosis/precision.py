"""The claim is the gradient to fewer digits than it needs: rounded, or that of an approximation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import ENOUGH, Candidate
from gradcheck.diagnosis.clues import Case, Clues, Floats, Map

__all__ = ["approximations", "coarse_format", "computations", "truncations"]


def _to_half(values: Floats) -> Floats:
    return values.astype(np.float16).astype(np.float64)


def _to_bfloat16(values: Floats) -> Floats:
    """Keep the upper half of a single-precision number, rounded to nearest."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)) << np.uint64(16)
    return rounded.astype(np.uint32).view(np.float32).astype(np.float64)


LAST = 1e3
"""Cost of what is said where nothing else is known."""

FEWEST = 3
"""Different numbers that must have been rounded."""

FORMATS: list[tuple[str, Map, Map]] = [
    ("float16", _to_half, lambda v: np.maximum(np.abs(v) * 2.0**-11, 2.0**-25)),
    ("bfloat16", _to_bfloat16, lambda v: np.abs(v) * 2.0**-8),
    ("whole numbers", np.rint, lambda v: np.full_like(v, 0.5)),
    ("whole numbers, towards zero", np.trunc, lambda v: np.full_like(v, 1.0)),
]
"""Name, rounding, and how far that may move a number."""


def truncations(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is exact in a coarse format, and the gradient rounded to that."""
    del case
    for name, rounding, reach in FORMATS:
        is_exact = np.array_equal(rounding(clues.claimed), clues.claimed)
        if not is_exact or not np.any(clues.claimed):
            continue
        reached = np.abs(clues.error) <= reach(clues.reference) * (1 + 1e-6) + clues.margin
        # A reference within its error bound of a number of the format needs no rounding: 920 measured as 919.999 is not cut to 919.
        may_be = (clues.reference - clues.margin, clues.reference, clues.reference + clues.margin)
        needs = np.min([np.abs(rounding(each) - clues.reference) for each in may_be], axis=0) > clues.margin
        distinct = len(np.unique(clues.claimed[clues.wrong & needs]))
        if distinct < FEWEST or not np.all(reached[clues.used]):
            continue
        yield Candidate(
            kind="truncated",
            message=f"the gradient equals the true one rounded to {name}: it passes through a type too narrow for it",
            predicted=clues.claimed,
            margin=np.zeros_like(clues.margin),
            cost=1.0,
            evidence={"format": name},
        )


BITS = 6
"""Significant bits that round numbers may have: what needs more, and no more than a coarse format has, was computed in it."""

SUMS = 16
"""Errors of a coarse format, in units of its epsilon and the largest element, that its sums may add up to."""


def _needs(values: Floats, bits: int) -> int:
    """Count the different numbers that have more significant bits than some."""
    distinct = np.unique(np.abs(values[np.isfinite(values) & (values != 0)]))
    scaled = np.ldexp(np.frexp(distinct)[0], bits)
    return int(np.count_nonzero(scaled != np.rint(scaled)))


def coarse_format(values: Floats) -> tuple[str, float]:
    """Return the coarsest format of which all of some numbers are, and by no chance, with its epsilon; an empty name and zero without."""
    for name, rounding, reach in FORMATS[1::-1]:  # numbers of the coarser are mostly numbers of the other
        if np.array_equal(rounding(values), values) and _needs(values, BITS) >= FEWEST:
            return name, 2 * float(reach(np.ones(1))[0])
    return "", 0.0


def computations(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Say that the claim is of numbers of a coarse format, and as far off as sums in it are."""
    del case
    largest = float(np.max(np.abs(clues.reference[clues.used]), initial=0.0))
    name, epsilon = coarse_format(clues.claimed)
    if not name:
        return
    rounding = next(rounding for known, rounding, _ in FORMATS if known == name)
    is_coarser = clues.wrong & (np.abs(rounding(clues.reference) - clues.reference) > clues.margin)
    if _needs(clues.claimed[is_coarser], BITS) < FEWEST:  # sums of whole numbers are exact in both
        return
    if np.max(np.abs(clues.error[clues.used]), initial=0.0) <= SUMS * epsilon * largest:
        yield Candidate(
            kind="truncated",
            message=(
                f"all numbers of the gradient are {name} numbers, and it is off by as much as sums in that are: it is computed "
                "in a type too narrow for it"
            ),
            predicted=clues.claimed,
            margin=np.zeros_like(clues.margin),
            cost=LAST / 2,
            is_observation=True,
            is_generic=True,
            evidence={"format": name},
        )


SMALL = 1e-3
"""Largest error of an approximation, in units of the parameter's largest element."""


def approximations(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is the gradient of an approximation, or lacks a small term: small errors, which nothing else explains.

    Either in most elements, or small in each. No tolerance is advised: it would hide the term.
    """
    del case
    wrong = clues.wrong & clues.used
    alive = clues.is_alive
    size = float(np.max(np.abs(clues.reference[clues.used]), initial=0.0))
    count = np.count_nonzero(wrong)
    is_close = np.abs(clues.error[wrong]) <= SMALL * np.abs(clues.reference[wrong])
    if not count or (2 * count < np.count_nonzero(alive) and (count < FEWEST or not np.all(is_close))):
        return
    if not 0 < np.max(np.abs(clues.error[wrong])) <= SMALL * size:
        return
    # Where elements share a kink some are wrong together, and off by nothing.
    apart = np.maximum(np.abs(clues.error[wrong]), np.finfo(float).eps * np.abs(clues.reference[wrong]))
    agreed = np.log10(
        np.maximum(np.abs(clues.reference[wrong]), np.finfo(float).tiny) / np.maximum(apart, np.finfo(float).tiny)
    )
    if np.sum(np.maximum(agreed, 0.0)) < ENOUGH:  # of one or two numbers it may be chance
        return
    least, most = (max(0, int(np.floor(np.quantile(agreed, q)))) for q in (0.1, 0.9))
    digits = f"{least} to {most}" if least < most else f"{least}"
    yield Candidate(
        kind="approximate",
        message=(
            f"the gradient agrees with the true one to {digits} digits: a small term is missing or too much, or it is that of an "
            "approximation (differences in the claim, a solver's tolerance, single precision inside), or f is one"
        ),
        predicted=clues.claimed,
        margin=np.zeros_like(clues.margin),
        cost=LAST,
        is_observation=True,
        is_generic=True,
        evidence={"digits": [least, most]},
    )
