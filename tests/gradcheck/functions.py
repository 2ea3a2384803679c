"""Known functions with exact gradients, as data: right gradients that are easy or hard, and bugs planted in them.

The gradients are closed forms in float64, written independently of the package. ``noise`` says how well an element of
the gradient can be known relative to the largest, so that a bug is planted above it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Case:
    name: str
    f: Callable[[Array], float]
    grad: Callable[[Array], Array]
    x: Array
    noise: float = 1e-9

    def __str__(self) -> str:
        return self.name


def _point(size: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=size)


def _rosenbrock(x: Array) -> float:
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def _rosenbrock_gradient(x: Array) -> Array:
    g = np.zeros_like(x)
    g[:-1] += -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    g[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return g


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max())
    return e / e.sum()


def _log_sum_exp(x: Array) -> float:
    return float(x.max() + np.log(np.sum(np.exp(x - x.max()))))


SPREAD = 10.0 ** np.array([-12, -6, 0, 6, 12])

EASY = [
    Case("sum of sines", lambda x: float(np.sin(x).sum()), np.cos, _point(20)),
    Case("rosenbrock", _rosenbrock, _rosenbrock_gradient, _point(12, 1)),
    Case("log-sum-exp", _log_sum_exp, _softmax, _point(15, 2)),
    Case("quadratic", lambda x: float(x @ x / 2), lambda x: x, _point(30, 3)),
    Case(
        "product of exponentials",
        lambda x: float(np.exp(x.sum())),
        lambda x: np.full(x.shape, np.exp(x.sum())),
        _point(6),
    ),
]

HARD = [
    Case("large offset", lambda x: float(1e8 + np.sin(x).sum()), np.cos, _point(20), 1e-2),
    Case("fast oscillation", lambda x: float(np.sin(1e4 * x).sum()), lambda x: 1e4 * np.cos(1e4 * x), _point(6)),
    Case("float32 inside", lambda x: float(np.sin(x.astype(np.float32)).sum()), np.cos, _point(20), 1e-1),
    Case("rounded output", lambda x: round(float(np.sin(x).sum()), 6), np.cos, _point(20), 1e-1),
    Case("logarithms near zero", lambda x: float(np.log(x).sum()), lambda x: 1 / x, np.array([1e-8, 1e-4, 1.0, 50.0])),
    Case(
        "arcsines near one",
        lambda x: float(np.arcsin(x).sum()),
        lambda x: 1 / np.sqrt((1 - x) * (1 + x)),
        np.array([1 - 1e-6, 0.99, 0.5]),
        1e-5,
    ),
    Case("twelve decades", lambda x: float((x / SPREAD) @ (x / SPREAD)), lambda x: 2 * x / SPREAD**2, SPREAD.copy()),
    Case("kinks near by", lambda x: float(np.abs(x).sum()), np.sign, np.array([1e-7, -1e-6, 1.0, -2.0])),
    Case(
        "saturated",
        lambda x: float(np.sum(1 / (1 + np.exp(-x)))),
        lambda x: np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2,
        np.array([-40.0, 0.5, 1.0, 40.0]),
    ),
    Case("constant", lambda x: 3.0, np.zeros_like, _point(4)),
    Case(
        "true zeros",
        lambda x: float(np.sin(x[:3]).sum()),
        lambda x: np.where(np.arange(x.size) < 3, np.cos(x), 0.0),
        _point(8),
    ),
    Case("at the origin", lambda x: float(np.sum(x**3 + x)), lambda x: 3 * x**2 + 1, np.zeros(4)),
]

KINKS = [
    Case(
        "relu at zero, 0", lambda x: float(np.maximum(x, 0).sum()), lambda x: (x > 0) * 1.0, np.array([0, 1.0, -2, 0])
    ),
    Case(
        "relu at zero, 1", lambda x: float(np.maximum(x, 0).sum()), lambda x: (x >= 0) * 1.0, np.array([0, 1.0, -2, 0])
    ),
    Case("abs at zero", lambda x: float(np.abs(x).sum()), np.sign, np.array([0, 1.0, -2, 0])),
    Case("maximum of three equal", lambda x: float(x.max()), lambda x: np.array([1.0, 0, 0]), np.ones(3)),
    Case("shared maximum", lambda x: float(x.max()), lambda x: np.full(3, 1 / 3), np.ones(3)),
    Case("median of three equal", lambda x: float(np.median(x)), lambda x: np.array([0.0, 1, 0]), np.ones(3)),
]
