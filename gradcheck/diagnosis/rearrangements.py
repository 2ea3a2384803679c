"""The claim holds the right numbers in the wrong places, or those of another parameter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradcheck.diagnosis.candidates import REAL, SURE, Candidate, is_contradicted
from gradcheck.diagnosis.clues import Case, Clues, Floats, Map
from gradcheck.diagnosis.numbers import name_ratio
from gradcheck.diagnosis.scale import ratio_of
from gradcheck.reports.symmetries import Move, reshapes, shifts, symmetries

__all__ = ["of_other_parameters", "packings", "permutations", "rearrangements", "repeated"]

SLICES_LISTED = 8
"""A permutation of no more slices than this is given in full."""

FEWEST = 3
"""Different numbers below which a rearrangement is no evidence."""

MOST_OTHERS = 200
"""Other parameters whose gradient the claim is compared with."""

MOST_MOVED = 200_000
"""Largest number of elements of an array of which all rearrangements are tried, not only the common ones."""


def rearrangements(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is the gradient turned, mirrored, transposed or shifted, perhaps times a number."""
    if not _tells_places_apart(clues):
        return
    moves = symmetries(clues.shape)
    if clues.claimed.size <= MOST_MOVED:
        moves += [*reshapes(clues.shape), *shifts(clues.shape)]
    cost = math.log10(2 * len(moves)) if moves else 0.0
    for rank, move in enumerate(moves):
        placed = _after(clues, move)
        yield _moved(placed, move, 1.0, "", cost + rank * 1e-3)
        fitted = ratio_of(placed, clues.used & placed.used)
        if fitted and abs(fitted[0] - 1) > fitted[1] and not is_contradicted(clues, *_times(fitted[0], placed)):
            named = name_ratio(*fitted, case)
            yield _moved(placed, move, fitted[0], f"{named.words} ", cost + named.cost, named.note)


def _after(clues: Clues, move: Move) -> Clues:
    """Return the clues with the gradient moved."""
    reference, margin = move.apply(clues.reference), move.apply(clues.margin)
    kink = move.apply(clues.kink) if np.any(clues.kink) else clues.kink
    return replace(clues, reference=reference, margin=margin, kink=kink)


def _times(ratio: float, placed: Clues) -> tuple[Floats, Floats]:
    """Return what the claim would be, and how far off: nothing where a number comes from a kink and any of several is right."""
    return ratio * np.where(placed.kink, np.nan, placed.reference), abs(ratio) * placed.margin


def _moved(placed: Clues, move: Move, ratio: float, words: str, cost: float, note: str = "") -> Candidate:
    """Propose the moved gradient, times a number."""
    predicted, margin = _times(ratio, placed)
    return Candidate(
        kind=move.kind,
        message=f"the gradient equals {words}the true one {move.words}{note}",
        predicted=predicted,
        margin=margin,
        cost=cost,
        key=f"{words}{move.words}",
        evidence={"move": move.words, "ratio": ratio},
        is_generic=move.is_partial,
    )


