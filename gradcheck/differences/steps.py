"""The step for screening a leaf: chosen from a few evaluations along a random direction, without knowledge of the claims."""

from __future__ import annotations

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.differences.counts import FEW
from gradcheck.differences.ladder import noise_multiplier
from gradcheck.differences.lengths import BETWEEN, FIRST_STEP, RATIO, SHORTEST_STEP
from gradcheck.differences.noise import SAME_NOISE
from gradcheck.differences.vectorized import require_same_alone
from gradcheck.functions.displacements import Moves
from gradcheck.functions.probe import Probe

__all__ = ["DEFAULT_STEP", "choose_step"]

DEFAULT_STEP = FIRST_STEP / (RATIO * RATIO * BETWEEN)
"""Step in units of the lengths, short enough for the kinks of a network, long enough for float64's noise. Halfway between the third
and the fourth step of a ladder, so that no ladder uses its points again."""

UNLIKE = 0.6
"""Factor on a step that balances noise and truncation: truncation may be larger elsewhere in the leaf, noise is not."""

PASSED_OVER = 0.5
"""If the even part of the values keeps more than this share while the step falls by eight, the points lie beyond something
narrower than the step. A kink keeps an eighth, a smooth function a sixty-fourth."""

CONVERGED = 0.02
"""Central differences at two successive steps have converged if they differ by at most this share."""


def choose_step(
    probe: Probe, leaf: int, lengths: Floats, base: Floats, noise: Floats, rtol: float, rng: np.random.Generator
) -> float | None:
    """Choose the step with which the elements of a leaf are screened.

    Returns
    -------
    step : float or None
        In units of the lengths. The truncation error of a central difference is about an eighth of ``rtol`` or less, unless noise
        forbids so short a step. None if noise hides every slope.

    Notes
    -----
    Costs 4 calls; 2 more for each factor of 8 by which an oscillation is faster than the element's length, or a pulse narrower; 2
    more if noise hides much of the slope.
    """
    movable = lengths.nonzero()[0]
    chosen = movable[rng.choice(len(movable), size=min(FEW, len(movable)), replace=False)]
    direction = np.zeros_like(lengths)
    direction[chosen] = np.copysign(lengths[chosen], rng.random(len(chosen)) - 0.5)
    multiplier = noise_multiplier(lengths.size)
    longer, was_seen, even_before = np.full_like(noise, np.nan), np.zeros(noise.shape, dtype=bool), np.zeros_like(noise)
    held, is_narrow = probe.point.leaves[leaf], False
    spacing = held.format.spacing(np.abs(held.value.ravel()[chosen]))
    # With the shortest step rounding changes a move by no more than the share that counts as converged.
    step, shortest = FIRST_STEP, min(SHORTEST_STEP, float((spacing / lengths[chosen]).max(initial=0.0)) / CONVERGED)
    pairs = probe.ray({leaf: direction}, step * np.array([1.0, -1.0, 1 / RATIO, -1 / RATIO]))
    require_same_alone(probe, {leaf: direction}, -step, pairs[1], noise)
    usual = (pairs[0] - pairs[1]) / (2 * step)
    while step > shortest:
        if not len(pairs):
            pairs = probe.ray({leaf: direction}, np.array([step, -step]))
        (ahead, behind), pairs = pairs[:2], pairs[2:]
        slope = (ahead - behind) / (2 * step)
        size, change = np.abs(slope), np.abs(slope - longer)
        jitter = multiplier * noise / step
        seen = size > jitter
        even = np.abs(ahead + behind - 2 * base)
        is_even = even > np.maximum(np.abs(ahead - behind), 4 * multiplier * noise)
        passed_over = (is_even & (even > PASSED_OVER * even_before)).any()  # by both points
        is_narrow |= bool(passed_over and (even_before > 0).any())
        if np.isfinite(change).all() and not passed_over:
            is_hidden = not seen.any()  # by noise
            if is_hidden and not was_seen.any():
                return None
            if is_hidden or (change[seen] <= CONVERGED * size[seen] + jitter[seen]).all():
                best = step * RATIO if is_hidden else _balanced(step, change[seen], jitter[seen], rtol / 8 * size[seen])
                is_noisy = best >= FIRST_STEP if is_hidden else (jitter * step > CONVERGED * size * best)[seen].any()
                if is_noisy:
                    best = max(
                        best, _longer_step(probe, {leaf: direction}, usual, multiplier * noise / FIRST_STEP, rtol / 8)
                    )
                return max(best, min(SHORTEST_STEP, step))
        longer, was_seen, even_before = slope, seen, even
        step /= RATIO
    return step * RATIO if is_narrow else DEFAULT_STEP


def _longer_step(probe: Probe, direction: Moves, slope: Floats, jitter: Floats, enough: float) -> float:
    """Choose a step longer than the usual ones, at which noise hides too much; 0 if functions are not smooth over it.

    The slope is compared with that of the longest usual step, at two calls. No element moves farther than in the longest ladder.
    """
    step = RATIO * FIRST_STEP
    ahead, behind = probe.ray(direction, np.array([step, -step]))
    size, change = np.abs(slope), np.abs((ahead - behind) / (2 * step) - slope)
    if not (change <= CONVERGED * size + jitter).all():  # also if one is not finite
        return 0.0
    return _balanced(FIRST_STEP, change, jitter, enough * size, step / 2)


def _balanced(step: float, change: Floats, jitter: Floats, share: Floats, most: float = FIRST_STEP) -> float:
    """Balance truncation, which grows with the square of the step, and noise, which is inverse to it.

    Parameters
    ----------
    step : float
    change, jitter : arrays, shape (K,)
        The truncation error at `RATIO` times the step, and the noise at the step.
    share : array, shape (K,)
        An error that does not matter.
    most : float
        The longest step to choose.
    """
    share = np.maximum(share, np.finfo(np.float64).tiny)
    longest = float((step * RATIO * np.sqrt(share / np.maximum(change, 1e-3 * share))).min())
    # Noise of several shares is allowed: truncation of other elements may be as large.
    enough = _median(jitter * step / (SAME_NOISE * share))
    if enough > longest:  # no step makes both small: take the one with the least sum
        least = _median(np.cbrt(jitter * step * (step * RATIO) ** 2 / np.maximum(2 * change, share)))
        return float(np.clip(UNLIKE * least, min(longest, DEFAULT_STEP), min(step * RATIO, most)))
    return min(longest, most, max(DEFAULT_STEP, enough))


def _median(values: Floats) -> float:
    """Return the median; of a single value without NumPy, which takes ten times as long."""
    return float(values[0]) if len(values) == 1 else float(np.median(values))
