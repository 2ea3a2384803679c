"""The slices along an axis are mixed by a matrix, as where a vector is given in another frame."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import REAL, Candidate
from gradcheck.diagnosis.clues import Case, Clues, Floats

__all__ = ["mixtures"]

MOST_MIXED = 6
"""Slices that are mixed: a matrix of more is rarely told from chance by the elements that there are."""

DIMENSIONS = (2, 3)
"""Lengths of an axis along which vectors of the plane and of space lie: rotations are tried there."""

CONDITION = 1e-6
"""Smallest singular value of the true slices, relative to the largest, at which a matrix can be fitted."""

LEAST_TURN = 1e-3
"""Radians: a smaller rotation is an error of another sort."""


def mixtures(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is the gradient times a matrix along one axis: a rotation, or any small one."""
    del case
    if not np.all(clues.used) or not np.any(clues.reference):
        return
    for axis, length in enumerate(clues.shape):
        if not 2 <= length <= MOST_MIXED:
            continue
        claimed, true, margin = (
            np.moveaxis(a, axis + 1, 0).reshape(length, -1) for a in (clues.claimed, clues.reference, clues.margin)
        )
        if length in DIMENSIONS:
            rotation = _rotation(claimed, true)
            if rotation is not None:
                yield _mixed(clues, rotation, axis, _turn(rotation), margin)
        if length * length < claimed.size:
            matrix = _fitted(claimed, true, margin)
            if matrix is not None:
                words = f"a {length} x {length} matrix, {_written(matrix)}"
                yield _mixed(clues, matrix, axis, words, margin)


def _rotation(claimed: Floats, true: Floats) -> Floats | None:
    """Return the rotation that brings true vectors, the columns, closest to claimed ones (Kabsch); None for those of one direction."""
    sizes = [float(np.max(np.abs(values))) for values in (claimed, true)]
    if not all(np.isfinite(size) and size > 0 for size in sizes):
        return None
    u, singular, v = np.linalg.svd((claimed / sizes[0]) @ (true / sizes[1]).T)
    if singular[1] <= CONDITION * singular[0]:
        return None
    signs = np.ones(len(singular))
    signs[-1] = np.linalg.det(u @ v)
    rotation = np.asarray((u * signs) @ v)
    return rotation if _angle(rotation) > LEAST_TURN else None


def _angle(rotation: Floats) -> float:
    """Return by how much a rotation of the plane or of space turns, in radians."""
    cosine = (np.trace(rotation) - (len(rotation) - 2)) / 2
    return math.acos(max(-1.0, min(1.0, float(cosine))))


def _turn(rotation: Floats) -> str:
    degrees = math.degrees(_angle(rotation))
    if len(rotation) == 2:
        return f"a rotation by {math.copysign(degrees, float(rotation[1, 0])):.4g} degrees"
    around = np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    size = float(np.linalg.norm(around))
    direction = f" around {_vector(around / size)}" if size > LEAST_TURN else ""
    return f"a rotation by {degrees:.4g} degrees{direction}"


def _vector(values: Floats) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in np.where(np.abs(values) < LEAST_TURN, 0.0, values)) + ")"


def _written(matrix: Floats) -> str:
    return "[" + ", ".join("[" + ", ".join(f"{value:.3g}" for value in row) + "]" for row in matrix) + "]"


def _fitted(claimed: Floats, true: Floats, margin: Floats) -> Floats | None:
    """Fit a matrix by least squares, columns weighed by how well they are known."""
    weights = 1 / (np.max(margin, axis=0) + np.finfo(float).tiny)
    weights = weights / np.max(weights)
    sizes = [float(np.max(np.abs(values * weights))) for values in (claimed, true)]
    if not all(np.isfinite(size) and size > 0 for size in sizes):
        return None
    left, right = ((values * weights).T / size for values, size in zip((claimed, true), sizes, strict=True))
    solution, _, rank, singular = np.linalg.lstsq(right, left, rcond=None)
    matrix = np.asarray(solution.T * (sizes[0] / sizes[1]))
    is_known = rank == len(true) and singular[-1] >= CONDITION * singular[0] and np.all(np.isfinite(matrix))
    return matrix if is_known else None


def _mixed(clues: Clues, matrix: Floats, axis: int, words: str, margin: Floats) -> Candidate:
    """Say that a matrix mixes slices; one that turns the plane keeps all lengths and angles, which is no chance."""
    is_turn = np.allclose(matrix @ matrix.T, np.eye(len(matrix)), rtol=0, atol=1e-9)
    freedom = len(matrix) * (len(matrix) - 1) // 2 if is_turn else len(matrix) ** 2
    true = np.moveaxis(clues.reference, axis + 1, 0)
    shape = true.shape
    predicted = (matrix @ true.reshape(len(matrix), -1)).reshape(shape)
    reach = (np.abs(matrix) @ margin).reshape(shape)
    return Candidate(
        kind="mixed",
        message=(
            f"the gradient equals the true one with its slices along axis {axis} mixed by {words}: "
            "another frame, or a matrix too many or too few?"
        ),
        predicted=np.moveaxis(predicted, 0, axis + 1),
        margin=np.moveaxis(reach, 0, axis + 1),
        cost=REAL * freedom,
        is_observation=is_turn and len(matrix) == 2,
        is_generic=True,
        evidence={"axis": axis, "matrix": matrix.tolist()},
    )
