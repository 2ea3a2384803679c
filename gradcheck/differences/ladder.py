"""Derivatives with error bounds, from a ladder of symmetric steps, each shorter than the one before.

Central differences and gaps of one-sided slopes are extrapolated (Richardson; the error estimate is Ridders'), and the bound
of each level is made of truncation, noise and disagreement with finer levels. No claim is known here.

Sources: C. Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", Advances in Engineering Software 4 (1982);
P. Gill, W. Murray, M. Saunders and M. Wright, "Computing forward-difference intervals for numerical optimization",
SIAM Journal on Scientific and Statistical Computing 4 (1983).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Bools, Floats
from gradcheck.differences.counts import STAYS
from gradcheck.differences.lengths import CLOSEST, FIRST_STEP, RATIO, resolution_of
from gradcheck.differences.noise import DISAGREES, SAME_NOISE, SUSPICIOUS, ulp
from gradcheck.differences.tableau import at_level, extrapolate, settle
from gradcheck.differences.vectorized import elements
from gradcheck.functions.probe import Probe

__all__ = [
    "FEWEST_LEVELS",
    "HALF_PRECISION",
    "Ladder",
    "Measurement",
    "climb",
    "noise_multiplier",
]

Pair = tuple[Floats, Floats, Floats, Floats]
"""Displacements ahead and behind, shape (m,), and values there, shape (m, K)."""

HALF_PRECISION = float(np.finfo(np.float16).eps)
"""With an epsilon of at least this a dtype leaves room for few steps."""

FEWEST_LEVELS, MOST_LEVELS = 4, 16
"""Levels beyond the fourth are measured only for elements that have not settled: near kinks, poles, fast oscillation. The
sixteenth step is 1e-15 of an element's length, the resolution of float64; a gap that remains at `CLOSEST` counts as a kink."""

REPEATED = 0.8731
"""The step of one more pair, in units of the last step: there noise differs, and a resolved difference hardly changes."""

STEADY = 0.1
"""Slopes that grow from level to level, by the same factor to within this share, have no limit."""

NOISY = 1e-6
"""Noise, as a share of a difference, above which kinks are looked for in the gaps of one-sided slopes as well."""


def noise_multiplier(chances: int) -> float:
    """Return how many standard deviations of noise a bound allows for.

    ``sqrt(2 ln(n / 0.005))``: among ``n`` right elements the largest of ``n`` Gaussian errors stays below it in
    about 99.5 % of the checks, so a check of a thousand elements is as safe as one of ten.
    """
    return float(np.sqrt(2.0 * np.log(max(chances, 1) / 0.005)))


@dataclass(slots=True)
class Measurement:
    """Derivatives of ``K`` functions with respect to ``m`` elements.

    Attributes
    ----------
    value, bound : arrays, shape (m, K)
        The derivative lies within ``bound`` of ``value``. At a kink the interval holds both one-sided derivatives.
        An infinite bound says that nothing was established.
    noise : array, shape (m, K)
        The part of the bound that no shorter or longer step could remove.
    gap : array, shape (m, K)
        Right minus left derivative where they differ, else 0.
    curvature : array, shape (m, K)
        The second derivative, roughly.
    exhausted : array of bool, shape (m, K)
        Where noise keeps any shorter step from doing better.
    strays : array of bool, shape (m, K)
        Where differences with the longest steps do not converge as those of a smooth function do: there may be jumps or
        kinks between their points.
    ended : array of bool, shape (m, 1)
        Where there is no shorter step.
    """

    value: Floats
    bound: Floats
    noise: Floats
    gap: Floats
    curvature: Floats
    exhausted: Bools
    strays: Bools
    ended: Bools

    @property
    def kink(self) -> Bools:
        """Where left and right derivative differ."""
        return np.asarray(self.gap != 0)

    @classmethod
    def nothing(cls, elements: int, columns: int) -> Measurement:
        """Return a measurement in which nothing is known yet."""
        shape = (elements, columns)
        value, bound, noise, gap, curvature = (np.full(shape, number) for number in (np.nan, np.inf, np.inf, 0.0, 0.0))
        exhausted, ended = np.zeros(shape, dtype=bool), np.zeros((elements, 1), dtype=bool)
        return cls(value, bound, noise, gap, curvature, exhausted, ~exhausted, ended)

    @property
    def noise_limited(self) -> Bools:
        """Where a longer step may do better: noise limits the bound, and there is no kink."""
        return np.asarray(self.exhausted & ~self.kink & (SAME_NOISE * self.noise > self.bound))

    @property
    def unexplained(self) -> Bools:
        """Where neither noise nor a kink explains the bound."""
        return np.asarray(~self.kink & (SAME_NOISE * self.noise <= self.bound))

    def improve(self, rows: NDArray[np.intp], other: Measurement) -> None:
        """Replace the entries of some rows for which another measurement has a smaller bound and no kink."""
        better = (other.bound < self.bound[rows]) & ~other.kink
        for name in ("value", "bound", "noise", "curvature"):
            getattr(self, name)[rows] = np.where(better, getattr(other, name), getattr(self, name)[rows])

    def rows(self, rows: NDArray[Any]) -> Measurement:
        """Return a measurement of some rows."""
        return Measurement(*(getattr(self, name)[rows] for name in self.__slots__))

    def put(self, rows: NDArray[np.intp], part: Measurement) -> None:
        """Overwrite some rows."""
        for name in self.__slots__:
            getattr(self, name)[rows] = getattr(part, name)


