"""Wrong gradients of textbook layers and models, as they are written by hand, each beside its right twin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import gradcheck
from tests.gradcheck.diagnosis.planted import Array, Planted
from tests.gradcheck.diagnosis.reported import pair


def textbook(seed: int) -> Iterator[Planted]:
    """Give them all."""
    rng = np.random.default_rng([seed, 6])
    for family in (norms, factors, targets, forces, adjoints, borders):
        yield from family(rng)


def norms(rng: np.random.Generator) -> Iterator[Planted]:
    """Give normalisations over other slices than rows, whose deviation, or mean and deviation, are taken for constants."""

    def layer(shape: tuple[int, ...], laid: tuple[int, ...], axes: tuple[int, ...]) -> Any:
        gain = (shape[1],) + (1,) * (len(shape) - 2)

        def mean(a: Array) -> Array:
            return np.mean(a, axis=axes, keepdims=True)

        def forward(x: Array, g: Array) -> tuple[Array, Any]:
            z = x.reshape(laid)
            s = np.sqrt(mean((z - mean(z)) ** 2) + 1e-5)
            h = (z - mean(z)) / s
            return h.reshape(shape) * g.reshape(gain), (h, s, g)

        def back(dy: Array, cache: Any, mean_known: bool = True, deviation_known: bool = True) -> tuple[Array, Array]:
            h, s, g = cache
            dh = (dy * g.reshape(gain)).reshape(laid)
            dx = dh - mean_known * mean(dh) - deviation_known * h * mean(dh * h)
            others = tuple(i for i in range(len(shape)) if i != 1)
            return (dx / s).reshape(shape), np.sum(dy * h.reshape(shape), axis=others)

        return forward, back

    slices = {
        "batch": ((3, 2, 2, 3), (3, 2, 2, 3), (0, 2, 3), "each slice along axes 0, 2, 3"),
        "instance": ((2, 2, 3, 2), (2, 2, 3, 2), (2, 3), "each slice along axes 2, 3"),
        "group": ((2, 4, 2, 2), (2, 2, 2, 2, 2), (2, 3, 4), "each of 2 groups along axis 1"),
        "rows": ((4, 7), (4, 7), (1,), "each slice along axis 1"),
    }
    multiple, constant = "a multiple of x less its mean in", "a constant and a multiple of x in"
    for name, kind, known, what in (
        ("batch", "missing-projection", (True, False), multiple),
        ("batch", "constant-offset", (False, True), "in"),
        ("instance", "missing-projection", (True, False), multiple),
        ("group", "missing-projection", (False, False), constant),
        ("rows", "missing-projection", (False, False), constant),
    ):
        shape, laid, axes, where = slices[name]
        forward, back = layer(shape, laid, axes)
        inputs = rng.normal(size=shape), rng.normal(size=shape[1])
        functions = forward, lambda dy, c, back=back, known=known: back(dy, c, *known), back
        title = f"{name} norm, {what}"
        yield pair(title, kind, gradcheck.check_layer, functions, *inputs, of="x", words=f"{what} {where}")


def factors(rng: np.random.Generator) -> Iterator[Planted]:
    """Give factors of the upstream that are seen no more in the gradient, since sums and products came after them."""

    def softmax_times(x: Array, g: Array) -> tuple[Array, Any]:
        s = np.exp(x - np.max(x, axis=1, keepdims=True))
        s = s / np.sum(s, axis=1, keepdims=True)
        return s * g, (s, g)

    def back(dy: Array, cache: Any, power: int = 1) -> tuple[Array, Array]:
        s, g = cache
        ds = dy * g**power
        return s * (ds - np.sum(ds * s, axis=1, keepdims=True)), np.sum(dy * s, axis=0)

    inputs = rng.normal(size=(5, 6)), rng.normal(size=6)
    for kind, power, words in (("missing-factor", 0, "times g"), ("extra-factor", 2, "over g")):
        functions = softmax_times, lambda dy, c, power=power: back(dy, c, power), back
        yield pair(kind, kind, gradcheck.check_layer, functions, *inputs, of="x", words=f"for the upstream {words}")

    def convolve(x: Array, w: Array) -> tuple[Array, Any]:
        y = np.tanh(np.stack([np.convolve(row, w, "valid") for row in x]))
        return y, (x, w, y)

    def pull(dy: Array, cache: Any, known: bool = True) -> tuple[Array, Array]:
        x, w, y = cache
        da = dy * (1 - y**2) if known else dy
        dx = np.stack([np.convolve(row, w[::-1], "full") for row in da])
        return dx, sum(np.convolve(row[::-1], d, "valid") for row, d in zip(x, da, strict=True))

    functions = convolve, lambda dy, c: pull(dy, c, known=False), pull
    inputs = rng.normal(size=(3, 9)), rng.normal(size=4)
    for name in ("x", "w"):
        words = "for the upstream times 1 - y**2"
        yield pair(
            f"slope {name}", "activation-missing", gradcheck.check_layer, functions, *inputs, of=name, words=words
        )


def targets(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a cross entropy whose gradient has other targets, or none."""
    hard = np.eye(5)[rng.integers(5, size=7)]
    soft = 0.9 * hard + 0.02

    def probabilities(z: Array) -> Array:
        e = np.exp(z - np.max(z, axis=1, keepdims=True))
        return e / np.sum(e, axis=1, keepdims=True)

    def loss(z: Array, target: Array) -> float:
        return float(-np.mean(np.sum(target * np.log(probabilities(z)), axis=1)))

    z = rng.normal(size=(7, 5))
    for name, target, taken, words in (
        ("smoothing", soft, hard, "in 7 and by"),
        ("target", hard, 0 * hard, "by 0.142857 in 7 of 35 elements, and right elsewhere"),
    ):
        functions = (
            lambda z, t=target: loss(z, t),
            lambda z, t=taken: (probabilities(z) - t) / 7,
            lambda z, t=target: (probabilities(z) - t) / 7,
        )
        yield pair(name, "constant-offset", gradcheck.check_gradient, functions, z, words=words)


