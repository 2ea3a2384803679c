"""Where the wrong elements are, when they are not everywhere: one slice, the border, at ties, where x is negative.

A region explains where, not why; so it must be no chance that all wrong elements lie in it. Of ``N`` elements of which
``w`` are wrong, all of these fall into a region of ``m`` by chance with probability ``C(m, w) / C(N, w)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnosis.clues import Bools, Case, Clues

__all__ = ["Region", "binomial", "evidence_of", "regions_of", "some_slices"]

MOST_LISTED = 8
"""Slices that are named one by one; the others are counted."""


@dataclass(frozen=True, eq=False)
class Region:
    """A set of elements with a name.

    Attributes
    ----------
    kind, words : str
        Kind of a diagnosis, and ``"the last slice along axis 0"``.
    mask : array of bool, shape (1, *shape) or (K, *shape)
    cost : float
        Digits of evidence that choosing it costs.
    evidence : float
        Digits that it is no chance that all wrong elements lie in it, that cost deducted.
    is_exact : bool
        Whether all its elements that are not zero are wrong.
    """

    kind: str
    words: str
    mask: Bools
    cost: float = 0.0
    evidence: float = 0.0
    is_exact: bool = False


def regions_of(clues: Clues, case: Case) -> list[Region]:
    """Return the regions that hold all wrong elements, but not all elements; the most telling first."""
    wrong = clues.wrong & clues.used
    alive = clues.is_alive | wrong
    if np.all(wrong[alive]):
        return []
    found = []
    for region in _candidates(clues, case):
        if np.any(wrong & ~region.mask):
            continue
        is_exact = not np.any(alive & region.mask & ~wrong)
        found.append(replace(region, evidence=evidence_of(clues, region), is_exact=is_exact))
    return sorted(found, key=lambda region: (not region.is_exact, -region.evidence))


def evidence_of(clues: Clues, region: Region) -> float:
    """Return by how many digits it is no chance that all wrong elements lie in a region, its cost deducted."""
    wrong = clues.wrong & clues.used
    alive = clues.is_alive | wrong
    inside, total, count = (int(np.count_nonzero(a)) for a in (alive & region.mask, alive, wrong))
    return binomial(total, count) - binomial(inside, count) - region.cost


def binomial(n: int, k: int) -> float:
    """Return the decimal logarithm of a binomial coefficient."""
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(10)


def _candidates(clues: Clues, case: Case) -> Iterator[Region]:
    yield from _at_values(clues, case)
    yield from _diagonals(clues)
    yield from _slices(clues)
    yield from _borders(clues)
    yield from _blocks(clues)


def _slices(clues: Clues) -> Iterator[Region]:
    """Give the slices that hold wrong elements along each axis, where they are few, all but a few or one run."""
    wrong = np.any(clues.wrong & clues.used, axis=0)
    for axis, length in enumerate(clues.shape):
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        touched = np.flatnonzero(np.any(wrong, axis=others))
        if length < 2 or len(touched) in (0, length):
            continue
        first, last = int(touched[0]), int(touched[-1])
        mask = np.zeros(length, dtype=bool)
        mask[first : last + 1] = True
        shape = [1] * (len(clues.shape) + 1)
        shape[axis + 1] = length
        axes = math.log10(len(clues.shape))
        chosen = np.isin(np.arange(length), touched)
        spared = np.flatnonzero(~chosen)
        few = 2 * len(touched) <= length
        if len(touched) < last - first + 1 and (few or len(spared) <= MOST_LISTED):
            words = some_slices(touched, length, axis) if few else f"all but {some_slices(spared, length, axis)}"
            yield Region("slices", words, chosen.reshape(shape), axes + binomial(length, len(touched)))
        if first == last:
            kind = "last-slice" if last == length - 1 else "one-slice"
            at = "the last slice" if last == length - 1 else "the first slice" if last == 0 else f"slice {last}"
            cost = axes + (math.log10(2) if last in (0, length - 1) else math.log10(length))
            yield Region(kind, f"{at} along axis {axis}", mask.reshape(shape), cost)
        elif last - first + 1 < length:
            words = f"slices {first} to {last} of {length} along axis {axis}"
            cost = axes + math.log10(length * (length + 1) / 2)
            yield Region("slices", words, mask.reshape(shape), cost)


def some_slices(places: NDArray[np.intp], length: int, axis: int) -> str:
    """Name some slices along an axis."""
    first, *more = [str(place) for place in places[:MOST_LISTED]]
    if not more:
        return f"slice {first} of {length} along axis {axis}"
    left = len(places) - MOST_LISTED
    listed = (
        f"{', '.join([first, *more])} and {left} more"
        if left > 0
        else f"{', '.join([first, *more[:-1]])} and {more[-1]}"
    )
    return f"slices {listed} of {length} along axis {axis}"


def _borders(clues: Clues) -> Iterator[Region]:
    """Give the first and last places along one axis, and the edge of maps over two axes, as wide as the wrong elements take."""
    ndim = len(clues.shape)
    wrong = clues.wrong & clues.used
    long = [axis for axis in range(ndim) if clues.shape[axis] > 2]
    for axes in [*combinations(long, 2), *((axis,) for axis in long)]:
        if len(axes) == 2 and axes[1] - axes[0] > 1:
            continue
        depth = np.full((1,) + (1,) * ndim, max(clues.shape))
        for axis in axes:
            place, shape = np.arange(clues.shape[axis]), [1] * (ndim + 1)
            shape[axis + 1] = clues.shape[axis]
            depth = np.minimum(depth, np.minimum(place, place[::-1]).reshape(shape))
        width = 1 + int(np.max(np.broadcast_to(depth, wrong.shape)[wrong], initial=0))
        if width > max(1, min(clues.shape[axis] for axis in axes) // 3):
            continue
        where = " and ".join(str(axis) for axis in axes)
        size = f", {width} wide," if width > 1 else ""
        words = f"the border{size} along ax{'es' if len(axes) == 2 else 'is'} {where}"
        yield Region("borders-only", words, depth < width, math.log10(2 * len(long) * width))


def _at_values(clues: Clues, case: Case) -> Iterator[Region]:
    """Give the elements whose value ties with another, or is negative, positive or zero."""
    if clues.value is None or clues.value.shape != clues.shape:
        return
    value, name = clues.value[None], clues.name
    _, group, counts = np.unique(value, return_inverse=True, return_counts=True)
    yield Region(
        "ties-only", f"elements of {name} that are equal to others", (counts > 1)[group].reshape(value.shape), 1.0
    )
    for other in case.values:
        theirs = case.values[other]
        if other != name and theirs.shape == clues.shape:
            yield Region("ties-only", f"elements where {name} equals {other}", value == theirs[None], 1.0)
            yield Region("sign-region", f"elements where {name} is less than {other}", value < theirs[None], 1.0)
            yield Region("sign-region", f"elements where {name} is greater than {other}", value > theirs[None], 1.0)
            yield Region("sign-region", f"elements where {name} and {other} differ in sign", value * theirs < 0, 1.0)
    for words, mask in (("negative", value < 0), ("positive", value > 0), ("zero", value == 0)):
        yield Region("sign-region", f"elements where {name} is {words}", mask, 0.5)


def _diagonals(clues: Clues) -> Iterator[Region]:
    """Give diagonal and triangles of square matrices, those of second derivatives among them."""
    shape = clues.shape
    half = math.prod(shape[: len(shape) // 2])
    if len(shape) % 2 == 0 and shape[: len(shape) // 2] == shape[len(shape) // 2 :] and half > 1:
        rows, columns = np.indices((half, half)).reshape(2, *shape)
    elif len(shape) > 1 and shape[-1] == shape[-2] > 1:
        rows, columns = np.indices(shape)[-2:]
    else:
        return
    for words, mask in (
        ("the diagonal", rows == columns),
        ("what is off the diagonal", rows != columns),
        ("what is below the diagonal", rows > columns),
        ("what is above the diagonal", rows < columns),
    ):
        yield Region("triangle", words, mask[None], 0.7)


def _blocks(clues: Clues) -> Iterator[Region]:
    """Give the smallest box around the wrong elements of an array, and around those of one half of a symmetric one."""
    wrong = np.any(clues.wrong & clues.used, axis=0)
    shape = clues.shape
    if len(shape) < 2 or not np.any(wrong):
        return
    yield from _box(wrong, shape, "")
    if len(shape) == 2 and shape[0] == shape[1] and np.array_equal(wrong, wrong.T):
        yield from _box(np.triu(wrong), shape, " and its mirror image")
        yield from _split(wrong)


def _split(wrong: Bools) -> Iterator[Region]:
    """Give the block between first and last parameters of a symmetric matrix, parted where the wrong elements begin."""
    size = len(wrong)
    rows, columns = np.nonzero(np.triu(wrong))
    start = int(columns.min())
    if int(rows.max()) < start:
        is_late = np.arange(size) >= start
        words = f"the block of rows 0 to {start - 1} and columns {start} to {size - 1}, and its mirror image"
        yield Region("block", words, (is_late[:, None] != is_late)[None], math.log10(size - 1))


def _box(wrong: Bools, shape: tuple[int, ...], mirrored: str) -> Iterator[Region]:
    spans, cost = [], 0.0
    for axis, length in enumerate(shape):
        others = tuple(i for i in range(len(shape)) if i != axis)
        touched = np.flatnonzero(np.any(wrong, axis=others))
        spans.append(slice(int(touched[0]), int(touched[-1]) + 1))
        cost += math.log10(length * (length + 1) / 2)
    narrow = [axis for axis, span in enumerate(spans) if span.stop - span.start < shape[axis]]
    if len(narrow) < 2:
        return
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(spans)] = True
    mask = mask | mask.T if mirrored else mask
    where = ", ".join(f"{spans[axis].start} to {spans[axis].stop - 1} along axis {axis}" for axis in narrow)
    yield Region("block", f"the block {where}{mirrored}", mask[None], cost)
