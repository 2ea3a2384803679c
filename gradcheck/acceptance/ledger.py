"""Evidence: all that was measured of the elements of a leaf.

Estimates are only appended, in any order, and no decision is stored: which elements are right, wrong or undecided follows
from evidence and claim alone; see `gradcheck.acceptance.decide`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Bools, Chosen, Floats, Indices
from gradcheck.differences.ladder import Measurement
from gradcheck.functions.blocks import BLOCK

__all__ = ["HUGE", "Estimate", "Evidence", "Kind", "Ledger", "Limit", "Membership", "by_leaf", "numbers_of", "rms"]


HUGE = float(np.sqrt(np.finfo(np.float64).max))
"""Replaces infinite values and bounds in rankings. The square root of the largest float, so that dividing it by a small
bound does not overflow."""


class Kind:
    """How a derivative was estimated. Plain integers: NumPy compares an array with a member of an enumeration six times as slowly."""

    NONE: Final = 0
    DIFFERENCE: Final = 1
    """One central difference, or an extrapolation of two: the noise is known, truncation is not."""
    CLOSEST: Final = 2
    """One central difference with the shortest step at which noise does not hide the error in question."""
    PAIR: Final = 3
    """Two central differences; their distance plus the noise is the bound."""
    JOINT: Final = 4
    """Elements of equal value moved together; ``gap`` is the slope along that move."""
    LADDER: Final = 5
    """Extrapolated from a ladder of steps."""
    JUMPS: Final = 6
    """A ladder in which nearby discontinuities count as noise."""
    STAIR: Final = 7
    """A ladder in which the height of a stair counts as noise: near the point the functions do not change."""
    EXACT: Final = 8
    """Not a difference: rounding is its only error."""
    MULTIPLE: Final = 9
    """Confirmed along random directions for many elements at once; see `whole_claim` and `together`."""


class Limit:
    """Why an element is undecided; in words: `gradcheck.reports.summary.REASONS`."""

    NONE: Final = 0
    NOT_PROBED: Final = 1
    NOISE: Final = 2
    STEP: Final = 3
    KINK: Final = 4
    UNCONFIRMED: Final = 5
    GROUP: Final = 6
    CALLS: Final = 7
    UNSEEN: Final = 8
    RTOL: Final = 9
    STAIR: Final = 10
    ASSUMED: Final = 11
    ROUNDOFF: Final = 12


class Membership:
    """Whether a claim is a generalised derivative, as far as that was examined."""

    UNTESTED: Final = 0
    VALID: Final = 1
    INVALID: Final = 2
    OPEN: Final = 3
    HIDDEN: Final = 4
    """Invalid, but a kink so near that noise hides it would make the claim valid."""
    STANDING: Final = 5
    """The slope between two jumps, such as zero on a stair: the derivative nearly everywhere, but not the trend."""


def numbers_of(names: type) -> dict[str, int]:
    """Return the name and number of each `Kind`, `Limit` or `Membership`, in their order."""
    return {name: number for name, number in vars(names).items() if name.isupper()}


@dataclass(frozen=True, slots=True)
class Estimate:
    """Derivatives with respect to ``m`` elements of a leaf, of ``K`` functions; arrays have shape (m, K).

    Attributes
    ----------
    kind : int
        One of `Kind`.
    indices : array of int, shape (m,)
    value : array
        NaN where nothing was established.
    noise : array
        By how much the noise of the functions may change the value.
    bound : array
        By how much the value may be off in all; infinite where that is unknown. Of a `Kind.DIFFERENCE` only the noise is known.
    gap : array
        Right minus left derivative where they differ, else 0.
    curvature : array
        The second derivative, roughly.
    limited : array of bool
        Where no other step would do better, because of noise or the resolution of the parameters.
    ended : array of bool
        Where there is no shorter step.
    typical : array, shape (K,)
        The median noise of the elements measured with it.
    """

    kind: int
    indices: Indices
    value: Floats
    noise: Floats
    bound: Floats
    gap: Floats
    curvature: Floats
    limited: Bools
    ended: Bools
    typical: Floats

    @classmethod
    def of(
        cls,
        kind: int,
        indices: Indices,
        value: Floats,
        noise: Floats,
        bound: Floats | None = None,
        *,
        gap: Floats | float = 0.0,
        curvature: Floats | float = 0.0,
        limited: Bools | bool = False,
        ended: Bools | bool = False,
        typical: Floats | float = 0.0,
    ) -> Estimate:
        """Return an estimate whose bound is by default the noise; all parts are broadcast to the shape of ``value``."""
        parts = (noise, noise if bound is None else bound, gap, curvature, limited, ended)
        shaped = [*(_spread(part, value.shape) for part in parts), _spread(typical, value.shape[1:])]
        return cls(kind, indices, value, *shaped)

    @classmethod
    def difference(
        cls,
        indices: Indices,
        value: Floats,
        noise: Floats,
        curvature: Floats,
        *,
        kind: int = Kind.DIFFERENCE,
        limited: bool = False,
        where: Bools | None = None,
    ) -> Estimate:
        """Return central differences, NaN outside ``where``; ``limited`` if no longer step would tell much more."""
        middle = (len(noise) - 1) // 2
        typical = np.partition(noise, middle, axis=0)[middle] if len(noise) else 0.0
        known = value if where is None else np.where(where, value, np.nan)
        return cls.of(kind, indices, known, noise, curvature=curvature, limited=limited, typical=typical)

    @classmethod
    def pair(cls, indices: Indices, value: Floats, bound: Floats, noise: Floats) -> Estimate:
        """Return differences with a bound from two steps."""
        return cls.of(Kind.PAIR, indices, value, noise, np.where(np.isfinite(bound), bound, np.inf))

    @classmethod
    def sides(cls, indices: Indices, value: Floats, gap: Floats, noise: Floats) -> Estimate:
        """Return the means of the one-sided derivatives at kinks, measured with a step as short as the last one of a ladder."""
        return cls.of(Kind.LADDER, indices, value, noise, np.abs(gap) / 2 + noise, gap=gap)

    @classmethod
    def multiple(cls, indices: Indices, value: Floats, bound: Floats) -> Estimate:
        """Return derivatives that random directions confirm for many elements at once."""
        return cls.of(Kind.MULTIPLE, indices, value, bound, limited=True)

    @classmethod
    def joint(cls, indices: Indices, noise: Floats, slope: Floats) -> Estimate:
        """Return zeros of elements that change the functions only when all move together, with that slope, shape (K,)."""
        value = np.broadcast_to(np.where(slope != 0, 0.0, np.nan), (len(indices), len(slope)))
        return cls.of(Kind.JOINT, indices, value, noise, gap=slope)

    @classmethod
    def measurement(cls, indices: Indices, measured: Measurement, kind: int = Kind.LADDER) -> Estimate:
        """Return the result of a ladder of steps."""
        return cls.of(
            kind,
            indices,
            measured.value,
            measured.noise,
            np.where(np.isnan(measured.bound) | np.isnan(measured.value), np.inf, measured.bound),
            gap=measured.gap,
            curvature=measured.curvature,
            limited=measured.exhausted,
            ended=measured.ended,
        )

    def as_evidence(self, membership: NDArray[np.int8], nonlinear: Bools) -> Evidence:
        """Return this estimate as the only evidence about its elements, almost without copies."""
        floats = (self.value, self.noise, self.bound, self.gap, self.curvature)
        value, noise, bound, gap, curvature = (part[:, None] for part in floats)
        typical = np.empty(value.shape)
        typical[:] = self.typical
        return Evidence(
            np.full((len(self.indices), 1, 1), self.kind, dtype=np.int8),
            value,
            noise,
            bound,
            gap,
            curvature,
            self.limited[:, None],
            self.ended[:, None],
            typical,
            membership,
            nonlinear,
        )


def _spread(part: Floats | Bools | float, shape: tuple[int, ...]) -> NDArray[Any]:
    """Broadcast a number or a row to some shape; an array of that shape is returned as it is."""
    if isinstance(part, np.ndarray):
        return part if part.shape == shape else np.broadcast_to(part, shape)
    return _constant(part, shape)


@lru_cache(maxsize=64, typed=True)
def _constant(value: float, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.broadcast_to(np.asarray(value), shape)


class Evidence(NamedTuple):
    """All estimates of ``m`` elements side by side: ``L`` of each, padded by those of kind `Kind.NONE`."""

    kind: NDArray[np.int8]  # (m, L, 1)
    value: Floats  # (m, L, K), like all that follow
    noise: Floats
    bound: Floats
    gap: Floats
    curvature: Floats
    limited: Bools
    ended: Bools
    typical: Floats
    membership: NDArray[np.int8]  # (m, K)
    nonlinear: Bools  # (m, K): single differences are not to be trusted


class Ledger:
    """The evidence about one leaf.

    Parameters
    ----------
    elements, columns : int
        The numbers ``n`` of elements and ``K`` of functions.

    Attributes
    ----------
    count : array of int, shape (n,)
        The number of estimates of each element.
    membership : array of `Membership`, shape (n, K)
    nonlinear : array of bool, shape (n, K)
        Where the functions are not linear over the steps of single differences, and truncation does not explain it.
    version : int
        Grows with every entry.
    """

    def __init__(self, elements: int, columns: int) -> None:
        self.columns = columns
        self.count = np.zeros(elements, dtype=np.int32)
        self.membership = np.zeros((elements, columns), dtype=np.int8)
        self.nonlinear = np.zeros((elements, columns), dtype=bool)
        self.version = 0
        self._size: tuple[int, Floats] | None = None
        self._known: Indices | None = None
        self._estimates: list[Estimate] = []
        self._slots: list[NDArray[np.int32]] = []

    def add(self, estimate: Estimate) -> None:
        """Append an estimate; no element may occur twice in it."""
        if len(estimate.indices):
            self._estimates.append(estimate)
            self._slots.append(self.count[estimate.indices])
            self.count[estimate.indices] += 1
            self.version += 1
            self._known = None

    @property
    def known(self) -> Indices:
        """The elements of which there is an estimate."""
        if self._known is None:
            self._known = self.count.nonzero()[0]
        return self._known

    def enter_membership(self, indices: Indices, membership: NDArray[np.int8]) -> None:
        """Enter whether claims are generalised derivatives, shape (m, K), where that was examined."""
        before = self.membership[indices]
        self.membership[indices] = np.where(membership == Membership.UNTESTED, before, membership)
        self.version += 1

    def mark_nonlinear(self, indices: Indices, nonlinear: Bools) -> None:
        """Enter where single differences are not to be trusted, shape (m, K)."""
        self.nonlinear[indices] |= nonlinear
        self.version += 1

    def evidence(self, indices: Indices) -> Evidence:
        """Return all that is known of some elements."""
        first = self._estimates[0].indices if len(self._estimates) == 1 else None
        if first is indices or (first is not None and np.array_equal(first, indices)):  # as of many small leaves
            return self._estimates[0].as_evidence(self.membership[indices], self.nonlinear[indices])
        order = np.argsort(indices, kind="stable")
        sorted_indices = indices[order]
        everything = np.arange(len(indices))
        count, depth = len(indices), int(self.count[indices].max(initial=0))
        kind = np.zeros((count * depth, 1), dtype=np.int8)
        floats = np.zeros((6, count * depth, self.columns))
        floats[0] = np.nan
        flags = np.zeros((2, count * depth, self.columns), dtype=bool)
        for estimate, slots in zip(self._estimates, self._slots, strict=True) if count else ():
            rows: slice | Indices = slice(None)  # which copies nothing
            if np.array_equal(estimate.indices, indices):  # as it is nearly always
                place = everything * depth + slots
            else:
                near = np.minimum(np.searchsorted(sorted_indices, estimate.indices), count - 1)
                asked = (sorted_indices[near] == estimate.indices).nonzero()[0]
                if not len(asked):
                    continue
                rows = rows if len(asked) == len(slots) else asked
                place = order[near[rows]] * depth + slots[rows]
            kind[place] = estimate.kind
            parts = (estimate.value, estimate.noise, estimate.bound, estimate.gap, estimate.curvature)
            for array, part in zip(floats, parts, strict=False):
                array[place] = part[rows]
            floats[5, place] = estimate.typical
            flags[0, place], flags[1, place] = estimate.limited[rows], estimate.ended[rows]
        shape = (count, depth, self.columns)
        value, noise, bound, gap, curvature, typical = (array.reshape(shape) for array in floats)
        limited, ended = (array.reshape(shape) for array in flags)
        known = self.membership[indices], self.nonlinear[indices]
        return Evidence(
            kind.reshape(count, depth, 1), value, noise, bound, gap, curvature, limited, ended, typical, *known
        )

    def measured(self, indices: Indices) -> Bools:
        """Tell which elements have an estimate whose error is bounded, shape (m,)."""
        bounded = np.zeros(len(indices), dtype=bool)
        for estimate in self._estimates:
            if estimate.kind >= Kind.PAIR:
                bounded |= np.isin(indices, estimate.indices)
        return bounded

    def typical_size(self) -> Floats:
        """Return the root mean square of the measured gradient, shape (K,).

        Of each element the bounded estimate of least bound counts, or if there is none the noisiest difference: the shortest step.
        """
        if self._size is None or self._size[0] != self.version:
            self._size = self.version, rms(self._best())
        return self._size[1]

    def _best(self) -> Floats:
        """Return the best value of each known element, shape (m, K)."""
        known = self.known
        if len(self._estimates) == 1 and self._estimates[0].kind not in (Kind.CLOSEST, Kind.JOINT):
            return self._estimates[0].value
        best, rank = np.full((len(known), self.columns), np.nan), np.full((len(known), self.columns), -np.inf)
        for estimate in self._estimates:
            if estimate.kind in (Kind.CLOSEST, Kind.JOINT):
                continue
            rows = np.searchsorted(known, estimate.indices)
            score = estimate.noise if estimate.kind == Kind.DIFFERENCE else HUGE / estimate.bound
            better = np.isfinite(estimate.value) & (score > rank[rows])
            for array, new in ((best, estimate.value), (rank, score)):
                array[rows] = np.where(better, new, array[rows])
        return best


def by_leaf(places: Iterable[tuple[int, int]]) -> Chosen:
    """Group pairs (leaf, element) by leaf; the elements keep their order."""
    chosen: dict[int, list[int]] = {}
    for leaf, index in places:
        chosen.setdefault(leaf, []).append(index)
    return {leaf: np.array(indices, dtype=np.intp) for leaf, indices in chosen.items()}


def rms(values: Floats) -> Floats:
    """Root mean square over the elements, ignoring what is not finite, without overflow; shape (K,)."""
    if values.size <= BLOCK:  # nearly always, and thousands of times
        top, squares, counts = _squares(values)
        return np.asarray(top * np.sqrt(squares / np.maximum(counts, 1)))
    rows = BLOCK * len(values) // values.size or 1
    parts = [_squares(values[start : start + rows]) for start in range(0, max(len(values), 1), rows)]
    tops, squares, counts = (np.array(each) for each in zip(*parts, strict=True))
    largest = tops.max(axis=0)
    total = (squares * (tops / np.where(largest > 0, largest, 1.0)) ** 2).sum(axis=0)
    return np.asarray(largest * np.sqrt(total / np.maximum(counts.sum(axis=0), 1)))


def _squares(values: Floats) -> tuple[Floats, Floats, Indices]:
    """Return the largest absolute value of each column, the sum of squares in units of it, and how many values are finite, shapes (K,)."""
    finite = np.isfinite(values)
    sizes = np.where(finite, np.abs(values), 0.0)
    top = sizes.max(axis=0, initial=0.0)
    return top, ((sizes / np.where(top > 0, top, 1.0)) ** 2).sum(axis=0), finite.sum(axis=0)
