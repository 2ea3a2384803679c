"""The second look: a ladder of steps for what screening left open, confirmed before anybody is accused."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.bench import Bench, Doubt, rms
from gradcheck.differences.jumps import jump_nearby
from gradcheck.differences.ladder import FIRST_STEP, Measurement, is_beyond
from gradcheck.nonsmooth.sampling import Ball
from gradcheck.nonsmooth.subdifferential import judge as judge_flagged

__all__ = ["let_pieces_go", "refine", "require_sight", "try_suspects"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

REFINING_CALLS = 40
"""Spent on elements without evidence of a fault, at most; more only in proportion to the elements, where some are undecided."""

MOST_OVERHEAD, KEPT_BACK = 100, 20
"""Calls beside two an element that a right smooth gradient may take in all, and those of them that come after."""

FEWEST_CALLS = 8
"""Of a ladder."""

UNDECIDED_ANYWAY = 3
"""Elements without evidence that are looked at again however many have some: kinks or truncation took the calls, and one
that noise hides more than the others would stay undecided. It was never more than one in 300 float32 networks."""

WORTH_IT = 0.1
"""Elements that noise hides are looked at again if their step was shorter than this share of the longest one."""

ROUGHLY = 0.3
"""Where no shorter step is left, a bound no larger than this share of the leaf says enough to let a claim go."""

CLOSE, CLOSEST_STEP, RESEMBLES = 1.6, 1.07e-13, 0.1
"""The last look at an accused element: with the step at which its error is so many times what noise does. What differs
from the slope there by so small a share of the error, beside noise, agrees with it: the rest may be truncation."""

EXCUSED = 3.0
"""A kink that noise hides may excuse an error of so many times the bound: right claims were off by 2.1 at most, nine of 940,000
elements in 840 single-precision networks by more than one."""

MANY, FEW = 16, 5
"""Where so many elements of a leaf contradict their claims, so few of them are measured with ladders first."""

PLAINLY, BRIEF_STEP, BENT = 30.0, 0.0937, 0.1
"""The others are accused after one more difference, with a step so many times the first one, where their error is so
many times its bound, and the slopes on both sides differ by no more than such a share of it."""

MOST_HIDDEN = 0.05
"""Jumps may explain an error of this share of an element, or of its leaf, at most."""

MADE_UP = 5.0
"""And what it comes to on the way to the jump may be so many times the jump: 3.7 at most in the solvers of the tests."""

MARGIN, CLOSE_STEP = 10.0, 1.07e-10
"""Shorter than this it is so many times as long: so near, the rounding of the element may be noise that nobody measured."""

SECOND_STEP = 0.4373 * FIRST_STEP
"""The ladder of an independent measurement: other steps, other points."""


def refine(bench: Bench) -> None:
    """Measure what screening left open, most evidence of a fault first."""
    queue = _queue(bench)
    for leaf in dict.fromkeys(leaf for leaf, _ in queue):
        indices = np.array([index for other, index in queue if other == leaf], dtype=np.intp)
        if _refine_leaf(bench, leaf, np.sort(indices)):
            # Where some elements are wrong, others that noise hides may be: now they are worth their calls.
            rest = np.setdiff1d(np.flatnonzero(np.any(_worth_it(bench, leaf), axis=1)), indices)
            if len(rest):
                _refine_leaf(bench, leaf, rest)


def _queue(bench: Bench) -> list[tuple[int, int]]:
    """Order the open elements by evidence, and leave out those for which there is neither evidence nor budget."""
    rows = []
    for leaf, found in bench.judgements.items():
        claim = bench.claims[leaf].values
        with np.errstate(all="ignore"):
            excess = np.abs(claim - found.reference) / np.maximum(found.noise, np.finfo(float).tiny)
        # Not finite: the difference is not, so only the ladder can tell. A claim that is NaN is wrong already.
        evidence = np.max(np.where(np.isfinite(excess), excess, np.inf), axis=1, initial=0.0)
        is_open = np.any((found.doubt == Doubt.NOISE) & ~np.isnan(claim), axis=1)
        evidence = np.where(is_open, np.maximum(evidence, 1.0), evidence)
        is_open |= np.any(_worth_it(bench, leaf), axis=1)
        rows += [(-evidence[i], leaf, int(i)) for i in np.flatnonzero(is_open)]
    rows.sort()
    contradicted = sum(1 for minus_evidence, _, _ in rows if minus_evidence < -1)
    undecided = sum(1 for minus_evidence, _, _ in rows if minus_evidence == -1)
    left = 2 * bench.elements + MOST_OVERHEAD - KEPT_BACK - bench.probe.budget.points
    allowed = min(left, REFINING_CALLS + FEWEST_CALLS * min(undecided, bench.elements // 80))
    anyway = min(undecided, UNDECIDED_ANYWAY) if contradicted else 0
    affordable = contradicted + max(anyway, allowed // FEWEST_CALLS - contradicted)
    _let_go(bench, [(leaf, index) for _, leaf, index in rows[affordable:]])
    return [(leaf, index) for _, leaf, index in rows[:affordable]]


def _let_go(bench: Bench, elements: list[tuple[int, int]]) -> None:
    """Clear, as far as can be seen, elements that nothing speaks against and about which no longer step would say much more."""
    for leaf in dict.fromkeys(leaf for leaf, _ in elements):
        if bench.steps[leaf] < WORTH_IT * FIRST_STEP:
            continue
        indices = np.array([index for other, index in elements if other == leaf])
        claim, found = bench.claims[leaf].values[indices], bench.judgements[leaf]
        with np.errstate(all="ignore"):
            apart, noise = np.abs(claim - found.reference[indices]), found.noise[indices]
            known = np.maximum(rms(found.reference), np.abs(found.reference[indices]))
            small = (apart <= noise) & (apart + noise <= ROUGHLY * known)
        gone = small & (found.doubt[indices] == Doubt.NOISE)
        found.limited[indices] |= gone
        found.doubt[indices] = np.where(gone, Doubt.NONE, found.doubt[indices])


def _worth_it(bench: Bench, leaf: int) -> Bools:
    """Return the elements hidden by noise that a longer step could tell apart, shape (n, K)."""
    found, claim = bench.judgements[leaf], np.abs(bench.claims[leaf].values)
    with np.errstate(all="ignore"):
        improves = bench.steps[leaf] < WORTH_IT * FIRST_STEP
        return np.asarray(found.limited & improves & (found.noise > bench.rtol * claim))


def _refine_leaf(bench: Bench, leaf: int, indices: Indices) -> bool:
    """Measure elements of a leaf with ladders: all, or a few where those show that the others are plainly wrong too.

    Returns whether some element is about to be accused.
    """
    against = np.any(_contradicted(bench, leaf, indices), axis=1)
    few = np.zeros_like(against)
    few[np.flatnonzero(against)[:: max(1, np.count_nonzero(against) // FEW)]] = True
    if np.count_nonzero(against) < MANY:
        few |= against
    accused, plain = _climb_leaf(bench, leaf, indices[few | ~against])
    rest = indices[against & ~few]
    if len(rest) and np.all(plain[against[few | ~against]]):
        rest = np.setdiff1d(rest, _accuse_plainly(bench, leaf, rest))
    return bool(np.any(accused)) | bool(np.any(_climb_leaf(bench, leaf, rest)[0]))


def _contradicted(bench: Bench, leaf: int, indices: Indices) -> Bools:
    """Return where screening spoke against the claim, shape (m, K)."""
    claim, found = bench.claims[leaf].values[indices], bench.judgements[leaf]
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(claim - found.reference[indices]) > found.noise[indices])


def _climb_leaf(bench: Bench, leaf: int, indices: Indices) -> tuple[Bools, Bools]:
    """Climb the ladder with some elements of a leaf, decide, and measure what looks wrong once more.

    Returns
    -------
    accused, plain : arrays of bool, shape (m,)
        Which elements are about to be accused, and which of them show no kink.
    """
    first = bench.climb(leaf, indices, FIRST_STEP)
    wrong = _decide(bench, leaf, indices, first)
    accused = np.any(wrong, axis=1)
    again = bench.climb(leaf, indices[accused], SECOND_STEP)
    claim = bench.claims[leaf].values[indices[accused]]
    with np.errstate(all="ignore"):
        apart = np.abs(claim - again.value)
        outside = apart > again.bound + bench.tolerance(leaf, indices[accused], again)[0]
    confirmed = np.zeros_like(wrong)
    confirmed[accused] = wrong[accused] & outside
    _reconsider(bench, leaf, indices, first, again, accused, ~outside)
    _look_close(bench, leaf, indices, confirmed, np.abs(bench.claims[leaf].values[indices] - first.value))
    _leave_to_trial(bench, leaf, indices, first, confirmed)
    return np.any(confirmed, axis=1), np.any(confirmed, axis=1) & ~np.any(first.kink, axis=1)


def _leave_to_trial(bench: Bench, leaf: int, indices: Indices, measured: Measurement, confirmed: Bools) -> None:
    """Suspect elements that are about to be accused, and those at a kink."""
    for row in np.flatnonzero(np.any(confirmed | measured.kink, axis=1)):
        if leaf in bench.exact and not np.any(measured.kink[row]):  # where a complex step holds there is no kink
            bench.judgements[leaf].wrong[indices[row]] = confirmed[row]
            bench.judgements[leaf].doubt[indices[row]] = Doubt.NONE
            continue
        concerned = confirmed[row] | measured.kink[row]
        bench.suspect(leaf, int(indices[row]), measured.value[row], measured.bound[row], measured.gap[row], concerned)


def _accuse_plainly(bench: Bench, leaf: int, indices: Indices) -> Indices:
    """Return those elements whose error is many times what one more difference, with a shorter step, leaves unsure.

    They are suspected then. It is a short trial for the many: a few like them had a long one.
    """
    found = bench.judgements[leaf]
    measured = Measurement.nothing(len(indices), len(bench.base))
    step = bench.steps[leaf] * BRIEF_STEP
    slope, measured.curvature, deviation = bench.difference(leaf, indices, step)
    claim, before = bench.claims[leaf].values[indices], found.reference[indices]
    with np.errstate(all="ignore"):
        measured.value, measured.noise = slope, bench.multiplier * deviation
        measured.bound = np.abs(slope - before) + measured.noise
        tolerance = bench.tolerance(leaf, indices, measured)[0]
        apart = np.minimum(np.abs(claim - slope), np.abs(claim - before))
        plain = np.isfinite(measured.bound) & (apart > PLAINLY * measured.bound + tolerance)
        # Where the slopes on both sides differ so much there is a kink, and that takes a longer look.
        gap = np.abs(measured.curvature) * step * bench.lengths[leaf][indices][:, None]
        plain &= gap <= BENT * apart
        open_or_plain = plain | ~_contradicted(bench, leaf, indices)
    rows = np.flatnonzero(np.any(plain, axis=1) & np.all(open_or_plain, axis=1))
    chosen, part, confirmed = indices[rows], measured.rows(rows), plain[rows]
    _decide(bench, leaf, chosen, part)
    _look_close(bench, leaf, chosen, confirmed, np.abs(bench.claims[leaf].values[chosen] - part.value))
    _leave_to_trial(bench, leaf, chosen, part, confirmed)
    return np.asarray(chosen[np.any(confirmed, axis=1)])


def _decide(bench: Bench, leaf: int, indices: Indices, measured: Measurement) -> Bools:
    """Record a measurement and return where it accuses the claim, shape (m, K)."""
    claim, found = bench.claims[leaf].values[indices], bench.judgements[leaf]
    with np.errstate(all="ignore"):
        apart = np.abs(claim - measured.value)
        tolerance, clearing = bench.tolerance(leaf, indices, measured)
        inside = (apart <= measured.bound + clearing) & np.isfinite(measured.bound)
        clear = apart + measured.bound <= clearing
        size = rms(found.reference)
        small = apart + measured.bound <= bench.rtol * size
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


def _reconsider(
    bench: Bench, leaf: int, indices: Indices, first: Measurement, again: Measurement, accused: Bools, acquitted: Bools
) -> None:
    """Decide anew about claims that the second measurement does not contradict, with what both establish."""
    rows = np.flatnonzero(accused)[np.any(acquitted, axis=1)]
    if not len(rows):
        return
    again = again.rows(np.any(acquitted, axis=1))
    with np.errstate(all="ignore"):
        again.bound = np.fmax(again.bound, np.abs(again.value - first.value[rows]))
    _decide(bench, leaf, indices[rows], again)


def _look_close(bench: Bench, leaf: int, indices: Indices, confirmed: Bools, apart: Floats) -> None:
    """Let go, in ``confirmed``, of claims that the shortest step at which noise does not hide their error agrees with.

    A kink very near makes all longer steps wrong, and they may agree with each other. Where that step is far longer
    than the element itself, what matters to it may be out of sight: it is undecided.
    """
    value = np.abs(bench.leaves[leaf].value.ravel()[indices])
    with np.errstate(all="ignore"):
        needed = np.where(confirmed, CLOSE * bench.multiplier * bench.noise / apart, 0.0)
        beyond = confirmed & is_beyond(value.astype(np.float64), needed.T).T
    confirmed &= ~beyond
    bench.judgements[leaf].doubt[indices] = np.where(beyond, Doubt.NOISE, bench.judgements[leaf].doubt[indices])
    rows = np.flatnonzero(np.any(confirmed, axis=1))
    if not len(rows):
        return
    chosen, value, needed = indices[rows], value[rows], needed[rows]
    with np.errstate(all="ignore"):
        shortest = np.maximum(CLOSEST_STEP, 8 * bench.leaves[leaf].format.spacing(value) / bench.lengths[leaf][chosen])
        wanted = np.max(needed / bench.lengths[leaf][chosen][:, None], axis=1)
        wanted = np.maximum(wanted, np.minimum(MARGIN * wanted, CLOSE_STEP))
        steps = np.clip(wanted, shortest, SECOND_STEP)
        slope, _, deviation = bench.difference(leaf, chosen, steps)
        near = np.abs(bench.claims[leaf].values[chosen] - slope)
        unsure = bench.multiplier * deviation
        agrees = (
            confirmed[rows] & (near <= unsure + RESEMBLES * apart[rows]) & (unsure < apart[rows]) & np.isfinite(near)
        )
    confirmed[rows] &= ~agrees
    found = bench.judgements[leaf]
    for array, new in ((found.reference, slope), (found.bound, near + unsure), (found.noise, unsure)):
        array[chosen] = np.where(agrees, new, array[chosen])
    found.limited[chosen] |= agrees
    found.doubt[chosen] = np.where(agrees, Doubt.NONE, found.doubt[chosen])


def let_pieces_go(bench: Bench) -> None:
    """Let go of claims that differ by no more than jumps near by may explain: those of a solver that stops early.

    What it computes has another slope than the exact solution from jump to jump, and the jumps make up for it.
    """
    small = []
    for suspect, concerned in bench.suspects:
        size = np.maximum(np.abs(suspect.reference), rms(bench.judgements[suspect.leaf].reference))
        apart = np.abs(suspect.claimed - suspect.reference)
        if np.all((suspect.gap == 0) & (apart <= MOST_HIDDEN * size) | ~concerned):
            small.append((suspect, concerned, apart * bench.lengths[suspect.leaf][suspect.index]))
    if not small:
        return
    jump, away = jump_nearby(bench.probe, bench.lengths, bench.multiplier * bench.noise, bench.rng)
    noise = np.maximum(bench.noise, jump)
    near: dict[int, list[int]] = {}
    for suspect, concerned, drift in small:
        if np.any(jump) and np.all((drift * away <= MADE_UP * noise) | ~concerned):
            near.setdefault(suspect.leaf, []).append(suspect.index)
    for leaf, elements in near.items():
        indices = np.array(elements)
        for part in (indices[:FEW], indices[FEW:]):
            if len(part) and not np.any(_explained(bench, leaf, part, noise)):
                break


def _explained(bench: Bench, leaf: int, indices: Indices, noise: Floats) -> Bools:
    """Let go of those suspects that noise of some size explains, and return which, shape (m,)."""
    found, claim = bench.judgements[leaf], bench.claims[leaf].values[indices]
    measured = bench.climb(leaf, indices, FIRST_STEP, noise)
    with np.errstate(all="ignore"):
        inside = np.abs(claim - measured.value) <= measured.bound + bench.tolerance(leaf, indices, measured)[0]
        size = np.maximum(np.abs(measured.value), rms(found.reference))
    explained = np.all(inside & (measured.bound <= MOST_HIDDEN * size), axis=1)
    gone = indices[explained]
    found.noise_of_f = np.where(np.any(explained), noise, found.noise_of_f)
    found.reference[gone], found.bound[gone] = measured.value[explained], measured.bound[explained]
    found.noise[gone], found.gap[gone], found.floor[gone] = measured.noise[explained], 0.0, measured.bound[explained]
    found.limited[gone], found.doubt[gone] = True, Doubt.NONE
    bench.suspects = [(s, where) for s, where in bench.suspects if s.leaf != leaf or s.index not in gone]
    return np.asarray(explained)


def try_suspects(bench: Bench) -> None:
    """Accuse those whose claims are no valid derivative at any point very near."""
    claims = {leaf: claim.values for leaf, claim in bench.claims.items()}
    ball = Ball(bench.probe, claims, bench.lengths, bench.multiplier * bench.noise, bench.rng)
    judge_flagged(ball, [flagged for flagged, _ in bench.suspects])
    for flagged, concerned in bench.suspects:
        found, row = bench.judgements[flagged.leaf], flagged.index
        size = np.abs(bench.leaves[flagged.leaf].value.ravel()[row : row + 1]).astype(np.float64)
        reach = ball.radius([flagged]) * bench.lengths[flagged.leaf][row]
        in_sight = flagged.contradicted | ~is_beyond(size, reach)
        decided = concerned & ~flagged.open & (flagged.valid | in_sight)
        apart = np.abs(flagged.claimed - flagged.reference)
        hidden = decided & ~flagged.valid & flagged.hidden & (apart <= EXCUSED * flagged.bound)
        small = apart <= ROUGHLY * rms(found.reference)
        found.wrong[row] = decided & ~flagged.valid & ~hidden
        found.limited[row] |= hidden & small
        found.bound[row] = np.where(hidden, np.fmax(found.bound[row], apart), found.bound[row])
        found.doubt[row] = np.where(decided & ~(hidden & ~small), Doubt.NONE, found.doubt[row])


def require_sight(bench: Bench) -> None:
    """Clear nobody when noise hid every element of a gradient that is not zero."""
    claimed = {leaf: claim.values != 0 for leaf, claim in bench.claims.items()}
    hidden = {
        leaf: found.limited & (np.abs(found.reference) <= found.noise) for leaf, found in bench.judgements.items()
    }
    if all(np.all(hidden[leaf][part]) for leaf, part in claimed.items()):
        for leaf, found in bench.judgements.items():
            found.doubt[claimed[leaf]] = Doubt.NOISE
            found.limited[claimed[leaf]] = False
