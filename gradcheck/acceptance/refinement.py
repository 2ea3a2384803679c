"""The second look: a ladder of steps for what screening left open, confirmed before a claim is called wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import CLOSE, Outcome
from gradcheck.acceptance.ledger import Estimate, Kind, Limit, by_leaf
from gradcheck.acceptance.together import confirm_together, contradicted_plainly, distant_jump
from gradcheck.aliases import Bools, Chosen, Floats, Indices
from gradcheck.differences.counts import DOZEN, evenly
from gradcheck.differences.ladder import FEWEST_LEVELS, KINK_SIGNIFICANCE
from gradcheck.differences.lengths import BETWEEN, CLOSEST, FIRST_STEP, RATIO
from gradcheck.differences.noise import SUSPICIOUS

__all__ = ["EXAMPLES", "MOST_OVERHEAD", "SECOND_STEP", "refine"]

REFINING_CALLS = 40
"""Largest number of calls for elements that noise hides. Only where some are undecided is it more, in proportion to
the elements."""

MOST_OVERHEAD = 100
"""Calls, beside two an element, that a right smooth gradient may take in all, and those of them kept for the later
stages."""

EXAMPLES = 3
"""Elements of many that are measured with ladders, or looked at for stairs, first."""

CLOSEST_STEP = SUSPICIOUS * float(np.finfo(np.float64).eps)
"""The shortest step of the last look at an element, in units of its length: so many times the rounding of an element as long. Over
shorter ones functions that amplify the rounding of their elements may agree with any claim."""

SECOND_STEP = FIRST_STEP / BETWEEN
"""Longest step of the second ladder: none of the first ladder's points is used again."""


def refine(bench: Bench) -> None:
    """Measure what screening left open, most evidence of a fault first."""
    for leaf, indices in _confirm_many(bench, by_leaf(_queue(bench))).items():
        if _refine_leaf(bench, leaf, np.sort(indices)):
            # Where some elements are wrong, others that noise hides may be: now they are worth their calls.
            once = bench.ledgers[leaf].known
            rest = np.setdiff1d(once[_may_show_error(bench, leaf, once).any(axis=1)], indices)
            if len(rest):
                _refine_leaf(bench, leaf, rest)


def _confirm_many(bench: Bench, waiting: Chosen) -> Chosen:
    """Measure a few of the contradicted elements with ladders, and confirm the others along directions if those show no kink.

    Returns the elements that are still open.
    """
    against = {leaf: indices[contradicted_plainly(bench, leaf, indices)] for leaf, indices in waiting.items()}
    places = [(leaf, index) for leaf, indices in against.items() for index in indices]
    if len(places) <= EXAMPLES or bench.exact:
        return waiting
    few = by_leaf(places[i] for i in evenly(np.arange(len(places)), EXAMPLES))
    if not all(_climb_leaf(bench, leaf, indices)[1].all() for leaf, indices in few.items()):
        return waiting
    if distant_jump(bench, few).any():  # they may be the trend of stairs
        return waiting
    confirm_together(bench, against)
    decided = {
        leaf: (bench.decide(leaf, indices).outcome != Outcome.OPEN).all(axis=1) for leaf, indices in waiting.items()
    }
    return {leaf: indices[~decided[leaf]] for leaf, indices in waiting.items() if not decided[leaf].all()}


