"""Points at which there is no derivative but a set of valid ones (Clarke's subdifferential).

Moving one element alone can be blind to a kink: the median of three equal numbers stays where it is when any one of
them moves. So nobody is accused before the derivative was looked at from points very near, all elements moved
together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.evaluation import Probe

__all__ = ["holds_nearby"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NEAR_POINTS = 4
CLOSEST, FARTHEST = 1.07e-6, 1e-2
"""Distances of the near points, in units of the elements' lengths."""

INNER = 0.1093
"""The step at a near point, as a share of its distance: short enough to stay on its side of a kink."""


def holds_nearby(
    probe: Probe,
    leaf: int,
    indices: NDArray[np.intp],
    claimed: Floats,
    reference: Floats,
    lengths: dict[int, Floats],
    noise: Floats,
    *,
    multiplier: float,
    rng: np.random.Generator,
) -> Bools:
    """Tell whether a derivative that contradicts its claim is the same at points very near.

    Where it is not, the point lies on a kink that single moves may be blind to, and the claim is not accused.

    Parameters
    ----------
    probe : Probe
        The functions.
    leaf, indices : int, array of shape (m,)
        The accused elements.
    claimed, reference : arrays, shape (m, K)
        Their claims and measured derivatives.
    lengths : dict
        For each free leaf the lengths of its elements; all are moved.
    noise : array, shape (K,)
        Standard deviations.
    multiplier : float
        How many of them count.
    rng : Generator
        Draws the near points.

    Returns
    -------
    holds : array of bool, shape (m, K)

    Notes
    -----
    Costs 8 calls an element.
    """
    with np.errstate(all="ignore"):
        apart = np.abs(claimed - reference)
        own = lengths[leaf][indices]
        needed = 4 * multiplier * noise / (INNER * own[:, None] * np.where(apart > 0, apart, np.inf))
        distance = np.clip(np.nanmax(np.where(np.isfinite(needed), needed, 0.0), axis=1), CLOSEST, FARTHEST)
    holds = np.ones(claimed.shape, dtype=bool)
    for row, index in enumerate(indices):
        shifts = _near(probe, leaf, int(index), lengths, rng)
        step = INNER * distance[row] * own[row]
        single = np.zeros(lengths[leaf].size)
        single[index] = step
        for shift in shifts:
            start = {other: distance[row] * move for other, move in shift.items()}
            values = _pair(probe, leaf, start, single)
            with np.errstate(all="ignore"):
                slope = (values[0] - values[1]) / (2 * step)
                moved = np.abs(slope - reference[row])
            holds[row] &= ~(moved > apart[row] / 2 + multiplier * noise / step)
    return holds


def _near(
    probe: Probe, leaf: int, index: int, lengths: dict[int, Floats], rng: np.random.Generator
) -> list[dict[int, Floats]]:
    """Draw near points: random signs times a spread of sizes, so that ties are broken in every order."""
    del probe, leaf, index
    return [
        {
            other: scale * np.where(rng.random(scale.shape) < 0.5, -1.0, 1.0) * rng.uniform(0.5, 1.32, scale.shape)
            for other, scale in lengths.items()
        }
        for _ in range(NEAR_POINTS)
    ]


def _pair(probe: Probe, leaf: int, start: dict[int, Floats], single: Floats) -> Floats:
    values = []
    for sign in (1.0, -1.0):
        directions = dict(start)
        directions[leaf] = start[leaf] + sign * single
        values.append(probe.ray(directions, np.array([1.0]))[0])
    return np.array(values)
