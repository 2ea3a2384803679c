"""Points exactly at kinks and ties, where a right gradient is an element of Clarke's subdifferential.

Every right gradient here is a limit of gradients at differentiable points near by, or a convex combination of such
limits (a mean over the orders in which tied elements may be told apart). Windows may overlap: what one order of
the elements selects in all of them at once is a limit too, and sharing each window evenly is the mean over all orders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .case import Array, Bug, Case

Rng = np.random.Generator
Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Piece:
    """A function with kinks at a point: gradients, derivatives from either side, elements away from every kink."""

    name: str
    point: Array
    value: Callable[[Array], float]
    right: Function
    wrong: dict[str, Function]
    sides: tuple[Array, Array]
    away: Array
    smooth: bool = False


def _one_hot(where: Array, like: Array) -> Array:
    return (np.arange(like.shape[-1]) == where[..., None]).astype(float)


# Which of the tied elements of a window (the last axis) a gradient goes to.
TIES: dict[str, Function] = {
    "first": lambda tied: _one_hot(np.argmax(tied, -1), tied),
    "last": lambda tied: _one_hot(tied.shape[-1] - 1 - np.argmax(tied[..., ::-1], -1), tied),
    "share": lambda tied: tied / tied.sum(-1, keepdims=True),
}
WRONG_TIES: dict[str, Function] = {
    "every tied element gets all": lambda tied: tied.astype(float),
    "a tie gets nothing": lambda tied: tied * (tied.sum(-1, keepdims=True) == 1.0),
    "two of the tied get all": lambda tied: tied * (np.cumsum(tied, -1) <= 2.0),
}
SLOPES = (0.0, 1.0, 0.5)
WRONG_SLOPES = {"relu'(0) = 2": 2.0, "relu'(0) = -0.5": -0.5}


def relu_slope(z: Array, at_zero: float) -> Array:
    """Derive relu, with a choice at 0."""
    return np.where(z > 0, 1.0, np.where(z < 0, 0.0, at_zero))


def signed(rng: Rng, n: int, low: float = 0.4, high: float = 1.5) -> Array:
    """Draw numbers of either sign, away from zero."""
    return rng.uniform(low, high, n) * rng.choice([-1.0, 1.0], n)


def _sparse(rng: Rng) -> Array:
    """Draw a vector with at least one zero and one other element."""
    n = int(rng.integers(2, 13))
    x = signed(rng, n)
    x[rng.permutation(n)[: int(rng.integers(1, n))]] = 0.0
    return x


def _with_slopes(rng: Rng, name: str, point: Array, value: Function, gradient: Callable, **rest: object) -> Piece:
    """Make a piece of a gradient that takes the slope at the kink as its second argument."""
    slope = float(rng.choice(SLOPES))
    wrong = {bug: (lambda x, s=s: gradient(x, s)) for bug, s in WRONG_SLOPES.items()}
    rest = {"sides": (gradient(point, 0.0), gradient(point, 1.0)), **rest}
    return Piece(f"{name}, slope {slope} at the kink", point, value, lambda x: gradient(x, slope), wrong, **rest)


def _two_slopes(rng: Rng, name: str, below: float, couple: float = 0.0) -> Piece:
    """Weigh functions of slope ``below`` left of zero and 1 right of it; add a quadratic that couples the elements."""
    x = _sparse(rng)
    c, A = signed(rng, x.size), couple * rng.normal(size=(6, x.size))

    def value(x: Array) -> float:
        return c @ np.where(x > 0, x, below * x) + np.sum((A @ x - 1) ** 2) / 2

    def gradient(x: Array, s: float) -> Array:
        return c * (below + (1 - below) * relu_slope(x, s)) + A.T @ (A @ x - 1)

    return _with_slopes(rng, name, x, value, gradient, away=x != 0)


def _clip(rng: Rng) -> Piece:
    low, high = -float(rng.uniform(0.5, 1.5)), float(rng.uniform(0.5, 1.5))
    n = int(rng.integers(2, 11))
    x = np.array([low, high, low - 0.5, high + 0.7, 0.1, *signed(rng, n, 0.1, 0.3)])
    x = x[np.r_[rng.integers(0, 2), rng.permutation(x.size)]]
    c = signed(rng, x.size)

    def gradient(x: Array, s: float) -> Array:
        return c * relu_slope(x - low, s) * relu_slope(high - x, s)

    away = (x != low) & (x != high)
    base = gradient(x, 0.0)
    sides = (np.where(x == high, c, base), np.where(x == low, c, base))
    return _with_slopes(rng, "clip", x, lambda x: c @ np.clip(x, low, high), gradient, away=away, sides=sides)


def _hinge(rng: Rng) -> Piece:
    """Rows 0 and 1 have margin exactly 1 (small integers and halves), the others lie half a unit away or more."""
    d, n = int(rng.integers(2, 7)), int(rng.integers(3, 9))
    w = rng.choice([-1.0, -0.5, 0.5, 1.0], d)
    X = rng.integers(-2, 3, (n, d)).astype(float)
    y = rng.choice([-1.0, 1.0], n)
    margins = np.where(np.arange(n) < 2, 1.0, rng.choice([-1.0, 0.0, 0.5, 2.0], n))
    X[:, 0] += (y * margins - X @ w) / w[0]

    def loss(w: Array) -> float:
        return np.mean(np.maximum(0, 1 - y * (X @ w))) + 0.05 * np.sum(w * w)

    def gradient(w: Array, s: float) -> Array:
        return -(relu_slope(1 - y * (X @ w), s) * y) @ X / n + 0.1 * w

    slopes, base = -(y[:, None] * X)[:2] / n, gradient(w, 0.0)
    sides = (base + np.minimum(slopes, 0).sum(0), base + np.maximum(slopes, 0).sum(0))
    return _with_slopes(rng, "hinge loss", w, loss, gradient, sides=sides, away=np.all(X[:2] == 0, axis=0))


def _relu_of_sum(rng: Rng) -> Piece:
    x = rng.integers(-4, 5, int(rng.integers(2, 9))) / 4
    c, ones = float(np.sum(x)), np.ones(x.size)

    def gradient(x: Array, s: float) -> Array:
        return ones * relu_slope(np.sum(x) - c, s)

    return _with_slopes(rng, "relu(sum(x) - c)", x, lambda x: np.maximum(np.sum(x) - c, 0), gradient, away=ones == 0)


def _relu_chain(rng: Rng) -> Piece:
    x = np.full(3, float(rng.normal()))

    def gradient(x: Array, s: float) -> Array:
        p, q = relu_slope(x[0] - x[1], s), relu_slope(x[1] - x[2], s)
        return np.array([p, -p - q, q])

    def value(x: Array) -> float:
        return np.maximum(x[0] - x[1], 0) - np.maximum(x[1] - x[2], 0)

    sides = (np.array([0.0, -1.0, 1.0]), np.array([1.0, -1.0, 0.0]))
    return _with_slopes(rng, "relu(a-b) - relu(b-c)", x, value, gradient, sides=sides, away=np.zeros(3, bool))


def _huber(rng: Rng) -> Piece:
    delta = float(rng.choice([0.5, 1.0, 2.0]))
    x = np.r_[delta, -delta, signed(rng, int(rng.integers(1, 9))) * delta]

    def value(x: Array) -> float:
        return np.sum(np.where(np.abs(x) <= delta, x * x / 2, delta * (np.abs(x) - delta / 2)))

    def gradient(x: Array) -> Array:
        return np.clip(x, -delta, delta)

    shares = {"nothing at delta": 0.0, "half at delta": 0.5, "sign at delta": -1.0}
    wrong = {bug: (lambda x, s=s: np.where(np.abs(x) == delta, s, 1) * gradient(x)) for bug, s in shares.items()}
    sides = (gradient(x), gradient(x))
    return Piece("Huber at delta", x, value, gradient, wrong, sides, np.ones(x.size, bool), smooth=True)


def _of_windows(rng: Rng, name: str, x: Array, windows: Array, w: Array, sign: float = 1.0) -> Piece:
    """Weigh the maxima (minima where sign is -1) of windows, rows of positions in x."""

    def gradient(x: Array, how: Function) -> Array:
        v = sign * x[windows]
        g = np.zeros(x.size)
        np.add.at(g, windows, w[:, None] * how(v == v.max(-1, keepdims=True)))
        return g

    v = sign * x[windows]
    tied = v == v.max(-1, keepdims=True)
    away = np.ones(x.size, bool)
    away[windows[tied & (tied.sum(-1, keepdims=True) > 1)]] = False
    sides = (gradient(x, WRONG_TIES["a tie gets nothing"]), gradient(x, lambda tied: tied))[:: int(sign)]
    rules = [rule for rule in WRONG_TIES if rule[:3] != "two" or tied.sum(-1).max() > 2]
    wrong = {rule: (lambda x, how=WRONG_TIES[rule]: gradient(x, how)) for rule in rules}
    rule = str(rng.choice(list(TIES)))
    value = lambda x: w @ (sign * (sign * x[windows]).max(-1))  # noqa: E731
    return Piece(f"{name}, {rule}", x, value, lambda x: gradient(x, TIES[rule]), wrong, sides, away)


def _extreme(rng: Rng, sign: float) -> Piece:
    k, extra = int(rng.integers(2, 10)), int(rng.integers(0, 5))
    top = float(rng.normal())
    x = rng.permutation(np.r_[np.full(k, top), top - sign * rng.uniform(0.3, 2, extra)])
    name = f"{'max' if sign > 0 else 'min'} of {x.size}, {k} equal"
    return _of_windows(rng, name, x, np.arange(x.size)[None, :], signed(rng, 1), sign)


def _pool(rng: Rng) -> Piece:
    """Draw a small map of few levels; where windows overlap, their weights are positive so that no bug cancels."""
    size, stride = (4, 2) if rng.random() < 0.5 else (int(rng.integers(3, 5)), 1)
    levels = rng.integers(0, 4, (size, size)) * 0.25
    levels[0, :2] = 1.0
    positions = np.arange(size * size).reshape(size, size)
    corners = [(i, j) for i in range(0, size - 1, stride) for j in range(0, size - 1, stride)]
    windows = np.array([positions[i : i + 2, j : j + 2].ravel() for i, j in corners])
    w = signed(rng, len(windows)) if stride == 2 else rng.uniform(0.4, 1.5, len(windows))
    return _of_windows(rng, f"max-pool of {size}x{size}, stride {stride}", levels.ravel(), windows, w)


def _ordered(rng: Rng, name: str, x: Array, w: Array, group: Array) -> Piece:
    """Weigh the sorted elements; those of ``group`` (a mask) are equal."""
    low = int(np.sum(x < x[group][0]))
    high = low + int(group.sum()) - 1

    def gradient(x: Array, how: str) -> Array:
        g = np.empty(x.size)
        g[x.size - 1 - np.argsort(x[::-1], kind="stable") if how == "last" else np.argsort(x, kind="stable")] = w
        return np.where(group, w[low : high + 1].mean(), g) if how == "share" else g

    base = gradient(x, "first")
    largest = max(w[low : high + 1], key=abs)
    wrong = {
        "every tied element gets the largest": lambda x: np.where(group, largest, base),
        "a tie gets nothing": lambda x: np.where(group, 0.0, base),
    }
    if name.startswith("median") and group.sum() > 2:
        wrong["two of the tied get all"] = lambda x: np.where(group, np.cumsum(group) <= 2, base)
    rule = str(rng.choice(list(TIES)))
    sides = (np.where(group, w[low], base), np.where(group, w[high], base))
    return Piece(f"{name}, {rule}", x, lambda x: w @ np.sort(x), lambda x: gradient(x, rule), wrong, sides, ~group)


def _median(rng: Rng) -> Piece:
    k = int(rng.choice([3, 5, 7]))
    others = int(rng.integers(0, 3))
    x = rng.permutation(np.r_[np.full(k, 0.3), 0.3 + rng.uniform(0.3, 2, others), 0.3 - rng.uniform(0.3, 2, others)])
    w = np.zeros(x.size)
    w[x.size // 2] = 1.0
    return _ordered(rng, f"median of {x.size}, {k} equal", x, w, x == 0.3)


def _sort(rng: Rng) -> Piece:
    k, others = int(rng.integers(2, 5)), int(rng.integers(1, 6))
    x = rng.permutation(np.r_[np.full(k, 0.5), 0.5 + rng.permutation([-1, -0.6, -0.3, 0.4, 0.8])[:others]])
    w = rng.permutation(np.arange(1, x.size + 1) * 0.4) * rng.choice([-1.0, 1.0])
    return _ordered(rng, f"sort of {x.size}, {k} equal", x, w, x == 0.5)


def _fixed(rng: Rng, name: str, value: Function, tables: tuple[dict, dict], sides: tuple[list, list]) -> Piece:
    """Take a function of three equal numbers and tables of its right and wrong gradients there."""
    good, bad = tables
    rule, x = str(rng.choice(list(good))), np.full(3, float(rng.normal()))
    right = np.array(good[rule], float)
    wrong = {name: (lambda x, g=g: np.array(g, float)) for name, g in bad.items()}
    left, above = (np.array(side, float) for side in sides)
    return Piece(f"{name}, {rule}", x, value, lambda x: right, wrong, (left, above), np.zeros(3, bool))


def _max_difference(rng: Rng) -> Piece:
    good = {"first": [0, 0, 0], "last": [0, 1, -1], "mixed": [1, 0, -1], "share": [0, 0.5, -0.5]}
    bad = {"b to both": [0, 1, 0], "twice": [0, 2, -2], "sign at the tie": [0, -1, 1], "c dropped": [1, 0, 0]}
    sides = ([0, 0, 0], [0, 1, -1])
    return _fixed(rng, "max(a,b) - max(a,c)", lambda x: max(x[0], x[1]) - max(x[0], x[2]), (good, bad), sides)


def _nested(rng: Rng) -> Piece:
    good = {"a": [1, 0, 0], "b": [0, 1, 0], "c": [0, 0, 1], "share": [0.25, 0.25, 0.5]}
    bad = {"a and b": [1, 1, 0], "a and c": [1, 0, 1], "every one": [1, 1, 1], "none": [0, 0, 0]}
    sides = ([0, 0, 1], [0, 0, 0])
    return _fixed(rng, "min(max(a,b), c)", lambda x: min(max(x[0], x[1]), x[2]), (good, bad), sides)


def _network(rng: Rng) -> Piece:
    """Feed tied windows (disjoint) and other parameters to a smooth network."""
    k, m, p = int(rng.integers(2, 5)), int(rng.integers(2, 5)), int(rng.integers(2, 7))
    features = rng.uniform(-1, 0.2, (m, k))
    features[:, :2] = rng.uniform(0.5, 1, (m, 1))
    features = rng.permuted(features, axis=1)
    A, B, v = rng.uniform(0.2, 0.6, (5, m)), rng.normal(size=(5, p)) / p, rng.uniform(0.5, 1.5, 5)

    def backward(x: Array, how: Function) -> Array:
        F = x[: m * k].reshape(m, k)
        h = np.tanh(A @ F.max(1) + B @ x[m * k :])
        dz = v * (1 - h * h)
        return np.r_[((A.T @ dz)[:, None] * how(F.max(1, keepdims=True) == F)).ravel(), B.T @ dz]

    x = np.r_[features.ravel(), rng.normal(size=p)]
    rule = str(rng.choice(list(TIES)))
    wrong = {name: (lambda x, how=WRONG_TIES[name]: backward(x, how)) for name in list(WRONG_TIES)[:2]}
    sides = (backward(x, WRONG_TIES["a tie gets nothing"]), backward(x, lambda tied: tied))
    value = lambda x: v @ np.tanh(A @ x[: m * k].reshape(m, k).max(1) + B @ x[m * k :])  # noqa: E731
    name = f"{m} tied windows of {k} in a network, {rule}"
    return Piece(name, x, value, lambda x: backward(x, TIES[rule]), wrong, sides, np.arange(x.size) >= m * k)


PIECES: tuple[Callable[[Rng], Piece], ...] = (
    lambda rng: _two_slopes(rng, "relu sum", 0.0),
    lambda rng: _two_slopes(rng, "abs", -1.0),
    lambda rng: _two_slopes(rng, "L1 and least squares", -1.0, 0.5),
    lambda rng: _two_slopes(rng, "leaky relu", float(rng.choice([0.01, 0.1, 0.3]))),
    lambda rng: _extreme(rng, 1.0),
    lambda rng: _extreme(rng, -1.0),
    *(_clip, _hinge, _relu_of_sum, _relu_chain, _huber),
    *(_pool, _median, _sort, _max_difference, _nested, _network),
)


def _compose(rng: Rng, piece: Piece) -> Case:
    """Add a smooth function of further elements, scatter them, and draw some of the bugs."""
    n, extra = piece.point.size, int(rng.integers(2, 10))
    scale = 2.0 ** int(rng.integers(-6, 7))
    place = rng.permutation(n + extra)
    d = signed(rng, extra)
    x = np.empty(n + extra)
    x[place] = np.r_[piece.point, signed(rng, extra, 0.2, 1.2)] * scale
    away = np.zeros(x.size, bool)
    away[place] = np.r_[piece.away, np.ones(extra, bool)]

    def f(x: Array) -> float:
        u = x[place] / scale
        return float(scale * (piece.value(u[:n]) + d @ np.sin(u[n:])))

    def spread(x: Array, first: Function) -> Array:
        u, g = x[place] / scale, np.empty(x.size)
        g[place] = np.r_[first(u[:n]), d * np.cos(u[n:])]
        return g

    def right(x: Array) -> Array:
        return spread(x, piece.right)

    g = right(x)
    audible = away & (np.abs(g) > 0.1 * np.max(np.abs(g)))
    one = np.arange(x.size) == rng.choice(np.flatnonzero(audible))
    names = rng.permutation(list(piece.wrong))[:2]
    bugs = [Bug(name, lambda x, bad=piece.wrong[name]: spread(x, bad)) for name in map(str, names)]
    bugs.append(Bug("sign of an element away from kinks", lambda x: np.where(one, -1, 1) * right(x), one))
    bugs.append(Bug("factor 2", lambda x: 2 * right(x)))
    sides = tuple(spread(x, lambda _, side=side: side) for side in piece.sides)
    if piece.smooth:
        return Case(piece.name, "kinks", f, x, right, tuple(bugs), exact=g)
    return Case(piece.name, "kinks", f, x, right, tuple(bugs), sides=sides)


def cases(seed: int) -> list[Case]:
    """Draw one case of each function."""
    rng = np.random.default_rng(seed)
    return [_compose(rng, make(rng)) for make in PIECES]
