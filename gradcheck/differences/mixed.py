"""Second derivatives: mixed differences at shorter and shorter steps, extrapolated.

For elements ``i`` and ``j`` and steps ``a`` and ``b`` along them

    [f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)] / (4 |a| |b|)

is the mixed derivative up to even powers of the step, which Richardson extrapolation removes one by one. On the
diagonal that is ``[f(x + 2a) - 2 f(x) + f(x - 2a)] / (4 |a|**2)``. Displacements are taken as rounded to the elements' dtype, so that
the rounding shifts the middle of a difference and adds no multiple of the slope.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gradcheck.aliases import Bools, Floats
from gradcheck.differences.counts import STAYS
from gradcheck.differences.ladder import FEWEST_LEVELS, MOST_LEVELS, REPEATED, noise_multiplier
from gradcheck.differences.lengths import BETWEEN, lengths_of
from gradcheck.differences.lengths import FIRST_STEP as LADDER_STEP
from gradcheck.differences.lengths import RATIO as LADDER_RATIO
from gradcheck.differences.noise import ulp
from gradcheck.differences.scale import ZERO_LENGTH, best_length, measure_noise_and_lengths
from gradcheck.differences.tableau import extrapolate, settle
from gradcheck.differences.vectorized import require_rowwise
from gradcheck.functions.displacements import Moves
from gradcheck.functions.probe import Probe

__all__ = ["FIRST_STEP", "SECOND_STEP", "MixedDifferences", "SecondDerivatives"]

RATIO = BETWEEN
"""Each step is this many times shorter than the one before; less than for first derivatives, since noise grows with the square."""

FIRST_STEP = LADDER_STEP * LADDER_RATIO
"""The longest step, in units of the element's length; longer than for first derivatives, since a second difference has few digits."""

SECOND_STEP = FIRST_STEP * REPEATED
"""The longest step of a second measurement, at other points."""


class SecondDerivatives(NamedTuple):
    """Second derivatives by ``m`` pairs of elements, arrays of shape (m, 1).

    Attributes
    ----------
    value, bound : arrays
        The derivative lies within ``bound`` of ``value``; NaN and infinity where nothing was established, as at kinks.
    noise : array
        The part of the bound that is noise.
    exhausted : array of bool
        Where noise keeps any shorter step from doing better.
    """

    value: Floats
    bound: Floats
    noise: Floats
    exhausted: Bools


