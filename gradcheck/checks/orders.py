"""Several checks of one function as one report: first and second order, and what its modes say of each other."""

from __future__ import annotations

from dataclasses import replace

from gradcheck.reports.report import Finding, Report, Verdict

__all__ = ["both_orders", "with_faults", "with_remarks"]


def both_orders(first: Report, second: Report) -> Report:
    """Return one report of a first and of a second derivative; parameters of the second are named ``x (order 2)``."""
    names = {name: f"{name} (order 2)" for name in second.parameters}
    later = {names[name]: replace(parameter, name=names[name]) for name, parameter in second.parameters.items()}
    findings = [replace(f, where=names.get(f.where, f.where)) for f in second.findings]
    verdicts: set[Verdict] = {first.verdict, second.verdict}
    verdict: Verdict = "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"
    worst_first = [*first.findings, *findings] if first.verdict == "fail" else [*findings, *first.findings]
    return replace(
        first,
        verdict=verdict,
        parameters={**first.parameters, **later},
        findings=tuple(worst_first),
        blind_spots=(*first.blind_spots, *(f"order 2: {line}" for line in second.blind_spots)),
        evaluations=first.evaluations + second.evaluations,
        gradient_evaluations=first.gradient_evaluations + second.gradient_evaluations,
        seconds=first.seconds + second.seconds,
    )


def with_faults(report: Report, faults: list[Finding]) -> Report:
    """Return the report with findings that fail it by themselves; behind NaN, which brings others about.

    Not where calls of one function cannot be compared.
    """
    if not faults or any(finding.code == "f-not-deterministic" for finding in report.findings):
        return report
    findings = sorted((*faults, *report.findings), key=lambda finding: finding.code != "not-finite")
    return replace(report, verdict="fail", findings=tuple(findings))


def with_remarks(report: Report, *blind_spots: str) -> Report:
    """Return the report with more that it could not see."""
    return replace(report, blind_spots=(*report.blind_spots, *blind_spots))
