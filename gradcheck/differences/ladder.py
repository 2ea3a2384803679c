"""Finite differences that know their error.

For one element a ladder of symmetric steps gives central differences and second differences; both sequences are
extrapolated (Richardson; the error estimate is Ridders') and every level gets a bound made of truncation, noise and
what the finer levels say. Nothing here ever sees the gradient that is being checked.

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
from gradcheck.differences.lengths import CLOSEST, FIRST_STEP, RATIO, resolution_of
from gradcheck.differences.noise import SAME_NOISE, SUSPICIOUS, ulp
from gradcheck.differences.tableau import at_level, extrapolate, settle
from gradcheck.differences.vectorized import elements
from gradcheck.functions.probe import Probe

__all__ = [
    "FEWEST_LEVELS",
    "HALF_PRECISION",
    "KINK_SIGNIFICANCE",
    "NOISE_LIMITED",
    "Ladder",
    "Measurement",
    "climb",
    "noise_multiplier",
]

Pair = tuple[Floats, Floats, Floats, Floats]
"""Displacements ahead and behind, shape (m,), and values there, shape (m, K)."""

HALF_PRECISION = float(np.finfo(np.float16).eps)
"""An epsilon no smaller leaves room for few steps."""

FEWEST_LEVELS, MOST_LEVELS = 4, 16
"""Levels beyond the fourth are climbed only by elements that have not settled: near kinks, poles, fast oscillation. The
sixteenth step is 1e-15 of an element's length, the resolution of float64; a gap that is still there at `CLOSEST` is taken
for a kink."""

REPEATED = 0.8731
"""The step of the repetition, in units of the last one: noise takes another value there, and a resolved difference hardly changes."""

GROWS, STEADY = 1.15, 0.1
"""Slopes that grow by more than this factor from level to level, by the same to within this share, have no limit."""

NOISE_LIMITED = 0.3
"""Share of the bound from which noise limits it, so that a step longer than the first one may do better."""

NOISY = 1e-6
"""Noise, as a share of a difference, from which kinks are looked for in the second differences as well."""

JITTER_SPREAD = 30.0
"""Three successive differences this close, each times its step, are noise: truncation shrinks by 512 a level."""

KINK_SIGNIFICANCE = 3.0
"""A gap between the one-sided slopes counts when it is this many times its own bound."""


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
        Where differences with the longest steps do not converge as those of a smooth function: there may be jumps or
        kinks between them.
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
        """Return a measurement in which nothing is established yet."""
        shape = (elements, columns)
        value, bound, noise, gap, curvature = (np.full(shape, number) for number in (np.nan, np.inf, np.inf, 0.0, 0.0))
        exhausted, ended = np.zeros(shape, dtype=bool), np.zeros((elements, 1), dtype=bool)
        return cls(value, bound, noise, gap, curvature, exhausted, ~exhausted, ended)

    @property
    def noise_limited(self) -> Bools:
        """Where a longer step may do better: noise is what keeps the bound up, and there is no kink."""
        return np.asarray(self.exhausted & ~self.kink & (self.noise > NOISE_LIMITED * self.bound))

    @property
    def unexplained(self) -> Bools:
        """Where neither noise nor a kink is what keeps the bound up."""
        return np.asarray(~self.kink & (self.noise <= NOISE_LIMITED * self.bound))

    def improve(self, rows: NDArray[np.intp], other: Measurement) -> None:
        """Take those entries of some rows of which another measurement knows more."""
        better = (other.bound < self.bound[rows]) & ~other.kink
        for name in ("value", "bound", "noise", "curvature"):
            getattr(self, name)[rows] = np.where(better, getattr(other, name), getattr(self, name)[rows])

    def rows(self, rows: NDArray[Any]) -> Measurement:
        """Return some rows, as a measurement of its own."""
        return Measurement(*(getattr(self, name)[rows] for name in self.__slots__))

    def put(self, rows: NDArray[np.intp], part: Measurement) -> None:
        """Overwrite some rows."""
        for name in self.__slots__:
            getattr(self, name)[rows] = getattr(part, name)


@dataclass(slots=True)
class Ladder:
    """The values met while climbing down: one entry per element, level and cotangent."""

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
        jitter = self._jitter(central, h, deviation)
        noise = self.multiplier * np.maximum(deviation, jitter[:, None, :]) / h
        forward = np.where(np.isfinite(self.plus), (self.plus - self.base) / ahead, np.nan)
        backward = np.where(np.isfinite(self.minus), (self.base - self.minus) / behind, np.nan)

        shrink = h[:, :-1] / h[:, 1:]
        bend = np.where(both, forward - backward, np.nan)
        gap, gap_bound, _, _ = settle(extrapolate(bend, shrink), 4 * noise)
        sharp = np.isfinite(gap_bound) & (np.abs(gap) > KINK_SIGNIFICANCE * gap_bound)
        gap = np.where(sharp, gap, 0.0)
        crossing = np.where(sharp[:, None, :], 0.0, self._crossing(bend, shrink, noise, central))
        towards = extrapolate(central, shrink**2)
        value, bound, floor, level = settle(towards, noise, crossing)
        # The first extrapolation leaves up to 1/RATIO**2 of the truncation; a smooth function stays within a quarter of
        # that.
        likely = np.abs(central[:, 0] - value) / (SAME_NOISE * RATIO**2) + noise[:, 1]
        strays = ~(np.abs(towards[:, 1] - value) <= likely)
        for side, other in ((forward, self.minus), (backward, self.plus)):
            # One-sided only where the other side never was finite: at the edge of the domain.
            edge = ~np.isfinite(other).any(axis=1)
            if not edge.any():
                continue
            sided = settle(extrapolate(extrapolate(side, shrink), shrink**2), 2 * noise)
            edge &= np.isfinite(sided[0])
            value, bound, floor, level = (
                np.where(edge, new, old) for new, old in zip(sided, (value, bound, floor, level), strict=True)
            )

        curvature = at_level(bend / h, level)
        curvature = np.where(np.isfinite(curvature), curvature, 0.0)
        # The two steps of a pair differ by the rounding of x, and the central difference by that times f''.
        asymmetry = at_level(np.broadcast_to(np.abs(ahead - behind), bend.shape), level) / 2
        bound = bound + np.abs(gap) / 2 + asymmetry * np.abs(curvature)
        diverges = self._diverges(forward, backward, noise)
        bound = np.where(diverges, np.inf, bound)
        gap = np.where(diverges & self._is_cusp(forward * ahead, backward * behind), bend[:, -1], gap)
        exhausted = np.isfinite(bound) & (self.multiplier * deviation[:, -1] * RATIO / h[:, -1] > bound)
        exhausted &= self.is_central()
        return Measurement(value, bound, floor, gap, curvature, exhausted, strays, np.zeros((len(h), 1), dtype=bool))

    def is_central(self) -> Bools:
        """Where both sides are finite at some level. Elsewhere only the last level tells the edge of a domain."""
        return np.asarray((np.isfinite(self.plus) & np.isfinite(self.minus)).any(axis=1))

    def _noise_deviation(self) -> Floats:
        """Return the standard deviation of the noise at each level, shape (m, J, K).

        The measured noise, or half a unit in the last place of the largest value met there if that is more.
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
        return np.asarray((growth > GROWS).all(axis=1) & steady & (size > 4 * noise[:, -3:]).all(axis=1))

    def _is_cusp(self, ahead: Floats, behind: Floats) -> Bools:
        """Tell a cusp from a jump, and a pole nearer than the last step, by the changes of value to both sides; shape (m, K).

        At a cusp both are up, or both down, and go to zero with the step; at a pole they go to what the function is at the point.
        """
        rise, fall = ahead[:, -3:], -behind[:, -3:]
        size = np.maximum(np.abs(rise), np.abs(fall))
        shrinks = (size[:, 1:] * GROWS < size[:, :-1]).all(axis=1)
        return np.asarray((np.sign(rise) == np.sign(fall)).all(axis=1) & shrinks)

    def _crossing(self, bend: Floats, shrink: Floats, noise: Floats, central: Floats) -> Floats:
        """Return what kinks between two successive steps may be worth, shape (m, J, K); 0 where noise is no matter.

        Two differences that both cross kinks may agree by luck, and noise forbids the shorter steps that would tell. The
        gap between the one-sided slopes shrinks with the step where there is no kink.
        """
        crossing = np.zeros_like(noise)
        excess = np.abs(bend[:, 1:] - bend[:, :-1] / shrink) / 2
        noisy = noise[:, 1:] > NOISY * np.maximum(np.abs(central[:, 1:]), np.abs(bend[:, 1:]))
        crossing[:, 1:] = np.where(noisy, np.fmax(excess, 0.0), 0.0)
        return crossing

    def _jitter(self, central: Floats, h: Floats, deviation: Floats) -> Floats:
        """Return the noise that the finest levels show, shape (m, K); 0 where it cannot be told.

        There the differences of a smooth function have converged, and what is left of them, times the step, is
        the noise. It may exceed what was measured along one direction, up to a factor of `SUSPICIOUS`; by more, as beside a
        singularity, where a difference over nearly the last step is another one by as much.
        """
        if central.shape[1] - self.longer <= FEWEST_LEVELS:
            return np.zeros_like(central[:, 0])
        jitter = np.abs(np.diff(central[:, -4:], axis=1)) * h[:, -3:]
        largest = jitter.max(axis=1)
        is_noise = largest <= JITTER_SPREAD * jitter.min(axis=1)
        is_noise &= largest <= SUSPICIOUS * deviation[:, -1]
        if self.repeated is not None:
            ahead, behind, plus, minus = self.repeated
            step = (ahead + behind)[:, None] / 2
            again = np.abs((plus - minus) / (2 * step) - central[:, -1]) * step
            is_noise |= JITTER_SPREAD * again >= largest
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
        Which elements of the leaf, and the units of their steps.
    multiplier : float
        How many standard deviations of noise a bound allows for.
    rtol : float
        An element has settled when its bound is a third of this, relatively.
    first_step : float
        The longest step, in units of ``lengths``.
    is_smooth : callable
        Returns whether the functions are smooth over steps longer than that one, so that two of them tell the truncation. Called at
        most once, and only if noise limits some bound.

    Returns
    -------
    Measurement

    Notes
    -----
    Costs eight calls of the function an element, and two more for every level that an unsettled one climbs further. Where noise alone
    limits the bound: two for one longer step, or four for two of them where ``is_smooth`` holds, beside what that costs. Two where nothing
    explains the bound; two for every factor of eight by which the edge of the domain is nearer than the first step.
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
        if level + 1 < FEWEST_LEVELS:  # too early to settle, but not to see that noise hides whatever comes
            settled = limited.all(axis=1) & (not half)
        else:
            kink = part.kink & (steps[active] * RATIO**-level <= CLOSEST * lengths[active])[:, None]
            settled = (part.exhausted | precise | kink).all(axis=1)
        result.put(active, part)
        active = active[~settled]
    short = np.flatnonzero((pairs.levels < FEWEST_LEVELS) & ~coarse)
    if len(short):  # so near an edge, or so coarse a dtype, that there are fewer levels
        result.put(short, pairs.ladder(short, FEWEST_LEVELS - 1).measure())
    wide = np.zeros_like(coarse) if half else coarse & (steps == lengths * first_step)
    # Two longer steps tell how far off the longest is, but for kinks, which both may cross.
    factors = [RATIO, RATIO ** (2 / 3)] if wide.any() and is_smooth() else [RATIO]
    for climbed in np.unique(pairs.levels[wide]):
        rows = np.flatnonzero(wide & (pairs.levels == climbed))
        longer = [_pair(probe, leaf, indices[rows], steps[rows] * factor, noise) for factor in factors]
        result.improve(rows, pairs.ladder(rows, climbed, longer).measure())
    matters = np.isfinite(result.bound) & (result.bound > rtol / 3 * np.abs(result.value))
    unclear = (result.unexplained & matters).any(axis=1)
    unclear &= result.ended.any(axis=1) | (pairs.levels == MOST_LEVELS)
    for climbed in np.unique(pairs.levels[unclear]):
        rows = np.flatnonzero(unclear & (pairs.levels == climbed))
        again = _pair(probe, leaf, indices[rows], steps[rows] * REPEATED * RATIO ** (1 - climbed), noise)
        result.improve(rows, replace(pairs.ladder(rows, climbed), repeated=again).measure())
    return result


class _Pairs:
    """The values met so far by all elements: NaN for levels that an element has not climbed to."""

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

    def ladder(self, rows: NDArray[np.intp], levels: int, longer: Sequence[Pair] = ()) -> Ladder:
        """Return what some elements met on their first levels, and at steps longer than those."""
        parts = [part[rows, :levels] for part in self.parts]
        for pair in longer[::-1]:
            parts = [np.concatenate([new[:, None], part], axis=1) for new, part in zip(pair, parts, strict=True)]
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

    Where they never are, at the very edge of the domain, the first step is kept.
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
