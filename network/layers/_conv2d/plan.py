"""What follows from the shapes of a convolution alone: checked once, looked up afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from network.layers._arguments import Array, Shape, broadcast
from network.layers._broadcasting import LeadingAxes, match_leading
from network.layers._conv2d.windows import Pair, Windows

__all__ = ["Plan", "plan_conv2d"]


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """What a convolution of these shapes does; compared by identity, so that it is a quick key.

    Attributes
    ----------
    leading : LeadingAxes
    images_shape : tuple of int
        Images as (both, samples, groups, channels of a group, H, W): leading axes of images alone are samples.
    kernels_shape : tuple of int
        Kernels as (both, kernels, groups, outputs of a group, channels of a group, KH, KW).
    upstream_shape : tuple of int
        Results as (both, kernels, samples, groups, outputs of a group, OH, OW).
    product_shape, y_shape : tuple of int
        The result without and with b.
    windows : Windows
    is_plain : bool
        There is no more than one group, and leading axes there are none at all.
    """

    leading: LeadingAxes
    images_shape: Shape
    kernels_shape: Shape
    upstream_shape: Shape
    product_shape: Shape
    y_shape: Shape
    windows: Windows
    is_plain: bool

    def images(self, x: Array) -> Array:
        """View x in ``images_shape``."""
        return self.leading.sort(x, 4).reshape(self.images_shape)

    def kernels(self, w: Array, dtype: np.dtype[Any]) -> Array:
        """Arrange w as (both, groups, kernels * outputs of a group, channels of a group, KH, KW)."""
        both, kernels, groups, outputs, *cells = self.kernels_shape
        w = self.leading.sort(w, 4).reshape(self.kernels_shape).swapaxes(1, 2)
        return w.reshape(both, groups, kernels * outputs, *cells).astype(dtype, copy=False)

    def bias(self, b: Array | None, dtype: np.dtype[Any]) -> Array | None:
        """Arrange b as (groups, kernels * outputs of a group); None where it has leading axes of its own."""
        if b is None or b.ndim > 1:
            return None
        _, kernels, groups, outputs, *_ = self.kernels_shape
        b = b.astype(dtype, copy=False).reshape(groups, outputs)
        return b if kernels == 1 else np.tile(b, (1, kernels))

    def upstream(self, dy: Array) -> Array:
        """View dy in the order of `by_samples`."""
        return self.by_samples(self.leading.sort(dy, 4).reshape(self.upstream_shape))

    @staticmethod
    def by_samples(y: Array) -> Array:
        """View results in the order (both, samples, groups, kernels, outputs of a group, OH, OW)."""
        return y.transpose(0, 2, 3, 1, 4, 5, 6)

    def unarrange(self, dw: Array, w: Array) -> Array:
        """Return dw, arranged by `kernels`, in the shape and dtype of w."""
        both, kernels, groups, *_ = self.kernels_shape
        dw = dw.reshape(both, groups, kernels, *self.kernels_shape[3:]).swapaxes(1, 2)
        return self.leading.unsort(dw, w.shape, 4).astype(w.dtype, copy=False)


@lru_cache(maxsize=1024)
def plan_conv2d(x: Shape, w: Shape, b: Shape | None, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Plan:
    """Check shapes and geometry, raise ValueError where they do not fit, and work out what follows from them."""
    _check_shapes(x, w, b, groups)
    samples, _, height, width = x[-4:]
    outputs, channels_each, kh, kw = w[-4:]
    placed, output = zip(*map(_axis, "HW", (height, width), (kh, kw), stride, padding, dilation), strict=True)
    leading = match_leading(x[:-4], w[:-4])
    outputs_each = outputs // groups
    product_shape = (*leading.sizes, samples, outputs, *output)
    y_leading = leading.sizes if b is None else np.broadcast_shapes(leading.sizes, b[:-1])
    return Plan(
        leading,
        (leading.both, leading.images * samples, groups, channels_each, height, width),
        (leading.both, leading.kernels, groups, outputs_each, channels_each, kh, kw),
        (leading.both, leading.kernels, leading.images * samples, groups, outputs_each, *output),
        product_shape,
        y_leading + product_shape[-4:],
        Windows((height, width), padding, placed, (kh, kw), stride, dilation, output),
        groups == 1 and len(x) == len(w) == 4 and (b is None or len(b) == 1),
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
