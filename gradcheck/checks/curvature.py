"""Second derivatives: measured with mixed differences, extrapolated, and compared with a claimed Hessian.

For elements ``i`` and ``j`` and steps ``a`` and ``b`` along them

    [f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)] / (4 |a| |b|)

is the mixed derivative up to even powers of the step, which Richardson extrapolation removes one by one. On the
diagonal that is ``[f(x + 2a) - 2 f(x) + f(x - 2a)] / (4 |a|**2)``.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.bench import NEGLIGIBLE, judged
from gradcheck.acceptance.decide import Decision, Tolerance, decide, excludes
from gradcheck.acceptance.ledger import Estimate, Kind, Ledger, Limit, rms
from gradcheck.acceptance.rule import Claim, Judgement
from gradcheck.acceptance.seen import others
from gradcheck.aliases import Floats
from gradcheck.checks.check import Check
from gradcheck.checks.jacobians import JacobianSubject, block
from gradcheck.differences.ladder import noise_multiplier
from gradcheck.differences.lengths import lengths_of
from gradcheck.differences.noise import ulp
from gradcheck.differences.scale import measure_noise_and_lengths
from gradcheck.differences.vectorized import require_rowwise
from gradcheck.errors import InvalidArgument
from gradcheck.functions.displacements import Moves
from gradcheck.functions.points import Output
from gradcheck.functions.probe import Probe
from gradcheck.functions.trees import MISSING, Leaf, align
from gradcheck.reports.claims import Reading, Words, read_gradient
from gradcheck.reports.report import Finding

__all__ = ["HessianSubject"]

FIRST_STEP = 0.2971
"""The longest step, in units of the element's length; not a round number."""

SECOND_STEP = 0.7713 * FIRST_STEP
"""The ladder of a second measurement: other steps, other points."""

RATIO = 3.0
"""Each step is this many times shorter than the one before: a second difference has few digits, and noise that grows with its square."""
LEVELS, MOST_LEVELS = 5, 14
"""Steps that every entry gets, and as many as those get that have not settled: near kinks, fast oscillation."""

CONTRACTION = 0.9
"""Each value of a sequence that converges is nearer to the one before than that is to its own predecessor."""

VISIBLE = 1e-4
"""Largest error that may hide in an entry that is cleared, as a share of the matrix's root mean square; see `UNAVOIDABLE`."""

UNAVOIDABLE = 100.0
"""The same in units of the noise at the longest step, where that is more: below it no step shows anything."""


