"""Two-dimensional max pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from numpy.typing import ArrayLike

from network.layers._arguments import Array, as_floats, as_upstream, pair_of_ints, quiet
from network.layers._pool2d import stages, table, winners
from network.layers._pool2d.axes import Pair, Plan, plan_max_pool2d

__all__ = ["MaxPool2dCache", "max_pool2d_backward", "max_pool2d_forward"]

LITTLE = 24_576
"""Pixels of all images up to which a table of indices is quicker than anything else: python -m benchmarks.thresholds."""


class MaxPool2dCache(NamedTuple):
    """What `max_pool2d_backward` needs: the images as they were given, a copy of the maxima, the geometry as pairs.

    Where forward noted the winner of every window, winners has its number, in row-major order.
    """

    x: Array
    y: Array
    winners: Array | None
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
    stride and ``p`` the padding: first over u, then over v. Beside y less than 2 MB is needed, or as much as one image.

    **Backward** ``dx[p, q]`` is the sum of dy over the windows that ``x[p, q]`` wins: the first in row-major order
    of those equal to the maximum, or the last NaN, as in PyTorch.
    """
    x = as_floats(x, "x", "max_pool2d")
    kernel_size = pair_of_ints(kernel_size, "kernel_size", "max_pool2d", least=1)
    stride = kernel_size if stride is None else pair_of_ints(stride, "stride", "max_pool2d", least=1)
    padding = pair_of_ints(padding, "padding", "max_pool2d", least=0)
    plan = plan_max_pool2d(x.shape, kernel_size, stride, padding)
    numbers = None
    if _is_little(plan, x):
        y = table.maximum(plan, x)
    elif plan.has_winners:
        y, numbers = winners.maximum(plan, x)
    else:
        y = stages.maximum(plan, x)
    return y, MaxPool2dCache(x, y.copy(), numbers, kernel_size, stride, padding)


@quiet
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
    The formula stands at `max_pool2d_forward`. Beside dx some 2 MB are needed, or as much as three images.
    """
    x, y, numbers, *geometry = cache
    plan = plan_max_pool2d(x.shape, *geometry)
    dy = as_upstream(dy, plan.y_shape, "max_pool2d").astype(x.dtype, copy=False)
    if numbers is not None:
        return winners.gradient(plan, dy, numbers)
    flat = y.reshape(-1)
    has_nan = math.isnan(flat.dot(flat))  # one product finds whether there is any
    if _is_little(plan, x) and not has_nan:
        return table.gradient(plan, dy, x)
    return stages.gradient(plan, dy, x, y, has_nan=has_nan)


def _is_little(plan: Plan, x: Array) -> bool:
    return x.size <= LITTLE and plan.are_apart
