"""The rule of acceptance: which elements of a claimed gradient are right, wrong or undecided.

Every element is screened with one central difference. Where that agrees with the claim the element is done; the
others are measured with a ladder of shorter and shorter steps, those with most evidence of a fault first. An element is
wrong only when its claim lies outside the measured interval by more than the tolerance, and an independent measurement
agrees.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.directional import judge_along_directions, judge_if_gross
from gradcheck.acceptance.irregular import (
    look_for_jumps,
    look_for_kinks,
    look_for_stairs,
    look_for_zeros_on_stairs,
)
from gradcheck.acceptance.judgement import Claim, Judgement
from gradcheck.acceptance.ledger import Limit
from gradcheck.acceptance.other_claims import unseen, unseen_columns
from gradcheck.acceptance.other_steps import recheck_accepted, recheck_hidden
from gradcheck.acceptance.quiet import quiet_elements, without_others
from gradcheck.acceptance.refinement import MOST_OVERHEAD, refine
from gradcheck.acceptance.screening import prepare, screen, screen_if_flat, step_along_the_imaginary_axis
from gradcheck.acceptance.subgrid import subgrid
from gradcheck.acceptance.together import confirm_by_factor, contradicted_plainly, may_tie
from gradcheck.aliases import Chosen, Floats
from gradcheck.differences.counts import DOZEN, FEW, SMALL
from gradcheck.differences.lengths import FIRST_STEP, RATIO
from gradcheck.functions.probe import Probe, unit_of
from gradcheck.functions.repeated import NotRepeatableError, require_undefined_again

__all__ = ["Claim", "Judgement", "Limit", "NotRepeatableError", "judge", "judge_more"]


def judge(
    probe: Probe,
    base: Floats,
    claims: dict[int, Claim],
    *,
    rtol: float,
    rng: np.random.Generator,
    complex_step: bool = False,
    key: int | None = None,
    each: bool = True,
    sampled: bool = True,
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
    complex_step : bool
        Whether to screen with a complex step instead of a difference.
    key : int, optional
        The seed of random directions along which all elements are compared together first.
    each : bool
        Whether each element is then measured, unless directions show a gross error; if not, directions decide about all.
    sampled : bool
        Whether a sample is enough in a leaf that is wrong throughout; if not, only where a factor explains the leaf.

    Raises
    ------
    NotAnalyticError
        When the function does not take a complex step. Nothing is decided then.
    NotRepeatableError
        When the functions give different values at the same points. Nothing is decided then either.

    Returns
    -------
    judgements : dict
        For each leaf of ``claims`` what was found.

    Notes
    -----
    A right gradient costs two calls an element, one with a complex step, and at most about a hundred more in all. Along
    directions it costs about forty, and each wrong element a few hundred; see `gradcheck.acceptance.directional`.
    """
    unit = unit_of(base)
    probe = probe.with_cotangents(probe.cotangents / unit[:, None])
    claims = {leaf: claim.in_units(unit) for leaf, claim in claims.items()}
    bench, alone, chosen = Bench(probe, base / unit, claims, rtol, rng), None, {}
    with probe.budget.until_exhausted():
        if key is None or not _is_settled_along_directions(bench, key, each=each, sampled=sampled):
            bench = bench.without_evidence()
            _screen(bench, complex_step=complex_step)
            is_one_error = key is not None and bench.elements <= SMALL and _many_contradict(bench)
            fresh = bench.without_evidence() if is_one_error else None
            if fresh is not None and key is not None and judge_if_gross(fresh, key, sampled=sampled):
                bench = fresh
            else:  # once something is wrong, each of two further searches may take this many times the calls of a right gradient
                _decide_open(bench, FEW * (2 * bench.elements + MOST_OVERHEAD) if key is not None else np.inf)
        chosen = quiet_elements(bench)
        if chosen:
            alone = without_others(bench, chosen)
            _screen(alone, chosen)
            _decide_open(alone, np.inf)
        require_undefined_again(probe.budget.undefined_again)
    judgements = bench.judgements
    if alone is not None:
        for leaf, indices in chosen.items():
            judgements[leaf] = judgements[leaf].updated(alone.judgement(leaf), indices)
    passes = [leaf for leaf, found in judgements.items() if not (found.wrong | found.undecided).any()]
    reason = Limit.RTOL if rtol >= 1 else Limit.UNSEEN  # zero is within rtol of anything
    for leaf in passes:
        columns = unseen_columns(bench, leaf)
        if columns.any() and alone is not None and leaf in chosen:
            columns &= unseen_columns(alone, leaf)
        if columns.any():
            judgements[leaf] = judgements[leaf].not_seen(reason, columns)
    return {leaf: judgement.in_plain_units(unit) for leaf, judgement in judgements.items()}


