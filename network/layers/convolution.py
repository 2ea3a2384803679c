"""Two-dimensional convolution (cross-correlation, as in every deep-learning library)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from network.layers._arguments import Array, as_floats, as_upstream, common_dtype, int_from, pair_of_ints
from network.layers._conv2d import dispatch
from network.layers._conv2d.plan import Plan, plan_conv2d
from network.layers._conv2d.windows import Pair

__all__ = ["Conv2dCache", "conv2d_backward", "conv2d_forward"]


class Conv2dCache(NamedTuple):
    """What `conv2d_backward` needs: the operands as they were given, the geometry as pairs, whether Winograd may be used."""

    x: Array
    w: Array
    b: Array | None
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    winograd: bool


def conv2d_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    winograd: bool = True,
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
    winograd : bool
        Whether many channels under 3x3 kernels may be computed with about half the multiplications, forward and
        backward. That amplifies rounding: in float32 the largest error grows from 4e-7 to 8e-7 of the largest result
        to 2e-6 to 3e-6, in float64 from 1e-15 to 6e-15.

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

    Four algorithms, chosen from the shapes, compute the same sums. Whole layers of small images are one matrix, which
    takes up to 2 MB; otherwise windows are copied into columns and multiplied with the kernels as matrices, or
    neighbouring windows share products (Winograd), block by block, so that beside y a few MB are needed (one sample with
    its zeros and one row of windows, if that is more). Leading axes of the kernels alone become rows of that matrix, of
    the images alone further samples: the columns of shared images are made once, however many kernels there are.
    Where a result is not finite, NaN and infinities are in the windows that see them and nowhere else.
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
        winograd,
    )
    dtype = common_dtype(x, w) if b is None else common_dtype(x, w, b)
    return dispatch.forward(_plan(cache), x, w, b, dtype, winograd=winograd), cache


def conv2d_backward(dy: ArrayLike, cache: Conv2dCache, *, needs_dx: bool = True) -> tuple[Any, ...]:
    """Pull the gradient of a convolution's output back to its operands.

    Parameters
    ----------
    dy : array
        Of exactly the shape of y.
    cache : Conv2dCache
        From `conv2d_forward`; it is not changed.
    needs_dx : bool
        False leaves out dx, a third of the work that the layer next to the data need not do.

    Returns
    -------
    dx, dw : array
        Shapes and dtypes of x and w, summed over the axes along which they were broadcast; dx is None unless needed.
    db : array
        Likewise, only where b was given.

    Raises
    ------
    ValueError
        When dy has not exactly the shape of y, or is not of floats.

    Notes
    -----
    The formulas stand at `conv2d_forward`. Columns are made again rather than kept, which would take ``KH * KW`` times
    the memory of x. Beside the results a few MB are needed.
    """
    x, w, b = cache[:3]
    plan = _plan(cache)
    dy = as_upstream(dy, plan.y_shape, "conv2d")
    dx, dw, db = dispatch.backward(plan, dy, x, w, b, winograd=cache.winograd, needs_dx=needs_dx)
    return (dx, dw) if db is None else (dx, dw, db)


def _plan(cache: Conv2dCache) -> Plan:
    x, w, b, *geometry, _ = cache
    return plan_conv2d(x.shape, w.shape, None if b is None else b.shape, *geometry)
