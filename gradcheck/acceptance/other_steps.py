"""Tests of the elements that screening accepted: all are moved together, by steps far shorter or longer than those of screening.

A difference does not see what is narrower than its step, such as a bump between its points or a fast wave. Nor does it see a
slope whose effect over the step is below rounding: a leaf has one step, suited to its steepest elements, over which any small
claim for another agrees. If steps as short as noise allows, or longer ones, contradict the claims along a random direction,
the elements responsible are found by halving and measured again.
"""

from __future__ import annotations

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import MOST_HIDDEN, Outcome
from gradcheck.acceptance.ledger import by_leaf, rms
from gradcheck.acceptance.quiet import MOST_GROUPS
from gradcheck.aliases import Bools, Chosen, Floats, Indices
from gradcheck.differences.ladder import FEWEST_LEVELS
from gradcheck.differences.lengths import CLOSEST, FIRST_STEP, RATIO
from gradcheck.differences.noise import DISAGREES
from gradcheck.functions.blocks import random_signs
from gradcheck.functions.displacements import Moves

__all__ = ["recheck_accepted", "recheck_hidden"]


def recheck_accepted(bench: Bench) -> None:
    """Mark the differences of accepted elements as nonlinear if shorter steps contradict them.

    Costs eight calls if they do not.
    """
    accepted = {leaf: _accepted(bench, leaf) for leaf in bench.claims if leaf not in bench.exact}
    accepted = {leaf: indices for leaf, indices in accepted.items() if len(indices)}
    if not accepted or bench.probe.budget.left < 2 * FEWEST_LEVELS:
        return
    line = _Line(bench, accepted, bench.steps)
    for step in line.shorter_steps():
        residual = line.residual(accepted, step)
        if line.is_significant(accepted, residual, step / 2):
            line.mark_nonlinear(accepted, residual, step)
            return


def recheck_hidden(bench: Bench) -> None:
    """Mark the differences of accepted elements as nonlinear if rounding hides their errors and longer steps contradict them.

    Costs four calls if they do not, and two to four more at kinks or with truncation.
    """
    for step in (FIRST_STEP, RATIO * FIRST_STEP / 2):
        hidden = {leaf: _hidden(bench, leaf, step) for leaf in bench.claims if leaf not in bench.exact}
        hidden = {leaf: indices for leaf, indices in hidden.items() if len(indices)}
        if not hidden or bench.probe.budget.left < 6 or not bench.noise_is_rounding:
            return
        line = _Line(bench, hidden, dict.fromkeys(hidden, step), is_far=True)
        residual = line.residual(hidden, 1.0)
        # An error of the claim is the same over all steps at which noise does not hide it, back to those of screening.
        shortest = max(bench.steps[leaf] for leaf in hidden) / step
        visible = float(np.clip(line.visible(residual), shortest, 0.5))
        if line.is_significant(hidden, residual, 0.5) and line.persists(hidden, residual, visible):
            line.mark_nonlinear(hidden, residual, 1.0)
            return


def _accepted(bench: Bench, leaf: int) -> Indices:
    """Return the elements of a leaf that are accepted so far."""
    known = bench.ledgers[leaf].known
    if not len(known):
        return known
    found = bench.decide(leaf, known)
    is_cleared = ((found.outcome == Outcome.RIGHT) | (found.outcome == Outcome.RIGHT_TO_RESOLUTION)).all(axis=1)
    return np.asarray(known[is_cleared & np.isfinite(found.reference).all(axis=1)])


def _hidden(bench: Bench, leaf: int, step: float) -> Indices:
    """Return the accepted elements in which noise hides errors above the tolerance, if a longer step would hide less."""
    accepted = _accepted(bench, leaf)
    if not len(accepted) or RATIO * bench.steps[leaf] >= step:
        return accepted[:0]
    noise = bench.decide(leaf, accepted).noise
    return np.asarray(accepted[(noise > bench.rtol * np.abs(bench.claims[leaf].values[accepted])).any(axis=1)])


