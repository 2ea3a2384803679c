"""Leading axes of images and kernels: those of both are batches of products, the others are folded into one product."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from network.layers._arguments import Array, Shape

__all__ = ["LeadingAxes", "match_leading"]


class LeadingAxes(NamedTuple):
    """The leading axes of images and kernels, sorted into those of both, of kernels alone, of images alone.

    Attributes
    ----------
    sizes : tuple of int
        What they broadcast to.
    order : tuple of int or None
        ``sizes`` in the order both, kernels, images; None where they are in this order already.
    both, kernels, images : int
        How many elements the axes of each sort have together.
    """

    sizes: Shape
    order: Shape | None
    both: int
    kernels: int
    images: int

    def sort(self, array: Array, core: int) -> Array:
        """Transpose the leading axes of ``array`` (all but the last ``core``) into the order of the sorts."""
        if self.order is None:
            return array
        leading = len(self.sizes)
        array = array.reshape((1,) * (leading + core - array.ndim) + array.shape)
        return array.transpose(*self.order, *range(leading, leading + core))

    def unsort(self, array: Array, shape: Shape, core: int) -> Array:
        """Give ``array``, whose leading axes are sorted and flat, the shape it has outside."""
        if self.order is not None:
            leading = len(self.sizes)
            padded = (1,) * (leading + core - len(shape)) + shape
            array = array.reshape(tuple(padded[axis] for axis in self.order) + padded[leading:])
            array = array.transpose(*np.argsort(self.order).tolist(), *range(leading, leading + core))
        array = array.reshape(shape)
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def match_leading(images: Shape, kernels: Shape) -> LeadingAxes:
    """Sort leading axes that are known to broadcast."""
    sizes = np.broadcast_shapes(images, kernels)
    images = (1,) * (len(sizes) - len(images)) + images
    kernels = (1,) * (len(sizes) - len(kernels)) + kernels
    sorts: tuple[list[int], list[int], list[int]] = [], [], []
    for axis, (of_images, of_kernels) in enumerate(zip(images, kernels, strict=True)):
        sorts[0 if of_images == of_kernels else 1 if of_images == 1 else 2].append(axis)
    order = (*sorts[0], *sorts[1], *sorts[2])
    moved = [axis for axis in order if sizes[axis] != 1]
    counts = (math.prod(sizes[axis] for axis in sort) for sort in sorts)
    return LeadingAxes(sizes, None if moved == sorted(moved) else order, *counts)
