"""What one run of the rule of acceptance knows: claims, measurements so far, and how to make more of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.complex_step import ROUNDING
from gradcheck.differences.ladder import Measurement, climb, lengths_of, noise_multiplier
from gradcheck.differences.vectorized import elements
from gradcheck.functions.probe import Probe
from gradcheck.nonsmooth.sampling import Flagged

__all__ = ["MOST_ROUNDOFF", "Bench", "Claim", "Doubt", "Judgement", "rms"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

MOST_ROUNDOFF = 0.01
"""A claim may not buy more tolerance with its own noise than this share of its leaf; beyond it is undecided."""


NEGLIGIBLE = 1e-3
"""Unless that is as good as zero beside the others: at most this share of the largest root mean square of another leaf."""


class Doubt(IntEnum):
    """Why an element is undecided."""

    NONE = 0
    NOT_PROBED = 1
    NOISE = 2
    STEP = 3
    KINK = 4
    UNCONFIRMED = 5
    GROUP = 6


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
    """

    values: Floats
    spread: Floats
    eps: float
    own: NDArray[np.float32] | None = None

    def in_units(self, unit: Floats) -> Claim:
        """Return the claim in units of the function's values."""
        if np.all(unit == 1):
            return self
        with np.errstate(over="ignore"):
            own = None if self.own is None else (self.own / unit).astype(np.float32)
            return Claim(self.values / unit, self.spread / unit, self.eps, own)

    def roundoff(self, scale: Floats, indices: Indices | None = None) -> Floats:
        """Return what an honest backward may be off by in a leaf, or in elements, where the gradient has this root mean square.

        Near a minimum the gradient goes to zero and the cancellation in its sums does not, so a multiple of epsilon
        alone does not cover it. In float64 there is no such term: a huge element must not hide a small one.
        """
        if self.eps <= np.finfo(np.float64).eps:
            return np.zeros_like(scale)
        usual = np.maximum(8 * self.eps * scale, 16 * self.spread)
        return usual if indices is None or self.own is None else np.maximum(usual, 16.0 * self.own[indices])


@dataclass(slots=True)
class Judgement:
    """What was found about one leaf; arrays have shape (n, K)."""

    reference: Floats
    bound: Floats
    noise: Floats
    gap: Floats
    wrong: Bools
    doubt: NDArray[np.int8]
    limited: Bools
    floor: Floats
    excess: Floats
    """Where the claim is too large as a whole, the error as a multiple of the claim, else 0; shape (K,)."""
    noise_of_f: Floats
    """The standard deviation of the noise of the functions, shape (K,)."""
    floor_along: Floats
    """The smallest error in a single element that shows along random directions, shape (K,); NaN where there were none."""

    def leave_units(self, unit: Floats) -> None:
        """Return from numbers in units of the function's values to plain ones."""
        if np.all(unit == 1):
            return
        with np.errstate(over="ignore"):
            for name in ("reference", "bound", "noise", "gap", "floor", "noise_of_f", "floor_along"):
                setattr(self, name, getattr(self, name) * unit)

    @property
    def undecided(self) -> Bools:
        """Where the check cannot tell."""
        return np.asarray(self.doubt != Doubt.NONE)

    @property
    def detection_floor(self) -> float:
        """The smallest error in one element that would have been called wrong."""
        floors = self.floor if np.all(np.isnan(self.floor_along)) else self.floor_along
        return float(np.min(floors[np.isfinite(floors)], initial=np.inf))

    @classmethod
    def open(cls, elements: int, columns: int) -> Judgement:
        """Return the judgement before anything was measured."""
        shape = (elements, columns)
        return cls(
            reference=np.full(shape, np.nan),
            bound=np.full(shape, np.nan),
            noise=np.full(shape, np.nan),
            gap=np.zeros(shape),
            wrong=np.zeros(shape, dtype=bool),
            doubt=np.full(shape, Doubt.NOT_PROBED, dtype=np.int8),
            limited=np.zeros(shape, dtype=bool),
            floor=np.full(shape, np.nan),
            excess=np.zeros(columns),
            noise_of_f=np.full(columns, np.nan),
            floor_along=np.full(columns, np.nan),
        )


