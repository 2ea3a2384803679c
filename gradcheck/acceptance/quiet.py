"""Elements hidden by the noise of other elements: they are judged once more, with the others held fixed.

Noise is measured with all elements moved, and a leaf has one step. An element with which the functions jump, or oscillate
over less than any step, makes noise for all others; one with which they oscillate over a millionth of its length leaves the
others too short a step. Without it they may be measured to full precision.
"""

from __future__ import annotations

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import Outcome
from gradcheck.acceptance.ledger import Membership, by_leaf
from gradcheck.aliases import Bools, Chosen, Floats, Indices
from gradcheck.differences.counts import DOZEN, FEW
from gradcheck.differences.lengths import FIRST_STEP, RATIO
from gradcheck.differences.noise import OF_ROUNDING, OFFSETS, SAME_NOISE, SUSPICIOUS, noise_from_samples, ulp
from gradcheck.differences.sampled_noise import SPACING, measure_noise
from gradcheck.differences.steps import DEFAULT_STEP, choose_step
from gradcheck.nonsmooth.groups import LINKED

__all__ = ["MOST_GROUPS", "quiet_elements", "without_others"]

QUIETER = SAME_NOISE * RATIO
"""Factor by which noise divided by step must fall: two estimates of one noise differ by up to `SAME_NOISE`, two choices of
a step by `RATIO`."""

SHARE = 8
"""Two groups of an eighth of the hidden elements, drawn at random, are moved first. If both are as noisy as all together, the
noise is taken to be in every element, as that of single precision is."""

MOST_GROUPS = FEW * DOZEN
"""Largest number of groups that are moved to find a few noisy elements by halving: a dozen for each of them, enough among 128."""


