"""Refinement: ladders of steps for the elements that screening left open.

The order is by evidence of an error. What contradicts its claim is measured a second time, at other points, and with the
shortest step that can show the error, before it is called wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import CLOSE, Outcome
from gradcheck.acceptance.ledger import Estimate, Kind, Limit, by_leaf
from gradcheck.acceptance.together import confirm_together, contradicted_plainly, distant_jump
from gradcheck.aliases import Bools, Chosen, Floats, Indices
from gradcheck.differences.counts import DOZEN, FEW, evenly
from gradcheck.differences.ladder import FEWEST_LEVELS
from gradcheck.differences.lengths import BETWEEN, CLOSEST, FIRST_STEP, RATIO
from gradcheck.differences.noise import CLOSEST_STEP, DISAGREES

__all__ = ["EXAMPLES", "MOST_OVERHEAD", "SECOND_STEP", "refine"]

MOST_OVERHEAD = 100
"""Calls that a right smooth gradient may take in all, beside two for each element."""

EXAMPLES = 3
"""Of many elements so many are measured with ladders, or tested for stairs, first."""

SECOND_STEP = FIRST_STEP / BETWEEN
"""Longest step of the second ladder: none of the first ladder's points is used again."""


def refine(bench: Bench) -> None:
    """Measure what screening left open, most evidence of an error first."""
    for leaf, indices in _confirm_many(bench, by_leaf(_queue(bench))).items():
        if _refine_leaf(bench, leaf, np.sort(indices)):
            # Some are wrong, so others that noise hides may be wrong too: now they are worth their calls.
            screened = bench.ledgers[leaf].known
            rest = np.setdiff1d(screened[_may_show_error(bench, leaf, screened).any(axis=1)], indices)
            if len(rest):
                _refine_leaf(bench, leaf, rest)


def _confirm_many(bench: Bench, waiting: Chosen) -> Chosen:
    """Measure a few contradicted elements with ladders; if they show no kink, confirm the others along random directions.

    Returns the elements that are still open.
    """
    contradicted = {leaf: indices[contradicted_plainly(bench, leaf, indices)] for leaf, indices in waiting.items()}
    places = [(leaf, index) for leaf, indices in contradicted.items() for index in indices]
    if len(places) <= EXAMPLES or bench.exact:
        return waiting
    few = by_leaf(places[i] for i in evenly(np.arange(len(places)), EXAMPLES))
    if not all(_climb_leaf(bench, leaf, indices)[1].all() for leaf, indices in few.items()):
        return waiting
    if distant_jump(bench, few).any():  # the claims may be the trend of a staircase
        return waiting
    confirm_together(bench, contradicted)
    decided = {
        leaf: (bench.decide(leaf, indices).outcome != Outcome.OPEN).all(axis=1) for leaf, indices in waiting.items()
    }
    return {leaf: indices[~decided[leaf]] for leaf, indices in waiting.items() if not decided[leaf].all()}


