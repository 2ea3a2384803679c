"""How far elements may be moved where their own size is too small a step for the noise of the function.

The size of an element is the first guess of the scale over which the function changes with it. That of a bias after one
small step from zero is no guide: a step in proportion to it drowns in noise. Such elements are moved farther, up to the
step that a zero would get, as long as the function is seen to be smooth over that range.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradcheck.aliases import Bools, Floats
from gradcheck.differences.counts import FEW
from gradcheck.differences.ladder import noise_multiplier
from gradcheck.differences.lengths import FIRST_STEP, RATIO
from gradcheck.differences.sampled_noise import most_of_single, noise_and_jumps
from gradcheck.differences.steps import DEFAULT_STEP
from gradcheck.functions.probe import Probe

__all__ = ["ZERO_LENGTH", "measure_noise_and_lengths", "reach_of", "widened"]

SMALL = 1e-2
"""Below what weights usually are: to look how far they may be moved takes calls for every leaf."""

ZERO_LENGTH = 1.0
"""The length of an element that is exactly zero, in a leaf of zeros. Nothing is lengthened beyond it, whatever the size of the
others: what a function does over the scale of one must not be passed over because a large constant hides it."""


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
    if changed:  # by their own sizes they were moved too little for the function to show its noise
        more, are_more = noise_and_jumps(probe, base, changed, rng, far=far)
        noise, jumps = np.maximum(hidden, more), jumps | are_more
    return noise, jumps, longer


def _hidden_noise(
    probe: Probe, base: Floats, lengths: dict[int, Floats], rng: np.random.Generator, *, far: bool
) -> tuple[Floats, Bools]:
    """Return the noise that small elements show when they are moved farther, where it is of jumps or of single precision inside.

    Moved by their own sizes such functions do not change at all, and show none.
    """
    small = {leaf: own for leaf, own in lengths.items() if ((own > 0) & (own < SMALL)).any()}
    if not small:
        return np.zeros_like(base), np.zeros(base.shape, dtype=bool)
    wide = {leaf: np.where(own > 0, np.maximum(own, ZERO_LENGTH), 0.0) for leaf, own in small.items()}
    noise, jumps = noise_and_jumps(probe, base, wide, rng, far=far)
    return np.where(jumps | (noise <= most_of_single(probe, base, list(small))), noise, 0.0), jumps


def widened(
    probe: Probe, leaf: int, lengths: Floats, base: Floats, noise: Floats, rtol: float, rng: np.random.Generator
) -> Floats:
    """Lengthen the scale of elements whose own is hidden by noise.

    Parameters
    ----------
    lengths : array, shape (n,)
        The scale of each element by its own size, see `gradcheck.differences.lengths.lengths_of`; zero for those that stand still.
    rtol : float
        The relative error that matters.

    Returns
    -------
    lengths : array, shape (n,)
        At least as long; what was lengthened is no longer than one.

    Notes
    -----
    No calls where noise, relative to the value, hides less than the tolerance at the longest step: that is beyond lengths of 0.1
    in single precision, and of 1e-3 in double precision where the gradient is as small as they. Otherwise 2, and 2 more for each
    factor of eight by which the length grows. It grows while noise, and not the difference between two steps, limits what is seen.
    """
    multiplier = noise_multiplier(lengths.size)
    relative = float((multiplier * noise / np.abs(base)).max(initial=0.0))  # infinite where the value is zero
    # The gradient of small leaves may be as small as they, as in a network all of whose weights are.
    reach = FIRST_STEP * lengths * np.where(lengths < SMALL, lengths, 1.0)
    short = np.flatnonzero((lengths > 0) & (lengths < ZERO_LENGTH) & (reach < relative / rtol))
    if not len(short) or not (noise > 0).any():
        return lengths
    chosen = rng.choice(short, size=min(FEW, len(short)), replace=False)
    direction = np.zeros_like(lengths)
    direction[chosen] = np.where(rng.random(len(chosen)) < 0.5, -1.0, 1.0) * rng.uniform(0.7, 1.0, len(chosen))
    length = _reach(probe, leaf, direction, float(lengths[chosen].min()), multiplier * noise, rtol)
    result = lengths.copy()
    result[short] = np.maximum(lengths[short], length)
    return result


def _reach(probe: Probe, leaf: int, direction: Floats, length: float, jitter: Floats, rtol: float) -> float:
    """Return the length, at least the given one, at which noise and truncation of the slope are least together along a direction."""
    # Once for the step with which elements are screened, a share of this one; once for elements whose own slope is as
    # much smaller than that of the sampled ones together.
    enough = rtol * (DEFAULT_STEP / FIRST_STEP) ** 2

    def slope(step: float) -> tuple[Floats, Floats]:
        values = probe.ray({leaf: direction}, np.array([step, -step]))
        return (values[0] - values[1]) / (2 * step), jitter / step

    return reach_of(lambda length: slope(FIRST_STEP * length), length, enough, RATIO)


def reach_of(
    derivative: Callable[[float], tuple[Floats, Floats]], length: float, enough: float, amplified: float
) -> float:
    """Return the length at which noise and truncation of a derivative are least together, tried from the given one up to `ZERO_LENGTH`.

    Parameters
    ----------
    derivative : callable
        ``derivative(length) -> value, noise``, both of shape (K,).
    length : float
        The first one that is tried, in units of the parameters.
    enough : float
        A length is not left when the error there is this share of the derivative, or less.
    amplified : float
        By how much noise grows when the length is `RATIO` times shorter.
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
