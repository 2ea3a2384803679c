"""The rule of acceptance: what follows from a claim and the evidence about it.

This is the only place where a claimed derivative meets a measured one. Everything here is pure: the same evidence, in
whatever order it came, gives the same outcome, so one may also ask what it would have been for another claim.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.ledger import HUGE, Evidence, Kind, Limit, Membership
from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.ladder import KINK_SIGNIFICANCE, NOISE_LIMITED
from gradcheck.differences.lengths import BEYOND, is_beyond

__all__ = ["PLAINLY", "Decision", "Outcome", "Tolerance", "decide", "excludes"]

USUAL = 1.5
"""Largest noise of an element, in units of that of the typical element, that counts as usual: it hides nothing that
others would show."""

ROUGHLY = 0.3
"""Largest error bound, as a share of the leaf's typical size, at which an element that no other step would resolve
better is accepted."""

RESEMBLES = 0.1
"""A difference with a very short step agrees with a claim when they differ by no more than this share of the claim's error
at longer steps, beside noise: the rest may be truncation."""

CLOSE = 1.6
"""Smallest ratio of a claim's error to the noise of a difference at which the difference shows the error."""

PLAINLY = 30.0
"""Ratio of an error to its uncertainty beyond which no further measurement is needed: the bound of two plain
differences, the second difference between their points, or a residual along directions in standard deviations. The
residual of one half may then be obtained by subtraction, and a factor is known to a few per cent of its distance
from one."""

MOST_HIDDEN = 0.05
"""The share of an element, or of its leaf's typical size, up to which an error may stay hidden: discontinuities near by may explain it.
A larger one common to all elements of a leaf must show along directions, else the leaf is undecided unless a wrong sign would show."""


class Outcome:
    """What is decided about an element."""

    OPEN: Final = 0
    RIGHT: Final = 1
    RIGHT_TO_RESOLUTION: Final = 2
    """Nothing contradicts it, and noise hides errors larger than the tolerance."""
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
        What a correct backward may be off by, and how much of that clears a claim.
    spacing : array, shape (m,)
        Distance of floating-point numbers at the elements.
    magnitude : array, shape (m,)
        Absolute values of the elements; zero where they say nothing about the scale of the element.
    dwarfed : array, shape (m,)
        The same of elements far smaller than others of their leaf, whose scale may be as small or theirs; zero for others.
    noise : array, shape (K,)
        By how much noise may change a value of the functions.
    unresolved : array of bool, shape (m, K), or False
        Functions that change by more than rounding between neighbouring numbers of a half-precision dtype: no
        measurement contradicts a claim.
    widened : array of bool, shape (m,), or False
        Elements moved farther than their own size: a kink that shows may lie beside the point.
    smooth : bool
        Whether derivatives without gap are known to exist, so that contradicted claims need no look at kinks.
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
        """Return by how much a claim may be off before it is wrong, and up to where it is right, shapes (m, L, K)."""
        rounding = 4 * self.spacing[:, None, None] * np.abs(evidence.curvature)
        plain = self.rtol * np.abs(evidence.value) + rounding
        return plain + _aside(self.roundoff), plain + _aside(self.cleared)


def _aside(values: Floats) -> Floats:
    """Return numbers of each element, or of all, beside an axis of estimates."""
    return values[:, None] if values.ndim > 1 else values


