"""Reasons why a contradicted claim may still be right: a nearby jump, a stair, or a kink at which the claim is valid.

Each is searched for before a claim is called wrong, and what is found is entered as further evidence.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import MOST_HIDDEN
from gradcheck.acceptance.ledger import Kind, Membership, by_leaf
from gradcheck.acceptance.pooled import fit_common_error
from gradcheck.acceptance.refinement import EXAMPLES, SECOND_STEP
from gradcheck.acceptance.together import contradicted_without_kink, distant_jump, may_tie
from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.counts import DOZEN, SMALL, evenly
from gradcheck.differences.jumps import jump_nearby, nearest_stair
from gradcheck.differences.lengths import FIRST_STEP, exceeds_own_size, own_sizes
from gradcheck.differences.noise import OF_ROUNDING, SAME_NOISE
from gradcheck.differences.sampled_noise import SPACING, noise_of_single
from gradcheck.differences.scale import ZERO_LENGTH
from gradcheck.differences.steps import DEFAULT_STEP
from gradcheck.functions.repeated import require_same
from gradcheck.nonsmooth.sampling import Ball, Flagged
from gradcheck.nonsmooth.subdifferential import judge as judge_flagged

__all__ = ["look_for_jumps", "look_for_kinks", "look_for_stairs", "look_for_zeros_on_stairs"]

FlaggedColumns = tuple[Flagged, Bools]


def look_for_jumps(bench: Bench) -> None:
    """Measure contradicted elements again if nearby jumps may explain their errors, as in a solver that stops early.

    Between two jumps the result of such a solver has another slope than the exact solution; the jumps make up for it.
    """
    small = []
    for flagged, concerned in bench.flagged:
        size = np.maximum(np.abs(flagged.reference), bench.ledgers[flagged.leaf].typical_size())
        error = np.abs(flagged.claimed - flagged.reference)
        if ((flagged.gap == 0) & (error <= MOST_HIDDEN * size) | ~concerned).all():
            small.append((flagged, concerned, error * bench.lengths[flagged.leaf][flagged.index]))
    if not small:
        return
    lengths = {leaf: np.zeros_like(length) for leaf, length in bench.lengths.items()}
    for flagged, _, _ in small:  # jumps along other elements explain nothing here
        lengths[flagged.leaf][flagged.index] = bench.lengths[flagged.leaf][flagged.index]
    lengths = {leaf: length for leaf, length in lengths.items() if length.any()}
    jump, away = jump_nearby(bench.probe, lengths, bench.multiplier * bench.noise, bench.rng)
    noise = np.maximum(bench.noise, jump)
    near = [
        (flagged.leaf, flagged.index)
        for flagged, concerned, drift in small
        # A jump explains an error that, multiplied by the distance to it, is about the jump: at most 3.7 times in the solvers of the tests.
        if jump.any() and ((drift * away <= SAME_NOISE * noise) | ~concerned).all()
    ]
    for leaf, indices in by_leaf(near).items():
        for part in (indices[:EXAMPLES], indices[EXAMPLES:]):
            bench.climb(leaf, part, FIRST_STEP, noise=noise, kind=Kind.JUMPS)
            if bench.decide(leaf, part).contradicted.any(axis=1).all():
                break
            bench.noise_seen[leaf] = noise


def look_for_stairs(bench: Bench) -> None:
    """Measure contradicted elements again if they are on a stair, as of a coarser dtype: short steps do not show its trend.

    If some are, others are measured likewise whose errors the same jump would explain over a longer distance than was searched.
    """
    tried: Counter[int] = Counter()
    highest, rest = np.zeros_like(bench.base), []
    for flagged, _ in bench.flagged:
        height = np.zeros_like(bench.base)
        if tried[flagged.leaf] < EXAMPLES:
            height = _stair_height(bench, flagged.leaf, flagged.index, bench.multiplier * bench.noise)
            if not height.any():
                height = distant_jump(bench, {flagged.leaf: np.array([flagged.index])})
        if height.any():
            _climb_stair(bench, flagged, height)
            highest = np.maximum(highest, height)
        else:
            tried[flagged.leaf] += 1
            rest.append(flagged)
    for flagged in rest:
        way = max(float(bench.lengths[flagged.leaf][flagged.index]), ZERO_LENGTH)
        height = np.where(way * np.abs(flagged.claimed - flagged.reference) < highest, highest, 0.0)
        if height.any():
            _climb_stair(bench, flagged, height)


def _climb_stair(bench: Bench, flagged: Flagged, height: Floats) -> None:
    """Measure an element with stairs of some height, shape (K,), counting as noise."""
    leaf = flagged.leaf
    noise = np.maximum(bench.noise, height / np.sqrt(12))  # positions are spread evenly over a stair
    for step in (FIRST_STEP, SECOND_STEP):
        bench.climb(leaf, np.array([flagged.index]), step, noise=noise, kind=Kind.STAIR)
    bench.noise_seen[leaf] = np.maximum(noise, bench.noise_seen.get(leaf, noise))


def look_for_zeros_on_stairs(bench: Bench) -> None:
    """Test whether contradicted claims of zero belong to a step function: zero is its derivative, though not its trend.

    A few elements of each leaf are tested; if all are on stairs, so are the others.
    """
    for leaf, ledger in bench.ledgers.items():
        many = (ledger.count > 1).nonzero()[0]
        known = many[((bench.claims[leaf].values[many] == 0) | bench.jumps).any(axis=1)]
        if not len(known):
            continue
        _look_between_jumps(bench, leaf, known)
        found = bench.decide(leaf, known)
        zero = found.contradicted & (bench.claims[leaf].values[known] == 0)
        zero &= ledger.membership[known] != Membership.STANDING
        rows = np.flatnonzero(zero.any(axis=1))
        some = evenly(rows, EXAMPLES)
        if len(some) and all(_is_on_coarse_stair(bench, leaf, int(known[i]), found.reference[i]) for i in some):
            membership = np.where(zero[rows], Membership.STANDING, Membership.UNTESTED)
            ledger.enter_membership(known[rows], membership)


def _look_between_jumps(bench: Bench, leaf: int, indices: Indices) -> None:
    """Enter which contradicted claims are the slope between two jumps that are higher than single precision makes them."""
    high = bench.jumps & (bench.noise > noise_of_single(bench.probe, bench.base, list(bench.claims)))
    against = np.any(bench.decide(leaf, indices).contradicted & high, axis=1)
    if not np.any(against):
        return
    indices = indices[against]
    slope, _, _ = bench.difference(leaf, indices, SPACING)
    hidden = bench.multiplier * np.spacing(np.abs(bench.base)) / (SPACING * bench.lengths[leaf][indices][:, None])
    stands = high & (np.abs(bench.claims[leaf].values[indices] - slope) <= bench.rtol * np.abs(slope) + hidden)
    bench.ledgers[leaf].enter_membership(indices, np.where(stands, Membership.STANDING, Membership.UNTESTED))


def _stair_height(bench: Bench, leaf: int, index: int, jitter: Floats) -> Floats:
    """Return the height of the stair that an element is on, shape (K,); 0 if it is on none."""
    direction = np.zeros_like(bench.lengths[leaf])
    direction[index] = bench.lengths[leaf][index]
    return nearest_stair(bench.probe, {leaf: direction}, bench.base, jitter)


def _is_on_coarse_stair(bench: Bench, leaf: int, index: int, slope: Floats) -> bool:
    """Tell whether an element is on a stair higher, and by the slope of its trend longer, than those that rounding makes.

    That is rounding to the dtypes met, or to single precision inside the function.
    """
    height = _stair_height(bench, leaf, index, np.spacing(np.abs(bench.base)))
    formats = bench.probe.output, bench.leaves[leaf].format
    of_value, of_element = (OF_ROUNDING / 2 * max(float(np.finfo(np.float32).eps), each.eps) for each in formats)
    usual, length = of_value * np.abs(bench.base), of_element * bench.lengths[leaf][index]
    return bool(((height > usual) & (height > length * np.abs(slope))).any())


def _without_common_errors(bench: Bench, elements: list[FlaggedColumns]) -> list[FlaggedColumns]:
    """Call flagged elements wrong whose leaf is off by one factor, if directions show no kink; return the others.

    In a single element noise may hide a kink, but a kink that made all the claims valid would show along all of them together.
    """
    rest = [pair for pair in elements if pair[0].gap.any()]
    for leaf in dict.fromkeys(flagged.leaf for flagged, _ in elements):
        smooth = [pair for pair in elements if pair[0].leaf == leaf and not np.any(pair[0].gap)]
        tied = may_tie(bench, leaf, np.array([flagged.index for flagged, _ in smooth], dtype=np.intp))
        rest += [pair for pair, is_tied in zip(smooth, tied, strict=True) if is_tied]
        smooth = [pair for pair, is_tied in zip(smooth, tied, strict=True) if not is_tied]
        indices = np.array([flagged.index for flagged, _ in smooth], dtype=np.intp)
        wrong = np.zeros_like(bench.base, dtype=bool)
        if len(indices) >= DOZEN:
            found = bench.decide(leaf, indices)
            claim, deviation = bench.claims[leaf].values[indices], found.noise / bench.multiplier
            places = np.unravel_index(indices, bench.leaves[leaf].value.shape)
            wrong = fit_common_error(claim, found.reference, deviation, places).significant
            if wrong.any():
                wrong &= contradicted_without_kink(bench, leaf, indices, found.reference)
        for flagged, concerned in smooth:
            if (concerned & ~wrong).any():
                rest.append((flagged, concerned))
            else:
                membership = np.where(concerned, Membership.INVALID, Membership.UNTESTED)
                bench.ledgers[leaf].enter_membership(np.array([flagged.index]), membership[None])
    return rest


def _require_repeatable(ball: Ball, base: Floats, elements: list[FlaggedColumns]) -> None:
    """Repeat the value at the point, a tenth as often as there were calls so far, if a claim is valid at a kink that no difference showed.

    A function that returns another value at a single call looks as if it had such a kink.
    """
    hidden = [flagged for flagged, _ in elements if not flagged.gap.any() and flagged.valid.any()]
    if not hidden:
        return
    count = int(min(SMALL, ball.probe.budget.used // 10))
    leaf = hidden[0].leaf
    again = ball.probe.ray({leaf: np.zeros_like(ball.scales[leaf])}, np.zeros(count))
    require_same(again, base, ball.noise)


def look_for_kinks(bench: Bench) -> None:
    """Test whether contradicted claims are generalised derivatives at a very near kink."""
    elements = _without_common_errors(bench, bench.flagged)
    claims = {leaf: claim.values for leaf, claim in bench.claims.items()}
    # If the step chosen for a leaf is shorter than usual the functions change over less than the lengths.
    scales = {
        leaf: scale * min(1.0, bench.steps.get(leaf, DEFAULT_STEP) / DEFAULT_STEP)
        for leaf, scale in bench.lengths.items()
    }
    ball = Ball(bench.probe, claims, scales, bench.multiplier * bench.noise, bench.rng)
    judge_flagged(ball, [flagged for flagged, _ in elements])
    _require_repeatable(ball, bench.base, elements)
    for flagged, concerned in elements:
        row = flagged.index
        length = bench.lengths[flagged.leaf][row : row + 1]
        size = own_sizes(bench.leaves[flagged.leaf].value.ravel()[row : row + 1], length)
        reach = ball.radius([flagged]) * scales[flagged.leaf][row : row + 1]
        in_sight = flagged.contradicted | ~exceeds_own_size(size, reach)
        membership = np.where(flagged.hidden, Membership.HIDDEN, Membership.INVALID)
        membership = np.where(flagged.valid, Membership.VALID, np.where(in_sight, membership, Membership.OPEN))
        membership = np.where(flagged.open, Membership.OPEN, membership)
        membership = np.where(concerned, membership, Membership.UNTESTED)
        bench.ledgers[flagged.leaf].enter_membership(np.array([row]), membership[None])
