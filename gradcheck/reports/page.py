"""Reports as one HTML page: no script, no network, no other file; light and dark, from a phone's width up.

Heat maps are inline SVG. What they show on hover stands in a table beside them too, for keyboards and screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.reports.grids import blocks_of, grid_of
from gradcheck.reports.text import (
    badness,
    cost_line,
    count,
    explained,
    explanation,
    headline,
    measured,
    parameter_line,
    plain_findings,
)
from gradcheck.reports.transforms import transformed

if TYPE_CHECKING:
    from gradcheck.reports.report import ParameterReport, Report

__all__ = ["STYLE", "document", "fragment", "page_of", "section"]

MOST_CELLS = 1024
"""Cells of a heat map, about 170 bytes each; a cell of a larger array stands for a block of elements."""

MOST_MAPS = 3
"""Parameters of a report that are drawn, the worst ones: with four maps each the page stays below 2 MB."""

MOST_MAPS_OF_PAGE = 9
"""Parameters that are drawn on a page of many reports."""

MOST_ROWS = 20
"""Elements in the table of a parameter."""

SHADES = 8
"""Shades of a heat map: more cannot be told apart without a legend for each."""

SIGNED = 3
"""Shades of each sign in a map of a gradient."""

STYLE = """
.gradcheck { --ink: #1d1f23; --paper: #fff; --quiet: #595e66; --line: #d5d8dd; --bad: #b3261e; --good: #1a6b34;
  --open: #8a5300; --h0: #e8edf3; --h1: #c9d9ea; --h2: #9fbfdc; --h3: #f2d06b; --h4: #f0a63c; --h5: #e0752a;
  --h6: #c8401f; --h7: #8f1414; --none: #f6f6f7;
  --d0: #1c4f8f; --d1: #5b8fc7; --d2: #b3cfe9; --d3: #f3f3f0; --d4: #f5cdb0; --d5: #e08a55; --d6: #a03c0c; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
@media (prefers-color-scheme: dark) { .gradcheck { --ink: #e9eaec; --paper: #16181c; --quiet: #a6abb3; --line: #3b4048;
  --bad: #ff8a80; --good: #7bd893; --open: #ffc36b; --h0: #2a323c; --h1: #2f4a66; --h2: #3d6f9e; --h3: #b08d2c;
  --h4: #d08a2b; --h5: #e2742f; --h6: #f2573a; --h7: #ff8f86; --none: #1f2227;
  --d0: #7db4f2; --d1: #447ab5; --d2: #2c4a69; --d3: #23262b; --d4: #5f3d26; --d5: #b06433; --d6: #ff9a5c; } }
.gradcheck h1, .gradcheck h2, .gradcheck h3 { line-height: 1.25; margin: 1.6rem 0 .6rem; font-size: 1.15rem; }
.gradcheck h1 { font-size: 1.5rem; }
.gradcheck .fail { color: var(--bad); } .gradcheck .pass { color: var(--good); } .gradcheck .inconclusive { color: var(--open); }
.gradcheck .quiet { color: var(--quiet); font-size: .9rem; }
.gradcheck .wide { overflow-x: auto; max-width: 100%; }
.gradcheck table { border-collapse: collapse; font-size: .9rem; }
.gradcheck th, .gradcheck td:first-child { white-space: nowrap; }
@media (max-width: 40rem) { .gradcheck td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 6rem; } }
.gradcheck th, .gradcheck td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0;
  border-bottom: 1px solid var(--line); }
.gradcheck td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.gradcheck .maps { display: flex; flex-wrap: wrap; gap: 1rem; }
.gradcheck figure { margin: 0; max-width: 100%; } .gradcheck figcaption { font-size: .85rem; color: var(--quiet); }
.gradcheck svg { display: block; max-width: 100%; height: auto; max-height: 24rem; }
.gradcheck rect { stroke: var(--paper); stroke-width: .06; } .gradcheck rect.w { stroke: var(--ink); stroke-width: .08; }
.gradcheck summary { cursor: pointer; }
""" + "".join(f".gradcheck .h{i} {{ fill: var(--h{i}); background: var(--h{i}); }}\n" for i in range(SHADES))
STYLE += "".join(f".gradcheck .d{i} {{ fill: var(--d{i}); background: var(--d{i}); }}\n" for i in range(2 * SIGNED + 1))
STYLE += ".gradcheck .hn { fill: var(--none); }\n"


def page_of(reports: Mapping[str, Report]) -> str:
    """Return a page of reports, those that do not pass first; the title of a single one may be empty."""
    order = sorted(reports.items(), key=lambda item: ("fail", "inconclusive", "pass").index(item[1].verdict))
    counts = {
        verdict: sum(r.verdict == verdict for r in reports.values()) for verdict in ("fail", "inconclusive", "pass")
    }
    said = ", ".join(f"{number:,} {verdict}" for verdict, number in counts.items() if number) or "nothing was checked"
    parts = [f"<h1>gradcheck: {said}</h1>"]
    if len(order) > 1:
        rows = [
            f"<tr><td><a href='#r{i}'>{_safe(title)}</a></td><td class='{r.verdict}'>{r.verdict}</td>"
            f"<td>{_safe(headline(r).partition(': ')[2])}</td></tr>"
            for i, (title, r) in enumerate(order)
        ]
        parts.append(_table("checks", ("check", "verdict", "found"), rows))
    drawn = 0
    for i, (title, report) in enumerate(order):
        maps = min(MOST_MAPS, MOST_MAPS_OF_PAGE - drawn)
        drawn += min(maps, len(_concerned(report.parameters.values())))
        name = f"<h2 id='r{i}'>{_safe(title)}</h2>" if title or len(order) > 1 else ""
        parts.append(f"<section>{name}{section(report, 3 if name else 2, maps)}</section>")
    return document(f"gradcheck: {said}", "".join(parts))


def document(title: str, content: str, style: str = "") -> str:
    """Return a page of its own: what it shows, and rules besides those of reports."""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_safe(title)}</title><style>{STYLE}{style}"
        "body { margin: 0; } main { max-width: 62rem; margin: 0 auto; padding: 1rem; min-height: 100vh; "
        "box-sizing: border-box; } html { background: #fff; } "
        "@media (prefers-color-scheme: dark) { html { background: #16181c; } a { color: #9cc4ff; } }</style></head>"
        f"<body class='gradcheck'><main>{content}</main></body></html>\n"
    )


def fragment(report: Report) -> str:
    """Return one report for a notebook's cell."""
    return f"<div class='gradcheck'><style>{STYLE}</style>{section(report, 3)}</div>"


def _safe(text: str) -> str:
    """Escape text, its control characters and lone surrogates too."""
    shown = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
    return escape(shown, quote=True)


def _table(label: str, head: Iterable[str], rows: Iterable[str]) -> str:
    """Return a table that scrolls by itself where it is wider than the page, by keyboard too."""
    cells = "".join(f"<th scope='col'>{title}</th>" for title in head)
    return (
        f"<div class='wide' tabindex='0' role='group' aria-label='{label}'>"
        f"<table aria-label='{label}'><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _list(level: int, title: str, entries: Iterable[str]) -> str:
    items = "".join(f"<li>{_safe(entry)}</li>" for entry in entries)
    return f"<h{level}>{title}</h{level}><ul>{items}</ul>" if items else ""


def section(report: Report, level: int, maps: int = MOST_MAPS) -> str:
    """Return what a report says, its headings of one level."""
    verdict, _, rest = headline(report).partition(": ")
    parameters = list(report.parameters.values())
    if not report.ok:
        parameters.sort(key=badness)
    rows = [
        f"<tr><td>{_safe(p.name)}</td><td>{' × '.join(map(str, p.shape)) or 'number'}</td>"
        f"<td>{_safe(parameter_line(p))}</td></tr>"
        for p in parameters
    ]
    drawn = _concerned(parameters)[:maps]
    return "".join(
        [
            f"<p><strong class='{report.verdict}'>{verdict}</strong>: {_safe(rest)}</p>",
            _table("parameters", ("parameter", "shape", "found"), rows) if rows else "",
            _list(
                level,
                "Diagnoses",
                [f"{names}: {explanation(d)}" for names, found in explained(parameters) for d in found],
            ),
            *(_parameter(p, level) for p in drawn),
            _list(
                level,
                "Findings",
                [f"[{f.code}] {f.where + ': ' if f.where else ''}{f.message}" for f in plain_findings(report)],
            ),
            _list(level, "Not seen", report.blind_spots),
            f"<p class='quiet'>{_safe(cost_line(report))}</p>",
        ]
    )


def _concerned(parameters: Iterable[ParameterReport]) -> list[ParameterReport]:
    return [p for p in parameters if (p.wrong | p.undecided).any()]


# ---- the maps of one parameter ------------------------------------------------------------------------------------------


def _parameter(parameter: ParameterReport, level: int) -> str:
    """Return the error, the claim, the true gradient and, where the first diagnosis gives one, what was made of it."""
    name = _safe(parameter.name)
    cells = blocks_of(grid_of(parameter.shape), MOST_CELLS)
    error = parameter.excess().ravel()
    gradients = {"claimed gradient": parameter.claimed, "true gradient": parameter.reference}
    gradients |= dict(filter(None, [transformed(d, parameter.reference) for d in parameter.diagnoses[:1]]))
    largest = max(float(np.max(np.abs(v[np.isfinite(v)]), initial=0.0)) for v in gradients.values())
    pictures = [_map(parameter, cells, _shade_of_error(error), "h", "error in units of its bound")]
    pictures += [
        _map(parameter, cells, _shade_of_value(value.ravel(), largest), "d", what) for what, value in gradients.items()
    ]
    return f"<h{level}>{name}</h{level}>{_legend()}<div class='maps'>{''.join(pictures)}</div>{_worst(parameter)}"


def _shade_of_error(excess: Floats) -> NDArray[np.intp]:
    """Return a shade for each element: the first three within its bound, then by factors of ten; -1 where unknown."""
    with np.errstate(all="ignore"):
        steps = np.floor(np.log10(np.maximum(excess, 1e-300)))
    shade = np.where(excess <= 1, np.clip(2 + steps + (excess == 1) * -1, 0, 2), np.clip(3 + steps, 3, SHADES - 1))
    return np.where(np.isnan(excess), -1, np.nan_to_num(shade, nan=-1, posinf=SHADES - 1)).astype(np.intp)


def _shade_of_value(values: Floats, largest: float) -> NDArray[np.intp]:
    """Return a shade for each element: in the middle zero, above and below it by the share of the largest."""
    with np.errstate(all="ignore"):
        share = np.clip(values / largest, -1, 1) if largest else np.zeros_like(values)
        shade = SIGNED + np.sign(share) * np.ceil(np.abs(share) * SIGNED)
    return np.where(np.isnan(values), -1, np.nan_to_num(shade, nan=-1)).astype(np.intp)


def _map(
    parameter: ParameterReport, cells: list[list[NDArray[np.intp]]], shade: NDArray[np.intp], colours: str, title: str
) -> str:
    """Return one heat map. A block is shown by its element furthest outside its bound, framed where one is wrong."""
    wrong, rank = parameter.wrong.ravel(), np.nan_to_num(parameter.excess().ravel(), nan=-1.0, posinf=np.inf)
    rects = []
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            if not cell.size:
                continue
            shown = int(cell[np.argmax(rank[cell])])
            level = f"{colours}{shade[shown]}" if shade[shown] >= 0 else "hn"
            more = f" and {cell.size - 1:,} more" if cell.size > 1 else ""
            frame = " w" if wrong[cell].any() else ""
            rects.append(
                f"<rect x='{x}' y='{y}' width='1' height='1' class='{level}{frame}'>"
                f"<title>{_element(parameter, shown)}{more}</title></rect>"
            )
    width, height = max((len(row) for row in cells), default=1), max(len(cells), 1)
    told = f"{_safe(f'{parameter.name}: {title}')}; {int(wrong.sum()):,} of {count(wrong.size, 'element')} wrong"
    title = _safe(title)
    return (
        f"<figure><svg viewBox='-.05 -.05 {width + 0.1:.1f} {height + 0.1:.1f}' width='{min(18 * 16, 40 * width)}' role='img' "
        f"aria-label='{told}'>{''.join(rects)}</svg><figcaption>{title}</figcaption></figure>"
    )


def _element(parameter: ParameterReport, flat: int) -> str:
    place = [int(i) for i in np.unravel_index(flat, parameter.shape)] if parameter.shape else []
    if math.isnan(float(parameter.reference[tuple(place)])):
        return f"{place}: not measured"
    claimed, true = measured(parameter, tuple(place))
    return f"{place}: claimed {claimed}, true {true}"


def _legend() -> str:
    return (
        "<p class='quiet'>Error: <span class='h0'>&nbsp;&nbsp;</span> <span class='h1'>&nbsp;&nbsp;</span> "
        "<span class='h2'>&nbsp;&nbsp;</span> within its bound, <span class='h3'>&nbsp;&nbsp;</span> up to ten bounds, "
        "<span class='h5'>&nbsp;&nbsp;</span> hundreds, <span class='h7'>&nbsp;&nbsp;</span> ten thousand and more; "
        "wrong elements are framed. Gradients: <span class='d0'>&nbsp;&nbsp;</span> <span class='d1'>&nbsp;&nbsp;</span> "
        "<span class='d2'>&nbsp;&nbsp;</span> negative, <span class='d4'>&nbsp;&nbsp;</span> <span class='d5'>&nbsp;&nbsp;</span> "
        "<span class='d6'>&nbsp;&nbsp;</span> positive, on one scale.</p>"
    )


def _worst(parameter: ParameterReport) -> str:
    """Return the table of the elements furthest outside their bounds."""
    chosen = np.flatnonzero(parameter.wrong | parameter.undecided)
    order = np.argsort(-parameter.excess().ravel()[chosen], kind="stable")[:MOST_ROWS]
    rows = []
    for flat in chosen[order]:
        place = [int(i) for i in np.unravel_index(flat, parameter.shape)] if parameter.shape else []
        claimed, true = measured(parameter, tuple(place))
        state = "wrong" if parameter.wrong.ravel()[flat] else "undecided"
        rows.append(f"<tr><td>{place}</td><td>{state}</td><td class='n'>{claimed}</td><td class='n'>{true}</td></tr>")
    title = (
        f"The {len(rows)} elements furthest outside their bounds"
        if len(rows) < len(chosen)
        else "Wrong and undecided elements"
    )
    table = _table(f"{title} of {_safe(parameter.name)}", ("index", "state", "claimed", "true"), rows)
    return f"<details><summary>{title}</summary>{table}</details>"