@dataclass(slots=True)
class Ladder:
    """The values measured so far, one for each element, level and function, and what follows from them."""

    ahead: Floats  # (m, J): displacements as they came out in the leaf's dtype
    behind: Floats  # (m, J)
    plus: Floats  # (m, J, K)
    minus: Floats  # (m, J, K)
    base: Floats  # (K,)
    noise: Floats  # (K,)
    multiplier: float
    longer: int = 0  # how many of the levels are beyond the usual ones
    repeated: Pair | None = None  # one more pair, of nearly the last step

    def measure(self) -> Measurement:
        """Turn the values into derivatives with bounds."""
        ahead, behind = self.ahead[:, :, None], self.behind[:, :, None]
        h = (ahead + behind) / 2
        both = np.isfinite(self.plus) & np.isfinite(self.minus)
        central = np.where(both, (self.plus - self.minus) / (2 * h), np.nan)
        deviation = self._noise_deviation()
        shown = self._shown_noise(central, h, deviation)
        noise = self.multiplier * np.maximum(deviation, shown[:, None, :]) / h
        forward = np.where(np.isfinite(self.plus), (self.plus - self.base) / ahead, np.nan)
        backward = np.where(np.isfinite(self.minus), (self.base - self.minus) / behind, np.nan)

        shrink = h[:, :-1] / h[:, 1:]
        gaps = np.where(both, forward - backward, np.nan)
        gap, gap_bound, _, _ = settle(extrapolate(gaps, shrink), 4 * noise)
        sharp = np.isfinite(gap_bound) & (np.abs(gap) > DISAGREES * gap_bound)
        gap = np.where(sharp, gap, 0.0)
        allowance = np.where(sharp[:, None, :], 0.0, self._kink_allowance(gaps, shrink, noise, central))
        towards = extrapolate(central, shrink**2)
        value, bound, floor, level = settle(towards, noise, allowance)
        # The first extrapolation leaves up to 1/RATIO**2 of the truncation, a quarter of that for a smooth function.
        likely = np.abs(central[:, 0] - value) / (SAME_NOISE * RATIO**2) + noise[:, 1]
        strays = ~(np.abs(towards[:, 1] - value) <= likely)
        for side, other in ((forward, self.minus), (backward, self.plus)):
            # One-sided differences only where the other side is never finite: at the edge of the domain.
            edge = ~np.isfinite(other).any(axis=1)
            if not edge.any():
                continue
            sided = settle(extrapolate(extrapolate(side, shrink), shrink**2), 2 * noise)
            edge &= np.isfinite(sided[0])
            value, bound, floor, level = (
                np.where(edge, new, old) for new, old in zip(sided, (value, bound, floor, level), strict=True)
            )

        curvature = at_level(gaps / h, level)
        curvature = np.where(np.isfinite(curvature), curvature, 0.0)
        # The two steps of a pair differ by the rounding of x, and the central difference by that times f''.
        asymmetry = at_level(np.broadcast_to(np.abs(ahead - behind), gaps.shape), level) / 2
        bound = bound + np.abs(gap) / 2 + asymmetry * np.abs(curvature)
        diverges = self._diverges(forward, backward, noise)
        bound = np.where(diverges, np.inf, bound)
        gap = np.where(diverges & self._is_cusp(forward * ahead, backward * behind), gaps[:, -1], gap)
        exhausted = np.isfinite(bound) & (self.multiplier * deviation[:, -1] * RATIO / h[:, -1] > bound)
        exhausted &= self.is_central()
        return Measurement(value, bound, floor, gap, curvature, exhausted, strays, np.zeros((len(h), 1), dtype=bool))

    def is_central(self) -> Bools:
        """Where both sides are finite at some level; if not by the last level, the point is at the edge of a domain."""
        return np.asarray((np.isfinite(self.plus) & np.isfinite(self.minus)).any(axis=1))

    def _noise_deviation(self) -> Floats:
        """Return the standard deviation of the noise at each level, shape (m, J, K).

        The measured noise, or half a unit in the last place of the largest value there if that is more.
        """
        met = np.maximum(ulp(np.stack([self.plus, self.minus])), ulp(self.base[None]))
        return np.maximum(self.noise, met / 2)

    def _diverges(self, forward: Floats, backward: Floats, noise: Floats) -> Bools:
        """Tell where one-sided slopes grow like a power of the step, however short it is, shape (m, K): at a cusp or a jump."""
        size = np.fmax(np.abs(forward), np.abs(backward))[:, -3:]
        if size.shape[1] < 3:
            return np.zeros_like(size[:, 0], dtype=bool)
        growth = size[:, 1:] / size[:, :-1]
        steady = np.abs(growth[:, 1] / growth[:, 0] - 1) < STEADY
        return np.asarray((STAYS * growth > 1).all(axis=1) & steady & (size > 4 * noise[:, -3:]).all(axis=1))

    def _is_cusp(self, ahead: Floats, behind: Floats) -> Bools:
        """Tell where a divergence is a cusp, not a jump or a pole nearer than the last step, by the changes to both sides; shape (m, K).

        At a cusp the function rises or falls to both sides, by amounts that vanish with the step; at a pole they do not vanish.
        """
        rise, fall = ahead[:, -3:], -behind[:, -3:]
        size = np.maximum(np.abs(rise), np.abs(fall))
        shrinks = (size[:, 1:] < STAYS * size[:, :-1]).all(axis=1)
        return np.asarray((np.sign(rise) == np.sign(fall)).all(axis=1) & shrinks)

    def _kink_allowance(self, gaps: Floats, shrink: Floats, noise: Floats, central: Floats) -> Floats:
        """Return the uncertainty by kinks between two successive steps, shape (m, J, K); 0 where noise is negligible.

        Two differences that both cross kinks may agree by chance, and noise may forbid the shorter steps that would show it.
        Without kinks the gap between the one-sided slopes falls with the step; the excess is the uncertainty.
        """
        allowance = np.zeros_like(noise)
        excess = np.abs(gaps[:, 1:] - gaps[:, :-1] / shrink) / 2
        noisy = noise[:, 1:] > NOISY * np.maximum(np.abs(central[:, 1:]), np.abs(gaps[:, 1:]))
        allowance[:, 1:] = np.where(noisy, np.fmax(excess, 0.0), 0.0)
        return allowance

    def _shown_noise(self, central: Floats, h: Floats, deviation: Floats) -> Floats:
        """Return the noise that the finest levels show, shape (m, K); 0 where they show none.

        There the differences of a smooth function have converged, and their changes times the step are the noise. It may exceed
        the noise measured along one direction, up to a factor of `SUSPICIOUS`; by more, as beside a singularity, if a difference
        over nearly the last step differs by as much.
        """
        if central.shape[1] - self.longer <= FEWEST_LEVELS:
            return np.zeros_like(central[:, 0])
        shown = np.abs(np.diff(central[:, -4:], axis=1)) * h[:, -3:]
        largest = shown.max(axis=1)
        is_noise = largest <= SAME_NOISE**2 * shown.min(axis=1)  # each is the same noise as the next
        is_noise &= largest <= SUSPICIOUS * deviation[:, -1]
        if self.repeated is not None:
            ahead, behind, plus, minus = self.repeated
            step = (ahead + behind)[:, None] / 2
            again = np.abs((plus - minus) / (2 * step) - central[:, -1]) * step
            is_noise |= SAME_NOISE**2 * again >= largest
            largest = np.fmax(largest, again)
        return np.asarray(np.where(is_noise, largest, 0.0))


