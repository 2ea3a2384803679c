"""Functions and gradients in single, half and mixed precision.

Everything is written once and takes its precision from its operands: at a float32 point it is single-precision
code, at the same point in extended precision it gives the exact gradient. A bug is planted only where the noise of
``f`` leaves it audible: over a step that a careful author would dare, its error must change ``f`` by 20
times the noise that is measured around the point (against extended precision).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from .case import Array, Bug, Case

Rng = np.random.Generator
Masks = dict[str, Array]


class Objective(Protocol):
    """What a case is made of; ``wrong`` names an error that ``gradient`` is to make."""

    name: str
    kinked: bool
    wrongs: tuple[str, ...]

    def loss(self, x: Array) -> float: ...
    def gradient(self, x: Array, wrong: str = "") -> Array: ...
    def blocks(self) -> Masks: ...


def _log_softmax(z: Array) -> Array:
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Mlp:
    """A network whose weights and biases lie one after another in the point; ``T`` targets, or one-hot classes."""

    widths: tuple[int, ...]
    kinked: bool
    entropy: bool
    X: Array
    T: Array
    wrongs: tuple[str, ...] = ("no derivative of the activation", "missing 1/n")

    @property
    def name(self) -> str:
        loss, activation = "cross-entropy" if self.entropy else "squared error", "ReLU" if self.kinked else "tanh"
        return f"{activation} network {'-'.join(map(str, self.widths))}, {loss}"

    def layers(self, x: Array) -> list[tuple[Array, Array]]:
        parts, at = [], 0
        for n, m in pairwise(self.widths):
            parts.append((x[at : at + n * m].reshape(n, m), x[at + n * m : at + n * m + m]))
            at += n * m + m
        return parts

    def blocks(self) -> Masks:
        size = sum(n * m + m for n, m in pairwise(self.widths))
        parts = self.layers(np.arange(size))
        return {f"matrix {i}": np.isin(np.arange(size), W) for i, (W, _) in enumerate(parts)}

    def forward(self, x: Array) -> tuple[list[Array], Array]:
        inputs = [self.X]
        for W, b in self.layers(x):
            z = inputs[-1] @ W + b
            inputs.append(np.maximum(z, 0) if self.kinked else np.tanh(z))
        return inputs[:-1], z

    def loss(self, x: Array) -> float:
        z = self.forward(x)[1]
        if self.entropy:
            return -np.sum(_log_softmax(z) * self.T) / len(self.T)
        return np.sum((z - self.T) ** 2) / (2 * len(self.T))

    def gradient(self, x: Array, wrong: str = "") -> Array:
        inputs, z = self.forward(x)
        dz = (np.exp(_log_softmax(z)) if self.entropy else z) - self.T
        dz = dz / (1 if wrong == "missing 1/n" else len(self.T))
        parts: list[Array] = []
        for (W, _), h in zip(self.layers(x)[::-1], inputs[::-1], strict=True):
            parts[:0] = [(h.T @ dz).ravel(), dz.sum(axis=0)]
            dz = dz @ W.T
            if wrong != "no derivative of the activation":
                dz = dz * ((h > 0) if self.kinked else 1 - h * h)
        return np.concatenate(parts)


@dataclass(frozen=True)
class Squares:
    """Sum c (x - a)^2 / 2."""

    c: Array
    a: Array
    name = "sum of squares"
    kinked = False
    wrongs = ("missing weights", "forgotten centre")

    def loss(self, x: Array) -> float:
        return np.sum(self.c * (x - self.a) ** 2) / 2

    def gradient(self, x: Array, wrong: str = "") -> Array:
        d = x if wrong == "forgotten centre" else x - self.a
        return d if wrong == "missing weights" else self.c * d

    def blocks(self) -> Masks:
        return {"the first half": np.arange(self.a.size) < self.a.size // 2}


@dataclass(frozen=True)
class Softmax:
    """The mean negative log-likelihood of classes under logits that are the point itself."""

    T: Array
    name = "log-softmax"
    kinked = False
    wrongs = ("missing 1/n", "forgotten subtraction of the class", "softmax of a shifted sum")

    def loss(self, x: Array) -> float:
        return -np.sum(_log_softmax(x) * self.T) / len(self.T)

    def gradient(self, x: Array, wrong: str = "") -> Array:
        p = np.exp(_log_softmax(x))
        if wrong == "softmax of a shifted sum":
            p = p / (1 + p)
        d = p if wrong == "forgotten subtraction of the class" else p - self.T
        return d if wrong == "missing 1/n" else d / len(self.T)

    def blocks(self) -> Masks:
        return {"the first half": np.arange(self.T.size).reshape(self.T.shape) < self.T.size // 2}


@dataclass(frozen=True)
class Logistic:
    """Logistic regression with a ridge."""

    X: Array
    y: Array
    ridge: float
    name = "logistic regression"
    kinked = False
    wrongs = ("missing 1/n", "missing ridge", "forgotten labels")

    def loss(self, x: Array) -> float:
        return np.sum(np.logaddexp(0, -self.y * (self.X @ x))) / len(self.y) + self.ridge * np.sum(x * x) / 2

    def gradient(self, x: Array, wrong: str = "") -> Array:
        d = -1 / (1 + np.exp(self.y * (self.X @ x))) * (1 if wrong == "forgotten labels" else self.y)
        g = d @ self.X / (1 if wrong == "missing 1/n" else len(self.y))
        return g if wrong == "missing ridge" else g + self.ridge * x

    def blocks(self) -> Masks:
        return {"the first half": np.arange(self.X.shape[1]) < self.X.shape[1] // 2}


@dataclass(frozen=True)
class Precision:
    """The type of the point, the one ``f`` and its gradient work in, and the one the gradient is returned in."""

    name: str
    point: type
    work: type
    gradient: type


SINGLE = Precision("float32", np.float32, np.float32, np.float32)
DOUBLE_INSIDE = Precision("float32, float64 inside", np.float32, np.float64, np.float32)
SINGLE_GRADIENT = Precision("float64, gradient float32", np.float64, np.float64, np.float32)
HALF = Precision("float16, float32 inside", np.float16, np.float32, np.float16)


def _changed(right: Callable[[Array], Array], factor: Array) -> Callable[[Array], Array]:
    def wrong(x: Array) -> Array:
        g = right(x)
        return (g * factor).astype(g.dtype)

    return wrong


def _candidates(rng: Rng, objective: Objective, right: Callable[[Array], Array], x: Array, coarse: float) -> list[Bug]:
    """List bugs to draw from, each with the elements that are asked for."""
    g = right(x)
    blocks = objective.blocks()
    block = str(rng.choice(list(blocks)))
    where = blocks[block]
    bugs = [
        Bug(f"{error:.0%} in {block}", _changed(right, np.where(where, 1 + error, 1)))
        for error in (0.02, 0.1, 1.0, -0.1)
        if abs(error) > coarse
    ]
    one = np.abs(g) == np.abs(g).max()
    if one.sum() == 1:
        bugs.append(Bug("sign of the largest element", _changed(right, np.where(one, -1, 1)), one))
    bugs += [Bug(name, lambda x, name=name: objective.gradient(x, name).astype(g.dtype)) for name in objective.wrongs]
    return [bugs[i] for i in rng.permutation(len(bugs))]


def _noise(rng: Rng, objective: Objective, x: Array, kind: Precision) -> float:
    """Return the largest error of the function's value at a few points around this one."""
    errors = [float(np.finfo(kind.work).eps) * abs(float(objective.loss(x.astype(float))))]
    for _ in range(6):
        near = (x * (1 + 1e-3 * rng.normal(size=x.shape))).astype(kind.work)
        errors.append(abs(float(objective.loss(near) - objective.loss(near.astype(np.longdouble)))))
    return max(errors)


