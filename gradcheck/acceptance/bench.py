"""The state of one run of the rule of acceptance: functions, claims, the evidence so far, and how to measure more."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.decide import Decision, Outcome, Tolerance, decide
from gradcheck.acceptance.judgement import Claim, Judgement, judgement_of, known_blocks
from gradcheck.acceptance.ledger import Estimate, Evidence, Kind, Ledger, Limit, Membership, rms
from gradcheck.acceptance.pooled import CONSISTENT
from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.complex_step import ROUNDING
from gradcheck.differences.counts import NEGLIGIBLE
from gradcheck.differences.ladder import HALF_PRECISION, Measurement, climb, noise_multiplier
from gradcheck.differences.lengths import lengths_of, own_sizes, smallest_usual_size
from gradcheck.differences.noise import OF_ROUNDING
from gradcheck.differences.sampled_noise import SPACING, is_smooth_afar, noise_of_single
from gradcheck.differences.vectorized import elements
from gradcheck.functions.blocks import BLOCK, SMALL_ARRAY
from gradcheck.functions.probe import Probe
from gradcheck.nonsmooth.sampling import Flagged

__all__ = ["Bench"]

MOST_ROUNDOFF = 0.01
"""Largest round-off that may clear a claim, as a share of its leaf's typical size. A claim that is off by more is undecided,
unless the leaf is `NEGLIGIBLE`."""

Known = tuple[Decision, Evidence, Tolerance]
"""A decision, and what it follows from."""


class Bench:
    """One run of the rule: all that is known so far. The parameters are those of `gradcheck.acceptance.rule.judge`.

    Attributes
    ----------
    elements, spent_before : int
        The number of elements to judge, and of points evaluated before; both bound the calls for refinement.
    noise : array, shape (K,)
        The standard deviation of the noise of the functions.
    jumps : array of bool, shape (K,)
        Where this noise consists of jumps beside something smooth.
    shortened : dict
        For leaves whose usual lengths are far too long for the functions: the factor by which they were shortened.
    noise_seen : dict
        For leaves in which nearby discontinuities count as noise: the noise with them, shape (K,).
    exact : dict
        For each leaf its derivatives by a complex step, if that was asked for and is valid.
    common_error, floor_along : dict
        For each leaf the attributes of `Judgement` of these names.
    share_along : dict
        For each leaf the smallest relative error common to all elements that would have shown along random directions, shape (K,).
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
        self.smallest = {leaf: smallest_usual_size(self.leaves[leaf].value) for leaf in claims}
        self.spent_before = 0
        self.elements = sum(claim.values.shape[0] for claim in claims.values())
        self.multiplier = noise_multiplier(sum(claim.values.size for claim in claims.values()))
        self.noise, self.jumps = np.full(len(base), np.nan), np.zeros(len(base), dtype=bool)
        self.negligible = _negligible(claims)
        self.shortened: dict[int, float] = {}
        self._clear_evidence()

    def _clear_evidence(self) -> None:
        """Remove all evidence."""
        claims, functions = self.claims, len(self.base)
        self.ledgers = {leaf: Ledger(*claim.values.shape) for leaf, claim in claims.items()}
        self.noise_seen: dict[int, Floats] = {}
        self.steps: dict[int, float] = {}
        self.exact: dict[int, Floats] = {}
        self.common_error = dict.fromkeys(claims, np.zeros(functions))
        self.floor_along = dict.fromkeys(claims, np.full(functions, np.nan))
        self.share_along = dict.fromkeys(claims, np.full(functions, np.inf))
        self._smooth: bool | None = None
        self.limit_along: dict[int, int] = {}
        """Leaf -> why elements that were compared only along directions are undecided; `Limit.NONE` if they are cleared."""
        self._notes: dict[int, NDArray[np.int8]] = {}
        # Caches of what was computed last for each leaf, each with the key it is valid for: the lengths, or the ledger's version.
        self._known_scales: dict[int, tuple[Floats, tuple[Floats, Floats, Floats]]] = {}
        self._known: dict[int, tuple[int, Judgement]] = {}
        self._known_wrong: dict[int, tuple[int, bool, bool]] = {}
        self._decided: dict[int, tuple[int, int, dict[bytes, Known]]] = {}

    def without_evidence(self) -> Bench:
        """Return a copy that keeps noise and lengths only."""
        bench = copy(self)
        bench.lengths, bench.shortened = dict(self.lengths), dict(self.shortened)
        bench._clear_evidence()  # noqa: SLF001 - its own
        return bench

    # ---- what is decided ----------------------------------------------------------------------------------------------

    def tolerance(self, leaf: int, indices: Indices) -> Tolerance:
        """Return the tolerance of the claims for some elements."""
        size, claim = self.ledgers[leaf].typical_size(), self.claims[leaf]
        roundoff = claim.roundoff(size, indices)
        scales = self._scales(leaf, indices)
        return Tolerance(
            self.rtol,
            size,
            roundoff,
            np.minimum(
                claim.confirmed_roundoff(roundoff, indices),
                np.maximum(np.maximum(MOST_ROUNDOFF * size, self.negligible[leaf]), claim.least),
            ),
            *scales,
            self.multiplier * self.noise,
            self._unresolved(leaf, indices),
            (scales[1] == 0) & (self.leaves[leaf].value.ravel()[indices] != 0),
            smooth=leaf in self.exact,
        )

    def _unresolved(self, leaf: int, indices: Indices) -> Bools | bool:
        """Tell where half precision is too coarse for functions of elements of a leaf, shape (m, K) or False.

        There values at neighbouring numbers differ by more than rounding explains, so nothing is known about the slope between.
        """
        eps = self.leaves[leaf].format.eps
        if eps < HALF_PRECISION:
            return False
        differ = self.noise > OF_ROUNDING * np.maximum(eps / 2 * np.abs(self.base), self.probe.rounding())
        spacing, own, _ = self._scales(leaf, indices)
        are_neighbours = (own > 0) & (2 * spacing > SPACING * self.lengths[leaf][indices])
        return np.asarray(are_neighbours[:, None] & differ)

    def _scales(self, leaf: int, indices: Indices) -> tuple[Floats, Floats, Floats]:
        """Return ``spacing``, ``magnitude`` and ``dwarfed`` of some elements, see `Tolerance`; those of a small leaf are cached."""
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
        """Return the decision about some elements with its evidence and tolerance; cached, within limits, until evidence is added."""
        ledger, asked = self.ledgers[leaf], indices.tobytes()
        version, room, known = self._decided.get(leaf, (-1, 0, {}))
        if version != ledger.version:
            room, known = BLOCK, {}
        if asked not in known:
            evidence, tolerance = ledger.evidence(indices), self.tolerance(leaf, indices)
            found = decide(self.claims[leaf].values[indices], evidence, tolerance)
            if found.outcome.size > room:
                return found, evidence, tolerance
            known[asked] = found, evidence, tolerance
            self._decided[leaf] = ledger.version, room - found.outcome.size, known
        return known[asked]

    def compare_in_double(self) -> bool:
        """Measure the round-off of the claims against double precision, once, if some outcome depends on it; return whether it was measured."""
        if all(claim.in_double is None for claim in self.claims.values()) or not any(
            map(self._depends_on_roundoff, self.claims)
        ):
            return False
        self.claims = {leaf: claim.with_measured_roundoff() for leaf, claim in self.claims.items()}
        for ledger in self.ledgers.values():
            ledger.version += 1
        return any(claim.measured is not None for claim in self.claims.values())

    def _depends_on_roundoff(self, leaf: int) -> bool:
        """Tell whether some claim of a leaf is contradicted, undecided because of its round-off, or right only with it."""
        known = self.ledgers[leaf].known
        return self.claims[leaf].depends_on_roundoff(self.decide(leaf, known), known, self.rtol)

    def note(self, leaf: int, indices: Indices, limit: int) -> None:
        """Note why elements are undecided that are not measured further, or that are contradicted only together."""
        if leaf not in self._notes:
            self._notes[leaf] = np.zeros(len(self.claims[leaf].values), dtype=np.int8)
        self._notes[leaf][indices] = limit
        self.ledgers[leaf].version += 1

    def is_noted(self, leaf: int) -> Bools:
        """Tell which elements have such a note, shape (n,)."""
        notes = self._notes.get(leaf)
        return np.zeros(len(self.claims[leaf].values), dtype=bool) if notes is None else notes != Limit.NONE

    @property
    def judgements(self) -> dict[int, Judgement]:
        """The judgement on the evidence so far, of each leaf."""
        return {leaf: self.judgement(leaf) for leaf in self.claims}

    def judgement(self, leaf: int) -> Judgement:
        """Return the judgement of one leaf on the evidence so far."""
        version = self.ledgers[leaf].version
        if leaf not in self._known or self._known[leaf][0] != version:
            self._known[leaf] = version, self._judgement(leaf)
        return self._known[leaf][1]

    def _judgement(self, leaf: int) -> Judgement:
        judgement = judgement_of(
            self.claims[leaf].values.shape,
            self.ledgers[leaf],
            lambda indices: self.decide(leaf, indices),
            noise_of_f=self.noise_seen.get(leaf, self.noise),
            floor_along=self.floor_along[leaf],
            unseen=self.limit_along.get(leaf, Limit.NOT_PROBED),
        )
        wrong, limit = judgement.wrong, judgement.limit
        notes = self._notes.get(leaf, np.zeros(len(wrong), dtype=np.int8))[:, None]
        unseen = self.ledgers[leaf].count[:, None] == 0
        noted = (notes != Limit.NONE) & ~wrong & (unseen | (limit != Limit.NONE) | (notes == Limit.UNCONFIRMED))
        if not noted.any() and not self.common_error[leaf].any():  # nearly always
            return judgement
        error = np.abs(self.common_error[leaf] * self.claims[leaf].values)
        common = ~wrong & self.has_common_error(leaf, self.claims[leaf].values, judgement.reference, judgement.noise)
        limit = np.where(common, Limit.NONE, np.where(noted, notes, limit)).astype(np.int8)
        return replace(
            judgement,
            reference=np.where(common, self.claims[leaf].values * (1 - self.common_error[leaf]), judgement.reference),
            bound=np.where(common, CONSISTENT * error, judgement.bound),
            wrong=wrong | common,
            limit=limit,
            to_resolution=judgement.to_resolution & ~common,
            common_error=self.common_error[leaf],
        )

    def has_common_error(self, leaf: int, claim: Floats, reference: Floats, noise: Floats) -> Bools:
        """Tell which claims, less the common error of their leaf, agree with the reference to within its noise; shape (m, K)."""
        error = np.abs(self.common_error[leaf] * claim)
        rest = np.abs(claim * (1 - self.common_error[leaf]) - reference)
        return np.asarray((error > 0) & (rest <= noise + CONSISTENT * error))

    @property
    def flagged(self) -> list[tuple[Flagged, Bools]]:
        """Contradicted elements not yet tested for nearby kinks, each with the columns in which it is, shape (K,)."""
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
    def any_wrong(self) -> bool:
        """Whether some element is wrong."""
        return any(self._wrong_and_untested(leaf)[0] for leaf in self.claims)

    @property
    def any_contradicted(self) -> bool:
        """Whether some element is wrong, or is contradicted and not yet tested for nearby kinks."""
        return any(any(self._wrong_and_untested(leaf)) or bool(self.common_error[leaf].any()) for leaf in self.claims)

    def _wrong_and_untested(self, leaf: int) -> tuple[bool, bool]:
        """Tell whether some element of a leaf is wrong, and whether some is contradicted and not tested; cached until evidence is added."""
        version = self.ledgers[leaf].version
        if leaf not in self._known_wrong or self._known_wrong[leaf][0] != version:
            found = [self.decide(leaf, indices) for indices in known_blocks(self.ledgers[leaf])]
            is_wrong = any(bool((each.outcome == Outcome.WRONG).any()) for each in found)
            self._known_wrong[leaf] = version, is_wrong, any(bool(each.untested.any()) for each in found)
        return self._known_wrong[leaf][1:]

    # ---- measuring ----------------------------------------------------------------------------------------------------

    def slopes(self, leaf: int, indices: Indices) -> tuple[Floats, Floats, Floats]:
        """Return derivatives for screening, second derivatives, and the deviation of the first; shapes (m, K)."""
        if leaf not in self.exact:
            coarse = (
                2 * self.resolution(leaf, indices) / self.lengths[leaf][indices]
            )  # twice the least step: half its noise
            return self.difference(leaf, indices, np.maximum(self.steps[leaf], coarse))
        exact = self.exact[leaf][indices]
        return exact, np.zeros_like(exact), ROUNDING * np.abs(exact) / self.multiplier

    def difference(self, leaf: int, indices: Indices, step: float | Floats) -> tuple[Floats, Floats, Floats]:
        """Return central differences, second differences, and the standard deviation of the noise of the first; shapes (m, K)."""
        steps = np.maximum(self.lengths[leaf][indices] * step, self.resolution(leaf, indices))
        both = steps.repeat(2)
        both[1::2] *= -1
        values, moved = elements(self.probe, leaf, indices.repeat(2), both, self.noise)
        plus, minus, width = values[::2], values[1::2], (moved[::2] - moved[1::2])[:, None]
        curvature = (plus - 2 * self.base + minus) / (width / 2) ** 2
        deviation = np.fmax(self.noise, np.spacing(np.fmax(np.abs(plus), np.abs(minus))) / 2)
        return (plus - minus) / width, curvature, np.sqrt(2) * deviation / width

    def resolution(self, leaf: int, indices: Indices) -> Floats:
        """Return the shortest steps that the dtype of the parameters resolves, shape (m,)."""
        return 2 * self._scales(leaf, indices)[0]

    def climb(
        self, leaf: int, indices: Indices, first_step: float, *, noise: Floats | None = None, kind: int = Kind.LADDER
    ) -> Measurement:
        """Measure elements of a leaf with a ladder of steps, and enter the result; see `gradcheck.differences.ladder.climb`."""
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
            is_smooth=self._is_smooth if noise is None else lambda: False,
        )
        if leaf in self.exact:
            exact = self.exact[leaf][indices]
            better = (np.abs(exact - measured.value) <= measured.bound) & ~measured.kink
            measured.value = np.where(better, exact, measured.value)
            measured.bound = np.where(better, ROUNDING * np.abs(exact), measured.bound)
            measured.noise = np.where(better, 0.0, measured.noise)
        self.ledgers[leaf].add(Estimate.measurement(indices, measured, kind))
        return measured

    @property
    def noise_is_rounding(self) -> bool:
        """Whether rounding to single precision, or to the dtype of the values, explains all noise."""
        most = noise_of_single(self.probe, self.base, list(self.claims))
        return bool((~self.jumps & (self.noise <= most)).all())

    def _is_smooth(self) -> bool:
        """Tell whether the functions are smooth but for rounding, as far as elements are ever moved. Costs eight calls once."""
        if self._smooth is None:
            self._smooth = bool(
                self.noise_is_rounding and is_smooth_afar(self.probe, self.lengths, self.noise, self.rng).all()
            )
        return self._smooth


def _negligible(claims: dict[int, Claim]) -> dict[int, Floats]:
    """Return for each leaf the size below which its gradient is negligible beside the largest of the others, shape (K,)."""
    if not claims:
        return {}
    sizes = np.array([rms(claim.values) for claim in claims.values()])
    first, largest = sizes.argmax(axis=0), sizes.max(axis=0, initial=0.0)
    rest = sizes.copy()
    rest[first, np.arange(sizes.shape[1])] = 0.0
    second = rest.max(axis=0, initial=0.0)
    return {leaf: NEGLIGIBLE * np.where(first == row, second, largest) for row, leaf in enumerate(claims)}
