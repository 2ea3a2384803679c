"""The report as people read it in a terminal.

Always in this order: the verdict with the worst thing found, a line for each parameter, what may be the cause, findings,
what was out of sight, and what it took.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gradcheck.reports.report import Diagnosis, Finding, ParameterReport, Report

__all__ = [
    "apart",
    "badness",
    "cost_line",
    "count",
    "explained",
    "explanation",
    "headline",
    "measured",
    "one_line",
    "parameter_line",
    "plain_findings",
    "render",
]

MOST_PARAMETERS, MOST_DIAGNOSES, MOST_FINDINGS, MOST_BLIND_SPOTS = 8, 6, 6, 5
"""Lines of each part; the rest is counted."""

LONGEST_REPR = 200
"""Characters: two lines of a terminal."""

ALL = 0.9995
"""The share of an error above which a thousandth of it, at most, is left to be explained: that is noise."""

LEAST_DIGITS = 0.5
"""Below this a claim agrees with the reference to no digit: both are below what the check can see."""


def badness(parameter: ParameterReport) -> tuple[bool, bool, bool, float]:
    """Return a key that sorts the worst parameter first, those with a known cause before those without."""
    error = parameter.relative_error
    return (
        not parameter.wrong.any(),
        not parameter.undecided.any(),
        not parameter.diagnoses,
        -math.inf if math.isnan(error) else -error,
    )


def render(report: Report, *, everything: bool = False) -> str:
    """Write a report.

    Parameters
    ----------
    report : Report
    everything : bool
        Whether to show all of it, however long.
    """
    worst_first = sorted(report.parameters.values(), key=badness) if not report.ok else list(report.parameters.values())
    width = max((len(parameter.name) for parameter in worst_first), default=0)
    limits = (MOST_PARAMETERS, MOST_DIAGNOSES, MOST_FINDINGS, MOST_BLIND_SPOTS)
    parameters, diagnoses, remarks, blind_spots = (math.inf,) * 4 if everything else limits
    lines = [
        headline(report),
        *_part([f"{p.name:<{width}}  {parameter_line(p)}" for p in worst_first], parameters),
        *_part(_diagnoses(worst_first, width), diagnoses, "diagnoses"),
        *_part([_finding_line(finding) for finding in plain_findings(report)], remarks, "findings"),
        *_part(report.blind_spots, blind_spots, "not seen"),
        cost_line(report),
    ]
    return "\n".join(lines)


def one_line(report: Report) -> str:
    """Return the first line of a report, shortened to 200 characters and free of control characters."""
    line = "".join(c if c.isprintable() else "?" for c in headline(report))
    whole = f"<Report {line}>"
    return whole if len(whole) <= LONGEST_REPR else f"{whole[: LONGEST_REPR - 4]}...>"


def cost_line(report: Report) -> str:
    """Say what a check took and how it is repeated."""
    calls = f"{report.evaluations:,} evaluations of f, {report.gradient_evaluations:,} of the gradient"
    return f"cost: {calls}, {report.seconds:.2g} s; repeat with rng={report.seed}"


def plain_findings(report: Report) -> list[Finding]:
    """Return the findings that are said nowhere else.

    The first one stands in the first line, and a wrong gradient in the line of its parameter and as a diagnosis.
    """
    return [
        finding
        for finding in report.findings[1 if report.verdict != "pass" else 0 :]
        if finding.code != "wrong-gradient" or finding.where not in report.parameters
    ]


def _part(entries: Iterable[str], most: float, title: str = "") -> list[str]:
    """Return a part of the report: its title, and as many entries as fit."""
    entries = list(entries)
    shown = entries if len(entries) <= most else entries[: int(most)]
    more = [f"... and {len(entries) - len(shown):,} more; to_text(everything=True) shows all"]
    lines = [f"  {entry}" for entry in shown + (more if len(shown) < len(entries) else [])]
    return [f"{title}:", *lines] if title and lines else lines


def headline(report: Report) -> str:
    """Return the first line: the verdict and the worst thing found."""
    total = len(report.parameters)
    if report.verdict == "pass":
        elements = sum(parameter.claimed.size for parameter in report.parameters.values())
        return f"PASS: the gradient is right in {count(total, 'parameter')} ({count(elements, 'element')})"
    bad = [p for p in report.parameters.values() if (p.wrong if report.verdict == "fail" else p.undecided).any()]
    first = report.findings[0] if report.findings else None
    place = first.where if first else ""
    others = [p.name for p in bad if p.name != place and not p.name.startswith(f"{place}.")]
    alike = [name for name in others if place in report.parameters and _are_alike(report, place, name)]
    apart_from = [name for name in others if name not in alike]
    also = f"; {_listed(alike)} likewise" if alike else ""
    also += f"; {'also ' if first else ''}{_listed(apart_from)}" if apart_from else ""
    what = f"{_place(first)}{first.message} [{first.code}]" if first else "nothing was checked"
    return f"{report.verdict.upper()}: {what}{also}"


def _are_alike(report: Report, one: str, other: str) -> bool:
    """Whether the same explains two parameters."""
    messages = [[d.message for d in report.parameters[name].diagnoses[:1]] for name in (one, other)]
    return bool(messages[0]) and messages[0] == messages[1]


def _listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def parameter_line(parameter: ParameterReport) -> str:
    """Say what was found about one parameter."""
    total = parameter.claimed.size
    wrong, undecided = int(parameter.wrong.sum()), int(parameter.undecided.sum())
    if not wrong and not undecided and parameter.looked_at < total:
        floor = f"an error above {parameter.detection_floor:.1g} in a single one would show"
        return f"{count(total, 'element')} agree along random directions; {floor}"
    if not total:
        return "no elements, nothing to check"
    if not wrong and not undecided:
        if parameter.digits < LEAST_DIGITS:
            is_nothing = np.max(np.abs(parameter.claimed), initial=0.0) <= parameter.detection_floor
            what = "as good as zero" if is_nothing else "agree as far as noise lets anyone see"
            return f"{count(total, 'element')} {what}; an error above {parameter.detection_floor:.1g} would show"
        return f"{count(total, 'element')} right to {parameter.digits:.0f} digits"
    parts = [f"{wrong:,} of {count(total, 'element')} wrong"] if wrong else []
    parts += [f"{undecided:,} of {count(total, 'element')} undecided"] if undecided else []
    worst = parameter.worst()
    if worst is not None and not np.isnan(parameter.reference[worst]):
        place = f"worst {list(worst)}: " if worst else ""
        claimed, true = measured(parameter, worst)
        parts.append(f"{place}claimed {claimed}, true {true}")
    return "; ".join(parts)


def measured(parameter: ParameterReport, place: tuple[int, ...]) -> tuple[str, str]:
    """Return claim and true value of one element, this with its bound; at a kink the range of one-sided derivatives."""
    claimed, true = float(parameter.claimed[place]), float(parameter.reference[place])
    bound = float(parameter.error_bound[place])
    one, other = apart(claimed, true)
    if np.isinf(bound):
        return one, "unknown"
    if np.isnan(bound):
        return one, other
    if parameter.kink[place]:
        return one, f"from {true - bound:.6g} to {true + bound:.6g}, as one comes from the left or the right"
    return one, f"{other} ± {bound:.1g}"


def apart(claimed: float, true: float, least: int = 6) -> tuple[str, str]:
    """Return two numbers with as many digits, six at least, as it takes to see that they differ."""
    for digits in range(least, 18):
        texts = f"{claimed:.{digits}g}", f"{true:.{digits}g}"
        if texts[0] != texts[1] or claimed == true:
            break
    return texts


def explained(parameters: Iterable[ParameterReport]) -> list[tuple[str, tuple[Diagnosis, ...]]]:
    """Return the explanations that there are, each once, with the names of the parameters that it is given for."""
    groups: dict[tuple[str, ...], list[ParameterReport]] = {}
    for parameter in parameters:
        if parameter.diagnoses:
            groups.setdefault(tuple(d.message for d in parameter.diagnoses), []).append(parameter)
    return [(_listed([p.name for p in group]), group[0].diagnoses) for group in groups.values()]


def explanation(diagnosis: Diagnosis) -> str:
    """Return an explanation, with the share of the error that it accounts for where that is not all of it."""
    return diagnosis.message + (f" (this explains {diagnosis.fit:.1%} of the error)" if diagnosis.fit < ALL else "")


def _diagnoses(parameters: list[ParameterReport], width: int) -> list[str]:
    return [
        f"{'' if rank else names:<{width}}  {'or: ' if rank else ''}{explanation(diagnosis)}"
        for names, diagnoses in explained(parameters)
        for rank, diagnosis in enumerate(diagnoses)
    ]


def _finding_line(finding: Finding) -> str:
    return f"[{finding.code}] {_place(finding)}{finding.message}"


def _place(finding: Finding) -> str:
    is_named = not finding.where or finding.message.startswith(f"stage {finding.where},")
    return "" if is_named else f"{finding.where}: "


def count(number: int, noun: str) -> str:
    """Say how many there are of something."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