def climb(
    probe: Probe,
    leaf: int,
    indices: NDArray[np.intp],
    lengths: Floats,
    base: Floats,
    noise: Floats,
    *,
    multiplier: float,
    rtol: float,
    first_step: float = FIRST_STEP,
    is_smooth: Callable[[], bool] = lambda: False,
) -> Measurement:
    """Differentiate with respect to some elements of one leaf.

    Parameters
    ----------
    indices, lengths : arrays of shape (m,)
        The elements of the leaf, and the units of their steps.
    multiplier : float
        How many standard deviations of noise a bound allows for.
    rtol : float
        An element has settled when its relative bound is a third of this.
    first_step : float
        The longest step, in units of ``lengths``.
    is_smooth : callable
        Returns whether the functions are smooth over longer steps, so that two of these give the truncation error. Called at most
        once, and only if noise limits some bound.

    Returns
    -------
    Measurement

    Notes
    -----
    Costs eight calls an element, and two more for every further level. If noise alone limits the bound, two for one longer step, or
    four for two if ``is_smooth`` holds, beside what that costs; in half precision two if it holds. Two if nothing explains the bound;
    two for every factor of eight by which the edge of the domain is nearer than the first step.
    """
    count, columns = len(indices), len(base)
    result = Measurement.nothing(count, columns)
    if not count:
        return result
    half = probe.point.leaves[leaf].format.eps >= HALF_PRECISION
    if half:
        first_step *= RATIO  # or the dtype leaves no room for shorter ones
    steps, first = _first_pairs(probe, leaf, indices, lengths * first_step, noise)
    pairs = _Pairs(count, columns, base, noise, multiplier)
    pairs.put(np.arange(count), 0, first)
    active, coarse = np.arange(count), np.zeros(count, dtype=bool)
    resolution = resolution_of(probe, leaf, indices)
    for level in range(1, MOST_LEVELS):
        ended = steps[active] * RATIO**-level <= resolution[active]
        result.ended[active[ended]] = True
        active = active[~ended]
        if not len(active):
            break
        pairs.put(active, level, _pair(probe, leaf, indices[active], steps[active] * RATIO**-level, noise))
        if level + 2 < FEWEST_LEVELS:
            continue
        ladder = pairs.ladder(active, level + 1)
        part = ladder.measure()
        precise = (part.bound <= rtol / 3 * np.abs(part.value)) & ladder.is_central()
        matters = part.bound > rtol / 3 * np.abs(part.value).max(axis=1, initial=0.0, keepdims=True)
        limited = part.noise_limited & ~precise & matters
        coarse[active] = limited.any(axis=1)
        if level + 1 < FEWEST_LEVELS:  # too early to settle, unless noise hides all that shorter steps would show
            settled = limited.all(axis=1) & (not half)
        else:
            kink = part.kink & (steps[active] * RATIO**-level <= CLOSEST * lengths[active])[:, None]
            settled = (part.exhausted | precise | kink).all(axis=1)
        result.put(active, part)
        active = active[~settled]
    short = np.flatnonzero((pairs.levels < FEWEST_LEVELS) & ~coarse)
    if len(short):  # the edge is so near, or the dtype so coarse, that there are fewer levels
        result.put(short, pairs.ladder(short, FEWEST_LEVELS - 1).measure())
    wide = coarse & (steps == lengths * first_step)
    # Two longer steps show the error of the longest, unless both cross kinks; with half precision the longest is there already.
    factors = [] if half else [RATIO]
    if wide.any() and is_smooth():
        factors.append(RATIO ** (-1 / 3 if half else 2 / 3))
    for climbed in np.unique(pairs.levels[wide]) if factors else ():
        rows = np.flatnonzero(wide & (pairs.levels == climbed))
        longer = [_pair(probe, leaf, indices[rows], steps[rows] * factor, noise) for factor in factors]
        result.improve(rows, pairs.ladder(rows, climbed, longer, after=int(half)).measure())
    matters = np.isfinite(result.bound) & (result.bound > rtol / 3 * np.abs(result.value))
    unclear = (result.unexplained & matters).any(axis=1)
    unclear &= result.ended.any(axis=1) | (pairs.levels == MOST_LEVELS)
    for climbed in np.unique(pairs.levels[unclear]):
        rows = np.flatnonzero(unclear & (pairs.levels == climbed))
        again = _pair(probe, leaf, indices[rows], steps[rows] * REPEATED * RATIO ** (1 - climbed), noise)
        result.improve(rows, replace(pairs.ladder(rows, climbed), repeated=again).measure())
    return result


