"""The chain as a whole: do the gradients of right stages make the gradient of their composition.

They do by the chain rule, unless stages hand on more than their outputs: through shared state, or shared memory. Leaves
are moved together along a few random directions, near the point and not at it: there ties are broken, and what a
composition of valid gradients at a tie gives need not be valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.checks.check import Check
from gradcheck.checks.layers import LayerSubject
from gradcheck.checks.run import run
from gradcheck.checks.stages import Passage
from gradcheck.differences.lengths import lengths_of
from gradcheck.functions.blocks import random_signs
from gradcheck.functions.float_errors import at_our_own_points
from gradcheck.functions.options import Settings
from gradcheck.functions.points import point_of
from gradcheck.reports.claims import read_gradient
from gradcheck.reports.report import Verdict

__all__ = ["Outcome", "check_composition"]

Place = tuple[int, int]
"""Position of a stage, position of a leaf in it."""

DIRECTIONS = 6
"""Leaves are shared out over so many directions: the cost stays that of a function of six variables."""

AWAY = (0.01, 1e-4)
"""How far the second point is from the first, in lengths of each element; the next is tried where there is no value."""


@dataclass(slots=True)
class Outcome:
    """What was found about a composition.

    Attributes
    ----------
    verdict : {"pass", "fail", "inconclusive"}
    position : int
        For "fail": the last stage from which on the composition is wrong.
    evaluations, gradient_evaluations : int
        Calls of forwards and of backwards.
    """

    verdict: Verdict = "inconclusive"
    position: int = 0
    evaluations: int = 0
    gradient_evaluations: int = 0


def check_composition(passages: Sequence[Passage], settings: Settings, limit: float) -> Outcome:
    """Compare the gradient of stages that follow each other with differences of what they compute together.

    Parameters
    ----------
    passages : sequence of Passage
        The last stages of a chain, as far as an upstream reaches.
    settings : Settings
    limit : float
        The most calls of forwards.

    Notes
    -----
    Costs about 80 calls of each forward; when it is wrong as many again for each halving of the stages.
    """
    outcome = Outcome()

    def judge(position: int) -> Verdict:
        """Check the stages from a position on."""
        composition = _Composition(passages[position:], settings)
        verdict = composition.check(limit - outcome.evaluations)
        outcome.evaluations += composition.evaluations
        outcome.gradient_evaluations += composition.gradient_evaluations
        return verdict

    outcome.verdict = judge(0)
    if outcome.verdict == "fail":  # seen again elsewhere and along other directions, or nothing is called wrong
        outcome.verdict = "fail" if judge(0) == "fail" else "inconclusive"
    if outcome.verdict == "fail":
        right = len(passages)
        while right - outcome.position > 1:
            middle = (outcome.position + right) // 2
            if judge(middle) == "fail":
                outcome.position = middle
            else:
                right = middle
    return outcome


class _Composition:
    """Stages that follow each other, seen from a point near the given one along random directions.

    Parameters
    ----------
    passages : sequence of Passage
        Of stages that an upstream reaches.
    settings : Settings
    """

    def __init__(self, passages: Sequence[Passage], settings: Settings) -> None:
        self.passages = passages
        self.settings = settings
        self.evaluations = 0
        self.gradient_evaluations = 0

    def check(self, limit: float) -> Verdict:
        """Compare the claimed slopes with differences, in at most ``limit`` calls of forwards."""
        for away in AWAY:
            most = int((limit - self.evaluations) // len(self.passages)) if np.isfinite(limit) else None
            if most is not None and most < 1:
                return "inconclusive"
            verdict = self._check_near(away, most)
            if verdict is not None:
                return verdict
        return "inconclusive"

    def _check_near(self, away: float, most: int | None) -> Verdict | None:
        """Check at one point; None if the functions raise there, where they need not be defined."""
        self._move(away)
        if not self.start:
            return None
        moves = np.zeros(min(DIRECTIONS, len(self.start)), dtype=self.dtype)
        settings = replace(self.settings, max_evaluations=most, progress=None, workers=None, method="exhaustive")
        subject = LayerSubject(self.forward, self.backward, {"moves": moves})
        check = Check(settings, point_of({"moves": moves}, "moves"), subject)
        try:
            with at_our_own_points():
                report = run(check)
        except Exception:  # noqa: BLE001 - whatever the user's functions raise; the blind spots say it
            return None
        finally:
            self.evaluations += len(self.passages) * check.budget.used
            self.gradient_evaluations += len(self.passages) * subject.calls
        is_wrong = any(parameter.wrong.any() for parameter in report.parameters.values())
        if any(finding.code == "value-not-finite" for finding in report.findings):
            return None
        return "fail" if is_wrong else "pass" if report.ok else "inconclusive"

    def _move(self, away: float) -> None:
        """Draw the point, and for each leaf the direction in which it moves."""
        rng = self.settings.rng
        self.start: dict[Place, Floats] = {}
        self.directions: dict[Place, Floats] = {}
        for number, passage in enumerate(self.passages):
            claimed = passage.reading.values if passage.reading else {}
            for leaf in passage.point.free():
                if leaf not in claimed or (number and leaf in passage.input_leaves):
                    continue
                value = passage.point.leaves[leaf].value
                lengths = lengths_of(value)
                self.start[number, leaf] = value.ravel() + away * lengths * rng.uniform(-1, 1, value.size)
                self.directions[number, leaf] = lengths * random_signs(value.size, rng)
                self.directions[number, leaf] *= rng.uniform(0.5, 1.5, value.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The coarsest dtype of what moves, so that accuracy is asked for accordingly."""
        dtypes = [self.passages[number].point.leaves[leaf].value.dtype for number, leaf in self.start]
        return min(dtypes, key=lambda dtype: dtype.itemsize)

    def forward(self, moves: NDArray[Any]) -> tuple[Any, Any]:
        """Run the stages with all leaves moved."""
        columns = {place: moves[number % len(moves)] for number, place in enumerate(self.start)}
        y, caches = None, []
        for number, passage in enumerate(self.passages):
            arrays = passage.point.copies()
            for leaf, array in enumerate(arrays):
                if (number, leaf) in self.start:
                    moved = self.start[number, leaf] + columns[number, leaf] * self.directions[number, leaf]
                    arrays[leaf] = passage.point.leaves[leaf].format.rounded(moved.reshape(array.shape))
            inputs = passage.point.hand(arrays).tree
            if number:
                inputs[passage.input_name] = y
            y, cache = passage.stage.run(inputs, "at a point near the given one")
            caches.append(cache)
        return y, (caches, len(moves), moves.dtype)

    def backward(self, dy: Any, cache: Any) -> Floats:
        """Pull an upstream back through the stages, and contract it with the directions."""
        caches, count, dtype = cache
        slopes = np.zeros((len(self.start), count))
        rows = {place: (row, row % count) for row, place in enumerate(self.start)}
        for number, passage in reversed(list(enumerate(self.passages))):
            where = "at a point near the given one"
            gradients = passage.stage.pull(dy, caches[number], passage.inputs, where)
            reading = read_gradient(gradients, passage.inputs, passage.point.leaves, optional=True)
            for leaf, values in reading.values.items():
                if (number, leaf) in self.start:
                    slopes[rows[number, leaf]] = values @ self.directions[number, leaf]
            dy = gradients[passage.input_name]
        return np.asarray(slopes.sum(axis=0)).astype(dtype)
