"""From judgements to a report: one column per parameter, the verdict, findings and blind spots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.ledger import numbers_of
from gradcheck.acceptance.rule import Judgement, Limit
from gradcheck.aliases import Floats
from gradcheck.functions.points import Point
from gradcheck.reports.claims import Reading
from gradcheck.reports.comparison import Divergence, divergence_of
from gradcheck.reports.report import Diagnosis, Finding, ParameterReport, Report, Verdict
from gradcheck.reports.text import apart, badness, explanation
from gradcheck.reports.text import count as counted

__all__ = ["NOISY", "NOTHING_CHECKED", "summarise"]

NOTHING_CHECKED = "no gradient was given for any input, so nothing was checked"

MOST_NAMED, FEW_NAMED = 20, 3
"""Undecided elements that a finding names, and elements that a blind spot does."""

NO_LONGER = 1e-3
"""Share of the relative error below which a difference of lengths is none of it."""

LEAST_ANGLE = 0.05
"""Degrees: less is shown as 0.0, which says nothing."""

MOST_TIMES = 1e4
"""Ratios beyond this, or below its inverse, are not given: the two numbers say more."""

CAUSES_FIRST = (
    "arguments-swapped", "wrong-structure", "missing-gradient", "wrong-type", "wrong-dtype", "wrong-shape", "not-finite",
    "inputs-changed", "cache-changed", "upstream-changed", "vector-changed", "tangent-changed",
    "accumulates", "stale-gradient", "buffer-reused", "second-call-differs",
    "upstream-ignored", "vector-ignored", "tangent-ignored", "zero-upstream", "zero-vector", "zero-tangent",
    "not-linear", "not-symmetric", "not-adjoint", "layout-dependent",
)  # fmt: skip
"""Faults in this order: each may bring about those after it."""

RANKS = {code: rank for rank, code in enumerate(CAUSES_FIRST)}

UNSETTLING = {
    "value-not-finite",
    "f-not-deterministic",
    "reference-differs",
    "f-ignores-params",
    "workers-lost",
    "interrupted",
    "undefined-nearby",
    "step-function",
}
"""Remarks that say why elements are undecided."""

ROUNDING = float(np.finfo(np.float64).eps)
"""Share of the largest element below which an error that noise hides is not reported: float64 itself resolves no less."""

REASONS = {
    Limit.STAIR: (
        "f stands still at short moves and jumps at longer ones, as rounding does: a claim of zero is its slope here and not its "
        "trend, and neither is wrong; freeze what is rounded, x + (round(x0) - x0), and check that"
    ),
    Limit.NOT_PROBED: "not looked at, {stopped}",
    Limit.NOISE: (
        "f is noisy at {noise:.1g}, so gradients below {bound:.1g} cannot be judged there; evaluate f in float64, with a "
        "tighter tolerance or without a large constant, or try method='complex-step'"
    ),
    Limit.STEP: (
        "no step gives a settled difference (the best is known to {bound:.1g}): f oscillates, jumps or has a kink very "
        "near; move the point"
    ),
    Limit.KINK: (
        "f has no single derivative here: a kink too near for its noise of {noise:.1g}, or a tie of many elements; "
        "move the point slightly"
    ),
    Limit.UNCONFIRMED: (
        "two measurements, good to {bound:.1g}, disagree about it; evaluate f more precisely, or move the point"
    ),
    Limit.GROUP: (
        "they contradict the claim together, and only some of them were looked at one by one; "
        "correct what is wrong and check again, or use method='exhaustive'"
    ),
    Limit.CALLS: (
        "they differ from one measurement, and there is no second one; allow more evaluations where they are bounded, or move "
        "the point"
    ),
    Limit.UNSEEN: (
        "minus the claim, twice the claim, half of it or zero would have passed as well: the noise of f ({noise:.1g}), or the round-off of the "
        "claim, hides errors up to {bound:.1g}, and the gradient is hardly more, as at an optimum; move the point, or evaluate in float64 "
        "what is not"
    ),
    Limit.ASSUMED: (
        "the round-off of a gradient that is given as numbers can only be assumed, and may hide errors up to {bound:.1g}; pass the "
        "function that computes it, of which it is measured"
    ),
    Limit.ROUNDOFF: (
        "the claim is off, by no more than the round-off of a right one in its dtype may be, and by too much to pass: where terms "
        "cancel, as before a normalisation, or something saturates, a gradient is hardly more than its rounding; compute it in a wider "
        "dtype, or let what computes it take doubles too"
    ),
    Limit.RTOL: (
        "an rtol of 1 or more accepts a gradient of zero, so a wrong claim would have passed as well; give an rtol below 1, or "
        "leave it out"
    ),
}
"""Why elements are undecided, and what would help."""

NAMES = {number: name.lower().replace("_", "-") for name, number in numbers_of(Limit).items()}

NOISY = (Limit.NOISE, Limit.STEP, Limit.UNCONFIRMED, Limit.UNSEEN)
"""Limits under which a step function is suspected."""


def summarise(
    point: Point,
    readings: list[Reading],
    judgements: dict[int, Judgement],
    *,
    faults: list[Finding],
    remarks: list[Finding],
    diagnoses: Mapping[str, tuple[Diagnosis, ...]],
    together: str = "",
    blind_spots: Sequence[str] = (),
    stopped: str = "",
    **cost: Any,
) -> Report:
    """Build the report of a check.

    Parameters
    ----------
    point : Point
        The parameters.
    readings : list of Reading
        The claims, one per cotangent.
    judgements : dict
        Position of a leaf -> what was found about it.
    faults, remarks : lists of Finding
        What the protocol found: what fails the check by itself, and what does not.
    diagnoses : mapping
        Name of a wrong parameter -> what explains it.
    together : str
        Why elements were judged together; empty where each was looked at.
    blind_spots : sequence of str
        What the check could not see whatever the judgements.
    stopped : str
        Why the check ended before its time, if it did for another reason than ``max_evaluations``.
    **cost
        Passed on to `Report`.
    """
    reports = {}
    unseen = []
    for position, leaf in enumerate(point.leaves):
        if not leaf.is_differentiable:
            continue
        absent = all(position in reading.absent for reading in readings)
        if absent and not any(f.where == leaf.name and f.code == "missing-gradient" for f in faults):
            unseen.append(f"{leaf.name}: not differentiated, so not checked")
            continue
        explained = diagnoses.get(leaf.name, ())
        report = _parameter(leaf.name, leaf.value, readings, position, judgements.get(position), explained)
        reports[leaf.name] = report
        unseen += _hidden_by_noise(report, judgements.get(position))
    if together:
        unseen.insert(0, together)
    wrong = [report for report in reports.values() if report.wrong.any()]
    undecided = any(report.undecided.any() for report in reports.values())
    faults = sorted(faults, key=lambda finding: RANKS.get(finding.code, len(RANKS)))
    verdict: Verdict = "fail" if wrong or faults else "inconclusive" if undecided or stopped or not reports else "pass"
    if not reports:
        unseen.append(NOTHING_CHECKED)
    first = [finding for finding in remarks if finding.code in UNSETTLING]
    others = [finding for finding in remarks if finding.code not in UNSETTLING]
    stepped = {finding.where for finding in remarks if finding.code == "step-function"}
    named = {finding.where for finding in faults}
    wrong_values = [_wrong_values(report) for report in sorted(wrong, key=badness) if report.name not in named]
    return Report(
        verdict=verdict,
        parameters=reports,
        findings=(*faults, *wrong_values, *first, *_undecided(reports, judgements, point, stopped, stepped), *others),
        blind_spots=(*unseen, *blind_spots),
        **cost,
    )


def _parameter(
    name: str,
    value: NDArray[Any],
    readings: list[Reading],
    position: int,
    judgement: Judgement | None,
    diagnoses: tuple[Diagnosis, ...],
) -> ParameterReport:
    """Report one parameter, each element through the cotangent under which it looks worst."""
    shape = value.shape
    if judgement is None:
        blank = np.full(shape, np.nan)
        given = readings[0].values.get(position)
        claimed = blank if given is None else given.reshape(shape)
        unread = np.full(shape, given is None)
        return ParameterReport(
            name=name,
            shape=shape,
            dtype=value.dtype,
            claimed=claimed.copy(),
            reference=blank,
            error_bound=blank.copy(),
            wrong=unread,
            undecided=np.asarray(~unread),
            kink=np.zeros(shape, dtype=bool),
            looked_at=0,
            divergence=divergence_of(claimed, blank),
            detection_floor=float("inf"),
            diagnoses=diagnoses,
        )
    columns = [reading.values[position] for reading in readings]
    claims = np.stack(columns, axis=1) if len(columns) > 1 else columns[0][:, None]
    wrong = judgement.wrong | ~np.isfinite(claims)
    valid_there = _valid_at_kinks(claims, judgement, wrong)
    is_wrong = np.asarray(wrong.any(axis=1))
    # An output that does not depend on the parameter says nothing of how exact its gradient is.
    first = int((wrong.sum(axis=0) if is_wrong.any() else (claims != 0).any(axis=0)).argmax())
    divergence = _divergence(claims[:, first], judgement, first, valid_there[:, first])
    worst = _worst_columns(claims, judgement, wrong)
    claimed, reference, bound = (_picked(array, worst) for array in (claims, judgement.reference, judgement.bound))
    return ParameterReport(
        name=name,
        shape=shape,
        dtype=value.dtype,
        claimed=claimed.reshape(shape).copy(),
        reference=reference.reshape(shape),
        error_bound=bound.reshape(shape),
        wrong=is_wrong.reshape(shape),
        undecided=(np.asarray(judgement.undecided.any(axis=1)) & ~is_wrong).reshape(shape),
        kink=((judgement.gap != 0) | valid_there).any(axis=1).reshape(shape),
        looked_at=int(np.count_nonzero(~np.isnan(reference))),
        divergence=divergence,
        detection_floor=judgement.detection_floor,
        diagnoses=diagnoses,
    )


def _picked(array: Floats, columns: NDArray[np.intp]) -> Floats:
    """Return one column for each element; without a copy, which may be large, where there is one alone."""
    return array[:, 0] if array.shape[1] == 1 else array[np.arange(len(array)), columns]


def _worst_columns(claims: Floats, judgement: Judgement, wrong: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return for each element the cotangent under which it looks worst, shape (n,)."""
    if claims.shape[1] == 1 or not len(claims):
        return np.broadcast_to(np.intp(0), len(claims))
    rank = np.abs(claims - judgement.reference) / np.maximum(judgement.bound, np.finfo(float).tiny)
    rank = np.where(wrong, np.inf, np.where(judgement.undecided, 1e300, np.nan_to_num(rank, posinf=1e299)))
    return np.asarray(rank.argmax(axis=1))


