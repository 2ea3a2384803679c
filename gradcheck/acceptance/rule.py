"""The rule of acceptance: which elements of a claimed gradient are right, wrong or undecided.

Every element is screened with one central difference. Where that agrees with the claim the element is done; the
others climb a ladder of steps, those with most evidence of a fault first. An element is wrong only when its claim
lies outside the measured interval by more than the tolerance, and an independent measurement says so too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.bench import Bench, Claim, Judgement
from gradcheck.acceptance.closer import look_closer
from gradcheck.acceptance.directional import glance, search
from gradcheck.acceptance.irregular import (
    look_for_jumps,
    look_for_kinks,
    look_for_stairs,
    look_for_zeros_on_stairs,
)
from gradcheck.acceptance.ledger import Limit
from gradcheck.acceptance.quiet import quiet_elements, without_others
from gradcheck.acceptance.refinement import refine
from gradcheck.acceptance.screening import prepare, screen, step_along_the_imaginary_axis
from gradcheck.acceptance.seen import unseen
from gradcheck.functions.probe import Probe, unit_of
from gradcheck.functions.repeated import NotRepeatableError

__all__ = ["Claim", "Judgement", "Limit", "NotRepeatableError", "judge"]

Floats = NDArray[np.float64]


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
        Whether each element is looked at then, unless whole leaves are wrong; otherwise all are judged along directions.
    sampled : bool
        Whether a sample is enough of leaves that are wrong as a whole; otherwise only if a factor explains them.

    Raises
    ------
    NotAnalyticError
        When the function does not take a complex step. Nothing is decided then.
    NotRepeatableError
        When the functions give something else at the same points. Nothing is decided then either.

    Returns
    -------
    judgements : dict
        For each leaf of ``claims`` what was found.

    Notes
    -----
    Costs two calls an element where claim and difference agree, one with a complex step, and at most about a hundred
    more in all. Along directions about forty, and a few hundred for each wrong element; see `gradcheck.acceptance.directional`.
    """
    unit = unit_of(base)
    probe = probe.with_cotangents(probe.cotangents / unit[:, None])
    claims = {leaf: claim.in_units(unit) for leaf, claim in claims.items()}
    bench, apart, chosen = Bench(probe, base / unit, claims, rtol, rng), None, {}
    with probe.budget.until_exhausted():
        if key is None:
            _look_at_each(bench, complex_step=complex_step)
        elif not each:
            search(bench, key)
        elif not glance(bench, key, sampled=sampled):
            seen, bench = bench, Bench(probe, base / unit, claims, rtol, rng)
            bench.noise, bench.lengths = seen.noise, seen.lengths
            _look_at_each(bench)
        look_for_zeros_on_stairs(bench)
        chosen = quiet_elements(bench)
        if chosen:
            apart = without_others(bench, chosen)
            _look_at_each(apart, chosen)
    judgements = bench.judgements
    if apart is not None:
        judgements |= {leaf: judgements[leaf].updated(apart.judgement(leaf), chosen[leaf]) for leaf in chosen}
    passes = [leaf for leaf, found in judgements.items() if not np.any(found.wrong | found.undecided)]
    reason = Limit.RTOL if rtol >= 1 else Limit.UNSEEN  # zero is within rtol of anything
    blind = unseen(bench, passes)
    if apart is not None:
        blind = [leaf for leaf in blind if leaf not in chosen or unseen(apart, [leaf])]
    judgements |= {leaf: judgements[leaf].not_seen(reason) for leaf in blind}
    return {leaf: judgement.in_plain_units(unit) for leaf, judgement in judgements.items()}


def _look_at_each(
    bench: Bench, chosen: dict[int, NDArray[np.intp]] | None = None, *, complex_step: bool = False
) -> None:
    """Judge every element on its own, or those chosen in some leaves."""
    prepare(bench)
    if complex_step:
        step_along_the_imaginary_axis(bench)
    screen(bench, chosen)
    look_closer(bench)
    refine(bench)
    look_for_zeros_on_stairs(bench)
    look_for_jumps(bench)
    look_for_stairs(bench)
    look_for_kinks(bench)
