"""Longer lengths for elements that are so small that noise hides the effect of steps in proportion to them.

The size of an element is the first guess of the scale over which the function changes with it. For a bias after one small step
from zero it is far too small. Such elements are moved farther, up to the length of a zero, as long as the function is smooth
over that range.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradcheck.aliases import Bools, Floats
from gradcheck.differences.counts import FEW
from gradcheck.differences.ladder import noise_multiplier
from gradcheck.differences.lengths import BETWEEN, FIRST_STEP, RATIO
from gradcheck.differences.sampled_noise import noise_and_jumps, noise_of_single
from gradcheck.differences.steps import DEFAULT_STEP
from gradcheck.functions.probe import Probe

__all__ = ["ZERO_LENGTH", "best_length", "measure_noise_and_lengths", "widened"]

ZERO_LENGTH = 1.0
"""The length of an element in a leaf of zeros. No length is increased beyond it: a large constant in the function must not hide
what it does over the scale of one."""

SMALL = FIRST_STEP / BETWEEN * ZERO_LENGTH
"""Elements below this are smaller than weights usually are, and than steps of zeros: only for them calls are spent on a longer scale."""


def measure_noise_and_lengths(
    probe: Probe, base: Floats, lengths: dict[int, Floats], rtol: float, rng: np.random.Generator, *, far: bool = True
) -> tuple[Floats, Bools, dict[int, Floats]]:
    """Measure the noise of the functions, and how far the elements of each leaf may be moved.

    Parameters
    ----------
    far : bool
        Whether to look for jumps far away too.

    Returns
    -------
    noise : array, shape (K,)
    jumps : array of bool, shape (K,)
        See `gradcheck.differences.sampled_noise.noise_and_jumps`.
    lengths : dict
        Of each leaf, see `widened`.
    """
    noise, jumps = noise_and_jumps(probe, base, lengths, rng, far=far)
    small, are_small = _hidden_noise(probe, base, lengths, rng, far=far)
    hidden, jumps = np.maximum(noise, small), jumps | are_small
    longer = {leaf: widened(probe, leaf, own, base, hidden, rtol, rng) for leaf, own in lengths.items()}
    changed = {leaf: longer[leaf] for leaf in lengths if longer[leaf] is not lengths[leaf]}
    if changed:  # with the former lengths the function may not have shown its noise
        more, are_more = noise_and_jumps(probe, base, changed, rng, far=far)
        noise, jumps = np.maximum(hidden, more), jumps | are_more
    return noise, jumps, longer


def _hidden_noise(
    probe: Probe, base: Floats, lengths: dict[int, Floats], rng: np.random.Generator, *, far: bool
) -> tuple[Floats, Bools]:
    """Return the noise that small elements show when moved farther, if it consists of jumps or is that of single precision inside.

    Over moves in proportion to the elements such functions do not change at all, and show no noise.
    """
    small = {leaf: own for leaf, own in lengths.items() if ((own > 0) & (own < SMALL)).any()}
    if not small:
        return np.zeros_like(base), np.zeros(base.shape, dtype=bool)
    wide = {leaf: np.where(own > 0, np.maximum(own, ZERO_LENGTH), 0.0) for leaf, own in small.items()}
    noise, jumps = noise_and_jumps(probe, base, wide, rng, far=far)
    return np.where(jumps | (noise <= noise_of_single(probe, base, list(small))), noise, 0.0), jumps


def widened(
    probe: Probe, leaf: int, lengths: Floats, base: Floats, noise: Floats, rtol: float, rng: np.random.Generator
) -> Floats:
    """Increase the lengths of elements if noise hides the effect of steps in proportion to them.

    Parameters
    ----------
    lengths : array, shape (n,)
        The usual lengths, see `gradcheck.differences.lengths.lengths_of`; zero for elements that are held fixed.
    rtol : float
        The relative error that matters.

    Returns
    -------
    lengths : array, shape (n,)
        At least as long; increased ones are at most `ZERO_LENGTH`.

    Notes
    -----
    Costs no calls if noise, relative to the value, hides less than the tolerance at the longest step: so for lengths above 0.1
    in single precision, and above 1e-3 in double precision if the gradient is as small. Otherwise 2, and 2 more for each factor
    of eight by which the length grows. It grows while noise, rather than the change between two steps, limits what is seen.
    """
    multiplier = noise_multiplier(lengths.size)
    relative = float((multiplier * noise / np.abs(base)).max(initial=0.0))  # infinite where the value is zero
    # The gradient of small leaves may be as small as they are, as in a network with small weights throughout.
    reach = FIRST_STEP * lengths * np.where(lengths < SMALL, lengths, 1.0)
    short = np.flatnonzero((lengths > 0) & (lengths < ZERO_LENGTH) & (reach < relative / rtol))
    if not len(short) or not (noise > 0).any():
        return lengths
    chosen = rng.choice(short, size=min(FEW, len(short)), replace=False)
    direction = np.zeros_like(lengths)
    direction[chosen] = np.where(rng.random(len(chosen)) < 0.5, -1.0, 1.0) * rng.uniform(0.7, 1.0, len(chosen))
    length = _best_length_along(probe, leaf, direction, float(lengths[chosen].min()), multiplier * noise, rtol)
    result = lengths.copy()
    result[short] = np.maximum(lengths[short], length)
    return result


def _best_length_along(probe: Probe, leaf: int, direction: Floats, length: float, jitter: Floats, rtol: float) -> float:
    """Return the length, at least the given one, at which noise plus truncation of the slope along a direction is least."""
    # One factor since elements are screened with a shorter step; one for elements with a slope smaller by as much.
    enough = rtol * (DEFAULT_STEP / FIRST_STEP) ** 2

    def slope(step: float) -> tuple[Floats, Floats]:
        values = probe.ray({leaf: direction}, np.array([step, -step]))
        return (values[0] - values[1]) / (2 * step), jitter / step

    return best_length(lambda length: slope(FIRST_STEP * length), length, enough, RATIO)


def best_length(
    derivative: Callable[[float], tuple[Floats, Floats]], length: float, enough: float, amplified: float
) -> float:
    """Return the length at which noise plus truncation of a derivative is least, from the given one up to `ZERO_LENGTH`.

    Parameters
    ----------
    derivative : callable
        ``derivative(length) -> value, noise``, both of shape (K,).
    length : float
        The first length tried, in units of the parameters.
    enough : float
        No longer length is tried once the error is at most this share of the derivative.
    amplified : float
        The factor by which noise grows when the length is `RATIO` times shorter.
    """
    best, least = length, np.inf
    before: Floats | float = np.nan
    while True:
        value, blur = derivative(length)
        change = np.abs(value - before)
        truncation = np.where(np.isfinite(change), np.maximum(change - blur - blur * amplified, 0.0), 0.0)
        error, size = float(np.max(blur + truncation)), float(np.max(np.abs(value)))
        if not error < least:  # the function is undefined there, or truncation outweighs noise
            return best
        best, least, before = length, error, value
        if error <= enough * size or length >= ZERO_LENGTH:
            return best
        length = min(length * RATIO, ZERO_LENGTH)
