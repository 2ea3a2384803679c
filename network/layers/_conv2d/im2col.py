"""The general path: products of matrices with a column for every window.

Columns have ``KH * KW`` numbers for each of the channels, and are gathered from images (`gather`) or added to them
(`col2im`). A convolution with stride 1 is also the gradient of one from its results to its images, with columns for
the outputs: that is quicker where these are fewer.

Shapes are those of `network.layers._conv2d.dispatch`.
"""

from __future__ import annotations

import numpy as np

from network.layers._arguments import Array
from network.layers._conv2d import col2im, gather
from network.layers._conv2d.windows import Windows, flip

__all__ = ["forward", "input_gradient", "kernel_gradient"]


def forward(windows: Windows, x: Array, w: Array, b: Array | None, out: Array) -> None:
    """Write the results of all kernels on all images."""
    outputs, channels = w.shape[2:4]
    other_way = _other_way(windows, w) if 2 * outputs <= channels and out.shape[3] == 1 else None
    if other_way is None:
        gather.correlate(windows, x, w, b, out)
        return
    col2im.input_gradient(other_way, x[:, :, :, np.newaxis], flip(w), out[:, :, :, 0])
    if b is not None:
        np.add(out, b.reshape(*out.shape[2:5], 1, 1), out=out)


def input_gradient(windows: Windows, dy: Array, w: Array, out: Array) -> None:
    """Write the gradient of the images."""
    outputs, channels = w.shape[2:4]
    other_way = _other_way(windows, w) if outputs <= channels else None
    if other_way is None:
        col2im.input_gradient(windows, dy, w, out)
    else:
        images = dy.reshape(*dy.shape[:3], outputs, *windows.output)
        gather.correlate(other_way, images, flip(w), None, out[:, :, :, np.newaxis])


def kernel_gradient(windows: Windows, dy: Array, x: Array) -> tuple[Array, Array | None]:
    """Return the gradient of the kernels, and that of b where columns of x are gathered."""
    outputs, channels = dy.shape[3] * dy.shape[4], x.shape[3]
    other_way = windows.flipped() if 2 * outputs <= channels else None
    if other_way is not None:
        images = dy.reshape(*dy.shape[:3], outputs, *windows.output)
        dw = flip(gather.correlate_gradient(other_way, x[:, :, :, np.newaxis], images)[0])
        if np.isfinite(dw).all():  # else zeros around dy may have made NaN
            return dw, None
    return gather.correlate_gradient(windows, dy, x)


def _other_way(windows: Windows, w: Array) -> Windows | None:
    """Return the windows of the convolution of dy that gives dx; None where there is none.

    Also none where a weight is not finite, which makes NaN of the zeros around dy, but not of dx.
    """
    return windows.flipped() if np.isfinite(w).all() else None
