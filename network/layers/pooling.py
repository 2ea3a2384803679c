"""Maximum pooling."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from network.layers._arguments import Array, float_array, output_gradient, pair
from network.layers._windows import Axis, slide

__all__ = ["MaxPool2dCache", "max_pool2d_backward", "max_pool2d_forward"]


class MaxPool2dCache(NamedTuple):
    """What `max_pool2d_backward` needs."""

    x: Array
    y: Array
    rows: Axis
    columns: Axis


def max_pool2d_forward(
    x: Array,
    kernel_size: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
) -> tuple[Array, MaxPool2dCache]:
    """Take the maximum of every window.

    Parameters
    ----------
    x : array, shape (..., N, C, H, W)
    kernel_size : int or pair
    stride : int or pair, optional
        Default: the kernel's size.
    padding : int or pair
        At most half the kernel; padded cells never win.

    Returns
    -------
    y : array, shape (..., N, C, OH, OW)
    cache : MaxPool2dCache

    Raises
    ------
    ValueError
        Naming the argument that does not fit; nothing is computed then.

    Notes
    -----
    **Forward** ``y[i, j] = max_(u, v) x[i s + u - p, j s + v - p]``: first along each column of the window, then along
    its row. A NaN in a window comes out as NaN. **Backward** see `max_pool2d_backward`.
    """
    x = float_array("x", x, "N C H W")
    kernel = pair("kernel_size", kernel_size, 1, "max_pool2d")
    steps = kernel if stride is None else pair("stride", stride, 1, "max_pool2d")
    pads = pair("padding", padding, 0, "max_pool2d")
    if 2 * pads[0] > kernel[0] or 2 * pads[1] > kernel[1]:
        raise ValueError(
            f"padding={padding!r} is more than half of kernel_size={kernel_size!r}, so some windows would hold no "
            "pixel; pad less."
        )
    rows, columns = slide("max_pool2d", x.shape[-2:], kernel, steps, pads)
    across = _maximum(x, rows, axis=-2)
    y = _maximum(across, columns, axis=-1)
    return y, MaxPool2dCache(x, y.copy(), rows, columns)


def max_pool2d_backward(dy: Array, cache: MaxPool2dCache) -> Array:
    """Pull a gradient back through `max_pool2d_forward`.

    Parameters
    ----------
    dy : array, shape (..., N, C, OH, OW)
    cache : MaxPool2dCache
        Not changed; it can be used again.

    Returns
    -------
    dx : array, shape of x

    Raises
    ------
    ValueError
        For a ``dy`` that does not have exactly the output's shape.

    Notes
    -----
    **Backward** every window sends its gradient to one pixel: its first maximum in row-major order, or (as in
    PyTorch) its last NaN.
    """
    dy = output_gradient(dy, cache.y.shape)
    dx = np.zeros(cache.x.shape, cache.x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for seen, pixels, won in _winners(cache):
            dx[pixels] += np.where(won, dy[seen], 0)
    return dx


def _maximum(x: Array, axis_of: Axis, axis: int) -> Array:
    """Return the maximum of the kernel's taps along one axis."""
    if axis_of.padding:
        shape = list(x.shape)
        shape[axis] = axis_of.size + 2 * axis_of.padding
        padded = np.full(shape, -np.inf, x.dtype)
        padded[_along(slice(axis_of.padding, axis_of.padding + axis_of.size), axis)] = x
        x = padded
    last = (axis_of.out - 1) * axis_of.stride + 1
    taps = [x[_along(slice(tap, tap + last, axis_of.stride), axis)] for tap in range(axis_of.kernel)]
    return reduce(np.maximum, taps[1:], taps[0]) if len(taps) > 1 else taps[0].copy()


def _along(part: slice, axis: int) -> Any:
    return (..., part) if axis == -1 else (..., part, slice(None))


def _winners(cache: MaxPool2dCache) -> Iterator[tuple[Any, Any, Array]]:
    """Give for each tap which windows it wins: the first maximum in row-major order, and the last NaN."""
    x, y, rows, columns = cache
    is_nan = np.isnan(y)
    taps = [(u, v) for u in range(rows.kernel) for v in range(columns.kernel)]
    passes = [(taps, ~is_nan)] + ([(taps[::-1], is_nan)] if is_nan.any() else [])
    for order, still_open in passes:
        for u, v in order:
            seen_u, pixels_u = rows.reach(u)
            seen_v, pixels_v = columns.reach(v)
            seen, pixels = (..., seen_u, seen_v), (..., pixels_u, pixels_v)
            won = (np.isnan(x[pixels]) if still_open is is_nan else x[pixels] == y[seen]) & still_open[seen]
            still_open[seen] ^= won
            yield seen, pixels, won
