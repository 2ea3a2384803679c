"""A wrong gradient and its report: what a newcomer runs first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gradcheck.aliases import Floats
from gradcheck.checks.first_order import check_layer

__all__ = ["text"]


def forward(x: Floats, kernel: Floats) -> tuple[Floats, Any]:
    """Convolve: slide the flipped kernel over the input."""
    patches = sliding_window_view(x, kernel.shape)
    return np.einsum("ijuv,uv->ij", patches, kernel[::-1, ::-1]), (x, kernel)


def backward(dy: Floats, cache: Any) -> tuple[Floats, Floats]:
    """Return the gradients of input and kernel; that of the kernel is not flipped back."""
    x, kernel = cache
    dx = np.zeros_like(x)
    for i, j in np.ndindex(*dy.shape):
        dx[i : i + kernel.shape[0], j : j + kernel.shape[1]] += dy[i, j] * kernel[::-1, ::-1]
    dkernel = np.einsum("ijuv,ij->uv", sliding_window_view(x, kernel.shape), dy)
    return dx, dkernel


EXPLANATION = """\
A convolution slides the flipped kernel over its input. This backward forgets to flip the kernel's gradient back:

    def forward(x, kernel):
        patches = sliding_window_view(x, kernel.shape)
        return np.einsum("ijuv,uv->ij", patches, kernel[::-1, ::-1]), (x, kernel)

    def backward(dy, cache):
        ...
        dkernel = np.einsum("ijuv,ij->uv", sliding_window_view(x, kernel.shape), dy)
        return dx, dkernel

>>> print(check_layer(forward, backward, rng.normal(size=(8, 7)), rng.normal(size=(3, 3))))
"""


def text() -> str:
    """Return the code of a wrong backward pass and what the check says of it."""
    rng = np.random.default_rng(0)
    report = check_layer(forward, backward, rng.normal(size=(8, 7)), rng.normal(size=(3, 3)))
    return f"{EXPLANATION}\n{report}"
