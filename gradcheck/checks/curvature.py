"""Second derivatives: measured with mixed differences, extrapolated, and compared with a claimed Hessian.

For elements ``i`` and ``j`` and steps ``a`` and ``b`` along them

    [f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)] / (4 |a| |b|)

is the mixed derivative up to even powers of the step, which Richardson extrapolation removes one by one. On the
diagonal that is ``[f(x + 2a) - 2 f(x) + f(x - 2a)] / (4 |a|**2)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.rule import Claim, Doubt, Judgement
from gradcheck.checks.check import Check
from gradcheck.checks.jacobians import JacobianClaimant
from gradcheck.differences.ladder import lengths_of, noise_multiplier
from gradcheck.differences.noise import ulp
from gradcheck.differences.steps import measure_noise
from gradcheck.differences.vectorized import require_rowwise
from gradcheck.errors import InvalidArgument
from gradcheck.functions.points import Output
from gradcheck.functions.probe import Probe
from gradcheck.reports.claims import Reading, Words

__all__ = ["HessianClaimant"]

Floats = NDArray[np.float64]

FIRST_STEP = 0.2971
"""The longest step, in units of the element's length; not a round number."""

SECOND_STEP = 0.7713 * FIRST_STEP
"""The ladder of a second measurement: other steps, other points."""

RATIO = 3.0
LEVELS, MOST_LEVELS = 5, 14
"""Steps that every entry gets, and as many as those get that have not settled: near kinks, fast oscillation."""

CONTRACTION = 0.9
"""Each value of a sequence that converges is nearer to the one before than that is to its own predecessor."""

VISIBLE = 1e-4
"""An entry is cleared where what could hide in it is no more than this share of the matrix's root mean square."""

UNAVOIDABLE = 100.0
"""Or so many times the noise at the longest step, which nobody can see through."""


class HessianClaimant(JacobianClaimant):
    """A scalar function and its matrix of second derivatives."""

    derivative = "hess"
    is_slope = False
    probe = Probe
    words = Words("the Hessian", "x.shape + x.shape")

    def output(self, value: Any) -> Output:
        """Require a single number."""
        output = Output.of(value, "f")
        if output.is_bare and output.size > 1 and output.leaves[0].value.shape == self.input.value.shape:
            raise InvalidArgument(
                f"f returned {output.size} numbers in the shape of x: that is a gradient, and a value was required; "
                "use check_jacobian(grad, hess, x)."
            )
        if output.size != 1 or not output.is_bare:
            raise InvalidArgument(f"f returned {output.size} numbers; a single number was required; return a scalar.")
        self.require_shape(self.input.value.shape * 2)
        return output

    def forecast(self, elements: int) -> int:
        """Return four calls an entry above the diagonal and two on it, for each step."""
        return 2 * LEVELS * elements**2 + 20

    def protocol(self, check: Check, cotangents: Floats, first: list[Reading]) -> None:
        """Check also that the claim is symmetric."""
        super().protocol(check, cotangents, first)
        size = self.input.value.size
        if 0 not in first[0].values:
            return
        claim = first[0].values[0].reshape(size, size)
        with np.errstate(all="ignore"):
            apart, larger = np.abs(claim - claim.T), np.maximum(np.abs(claim), np.abs(claim.T))
            excess = apart - check.rtol * larger - 1e4 * first[0].eps * np.max(larger, initial=0.0)
        if np.any(excess > 0):
            i, j = (int(k) for k in np.unravel_index(int(np.nanargmax(excess)), excess.shape))
            check.find(
                "not-symmetric",
                f"hess gives {claim[i, j]:.6g} for elements {i} and {j} of x, but {claim[j, i]:.6g} for {j} and {i}",
                where=self.entries.name,
                fatal=True,
            )

    def judge(
        self, probe: Probe, base: Floats, claims: dict[int, Claim], *, rtol: float, rng: np.random.Generator
    ) -> dict[int, Judgement]:
        """Measure every entry and compare it with its two claims."""
        return {leaf: _Bench(probe, base, claim, rtol, rng).judge() for leaf, claim in claims.items()}


