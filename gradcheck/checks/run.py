"""How a check goes from claims to a report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from gradcheck.acceptance.refinement import MOST_OVERHEAD
from gradcheck.acceptance.rule import Claim, Judgement, NotRepeatableError, judge, judge_more
from gradcheck.aliases import Floats
from gradcheck.checks.blind_spots import unseen
from gradcheck.checks.check import OVERHEAD, Check
from gradcheck.checks.exchanged import examine_places
from gradcheck.checks.explanations import explain, explain_noise
from gradcheck.checks.ignored import ignores_its_point
from gradcheck.checks.protocol import examine, examine_first, examine_value, is_random
from gradcheck.checks.references import choose_differenced
from gradcheck.checks.roundoff import compare_in_double, measure_roundoff, rounded_beside
from gradcheck.checks.second_point import examine_constancy, visit
from gradcheck.checks.shared_ties import judge_without_others
from gradcheck.differences.complex_step import NotAnalyticError
from gradcheck.functions.float_errors import silent
from gradcheck.functions.options import default_rtol
from gradcheck.functions.outputs import EachOutput
from gradcheck.functions.probe import CHUNK_LENGTH, Probe, calling
from gradcheck.functions.progress import Meter, metering
from gradcheck.functions.workers import WorkerPool, WorkersLostError, open_pool
from gradcheck.reports.claims import Reading
from gradcheck.reports.report import Report
from gradcheck.reports.summary import summarise

__all__ = ["run"]

MOST_EXHAUSTIVE = 10_000
"""Elements up to which each is looked at, unless the user says otherwise."""

DIRECTIONAL_CALLS = 60
"""What a right gradient takes along random directions, about."""

FEW = 1000
"""Elements up to which each is looked at where a sample of them is wrong and shows no cause: as many calls as a right gradient takes."""


@silent
def run(check: Check) -> Report:
    """Make the check; Ctrl-C comes through with the report so far."""
    started = time.perf_counter()
    check.why_directions = _why_directions(check)
    with metering(check.settings.progress, _forecast(check)) as meter, open_pool(check.settings.workers) as pool:
        check.budget.progress = meter
        with check.budget.until_exhausted():
            _look(check, meter, pool)
        reports: list[Report] = []
        with check.budget.until_exhausted():
            reports.append(_report(check, started))
        # Interrupted while what is wrong was being explained, it goes without.
        report = reports[0] if reports else _report(check, started)
        check.budget.pass_on_interrupt(report)
    return report


def _forecast(check: Check) -> int:
    """Return about how many calls the check takes."""
    sizes = [check.point.leaves[i].value.size for i in check.point.free()]
    if check.why_directions:
        return DIRECTIONAL_CALLS
    if check.settings.vectorized:  # about as many for each leaf as it has chunks of elements, and a few pilots
        return sum(2 * size // CHUNK_LENGTH + 5 for size in sizes) + OVERHEAD // 2
    return check.subject.forecast(sum(sizes))


def _look(check: Check, meter: Meter | None, pool: WorkerPool | None) -> None:
    """Call function and derivative, and judge, as far as the evaluations go."""
    check.elsewhere = visit(check)
    handed = check.point.hand()
    check.budget.spend()
    began = time.perf_counter()
    with calling(check.subject.name, "at the given point"):
        value = check.subject.value(handed.tree)
    seconds = time.perf_counter() - began
    if meter is not None:
        meter.expect(seconds)
    if pool is not None:
        pool.seconds_per_call = seconds
    check.output = output = check.subject.output(value)
    check.value = output.read(value)
    changed = handed.changed()
    del handed  # it may be large
    if changed:
        check.find("inputs-changed", f"{output.name} changed its argument in place: {', '.join(changed)}")
    check.drawn = drawn = _cotangents(check)
    differenced = choose_differenced(check, value)
    if differenced is None:
        check.cotangents = drawn
        _read(check, drawn, np.zeros(len(drawn)))
        return
    check.rtol = check.settings.rtol or default_rtol(check.eps())
    further, check.is_each = check.subject.apart(check, differenced.output)
    check.cotangents = further if check.is_each else np.concatenate([drawn, further]) if len(further) else drawn
    check.probe = probe = (EachOutput if check.is_each else check.subject.probe)(
        differenced.function,
        differenced.point,
        differenced.output,
        np.diag(further)[:, None] if check.is_each else check.cotangents,
        check.budget,
        vectorized=check.settings.vectorized,
        pool=pool,
    )
    check.base = base = probe.read(differenced.value)
    if not np.isfinite(base).all():
        name = differenced.output.name
        check.find("value-not-finite", f"{name} is not finite at the given point: no derivative exists")
    claims = _read(check, drawn, base)
    if not np.isfinite(base).any() or is_random(check) or ignores_its_point(check, probe, base, claims):
        return
    try:
        check.judgements = judgements = _judge(check, probe, base, claims)
        check.judgements = judge_without_others(check, probe, base, claims, judgements)
    except NotRepeatableError:
        check.find(
            "f-not-deterministic",
            f"{differenced.output.name} gave something else when called again at the same point; fix its random "
            "numbers and its state",
        )
        return
    examine_value(check)
    if is_random(check):  # its differences are those of many functions, and say nothing about any of them
        check.judgements = {}
        return
    examine_constancy(check, probe, claims, check.judgements)
    if check.subject.is_given:
        examine_places(check)


def _report(check: Check, started: float) -> Report:
    """Report what was found."""
    if isinstance(check.budget.ended, WorkersLostError):
        check.find(
            "workers-lost",
            f"workers stopped answering before the check was over ({check.budget.ended}): what they had not evaluated "
            "is missing; run it again, with fewer of them if memory is short",
        )
    elif check.budget.ended is not None:
        check.find("interrupted", "the check was interrupted before it was over")
    if check.budget.undefined and any(found.undecided.any() for found in check.judgements.values()):
        count, (did, _), *others = check.budget.undefined.total(), *check.budget.undefined.most_common()
        check.find(
            "undefined-nearby",
            f"{check.subject.name} is not defined at {count:,} of the {check.budget.points:,} points at which it was called, where it "
            f"{'mostly ' if others else ''}{did}: no difference can be taken there; move the point away from the edge of its domain",
            calls=count,
        )
    found = check.subject.laid_out(check.point, check.readings, check.judgements)
    ask = check.probe if check.budget.ended is None else None
    if ask is not None:
        explain_noise(check, ask, check.base)
    return summarise(
        *found,
        diagnoses=explain(check, ask, check.base, found) if ask is not None else {},
        faults=check.faults,
        remarks=check.remarks,
        together=check.why_directions,
        blind_spots=unseen(check),
        stopped=check.budget.stopped,
        evaluations=check.budget.used,
        gradient_evaluations=check.subject.calls,
        seconds=time.perf_counter() - started,
        seed=check.settings.seed,
    )


def _cotangents(check: Check) -> Floats:
    """Return those that were used at the second point, where they fit."""
    if check.elsewhere is not None and check.elsewhere.value.size == check.output.size:
        return check.elsewhere.cotangents
    check.elsewhere = None
    return check.subject.cotangents(check.output, check.settings.rng)


def _why_directions(check: Check) -> str:
    """Choose how to judge, from counts alone, and say why where it is along random directions."""
    elements = sum(check.point.leaves[i].value.size for i in check.point.free())
    together = f"the {elements:,} elements were judged together along random directions, not one by one"
    limit = check.settings.max_evaluations
    if check.settings.method == "directional":
        return f"{together}, as method='directional' asks"
    if check.settings.method != "auto" or not check.subject.is_whole:
        return ""
    if elements > MOST_EXHAUSTIVE:
        return f"{together}: they are more than {MOST_EXHAUSTIVE:,}; method='exhaustive' looks at each"
    needed = 2 * elements + MOST_OVERHEAD
    if limit is not None and limit < needed and 2 * elements > DIRECTIONAL_CALLS:
        return f"{together}: max_evaluations={limit} is less than the {needed:,} that looking at each may take"
    return ""


def _judge(check: Check, probe: Probe, base: Floats, claims: dict[int, Claim]) -> dict[int, Judgement]:
    if check.settings.complex_step:
        try:
            return judge(probe, base, claims, rtol=check.rtol, rng=check.settings.rng, complex_step=True)
        except NotAnalyticError as error:
            message = f"{check.subject.name} takes no complex step: {error}; differences were used instead"
            check.find("complex-step-unsupported", message)
    settings = check.settings
    if check.why_directions:
        judgements = judge(probe, base, claims, rtol=check.rtol, rng=settings.rng, key=settings.key, each=False)
        if _looked_at_each(judgements):
            check.why_directions = ""
        return _look_again(check, probe, base, claims, judgements)
    elements = sum(len(claim.values) for claim in claims.values())
    if settings.method == "auto" and check.subject.is_whole and not settings.vectorized:
        sampled = not check.subject.pulls_back  # else what is wrong with a backward may be seen in all elements only
        judgements = judge(probe, base, claims, rtol=check.rtol, rng=settings.rng, key=settings.key, sampled=sampled)
        if sampled and elements <= FEW and _unexplained(check, probe, base, judgements):
            judgements = judge(probe, base, claims, rtol=check.rtol, rng=settings.rng, key=settings.key, sampled=False)
        elif sampled and elements > FEW:
            judgements = _look_again(check, probe, base, claims, judgements)
        if not _looked_at_each(judgements):
            check.why_directions = (
                f"the {elements:,} elements were judged together along random directions, not one by one: whole parameters "
                "are wrong; method='exhaustive' looks at each"
            )
        return judgements
    return check.subject.judge(probe, base, claims, rtol=check.rtol, rng=settings.rng)


def _looked_at_each(judgements: dict[int, Judgement]) -> bool:
    """Tell whether nothing was judged along random directions."""
    return all(np.isnan(found.floor_along).all() for found in judgements.values())


def _look_again(
    check: Check, probe: Probe, base: Floats, claims: dict[int, Claim], judgements: dict[int, Judgement]
) -> dict[int, Judgement]:
    """Look at more elements of leaves of which a sample is wrong and shows no cause."""
    several = [leaf for leaf in claims if np.count_nonzero(np.array(check.point.leaves[leaf].value.shape) > 1) > 1]
    chosen = [leaf for leaf in _unexplained(check, probe, base, judgements) if leaf in several]
    if len(chosen) != 1:  # of several, a fault in one spoils the others: no sample of them shows a cause
        return judgements
    mine, before = {leaf: claims[leaf] for leaf in chosen}, {leaf: judgements[leaf] for leaf in chosen}
    return judgements | judge_more(probe, base, mine, before, rtol=check.rtol, rng=check.settings.rng)


def _unexplained(check: Check, probe: Probe, base: Floats, judgements: dict[int, Judgement]) -> list[int]:
    """Return the leaves of which a sample is wrong and shows no cause."""
    sampled = [leaf for leaf, found in judgements.items() if found.wrong.any() and np.isnan(found.reference).any()]
    if not sampled:
        return []
    explained = explain(check, probe, base, check.subject.laid_out(check.point, check.readings, judgements))
    return [leaf for leaf in sampled if check.point.leaves[leaf].name not in explained]


def _read(check: Check, drawn: Floats, base: Floats) -> dict[int, Claim]:
    """Ask for the claims, read them, and check how they come about: that through the drawn cotangents, of which all outputs are part."""
    readings: list[Reading] = []
    with check.budget.until_exhausted():
        asked = np.concatenate([drawn, check.cotangents]) if check.is_each else check.cotangents
        answers = check.subject.readings(check, check.point.hand(), asked)
        mixed, readings = answers[: len(drawn)], answers[len(drawn) :] if check.is_each else answers
        check.readings = readings
        for finding in answers[0].findings:
            (check.remarks if finding.code == "coarse-dtype" else check.faults).append(finding)
        check.rtol = check.settings.rtol or default_rtol(max(check.eps(), readings[0].eps))
        if check.subject.inside is not None:
            name = check.subject.inside.name
            message = (
                f"{check.subject.name} computes in {name} on the way, so the gradient is judged at {name}'s accuracy"
            )
            check.find("coarse-dtype", message)
        if readings[0].eps > np.finfo(np.float64).eps:
            check.roundoff = measure_roundoff(check, readings, check.cotangents, base)
        here = [] if check.subject.is_given else examine_first(check, drawn, mixed)
        examine_value(check)
        if here and not is_random(check):  # else whatever comes back may be another thing each time, and right
            check.subject.protocol(check, drawn, mixed)
            examine(check, drawn, mixed, here)
    if not readings:
        if check.budget.ended is None:
            message = "max_evaluations was used up before the gradient was known; allow more"
            check.find("undecided-not-probed", message)
        return {}
    for reading in readings:  # what is large and no longer asked for
        reading.given = {}
    claims = {}
    in_another = check.subject.is_given or check.subject.inside is not None or not check.roundoff
    wide = (
        None
        if in_another
        else lru_cache(maxsize=1)(partial(compare_in_double, check, readings, check.cotangents, base))
    )
    beside = rounded_beside(check, readings, check.cotangents, base) if check.roundoff else {}
    for leaf in readings[0].values:
        columns = [reading.values[leaf] for reading in readings if leaf in reading.values]
        if len(columns) == len(readings):  # one column is not copied: it may be large
            values = np.stack(columns, axis=1) if len(columns) > 1 else columns[0][:, None]
            known = check.roundoff.get(leaf)
            spread = np.zeros(values.shape[1]) if known is None else known.usual
            own, assumed = (None, False) if known is None else (known.own, check.subject.is_given)
            ask = None if wide is None else partial(_of_leaf, wide, leaf)
            claims[leaf] = Claim(values, spread, readings[0].eps, own, assumed, ask)
            if leaf in beside:
                claims[leaf] = replace(claims[leaf], least=beside[leaf][0], beside=beside[leaf][1])
    return claims


def _of_leaf(
    ask: Callable[[], dict[int, tuple[Floats, Floats, Floats]]], leaf: int
) -> tuple[Floats, Floats, Floats] | None:
    """Return what is found of one leaf, if anything."""
    return ask().get(leaf)
