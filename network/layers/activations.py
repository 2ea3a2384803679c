"""Elementwise activations. Each takes an array of any shape and keeps its dtype."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from network.layers._arguments import Array, float_array, output_gradient

__all__ = [
    "ArctanCache",
    "ReluCache",
    "SigmoidCache",
    "TanhCache",
    "arctan_backward",
    "arctan_forward",
    "relu_backward",
    "relu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "tanh_backward",
    "tanh_forward",
]


class ReluCache(NamedTuple):
    """Where the input is positive."""

    positive: Array
    dtype: np.dtype[np.floating]


class ArctanCache(NamedTuple):
    """The input."""

    x: Array


class TanhCache(NamedTuple):
    """The output."""

    y: Array


class SigmoidCache(NamedTuple):
    """The derivative, which is not to be had from the output where that rounds to 1."""

    slope: Array


def relu_forward(x: Array) -> tuple[Array, ReluCache]:
    """Return ``max(x, 0)``; NaN stays NaN.

    Notes
    -----
    **Forward** ``y = max(x, 0)``. **Backward** ``dx = dy`` where ``x > 0``, else 0 (also at 0).
    """
    x = float_array("x", x)
    return np.asarray(np.maximum(x, 0)), ReluCache(np.asarray(x > 0), x.dtype)


def relu_backward(dy: Array, cache: ReluCache) -> Array:
    """Pull a gradient back through `relu_forward`; raises ValueError for a ``dy`` of another shape."""
    dy = output_gradient(dy, cache.positive.shape)
    return np.where(cache.positive, dy, 0).astype(cache.dtype, copy=False)


def arctan_forward(x: Array) -> tuple[Array, ArctanCache]:
    """Return ``arctan(x)``.

    Notes
    -----
    **Forward** ``y = arctan(x)``. **Backward** ``dx = dy / (1 + x**2)``.
    """
    x = float_array("x", x)
    return np.asarray(np.arctan(x)), ArctanCache(x)


def arctan_backward(dy: Array, cache: ArctanCache) -> Array:
    """Pull a gradient back through `arctan_forward`; raises ValueError for a ``dy`` of another shape."""
    dy = output_gradient(dy, cache.x.shape)
    with np.errstate(over="ignore"):  # 1 / (1 + inf) is the right 0
        return np.asarray(dy / (1 + cache.x * cache.x)).astype(cache.x.dtype, copy=False)


def tanh_forward(x: Array) -> tuple[Array, TanhCache]:
    """Return ``tanh(x)``.

    Notes
    -----
    **Forward** ``y = tanh(x)``. **Backward** ``dx = dy (1 - y**2)``.
    """
    x = float_array("x", x)
    y = np.asarray(np.tanh(x))
    return y, TanhCache(y.copy())


def tanh_backward(dy: Array, cache: TanhCache) -> Array:
    """Pull a gradient back through `tanh_forward`; raises ValueError for a ``dy`` of another shape."""
    dy = output_gradient(dy, cache.y.shape)
    return np.asarray(dy * (1 - cache.y * cache.y)).astype(cache.y.dtype, copy=False)


def sigmoid_forward(x: Array) -> tuple[Array, SigmoidCache]:
    """Return ``1 / (1 + exp(-x))`` without overflow at either end.

    Notes
    -----
    **Forward** with ``e = exp(-|x|)``: ``y = 1 / (1 + e)`` for ``x >= 0``, else ``e / (1 + e)``.
    **Backward** ``dx = dy y (1 - y) = dy e / (1 + e)**2``, which is right where ``y`` rounds to 1, too.
    """
    x = float_array("x", x)
    e = np.exp(-np.abs(x))
    scaled = 1 / (1 + e)
    return np.asarray(np.where(x >= 0, scaled, e * scaled)), SigmoidCache(np.asarray(e * scaled * scaled))


def sigmoid_backward(dy: Array, cache: SigmoidCache) -> Array:
    """Pull a gradient back through `sigmoid_forward`; raises ValueError for a ``dy`` of another shape."""
    dy = output_gradient(dy, cache.slope.shape)
    return np.asarray(dy * cache.slope).astype(cache.slope.dtype, copy=False)