class Decision(NamedTuple):
    """What follows for ``m`` elements; arrays have shape (m, K).

    Attributes
    ----------
    outcome : array of `Outcome`
    limit : array of `Limit`
        Why it is open.
    reference, bound, noise, gap : arrays
        The interval that decides. Where a plain difference clears a claim, the bound is how closely they agree, noise included.
    joint : array
        The slope of a common move of elements of equal value, none of which moves the functions alone; else 0.
    floor : array
        The smallest error that would have been called wrong.
    contradicted : array of bool
        Where independent measurements exclude the claim: it is wrong unless it is a generalised derivative at a kink.
    excluded : array of bool
        Where some measurement excludes it.
    rough : array of bool
        Where it is accepted only because no other step would tell more.
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
    An element is right when the measured interval and all in it lie within the tolerance of the claim, or a plain
    difference agrees with the claim to within it. It is wrong when two independent measurements exclude the claim, no
    informative one with shorter steps agrees, and it is no generalised derivative.
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
    denied &= _excluded_within(claim, evidence, tolerance, plain, bounded.bound)
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
        np.zeros(shape, dtype=np.int8), limit, unknown, unknown, unknown, zero, zero, unknown, never, never, never
    )


def _by_differences(claim: Floats, evidence: Evidence, tolerance: Tolerance) -> Decision:
    """Decide by plain differences: those that agree with a claim clear it, and none of them contradicts it for good."""
    asked = evidence.kind == Kind.DIFFERENCE
    apart = np.where(asked, np.abs(claim[:, None] - evidence.value), np.nan)
    wrong_by, right_to = tolerance.of(evidence)
    noise = evidence.noise
    agrees = np.isfinite(right_to) & np.isfinite(noise) & (apart <= right_to) & ~evidence.nonlinear[:, None]
    usual = rough = np.zeros_like(agrees)
    if not agrees.any(axis=1).all():  # where all are right, it is no matter what else agrees
        inside = (apart <= noise) & np.isfinite(noise) & ~evidence.nonlinear[:, None]
        usual = inside & (apart + noise <= np.maximum(tolerance.rtol * tolerance.size, 2 * USUAL * evidence.typical))
        known = np.maximum(tolerance.size, np.abs(evidence.value))
        rough = inside & evidence.limited & (apart + noise <= ROUGHLY * known)
    best = np.zeros(claim.shape, dtype=np.intp)
    if evidence.kind.shape[1] > 1:
        rank = np.where(agrees, 0, np.where(usual | rough, 1, 2)) + 3 * ~asked
        first = rank == rank.min(axis=1, keepdims=True)
        best = _least(np.where(first, np.fmin(apart, HUGE), np.inf))
    is_right, is_usual, is_rough = agrees.any(axis=1), usual.any(axis=1), np.asarray(rough.any(axis=1))
    outcome = np.where(
        is_right, Outcome.RIGHT, np.where(is_usual | is_rough, Outcome.RIGHT_TO_RESOLUTION, Outcome.OPEN)
    )
    apart, noise = _take(apart, best), _take(noise, best)
    contradicted, nothing = apart > noise, np.zeros(claim.shape)
    limit = np.where(contradicted, Limit.CALLS, np.where(noise > ROUGHLY * np.abs(claim), Limit.NOISE, Limit.CALLS))
    return Decision(
        outcome.astype(np.int8),
        np.where(outcome == Outcome.OPEN, limit, Limit.NONE).astype(np.int8),
        _take(evidence.value, best),
        apart + noise,
        noise,
        nothing,
        nothing,
        _take(wrong_by, best) + noise,
        np.zeros(claim.shape, dtype=bool),
        contradicted,
        is_rough & ~is_usual & ~is_right,
    )


def _excluded_within(claim: Floats, evidence: Evidence, tolerance: Tolerance, plain: Decision, bound: Floats) -> Bools:
    """Tell where two plain differences exclude a claim more sharply than an interval with a given bound.

    Their uncertainty is noise, plus their disagreement (truncation changes with the step), plus the jump of slopes at a
    kink that both cross. Elements measured at stairs or between jumps do not count.
    """
    asked = evidence.kind == Kind.DIFFERENCE
    asked &= ~np.isin(evidence.kind, (Kind.STAIR, Kind.JUMPS)).any(axis=1, keepdims=True)
    high, low = (np.where(asked, evidence.value, outside) for outside in (-np.inf, np.inf))
    step = tolerance.noise / np.maximum(evidence.noise, np.finfo(float).tiny)
    bend = np.where(asked, np.abs(evidence.curvature) * step, 0.0)
    apart = high.max(axis=1) - low.min(axis=1) + bend.max(axis=1)
    error = np.where(asked.sum(axis=1) >= 2, plain.noise + apart, np.inf)
    return np.asarray((error < bound) & (np.abs(claim - plain.reference) > error))


class _Interval(NamedTuple):
    """What all bounded measurements of ``m`` elements say together, shapes (m, K)."""

    value: Floats
    bound: Floats
    noise: Floats
    gap: Floats
    joint: Floats
    wrong_by: Floats
    right_to: Floats
    excluded: NDArray[np.int_]
    """Measurements that exclude the claim."""
    included: Bools
    """Whether some that count include it."""
    confirmed: Bools
    """Whether independent ones exclude it, and so does the interval."""
    settled: Bools
    """Whether no other step would do better."""
    linear: Bools
    """Whether the functions are known to have no kink there."""


def _interval(claim: Floats, evidence: Evidence, tolerance: Tolerance) -> _Interval:
    """Combine measurements whose error is bounded."""
    kind = _in_force(claim, evidence, tolerance)
    asked = kind >= Kind.PAIR
    bound = np.where(asked & np.isfinite(evidence.value), evidence.bound, np.inf)
    apart = np.where(asked, np.abs(claim[:, None] - evidence.value), np.nan)
    wrong_by, right_to = tolerance.of(evidence)
    excluded = asked & (apart > bound + wrong_by)
    plainly = (kind == Kind.PAIR) & (apart > PLAINLY * bound + wrong_by)
    alone = excluded & (kind >= Kind.EXACT) | plainly
    votes = (excluded & (kind >= Kind.LADDER)).sum(axis=1) + 2 * alone.any(axis=1)
    # A wide interval that includes the claim says nothing against narrower ones that exclude it.
    narrowest = _narrowest(asked, bound, evidence.value)
    overruled = (votes >= 2) & _take(excluded, narrowest).astype(bool)
    asked = asked & ~(overruled[:, None] & ~excluded & (bound >= _take(apart, narrowest)[:, None]))
    included = asked & ~excluded
    includes = included.any(axis=1)
    best = _narrowest((included == includes[:, None]) & asked, bound, evidence.value)
    value, own = _take(evidence.value, best), _take(bound, best)
    # What others say beyond their bounds widens the interval: of those that exclude a claim that this one includes, and of
    # those that do not meet this one.
    distance = np.abs(evidence.value - value[:, None])
    conflict = excluded & (includes[:, None] | (distance > bound + own[:, None]))
    total = np.fmax(own, np.where(conflict, distance, 0.0).max(axis=1, initial=0.0))
    outside = np.abs(claim - value) > total + _take(wrong_by, best)
    size = np.maximum(tolerance.size, np.abs(value))[:, None]
    explained = (evidence.noise > NOISE_LIMITED * bound) | (evidence.gap != 0)
    ended = evidence.limited | evidence.ended & explained & (bound <= ROUGHLY * size)
    return _Interval(
        value,
        total,
        _take(evidence.noise, best),
        _largest(evidence.gap, asked & (kind != Kind.JOINT)),
        _largest(evidence.gap, asked & (kind == Kind.JOINT)),
        _take(wrong_by, best),
        _take(right_to, best),
        excluded.sum(axis=1),
        includes,
        outside & (votes >= 2) & np.isfinite(total),
        (asked & ended).any(axis=1),
        (excluded & (kind == Kind.MULTIPLE)).any(axis=1) | tolerance.smooth,
    )


def _by_intervals(claim: Floats, evidence: Evidence, tolerance: Tolerance) -> Decision:
    """Decide by measurements whose error is bounded."""
    seen = _interval(claim, evidence, tolerance)
    apart = np.abs(claim - seen.value)
    close_value, close_bound = _closest(claim, evidence, apart) if seen.confirmed.any() else (seen.value, seen.bound)
    nearer = seen.confirmed & np.isfinite(close_value)
    nearest = CLOSE * tolerance.noise / apart
    magnitude, dwarfed = tolerance.magnitude[:, None], tolerance.dwarfed[:, None]
    passed_over = (dwarfed > 0) & (nearest > dwarfed) & _stands_still(claim, seen, tolerance)
    beyond = seen.confirmed & ~nearer & (is_beyond(magnitude, nearest) | passed_over | tolerance.unresolved)
    contradicted = seen.confirmed & ~nearer & ~beyond

    right = seen.included & (apart + seen.bound <= seen.right_to)
    small = apart + seen.bound <= tolerance.rtol * tolerance.size
    inside = seen.included & np.isfinite(seen.bound) & (apart <= seen.bound + seen.right_to) & (small | seen.settled)
    outcome = np.where(right, Outcome.RIGHT, np.where(inside | nearer, Outcome.RIGHT_TO_RESOLUTION, Outcome.OPEN))
    once = (seen.excluded == 1) & ~seen.included
    limit = np.where(seen.excluded > 0, np.where(once, Limit.CALLS, Limit.UNCONFIRMED), Limit.STEP)
    noisy = (seen.excluded == 0) & (seen.noise > seen.bound / 2) & np.isfinite(seen.bound)
    limit = np.where(beyond | noisy, Limit.NOISE, limit)
    # Off by more than the measurement may be, and by no more than a right claim: better values would not settle it.
    rounded = (seen.excluded == 0) & seen.included & (apart > seen.bound + seen.right_to)
    limit = np.where(rounded, Limit.ROUNDOFF, limit)

    bent = (seen.gap != 0) | (seen.joint != 0)
    stands = evidence.membership == Membership.STANDING
    examined = bent | contradicted & ~seen.linear | stands
    outcome = np.where(contradicted & ~examined, Outcome.WRONG, outcome)
    at_kink = _at_kinks(apart, seen, evidence.membership, tolerance) if examined.any() else outcome
    outcome = np.where(examined, at_kink, outcome)
    limit = np.where(examined, np.where(stands, Limit.STAIR, Limit.KINK), limit)
    # On a stair a claim is as good as the trend only where that is seen: minus the claim, twice the claim and zero are not.
    coarse = (evidence.kind == Kind.STAIR).any(axis=1) & (2 * seen.bound >= np.abs(claim))
    unseen = coarse & (outcome == Outcome.RIGHT_TO_RESOLUTION)
    outcome, limit = np.where(unseen, Outcome.OPEN, outcome), np.where(unseen, Limit.STAIR, limit)
    hidden = examined & (evidence.membership == Membership.HIDDEN) & (at_kink != Outcome.WRONG)
    bound = np.where(nearer, close_bound, np.where(hidden, np.fmax(seen.bound, apart), seen.bound))
    return Decision(
        outcome.astype(np.int8),
        np.where(outcome == Outcome.OPEN, limit, Limit.NONE).astype(np.int8),
        np.where(nearer, close_value, seen.value),
        bound,
        seen.noise,
        seen.gap,
        seen.joint,
        seen.wrong_by + bound,
        contradicted,
        seen.excluded > 0,
        np.zeros_like(contradicted),
    )


def _stands_still(claim: Floats, seen: _Interval, tolerance: Tolerance) -> Bools:
    """Tell where a step far longer than the element changes functions by no more than the claim times a few of its sizes.

    So does a bounded function of the element, such as a sine, and one that does not depend on it.
    """
    step = tolerance.noise / np.maximum(seen.noise, np.finfo(float).tiny)
    rises = np.maximum(np.abs(seen.value) - seen.bound, 0.0) * step
    return np.asarray(rises <= np.abs(claim) * BEYOND * tolerance.dwarfed[:, None])


def _at_kinks(apart: Floats, seen: _Interval, membership: NDArray[np.int8], tolerance: Tolerance) -> NDArray[np.int8]:
    """Decide by whether a claim is a generalised derivative. Nothing is right on an infinite bound."""
    # A kink hidden by noise explains up to three bounds: right claims were off by 2.1 at most, 9 of 940,000 elements in
    # 840 float32 networks by more than one.
    explained = (membership == Membership.HIDDEN) & (apart <= KINK_SIGNIFICANCE * seen.bound)
    invalid = (membership == Membership.INVALID) | (membership == Membership.HIDDEN) & ~explained
    valid = (membership == Membership.VALID) & np.isfinite(seen.bound)
    small = explained & (apart <= ROUGHLY * tolerance.size) & np.isfinite(seen.bound)
    chosen = np.select(
        [valid, invalid, small], [Outcome.RIGHT, Outcome.WRONG, Outcome.RIGHT_TO_RESOLUTION], Outcome.OPEN
    )
    return np.asarray(chosen.astype(np.int8))


def _in_force(claim: Floats, evidence: Evidence, tolerance: Tolerance) -> NDArray[np.int8]:
    """Return the kinds of estimates that count, shape (m, L, K).

    A ladder that takes discontinuities for noise replaces others that excluded a claim, where it is precise and includes it. On a
    stair it replaces them always: steps shorter than the stair say nothing of the trend.
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


