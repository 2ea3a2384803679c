"""What a parameter does to the function when it moves: nothing, steps, or more than the slope of a penalty tells."""

from __future__ import annotations

import numpy as np

from gradcheck.diagnosis.candidates import Candidate
from gradcheck.diagnosis.clues import Case, Clues

__all__ = ["has_jumps_beside", "is_inert", "is_stepped", "observed"]

SHORT, LONG = 0.0137, 0.137
"""How far, in units of its elements' lengths, a parameter is moved to see whether it matters at all, and whether it jumps."""

CLOSE = 1e-6
"""Relative distance of two moves between which a step function rarely jumps, and any other changes."""

SEEN = 10.0
"""Units of rounding by which another function would change between them, at least."""


def is_inert(case: Case, name: str) -> bool:
    """Whether the value stays as it is, to the last bit, when all elements of a parameter move, one way and the other."""
    moved = case.move(name, (SHORT, -SHORT)) if case.move is not None else None
    return moved is not None and not np.any(moved[1])


def is_stepped(case: Case, name: str) -> bool:
    """Whether the value changes at a long move, and no more when that grows a little."""
    moved = case.move(name, (LONG, LONG * (1 + CLOSE))) if case.move is not None else None
    if moved is None:
        return False
    changes = moved[1]
    return bool(np.any(CLOSE * np.abs(changes[0]) > SEEN * case.rounding)) and np.array_equal(changes[0], changes[1])


def has_jumps_beside(case: Case, clues: Clues, strength: float) -> bool:
    """Whether a long move changes the value by something that a penalty of that strength does not, and short ones do not."""
    moved = case.move(clues.name, (SHORT * CLOSE, LONG, LONG * (1 + CLOSE))) if case.move is not None else None
    if moved is None or clues.value is None or case.of_f is None:
        return False
    moves, changes = moved
    axes = tuple(range(1, moves.ndim))
    known = strength * (np.sum(moves * clues.value, axis=axes) + np.sum(moves**2, axis=axes) / 2)
    rest = np.abs(changes[:, 0] - known)
    rounding = 1e3 * np.finfo(float).eps * (abs(case.of_f) + np.max(np.abs(known)))
    return bool(rest[0] <= rounding and rest[1] > 1e3 * rounding and abs(rest[2] - rest[1]) <= CLOSE * rest[1])


def observed(clues: Clues, kind: str, message: str) -> Candidate:
    """Say what moving the parameter showed; nothing is said of the claim's values."""
    return Candidate(
        kind=kind,
        message=message,
        predicted=clues.claimed,
        margin=np.zeros_like(clues.margin),
        is_observation=True,
    )