def permutations(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the slices along one axis are those of the gradient in another order."""
    del case
    if not _tells_places_apart(clues):
        return
    for axis, length in enumerate(clues.shape):
        order = _order(clues, axis) if length > 1 else None
        if order is None or np.array_equal(order, np.arange(length)):
            continue
        moved = np.flatnonzero(order != np.arange(length))
        if len(moved) == 2:
            words = f"slices {moved[0]} and {moved[1]} along axis {axis} exchanged"
        elif length <= SLICES_LISTED:
            words = f"its slices along axis {axis} in the order {order.tolist()}"
        else:
            words = f"its slices along axis {axis} in another order"
        yield Candidate(
            kind="permuted",
            message=f"the gradient equals the true one with {words}",
            predicted=np.take(clues.reference, order, axis=axis + 1),
            margin=np.take(clues.margin, order, axis=axis + 1),
            cost=_log10_orders(length, len(moved)),
            is_generic=True,
            evidence={"axis": axis, "order": order.tolist()},
        )


def packings(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the numbers of a sparse matrix that are not zero were filled in by columns where they go by rows.

    They may have been multiplied by the parameter, laid along the columns, after that.
    """
    del case
    if len(clues.shape) != 2 or not _tells_places_apart(clues):
        return
    filled = np.any(clues.is_alive, axis=0)
    by_columns = np.flatnonzero(filled.T.ravel())
    if np.all(filled) or len(by_columns) < FEWEST:
        return
    scales = [("", np.ones(clues.shape))]
    value = clues.value
    if value is not None and value.shape == clues.shape[1:] and np.all(value != 0):
        scales.append((", before each is multiplied by the parameter,", np.broadcast_to(value, clues.shape)))
    rows, columns = np.nonzero(filled)
    for words, scale in scales:
        parts = []
        for array in (clues.reference / scale, clues.margin / np.abs(scale)):
            moved = np.zeros_like(array)
            moved[:, rows, columns] = np.swapaxes(array, 1, 2).reshape(len(array), -1)[:, by_columns]
            parts.append(moved)
        yield Candidate(
            kind="permuted",
            message=(
                f"the gradient equals the true one with its numbers that are not zero{words} "
                "read by columns and written by rows (or the reverse)"
            ),
            predicted=parts[0] * scale,
            margin=parts[1] * np.abs(scale),
            cost=1.0,
        )


def _tells_places_apart(clues: Clues) -> bool:
    """Whether the gradient has three different numbers: two that changed places may be chance."""
    return len(np.unique(clues.reference[clues.is_alive])) >= FEWEST


def _log10_orders(length: int, moved: int) -> float:
    """Return the decimal logarithm of the number of orders in which ``moved`` of ``length`` slices are out of place."""
    return (math.lgamma(length + 1) - math.lgamma(length - moved + 1)) / math.log(10)


def _order(clues: Clues, axis: int) -> np.ndarray | None:
    """Find which slice of the gradient each slice of the claim is, from one projection of each; None without one."""
    if np.any(clues.kink) or not np.all(np.isfinite(clues.claimed)):
        return None
    length = clues.shape[axis]
    c = np.moveaxis(clues.claimed, axis + 1, 0).reshape(length, -1)
    n = np.moveaxis(clues.reference, axis + 1, 0).reshape(length, -1)
    weights = np.cos(1.0 + 1.7 * np.arange(c.shape[1])) + 1.5  # any that treat no two places alike
    scale = max(float(np.max(np.abs(c))), float(np.max(np.abs(np.nan_to_num(n)))), np.finfo(float).tiny)
    marks_c, marks_n = (c / scale) @ weights, (n / scale) @ weights
    if not np.all(np.isfinite(marks_n)):
        return None
    order = np.empty(length, dtype=np.intp)
    order[np.argsort(marks_c, kind="stable")] = np.argsort(marks_n, kind="stable")
    return order


def repeated(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that every slice along an axis is one slice of the gradient, or the sum or mean of all."""
    del case
    if np.any(clues.kink):
        return
    for axis, length in enumerate(clues.shape):
        if length < 2:
            continue
        sources = list(_sources(length, axis + 1))
        for words, source in sources if len(clues.shape) > 1 else sources[:2]:
            yield Candidate(
                kind="repeated",
                message=f"every slice of the gradient along axis {axis} equals {words}",
                predicted=np.broadcast_to(source(clues.reference), clues.claimed.shape),
                margin=np.broadcast_to(source(clues.margin), clues.claimed.shape),
                cost=math.log10(4 * len(clues.shape)),
                most=SURE if len(clues.shape) == 1 else REAL,
            )


def _sources(length: int, axis: int) -> Iterator[tuple[str, Map]]:
    """Give what may stand in every slice."""
    yield "the sum of the true one's slices", lambda a: np.sum(a, axis=axis, keepdims=True)
    yield "the mean of the true one's slices", lambda a: np.mean(a, axis=axis, keepdims=True)
    yield "the first slice of the true one", lambda a: np.take(a, [0], axis=axis)
    yield "the last slice of the true one", lambda a: np.take(a, [length - 1], axis=axis)


def of_other_parameters(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is the gradient of another parameter; both may have been exchanged."""
    others = [o for o in case.parameters.values() if o is not clues and o.claimed.size == clues.claimed.size]
    for other in others[:MOST_OTHERS]:
        theirs, margin = other.reference.reshape(clues.claimed.shape), other.margin.reshape(clues.claimed.shape)
        back = np.abs(other.claimed - clues.reference.reshape(other.claimed.shape))
        is_swap = np.all(back <= 2 * clues.margin.reshape(other.claimed.shape))
        differ = np.any(np.abs(theirs - clues.reference) > 2 * (margin + clues.margin))
        if not differ:
            continue
        words = f"the gradients of {clues.name} and {other.name} are swapped"
        yield Candidate(
            kind="swapped" if is_swap else "other-parameter",
            message=f"the gradient equals the true one of {other.name}" + (f": {words}" if is_swap else ""),
            predicted=theirs,
            margin=margin,
            cost=math.log10(2 * len(others)),
            key=" ".join(sorted([clues.name, other.name])) if is_swap else "",
            evidence={"other": other.name},
        )
