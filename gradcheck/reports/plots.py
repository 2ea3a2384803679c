"""The report as a picture, with matplotlib where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck.errors import InvalidArgument, MissingDependency
from gradcheck.reports.grids import grid_of
from gradcheck.reports.text import badness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gradcheck.reports.report import Report

__all__ = ["heat_map"]


def heat_map(report: Report, name: str | None, ax: Axes | None) -> Axes:
    """Draw the error of one parameter in units of its bound; see `Report.plot`."""
    if not report.parameters:
        raise InvalidArgument("the report has no parameter to draw: nothing was checked.")
    if name is None:
        name = min(report.parameters.values(), key=badness).name
    if name not in report.parameters:
        raise InvalidArgument(f"parameter={name!r}; the report has {', '.join(map(repr, report.parameters))}.")
    try:
        from matplotlib import pyplot as plt  # noqa: PLC0415 - an optional dependency
        from matplotlib.colors import LogNorm  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependency(
            "Report.plot needs matplotlib: python -m pip install matplotlib (the extra 'plot')"
        ) from error
    parameter = report.parameters[name]
    grid = grid_of(parameter.shape)
    known = np.clip(parameter.excess().ravel(), 1e-3, 1e6)
    picture = np.where(grid >= 0, known[np.maximum(grid, 0)] if known.size else np.nan, np.nan)
    axes: Axes = plt.figure().add_subplot() if ax is None else ax
    image = axes.imshow(picture, norm=LogNorm(vmin=1e-3, vmax=1e6), cmap="viridis", interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, label="error / bound")
    axes.set_title(f"{name}: {report.verdict}", parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes
