"""Leading axes: which operand has them, and the sum over those along which an operand was repeated."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from network.layers._arguments import Array

__all__ = ["LeadingAxes", "broadcast_leading", "match_leading", "sum_to_shape"]


@lru_cache(maxsize=1024)
def broadcast_leading(layer: str, **leading: tuple[int, ...]) -> tuple[int, ...]:
    """Return what the leading axes of the named operands broadcast to, as `numpy.matmul` does it."""
    try:
        return np.broadcast_shapes(*leading.values())
    except ValueError:
        given = ", ".join(f"{name} has leading axes {axes}" for name, axes in leading.items())
        raise ValueError(
            f"{given}, which do not broadcast in {layer}; make each axis equal in all of them, 1, or absent."
        ) from None


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

    sizes: tuple[int, ...]
    order: tuple[int, ...] | None
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

    def unsort(self, array: Array, shape: tuple[int, ...], core: int) -> Array:
        """Give ``array``, whose leading axes are sorted and flat, the shape it has outside."""
        if self.order is not None:
            leading = len(self.sizes)
            padded = (1,) * (leading + core - len(shape)) + shape
            array = array.reshape(tuple(padded[axis] for axis in self.order) + padded[leading:])
            array = array.transpose(*np.argsort(self.order).tolist(), *range(leading, leading + core))
        return np.ascontiguousarray(array.reshape(shape))


def match_leading(images: tuple[int, ...], kernels: tuple[int, ...]) -> LeadingAxes:
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


def sum_to_shape(array: Array, shape: tuple[int, ...]) -> Array:
    """Sum ``array`` over the axes along which an operand of this shape was broadcast to it."""
    if array.shape == shape:
        return array
    extra = array.ndim - len(shape)
    axes = tuple(
        axis for axis, size in enumerate(array.shape) if axis < extra or (shape[axis - extra] == 1 and size != 1)
    )
    return np.ascontiguousarray(np.add.reduce(array, axis=axes).reshape(shape))
