"""A test of the elements that screening accepted: all are moved together, by steps much shorter than those of screening.

A difference does not see what is narrower than its step, such as a bump between its points or a fast wave, and a claim may
agree with it for that reason alone. Where steps as short as noise allows contradict the claims along a random direction,
the elements responsible are found by halving and measured again.
"""

from __future__ import annotations

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import MOST_HIDDEN, Outcome
from gradcheck.acceptance.ledger import by_leaf, rms
from gradcheck.acceptance.quiet import MOST_GROUPS
from gradcheck.aliases import Chosen, Floats, Indices
from gradcheck.differences.ladder import FEWEST_LEVELS
from gradcheck.differences.lengths import CLOSEST
from gradcheck.functions.blocks import random_signs
from gradcheck.functions.displacements import Moves

__all__ = ["recheck_accepted"]


def recheck_accepted(bench: Bench) -> None:
    """Mark the differences of accepted elements as nonlinear if shorter steps contradict them.

    Costs eight calls if they do not.
    """
    accepted = {leaf: _accepted(bench, leaf) for leaf in bench.claims if leaf not in bench.exact}
    accepted = {leaf: indices for leaf, indices in accepted.items() if len(indices)}
    if not accepted or bench.probe.budget.left < 2 * FEWEST_LEVELS:
        return
    line = _Line(bench, accepted)
    for share in line.shares():
        residual = line.residual(accepted, share)
        if line.is_significant(accepted, residual, share):
            line.mark_nonlinear(accepted, residual, share)
            return


def _accepted(bench: Bench, leaf: int) -> Indices:
    """Return the elements of a leaf that are accepted so far."""
    known = bench.ledgers[leaf].known
    if not len(known):
        return known
    found = bench.decide(leaf, known)
    is_cleared = ((found.outcome == Outcome.RIGHT) | (found.outcome == Outcome.RIGHT_TO_RESOLUTION)).all(axis=1)
    return np.asarray(known[is_cleared & np.isfinite(found.reference).all(axis=1)])


class _Line:
    """Accepted elements along one random direction: each moves by its screening step, up or down."""

    def __init__(self, bench: Bench, accepted: Chosen) -> None:
        self.bench = bench
        self.groups = 0
        self.moves = {}
        for leaf, indices in accepted.items():
            move = np.zeros_like(bench.lengths[leaf])
            step = bench.steps[leaf] * bench.lengths[leaf][indices]
            move[indices] = step * random_signs(len(indices), bench.rng) * bench.rng.uniform(0.5, 1.0, len(indices))
            self.moves[leaf] = move
        parts = [self._parts(leaf, indices) for leaf, indices in accepted.items()]
        self.size = rms(np.concatenate(parts)) * np.sqrt(sum(map(len, parts)))
        self._last: tuple[Chosen, Moves, Floats] = {}, {}, np.zeros((3, len(bench.base)))

    def _parts(self, leaf: int, indices: Indices) -> Floats:
        """Return what each element contributes to the claimed derivative along the direction, shape (m, K)."""
        return np.asarray(self.bench.claims[leaf].values[indices] * self.moves[leaf][indices, None])

    def shares(self) -> Floats:
        """Return the steps, in units of the screening step, shortest last."""
        hidden = self.bench.multiplier * self.bench.noise / np.sqrt(2) / (MOST_HIDDEN * self.size)
        shortest = np.clip(hidden[np.isfinite(hidden)].min(initial=1.0), CLOSEST, 1.0)
        if not (self.size > 0).any():
            shortest = CLOSEST
        return np.asarray(shortest ** (np.arange(1, FEWEST_LEVELS + 1) / FEWEST_LEVELS))

    def residual(self, group: Chosen, share: float) -> Floats:
        """Return claimed minus measured derivative along the direction of a group, and how much of it noise and tolerance explain, (2, K)."""
        bench = self.bench
        if self._last[0] is not group:  # asked several times, with shorter and shorter steps
            self._last = group, self._moves_of(group), self._claimed_along(group)
        _, moves, (claimed, rounding, allowed) = self._last
        values = bench.probe.ray(moves, np.array([share, -share]))
        deviation = np.fmax(bench.noise, np.spacing(np.abs(values)).max(axis=0) / 2)
        hidden = (bench.multiplier * deviation / np.sqrt(2) + rounding) / share + allowed
        return np.array([claimed - (values[0] - values[1]) / (2 * share), hidden])

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

    def is_significant(self, group: Chosen, residual: Floats, share: float) -> bool:
        """Tell whether a residual is neither noise nor truncation, which falls to a quarter with half the step."""
        error, hidden = residual
        seen = np.isfinite(error) & (np.abs(error) > hidden)
        if not seen.any():
            return False
        shorter, hidden = self.residual(group, share / 2)
        return bool((seen & (np.abs(shorter) > hidden) & (np.abs(shorter) > np.abs(error) / 2)).any())

    def mark_nonlinear(self, group: Chosen, residual: Floats, share: float) -> None:
        """Find the elements that cause the residual of a group, by halving, and mark their differences as nonlinear."""
        places = [(leaf, index) for leaf, indices in group.items() for index in indices]
        if len(places) == 1:
            leaf, index = places[0]
            self.bench.ledgers[leaf].mark_nonlinear(np.array([index]), np.abs(residual[0]) > residual[1])
            return
        if self.groups >= MOST_GROUPS or self.bench.probe.budget.left < 4:
            return
        self.groups += 1
        first, second = (by_leaf(part) for part in (places[: len(places) // 2], places[len(places) // 2 :]))
        left, right = (self.residual(half, share) for half in (first, second))
        if not _is_seen(left) and not _is_seen(right):  # as where elements tie: no half shows it alone
            for leaf, indices in group.items():
                self.bench.ledgers[leaf].mark_nonlinear(indices, np.abs(residual[0]) > residual[1])
        for half, found in ((first, left), (second, right)):
            if _is_seen(found):
                self.mark_nonlinear(half, found, share)


def _is_seen(residual: Floats) -> bool:
    """Tell whether a residual is more than noise and tolerance explain."""
    return bool((np.abs(residual[0]) > residual[1]).any())
