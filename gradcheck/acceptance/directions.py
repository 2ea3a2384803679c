"""Random directions in which many elements move at once, and how far a claim is from the derivative along them.

A direction is a random sign times a size between 0.5 and 1.32 for every element, times its length: no component is
small, so that no element hides, and no two wrong elements cancel along all of them. It is drawn from the seed, the name of the
leaf and the number of the direction, so an element's part does not depend on what else there is, and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.bench import Bench, rms
from gradcheck.functions.displacements import Moves

__all__ = ["Directions", "Part", "Slopes"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

SMALLEST, LARGEST = 0.5, 1.32
"""Sizes of the components, in units of the elements' lengths times the step."""

SHORTEST_STEP, LONGEST_STEP = 1.0737e-6, 3.0711e-3
"""In units of the elements' lengths. Networks have many kinks: along 1e-3 of them one is crossed nearly always."""

EXPONENT = 0.375
"""The step is this power of the noise of a function, relative to its change along a direction of length one."""

NEARER = 16.0
"""The step is shortened by this factor until the functions are finite."""

WITHIN = 0.1
"""No element moves by more than this share of its own size: the edge of a domain may be at zero."""

FOUR_CALLS, TWO_CALLS = np.array([1.0, -1.0, 0.5, -0.5]), np.array([1.0, -1.0])

TYPICAL, LUCKY = 0.4, 3
"""Two steps may agree by luck: a slope is no less unsure than this share of how far they are apart along other directions, the
second closest of four. It is what the same noise does to the slope."""

HONEST = 0.25
"""An honest round-off in all elements of a leaf has about this share of the largest one for standard deviation."""

LOW_QUANTILE = 0.01
"""The length on which the floor of a leaf is based: but so many of its elements have a longer one."""


