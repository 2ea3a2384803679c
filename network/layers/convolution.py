"""Two-dimensional convolution (cross-correlation, as in every deep-learning library)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from network.layers._arguments import (
    Array,
    Shape,
    as_floats,
    as_upstream,
    broadcast,
    common_dtype,
    int_from,
    pair_of_ints,
    sum_to,
)
from network.layers._broadcasting import LeadingAxes, match_leading
from network.layers._windows import Windows

__all__ = ["Conv2dCache", "conv2d_backward", "conv2d_forward"]

BLOCK_BYTES = 400_000
"""Columns and products of one block: what stays in a second-level cache of 0.5 to 1 MB, measured."""

MIN_COLUMNS = 64
"""Of a block, however large: narrower products waste the processor."""

EVERY = slice(None)

Pair = tuple[int, int]


class Conv2dCache(NamedTuple):
    """What `conv2d_backward` needs: the operands as they were given, and the geometry as pairs."""

    x: Array
    w: Array
    b: Array | None
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


def conv2d_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> tuple[Array, Conv2dCache]:
    """Correlate images with kernels.

    Parameters
    ----------
    x : array, shape (..., N, C, H, W)
        Images, float32 or float64.
    w : array, shape (..., O, C / groups, KH, KW)
        Kernels.
    b : array, shape (..., O), optional
        Added to every pixel of an output channel.
    stride, padding, dilation : int or pair of int
        Along H and W: pixels between windows, zeros on either side, pixels between the cells of a kernel.
    groups : int
        Output channels are cut into as many groups, and each sees its own group of input channels only.

    Returns
    -------
    y : array, shape (..., N, O, OH, OW)
        With ``OH = (H + 2 * padding - dilation * (KH - 1) - 1) // stride + 1``, and OW likewise. Leading axes of
        x, w and b broadcast as in `numpy.matmul`; the dtype is the operands' common one.
    cache : Conv2dCache
        For `conv2d_backward`. It refers to x, w and b and copies none.

    Raises
    ------
    ValueError
        When shapes, dtypes or geometry do not fit together; nothing has been computed then.

    Notes
    -----
    **Forward** ``y[n, o, i, j] = b[o] + sum_(c, u, v) w[o, c, u, v] * xp[n, c, i*s + u*d, j*s + v*d]`` with ``xp``
    the padded images, ``s`` the stride, ``d`` the dilation and ``c`` over the channels of o's group.

    **Backward** ``dw[o, c, u, v] = sum_(n, i, j) dy[n, o, i, j] * xp[n, c, i*s + u*d, j*s + v*d]``;
    ``dxp[n, c, p, q] = sum_(o, u, v) w[o, c, u, v] * dy[n, o, i, j]`` over the i, j with ``i*s + u*d = p`` and
    ``j*s + v*d = q``; ``db[o] = sum_(n, i, j) dy[n, o, i, j]``.

    Windows are copied into columns and multiplied with the kernels as matrices, block by block, so that beside y
    about 1 MB is needed (one sample with its zeros and one row of windows, if that is more). Leading axes of the
    kernels alone become rows of that matrix, of the images alone further samples: the columns of shared images are
    made once, however many kernels there are.
    """
    x, w = as_floats(x, "x", "conv2d"), as_floats(w, "w", "conv2d")
    if b is not None:
        b = as_floats(b, "b", "conv2d")
    cache = Conv2dCache(
        x,
        w,
        b,
        pair_of_ints(stride, "stride", "conv2d", least=1),
        pair_of_ints(padding, "padding", "conv2d", least=0),
        pair_of_ints(dilation, "dilation", "conv2d", least=1),
        int_from(groups, "groups", "conv2d", least=1),
    )
    plan = _plan(x.shape, w.shape, None if b is None else b.shape, *cache[3:])
    dtype = common_dtype(x, w) if b is None else common_dtype(x, w, b)
    y = np.empty(plan.upstream_shape, dtype)
    kernels = plan.kernels(w, dtype)
    with np.errstate(all="ignore"):
        for block, columns in _column_blocks(plan, plan.images(x), dtype):
            target = y[block.upstream].transpose(0, 3, 1, 4, 2, 5, 6)
            target[...] = np.matmul(kernels[block.batch], columns).reshape(target.shape)
        y = plan.leading.unsort(y, plan.product_shape, 4)
        if b is not None:
            fits = plan.y_shape == plan.product_shape
            y = np.add(y, b[..., np.newaxis, :, np.newaxis, np.newaxis], out=y if fits else None)
    return y, cache


def conv2d_backward(dy: ArrayLike, cache: Conv2dCache) -> tuple[Array, ...]:
    """Pull the gradient of a convolution's output back to its operands.

    Parameters
    ----------
    dy : array
        Of exactly the shape of y.
    cache : Conv2dCache
        From `conv2d_forward`; it is not changed.

    Returns
    -------
    dx, dw : array
        Shapes and dtypes of x and w, summed over the axes along which they were broadcast.
    db : array
        Likewise, only where b was given.

    Raises
    ------
    ValueError
        When dy has not exactly the shape of y, or is not of floats.

    Notes
    -----
    The formulas stand at `conv2d_forward`. The columns are made again rather than kept, which would take
    ``KH * KW`` times the memory of x. Beside the results, dx with its zeros and about 1 MB are needed.
    """
    x, w, b = cache[:3]
    plan = _plan(x.shape, w.shape, None if b is None else b.shape, *cache[3:])
    dy = as_upstream(dy, plan.y_shape, "conv2d")
    dtype = common_dtype(x, w, dy)
    kernels = plan.kernels(w, dtype)
    dw = np.zeros(kernels.shape, dtype)
    with np.errstate(all="ignore"):
        images = plan.images(x)
        upstream = plan.upstream(sum_to(dy, plan.product_shape, dtype))  # a sum only where b alone has an axis
        dx = np.zeros(images.shape[:-2] + plan.windows.placed, dtype)
        for block, columns in _column_blocks(plan, images, dtype):
            part = upstream[block.upstream].transpose(0, 3, 1, 4, 2, 5, 6)
            matrix = part.reshape(*dw[block.batch].shape[:3], columns.shape[-1])
            dw[block.batch] += np.matmul(matrix, columns.mT)
            plan.windows.add_columns(np.matmul(kernels[block.batch].mT, matrix), block.rows, dx[block.images])
        results = [plan.unplace(dx, x), plan.unarrange(dw, w)]
        if b is not None:
            db = np.add.reduce(np.add.reduce(dy, axis=(-2, -1)), axis=-2)
            results.append(sum_to(db, b.shape, b.dtype))
    return tuple(results)


class Block(NamedTuple):
    """Which batches, samples and rows of windows are worked on at a time."""

    batch: slice
    samples: slice
    rows: slice

    @property
    def images(self) -> tuple[slice, slice]:
        """Index into images (both, samples, groups, channels, H, W)."""
        return self.batch, self.samples

    @property
    def upstream(self) -> tuple[slice, ...]:
        """Index into results and their gradients (both, kernels, samples, groups, outputs, OH, OW)."""
        return self.batch, EVERY, self.samples, EVERY, EVERY, self.rows


def _column_blocks(plan: Plan, images: Array, dtype: np.dtype[Any]) -> Iterator[tuple[Block, Array]]:
    """Yield block after block of windows, as columns (both, groups, cells, samples * OH * OW)."""
    batches, samples = images.shape[:2]
    height, width = plan.windows.output
    columns = max(MIN_COLUMNS, BLOCK_BYTES // max(1, plan.column_size * dtype.itemsize))
    rows_each = max(1, columns // width)
    samples_each = max(1, columns // (height * width))
    batches_each = max(1, columns // (height * width * max(1, samples)))
    for batch in _slices(batches, batches_each):
        for sample in _slices(samples, samples_each):
            placed = plan.windows.place(images[batch, sample], dtype)
            for rows in _slices(height, rows_each):
                yield Block(batch, sample, rows), plan.windows.columns(placed, rows)


def _slices(length: int, each: int) -> list[slice]:
    return [slice(start, min(start + each, length)) for start in range(0, length, each)]


# ---- the plan: all that follows from shapes alone ------------------------------------------------------------------


class Plan(NamedTuple):
    """What a convolution of these shapes does: checked once, looked up afterwards.

    Attributes
    ----------
    leading : LeadingAxes
    images_shape : tuple of int
        Images as (both, samples, groups, channels of a group, H, W): leading axes of images alone are samples.
    kernels_shape : tuple of int
        Kernels as (both, kernels, groups, outputs of a group, cells of a window).
    upstream_shape : tuple of int
        Results as (both, kernels, samples, groups, outputs of a group, OH, OW).
    product_shape, y_shape : tuple of int
        The result without and with b.
    column_size : int
        Numbers to a column of windows, with the results from it.
    windows : Windows
    """

    leading: LeadingAxes
    images_shape: Shape
    kernels_shape: Shape
    upstream_shape: Shape
    product_shape: Shape
    y_shape: Shape
    column_size: int
    windows: Windows

    def images(self, x: Array) -> Array:
        """View x in ``images_shape``."""
        return self.leading.sort(x, 4).reshape(self.images_shape)

    def unplace(self, dx: Array, x: Array) -> Array:
        """Return dx, without the zeros, in the shape and dtype of x."""
        return self.leading.unsort(self.windows.inside(dx), x.shape, 4).astype(x.dtype, copy=False)

    def upstream(self, dy: Array) -> Array:
        """View dy in ``upstream_shape``."""
        return self.leading.sort(dy, 4).reshape(self.upstream_shape)

    def kernels(self, w: Array, dtype: np.dtype[Any]) -> Array:
        """Arrange w as matrices (both, groups, kernels * outputs of a group, cells of a window)."""
        w = self.leading.sort(w, 4).reshape(self.kernels_shape).transpose(0, 2, 1, 3, 4)
        both, groups, kernels, outputs, cells = w.shape
        return w.reshape(both, groups, kernels * outputs, cells).astype(dtype, copy=False)

    def unarrange(self, dw: Array, w: Array) -> Array:
        """Return dw, arranged by `kernels`, in the shape and dtype of w."""
        both, kernels, groups, outputs, cells = self.kernels_shape
        dw = dw.reshape(both, groups, kernels, outputs, cells).transpose(0, 2, 1, 3, 4)
        return self.leading.unsort(dw, w.shape, 4).astype(w.dtype, copy=False)


@lru_cache(maxsize=1024)
def _plan(x: Shape, w: Shape, b: Shape | None, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Plan:
    """Check shapes and geometry and work out what follows from them."""
    _check_shapes(x, w, b, groups)
    samples, _, height, width = x[-4:]
    outputs, channels_each, kh, kw = w[-4:]
    placed, output = zip(*map(_axis, "HW", (height, width), (kh, kw), stride, padding, dilation), strict=True)
    windows = Windows((height, width), padding, placed, (kh, kw), stride, dilation, output)
    leading = match_leading(x[:-4], w[:-4])
    outputs_each = outputs // groups
    cells = channels_each * kh * kw
    product_shape = (*leading.sizes, samples, outputs, *output)
    y_leading = leading.sizes if b is None else np.broadcast_shapes(leading.sizes, b[:-1])
    return Plan(
        leading,
        (leading.both, leading.images * samples, groups, channels_each, height, width),
        (leading.both, leading.kernels, groups, outputs_each, cells),
        (leading.both, leading.kernels, leading.images * samples, groups, outputs_each, *output),
        product_shape,
        y_leading + product_shape[-4:],
        groups * (cells + leading.kernels * outputs_each),
        windows,
    )


def _check_shapes(x: Shape, w: Shape, b: Shape | None, groups: int) -> None:
    if len(x) < 4:
        raise ValueError(f"x has shape {x}, but conv2d takes images (..., N, C, H, W); add the axes that are missing.")
    if len(w) < 4:
        raise ValueError(
            f"w has shape {w}, but conv2d takes kernels (..., O, C/groups, KH, KW); add the axes that are missing."
        )
    channels, (outputs, kernel_channels, *kernel) = x[-3], w[-4:]
    if min(kernel) < 1:
        raise ValueError(f"w has shape {w}, whose kernels have no cells; KH and KW must be at least 1.")
    for name, count, axis in (("x", channels, "C"), ("w", outputs, "O")):
        if count % groups:
            raise ValueError(
                f"groups={groups} does not divide the {count} channels ({axis}) of {name}; "
                f"pass a divisor of both C and O."
            )
    if kernel_channels * groups != channels:
        raise ValueError(
            f"w has {kernel_channels} input channels (shape {w}), but x has {channels} channels in groups={groups}; "
            f"w must have C/groups = {channels // groups}."
        )
    if b is None:
        broadcast(x=x[:-4], w=w[:-4])
        return
    if b[-1:] != (outputs,):
        raise ValueError(f"b has shape {b}, but w has {outputs} output channels; b must have shape (..., {outputs}).")
    broadcast(x=x[:-4], w=w[:-4], b=b[:-1])


def _axis(name: str, length: int, kernel: int, stride: int, padding: int, dilation: int) -> Pair:
    """Return pixels with padding, and how many windows there are along one axis."""
    covered = dilation * (kernel - 1) + 1
    placed = length + 2 * padding
    if covered > placed:
        raise ValueError(
            f"w has a kernel that covers {covered} pixels along {name} (K{name}={kernel}, dilation={dilation}), but x "
            f"has {placed} there ({name}={length}, padding={padding}); "
            f"pass larger images, more padding or a smaller kernel."
        )
    return placed, (placed - covered) // stride + 1
