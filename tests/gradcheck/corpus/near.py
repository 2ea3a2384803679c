"""Points that are differentiable, with a kink 1e-5 to 1e-9 away, a jump near by, or many kinks around (ReLU networks).

The gradient exists and there is one right answer. Exact gradients are the same formulas in extended precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .case import Array, Bug, Case

Rng = np.random.Generator
Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Piece:
    """A function with its gradient, and the gradients on the other side of the kinks or jumps near by.

    ``near`` are the elements a kink is near to, ``away`` those that a bug elsewhere may concern.
    """

    name: str
    point: Array
    value: Callable[[Array], float]
    gradient: Function
    other: Function | None
    near: Array
    away: Array


def _signed(rng: Rng, n: int, low: float = 0.4, high: float = 1.5) -> Array:
    return rng.uniform(low, high, n) * rng.choice([-1.0, 1.0], n)


def _tiny(rng: Rng, n: int, low: float = -9, high: float = -5) -> Array:
    return 10 ** rng.uniform(low, high, n) * rng.choice([-1.0, 1.0], n)


def _separable(rng: Rng, name: str, kink: float, value: Function, slope: Function) -> Piece:
    """Weigh a function of every element; some elements lie near its kink, the others 0.1 or more away."""
    n = int(rng.integers(2, 13))
    near = rng.permutation(n) < rng.integers(1, n)
    x = kink + np.where(near, _tiny(rng, n), _signed(rng, n, 0.1, 0.8))
    c = _signed(rng, n)

    def other(x: Array) -> Array:
        return c * slope(np.where(near, 2 * kink - x, x))

    return Piece(name, x, lambda x: c @ value(x), lambda x: c * slope(x), other, near, ~near)


SEPARABLE: tuple[tuple[str, float, Function, Function], ...] = (
    ("relu", 0.0, lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
    ("abs", 0.0, np.abs, np.sign),
    ("leaky relu", 0.0, lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, 1.0, 0.1)),
    ("clip at 1", 1.0, lambda x: np.clip(x, -1, 1), lambda x: 1.0 * (np.abs(x) < 1)),
    ("relu of a square", 0.5, lambda x: np.maximum(x * x - 0.25, 0), lambda x: 2 * x * (x * x > 0.25)),
)


def _windows(rng: Rng, name: str, m: int, k: int, c: Array) -> Piece:
    """Weigh the maxima of m windows of k elements; in some, two elements are nearly the largest."""
    x = rng.permuted(np.linspace(-1, 0.5, k) + rng.uniform(0, 0.1, (m, k)), axis=1)
    tied = rng.permutation(m) < rng.integers(1, m + 1)
    rows = np.arange(m)
    first, second = np.argsort(-x, axis=1)[:, :2].T
    gap = np.abs(_tiny(rng, m))
    x[rows, second] = np.where(tied, x[rows, first] - gap, x[rows, second])
    near = np.zeros((m, k), bool)
    near[rows, first] = near[rows, second] = tied

    def to(x: Array, swap: bool) -> Array:
        order = np.argsort(-x.reshape(m, k), axis=1)
        g = np.zeros((m, k))
        g[rows, np.where(tied & swap, order[:, 1], order[:, 0])] = c
        return g.ravel()

    return Piece(
        name,
        x.ravel(),
        lambda x: c @ x.reshape(m, k).max(1),
        lambda x: to(x, swap=False),
        lambda x: to(x, swap=True),
        near.ravel(),
        ~near.ravel(),
    )


def _largest(rng: Rng) -> Piece:
    k = int(rng.integers(2, 10))
    return _windows(rng, f"max of {k}", 1, k, _signed(rng, 1))


def _pool(rng: Rng) -> Piece:
    m = int(rng.integers(2, 9))
    return _windows(rng, f"max-pool of {m} windows", m, 4, _signed(rng, m))


def _hinge(rng: Rng) -> Piece:
    """Rows 0 and 1 miss the margin, or keep it, by very little."""
    n, d = int(rng.integers(3, 10)), int(rng.integers(2, 7))
    w, X, y = _signed(rng, d), rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], n)
    close = np.arange(n) < 2
    margins = 1 + np.where(close, _tiny(rng, n), _signed(rng, n, 0.3, 2))
    X[:, 0] += (y * margins - X @ w) / w[0]

    def value(w: Array) -> float:
        return np.mean(np.maximum(0, 1 - y * (X @ w))) + np.sum(w * w) / 20

    def gradient(w: Array, flipped: Array) -> Array:
        return -(y * ((y * (X @ w) < 1) ^ flipped)) @ X / n + w / 10

    everywhere = np.ones(d, bool)
    return Piece(
        "hinge loss",
        w,
        value,
        lambda w: gradient(w, close & False),
        lambda w: gradient(w, close),
        everywhere,
        ~everywhere,
    )


def _jump(rng: Rng, name: str, step: Function) -> Piece:
    """Add to a smooth function of each element one that jumps near the point (at zero, or at every integer)."""
    n = int(rng.integers(2, 9))
    near = rng.permutation(n) < rng.integers(1, n)
    x = np.where(near, _tiny(rng, n, -6, -4), _signed(rng, n, 0.2, 0.7))
    if "floor" in name:
        x = x + rng.integers(-2, 3, n)
    c, height = _signed(rng, n), float(rng.uniform(0.1, 1))

    def value(x: Array) -> float:
        return c @ (x + x * x / 8 + height * step(x))

    return Piece(name, x, value, lambda x: c * (1 + x / 4), None, near, ~near)


def _mask(wrong: Array, right: Array) -> Array | None:
    """Say which elements are wrong; None where the error of some is too small to ask for."""
    error, scale = np.abs(wrong - right), np.max(np.abs(right))
    seen = error > 1e-3 * scale
    return seen if not np.any(~seen & (error > 1e-12 * scale)) else None


def _compose(rng: Rng, piece: Piece) -> Case:
    """Add a smooth function of further elements, scatter them, and draw some of the bugs."""
    n, extra = piece.point.size, int(rng.integers(2, 10))
    scale = 2.0 ** int(rng.integers(-6, 7))
    place, d = rng.permutation(n + extra), _signed(rng, extra)
    where = np.argsort(place)
    x = np.concatenate([piece.point, _signed(rng, extra, 0.2, 1.2)])[where] * scale

    def f(x: Array) -> float:
        u = x[place] / scale
        return float(scale * (piece.value(u[:n]) + d @ np.sin(u[n:])))

    def spread(x: Array, first: Function) -> Array:
        u = x[place] / scale
        return np.concatenate([first(u[:n]), d * np.cos(u[n:])])[where]

    def right(x: Array) -> Array:
        return spread(x, piece.gradient)

    g = right(x)
    away = np.concatenate([piece.away, np.ones(extra, bool)])[where]
    one = np.arange(x.size) == rng.choice(np.flatnonzero(away & (np.abs(g) > 0.1 * np.abs(g).max())))
    planted: dict[str, Function] = {"sign away from kinks": lambda x: np.where(one, -1, 1) * right(x)}
    if piece.other is None:
        planted["nothing away from jumps"] = lambda x: np.where(one, 0, 1) * right(x)
        planted["factor 2"] = lambda x: 2 * right(x)
    else:
        planted["the other side's"] = lambda x: spread(x, piece.other)
        planted["nothing near a kink"] = lambda x: spread(x, lambda u: np.where(piece.near, 0, piece.gradient(u)))
    bugs = [Bug(name, wrong, _mask(wrong(x), g)) for name, wrong in planted.items() if np.any(wrong(x) != g)]
    exact = right(x.astype(np.longdouble)).astype(float)
    return Case(piece.name, "near", f, x, right, tuple(bugs), exact=exact)


Network = tuple[list[Array], list[Array]]


def _unpack(x: Array, widths: list[int]) -> Network:
    weights, biases, at = [], [], 0
    for before, after in pairwise(widths):
        weights.append(x[at : at + before * after].reshape(before, after))
        at += before * after
        biases.append(x[at : at + after])
        at += after
    return weights, biases


@dataclass(frozen=True)
class Relu:
    """A ReLU network on fixed data with mean squared error; a backward pass may do something wrong in one layer."""

    widths: list[int]
    X: Array
    T: Array

    def forward(self, x: Array) -> tuple[list[Array], list[Array]]:
        """Return the layers' inputs and their values before the activation."""
        inputs, values = [self.X], []
        weights, biases = _unpack(x, self.widths)
        for W, b in zip(weights, biases, strict=True):
            values.append(inputs[-1] @ W + b)
            inputs.append(np.maximum(values[-1], 0))
        return inputs[:-1], values

    def loss(self, x: Array) -> float:
        return float(np.mean((self.forward(x)[1][-1] - self.T) ** 2) / 2)

    def gradient(self, x: Array, wrong: str = "", layer: int = 0) -> Array:
        inputs, values = self.forward(x)
        weights, _ = _unpack(x, self.widths)
        dz, parts = (values[-1] - self.T) / self.T.size, []
        for i in reversed(range(len(weights))):
            here = wrong if i == layer else ""
            db = dz.sum(0) * (here != "missing bias term")
            dW = inputs[i].T @ dz
            dW = dW.T if here == "transposed gradient" else dW * (2 if here == "factor 2 in a matrix" else 1)
            parts[:0] = [dW.ravel(), db]
            dz = dz @ (weights[i] if here == "transposed product" else weights[i].T)
            if i > 0 and here != "relu mask missing":
                dz = dz * (values[i - 1] > 0)
        return np.concatenate(parts)


