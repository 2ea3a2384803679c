"""The function does not change along some directions, and the claim does not know: a normalisation is not differentiated."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import REAL, Candidate
from gradcheck.diagnosis.clues import Case, Clues, Floats
from gradcheck.diagnosis.slices import SHORTEST, Slices, partings
from gradcheck.diagnosis.undone import is_sampled

__all__ = ["lacks_projection", "projections"]

SLACK = 4.0
"""Margins by which the true gradient may be off a right angle to the direction."""

ALMOST = 0.01
"""Share of the claim's part along the direction that the true gradient may have: a small number that is added to what is divided
by, as in most normalisations, leaves a little of it."""

AT_RIGHT_ANGLES = 0.5
"""Digits by which this comes before another multiple of the parameter: a right angle of parameter and true gradient is no chance."""


def projections(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim lacks the projection that a normalisation of each slice brings with it.

    The true gradient is at a right angle to a direction in each slice: to the parameter itself where f does not change when
    the slice is scaled, to the output of a layer that subtracts a mean and divides by a deviation. The claim is not, and
    without its part along that direction it is the true one, perhaps times or over the slice's length.
    """
    sampled = is_sampled(clues)
    if not (np.all(clues.used) or (sampled and np.all(np.isfinite(clues.claimed)) and not np.any(clues.kink))):
        return
    for slices in partings(clues.shape):
        for name, along, words in _directions(clues, case, slices):
            yield from _unprojected(clues, slices, along, name, words)
        if not sampled:
            yield from _unstandardised(clues, slices)


def _directions(clues: Clues, case: Case, slices: Slices) -> Iterator[tuple[str, Floats, str]]:
    """Give directions along which a function may not change, with what that means."""
    if clues.value is not None and clues.value.shape == clues.shape:
        value = slices(clues.value[None])
        yield clues.name, value, "f does not change when it is scaled"
        yield (
            f"{clues.name} less its mean",
            value - np.mean(value, axis=slices.axes, keepdims=True),
            "f does not change when it is stretched",
        )
    if case.y is not None and case.y.shape == clues.shape:
        yield "the output", slices(case.y[None]), "the output has a fixed length"


def _parts(clues: Clues, slices: Slices, unit: Floats) -> tuple[Floats, Floats] | None:
    """Return the parts of true gradient and claim along unit vectors of slices; None unless only the claim has one.

    Where only a sample was measured the true gradient is taken to have none: what remains of the claim is then compared with it.
    """
    if is_sampled(clues):
        part = np.sum(slices(clues.claimed) * unit, axis=slices.axes, keepdims=True)
        return np.zeros_like(part), part
    true_part = np.sum(slices(clues.reference) * unit, axis=slices.axes, keepdims=True)
    reach = SLACK * np.sqrt(np.sum((slices(clues.margin) * unit) ** 2, axis=slices.axes, keepdims=True))
    part = np.sum(slices(clues.claimed) * unit, axis=slices.axes, keepdims=True)
    if np.any(np.abs(true_part) > np.maximum(reach, ALMOST * np.abs(part))) or not np.any(np.abs(part) > reach):
        return None
    return true_part, part


def lacks_projection(clues: Clues) -> bool:
    """Whether the true gradient is at a right angle to the parameter as a whole, and the claim is not."""
    if clues.value is None or clues.value.shape != clues.shape or not np.all(clues.used) or clues.value.size < SHORTEST:
        return False
    size = float(np.linalg.norm(clues.value))
    whole = Slices(clues.shape, tuple(range(1, clues.claimed.ndim)), "")
    return 0 < size < math.inf and _parts(clues, whole, clues.value[None] / size) is not None


def _margin(clues: Clues, slices: Slices, *units: Floats) -> Floats:
    """Return how far off the true gradient without its parts along unit vectors may be."""
    margin = slices(clues.margin)
    if is_sampled(clues):
        return margin
    parts = [np.abs(unit) * np.sum(margin * np.abs(unit), axis=slices.axes, keepdims=True) for unit in units]
    return np.asarray(sum(parts, start=margin))


def _unprojected(clues: Clues, slices: Slices, along: Floats, name: str, words: str) -> Iterator[Candidate]:
    sizes = np.sqrt(np.sum(along**2, axis=slices.axes, keepdims=True))
    if not np.all(np.isfinite(sizes)) or not np.all(sizes > 0):
        return
    unit = along / sizes
    parts = _parts(clues, slices, unit)
    if parts is None:
        return
    true_part, part = parts
    margin = _margin(clues, slices, unit)
    # Of the numbers from which each part was computed, those that were measured.
    spent = np.mean(slices(np.asarray(clues.used, dtype=np.float64)), axis=slices.axes, keepdims=True)
    for factor, times in (
        (np.ones_like(sizes), ""),
        (sizes, f" times the length of {name}"),
        (1 / sizes, f" over the length of {name}"),
    ):
        yield Candidate(
            kind="missing-projection",
            message=(
                f"the gradient equals the true one{times} plus a multiple of {name}{slices.words}: "
                f"the normalisation is not differentiated, or its term has a wrong factor ({words}, so the true gradient has no such part)"
            ),
            predicted=(factor * (slices(clues.reference) - true_part * unit) + part * unit).reshape(
                clues.claimed.shape
            ),
            margin=(factor * margin).reshape(clues.claimed.shape),
            cost=REAL * float(np.sum(spent)) - AT_RIGHT_ANGLES,
            is_generic=False,
            evidence={"multiples": np.ravel(part / sizes).tolist()},
        )


def _unstandardised(clues: Clues, slices: Slices) -> Iterator[Candidate]:
    """Propose that neither the mean that is subtracted nor the deviation that is divided by is differentiated."""
    if clues.value is None or clues.value.shape != clues.shape:
        return
    count = math.prod(np.array((1, *slices.shape))[list(slices.axes)])
    value = slices(clues.value[None])
    centred = value - np.mean(value, axis=slices.axes, keepdims=True)
    sizes = np.sqrt(np.sum(centred**2, axis=slices.axes, keepdims=True))
    if count <= SHORTEST or not np.all(np.isfinite(sizes)) or not np.all(sizes > 0):
        return
    units = np.full(value.shape, 1 / math.sqrt(count)), centred / sizes
    found = [_parts(clues, slices, unit) for unit in units]
    if found[0] is None or found[1] is None:
        return
    predicted = slices(clues.reference)
    for unit, (true_part, part) in zip(units, (found[0], found[1]), strict=True):
        predicted = predicted + (part - true_part) * unit
    yield Candidate(
        kind="missing-projection",
        message=(
            f"the gradient equals the true one plus a constant and a multiple of {clues.name}{slices.words}: mean and deviation are "
            "not differentiated, or their terms have a wrong factor (f does not change when it is shifted or stretched, so the true gradient has no such parts)"
        ),
        predicted=predicted.reshape(clues.claimed.shape),
        margin=_margin(clues, slices, *units).reshape(clues.claimed.shape),
        cost=2 * REAL * sizes.size * len(clues.claimed),
        evidence={"multiples": np.ravel(found[1][1] / sizes).tolist()},
    )