def forces(rng: np.random.Generator) -> Iterator[Planted]:
    """Give forces of which the reaction is missing."""
    i, j = np.triu_indices(6, 1)

    def energy(x: Array) -> float:
        return float(np.sum((np.linalg.norm(x[i] - x[j], axis=1) - 1) ** 2))

    def slope(x: Array, reaction: float = 1.0) -> Array:
        d = x[i] - x[j]
        r = np.linalg.norm(d, axis=1, keepdims=True)
        out = np.zeros_like(x)
        np.add.at(out, i, 2 * (r - 1) * d / r)
        np.add.at(out, j, -reaction * 2 * (r - 1) * d / r)
        return out

    functions = energy, lambda x: slope(x, reaction=0.0), slope
    yield pair("reaction", "unbalanced", gradcheck.check_gradient, functions, rng.normal(size=(6, 3)), words="axis 0")


def adjoints(rng: np.random.Generator) -> Iterator[Planted]:
    """Give backwards that do what forward does."""
    functions = (
        lambda x: (np.cumsum(x, axis=1), None),
        lambda dy, _: np.cumsum(dy, axis=1),
        lambda dy, _: np.cumsum(dy[:, ::-1], axis=1)[:, ::-1],
    )
    x = rng.normal(size=(3, 7))
    words = "flipped along its last axis both"
    yield pair("running sum", "upstream-transformed", gradcheck.check_layer, functions, x, of="x", words=words)


def borders(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a mean over three places of which those beyond the ends do not count."""
    counts = np.convolve(np.ones(11), np.ones(3), "same")

    def forward(x: Array) -> tuple[Array, Any]:
        return np.stack([np.convolve(row, np.ones(3), "same") for row in np.sin(x)]) / counts, x

    def back(dy: Array, x: Array, n: Array = counts) -> Array:
        return np.stack([np.convolve(row, np.ones(3), "same") for row in dy / n]) * np.cos(x)

    functions = forward, lambda dy, x: back(dy, x, np.full(11, 3.0)), back
    x = rng.normal(size=(3, 11))
    yield pair(
        "padded mean",
        "borders-only",
        gradcheck.check_layer,
        functions,
        x,
        of="x",
        words="the border, 2 wide, along axis 1",
    )
