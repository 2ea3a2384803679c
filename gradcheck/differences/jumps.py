"""Jumps of functions made of smooth pieces, as of a solver or a quadrature that stops early, and of staircases.

While the number of iterations stays the same such a function is smooth, but its derivative differs from that of the exact
solution, and differences with short steps agree on it to many digits. Where the number changes the function jumps, by about
its own error. These jumps are its noise over longer distances.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.differences.counts import FEW, STAYS
from gradcheck.differences.ladder import FEWEST_LEVELS
from gradcheck.differences.lengths import FIRST_STEP, RATIO, SHORTEST_STEP
from gradcheck.differences.noise import CLOSEST_STEP, SAME_NOISE, SUSPICIOUS
from gradcheck.functions.blocks import signed
from gradcheck.functions.displacements import Moves
from gradcheck.functions.probe import Probe

__all__ = ["REACHES", "jump_along", "jump_nearby", "jumps_between", "nearest_stair"]

REACHES = (RATIO * FIRST_STEP, FIRST_STEP)
"""How far jumps are searched for, in units of the elements' lengths; the second if the domain ends before the first."""

PLACES, DEGREE = 25, 8
"""Number of points along a direction, and degree of the polynomial that is subtracted from the values there."""

NEAR = FIRST_STEP / RATIO**FEWEST_LEVELS
"""Length of the interval with a jump when its size is first measured: shorter than the steps that every ladder takes. It is measured
again when the interval is shorter by `RATIO`, where a kink has lost seven eighths and a cube root half, and what remains then at
`CLOSEST_STEP`: a function that rises over a billionth of an element's length does not jump."""

SEEN = SAME_NOISE
"""Smallest ratio of a jump to the noise of a value at which it is searched for."""


class Interval(NamedTuple):
    """Two places, and the values there."""

    low: float
    high: float
    below: float
    above: float


