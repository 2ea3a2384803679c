"""Two-dimensional max pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import EllipsisType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from network.layers._arguments import Array, Shape, as_floats, as_upstream, pair_of_ints

__all__ = ["MaxPool2dCache", "max_pool2d_backward", "max_pool2d_forward"]

Pair = tuple[int, int]


BLOCK_BYTES = 400_000
"""Of images whose gradient is made at a time, so that masks and remainders stay in a second-level cache."""


class MaxPool2dCache(NamedTuple):
    """What `max_pool2d_backward` needs: the images as they were given, a copy of the maxima, the geometry as pairs."""

    x: Array
    y: Array
    kernel_size: Pair
    stride: Pair
    padding: Pair


def max_pool2d_forward(
    x: ArrayLike,
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
) -> tuple[Array, MaxPool2dCache]:
    """Take the maximum of every window.

    Parameters
    ----------
    x : array, shape (..., H, W)
        Images, float32 or float64; usually (..., N, C, H, W).
    kernel_size : int or pair of int
        Height and width of a window.
    stride : int or pair of int, optional
        Pixels between windows; None is the kernel's size.
    padding : int or pair of int
        Cells added on either side, at most half the kernel's size; they never win.

    Returns
    -------
    y : array, shape (..., OH, OW)
        With ``OH = (H + 2 * padding - KH) // stride + 1``, and OW likewise. A NaN in a window comes out.
    cache : MaxPool2dCache
        For `max_pool2d_backward`. It refers to x, and holds a copy of y.

    Raises
    ------
    ValueError
        When shape, dtype or geometry do not fit together; nothing has been computed then.

    Notes
    -----
    **Forward** ``y[i, j] = max_(u, v) x[i*s + u - p, j*s + v - p]`` over the cells inside the image, with ``s`` the
    stride and ``p`` the padding: first over u, then over v. Beside y, memory for ``OH / H`` times x is needed.

    **Backward** ``dx[p, q]`` is the sum of dy over the windows that ``x[p, q]`` wins: the first in row-major order
    of those equal to the maximum, or the last NaN, as in PyTorch.
    """
    x = as_floats(x, "x", "max_pool2d")
    kernel_size = pair_of_ints(kernel_size, "kernel_size", "max_pool2d", least=1)
    stride = kernel_size if stride is None else pair_of_ints(stride, "stride", "max_pool2d", least=1)
    padding = pair_of_ints(padding, "padding", "max_pool2d", least=0)
    rows, columns = _plan(x.shape, kernel_size, stride, padding)
    with np.errstate(all="ignore"):
        y = _maximum(_maximum(x, rows), columns)
    return y, MaxPool2dCache(x, y.copy(), kernel_size, stride, padding)


def max_pool2d_backward(dy: ArrayLike, cache: MaxPool2dCache) -> Array:
    """Send the gradient of every window to its first maximum.

    Parameters
    ----------
    dy : array
        Of exactly the shape of y.
    cache : MaxPool2dCache
        From `max_pool2d_forward`; it is not changed.

    Returns
    -------
    dx : array
        Shape and dtype of x.

    Raises
    ------
    ValueError
        When dy has not exactly the shape of y, or is not of floats.

    Notes
    -----
    The formula stands at `max_pool2d_forward`. Beside dx less than 1 MB is needed, or as much as one image.
    """
    x, y = cache[:2]
    dy = as_upstream(dy, y.shape, "max_pool2d").astype(x.dtype, copy=False)
    rows, columns = _plan(x.shape, *cache[2:])
    has_nan = bool(np.isnan(y).any())
    dx = np.zeros(x.shape, x.dtype)
    images, maxima, upstream, gradients = (array.reshape(-1, *array.shape[-2:]) for array in (x, y, dy, dx))
    each = max(1, BLOCK_BYTES // max(1, gradients[:1].nbytes))
    with np.errstate(all="ignore"):
        for start in range(0, len(images), each):
            block = slice(start, start + each)
            row_maxima = _maximum(images[block], columns)
            row_gradients = np.zeros(row_maxima.shape, x.dtype)
            _to_winners(upstream[block], row_maxima, maxima[block], rows, row_gradients, has_nan=has_nan)
            _to_winners(row_gradients, images[block], row_maxima, columns, gradients[block], has_nan=has_nan)
    return dx


def _maximum(x: Array, axis: Axis) -> Array:
    """Return the maximum of every window along one axis."""
    if axis.is_whole:
        y, rest = x[axis.cells[0][1]].copy(), axis.cells[1:]
    else:
        shape = list(x.shape)
        shape[axis.axis] = axis.output
        y, rest = np.full(shape, -np.inf, x.dtype), axis.cells
    for outputs, inputs in rest:
        target = y[outputs]
        np.maximum(target, x[inputs], out=target)
    return y


def _to_winners(dy: Array, x: Array, y: Array, axis: Axis, dx: Array, *, has_nan: bool) -> None:
    """Add each dy to the cell that wins its window along one axis.

    What is still to be given away is multiplied, as bits, by 0 or 1: of floats that would make NaN of an infinite dy,
    and a masked copy takes several times as long.
    """
    bits = np.dtype(f"i{dy.dtype.itemsize}")
    remaining = dy.view(bits).copy()
    for cells, wins in _contests(axis, has_nan=has_nan):
        for outputs, inputs in cells:
            left = remaining[outputs]
            given = np.multiply(left, wins(x[inputs], y[outputs]))
            np.subtract(left, given, out=left)
            target = dx[inputs]
            np.add(target, given.view(dy.dtype), out=target)
    if axis.is_whole and not has_nan:
        target = dx[axis.cells[-1][1]]
        np.add(target, remaining.view(dy.dtype), out=target)


def _contests(axis: Axis, *, has_nan: bool) -> list[tuple[tuple[Cell, ...], Callable[[Array, Array], Array]]]:
    """Return in which order cells are asked whether they win, and how: the first maximum does, or the last NaN."""
    if has_nan:
        return [(axis.cells, np.equal), (axis.cells[::-1], lambda x, _: np.isnan(x))]
    return [(axis.cells[:-1] if axis.is_whole else axis.cells, np.equal)]  # the last takes what is left


Cell = tuple[tuple[EllipsisType | slice, ...], tuple[EllipsisType | slice, ...]]
"""Of a window: for which windows it lies inside the image (index into y), and where it is for these (into x)."""


class Axis(NamedTuple):
    """How windows lie along one axis.

    Attributes
    ----------
    axis, output : int
        Which axis, and how many windows there are.
    cells : tuple of Cell
    is_whole : bool
        Every cell lies inside the image for all windows.
    """

    axis: int
    output: int
    cells: tuple[Cell, ...]
    is_whole: bool


@lru_cache(maxsize=1024)
def _plan(x: Shape, kernel_size: Pair, stride: Pair, padding: Pair) -> tuple[Axis, Axis]:
    """Check shape and geometry and work out what follows from them."""
    if len(x) < 2:
        raise ValueError(f"x has shape {x}, but max_pool2d takes images (..., H, W); add the axes that are missing.")
    if 2 * padding[0] > kernel_size[0] or 2 * padding[1] > kernel_size[1]:
        raise ValueError(
            f"padding={padding} is more than half of kernel_size={kernel_size}, so that a window could lie in the "
            f"padding alone; pass at most half."
        )
    return (
        _axis(-2, x[-2], kernel_size[0], stride[0], padding[0]),
        _axis(-1, x[-1], kernel_size[1], stride[1], padding[1]),
    )


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
    return Axis(axis, output, tuple(cells), is_whole)
