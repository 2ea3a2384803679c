"""How the windows of a pooling lie along the axes of its images: checked once, looked up afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import EllipsisType
from typing import NamedTuple

from network.layers._arguments import Shape

__all__ = ["Axis", "Cell", "Pair", "Plan", "plan_max_pool2d"]

Pair = tuple[int, int]

Cell = tuple[tuple[EllipsisType | slice, ...], tuple[EllipsisType | slice, ...]]
"""A cell of a window: for which windows it lies inside the image (index into y), and where it is for these (into x)."""


class Axis(NamedTuple):
    """How windows lie along one axis.

    Attributes
    ----------
    axis, output : int
        Which axis, and how many windows there are.
    cells : tuple of Cell
    is_whole : bool
        Every cell lies inside the image for all windows.
    is_apart : bool
        They are whole, and no pixel is in two of them.
    """

    axis: int
    output: int
    cells: tuple[Cell, ...]
    is_whole: bool
    is_apart: bool


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """A pooling of images of one shape; compared by identity, so that it is a quick key."""

    x_shape: Shape
    y_shape: Shape
    rows: Axis
    columns: Axis

    @property
    def are_apart(self) -> bool:
        """Whether windows lie inside the image, and no pixel is in two of them."""
        return self.rows.is_apart and self.columns.is_apart

    @property
    def has_winners(self) -> bool:
        """Whether each window has a winner of its own, of several, and a byte holds its number."""
        return self.are_apart and 1 < len(self.rows.cells) * len(self.columns.cells) <= 256


@lru_cache(maxsize=1024)
def plan_max_pool2d(x: Shape, kernel_size: Pair, stride: Pair, padding: Pair) -> Plan:
    """Check shape and geometry, raise ValueError where they do not fit, and work out what follows from them."""
    if len(x) < 2:
        raise ValueError(f"x has shape {x}, but max_pool2d takes images (..., H, W); add the axes that are missing.")
    if 2 * padding[0] > kernel_size[0] or 2 * padding[1] > kernel_size[1]:
        raise ValueError(
            f"padding={padding} is more than half of kernel_size={kernel_size}, so that a window could lie in the "
            f"padding alone; pass at most half."
        )
    rows = _axis(-2, x[-2], kernel_size[0], stride[0], padding[0])
    columns = _axis(-1, x[-1], kernel_size[1], stride[1], padding[1])
    return Plan(x, (*x[:-2], rows.output, columns.output), rows, columns)


def _axis(axis: int, length: int, kernel: int, stride: int, padding: int) -> Axis:
    name = "HW"[axis]
    padded = length + 2 * padding
    if kernel > padded or length == 0:
        raise ValueError(
            f"kernel_size has {kernel} along {name}, but x has {padded} pixels there ({name}={length}, "
            f"padding={padding}); pass larger images, more padding or a smaller kernel."
        )
    output = (padded - kernel) // stride + 1
    after = (slice(None),) * (-1 - axis)
    cells: list[Cell] = []
    for cell in range(-padding, kernel - padding):
        first = max(0, -(cell // stride))
        last = min(output - 1, (length - 1 - cell) // stride)
        if first <= last:
            inside = slice(first * stride + cell, last * stride + cell + 1, stride)
            cells.append(((..., slice(first, last + 1), *after), (..., inside, *after)))
    is_whole = len(cells) == kernel and all(outputs[1] == slice(0, output) for outputs, _ in cells)
    return Axis(axis, output, tuple(cells), is_whole, is_whole and stride >= kernel)
