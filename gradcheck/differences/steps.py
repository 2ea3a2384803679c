"""A few evaluations before the first element is looked at: how noisy is the function, and which step suits a leaf.

Both are measured along random directions, in units of each element's length. Neither ever sees a claim.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.jumps import jumps_between
from gradcheck.differences.ladder import FIRST_STEP, RATIO, noise_multiplier, scale_is_hidden
from gradcheck.differences.noise import DISTINCT, OFFSETS, WHOLE_OFFSETS, noise_from_samples, output_quantum, ulp
from gradcheck.differences.vectorized import require_same_alone
from gradcheck.functions.blocks import BLOCK
from gradcheck.functions.probe import BudgetExhaustedError, Probe

__all__ = [
    "DEFAULT_STEP",
    "FALLS",
    "OF_ROUNDING",
    "SAMPLED",
    "SHORTEST_STEP",
    "SPACING",
    "SUSPICIOUS",
    "choose_step",
    "lost_in_rounding",
    "measure_noise",
]

Floats = NDArray[np.float64]

DEFAULT_STEP = 1.9130581736e-4
"""Short enough for the kinks of a network, long enough for float64's noise. Not a round number."""

SHORTEST_STEP = 1e-9
"""Of a leaf whose size says something of its scale. A shorter one is taken only where the functions resolve nothing at longer ones."""

SPACINGS = 64.0
"""Units in the last place that the shortest step of a leaf has, at least: a move is then rounded by less than a hundredth of it."""

SPACING = 1.8834172961e-7
"""Of the points at which noise is measured first, in units of the elements' lengths."""

SAMPLES = (
    (5507.0, SPACING),
    (-5507.0, SPACING),
    (0.0, SPACING),
    (0.0, 1.8834172961e-10),
    (0.0, 1.8834172961e-14),
    (0.0, 1.8834172961e-16),
)
"""Where noise is sampled along a direction: distance from the point in spacings, spacing. The next is tried where the function is
not finite, or where what looks like noise may be something else."""

NOT_FAR = 10.0
"""Elements whose length is more than so many times their size are taken for that much longer only."""

SUSPICIOUS = 1e3
"""Noise of so many units in the last place may be a fast oscillation."""

FALLS = 4.0
"""Noise that is more than this factor smaller from near by is replaced by it only where nothing jumps between: three estimates
of one noise agree within it."""

OF_ROUNDING = 30.0
"""So many times what rounding to the dtype of the values does to them is noise of a function that computes in it."""

WIDENINGS = (64.0, 64.0**2, 64.0**3)
"""Times the spacing, for a function that stands still."""

MANY_STEPS, NEARER = 64.0, 8.0
"""Samples that differ by so many times their least difference are too far apart to show a step: they are taken so much nearer."""

NOISE_SHARES = 4.0
"""Noise may be so many times the truncation error of the elements sampled: that of others may be much larger."""

UNLIKE = 0.6
"""A step that balances noise and truncation is shortened to this: truncation is larger elsewhere in the leaf, noise is not."""

ONE_SIDED = 10.0
"""Noise that is so many times larger on one side of the point than on the other is a kink."""

PASSED_OVER = 0.5
"""What keeps more than this share of its even part when the step is eight times shorter is narrower than that: a kink keeps an
eighth of it, and what is smooth a sixty-fourth."""

SAMPLED = 4
"""Elements of a leaf that are moved together to see how far they may be."""

CONVERGED = 0.02
"""Central differences at two successive steps this close, relatively: what is left is truncation."""


