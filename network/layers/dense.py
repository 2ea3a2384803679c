"""The dense (fully connected, linear) layer."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from network.layers._arguments import Array, Shape, as_floats, as_upstream, broadcast, quiet, sum_to

__all__ = ["DenseCache", "dense_backward", "dense_forward"]


class DenseCache(NamedTuple):
    """What `dense_backward` needs: the operands as they were given."""

    x: Array
    w: Array
    b: Array | None


@quiet
def dense_forward(x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None) -> tuple[Array, DenseCache]:
    """Multiply samples with a weight matrix.

    Parameters
    ----------
    x : array, shape (..., N, I)
        Samples, float32 or float64.
    w : array, shape (..., I, O)
        Weights.
    b : array, shape (..., O), optional
        Added to every sample.

    Returns
    -------
    y : array, shape (..., N, O)
        Leading axes of x, w and b broadcast as in `numpy.matmul`; the dtype is the operands' common one.
    cache : DenseCache
        For `dense_backward`. It refers to x, w and b and copies none.

    Raises
    ------
    ValueError
        When shapes or dtypes do not fit together; nothing has been computed then.

    Notes
    -----
    **Forward** ``y[n, o] = b[o] + sum_i x[n, i] * w[i, o]``

    **Backward** ``dx = dy @ w.T``, ``dw = x.T @ dy``, ``db[o] = sum_n dy[n, o]``
    """
    x, w = as_floats(x, "x", "dense"), as_floats(w, "w", "dense")
    if b is not None:
        b = as_floats(b, "b", "dense")
    y_shape = _y_shape(x.shape, w.shape, None if b is None else b.shape)
    y = np.matmul(x, w)
    if b is not None:
        fits = y.shape == y_shape and y.dtype.itemsize >= b.dtype.itemsize
        y = np.add(y, b[..., np.newaxis, :], out=y if fits else None)
    return y, DenseCache(x, w, b)


@quiet
def dense_backward(dy: ArrayLike, cache: DenseCache) -> tuple[Array, ...]:
    """Pull the gradient of a dense layer's output back to its operands.

    Parameters
    ----------
    dy : array
        Of exactly the shape of y.
    cache : DenseCache
        From `dense_forward`; it is not changed.

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
    The formulas stand at `dense_forward`. Where w has no leading axes, those of x are further samples, and
    the sum over them is part of one matrix product.
    """
    x, w, b = cache
    dy = as_upstream(dy, _y_shape(x.shape, w.shape, None if b is None else b.shape), "dense")
    product = dy if b is None else sum_to(dy, _y_shape(x.shape, w.shape, None), dy.dtype)
    dx = sum_to(np.matmul(product, w.mT), x.shape, x.dtype)
    if w.ndim == 2 and x.ndim > 2:
        samples = math.prod(x.shape[:-1])
        x, product = x.reshape(samples, x.shape[-1]), product.reshape(samples, w.shape[1])
    dw = sum_to(np.matmul(x.mT, product), w.shape, w.dtype)
    if b is None:
        return dx, dw
    return dx, dw, sum_to(np.add.reduce(dy, axis=-2), b.shape, b.dtype)


@lru_cache(maxsize=1024)
def _y_shape(x: Shape, w: Shape, b: Shape | None) -> Shape:
    """Check the shapes and return that of y."""
    if len(x) < 2:
        raise ValueError(f"x has shape {x}, but dense takes samples (..., N, I); add the axes that are missing.")
    if len(w) < 2:
        raise ValueError(f"w has shape {w}, but dense takes weights (..., I, O); add the axes that are missing.")
    if x[-1] != w[-2]:
        raise ValueError(
            f"x has {x[-1]} inputs per sample (shape {x}), but w takes {w[-2]} (shape {w}); "
            f"the last axis of x must equal the last but one of w."
        )
    if b is None:
        return (*broadcast(x=x[:-2], w=w[:-2]), x[-2], w[-1])
    if b[-1:] != w[-1:]:
        raise ValueError(f"b has shape {b}, but w has {w[-1]} outputs; b must have shape (..., {w[-1]}).")
    return (*broadcast(x=x[:-2], w=w[:-2], b=b[:-1]), x[-2], w[-1])