def _queue(bench: Bench) -> list[tuple[int, int]]:
    """Return (leaf, element) pairs in the order of measurement: those that more calls can decide, then those hidden by noise.

    The first stay undecided without a ladder. The others are measured while calls are left: a longer step may show more.
    """
    rows: list[tuple[NDArray[Any], ...]] = []
    for leaf, ledger in bench.ledgers.items():
        screened = ledger.known
        screened = screened[~ledger.measured(screened)]
        claim, found = bench.claims[leaf].values[screened], bench.decide(leaf, screened)
        if (found.outcome == Outcome.RIGHT).all():  # nearly always
            continue
        excess = np.abs(claim - found.reference) / np.maximum(found.noise, np.finfo(float).tiny)
        # If the difference is not finite only a ladder can tell. A claim that is NaN is wrong already.
        evidence = np.where(np.isfinite(excess), excess, np.inf).max(axis=1, initial=0.0)
        waits = (found.outcome == Outcome.OPEN) | found.rough
        waits &= ~bench.has_common_error(leaf, claim, found.reference, found.noise)
        waits &= ~(np.isnan(claim) | bench.is_noted(leaf)[screened][:, None])
        needs_calls = (waits & (found.limit == Limit.CALLS)).any(axis=1)
        hidden = waits.any(axis=1)
        asked = (needs_calls | hidden | _may_show_error(bench, leaf, screened).any(axis=1)).nonzero()[0]
        rank = np.select([needs_calls, hidden], [0, 1], 2)
        rows.append((screened[asked], np.full(len(asked), leaf), -evidence[asked], rank[asked]))
    if not rows:
        return []
    columns = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    places, leaves, _, ranks = (column[np.lexsort(columns)] for column in columns)
    needed, undecided = (int(np.count_nonzero(ranks == rank)) for rank in (0, 1))
    left = 2 * bench.elements + MOST_OVERHEAD - (bench.probe.budget.points - bench.spent_before)
    cost = 2 * FEWEST_LEVELS  # the calls of a ladder, at least
    # The calls of two ladders are kept back: for a ladder that needs more levels, and to repeat values.
    # For elements that noise hides a few ladders are enough; if some are undecided, more in proportion to the elements.
    allowed = min(left - 2 * cost, cost * (FEW + min(undecided, bench.elements // 80)))
    # Otherwise an element noisier than the others would stay undecided: at most one in each of 300 float32 networks.
    anyway = min(undecided, EXAMPLES) if needed else 0
    affordable = needed + max(anyway, allowed // cost - needed)
    return list(zip(leaves[:affordable].tolist(), places[:affordable].tolist(), strict=True))


def _may_show_error(bench: Bench, leaf: int, indices: Indices) -> Bools:
    """Tell which accepted elements a longer step could show to be wrong, since noise hides an error now, shape (m, K)."""
    found, claim = bench.decide(leaf, indices), np.abs(bench.claims[leaf].values[indices])
    improves = RATIO * bench.steps[leaf] < FIRST_STEP
    limited = (found.outcome == Outcome.RIGHT_TO_RESOLUTION) & ~found.rough
    return np.asarray(limited & improves & (found.noise > bench.rtol * claim))


def _refine_leaf(bench: Bench, leaf: int, indices: Indices) -> bool:
    """Measure elements of a leaf with ladders. Of many contradicted ones only a few, if a cheaper test confirms the others.

    Returns whether independent measurements contradict the claim of some element.
    """
    excluded = np.asarray(bench.decide(leaf, indices).excluded.any(axis=1))
    few = np.zeros(len(indices), dtype=bool)
    few[evenly(np.flatnonzero(excluded), EXAMPLES)] = True
    if np.count_nonzero(excluded) < DOZEN // 2:
        few |= excluded
    contradicted, plain, gaps = _climb_leaf(bench, leaf, indices[few | ~excluded])
    rest, examples = indices[excluded & ~few], excluded[few | ~excluded]
    if np.count_nonzero(excluded) >= DOZEN and plain[examples].all():
        rest = rest[~_measure_briefly(bench, leaf, rest)]
    elif len(rest) and gaps[examples].any(axis=1).all():
        rest = rest[~_measure_at_kinks(bench, leaf, rest, np.abs(gaps).max(axis=0))]
    return bool(contradicted.any()) | bool(_climb_leaf(bench, leaf, rest)[0].any())


def _climb_leaf(bench: Bench, leaf: int, indices: Indices) -> tuple[Bools, Bools, Floats]:
    """Measure some elements of a leaf with ladders, and contradicted ones with a second ladder.

    Returns
    -------
    contradicted, plain : arrays of bool, shape (m,)
        Which claims are contradicted by independent measurements, and which of these elements show no kink.
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
    """Measure elements with one more difference, and tell which claims are contradicted by now; shape (m,).

    A cheap test of many elements, after ladders for a few of them.
    """
    before = bench.decide(leaf, indices).reference
    step = bench.steps[leaf] / RATIO  # which rarely crosses a kink that the longer one crossed
    slope, curvature, deviation = bench.difference(leaf, indices, step)
    noise = bench.multiplier * deviation
    gap = np.abs(curvature) * step * bench.lengths[leaf][indices][:, None]
    bench.ledgers[leaf].add(
        Estimate.pair(indices, slope, np.fmax(np.abs(slope - before) + noise, gap / DISAGREES), noise)
    )
    _measure_at_shortest_step(bench, leaf, indices)
    found = bench.decide(leaf, indices)
    return np.asarray(found.contradicted.any(axis=1) & (found.contradicted | ~found.excluded).all(axis=1))


def _measure_at_kinks(bench: Bench, leaf: int, indices: Indices, gaps: Floats) -> Bools:
    """Measure one-sided derivatives, with one step, or two if the claim lies outside them; tell where they differ, shape (m,).

    For many elements, if ladders showed a few of them to be at kinks; ``gaps``, shape (K,), is the largest gap found there. The step is
    so short that a ladder would take the kink to be at the point. If noise forbids such a step nothing is measured.
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
    """Enter one-sided derivatives where they differ by at most ``RATIO`` times ``gaps``; tell where, shape (m,)."""
    slope, curvature, deviation = bench.difference(leaf, indices, steps)
    noise = 2 * bench.multiplier * deviation
    gap = curvature * (steps * bench.lengths[leaf][indices])[:, None]
    gap = np.where(np.abs(gap) > RATIO * noise, gap, 0.0)
    # A far larger gap than those of the others is a cusp or a jump.
    known = (np.isfinite(slope) & (np.abs(gap) <= RATIO * gaps)).all(axis=1) & gap.any(axis=1)
    bench.ledgers[leaf].add(Estimate.sides(indices[known], slope[known], gap[known], noise[known]))
    return np.asarray(known)


def _measure_at_shortest_step(bench: Bench, leaf: int, indices: Indices) -> None:
    """Measure contradicted elements with the shortest step at which noise does not hide the error of the claim.

    If a kink is very near all longer steps give a wrong derivative, and may agree with each other.
    """
    found = bench.decide(leaf, indices)
    rows = found.contradicted.any(axis=1)
    if not rows.any():
        return
    chosen = indices[rows]
    error = np.abs(bench.claims[leaf].values[chosen] - found.reference[rows])
    needed = np.where(found.contradicted[rows], CLOSE * bench.multiplier * bench.noise / error, 0.0)
    shortest = np.maximum(CLOSEST_STEP, bench.resolution(leaf, chosen) / bench.lengths[leaf][chosen])
    wanted = (needed / bench.lengths[leaf][chosen][:, None]).max(axis=1)
    # Below CLOSEST the rounding of the element may add noise that was not measured: a step longer by RATIO is safe.
    wanted = np.maximum(wanted, np.minimum(RATIO * wanted, CLOSEST))
    slope, curvature, deviation = bench.difference(leaf, chosen, np.clip(wanted, shortest, SECOND_STEP))
    noise = bench.multiplier * deviation
    bench.ledgers[leaf].add(Estimate.difference(chosen, slope, noise, curvature, kind=Kind.CLOSEST))
