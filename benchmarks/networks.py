"""Multilayer perceptrons with their right gradient, of any size, activation and dtype."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["ACTIVATIONS", "mlp"]

Array = np.ndarray[Any, Any]
Tree = dict[str, Array]


def _max_of_pairs(z: Array) -> Array:
    return np.repeat(np.maximum(z[:, ::2], z[:, 1::2]), 2, axis=1) / 2


def _max_of_pairs_backward(dy: Array, z: Array) -> Array:
    total = (dy[:, ::2] + dy[:, 1::2]) / 2
    first = z[:, ::2] >= z[:, 1::2]
    return np.stack([total * first, total * ~first], axis=2).reshape(z.shape)


ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "tanh": (np.tanh, lambda dy, z: dy * (1 - np.tanh(z) ** 2)),
    "relu": (lambda z: np.maximum(z, 0), lambda dy, z: dy * (z > 0)),
    "leaky": (lambda z: np.where(z > 0, z, z / 8), lambda dy, z: np.where(z > 0, dy, dy / 8)),
    "abs": (np.abs, lambda dy, z: dy * np.sign(z)),
    "max": (_max_of_pairs, _max_of_pairs_backward),
}
"""Name -> forward, backward."""


def mlp(
    sizes: tuple[int, ...], activation: str, seed: int, *, rows: int = 2, dtype: Any = np.float64
) -> tuple[Callable[[Tree], Any], Callable[[Tree], Tree], Tree]:
    """Return the squared error of a network on random data, its gradient, and random weights."""
    rng = np.random.default_rng(seed)
    params: Tree = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        params[f"w{layer}"] = (rng.normal(size=(inputs, outputs)) / np.sqrt(inputs)).astype(dtype)
        params[f"b{layer}"] = (0.1 * rng.normal(size=outputs)).astype(dtype)
    data = rng.normal(size=(rows, sizes[0])).astype(dtype)
    targets = rng.normal(size=(rows, sizes[-1])).astype(dtype)
    act, back = ACTIVATIONS[activation]
    last = len(sizes) - 2

    def forward(p: Tree) -> tuple[list[Array], list[Array]]:
        hidden, before = [data], []
        for layer in range(last + 1):
            before.append(hidden[-1] @ p[f"w{layer}"] + p[f"b{layer}"])
            hidden.append(act(before[-1]) if layer < last else before[-1])
        return hidden, before

    def f(p: Tree) -> Any:
        return ((forward(p)[0][-1] - targets) ** 2).sum() / 2

    def grad(p: Tree) -> Tree:
        hidden, before = forward(p)
        dy, gradient = hidden[-1] - targets, {}
        for layer in reversed(range(last + 1)):
            dy = back(dy, before[layer]) if layer < last else dy
            gradient[f"w{layer}"], gradient[f"b{layer}"] = hidden[layer].T @ dy, dy.sum(axis=0)
            dy = dy @ p[f"w{layer}"].T
        return {name: gradient[name] for name in p}

    return f, grad, params
