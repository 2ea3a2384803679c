"""Two-dimensional convolution (cross-correlation, as in every deep-learning library)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from network.layers._arguments import Array, Shape, broadcast, float_array, output_gradient, pair, positive_int, sum_to
from network.layers._windows import Axis, slide

__all__ = ["Conv2dCache", "conv2d_backward", "conv2d_forward"]

BLOCK_BYTES = 400_000
"""Columns made at a time: they are written once and read once, so they should stay in the second-level cache."""


class Conv2dCache(NamedTuple):
    """What `conv2d_backward` needs."""

    x: Array
    w: Array
    b: Array | None
    rows: Axis
    columns: Axis
    groups: int
    leading: Shape

    def output_shape(self) -> Shape:
        """Return the shape of the forward's output."""
        return (*self.leading, self.x.shape[-4], self.w.shape[-4], self.rows.out, self.columns.out)


def conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> tuple[Array, Conv2dCache]:
    """Slide kernels over images.

    Parameters
    ----------
    x : array, shape (..., N, C, H, W)
    w : array, shape (..., O, C / groups, KH, KW)
    b : array, shape (..., O), optional
    stride, padding, dilation : int or pair
        Along (H, W). Padding is with zeros, on both sides.
    groups : int
        The channels are cut into this many groups, each seen by its own ``O / groups`` kernels.

    Returns
    -------
    y : array, shape (..., N, O, OH, OW)
        ``OH = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1``, ``OW`` likewise. Leading axes broadcast.
    cache : Conv2dCache

    Raises
    ------
    ValueError
        Naming the argument that does not fit; nothing is computed then.

    Notes
    -----
    **Forward** ``y[n, o, i, j] = b[o] + sum_(c, u, v) w[o, c, u, v] x[n, c, i s + u d - p, j s + v d - p]``.
    **Backward** see `conv2d_backward`. Blocked im2col: beside the result it takes about half a megabyte.
    """
    x = float_array("x", x, "N C H W")
    w = float_array("w", w, "O C/groups KH KW")
    groups = positive_int("groups", groups)
    steps = pair("stride", stride, 1, "conv2d")
    pads = pair("padding", padding, 0, "conv2d")
    gaps = pair("dilation", dilation, 1, "conv2d")
    _check_channels(x.shape, w.shape, groups)
    shapes = {"x": x.shape[:-4], "w": w.shape[:-4]}
    if b is not None:
        b = float_array("b", b, "O")
        if b.shape[-1] != w.shape[-4]:
            raise ValueError(f"b has shape {b.shape}, but w makes O={w.shape[-4]} channels; the last axis of b is O.")
        shapes["b"] = b.shape[:-1]
    leading = broadcast(**shapes)
    rows, columns = slide("conv2d", x.shape[-2:], w.shape[-2:], steps, pads, gaps)
    cache = Conv2dCache(x, w, b, rows, columns, groups, leading)
    dtype = np.result_type(x, w) if b is None else np.result_type(x, w, b)
    y = np.empty(cache.output_shape(), dtype)
    kernels = _kernels(cache)
    with np.errstate(over="ignore", invalid="ignore"):
        for block, patches in _blocks(cache):
            product = kernels @ patches
            shape = (*cache.leading, w.shape[-4], block.stop - block.start, rows.out, columns.out)
            y[..., block, :, :, :] = product.reshape(shape).swapaxes(-4, -3)
        if b is not None:
            y += b[..., None, :, None, None]
    return y, cache


def conv2d_backward(dy: Array, cache: Conv2dCache) -> tuple[Array, ...]:
    """Pull a gradient back through `conv2d_forward`.

    Parameters
    ----------
    dy : array, shape (..., N, O, OH, OW)
    cache : Conv2dCache
        Not changed; it can be used again.

    Returns
    -------
    dx, dw : arrays, shapes of x and w
    db : array, shape of b
        Only where ``b`` was given.

    Raises
    ------
    ValueError
        For a ``dy`` that does not have exactly the output's shape.

    Notes
    -----
    **Backward** ``dw[o, c, u, v] = sum_(n, i, j) dy[n, o, i, j] x[n, c, i s + u d - p, j s + v d - p]``; ``dx`` adds
    ``w[o, c, u, v] dy[n, o, i, j]`` to that pixel; ``db = sum_(n, i, j) dy``. Summed over broadcast leading axes.
    """
    dy = output_gradient(dy, cache.output_shape())
    x, w, b = cache.x, cache.w, cache.b
    kernels = _kernels(cache)
    dx = np.zeros((*cache.leading, *x.shape[-4:]), np.result_type(dy, w))
    dw: Any = np.zeros((*cache.leading, *kernels.shape[-3:]), np.result_type(dy, x))
    with np.errstate(over="ignore", invalid="ignore"):
        for block, patches in _blocks(cache):
            part = dy[..., block, :, :, :].swapaxes(-4, -3)
            part = part.reshape(*cache.leading, *kernels.shape[-3:-1], patches.shape[-1])
            dw += part @ patches.swapaxes(-1, -2)
            _scatter(kernels.swapaxes(-1, -2) @ part, dx[..., block, :, :, :].swapaxes(-4, -3), cache)
        dx, dw = sum_to(dx, x.shape, x.dtype), sum_to(dw.reshape(*cache.leading, *w.shape[-4:]), w.shape, w.dtype)
        if b is None:
            return dx, dw
        return dx, dw, sum_to(dy.sum(axis=(-4, -2, -1)), b.shape, b.dtype)


