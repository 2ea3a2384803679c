"""Elementwise activation functions: relu, arctan, tanh and sigmoid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from network.layers._arguments import Array, as_floats, as_upstream

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
    """What `relu_backward` needs."""

    x: Array


class ArctanCache(NamedTuple):
    """What `arctan_backward` needs."""

    x: Array


class TanhCache(NamedTuple):
    """What `tanh_backward` needs."""

    x: Array


class SigmoidCache(NamedTuple):
    """What `sigmoid_backward` needs."""

    x: Array


def relu_forward(x: ArrayLike) -> tuple[Array, ReluCache]:
    x = as_floats(x, "x", "relu")
    return np.maximum(x, 0), ReluCache(x)


def relu_backward(dy: ArrayLike, cache: ReluCache) -> Array:
    x = cache.x
    dy = as_upstream(dy, x.shape, "relu")
    return np.where(x <= 0, 0, dy).astype(x.dtype, copy=False)


def arctan_forward(x: ArrayLike) -> tuple[Array, ArctanCache]:
    x = as_floats(x, "x", "arctan")
    return np.arctan(x), ArctanCache(x)


def arctan_backward(dy: ArrayLike, cache: ArctanCache) -> Array:
    x = cache.x
    dy = as_upstream(dy, x.shape, "arctan")
    with np.errstate(all="ignore"):
        return (dy / (1 + x * x)).astype(x.dtype, copy=False)


def tanh_forward(x: ArrayLike) -> tuple[Array, TanhCache]:
    x = as_floats(x, "x", "tanh")
    return np.tanh(x), TanhCache(x)


def tanh_backward(dy: ArrayLike, cache: TanhCache) -> Array:
    x = cache.x
    dy = as_upstream(dy, x.shape, "tanh")
    with np.errstate(all="ignore"):
        cosh = np.cosh(x)
        return (dy / cosh / cosh).astype(x.dtype, copy=False)


def sigmoid_forward(x: ArrayLike) -> tuple[Array, SigmoidCache]:
    x = as_floats(x, "x", "sigmoid")
    with np.errstate(all="ignore"):
        decay = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, decay) / (1 + decay), SigmoidCache(x)


def sigmoid_backward(dy: ArrayLike, cache: SigmoidCache) -> Array:
    x = cache.x
    dy = as_upstream(dy, x.shape, "sigmoid")
    with np.errstate(all="ignore"):
        decay = np.exp(-np.abs(x))
        return (dy * (decay / (1 + decay) ** 2)).astype(x.dtype, copy=False)
