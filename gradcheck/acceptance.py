"""The rule of acceptance: which elements of a claimed gradient are right, wrong or undecided.

Every element is screened with one central difference. Where that agrees with the claim the element is done; the
others climb a ladder of steps, those with most evidence of a fault first. An element is wrong only when its claim
lies outside the measured interval by more than the tolerance, and an independent measurement says so too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences import FIRST_STEP, Measurement, climb, lengths_of, noise_multiplier
from gradcheck.evaluation import BudgetExhaustedError, Probe, unit_of
from gradcheck.kinks import acquit
from gradcheck.nearby import Neighbourhood, Suspect
from gradcheck.noise import ulp
from gradcheck.pilot import DEFAULT_STEP, choose_step, measure_noise
from gradcheck.pooled import excess, tied_groups, together
from gradcheck.ties import MOST_SHARING

__all__ = ["Claim", "Doubt", "Judgement", "judge"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

CONFIRMING_CALLS = 14
"""Kept back before screening begins, so that a fault that was seen can be confirmed."""

REFINING_CALLS = 40
"""Spent on elements that screening left open without evidence of a fault; more only in proportion to the elements."""

USUAL = 1.5
"""Elements in which noise hides up to so many times what it hides in the typical one need no second look."""

MOST_ROUNDOFF = 0.01
"""A claim may not buy more tolerance with its own noise than this share of its leaf; beyond it is undecided."""

WORTH_IT = 0.1
"""Elements that noise hides are looked at again if their step was shorter than this share of the longest one."""

PILOTED_LEAVES = 9
POOLED_STEP = 0.4373
"""The step of a second screening, in units of the first."""

ROUGHLY = 0.3
"""Where no shorter step is left, a bound no larger than this share of the leaf says enough to let a claim go."""

CLOSE, CLOSEST_STEP = 1.6, 1.07e-10
"""The last look at an accused element: with the step at which its error is so many times what noise does."""

SECOND_STEP = 0.4373 * FIRST_STEP
"""The ladder of an independent measurement: other steps, other points."""


class Doubt(IntEnum):
    """Why an element is undecided."""

    NONE = 0
    NOT_PROBED = 1
    NOISE = 2
    STEP = 3
    KINK = 4
    UNCONFIRMED = 5


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
    """

    values: Floats
    spread: Floats
    eps: float

    def in_units(self, unit: Floats) -> Claim:
        """Return the claim in units of the function's values."""
        with np.errstate(over="ignore"):
            return Claim(self.values / unit, self.spread / unit, self.eps)

    def roundoff(self, scale: Floats) -> Floats:
        """Return what an honest backward may be off by in a leaf whose gradient has this root mean square.

        Near a minimum the gradient goes to zero and the cancellation in its sums does not, so a multiple of epsilon
        alone does not cover it. In float64 there is no such term: a huge element must not hide a small one.
        """
        if self.eps <= np.finfo(np.float64).eps:
            return np.zeros_like(scale)
        return np.maximum(8 * self.eps * scale, 16 * self.spread)


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

    def leave_units(self, unit: Floats) -> None:
        """Return from numbers in units of the function's values to plain ones."""
        with np.errstate(over="ignore"):
            for name in ("reference", "bound", "noise", "gap", "floor"):
                setattr(self, name, getattr(self, name) * unit)

    @property
    def undecided(self) -> Bools:
        """Where the check cannot tell."""
        return np.asarray(self.doubt != Doubt.NONE)

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
        )


def judge(
    probe: Probe, base: Floats, claims: dict[int, Claim], *, rtol: float, rng: np.random.Generator
) -> dict[int, Judgement]:
    """Judge a claimed gradient, element by element.

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

    Returns
    -------
    judgements : dict
        For each leaf of ``claims`` what was found.

    Notes
    -----
    Costs two calls an element where claim and difference agree, and at most about a hundred more in all.
    """
    unit = unit_of(base)
    bench = _Bench(
        probe.with_cotangents(probe.cotangents / unit[:, None]),
        base / unit,
        {leaf: claim.in_units(unit) for leaf, claim in claims.items()},
        rtol,
        rng,
    )
    try:
        bench.prepare()
        bench.screen()
        bench.refine()
        bench.try_suspects()
        bench.require_sight()
    except BudgetExhaustedError:
        pass
    for judgement in bench.judgements.values():
        judgement.leave_units(unit)
    return bench.judgements


