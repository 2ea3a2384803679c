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
    from gradcheck.reports.report import Finding, ParameterReport, Report

__all__ = [
    "apart",
    "badness",
    "cost_line",
    "count",
    "headline",
    "one_line",
    "parameter_line",
    "plain_findings",
    "render",
]

MOST_PARAMETERS = 8
MOST_DIAGNOSES = 6
MOST_FINDINGS = 6
MOST_BLIND_SPOTS = 5
"""Lines of each part; the rest is counted."""

LONGEST_REPR = 200
"""Characters: two lines of a terminal."""

LEAST_DIGITS = 0.5
"""Below this a claim agrees with the reference to no digit: both are below what the check can see."""


def badness(parameter: ParameterReport) -> tuple[bool, bool, float]:
    """Return a key that sorts the worst parameter first."""
    error = parameter.relative_error
    return not parameter.wrong.any(), not parameter.undecided.any(), -math.inf if math.isnan(error) else -error


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
    also = f"; {'also ' if first else ''}{_listed(others)}" if others else ""
    what = f"{_place(first)}{first.message} [{first.code}]" if first else "nothing was checked"
    return f"{report.verdict.upper()}: {what}{also}"


def _listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def parameter_line(parameter: ParameterReport) -> str:
    """Say what was found about one parameter."""
    total = parameter.claimed.size
    wrong, undecided = int(parameter.wrong.sum()), int(parameter.undecided.sum())
    if not wrong and not undecided and parameter.looked_at < total:
        floor = f"an error above {parameter.detection_floor:.1g} in a single one would show"
        return f"{count(total, 'element')} agree along random directions; {floor}"
    if not wrong and not undecided:
        if parameter.digits < LEAST_DIGITS:
            return (
                f"{count(total, 'element')} as good as zero; an error above {parameter.detection_floor:.1g} would show"
            )
        return f"{count(total, 'element')} right to {parameter.digits:.0f} digits"
    parts = [f"{wrong:,} of {count(total, 'element')} wrong"] if wrong else []
    parts += [f"{undecided:,} of {count(total, 'element')} undecided"] if undecided else []
    worst = parameter.worst()
    if worst is not None and not np.isnan(parameter.reference[worst]):
        place = f"worst {list(worst)}: " if worst else ""
        bound = parameter.error_bound[worst]
        known = f" ± {bound:.1g}" if np.isfinite(bound) else ""
        claimed, true = apart(float(parameter.claimed[worst]), float(parameter.reference[worst]))
        parts.append(f"{place}claimed {claimed}, true {true}{known}")
    return "; ".join(parts)


def apart(claimed: float, true: float) -> tuple[str, str]:
    """Return two numbers with as many digits, six at least, as it takes to see that they differ."""
    for digits in range(6, 18):
        texts = f"{claimed:.{digits}g}", f"{true:.{digits}g}"
        if texts[0] != texts[1] or claimed == true:
            break
    return texts


def _diagnoses(parameters: list[ParameterReport], width: int) -> list[str]:
    return [
        f"{'' if rank else parameter.name:<{width}}  {'or: ' if rank else ''}{diagnosis.message} (fit {diagnosis.fit:.3f})"
        for parameter in parameters
        for rank, diagnosis in enumerate(parameter.diagnoses)
    ]


def _finding_line(finding: Finding) -> str:
    return f"[{finding.code}] {_place(finding)}{finding.message}"


def _place(finding: Finding) -> str:
    is_named = not finding.where or finding.message.startswith(f"stage {finding.where},")
    return "" if is_named else f"{finding.where}: "


def count(number: int, noun: str) -> str:
    """Say how many there are of something."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