class _Pairs:
    """The values measured so far for all elements: NaN for levels that an element has not reached."""

    def __init__(self, count: int, columns: int, base: Floats, noise: Floats, multiplier: float) -> None:
        self.base, self.noise, self.multiplier = base, noise, multiplier
        self.levels = np.zeros(count, dtype=int)
        shapes = [(count, MOST_LEVELS)] * 2 + [(count, MOST_LEVELS, columns)] * 2
        self.parts = [np.full(shape, np.nan) for shape in shapes]

    def put(self, rows: NDArray[np.intp], level: int, pair: Pair) -> None:
        """Add one level to some elements."""
        self.levels[rows] = level + 1
        for part, new in zip(self.parts, pair, strict=True):
            part[rows, level] = new

    def ladder(self, rows: NDArray[np.intp], levels: int, longer: Sequence[Pair] = (), after: int = 0) -> Ladder:
        """Return the ladder of some elements on their first levels, with further pairs inserted after the first ``after`` levels."""
        parts = [part[rows, :levels] for part in self.parts]
        for pair in longer[::-1]:
            parts = [
                np.concatenate([part[:, :after], new[:, None], part[:, after:]], axis=1)
                for new, part in zip(pair, parts, strict=True)
            ]
        return Ladder(parts[0], parts[1], parts[2], parts[3], self.base, self.noise, self.multiplier, len(longer))