class _Bench:
    """One measurement of a Hessian, next to what is claimed of it."""

    def __init__(self, probe: Probe, base: Floats, claim: Claim, rtol: float, rng: np.random.Generator) -> None:
        self.probe = probe
        self.base = base
        self.claim = claim
        self.rtol = rtol
        self.rng = rng
        self.x = probe.point.leaves[0].value.ravel()
        self.format = probe.point.leaves[0].format
        self.lengths = lengths_of(self.x)
        self.size = self.x.size
        self.slopes = np.zeros(self.size)
        self.multiplier = noise_multiplier(self.size**2)
        self.noise = 0.0
        self.least = np.zeros((self.size, self.size))

    def judge(self) -> Judgement:
        """Measure as far as ``max_evaluations`` goes, and decide."""
        found = Judgement.open(self.size**2, 1)
        pairs = [(i, i) for i in range(self.size)]
        pairs += [(i, j) for i in range(self.size) for j in range(i)]
        is_complete = False
        with self.probe.budget.until_exhausted():
            self.noise = float(measure_noise(self.probe, self.base, {0: self.lengths}, self.rng)[0])
            found.noise_of_f[:] = self.noise
            require_rowwise(self.probe, {0: self.lengths}, np.array([self.noise]), self.rng)
            for i, j in pairs:
                self._put(found, i, j, *self._measure(i, j, FIRST_STEP))
            self._decide(found, pairs)
            is_complete = True
        if not is_complete:
            self._decide(found, ())
        return found

    def _put(self, found: Judgement, i: int, j: int, value: float, bound: float, noise: float) -> None:
        for row in {i * self.size + j, j * self.size + i}:
            found.reference[row], found.bound[row], found.noise[row] = value, bound, noise

    def _decide(self, found: Judgement, pairs: list[tuple[int, int]] | tuple[()]) -> None:
        """Clear what agrees, and measure a second time what does not; without budget left accuse nobody."""
        reference, bound, noise = found.reference[:, 0], found.bound[:, 0], found.noise[:, 0]
        measured = ~np.isnan(bound)
        with np.errstate(all="ignore"):
            finite = np.where(np.isfinite(reference) & np.isfinite(bound), reference, 0.0)
            scale = float(np.sqrt(np.mean(finite[measured] ** 2))) if np.any(measured) else 0.0
            tolerance = self.rtol * np.abs(reference) + self.claim.roundoff(np.array([scale]))[0]
            apart = np.abs(self.claim.values[:, 0] - reference)
            visible = np.maximum(VISIBLE * scale, UNAVOIDABLE * self.least.ravel())
            clear = apart + bound <= tolerance
            limited = (apart <= bound + tolerance) & (bound <= visible)
            outside = apart > bound + tolerance
        found.floor[:, 0] = tolerance + bound
        found.limited[:, 0] = limited & ~clear
        because = np.where(outside, Doubt.UNCONFIRMED, np.where(noise > bound / 2, Doubt.NOISE, Doubt.STEP))
        found.doubt[:, 0] = np.where(measured, np.where(clear | limited, Doubt.NONE, because), Doubt.NOT_PROBED)
        accused = {(i, j) for i, j in pairs if outside[i * self.size + j] or outside[j * self.size + i]}
        for i, j in sorted(accused):
            value, again, _ = self._measure(i, j, SECOND_STEP)
            for row in {i * self.size + j, j * self.size + i}:
                apart_again = abs(self.claim.values[row, 0] - value)
                if outside[row] and apart_again > again + tolerance[row]:
                    found.wrong[row], found.doubt[row] = True, Doubt.NONE

    def _measure(self, i: int, j: int, first_step: float) -> tuple[float, float, float]:
        """Return a second derivative, a bound on its error and the noise in that."""
        steps = first_step * RATIO ** -np.arange(LEVELS, dtype=np.float64)
        second, noise = self._differences(i, j, steps)
        self.least[i, j] = self.least[j, i] = noise[0]
        while True:
            value, bound, at = extrapolated(second, noise)
            hopeless = np.isfinite(bound) and noise[-1] > bound
            if bound <= self.rtol / 3 * abs(value) or hopeless or len(steps) == MOST_LEVELS:
                return value, bound, at
            steps = np.append(steps, steps[-1] / RATIO)
            more = self._differences(i, j, steps[-1:])
            second, noise = np.append(second, more[0]), np.append(noise, more[1])

    def _differences(self, i: int, j: int, steps: Floats) -> tuple[Floats, Floats]:
        """Return second differences at some steps, and bounds on the noise in each."""
        both = np.stack([steps, -steps], axis=1).ravel()
        a, b = np.zeros(self.size), np.zeros(self.size)
        a[i], b[j] = self.lengths[i], self.lengths[j]
        along = self.probe.ray({0: a + b}, both).reshape(-1, 2)
        across = self.probe.ray({0: a - b}, both).reshape(-1, 2) if i != j else np.broadcast_to(self.base, along.shape)
        area = 4 * self.lengths[i] * self.lengths[j] * steps**2
        with np.errstate(all="ignore"):
            if i == j:
                slopes = np.abs(along[:, 0] - along[:, 1]) / (4 * self.lengths[i] * steps)
                self.slopes[i] = max(self.slopes[i], np.max(slopes, where=np.isfinite(slopes), initial=0.0))
            spread = max(self.noise, float(ulp(np.concatenate([along, across]).ravel())) / 2)
            noise = self.multiplier * np.hypot(2.5 * spread, self._leak(i, steps) + self._leak(j, steps)) / area
            return (along.sum(axis=1) - across.sum(axis=1)) / area, noise

    def _leak(self, i: int, steps: Floats) -> Floats:
        """Return what the slope adds to the second differences because a displaced element is rounded to its dtype."""
        farthest = np.abs(self.x[i]) + 2 * self.lengths[i] * steps
        return np.asarray(self.slopes[i] * self.format.spacing(farthest))


