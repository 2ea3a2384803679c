"""Outputs that share an element of the parameter: backward assigns what it must add, and the upstream of one of them is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnosis.adjoints import MOST_OUTPUTS, matrix_of
from gradcheck.diagnosis.candidates import REAL, Candidate
from gradcheck.diagnosis.clues import Case, Clues, Floats

__all__ = ["lost_upstreams"]

MOST_LISTED = 4
"""Outputs that are named."""

MOST_LOST, MOST_SETS = 3, 1000
"""Outputs that one element may lack together, and sets of them that are tried: more cost as many digits as two cotangents give."""


def lost_upstreams(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that each wrong element lacks what one output sends it, an output whose upstream backward uses nowhere.

    Notes
    -----
    The error of such an element is minus the output's slope there, one number, times the output's upstream, for every cotangent. Two
    cotangents so leave one equation an element, and one more where all slopes are one: a pooling, a gather, a sum over windows.
    """
    dy = case.dy
    if dy is None or case.y is None or len(dy) < 2 or not 2 <= dy[0].size <= MOST_OUTPUTS or not np.all(clues.used):
        return
    wrong = np.flatnonzero(np.any(clues.wrong, axis=0))
    if 2 * len(wrong) > clues.claimed[0].size:  # what no two outputs share is right
        return
    matrix = matrix_of(clues.name, case, dy)
    if matrix is None:
        return
    lost = np.flatnonzero(~np.any(matrix, axis=0))
    if not len(lost) or len(lost) == matrix.shape[1]:
        return
    error, rows = clues.error.reshape(len(dy), -1)[:, wrong], dy.reshape(len(dy), -1)[:, lost]
    sets = [one for size in range(1, MOST_LOST + 1) for one in combinations(range(len(lost)), size)]
    if len(sets) <= MOST_SETS:  # slopes of one: a pooling, a gather, a sum over windows
        sums = np.stack([np.sum(rows[:, list(one)], axis=1) for one in sets], axis=1)
        chosen = np.argmin(np.max(np.abs(error[:, :, None] + sums[:, None]), axis=0), axis=1)
        outputs = lost[sorted({k for number in chosen for k in sets[number]})]
        yield _lost(clues, case.y.shape, wrong, outputs, -sums[:, chosen], math.log10(len(sets)))
    slopes = -(error.T @ rows) / np.sum(rows**2, axis=0)
    chosen = np.argmin(np.max(np.abs(error[:, :, None] + slopes * rows[:, None]), axis=0), axis=1)
    missing = -slopes[np.arange(len(wrong)), chosen] * rows[:, chosen]
    yield _lost(clues, case.y.shape, wrong, lost[np.unique(chosen)], missing, REAL + math.log10(len(lost)))


def _lost(
    clues: Clues,
    shape: tuple[int, ...],
    wrong: NDArray[np.intp],
    outputs: NDArray[np.intp],
    missing: Floats,
    digits: float,
) -> Candidate:
    """Say that some elements lack what some outputs, in an array of a shape, send them."""
    predicted = clues.reference.copy().reshape(len(missing), -1)
    predicted[:, wrong] += missing
    places = [list(map(int, np.unravel_index(k, shape))) for k in outputs]
    listed = ", ".join(map(str, places[:MOST_LISTED])) + (", ..." if len(places) > MOST_LISTED else "")
    return Candidate(
        kind="lost-upstream",
        message=(
            f"backward uses the upstream of {len(places)} of {math.prod(shape)} outputs nowhere ({listed}), and just that is missing "
            "in the wrong elements, which others use too: they are left out, or it assigns where it must add (+=, np.add.at)"
        ),
        predicted=predicted.reshape(clues.claimed.shape),
        margin=clues.margin,
        cost=digits * len(wrong),
        evidence={"outputs": places},
    )
