"""Layers with their backward passes: right ones, and ones with the mistakes people make in them.

A layer is a forward and a backward function; ``backward(dy, cache, wrong)`` makes the mistake that ``wrong`` names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .case import Array, Bug, LayerCase

Rng = np.random.Generator
Grads = tuple[Array, ...]
TIE = "every tied element gets all"


@dataclass(frozen=True)
class Layer:
    """A layer at a point, with the mistakes to choose from; of those named a tie's no elements are asked."""

    name: str
    inputs: tuple[Array, ...]
    forward: Callable[..., tuple[Array, object]]
    backward: Callable[[Array, object, str], Grads]
    wrongs: tuple[str, ...]


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _softmax_back(dy: Array, y: Array, wrong: str = "") -> Array:
    return y * (1 - y) * dy if wrong == "only the diagonal" else y * (dy - np.sum(dy * y, axis=-1, keepdims=True))


def _far_from_zero(rng: Rng, *shape: int) -> Array:
    return rng.uniform(0.2, 1.5, shape) * rng.choice([-1.0, 1.0], shape)


def _dims(rng: Rng, n: int, low: int = 2, high: int = 6) -> list[int]:
    return [int(i) for i in rng.integers(low, high, n)]


def dense(rng: Rng, *, square: bool) -> Layer:
    n, d, m = _dims(rng, 3, 3)
    m = d if square else m

    def backward(dy: Array, cache: object, wrong: str) -> Grads:
        x, W = cache
        dx = dy @ (W if wrong == "transposed W for x" else W.T) * (2 if wrong == "factor 2 in x" else 1)
        dW = x.T @ dy / (len(x) if wrong == "W averaged over rows" else 1)
        db = dy[0] * len(dy) if wrong == "n times the first row for b" else dy.sum(axis=0)
        return dx, dW.T if wrong == "transposed gradient of W" else dW, db

    inputs = (rng.normal(size=(n, d)), rng.normal(size=(d, m)), rng.normal(size=m))
    wrongs = ("n times the first row for b", "W averaged over rows", "factor 2 in x")
    wrongs = ("transposed W for x", "transposed gradient of W") if square else wrongs
    return Layer("square dense" if square else "dense", inputs, lambda x, W, b: (x @ W + b, (x, W)), backward, wrongs)


def relu(rng: Rng) -> Layer:
    slope = float(rng.choice([0.0, 0.1, 0.3]))

    def backward(dy: Array, x: object, wrong: str) -> Grads:
        of = np.roll(x, 1) if wrong == "mask of the wrong variable" else x
        return (dy if wrong == "missing mask" else dy * np.where(of > 0, 1, slope).astype(x.dtype),)

    name = f"leaky relu {slope}" if slope else "relu"
    inputs = (_far_from_zero(rng, *_dims(rng, 2, 3)),)
    inputs[0][0, :2] = -0.4, 0.6
    wrongs = ("mask of the wrong variable", "missing mask")
    return Layer(name, inputs, lambda x: (np.where(x > 0, x, x * x.dtype.type(slope)), x), backward, wrongs)


def softmax(rng: Rng) -> Layer:
    def backward(dy: Array, y: object, wrong: str) -> Grads:
        return (y * dy if wrong == "forgotten subtraction" else _softmax_back(dy, y, wrong),)

    x, wrongs = rng.normal(size=_dims(rng, 2, 3)), ("only the diagonal", "forgotten subtraction")
    return Layer("softmax", (x,), lambda x: (_softmax(x),) * 2, backward, wrongs)


