"""What is claimed of a leaf, and what is decided about it: the data with which the rule of acceptance begins and ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.decide import Decision, Outcome
from gradcheck.acceptance.ledger import Ledger, Limit
from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.functions.blocks import BLOCK, SMALL_ARRAY

__all__ = ["Claim", "Judgement", "judgement_of", "known_blocks"]

NOTHING_SEEN = (Limit.NOT_PROBED, Limit.NOISE, Limit.STEP)
"""Limits of elements that no measurement contradicts."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed gradient of one leaf, one column per cotangent.

    Attributes
    ----------
    values : array, shape (n, K)
    spread : array, shape (K,)
        Root mean square by which claims an ulp away differ: measured where the claim is coarser than float64, else 0.
    eps : float
        Machine epsilon of the claim's dtype.
    own : array, shape (n, K), optional
        The same for each element: one may be summed from far larger terms than its neighbours. From a few points, so an
        element is taken to be off by no less than the leaf is.
    assumed : bool
        Whether ``spread`` and ``own`` were assumed, since the claim cannot be asked for again.
    """

    values: Floats
    spread: Floats
    eps: float
    own: NDArray[np.float32] | None = None
    assumed: bool = False

    def in_units(self, unit: Floats) -> Claim:
        """Return the claim in units of the function's values."""
        if (unit == 1).all():
            return self
        own = None if self.own is None else (self.own / unit).astype(np.float32)
        return Claim(self.values / unit, self.spread / unit, self.eps, own, self.assumed)

    def roundoff(self, scale: Floats, indices: Indices | None = None) -> Floats:
        """Return the round-off allowed to a right gradient of this root mean square, of a leaf or of elements.

        Near a minimum the gradient goes to zero and the cancellation in its sums does not, so a multiple of epsilon
        alone does not cover it. In float64 there is no such term: a huge element must not hide a small one.
        """
        if self.eps <= np.finfo(np.float64).eps:
            return np.zeros(scale.shape)
        usual = np.maximum(8 * self.eps * scale, 16 * self.spread)
        return usual if indices is None or self.own is None else np.maximum(usual, 16.0 * self.own[indices])


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is decided about one leaf; arrays have shape (n, K).

    Attributes
    ----------
    reference, bound, noise, gap, floor : arrays
        As in `gradcheck.acceptance.decide.Decision`; NaN where nothing was measured.
    wrong : array of bool
    doubt : array of `Limit`
        Why an element is undecided; `Limit.NONE` where it is not.
    limited : array of bool
        Where an element was accepted as far as noise lets anyone see.
    common_error : array, shape (K,)
        Where the claim is too large as a whole, the error as a multiple of the claim, else 0.
    noise_of_f : array, shape (K,)
        The standard deviation of the noise of the functions.
    floor_along : array, shape (K,)
        The smallest error in a single element that shows along random directions; NaN where there were none.
    """

    reference: Floats
    bound: Floats
    noise: Floats
    gap: Floats
    wrong: Bools
    doubt: NDArray[np.int8]
    limited: Bools
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

    def not_seen(self, reason: int) -> Judgement:
        """Return the judgement that the evidence could not have distinguished a wrong claim from a right one."""
        doubt = np.where(self.wrong, Limit.NONE, reason).astype(np.int8)
        return replace(self, doubt=doubt, limited=np.zeros_like(self.limited))

    def updated(self, other: Judgement, indices: Indices) -> Judgement:
        """Return the judgement, with some elements replaced by those of another one if it says more than that nothing is seen."""
        says_more = ~np.isin(other.doubt[indices], NOTHING_SEEN).any(axis=1)
        indices, parts = indices[says_more], {}
        for name in ("reference", "bound", "noise", "gap", "wrong", "doubt", "limited", "floor"):
            parts[name] = getattr(self, name).copy()
            parts[name][indices] = getattr(other, name)[indices]
        return replace(self, **parts)

    @property
    def undecided(self) -> Bools:
        """Where the check cannot tell."""
        return np.asarray(self.doubt != Limit.NONE)

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
    """Return what follows from the evidence about a leaf.

    Parameters
    ----------
    shape : (int, int)
        Elements, and columns of the claim.
    ledger : Ledger
    decided : callable
        Gives the decision about some elements.
    noise_of_f, floor_along : arrays, shape (K,)
        As in `Judgement`.
    unseen : int, one of `Limit`
        What limits elements of which nothing was measured.
    """
    parts, nothing = known_blocks(ledger), np.zeros(shape[1])
    along = np.full(shape[1], np.nan) if floor_along is None else floor_along
    if len(parts) == 1 and len(parts[0]) == shape[0]:  # all elements in their order: there is nothing to put together
        found = decided(parts[0])
        wrong, limited = found.outcome == Outcome.WRONG, found.outcome == Outcome.RIGHT_TO_RESOLUTION
        measured = found.reference, found.bound, found.noise, found.gap
        return Judgement(*measured, wrong, found.limit, limited, found.floor, nothing, noise_of_f, along)
    reference, bound, noise, floor = (_filled(shape, np.nan, is_constant=not parts) for _ in range(4))
    gap, limited, wrong = (_filled(shape, nothing, is_constant=not parts) for nothing in (0.0, False, False))
    doubt = _filled(shape, np.int8(unseen), is_constant=not parts)
    for indices in parts:
        found = decided(indices)
        for array, part in (
            (reference, found.reference),
            (bound, found.bound),
            (noise, found.noise),
            (gap, found.gap),
            (floor, found.floor),
            (wrong, found.outcome == Outcome.WRONG),
            (limited, found.outcome == Outcome.RIGHT_TO_RESOLUTION),
            (doubt, found.limit),
        ):
            array[indices] = part
    return Judgement(reference, bound, noise, gap, wrong, doubt, limited, floor, nothing, noise_of_f, along)


def _filled(shape: tuple[int, ...], value: Any, *, is_constant: bool) -> NDArray[Any]:
    """Return an array of one value; where it stays so, it takes no memory and cannot be written to."""
    constant = np.broadcast_to(np.asarray(value), shape)
    return constant if is_constant else constant.copy()


def known_blocks(ledger: Ledger) -> list[Indices]:
    """Return the elements about which something is known, those with about as many estimates together."""
    parts, most = [], int(ledger.count.max(initial=0))
    if len(ledger.count) * most * ledger.columns <= SMALL_ARRAY:
        return [ledger.known] if len(ledger.known) else []
    for few, many in ((1, 1), (2, most)):
        if few <= many:
            known = ((ledger.count >= few) & (ledger.count <= many)).nonzero()[0]
            size = max(1, BLOCK // (many * ledger.columns + 1))
            parts += [known[start : start + size] for start in range(0, len(known), size)]
    return parts