def measure_noise(probe: Probe, base: Floats, lengths: dict[int, Floats], rng: np.random.Generator) -> Floats:
    """Measure the standard deviation of the functions' noise near the point.

    Parameters
    ----------
    probe : Probe
        The functions.
    base : array, shape (K,)
        Their values at the point.
    lengths : dict
        For each leaf to be moved the lengths of its elements.
    rng : Generator
        Draws the signs.

    Returns
    -------
    noise : array, shape (K,)
        Never below half a unit in the last place of the outputs' dtype, nor below half their quantum.

    Notes
    -----
    Costs 8 calls; up to 32 more at the edge of a domain and where what looks like noise may be a fast oscillation, and
    24 to 48 where the function stands still.
    """
    probe = probe.one_by_one()  # whether it may be called with many at once is seen when its noise is known
    # Random signs times a spread of sizes: plain signs cancel in a linear function, and round points look rounded.
    signs = {leaf: _signed(len(scale), rng) for leaf, scale in lengths.items()}
    floor = np.maximum(np.maximum(ulp(base[None]), np.finfo(np.float64).tiny) / 2, probe.rounding())
    resolutions = [probe.point.leaves[leaf].format.eps for leaf in lengths]
    coarsest, finest = max(resolutions, default=0.0), min(resolutions, default=0.0)
    if finest <= np.finfo(np.float64).eps:
        finest = 0.0  # its units are nearer than what is sampled
    offsets = OFFSETS if coarsest <= np.finfo(np.float64).eps else WHOLE_OFFSETS
    noise, quantum, before = np.full_like(base, np.inf), np.zeros_like(base), 0.0
    jumps, still, was_seen = np.zeros(base.shape, dtype=bool), np.ones(base.shape, dtype=bool), False
    changes, farther, is_steady = np.zeros_like(base), 0.0, np.zeros(base.shape, dtype=bool)
    for distance, spacing in SAMPLES:
        if abs(distance) * coarsest > 1:
            continue  # in half precision so many spacings are several times an element's size
        is_nearest = spacing < finest  # by a unit in the last place, or by single ones
        if is_nearest:
            offsets = np.arange(float(len(OFFSETS)))
        reach = abs(distance) + offsets[-1]
        directions = {leaf: _exact(probe, leaf, spacing, signs[leaf], scale, reach) for leaf, scale in lengths.items()}
        length = _longest(directions)
        values = probe.ray(directions, distance + offsets)
        if not np.all(np.isfinite(values)):
            continue
        still, was_seen = still & np.all(values == base, axis=0), True
        enough = np.maximum(SUSPICIOUS * ulp(values), OF_ROUNDING * floor)
        most = np.where(is_nearest, np.inf, enough)
        estimate = np.array([_settled(column, offsets, limit) for column, limit in zip(values.T, most, strict=True)])
        quantum = np.maximum(
            quantum, [output_quantum(np.append(c, at)) / 2 for c, at in zip(values.T, base, strict=True)]
        )
        if distance:
            estimate = _of_staircase(probe, directions, distance + offsets, values, estimate)
        if np.all(np.isinf(noise)):
            noise = np.maximum(estimate, quantum)
        elif distance:  # on the other side of the point: a kink among the samples looks like noise, on one side only
            less, more = np.minimum(noise, estimate), np.maximum(noise, estimate)
            noise = np.maximum(np.where(more > ONE_SIDED * less, less, more), quantum)
        else:  # an oscillation looks like noise from afar and is smooth, and steep, from near by; a staircase stands still there
            # Noise that was the same from a thousand times nearer, where what is smooth near by explains no such changes, is of stairs.
            jumps |= is_steady & (FALLS * _continued(values, offsets, farther / length) < changes)
            staircase = jumps | np.any(np.diff(values, axis=0) == 0, axis=0)
            less = np.maximum(np.minimum(noise, estimate), quantum)
            falls = ~staircase & (less * FALLS < noise) & np.isfinite(noise)
            if np.any(falls):
                jumps |= jumps_between(probe, directions, before / length, np.where(falls, noise, np.nan))
            is_steady = (changes > 0) & np.isfinite(estimate) & (FALLS * less >= noise)
            noise = np.where(staircase | jumps, noise, less)
            changes, farther = np.ptp(values, axis=0), length
        before = reach * length
        if is_nearest or np.all(jumps | (noise <= enough) | (noise == quantum)):
            break
    noise = np.maximum(np.where(np.isfinite(noise), noise, 4 * floor), floor)
    return np.asarray(
        np.where(still & was_seen, np.maximum(noise, lost_in_rounding(probe, base, list(lengths))), noise)
    )


def lost_in_rounding(probe: Probe, base: Floats, leaves: list[int]) -> Floats:
    """Return what functions that stand still may lose in the rounding of numbers that they are computed from, shape (K,).

    Their value says nothing of it: ``log(1 + exp(-x))`` is zero where the sum is rounded to 1, as are losses of samples that are
    classified well. They are computed from numbers as large as 1, as the value or as the parameters.
    """
    largest = max((float(np.max(np.abs(probe.point.leaves[leaf].value), initial=0.0)) for leaf in leaves), default=0.0)
    eps = max(probe.output.eps, float(np.finfo(np.float64).eps))
    weight = np.sum(np.abs(probe.cotangents), axis=1)
    return np.asarray(eps / 2 * np.maximum(np.abs(base), weight * max(largest, 1.0)))


def _continued(values: Floats, offsets: Floats, times: float) -> Floats:
    """Extrapolate the change of functions to a range ``times`` as long, by slope and curvature of some values, shape (K,).

    A curvature that rounding may make is none.
    """
    places = offsets / offsets[-1]
    _, slope, curvature = np.polynomial.polynomial.polyfit(places, values - values[0], 2)
    seen = np.maximum(np.abs(curvature) - OF_ROUNDING * ulp(values), 0.0)
    return np.asarray(np.abs(slope) * times + seen * times**2)


