"""Functions made of smooth pieces: a solver or a quadrature that stops early.

While the number of iterations stays the same such a function is smooth, and its derivative is another one than that of
the exact solution. Differences with short steps agree on it to many digits. Where the number changes the function jumps,
by about what it may be off anyway: those jumps are its noise, seen from farther away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.differences.counts import FEW
from gradcheck.differences.lengths import FIRST_STEP, RATIO, SHORTEST_STEP
from gradcheck.differences.noise import SAME_NOISE
from gradcheck.functions.blocks import signed
from gradcheck.functions.displacements import Moves
from gradcheck.functions.probe import Probe

__all__ = ["REACHES", "jump_along", "jump_nearby", "jumps_between", "nearest_stair"]

REACHES = (RATIO * FIRST_STEP, FIRST_STEP)
"""How far jumps are looked for, in units of the elements' lengths; the nearer one where the domain ends before."""

PLACES, DEGREE = 25, 8
"""Points along a direction, and the degree of the polynomial that is taken away from the values there."""

HALVINGS = 12
"""Halvings of the interval in which a jump is, before its size is read."""

STAYS = 0.8
"""A jump keeps this share of its size, at least, however short the interval that it is in."""

CLOSER, MUCH_CLOSER = 3, 20
"""Halvings more after which its size is read again: a kink has lost seven eighths then, a cube root half. What is left after
them is followed down to what float64 resolves: a function that rises over a billionth of an element's length does not jump."""

SEEN = SAME_NOISE
"""Jumps that are so many times what noise may do to a value are looked for."""

ONE_OF_MANY = 0.03
"""The least share of a noise that one of the jumps making it is taken to have. What is no jump has shrunk by a factor of
30,000 when its size is read."""


def jumps_between(probe: Probe, direction: Moves, last: float, noise: Floats) -> Floats:
    """Return by how much functions jump on the way from the point to a place, 0 where they do not.

    What looks like noise from afar and is smooth from near by is an oscillation, a kink, or a staircase beside something
    smooth, as of single precision inside. What slopes between those at both ends leave of the change is followed by bisection:
    a jump keeps its size, what is left of an oscillation or a kink shrinks with the interval.

    Parameters
    ----------
    direction : dict
        A move short enough that the functions are smooth over one of it, but for jumps.
    last : float
        How far to look, in moves.
    noise : array, shape (K,)
        The standard deviation of the noise seen from afar; NaN or 0 for functions that are not asked about.

    Returns
    -------
    jumps : array, shape (K,)
        The size of one jump.

    Notes
    -----
    Costs about 20 calls for a function, four of them at most.
    """
    jumps = np.zeros_like(noise)
    asked = np.flatnonzero(noise > 0)
    for column in asked[:FEW]:
        size = _jump_within(probe, direction, int(column), last)
        jumps[column] = size if size > ONE_OF_MANY * noise[column] else 0.0
    jumps[asked[FEW:]] = jumps.max()
    return jumps


def _jump_within(probe: Probe, direction: Moves, column: int, last: float) -> float:
    """Return the size of what jumps between the point and a place, 0 where nothing does.

    Moves of a dtype coarser than float64 cannot be divided: the change over one that is no jump is like those beside it.
    """
    values = probe.ray(direction, np.array([0.0, 1.0, last, last + 1.0]))[:, column]
    slope, bend = values[1] - values[0], (values[3] - values[2] - values[1] + values[0]) / last

    def rest(place: float) -> float:
        return float(_values(probe, direction, place)[column] - place * (slope + bend * place / 2))

    interval = (0.0, last, float(values[0]), float(values[2] - last * (slope + bend * last / 2)))
    down_to_one = int(np.log2(last))
    if not _is_fine(probe, direction):
        low, high, below, above = _halved(rest, *interval, down_to_one, np.rint)
        left, size = float(_step_between(probe, direction, low, high)[column]), abs(above - below)
        return left if left >= STAYS * size else 0.0
    sizes = []
    for halvings in (down_to_one, CLOSER):
        interval = _halved(rest, *interval, halvings)
        sizes.append(abs(interval[3] - interval[2]))
    return sizes[1] if _is_kept(sizes[0], sizes[1]) else 0.0


def _is_kept(before: Any, size: Any) -> Any:
    """Tell where a jump has kept its size while its interval was halved `CLOSER` times or more.

    A kink shrinks with its interval. Across a pole the change doubles with each halving; half of that is too much for a jump.
    """
    return np.isfinite(size) & (STAYS * before <= size) & (size <= 2 ** (CLOSER - 1) * before)


def _is_fine(probe: Probe, direction: Moves) -> bool:
    """Tell whether all that is moved is held in double precision."""
    return all(probe.point.leaves[leaf].value.dtype == np.float64 for leaf in direction)


def _halved(
    rest: Callable[[float], float],
    low: float,
    high: float,
    below: float,
    above: float,
    halvings: int,
    rounded: Callable[[float], float] = float,
) -> tuple[float, float, float, float]:
    """Halve an interval, with the values at its ends, a number of times towards the larger change."""
    for _ in range(halvings):
        middle = float(rounded((low + high) / 2))
        between = rest(middle)
        if abs(between - below) > abs(above - between):
            high, above = middle, between
        else:
            low, below = middle, between
    return low, high, below, above