def _case(rng: Rng, objective: Objective, x: Array, kind: Precision, *, note: str = "") -> Case:
    """Make a case of an objective in some precision, with up to four bugs that are audible in it."""
    x = x.astype(kind.point)
    plain, casts = rng.integers(0, 2, 2)

    def f(x: Array) -> float:
        # What comes in a higher precision than the function's own is cast to it, or worked on as it is.
        value = objective.loss(x.astype(kind.work if casts else np.result_type(x, kind.work)))
        return float(value) if plain else value

    def right(x: Array) -> Array:
        return objective.gradient(x.astype(kind.work)).astype(kind.gradient)

    exact = objective.gradient(x.astype(np.longdouble))
    dare = (0.002 if objective.kinked else 0.03) * float(np.sqrt(np.mean(x.astype(float) ** 2)))
    noise = 20 * _noise(rng, objective, x, kind)
    bugs = []
    for bug in _candidates(rng, objective, right, x, 0.05 if kind is HALF else 0.01):
        error = float(np.linalg.norm(np.asarray(bug.gradient(x), float) - exact.astype(float)))
        if error * dare > noise and error > 0.004 * float(np.linalg.norm(exact.astype(float))):
            bugs.append(bug)
    easy = kind.work is np.float64 and not objective.kinked
    name = f"{kind.name}: {objective.name}{note}"
    return Case(name, "singles", f, x, right, tuple(bugs[:4]), exact=exact.astype(float), easy=easy)