class Bench:
    """One run of the rule: what is known so far about every leaf.

    Parameters
    ----------
    probe : Probe
        The functions, ``K`` of them.
    base : array, shape (K,)
        Their values at the point.
    claims : dict
        For each free leaf its claim.
    rtol : float
        The relative error that matters.
    rng : Generator
        Draws directions and signs.
    """

    def __init__(
        self, probe: Probe, base: Floats, claims: dict[int, Claim], rtol: float, rng: np.random.Generator
    ) -> None:
        self.probe = probe
        self.base = base
        self.claims = claims
        self.rtol = rtol
        self.rng = rng
        self.leaves = probe.point.leaves
        self.lengths = {leaf: lengths_of(self.leaves[leaf].value) for leaf in claims}
        self.judgements = {leaf: Judgement.open(*claim.values.shape) for leaf, claim in claims.items()}
        self.elements = sum(claim.values.shape[0] for claim in claims.values())
        self.multiplier = noise_multiplier(sum(claim.values.size for claim in claims.values()))
        self.noise = np.full(len(base), np.nan)
        self.steps: dict[int, float] = {}
        self.suspects: list[tuple[Flagged, Bools]] = []
        self.negligible = _negligible(claims)
        self.exact: dict[int, Floats] = {}
        """Derivatives by a complex step, where that was asked for and holds."""

    @property
    def accuses(self) -> bool:
        """Whether some element is wrong, or is about to be called so."""
        return bool(self.suspects) or any(found.wrong.any() for found in self.judgements.values())

    def slopes(self, leaf: int, indices: Indices) -> tuple[Floats, Floats, Floats]:
        """Return first derivatives for screening, second ones, and the deviation of the first; shapes (m, K)."""
        if leaf not in self.exact:
            return self.difference(leaf, indices, self.steps[leaf])
        exact = self.exact[leaf][indices]
        return exact, np.zeros_like(exact), ROUNDING * np.abs(exact) / self.multiplier

    def difference(self, leaf: int, indices: Indices, step: float | Floats) -> tuple[Floats, Floats, Floats]:
        """Return the central differences, the second ones, and what noise does to the first; shapes (m, K)."""
        steps = self.lengths[leaf][indices] * step
        value = self.leaves[leaf].value.ravel()[indices]
        steps = np.maximum(steps, 4 * self.leaves[leaf].format.spacing(np.abs(value)))
        both = np.stack([steps, -steps], axis=1).ravel()
        values, moved = elements(self.probe, leaf, np.repeat(indices, 2), both, self.noise)
        with np.errstate(all="ignore"):
            plus, minus, width = values[::2], values[1::2], (moved[::2] - moved[1::2])[:, None]
            bend = (plus - 2 * self.base + minus) / (width / 2) ** 2
            deviation = np.fmax(self.noise, np.spacing(np.fmax(np.abs(plus), np.abs(minus))) / 2)
            return (plus - minus) / width, bend, np.sqrt(2) * deviation / width

    def climb(self, leaf: int, indices: Indices, first_step: float, noise: Floats | None = None) -> Measurement:
        """Measure elements of a leaf with a ladder of steps; see `gradcheck.differences.ladder.climb`."""
        measured = climb(
            self.probe,
            leaf,
            indices,
            self.lengths[leaf][indices],
            self.base,
            self.noise if noise is None else noise,
            multiplier=self.multiplier,
            rtol=self.rtol,
            first_step=first_step,
        )
        if leaf in self.exact:
            exact = self.exact[leaf][indices]
            better = (np.abs(exact - measured.value) <= measured.bound) & ~measured.kink
            measured.value = np.where(better, exact, measured.value)
            measured.bound = np.where(better, ROUNDING * np.abs(exact), measured.bound)
            measured.noise = np.where(better, 0.0, measured.noise)
        return measured

    def tolerance(self, leaf: int, indices: Indices, measured: Measurement) -> tuple[Floats, Floats]:
        """Return how far off a claim may be before it is accused, and up to where it is cleared."""
        value = np.abs(self.leaves[leaf].value.ravel()[indices])
        rounding = 4 * self.leaves[leaf].format.spacing(value)[:, None] * np.abs(measured.curvature)
        tolerance = self.rtol * np.abs(measured.value) + rounding
        tolerated, clearing = self.roundoff(leaf, indices)
        return tolerance + tolerated, tolerance + clearing

    def roundoff(self, leaf: int, indices: Indices) -> tuple[Floats, Floats]:
        """Return what claims may be off by through their own round-off before they are accused, and up to where they are cleared."""
        size = rms(self.judgements[leaf].reference)
        roundoff = self.claims[leaf].roundoff(size, indices)
        return roundoff, np.minimum(roundoff, np.maximum(MOST_ROUNDOFF * size, self.negligible[leaf]))

    def suspect(
        self,
        leaf: int,
        index: int,
        reference: Floats,
        bound: Floats,
        gap: Floats,
        concerned: Bools,
        stake: Floats | None = None,
    ) -> None:
        """Leave an element to the test for kinks, in the columns concerned."""
        flagged = Flagged(leaf, index, self.claims[leaf].values[index], reference, bound, gap, stake)
        self.judgements[leaf].doubt[index, concerned] = Doubt.KINK
        self.suspects.append((flagged, concerned))


def _negligible(claims: dict[int, Claim]) -> dict[int, Floats]:
    """Return for each leaf what is as good as zero beside the gradients of the others, shape (K,)."""
    sizes = {leaf: rms(claim.values) for leaf, claim in claims.items()}
    return {
        leaf: NEGLIGIBLE * np.max([other for name, other in sizes.items() if name != leaf], axis=0, initial=0.0)
        for leaf in sizes
    }


def rms(values: Floats) -> Floats:
    """Root mean square over the elements, ignoring what is not finite, without overflow; shape (K,)."""
    with np.errstate(all="ignore"):
        is_finite = np.isfinite(values)
        sizes = np.where(is_finite, np.abs(values), 0.0)
        largest = sizes.max(axis=0, initial=0.0)
        scaled = sizes / np.where(largest > 0, largest, 1.0)
        count = np.maximum(np.count_nonzero(is_finite, axis=0), 1)
        return np.asarray(largest * np.sqrt((scaled**2).sum(axis=0) / count))
