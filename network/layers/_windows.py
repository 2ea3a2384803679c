"""Windows of images as columns of a matrix, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from network.layers._arguments import Array

__all__ = ["Windows"]

Pair = tuple[int, int]


class Windows(NamedTuple):
    """How windows lie in images (B, N, G, C, H, W) that have zeros around them; each entry along H and W.

    Attributes
    ----------
    image, padding : tuple of int
        Pixels of an image, and zeros on either side.
    placed : tuple of int
        Pixels of an image with its zeros.
    kernel, stride, dilation, output : tuple of int
        Cells of a window, pixels from window to window and from cell to cell, windows.
    """

    image: Pair
    padding: Pair
    placed: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    output: Pair

    def place(self, images: Array, dtype: np.dtype[Any]) -> Array:
        """Return images with their zeros around them, contiguous."""
        if self.image == self.placed:
            return np.ascontiguousarray(images, dtype)
        placed = np.zeros(images.shape[:-2] + self.placed, dtype)
        self.inside(placed)[...] = images
        return placed

    def inside(self, placed: Array) -> Array:
        """View images without their zeros."""
        (height, width), (above, left) = self.image, self.padding
        return placed[..., above : above + height, left : left + width]

    def columns(self, placed: Array, rows: slice) -> Array:
        """Copy every window of these rows into a column, (B, G, C * KH * KW, N * rows * OW)."""
        view = self._view(placed, rows.start, rows.stop - rows.start, 0)
        batches, groups, channels, kh, kw, samples, count, width = view.shape
        return view.reshape(batches, groups, channels * kh * kw, samples * count * width)

    def add_columns(self, columns: Array, rows: slice, placed: Array) -> None:
        """Add every column to the window that it belongs to: the transpose of `columns`.

        Windows overlap, so each cell of the kernel is written into images of its own, and these are summed. Adding
        cell by cell takes as many calls as there are cells, which costs most where images are small.
        """
        count = rows.stop - rows.start
        height = (count - 1) * self.stride[0] + (self.kernel[0] - 1) * self.dilation[0] + 1
        shape = (self.kernel[0] * self.kernel[1], *placed.shape[:4], height, self.placed[1])
        of_cells = np.zeros(shape, columns.dtype)
        view = self._view(of_cells, 0, count, of_cells.strides[0])
        view[...] = columns.reshape(view.shape)
        start = rows.start * self.stride[0]
        target = placed[..., start : start + height, :]
        np.add(target, np.add.reduce(of_cells, axis=0), out=target)

    def _view(self, images: Array, start: int, count: int, to_cell: int) -> Array:
        """View the windows of ``count`` rows of windows, (B, G, C, KH, KW, N, count, OW).

        ``images`` is contiguous; each cell of the kernel looks ``to_cell`` bytes further. Made by hand, since
        `sliding_window_view` takes longer than the whole convolution of an 8x8 image.
        """
        batches, samples, groups, channels, height, width = images.shape[-6:]
        (kh, kw), (down, along), (apart, beside) = self.kernel, self.stride, self.dilation
        to_column = images.itemsize
        to_row = to_column * width
        to_channel = to_row * height
        to_group = to_channel * channels
        to_sample = to_group * groups
        strides = (
            to_sample * samples,
            to_group,
            to_channel,
            to_cell * kw + to_row * apart,
            to_cell + to_column * beside,
            to_sample,
            to_row * down,
            to_column * along,
        )
        shape = (batches, groups, channels, kh, kw, samples, count, self.output[1])
        return np.ndarray(shape, images.dtype, images, to_row * down * start, strides)
