"""Random directions along which many elements move at once, and the residual of a claim along them.

The component of an element is a random sign times a size between 0.5 and 1.32, times its length: no component is small,
so no element hides, and no two errors cancel along all directions. Components are drawn again whenever they are needed,
see `gradcheck.acceptance.components`; nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.components import draw, exact, reach, seed_of
from gradcheck.acceptance.ledger import rms
from gradcheck.acceptance.parts import Part, Span
from gradcheck.aliases import Bools, Chosen, Floats, Indices
from gradcheck.differences.counts import FEW, evenly
from gradcheck.differences.lengths import CLOSEST, FIRST_STEP, RATIO
from gradcheck.differences.noise import DISAGREES, SAME_NOISE
from gradcheck.functions.blocks import BLOCK, SMALL_ARRAY
from gradcheck.functions.displacements import Moves

__all__ = [
    "DIRECTIONS",
    "MISSED",
    "PLACES",
    "Directions",
    "Slopes",
]

SHORTEST_STEP, LONGEST_STEP = 1.0737e-6, FIRST_STEP / RATIO
"""Limits of the step, in units of the elements' lengths; the longer one is the second of a ladder. Networks have many kinks: a step of
1e-3 nearly always crosses one."""

EXPONENT = 0.375
"""The step is this power of the noise of a function, relative to its change along a direction of length one."""

PLACES = np.array([1.0, -1.0, 0.5, -0.5])
"""Positions along a direction, in units of the move, of two central differences; the first two give one."""

TYPICAL = 0.4
"""Two steps can agree by chance. The uncertainty of a directional derivative is therefore at least 0.4 times the
second-smallest disagreement among four directions, which is what that noise level would produce."""

DIRECTIONS = FEW
"""Number of directions after which something is decided about several elements together."""

MISSED = 0.01
"""Probability that an error as large as the detection limit is missed: the limit is based on this quantile of the displacements of a
leaf's elements."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """Predicted and measured changes of the functions along some directions.

    Attributes
    ----------
    parts : tuple of Part, length P
        The directions.
    predicted : tuple of arrays, shape (S, K)
        For each direction the contributions of its spans.
    residual : array, shape (P, K)
        Predicted minus measured change.
    deviation : array, shape (P, K)
        The standard deviation of the residual: noise of the functions, rounding of the claim, and the disagreement of two
        steps (kinks, truncation). Infinite where a function is not finite.
    """

    parts: tuple[Part, ...]
    predicted: tuple[Floats, ...]
    residual: Floats
    deviation: Floats

    def predicted_of(self, leaves: Iterable[int] | None = None) -> Floats:
        """Return the contributions of all leaves, or of some, to the predicted changes, shape (P, K)."""
        rows = zip(self.parts, self.predicted, strict=True)
        chosen = self.parts[0].leaves if leaves is None else leaves
        return np.array([changes[[s.leaf in chosen for s in part.spans]].sum(axis=0) for part, changes in rows])

    @property
    def significance(self) -> Floats:
        """Return the residuals in standard deviations, of the worst function for each direction, shape (P,)."""
        ratio = np.abs(self.residual) / self.deviation
        return np.asarray(np.where(self.residual == 0, 0.0, ratio).max(axis=1, initial=0.0))

    def are_blurred(self, noise: Floats) -> bool:
        """Tell whether most directions are far less certain than noise explains, in some function: they cross kinks."""
        return bool((np.median(self.deviation, axis=0) > SAME_NOISE * noise).any())

    def are_unresolved(self, noise: Floats) -> bool:
        """Tell whether the uncertainty of differences exceeds their size, in some function, and noise does not explain it.

        So it is where the points of a difference lie on either side of a pole or a pulse.
        """
        measured = np.linalg.norm(self.predicted_of() - self.residual, axis=0)
        uncertainty = np.linalg.norm(self.deviation, axis=0)
        return bool(
            ((uncertainty > SAME_NOISE * noise * np.sqrt(len(self.predicted))) & (uncertainty > measured)).any()
        )


class _Piece(NamedTuple):
    """Consecutive elements of one span, and their place, ``first`` to ``last``, among those drawn in the same call."""

    row: int
    leaf: int
    start: int
    stop: int
    where: slice | Indices
    first: int
    last: int


class Directions:
    """Directions through all leaves of a bench, and the derivatives from which changes along them are predicted.

    Parameters
    ----------
    bench : Bench
        Functions, claims, lengths and noise.
    key : int
        The seed.
    of_claims : bool
        Whether predictions are made from claims, whose round-off then counts, and not from measured derivatives.

    Attributes
    ----------
    leaves : list of int
        The leaves that have elements.
    elements : int
        The number of elements of all leaves.
    step : float
        How far the elements move, in units of their lengths.
    derivatives : dict
        For each leaf the derivatives that predictions are made from, shape (n, K): the claim, unless something better is known.
    """

    def __init__(self, bench: Bench, key: int, *, of_claims: bool = True) -> None:
        self.bench = bench
        self.key = key
        self.leaves = [leaf for leaf, claim in bench.claims.items() if claim.values.size]
        self.derivatives = {leaf: bench.claims[leaf].values for leaf in self.leaves}
        self.elements = sum(len(values) for values in self.derivatives.values())
        self._held: dict[int, Bools] = {}
        for leaf, values in self.derivatives.items():
            self.hold(leaf, np.flatnonzero(~np.isfinite(values).all(axis=1)))
        self._roundoff = {
            leaf: of_claims
            * bench.claims[leaf].roundoff(rms(values))
            / DISAGREES  # the deviation, if the largest allowed round-off is DISAGREES of them
            for leaf, values in self.derivatives.items()
        }
        self._seeds = {leaf: seed_of(bench.leaves[leaf].name) for leaf in self.leaves}
        self._drawn = 0
        self.choose_step()

    # ---- which elements ---------------------------------------------------------------------------------------------

    def draw_leaves(self, leaves: Iterable[int] | None = None) -> Part:
        """Draw a new direction of all elements, or of those of some leaves."""
        chosen = self.leaves if leaves is None else leaves
        return self.draw(tuple(Span(leaf, 0, len(self.derivatives[leaf])) for leaf in chosen))

    def draw(self, spans: tuple[Span, ...]) -> Part:
        """Draw a new direction of some elements."""
        self._drawn += 1
        return Part(self._drawn, self.step, spans)

    def draw_elements(self, chosen: Chosen) -> Part:
        """Draw a new direction of a few elements of each leaf."""
        return self.draw(tuple(Span(leaf, 0, len(indices), indices) for leaf, indices in chosen.items()))

    def redraw(self, part: Part) -> Part:
        """Draw a new direction of the same elements; the step is longer the fewer they are."""
        step = max(self.step, min(self.step * np.sqrt(self.elements / part.size), LONGEST_STEP))
        return replace(self.draw(part.spans), step=step)

    # ---- their derivatives ------------------------------------------------------------------------------------------

    def hold(self, leaf: int, indices: Indices) -> None:
        """Hold some elements fixed from now on."""
        if len(indices):
            self._held.setdefault(leaf, np.zeros(len(self.derivatives[leaf]), dtype=bool))[indices] = True

    def holds(self, chosen: Chosen) -> bool:
        """Tell whether some of these elements are held fixed."""
        return any(leaf in self._held and bool(self._held[leaf][indices].any()) for leaf, indices in chosen.items())

    def release(self, leaf: int, indices: Indices) -> None:
        """Let elements that were held fixed move again."""
        if len(indices):
            self._held[leaf][indices] = False

    def correct(self, leaf: int, indices: Indices, derivatives: Floats) -> None:
        """Predict from other derivatives of some elements, shape (m, K), from now on."""
        if self.derivatives[leaf] is self.bench.claims[leaf].values:
            self.derivatives[leaf] = self.derivatives[leaf].copy()
        self.derivatives[leaf][indices] = derivatives

    # ---- moving them ------------------------------------------------------------------------------------------------

    def lengths(self, leaf: int, where: slice | Indices, step: float) -> Floats:
        """Return how far elements of a leaf move along a direction, before the random factor, shape (m,)."""
        size = np.abs(self.bench.leaves[leaf].value.ravel()[where]).astype(np.float64)
        return reach(size, self.bench.lengths[leaf][where], step)

    def short_move(self, leaf: int, step: float | None = None) -> float:
        """Return the `MISSED` quantile of how far the elements of a leaf move."""
        count = len(self.derivatives[leaf])
        some = slice(None) if count <= SMALL_ARRAY else evenly(np.arange(count), SMALL_ARRAY)
        lengths = self.lengths(leaf, some, step or self.step)
        if count == 1:  # for which NumPy's quantile takes ten times as long as the rest
            return float(lengths[0])
        return float(np.quantile(lengths, MISSED))

    def is_hidden_by_others(self, leaf: int) -> bool:
        """Tell whether most of the round-off along a direction of all elements is that of the claims for other leaves."""
        variances = {
            other: (each * np.linalg.norm(self.bench.lengths[other])) ** 2 for other, each in self._roundoff.items()
        }
        return bool((variances[leaf] < np.sum(list(variances.values()), axis=0) / 2).any())

    def moves(self, part: Part) -> Moves:
        """Return the moves of all elements of a direction; these and half of them are exact in the dtype of each leaf."""
        return self._along(part)[0]

    def predict(self, parts: Sequence[Part], leaf: int, derivatives: Floats) -> Floats:
        """Return the changes predicted from other derivatives of a leaf, shape (n, K); shape (P, K)."""
        own = [replace(part, spans=tuple(span for span in part.spans if span.leaf == leaf)) for part in parts]
        return np.array([self._summed(part, {leaf: derivatives}, 1) for part in own])

    def _summed(self, part: Part, derivatives: dict[int, Floats], power: int) -> Floats:
        """Return the sum over the elements of a power of the change that each causes, shape (K,)."""
        changes = (np.sum(changes**power, axis=0) for *_, changes in self._changes(part, derivatives))
        return sum(changes, np.zeros(len(self.bench.base)))

    def _along(self, part: Part) -> tuple[Moves, Floats, Floats]:
        """Return moves, the changes predicted for each span, shape (S, K), and the variance of their round-off, (K,)."""
        columns = len(self.bench.base)
        moves: Moves = {}
        predicted, variance = np.zeros((len(part.spans), columns)), np.zeros(columns)
        for pieces, moved, changes in self._changes(part, self.derivatives):
            starts = [piece.first for piece in pieces]
            predicted[[piece.row for piece in pieces]] += np.add.reduceat(changes, starts)
            squares = np.add.reduceat(moved**2, starts)
            variance += squares @ np.array([self._roundoff[piece.leaf] for piece in pieces]) ** 2
            for piece in pieces:
                held = self.bench.leaves[piece.leaf]
                if piece.leaf not in moves:
                    dtype = held.format.dtype if held.format.dtype.itemsize >= 4 else np.dtype(np.float64)
                    moves[piece.leaf] = np.zeros(held.value.size, dtype)
                moves[piece.leaf][piece.where] = moved[piece.first : piece.last]
        return moves, predicted, variance

    def _changes(self, part: Part, derivatives: dict[int, Floats]) -> Iterator[tuple[list[_Piece], Floats, Floats]]:
        """Yield the elements of a direction piece by piece, their moves, shape (m,), and the changes these cause, (m, K)."""
        for pieces, moved in self._moved(part):
            slopes = np.concatenate([derivatives[piece.leaf][piece.where] for piece in pieces])
            changes = moved[:, None] * slopes
            changes[moved == 0] = 0.0  # an element held fixed may have no derivative
            yield pieces, moved, changes

    def _moved(self, part: Part) -> Iterator[tuple[list[_Piece], Floats]]:
        """Yield the elements of a direction piece by piece, small leaves together, and their moves, shape (m,)."""
        for pieces in self._pieces(part.spans):
            leaves = [self.bench.leaves[piece.leaf] for piece in pieces]
            sizes = np.concatenate(
                [np.abs(leaf.value.ravel()[piece.where]) for leaf, piece in zip(leaves, pieces, strict=True)]
            )
            lengths = np.concatenate([self.bench.lengths[piece.leaf][piece.where] for piece in pieces])
            places = ([piece.start for piece in pieces], [piece.stop for piece in pieces])
            integers = draw([self._seeds[piece.leaf] for piece in pieces], *places, self.key, part.number)
            sizes = sizes.astype(np.float64, copy=False)
            moved = exact(integers, sizes, reach(sizes, lengths, part.step), leaves[0].format)
            for piece in pieces:
                if piece.leaf in self._held:
                    moved[piece.first : piece.last][self._held[piece.leaf][piece.where]] = 0.0
            yield pieces, moved

    def _pieces(self, spans: Sequence[Span]) -> Iterator[list[_Piece]]:
        """Cut spans into pieces of at most a block, and yield consecutive pieces of one format together."""
        pieces: list[_Piece] = []
        for row, span in enumerate(spans):
            for start in range(span.start, span.stop, BLOCK):
                stop = min(start + BLOCK, span.stop)
                first = pieces[-1].last if pieces else 0
                if pieces and (first + stop - start > BLOCK or self._kind(span.leaf) != self._kind(pieces[-1].leaf)):
                    yield pieces
                    pieces, first = [], 0
                pieces.append(_Piece(row, span.leaf, start, stop, span.where(start, stop), first, first + stop - start))
        if pieces:
            yield pieces

    def _kind(self, leaf: int) -> tuple[str, np.dtype]:
        held = self.bench.leaves[leaf]
        return held.format.name, held.value.dtype

    # ---- measuring --------------------------------------------------------------------------------------------------

    def measure(self, parts: Sequence[Part]) -> Slopes:
        """Compare predicted with measured changes along some directions.

        Notes
        -----
        Costs four calls a direction. A kink within the step changes the difference by at most 2.83 deviations.
        """
        if not parts:
            nothing = np.zeros((0, len(self.bench.base)))
            return Slopes((), (), nothing, nothing)
        values, predicted, variance = self._values(parts, PLACES)
        ahead, behind, half_ahead, half_behind = np.moveaxis(values, 1, 0)
        slope = (ahead - behind) / 2
        odd = slope - (half_ahead - half_behind)
        even = half_ahead + half_behind - (ahead + behind) / 4 - 1.5 * self.bench.base
        disagreement = np.hypot(odd, even)  # with noise of 1 about 2.2; the slope has 0.71
        typical = np.sort(disagreement, axis=0)[len(disagreement) // DIRECTIONS]
        residual = _of_parts(predicted, slope) - slope
        if len(parts) >= DIRECTIONS and any(claim.assumed for claim in self.bench.claims.values()):
            # If all four residuals are below a quarter of their deviation (by chance once in 700 cases), the assumed round-off
            # was too large.
            variance = np.minimum(variance, (SAME_NOISE * np.abs(residual).max(axis=0)) ** 2)
        deviation = np.sqrt(self.bench.noise**2 / 2 + disagreement**2 + (TYPICAL * typical) ** 2 + variance)
        known = np.isfinite(residual) & np.isfinite(deviation)
        residual, deviation = np.where(known, residual, 0.0), np.where(known, deviation, np.inf)
        return Slopes(tuple(parts), tuple(predicted), residual, deviation)

    def measure_fresh(
        self,
        leaves: Iterable[int] | None = None,
        *,
        chosen: Chosen | None = None,
        count: int = DIRECTIONS,
        longer: bool = False,
    ) -> Slopes:
        """Measure along fresh directions of all leaves, of some, or of chosen elements.

        ``longer`` takes the step of `redraw`.
        """
        parts = []
        for _ in range(count):
            part = self.draw_leaves(leaves) if chosen is None else self.draw_elements(chosen)
            parts.append(self.redraw(part) if longer else part)
        return self.measure(parts)

    def compare(self, parts: Sequence[Part]) -> tuple[Floats, Floats]:
        """Return predicted changes along some directions, and residuals, shapes (P, K), at two calls a direction."""
        values, predicted, _ = self._values(parts, PLACES[:2])
        changes = _of_parts(predicted, values)
        return changes, changes - (values[:, 0] - values[:, 1]) / 2

    def _values(self, parts: Sequence[Part], lengths: Floats) -> tuple[Floats, list[Floats], Floats]:
        """Return values along directions, shape (P, L, K), predicted changes, and the variances of their round-off."""
        predicted, variances = [], []

        def walk() -> Iterator[Moves]:
            for part in parts:
                moves, changes, variance = self._along(part)
                predicted.append(changes)
                variances.append(variance)
                yield moves

        values = self.bench.probe.rays(walk(), lengths)
        return values, predicted, np.array(variances).reshape(len(parts), len(self.bench.base))

    def allowed(self, parts: Sequence[Part]) -> Floats:
        """Return the standard deviation along directions, shape (P, K), of independent errors of ``rtol`` in all claims."""
        return self.bench.rtol * self.deviation_along(
            parts, {leaf: claim.values for leaf, claim in self.bench.claims.items()}
        )

    def deviation_along(self, parts: Sequence[Part], deviations: dict[int, Floats]) -> Floats:
        """Return the standard deviation along directions, shape (P, K), of independent errors with these, (n, K) in each leaf."""
        return np.sqrt([self._summed(part, deviations, 2) for part in parts])

    def choose_step(self) -> None:
        """Choose a step by the noise of the functions, at which they are finite. It does not depend on the claims."""
        self.step = SHORTEST_STEP
        direction = self.draw_leaves()
        while self.step > CLOSEST:
            values = self.bench.probe.rays([self.moves(direction)], PLACES[:2])[0]
            if np.isfinite(values).all():
                break
            self.step /= RATIO
            direction = replace(direction, step=self.step)
        if self.step < SHORTEST_STEP:
            return
        change = np.abs(values[0] - values[1])
        moving = change > 0
        if not moving.any():  # noise hides every change
            self.step = LONGEST_STEP
            return
        noisiest = (self.bench.noise[moving] * 2 * self.step / change[moving]).max()
        self.step = float(np.clip(noisiest**EXPONENT, SHORTEST_STEP, LONGEST_STEP))


def _of_parts(predicted: list[Floats], values: Floats) -> Floats:
    """Add up the changes predicted for the spans of each direction, shape (P, K)."""
    return np.array([changes.sum(axis=0) for changes in predicted]).reshape(len(predicted), values.shape[-1])
