"""Two-dimensional convolution (cross-correlation, as in every deep-learning library)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from network.layers._arguments import Array, as_floats, as_upstream, common_dtype, pair_of_ints
from network.layers._broadcasting import LeadingAxes, broadcast_leading, match_leading, sum_to_shape

__all__ = ["Conv2dCache", "conv2d_backward", "conv2d_forward"]

BLOCK_BYTES = 400_000
"""Columns and products of one block: what stays in a second-level cache of 0.5 to 1 MB, measured."""

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
    stride: int | Iterable[int] = 1,
    padding: int | Iterable[int] = 0,
    dilation: int | Iterable[int] = 1,
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
    ``dx[n, c, p, q] = sum_(o, u, v) w[o, c, u, v] * dy[n, o, i, j]`` over the i, j with ``i*s + u*d - padding = p``
    and likewise q, which is again a correlation: of dy, spread by the stride, with the kernels flipped.

    Windows are copied into columns and multiplied with the kernels as matrices, block by block, so that beside y
    less than about 1 MB is needed (one row of windows, if that is more). Leading axes of the kernels alone become
    rows of that matrix, of the images alone further samples: the columns of shared images are made once.
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
        pair_of_ints(groups, "groups", "conv2d", least=1)[0],
    )
    plan = _plan(x.shape, w.shape, None if b is None else b.shape, *cache[3:])
    dtype = common_dtype(x, w) if b is None else common_dtype(x, w, b)
    y = np.empty(
        (plan.leading.both, plan.leading.kernels, plan.samples, *plan.channels_out, *plan.windows.output), dtype
    )
    with np.errstate(all="ignore"):
        _correlate(plan.images(x), plan.kernel_rows(w, dtype), plan.windows, y)
        y = plan.leading.unsort(y, plan.product_shape, 4)
        if b is not None:
            bias = b[..., np.newaxis, :, np.newaxis, np.newaxis]
            y = np.add(y, bias, out=y if plan.y_shape == plan.product_shape else None)
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
    ``KH * KW`` times the memory of x; beside the results about 1 MB is needed.
    """
    x, w, b = cache[:3]
    plan = _plan(x.shape, w.shape, None if b is None else b.shape, *cache[3:])
    dy = as_upstream(dy, plan.y_shape, "conv2d")
    dtype = common_dtype(x, w, dy)
    with np.errstate(all="ignore"):
        product = sum_to_shape(dy, plan.product_shape)  # only where b alone has an axis
        upstream = plan.upstream(product)
        dx = np.empty((plan.leading.both, 1, plan.samples, *plan.channels_in, *plan.spread.output), dtype)
        _correlate(upstream.transpose(0, 2, 3, 1, 4, 5, 6), plan.kernel_columns(w, dtype), plan.spread, dx)
        dx = plan.leading.unsort(dx, x.shape, 4).astype(x.dtype, copy=False)
        dw = _gather(plan.images(x), upstream, plan.windows, dtype)
        dw = plan.leading.unsort(dw, w.shape, 4).astype(w.dtype, copy=False)
        if b is None:
            return dx, dw
        db = sum_to_shape(np.add.reduce(np.add.reduce(dy, axis=(-2, -1)), axis=-2), b.shape)
        return dx, dw, db.astype(b.dtype, copy=False)


# ---- the two products: windows with kernels, windows with dy -------------------------------------------------------


class Windows(NamedTuple):
    """How windows lie in images: where the images are put among zeros, and how windows slide over that.

    Attributes
    ----------
    placed : tuple of int
        Height and width with the zeros.
    into, taken : tuple or None
        Index of the images among the zeros, and of the part of the images put there; None where nothing is added.
    kernel, stride, dilation, output : tuple of int
        Along H and W.
    """

    placed: Pair
    into: tuple[object, ...] | None
    taken: tuple[object, ...]
    kernel: Pair
    stride: Pair
    dilation: Pair
    output: Pair


def _correlate(images: Array, kernels: Array, windows: Windows, out: Array) -> None:
    """Fill ``out`` (B, P, N, G, M, OH, OW) with kernels (B, G, P * M, K) times the windows of ``images``."""
    _, kernel_sets, _, groups, rows_each, _, width = out.shape
    for batch, samples, rows, columns in _column_blocks(images, windows, kernel_sets * rows_each, out.dtype):
        product = np.matmul(kernels[batch], columns)
        target = out[batch, :, samples, :, :, rows].transpose(0, 3, 1, 4, 2, 5, 6)
        target[...] = product.reshape(target.shape)