class _Bench:
    """One run of the rule: what is known so far about every leaf."""

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
        self.suspects: list[tuple[Suspect, Bools]] = []

    # ---- before the first element -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Measure the noise and choose a step for each leaf, the largest leaves first."""
        self.noise = measure_noise(self.probe, self.base, self.lengths, self.rng)
        largest = sorted(self.claims, key=lambda leaf: -self.lengths[leaf].size)[:PILOTED_LEAVES]
        for leaf in largest:
            step = choose_step(self.probe, leaf, self.lengths[leaf], self.noise, self.rtol, self.rng)
            if step is not None:
                self.steps[leaf] = step
        usual = float(np.median(list(self.steps.values()))) if self.steps else DEFAULT_STEP
        self.steps = {leaf: self.steps.get(leaf, usual) for leaf in self.claims}

    # ---- two evaluations an element ---------------------------------------------------------------------------

    def screen(self) -> None:
        """Compare every claim with one central difference."""
        affordable = max(0.0, self.probe.budget.left - CONFIRMING_CALLS) / 2
        chosen = self._sample(affordable)
        for leaf, indices in chosen.items():
            if len(indices):
                self._screen_leaf(leaf, indices)
        for leaf, indices in chosen.items():
            if len(indices):
                self._pool(leaf, indices)
        self._move_zeros()

    def _sample(self, affordable: float) -> dict[int, Indices]:
        """Choose the elements to look at: all, or as many as the budget allows, drawn at random."""
        everything = {leaf: np.arange(claim.values.shape[0]) for leaf, claim in self.claims.items()}
        if self.probe.vectorized or affordable >= self.elements:
            return everything
        keys = np.concatenate([np.full(len(indices), leaf) for leaf, indices in everything.items()])
        numbers = np.concatenate(list(everything.values()))
        drawn = np.sort(self.rng.choice(len(keys), size=int(affordable), replace=False))
        return {leaf: numbers[drawn][keys[drawn] == leaf] for leaf in everything}

    def _screen_leaf(self, leaf: int, indices: Indices) -> None:
        claim, found = self.claims[leaf], self.judgements[leaf]
        slope, bend, deviation = self._difference(leaf, indices, self.steps[leaf])
        value = self.leaves[leaf].value.ravel()[indices]
        with np.errstate(all="ignore"):
            jitter = self.multiplier * deviation
            apart = np.abs(claim.values[indices] - slope)
            rounding = 4 * np.spacing(np.abs(value)).astype(np.float64)[:, None] * np.abs(bend)
            size = _rms(slope)
            roundoff = claim.roundoff(size)
            tolerance = self.rtol * np.abs(slope) + rounding + roundoff
            agree = (
                np.isfinite(apart)
                & np.isfinite(tolerance)
                & (apart <= tolerance - roundoff + np.minimum(roundoff, MOST_ROUNDOFF * size))
            )
            # What noise hides from anyone is let go, and said; what it hides here alone is looked at again.
            visible = np.maximum(self.rtol * size, 2 * USUAL * np.median(jitter, axis=0))
            limited = (apart <= jitter) & (apart + jitter <= visible)
            limited &= np.isfinite(apart) & np.isfinite(jitter)
        found.reference[indices], found.noise[indices] = slope, jitter
        found.bound[indices] = apart + jitter
        found.limited[indices] = limited & ~agree
        found.doubt[indices] = np.where(agree | limited, Doubt.NONE, Doubt.NOISE)
        found.floor[indices] = tolerance + jitter

    def _difference(self, leaf: int, indices: Indices, step: float | Floats) -> tuple[Floats, Floats, Floats]:
        """Return the central differences, the second ones, and what noise does to the first; shapes (m, K)."""
        steps = self.lengths[leaf][indices] * step
        value = self.leaves[leaf].value.ravel()[indices]
        steps = np.maximum(steps, 4 * np.spacing(np.abs(value)).astype(np.float64))
        values, moved = self.probe.elements(leaf, np.repeat(indices, 2), np.stack([steps, -steps], axis=1).ravel())
        with np.errstate(all="ignore"):
            plus, minus, width = values[::2], values[1::2], (moved[::2] - moved[1::2])[:, None]
            bend = (plus - 2 * self.base + minus) / (width / 2) ** 2
            deviation = np.maximum(self.noise, ulp(np.stack([plus, minus])) / 2)
            return (plus - minus) / width, bend, np.sqrt(2) * deviation / width

    def _pool(self, leaf: int, indices: Indices) -> None:
        """Look for an error that a whole leaf has in common, among the elements that noise keeps from being judged."""
        claim, found = self.claims[leaf].values[indices], self.judgements[leaf]
        deviation = found.noise[indices] / self.multiplier
        with np.errstate(all="ignore"):
            apart = np.abs(claim - found.reference[indices])
            hazy = (found.noise[indices] > self.rtol * np.abs(claim)) & (apart <= 2 * found.noise[indices])
        first = excess(claim, found.reference[indices], np.where(hazy, deviation, np.nan))
        if not np.any(first.significant) or self.probe.budget.left < 2 * len(indices):
            return
        slope, _, deviation = self._difference(leaf, indices, self.steps[leaf] * POOLED_STEP)
        wrong = first.confirmed_by(excess(claim, slope, np.where(hazy, deviation, np.nan)))
        found.excess = np.where(wrong, first.share, 0.0)
        found.wrong[indices] |= wrong
        found.doubt[np.ix_(indices, np.flatnonzero(wrong))] = Doubt.NONE

    def _move_zeros(self) -> None:
        """Move elements together whose claim and difference are both zero; where that moves ``f``, suspect them."""
        zeros = {}
        for leaf, found in self.judgements.items():
            unmoved = (self.claims[leaf].values == 0) & (np.abs(found.reference) <= found.noise)
            zeros[leaf] = np.flatnonzero(np.all(unmoved, axis=1))
        moves = {leaf: self._common_move(leaf, indices) for leaf, indices in zeros.items() if len(indices)}
        jitter = self.multiplier * self.noise
        if not moves or not np.any(together(self.probe, moves, jitter)):
            return
        for leaf in moves:
            for group in tied_groups(self.leaves[leaf].value, zeros[leaf], MOST_SHARING):
                slope = together(self.probe, {leaf: self._common_move(leaf, group)}, jitter)
                if np.any(slope):
                    step = np.mean(self.lengths[leaf][group]) * self.steps[leaf]
                    for index in group:
                        self._suspect(leaf, int(index), np.zeros_like(slope), jitter / step, slope / step, slope != 0)

    def _common_move(self, leaf: int, indices: Indices) -> Floats:
        """Return a move of some elements, all upwards, by about the screening step."""
        move = np.zeros_like(self.lengths[leaf])
        spread = self.rng.uniform(0.5, 1.5, len(indices))
        move[indices] = self.steps[leaf] * self.lengths[leaf][indices] * spread
        return move

    def _suspect(self, leaf: int, index: int, reference: Floats, bound: Floats, gap: Floats, concerned: Bools) -> None:
        """Leave an element to the trial of kinks, in the columns concerned."""
        nothing = np.zeros(len(self.base), dtype=bool)
        suspect = Suspect(
            leaf=leaf,
            index=index,
            claimed=self.claims[leaf].values[index],
            reference=reference,
            bound=bound,
            gap=gap,
            valid=nothing,
            open=~nothing,
        )
        self.judgements[leaf].doubt[index, concerned] = Doubt.KINK
        self.suspects.append((suspect, concerned))

    # ---- where claim and difference disagree ------------------------------------------------------------------

    def refine(self) -> None:
        """Measure what screening left open, most evidence of a fault first."""
        queue = self._queue()
        for leaf in dict.fromkeys(leaf for leaf, _ in queue):
            indices = np.array([index for other, index in queue if other == leaf], dtype=np.intp)
            if self._refine_leaf(leaf, np.sort(indices)):
                # Where some elements are wrong, others that noise hides may be: now they are worth their calls.
                rest = np.setdiff1d(np.flatnonzero(np.any(self._worth_it(leaf), axis=1)), indices)
                if len(rest):
                    self._refine_leaf(leaf, rest)

    def _queue(self) -> list[tuple[int, int]]:
        """Order the open elements by evidence, and leave out those for which there is neither evidence nor budget."""
        rows = []
        for leaf, found in self.judgements.items():
            claim = self.claims[leaf].values
            with np.errstate(all="ignore"):
                excess = np.abs(claim - found.reference) / np.maximum(found.noise, np.finfo(float).tiny)
            # Not finite: the difference is not, so only the ladder can tell. A claim that is NaN is wrong already.
            evidence = np.max(np.where(np.isfinite(excess), excess, np.inf), axis=1, initial=0.0)
            is_open = np.any(((found.doubt == Doubt.NOISE) & ~np.isnan(claim)) | self._worth_it(leaf), axis=1)
            rows += [(-evidence[i], leaf, int(i)) for i in np.flatnonzero(is_open)]
        rows.sort()
        suspects = sum(1 for minus_evidence, _, _ in rows if minus_evidence < -1)
        affordable = max(suspects, 0) + (REFINING_CALLS + self.elements // 10) // 8
        if self.probe.vectorized:
            affordable = len(rows)
        return [(leaf, index) for _, leaf, index in rows[:affordable]]

    def _worth_it(self, leaf: int) -> Bools:
        """Return the elements hidden by noise that a longer step could tell apart, shape (n, K)."""
        found, claim = self.judgements[leaf], np.abs(self.claims[leaf].values)
        with np.errstate(all="ignore"):
            improves = self.steps[leaf] < WORTH_IT * FIRST_STEP
            return np.asarray(found.limited & improves & (found.noise > self.rtol * claim))

    def _refine_leaf(self, leaf: int, indices: Indices) -> bool:
        """Climb the ladder with some elements of a leaf, decide, and measure what looks wrong once more.

        Returns whether some element is about to be accused.
        """
        first = self._climb(leaf, indices, FIRST_STEP)
        wrong = self._decide(leaf, indices, first)
        accused = np.any(wrong, axis=1)
        again = self._climb(leaf, indices[accused], SECOND_STEP)
        claim = self.claims[leaf].values[indices[accused]]
        with np.errstate(all="ignore"):
            apart = np.abs(claim - again.value)
            outside = apart > again.bound + self._tolerance(leaf, indices[accused], again)[0]
        confirmed = np.zeros_like(wrong)
        confirmed[accused] = wrong[accused] & outside
        self._reconsider(leaf, indices, first, again, accused, ~outside)
        self._look_close(leaf, indices, confirmed, np.abs(self.claims[leaf].values[indices] - first.value))
        suspicious = np.any(confirmed | first.kink, axis=1)
        for row in np.flatnonzero(suspicious):
            concerned = confirmed[row] | first.kink[row]
            self._suspect(leaf, int(indices[row]), first.value[row], first.bound[row], first.gap[row], concerned)
        return bool(np.any(confirmed))

    def _reconsider(
        self, leaf: int, indices: Indices, first: Measurement, again: Measurement, accused: Bools, acquitted: Bools
    ) -> None:
        """Decide anew about claims that the second measurement does not contradict, with what both establish."""
        rows = np.flatnonzero(accused)[np.any(acquitted, axis=1)]
        if not len(rows):
            return
        again = again.rows(np.any(acquitted, axis=1))
        with np.errstate(all="ignore"):
            again.bound = np.fmax(again.bound, np.abs(again.value - first.value[rows]))
        self._decide(leaf, indices[rows], again)

    def _look_close(self, leaf: int, indices: Indices, confirmed: Bools, apart: Floats) -> None:
        """Let go, in ``confirmed``, of claims that the shortest step at which noise does not hide their error agrees with.

        A kink very near makes all longer steps wrong, and they may agree with each other.
        """
        rows = np.flatnonzero(np.any(confirmed, axis=1))
        if not len(rows):
            return
        chosen, value = indices[rows], np.abs(self.leaves[leaf].value.ravel()[indices[rows]])
        with np.errstate(all="ignore"):
            needed = np.where(confirmed[rows], CLOSE * self.multiplier * self.noise / apart[rows], 0.0)
            shortest = np.maximum(CLOSEST_STEP, 8 * np.spacing(value).astype(np.float64) / self.lengths[leaf][chosen])
            steps = np.clip(np.max(needed / self.lengths[leaf][chosen][:, None], axis=1), shortest, SECOND_STEP)
            slope, _, deviation = self._difference(leaf, chosen, steps)
            near = np.abs(self.claims[leaf].values[chosen] - slope)
            unsure = self.multiplier * deviation
            agrees = confirmed[rows] & (near <= unsure) & (unsure < apart[rows])
        confirmed[rows] &= ~agrees
        found = self.judgements[leaf]
        for array, new in ((found.reference, slope), (found.bound, near + unsure), (found.noise, unsure)):
            array[chosen] = np.where(agrees, new, array[chosen])
        found.limited[chosen] |= agrees
        found.doubt[chosen] = np.where(agrees, Doubt.NONE, found.doubt[chosen])

    def try_suspects(self) -> None:
        """Accuse those whose claims are no valid derivative at any point very near."""
        claims = {leaf: claim.values for leaf, claim in self.claims.items()}
        nearby = Neighbourhood(self.probe, claims, self.lengths, self.multiplier * self.noise, self.rng)
        acquit(nearby, [suspect for suspect, _ in self.suspects])
        for suspect, concerned in self.suspects:
            found, row = self.judgements[suspect.leaf], suspect.index
            found.wrong[row] = concerned & ~suspect.valid & ~suspect.open
            found.doubt[row] = np.where(concerned & ~suspect.open, Doubt.NONE, found.doubt[row])

    def require_sight(self) -> None:
        """Clear nobody when noise hid every element of a gradient that is not zero."""
        claimed = {leaf: claim.values != 0 for leaf, claim in self.claims.items()}
        hidden = {
            leaf: found.limited & (np.abs(found.reference) <= found.noise) for leaf, found in self.judgements.items()
        }
        if all(np.all(hidden[leaf][part]) for leaf, part in claimed.items()):
            for leaf, found in self.judgements.items():
                found.doubt[claimed[leaf]] = Doubt.NOISE

    def _climb(self, leaf: int, indices: Indices, first_step: float) -> Measurement:
        return climb(
            self.probe,
            leaf,
            indices,
            self.lengths[leaf][indices],
            self.base,
            self.noise,
            multiplier=self.multiplier,
            rtol=self.rtol,
            first_step=first_step,
        )

    def _tolerance(self, leaf: int, indices: Indices, measured: Measurement) -> tuple[Floats, Floats]:
        """Return how far off a claim may be before it is accused, and up to where it is cleared."""
        value = np.abs(self.leaves[leaf].value.ravel()[indices])
        rounding = 4 * np.spacing(value).astype(np.float64)[:, None] * np.abs(measured.curvature)
        size = _rms(self.judgements[leaf].reference)
        roundoff = self.claims[leaf].roundoff(size)
        tolerance = self.rtol * np.abs(measured.value) + rounding
        return tolerance + roundoff, tolerance + np.minimum(roundoff, MOST_ROUNDOFF * size)

    def _decide(self, leaf: int, indices: Indices, measured: Measurement) -> Bools:
        """Record a measurement and return where it accuses the claim, shape (m, K)."""
        claim, found = self.claims[leaf].values[indices], self.judgements[leaf]
        with np.errstate(all="ignore"):
            apart = np.abs(claim - measured.value)
            tolerance, clearing = self._tolerance(leaf, indices, measured)
            inside = (apart <= measured.bound + tolerance) & np.isfinite(measured.bound)
            clear = apart + measured.bound <= clearing
            size = _rms(found.reference)
            small = apart + measured.bound <= self.rtol * size
            roughly = measured.ended & (measured.bound <= ROUGHLY * np.maximum(size, np.abs(measured.value)))
            limited = inside & (small | measured.exhausted | roughly)
        wrong = apart > measured.bound + tolerance
        found.reference[indices], found.bound[indices] = measured.value, measured.bound
        found.noise[indices], found.gap[indices] = measured.noise, measured.gap
        found.limited[indices] = limited & ~clear
        found.floor[indices] = tolerance + measured.bound
        open_because = np.where(measured.exhausted, Doubt.NOISE, Doubt.STEP)
        open_because = np.where(wrong, Doubt.UNCONFIRMED, open_because)
        found.doubt[indices] = np.where(clear | limited, Doubt.NONE, open_because)
        return wrong


def _rms(values: Floats) -> Floats:
    """Root mean square over the elements, ignoring what is not finite, without overflow; shape (K,)."""
    with np.errstate(all="ignore"):
        finite = np.where(np.isfinite(values), np.abs(values), 0.0)
        largest = np.max(finite, axis=0, initial=0.0)
        scaled = finite / np.where(largest > 0, largest, 1.0)
        rms: Floats = largest * np.sqrt(np.mean(scaled**2, axis=0)) if len(values) else largest
        return rms
