"""Elements that are nearly equal are treated as equal: all of them get the gradient of the one that is largest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import Candidate
from gradcheck.diagnosis.clues import Bools, Case, Clues, Floats

__all__ = ["near_ties"]

NEAR = 1e-2
"""Gap of two elements, relative to the spread of all, up to which they are taken for nearly equal."""


def near_ties(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that every element of a slice that nearly equals another one gets what is that one's."""
    del case
    if clues.value is None or clues.value.shape != clues.shape:
        return
    wrong = np.any(clues.wrong & clues.used, axis=0)
    if np.all(wrong) or not np.any(wrong):
        return
    known = np.where(clues.used, clues.reference, 0.0)
    spread = float(np.ptp(clues.value))
    for axis, length in enumerate(clues.shape):
        if length < 2:
            continue
        value = np.moveaxis(clues.value, axis, -1)
        apart = np.abs(value[..., :, None] - value[..., None, :]) + np.where(np.eye(length), np.inf, 0.0)
        nearest = np.min(apart, axis=-1)
        gap = float(np.max(nearest[np.moveaxis(wrong, axis, -1)]))
        if not 0 < gap <= NEAR * spread:
            continue
        yield _shared(clues, known, apart <= gap, axis, gap)


def _shared(clues: Clues, known: Floats, is_near: Bools, axis: int, gap: float) -> Candidate:
    """Predict that each element gets the gradients of all that are near it."""
    length = is_near.shape[-1]
    joined = (is_near | np.eye(length, dtype=bool)).astype(np.float64)
    true = np.moveaxis(known, axis + 1, -1)[..., None]
    margin = np.moveaxis(np.where(clues.used, clues.margin, 0.0), axis + 1, -1)[..., None]
    predicted, reach = (np.moveaxis((joined @ part)[..., 0], -1, axis + 1) for part in (true, margin))
    return Candidate(
        kind="near-ties",
        message=(
            f"every element that is within {gap:.1g} of another one along axis {axis} gets that one's gradient too: "
            "they are compared with a tolerance, but only the largest or smallest is used in f"
        ),
        predicted=predicted,
        margin=reach,
        cost=1.0,
        evidence={"axis": axis, "gap": gap},
    )
