"""The linear map in backward is forward's own where its adjoint belongs, whatever slopes come before and after it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import REAL, Candidate
from gradcheck.diagnosis.clues import Case, Clues, Floats

__all__ = ["MOST_OUTPUTS", "matrix_of", "not_transposed"]

MOST_OUTPUTS = 64
"""Outputs of a layer whose matrix is asked for, a column of it with each: beyond, backward would be called too often."""

LEAST_SHARE = 1e-6
"""Least weight of an element, as a share of the largest: below it the equations do not determine the element.
Uncertainty of the true gradient gives singular values that should be zero this size."""


def not_transposed(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that backward multiplies with a matrix that should be transposed, a kernel that should be turned round.

    Notes
    -----
    Let ``f`` have the Jacobian ``diag(w) A diag(s)`` with a square ``A``, and backward the matrix ``B = diag(s) A diag(w)``, in which
    ``A`` is not transposed. With ``q = w / s`` the true gradient then is ``B.T (q dy) / q``, so ``B.T (q dy) - q g = 0`` for every
    cotangent ``dy`` with its true gradient ``g``: linear equations of which two cotangents give twice as many as there are
    unknowns. Where ``A`` falls into blocks each has a factor of its own, and any member of the null space will do.
    """
    dy, size = case.dy, clues.claimed[0].size
    if dy is None or case.pull is None or len(dy) < 2 or not 2 <= size <= MOST_OUTPUTS or dy[0].size != size:
        return
    if not np.all(np.isfinite(clues.reference)):
        return
    matrix = matrix_of(clues.name, case, dy)
    if matrix is None or matrix.shape != (size, size) or not np.all(np.isfinite(matrix)):
        return
    rows, true = dy.reshape(len(dy), size), clues.reference.reshape(len(dy), size)
    unsure = float(np.max(np.linalg.norm(clues.margin.reshape(len(dy), size), axis=0)))
    equations = [matrix.T * row - np.diag(g) for row, g in zip(rows, true, strict=True)]
    weights = _common_solution(np.concatenate(equations), unsure)
    if weights is None:
        return
    predicted = (rows * weights) @ matrix / weights
    left = np.abs(predicted - true).reshape(clues.claimed.shape)
    yield Candidate(
        kind="not-transposed",
        message=(
            "the linear map in backward is that of forward, and its adjoint would be right: transpose the matrix, turn the kernel "
            "round, or sum from the other end"
        ),
        predicted=clues.claimed - (predicted - true).reshape(clues.claimed.shape),
        margin=clues.margin + left,
        cost=REAL * size,
        key="not transposed",
    )


def matrix_of(name: str, case: Case, dy: Floats) -> Floats | None:
    """Ask backward for its matrix, shape (elements, outputs): a unit cotangent gives a column."""
    size = dy[0].size
    count = -(-size // len(dy))
    units = np.zeros((count * len(dy), size))
    units[:size] = np.eye(size)
    answers = case.pulled("matrix", list(units.reshape(count, *dy.shape)))
    columns = [answer.get(name) for answer in answers]
    known = [column for column in columns if column is not None]
    if not columns or len(known) < len(columns):
        return None
    found = np.concatenate(known)
    return found.reshape(len(found), -1)[:size].T


def _common_solution(equations: Floats, unsure: float) -> Floats | None:
    """Return the vector of the null space, to within the uncertainty, nearest to all ones; None if it must have zeros."""
    _, values, directions = np.linalg.svd(equations)
    null = directions[values <= max(LEAST_SHARE * values[0], unsure)]
    found = null.T @ np.sum(null, axis=1)
    size = np.abs(found)
    return found if len(null) and np.min(size) > LEAST_SHARE * np.max(size) else None
