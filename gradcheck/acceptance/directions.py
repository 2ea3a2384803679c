"""Random directions in which many elements move at once, and how far a claim is from the derivative along them.

A direction is a random sign times a size between 0.5 and 1.32 for every element, times its length: no component is
small, so no element hides, and no two errors cancel along all directions. It is drawn from the seed, the name of the
leaf and the number of the direction, in blocks: an element's component does not depend on what other leaves there
are, any block can be drawn again, and nothing is stored; see `gradcheck.acceptance.drawn`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.acceptance.bench import Bench, rms
from gradcheck.acceptance.drawn import SMALL_LEAF, PackedLeaves, draw, exact, pack, reach, seed_of
from gradcheck.acceptance.parts import Part, Span, without
from gradcheck.aliases import Bools, Chosen, Floats, Indices
from gradcheck.functions.blocks import BLOCK, product
from gradcheck.functions.displacements import Moves
from gradcheck.functions.formats import Format

__all__ = [
    "ALLOWANCE",
    "DIRECTIONS",
    "DISAGREES",
    "INFORMATIVE",
    "MISSED",
    "Directions",
    "Slopes",
]

SHORTEST_STEP, LONGEST_STEP = 1.0737e-6, 3.0711e-3
"""Limits of the step, in units of the elements' lengths. Networks have many kinks: a step of 1e-3 nearly always
crosses one."""

EXPONENT = 0.375
"""The step is this power of the noise of a function, relative to its change along a direction of length one."""

NEARER = 16.0
"""The step is shortened by this factor until the functions are finite."""

PLACES = np.array([1.0, -1.0, 0.5, -0.5])
"""Positions along a direction, in units of the move, for two central differences, the first two of them for one."""

TYPICAL, LUCKY = 0.4, 3
"""Two steps can agree by chance. The uncertainty of a directional derivative is therefore at least 0.4 times the
second-smallest disagreement among four directions, which is what that noise level would produce."""

ROUNDOFF_SHARE = 0.25
"""Standard deviation of the round-off of a right gradient's elements, as a share of the largest round-off allowed to one."""

DIRECTIONS = 4
"""Directions measured before anything is said of several elements together."""

SHOWS_LESS = 4.0
"""The residuals of four directions are all less than a quarter of their deviation in one of 700 cases: if they are, round-off that
was assumed, and not measured, is less."""

DISAGREES = 3.3
"""Standard deviations at which a residual is significant: along four directions a right gradient exceeds it in 1 of
50,000 checks."""

BLURRED = 4.0
"""A directional derivative that is this many times less certain than noise explains is measured with a shorter step."""

INFORMATIVE = 3
"""Directions along which an error must show before it is said to be there, or not."""

ALLOWANCE = 3.0
"""What ``rtol`` allows to every element may add up to this many of its standard deviations along a direction."""

