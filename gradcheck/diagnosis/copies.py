"""The claim is an array that is at hand, to the last bit: the parameter itself, another one, the output."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import ENOUGH, SURE, Candidate
from gradcheck.diagnosis.clues import Case, Clues, Floats
from gradcheck.diagnosis.scale import is_multiple

__all__ = ["copies"]

BIT = math.log10(2)
"""Decimal digits of a bit."""


def copies(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is a copy of something else. It is no chance where the numbers have enough bits.

    Where the true gradient is a multiple of the same numbers a factor is the simpler cause: x for 2 x.
    """
    known: list[tuple[str, Floats]] = []
    if clues.value is not None:
        known.append(("the parameter itself", clues.value))
    known += [(name, value) for name, value in case.values.items() if name != clues.name]
    if case.y is not None:
        known.append(("the output", case.y))
    for words, value in known:
        if value.shape != clues.shape or not (clues.claimed == value).all():
            continue
        digits = _digits(value)
        if digits - math.log10(len(known)) < ENOUGH:
            continue
        yield Candidate(
            kind="copied",
            message=f"the gradient is {words}, to the last bit: a buffer that was not written, or another variable returned?",
            predicted=clues.claimed,
            margin=np.zeros_like(clues.margin),
            is_observation=True,
            is_generic=is_multiple(clues, value),
            evidence={"of": words, "digits": digits},
        )


def _digits(values: Floats) -> float:
    """Count the digits in the different numbers of an array, six at most in each; round ones have few."""
    distinct = np.unique(np.abs(values[np.isfinite(values) & (values != 0)]))
    mantissa = np.frexp(distinct)[0] * 2.0**53
    trailing = np.log2(np.gcd(mantissa.astype(np.int64), 2**53).astype(np.float64)) if distinct.size else np.zeros(0)
    return float(np.sum(np.minimum(SURE, (53 - trailing) * BIT)))