def _gather(images: Array, upstream: Array, windows: Windows, dtype: DTypeLike) -> Array:
    """Return the sum over samples and pixels of upstream (B, P, N, G, M, OH, OW) times window, (B, P, G, M, K)."""
    batches, kernel_sets, _, groups, rows_each = upstream.shape[:5]
    cells = images.shape[3] * images.shape[4] * windows.kernel[0] * windows.kernel[1]
    total = np.zeros((batches, groups, kernel_sets * rows_each, cells), dtype)
    for batch, samples, rows, columns in _column_blocks(images, windows, kernel_sets * rows_each, dtype):
        part = upstream[batch, :, samples, :, :, rows].transpose(0, 3, 1, 4, 2, 5, 6)
        matrix = part.reshape(*total[batch].shape[:3], columns.shape[-1])
        total[batch] += np.matmul(matrix, columns.mT)
    return total.reshape(batches, groups, kernel_sets, rows_each, cells).transpose(0, 2, 1, 3, 4)


def _column_blocks(
    images: Array, windows: Windows, rows_out: int, dtype: DTypeLike
) -> Iterator[tuple[slice, slice, slice, Array]]:
    """Yield batches, samples, rows of windows, and these windows as columns (B, G, K, N * OH * OW)."""
    batches, samples, groups, *channels = images.shape[:5]
    height, width = windows.output
    cells = channels[0] * channels[1] * windows.kernel[0] * windows.kernel[1]
    column_bytes = groups * (cells + rows_out) * np.dtype(dtype).itemsize
    columns = max(64, BLOCK_BYTES // max(1, column_bytes))
    rows_each = max(1, min(height, columns // max(1, width)))
    samples_each = max(1, columns // max(1, height * width))
    batches_each = max(1, columns // max(1, height * width * samples))
    for batch in _slices(batches, batches_each):
        for sample in _slices(samples, samples_each):
            placed = _place(images[batch, sample], windows, dtype)
            for rows in _slices(height, rows_each):
                yield batch, sample, rows, _columns(placed, windows, rows)


def _slices(length: int, each: int) -> list[slice]:
    return [slice(start, min(start + each, length)) for start in range(0, length, each)]


def _place(images: Array, windows: Windows, dtype: DTypeLike) -> Array:
    """Return the images among their zeros, contiguous."""
    if windows.into is None:
        return np.ascontiguousarray(images, dtype)
    placed = np.zeros(images.shape[:-2] + windows.placed, dtype)
    placed[windows.into] = images[windows.taken]
    return placed


def _columns(placed: Array, windows: Windows, rows: slice) -> Array:
    """Copy every window of these rows into a column.

    The view is made by hand: `sliding_window_view` takes longer than the whole convolution of an 8x8 image.
    """
    batches, samples, groups, *channels = placed.shape[:5]
    to_column = placed.itemsize
    to_row = to_column * windows.placed[1]
    to_channel = to_row * windows.placed[0]
    in_group = channels[0] * channels[1]
    shape = (batches, groups, in_group, *windows.kernel, samples, rows.stop - rows.start, windows.output[1])
    strides = (
        to_channel * in_group * groups * samples,
        to_channel * in_group,
        to_channel,
        to_row * windows.dilation[0],
        to_column * windows.dilation[1],
        to_channel * in_group * groups,
        to_row * windows.stride[0],
        to_column * windows.stride[1],
    )
    view = np.ndarray(shape, placed.dtype, placed, to_row * windows.stride[0] * rows.start, strides)
    return view.reshape(batches, groups, in_group * windows.kernel[0] * windows.kernel[1], -1 if view.size else 0)


# ---- the plan: all that follows from shapes alone ------------------------------------------------------------------


class Plan(NamedTuple):
    """What a convolution of these shapes does: checked once, looked up afterwards."""

    leading: LeadingAxes
    samples: int
    channels_in: Pair
    channels_out: Pair
    windows: Windows
    spread: Windows
    product_shape: tuple[int, ...]
    y_shape: tuple[int, ...]

    def images(self, x: Array) -> Array:
        """View x as (both, samples, groups, 1, channels of a group, H, W)."""
        groups, channels = self.channels_in
        x = self.leading.sort(x, 4)
        return x.reshape(self.leading.both, self.samples, groups, 1, channels, *x.shape[-2:])

    def upstream(self, dy: Array) -> Array:
        """View dy as (both, kernels, samples, groups, outputs of a group, OH, OW)."""
        dy = self.leading.sort(dy, 4)
        return dy.reshape(self.leading.both, self.leading.kernels, self.samples, *self.channels_out, *dy.shape[-2:])

    def kernel_rows(self, w: Array, dtype: DTypeLike) -> Array:
        """Arrange w as matrices (both, groups, kernels * outputs of a group, cells of a window)."""
        groups, outputs = self.channels_out
        w = self.leading.sort(w, 4)
        w = w.reshape(self.leading.both, self.leading.kernels, groups, outputs, -1 if w.size else 0)
        w = w.transpose(0, 2, 1, 3, 4)
        return w.reshape(*w.shape[:2], w.shape[2] * w.shape[3], w.shape[4]).astype(dtype, copy=False)

    def kernel_columns(self, w: Array, dtype: DTypeLike) -> Array:
        """Arrange w flipped and transposed (both, groups, channels of a group, kernels * outputs * cells)."""
        w = self.leading.sort(w, 4)[..., ::-1, ::-1]
        w = w.reshape(self.leading.both, self.leading.kernels, *self.channels_out, *w.shape[-3:])
        w = w.transpose(0, 2, 4, 1, 3, 5, 6)
        return w.reshape(*w.shape[:3], int(np.prod(w.shape[3:]))).astype(dtype, copy=False)


@lru_cache(maxsize=1024)
def _plan(
    x: tuple[int, ...],
    w: tuple[int, ...],
    b: tuple[int, ...] | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Plan:
    """Check shapes and geometry and work out what follows from them."""
    _check_shapes(x, w, b, groups)
    leading = match_leading(x[:-4], w[:-4])
    *_, samples, channels, height, width = x
    outputs, _, *kernel = w[-4:]
    axes = [_axis(*entries) for entries in zip("HW", (height, width), kernel, stride, padding, dilation, strict=True)]
    windows, spread = (_windows([axis[direction] for axis in axes]) for direction in (0, 1))
    product_shape = (*leading.sizes, samples, outputs, *windows.output)
    y_leading = leading.sizes if b is None else np.broadcast_shapes(leading.sizes, b[:-1])
    return Plan(
        leading,
        leading.images * samples,
        (groups, channels // groups),
        (groups, outputs // groups),
        windows,
        spread,
        product_shape,
        y_leading + product_shape[-4:],
    )


def _check_shapes(x: tuple[int, ...], w: tuple[int, ...], b: tuple[int, ...] | None, groups: int) -> None:
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
        broadcast_leading("conv2d", x=x[:-4], w=w[:-4])
        return
    if b[-1:] != (outputs,):
        raise ValueError(f"b has shape {b}, but w has {outputs} output channels; b must have shape (..., {outputs}).")
    broadcast_leading("conv2d", x=x[:-4], w=w[:-4], b=b[:-1])


class Axis(NamedTuple):
    """`Windows` along one axis."""

    is_whole: bool
    placed: int
    into: slice
    taken: slice
    kernel: int
    stride: int
    dilation: int
    output: int


def _axis(name: str, length: int, kernel: int, stride: int, padding: int, dilation: int) -> tuple[Axis, Axis]:
    """Return the windows along one axis, and the windows of the correlation that is their gradient."""
    reach = dilation * (kernel - 1)
    padded = length + 2 * padding
    if reach >= padded:
        raise ValueError(
            f"w has a kernel that covers {reach + 1} pixels along {name} (K{name}={kernel}, dilation={dilation}), but x "
            f"has {padded} there ({name}={length}, padding={padding}); pass larger images, more padding or a smaller kernel."
        )
    output = (padded - reach - 1) // stride + 1
    inside = slice(padding, padding + length)
    forward = Axis(padding == 0, padded, inside, slice(0, length), kernel, stride, dilation, output)
    # dy[i] is put at i * stride + shift; what falls outside has seen nothing but padding, and is left out.
    shift = reach - padding
    first = max(0, -(shift // stride))
    last = min(output - 1, (length + reach - 1 - shift) // stride)
    seen = slice(first, max(first, last + 1))
    spread = slice(first * stride + shift, max(0, last * stride + shift + 1), stride)
    whole = (seen.start, seen.stop, length + reach, shift, stride) == (0, output, output, 0, 1)
    return forward, Axis(whole, length + reach, spread, seen, kernel, 1, dilation, length)


def _windows(axes: list[Axis]) -> Windows:
    whole, placed, into, taken, *sliding = zip(*axes, strict=True)
    return Windows(placed, None if all(whole) else (..., *into), (..., *taken), *sliding)
