"""Elements that are nearly equal are treated as equal: all of them get the gradient of the one that is largest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import Candidate
from gradcheck.diagnosis.clues import Bools, Case, Clues, Floats

__all__ = ["near_ties"]

NEAR = 1e-2
"""Gap of two elements, relative to the spread of all, up to which they are taken for nearly equal."""

MOST_PAIRS = 1_000_000
"""Pairs of elements that are compared: of more a mask would take too much memory."""


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
        gap = float(np.max(_nearest(value)[np.moveaxis(wrong, axis, -1)]))
        if 0 < gap <= NEAR * spread and value.size * length <= MOST_PAIRS:
            yield _shared(clues, known, np.abs(value[..., :, None] - value[..., None, :]) <= gap, axis, gap)


def _nearest(value: Floats) -> Floats:
    """Return how far each element is from the nearest other one along the last axis."""
    order = np.argsort(value, axis=-1)
    steps = np.diff(np.take_along_axis(value, order, axis=-1), axis=-1)
    steps = np.pad(steps, [(0, 0)] * (value.ndim - 1) + [(1, 1)], constant_values=np.inf)
    nearest = np.empty_like(value)
    np.put_along_axis(nearest, order, np.minimum(steps[..., 1:], steps[..., :-1]), axis=-1)
    return nearest


def _shared(clues: Clues, known: Floats, is_near: Bools, axis: int, gap: float) -> Candidate:
    """Predict that each element gets the gradients of all that are near it."""
    joined = is_near.astype(np.float64)
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