def _check_channels(x: Shape, w: Shape, groups: int) -> None:
    channels, outputs = x[-3], w[-4]
    if channels % groups:
        raise ValueError(f"groups={groups} does not divide the C={channels} channels of x; choose a divisor of C.")
    if outputs % groups:
        raise ValueError(f"groups={groups} does not divide the O={outputs} kernels of w; choose a divisor of O.")
    if w[-3] * groups != channels:
        raise ValueError(
            f"w has shape {w}, so its kernels see {w[-3]} channels in each of groups={groups}, but x has "
            f"C={channels}; w must have C / groups = {channels // groups} there."
        )
    if 0 in w[-2:]:
        raise ValueError(f"w has shape {w}; a kernel needs at least one row and one column.")


def _kernels(cache: Conv2dCache) -> Array:
    """Return the kernels as matrices, shape (..., groups, O / groups, K)."""
    w, groups = cache.w, cache.groups
    return w.reshape(*w.shape[:-4], groups, w.shape[-4] // groups, w.shape[-3] * w.shape[-2] * w.shape[-1])


def _blocks(cache: Conv2dCache) -> Iterator[tuple[slice, Array]]:
    """Give the windows of a few samples at a time as matrices, shape (..., groups, K, n * OH * OW)."""
    x, rows, columns = cache.x, cache.rows, cache.columns
    samples = x.shape[-4]
    window = rows.kernel * columns.kernel * rows.out * columns.out
    bytes_each = int(np.prod(x.shape[:-4])) * x.shape[-3] * window * x.itemsize
    length = max(1, min(samples, BLOCK_BYTES // max(1, bytes_each)))
    for start in range(0, samples, length):
        block = slice(start, min(start + length, samples))
        yield block, _windows(_padded(x[..., block, :, :, :], rows, columns), rows, columns, cache.groups)


def _padded(x: Array, rows: Axis, columns: Axis) -> Array:
    if not rows.padding and not columns.padding:
        return x
    shape = (*x.shape[:-2], rows.size + 2 * rows.padding, columns.size + 2 * columns.padding)
    padded = np.zeros(shape, x.dtype)
    padded[..., rows.padding : rows.padding + rows.size, columns.padding : columns.padding + columns.size] = x
    return padded


def _windows(x: Array, rows: Axis, columns: Axis, groups: int) -> Array:
    """Copy every window of padded images into a column."""
    samples, channels, down, along = x.strides[-4:]
    view = as_strided(
        x,
        (*x.shape[:-4], x.shape[-3], rows.kernel, columns.kernel, x.shape[-4], rows.out, columns.out),
        (
            *x.strides[:-4],
            channels,
            down * rows.dilation,
            along * columns.dilation,
            samples,
            down * rows.stride,
            along * columns.stride,
        ),
        writeable=False,
    )
    taps = x.shape[-3] // groups * rows.kernel * columns.kernel
    return view.reshape(*x.shape[:-4], groups, taps, x.shape[-4] * rows.out * columns.out)


def _scatter(spread: Array, dx: Array, cache: Conv2dCache) -> None:
    """Add what every tap of every window got to the pixel that it saw; dx has shape (..., C, n, H, W)."""
    rows, columns = cache.rows, cache.columns
    taps = spread.reshape(*dx.shape[:-3], rows.kernel, columns.kernel, dx.shape[-3], rows.out, columns.out)
    for u in range(rows.kernel):
        seen_u, pixels_u = rows.reach(u)
        for v in range(columns.kernel):
            seen_v, pixels_v = columns.reach(v)
            dx[..., pixels_u, pixels_v] += taps[..., u, v, :, seen_u, seen_v]