def _mlp(rng: Rng, *, kinked: bool, entropy: bool) -> tuple[Mlp, Array]:
    """Draw a network of 50 to 1500 parameters and data for it."""
    widths = [int(rng.integers(5, 17)), int(rng.integers(6, 41)), int(rng.integers(2, 6))]
    if rng.random() < 0.4:
        widths[1:2] = [int(rng.integers(5, 21)), int(rng.integers(5, 21))]
    N = int(rng.integers(8, 65))
    X = rng.normal(size=(N, widths[0]))
    T = np.eye(widths[-1])[rng.integers(0, widths[-1], N)] if entropy else np.sin(X[:, : widths[-1]])
    shapes = list(pairwise(widths))
    parts = [p for n, m in shapes for p in (rng.normal(size=n * m) / np.sqrt(n), 0.1 * rng.normal(size=m))]
    return Mlp(tuple(widths), kinked, entropy, X.astype(np.float32), T.astype(np.float32)), np.concatenate(parts)


def _trained(net: Mlp, x: Array, steps: int) -> Array:
    """Descend, but not to where nothing but rounding is left of the gradient."""
    x = x.astype(np.float32)
    for _ in range(steps):
        g = net.gradient(x)
        if np.linalg.norm(g) < 0.004:
            break
        x = x - np.float32(0.1) * g
    return x


# Precision, ReLU rather than tanh, cross-entropy rather than squared error, trained.
NETWORKS: tuple[tuple[Precision, bool, bool, bool], ...] = (
    (SINGLE, False, False, False),
    (SINGLE, True, True, False),
    (SINGLE, False, True, True),
    (SINGLE, True, False, True),
    (SINGLE, False, False, True),
    (DOUBLE_INSIDE, False, True, False),
    (DOUBLE_INSIDE, True, False, True),
    (SINGLE_GRADIENT, False, False, True),
    (HALF, False, True, False),
)


def _network(rng: Rng, kind: Precision, *flags: bool) -> Case:
    kinked, entropy, trained = flags
    net, x = _mlp(rng, kinked=kinked, entropy=entropy)
    steps = int(rng.integers(200, 500)) if trained else 0
    return _case(rng, net, _trained(net, x, steps), kind, note=f", up to {steps} steps" if trained else "")


def _squares(rng: Rng, kind: Precision) -> Case:
    n, scale = int(rng.integers(50, 1500)), 10 ** float(rng.uniform(-2, 1))
    c, a = rng.uniform(0.5, 2, n).astype(np.float32), (scale * rng.normal(size=n)).astype(np.float32)
    return _case(rng, Squares(c, a), scale * rng.normal(size=n), kind)


def _softmax(rng: Rng, kind: Precision) -> Case:
    n, k = int(rng.integers(17, 60)), int(rng.integers(3, 20))
    T = np.eye(k, dtype=np.float32)[rng.integers(0, k, n)]
    return _case(rng, Softmax(T), 2 * rng.normal(size=(n, k)), kind)


def _logistic(rng: Rng, kind: Precision) -> Case:
    n, d = int(rng.integers(20, 200)), int(rng.integers(50, 300))
    X, y = rng.normal(size=(n, d)).astype(np.float32), rng.choice([-1.0, 1.0], n).astype(np.float32)
    return _case(rng, Logistic(X, y, float(rng.uniform(0.01, 0.3))), rng.normal(size=d) / np.sqrt(d), kind)


def cases(seed: int) -> list[Case]:
    """Draw nine networks and three other functions."""
    rng = np.random.default_rng(seed)
    networks = [_network(rng, *row) for row in NETWORKS]
    return [*networks, _squares(rng, SINGLE), _softmax(rng, SINGLE), _logistic(rng, (SINGLE, HALF)[seed % 2])]
