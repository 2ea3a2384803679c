"""An explanation says what the claim must then be. How much of the error that explains, and whether by chance.

Evidence is counted in decimal digits. An element whose error is explained to three digits gives three; elements with
the same claim count once. What was fitted or searched for costs: a real number three digits, one of a hundred
possibilities two. So a ratio found from two elements is no evidence, and the ratio 2 found from two elements is some.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcheck.diagnosis.clues import Bools, Clues, Floats

__all__ = ["ENOUGH", "REAL", "Candidate", "Weighed", "digits_of", "is_contradicted", "weigh"]

REAL = 3.0
"""What fitting one real number costs, and the most that one element gives: more would be lost on round numbers."""

SURE = 6.0
"""The most that one element gives where nothing was fitted: a single number that is 2.000000 times another."""

ENOUGH = 4.0
"""Evidence that is no chance: once in ten thousand."""

LEAST_FIT = 0.9
"""Least share of the error, as far as noise lets anyone explain it, that a candidate explains."""

SLACK = 2.0
"""Largest distance of a claim from its prediction, in margins: one for the error of the reference, one for what was made of it."""

MOST_OUTLIERS = 0.01
"""Share of the elements whose bounds do not hold."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """One explanation of a parameter's claim.

    Attributes
    ----------
    kind, message : str
        See `Diagnosis`.
    predicted : array, shape (K, *shape)
        The claim that it would give; NaN where it says nothing.
    margin : array, shape (K, *shape)
        How far off that may be.
    cost : float
        Digits of evidence that finding it has used up.
    most : float
        Digits that one element may give.
    key : str
        Explanations of different parameters with one key are one explanation, if their factors agree.
    factor, factor_error : float
        The number fitted, and how well it is known.
    is_observation : bool
        Whether it states a fact that needs no evidence: the claim is zero.
    is_generic : bool
        Whether it is of interest only where nothing more specific is known.
    evidence : dict
        See `Diagnosis`.
    """

    kind: str
    message: str
    predicted: Floats
    margin: Floats
    cost: float = 0.0
    most: float = REAL
    key: str = ""
    factor: float = 1.0
    factor_error: float = 0.0
    is_observation: bool = False
    is_generic: bool = False
    evidence: dict[str, Any] = field(default_factory=dict)

    def agrees_with(self, other: Candidate) -> bool:
        """Whether the explanation of another parameter is the same."""
        if not self.key or self.key != other.key:
            return False
        return abs(self.factor - other.factor) <= SLACK * (self.factor_error + other.factor_error)


@dataclass(frozen=True, eq=False)
class Weighed:
    """A candidate that is consistent with everything measured.

    Attributes
    ----------
    candidate : Candidate
    fit : float
        Share of the error explained, from 0 to 1.
    digits : float
        Evidence, before its cost.
    """

    candidate: Candidate
    fit: float
    digits: float

    @property
    def is_enough(self) -> bool:
        """Whether this parameter alone shows it."""
        return self.candidate.is_observation or self.digits - self.candidate.cost >= ENOUGH

    @property
    def is_confirmed(self) -> bool:
        """Whether it shows what is known from other parameters already: nothing was fitted then."""
        return self.digits >= ENOUGH / 2


def weigh(clues: Clues, candidate: Candidate) -> Weighed | None:
    """Compare a candidate with the claim; None where something contradicts it."""
    if is_contradicted(clues, candidate.predicted, candidate.margin):
        return None
    speaks = clues.used & np.isfinite(candidate.predicted) & np.isfinite(candidate.margin)
    wrong = clues.wrong & speaks
    if 2 * np.count_nonzero(wrong) < np.count_nonzero(clues.wrong & clues.used) or not wrong.any():
        return None
    apart = np.abs(clues.claimed - candidate.predicted)
    tolerance = _tolerance(candidate.margin, clues.claimed)
    error = np.abs(clues.error)
    largest = float(error[speaks].max())
    fit = 1 - float(np.linalg.norm(apart[speaks] / largest) / np.linalg.norm(error[speaks] / largest))
    if not fit >= LEAST_FIT:
        return None
    return Weighed(candidate, fit, digits_of(clues, wrong, np.maximum(apart, tolerance), candidate.most))


def _tolerance(margin: Floats, claimed: Floats) -> Floats:
    return np.asarray(SLACK * margin + 8 * sys.float_info.epsilon * np.abs(claimed))


def is_contradicted(clues: Clues, predicted: Floats, margin: Floats) -> bool:
    """Whether more elements contradict a prediction than could be outliers: of a sample of the wrong ones, or else of all."""
    claimed = clues.claimed[clues.sample]
    contradicted = np.abs(claimed - predicted[clues.sample]) > _tolerance(margin[clues.sample], claimed)
    if np.count_nonzero(contradicted) > max(2, 0.05 * len(claimed)):
        return True
    speaks = clues.used & np.isfinite(predicted) & np.isfinite(margin)
    outliers = speaks & (np.abs(clues.claimed - predicted) > _tolerance(margin, clues.claimed))
    return bool(np.count_nonzero(outliers) > MOST_OUTLIERS * np.count_nonzero(speaks))


def digits_of(clues: Clues, chosen: Bools, unexplained: Floats, most: float) -> float:
    """Count how many digits of the errors of some elements are explained, equal claims once, zeros hardly."""
    claimed = clues.claimed[chosen]
    if not claimed.size:
        return 0.0
    digits = np.log10(np.abs(clues.error[chosen]) / unexplained[chosen])
    exponent = np.floor(np.log10(np.abs(claimed)))
    rounded = np.where(claimed == 0, 0.0, np.round(claimed / 10.0**exponent, 5) * 10.0**exponent)
    digits = np.clip(np.nan_to_num(digits, posinf=most), 0.0, np.where(claimed == 0, 1.0, most))
    _, group = np.unique(rounded, return_inverse=True)
    best = np.zeros(int(group.max()) + 1)
    np.maximum.at(best, group.ravel(), digits)
    return float(best.sum())
