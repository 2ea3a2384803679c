"""Elementwise activation functions: relu, arctan, tanh and sigmoid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from network.layers._arguments import Array, as_floats, as_upstream, quiet

__all__ = [
    "ActivationCache",
    "arctan_backward",
    "arctan_forward",
    "relu_backward",
    "relu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "tanh_backward",
    "tanh_forward",
]


class ActivationCache(NamedTuple):
    """What the backward of an activation needs: the array as it was given, not copied."""

    x: Array


def relu_forward(x: ArrayLike) -> tuple[Array, ActivationCache]:
    """Replace what is negative by zero.

    Parameters
    ----------
    x : array, any shape
        float32 or float64.

    Returns
    -------
    y : array
        Shape and dtype of x.
    cache : ActivationCache
        For `relu_backward`; it refers to x.

    Raises
    ------
    ValueError
        When x is not of floats.

    Notes
    -----
    **Forward** ``y = max(x, 0)``

    **Backward** ``dx = dy where x > 0, else 0``

    A NaN comes out as NaN.
    """
    x = as_floats(x, "x", "relu")
    return np.maximum(x, 0), ActivationCache(x)


def relu_backward(dy: ArrayLike, cache: ActivationCache) -> Array:
    """Pull a gradient back through `relu_forward`.

    Parameters
    ----------
    dy : array
        Of exactly the shape of y.
    cache : ActivationCache
        From `relu_forward`; it is not changed.

    Returns
    -------
    dx : array
        Shape and dtype of x.

    Raises
    ------
    ValueError
        When dy has not exactly the shape of y, or is not of floats.
    """
    x = cache.x
    dy = as_upstream(dy, x.shape, "relu")
    return np.where(x <= 0, 0, dy).astype(x.dtype, copy=False)


@quiet
def arctan_forward(x: ArrayLike) -> tuple[Array, ActivationCache]:
    """Take the arc tangent.

    Parameters
    ----------
    x : array, any shape
        float32 or float64.

    Returns
    -------
    y : array
        Shape and dtype of x.
    cache : ActivationCache
        For `arctan_backward`; it refers to x.

    Raises
    ------
    ValueError
        When x is not of floats.

    Notes
    -----
    **Forward** ``y = arctan(x)``

    **Backward** ``dx = dy / (1 + x**2)``
    """
    x = as_floats(x, "x", "arctan")
    return np.arctan(x), ActivationCache(x)


@quiet
def arctan_backward(dy: ArrayLike, cache: ActivationCache) -> Array:
    """Pull a gradient back through `arctan_forward`.

    Parameters
    ----------
    dy : array
        Of exactly the shape of y.
    cache : ActivationCache
        From `arctan_forward`; it is not changed.

    Returns
    -------
    dx : array
        Shape and dtype of x.

    Raises
    ------
    ValueError
        When dy has not exactly the shape of y, or is not of floats.
    """
    x = cache.x
    dy = as_upstream(dy, x.shape, "arctan")
    dx: Array = dy / (1 + x * x)
    return dx.astype(x.dtype, copy=False)


@quiet
def tanh_forward(x: ArrayLike) -> tuple[Array, ActivationCache]:
    """Take the hyperbolic tangent.

    Parameters
    ----------
    x : array, any shape
        float32 or float64.

    Returns
    -------
    y : array
        Shape and dtype of x.
    cache : ActivationCache
        For `tanh_backward`; it refers to x.

    Raises
    ------
    ValueError
        When x is not of floats.

    Notes
    -----
    **Forward** ``y = tanh(x)``

    **Backward** ``dx = dy / cosh(x)**2``

    Unlike ``1 - y**2`` that keeps its digits where y is near 1.
    """
    x = as_floats(x, "x", "tanh")
    return np.tanh(x), ActivationCache(x)


@quiet
def tanh_backward(dy: ArrayLike, cache: ActivationCache) -> Array:
    """Pull a gradient back through `tanh_forward`.

    Parameters
    ----------
    dy : array
        Of exactly the shape of y.
    cache : ActivationCache
        From `tanh_forward`; it is not changed.

    Returns
    -------
    dx : array
        Shape and dtype of x.

    Raises
    ------
    ValueError
        When dy has not exactly the shape of y, or is not of floats.
    """
    x = cache.x
    dy = as_upstream(dy, x.shape, "tanh")
    cosh = np.cosh(x)
    dx: Array = dy / cosh / cosh
    return dx.astype(x.dtype, copy=False)


@quiet
def sigmoid_forward(x: ArrayLike) -> tuple[Array, ActivationCache]:
    """Take the logistic function.

    Parameters
    ----------
    x : array, any shape
        float32 or float64.

    Returns
    -------
    y : array
        Shape and dtype of x.
    cache : ActivationCache
        For `sigmoid_backward`; it refers to x.

    Raises
    ------
    ValueError
        When x is not of floats.

    Notes
    -----
    **Forward** ``y = 1 / (1 + exp(-x))``

    **Backward** ``dx = dy * exp(-|x|) / (1 + exp(-|x|))**2``

    Both keep their digits at both ends; y is 0 below -709 (float32: -88), where the exponential overflows.
    """
    x = as_floats(x, "x", "sigmoid")
    return 1 / (1 + np.exp(-x)), ActivationCache(x)


@quiet
def sigmoid_backward(dy: ArrayLike, cache: ActivationCache) -> Array:
    """Pull a gradient back through `sigmoid_forward`.

    Parameters
    ----------
    dy : array
        Of exactly the shape of y.
    cache : ActivationCache
        From `sigmoid_forward`; it is not changed.

    Returns
    -------
    dx : array
        Shape and dtype of x.

    Raises
    ------
    ValueError
        When dy has not exactly the shape of y, or is not of floats.
    """
    x = cache.x
    dy = as_upstream(dy, x.shape, "sigmoid")
    decay = np.exp(-np.abs(x))
    dx: Array = dy * decay / (1 + decay) / (1 + decay)
    return dx.astype(x.dtype, copy=False)