def extrapolated(sequence: Floats, noise: Floats) -> tuple[float, float, float]:
    """Extrapolate to a step of zero.

    Parameters
    ----------
    sequence, noise : arrays, shape (L,)
        Values at steps each `RATIO` times shorter than the one before, wrong by even powers of the step, and bounds on
        the noise in each. What is not finite is left out, with all longer steps.

    Returns
    -------
    value, bound, noise : float
            The entry of the extrapolation table with the least bound: its distance to both entries that it was made from,
        or to entries of its column at shorter steps beyond their noise, whichever is largest; plus its noise. Only
        steps at which the values converge count, for at a kink they grow. Else NaN and infinity.
    """
    best = (float("nan"), float("inf"), float("inf"))
    bad = np.flatnonzero(~np.isfinite(sequence))
    first = int(bad[-1]) + 1 if len(bad) else 0
    column, noises = sequence[first:], noise[first:]
    if len(column) < 3:
        return best
    apart = np.abs(np.diff(column))
    nearer = apart[1:] <= CONTRACTION * apart[:-1] + noises[2:] + noises[1:-1]
    converges = np.concatenate([[False, nearer[0]], nearer])
    factor = 1.0
    while len(column) > 1:
        factor *= RATIO**2
        better = column[1:] + np.diff(column) / (factor - 1)
        noises, converges = noises[1:], converges[1:]
        bounds = np.maximum(np.abs(better - column[1:]), np.abs(better - column[:-1]))
        for finer in range(1, len(better)):
            beyond = np.abs(better[:finer] - better[finer]) - noises[finer]
            bounds[:finer] = np.maximum(bounds[:finer], beyond)
        bounds = np.where(converges, bounds + noises, np.inf)
        at = int(np.argmin(bounds))
        if bounds[at] < best[1]:
            best = (float(better[at]), float(bounds[at]), float(noises[at]))
        column = better
    return best
