"""What was done to the gradient is undone to the claim, which is known everywhere, and compared where something was measured.

So a dozen elements of a large array show running sums, or slices in another order, in which each number of the claim comes
from elements that were not measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import REAL, SLACK, Candidate
from gradcheck.diagnosis.clues import Bools, Case, Clues, Floats

__all__ = ["is_sampled", "running_sums", "sampled_permutations"]

Order = np.ndarray[tuple[int], np.dtype[np.intp]]


def is_sampled(clues: Clues) -> bool:
    """Whether only some elements were measured."""
    return not np.all(clues.used | clues.kink)


def running_sums(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is the running sum of the gradient along an axis, from either end."""
    del case
    for axis, length in enumerate(clues.shape):
        if length < 2 or np.any(clues.kink) or not np.all(np.isfinite(clues.claimed)):
            continue
        for words, way in (("", 1), (" from the end", -1)):
            turned = np.flip(clues.claimed, axis + 1) if way < 0 else clues.claimed
            each = np.diff(turned, axis=axis + 1, prepend=0.0)
            yield _undone(
                clues,
                np.flip(each, axis + 1) if way < 0 else each,
                kind="accumulated",
                message=f"the gradient equals the running sum of the true one{words} along axis {axis}",
                cost=math.log10(4 * len(clues.shape)),
            )


def sampled_permutations(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that slices of which some elements were measured are found in another place of the claim."""
    del case
    if np.any(clues.kink) or not is_sampled(clues) or not np.all(np.isfinite(clues.claimed)):
        return
    for axis, length in enumerate(clues.shape):
        found = _places(clues, axis) if length > 2 else None
        if found is None:
            continue
        order, known = found
        moved = np.flatnonzero(known & (order != np.arange(length)))
        if len(moved):
            listed = ", ".join(f"slice {i} is in the place of slice {order[i]}" for i in moved[:2])
            yield _undone(
                clues,
                np.take(clues.claimed, order, axis=axis + 1),
                kind="permuted",
                message=(
                    f"the gradient equals the true one with its slices along axis {axis} in another order, in the elements looked at: {listed}"
                ),
                cost=max(REAL, math.log10(length)) * np.count_nonzero(known),  # what it takes to find each
            )


def _undone(clues: Clues, values: Floats, *, kind: str, message: str, cost: float) -> Candidate:
    """Propose what makes the claim ``values`` when it is undone: it misses the claim by what these miss the reference by."""
    known = clues.used & (clues.reference != 0)
    accuracy = np.median(clues.margin[known] / np.abs(clues.reference[known])) if np.any(known) else 0.0
    return Candidate(
        kind=kind,
        message=message,
        predicted=clues.claimed - (values - clues.reference),
        margin=clues.margin + float(accuracy) * np.abs(clues.claimed),
        cost=cost,
    )


def _places(clues: Clues, axis: int) -> tuple[Order, Bools] | None:
    """Find in which slice of the claim each slice of the gradient is, as far as it was measured; None where one is in none, or in several.

    Returns the order, its own place where nothing of a slice is known, and of which slices something is.
    """
    claimed, reference, margin, used = (
        np.moveaxis(array, axis + 1, 0).reshape(clues.shape[axis], -1)
        for array in (clues.claimed, clues.reference, clues.margin, clues.is_alive)
    )
    known, order = np.any(used, axis=1), np.arange(len(claimed))
    for i in np.flatnonzero(known):
        at = np.flatnonzero(used[i])
        places = np.flatnonzero(np.all(np.abs(claimed[:, at] - reference[i, at]) <= SLACK * margin[i, at], axis=1))
        if len(places) != 1:
            return None
        order[i] = places[0]
    return (order, known) if len(np.unique(order[known])) == np.count_nonzero(known) else None
