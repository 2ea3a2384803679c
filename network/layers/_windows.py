"""Where a kernel that slides over an image lands: shared by convolution and pooling."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Axis", "slide"]


class Axis(NamedTuple):
    """One axis along which a kernel slides."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    out: int

    def reach(self, tap: int) -> tuple[slice, slice]:
        """Return which outputs see a real pixel under this tap of the kernel, and which pixels those are."""
        offset = tap * self.dilation - self.padding
        first = max(0, -(offset // self.stride))
        last = min(self.out, (self.size - 1 - offset) // self.stride + 1)
        if last <= first:
            return slice(0, 0), slice(0, 0)
        start = first * self.stride + offset
        return slice(first, last), slice(start, start + (last - first - 1) * self.stride + 1, self.stride)


def slide(
    layer: str,
    sizes: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[Axis, Axis]:
    """Return the geometry along (H, W).

    Raises
    ------
    ValueError
        When the kernel is larger than the padded image.
    """
    axes = []
    for name, size, k, s, p, d in zip("HW", sizes, kernel, stride, padding, dilation, strict=True):
        extent, padded = (k - 1) * d + 1, size + 2 * p
        if extent > padded:
            raise ValueError(
                f"the kernel of {layer} covers {extent} along {name} (kernel size {k}, dilation {d}), but x has "
                f"{padded} there ({size} and padding {p} on both sides); make the kernel smaller or pad more."
            )
        axes.append(Axis(size, k, s, p, d, (padded - extent) // s + 1))
    return axes[0], axes[1]
