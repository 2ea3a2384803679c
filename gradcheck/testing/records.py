"""Records of checks as plain data, and how they are shown: lines for a terminal, Markdown, JSON, properties.

A record is a dict of strings, numbers and lists, so that it travels from one process to another:

- ``test``, ``name``, ``verdict``, ``seed``, ``evaluations``;
- ``worst``: the name of the parameter with the largest relative error, and that error;
- ``blind_spots``: what the check did not cover;
- ``report``: the whole report as JSON has it, where it is wanted;
- ``markdown``: the report as Markdown, where it is wanted and the check did not pass;
- ``shared``: which fixture made the check, where tests share it (the recorder adds this).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck.reports.report import Report

__all__ = ["document", "lines", "markdown", "properties", "record_of", "worst_first"]

Record = Mapping[str, Any]

VERDICTS = ("fail", "inconclusive", "pass")
"""Worst first."""

MOST_ROWS = 10
"""Rows of the table unless more is asked for with -v: with what comes before and after, half a screen."""

BAR = r"\|"
"""How a table of Markdown writes a bar in a cell."""

MOST_BLIND_SPOTS = 3
"""Kinds of blind spots that are listed, the most frequent first."""


def record_of(test: str, name: str, report: Report, *, whole: bool, as_markdown: bool) -> dict[str, Any]:
    """Return a record of a check."""
    errors = {name: _or_infinite(parameter.relative_error) for name, parameter in report.parameters.items()}
    worst = max(errors, key=errors.__getitem__, default="")
    record = {
        "test": test,
        "name": name,
        "verdict": report.verdict,
        "seed": report.seed,
        "evaluations": report.evaluations,
        "worst": [worst, errors.get(worst, 0.0)],
        "blind_spots": list(report.blind_spots),
    }
    if whole:
        record["report"] = json.loads(report.to_json())
    if as_markdown and not report.ok:
        record["markdown"] = report.to_markdown()
    return record


def _or_infinite(error: float) -> float:
    return math.inf if math.isnan(error) else float(error)


def worst_first(records: Iterable[Record]) -> list[Record]:
    """Sort by verdict, then by the largest relative error."""
    return sorted(records, key=lambda record: (VERDICTS.index(record["verdict"]), -record["worst"][1]))


def lines(records: Sequence[Record], *, everything: bool = False) -> list[str]:
    """Return what a terminal shows: a count, one table with the worst first, and what was not covered."""
    alike = Counter(_kind(record) for record in records)
    ranked = list({_kind(record): record for record in reversed(worst_first(records))}.values())[::-1]
    shown = ranked if everything else ranked[:MOST_ROWS]
    rows = [(record["verdict"], _worst(record), _place(record, alike[_kind(record)])) for record in shown]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    table = [_count(records), *(f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}" for row in rows)]
    rest: Counter[str] = Counter()
    for record in ranked[len(shown) :]:
        rest[record["verdict"]] += alike[_kind(record)]
    if rest:
        table.append(f"  and {_verdicts(rest)} more; -v shows all")
    return table + _not_covered(records)


def _kind(record: Record) -> tuple[str, str, str]:
    """Return the key of records that are listed as one: a property test makes the same check a hundred times."""
    return record["test"], record["name"], record["verdict"]


def _place(record: Record, times: int) -> str:
    return f"{record['test']}  {record['name']}{f', {times:,} times' if times > 1 else ''}"


def _count(records: Sequence[Record]) -> str:
    verdicts = Counter(record["verdict"] for record in records)
    tests = len({record["test"] for record in records})
    evaluations = sum(record["evaluations"] for record in records)
    return (
        f"{len(records):,} {_plural('check', len(records))} in {tests:,} {_plural('test', tests)}: {_verdicts(verdicts)}; "
        f"{evaluations:,} evaluations"
    )


def _verdicts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in reversed(VERDICTS) if counts.get(verdict))


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _worst(record: Record) -> str:

    from gradcheck.reports.comparison import error_in_words  # noqa: PLC0415 - a run without checks needs no NumPy

    name, error = record["worst"]
    return f"{name}: {error_in_words(error)}" if name else ""


def _not_covered(records: Sequence[Record]) -> list[str]:
    counts = Counter(spot for record in records for spot in dict.fromkeys(record["blind_spots"]))
    if not counts:
        return []
    shown = ["not covered:"]
    shown += [f"  {count:,} {_plural('check', count)}: {spot}" for spot, count in counts.most_common(MOST_BLIND_SPOTS)]
    if len(counts) > MOST_BLIND_SPOTS:
        shown.append(f"  and {len(counts) - MOST_BLIND_SPOTS} more of other kinds, in the reports")
    return shown


def markdown(records: Sequence[Record]) -> str:
    """Return a page of Markdown: a count, a table with the worst first, and the reports that are no pass."""
    if not records:
        return "## gradcheck\n\nno check was made.\n"
    from gradcheck.reports.markdown import escape  # noqa: PLC0415 - a run without checks needs no NumPy

    text = [f"## gradcheck\n\n{_count(records)}.\n", "| verdict | worst parameter | test | check |\n|---|---|---|---|"]
    for record in worst_first(records):
        cells = (
            record["verdict"],
            escape(_worst(record)),
            *(_code(record[key]).replace("|", BAR) for key in ("test", "name")),
        )
        text.append(f"| {' | '.join(cells)} |")
    text += [
        f"\n### {escape(record['test'])}, {escape(record['name'])}\n\n{record['markdown']}"
        for record in worst_first(records)
        if "markdown" in record
    ]
    return "\n".join(text) + "\n"


def _code(text: str) -> str:
    """Return Markdown that shows a text as code, backticks in it too."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def document(records: Iterable[Record]) -> str:
    """Return all records as strict JSON."""
    names = ("test", "name", "verdict", "seed", "report")
    checks = [{name: record[name] for name in names} for record in records]
    return json.dumps({"schema": 1, "checks": checks}, allow_nan=False, indent=1) + "\n"


def properties(records: Sequence[Record]) -> list[tuple[str, object]]:
    """Return what a test's entry in a JUnit file says: the worst verdict, the largest relative error, the evaluations."""
    worst = worst_first(records)[0]
    return [
        ("gradcheck.verdict", worst["verdict"]),
        ("gradcheck.worst", _worst(worst)),
        ("gradcheck.evaluations", sum(record["evaluations"] for record in records)),
    ]
