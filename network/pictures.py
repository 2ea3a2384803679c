"""The two pictures of the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from network.experiments import Outcome

__all__ = ["draw_costs", "draw_divergence"]

COLOURS = {"right": "#1b6ca8", "author-original": "#5b7553", "author-broken": "#c8553d"}
RIGHT = "#f2f2f2"


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
        return "true is 0", "white"
    return f"{value:.2g}", "white" if value > 1.2 else "black"