@dataclass(frozen=True, slots=True)
class Part:
    """A direction restricted to the elements ``start`` to ``stop``, counted through all leaves or through a list.

    Attributes
    ----------
    number : int
        Of the direction.
    start, stop : int
    step : float
        By how much the elements move, in units of their lengths.
    listed : (leaf, indices), optional
        Elements of one leaf, in some order.
    """

    number: int
    start: int
    stop: int
    step: float
    listed: tuple[int, Indices] | None = None

    @property
    def size(self) -> int:
        """How many elements move."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Slopes:
    """Claims beside derivatives along some directions; arrays have shape (P, K).

    Attributes
    ----------
    residual : array
        Claimed minus measured change of the functions.
    deviation : array
        What is unsure about it: the noise of the functions, the rounding of the claim, and by how much the differences
        of two steps disagree, be it through kinks or noise. Infinite where a function is not finite.
    """

    residual: Floats
    deviation: Floats

    @property
    def significance(self) -> Floats:
        """Return how many deviations the claims are off, the worst function for each direction, shape (P,)."""
        with np.errstate(all="ignore"):
            ratio = np.abs(self.residual) / self.deviation
        return np.asarray(np.max(np.where(self.residual == 0, 0.0, ratio), axis=1, initial=0.0))


class Directions:
    """Directions through all leaves of a bench.

    Parameters
    ----------
    bench : Bench
        Functions, claims, lengths and noise.
    key : int
        The seed.

    Attributes
    ----------
    leaves : list of int
        Those with elements.
    elements : int
        Elements of all leaves, which are counted through in the order of the leaves.
    step : float
        How far the elements move, in units of their lengths.
    """

    def __init__(self, bench: Bench, key: int) -> None:
        self.bench = bench
        self.key = key
        self.leaves = [leaf for leaf, claim in bench.claims.items() if claim.values.size]
        self.starts = np.cumsum([0, *(bench.claims[leaf].values.shape[0] for leaf in self.leaves)])
        self.elements = int(self.starts[-1])
        self.step = SHORTEST_STEP
        self._held = {
            leaf: np.flatnonzero(~np.all(np.isfinite(bench.claims[leaf].values), axis=1)) for leaf in self.leaves
        }
        self._corrected: dict[tuple[int, int], Floats] = {}
        self._roundoff = {
            leaf: HONEST * bench.claims[leaf].roundoff(rms(bench.claims[leaf].values)) for leaf in self.leaves
        }
        self._drawn = 0
        self._choose_step()

    # ---- which elements ---------------------------------------------------------------------------------------------

    def whole(self) -> Part:
        """Draw a new direction of all elements."""
        return self.draw(0, self.elements)

    def draw(self, start: int, stop: int, listed: tuple[int, Indices] | None = None) -> Part:
        """Draw a new direction of some elements."""
        self._drawn += 1
        return Part(self._drawn, start, stop, self.step, listed)

    def redraw(self, part: Part) -> Part:
        """Draw a new direction of the same elements: the fewer they are, the longer their step may be."""
        step = max(self.step, min(self.step * np.sqrt(self.elements / part.size), LONGEST_STEP))
        return replace(self.draw(part.start, part.stop, part.listed), step=step)

    def of_leaf(self, leaf: int) -> Part:
        """Draw a new direction of the elements of a leaf."""
        place = self.leaves.index(leaf)
        return self.draw(int(self.starts[place]), int(self.starts[place + 1]))

    def halves(self, part: Part) -> tuple[Part, Part]:
        """Halve a direction: between two leaves where there are several."""
        middle = (part.start + part.stop) // 2
        if part.listed is None:
            edges = self.starts[(self.starts > part.start) & (self.starts < part.stop)]
            middle = int(edges[np.argmin(np.abs(edges - middle))]) if len(edges) else middle
        return replace(part, stop=middle), replace(part, start=middle)

    def members(self, part: Part) -> Iterator[tuple[int, slice | Indices]]:
        """Give the leaves among the elements of a direction, and which of their elements."""
        if part.listed is not None:
            leaf, indices = part.listed
            yield leaf, indices[part.start : part.stop]
            return
        for leaf, first, end in zip(self.leaves, self.starts[:-1], self.starts[1:], strict=True):
            low, high = max(part.start, int(first)), min(part.stop, int(end))
            if low < high:
                yield leaf, slice(low - int(first), high - int(first))

    def elements_of(self, groups: Iterable[Part]) -> dict[int, Indices]:
        """Return the elements of some directions, leaf by leaf."""
        chosen: dict[int, list[Indices]] = {}
        for part in groups:
            for leaf, where in self.members(part):
                indices = np.arange(where.start, where.stop) if isinstance(where, slice) else where
                chosen.setdefault(leaf, []).append(indices)
        return {leaf: np.unique(np.concatenate(parts)) for leaf, parts in chosen.items()}

    def hold(self, leaf: int, indices: Indices) -> None:
        """Let some elements stand still from now on."""
        self._held[leaf] = np.union1d(self._held[leaf], indices)

    def release(self, leaf: int, indices: Indices) -> None:
        """Let them move again."""
        self._held[leaf] = np.setdiff1d(self._held[leaf], indices)

    def correct(self, leaf: int, index: int, derivative: Floats) -> None:
        """Take this for the claim of an element from now on, shape (K,); one whose claim is infinite stands still."""
        if np.all(np.isfinite(self.bench.claims[leaf].values[index])):
            self._corrected[leaf, index] = derivative - self.bench.claims[leaf].values[index]

    # ---- moving them ------------------------------------------------------------------------------------------------

    def lengths(self, leaf: int, where: slice | Indices, step: float) -> Floats:
        """Return by how much elements of a leaf move along a direction, but for sign and spread."""
        size = np.abs(self.bench.leaves[leaf].value.ravel()[where]).astype(np.float64)
        size[size == 0] = np.inf
        return np.asarray(np.minimum(step * self.bench.lengths[leaf][where], WITHIN * size))

    def shortest(self, leaf: int, step: float | None = None) -> float:
        """Return by how much the elements of a leaf move, at a low quantile."""
        return float(np.quantile(self.lengths(leaf, slice(None), step or self.step), LOW_QUANTILE))

    def moves(self, part: Part) -> Moves:
        """Return by how much the elements of a direction move.

        Whole and half steps come out exactly in the dtype of the parameters.
        """
        return {leaf: self._moves(leaf, where, part) for leaf, where in self.members(part)}

    def _moves(self, leaf: int, where: slice | Indices, part: Part) -> Floats:
        value = self.bench.leaves[leaf].value.ravel()
        rng = np.random.default_rng([self.key, part.number, *self.bench.leaves[leaf].name.encode()])
        drawn = 2 * rng.random(value.size, dtype=np.float32)[where].astype(np.float64) - 1
        sizes = (SMALLEST + (LARGEST - SMALLEST) * np.abs(drawn)) * self.lengths(leaf, where, part.step)
        grid = 2 * self.bench.leaves[leaf].format.spacing(np.abs(value[where]) + sizes)
        moves = np.zeros(value.size)
        moves[where] = np.copysign(np.maximum(np.rint(sizes / grid), 1.0) * grid, drawn)
        moves[self._held[leaf]] = 0.0
        return moves

    # ---- measuring --------------------------------------------------------------------------------------------------

    def measure(self, parts: Sequence[Part]) -> Slopes:
        """Compare claims and derivatives along some directions.

        Notes
        -----
        Costs four calls a direction. A kink within the step changes the difference by no more than 2.83 times what the
        deviation has for it.
        """
        if not parts:
            return Slopes(np.zeros((0, len(self.bench.base))), np.zeros((0, len(self.bench.base))))
        values, claimed, roundoff = self._values(parts, FOUR_CALLS)
        with np.errstate(all="ignore"):
            ahead, behind, half_ahead, half_behind = np.moveaxis(values, 1, 0)
            slope = (ahead - behind) / 2
            odd = slope - (half_ahead - half_behind)
            even = half_ahead + half_behind - (ahead + behind) / 4 - 1.5 * self.bench.base
            apart = np.hypot(odd, even)  # of noise of one: 2.2, where that of the slope is 0.71
            typical = np.sort(apart, axis=0)[(len(apart) - 1) // LUCKY]
            deviation = np.sqrt(self.bench.noise**2 / 2 + apart**2 + (TYPICAL * typical) ** 2 + roundoff**2)
            residual = claimed - slope
        known = np.isfinite(residual) & np.isfinite(deviation)
        return Slopes(np.where(known, residual, 0.0), np.where(known, deviation, np.inf))

    def compare(self, parts: Sequence[Part]) -> Floats:
        """Return claimed minus measured change along some directions, shape (P, K), at two calls each."""
        values, claimed, _ = self._values(parts, TWO_CALLS)
        with np.errstate(all="ignore"):
            return np.asarray(claimed - (values[:, 0] - values[:, 1]) / 2)

    def _values(self, parts: Sequence[Part], lengths: Floats) -> tuple[Floats, Floats, Floats]:
        """Return values along directions, shape (P, L, K), what the claims say, and what rounding does to that."""
        columns = len(self.bench.base)
        claimed, squares = np.zeros((len(parts), columns)), np.zeros((len(parts), columns))

        def walk() -> Iterator[Moves]:
            for row, part in enumerate(parts):
                moves = self.moves(part)
                for leaf, move in moves.items():
                    claimed[row] += self._claimed(leaf, move)
                    if np.any(self._roundoff[leaf]):
                        squares[row] += self._roundoff[leaf] ** 2 * (move @ move)
                yield moves

        return self.bench.probe.rays(walk(), lengths), claimed, np.sqrt(squares)

    def _claimed(self, leaf: int, move: Floats) -> Floats:
        """Return the change of the functions that the claims for a leaf predict, shape (K,)."""
        claims = self.bench.claims[leaf].values
        with np.errstate(all="ignore"):
            change = move @ claims if not len(self._held[leaf]) else _product(move, claims)
        for (other, index), correction in self._corrected.items():
            if other == leaf:
                change = change + move[index] * correction
        return np.asarray(change)

    def component(self, part: Part, leaf: int, index: int) -> float:
        """Return by how much one element moves along a direction."""
        return float(self._moves(leaf, slice(index, index + 1), part)[index])

    def allowed(self, parts: Sequence[Part]) -> Floats:
        """Return what ``rtol`` allows to the claims along directions, as standard deviations, shape (P, K)."""
        squares = np.zeros((len(parts), len(self.bench.base)))
        for row, part in enumerate(parts):
            for leaf, move in self.moves(part).items():
                with np.errstate(all="ignore"):
                    squares[row] += _product(move**2, self.bench.claims[leaf].values ** 2)
        return np.asarray(self.bench.rtol * np.sqrt(squares))

    def _choose_step(self) -> None:
        """Choose a step for the noise of the functions, at which they are finite. Blind to the claims."""
        direction = self.whole()
        while self.step > SHORTEST_STEP / NEARER**4:
            values = self.bench.probe.rays([self.moves(direction)], TWO_CALLS)[0]
            if np.all(np.isfinite(values)):
                break
            self.step /= NEARER
        if self.step < SHORTEST_STEP:
            return
        with np.errstate(all="ignore"):
            slope = np.abs(values[0] - values[1]) / (2 * self.step)
            noisiest = np.max(np.where(slope > 0, self.bench.noise / slope, 0.0))
        self.step = float(np.clip(noisiest**EXPONENT, SHORTEST_STEP, LONGEST_STEP))


def _product(move: Floats, claims: Floats) -> Floats:
    """Return the product where claims of elements that stand still may be NaN."""
    moving = np.flatnonzero(move)
    return np.asarray(move[moving] @ claims[moving])
