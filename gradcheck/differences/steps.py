"""Which step suits a leaf: a few evaluations along a random direction, in units of each element's length, without any claim."""

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
"""Short enough for the kinks of a network, long enough for float64's noise. Halfway between the third step of a ladder and the fourth:
no ladder uses its points again."""

UNLIKE = 0.6
"""A step that balances noise and truncation is shortened to this: truncation is larger elsewhere in the leaf, noise is not."""

PASSED_OVER = 0.5
"""What keeps more than this share of its even part when the step is eight times shorter is narrower than that: a kink keeps an
eighth of it, and what is smooth a sixty-fourth."""

CONVERGED = 0.02
"""Central differences at two successive steps this close, relatively: what is left is truncation."""


def choose_step(
    probe: Probe, leaf: int, lengths: Floats, base: Floats, noise: Floats, rtol: float, rng: np.random.Generator
) -> float | None:
    """Choose the step with which the elements of a leaf are screened.

    Returns
    -------
    step : float or None
        In units of the lengths: the truncation error of a central difference is about an eighth of ``rtol`` or less,
        and no shorter than noise demands. None where nothing moved.

    Notes
    -----
    Costs 4 calls; 2 more for each factor of 8 by which an oscillation is faster than the element's length, or a pulse narrower, and 2
    more where noise hides as much of the slope as truncation may be.
    """
    movable = lengths.nonzero()[0]
    chosen = movable[rng.choice(len(movable), size=min(FEW, len(movable)), replace=False)]
    direction = np.zeros_like(lengths)
    direction[chosen] = np.copysign(lengths[chosen], rng.random(len(chosen)) - 0.5)
    multiplier = noise_multiplier(lengths.size)
    longer, was_seen, even_before = np.full_like(noise, np.nan), np.zeros(noise.shape, dtype=bool), np.zeros_like(noise)
    held, is_narrow = probe.point.leaves[leaf], False
    spacing = held.format.spacing(np.abs(held.value.ravel()[chosen]))
    # A move of the shortest step is rounded by no more than what counts as converged.
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
            if not seen.any():  # noise leaves no choice but the longest step
                return step * RATIO if was_seen.any() else None
            if (change[seen] <= CONVERGED * size[seen] + jitter[seen]).all():
                best = _balanced(step, change[seen], jitter[seen], rtol / 8 * size[seen])
                if (jitter[seen] * step > CONVERGED * size[seen] * best).any():
                    best = max(
                        best, _farther(probe, {leaf: direction}, usual, multiplier * noise / FIRST_STEP, rtol / 8)
                    )
                return max(best, min(SHORTEST_STEP, step))
        longer, was_seen, even_before = slope, seen, even
        step /= RATIO
    return step * RATIO if is_narrow else DEFAULT_STEP


def _farther(probe: Probe, direction: Moves, slope: Floats, jitter: Floats, enough: float) -> float:
    """Choose a step longer than the usual ones, at all of which noise hides too much; 0 where functions are not smooth so far.

    It is compared with the slope of the longest usual one, at two calls; no element is moved farther than by the longest ladder.
    """
    step = RATIO * FIRST_STEP
    ahead, behind = probe.ray(direction, np.array([step, -step]))
    size, change = np.abs(slope), np.abs((ahead - behind) / (2 * step) - slope)
    if not (change <= CONVERGED * size + jitter).all():  # nor where one is not finite
        return 0.0
    return _balanced(FIRST_STEP, change, jitter, enough * size, step / 2)


def _balanced(step: float, change: Floats, jitter: Floats, share: Floats, most: float = FIRST_STEP) -> float:
    """Choose between truncation, which grows with the square of a step, and noise, which shrinks with it.

    Parameters
    ----------
    step : float
        At eight times this step the truncation error is about ``change``, and at it noise is ``jitter``.
    change, jitter : arrays
        Per function.
    share : array
        An error that does not matter.
    most : float
        The longest step to choose.
    """
    share = np.maximum(share, np.finfo(np.float64).tiny)
    longest = float((step * RATIO * np.sqrt(share / np.maximum(change, 1e-3 * share))).min())
    # Truncation of other elements may be as many times that of those sampled as estimates of noise differ.
    enough = _middle(jitter * step / (SAME_NOISE * share))
    if enough > longest:  # no step makes both small: take the one where they are least together
        least = _middle(np.cbrt(jitter * step * (step * RATIO) ** 2 / np.maximum(2 * change, share)))
        return float(np.clip(UNLIKE * least, min(longest, DEFAULT_STEP), min(step * RATIO, most)))
    return min(longest, most, max(DEFAULT_STEP, enough))


def _middle(values: Floats) -> float:
    """Return the median: of one value, as a scalar function has, without the tenfold time that NumPy takes for it."""
    return float(values[0]) if len(values) == 1 else float(np.median(values))
