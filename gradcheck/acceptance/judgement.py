"""Input and output of the rule of acceptance: what is claimed for a leaf, and what is decided about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.decide import Decision, Outcome
from gradcheck.acceptance.ledger import Ledger, Limit, rms
from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.functions.blocks import BLOCK, SMALL_ARRAY

__all__ = ["Claim", "Judgement", "judgement_of", "known_blocks"]

NOTHING_SEEN = (Limit.NOT_PROBED, Limit.NOISE, Limit.STEP)
"""Limits of elements that no measurement contradicts."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The claimed gradient of one leaf, one column for each cotangent.

    Attributes
    ----------
    values : array, shape (n, K)
    spread : array, shape (K,)
        Root mean square change of the claim over one ulp, if it is coarser than float64; else 0.
    eps : float
        Machine epsilon of the claim's dtype.
    own : array, shape (n, K), optional
        The same for each element, which may be a sum of far larger or smaller terms than its neighbours.
    assumed : bool
        Whether ``spread`` and ``own`` were assumed, since the claim cannot be asked for again.
    in_double : callable, optional
        Returns the claim less the same in double precision, and the variation of this difference at nearby points, shapes (n, K),
        and the largest that rounding makes plausible, shape (K,). Differences that are not known are infinite; None if none is known.
        Called at most once.
    measured : array, shape (n, K), optional
        The size of this difference: the round-off of the claim, since an error would be in both. 0 where it is larger than usual and does not
        vary: then something may be wrong in one precision alone.
    least : array, shape (K,), optional
        The smallest normal number of float32, for the cotangent: what underflows is no error.
    beside : array, shape (K,), optional
        The round-off of what is added up for other outputs. A claim that is no farther from double precision is judged by that.
    """

    values: Floats
    spread: Floats
    eps: float
    own: NDArray[np.float32] | None = None
    assumed: bool = False
    in_double: Callable[[], tuple[Floats, Floats, Floats] | None] | None = None
    measured: Floats | None = None
    least: Floats | float = 0.0
    beside: Floats | float = 0.0

    def in_units(self, unit: Floats) -> Claim:
        """Return the claim in units of the function's values."""
        if (unit == 1).all():
            return self
        own = None if self.own is None else (self.own / unit).astype(np.float32)
        ask = self.in_double

        def in_double() -> tuple[Floats, Floats, Floats] | None:
            found = None if ask is None else ask()
            return None if found is None else (found[0] / unit, found[1] / unit, found[2] / unit)

        scaled = {name: getattr(self, name) / unit for name in ("values", "spread", "least", "beside")}
        return replace(self, **scaled, own=own, in_double=ask and in_double)

    def with_measured_roundoff(self) -> Claim:
        """Return the claim with ``measured`` round-off, if it is available in double precision."""
        found = None if self.in_double is None else self.in_double()
        if found is None or self.own is None:
            return replace(self, in_double=None)
        apart, varies, plausible = found
        is_lost = np.abs(apart) <= self.beside
        values, distance = self.values - np.where(is_lost, apart, 0.0), np.where(is_lost, 0.0, np.abs(apart))
        usual = np.maximum(self.roundoff(rms(self.values)), 16 * varies)
        measured = np.where(distance <= usual, distance, np.where(np.isinf(distance), 16 * self.own, 0.0))
        own = np.maximum(varies, np.minimum(distance, plausible) / 16)
        return replace(
            self, values=values, in_double=None, measured=measured, own=np.maximum(self.own, own.astype(np.float32))
        )

    def roundoff(self, scale: Floats, indices: Indices | None = None) -> Floats:
        """Return the round-off allowed to a right gradient whose root mean square is ``scale``, (K,), or to elements of it, (m, K).

        Near a minimum the gradient vanishes and the cancellation in its sums does not, so a multiple of epsilon alone is too
        little. In float64 no round-off is allowed: a huge element must not hide a small one.
        """
        if self.eps <= np.finfo(np.float64).eps:
            return np.zeros(scale.shape)
        usual = np.maximum(np.maximum(8 * self.eps * scale, 16 * self.spread), self.least)
        if indices is None or self.own is None:
            return usual
        most: Floats = np.maximum(usual, 16.0 * self.own[indices])
        if self.measured is None:
            return most
        return np.asarray(
            np.minimum(most, np.maximum(self.confirmed_roundoff(most, indices), 16.0 * self.own[indices]))
        )

    def confirmed_roundoff(self, allowed: Floats, indices: Indices) -> Floats:
        """Return the part of the allowed round-off that measurements of the elements themselves confirm, shape (m, K).

        At points an ulp away a saturated element, or a sum of constants, is rounded equally, so its round-off may be larger than
        ``own``; near a kink it may be smaller. An error between confirmed and allowed round-off is undecided.
        """
        if self.eps <= np.finfo(np.float64).eps or self.own is None:
            return allowed
        known = 16.0 * self.own[indices] if self.measured is None else self.measured[indices]
        usual = np.maximum(8 * self.eps * np.abs(self.values[indices]), self.least)
        return np.asarray(np.minimum(allowed, np.maximum(known, usual)))

    def depends_on_roundoff(self, found: Decision, indices: Indices, rtol: float) -> bool:
        """Tell whether some of these elements are contradicted, undecided because of their round-off, or right only with it."""
        error = np.abs(self.values[indices] - found.reference)
        is_off = error > rtol * np.abs(found.reference) + found.noise
        is_open = found.excluded | (found.limit == Limit.ROUNDOFF)
        return bool(np.where(found.outcome == Outcome.OPEN, is_open, (found.outcome == Outcome.RIGHT) & is_off).any())


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is decided about one leaf; arrays have shape (n, K).

    Attributes
    ----------
    reference, bound, noise, gap, floor : arrays
        As in `gradcheck.acceptance.decide.Decision`; NaN where nothing was measured.
    wrong : array of bool
    limit : array of `Limit`
        Why an element is undecided; `Limit.NONE` where it is not.
    to_resolution : array of bool
        Where a claim was accepted although noise hides errors larger than the tolerance.
    common_error : array, shape (K,)
        The error of the whole leaf as a multiple of the claim; 0 if it has none.
    noise_of_f : array, shape (K,)
        The standard deviation of the noise of the functions.
    floor_along : array, shape (K,)
        The smallest error in a single element that shows along random directions; NaN if none were measured.
    """

    reference: Floats
    bound: Floats
    noise: Floats
    gap: Floats
    wrong: Bools
    limit: NDArray[np.int8]
    to_resolution: Bools
    floor: Floats
    common_error: Floats
    noise_of_f: Floats
    floor_along: Floats

    def in_plain_units(self, unit: Floats) -> Judgement:
        """Convert numbers in units of the function's values to plain ones."""
        if (unit == 1).all():
            return self
        scaled = ("reference", "bound", "noise", "gap", "floor", "noise_of_f", "floor_along")
        return Judgement(
            **{
                name: getattr(self, name) * unit if name in scaled else getattr(self, name)
                for name in Judgement.__slots__
            }
        )

    def not_seen(self, reason: int, columns: Bools | None = None) -> Judgement:
        """Return the judgement with what is not wrong undecided, in all or some columns: the evidence would not show a wrong claim."""
        asked = np.ones(self.wrong.shape[1], dtype=bool) if columns is None else columns
        limit = np.where(asked, np.where(self.wrong, Limit.NONE, reason), self.limit).astype(np.int8)
        return replace(self, limit=limit, to_resolution=self.to_resolution & ~asked)

    def updated(self, other: Judgement, indices: Indices) -> Judgement:
        """Return the judgement with elements replaced by those of another one, unless the other saw nothing of them."""
        says_more = ~np.isin(other.limit[indices], NOTHING_SEEN).any(axis=1)
        indices, parts = indices[says_more], {}
        for name in ("reference", "bound", "noise", "gap", "wrong", "limit", "to_resolution", "floor"):
            parts[name] = getattr(self, name).copy()
            parts[name][indices] = getattr(other, name)[indices]
        return replace(self, **parts)

    @property
    def undecided(self) -> Bools:
        """Where the check cannot tell."""
        return np.asarray(self.limit != Limit.NONE)

    @property
    def detection_floor(self) -> float:
        """The smallest error in one element that would have been called wrong."""
        floors = self.floor if np.isnan(self.floor_along).all() else self.floor_along
        return float(floors[np.isfinite(floors)].min(initial=np.inf))