class _Line:
    """Accepted elements along one random direction: each moves by the step of its leaf, up or down. If ``is_far`` that may cross kinks."""

    def __init__(self, bench: Bench, accepted: Chosen, steps: dict[int, float], *, is_far: bool = False) -> None:
        self.bench = bench
        self.is_far = is_far
        self.groups = 0
        self.moves = {}
        for leaf, indices in accepted.items():
            move = np.zeros_like(bench.lengths[leaf])
            size = steps[leaf] * bench.lengths[leaf][indices]
            move[indices] = size * random_signs(len(indices), bench.rng) * bench.rng.uniform(0.5, 1.0, len(indices))
            self.moves[leaf] = move
        parts = [self._parts(leaf, indices) for leaf, indices in accepted.items()]
        self.size = rms(np.concatenate(parts)) * np.sqrt(sum(map(len, parts)))
        self._last: tuple[Chosen, Moves, Floats] = {}, {}, np.zeros((3, len(bench.base)))

    def _parts(self, leaf: int, indices: Indices) -> Floats:
        """Return what each element contributes to the claimed derivative along the direction, shape (m, K)."""
        return np.asarray(self.bench.claims[leaf].values[indices] * self.moves[leaf][indices, None])

    def shorter_steps(self) -> Floats:
        """Return the steps, in units of the screening step, shortest last."""
        hidden = self.bench.multiplier * self.bench.noise / np.sqrt(2) / (MOST_HIDDEN * self.size)
        shortest = np.clip(hidden[np.isfinite(hidden)].min(initial=1.0), CLOSEST, 1.0)
        if not (self.size > 0).any():
            shortest = CLOSEST
        return np.asarray(shortest ** (np.arange(1, FEWEST_LEVELS + 1) / FEWEST_LEVELS))

    def residual(self, group: Chosen, step: float) -> Floats:
        """Return residual, uncertainty and half the gap of one-sided slopes along the direction of a group, shape (3, K).

        The residual is claimed minus measured derivative; the uncertainty is made of noise and tolerance. For a smooth function the
        gap is proportional to the step, at a kink it is constant.
        """
        bench = self.bench
        if self._last[0] is not group:  # asked several times, with shorter and shorter steps
            self._last = group, self._moves_of(group), self._claimed_along(group)
        _, moves, (claimed, rounding, allowed) = self._last
        values = bench.probe.ray(moves, np.array([step, -step]))
        deviation = np.fmax(bench.noise, np.spacing(np.abs(values)).max(axis=0) / 2)
        hidden = (bench.multiplier * deviation / np.sqrt(2) + rounding) / step + allowed
        slope, gap = (values[0] - values[1]) / (2 * step), (values[0] + values[1] - 2 * bench.base) / (2 * step)
        return np.array([claimed - slope, hidden, gap])

    def _moves_of(self, group: Chosen) -> Moves:
        """Return how the elements of a group move."""
        moves = {leaf: np.zeros_like(self.moves[leaf]) for leaf in group}
        for leaf, indices in group.items():
            moves[leaf][indices] = self.moves[leaf][indices]
        return moves

    def _claimed_along(self, group: Chosen) -> Floats:
        """Return the claimed derivative along the direction of a group, the effect of the elements' rounding, and the tolerance, (3, K)."""
        bench, sums = self.bench, np.zeros((3, len(self.bench.base)))
        for leaf, indices in group.items():
            claim, parts = bench.claims[leaf], self._parts(leaf, indices)
            spacing = bench.resolution(leaf, indices) / 2
            roundoff = claim.roundoff(bench.ledgers[leaf].typical_size(), indices) * np.abs(
                self.moves[leaf][indices, None]
            )
            sums[0] += parts.sum(axis=0)
            sums[1] += (np.abs(claim.values[indices]) * spacing[:, None]).sum(axis=0)
            sums[2] += (bench.rtol * np.abs(parts) + roundoff).sum(axis=0)
        return sums

    def is_significant(self, group: Chosen, residual: Floats, step: float) -> bool:
        """Tell whether a residual is neither noise nor truncation, which falls to a quarter with half the step, nor a kink."""
        return _is_seen(residual) and self.persists(group, residual, step, crosses_kinks=self.is_far)

    def persists(self, group: Chosen, residual: Floats, step: float, *, crosses_kinks: bool = False) -> bool:
        """Tell whether over a shorter step more than half of a residual remains, and more than noise or a kink explains."""
        error, hidden, gap = residual
        seen = np.isfinite(error) & (np.abs(error) > hidden)
        shorter, hidden, shorter_gap = self.residual(group, step)
        if crosses_kinks:  # a kink changes the slope by at most 2.83 times this deviation from a smooth function
            hidden = hidden + DISAGREES * np.hypot(error - shorter, shorter_gap - step * gap)
        return bool((seen & (np.abs(shorter) > hidden) & (np.abs(shorter) > np.abs(error) / 2)).any())

    @staticmethod
    def visible(residual: Floats) -> float:
        """Return the shortest step, in units of that of the residual, at which noise does not hide half of the residual."""
        error, hidden, _ = np.abs(residual)
        return float(np.fmin.reduce(2 * hidden / np.fmax(error, hidden)))  # no error in a column of zeros

    def mark_nonlinear(self, group: Chosen, residual: Floats, step: float) -> None:
        """Find the elements that cause the residual of a group, by halving, and mark their differences as nonlinear."""
        places = [(leaf, index) for leaf, indices in group.items() for index in indices]
        if len(places) == 1:
            leaf, index = places[0]
            self.bench.ledgers[leaf].mark_nonlinear(np.array([index]), self._is_unexplained(residual))
            return
        if self.groups >= MOST_GROUPS or self.bench.probe.budget.left < 4:
            return
        self.groups += 1
        first, second = (by_leaf(part) for part in (places[: len(places) // 2], places[len(places) // 2 :]))
        left, right = (self.residual(half, step) for half in (first, second))
        if not _is_seen(left) and not _is_seen(right):  # as where elements tie: no half shows it alone
            for leaf, indices in group.items():
                self.bench.ledgers[leaf].mark_nonlinear(indices, self._is_unexplained(residual))
        for half, found in ((first, left), (second, right)):
            if _is_seen(found):
                self.mark_nonlinear(half, found, step)

    def _is_unexplained(self, residual: Floats) -> Bools:
        """Tell where a residual is neither noise nor a kink on one side of the point, whose gap would be as large; shape (K,)."""
        error, hidden, gap = np.abs(residual)
        return np.asarray(error > hidden + (gap if self.is_far else 0.0))


def _is_seen(residual: Floats) -> bool:
    """Tell whether a residual is more than noise and tolerance explain."""
    return bool((np.isfinite(residual[0]) & (np.abs(residual[0]) > residual[1])).any())