def _signed(count: int, rng: np.random.Generator) -> Floats:
    """Draw signs times sizes, a block at a time."""
    drawn = np.empty(count)
    for start in range(0, count, BLOCK):
        block = drawn[start : start + BLOCK]
        block[:] = rng.choice([-1.0, 1.0], len(block))
        block *= rng.uniform(0.5, 1.32, len(block))
    return drawn


def _longest(moves: dict[int, Floats]) -> float:
    """Return the size of the longest move: rounded to what the dtypes hold, it is another one than was asked for."""
    return max((float(max(move.max(), -move.min())) for move in moves.values() if move.size), default=0.0)


def _settled(values: Floats, offsets: Floats, enough: float) -> float:
    """Return the noise of sampled values, or infinity where more than ``enough`` may be the function's smooth part instead."""
    noise, settled = noise_from_samples(values, offsets)
    return noise if settled or noise <= enough else np.inf


def _exact(probe: Probe, leaf: int, spacing: float, signs: Floats, lengths: Floats, reach: float) -> Floats:
    """Return a move of each element, whole multiples of which the dtype of the parameters holds exactly.

    Near the point, at small ``reach``, no element moves by more than a share of its own size: an edge may be there. Farther
    away by no more than a hundredth of it either, or a function may be far larger there, and noisier, for others of the leaf are.
    """
    held = probe.point.leaves[leaf]
    flat, exact = held.value.ravel(), np.empty_like(signs)
    for start in range(0, len(exact), BLOCK):
        block = slice(start, start + BLOCK)
        value = np.abs(flat[block])
        sizes = value.astype(np.float64)
        most = sizes if reach <= OFFSETS[-1] else NOT_FAR * sizes
        hidden = scale_is_hidden(sizes, lengths[block])
        near = np.where(hidden, lengths[block], np.minimum(most, lengths[block]))
        moves = spacing * signs[block] * near
        unit = held.format.spacing(value + reach * np.maximum(np.abs(moves), held.format.spacing(value)))
        exact[block] = np.where(
            moves == 0, 0.0, np.copysign(np.maximum(np.rint(np.abs(moves) / unit), 1.0) * unit, moves)
        )
    return exact


def _of_staircase(probe: Probe, directions: dict[int, Floats], places: Floats, values: Floats, noise: Floats) -> Floats:
    """Look further away at functions that stood still between two points: the noise of a staircase is its steps.

    One that never moves is constant. One that moves steadily once it moves was in a flat region, as of a ReLU.
    """
    still = np.any(np.diff(values, axis=0) == 0, axis=0)
    offsets = places - places[0]
    for wide in WIDENINGS:
        if not np.any(still):
            break
        wider = _far_away(probe, directions, places[0] + wide * offsets)
        if np.any(still & _takes_many_steps(wider)):
            nearer = _far_away(probe, directions, places[0] + wide / NEARER * offsets)
            wider = np.where(_takes_many_steps(wider) & _is_moved(nearer, values), nearer, wider)
        moved = still & _is_moved(wider, values) & np.all(np.isfinite(wider), axis=0)
        furthest = np.argmax(np.abs(wider - values[0]), axis=0)
        for sample in np.unique(furthest[moved]):  # where it has moved: elsewhere a flat region stands still as well
            there = _far_away(probe, directions, places[0] + wide * offsets[sample] + offsets)
            found = moved & (furthest == sample)
            stairs = found & np.any(np.diff(there, axis=0) == 0, axis=0)
            heights = np.array([noise_from_samples(column, offsets)[0] for column in wider.T])
            noise = np.where(stairs, np.maximum(noise, heights), noise)
            distinct = np.array([len(np.unique(column)) for column in wider.T])
            still &= ~found | (stairs & (distinct < DISTINCT))
    return noise


def _is_moved(there: Floats, here: Floats) -> NDArray[np.bool_]:
    """Tell which functions have another value there, shape (K,)."""
    return np.asarray(np.any(np.abs(there - here[0]) > 0, axis=0))


def _takes_many_steps(values: Floats) -> NDArray[np.bool_]:
    """Tell which functions change among some values by many times the least of their changes, shape (K,)."""
    changes = np.abs(np.diff(values, axis=0))
    least = np.min(np.where(changes > 0, changes, np.inf), axis=0)
    return np.asarray(np.ptp(values, axis=0) > MANY_STEPS * least)


def _far_away(probe: Probe, directions: dict[int, Floats], places: Floats) -> Floats:
    """Return the values at places so far away that the function need not be defined there: NaN where it raises."""
    try:
        return probe.ray(directions, places)
    except BudgetExhaustedError:
        raise
    except Exception:  # noqa: BLE001 - whatever the user's function raises; nobody asked for its value there
        return np.full((len(places), len(probe.cotangents)), np.nan)