class MixedDifferences:
    """Second differences of one function with respect to all elements, with its noise and the lengths of the elements.

    Attributes
    ----------
    size : int
        The number ``n`` of elements of all leaves.
    lengths : array, shape (n,)
    noise : float
        The standard deviation of the noise of the function.
    steepest : float
        The largest slope measured so far.
    """

    def __init__(self, probe: Probe, base: Floats, rtol: float) -> None:
        self.probe = probe
        self.base = base
        self.rtol = rtol
        leaves = probe.point.leaves
        self.free = [i for i, leaf in enumerate(leaves) if leaf.is_differentiable]
        self.ends = np.cumsum([0, *(leaves[i].value.size for i in self.free)])
        self.size = int(self.ends[-1])
        self.x = np.concatenate([leaves[i].value.ravel().astype(np.float64) for i in self.free])
        self.formats = [leaves[i].format for i in self.free for _ in range(leaves[i].value.size)]
        self.multiplier = noise_multiplier(self.size**2)
        self.steepest = 0.0
        self.lengths = np.concatenate([lengths_of(leaves[i].value) for i in self.free])
        self.noise = 0.0

    def prepare(self, rng: np.random.Generator) -> None:
        """Measure the noise and the lengths."""
        noise, _, longer = measure_noise_and_lengths(self.probe, self.base, self._moves(self.lengths), self.rtol, rng)
        self.noise, self.lengths = float(noise[0]), np.concatenate([np.zeros(0), *longer.values()])
        for a, b in zip(self.ends, self.ends[1:], strict=False):
            self.lengths[a:b] = self._widened(slice(a, b), rng)
        # Powers of two, so that products with steps of few bits are exact in every dtype.
        self.lengths = np.exp2(np.floor(np.log2(self.lengths)))
        require_rowwise(self.probe, self._moves(self.lengths), noise, rng)

    def _widened(self, leaf: slice, rng: np.random.Generator) -> Floats:
        """Increase the lengths of small elements if noise hides their second derivatives, as far as the function is smooth."""
        own = self.lengths[leaf]
        short = (own > 0) & (own < ZERO_LENGTH)
        if not np.any(short):
            return own
        direction = np.zeros_like(self.lengths)
        direction[leaf] = np.where(short, rng.choice([-1.0, 1.0], len(own)), 0.0) / np.sqrt(np.count_nonzero(short))
        moves, held, far = self._moves(direction), self.formats[leaf.start], np.max(np.abs(self.x[leaf]))

        def bend(length: float) -> tuple[Floats, Floats]:
            step = FIRST_STEP * length
            values = self.probe.ray(moves, np.array([step, -step]))
            rounding = np.abs(values[0] - values[1]) / step * held.spacing(far + step)
            blur = self.multiplier * np.hypot(4 * self.noise, rounding)
            return (values[0] - 2 * self.base + values[1]) / step**2, blur / step**2

        length = best_length(bend, float(np.min(own[short])), self.rtol, LADDER_RATIO**2)
        return np.where(short, np.maximum(own, length), own)

    def measure(self, pairs: Sequence[tuple[int, int]], first_step: float) -> SecondDerivatives:
        """Differentiate with respect to pairs of elements; only for the first ones if the budget is exhausted.

        Costs four calls a pair and step, two on the diagonal; four steps, more for pairs that have not settled.
        """
        steps = _of_few_bits(first_step * RATIO ** -np.arange(MOST_LEVELS, dtype=np.float64))
        table, measured = np.full((3, len(pairs), MOST_LEVELS, 1), np.nan), 0
        with self.probe.budget.until_exhausted():
            for row, pair in enumerate(pairs):
                table[:, row, :FEWEST_LEVELS, 0] = self._differences(pair, steps[:FEWEST_LEVELS])
                measured = row + 1
        found = _extrapolated(table[:, :measured, :FEWEST_LEVELS])
        active = np.arange(measured)
        with self.probe.budget.until_exhausted():
            for level in range(FEWEST_LEVELS, MOST_LEVELS):
                value, bound, _, exhausted = (part[active, 0] for part in found)
                active = active[~((bound <= self.rtol / 3 * np.abs(value)) | exhausted)]
                for row in active:
                    table[:, row, level, 0] = self._differences(pairs[row], steps[level : level + 1])[:, 0]
                for part, new in zip(found, _extrapolated(table[:, active, : level + 1]), strict=True):
                    part[active] = new
        return found

    def _differences(self, pair: tuple[int, int], steps: Floats) -> Floats:
        """Return second differences, bounds on the noise in each, and the squares of their steps; shape (3, L)."""
        i, j = pair
        a, b = np.zeros(self.size), np.zeros(self.size)
        a[i], b[j] = self.lengths[i], self.lengths[j]
        both = np.stack([steps, -steps], axis=1).ravel()
        along = self.probe.ray(self._moves(a + b), both).reshape(-1, 2)
        unit = (
            max(1.0, self.probe.output.eps / float(np.finfo(np.float64).eps)) / 2
        )  # values farther away may be larger
        spread = np.maximum(self.noise, unit * ulp(along.T))
        if i == j:
            ahead, behind = self._displaced(i, 2 * steps)
            forward, backward = (along[:, 0] - self.base) / ahead, (self.base - along[:, 1]) / behind
            slopes = np.abs(forward + backward) / 2
            self.steepest = max(self.steepest, float(np.max(slopes, where=np.isfinite(slopes), initial=0.0)))
            area, change = ((ahead + behind) / 2) ** 2, (forward - backward) * (ahead + behind) / 2
        else:
            across = self.probe.ray(self._moves(a - b), both).reshape(-1, 2)
            spread = np.maximum(spread, unit * ulp(across.T))
            change = along.sum(axis=1) - across.sum(axis=1)
            area = np.prod([np.add(*self._displaced(k, steps)) for k in pair], axis=0)
        # The squared weights add up to 6 on the diagonal (1, -2, 1) and to 4 off it: at most 2.5 standard deviations of a value.
        return np.array([change / area, self.multiplier * 2.5 * spread / area, area])

    def _displaced(self, i: int, steps: Floats) -> tuple[Floats, Floats]:
        """Return the displacements of an element up and down, as rounded to its dtype."""
        moves, held = self.lengths[i] * steps, self.formats[i]
        return held.rounded(self.x[i] + moves) - self.x[i], self.x[i] - held.rounded(self.x[i] - moves)

    def _moves(self, vector: Floats) -> Moves:
        """Divide a move of all elements into those of the leaves, without leaves that do not move."""
        parts = {leaf: vector[a:b] for leaf, a, b in zip(self.free, self.ends, self.ends[1:], strict=False)}
        return {leaf: part for leaf, part in parts.items() if np.any(part)}


def _extrapolated(table: Floats) -> SecondDerivatives:
    """Extrapolate to a step of zero. Only levels at which the values converge count: at a kink they grow."""
    second, noise, area = table
    shrink = area[:, :-1] / area[:, 1:]
    better = extrapolate(extrapolate(second, shrink), shrink**2)
    value, bound, blur, _ = settle(better, noise, np.where(_converges(second, noise), 0.0, np.inf))
    is_known = np.isfinite(bound)
    return SecondDerivatives(
        np.where(is_known, value, np.nan), bound, blur, is_known & (bound < RATIO**2 * noise[:, -1])
    )


def _converges(sequence: Floats, noise: Floats) -> Bools:
    """Tell at which levels the change from the level before is smaller than the change before that, beyond noise; shape (m, J, K)."""
    changes = np.abs(np.diff(sequence, axis=1))
    nearer = changes[:, 1:] <= STAYS * changes[:, :-1] + noise[:, 2:] + noise[:, 1:-1]
    never = np.zeros((len(sequence), 1, 1), dtype=bool)
    return np.concatenate([never, nearer[:, :1], nearer], axis=1)


def _of_few_bits(numbers: Floats) -> Floats:
    """Round numbers to six bits: bfloat16 has eight, so that products with powers of two are exact in every dtype."""
    fraction, exponent = np.frexp(numbers)
    return np.asarray(np.ldexp(np.rint(64 * fraction) / 64, exponent))
