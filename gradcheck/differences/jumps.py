"""Functions made of smooth pieces: a solver or a quadrature that stops early.

While the number of iterations stays the same such a function is smooth, and its derivative is another one than that of
the exact solution. Differences with short steps agree on it to many digits. Where the number changes the function jumps,
by about what it may be off anyway: those jumps are its noise, seen from farther away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.functions.displacements import Moves
from gradcheck.functions.probe import Probe

__all__ = ["jump_nearby"]

Floats = NDArray[np.float64]

REACHES = (0.2437, 0.0305)
"""How far jumps are looked for, in units of the elements' lengths; the nearer one where the domain ends before."""

PLACES, DEGREE = 25, 8
"""Points along a direction, and the degree of the polynomial that is taken away from the values there."""

HALVINGS = 12
"""Of the interval between two points in which the jump is, before its size is read."""

STAYS, CLOSER = 0.5, 3
"""A jump keeps this share of its size, at least, after so many more halvings; a kink loses seven eighths of it."""

SEEN = 4.0
"""Jumps that are so many times what noise may do to a value are looked for."""

DIRECTIONS = 4
"""Along which jumps are looked for until one is found."""


def jump_nearby(
    probe: Probe, lengths: dict[int, Floats], jitter: Floats, rng: np.random.Generator
) -> tuple[Floats, float]:
    """Look for a jump near the point.

    Parameters
    ----------
    probe : Probe
        The functions.
    lengths : dict
        For each leaf to be moved the lengths of its elements.
    jitter : array, shape (K,)
        By how much noise may change a value.
    rng : Generator
        Draws a direction.

    Returns
    -------
    size : array, shape (K,)
        0 where none was found.
    away : float
        How far away it is, in units of the elements' lengths.

    Notes
    -----
    Costs 25 calls a direction, and 23 more where something sticks out of a polynomial.
    """
    found, away = np.zeros_like(jitter), 0.0
    for _ in range(DIRECTIONS):
        if np.any(found):
            break
        direction = {
            leaf: scale * rng.choice([-1.0, 1.0], scale.shape) * rng.uniform(0.5, 1.32, scale.shape)
            for leaf, scale in lengths.items()
        }
        found, away = _along(probe, direction, jitter)
    return found, away


def _along(probe: Probe, direction: Moves, jitter: Floats) -> tuple[Floats, float]:
    """Return the size of a jump along a direction, 0 where none was found, and where it is."""
    for reach in REACHES:
        places = reach * np.linspace(-1.0, 1.0, PLACES)
        values = probe.ray(direction, places)
        if np.all(np.isfinite(values)):
            break
    else:
        return np.zeros_like(jitter), 0.0
    smooth = [np.polynomial.Polynomial.fit(places, column, DEGREE, domain=[-reach, reach]) for column in values.T]

    def rest(place: float) -> Floats:
        value = probe.ray(direction, np.array([place]))[0]
        return np.asarray(value - [polynomial(place) for polynomial in smooth])

    rests = values - np.array([polynomial(places) for polynomial in smooth]).T
    evidence = np.abs(np.diff(rests, axis=0)) / jitter
    first, column = np.unravel_index(int(np.argmax(evidence)), evidence.shape)
    if evidence[first, column] <= SEEN:
        return np.zeros_like(jitter), 0.0
    low, high, below, above = places[first], places[first + 1], rests[first, column], rests[first + 1, column]
    sizes = []
    for halvings in (HALVINGS, CLOSER):
        for _ in range(halvings):
            middle = (low + high) / 2
            between = rest(middle)[column]
            if abs(between - below) > abs(above - between):
                high, above = middle, between
            else:
                low, below = middle, between
        sizes.append(_step_between(probe, direction, low, high))
    stays = sizes[1] >= STAYS * sizes[0]
    return np.where(stays & (sizes[1] > SEEN * jitter), sizes[1], 0.0), float(np.abs(low))


def _step_between(probe: Probe, direction: Moves, low: float, high: float) -> Floats:
    """Return by how much the values change between two points beyond what the slopes on both sides of them explain."""
    width = high - low
    values = probe.ray(direction, np.array([low - width, low, high, high + width]))
    return np.asarray(np.abs(values[2] - values[1] - (values[1] - values[0] + values[3] - values[2]) / 2))