def _valid_at_kinks(claims: Floats, judgement: Judgement, wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the elements at kinks whose claims are valid, though others than what was measured."""
    valid_there = np.zeros(claims.shape, dtype=bool)
    known = np.asarray((~np.isnan(judgement.reference)).any(axis=1)).nonzero()[0]
    apart = np.abs(claims[known] - judgement.reference[known])
    at_kink = (judgement.gap[known] != 0) | (apart > np.fmax(judgement.bound[known], judgement.floor[known]))
    valid_there[known] = at_kink & ~wrong[known] & ~judgement.undecided[known]
    return valid_there


def _divergence(claims: Floats, judgement: Judgement, column: int, valid_there: NDArray[np.bool_]) -> Divergence:
    """Compare a claim with what was measured.

    Elements that were cleared together count as right, to within the least error that would have shown, and so do valid ones at
    kinks. Those about which nothing is known are left out where something is known of others.
    """
    reference = np.where(valid_there, claims, judgement.reference[:, column])
    bound = np.where(valid_there, 0.0, judgement.bound[:, column])
    floor = judgement.floor_along[column]
    if np.isnan(floor):
        return divergence_of(claims, reference, resolution=bound)
    unseen = np.isnan(reference)
    cleared = unseen & (judgement.limit[:, column] == Limit.NONE)
    if (unseen & ~cleared).all():
        return divergence_of(claims, reference)
    known = slice(None) if cleared.all() else ~unseen | cleared
    reference, bound = np.where(cleared, claims, reference), np.where(cleared, floor, bound)
    return divergence_of(claims[known], reference[known], resolution=bound[known])


def _wrong_values(report: ParameterReport) -> Finding:
    found, total = int(report.wrong.sum()), report.wrong.size
    is_sample = bool((np.isnan(report.reference) & report.undecided).any())
    number = (
        f"{found:,} of the {counted(report.looked_at, 'element')} looked at, of {total:,},"
        if is_sample
        else f"{found:,} of {counted(total, 'element')}"
    )
    worst = report.worst() or ()
    best = report.diagnoses[0] if report.diagnoses else None
    why = explanation(best) if best else _distance(report)
    return Finding(
        code="wrong-gradient",
        where=report.name,
        message=f"{number} wrong; {why}",
        evidence={"elements": found, "worst": list(worst)},
    )


def _distance(report: ParameterReport) -> str:
    """Say how far a claim is from the true gradient: of a few elements each, of many by what they have in common."""
    few = np.argwhere(report.wrong)
    if len(few) <= FEW_NAMED and not report.kink[report.wrong].any():
        return "; ".join(_one(report, tuple(int(i) for i in place)) for place in few)
    if report.norm_ratio >= np.finfo(np.float64).max:
        return f"the true gradient is zero, the largest error {report.max_abs_error:.2g}"
    angle = f"angle {report.angle:.1f} degrees, " if report.angle >= LEAST_ANGLE else ""
    is_turned = abs(report.norm_ratio - 1) <= NO_LONGER * report.relative_error  # its length says nothing then
    ratio = "1" if is_turned else apart(report.norm_ratio, 1.0, 3)[0]
    return f"relative error {report.relative_error:.2g}, {angle}norm ratio {ratio}{_holder(report)}"


def _holder(report: ParameterReport) -> str:
    """Name the element that holds most of the error, where one does."""
    with np.errstate(all="ignore"):
        error = np.nan_to_num(np.abs(report.claimed - report.reference), posinf=0.0)
        share = (error / error.max()) ** 2
    total, place = float(share.sum()), np.unravel_index(int(error.argmax()), report.shape)
    if not total <= 2:
        return ""
    return f"; {[int(i) for i in place]} holds {1 / total:.0%} of the squared error"


def _one(report: ParameterReport, place: tuple[int, ...]) -> str:
    """Say how far one element is off."""
    claimed, true = float(report.claimed[place]), float(report.reference[place])
    at = f"{list(place)} " if report.wrong.size > 1 else ""
    if not np.isfinite(claimed) or not np.isfinite(true):
        return f"{at}claimed {claimed:.6g}, true {true:.6g}"
    with np.errstate(all="ignore"):
        ratio = claimed / true if abs(true) > report.error_bound[place] else np.inf
    if not 1 / MOST_TIMES <= abs(ratio) <= MOST_TIMES:
        return f"{at}claimed {apart(claimed, true)[0]}, true {apart(claimed, true)[1]}"
    return f"{at}claimed {apart(ratio, 1.0)[0]} times the true one"


def _undecided(
    reports: dict[str, ParameterReport], judgements: dict[int, Judgement], point: Point, stopped: str, stepped: set[str]
) -> list[Finding]:
    """Say for each parameter with undecided elements what limits them and what would help.

    Of a step function it has been said already, where its jumps only look like noise.
    """
    stopped = stopped or "max_evaluations was used up; allow more"
    findings = []
    for position, judgement in judgements.items():
        report = reports.get(point.leaves[position].name)
        if report is None or not report.undecided.any():
            continue
        limits = judgement.limit.max(axis=1, initial=0).reshape(report.shape)
        for limit, reason in REASONS.items():
            chosen = report.undecided & (limits == limit)
            if chosen.any() and not (report.name in stepped and limit in NOISY):
                findings.append(_reason(report, judgement, limit, reason.replace("{stopped}", stopped), chosen))
    return findings


def _reason(
    report: ParameterReport, judgement: Judgement, limit: int, reason: str, chosen: NDArray[np.bool_]
) -> Finding:
    """Say of some elements what keeps the check from deciding."""
    found, bounds = int(np.count_nonzero(chosen)), report.error_bound[chosen]
    noise = float(np.fmax.reduce(judgement.noise_of_f, initial=0.0))
    bound = float(np.median(bounds[~np.isnan(bounds)])) if not np.isnan(bounds).all() else report.detection_floor
    return Finding(
        code="step-function" if limit == Limit.STAIR else f"undecided-{NAMES[limit]}",
        where=report.name,
        message=f"{found:,} of {counted(report.wrong.size, 'element')} undecided: {reason.format(noise=noise, bound=bound)}",
        evidence={
            "elements": found,
            "first": [[int(i) for i in index] for index in np.argwhere(chosen)[:MOST_NAMED]],
            "noise": noise,
            "bound": bound,
        },
    )


def _first(chosen: NDArray[np.bool_], shape: tuple[int, ...]) -> str:
    """Name the first few of the elements chosen, where there are others."""
    if chosen.all():
        return ""
    indices = np.flatnonzero(chosen)
    places = [str([int(i) for i in np.unravel_index(index, shape)]) for index in indices[:FEW_NAMED]]
    return f" ({', '.join(places)}{', ...' if len(indices) > FEW_NAMED else ''})"


def _hidden_by_noise(report: ParameterReport, judgement: Judgement | None) -> list[str]:
    """Say what noise may hide; where there is a kink it is the kink that does."""
    if judgement is None:
        return []
    hidden = judgement.to_resolution & ~report.kink.reshape(-1, 1)
    if not hidden.any():
        return []
    bound = float(np.nanmax(judgement.bound[hidden]))
    if bound <= ROUNDING * float(np.nanmax(np.abs(judgement.reference))):
        return []
    elements = np.asarray(hidden.any(axis=1))
    number = f"{np.count_nonzero(elements):,} of {counted(len(hidden), 'element')}"
    noise = float(np.fmax.reduce(judgement.noise_of_f, initial=0.0))
    where = f"{report.name}: in {number}{_first(elements, report.shape)}"
    return [f"{where} the noise of f ({noise:.1g}) hides errors up to {bound:.1g}"]
