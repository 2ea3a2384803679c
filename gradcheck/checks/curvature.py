"""Second derivatives, compared with a claimed Hessian."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.decide import Decision, Tolerance, decide, excludes
from gradcheck.acceptance.judgement import judgement_of
from gradcheck.acceptance.ledger import Estimate, Kind, Ledger, Limit, rms
from gradcheck.acceptance.other_claims import other_multiples
from gradcheck.acceptance.rule import Claim, Judgement
from gradcheck.aliases import Floats, Indices
from gradcheck.checks.check import Check
from gradcheck.checks.jacobians import JacobianSubject, block
from gradcheck.differences.counts import NEGLIGIBLE
from gradcheck.differences.ladder import FEWEST_LEVELS
from gradcheck.differences.mixed import FIRST_STEP, SECOND_STEP, MixedDifferences, SecondDerivatives
from gradcheck.errors import InvalidArgument
from gradcheck.functions.displacements import Moves
from gradcheck.functions.points import Output
from gradcheck.functions.probe import Probe, unit_of
from gradcheck.functions.trees import MISSING, Leaf, align
from gradcheck.reports.claims import Reading, Words, read_gradient
from gradcheck.reports.report import Finding

__all__ = ["HessianSubject"]


class HessianSubject(JacobianSubject):
    """A scalar function and its matrix of second derivatives."""

    derivative = "hess"
    is_slope = False
    may_ignore_its_point = True
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
        return 2 * FEWEST_LEVELS * elements**2 + 20

    def claimed_changes(self, claims: dict[int, Claim], moves: Moves) -> Floats:
        """Return half of the product of the moves with the sizes of the claimed entries between them."""
        sizes = np.abs(self._full({k: claim.values[:, 0] for k, claim in claims.items()}, fill=0.0))
        move = np.abs(np.concatenate([moves[leaf] for leaf in sorted(moves)]))
        return np.array([move @ sizes @ move / 2])

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
        whole = self._whole(claims, values.reshape(-1, 1))
        unit = unit_of(base)
        probe = probe.with_cotangents(probe.cotangents / unit[:, None])
        found = _Run(probe, base / unit, whole.in_units(unit), rtol).judge(rng).in_plain_units(unit)
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

    def _whole(self, claims: dict[int, Claim], values: Floats) -> Claim:
        """Return the claims for all blocks as one."""
        spread, eps = np.max([claim.spread for claim in claims.values()], axis=0), max(c.eps for c in claims.values())
        if any(claim.own is None for claim in claims.values()):
            return Claim(values, spread, eps)

        def one(blocks: dict[int, Floats]) -> Floats:
            return self._full({k: block[:, 0] for k, block in blocks.items()}, fill=0.0).reshape(-1, 1)

        def in_double() -> tuple[Floats, Floats, Floats] | None:
            found = {k: claim.in_double() for k, claim in claims.items() if claim.in_double is not None}
            parts = {k: part for k, part in found.items() if part is not None}
            if len(parts) < len(claims):
                return None
            plausible = np.max([part[2] for part in parts.values()], axis=0)
            return (
                one({k: part[0] for k, part in parts.items()}),
                one({k: part[1] for k, part in parts.items()}),
                plausible,
            )

        own = one({k: claim.own.astype(float) for k, claim in claims.items() if claim.own is not None})
        return Claim(values, spread, eps, own.astype(np.float32), in_double=in_double)


class _Run:
    """One measurement of a Hessian, next to what is claimed of it."""

    def __init__(self, probe: Probe, base: Floats, claim: Claim, rtol: float) -> None:
        self.base = base
        self.claim = claim
        self.rtol = rtol
        self.budget = probe.budget
        self.differences = MixedDifferences(probe, base, rtol)
        self.size = self.differences.size
        self.ledger = Ledger(self.size**2, 1)
        self.scale = np.zeros(1)

    def judge(self, rng: np.random.Generator) -> Judgement:
        """Measure as far as ``max_evaluations`` goes, and what contradicts the claim a second time."""
        pairs = [(i, i) for i in range(self.size)]
        pairs += [(i, j) for i in range(self.size) for j in range(i)]
        with self.budget.until_exhausted():
            self.differences.prepare(rng)
        first = self.differences.measure(pairs, FIRST_STEP)
        # An entry that is not told from zero counts as zero: far away the function may be so large that its bound is, too.
        known = np.where(np.isfinite(first.bound), first.value * (first.bound <= np.abs(first.value)), np.nan)
        self.scale = rms(known[self._entered(pairs, len(known))[1]])
        self._enter(pairs, first)
        rows = self.ledger.known
        if self.claim.in_double is not None and self.claim.depends_on_roundoff(self._decide(rows), rows, self.rtol):
            self.claim = self.claim.with_measured_roundoff()
        against = [pair for pair in pairs[: len(known)] if np.any(self._decide(self._rows(*pair)).excluded)]
        self._enter(against, self.differences.measure(against, SECOND_STEP))
        noise = np.array([self.differences.noise])
        found = judgement_of(self.claim.values.shape, self.ledger, self._decide, noise_of_f=noise)
        is_clear = not np.any(found.wrong | found.undecided)
        return found.not_seen(Limit.UNSEEN) if is_clear and self._is_unseen(found) else found

    def _decide(self, rows: Indices) -> Decision:
        return decide(self.claim.values[rows], self.ledger.evidence(rows), self._tolerance(rows))

    def _is_unseen(self, found: Judgement) -> bool:
        """Tell whether the same evidence would have passed another Hessian, and this one is not as good as zero.

        That is beside the change of the function over the longest step, or its value where it does not change at all.
        """
        rows = np.arange(len(self.claim.values))
        claim, evidence, tolerance = self.claim.values, self.ledger.evidence(rows), self._tolerance(rows)
        if all(np.any(excludes(factor * claim, evidence, tolerance)) for factor in other_multiples(self.rtol)):
            return False
        differences = self.differences
        if (
            differences.steepest == 0 and not np.any(claim) and not np.any(found.reference)
        ):  # of a dead unit there is no more to see
            return False
        reach = FIRST_STEP * float(np.max(differences.lengths, initial=1.0))
        change = differences.steepest * reach
        size = change if change > differences.multiplier * differences.noise else float(np.abs(self.base[0]))
        return bool(np.max(np.fmax(np.abs(claim), found.floor), initial=0.0) > NEGLIGIBLE * size / reach**2)

    def _rows(self, i: int, j: int) -> Indices:
        """Return where an entry stands in the matrix, read row by row: once or twice."""
        return np.unique([i * self.size + j, j * self.size + i])

    def _entered(self, pairs: list[tuple[int, int]], count: int) -> tuple[Indices, Indices]:
        """Return where the first entries stand in the matrix, and which of them stands at each of these places."""
        rows = [self._rows(*pair) for pair in pairs[:count]]
        again = np.repeat(np.arange(count), [len(row) for row in rows])
        return np.concatenate([np.zeros(0, dtype=np.intp), *rows]), again

    def _enter(self, pairs: list[tuple[int, int]], found: SecondDerivatives) -> None:
        """Enter measured entries."""
        indices, again = self._entered(pairs, len(found.value))
        value, bound, noise = found.value[again], found.bound[again], found.noise[again]
        self.ledger.add(Estimate.of(Kind.LADDER, indices, value, noise, bound, limited=found.exhausted[again]))

    def _tolerance(self, rows: Indices) -> Tolerance:
        nothing, roundoff = np.zeros(len(rows)), self.claim.roundoff(self.scale, rows)
        cleared = self.claim.confirmed_roundoff(roundoff, rows)
        return Tolerance(self.rtol, self.scale, roundoff, cleared, nothing, nothing, nothing, np.zeros(1), smooth=True)