def _queue(bench: Bench) -> list[tuple[int, int]]:
    """Order the elements to measure: first those that more calls can decide, most evidence of an error first; then others.

    Without a ladder the first stay undecided, whatever the claim. The others, hidden by noise, are measured while calls are
    left: a longer step may show more of them.
    """
    rows: list[tuple[NDArray[Any], ...]] = []
    for leaf, ledger in bench.ledgers.items():
        once = ledger.known
        once = once[~ledger.measured(once)]
        claim, found = bench.claims[leaf].values[once], bench.decide(leaf, once)
        if (found.outcome == Outcome.RIGHT).all():  # nearly always
            continue
        excess = np.abs(claim - found.reference) / np.maximum(found.noise, np.finfo(float).tiny)
        # Not finite: the difference is not, so only the ladder can tell. A claim that is NaN is wrong already.
        evidence = np.where(np.isfinite(excess), excess, np.inf).max(axis=1, initial=0.0)
        waits = (found.outcome == Outcome.OPEN) | found.rough
        waits &= ~bench.has_common_error(leaf, claim, found.reference, found.noise)
        waits &= ~(np.isnan(claim) | bench.is_noted(leaf)[once][:, None])
        for_calls = (waits & (found.limit == Limit.CALLS)).any(axis=1)
        hidden = waits.any(axis=1)
        asked = (for_calls | hidden | _may_show_error(bench, leaf, once).any(axis=1)).nonzero()[0]
        rank = np.select([for_calls, hidden], [0, 1], 2)
        rows.append((once[asked], np.full(len(asked), leaf), -evidence[asked], rank[asked]))
    if not rows:
        return []
    columns = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    places, leaves, _, ranks = (column[np.lexsort(columns)] for column in columns)
    needed, undecided = (int(np.count_nonzero(ranks == rank)) for rank in (0, 1))
    left = 2 * bench.elements + MOST_OVERHEAD - (bench.probe.budget.points - bench.spent_before)
    ladder = 2 * FEWEST_LEVELS  # its calls, at least
    # Two ladders' calls are kept back: for a ladder that climbs further, and to repeat values.
    allowed = min(left - 2 * ladder, REFINING_CALLS + ladder * min(undecided, bench.elements // 80))
    # Else an element noisier than the others would stay undecided: never more than one in each of 300 float32 networks.
    anyway = min(undecided, EXAMPLES) if needed else 0
    affordable = needed + max(anyway, allowed // ladder - needed)
    return list(zip(leaves[:affordable].tolist(), places[:affordable].tolist(), strict=True))


def _may_show_error(bench: Bench, leaf: int, indices: Indices) -> Bools:
    """Return the elements hidden by noise of which a longer step could show an error, shape (m, K)."""
    found, claim = bench.decide(leaf, indices), np.abs(bench.claims[leaf].values[indices])
    improves = RATIO * bench.steps[leaf] < FIRST_STEP
    limited = (found.outcome == Outcome.RIGHT_TO_RESOLUTION) & ~found.rough
    return np.asarray(limited & improves & (found.noise > bench.rtol * claim))


def _refine_leaf(bench: Bench, leaf: int, indices: Indices) -> bool:
    """Measure elements of a leaf with ladders: all, or a few where those show that the others are plainly wrong too.

    Returns whether the claim of some element is contradicted by independent measurements.
    """
    against = np.asarray(bench.decide(leaf, indices).excluded.any(axis=1))
    few = np.zeros(len(indices), dtype=bool)
    few[evenly(np.flatnonzero(against), EXAMPLES)] = True
    if np.count_nonzero(against) < DOZEN // 2:
        few |= against
    contradicted, plain, gaps = _climb_leaf(bench, leaf, indices[few | ~against])
    rest, examples = indices[against & ~few], against[few | ~against]
    if np.count_nonzero(against) >= DOZEN and plain[examples].all():
        rest = rest[~_measure_briefly(bench, leaf, rest)]
    elif len(rest) and gaps[examples].any(axis=1).all():
        rest = rest[~_measure_at_kinks(bench, leaf, rest, np.abs(gaps).max(axis=0))]
    return bool(contradicted.any()) | bool(_climb_leaf(bench, leaf, rest)[0].any())


def _climb_leaf(bench: Bench, leaf: int, indices: Indices) -> tuple[Bools, Bools, Floats]:
    """Measure some elements of a leaf with ladders, and those that contradict their claims once more.

    Returns
    -------
    contradicted, plain : arrays of bool, shape (m,)
        Which elements contradict their claims independently, and which of them show no kink.
    gaps : array, shape (m, K)
        Right minus left derivatives.
    """
    first = bench.climb(leaf, indices, FIRST_STEP)
    excluded = bench.decide(leaf, indices).excluded.any(axis=1)
    bench.climb(leaf, indices[excluded], SECOND_STEP)
    _measure_at_shortest_step(bench, leaf, indices)
    contradicted = np.asarray(bench.decide(leaf, indices).contradicted.any(axis=1))
    return contradicted, np.asarray(contradicted & ~first.kink.any(axis=1)), first.gap


def _measure_briefly(bench: Bench, leaf: int, indices: Indices) -> Bools:
    """Measure elements with one more difference, and tell which have an error far above its bound; shape (m,).

    A cheap test of many elements, after ladders for a few of them.
    """
    before = bench.decide(leaf, indices).reference
    step = bench.steps[leaf] / RATIO  # which rarely crosses a kink that the longer one crossed
    slope, bend, deviation = bench.difference(leaf, indices, step)
    noise = bench.multiplier * deviation
    gap = np.abs(bend) * step * bench.lengths[leaf][indices][:, None]
    bench.ledgers[leaf].add(
        Estimate.pair(indices, slope, np.fmax(np.abs(slope - before) + noise, gap / KINK_SIGNIFICANCE), noise)
    )
    _measure_at_shortest_step(bench, leaf, indices)
    found = bench.decide(leaf, indices)
    return np.asarray(found.contradicted.any(axis=1) & (found.contradicted | ~found.excluded).all(axis=1))


def _measure_at_kinks(bench: Bench, leaf: int, indices: Indices, gaps: Floats) -> Bools:
    """Measure the one-sided derivatives of elements with one step, two for claims outside them; tell where they differ, shape (m,).

    Used for many elements when ladders showed a few of them to be at kinks, with slopes that differ by ``gaps`` at most, shape (K,). The step
    is so short that a kink that it sees is at the point for every ladder; where noise forbids it nothing is measured.
    """
    needed = np.where(gaps > 0, 2 * RATIO * bench.multiplier * bench.noise / gaps, 0.0)
    steps = np.maximum(CLOSEST, needed.max() / bench.lengths[leaf][indices])
    if steps.max() > RATIO * CLOSEST:
        return np.zeros(len(indices), dtype=bool)
    known = _add_sides(bench, leaf, indices, steps, gaps)
    outside = known & bench.decide(leaf, indices).excluded.any(axis=1)
    _add_sides(bench, leaf, indices[outside], RATIO * steps[outside], gaps)
    return known


def _add_sides(bench: Bench, leaf: int, indices: Indices, steps: Floats, gaps: Floats) -> Bools:
    """Enter one-sided derivatives where they differ, by no more than ``RATIO`` times ``gaps``; tell where, shape (m,)."""
    slope, bend, deviation = bench.difference(leaf, indices, steps)
    noise = 2 * bench.multiplier * deviation
    gap = bend * (steps * bench.lengths[leaf][indices])[:, None]
    gap = np.where(np.abs(gap) > RATIO * noise, gap, 0.0)
    # Many times those of the others is a cusp or a jump.
    known = (np.isfinite(slope) & (np.abs(gap) <= RATIO * gaps)).all(axis=1) & gap.any(axis=1)
    bench.ledgers[leaf].add(Estimate.sides(indices[known], slope[known], gap[known], noise[known]))
    return np.asarray(known)


def _measure_at_shortest_step(bench: Bench, leaf: int, indices: Indices) -> None:
    """Measure contradicted elements with the shortest step at which noise does not hide the error of the claim.

    A kink very near makes all longer steps wrong, and they may agree with each other.
    """
    found = bench.decide(leaf, indices)
    rows = found.contradicted.any(axis=1)
    if not rows.any():
        return
    chosen = indices[rows]
    apart = np.abs(bench.claims[leaf].values[chosen] - found.reference[rows])
    needed = np.where(found.contradicted[rows], CLOSE * bench.multiplier * bench.noise / apart, 0.0)
    shortest = np.maximum(CLOSEST_STEP, bench.resolution(leaf, chosen) / bench.lengths[leaf][chosen])
    wanted = (needed / bench.lengths[leaf][chosen][:, None]).max(axis=1)
    # Below CLOSEST the rounding of the element may add noise that was not measured: a step longer by RATIO is safe.
    wanted = np.maximum(wanted, np.minimum(RATIO * wanted, CLOSEST))
    slope, bend, deviation = bench.difference(leaf, chosen, np.clip(wanted, shortest, SECOND_STEP))
    noise = bench.multiplier * deviation
    bench.ledgers[leaf].add(Estimate.difference(chosen, slope, noise, bend, kind=Kind.CLOSEST))
