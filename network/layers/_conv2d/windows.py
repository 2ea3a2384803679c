"""How the windows of a convolution lie in its images."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from network.layers._arguments import Array

__all__ = ["Pair", "Windows", "flip"]

Pair = tuple[int, int]


class Windows(NamedTuple):
    """Windows in images (..., H, W) that have zeros around them; each entry along H and W.

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

    def view(self, placed: Array) -> Array:
        """View every window in images with zeros around them, or in rows of these, (..., KH, KW, rows, OW).

        Made by hand, since `sliding_window_view` takes longer than the whole convolution of an 8x8 image.
        """
        rows = (placed.shape[-2] - (self.kernel[0] - 1) * self.dilation[0] - 1) // self.stride[0] + 1
        to_row, to_column = placed.strides[-2:]
        strides = (
            to_row * self.dilation[0],
            to_column * self.dilation[1],
            to_row * self.stride[0],
            to_column * self.stride[1],
        )
        shape = (*placed.shape[:-2], *self.kernel, rows, self.output[1])
        return np.ndarray(shape, placed.dtype, placed, 0, placed.strides[:-2] + strides)

    def flipped(self) -> Windows | None:
        """Return the windows over dy from which flipped kernels compute dx; None where no convolution does that."""
        around = tuple(d * (k - 1) - p for k, p, d in zip(self.kernel, self.padding, self.dilation, strict=True))
        if self.stride != (1, 1) or min(around) < 0:
            return None
        placed = tuple(length + 2 * zeros for length, zeros in zip(self.output, around, strict=True))
        return Windows(self.output, around, placed, self.kernel, (1, 1), self.dilation, self.image)  # type: ignore[arg-type]


def flip(w: Array) -> Array:
    """Return the kernels (B, G, C, O, KH, KW) that compute dx from dy."""
    return np.ascontiguousarray(w.swapaxes(2, 3)[..., ::-1, ::-1])