def _pair(probe: Probe, leaf: int, indices: NDArray[np.intp], steps: Floats, noise: Floats) -> Pair:
    """Evaluate one step on both sides: displacements ahead and behind, shape (m,), and values there, shape (m, K)."""
    both = np.stack([steps, -steps], axis=1).ravel()
    values, moved = elements(probe, leaf, np.repeat(indices, 2), both, noise)
    return moved[::2], -moved[1::2], values[::2], values[1::2]


def _first_pairs(
    probe: Probe, leaf: int, indices: NDArray[np.intp], steps: Floats, noise: Floats
) -> tuple[Floats, Pair]:
    """Shorten the first step of each element until the functions are finite on both sides.

    If they never are, at the very edge of the domain, the first step is kept.
    """
    kept = _pair(probe, leaf, indices, steps, noise)
    at_zero = probe.point.leaves[leaf].value.ravel()[indices] == 0  # which is resolved to 1e-323
    shortest = np.where(at_zero, steps * RATIO**-MOST_LEVELS, resolution_of(probe, leaf, indices))
    steps, trial = steps.copy(), steps.copy()
    waiting = np.flatnonzero(~_are_finite(kept))
    while len(waiting := waiting[trial[waiting] / RATIO > shortest[waiting]]):
        trial[waiting] /= RATIO
        tried = _pair(probe, leaf, indices[waiting], trial[waiting], noise)
        finite = _are_finite(tried)
        found, waiting = waiting[finite], waiting[~finite]
        steps[found] = trial[found]
        for part, new in zip(kept, tried, strict=True):
            part[found] = new[finite]
    return steps, kept


def _are_finite(pair: Pair) -> Bools:
    """Tell for which elements all functions are finite on both sides, shape (m,)."""
    return np.asarray((np.isfinite(pair[2]) & np.isfinite(pair[3])).all(axis=1))
