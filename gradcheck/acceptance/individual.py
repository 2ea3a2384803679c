"""Judging single elements within a search along directions, as elements of a small function are judged."""

from __future__ import annotations

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import Outcome
from gradcheck.acceptance.directions import Directions
from gradcheck.acceptance.ledger import Limit
from gradcheck.acceptance.other_steps import recheck_accepted
from gradcheck.acceptance.refinement import refine
from gradcheck.acceptance.screening import pilot, screen
from gradcheck.acceptance.together import confirm_together
from gradcheck.aliases import Bools, Chosen, Indices
from gradcheck.differences.counts import DOZEN, SMALL
from gradcheck.differences.noise import DISAGREES

__all__ = ["Individual"]


class Individual:
    """Judges elements one by one. In the directions wrong ones get their measured derivative, and undecided ones are held fixed."""

    def __init__(self, bench: Bench, directions: Directions) -> None:
        self.bench = bench
        self.directions = directions
        self.measured = {leaf: np.zeros(len(claim.values), dtype=bool) for leaf, claim in bench.claims.items()}
        self._piloted: set[int] = set()

    @property
    def count(self) -> int:
        """How many elements were judged."""
        return sum(int(np.count_nonzero(known)) for known in self.measured.values())

    def judge(self, chosen: Chosen) -> None:
        """Judge elements one by one."""
        fresh = {}
        for leaf, indices in chosen.items():
            known = self.measured[leaf][indices]
            if known.any():
                self._leave_out(leaf, indices[known])
            if not known.all():
                fresh[leaf] = indices[~known]
        if not fresh:
            return
        for leaf, indices in fresh.items():
            self.measured[leaf][indices] = True
            self.bench.note(leaf, indices, Limit.NONE)
            self.choose_step(leaf)
        screen(self.bench, fresh)
        if self.directions.holds(fresh):  # then no direction compares them together
            recheck_accepted(self.bench)
        self._confirm(fresh)
        refine(self.bench)
        for leaf, indices in fresh.items():
            self._update_directions(leaf, indices)

    def _confirm(self, fresh: Chosen) -> None:
        """Confirm a dozen or more contradicted elements together: they are too many for a ladder each.

        Not fewer: random directions might miss a kink that these share.
        """
        excluded = {
            leaf: indices[self.bench.decide(leaf, indices).excluded.any(axis=1)] for leaf, indices in fresh.items()
        }
        if sum(map(len, excluded.values())) >= DOZEN:
            confirm_together(self.bench, excluded)

    def contradicted(self, leaf: int, indices: Indices) -> Bools:
        """Tell which of the judged elements are wrong or undecided, shape (m,)."""
        outcome = self.bench.decide(leaf, indices).outcome
        return np.asarray(((outcome == Outcome.WRONG) | (outcome == Outcome.OPEN)).any(axis=1))

    def _update_directions(self, leaf: int, indices: Indices) -> None:
        """Enter the measured derivatives of wrong elements into the directions, and hold undecided ones fixed."""
        found = self.bench.decide(leaf, indices)
        untested = found.untested.any(axis=1)
        replaced = self.directions.derivatives[leaf] is not self.bench.claims[leaf].values
        finite = np.isfinite(self.bench.claims[leaf].values[indices]).all(axis=1)
        known = np.isfinite(found.reference).all(axis=1) & finite
        corrected = known & (replaced | untested | (found.outcome == Outcome.WRONG).any(axis=1))
        if corrected.any():
            self.directions.correct(leaf, indices[corrected], found.reference[corrected])
        doubtful = (found.outcome == Outcome.OPEN).any(axis=1) & ~untested
        self.directions.hold(leaf, indices[doubtful])

    def choose_step(self, leaf: int) -> None:
        """Choose the step with which the elements of a leaf are screened, once."""
        if leaf not in self._piloted:
            self._piloted.add(leaf)
            pilot(self.bench, leaf)

    def _leave_out(self, leaf: int, indices: Indices) -> None:
        """Hold elements fixed that directions contradict although they were judged.

        Those that were cleared become undecided if directions of them alone contradict their claims too.
        """
        right = indices[~self.contradicted(leaf, indices)]
        if len(right):
            slopes = self.directions.measure_fresh(chosen={leaf: right})
            allowed = DISAGREES * self.directions.allowed(slopes.parts)
            if (np.abs(slopes.residual) > DISAGREES * slopes.deviation + allowed).any():
                self.bench.note(leaf, right, Limit.UNCONFIRMED)
        self.directions.hold(leaf, indices)

    def judge_infinite(self) -> None:
        """Judge elements whose claim is infinite, since directions cannot. NaN is wrong anyway."""
        infinite = {
            leaf: np.flatnonzero(np.isinf(claim.values).any(axis=1) & ~np.isnan(claim.values).any(axis=1))
            for leaf, claim in self.bench.claims.items()
        }
        for leaf, indices in infinite.items():
            if len(indices) > SMALL:
                self.bench.note(leaf, indices[SMALL:], Limit.GROUP)
        self.judge({leaf: indices[:SMALL] for leaf, indices in infinite.items() if len(indices)})

    def sample(self, leaf: int, indices: Indices, count: int) -> Indices:
        """Draw elements of a leaf: half of them in proportion to their claims, a quarter neighbours, the rest at random."""
        if len(indices) <= count:
            return indices
        size = np.max(np.abs(np.nan_to_num(self.bench.claims[leaf].values[indices], posinf=0.0, neginf=0.0)), axis=1)
        large = np.divide(size, np.max(size), out=np.ones_like(size), where=np.max(size) > 0)
        drawn = self.bench.rng.choice(indices, size=count // 2, p=large / np.sum(large))
        start = int(self.bench.rng.integers(len(indices) - count // 4))
        some = np.union1d(drawn, indices[start : start + count // 4])
        rest = self.bench.rng.choice(np.setdiff1d(indices, some), size=count - len(some), replace=False)
        return np.union1d(some, rest)

    def equals(self, chosen: Chosen) -> Chosen:
        """Return the unmeasured elements with exactly the value of a chosen one of their leaf, unless they are too many."""
        found = {}
        for leaf, indices in chosen.items():
            values = self.bench.leaves[leaf].value.ravel()
            equal = np.flatnonzero(np.isin(values, values[indices]) & ~self.measured[leaf])
            if 0 < len(equal) <= SMALL:
                found[leaf] = equal
        return found

    def leave_undecided(self, leaf: int, indices: Indices | None = None) -> None:
        """Leave elements of a leaf, or all, undecided that were not measured, and hold them fixed."""
        indices = np.arange(len(self.bench.claims[leaf].values)) if indices is None else indices
        rest = indices[(self.bench.ledgers[leaf].count[indices] == 0) & ~self.bench.is_noted(leaf)[indices]]
        self.bench.note(leaf, rest, Limit.GROUP)
        self.directions.hold(leaf, rest)

    def sample_contradicts(self, leaf: int, indices: Indices) -> bool:
        """Judge a sample of some elements; tell whether one is wrong or undecided although noise does not hide it."""
        sample = self.sample(leaf, indices, DOZEN)
        self.judge({leaf: sample})
        found = self.bench.decide(leaf, sample)
        seen = np.maximum(np.abs(self.bench.claims[leaf].values[sample]), np.abs(found.reference))
        return bool(np.any(self.contradicted(leaf, sample) & np.any(seen > found.noise, axis=1)))