class HessianSubject(JacobianSubject):
    """A scalar function and its matrix of second derivatives."""

    derivative = "hess"
    is_slope = False
    probe = Probe
    words = Words("the Hessian", "x.shape + x.shape")

    def output(self, value: Any) -> Output:
        """Require a single number."""
        output = Output.of(value, "f")
        if output.is_bare and output.size > 1 and output.leaves[0].value.shape == self.inputs[0].value.shape:
            raise InvalidArgument(
                f"f returned {output.size} numbers in the shape of x: that is a gradient, and a value was required; "
                "use check_jacobian(grad, hess, x)."
            )
        if output.size != 1 or not output.is_bare:
            is_matrix = output.is_bare and output.leaves[0].value.shape == 2 * self.inputs[0].value.shape
            remedy = (
                "are f and hess swapped? The order is check_hessian(f, hess, x)" if is_matrix else "return a scalar"
            )
            raise InvalidArgument(f"f returned {output.size} numbers; a single number was required; {remedy}.")
        self.entries = [self._entry(one, other) for one in self.inputs for other in self.inputs]
        return output

    def _entry(self, one: Leaf, other: Leaf) -> Leaf:
        """Return the block of second derivatives by two leaves; held fixed where one of them is."""
        name = one.name if len(self.inputs) == 1 else f"{one.name}.{other.name}"
        entry = block(one, one.value.shape + other.value.shape, name)
        return entry if one.is_differentiable and other.is_differentiable else replace(entry, is_fixed=True)

    def read(self, given: Any) -> Reading:
        """Read a tree of trees of blocks."""
        count = len(self.inputs)
        rows, mismatches = align(self.x, given, axis=0)
        whole = Reading(names={k: entry.name for k, entry in enumerate(self.entries)})
        for mismatch in mismatches:
            whole.findings.append(
                Finding(code="wrong-structure", message=f"the Hessian {mismatch.message}", where=mismatch.where)
            )
        for i, row in enumerate(rows):
            entries = self.entries[i * count : (i + 1) * count]
            part = read_gradient(None if row is MISSING else row, self.x, entries, words=self.words)
            whole.findings += part.findings
            whole.eps = max(whole.eps, part.eps)
            whole.absent |= {i * count + k for k in part.absent}
            for mine, theirs in ((whole.values, part.values), (whole.given, part.given), (whole.misfits, part.misfits)):
                mine.update({i * count + k: value for k, value in theirs.items()})
        return whole

    def _full(self, parts: dict[int, Floats], fill: float = np.nan) -> Floats:
        """Put blocks beside each other: one row and one column for each element that is differentiated."""
        sizes = [leaf.value.size for leaf in self.inputs]
        free = [i for i, leaf in enumerate(self.inputs) if leaf.is_differentiable]
        rows = [
            np.concatenate(
                [
                    parts.get(i * len(sizes) + j, np.full(sizes[i] * sizes[j], fill)).reshape(sizes[i], sizes[j])
                    for j in free
                ],
                axis=1,
            )
            for i in free
        ]
        return np.concatenate(rows)

    def _blocks(self, matrix: NDArray[Any]) -> dict[int, NDArray[Any]]:
        """Part such a matrix into the blocks again, each as one column."""
        free = [i for i, leaf in enumerate(self.inputs) if leaf.is_differentiable]
        ends = np.cumsum([0, *(self.inputs[i].value.size for i in free)])
        return {
            i * len(self.inputs) + j: matrix[ends[a] : ends[a + 1], ends[b] : ends[b + 1]].reshape(-1, 1)
            for a, i in enumerate(free)
            for b, j in enumerate(free)
        }

    def forecast(self, elements: int) -> int:
        """Return four calls an entry above the diagonal and two on it, for each step."""
        return 2 * LEVELS * elements**2 + 20

    def protocol(self, check: Check, cotangents: Floats, first: list[Reading]) -> None:
        """Check also that the claim is symmetric."""
        super().protocol(check, cotangents, first)
        claim = self._full(first[0].values)
        apart, larger = np.abs(claim - claim.T), np.fmax(np.abs(claim), np.abs(claim.T))
        excess = apart - check.rtol * larger - 1e4 * first[0].eps * np.nanmax(larger, initial=0.0)
        if np.any(excess > 0):
            i, j = (int(k) for k in np.unravel_index(int(np.nanargmax(excess)), excess.shape))
            named = [f"{k} of x" if len(self.inputs) == 1 else self._element(k) for k in (i, j)]
            check.find(
                "not-symmetric",
                f"hess gives {claim[i, j]:.6g} for elements {named[0]} and {named[1]}, but {claim[j, i]:.6g} the other way",
                where=self.entries[0].name if len(self.inputs) == 1 else "",
                fatal=True,
            )

    def _element(self, place: int) -> str:
        for leaf in self.inputs:
            if leaf.is_differentiable:
                if place < leaf.value.size:
                    return f"{place} of {leaf.name}"
                place -= leaf.value.size
        raise IndexError(place)

    def judge(
        self, probe: Probe, base: Floats, claims: dict[int, Claim], *, rtol: float, rng: np.random.Generator
    ) -> dict[int, Judgement]:
        """Measure every entry and compare it with its two claims."""
        if not claims:
            return {}
        values = self._full({k: claim.values[:, 0] for k, claim in claims.items()})
        spread = np.max([claim.spread for claim in claims.values()], axis=0)
        whole = Claim(values.reshape(-1, 1), spread, max(claim.eps for claim in claims.values()))
        found = _Bench(probe, base, whole, rtol, rng).judge()
        shape = values.shape
        parts = {
            field.name: self._blocks(array.reshape(shape))
            for field in fields(found)
            if (array := getattr(found, field.name)).size == values.size and array.ndim == 2
        }
        return {
            k: Judgement(
                **{f.name: parts[f.name][k] if f.name in parts else getattr(found, f.name) for f in fields(found)}
            )
            for k in claims
        }


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
        leaves = probe.point.leaves
        self.free = [i for i, leaf in enumerate(leaves) if leaf.is_differentiable]
        self.ends = np.cumsum([0, *(leaves[i].value.size for i in self.free)])
        self.x = np.concatenate([leaves[i].value.ravel().astype(np.float64) for i in self.free])
        self.formats = [leaves[i].format for i in self.free for _ in range(leaves[i].value.size)]
        self.lengths = np.concatenate([lengths_of(leaves[i].value) for i in self.free])
        self.size = self.x.size
        self.slopes: list[list[tuple[float, float]]] = [[] for _ in range(self.size)]  # by the step they were seen at
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
            noise, lengths = measure_noise_and_lengths(
                self.probe, self.base, self._moves(self.lengths), self.rtol, self.rng
            )
            self.noise, self.lengths = float(noise[0]), np.concatenate([np.zeros(0), *lengths.values()])
            require_rowwise(self.probe, self._moves(self.lengths), np.array([self.noise]), self.rng)
            for i, j in pairs:
                first.append(_Entry(i, j, *self._measure(i, j, FIRST_STEP)))
        # An entry that is not told from zero counts as zero: far away the function may be so large that its bound is, too.
        finite = [entry for entry in first if np.isfinite(entry.bound)]
        known = [entry.value * (entry.bound <= abs(entry.value)) for entry in finite for _ in self._rows(entry)]
        self.scale = rms(np.array(known).reshape(-1, 1))
        self._enter(first)
        with self.probe.budget.until_exhausted():
            for entry in first:
                rows = self._rows(entry)
                if np.any(self._decide(rows).excluded):
                    self._enter([_Entry(entry.i, entry.j, *self._measure(entry.i, entry.j, SECOND_STEP))])
        found = judged(self.claim.values.shape, self.ledger, self._decide, noise_of_f=np.array([self.noise]))
        is_clear = not np.any(found.wrong | found.undecided)
        return found.not_seen(Limit.UNSEEN) if is_clear and self._is_unseen(found) else found

    def _decide(self, rows: NDArray[np.intp]) -> Decision:
        return decide(self.claim.values[rows], self.ledger.evidence(rows), self._tolerance(rows))

    def _is_unseen(self, found: Judgement) -> bool:
        """Tell whether the same evidence would have passed another Hessian, and this one is not as good as zero.

        That is beside the value of the function, or its change, over the square of the longest step.
        """
        rows = np.arange(len(self.claim.values))
        claim, evidence, tolerance = self.claim.values, self.ledger.evidence(rows), self._tolerance(rows)
        if all(np.any(excludes(factor * claim, evidence, tolerance)) for factor in others(self.rtol)):
            return False
        reach = FIRST_STEP * float(np.max(self.lengths, initial=1.0))
        steepest = max((abs(slope) for seen in self.slopes for _, slope in seen), default=0.0)
        size = float(np.abs(self.base[0])) + steepest * reach
        return bool(np.max(np.fmax(np.abs(claim), found.floor), initial=0.0) > NEGLIGIBLE * size / reach**2)

    def _moves(self, vector: Floats) -> Moves:
        """Part a move of all elements into those of the leaves, without leaves that stay."""
        parts = {leaf: vector[a:b] for leaf, a, b in zip(self.free, self.ends, self.ends[1:], strict=False)}
        return {leaf: part for leaf, part in parts.items() if np.any(part)}

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
        return Tolerance(self.rtol, self.scale, roundoff, roundoff, nothing, nothing, nothing, np.zeros(1), smooth=True)

    def _measure(self, i: int, j: int, first_step: float) -> tuple[float, float, float]:
        """Return a second derivative, a bound on its error and the noise in that."""
        steps = first_step * RATIO ** -np.arange(LEVELS, dtype=np.float64)
        second, noise = self._differences(i, j, steps)
        self.least[i, j] = self.least[j, i] = np.min(noise)
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
        along = self.probe.ray(self._moves(a + b), both).reshape(-1, 2)
        across = (
            self.probe.ray(self._moves(a - b), both).reshape(-1, 2)
            if i != j
            else np.broadcast_to(self.base, along.shape)
        )
        area = 4 * self.lengths[i] * self.lengths[j] * steps**2
        if i == j:
            slopes = np.abs(along[:, 0] - along[:, 1]) / (4 * self.lengths[i] * steps)
            self.slopes[i] += zip(steps.tolist(), np.nan_to_num(slopes, posinf=0.0).tolist(), strict=True)
        spread = np.maximum(self.noise, ulp(np.concatenate([along, across], axis=1).T) / 2)
        noise = self.multiplier * np.hypot(2.5 * spread, self._leak(i, steps) + self._leak(j, steps)) / area
        return (along.sum(axis=1) - across.sum(axis=1)) / area, noise

    def _leak(self, i: int, steps: Floats) -> Floats:
        """Return what the slope adds to the second differences because a displaced element is rounded to its dtype."""
        farthest = np.abs(self.x[i]) + 2 * self.lengths[i] * steps
        near = min(self.slopes[i], default=(0.0, 0.0))[1]
        slopes = [max((slope for at, slope in self.slopes[i] if at <= 2 * step), default=near) for step in steps]
        return np.asarray(slopes * self.formats[i].spacing(farthest))


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
