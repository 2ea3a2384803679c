"""The results as files: strict JSON, and a page that shows everything together."""

from __future__ import annotations

import html
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from network.job import Results, conclusion
from network.mutants import Row
from network.tables import MUTANT_COLUMNS, mutant_cells

__all__ = ["write_mutants", "write_page", "write_results"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
.wrong { color: #b3261e; font-weight: 600; }
img { max-width: 100%; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: 13px; }
"""


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


def write_page(results: Results, report: str, folder: Path) -> None:
    """Write ``index.html`` beside the pictures that are there."""
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
            f"<pre>{html.escape(report)}</pre>",
            "<h2>Every gradient, weight by weight</h2>",
            _divergence_table(results),
            "<h2>Paired experiments</h2>",
            _pairing_table(results),
        ]
    )
    (folder / "index.html").write_text(_html("The article's network, checked", body), encoding="utf-8")


def write_mutants(rows: list[Row], told: str, folder: Path) -> None:
    """Write ``mutants.json`` and ``mutants.html``, which shows the picture where it is there."""
    plain = {"rows": [asdict(row) for row in rows], "conclusion": told}
    text = json.dumps(_strict(plain), allow_nan=False, indent=1)
    (folder / "mutants.json").write_text(text + "\n", encoding="utf-8")
    title = "What accuracy says of wrong gradients, and what a check says"
    picture = "<img src='mutants.png' alt='accuracy against distance from the right gradient'>"
    cells = [[html.escape(cell) for cell in mutant_cells(row)] for row in rows]
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in cells]
    mistakes = [f"<li><b>{html.escape(row.name)}</b>: {html.escape(row.mistake)}</li>" for row in rows]
    body = [
        f"<h1>{title}</h1>",
        f"<p>{html.escape(told)}</p>",
        *([picture] if (folder / "mutants.png").exists() else []),
        f"<table>{_heading(*MUTANT_COLUMNS)}{''.join(lines)}</table>",
        f"<ul>{''.join(mistakes)}</ul>",
    ]
    (folder / "mutants.html").write_text(_html(title, "\n".join(body)), encoding="utf-8")


def _html(title: str, body: str) -> str:
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _divergence_table(results: Results) -> str:
    rows = [_heading("gradient", "weight", "relative error", "cosine", "angle", "same signs", "norm ratio", "verdict")]
    for title, found in results.checks.items():
        for weight, entry in found["weights"].items():
            if entry["verdict"] == "right":
                continue
            numbers = ("relative_error", "cosine", "angle", "sign_agreement", "norm_ratio")
            cells = ["true is zero" if entry[name] > 1e300 else f"{entry[name]:.3g}" for name in numbers]
            cells = [html.escape(title), weight, *cells]
            verdict = f"<td class='wrong'>{entry['verdict']}</td>"
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + verdict + "</tr>")
    return f"<table>{''.join(rows)}</table><p>Weights that are right are left out.</p>"


def _pairing_table(results: Results) -> str:
    columns = ("networks", "broken cheaper", "cost ratio", "p", "accuracy, 10 images", "accuracy, all test images")
    rows = [_heading("experiment", *columns)]
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
        rows.append("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>")
    return f"<table>{''.join(rows)}</table><p>Baseline / broken.</p>"


def _heading(*columns: str) -> str:
    return "<tr>" + "".join(f"<th>{column}</th>" for column in columns) + "</tr>"


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
