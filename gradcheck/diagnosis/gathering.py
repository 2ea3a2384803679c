"""From what a check found to the clues of a diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance import Judgement
from gradcheck.claims import Reading
from gradcheck.diagnosis.clues import Case, Clues, Floats, Pull
from gradcheck.points import Point

__all__ = ["gather", "stacked"]


def gather(
    point: Point,
    readings: Sequence[Reading],
    judgements: dict[int, Judgement],
    *,
    values: dict[str, NDArray[Any]],
    dy: Floats | None = None,
    y: Floats | None = None,
    pull: Pull | None = None,
) -> Case:
    """Lay out what a check found, parameter by parameter.

    Parameters
    ----------
    point, readings, judgements
        As for `gradcheck.summary.summarise`.
    values : dict
        The value of every leaf, by name.
    dy, y, pull
        See `Case`.
    """
    parameters = {}
    floats = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    for position, judgement in judgements.items():
        leaf = point.leaves[position]
        shape = (len(readings), *leaf.value.shape)
        claimed = stacked(point, readings)[leaf.name]
        wrong = judgement.wrong.T.reshape(shape) | np.isnan(claimed)
        parameters[leaf.name] = Clues(
            leaf.name,
            claimed,
            judgement.reference.T.reshape(shape),
            _margin(judgement).T.reshape(shape),
            wrong,
            judgement.gap.T.reshape(shape) != 0,
            _broadcast(floats, leaf.name, leaf.value.shape),
        )
    return Case(parameters, floats, dy, y, pull=pull)


def stacked(point: Point, readings: Sequence[Reading]) -> dict[str, Floats]:
    """Return the claims of each parameter that has one in all readings, shape (K, *shape), by name."""
    return {
        leaf.name: np.stack([reading.values[position] for reading in readings]).reshape(
            len(readings), *leaf.value.shape
        )
        for position, leaf in enumerate(point.leaves)
        if all(position in reading.values for reading in readings)
    }


def _margin(judgement: Judgement) -> Floats:
    """Return how far a right claim may be from the reference, as far as that was found out."""
    with np.errstate(all="ignore"):
        return np.asarray(np.where(np.isfinite(judgement.floor), judgement.floor, judgement.bound))


def _broadcast(values: dict[str, Floats], name: str, shape: tuple[int, ...]) -> Floats | None:
    """Return the parameter's value; for a Jacobian that of its one input, which is laid along its last axes."""
    value = values.get(name)
    if value is None and len(values) == 1:
        (value,) = values.values()
    if value is None or shape[len(shape) - value.ndim :] != value.shape:
        return None
    return value