def _norm(rng: Rng, name: str, axis: int) -> Layer:
    """Normalise over an axis: over the features (layer norm) or the rows (batch norm)."""
    n, d = _dims(rng, 2, 4, 8)

    def forward(x: Array, gamma: Array, beta: Array) -> tuple[Array, object]:
        centred = x - x.mean(axis=axis, keepdims=True)
        deviation = np.sqrt(np.mean(centred**2, axis=axis, keepdims=True) + x.dtype.type(1e-5))
        return gamma * centred / deviation + beta, (centred / deviation, deviation, gamma)

    def backward(dy: Array, cache: object, wrong: str) -> Grads:
        h, deviation, gamma = cache
        dh = dy if wrong == "gamma forgotten in x" else dy * gamma
        mean = 0 if wrong == "missing mean term" else dh.mean(axis=axis, keepdims=True)
        variance = 0 if wrong == "missing variance term" else h * np.mean(dh * h, axis=axis, keepdims=True)
        dx = dh - mean - variance
        dbeta = dy.mean(axis=0) if wrong == "beta averaged" else dy.sum(axis=0)
        return dx if wrong == "missing division" else dx / deviation, np.sum(dy * h, axis=0), dbeta

    inputs = (2 * rng.normal(size=(n, d)) + 0.5, _far_from_zero(rng, d), rng.normal(size=d))
    wrongs = ("missing mean term", "missing variance term", "gamma forgotten in x", "beta averaged", "missing division")
    return Layer(name, inputs, forward, backward, wrongs)


def conv1d(rng: Rng) -> Layer:
    n, c, m, k, extra = *_dims(rng, 3, 1, 4), int(rng.integers(2, 4)), int(rng.integers(2, 5))

    def forward(x: Array, W: Array, b: Array) -> tuple[Array, object]:
        y = np.stack([np.einsum("nck,mck->nm", x[:, :, i : i + k], W) for i in range(extra + 1)], axis=-1)
        return y + b[:, None], (x, W)

    def backward(dy: Array, cache: object, wrong: str) -> Grads:
        x, W = cache
        dx, dW = np.zeros_like(x), np.zeros_like(W)
        V = W[:, :, ::-1] if wrong == "rotated kernel" else W
        for i in range(extra + 1):
            dx[:, :, i : i + k] += np.einsum("nm,mck->nck", dy[:, :, i], V)
            dW += np.einsum("nm,nck->mck", dy[:, :, i], x[:, :, i : i + k])
        if wrong == "reversed gradient of W":
            dW = dW[:, :, ::-1]
        return dx, dW, dy[..., 0].sum(axis=0) if wrong == "b of one position" else dy.sum(axis=(0, 2))

    inputs = (rng.normal(size=(n, c, k + extra)), rng.normal(size=(m, c, k)), rng.normal(size=m))
    wrongs = ("rotated kernel", "reversed gradient of W", "b of one position")
    return Layer("convolution 1-D", inputs, forward, backward, wrongs)


def conv2d(rng: Rng) -> Layer:
    n, k, extra = int(rng.integers(1, 3)), int(rng.integers(2, 4)), int(rng.integers(1, 3))
    c, m = _dims(rng, 2, 2, 4)
    steps = [(i, j) for i in range(extra + 1) for j in range(extra + 1)]

    def forward(x: Array, W: Array) -> tuple[Array, object]:
        y = np.zeros((n, m, extra + 1, extra + 1), x.dtype)
        for i, j in steps:
            y[:, :, i, j] = np.einsum("nckl,mckl->nm", x[:, :, i : i + k, j : j + k], W)
        return y, (x, W)

    def backward(dy: Array, cache: object, wrong: str) -> Grads:
        x, W = cache
        dx, dW = np.zeros_like(x), np.zeros_like(W)
        changes = {"rotated kernel": W[:, :, ::-1, ::-1], "transposed kernel": W.swapaxes(2, 3)}
        for i, j in steps:
            dx[:, :, i : i + k, j : j + k] += np.einsum("nm,mckl->nckl", dy[:, :, i, j], changes.get(wrong, W))
            dW += np.einsum("nm,nckl->mckl", dy[:, :, i, j], x[:, :, i : i + k, j : j + k])
        return dx, dW.swapaxes(2, 3) if wrong == "transposed gradient of W" else dW

    inputs = (rng.normal(size=(n, c, k + extra, k + extra)), rng.normal(size=(m, c, k, k)))
    wrongs = ("rotated kernel", "transposed kernel", "transposed gradient of W")
    return Layer("convolution 2-D", inputs, forward, backward, wrongs)