def jumps_between(probe: Probe, direction: Moves, last: float, noise: Floats) -> Floats:
    """Return the size of a jump of the functions between the point and a place, 0 if there is none.

    What looks like noise over long distances and is smooth over short ones is an oscillation, a kink, or a staircase beside
    something smooth, as of single precision inside. The part of the change that the slopes at both ends do not explain is
    followed by bisection: a jump keeps its size, the residual of an oscillation or a kink shrinks with the interval.

    Parameters
    ----------
    direction : dict
        A move so short that the functions are smooth over it, but for jumps.
    last : float
        How far to search, in moves.
    noise : array, shape (K,)
        The standard deviation of the noise over long distances; NaN or 0 for functions without a search.

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
        # What is no jump has shrunk by a factor of 30,000 when its size is measured.
        jumps[column] = size if SUSPICIOUS * size > noise[column] else 0.0
    jumps[asked[FEW:]] = jumps.max()
    return jumps


def _jump_within(probe: Probe, direction: Moves, column: int, last: float) -> float:
    """Return the size of a jump of one function between the point and a place, 0 if there is none.

    In a dtype coarser than float64 a move cannot be divided: there the change over one move is compared with its neighbours.
    """
    values = probe.ray(direction, np.array([0.0, 1.0, last, last + 1.0]))[:, column]
    slope, bend = values[1] - values[0], (values[3] - values[2] - values[1] + values[0]) / last

    def rest(place: float) -> float:
        return float(_values(probe, direction, place)[column] - place * (slope + bend * place / 2))

    whole = Interval(0.0, last, float(values[0]), float(values[2] - last * (slope + bend * last / 2)))
    if not _is_double(probe, direction):
        found = _halved(rest, whole, 1.0, np.rint)
        left = float(_step_between(probe, direction, found)[column])
        return left if left >= STAYS * abs(found.above - found.below) else 0.0
    return float(_lasting_jump(rest, lambda found: abs(found.above - found.below), whole, 1.0, 1 / RATIO)[0])


def _lasting_jump(
    rest: Callable[[float], float], size_of: Callable[[Interval], Any], interval: Interval, *widths: float
) -> tuple[Any, float]:
    """Halve an interval to shorter and shorter widths; return the size of the change in it, 0 if that does not last, and its place.

    The change across a kink falls with the interval. That across a pole grows as much; half of that is too much for a jump.
    """
    interval = _halved(rest, interval, widths[0])
    size = size_of(interval)
    for width in widths[1:]:
        if not np.any(size):
            break
        interval, before = _halved(rest, interval, width), size
        size = size_of(interval)
        is_kept = np.isfinite(size) & (STAYS * before <= size) & (size <= RATIO / 2 * before)
        size = np.where(is_kept, size, 0.0)
    return size, abs(interval.low)


def _is_double(probe: Probe, direction: Moves) -> bool:
    """Tell whether all moved leaves are in double precision."""
    return all(probe.point.leaves[leaf].value.dtype == np.float64 for leaf in direction)


def _halved(
    rest: Callable[[float], float], interval: Interval, width: float, rounded: Callable[[float], float] = float
) -> Interval:
    """Halve an interval towards the larger change, as long as no half is shorter than some width."""
    while abs(interval.high - interval.low) >= 2 * width:
        middle = float(rounded((interval.low + interval.high) / 2))
        between = rest(middle)
        if abs(between - interval.below) > abs(interval.above - between):
            interval = interval._replace(high=middle, above=between)
        else:
            interval = interval._replace(low=middle, below=between)
    return interval


def jump_nearby(
    probe: Probe, lengths: dict[int, Floats], jitter: Floats, rng: np.random.Generator
) -> tuple[Floats, float]:
    """Search for a jump near the point, along random directions.

    Returns
    -------
    size : array, shape (K,)
        0 if none was found.
    away : float
        Its distance, in units of the elements' lengths.

    Notes
    -----
    Costs 25 calls a direction, 21 more if the values depart from a polynomial, and 26 more in double precision if they seem to
    jump.
    """
    found, away = np.zeros_like(jitter), 0.0
    for _ in range(FEW):
        if found.any():
            break
        direction = {leaf: scale * signed(scale.size, rng) for leaf, scale in lengths.items()}
        found, away = jump_along(probe, direction, jitter)
    return found, away


def jump_along(probe: Probe, direction: Moves, jitter: Floats) -> tuple[Floats, float]:
    """Return the size of a jump along a direction, within `REACHES`, shape (K,), 0 if none was found, and its distance."""
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
    # A place that the dtype of the parameters rounds is another place.
    steepest = np.abs(np.diff(values, axis=0)).max(axis=0) / (places[1] - places[0])
    jitter = jitter + steepest * _least_move(probe, direction, reach)
    evidence = np.abs(np.diff(rests, axis=0)) / jitter
    first, column = np.unravel_index(int(evidence.argmax()), evidence.shape)
    if evidence[first, column] <= SEEN:
        return np.zeros_like(jitter), 0.0
    size, place = _lasting_jump(
        lambda place: float(rest(place)[column]),
        lambda found: _step_between(probe, direction, found),
        Interval(places[first], places[first + 1], rests[first, column], rests[first + 1, column]),
        *(NEAR, NEAR / RATIO, CLOSEST_STEP)[: 3 if _is_double(probe, direction) else 2],
    )
    return np.where(size > SEEN * jitter, size, 0.0), place


def nearest_stair(probe: Probe, direction: Moves, base: Floats, jitter: Floats) -> Floats:
    """Search for the end of the stair that the point is on: up to a jump all values on it are equal to the last bit.

    Returns
    -------
    size : array, shape (K,)
        The size of the jump at its nearer end; 0 if the point is on no stair.

    Notes
    -----
    Costs four calls if the values change; up to about 50 on a stair.
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


def _least_move(probe: Probe, direction: Moves, reach: float = 0.0) -> float:
    """Return the smallest share of a direction that moves each of its elements by at least a unit in the last place, as far as ``reach``."""
    least = 0.0
    for leaf, move in direction.items():
        moved = np.flatnonzero(move)
        size = np.abs(probe.point.leaves[leaf].value.ravel()[moved]) + reach * np.abs(move[moved])
        unit = probe.point.leaves[leaf].format.spacing(size)
        least = max(least, float((unit / np.abs(move[moved])).max(initial=0.0)))
    return least


def _end_of_stair(probe: Probe, low: float, high: float, direction: Moves, base: Floats, column: int) -> Floats:
    """Return the size of the jump between a place where the values are those at the point and one where not, 0 for no jump."""

    def has_moved(place: float) -> float:
        return float(_values(probe, direction, place)[column] != base[column])

    size, _ = _lasting_jump(
        has_moved,
        lambda found: np.abs(_values(probe, direction, found.high) - base),
        Interval(low, high, 0.0, 1.0),
        abs(high) * NEAR,
        abs(high) * NEAR / RATIO,
    )
    return np.asarray(size)


def _values(probe: Probe, direction: Moves, place: float) -> Floats:
    """Return the values at one place along a direction, shape (K,)."""
    return np.asarray(probe.ray(direction, np.array([place]))[0])


def _step_between(probe: Probe, direction: Moves, interval: Interval) -> Floats:
    """Return by how much the values change over an interval beyond what the slopes on both sides of it explain, shape (K,)."""
    width = interval.high - interval.low
    values = probe.ray(direction, np.array([interval.low - width, interval.low, interval.high, interval.high + width]))
    return np.asarray(np.abs(values[2] - values[1] - (values[1] - values[0] + values[3] - values[2]) / 2))