MISSED, QUANTILE_OF = 0.01, 10_000
"""Probability that an error as large as the detection limit is missed: the limit is based on this quantile of the displacements of a
leaf's elements, of at most `QUANTILE_OF` of them."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """Predicted beside measured changes of the functions along some directions.

    Attributes
    ----------
    parts : tuple of Part, length P
        The directions.
    predicted : tuple of arrays, shape (S, K)
        For each direction what each of its spans contributes.
    residual : array, shape (P, K)
        Predicted minus measured change.
    deviation : array, shape (P, K)
        The standard deviation of the residual: noise of the functions, rounding of the claim, and by how much the
        differences of two steps disagree, through kinks, truncation or noise. Infinite where a function is not finite.
    """

    parts: tuple[Part, ...]
    predicted: tuple[Floats, ...]
    residual: Floats
    deviation: Floats

    def predicted_of(self, leaves: Iterable[int] | None = None) -> Floats:
        """Return the changes that all leaves contribute, or some, shape (P, K)."""
        rows = zip(self.parts, self.predicted, strict=True)
        chosen = self.parts[0].leaves if leaves is None else leaves
        return np.array([changes[[s.leaf in chosen for s in part.spans]].sum(axis=0) for part, changes in rows])

    @property
    def significance(self) -> Floats:
        """Return how many deviations the residuals are, the worst function for each direction, shape (P,)."""
        ratio = np.abs(self.residual) / self.deviation
        return np.asarray(np.where(self.residual == 0, 0.0, ratio).max(axis=1, initial=0.0))

    def are_blurred(self, noise: Floats) -> bool:
        """Tell whether most directions are far less certain than noise explains, in some function: kinks are in the way."""
        return bool(np.any(np.median(self.deviation, axis=0) > BLURRED * noise))

    def are_unresolved(self, noise: Floats) -> bool:
        """Tell whether the uncertainty of differences exceeds their size, in some function, and noise does not explain it.

        Between points on either side of a pole, or of a pulse, a difference says nothing of the derivative at the point.
        """
        measured = np.linalg.norm(self.predicted_of() - self.residual, axis=0)
        unsure = np.linalg.norm(self.deviation, axis=0)
        return bool(np.any((unsure > BLURRED * noise * np.sqrt(len(self.predicted))) & (unsure > measured)))


class Directions:
    """Directions through all leaves of a bench, and what is believed of their derivatives.

    Parameters
    ----------
    bench : Bench
        Functions, claims, lengths and noise.
    key : int
        The seed.
    of_claims : bool
        Whether predictions are made of claims, which are rounded, and not of derivatives that were measured.

    Attributes
    ----------
    leaves : list of int
        Those with elements.
    elements : int
        Elements of all leaves.
    step : float
        How far the elements move, in units of their lengths.
    believed : dict
        For each leaf the derivatives that predictions are made of, shape (n, K): the claim, where nothing better is known.
    """

    def __init__(self, bench: Bench, key: int, *, of_claims: bool = True) -> None:
        self.bench = bench
        self.key = key
        self.leaves = [leaf for leaf, claim in bench.claims.items() if claim.values.size]
        self.believed = {leaf: bench.claims[leaf].values for leaf in self.leaves}
        self.elements = sum(len(values) for values in self.believed.values())
        self._held = {leaf: np.flatnonzero(~np.isfinite(values).all(axis=1)) for leaf, values in self.believed.items()}
        self._roundoff = {
            leaf: of_claims * ROUNDOFF_SHARE * bench.claims[leaf].roundoff(rms(values))
            for leaf, values in self.believed.items()
        }
        self._seeds = {leaf: seed_of(bench.leaves[leaf].name) for leaf in self.leaves}
        self._packed: tuple[list[int], list[PackedLeaves]] = [], []
        """Small leaves that moved together last, and the same laid end to end."""
        self._drawn = 0
        self.choose_step()

    # ---- which elements ---------------------------------------------------------------------------------------------

    def whole(self, leaves: Iterable[int] | None = None) -> Part:
        """Draw a new direction of all elements, or of those of some leaves."""
        chosen = self.leaves if leaves is None else leaves
        return self.draw(tuple(Span(leaf, 0, len(self.believed[leaf])) for leaf in chosen))

    def draw(self, spans: tuple[Span, ...]) -> Part:
        """Draw a new direction of some elements."""
        self._drawn += 1
        return Part(self._drawn, self.step, spans)

    def of_elements(self, chosen: Chosen) -> Part:
        """Draw a new direction of a few elements of each leaf."""
        return self.draw(tuple(Span(leaf, 0, len(indices), indices) for leaf, indices in chosen.items()))

    def redraw(self, part: Part) -> Part:
        """Draw a new direction of the same elements: the fewer they are, the longer their step may be."""
        step = max(self.step, min(self.step * np.sqrt(self.elements / part.size), LONGEST_STEP))
        return replace(self.draw(part.spans), step=step)

    # ---- what is believed of them -----------------------------------------------------------------------------------

    def hold(self, leaf: int, indices: Indices) -> None:
        """Let some elements stand still from now on."""
        held = np.zeros(len(self.believed[leaf]), dtype=bool)
        held[self._held[leaf]] = held[indices] = True
        self._held[leaf] = np.flatnonzero(held)

    def holds(self, chosen: Chosen) -> bool:
        """Tell whether some of a few elements stand still."""
        return any(np.any(np.isin(indices, self._held[leaf])) for leaf, indices in chosen.items())

    def release(self, leaf: int, indices: Indices) -> None:
        """Let them move again."""
        self._held[leaf] = without(self._held[leaf], indices, len(self.believed[leaf]))

    def correct(self, leaf: int, indices: Indices, derivatives: Floats) -> None:
        """Believe this of some elements from now on, shape (m, K); those whose claims are infinite stand still."""
        if self.believed[leaf] is self.bench.claims[leaf].values:
            self.believed[leaf] = self.believed[leaf].copy()
        self.believed[leaf][indices] = derivatives

    def believe(self, leaf: int, derivatives: Floats) -> None:
        """Believe this of all elements of a leaf, shape (n, K)."""
        self.believed[leaf] = derivatives

    # ---- moving them ------------------------------------------------------------------------------------------------

    def lengths(self, leaf: int, where: slice | Indices, step: float) -> Floats:
        """Return by how much elements of a leaf move along a direction, but for sign and spread."""
        size = np.abs(self.bench.leaves[leaf].value.ravel()[where]).astype(np.float64)
        return reach(size, self.bench.lengths[leaf][where], step)

    def shortest(self, leaf: int, step: float | None = None) -> float:
        """Return by how much the elements of a leaf move, at a low quantile."""
        count = len(self.believed[leaf])
        some = slice(None) if count <= QUANTILE_OF else np.linspace(0, count - 1, QUANTILE_OF, dtype=np.intp)
        lengths = self.lengths(leaf, some, step or self.step)
        if count == 1:  # for which NumPy's quantile takes ten times as long as the rest
            return float(lengths[0])
        return float(np.quantile(lengths, MISSED))

    def is_hidden_by_others(self, leaf: int) -> bool:
        """Tell whether the claims for other leaves contribute most of the round-off along a direction of all."""
        variances = {
            other: (each * np.linalg.norm(self.bench.lengths[other])) ** 2 for other, each in self._roundoff.items()
        }
        return bool((variances[leaf] < np.sum(list(variances.values()), axis=0) / 2).any())

    def moves(self, part: Part) -> Moves:
        """Return by how much the elements of a direction move, in the dtype of each leaf.

        Whole and half steps come out exactly in the dtype of the parameters.
        """
        return self._along(part)[0]

    def predict(self, parts: Sequence[Part], leaf: int, derivatives: Floats) -> Floats:
        """Return the changes that other derivatives of a leaf, shape (n, K), predict, shape (P, K)."""
        changes = np.zeros((len(parts), len(self.bench.base)))
        for row, part in enumerate(parts):
            for span in part.spans:
                if span.leaf == leaf:
                    for where, move in self._blocks(part, span):
                        changes[row] += _product(move, derivatives[where])
        return changes

    def _along(self, part: Part) -> tuple[Moves, Floats, Floats]:
        """Return moves, the changes predicted for each span, shape (S, K), and the variance of their round-off, (K,)."""
        columns = len(self.bench.base)
        moves: Moves = {}
        predicted, variance = np.zeros((len(part.spans), columns)), np.zeros(columns)
        for packed, joined in self._packed_moves(part):
            made = packed.parts(joined.astype(_dtype_of_moves(packed.form), copy=False))
            moves |= made
            rows = [row for row, span in enumerate(part.spans) if span.leaf in made]
            believed = np.concatenate([self.believed[leaf] for leaf in packed.leaves])
            # What stands still may have no derivative.
            changes = np.where(joined[:, None] != 0, joined[:, None] * believed, 0.0)
            predicted[rows] = np.add.reduceat(changes, packed.starts)
            squares = np.add.reduceat(joined**2, packed.starts)
            variance += squares @ np.array([self._roundoff[leaf] for leaf in packed.leaves]) ** 2
        is_made = set(moves)
        for row, span in enumerate(part.spans):
            if span.leaf in is_made:
                continue
            believed, roundoff = self.believed[span.leaf], self._roundoff[span.leaf] ** 2
            value = self.bench.leaves[span.leaf].value
            dtype = _dtype_of_moves(self.bench.leaves[span.leaf].format)
            move = moves.setdefault(span.leaf, np.zeros(value.size, dtype))
            for where, block in self._blocks(part, span):
                move[where] = block
                predicted[row] += _product(block, believed[where])
                variance += roundoff * product(block, block)
        return moves, predicted, variance

    def _packed_moves(self, part: Part) -> list[tuple[PackedLeaves, Floats]]:
        """Return the moves of the small leaves that move as a whole, computed together; nothing if there are fewer than two."""
        leaves = [span.leaf for span in part.spans if self._is_small_and_whole(span)]
        if len(leaves) < 2:
            return []
        if self._packed[0] != leaves:
            self._packed = leaves, pack(leaves, self.bench.leaves, self._seeds)
        made = []
        for packed in self._packed[1]:
            lengths = np.concatenate([self.bench.lengths[leaf] for leaf in packed.leaves])
            joined = packed.moves(self.key, part.number, part.step, lengths)
            for leaf, move in packed.parts(joined).items():
                if len(self._held[leaf]):
                    move[self._held[leaf]] = 0.0
            made.append((packed, joined))
        return made

    def _is_small_and_whole(self, span: Span) -> bool:
        return span.order is None and span.size == len(self.believed[span.leaf]) <= SMALL_LEAF

    def _blocks(self, part: Part, span: Span) -> Iterator[tuple[slice | Indices, Floats]]:
        """Give the moves of a span block by block, with the elements that they are of."""
        value, lengths = self.bench.leaves[span.leaf].value.ravel(), self.bench.lengths[span.leaf]
        held, form = self._held[span.leaf], self.bench.leaves[span.leaf].format
        for number in range(span.start // BLOCK, -(-span.stop // BLOCK)):
            first = number * BLOCK
            low, high = max(span.start, first), min(span.stop, first + BLOCK)
            where = span.where(low, high)
            integers = draw(self._seeds[span.leaf], self.key, part.number, len(value), number, high - first)
            size = np.abs(value[where]).astype(np.float64)
            move = exact(integers[low - first :], size, reach(size, lengths[where], part.step), form)
            if len(held):
                move[_among(held, where)] = 0.0
            yield where, move

    # ---- measuring --------------------------------------------------------------------------------------------------

    def measure(self, parts: Sequence[Part]) -> Slopes:
        """Compare what is believed with derivatives along some directions.

        Notes
        -----
        Costs four calls a direction. A kink within the step changes the difference by no more than 2.83 times what the
        deviation has for it.
        """
        if not parts:
            nothing = np.zeros((0, len(self.bench.base)))
            return Slopes((), (), nothing, nothing)
        values, predicted, variance = self._values(parts, PLACES)
        ahead, behind, half_ahead, half_behind = np.moveaxis(values, 1, 0)
        slope = (ahead - behind) / 2
        odd = slope - (half_ahead - half_behind)
        even = half_ahead + half_behind - (ahead + behind) / 4 - 1.5 * self.bench.base
        apart = np.hypot(odd, even)  # of noise of one: 2.2, where that of the slope is 0.71
        typical = np.sort(apart, axis=0)[(len(apart) - 1) // LUCKY]
        residual = _summed(predicted, slope) - slope
        if len(parts) >= DIRECTIONS and any(claim.assumed for claim in self.bench.claims.values()):
            variance = np.minimum(variance, (SHOWS_LESS * np.abs(residual).max(axis=0)) ** 2)
        deviation = np.sqrt(self.bench.noise**2 / 2 + apart**2 + (TYPICAL * typical) ** 2 + variance)
        known = np.isfinite(residual) & np.isfinite(deviation)
        residual, deviation = np.where(known, residual, 0.0), np.where(known, deviation, np.inf)
        return Slopes(tuple(parts), tuple(predicted), residual, deviation)

    def look(
        self,
        leaves: Iterable[int] | None = None,
        *,
        chosen: Chosen | None = None,
        count: int = DIRECTIONS,
        longer: bool = False,
    ) -> Slopes:
        """Measure along fresh directions of all leaves, of some, or of chosen elements.

        ``longer`` takes the step of `redraw`, which is the longer the fewer elements move.
        """
        parts = []
        for _ in range(count):
            part = self.whole(leaves) if chosen is None else self.of_elements(chosen)
            parts.append(self.redraw(part) if longer else part)
        return self.measure(parts)

    def compare(self, parts: Sequence[Part]) -> tuple[Floats, Floats]:
        """Return predicted changes along some directions and these minus the measured ones, shape (P, K), at two calls each."""
        values, predicted, _ = self._values(parts, PLACES[:2])
        changes = _summed(predicted, values)
        return changes, changes - (values[:, 0] - values[:, 1]) / 2

    def _values(self, parts: Sequence[Part], lengths: Floats) -> tuple[Floats, list[Floats], Floats]:
        """Return values along directions, shape (P, L, K), what is predicted, and the variance of its round-off."""
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
        """Return what ``rtol`` allows to the claims along directions, as standard deviations, shape (P, K)."""
        return self.bench.rtol * self.spread(parts, {leaf: claim.values for leaf, claim in self.bench.claims.items()})

    def spread(self, parts: Sequence[Part], deviations: dict[int, Floats]) -> Floats:
        """Return the standard deviation along directions, shape (P, K), of independent ones of the elements, (n, K) in each leaf."""
        squares = np.zeros((len(parts), len(self.bench.base)))
        for row, part in enumerate(parts):
            is_made: set[int] = set()
            for packed, joined in self._packed_moves(part):
                known = np.concatenate([deviations[leaf] for leaf in packed.leaves])
                squares[row] += _product(joined**2, known**2)
                is_made.update(packed.leaves)
            for span in part.spans:
                for where, move in () if span.leaf in is_made else self._blocks(part, span):
                    squares[row] += _product(move**2, deviations[span.leaf][where] ** 2)
        return np.sqrt(squares)

    def choose_step(self) -> None:
        """Choose a step for the noise of the functions, at which they are finite. Blind to the claims."""
        self.step = SHORTEST_STEP
        direction = self.whole()
        while self.step > SHORTEST_STEP / NEARER**4:
            values = self.bench.probe.rays([self.moves(direction)], PLACES[:2])[0]
            if np.isfinite(values).all():
                break
            self.step /= NEARER
            direction = replace(direction, step=self.step)
        if self.step < SHORTEST_STEP:
            return
        change = np.abs(values[0] - values[1])
        moving = change > 0
        if not moving.any():  # noise hides it all
            self.step = LONGEST_STEP
            return
        noisiest = (self.bench.noise[moving] * 2 * self.step / change[moving]).max()
        self.step = float(np.clip(noisiest**EXPONENT, SHORTEST_STEP, LONGEST_STEP))


def _dtype_of_moves(form: Format) -> np.dtype[Any]:
    """Return the dtype of moves: that of the leaf, where it holds them."""
    return form.dtype if form.dtype.itemsize >= 4 else np.dtype(np.float64)


def _among(held: Indices, where: slice | Indices) -> Indices | Bools:
    """Return which of some elements are held, as places among them."""
    if isinstance(where, slice):
        low, high = np.searchsorted(held, [where.start, where.stop])
        return np.asarray(held[low:high] - where.start)
    return np.isin(where, held)


def _summed(predicted: list[Floats], values: Floats) -> Floats:
    """Return the changes predicted along directions, shape (P, K), from those of their spans."""
    return np.array([changes.sum(axis=0) for changes in predicted]).reshape(len(predicted), values.shape[-1])


def _product(move: Floats, derivatives: Floats) -> Floats:
    """Return the change predicted for a move; what stands still may have no derivative."""
    change = product(move, derivatives)
    if np.isfinite(change).all():
        return change
    moving = np.flatnonzero(move)
    return product(move[moving], derivatives[moving])