def _blocks(x: Array) -> Array:
    """Lay the 2x2 windows of (n, 2h, 2w) along a last axis."""
    n, h, w = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2).swapaxes(2, 3).reshape(n, h // 2, w // 2, 4)


def _unblocks(y: Array) -> Array:
    n, h, w, _ = y.shape
    return y.reshape(n, h, w, 2, 2).swapaxes(2, 3).reshape(n, 2 * h, 2 * w)


def _max_pool(rng: Rng, *, ties: bool) -> Layer:
    n, h, w = _dims(rng, 3, 1, 4)
    x = _unblocks(rng.permuted(np.arange(4) * 0.5 + rng.uniform(0, 0.3, (n, h, w, 4)), axis=-1))
    if ties:
        x = rng.integers(0, 3, x.shape) / 2
        x[:, 0, :2] = 2.0

    def backward(dy: Array, x: object, wrong: str) -> Grads:
        v = _blocks(x)
        top = v == v.max(axis=-1, keepdims=True)
        first = top & (np.cumsum(top, axis=-1) == 1)
        share = np.full(4, 0.25) if wrong == "spread over the window" else (top if wrong == TIE else first)
        share = np.roll(first, 1, axis=-1) if wrong == "to the neighbour" else share
        return (_unblocks(share * dy[..., None]).astype(x.dtype),)

    wrongs = (TIE,) if ties else ("spread over the window", "to the neighbour")
    name = f"max-pool {'with' if ties else 'without'} ties"
    return Layer(name, (x,), lambda x: (_blocks(x).max(axis=-1), x), backward, wrongs)


def avg_pool(rng: Rng) -> Layer:
    n, h, w = _dims(rng, 3, 1, 4)

    def backward(dy: Array, _: object, wrong: str) -> Grads:
        share = {"missing 1/n": [1.0] * 4, "to the first": [1.0, 0, 0, 0]}.get(wrong, [0.25] * 4)
        return (_unblocks(dy[..., None] * np.array(share, dy.dtype)),)

    x, wrongs = rng.normal(size=(n, 2 * h, 2 * w)), ("missing 1/n", "to the first")
    return Layer("avg-pool", (x,), lambda x: (_blocks(x).mean(axis=-1), None), backward, wrongs)


def gather(rng: Rng) -> Layer:
    n, d = _dims(rng, 2, 3, 7)
    rows = rng.integers(0, n - 1, 6)
    rows[:2] = rows[2]

    def backward(dy: Array, table: object, wrong: str) -> Grads:
        dt = np.zeros_like(table)
        if wrong == "repeated rows overwrite":
            dt[rows] = dy
        else:
            np.add.at(dt, rows + (wrong == "next row"), dy)
        return (dt,)

    table = rng.normal(size=(n, d))
    return Layer("gather", (table,), lambda t: (t[rows], t), backward, ("repeated rows overwrite", "next row"))


def cumsum(rng: Rng) -> Layer:
    def backward(dy: Array, _: object, wrong: str) -> Grads:
        if wrong == "not reversed":
            return (np.cumsum(dy, axis=-1),)
        g = np.cumsum(dy[..., ::-1], axis=-1)[..., ::-1]
        return (g - dy if wrong == "exclusive" else g,)

    x = rng.normal(size=_dims(rng, 2, 3, 7))
    return Layer("cumsum", (x,), lambda x: (np.cumsum(x, axis=-1), None), backward, ("not reversed", "exclusive"))


def outer(rng: Rng) -> Layer:
    n = int(rng.integers(3, 8))

    def backward(dy: Array, cache: object, wrong: str) -> Grads:
        a, b = cache
        da = dy.T @ b if wrong == "transposed for a" else dy @ b
        return da, dy.T @ b if wrong == "the other factor for b" else dy.T @ a

    inputs = (_far_from_zero(rng, n), _far_from_zero(rng, n))
    wrongs = ("transposed for a", "the other factor for b")
    return Layer("outer product", inputs, lambda a, b: (np.outer(a, b), (a, b)), backward, wrongs)


def self_product(rng: Rng) -> Layer:
    n, d = _dims(rng, 2, 3, 6)

    def backward(dy: Array, x: object, wrong: str) -> Grads:
        return (dy @ x if wrong == "second term forgotten" else (dy + dy.T) @ x,)

    x = rng.normal(size=(n, d))
    return Layer("Gram matrix", (x,), lambda x: (x @ x.T, x), backward, ("second term forgotten",))


def attention(rng: Rng) -> Layer:
    n, m, d = _dims(rng, 3, 2, 5)

    def forward(q: Array, k: Array, v: Array) -> tuple[Array, object]:
        p = _softmax(q @ k.T / q.dtype.type(np.sqrt(d)))
        return p @ v, (q, k, v, p)

    def backward(dy: Array, cache: object, wrong: str) -> Grads:
        q, k, v, p = cache
        ds = _softmax_back(dy @ v.T, p, wrong)
        ds = ds if wrong == "missing 1/sqrt(d)" else ds / q.dtype.type(np.sqrt(d))
        dk = ds.T @ q * (-1 if wrong == "sign of k" else 1)
        return ds @ k, dk, p.T @ dy * (2 if wrong == "factor 2 in v" else 1)

    inputs = (rng.normal(size=(n, d)), rng.normal(size=(m, d)), rng.normal(size=(m, d)))
    wrongs = ("only the diagonal", "missing 1/sqrt(d)", "sign of k", "factor 2 in v")
    return Layer("attention", inputs, forward, backward, wrongs)


def broadcast_add(rng: Rng) -> Layer:
    n, d = _dims(rng, 2, 3, 7)
    rules = {"n times the first row": lambda dy: n * dy[0], "averaged": lambda dy: dy.mean(axis=0)}
    rules["one row"] = lambda dy: dy[-1]

    def backward(dy: Array, _: object, wrong: str) -> Grads:
        return dy, rules[wrong](dy) if wrong else dy.sum(axis=0)

    inputs = (rng.normal(size=(n, d)), rng.normal(size=d))
    return Layer("broadcasting add", inputs, lambda x, b: (x + b, None), backward, tuple(rules))


def logsumexp(rng: Rng) -> Layer:
    def forward(x: Array) -> tuple[Array, object]:
        top = x.max(axis=0)
        return top + np.log(np.exp(x - top).sum(axis=0)), x

    def backward(dy: Array, x: object, wrong: str) -> Grads:
        p = _softmax(x) if wrong == "the other axis" else _softmax(x.T).T
        return (np.exp(x) * dy if wrong == "missing division" else p * dy,)

    x = rng.normal(size=_dims(rng, 2, 3, 7))
    return Layer("logsumexp", (x,), forward, backward, ("the other axis", "missing division"))


def sort(rng: Rng) -> Layer:
    n, d = _dims(rng, 2, 3, 7)

    def backward(dy: Array, order: object, wrong: str) -> Grads:
        g = np.empty_like(dy)
        np.put_along_axis(g, order, dy, axis=-1)
        return ({"not put back": dy, "gathered": np.take_along_axis(dy, order, axis=-1)}.get(wrong, g),)

    x = rng.permuted(np.linspace(-1, 1, d) + rng.uniform(0, 0.2 / d, (n, d)), axis=-1)
    x[0] = np.roll(np.sort(x[0]), 1)
    return Layer("sort", (x,), lambda x: (np.sort(x), np.argsort(x)), backward, ("not put back", "gathered"))


def cross_entropy(rng: Rng) -> Layer:
    """Of scores and whole numbers: the mean over samples of log-sum-exp minus the score of the label."""
    n, d = _dims(rng, 2, 3, 7)
    labels = rng.integers(0, d, n)

    def forward(z: Array) -> tuple[Array, object]:
        p = _softmax(z)
        return np.asarray(-np.mean(np.log(p[np.arange(n), labels]), dtype=z.dtype)), p

    def backward(dy: Array, p: object, wrong: str) -> Grads:
        one = np.eye(d, dtype=p.dtype)[labels]
        if wrong == "label one further":
            one = np.roll(one, 1, axis=1)
        g = p * (1 - p) if wrong == "softmax's diagonal" else p if wrong == "label not subtracted" else p - one
        return (dy * g / (1 if wrong == "sum for mean" else n),)

    wrongs = ("label not subtracted", "sum for mean", "label one further", "softmax's diagonal")
    return Layer("cross-entropy", (rng.normal(size=(n, d)),), forward, backward, wrongs)


def recurrent(rng: Rng) -> Layer:
    """States of a tanh network over a few steps, all of them given back."""
    steps, d, h = _dims(rng, 3, 2, 5)

    def forward(x: Array, U: Array, W: Array, b: Array) -> tuple[Array, object]:
        states = [np.zeros(h, x.dtype)]
        for row in x:
            states.append(np.tanh(W @ states[-1] + U @ row + b))
        return np.array(states[1:]), (x, U, W, np.array(states))

    def backward(dy: Array, cache: object, wrong: str) -> Grads:
        x, U, W, states = cache
        dx, dU, dW, db, carried = np.zeros_like(x), np.zeros_like(U), np.zeros_like(W), np.zeros(h, x.dtype), 0 * dy[0]
        for t in reversed(range(steps)):
            dz = (dy[t] + carried) * (1 if wrong == "no tanh derivative" else 1 - states[t + 1] ** 2)
            dx[t] = U.T @ dz
            dU, db = (
                (np.outer(dz, x[t]), dz) if wrong == "overwritten at each step" else (dU + np.outer(dz, x[t]), db + dz)
            )
            dW = dW + np.outer(dz, states[t + 1 if wrong == "state one later" else t])
            carried = 0 * dz if wrong == "truncated after one step" else (W if wrong == "transposed W" else W.T) @ dz
        return dx, dU, dW, db

    inputs = (rng.normal(size=(steps, d)), rng.normal(size=(h, d)), rng.normal(size=(h, h)), rng.normal(size=h))
    wrongs = (
        "no tanh derivative",
        "overwritten at each step",
        "state one later",
        "truncated after one step",
        "transposed W",
    )
    return Layer("recurrent", inputs, forward, backward, wrongs)


LAYERS: tuple[Callable[[Rng], Layer], ...] = (
    lambda rng: dense(rng, square=False),
    lambda rng: dense(rng, square=True),
    *(relu, softmax, conv1d, conv2d, avg_pool, gather, cumsum, outer, self_product, attention),
    *(broadcast_add, logsumexp, sort),
    lambda rng: _norm(rng, "layer norm", -1),
    lambda rng: _norm(rng, "batch norm", 0),
    lambda rng: _max_pool(rng, ties=False),
    lambda rng: _max_pool(rng, ties=True),
    cross_entropy,
    recurrent,
)


def _errors(layer: Layer, name: str, cache: object, dy: Array) -> list[Array]:
    """Return the error a bug makes in each input's elements, relative to the input's largest gradient."""
    pairs = zip(layer.backward(dy, cache, name), layer.backward(dy, cache, ""), strict=True)
    return [np.abs(wrong - right) / np.max(np.abs(right)) for wrong, right in pairs]


def _case(rng: Rng, layer: Layer, dtype: type) -> LayerCase:
    """Plant up to three bugs that are large for each of five cotangents; wrong is what is so for any of them."""
    inputs = tuple(a.astype(dtype) for a in layer.inputs)
    y, cache = layer.forward(*inputs)
    dys = [rng.normal(size=y.shape).astype(dtype) for _ in range(5)]
    bugs = []
    for name in rng.permutation(layer.wrongs):
        errors = [_errors(layer, name, cache, dy) for dy in dys]
        seen = [np.max(one, axis=0) > 100 * np.finfo(dtype).eps for one in zip(*errors, strict=True)]
        elements = None if name == TIE else tuple(where if where.any() else None for where in seen)
        if min(max(error.max() for error in one) for one in errors) > 0.1:
            bugs.append(Bug(str(name), lambda dy, cache, name=name: layer.backward(dy, cache, name), elements))
    name = f"{layer.name}, {np.dtype(dtype).name}"
    right = lambda dy, cache: layer.backward(dy, cache, "")  # noqa: E731
    return LayerCase(name, "layers", layer.forward, inputs, right, tuple(bugs[:3]))


def cases(seed: int) -> list[LayerCase]:
    """Draw one case of each layer, about a third of them in single precision."""
    rng = np.random.default_rng(seed)
    return [_case(rng, make(rng), np.float32 if rng.random() < 0.3 else np.float64) for make in LAYERS]