def _network(rng: Rng, depth: int) -> Case:
    """Draw a network of 20 to 200 weights; its hidden layers are of one width, so that a transpose can be missed."""
    n, h, o = int(rng.integers(2, 5)), int(rng.integers(4, (13 if depth == 2 else 8))), int(rng.integers(1, 4))
    widths = [n, *[h] * (depth - 1), o]
    N = int(rng.integers(5, 40))
    net = Relu(widths, rng.normal(size=(N, n)), rng.normal(size=(N, o)))
    pairs = list(pairwise(widths))
    x = np.concatenate(
        [part for a, b in pairs for part in (rng.normal(size=a * b) / np.sqrt(a), rng.normal(size=b) / 3)]
    )
    choices = [("missing bias term", depth - 1), ("missing bias term", 0), ("factor 2 in a matrix", depth - 1)]
    choices += [("relu mask missing", depth - 1), ("factor 2 in a matrix", 0)]
    if depth > 2:
        choices += [("transposed product", 1), ("transposed gradient", 1)]
    g = net.gradient(x)
    bugs = []
    for i in rng.permutation(len(choices))[:4]:
        name, layer = choices[i]
        wrong = lambda x, name=name, layer=layer: net.gradient(x, name, layer)  # noqa: E731
        if np.linalg.norm(wrong(x) - g) > 0.02 * np.linalg.norm(g):
            bugs.append(Bug(f"{name}, layer {layer}", wrong, _mask(wrong(x), g)))
    exact = net.gradient(x.astype(np.longdouble)).astype(float)
    name = f"ReLU network {'-'.join(map(str, widths))} on {N} rows"
    return Case(name, "near", net.loss, x, net.gradient, tuple(bugs), exact=exact)


def cases(seed: int) -> list[Case]:
    """Draw one case of each function, and three networks."""
    rng = np.random.default_rng(seed)
    pieces = [_separable(rng, *row) for row in SEPARABLE]
    pieces += [_largest(rng), _pool(rng), _hinge(rng)]
    pieces += [_jump(rng, "jump: floor", np.floor), _jump(rng, "jump: step", lambda x: 1.0 * (x > 0))]
    return [*(_compose(rng, piece) for piece in pieces), *(_network(rng, depth) for depth in (2, 3, 4))]