def jump_nearby(
    probe: Probe, lengths: dict[int, Floats], jitter: Floats, rng: np.random.Generator
) -> tuple[Floats, float]:
    """Look for a jump near the point.

    Returns
    -------
    size : array, shape (K,)
        0 where none was found.
    away : float
        How far away it is, in units of the elements' lengths.

    Notes
    -----
    Costs 25 calls a direction, and 23 more where something sticks out of a polynomial; 24 more in double precision
    where that seems to jump.
    """
    found, away = np.zeros_like(jitter), 0.0
    for _ in range(FEW):
        if found.any():
            break
        direction = {leaf: scale * signed(scale.size, rng) for leaf, scale in lengths.items()}
        found, away = jump_along(probe, direction, jitter)
    return found, away


def jump_along(probe: Probe, direction: Moves, jitter: Floats) -> tuple[Floats, float]:
    """Return the size of a jump along a direction, within `REACHES` of it, 0 where none was found, and where it is."""
    for reach in REACHES:
        places = reach * np.linspace(-1.0, 1.0, PLACES)
        values = probe.ray(direction, places)
        if np.isfinite(values).all():
            break
    else:
        return np.zeros_like(jitter), 0.0
    smooth = [np.polynomial.Polynomial.fit(places, column, DEGREE, domain=[-reach, reach]) for column in values.T]

    def rest(place: float) -> Floats:
        return np.asarray(_values(probe, direction, place) - [polynomial(place) for polynomial in smooth])

    rests = values - np.array([polynomial(places) for polynomial in smooth]).T
    evidence = np.abs(np.diff(rests, axis=0)) / jitter
    first, column = np.unravel_index(int(evidence.argmax()), evidence.shape)
    if evidence[first, column] <= SEEN:
        return np.zeros_like(jitter), 0.0
    interval = (places[first], places[first + 1], rests[first, column], rests[first + 1, column])
    interval = _halved(lambda place: float(rest(place)[column]), *interval, HALVINGS)
    size = _step_between(probe, direction, interval[0], interval[1])
    for halvings in (CLOSER, MUCH_CLOSER) if _is_fine(probe, direction) else (CLOSER,):
        interval, before = _halved(lambda place: float(rest(place)[column]), *interval, halvings), size
        size = _step_between(probe, direction, interval[0], interval[1])
        size = np.where(_is_kept(before, size) & (size > SEEN * jitter), size, 0.0)
        if not size.any():
            break
    return size, float(np.abs(interval[0]))


def nearest_stair(probe: Probe, direction: Moves, base: Floats, jitter: Floats) -> Floats:
    """Look for the end of the stair that the point is on: values there are the same to the last bit, up to a jump.

    Returns
    -------
    size : array, shape (K,)
        Of the jump at its nearer end; 0 where the point is on no stair.

    Notes
    -----
    Costs four calls where the values move; up to about 50 on a stair.
    """
    nothing = np.zeros_like(jitter)
    still = max(SHORTEST_STEP, _least_move(probe, direction))
    for side in (1.0, -1.0):
        if not (probe.ray(direction, side * np.array([still, still * RATIO])) == base).all():
            return nothing
    low = still * RATIO
    while low < REACHES[0]:
        place = min(low * RATIO, REACHES[0])
        values = probe.ray(direction, np.array([place, -place]))
        moved = np.abs(values - base) > SEEN * jitter
        if moved.any():
            row, column = np.argwhere(moved)[0]
            side = 1 - 2 * row
            size = _end_of_stair(probe, side * low, side * place, direction, base, int(column))
            return np.where(size > SEEN * jitter, size, 0.0)
        low = place
    return nothing


def _least_move(probe: Probe, direction: Moves) -> float:
    """Return the share of a direction that moves each of its elements by a unit in the last place at least."""
    least = 0.0
    for leaf, move in direction.items():
        moved = np.flatnonzero(move)
        unit = probe.point.leaves[leaf].format.spacing(np.abs(probe.point.leaves[leaf].value.ravel()[moved]))
        least = max(least, float((unit / np.abs(move[moved])).max(initial=0.0)))
    return least


def _end_of_stair(probe: Probe, low: float, high: float, direction: Moves, base: Floats, column: int) -> Floats:
    """Return the size of the jump between a place where the values stand still and one where they have moved, 0 for no jump."""

    def has_moved(place: float) -> float:
        return float(_values(probe, direction, place)[column] != base[column])

    interval, sizes = (low, high, 0.0, 1.0), []
    for halvings in (2 * HALVINGS, CLOSER):
        interval = _halved(has_moved, *interval, halvings)
        sizes.append(np.abs(_values(probe, direction, interval[1]) - base))
    return np.where(sizes[1] >= STAYS * sizes[0], sizes[1], 0.0)


def _values(probe: Probe, direction: Moves, place: float) -> Floats:
    """Return the values at one place along a direction, shape (K,)."""
    return np.asarray(probe.ray(direction, np.array([place]))[0])


def _step_between(probe: Probe, direction: Moves, low: float, high: float) -> Floats:
    """Return by how much the values change between two points beyond what the slopes on both sides of them explain."""
    width = high - low
    values = probe.ray(direction, np.array([low - width, low, high, high + width]))
    return np.asarray(np.abs(values[2] - values[1] - (values[1] - values[0] + values[3] - values[2]) / 2))
