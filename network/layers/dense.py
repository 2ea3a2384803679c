"""The fully connected layer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from network.layers._arguments import Array, Shape, broadcast, float_array, output_gradient, sum_to

__all__ = ["DenseCache", "dense_backward", "dense_forward"]


class DenseCache(NamedTuple):
    """What `dense_backward` needs."""

    x: Array
    w: Array
    b: Array | None
    leading: Shape


def dense_forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, DenseCache]:
    """Multiply with a matrix.

    Parameters
    ----------
    x : array, shape (..., N, I)
    w : array, shape (..., I, O)
    b : array, shape (..., O), optional

    Returns
    -------
    y : array, shape (..., N, O)
    cache : DenseCache

    Raises
    ------
    ValueError
        Naming the argument that does not fit; nothing is computed then.

    Notes
    -----
    **Forward** ``y = x w + b``. **Backward** ``dx = dy w^T``, ``dw = x^T dy``, ``db = sum_n dy[n]``.
    """
    x = float_array("x", x, "N I")
    w = float_array("w", w, "I O")
    if x.shape[-1] != w.shape[-2]:
        raise ValueError(f"x has shape {x.shape} and w {w.shape}; the last axis of x and the last but one of w are I.")
    shapes = {"x": x.shape[:-2], "w": w.shape[:-2]}
    if b is not None:
        b = float_array("b", b, "O")
        if b.shape[-1] != w.shape[-1]:
            raise ValueError(f"b has shape {b.shape}, but w makes O={w.shape[-1]} outputs; the last axis of b is O.")
        shapes["b"] = b.shape[:-1]
    leading = broadcast(**shapes)
    with np.errstate(over="ignore", invalid="ignore"):
        y = x @ w
        if b is not None:
            y = y + b[..., None, :]
    return y, DenseCache(x, w, b, leading)


def dense_backward(dy: Array, cache: DenseCache) -> tuple[Array, ...]:
    """Pull a gradient back through `dense_forward`.

    Parameters
    ----------
    dy : array, shape (..., N, O)
    cache : DenseCache
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
    """
    x, w, b = cache.x, cache.w, cache.b
    dy = output_gradient(dy, (*cache.leading, x.shape[-2], w.shape[-1]))
    with np.errstate(over="ignore", invalid="ignore"):
        dx = sum_to(dy @ w.swapaxes(-1, -2), x.shape, x.dtype)
        dw = sum_to(x.swapaxes(-1, -2) @ dy, w.shape, w.dtype)
        if b is None:
            return dx, dw
        return dx, dw, sum_to(dy.sum(axis=-2), b.shape, b.dtype)
