"""The results as files: strict JSON, and a page that shows everything together."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from network.job import Results, conclusion
from network.mutants import Row
from network.tables import MUTANT_COLUMNS, mutant_cells

__all__ = ["write_mutants", "write_page", "write_results"]

STYLE = """
.gradcheck .numbers :is(th, td):not(:first-child) { text-align: right; padding: .25rem 0 .25rem .8rem; }
img { max-width: 100%; height: auto; }
"""
"""Rules besides those of a report's page."""

Document = Callable[[str, str, str], str]
"""Makes a page of a title, what it shows, and rules for its looks: that of reports, which this package does not import."""


def write_results(results: Results, folder: Path) -> None:
    """Write ``results.json``: what is not a finite number is null."""
    plain = {
        "complete": results.complete,
        "checks": results.checks,
        "experiments": {name: asdict(outcome) for name, outcome in results.outcomes.items()},
        "pairings": {name: asdict(found) for name, found in results.pairings().items()},
        "conclusion": conclusion(results),
    }
    text = json.dumps(_strict(plain), allow_nan=False, indent=1)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")


def write_page(results: Results, report: str, folder: Path, document: Document) -> None:
    """Write ``index.html``, which shows a report (HTML) and the pictures that are there."""
    pictures = [
        f"<img src='{name}' alt='{text}'>"
        for name, text in (("costs.png", "cost of every epoch"), ("divergence.png", "distance from the true gradient"))
        if (folder / name).exists()
    ]
    body = "\n".join(
        [
            "<h1>The article's network, checked</h1>",
            f"<p>{html.escape(conclusion(results))}</p>",
            *pictures,
            "<h2>The right gradient</h2>",
            report,
            "<h2>Every gradient, weight by weight</h2>",
            _divergence_table(results),
            "<h2>Paired experiments</h2>",
            _pairing_table(results),
        ]
    )
    (folder / "index.html").write_text(document("The article's network, checked", body, STYLE), encoding="utf-8")


def write_mutants(rows: list[Row], told: str, folder: Path, document: Document) -> None:
    """Write ``mutants.json`` and ``mutants.html``, which shows the picture where it is there."""
    plain = {"rows": [asdict(row) for row in rows], "conclusion": told}
    text = json.dumps(_strict(plain), allow_nan=False, indent=1)
    (folder / "mutants.json").write_text(text + "\n", encoding="utf-8")
    title = "What accuracy says of wrong gradients, and what a check says"
    picture = "<img src='mutants.png' alt='accuracy against distance from the right gradient'>"
    mistakes = [f"<li><b>{html.escape(row.name)}</b>: {html.escape(row.mistake)}</li>" for row in rows]
    body = [
        f"<h1>{title}</h1>",
        f"<p>{html.escape(told)}</p>",
        *([picture] if (folder / "mutants.png").exists() else []),
        _table("bugs", MUTANT_COLUMNS, map(mutant_cells, rows)),
        f"<ul>{''.join(mistakes)}</ul>",
    ]
    (folder / "mutants.html").write_text(document(title, "\n".join(body), STYLE), encoding="utf-8")


def _divergence_table(results: Results) -> str:
    columns = ("gradient", "weight", "relative error", "cosine", "angle", "same signs", "norm ratio", "verdict")
    rows = []
    for title, found in results.checks.items():
        for weight, entry in found["weights"].items():
            if entry["verdict"] == "right":
                continue
            numbers = ("relative_error", "cosine", "angle", "sign_agreement", "norm_ratio")
            cells = ["true is zero" if entry[name] > 1e300 else f"{entry[name]:.3g}" for name in numbers]
            rows.append([title, weight, *cells, entry["verdict"]])
    return f"{_table('every gradient, weight by weight', columns, rows)}<p>Weights that are right are left out.</p>"


def _pairing_table(results: Results) -> str:
    columns = ("networks", "broken cheaper", "cost ratio", "p", "accuracy, 10 images", "accuracy, all test images")
    rows = []
    for name, found in results.pairings().items():
        cells = [
            name,
            found.seeds,
            found.wins,
            f"{found.cost_ratio:.3g}",
            "-" if found.p_value is None else f"{found.p_value:.2g}",
            " / ".join(f"{share:.3f}" for share in found.accuracy_10),
            " / ".join(f"{share:.3f}" for share in found.accuracy_all),
        ]
        rows.append([str(cell) for cell in cells])
    return f"{_table('paired experiments', ('experiment', *columns), rows)}<p>Baseline / broken.</p>"


def _table(label: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table that scrolls by itself where it is wider than the page, by keyboard too."""
    head = "".join(f"<th scope='col'>{column}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f"<div class='wide' tabindex='0' role='group' aria-label='{label}'>"
        f"<table class='numbers' aria-label='{label}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return _strict(value.tolist())
    if isinstance(value, np.generic):
        return _strict(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value
