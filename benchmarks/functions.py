"""Scalar functions as people write them, each with its right gradient, at a point of its own.

They take arrays of any dtype and compute in it. `points` are those at which they are differentiable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["FUNCTIONS", "Function"]

Tree = dict[str, Any]
EVERYWHERE = ("given", "zeros", "tiny", "step", "float32")
AWAY_FROM_ZERO = ("given", "float32")


@dataclass(frozen=True)
class Function:
    """A function ``f(params)`` with its gradient, a dict of arrays like ``params``."""

    name: str
    f: Callable[[Tree], Any]
    grad: Callable[[Tree], Tree]
    params: Tree
    points: tuple[str, ...] = EVERYWHERE


def _draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def _like(params: Tree, *arrays: np.ndarray) -> list[np.ndarray]:
    """Return data in the dtype of the parameters."""
    dtype = np.result_type(*(np.asarray(p).dtype for p in params.values()))
    return [array.astype(dtype) if array.dtype.kind == "f" else array for array in arrays]


def ridge() -> Function:
    data, target = _draw(1, 8, 5), _draw(2, 8)

    def residual(p: Tree) -> tuple[Any, Any]:
        x, y = _like(p, data, target)
        return x, x @ p["w"] + p["b"] - y

    def f(p: Tree) -> Any:
        _, r = residual(p)
        return np.mean(r * r) / 2 + 0.05 * np.sum(p["w"] ** 2)

    def grad(p: Tree) -> Tree:
        x, r = residual(p)
        return {"w": x.T @ r / len(r) + p["w"].dtype.type(0.1) * p["w"], "b": np.asarray(r.mean())}

    return Function("ridge regression", f, grad, {"w": _draw(3, 5), "b": np.array(0.3)})


def logistic() -> Function:
    data, label = _draw(4, 9, 4), np.sign(_draw(5, 9))

    def margins(p: Tree) -> tuple[Any, Any, Any]:
        x, s = _like(p, data, label)
        return x, s, s * (x @ p["w"] + p["b"])

    def f(p: Tree) -> Any:
        return np.mean(np.logaddexp(0, -margins(p)[2]))

    def grad(p: Tree) -> Tree:
        x, s, m = margins(p)
        d = -s / (1 + np.exp(m)) / len(m)
        return {"w": x.T @ d, "b": np.asarray(d.sum())}

    return Function("logistic regression", f, grad, {"w": _draw(6, 4), "b": np.array(-0.2)})


def softmax() -> Function:
    data, label = _draw(7, 6, 4), np.arange(6) % 3

    def scores(p: Tree) -> tuple[Any, Any]:
        (x,) = _like(p, data)
        z = x @ p["w"] + p["b"]
        return x, z - z.max(axis=1, keepdims=True)

    def f(p: Tree) -> Any:
        _, z = scores(p)
        return np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(6), label])

    def grad(p: Tree) -> Tree:
        x, z = scores(p)
        d = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        d[np.arange(6), label] -= 1
        d /= 6
        return {"w": x.T @ d, "b": d.sum(axis=0)}

    return Function("softmax cross-entropy", f, grad, {"w": _draw(8, 4, 3), "b": _draw(9, 3)})


def _perceptron(name: str, seed: int, act: Any, slope: Any, points: tuple[str, ...]) -> Function:
    data, target = _draw(seed, 6, 4), _draw(seed + 1, 6, 2)

    def passed(p: Tree) -> tuple[Any, ...]:
        x, y = _like(p, data, target)
        z = x @ p["w1"] + p["b1"]
        return x, z, act(z), (act(z) @ p["w2"] + p["b2"] - y) / len(y)

    def f(p: Tree) -> Any:
        r = passed(p)[3]
        return len(data) * np.sum(r * r) / 2

    def grad(p: Tree) -> Tree:
        x, z, h, r = passed(p)
        d = (r @ p["w2"].T) * slope(z)
        return {"w1": x.T @ d, "b1": d.sum(axis=0), "w2": h.T @ r, "b2": r.sum(axis=0)}

    params = {
        "w1": _draw(seed + 2, 4, 4),
        "b1": _draw(seed + 3, 4),
        "w2": _draw(seed + 4, 4, 2),
        "b2": _draw(seed + 5, 2),
    }
    return Function(name, f, grad, params, points)


def tanh_perceptron() -> Function:
    return _perceptron("tanh network", 10, np.tanh, lambda z: 1 - np.tanh(z) ** 2, EVERYWHERE)


def relu_perceptron() -> Function:
    return _perceptron(
        "ReLU network", 20, lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype), AWAY_FROM_ZERO
    )


def layer_norm() -> Function:
    weights = _draw(30, 3, 5)

    def passed(p: Tree) -> tuple[Any, ...]:
        (w,) = _like(p, weights)
        centred = p["x"] - p["x"].mean(axis=1, keepdims=True)
        sigma = np.sqrt((centred**2).mean(axis=1, keepdims=True) + w.dtype.type(0.1))
        return w, centred / sigma, sigma

    def f(p: Tree) -> Any:
        w, n, _ = passed(p)
        y = n * p["gamma"] + p["beta"]
        return np.sum(w * np.sin(y))

    def grad(p: Tree) -> Tree:
        w, n, sigma = passed(p)
        dy = w * np.cos(n * p["gamma"] + p["beta"])
        dn = dy * p["gamma"]
        dx = (dn - dn.mean(axis=1, keepdims=True) - n * (dn * n).mean(axis=1, keepdims=True)) / sigma
        return {"x": dx, "gamma": (dy * n).sum(axis=0), "beta": dy.sum(axis=0)}

    return Function("layer normalisation", f, grad, {"x": _draw(31, 3, 5), "gamma": _draw(32, 5), "beta": _draw(33, 5)})


def convolution() -> Function:
    images = _draw(40, 2, 2, 5, 5)  # N, C, H, W

    def patches(p: Tree) -> Any:
        (x,) = _like(p, images)
        return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))

    def f(p: Tree) -> Any:
        y = np.einsum("nchwuv,ocuv->nohw", patches(p), p["w"]) + p["b"][:, None, None]
        return np.mean(np.logaddexp(0, y))

    def grad(p: Tree) -> Tree:
        seen = patches(p)
        y = np.einsum("nchwuv,ocuv->nohw", seen, p["w"]) + p["b"][:, None, None]
        dy = 1 / (1 + np.exp(-y)) / y.size
        return {"w": np.einsum("nohw,nchwuv->ocuv", dy, seen), "b": dy.sum(axis=(0, 2, 3))}

    return Function("convolution", f, grad, {"w": _draw(41, 2, 2, 3, 3) / 3, "b": _draw(42, 2)})


def attention() -> Function:
    data, weights = _draw(50, 4, 3), _draw(51, 4, 3)

    def passed(p: Tree) -> tuple[Any, ...]:
        x, c = _like(p, data, weights)
        q, k, v = x @ p["q"], x @ p["k"], x @ p["v"]
        s = q @ k.T / np.sqrt(x.dtype.type(3))
        a = np.exp(s - s.max(axis=1, keepdims=True))
        return x, c, q, k, v, a / a.sum(axis=1, keepdims=True)

    def f(p: Tree) -> Any:
        _, c, _, _, v, a = passed(p)
        return np.sum(c * (a @ v))

    def grad(p: Tree) -> Tree:
        x, c, q, k, v, a = passed(p)
        da = c @ v.T
        ds = a * (da - (da * a).sum(axis=1, keepdims=True)) / np.sqrt(x.dtype.type(3))
        return {"q": x.T @ (ds @ k), "k": x.T @ (ds.T @ q), "v": x.T @ (a.T @ c)}

    return Function("attention", f, grad, {"q": _draw(52, 3, 3), "k": _draw(53, 3, 3), "v": _draw(54, 3, 3)})


def recurrent() -> Function:
    data, target = _draw(60, 5, 2), _draw(61, 3)

    def states(p: Tree) -> tuple[Any, list[Any], Any]:
        x, y = _like(p, data, target)
        hidden = [np.zeros_like(y)]
        for row in x:
            hidden.append(np.tanh(p["h"] @ hidden[-1] + p["x"] @ row + p["b"]))
        return x, hidden, y

    def f(p: Tree) -> Any:
        _, hidden, y = states(p)
        return np.sum((hidden[-1] - y) ** 2) / 2

    def grad(p: Tree) -> Tree:
        x, hidden, y = states(p)
        found = {name: np.zeros_like(value) for name, value in p.items()}
        dh = hidden[-1] - y
        for t in reversed(range(len(x))):
            dz = dh * (1 - hidden[t + 1] ** 2)
            found["h"] += np.outer(dz, hidden[t])
            found["x"] += np.outer(dz, x[t])
            found["b"] += dz
            dh = p["h"].T @ dz
        return found

    return Function("recurrent network", f, grad, {"h": _draw(62, 3, 3) / 2, "x": _draw(63, 3, 2), "b": _draw(64, 3)})


def likelihood() -> Function:
    data = 2 + _draw(70, 12)

    def f(p: Tree) -> Any:
        (x,) = _like(p, data)
        z = (x - p["mean"]) * np.exp(-p["log_sigma"])
        return np.mean(z * z) / 2 + p["log_sigma"]

    def grad(p: Tree) -> Tree:
        (x,) = _like(p, data)
        inverse = np.exp(-p["log_sigma"])
        z = (x - p["mean"]) * inverse
        return {"mean": -np.mean(z) * inverse, "log_sigma": 1 - np.mean(z * z)}

    return Function("normal likelihood", f, grad, {"mean": np.array(0.7), "log_sigma": np.array(-0.4)})


def poisson() -> Function:
    data, counts = _draw(80, 7, 3), np.array([0.0, 1, 3, 2, 0, 5, 1])

    def f(p: Tree) -> Any:
        x, y = _like(p, data, counts)
        eta = x @ p["beta"]
        return np.sum(np.exp(eta) - y * eta)

    def grad(p: Tree) -> Tree:
        x, y = _like(p, data, counts)
        return {"beta": x.T @ (np.exp(x @ p["beta"]) - y)}

    return Function("Poisson regression", f, grad, {"beta": _draw(81, 3) / 2})


def rosenbrock() -> Function:
    def f(p: Tree) -> Any:
        x = p["x"]
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def grad(p: Tree) -> Tree:
        x = p["x"]
        d, g = x[1:] - x[:-1] ** 2, np.zeros_like(x)
        g[1:] += 200 * d
        g[:-1] += -400 * d * x[:-1] - 2 * (1 - x[:-1])
        return {"x": g}

    return Function("Rosenbrock", f, grad, {"x": _draw(90, 6)})


def factorisation() -> Function:
    ratings = _draw(91, 5, 4)

    def f(p: Tree) -> Any:
        (m,) = _like(p, ratings)
        return np.sum((p["u"] @ p["v"].T - m) ** 2) / 2

    def grad(p: Tree) -> Tree:
        (m,) = _like(p, ratings)
        r = p["u"] @ p["v"].T - m
        return {"u": r @ p["v"], "v": r.T @ p["u"]}

    return Function("matrix factorisation", f, grad, {"u": _draw(92, 5, 2), "v": _draw(93, 4, 2)})


def cluster() -> Function:
    def pairs(p: Tree) -> tuple[Any, Any]:
        apart = p["x"][:, None] - p["x"][None]
        return apart, (apart**2).sum(axis=-1) + np.eye(4, dtype=apart.dtype)

    def f(p: Tree) -> Any:
        upper = np.triu_indices(4, 1)
        r2 = pairs(p)[1][upper]
        return np.sum(r2**-6 - r2**-3)

    def grad(p: Tree) -> Tree:
        apart, r2 = pairs(p)
        slope = (-12 * r2**-7 + 6 * r2**-4) * (1 - np.eye(4, dtype=apart.dtype))
        return {"x": (slope[..., None] * apart).sum(axis=1)}

    corners = np.array([[0, 0, 0], [1.1, 0, 0.1], [0.2, 1.2, 0], [0.5, 0.4, 1.1]])
    return Function("forces of atoms", f, grad, {"x": corners + 0.05 * _draw(95, 4, 3)}, AWAY_FROM_ZERO)


FUNCTIONS: tuple[Callable[[], Function], ...] = (
    ridge,
    logistic,
    softmax,
    tanh_perceptron,
    relu_perceptron,
    layer_norm,
    convolution,
    attention,
    recurrent,
    likelihood,
    poisson,
    rosenbrock,
    factorisation,
    cluster,
)
