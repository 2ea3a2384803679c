"""The report as Markdown, for the summary of a CI run, an issue or a comment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.reports.text import badness, cost_line, explained, explanation, headline, parameter_line, plain_findings

if TYPE_CHECKING:
    from gradcheck.reports.report import Report

__all__ = ["escape", "to_markdown"]

SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#~"} | {"\n": " ", "\r": " "})


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, also inside a table."""
    return text.translate(SPECIAL)


def to_markdown(report: Report) -> str:
    """Return a report as Markdown."""
    parameters = sorted(report.parameters.values(), key=badness) if not report.ok else report.parameters.values()
    lines = [f"**{escape(headline(report))}**", ""]
    if report.parameters:
        lines += ["| parameter | shape | found |", "|---|---|---|"]
        lines += [f"| {escape(p.name)} | {p.shape} | {escape(parameter_line(p))} |" for p in parameters]
        lines.append("")
    diagnoses = [(names, d) for names, found in explained(parameters) for d in found]
    lines += _part("Diagnoses", [f"{names}: {explanation(d)}" for names, d in diagnoses])
    findings = [f"[{f.code}] {f.where + ': ' if f.where else ''}{f.message}" for f in plain_findings(report)]
    lines += _part("Findings", findings)
    lines += _part("Not seen", list(report.blind_spots))
    return "\n".join([*lines, escape(cost_line(report)), ""])


def _part(title: str, entries: list[str]) -> list[str]:
    return [f"{title}:", "", *(f"- {escape(entry)}" for entry in entries), ""] if entries else []
