"""A claim of the wrong shape: right once it is summed, transposed or reshaped, or a sum of what it should be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from gradcheck.diagnosis.candidates import ENOUGH, SURE
from gradcheck.diagnosis.clues import Floats
from gradcheck.reports.report import Diagnosis

__all__ = ["Form", "axes_in_words", "cuts", "explain_shape", "forms_of", "reductions"]

MOST_AXES = 6
"""Largest number of axes of an array of which other forms are tried."""


@dataclass(frozen=True, eq=False)
class Form:
    """A claim brought into the shape that it must have: what was done, and what that says."""

    kind: str
    message: str
    values: Floats


def forms_of(claimed: Floats, shape: tuple[int, ...], name: str) -> list[Form]:
    """Bring claims, shape (K, ...), into shape (K, *shape) in the ways in which a right one may be out of shape."""
    given = claimed.shape[1:]
    forms = []
    if len(given) <= MOST_AXES:
        for axes in reductions(given, shape):
            over = axes_in_words(axes)
            total = np.sum(claimed, axis=tuple(axis + 1 for axis in axes)).reshape(len(claimed), *shape)
            count = math.prod(given[axis] for axis in axes)
            message = (
                f"the gradient summed over {over} equals the true one: {name} is broadcast there, so a sum is missing"
            )
            forms.append(Form("missing-sum", message, total))
            message = f"the gradient averaged over {over} equals the true one: its shape has {'an axis' if len(axes) == 1 else 'axes'} too many"
            forms.append(Form("missing-sum", message, total / max(1, count)))
        for order in permutations(range(len(given))):
            if tuple(given[axis] for axis in order) == shape and order != tuple(range(len(given))):
                moved = np.transpose(claimed, (0, *(axis + 1 for axis in order)))
                words = "transposed" if len(order) == 2 else f"with its axes in the order {order}"
                forms.append(Form("transposed", f"the gradient {words} equals the true one", moved))
    for words, part in cuts(given, shape):
        message = f"{words} of the gradient equal the true one: what was padded is not cut off"
        forms.append(Form("uncut", message, claimed[(slice(None), *part)]))
    if math.prod(given) == math.prod(shape):
        message = f"the gradient holds the right numbers in the wrong shape: reshaped to {shape} it equals the true one"
        forms.append(Form("reshaped", message, claimed.reshape(len(claimed), *shape)))
    return forms


def explain_shape(claimed: Floats, reference: Floats, margin: Floats, name: str) -> tuple[Diagnosis, ...]:
    """Explain claims of the wrong shape, given the true derivatives.

    Parameters
    ----------
    claimed : array, shape (K, ...)
    reference, margin : arrays, shape (K, *shape)
        The derivatives and how far off a right claim may be.
    name : str
        Of the parameter.

    Returns
    -------
    diagnoses : tuple of Diagnosis
        At most one.
    """
    shape = reference.shape[1:]
    forms = forms_of(claimed, shape, name)
    for form in forms:
        found = _compared(form, form.values, reference, margin, len(forms))
        if found:
            return (found,)
    for axes in reductions(shape, claimed.shape[1:]) if len(shape) <= MOST_AXES else ():
        places = tuple(axis + 1 for axis in axes)
        message = f"the gradient equals the true one summed over {axes_in_words(axes)}: it was summed over too much"
        total, slack = np.sum(reference, axis=places), np.sum(margin, axis=places)
        form = Form("extra-sum", message, claimed)
        found = _compared(form, claimed.reshape(total.shape), total, slack, len(shape))
        if found:
            return (found,)
    return ()


def _compared(form: Form, values: Floats, reference: Floats, margin: Floats, tried: int) -> Diagnosis | None:
    """Return the diagnosis where the values are right, and that is no chance."""
    apart = np.abs(values - reference)
    tolerance = 2 * margin + 8 * np.finfo(np.float64).eps * np.abs(values)
    if not np.all(apart <= tolerance):
        return None
    digits = np.clip(np.log10(np.abs(reference) / tolerance), 0.0, SURE)
    distinct = np.unique(
        np.round(values / max(float(np.max(np.abs(values))), np.finfo(float).tiny), 6), return_index=True
    )[1]
    size = float(np.linalg.norm(reference / np.max(np.abs(reference)))) * float(np.max(np.abs(reference)))
    fit = 1 - float(np.linalg.norm(apart)) / size
    if not np.nansum(digits.ravel()[distinct]) - math.log10(max(1, tried)) >= ENOUGH:
        return None
    return Diagnosis(kind=form.kind, message=form.message, fit=fit)


def cuts(given: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[slice, ...]]]:
    """Give the parts of a shape that an array has when it is longer than that along some axes: the first, the last, the middle."""
    longer = [axis for axis, (g, s) in enumerate(zip(given, shape, strict=False)) if g > s > 0]
    if len(given) != len(shape) or not longer or any(g < s for g, s in zip(given, shape, strict=True)):
        return
    along = " and ".join(f"{shape[axis]} of {given[axis]} along axis {axis}" for axis in longer)
    for end, share in (("first", 0.0), ("last", 1.0), ("middle", 0.5)):
        starts = [int((g - s) * share) for g, s in zip(given, shape, strict=True)]
        yield f"the {end} {along}", tuple(slice(start, start + s) for start, s in zip(starts, shape, strict=True))


def reductions(given: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Give the axes that leave a shape when they are summed away, or kept with length one; the fewest first."""
    for count in range(1, len(given) + 1):
        for axes in combinations(range(len(given)), count):
            kept = tuple(length for axis, length in enumerate(given) if axis not in axes)
            ones = tuple(1 if axis in axes else length for axis, length in enumerate(given))
            if shape in (kept, ones) and math.prod(given[axis] for axis in axes) > 1:
                yield axes


def axes_in_words(axes: tuple[int, ...]) -> str:
    """Name some axes."""
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes[:-1]))} and {axes[-1]}"
