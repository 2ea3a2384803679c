"""Geometry of kinks: the point of a convex hull nearest to a target, and a place on the wanted sides of hyperplanes."""

from __future__ import annotations

import numpy as np

from gradcheck.aliases import Bools, Floats
from gradcheck.differences.noise import SUSPICIOUS

__all__ = ["best_place", "nearest_in_hull", "weights_of_nearest"]

EXHAUSTED = SUSPICIOUS * float(np.finfo(np.float64).eps)
"""Largest weight or gain that rounding alone can produce."""


def nearest_in_hull(points: Floats, target: Floats) -> Floats:
    """Return the point of the convex hull of ``points``, the rows, that is nearest to ``target``.

    Parameters
    ----------
    points : array, shape (P, m)
    target : array, shape (m,)

    Returns
    -------
    array, shape (m,)
    """
    return np.asarray(weights_of_nearest(points, target) @ points)


def weights_of_nearest(points: Floats, target: Floats) -> Floats:
    """Return the weights of ``points`` in the point of their convex hull nearest to ``target``; most of them are zero.

    Non-negative least squares for a weighted sum equal to the target and weights of sum one, by the active set method of C. Lawson
    and R. Hanson, "Solving Least Squares Problems" (1974); also P. Wolfe, "Finding the nearest point in a polytope", Mathematical
    Programming 11 (1976).

    Parameters
    ----------
    points : array, shape (P, m)
    target : array, shape (m,)

    Returns
    -------
    array, shape (P,)
    """
    shifted = points - target
    size = np.abs(shifted).max(initial=0.0)
    if size == 0:
        return np.full(len(points), 1 / len(points))
    system = np.vstack([shifted.T / size, np.ones(len(points))])
    wanted = np.append(np.zeros(len(target)), 1.0)
    weights, used = np.zeros(len(points)), np.zeros(len(points), dtype=bool)
    for _ in range(3 * len(points)):
        gain = np.where(used, -np.inf, system.T @ (wanted - system @ weights))
        best = int(gain.argmax())
        if not gain[best] > EXHAUSTED:
            break
        used[best] = True
        weights = _fit(system, wanted, weights, used)
    return np.asarray(weights / weights.sum())


def _fit(system: Floats, wanted: Floats, weights: Floats, used: Bools) -> Floats:
    """Fit the weights in use, and remove those that would become negative."""
    while True:
        fitted = np.zeros_like(weights)
        fitted[used] = np.linalg.lstsq(system[:, used], wanted, rcond=None)[0]
        negative = used & (fitted <= 0)
        if not negative.any():
            return fitted
        fall = np.maximum(weights[negative] - fitted[negative], np.finfo(np.float64).tiny)
        weights = weights + float((weights[negative] / fall).min()) * (fitted - weights)
        used &= ~(negative & (weights <= EXHAUSTED))


def best_place(normals: Floats, sides: Floats, direction: Floats, rng: np.random.Generator) -> Floats:
    """Return a place where the derivative along a direction is large, for a function with kinks on hyperplanes through the origin.

    Of each hyperplane one side is wanted, with the change of the derivative for its weight. Least squares satisfies as
    many kinks as there are dimensions; for more the perceptron (F. Rosenblatt, 1958) finds a place with a large total weight.

    Parameters
    ----------
    normals : array, shape (S, m)
        The change of the gradient at each hyperplane.
    sides : array, shape (S,)
        1 if the gradient is larger by the normal on the side to which that points, -1 if on the other.
    direction : array, shape (m,)
    rng : Generator

    Returns
    -------
    array, shape (m,)
    """
    along = normals @ direction
    weights = np.abs(along)
    matters = weights > EXHAUSTED * np.max(weights, initial=0.0)
    if not np.any(matters):
        return np.asarray(rng.normal(size=len(direction)))
    weights, wanted = weights[matters], (sides * np.sign(along))[matters]
    units = (normals / np.linalg.norm(normals, axis=1)[:, None])[matters]
    place = np.linalg.lstsq(units, wanted * rng.uniform(0.5, 2.0, len(wanted)), rcond=None)[0]
    best, most = place, -1.0
    for _ in range(10 * len(wanted)):
        wrong = wanted * (units @ place) <= 0
        kept = float(np.sum(weights[~wrong]))
        if kept > most:
            best, most = place, kept
        if not np.any(wrong):
            break
        chosen = rng.choice(np.flatnonzero(wrong), p=weights[wrong] / np.sum(weights[wrong]))
        size, unit = float(np.linalg.norm(place)) or 1.0, units[chosen]
        place = (place + (wanted[chosen] * rng.uniform(0.0, 0.7) * size - unit @ place) * unit) / size
    return np.asarray(best)