def _closest(claim: Floats, evidence: Evidence, apart: Floats) -> tuple[Floats, Floats]:
    """Return the difference with a very short step that agrees with the claim, and a bound; NaN where none does; shapes (m, K)."""
    near = np.abs(claim[:, None] - evidence.value)
    informative = (evidence.kind == Kind.CLOSEST) & np.isfinite(near) & (evidence.noise < apart[:, None])
    # On a stair the functions stand still over a step so short, whatever their trend.
    informative &= (evidence.value != 0) | (claim[:, None] == 0)
    agrees = informative & (near <= evidence.noise + RESEMBLES * apart[:, None])
    best = _least(np.where(agrees, near + evidence.noise, np.inf))
    found = agrees.any(axis=1)
    value = np.where(found, _take(evidence.value, best), np.nan)
    return value, np.where(found, _take(near + evidence.noise, best), np.nan)


def excludes(claim: Floats, evidence: Evidence, tolerance: Tolerance) -> Bools:
    """Tell where every estimate excludes a claim, so that it would have been called wrong; claims and result have shape (..., m, K).

    An element at a kink that is seen sharply counts too: other claims may be as valid there, which is no lack of evidence.
    A difference that is not finite, of a function that overflows one step away, says nothing.
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
    """Return the entry of largest size where it is asked for, else 0, shape (m, K)."""
    asked = np.where(where, values, 0.0)
    return np.asarray(asked[:, 0]) if asked.shape[1] == 1 else _take(asked, np.abs(asked).argmax(axis=1))


def _narrowest(chosen: Bools, bound: Floats, value: Floats) -> Indices:
    """Return the position of the least bound among those chosen, and of the least value among equal ones; shape (m, K)."""
    if chosen.shape[1] == 1:
        return np.zeros((len(chosen), chosen.shape[2]), dtype=np.intp)
    ranked = np.where(chosen, np.fmin(bound, HUGE), np.inf)
    ties = ranked == ranked.min(axis=1, keepdims=True)
    return _least(np.where(ties, np.maximum(np.fmin(value, HUGE), -HUGE), np.inf))


def _least(values: Floats) -> Indices:
    """Return the position of the least value along the axis of estimates, NaN last; shape (m, K)."""
    return np.asarray(np.where(np.isnan(values), np.inf, values).argmin(axis=1))


def _take(values: NDArray[np.generic], best: Indices) -> Floats:
    """Return the chosen estimate's entry, shape (m, K)."""
    if values.shape[1] == 1:  # nearly always
        return np.asarray(values[:, 0])
    rows, columns = np.arange(len(values))[:, None], np.arange(values.shape[2])
    return np.asarray(values[rows, best, columns])
