"""Second derivatives: measured with mixed differences, extrapolated, and compared with a claimed Hessian.

For elements ``i`` and ``j`` and steps ``a`` and ``b`` along them

    [f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)] / (4 |a| |b|)

is the mixed derivative up to even powers of the step, which Richardson extrapolation removes one by one. On the
diagonal that is ``[f(x + 2a) - 2 f(x) + f(x - 2a)] / (4 |a|**2)``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.bench import judged
from gradcheck.acceptance.decide import Tolerance, decide
from gradcheck.acceptance.ledger import Estimate, Kind, Ledger, rms
from gradcheck.acceptance.rule import Claim, Judgement
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


class _Entry(NamedTuple):
    """An entry of the matrix on or below its diagonal, a bound on its error and the noise in that."""

    i: int
    j: int
    value: float
    bound: float
    noise: float


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
        self.ledger = Ledger(self.size**2, 1)
        self.scale = np.zeros(1)

    def judge(self) -> Judgement:
        """Measure as far as ``max_evaluations`` goes, and what contradicts the claim a second time."""
        pairs = [(i, i) for i in range(self.size)]
        pairs += [(i, j) for i in range(self.size) for j in range(i)]
        first: list[_Entry] = []
        with self.probe.budget.until_exhausted():
            self.noise = float(measure_noise(self.probe, self.base, {0: self.lengths}, self.rng)[0])
            require_rowwise(self.probe, {0: self.lengths}, np.array([self.noise]), self.rng)
            for i, j in pairs:
                first.append(_Entry(i, j, *self._measure(i, j, FIRST_STEP)))
        with np.errstate(all="ignore"):
            values = np.array([[entry.value] for entry in first for _ in self._rows(entry) if np.isfinite(entry.bound)])
        self.scale = rms(values.reshape(-1, 1))
        self._enter(first)
        with self.probe.budget.until_exhausted():
            for entry in first:
                rows = self._rows(entry)
                if np.any(decide(self.claim.values[rows], self.ledger.evidence(rows), self._tolerance(rows)).excluded):
                    self._enter([_Entry(entry.i, entry.j, *self._measure(entry.i, entry.j, SECOND_STEP))])
        return judged(self.claim.values, self.ledger, self._tolerance, noise_of_f=np.array([self.noise]))

    def _rows(self, entry: _Entry) -> NDArray[np.intp]:
        """Return where an entry stands in the matrix, read row by row: once or twice."""
        return np.unique([entry.i * self.size + entry.j, entry.j * self.size + entry.i])

    def _enter(self, entries: list[_Entry]) -> None:
        """Enter measured entries. One is known as well as can be when little of the matrix could hide in its bound."""
        if not entries:
            return
        rows = [self._rows(entry) for entry in entries]
        again = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        value, bound, noise, least = (
            np.array(column, dtype=np.float64)[again][:, None]
            for column in zip(*((e.value, e.bound, e.noise, self.least[e.i, e.j]) for e in entries), strict=True)
        )
        visible = bound <= np.maximum(VISIBLE * self.scale, UNAVOIDABLE * least)
        zero, never = np.zeros_like(value), np.zeros(value.shape, dtype=bool)
        indices = np.concatenate(rows)
        self.ledger.add(Estimate(Kind.LADDER, indices, value, noise, bound, zero, zero, visible, never, np.zeros(1)))

    def _tolerance(self, rows: NDArray[np.intp]) -> Tolerance:
        nothing, roundoff = np.zeros(len(rows)), self.claim.roundoff(self.scale)
        return Tolerance(self.rtol, self.scale, roundoff, roundoff, nothing, nothing, np.zeros(1), smooth=True)

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
