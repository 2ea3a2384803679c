"""In which blocks of batches, samples and rows of windows the columns of a convolution are made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from network.layers._arguments import Array, Shape
from network.layers._conv2d.windows import Windows

__all__ = ["Block", "blocks", "rows_of"]

BLOCK_BYTES = 1_200_000
"""Columns and products of one block: what is computed from them finds them in the cache."""

MIN_COLUMNS = 64
"""Least columns of a block, however large: narrower products waste the processor."""


class Block(NamedTuple):
    """Which batches, samples and rows of windows are worked on at a time."""

    batch: slice
    samples: slice
    rows: slice

    @property
    def of_y(self) -> tuple[slice, ...]:
        """Index into results and their gradients (B, N, G, P, O, OH, OW)."""
        every = slice(None)
        return self.batch, self.samples, every, every, every, self.rows

    def of_flat(self, windows: Windows) -> tuple[slice, ...]:
        """Index into results (B, N, G, P * O, OH * OW)."""
        every, width = slice(None), windows.output[1]
        return self.batch, self.samples, every, every, slice(self.rows.start * width, self.rows.stop * width)


def blocks(windows: Windows, counts: Shape, nbytes: int) -> Iterator[Block]:
    """Yield blocks of so many batches and samples, ``nbytes`` for the columns and products of one window."""
    batches, samples = counts
    height, width = windows.output[0], max(1, windows.output[1])
    of_sample = max(1, height * width)
    columns = max(MIN_COLUMNS, BLOCK_BYTES // max(1, nbytes))
    for batch in _slices(batches, max(1, columns // (of_sample * max(1, samples)))):
        for sample in _slices(samples, max(1, columns // of_sample)):
            for rows in _slices(height, max(1, columns // width)):
                yield Block(batch, sample, rows)


def rows_of(dy: Array, block: Block, width: int) -> Array:
    """Return a block of dy, (B, N, G, P, O, OH, OW), as matrices (B, N, G, P * O, rows * width), zero beyond OW."""
    part = dy[block.of_y]
    if width != part.shape[-1]:
        part = np.zeros((*part.shape[:-1], width), dy.dtype)
        part[..., : dy.shape[-1]] = dy[block.of_y]
    batches, samples, groups, kernels, outputs, rows, _ = part.shape
    return part.reshape(batches, samples, groups, kernels * outputs, rows * width)


def _slices(length: int, each: int) -> list[slice]:
    return [slice(start, min(start + each, length)) for start in range(0, length, each)]
