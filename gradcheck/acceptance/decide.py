"""The rule of acceptance: what follows from a claim and the evidence about it.

Everything here is pure: the same evidence, in whatever order it came, gives the same outcome. So the outcome for another
claim can be computed too, without a call of the functions; see `gradcheck.acceptance.other_claims`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.ledger import HUGE, Evidence, Kind, Limit, Membership
from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.lengths import BEYOND, exceeds_own_size
from gradcheck.differences.noise import DISAGREES, PLAINLY, SAME_NOISE
from gradcheck.nonsmooth.groups import LINKED

__all__ = ["Decision", "Outcome", "Tolerance", "decide", "excludes"]

ROUGHLY = 0.3
"""Largest error bound, as a share of the leaf's typical size, at which an element is accepted that no other step would
resolve better."""

CLOSE = 1.6
"""Smallest ratio of an error to the noise of a difference at which the difference shows the error."""

MOST_HIDDEN = 0.05
"""Largest error that may stay hidden, as a share of the element or of its leaf's typical size. Nearby discontinuities may explain
it. A larger one common to all elements must show along directions, else the leaf is undecided unless a wrong sign would show."""


class Outcome:
    """What is decided about an element."""

    OPEN: Final = 0
    RIGHT: Final = 1
    RIGHT_TO_RESOLUTION: Final = 2
    """Nothing contradicts the claim, and noise hides errors larger than the tolerance."""
    WRONG: Final = 3


class Tolerance(NamedTuple):
    """How far off claims for ``m`` elements may be.

    Attributes
    ----------
    rtol : float
        The relative error that matters.
    size : array, shape (K,)
        The root mean square of the leaf's measured gradient.
    roundoff, cleared : arrays, shape (K,) or (m, K)
        The round-off allowed to a claim before it is wrong, and the part of it up to which a claim is right.
    spacing : array, shape (m,)
        Distance between floating-point numbers at the elements.
    magnitude : array, shape (m,)
        Absolute values of the elements; zero where they say nothing about the scale of the element.
    dwarfed : array, shape (m,)
        Absolute values of elements far smaller than others of their leaf, whose scale may be theirs or as small as they; zero for others.
    noise : array, shape (K,)
        By how much noise may change a value of the functions.
    unresolved : array of bool, shape (m, K), or False
        Where functions change by more than rounding between neighbouring numbers of a half-precision dtype: no
        measurement contradicts a claim there.
    widened : array of bool, shape (m,), or False
        Elements moved farther than their own size: a kink that shows may not be at the point.
    smooth : bool
        Whether the functions are known to have no kink at the point, so that contradicted claims need no test for kinks.
    """

    rtol: float
    size: Floats
    roundoff: Floats
    cleared: Floats
    spacing: Floats
    magnitude: Floats
    dwarfed: Floats
    noise: Floats
    unresolved: Bools | bool = False
    widened: Bools | bool = False
    smooth: bool = False

    def of(self, evidence: Evidence) -> tuple[Floats, Floats]:
        """Return the error from which a claim is wrong, and the error up to which it is right, shapes (m, L, K)."""
        rounding = 4 * self.spacing[:, None, None] * np.abs(evidence.curvature)
        plain = self.rtol * np.abs(evidence.value) + rounding
        return plain + _aside(self.roundoff), plain + _aside(self.cleared)


def _aside(values: Floats) -> Floats:
    """Insert the axis of estimates: from (m, K) to (m, 1, K), and (K,) as it is."""
    return values[:, None] if values.ndim > 1 else values


class Decision(NamedTuple):
    """What follows for ``m`` elements; arrays have shape (m, K).

    Attributes
    ----------
    outcome : array of `Outcome`
    limit : array of `Limit`
        Why it is open.
    reference, bound, noise, gap : arrays
        The interval that decides. Where a single difference clears a claim, the bound is their distance plus the noise.
    joint : array
        The slope along a common move of elements of equal value, none of which changes the functions alone; else 0.
    floor : array
        The smallest error that would have been called wrong.
    contradicted : array of bool
        Where independent measurements exclude the claim: it is wrong unless it is a generalised derivative at a kink.
    excluded : array of bool
        Where some measurement excludes the claim.
    rough : array of bool
        Where the claim is accepted only because no other step would tell more.
    """

    outcome: NDArray[np.int8]
    limit: NDArray[np.int8]
    reference: Floats
    bound: Floats
    noise: Floats
    gap: Floats
    joint: Floats
    floor: Floats
    contradicted: Bools
    excluded: Bools
    rough: Bools

    @property
    def untested(self) -> Bools:
        """Where a contradicted claim has not been tested for nearby kinks yet."""
        return np.asarray((self.limit == Limit.KINK) & (self.outcome == Outcome.OPEN))


def decide(claim: Floats, evidence: Evidence, tolerance: Tolerance) -> Decision:
    """Decide about claims.

    Parameters
    ----------
    claim : array, shape (m, K)
    evidence : Evidence
        Of the same elements.
    tolerance : Tolerance

    Notes
    -----
    An element is right when the whole measured interval lies within the tolerance of the claim, or a single difference
    agrees with the claim to within the tolerance. It is wrong when two independent measurements exclude the claim, no
    informative one with shorter steps agrees with it, and it is no generalised derivative.
    """
    if not evidence.kind.shape[1]:
        return _nothing(claim)
    has_interval = (evidence.kind >= Kind.PAIR).any(axis=1)
    if has_interval.all() and not (evidence.kind == Kind.DIFFERENCE).any():
        return _by_intervals(claim, evidence, tolerance)
    plain = _by_differences(claim, evidence, tolerance)
    if not has_interval.any():
        return plain
    bounded = _by_intervals(claim, evidence, tolerance)
    agrees = (plain.outcome == Outcome.RIGHT) & ~bounded.excluded & (bounded.gap == 0) & (bounded.joint == 0)
    is_bounded = has_interval & ~(agrees & (bounded.outcome == Outcome.OPEN))
    denied = (bounded.outcome == Outcome.RIGHT_TO_RESOLUTION) & bounded.excluded
    denied &= evidence.nonlinear | _excluded_within(claim, evidence, tolerance, plain, bounded.bound)
    bounded = bounded._replace(
        outcome=np.where(denied, Outcome.OPEN, bounded.outcome).astype(np.int8),
        limit=np.where(denied, Limit.UNCONFIRMED, bounded.limit).astype(np.int8),
    )
    pairs: Any = zip(bounded, plain, strict=True)
    return Decision(*(np.where(is_bounded, ours, theirs) for ours, theirs in pairs))


def _nothing(claim: Floats) -> Decision:
    """Return the decision without evidence."""
    shape, unknown = claim.shape, np.full(claim.shape, np.nan)
    never = np.zeros(shape, dtype=bool)
    limit = np.full(shape, Limit.NOT_PROBED, dtype=np.int8)
    zero = np.zeros(shape)
    return Decision(
        outcome=np.zeros(shape, dtype=np.int8),
        limit=limit,
        reference=unknown,
        bound=unknown,
        noise=unknown,
        gap=zero,
        joint=zero,
        floor=unknown,
        contradicted=never,
        excluded=never,
        rough=never,
    )


def _by_differences(claim: Floats, evidence: Evidence, tolerance: Tolerance) -> Decision:
    """Decide by single differences: one that agrees with a claim clears it, and none can make it wrong."""
    asked = evidence.kind == Kind.DIFFERENCE
    error = np.where(asked, np.abs(claim[:, None] - evidence.value), np.nan)
    wrong_by, right_to = tolerance.of(evidence)
    noise = evidence.noise
    agrees = np.isfinite(right_to) & np.isfinite(noise) & (error <= right_to) & ~evidence.nonlinear[:, None]
    usual = rough = np.zeros_like(agrees)
    if not agrees.any(axis=1).all():  # if all are right the rest does not matter
        inside = (error <= noise) & np.isfinite(noise) & ~evidence.nonlinear[:, None]
        # As noisy as the typical element: it hides nothing that others would show.
        usual = inside & (error + noise <= np.maximum(tolerance.rtol * tolerance.size, SAME_NOISE * evidence.typical))
        known = np.maximum(tolerance.size, np.abs(evidence.value))
        rough = inside & evidence.limited & (error + noise <= ROUGHLY * known)
    best = np.zeros(claim.shape, dtype=np.intp)
    if evidence.kind.shape[1] > 1:
        rank = np.where(agrees, 0, np.where(usual | rough, 1, 2)) + 3 * ~asked
        first = rank == rank.min(axis=1, keepdims=True)
        best = _least(np.where(first, np.fmin(error + noise, HUGE), np.inf))
    is_right, is_usual, is_rough = agrees.any(axis=1), usual.any(axis=1), np.asarray(rough.any(axis=1))
    outcome = np.where(
        is_right, Outcome.RIGHT, np.where(is_usual | is_rough, Outcome.RIGHT_TO_RESOLUTION, Outcome.OPEN)
    )
    error, noise = _take(error, best), _take(noise, best)
    excluded, nothing = error > noise, np.zeros(claim.shape)
    limit = np.where(excluded, Limit.CALLS, np.where(noise > ROUGHLY * np.abs(claim), Limit.NOISE, Limit.CALLS))
    return Decision(
        outcome=outcome.astype(np.int8),
        limit=np.where(outcome == Outcome.OPEN, limit, Limit.NONE).astype(np.int8),
        reference=_take(evidence.value, best),
        bound=error + noise,
        noise=noise,
        gap=nothing,
        joint=nothing,
        floor=_take(wrong_by, best) + noise,
        contradicted=np.zeros(claim.shape, dtype=bool),
        excluded=excluded,
        rough=is_rough & ~is_usual & ~is_right,
    )


def _excluded_within(claim: Floats, evidence: Evidence, tolerance: Tolerance, plain: Decision, bound: Floats) -> Bools:
    """Tell where two single differences exclude a claim more sharply than an interval with a given bound, shape (m, K).

    Their uncertainty is noise, plus their disagreement (truncation changes with the step), plus the slope jump of a
    kink that both cross. Elements measured on stairs or between jumps do not count.
    """
    asked = evidence.kind == Kind.DIFFERENCE
    asked &= ~np.isin(evidence.kind, (Kind.STAIR, Kind.JUMPS)).any(axis=1, keepdims=True)
    high, low = (np.where(asked, evidence.value, outside) for outside in (-np.inf, np.inf))
    step = tolerance.noise / np.maximum(evidence.noise, np.finfo(float).tiny)
    gap = np.where(asked, np.abs(evidence.curvature) * step, 0.0)
    disagreement = high.max(axis=1) - low.min(axis=1) + gap.max(axis=1)
    uncertainty = np.where(asked.sum(axis=1) >= 2, plain.noise + disagreement, np.inf)
    return np.asarray((uncertainty < bound) & (np.abs(claim - plain.reference) > uncertainty))


class _Interval(NamedTuple):
    """All bounded measurements of ``m`` elements combined, shapes (m, K)."""

    value: Floats
    bound: Floats
    noise: Floats
    gap: Floats
    joint: Floats
    wrong_by: Floats
    right_to: Floats
    excluded: NDArray[np.int_]
    """How many measurements exclude the claim."""
    included: Bools
    """Whether a measurement that counts includes the claim."""
    confirmed: Bools
    """Whether independent measurements exclude the claim, and so does the interval."""
    settled: Bools
    """Whether no other step would do better."""
    linear: Bools
    """Whether the functions are known to have no kink there."""


def _interval(claim: Floats, evidence: Evidence, tolerance: Tolerance) -> _Interval:
    """Combine measurements whose error is bounded."""
    kind = _in_force(claim, evidence, tolerance)
    asked = kind >= Kind.PAIR
    bound = np.where(asked & np.isfinite(evidence.value), evidence.bound, np.inf)
    error = np.where(asked, np.abs(claim[:, None] - evidence.value), np.nan)
    wrong_by, right_to = tolerance.of(evidence)
    excluded = asked & (error > bound + wrong_by)
    plainly = (kind == Kind.PAIR) & (error > PLAINLY * bound + wrong_by)
    suffices = excluded & (kind >= Kind.EXACT) | plainly  # without a second measurement
    votes = (excluded & (kind >= Kind.LADDER)).sum(axis=1) + 2 * suffices.any(axis=1)
    # A wide interval that includes the claim does not contradict narrower ones that exclude it.
    narrowest = _narrowest(asked, bound, evidence.value)
    overruled = (votes >= 2) & _take(excluded, narrowest).astype(bool)
    asked = asked & ~(overruled[:, None] & ~excluded & (bound >= _take(error, narrowest)[:, None]))
    included = asked & ~excluded
    includes = included.any(axis=1)
    best = _narrowest((included == includes[:, None]) & asked, bound, evidence.value)
    value, own = _take(evidence.value, best), _take(bound, best)
    # Measurements in conflict with this one widen its interval: those that exclude a claim that this one includes, and
    # those whose intervals do not meet it.
    distance = np.abs(evidence.value - value[:, None])
    conflict = excluded & (includes[:, None] | (distance > bound + own[:, None]))
    total = np.fmax(own, np.where(conflict, distance, 0.0).max(axis=1, initial=0.0))
    outside = np.abs(claim - value) > total + _take(wrong_by, best)
    size = np.maximum(tolerance.size, np.abs(value))[:, None]
    explained = (SAME_NOISE * evidence.noise > bound) | (evidence.gap != 0)
    ended = evidence.limited | evidence.ended & explained & (bound <= ROUGHLY * size)
    return _Interval(
        value=value,
        bound=total,
        noise=_take(evidence.noise, best),
        gap=_largest(evidence.gap, asked & (kind != Kind.JOINT)),
        joint=_largest(evidence.gap, asked & (kind == Kind.JOINT)),
        wrong_by=_take(wrong_by, best),
        right_to=_take(right_to, best),
        excluded=excluded.sum(axis=1),
        included=includes,
        confirmed=outside & (votes >= 2) & np.isfinite(total),
        settled=(asked & ended).any(axis=1),
        linear=(excluded & (kind == Kind.MULTIPLE)).any(axis=1) | tolerance.smooth,
    )


def _by_intervals(claim: Floats, evidence: Evidence, tolerance: Tolerance) -> Decision:
    """Decide by measurements whose error is bounded."""
    seen = _interval(claim, evidence, tolerance)
    error = np.abs(claim - seen.value)
    short_value, short_bound = _closest(claim, evidence, error) if seen.confirmed.any() else (seen.value, seen.bound)
    short_agrees = seen.confirmed & np.isfinite(short_value)
    needed_step = CLOSE * tolerance.noise / error
    magnitude, dwarfed = tolerance.magnitude[:, None], tolerance.dwarfed[:, None]
    passed_over = (dwarfed > 0) & (needed_step > dwarfed) & _stands_still(claim, seen, tolerance)
    too_long = (
        seen.confirmed & ~short_agrees & (exceeds_own_size(magnitude, needed_step) | passed_over | tolerance.unresolved)
    )
    contradicted = seen.confirmed & ~short_agrees & ~too_long

    right = seen.included & (error + seen.bound <= seen.right_to)
    small = error + seen.bound <= tolerance.rtol * tolerance.size
    inside = seen.included & np.isfinite(seen.bound) & (error <= seen.bound + seen.right_to) & (small | seen.settled)
    outcome = np.where(right, Outcome.RIGHT, np.where(inside | short_agrees, Outcome.RIGHT_TO_RESOLUTION, Outcome.OPEN))
    excluded_once = (seen.excluded == 1) & ~seen.included
    limit = np.where(seen.excluded > 0, np.where(excluded_once, Limit.CALLS, Limit.UNCONFIRMED), Limit.STEP)
    noisy = (seen.excluded == 0) & (seen.noise > seen.bound / 2) & np.isfinite(seen.bound)
    limit = np.where(too_long | noisy, Limit.NOISE, limit)
    # The error exceeds what the measurement may be off by, not what round-off explains: more calls would not settle it.
    is_roundoff = (seen.excluded == 0) & seen.included & (error > seen.bound + seen.right_to)
    limit = np.where(is_roundoff, Limit.ROUNDOFF, limit)

    has_kink = (seen.gap != 0) | (seen.joint != 0)
    on_stair = evidence.membership == Membership.STANDING
    examined = has_kink | contradicted & ~seen.linear | on_stair
    outcome = np.where(contradicted & ~examined, Outcome.WRONG, outcome)
    at_kink = _at_kinks(error, seen, evidence.membership, tolerance) if examined.any() else outcome
    outcome = np.where(examined, at_kink, outcome)
    limit = np.where(examined, np.where(on_stair, Limit.STAIR, Limit.KINK), limit)
    # On a stair a claim is accepted only where the trend excludes minus the claim, twice the claim and zero.
    trend_unseen = (evidence.kind == Kind.STAIR).any(axis=1) & (2 * seen.bound >= np.abs(claim))
    kept_open = trend_unseen & (outcome == Outcome.RIGHT_TO_RESOLUTION)
    outcome, limit = np.where(kept_open, Outcome.OPEN, outcome), np.where(kept_open, Limit.STAIR, limit)
    hidden = examined & (evidence.membership == Membership.HIDDEN) & (at_kink != Outcome.WRONG)
    bound = np.where(short_agrees, short_bound, np.where(hidden, np.fmax(seen.bound, error), seen.bound))
    return Decision(
        outcome=outcome.astype(np.int8),
        limit=np.where(outcome == Outcome.OPEN, limit, Limit.NONE).astype(np.int8),
        reference=np.where(short_agrees, short_value, seen.value),
        bound=bound,
        noise=seen.noise,
        gap=seen.gap,
        joint=seen.joint,
        floor=seen.wrong_by + bound,
        contradicted=contradicted,
        excluded=seen.excluded > 0,
        rough=np.zeros_like(contradicted),
    )


def _stands_still(claim: Floats, seen: _Interval, tolerance: Tolerance) -> Bools:
    """Tell where a step far longer than the element changes functions by at most the claim times `BEYOND` of its sizes, shape (m, K).

    A bounded function of the element, such as a sine, does so, and a function that does not depend on it.
    """
    step = tolerance.noise / np.maximum(seen.noise, np.finfo(float).tiny)
    rises = np.maximum(np.abs(seen.value) - seen.bound, 0.0) * step
    return np.asarray(rises <= np.abs(claim) * BEYOND * tolerance.dwarfed[:, None])


def _at_kinks(error: Floats, seen: _Interval, membership: NDArray[np.int8], tolerance: Tolerance) -> NDArray[np.int8]:
    """Return outcomes by whether claims are generalised derivatives, shape (m, K). With an infinite bound nothing is right."""
    # A kink hidden by noise explains an error of up to three bounds. In 840 float32 networks right claims were off by at
    # most 2.1 bounds, and 9 of 940,000 elements by more than one.
    explained = (membership == Membership.HIDDEN) & (error <= DISAGREES * seen.bound)
    invalid = (membership == Membership.INVALID) | (membership == Membership.HIDDEN) & ~explained
    valid = (membership == Membership.VALID) & np.isfinite(seen.bound)
    small = explained & (error <= ROUGHLY * tolerance.size) & np.isfinite(seen.bound)
    chosen = np.select(
        [valid, invalid, small], [Outcome.RIGHT, Outcome.WRONG, Outcome.RIGHT_TO_RESOLUTION], Outcome.OPEN
    )
    return np.asarray(chosen.astype(np.int8))


def _in_force(claim: Floats, evidence: Evidence, tolerance: Tolerance) -> NDArray[np.int8]:
    """Return the kinds of estimates that count, shape (m, L, K).

    A ladder that counts discontinuities as noise replaces the others if it is precise and includes the claim. On a stair it
    always replaces them: steps shorter than the stair say nothing about the trend.
    """
    kind = np.broadcast_to(evidence.kind, evidence.value.shape)
    stairs = kind == Kind.STAIR
    if stairs.any():
        kind = np.where(stairs | ~stairs.any(axis=1, keepdims=True), kind, Kind.NONE).astype(np.int8)
    jumps = kind == Kind.JUMPS
    if not jumps.any():
        return kind
    size = np.maximum(tolerance.size, np.abs(evidence.value))
    inside = np.abs(claim[:, None] - evidence.value) <= evidence.bound + tolerance.of(evidence)[0]
    explains = (jumps & inside & (evidence.bound <= MOST_HIDDEN * size)).any(axis=1, keepdims=True)
    return np.where(jumps == explains, kind, Kind.NONE).astype(np.int8)


def _closest(claim: Floats, evidence: Evidence, error: Floats) -> tuple[Floats, Floats]:
    """Return the very short difference that agrees with the claim, or NaN, and its bound; shapes (m, K)."""
    near = np.abs(claim[:, None] - evidence.value)
    informative = (evidence.kind == Kind.CLOSEST) & np.isfinite(near) & (CLOSE * evidence.noise < error[:, None])
    # On a stair the functions stand still over a step so short, whatever their trend.
    informative &= (evidence.value != 0) | (claim[:, None] == 0)
    agrees = informative & (near <= evidence.noise + LINKED * error[:, None])  # the rest may be truncation
    best = _least(np.where(agrees, near + evidence.noise, np.inf))
    found = agrees.any(axis=1)
    value = np.where(found, _take(evidence.value, best), np.nan)
    return value, np.where(found, _take(near + evidence.noise, best), np.nan)


def excludes(claim: Floats, evidence: Evidence, tolerance: Tolerance) -> Bools:
    """Tell where every estimate excludes a claim, so that it would have been called wrong; claims and result have shape (..., m, K).

    A sharply seen kink counts as well: other claims may be as valid there, but the evidence is good. A difference that is not
    finite does not count.
    """
    if not evidence.kind.shape[1]:
        return np.zeros(claim.shape, dtype=bool)
    is_plain = evidence.kind == Kind.DIFFERENCE
    blur = np.where(is_plain, evidence.noise, evidence.bound)
    asked = (is_plain | (evidence.kind >= Kind.PAIR)) & np.isfinite(evidence.value)
    outside = np.abs(claim[..., None, :] - evidence.value) > blur + tolerance.of(evidence)[0]
    half = np.abs(evidence.gap) / 2
    at_kink = ((half > evidence.bound - half) & (evidence.kind >= Kind.LADDER)).any(axis=1)
    at_kink |= (evidence.membership == Membership.VALID) & ~np.expand_dims(tolerance.widened, -1)
    return np.asarray((outside | ~asked).all(axis=-2) & asked.any(axis=1) | at_kink)


def _largest(values: Floats, where: Bools) -> Floats:
    """Return the entry of largest absolute value among those in ``where``, else 0, shape (m, K)."""
    asked = np.where(where, values, 0.0)
    return np.asarray(asked[:, 0]) if asked.shape[1] == 1 else _take(asked, np.abs(asked).argmax(axis=1))


def _narrowest(chosen: Bools, bound: Floats, value: Floats) -> Indices:
    """Return the position of the least bound among those chosen, of equal bounds that of the least value; shape (m, K)."""
    if chosen.shape[1] == 1:
        return np.zeros((len(chosen), chosen.shape[2]), dtype=np.intp)
    ranked = np.where(chosen, np.fmin(bound, HUGE), np.inf)
    ties = ranked == ranked.min(axis=1, keepdims=True)
    return _least(np.where(ties, np.maximum(np.fmin(value, HUGE), -HUGE), np.inf))


def _least(values: Floats) -> Indices:
    """Return the position of the least value along the axis of estimates, NaN counting as infinite; shape (m, K)."""
    return np.asarray(np.where(np.isnan(values), np.inf, values).argmin(axis=1))


def _take(values: NDArray[np.generic], best: Indices) -> Floats:
    """Return the chosen estimate's entry, shape (m, K)."""
    if values.shape[1] == 1:  # nearly always
        return np.asarray(values[:, 0])
    rows, columns = np.arange(len(values))[:, None], np.arange(values.shape[2])
    return np.asarray(values[rows, best, columns])