def _is_settled_along_directions(bench: Bench, key: int, *, each: bool, sampled: bool) -> bool:
    """Judge along random directions; return whether that is enough, or the budget does not allow to measure each element."""
    if each:
        return bench.elements > SMALL and judge_if_gross(bench, key, sampled=sampled)
    is_settled, most = judge_along_directions(bench, key), FEW * (2 * bench.elements + MOST_OVERHEAD)
    if bench.elements > SMALL or bench.probe.budget.left < most:
        return True
    return is_settled and (bench.any_contradicted or not unseen(bench, list(bench.claims)))


def judge_more(
    probe: Probe,
    base: Floats,
    claims: dict[int, Claim],
    judgements: dict[int, Judgement],
    *,
    rtol: float,
    rng: np.random.Generator,
) -> dict[int, Judgement]:
    """Judge about a dozen more elements, on a small grid, of leaves in which a sample showed wrong ones.

    Parameters
    ----------
    probe, base, rtol, rng
        As of `judge`.
    claims : dict
        For each leaf concerned its claim.
    judgements : dict
        For each of these leaves what was found so far.

    Returns
    -------
    judgements : dict
        The same, completed by these elements.

    Notes
    -----
    Costs about a hundred calls for one leaf, and six times that at most in all; none if the budget has fewer left.
    """
    most = 2 * FEW * MOST_OVERHEAD
    if probe.budget.left < most:
        return judgements
    unit = unit_of(base)
    probe = probe.with_cotangents(probe.cotangents / unit[:, None])
    bench = Bench(probe, base / unit, {leaf: claim.in_units(unit) for leaf, claim in claims.items()}, rtol, rng)
    chosen = {leaf: subgrid(bench.leaves[leaf].value.shape, claim.values, rng) for leaf, claim in claims.items()}
    with probe.budget.no_more_than(most):
        _screen(bench, chosen)
        _decide_open(bench, np.inf)
    found = {leaf: bench.judgement(leaf).in_plain_units(unit) for leaf in chosen}
    return {leaf: judgements[leaf].updated(found[leaf], indices) for leaf, indices in chosen.items()}


def _screen(bench: Bench, chosen: Chosen | None = None, *, complex_step: bool = False) -> None:
    """Screen every element, or those chosen in some leaves."""
    prepare(bench)
    if complex_step:
        step_along_the_imaginary_axis(bench)
    screen(bench, chosen)


def _many_contradict(bench: Bench) -> bool:
    """Tell whether so many claims are far off, without a kink, that one common error is likely."""
    known = {leaf: ledger.known for leaf, ledger in bench.ledgers.items()}
    excluded = sum(np.count_nonzero(bench.decide(*each).excluded.any(axis=1)) for each in known.items())
    if excluded < DOZEN:  # mostly none
        return False
    plainly = sum(
        np.count_nonzero(contradicted_plainly(bench, *each) & ~may_tie(bench, *each)) for each in known.items()
    )
    return bool(plainly >= max(DOZEN, excluded / 2))


def _decide_open(bench: Bench, spare: float) -> None:
    """Measure again what screening left open; see `_search_irregular` for ``spare``."""
    bench.compare_in_double()
    recheck_accepted(bench)
    recheck_hidden(bench)
    refine(bench)
    if bench.compare_in_double():
        refine(bench)
    confirm_by_factor(bench)
    _search_irregular(bench, spare, look_for_zeros_on_stairs, look_for_jumps, look_for_stairs)
    _search_irregular(bench, spare, look_for_kinks)
    _screen_unseen(bench)
    if bench.any_wrong:
        for flagged, _ in bench.flagged:
            bench.note(flagged.leaf, np.array([flagged.index]), Limit.GROUP)


def _screen_unseen(bench: Bench) -> None:
    """Measure leaves once more that pass though other claims would have passed as well."""
    short = [leaf for leaf, step in bench.steps.items() if RATIO * step < FIRST_STEP and leaf not in bench.exact]
    passing = [leaf for leaf in short if not (bench.judgement(leaf).wrong | bench.judgement(leaf).undecided).any()]
    for leaf in unseen(bench, passing):
        screen_if_flat(bench, leaf)


def _search_irregular(bench: Bench, spare: float, *searches: Callable[[Bench], None]) -> None:
    """Search for what may make contradicted claims valid, with at most ``spare`` calls in all once some element is wrong."""
    end = bench.probe.budget.used + spare
    for search in searches:
        with bench.probe.budget.no_more_than(end - bench.probe.budget.used if bench.any_wrong else np.inf):
            search(bench)
