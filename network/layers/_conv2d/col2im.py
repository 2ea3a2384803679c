"""The gradient of the images: kernels and dy make the columns of dx, and these are added where their pixels are.

One product computes for each cell of the kernels an image of what it sends back. These images are shifted and added,
first along H, then along W. All images of a cell are one run in memory, with rows of zeros between them for what is
shifted out, so that a sum is one call on two runs: NumPy takes several times as long for views of rows.

With a stride, pixels at that distance are a convolution of their own, with some of the cells (a phase).

Shapes are those of `network.layers._conv2d.dispatch`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from network.layers._arguments import Array, Shape
from network.layers._conv2d.blocks import Block, blocks, rows_of
from network.layers._conv2d.windows import Windows

__all__ = ["input_gradient"]

Step = tuple[Array, Array | None]
"""A run to which another is added, or a view that becomes zero."""


class Phase(NamedTuple):
    """Pixels along one axis at the distance of the stride, and the cells of a kernel that see them.

    Attributes
    ----------
    first, pixels : int
        The first of these pixels, and their number.
    cells, shifts : tuple of int
        A cell sees from window i the pixel i + shift of the phase; shifts increase.
    """

    first: int
    pixels: int
    cells: tuple[int, ...]
    shifts: tuple[int, ...]


class Sums(NamedTuple):
    """The memory of a block, and what is done in it.

    Attributes
    ----------
    terms : Array
        What the cells of the kernels send back, (B, N, G, KH * KW * C, rows * length).
    steps : list of Step
        The additions, in order.
    pixels : list
        Phases along H and W, and afterwards the gradient of their pixels, (B, N, G, C, rows, columns).
    """

    terms: Array
    steps: list[Step]
    pixels: list[tuple[Phase, Phase, Array]]


def input_gradient(windows: Windows, dy: Array, w: Array, out: Array) -> None:
    """Write the gradient of the images."""
    batches, groups, outputs, channels, height, width = w.shape
    cells = height * width * channels
    kernels = w.transpose(0, 1, 4, 5, 3, 2).reshape(batches, 1, groups, cells, outputs)
    down, across = _phases(windows, 0), _phases(windows, 1)
    length = max(windows.output[1], *(phase.pixels for phase in across))
    of_block: dict[Shape, Sums] = {}
    out[...] = 0
    for block in blocks(windows, out.shape[:2], groups * (cells + outputs) * w.itemsize):
        upstream = rows_of(dy, block, length)
        if (sums := of_block.get(upstream.shape)) is None:
            b, n, g, _, size = upstream.shape
            memory = np.zeros((height, width, channels, b, g, n, size // length + _most(down), length), w.dtype)
            sums = of_block[upstream.shape] = _sums(memory, down, across, windows.output[1])
        np.matmul(kernels[block.batch], upstream, out=sums.terms)
        for target, source in sums.steps:
            if source is None:
                target[...] = 0
            else:
                np.add(target, source, out=target)
        for phases in sums.pixels:
            _write(*phases, block, windows, out)


def _sums(memory: Array, down: tuple[Phase, ...], across: tuple[Phase, ...], output: int) -> Sums:
    """Return what is done in memory (KH, KW, C, B, G, N, rows and those for what is shifted out, length)."""
    rows = memory.shape[-2] - _most(down)
    steps: list[Step] = []
    pixels = []
    for phase in down:
        total = memory[phase.cells[0]]
        steps.append((total[..., rows:, :], None))
        for cell, shift in zip(phase.cells[1:], phase.shifts[1:], strict=True):
            steps.append(_shifted(total, memory[cell], (shift - phase.shifts[0]) * memory.shape[-1]))
        for columns in across:
            steps_across, pixel = _sums_across(total, columns, output)
            steps += steps_across
            pixels.append((phase, columns, pixel[..., : columns.pixels].transpose(1, 3, 2, 0, 4, 5)))
    terms = memory.reshape(-1, *memory.shape[3:6], memory.shape[6] * memory.shape[7])
    return Sums(terms[..., : rows * memory.shape[7]].transpose(1, 3, 2, 0, 4), steps, pixels)


def _sums_across(terms: Array, phase: Phase, output: int) -> tuple[list[Step], Array]:
    """Return how terms (KW, ..., length) are added along W, and where."""
    steps: list[Step] = []
    for cell, shift in zip(phase.cells, phase.shifts, strict=True):
        last = max(0, min(output, phase.pixels - shift))
        # What belongs to no pixel would be added to another row.
        edges = terms[cell, ..., : max(0, -shift)], terms[cell, ..., last:]
        steps += [(edge, None) for edge in edges if edge.size]
    start = phase.shifts.index(0) if 0 in phase.shifts else None
    total = np.zeros(terms.shape[1:], terms.dtype) if start is None else terms[phase.cells[start]]
    if start is None:
        steps.append((total, None))
    for index, (cell, shift) in enumerate(zip(phase.cells, phase.shifts, strict=True)):
        if index != start:
            steps.append(_shifted(total, terms[cell], shift))
    return steps, total


def _shifted(target: Array, source: Array, distance: int) -> Step:
    """Return the step that adds each number of source as many places further on in target; both are one run."""
    target, source = target.reshape(-1)[max(0, distance) :], source.reshape(-1)[max(0, -distance) :]
    size = min(target.size, source.size)
    return target[:size], source[:size]


def _write(down: Phase, across: Phase, pixels: Array, block: Block, windows: Windows, out: Array) -> None:
    """Write the pixels of two phases: as they are if the block has all rows, else added to those of other blocks."""
    start = block.rows.start + down.shifts[0]
    first, last = max(0, start), min(down.pixels, start + pixels.shape[-2])
    if first >= last:
        return
    (to_row, to_column), every = windows.stride, slice(None)
    rows = slice(down.first + to_row * first, down.first + to_row * (last - 1) + 1, to_row)
    target = out[block.batch, block.samples, every, every, rows, across.first :: to_column]
    pixels = pixels[..., first - start : last - start, :]
    if block.rows.stop - block.rows.start == windows.output[0]:
        target[...] = pixels
    else:
        np.add(target, pixels, out=target)


@lru_cache(maxsize=1024)
def _phases(windows: Windows, axis: int) -> tuple[Phase, ...]:
    """Return the phases along an axis that any cell sees."""
    length, kernel, stride, dilation, padding = (
        pair[axis] for pair in (windows.image, windows.kernel, windows.stride, windows.dilation, windows.padding)
    )
    seen: dict[int, list[tuple[int, int]]] = {}
    for cell in range(kernel):
        shift, first = divmod(cell * dilation - padding, stride)
        seen.setdefault(first, []).append((cell, shift))
    return tuple(
        Phase(first, len(range(first, length, stride)), *zip(*cells, strict=True)) for first, cells in seen.items()
    )


def _most(phases: tuple[Phase, ...]) -> int:
    """Return by how many pixels the cells of a phase lie apart at most."""
    return max(phase.shifts[-1] - phase.shifts[0] for phase in phases)