def choose_step(
    probe: Probe, leaf: int, lengths: Floats, base: Floats, noise: Floats, rtol: float, rng: np.random.Generator
) -> float | None:
    """Choose the step with which the elements of a leaf are screened.

    Parameters
    ----------
    probe : Probe
        The functions.
    leaf : int
        Which leaf.
    lengths : array, shape (n,)
        The lengths of its elements.
    base, noise : arrays, shape (K,)
        The values of the functions at the point, and the standard deviation of their noise.
    rtol : float
        The relative error that matters.
    rng : Generator
        Draws the elements that are moved, and their signs.

    Returns
    -------
    step : float or None
        In units of the lengths: the truncation error of a central difference is about an eighth of ``rtol`` or less,
        and no shorter than noise demands. None where nothing moved.

    Notes
    -----
    Costs 4 calls; 2 more for each factor of 8 by which an oscillation is faster than the element's length, or a pulse narrower.
    """
    movable = np.flatnonzero(lengths)
    chosen = movable[rng.choice(len(movable), size=min(SAMPLED, len(movable)), replace=False)]
    direction = np.zeros_like(lengths)
    direction[chosen] = lengths[chosen] * np.where(rng.random(len(chosen)) < 0.5, -1.0, 1.0)
    multiplier = noise_multiplier(lengths.size)
    longer, was_seen, even_before = np.full_like(noise, np.nan), np.zeros(noise.shape, dtype=bool), np.zeros_like(noise)
    held, is_narrow = probe.point.leaves[leaf], False
    spacing = held.format.spacing(np.abs(held.value.ravel()[chosen]))
    step, shortest = FIRST_STEP, min(SHORTEST_STEP, SPACINGS * float(np.max(spacing / lengths[chosen], initial=0.0)))
    pairs = probe.ray({leaf: direction}, step * np.array([1.0, -1.0, 1 / RATIO, -1 / RATIO]))
    require_same_alone(probe, {leaf: direction}, -step, pairs[1], noise)
    while step > shortest:
        values, pairs = pairs[:2], pairs[2:]
        if not len(values):
            values = probe.ray({leaf: direction}, np.array([step, -step]))
        slope = (values[0] - values[1]) / (2 * step)
        size, change = np.abs(slope), np.abs(slope - longer)
        jitter = multiplier * noise / step
        seen = size > jitter
        even, odd = np.abs(values[0] + values[1] - 2 * base), np.abs(values[0] - values[1])
        is_even = even > np.maximum(odd, 4 * multiplier * noise)
        passed_over = np.any(is_even & (even > PASSED_OVER * even_before))  # by both points
        is_narrow |= bool(passed_over and np.any(even_before > 0))
        if np.all(np.isfinite(change)) and not passed_over:
            if not np.any(seen):  # noise leaves no choice but the longest step
                return step * RATIO if np.any(was_seen) else DEFAULT_STEP if np.any(change > 2 * jitter) else None
            if np.all(change[seen] <= CONVERGED * size[seen] + jitter[seen]):
                best = _balanced(step, change[seen], jitter[seen], rtol / 8 * size[seen])
                return max(best, min(SHORTEST_STEP, step))
        longer, was_seen, even_before = slope, seen, even
        step /= RATIO
    return step * RATIO if is_narrow else DEFAULT_STEP


def _balanced(step: float, change: Floats, jitter: Floats, share: Floats) -> float:
    """Choose between truncation, which grows with the square of a step, and noise, which shrinks with it.

    Parameters
    ----------
    step : float
        At eight times this step the truncation error is about ``change``, and at it noise is ``jitter``.
    change, jitter : arrays
        Per function.
    share : array
        An error that does not matter.
    """
    share = np.maximum(share, np.finfo(np.float64).tiny)
    longest = float(np.min(step * RATIO * np.sqrt(share / np.maximum(change, 1e-3 * share))))
    enough = _middle(jitter * step / (NOISE_SHARES * share))
    if enough > longest:  # no step makes both small: take the one where they are least together
        least = _middle(np.cbrt(jitter * step * (step * RATIO) ** 2 / np.maximum(2 * change, share)))
        return float(np.clip(UNLIKE * least, min(longest, DEFAULT_STEP), min(step * RATIO, FIRST_STEP)))
    return min(longest, FIRST_STEP, max(DEFAULT_STEP, enough))


def _middle(values: Floats) -> float:
    """Return the median: of one value, as a scalar function has, without the tenfold time that NumPy takes for it."""
    return float(values[0]) if len(values) == 1 else float(np.median(values))