def judgement_of(
    shape: tuple[int, int],
    ledger: Ledger,
    decided: Callable[[Indices], Decision],
    *,
    noise_of_f: Floats,
    floor_along: Floats | None = None,
    unseen: int = Limit.NOT_PROBED,
) -> Judgement:
    """Return the judgement that follows from the evidence about a leaf.

    Parameters
    ----------
    shape : (int, int)
        The number of elements, and of columns of the claim.
    ledger : Ledger
    decided : callable
        ``decided(indices)`` returns the decision about some elements.
    noise_of_f, floor_along : arrays, shape (K,)
        As in `Judgement`.
    unseen : int, one of `Limit`
        Why elements without evidence are undecided, or `Limit.NONE`.
    """
    parts, nothing = known_blocks(ledger), np.zeros(shape[1])
    along = np.full(shape[1], np.nan) if floor_along is None else floor_along
    if len(parts) == 1 and len(parts[0]) == shape[0]:  # all elements in their order: there is nothing to put together
        found = decided(parts[0])
        wrong, to_resolution = found.outcome == Outcome.WRONG, found.outcome == Outcome.RIGHT_TO_RESOLUTION
        measured = found.reference, found.bound, found.noise, found.gap
        return Judgement(*measured, wrong, found.limit, to_resolution, found.floor, nothing, noise_of_f, along)
    reference, bound, noise, floor = (_filled(shape, np.nan, is_constant=not parts) for _ in range(4))
    gap, to_resolution, wrong = (_filled(shape, nothing, is_constant=not parts) for nothing in (0.0, False, False))
    limit = _filled(shape, np.int8(unseen), is_constant=not parts)
    for indices in parts:
        found = decided(indices)
        for array, part in (
            (reference, found.reference),
            (bound, found.bound),
            (noise, found.noise),
            (gap, found.gap),
            (floor, found.floor),
            (wrong, found.outcome == Outcome.WRONG),
            (to_resolution, found.outcome == Outcome.RIGHT_TO_RESOLUTION),
            (limit, found.limit),
        ):
            array[indices] = part
    return Judgement(reference, bound, noise, gap, wrong, limit, to_resolution, floor, nothing, noise_of_f, along)


def _filled(shape: tuple[int, ...], value: Any, *, is_constant: bool) -> NDArray[Any]:
    """Return an array of one value; with ``is_constant`` it takes no memory and cannot be written to."""
    constant = np.broadcast_to(np.asarray(value), shape)
    return constant if is_constant else constant.copy()


def known_blocks(ledger: Ledger) -> list[Indices]:
    """Return the elements with evidence in blocks of bounded memory, those with one estimate apart from those with more."""
    parts, most = [], int(ledger.count.max(initial=0))
    if len(ledger.count) * most * ledger.columns <= SMALL_ARRAY:
        return [ledger.known] if len(ledger.known) else []
    for few, many in ((1, 1), (2, most)):
        if few <= many:
            known = ((ledger.count >= few) & (ledger.count <= many)).nonzero()[0]
            size = max(1, BLOCK // (many * ledger.columns + 1))
            parts += [known[start : start + size] for start in range(0, len(known), size)]
    return parts
