"""The rule of acceptance along random directions: clear elements together, and accuse them one by one.

Claim and derivative are compared along four random directions of all elements. Where they disagree the elements that
are wrong are located by group testing, and measured singly by the same ladder, with the same confirmation, as if
every element were looked at. The search ends when four fresh directions, the wrong elements corrected, agree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.bench import Bench, Doubt, Judgement, rms
from gradcheck.differences import FIRST_STEP
from gradcheck.directions import Directions, Part, Slopes
from gradcheck.locating import DISAGREES, Group, locate
from gradcheck.pilot import DEFAULT_STEP, choose_step, measure_noise
from gradcheck.refinement import refine, try_suspects
from gradcheck.screening import screen

__all__ = ["DIRECTIONS", "search"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Chosen = dict[int, Indices]

DIRECTIONS = 4
"""Measured before anything is said of all elements together."""

POWER = 6.0
"""An error of so many deviations in a single element is seen along one of the directions in 99 of 100 checks."""

MOST_ROUNDS = 8
"""Searches, each of which begins with fresh directions."""

CROWD, PAIR = 32, 8
"""More groups than this disagree: not a few elements are wrong. The same for the search within one such group."""

DENSE = 0.2
"""Where so many of the elements looked at in a crowd contradict their claims, the others are taken to do so too."""

SAMPLE, LEAST_SAMPLE = 160, 16
"""Elements of a crowd that are looked at one by one, and the least number in each leaf."""

MOST_ACCUSED = 12
"""Elements of a crowd, in each leaf, that go through the ladder."""

NARROWED = 4
"""Groups of a crowd, the most significant ones, that are searched on when the crowd is not dense."""

INFORMATIVE = 3
"""Directions along which an error must show, so that their agreement once it is corrected says that there is no kink."""

LONGER = 32.0
"""Times the step, for a leaf whose gradient is small beside the noise."""

SMALL = 128
"""A leaf of no more elements than this is looked at element by element where directions do not see enough of it."""

ALLOWANCE = 3.0
"""What ``rtol`` allows to every element may add up to so many times its standard deviation along a direction."""


def search(bench: Bench, key: int) -> None:
    """Judge all elements of a bench along random directions.

    Parameters
    ----------
    bench : Bench
        Claims and functions; the judgements are filled in.
    key : int
        The seed of the directions.

    Notes
    -----
    A right gradient costs about 26 calls, sixteen more for a leaf whose gradient is small beside the noise. A wrong element
    costs two calls a halving and about 25 to confirm.
    """
    bench.noise = measure_noise(bench.probe, bench.base, bench.lengths, bench.rng)
    for judgement in bench.judgements.values():
        judgement.noise_of_f = bench.noise.copy()
    bench.steps = dict.fromkeys(bench.claims, DEFAULT_STEP)
    run = _Search(bench, Directions(bench, key))
    run.locate_all()
    run.require_sight()


class _Search:
    """What is known of the elements that no direction has cleared yet."""

    def __init__(self, bench: Bench, directions: Directions) -> None:
        self.bench = bench
        self.directions = directions
        self.looked_at: dict[int, set[int]] = {leaf: set() for leaf in bench.claims}
        self.piloted: set[int] = set()
        self.agrees = False
        self.slopes = Slopes(np.zeros((0, 0)), np.zeros((0, 0)))
        self.allowed = np.zeros((0, 0))

    def locate_all(self) -> None:
        """Search until fresh directions agree with what is claimed, or measured, of all elements."""
        for number in range(MOST_ROUNDS):
            parts = [self.directions.whole() for _ in range(DIRECTIONS)]
            self.slopes = self.directions.measure(parts)
            self.allowed = np.zeros_like(self.slopes.residual)
            if number and not any(found.wrong.any() for found in self.bench.judgements.values()) and not self.bench.suspects:
                # Nobody is wrong alone: all may be a little off, by what is allowed to each.
                self.allowed = np.array([ALLOWANCE * self.directions.allowed(part) for part in parts])
            self.agrees = not np.any(self._disagrees())
            if self.agrees:
                self._clear_of_kinks(parts)
                break
            worst = int(np.argmax(self.slopes.significance))
            self._search([_group(parts[worst], self.slopes, worst)])
        try_suspects(self.bench)
        self._conclude()

    def _disagrees(self) -> NDArray[np.bool_]:
        return np.asarray(np.abs(self.slopes.residual) > DISAGREES * self.slopes.deviation + self.allowed)

    def _search(self, groups: list[Group]) -> None:
        """Locate wrong elements in some groups and look at them."""
        found, left = locate(self.directions, groups, CROWD)
        if left and self._is_dense(left):
            return
        for group in sorted(left, key=lambda group: -group.significance)[:NARROWED]:
            found += locate(self.directions, [group], PAIR)[0]
        self._look_at(self._elements([(group.part.start, group.part.stop) for group in found]))

    def _elements(self, ranges: list[tuple[int, int]]) -> Chosen:
        """Return the elements of some ranges, leaf by leaf."""
        chosen: dict[int, list[Indices]] = {}
        for start, stop in ranges:
            for leaf, where in self.directions.slices(start, stop):
                chosen.setdefault(leaf, []).append(np.arange(where.start, where.stop))
        return {leaf: np.unique(np.concatenate(parts)) for leaf, parts in chosen.items()}

    # ---- one by one -------------------------------------------------------------------------------------------------

    def _look_at(self, chosen: Chosen, most: int | None = None) -> None:
        """Judge elements one by one; no more than ``most`` of a leaf, those with most evidence, by the ladder."""
        fresh = {}
        for leaf, indices in chosen.items():
            known = np.isin(indices, list(self.looked_at[leaf]))
            self._hold_undecided(leaf, indices[known])
            if not np.all(known):
                fresh[leaf] = indices[~known]
                self.looked_at[leaf].update(map(int, indices[~known]))
        for leaf in fresh.keys() - self.piloted:
            self.piloted.add(leaf)
            step = choose_step(
                self.bench.probe, leaf, self.bench.lengths[leaf], self.bench.noise, self.bench.rtol, self.bench.rng
            )
            self.bench.steps[leaf] = step if step is not None else DEFAULT_STEP
        if not fresh:
            return
        screen(self.bench, fresh)
        for leaf, indices in fresh.items():
            if most is not None:
                self._keep_strongest(leaf, indices, most)
        refine(self.bench)
        suspects = {(suspect.leaf, suspect.index) for suspect, _ in self.bench.suspects}
        for leaf, indices in fresh.items():
            found = self.bench.judgements[leaf]
            for index in map(int, indices):
                if (leaf, index) in suspects or found.wrong[index].any():
                    self.directions.correct(leaf, index, found.reference[index])
            doubtful = [i for i in indices if found.undecided[i].any() and (leaf, int(i)) not in suspects]
            self.directions.hold(leaf, np.array(doubtful, dtype=np.intp))

    def _hold_undecided(self, leaf: int, indices: Indices) -> None:
        """Leave out elements that directions contradict again, after they were looked at."""
        if len(indices):
            found = self.bench.judgements[leaf]
            right = ~found.wrong[indices] & ~found.undecided[indices]
            found.doubt[indices] = np.where(right, Doubt.UNCONFIRMED, found.doubt[indices])
            self.directions.hold(leaf, indices)

    def _keep_strongest(self, leaf: int, indices: Indices, most: int) -> None:
        """Leave most of what contradicts its claim undecided."""
        found = self.bench.judgements[leaf]
        doubtful = indices[np.any(found.doubt[indices] == Doubt.NOISE, axis=1)]
        with np.errstate(all="ignore"):
            apart = np.abs(self.bench.claims[leaf].values[doubtful] - found.reference[doubtful]) / found.noise[doubtful]
        order = np.argsort(-np.max(np.nan_to_num(apart, nan=0.0), axis=1, initial=0.0), kind="stable")
        rest = doubtful[order[most:]]
        found.doubt[rest] = np.where(found.doubt[rest] == Doubt.NOISE, Doubt.GROUP, found.doubt[rest])

    # ---- many at once -----------------------------------------------------------------------------------------------

    def _is_dense(self, left: list[Group]) -> bool:
        """Look at a sample of a crowd; where much of it is wrong, leave the others of it undecided."""
        left = sorted(left, key=lambda group: -group.significance)
        everything = self._elements([(group.part.start, group.part.stop) for group in left])
        share = max(LEAST_SAMPLE, SAMPLE // len(everything))
        sample = {leaf: self._sample(indices, share) for leaf, indices in everything.items()}
        self._look_at(sample, MOST_ACCUSED)
        contradicted = {
            leaf: np.count_nonzero(np.any(found.wrong[sample[leaf]] | found.undecided[sample[leaf]], axis=1))
            for leaf, found in self.bench.judgements.items()
            if leaf in sample
        }
        dense = [leaf for leaf, count in contradicted.items() if count >= DENSE * len(sample[leaf])]
        for leaf in dense:
            found = self.bench.judgements[leaf]
            rest = everything[leaf]
            rest = rest[np.all(found.doubt[rest] == Doubt.NOT_PROBED, axis=1)]
            found.doubt[rest] = Doubt.GROUP
            self.directions.hold(leaf, rest)
        return bool(dense)

    def _sample(self, indices: Indices, count: int) -> Indices:
        """Choose some elements: all, or as many neighbours as others drawn at random."""
        if len(indices) <= count:
            return indices
        start = int(self.bench.rng.integers(len(indices) - count // 2))
        drawn = self.bench.rng.choice(len(indices), size=count // 2, replace=False)
        return indices[np.union1d(drawn, np.arange(start, start + count // 2))]

    # ---- when all agree -----------------------------------------------------------------------------------------------

    def _clear_of_kinks(self, parts: list[Part]) -> None:
        """Accuse suspects where directions, once they are corrected, show that there is no kink.

        Along random directions of all elements the functions are then linear, with the measured derivatives: another
        claim is valid for none of the suspects whose error would show along them.
        """
        rest = []
        for suspect, concerned in self.bench.suspects:
            moves = np.abs([self.directions.component(part, suspect.leaf, suspect.index) for part in parts])
            with np.errstate(all="ignore"):
                stake = np.abs(suspect.claimed - suspect.reference) - suspect.bound
                shows = moves[:, None] * stake > 2 * DISAGREES * self.slopes.deviation
            if np.any(suspect.gap) or np.any(np.count_nonzero(shows, axis=0)[concerned] < INFORMATIVE):
                rest.append((suspect, concerned))
                continue
            found = self.bench.judgements[suspect.leaf]
            found.wrong[suspect.index] |= concerned
            found.doubt[suspect.index] = np.where(concerned, Doubt.NONE, found.doubt[suspect.index])
        self.bench.suspects = rest

    def _conclude(self) -> None:
        """Clear the elements that were not looked at, where the last directions agree."""
        doubt = Doubt.NONE if self.agrees else Doubt.GROUP
        with np.errstate(all="ignore"):
            unsure = POWER * np.median(self.slopes.deviation + self.allowed / DISAGREES, axis=0)
        for leaf, found in self.bench.judgements.items():
            found.doubt[found.doubt == Doubt.NOT_PROBED] = doubt
            found.floor_along = unsure / self.directions.shortest(leaf) if self.agrees else np.full_like(unsure, np.inf)

    # ---- what could hide ------------------------------------------------------------------------------------------------

    def require_sight(self) -> None:
        """Look again, with longer steps, at leaves in which more could hide than their typical element."""
        if not self.agrees:
            return
        for leaf, found in self.bench.judgements.items():
            step = self.directions.step
            while not self._sees(leaf, found) and self.directions.step < FIRST_STEP:
                self.directions.step = min(self.directions.step * LONGER, FIRST_STEP)
                parts = [self.directions.draw(*self.directions.of_leaf(leaf)) for _ in range(DIRECTIONS)]
                slopes = self.directions.measure(parts)
                if np.any(slopes.significance > DISAGREES):  # a kink or truncation: longer steps say nothing
                    break
                floor = POWER * np.median(slopes.deviation, axis=0) / self.directions.shortest(leaf)
                found.floor_along = np.minimum(found.floor_along, floor)
            self.directions.step = step
            if not self._sees(leaf, found):
                self._look_at_leaf(leaf, found)

    def _sees(self, leaf: int, found: Judgement) -> bool:
        """Tell whether an error the size of a leaf's typical element would show, or as small a one as anyone can see."""
        claims = self.bench.claims[leaf].values
        size = rms(claims)
        length = float(np.median(self.bench.lengths[leaf]))
        visible = 2 * self.bench.multiplier * self.bench.noise / (FIRST_STEP * length)
        return bool(np.any(found.floor_along <= np.maximum(size, visible)) or not np.any(claims))

    def _look_at_leaf(self, leaf: int, found: Judgement) -> None:
        """Look at the elements of a small leaf one by one; those of a large one stay undecided."""
        count = len(found.doubt)
        if count <= SMALL:
            rest = np.array([i for i in range(count) if i not in self.looked_at[leaf]], dtype=np.intp)
            found.doubt[rest] = Doubt.NOT_PROBED
            self._look_at({leaf: rest})
            try_suspects(self.bench)
            return
        unseen = np.isnan(found.reference) & (found.doubt == Doubt.NONE) & ~found.wrong
        found.doubt[unseen] = Doubt.NOISE


def _group(part: Part, slopes: Slopes, row: int) -> Group:
    variance = slopes.deviation[row] ** 2
    return Group(part, slopes.residual[row], variance, variance)
