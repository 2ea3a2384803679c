"""The rule of acceptance along random directions: clear elements together, and accuse them one by one.

Claim and derivative are compared along four random directions of all elements. Where they disagree the elements that
are wrong are located by group testing, and measured singly by the same ladder, with the same confirmation, as if
every element were looked at. The search ends when four fresh directions, the wrong elements corrected, agree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.bench import Bench, Doubt, rms
from gradcheck.acceptance.crowds import CROWD, Crowds
from gradcheck.acceptance.directions import Directions, Part, Slopes
from gradcheck.acceptance.group_testing import CERTAIN, DISAGREES, Group, groups_of, locate
from gradcheck.acceptance.one_by_one import ALLOWANCE, DIRECTIONS, Singly
from gradcheck.acceptance.refinement import try_suspects
from gradcheck.differences.ladder import FIRST_STEP
from gradcheck.differences.steps import DEFAULT_STEP, measure_noise

__all__ = ["search"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

SMALL_COMPONENT, UNLUCKY = 0.508, 2.33
"""The component of an element along a direction is larger, and noise is smaller, in 99 of 100 cases."""

MOST_ROUNDS = 8
"""Searches, each of which begins with fresh directions."""

MOST_FRUITLESS = 2
"""Searches in which no element to look at was found."""

INFORMATIVE = 3
"""Directions along which an error must show, so that their agreement once it is corrected says that there is no kink."""

MOST_TRIED = 24
"""Elements at a kink whose claims are tried."""

CLEAN = 4.0
"""Times the noise: more is unsure about a slope than noise explains, and a shorter step is tried."""

SHORTENED, MOST_SHORTENED = 4.0, 3

LONGER = 4.0
"""Times the step, for a leaf whose gradient is small beside the noise."""

DEEPEST = 4
"""So often such a leaf is parted in four, so that fewer elements move at once."""

MOST_CLOSER = 2000
"""Calls spent on such leaves."""

COMMON = 0.05
"""Or an error of this share of every element must show, as it does first where there are many."""

WRONG_SIGN = 2.0
"""In units of the root mean square of a leaf: an error that must show, or the leaf is undecided."""

SMALL = 128
"""A leaf of no more elements than this is looked at element by element where directions do not see enough of it."""


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
    run.conclude()


class _Search:
    """What is known of the elements that no direction has cleared yet."""

    def __init__(self, bench: Bench, directions: Directions) -> None:
        self.bench = bench
        self.directions = directions
        self.singly = Singly(bench, directions)
        self.crowds = Crowds(self.singly)
        self.contradicted = False
        """Whether directions of all elements contradict the claims beyond doubt, and no element does."""
        self._enough: dict[int, Floats] = {}
        self._until = 0
        for found in bench.judgements.values():
            found.floor_along = np.full_like(found.floor_along, np.inf)

    def locate_all(self) -> None:
        """Search until fresh directions agree with what is claimed, or measured, of all elements."""
        self.singly.look_at_infinite()
        parts, slopes = self._set_zeros_apart(*self._first_look())
        fruitless = 0
        for number in range(MOST_ROUNDS):
            if number:
                parts = [self.directions.whole() for _ in range(DIRECTIONS)]
                slopes = self.directions.measure(parts)
            allowed = np.zeros_like(slopes.residual)
            if number and not self.bench.accuses:  # all may be a little off, by what is allowed to each
                allowed = ALLOWANCE * self.directions.allowed(parts)
            if not np.any(np.abs(slopes.residual) > DISAGREES * slopes.deviation + allowed):
                self._clear_of_kinks(parts, slopes)
                for leaf in self.directions.leaves:
                    self.bench.judgements[leaf].floor_along = self._floor(leaf, slopes, allowed)
                break
            if fruitless == MOST_FRUITLESS:
                self.contradicted = bool(np.max(slopes.significance) >= CERTAIN)
                break
            worst = int(np.argmax(slopes.significance))
            fruitless += not self._search(groups_of(parts, slopes)[worst])
        self._try_suspects()

    def _first_look(self) -> tuple[list[Part], Slopes]:
        """Measure along four directions, with a shorter step where kinks and truncation leave more unsure than noise."""
        parts = [self.directions.whole() for _ in range(DIRECTIONS)]
        slopes = self.directions.measure(parts)
        for _ in range(MOST_SHORTENED):
            unsure, step = np.median(slopes.deviation, axis=0), self.directions.step
            if not np.any(unsure > CLEAN * self.bench.noise):
                break
            self.directions.step = step / SHORTENED
            shorter = [self.directions.whole() for _ in range(DIRECTIONS)]
            their_slopes = self.directions.measure(shorter)
            if np.any(np.median(their_slopes.deviation, axis=0) * SHORTENED > unsure):
                self.directions.step = step
                break
            parts, slopes = shorter, their_slopes
        return parts, slopes

    def _set_zeros_apart(self, parts: list[Part], slopes: Slopes) -> tuple[list[Part], Slopes]:
        """Look one by one at elements that are exactly zero, where directions without them cross fewer kinks.

        There a function often has its kink at the point itself, as ``abs`` has, or a ReLU of nothing but its bias.
        """
        values = {leaf: self.bench.leaves[leaf].value.ravel() for leaf in self.bench.claims}
        zeros = {leaf: np.flatnonzero(value == 0) for leaf, value in values.items() if np.any(value == 0)}
        unsure = np.median(slopes.deviation, axis=0)
        if not 0 < sum(map(len, zeros.values())) <= SMALL or not np.any(unsure > CLEAN * self.bench.noise):
            return parts, slopes
        for leaf, indices in zeros.items():
            self.directions.hold(leaf, indices)
        without = self.directions.measure(parts)
        if np.any(np.median(without.deviation, axis=0) > unsure / SHORTENED):
            for leaf, indices in zeros.items():
                self.directions.release(leaf, indices)
            return parts, slopes
        self.singly.look_at(zeros)
        return parts, self.directions.measure(parts)

    def _search(self, group: Group) -> bool:
        """Locate wrong elements in a group and look at them; tell whether there were any to look at."""
        before = self.singly.count
        found, left = locate(self.directions, [group], CROWD)
        if left:
            found += self.crowds.part(group, sorted(left, key=lambda group: -group.significance))
        self.singly.look_at(self.directions.elements_of(group.part for group in found))
        return self.singly.count > before

    def _clear_of_kinks(self, parts: list[Part], slopes: Slopes) -> None:
        """Accuse suspects where directions, once they are corrected, show that there is no kink.

        Along random directions of all elements the functions are then linear, with the measured derivatives: another
        claim is valid for none of the suspects whose error would show along them.
        """
        rest = []
        for suspect, concerned in self.bench.suspects:
            moves = np.abs([self.directions.component(part, suspect.leaf, suspect.index) for part in parts])
            with np.errstate(all="ignore"):
                stake = np.abs(suspect.claimed - suspect.reference) - suspect.bound
                shows = moves[:, None] * stake > 2 * DISAGREES * slopes.deviation
            if np.any(suspect.gap) or np.any(np.count_nonzero(shows, axis=0)[concerned] < INFORMATIVE):
                rest.append((suspect, concerned))
                continue
            found = self.bench.judgements[suspect.leaf]
            found.wrong[suspect.index] |= concerned
            found.doubt[suspect.index] = np.where(concerned, Doubt.NONE, found.doubt[suspect.index])
        self.bench.suspects = rest

    def _try_suspects(self) -> None:
        """Give suspects their trial, of those at a kink no more than are worth its calls; the others stay undecided."""
        at_kink = [suspect for suspect, _ in self.bench.suspects if np.any(suspect.gap)]
        untried = {id(suspect) for suspect in at_kink[MOST_TRIED:]}
        self.bench.suspects = [pair for pair in self.bench.suspects if id(pair[0]) not in untried]
        try_suspects(self.bench)
        for suspect, _ in self.bench.suspects:
            is_wrong = self.bench.judgements[suspect.leaf].wrong[suspect.index].any()
            if not is_wrong:  # it is at a kink, of which directions say nothing
                self.directions.hold(suspect.leaf, np.array([suspect.index]))
        self.bench.suspects = []

    # ---- what could hide ------------------------------------------------------------------------------------------------

    def conclude(self) -> None:
        """Clear the elements that were not looked at, where directions show enough of them; else look closer."""
        blurred = [leaf for leaf in self.directions.leaves if not self._sees(leaf)]
        self._until = self.bench.probe.budget.used + MOST_CLOSER
        for leaf in [] if self.contradicted else blurred:
            if len(self.bench.judgements[leaf].doubt) <= SMALL:
                self._look_at_all(leaf)
            else:
                step, part = self.directions.step, self.directions.of_leaf(leaf)
                found = self.bench.judgements[leaf]
                found.floor_along = self._look_closer(leaf, part, found.floor_along, DEEPEST)
                self.directions.step = step
        self._try_suspects()
        for leaf in self.directions.leaves:
            found = self.bench.judgements[leaf]
            hidden = Doubt.NOISE if np.any(np.isfinite(found.floor_along)) else Doubt.GROUP
            unseen = found.doubt == Doubt.NOT_PROBED
            found.doubt[unseen] = Doubt.NONE if self._sees(leaf) else hidden

    def _look_closer(self, leaf: int, piece: Part, floor: Floats, deeper: int) -> Floats:
        """Measure a piece of a leaf with longer and longer steps while they agree; then parts of it, as need be.

        The fewer elements move, the fewer kinks are crossed. Returns the least error that shows, shape (K,).
        """
        step = self.directions.step
        while not self._is_enough(leaf, floor) and self.directions.step < FIRST_STEP:
            self.directions.step = min(self.directions.step * LONGER, FIRST_STEP)
            slopes = self._agreeing(piece)
            if slopes is None:
                break
            seen = self._floor(leaf, slopes)
            if not np.any(seen < floor):
                break
            floor, step = np.minimum(seen, floor), self.directions.step
        if self._is_enough(leaf, floor) or not deeper or self.bench.probe.budget.used > self._until:
            return floor
        if piece.size <= SMALL:
            self.singly.look_at(self.directions.elements_of([piece]))
            return np.zeros_like(floor)
        floors = []
        for half in self.directions.halves(piece):
            for quarter in self.directions.halves(half):
                self.directions.step = step / LONGER
                floors.append(self._look_closer(leaf, quarter, floor, deeper - 1))
        return np.asarray(np.max(floors, axis=0))

    def _agreeing(self, piece: Part) -> Slopes | None:
        """Measure along directions of a piece of a leaf; None where they disagree even when what is wrong is corrected."""
        for _ in range(2):
            parts = [self.directions.draw(piece.start, piece.stop) for _ in range(DIRECTIONS)]
            slopes = self.directions.measure(parts)
            worst = int(np.argmax(slopes.significance))
            if slopes.significance[worst] <= DISAGREES:
                return slopes
            self._search(groups_of(parts, slopes)[worst])
        return None

    def _floor(self, leaf: int, slopes: Slopes, allowed: Floats | float = 0.0) -> Floats:
        """Return the least error in an element of a leaf that shows along the best of some directions, shape (K,).

        In 99 of 100 checks: neither its component nor the noise is then worse than assumed.
        """
        needed = DISAGREES * slopes.deviation + allowed + UNLUCKY * self.bench.noise / np.sqrt(2)
        seen = np.min(needed, axis=0) / (SMALL_COMPONENT * self.directions.shortest(leaf))
        return np.asarray(seen + self.bench.rtol * rms(self.bench.claims[leaf].values))

    def _sees(self, leaf: int) -> bool:
        """Tell whether directions show enough of a leaf."""
        return self._is_enough(leaf, self.bench.judgements[leaf].floor_along)

    def _is_enough(self, leaf: int, floor: Floats) -> bool:
        """Tell whether a wrong sign of a leaf's typical element would show, or as small an error as anyone can see.

        Where a leaf has no gradient at all its typical element is that of all leaves, by its effect.
        """
        if leaf not in self._enough:
            claims = self.bench.claims[leaf].values
            visible = 2 * self.bench.multiplier * self.bench.noise / self.directions.shortest(leaf, FIRST_STEP)
            size = (
                rms(claims)
                if np.any(claims)
                else _typical_effect(self.bench, self.directions.leaves) / np.median(self.bench.lengths[leaf])
            )
            common = COMMON * np.sqrt(len(claims))
            self._enough[leaf] = np.maximum(max(WRONG_SIGN, common) * size, visible)
        return bool(np.any(floor <= self._enough[leaf]))

    def _look_at_all(self, leaf: int) -> None:
        """Look at the elements of a leaf one by one."""
        found = self.bench.judgements[leaf]
        rest = np.array([i for i in range(len(found.doubt)) if i not in self.singly.looked_at[leaf]], dtype=np.intp)
        found.doubt[rest] = Doubt.NOT_PROBED
        self.singly.look_at({leaf: rest})


def _typical_effect(bench: Bench, leaves: list[int]) -> Floats:
    """Return the root mean square of what all elements do to the functions, each moved by its length; shape (K,)."""
    effects = [rms(bench.claims[leaf].values) * float(np.median(bench.lengths[leaf])) for leaf in leaves]
    counts = np.array([len(bench.claims[leaf].values) for leaf in leaves])
    with np.errstate(all="ignore"):
        return np.asarray(np.sqrt(counts @ np.array(effects) ** 2 / np.sum(counts)))
