"""Two-dimensional max pooling."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from network.layers._arguments import Array, as_floats, as_upstream, pair_of_ints

__all__ = ["MaxPool2dCache", "max_pool2d_backward", "max_pool2d_forward"]

Pair = tuple[int, int]


class MaxPool2dCache(NamedTuple):
    """What `max_pool2d_backward` needs: the images as they were given, and the geometry as pairs."""

    x: Array
    kernel_size: Pair
    stride: Pair
    padding: Pair


def max_pool2d_forward(
    x: ArrayLike,
    kernel_size: int | Iterable[int],
    *,
    stride: int | Iterable[int] | None = None,
    padding: int | Iterable[int] = 0,
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
        For `max_pool2d_backward`. It refers to x and does not copy it.

    Raises
    ------
    ValueError
        When shape, dtype or geometry do not fit together; nothing has been computed then.

    Notes
    -----
    **Forward** ``y[i, j] = max_(u, v) x[i*s + u - p, j*s + v - p]`` over the cells inside the image: the maximum
    of each row of a window, then of the rows.

    **Backward** ``dx[p, q]`` is the sum of dy over the windows whose maximum is ``x[p, q]``; of equal maxima the first
    in row-major order takes it all, of several NaN the first. Winning row first, then the winner within the row, is
    that order; so both passes go through two one-dimensional ones, also where windows overlap.

    Beside y, memory for the maxima of rows is needed, ``OW / W`` times that of x.
    """
    x = as_floats(x, "x", "max_pool2d")
    kernel_size = pair_of_ints(kernel_size, "kernel_size", "max_pool2d", least=1)
    cache = MaxPool2dCache(
        x,
        kernel_size,
        kernel_size if stride is None else pair_of_ints(stride, "stride", "max_pool2d", least=1),
        pair_of_ints(padding, "padding", "max_pool2d", least=0),
    )
    rows, columns = _plan(x.shape, *cache[1:])
    with np.errstate(all="ignore"):
        return _maximum(_maximum(x, columns), rows), cache


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
    The formula stands at `max_pool2d_forward`. The maxima are made again rather than kept.
    """
    x = cache.x
    rows, columns = _plan(x.shape, *cache[1:])
    dy = as_upstream(dy, (*x.shape[:-2], rows.output, columns.output), "max_pool2d")
    with np.errstate(all="ignore"):
        row_maxima = _maximum(x, columns)
        y = _maximum(row_maxima, rows)
        has_nan = bool(np.isnan(y).any())
        dy = _to_first(dy, row_maxima, y, rows, has_nan)
        return _to_first(dy, x, row_maxima, columns, has_nan).astype(x.dtype, copy=False)


class Axis(NamedTuple):
    """How windows lie along one axis.

    Attributes
    ----------
    output : int
        How many windows there are.
    taps : tuple of (index, index)
        For each cell of the window: for which outputs it is inside the image, and where it is for these.
    is_whole, is_disjoint : bool
        Every tap is inside the image for all outputs; no cell belongs to two windows.
    """

    axis: int
    output: int
    taps: tuple[tuple[tuple[object, ...], tuple[object, ...]], ...]
    is_whole: bool
    is_disjoint: bool


def _maximum(x: Array, axis: Axis) -> Array:
    """Return the maximum of every window along one axis."""
    if axis.is_whole:
        y = x[axis.taps[0][1]]
        if len(axis.taps) == 1:
            return y.copy()
        y = np.maximum(y, x[axis.taps[1][1]])
    else:
        shape = list(x.shape)
        shape[axis.axis] = axis.output
        y = np.full(shape, -np.inf, x.dtype)
    for outputs, inputs in axis.taps[2 if axis.is_whole else 0 :]:
        np.maximum(y[outputs], x[inputs], out=y[outputs])
    return y


def _to_first(dy: Array, x: Array, y: Array, axis: Axis, has_nan: bool) -> Array:
    """Give each dy to the first cell of its window along one axis that equals the maximum y."""
    dx = np.zeros(x.shape, dy.dtype)
    is_open = np.ones(y.shape, bool)
    for outputs, inputs in axis.taps:
        cells = x[inputs]
        wins = np.equal(cells, y[outputs])
        if has_nan:
            wins |= np.isnan(cells)
        wins &= is_open[outputs]
        is_open[outputs] ^= wins
        if axis.is_disjoint:
            np.copyto(dx[inputs], dy[outputs], where=wins)
        else:
            np.add(dx[inputs], dy[outputs], out=dx[inputs], where=wins)
    return dx


@lru_cache(maxsize=1024)
def _plan(x: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair) -> tuple[Axis, Axis]:
    """Check shape and geometry and work out the windows along H and W."""
    if len(x) < 2:
        raise ValueError(f"x has shape {x}, but max_pool2d takes images (..., H, W); add the axes that are missing.")
    for kernel, pad in zip(kernel_size, padding, strict=True):
        if 2 * pad > kernel:
            raise ValueError(
                f"padding={padding} is more than half of kernel_size={kernel_size}, so that a window could lie in the "
                f"padding alone; pass at most half."
            )
    return (
        _axis("H", -2, x[-2], kernel_size[0], stride[0], padding[0]),
        _axis("W", -1, x[-1], kernel_size[1], stride[1], padding[1]),
    )


def _axis(name: str, axis: int, length: int, kernel: int, stride: int, padding: int) -> Axis:
    padded = length + 2 * padding
    if kernel > padded or length == 0:
        raise ValueError(
            f"kernel_size has {kernel} along {name}, but x has {padded} pixels there ({name}={length}, "
            f"padding={padding}); pass larger images, more padding or a smaller kernel."
        )
    output = (padded - kernel) // stride + 1
    taps = []
    for tap in range(kernel):
        first = max(0, -((tap - padding) // stride))
        last = min(output - 1, (length - 1 - tap + padding) // stride)
        if last < first:
            continue
        start = first * stride + tap - padding
        inside = slice(start, start + (last - first) * stride + 1, stride)
        after = (slice(None),) * (-1 - axis)
        taps.append(((..., slice(first, last + 1), *after), (..., inside, *after)))
    whole = len(taps) == kernel and all(outputs[1] == slice(0, output) for outputs, _ in taps)
    return Axis(axis, output, tuple(taps), whole, stride >= kernel)
