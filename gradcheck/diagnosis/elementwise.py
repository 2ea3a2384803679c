"""The claim is a function of the gradient, element by element: its absolute value, its sign, its square, what clipping leaves of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import Candidate
from gradcheck.diagnosis.clues import Bools, Case, Clues

__all__ = ["elementwise"]

COST = 0.5
"""Digits: one of three functions was chosen, and nothing was fitted."""

FEWEST_CLIPPED = 3
"""Wrong elements with claims that are equal to the last bit, or opposite: that many are no chance."""


def elementwise(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that what was made of the gradient for an optimiser is returned in its place."""
    del case
    true, is_right = clues.reference, clues.is_alive & ~clues.wrong
    if not np.any(clues.claimed[clues.used] < 0):
        if np.any(is_right):  # where all have the other sign it is the sign that is wrong
            yield Candidate(
                kind="absolute",
                message="the gradient equals the absolute value of the true one, element by element: its sign is lost",
                predicted=np.abs(true),
                margin=clues.margin,
                cost=COST,
                key="absolute",
            )
        yield Candidate(
            kind="squared",
            message="the gradient equals the square of the true one, element by element: a second moment returned in its place?",
            predicted=true**2,
            margin=2 * np.abs(true) * clues.margin,
            cost=COST,
            key="squared",
        )
    if np.all(np.isin(clues.claimed[clues.used], (-1.0, 0.0, 1.0))):
        yield Candidate(
            kind="sign-only",
            message="the gradient equals the sign of the true one, element by element: its size is lost",
            predicted=np.where(np.abs(true) > clues.margin, np.sign(true), np.nan),
            margin=np.zeros_like(clues.margin),
            cost=COST,
            key="sign-only",
        )
    yield from _clipped(clues)


def _clipped(clues: Clues) -> Iterator[Candidate]:
    """Propose that elements beyond a limit, the largest or smallest claim, were set to it."""
    wrong = clues.wrong & clues.used
    claimed = clues.claimed[clues.used]
    high, low = float(np.max(claimed)), float(np.min(claimed))
    high, low = high if _is_met(clues, wrong, high) else np.inf, low if _is_met(clues, wrong, low) else -np.inf
    at_limits = wrong & ((clues.claimed == high) | (clues.claimed == low))
    if np.count_nonzero(at_limits) < FEWEST_CLIPPED or not np.any(clues.is_alive & ~wrong):
        return
    limits = " and ".join(f"at {limit:.6g}" for limit in (low, high) if np.isfinite(limit))
    yield Candidate(
        kind="clipped",
        message=f"the gradient equals the true one clipped {limits}, element by element: check it before it is clipped",
        predicted=np.clip(clues.reference, low, high),
        margin=clues.margin,
        cost=COST,
        is_observation=True,
        evidence={"low": low, "high": high},
    )


def _is_met(clues: Clues, wrong: Bools, limit: float) -> bool:
    """Tell whether wrong elements stand at a limit, on its inner side; zero is what masks leave, and no limit."""
    at_limit = wrong & (clues.claimed == limit)
    beyond = clues.reference[at_limit] / limit > 1 if limit else np.zeros(1, dtype=bool)
    return bool(np.any(at_limit) and np.all(beyond))
