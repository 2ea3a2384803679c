"""What one run of the rule of acceptance knows: claims, evidence so far, and how to measure more."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.decide import Decision, Outcome, Tolerance, decide
from gradcheck.acceptance.ledger import Estimate, Evidence, Kind, Ledger, Limit, Membership, rms
from gradcheck.acceptance.pooled import CONSISTENT
from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.complex_step import ROUNDING
from gradcheck.differences.ladder import Measurement, climb, noise_multiplier
from gradcheck.differences.lengths import lengths_of, own_sizes, smallest_of_a_kind
from gradcheck.differences.vectorized import elements
from gradcheck.functions.blocks import SMALL_ARRAY
from gradcheck.functions.probe import Probe
from gradcheck.nonsmooth.sampling import Flagged

__all__ = ["Bench", "Claim", "Judgement", "Limit", "judged", "rms"]

MOST_ROUNDOFF = 0.01
"""Largest round-off of a claim that may clear it, as a share of its leaf's typical size. With more the claim is
undecided, unless the leaf is `NEGLIGIBLE`."""

NEGLIGIBLE = 1e-3
"""Share of the largest root mean square of another leaf below which a leaf is negligible beside the others."""

NOTHING_SEEN = (Limit.NOT_PROBED, Limit.NOISE, Limit.STEP)
"""Limits of elements that no measurement contradicts."""

Known = tuple[Decision, Evidence, Tolerance]
"""What is decided, and on what."""

AT_ONCE = 200_000
"""Numbers decided about at a time: a limit on memory."""


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
    excess : array, shape (K,)
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
    excess: Floats
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


def judged(
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
    parts, nothing = in_parts(ledger), np.zeros(shape[1])
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


def in_parts(ledger: Ledger) -> list[Indices]:
    """Return the elements about which something is known, those with about as many estimates together."""
    parts, most = [], int(ledger.count.max(initial=0))
    if len(ledger.count) * most * ledger.columns <= SMALL_ARRAY:
        return [ledger.known] if len(ledger.known) else []
    for few, many in ((1, 1), (2, most)):
        if few <= many:
            known = ((ledger.count >= few) & (ledger.count <= many)).nonzero()[0]
            size = max(1, AT_ONCE // (many * ledger.columns + 1))
            parts += [known[start : start + size] for start in range(0, len(known), size)]
    return parts


class Bench:
    """One run of the rule: what is known so far about every leaf. The parameters are those of `gradcheck.acceptance.rule.judge`.

    Attributes
    ----------
    elements, spent_before : int
        Elements that are judged, and points evaluated before; the calls that may be spent on elements without evidence go by both.
    noise : array, shape (K,)
        The standard deviation of the noise of the functions.
    jumps : array of bool, shape (K,)
        Where it is made of jumps beside something smooth.
    shortened : dict
        For leaves of which the functions resolve nothing over a billionth of a length: by how much the lengths were shortened.
    noise_seen : dict
        The same for each leaf, where discontinuities near by count as noise.
    exact : dict
        Derivatives by a complex step, where that was asked for and holds.
    excess : dict
        For each leaf what it has for `Judgement.excess`.
    floor_along : dict
        For each leaf what it has for `Judgement.floor_along`.
    share_along : dict
        For each leaf the smallest error, as a share of every element, that would have shown along random directions, shape (K,).
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
        self.smallest = {leaf: smallest_of_a_kind(self.leaves[leaf].value) for leaf in claims}
        self.spent_before = 0
        self.elements = sum(claim.values.shape[0] for claim in claims.values())
        self.multiplier = noise_multiplier(sum(claim.values.size for claim in claims.values()))
        self.noise, self.jumps = np.full(len(base), np.nan), np.zeros(len(base), dtype=bool)
        self.negligible = _negligible(claims)
        self.shortened: dict[int, float] = {}
        self._forget()

    def _forget(self) -> None:
        """Begin without evidence."""
        claims, functions = self.claims, len(self.base)
        self.ledgers = {leaf: Ledger(*claim.values.shape) for leaf, claim in claims.items()}
        self.noise_seen: dict[int, Floats] = {}
        self.steps: dict[int, float] = {}
        self.exact: dict[int, Floats] = {}
        self.excess = dict.fromkeys(claims, np.zeros(functions))
        self.floor_along = dict.fromkeys(claims, np.full(functions, np.nan))
        self.share_along = dict.fromkeys(claims, np.full(functions, np.inf))
        self.together: dict[int, int] = {}
        """Leaf -> what limits the elements that only directions have seen; `Limit.NONE` where they have seen enough."""
        self._notes: dict[int, NDArray[np.int8]] = {}
        # What was computed last for each leaf, behind what it holds for: the array of lengths, or the version of the ledger.
        self._known_scales: dict[int, tuple[Floats, tuple[Floats, Floats, Floats]]] = {}
        self._known: dict[int, tuple[int, Judgement]] = {}
        self._known_wrong: dict[int, tuple[int, bool, bool]] = {}
        self._decided: dict[int, tuple[int, int, dict[bytes, Known]]] = {}

    def afresh(self) -> Bench:
        """Return a bench on which nothing is known but noise and lengths."""
        bench = copy(self)
        bench.lengths, bench.shortened = dict(self.lengths), dict(self.shortened)
        bench._forget()  # noqa: SLF001 - its own
        return bench

    # ---- what is decided ----------------------------------------------------------------------------------------------

    def tolerance(self, leaf: int, indices: Indices) -> Tolerance:
        """Return how far off the claims for some elements may be."""
        size = self.ledgers[leaf].typical_size()
        roundoff = self.claims[leaf].roundoff(size, indices)
        return Tolerance(
            self.rtol,
            size,
            roundoff,
            np.minimum(roundoff, np.maximum(MOST_ROUNDOFF * size, self.negligible[leaf])),
            *self._scales(leaf, indices),
            self.multiplier * self.noise,
            smooth=leaf in self.exact,
        )

    def _scales(self, leaf: int, indices: Indices) -> tuple[Floats, Floats, Floats]:
        """Return spacings and scales of some elements, as in `Tolerance`; those of a small leaf are kept."""
        lengths = self.lengths[leaf]
        if len(lengths) > SMALL_ARRAY:
            return self._scales_of(leaf, indices)
        if leaf not in self._known_scales or self._known_scales[leaf][0] is not lengths:
            self._known_scales[leaf] = lengths, self._scales_of(leaf, slice(None))
        spacing, own, dwarfed = self._known_scales[leaf][1]
        return spacing[indices], own[indices], dwarfed[indices]

    def _scales_of(self, leaf: int, where: slice | Indices) -> tuple[Floats, Floats, Floats]:
        value = np.abs(self.leaves[leaf].value.ravel()[where])
        dwarfed = np.where(value < self.smallest[leaf], value, 0.0).astype(np.float64, copy=False)
        return self.leaves[leaf].format.spacing(value), own_sizes(value, self.lengths[leaf][where]), dwarfed

    def decide(self, leaf: int, indices: Indices) -> Decision:
        """Decide about some elements on the evidence so far."""
        return self.known(leaf, indices)[0]

    def known(self, leaf: int, indices: Indices) -> Known:
        """Decide about some elements, and return on what; while there is no further evidence it is remembered, as far as it fits."""
        ledger, asked = self.ledgers[leaf], indices.tobytes()
        version, room, known = self._decided.get(leaf, (-1, 0, {}))
        if version != ledger.version:
            room, known = AT_ONCE, {}
        if asked not in known:
            evidence, tolerance = ledger.evidence(indices), self.tolerance(leaf, indices)
            found = decide(self.claims[leaf].values[indices], evidence, tolerance)
            if found.outcome.size > room:
                return found, evidence, tolerance
            known[asked] = found, evidence, tolerance
            self._decided[leaf] = ledger.version, room - found.outcome.size, known
        return known[asked]

    def note(self, leaf: int, indices: Indices, limit: int) -> None:
        """Enter what limits elements that are not measured further, or that they are contradicted together."""
        if leaf not in self._notes:
            self._notes[leaf] = np.zeros(len(self.claims[leaf].values), dtype=np.int8)
        self._notes[leaf][indices] = limit
        self.ledgers[leaf].version += 1

    def is_noted(self, leaf: int) -> Bools:
        """Tell for which elements that was entered, shape (n,)."""
        notes = self._notes.get(leaf)
        return np.zeros(len(self.claims[leaf].values), dtype=bool) if notes is None else notes != Limit.NONE

    @property
    def judgements(self) -> dict[int, Judgement]:
        """What follows from the evidence so far, leaf by leaf."""
        return {leaf: self.judgement(leaf) for leaf in self.claims}

    def judgement(self, leaf: int) -> Judgement:
        """Return what follows from the evidence so far about one leaf."""
        version = self.ledgers[leaf].version
        if leaf not in self._known or self._known[leaf][0] != version:
            self._known[leaf] = version, self._judgement(leaf)
        return self._known[leaf][1]

    def _judgement(self, leaf: int) -> Judgement:
        judgement = judged(
            self.claims[leaf].values.shape,
            self.ledgers[leaf],
            lambda indices: self.decide(leaf, indices),
            noise_of_f=self.noise_seen.get(leaf, self.noise),
            floor_along=self.floor_along[leaf],
            unseen=self.together.get(leaf, Limit.NOT_PROBED),
        )
        wrong, doubt = judgement.wrong, judgement.doubt
        notes = self._notes.get(leaf, np.zeros(len(wrong), dtype=np.int8))[:, None]
        unseen = self.ledgers[leaf].count[:, None] == 0
        noted = (notes != Limit.NONE) & ~wrong & (unseen | (doubt != Limit.NONE) | (notes == Limit.UNCONFIRMED))
        if not noted.any() and not self.excess[leaf].any():  # nearly always
            return judgement
        error = np.abs(self.excess[leaf] * self.claims[leaf].values)
        common = ~wrong & self.has_common_error(leaf, self.claims[leaf].values, judgement.reference, judgement.noise)
        doubt = np.where(common, Limit.NONE, np.where(noted, notes, doubt)).astype(np.int8)
        return replace(
            judgement,
            reference=np.where(common, self.claims[leaf].values * (1 - self.excess[leaf]), judgement.reference),
            bound=np.where(common, CONSISTENT * error, judgement.bound),
            wrong=wrong | common,
            doubt=doubt,
            limited=judgement.limited & ~common,
            excess=self.excess[leaf],
        )

    def has_common_error(self, leaf: int, claim: Floats, reference: Floats, noise: Floats) -> Bools:
        """Tell which claims are off by the common error of their leaf, to within their own noise; shape (m, K).

        The claim minus its share of that error is the derivative that all elements together measure.
        """
        error = np.abs(self.excess[leaf] * claim)
        rest = np.abs(claim * (1 - self.excess[leaf]) - reference)
        return np.asarray((error > 0) & (rest <= noise + CONSISTENT * error))

    @property
    def flagged(self) -> list[tuple[Flagged, Bools]]:
        """Contradicted elements that have not been tested for nearby kinks yet, each with the columns concerned, shape (K,)."""
        found = []
        for leaf, ledger in self.ledgers.items():
            many = (ledger.count > 1).nonzero()[0]
            if not len(many):
                continue
            decision = self.decide(leaf, many)
            untested = decision.untested & (ledger.membership[many] == Membership.UNTESTED)
            for row in untested.any(axis=1).nonzero()[0]:
                stake = np.abs(decision.joint[row]) if decision.joint[row].any() else None
                flagged = Flagged(
                    leaf,
                    int(many[row]),
                    self.claims[leaf].values[many[row]],
                    decision.reference[row],
                    decision.bound[row],
                    decision.gap[row],
                    stake,
                )
                found.append((flagged, untested[row]))
        return found

    @property
    def is_wrong(self) -> bool:
        """Whether some element is wrong."""
        return any(self._wrong_and_untested(leaf)[0] for leaf in self.claims)

    @property
    def has_wrong(self) -> bool:
        """Whether some element is wrong, or is contradicted and not yet tested for nearby kinks."""
        return any(any(self._wrong_and_untested(leaf)) or bool(self.excess[leaf].any()) for leaf in self.claims)

    def _wrong_and_untested(self, leaf: int) -> tuple[bool, bool]:
        """Tell whether some element of a leaf is wrong, and whether some is contradicted and not tested; remembered for the evidence so far."""
        version = self.ledgers[leaf].version
        if leaf not in self._known_wrong or self._known_wrong[leaf][0] != version:
            found = [self.decide(leaf, indices) for indices in in_parts(self.ledgers[leaf])]
            is_wrong = any(bool((each.outcome == Outcome.WRONG).any()) for each in found)
            self._known_wrong[leaf] = version, is_wrong, any(bool(each.untested.any()) for each in found)
        return self._known_wrong[leaf][1:]

    # ---- measuring ----------------------------------------------------------------------------------------------------

    def slopes(self, leaf: int, indices: Indices) -> tuple[Floats, Floats, Floats]:
        """Return first derivatives for screening, second ones, and the deviation of the first; shapes (m, K)."""
        if leaf not in self.exact:
            coarse = 2 * self.resolution(leaf, indices) / self.lengths[leaf][indices]  # half the noise
            return self.difference(leaf, indices, np.maximum(self.steps[leaf], coarse))
        exact = self.exact[leaf][indices]
        return exact, np.zeros_like(exact), ROUNDING * np.abs(exact) / self.multiplier

    def difference(self, leaf: int, indices: Indices, step: float | Floats) -> tuple[Floats, Floats, Floats]:
        """Return the central differences, the second ones, and what noise does to the first; shapes (m, K)."""
        steps = np.maximum(self.lengths[leaf][indices] * step, self.resolution(leaf, indices))
        both = steps.repeat(2)
        both[1::2] *= -1
        values, moved = elements(self.probe, leaf, indices.repeat(2), both, self.noise)
        plus, minus, width = values[::2], values[1::2], (moved[::2] - moved[1::2])[:, None]
        bend = (plus - 2 * self.base + minus) / (width / 2) ** 2
        deviation = np.fmax(self.noise, np.spacing(np.fmax(np.abs(plus), np.abs(minus))) / 2)
        return (plus - minus) / width, bend, np.sqrt(2) * deviation / width

    def resolution(self, leaf: int, indices: Indices) -> Floats:
        """Return the shortest steps that the dtype of the parameters still resolves."""
        return 2 * self._scales(leaf, indices)[0]

    def climb(
        self, leaf: int, indices: Indices, first_step: float, *, noise: Floats | None = None, kind: int = Kind.LADDER
    ) -> Measurement:
        """Measure elements of a leaf with a ladder of steps, and enter it; see `gradcheck.differences.ladder.climb`."""
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
        self.ledgers[leaf].add(Estimate.measurement(indices, measured, kind))
        return measured


def _negligible(claims: dict[int, Claim]) -> dict[int, Floats]:
    """Return for each leaf the size below which it is negligible beside the gradients of the others, shape (K,)."""
    if not claims:
        return {}
    sizes = np.array([rms(claim.values) for claim in claims.values()])
    first, largest = sizes.argmax(axis=0), sizes.max(axis=0, initial=0.0)
    rest = sizes.copy()
    rest[first, np.arange(sizes.shape[1])] = 0.0
    second = rest.max(axis=0, initial=0.0)
    return {leaf: NEGLIGIBLE * np.where(first == row, second, largest) for row, leaf in enumerate(claims)}
