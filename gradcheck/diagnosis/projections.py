"""The function does not change along some directions, and the claim does not know: a normalisation is not differentiated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import REAL, Candidate
from gradcheck.diagnosis.clues import Case, Clues, Floats

__all__ = ["projections"]

SLACK = 4.0
"""Margins by which the true gradient may be off a right angle to the direction."""

ALMOST = 0.01
"""Share of the claim's part along the direction that the true gradient may have: a small number that is added to what is divided
by, as in most normalisations, leaves a little of it."""

SPHERES = 3
"""Least length of a slice: of two elements, one along the direction, the other tells nothing that a factor would not."""


def projections(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim lacks the projection that a normalisation of each slice brings with it.

    The true gradient is at a right angle to a direction in each slice: to the parameter itself where f does not change when
    the slice is scaled, to the output of a layer that subtracts a mean and divides by a deviation. The claim is not, and
    without its part along that direction it is the true one, perhaps times or over the slice's length.
    """
    if not np.all(clues.used):
        return
    for axis, length in [(None, clues.claimed[0].size), *enumerate(clues.shape)]:
        if length < SPHERES or (axis is None and len(clues.shape) == 1):
            continue
        axes = tuple(range(1, clues.claimed.ndim)) if axis is None else (axis + 1,)
        for name, along, words in _directions(clues, case, axes):
            yield from _unprojected(clues, axes, along, name, words)


def _directions(clues: Clues, case: Case, axes: tuple[int, ...]) -> Iterator[tuple[str, Floats, str]]:
    """Give directions along which a function may not change, with what that means."""
    if clues.value is not None and clues.value.shape == clues.shape:
        value = clues.value[None]
        yield clues.name, value, "f does not change when it is scaled"
        yield (
            f"{clues.name} less its mean",
            value - np.mean(value, axis=axes, keepdims=True),
            "f does not change when it is stretched",
        )
    if case.y is not None and case.y.shape == clues.shape:
        yield "the output", case.y[None], "the output has a fixed length"


def _unprojected(clues: Clues, axes: tuple[int, ...], along: Floats, name: str, words: str) -> Iterator[Candidate]:
    sizes = np.sqrt(np.sum(along**2, axis=axes, keepdims=True))
    if not np.all(np.isfinite(sizes)) or not np.all(sizes > 0):
        return
    unit = along / sizes
    true_part = np.sum(clues.reference * unit, axis=axes, keepdims=True)
    reach = SLACK * np.sqrt(np.sum((clues.margin * unit) ** 2, axis=axes, keepdims=True))
    part = np.sum(clues.claimed * unit, axis=axes, keepdims=True)
    if np.any(np.abs(true_part) > np.maximum(reach, ALMOST * np.abs(part))) or not np.any(np.abs(part) > reach):
        return
    where = "" if len(axes) == clues.claimed.ndim - 1 else f" in each slice along axis {axes[0] - 1}"
    for factor, times in (
        (np.ones_like(sizes), ""),
        (sizes, f" times the length of {name}"),
        (1 / sizes, f" over the length of {name}"),
    ):
        yield Candidate(
            kind="missing-projection",
            message=(
                f"the gradient equals the true one{times} plus a multiple of {name}{where}: "
                f"the normalisation is not differentiated ({words}, so the true gradient has no such part)"
            ),
            predicted=factor * (clues.reference - true_part * unit) + part * unit,
            margin=factor * clues.margin,
            cost=REAL * part.size,
            is_generic=False,
            evidence={"multiples": np.ravel(part / sizes).tolist()},
        )