def quiet_elements(bench: Bench) -> Chosen:
    """Return the elements of each leaf that noise hides when all move, and that are quieter when only they do.

    Notes
    -----
    Costs no calls unless the noise is far more than rounding, or a step far shorter than usual, and some element is hidden. Then 16,
    and if some are quiet 8 to about 50 for each of up to `MOST_GROUPS` groups. Leaves judged along random directions are left out.
    """
    each, is_loud = (
        [leaf for leaf, floor in bench.floor_along.items() if np.isnan(floor).all()],
        _loud(bench).any(),
    )
    leaves = [leaf for leaf in each if is_loud or _has_short_step(bench, leaf)]
    places = [(leaf, int(index)) for leaf in leaves for index in _hidden(bench, leaf)]
    places = [places[i] for i in bench.rng.permutation(len(places))]
    size = -(-len(places) // SHARE)
    if not any(_is_quiet(bench, group) for group in (places[:size], places[size : 2 * size]) if group):
        return {}
    found, waiting = [], [places]
    for _ in range(MOST_GROUPS):
        if not waiting:
            break
        group = waiting.pop()
        if _is_quiet(bench, group):
            found += group
        elif len(group) > 1:
            waiting += [group[: len(group) // 2], group[len(group) // 2 :]]
    return by_leaf(sorted(found))


def without_others(bench: Bench, chosen: Chosen) -> Bench:
    """Return a bench for some elements, with all others held fixed. Their noise is measured, at 16 calls or more."""
    alone = Bench(bench.probe, bench.base, {leaf: bench.claims[leaf] for leaf in chosen}, bench.rtol, bench.rng)
    alone.spent_before, alone.elements = bench.probe.budget.points, sum(map(len, chosen.values()))
    alone.lengths = _lengths(bench, chosen)
    alone.noise = measure_noise(alone.probe, alone.base, alone.lengths, alone.rng, _jumps_needed(bench))
    return alone


def _lengths(bench: Bench, chosen: Chosen) -> dict[int, Floats]:
    """Return the lengths of some elements, zero for the others of their leaves."""
    lengths = {leaf: np.zeros_like(bench.lengths[leaf]) for leaf in chosen}
    for leaf, indices in chosen.items():
        lengths[leaf][indices] = bench.lengths[leaf][indices] / bench.shortened.get(leaf, 1.0)
    return lengths


def _loud(bench: Bench) -> Bools:
    """Tell where the noise is far more than the rounding of the values, shape (K,)."""
    return np.asarray(bench.noise > _rounding(bench))


def _rounding(bench: Bench) -> Floats:
    """Return the largest noise that may be the rounding of the values, shape (K,)."""
    return np.maximum(SUSPICIOUS * ulp(bench.base[None]), OF_ROUNDING * bench.probe.rounding())


def _has_short_step(bench: Bench, leaf: int) -> bool:
    """Tell whether a leaf is screened with a step far shorter than usual."""
    return QUIETER * bench.shortened.get(leaf, 1.0) * bench.steps.get(leaf, DEFAULT_STEP) <= DEFAULT_STEP


def _hidden(bench: Bench, leaf: int) -> Indices:
    """Return the elements of a leaf that are not wrong, but may hide an error above the tolerance of the median element.

    The median, since one element far larger than the others does not change it.
    """
    known = bench.ledgers[leaf].known
    if not len(known):
        return known
    found = bench.decide(leaf, known)
    size = np.median(np.abs(np.nan_to_num(found.reference)), axis=0)
    # A claim valid at a kink may be so by noise alone, unless the gap exceeds the noise, or the noise is below the tolerance.
    shown = np.fmax(bench.rtol * np.abs(bench.claims[leaf].values[known]), LINKED * np.abs(found.gap))
    may_be_noise = (bench.ledgers[leaf].membership[known] == Membership.VALID) & (found.noise > shown)
    cleared = (found.outcome == Outcome.RIGHT) & ~may_be_noise
    cleared |= (found.outcome == Outcome.RIGHT_TO_RESOLUTION) & (found.bound <= bench.rtol * size)
    # Held fixed, the others do not show a kink that they share.
    is_shared = (bench.ledgers[leaf].membership[known] == Membership.OPEN) & (found.outcome == Outcome.OPEN)
    return np.asarray(known[np.any(~cleared & ~is_shared & (found.outcome != Outcome.WRONG), axis=1)])


def _is_quiet(bench: Bench, group: list[tuple[int, int]]) -> bool:
    """Tell whether noise divided by step is far less when only some elements move, in all functions that are loud if any are."""
    lengths = _lengths(bench, by_leaf(sorted(group)))
    loud, near = _loud(bench), _noise_near(bench, lengths)
    asked = loud | ~loud.any()
    if not any(_has_short_step(bench, leaf) for leaf in lengths) and (QUIETER * near > bench.noise)[asked].any():
        return False
    # The larger of both: among many groups one is found whose noise a single sample does not show.
    noise = np.maximum(near, measure_noise(bench.probe, bench.base, lengths, bench.rng, _jumps_needed(bench)))
    if (noise > np.maximum(SAME_NOISE * bench.noise, _rounding(bench))).any():
        return False
    for leaf, own in lengths.items():
        step = choose_step(bench.probe, leaf, own, bench.base, noise, bench.rtol, bench.rng) or FIRST_STEP
        before = bench.noise / (bench.shortened.get(leaf, 1.0) * bench.steps[leaf])
        if (QUIETER * noise / step > before)[asked].any():
            return False
    return True


def _jumps_needed(bench: Bench) -> int:
    """Return how many jumps count as a staircase: one, if all elements together are on one."""
    return 1 if np.any(bench.jumps) else 2


def _noise_near(bench: Bench, lengths: dict[int, Floats]) -> Floats:
    """Return the noise estimated from eight values along a short line, shape (K,); their smooth part may exceed it."""
    direction = {leaf: own * bench.rng.uniform(0.5, 1.0, len(own)) for leaf, own in lengths.items()}
    values = bench.probe.ray(direction, SPACING * OFFSETS)
    return np.array([noise_from_samples(column)[0] for column in values.T])
