"""The two pictures of the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from network.experiments import Outcome
from network.mutants import NEARLY_ALL, Row

__all__ = ["draw_costs", "draw_divergence", "draw_mutants"]

COLOURS = {"right": "#1b6ca8", "author-original": "#5b7553", "author-broken": "#c8553d"}
RIGHT = "#f2f2f2"
FEWEST_MISSES = 1e-3
"""Share of wrong answers at the upper end of an axis of accuracies."""


def draw_costs(experiments: list[tuple[str, Outcome, Outcome]], path: Path) -> None:
    """Draw the cost of every epoch: the median over seeds as a line, all seeds as a band.

    Parameters
    ----------
    experiments : list of (name, baseline, broken)
    path : Path
        Of the PNG file.
    """
    columns = min(2, max(1, len(experiments)))
    rows = -(-max(1, len(experiments)) // columns)
    figure = Figure(figsize=(6.2 * columns, 3.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (name, *outcomes) in enumerate(experiments, start=1):
        axes = figure.add_subplot(rows, columns, place)
        for outcome in outcomes:
            epochs = np.arange(1, len(outcome.costs) + 1)
            colour = COLOURS[outcome.backward]
            axes.plot(epochs, np.median(outcome.costs, axis=1), color=colour, label=outcome.backward)
            if len(outcome.seeds) > 1:
                low, high = outcome.costs.min(axis=1), outcome.costs.max(axis=1)
                axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
        count = len(outcomes[0].seeds)
        axes.set_title(f"{name}, {count} network{'s' if count > 1 else ''}")
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel("cost of the epoch")
        axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
        axes.legend(loc="upper right", framealpha=0.85, edgecolor="none", title="gradient: median, range")
    figure.savefig(path, dpi=130)


def draw_divergence(errors: dict[str, dict[str, float]], path: Path) -> None:
    """Draw a heat map of relative errors, weights by gradients.

    Parameters
    ----------
    errors : dict
        Title of a gradient -> weight -> relative error; 0 where the gradient is right.
    path : Path
        Of the PNG file.
    """
    titles, weights = list(errors), list(next(iter(errors.values())))
    table = np.array([[errors[title][weight] for weight in weights] for title in titles])
    shown = np.clip(np.log10(np.where(table > 0, table, np.nan)), -3, 1)
    figure = Figure(figsize=(9.4, 0.46 * len(titles) + 1.7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor(RIGHT)
    image = axes.imshow(shown, cmap="YlOrRd", vmin=-3, vmax=1, aspect="auto")
    axes.set_xticks(range(len(weights)), weights)
    axes.set_yticks(range(len(titles)), titles)
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(table):
        text, colour = _cell(value)
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    bar: Any = figure.colorbar(image, ax=axes, ticks=[-3, -2, -1, 0, 1], pad=0.01)
    bar.ax.set_yticklabels(["0.001", "0.01", "0.1", "1", "10 or more"])
    bar.set_label("relative error")
    axes.set_title("Distance from the true gradient (grey: right)")
    figure.savefig(path, dpi=130)


def _cell(value: float) -> tuple[str, str]:
    if value == 0:
        return "right", "#999999"
    if value > 1e6:
        return "true is zero", "white"
    return f"{value:.2g}", "white" if value > 1.2 else "black"


def draw_mutants(rows: list[Row], path: Path) -> None:
    """Draw mean accuracy against the distance from the right gradient, one numbered dot for each bug.

    Parameters
    ----------
    rows : list of Row
        The right gradient first.
    path : Path
        Of the PNG file.
    """
    right, wrong = rows[0], rows[1:]
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes, names = figure.subplots(1, 2, width_ratios=[3, 1.05])
    axes.axhspan(1 - NEARLY_ALL, FEWEST_MISSES / 2, color="#dcebdc", zorder=0)
    axes.text(
        0.012, 0.985, f"{NEARLY_ALL:.0%} and more: \u201cit works\u201d", transform=axes.transAxes, va="top", fontsize=9
    )
    axes.axhline(_misses(right), color="#1e7d32", linewidth=1, zorder=1)
    axes.text(
        0.988,
        _misses(right),
        "right gradient",
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="bottom",
        fontsize=9,
    )
    errors = [max(row.relative_error, 1e-3) for row in wrong]
    misses = [_misses(row) for row in wrong]
    colours = [_dot_colour(row) for row in wrong]
    axes.scatter(errors, misses, s=190, c=colours, edgecolors="white", linewidths=0.8, zorder=3)
    for number, place in enumerate(zip(errors, misses, strict=True), 1):
        axes.annotate(str(number), place, ha="center", va="center", fontsize=7.5, color="white", zorder=4)
    axes.set(xscale="log", yscale="log", ylim=(1.1, FEWEST_MISSES / 2))
    ticks = (0.5, 0.9, 0.95, 0.99, 0.999)
    axes.set_yticks([1 - tick for tick in ticks], [f"{100 * tick:g} %" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_xlabel("distance from the right gradient (relative error)")
    axes.set_ylabel(f"mean test accuracy of {right.seeds} networks")
    kept, passed = sum(row.accuracy >= NEARLY_ALL for row in wrong), sum(row.verdict == "pass" for row in wrong)
    axes.set_title(f"Of {len(wrong)} wrong gradients accuracy lets {kept} pass, gradcheck {passed or 'none'}")
    names.axis("off")
    for number, (row, colour) in enumerate(zip(wrong, colours, strict=True), 1):
        names.text(0, 1 - number / (len(wrong) + 1), f"{number:2d}  {row.name}", fontsize=9, color=colour, va="center")
    names.text(
        0,
        -0.03,
        "violet: ends with a lower cost than\nthe right gradient in nearly every network",
        fontsize=8,
        va="top",
    )
    figure.savefig(path, dpi=110)


def _misses(row: Row) -> float:
    """Return the mean share of wrong answers, as far down as the axis goes."""
    return max(1 - row.accuracy, FEWEST_MISSES)


def _dot_colour(row: Row) -> str:
    """Return the colour of a bug: one that training rewards, one that it does not show, one that it shows."""
    if row.is_rewarded:
        return "#8e44ad"
    return "#1b6ca8" if row.accuracy >= NEARLY_ALL else "#c8553d"
