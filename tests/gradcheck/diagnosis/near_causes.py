"""Bugs beside which another cause is near at hand: the simpler one comes first, and what only looks like it keeps its own name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import gradcheck
from tests.gradcheck.diagnosis.planted import Array, Planted
from tests.gradcheck.diagnosis.reported import pair


def near_causes(seed: int) -> Iterator[Planted]:
    """Give them all."""
    rng = np.random.default_rng([seed, 9])
    for family in (constants, multiples, scalings, small_numbers, counts, places, insides, axes):
        yield from family(rng)


def constants(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a constant that is missing where all elements have one sign, and an L1 penalty where they have not."""
    a = rng.normal(size=7)
    for name, x, kind, words in (
        ("one sign", -rng.uniform(0.2, 2.0, size=7), "constant-offset", "same number, -0.7,"),
        ("both signs", rng.uniform(0.2, 2.0, size=7) * [1, -1, 1, 1, -1, 1, -1], "missing-l1-penalty", "strength 0.7"),
    ):
        sign = 1.0 if name == "one sign" else np.sign(x)
        functions = (
            lambda v, s=sign: float(np.sum(a * np.cos(v) + 0.7 * s * v)),
            lambda v: -a * np.sin(v),
            lambda v, s=sign: -a * np.sin(v) + 0.7 * s,
        )
        yield pair(f"constant, {name}", kind, gradcheck.check_gradient, functions, x, words=words)


def multiples(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a factor that is forgotten where the gradient is a multiple of the parameter, and a copy where it is not."""
    x, a = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    functions = lambda v: float(np.sum(1.5 * v**2)), lambda v: v.copy(), lambda v: 3 * v
    yield pair("springs", "constant-ratio", gradcheck.check_gradient, functions, x, words="1/3 of")
    functions = lambda v: float(np.sum(a * v**2)), lambda v: v.copy(), lambda v: 2 * a * v
    yield pair("stiffnesses", "copied", gradcheck.check_gradient, functions, x, words="the parameter itself")
    functions = lambda v: float(np.sum(np.abs(np.fft.fft(v)) ** 2)), lambda v: 11 * v, lambda v: 22 * v
    yield pair("spectrum", "constant-ratio", gradcheck.check_gradient, functions, rng.normal(size=11), words="1/2 of")


def scalings(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a projection that is missing, an L2 penalty that is, and one that is too much where f does not change when scaled."""
    b, x = rng.normal(size=6), rng.normal(size=6)
    for sign in (1.0, -1.0):
        b = sign * np.sign(b @ x) * b

        def cosine(v: Array, b: Array = b) -> float:
            return float(b @ v / np.linalg.norm(v))

        def slope(v: Array, b: Array = b) -> Array:
            return b / np.linalg.norm(v) - (b @ v) * v / np.linalg.norm(v) ** 3

        functions = cosine, lambda v, b=b: b / np.linalg.norm(v), slope
        yield pair(
            f"cosine {sign}", "missing-projection", gradcheck.check_gradient, functions, x, words="a multiple of"
        )
    functions = cosine, lambda v: slope(v) + 0.02 * v, slope
    yield pair("decay of the optimiser", "extra-weight-decay", gradcheck.check_gradient, functions, x, words="0.02")
    functions = lambda v: cosine(v) + 0.35 * float(v @ v), slope, lambda v: slope(v) + 0.7 * v
    yield pair("penalty of a direction", "missing-weight-decay", gradcheck.check_gradient, functions, x, words="0.7")


def small_numbers(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a number beside a variance, a weak coupling, factors of columns, and a factor that is no (n - 1)/n."""

    def norm(x: Array) -> tuple[Array, Any]:
        root = np.sqrt(np.mean(x**2, axis=0) + 1e-4)
        return x / root, (x, root)

    def of_norm(dy: Array, cache: Any, eps: float) -> Array:
        x, root = cache
        return (dy - x * np.mean(dy * x, axis=0) / root**2) / (root if eps else np.sqrt(root**2 - 1e-4))

    functions = norm, lambda dy, c: of_norm(dy, c, 0.0), lambda dy, c: of_norm(dy, c, 1e-4)
    yield pair("eps", "slice-ratios", gradcheck.check_layer, functions, rng.normal(size=(7, 3)), of="x", words="1.000")
    a, point = rng.normal(size=8), {"u": rng.normal(size=8), "v": rng.normal(size=8)}

    def coupled(p: dict[str, Array]) -> float:
        return float(np.sum(np.sin(p["u"]) + a * np.cos(p["v"])) + 2e-4 * p["u"] @ p["v"])

    def slopes(p: dict[str, Array], weight: float) -> dict[str, Array]:
        return {"u": np.cos(p["u"]) + weight * p["v"], "v": -a * np.sin(p["v"]) + 2e-4 * p["u"]}

    functions = coupled, lambda p: slopes(p, 0.0), lambda p: slopes(p, 2e-4)
    yield pair("weak coupling", "approximate", gradcheck.check_gradient, functions, point, of="u", words="a small term")

    def second_order(p: Array) -> float:
        return float(p[1] * (1 - p[0] / 50 + (p[0] / 50) ** 2 / 2) ** 50)

    def of_steps(p: Array) -> Array:
        step = 1 - p[0] / 50 + (p[0] / 50) ** 2 / 2
        return np.array([p[1] * step**49 * (p[0] / 50 - 1), step**50])

    functions = second_order, lambda p: np.exp(-p[0]) * np.array([-p[1], 1.0]), of_steps
    point = np.array([0.7, 1.3])
    yield pair(
        "a solver's steps", "approximate", gradcheck.check_gradient, functions, point, words="a solver's tolerance"
    )
    x = rng.uniform(0.5, 2.0, size=6)
    functions = lambda v: 1.04 * float(np.sum(v**4)), lambda v: 4 * v**3, lambda v: 4.16 * v**3
    yield pair("four per cent", "constant-ratio", gradcheck.check_gradient, functions, x, words="1/1.04 of")
    functions = lambda v: float(np.var(v, ddof=1)), lambda v: 2 * (v - v.mean()) / 6, lambda v: 2 * (v - v.mean()) / 5
    yield pair("variance", "constant-ratio", gradcheck.check_gradient, functions, x, words="(n - 1)/n with n = 6")


def counts(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a half square beside an axis of two, a window that is as large as an axis is long, and a factor of some elements."""
    t = rng.normal(size=(9, 2))
    functions = lambda v: float(np.sum((v - t) ** 2)) / 2, lambda v: 2 * (v - t), lambda v: v - t
    yield pair("half square", "constant-ratio", gradcheck.check_gradient, functions, 0.5 * t**3, words="a half square")
    functions = (
        lambda x: (x.reshape(2, 3, 2, 2).mean(axis=(1, 3)), None),
        lambda dy, _: np.repeat(np.repeat(dy, 3, axis=0), 2, axis=1),
        lambda dy, _: np.repeat(np.repeat(dy, 3, axis=0), 2, axis=1) / 6,
    )
    words = "the number of elements of x for each of y"
    yield pair(
        "window", "constant-ratio", gradcheck.check_layer, functions, rng.normal(size=(6, 4)), of="x", words=words
    )
    x = np.array([0.1, -2.0, 0.3, 1.5, -0.2, 0.25, -1.1, 3.0, 0.05, -0.6])

    def huber(v: Array) -> float:
        return float(np.sum(np.where(np.abs(v) < 0.4, v**2 / 2, 0.4 * (np.abs(v) - 0.2))))

    functions = huber, lambda v: np.where(np.abs(v) < 0.4, v, 2 * np.sign(v)), lambda v: np.clip(v, -0.4, 0.4)
    yield pair("outer slope", "constant-ratio", gradcheck.check_gradient, functions, x, words="5 times the true one in")


def places(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a row that is picked as 5 and as -1, and a multiple of the upstream that is none of a skip connection."""

    def pick(table: Array, at: Array) -> tuple[Array, Any]:
        return table[at], (table.shape, at)

    def back(dy: Array, cache: Any, add: bool) -> tuple[Array, None]:
        shape, at = cache
        out = np.zeros(shape)
        if add:
            np.add.at(out, at, dy)
        else:
            out[at] += dy
        return out, None

    inputs = rng.normal(size=(6, 3)), np.array([5, 2, -1, 0])
    words = "slice 5 of 6 along axis 0, whose index occurs more than once in at: backward uses only the last"
    functions = pick, lambda dy, c: back(dy, c, add=False), lambda dy, c: back(dy, c, add=True)
    yield pair("negative index", "repeated-index", gradcheck.check_layer, functions, *inputs, of="table", words=words)

    def own(x: Array) -> tuple[Array, Array]:
        return 3.7 * x, x

    functions = own, lambda dy, _: 2.7 * dy, lambda dy, _: 3.7 * dy
    yield pair("a factor less", "constant-ratio", gradcheck.check_layer, functions, rng.normal(size=(4, 3)), of="x")


def insides(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a square inside of which the derivative is missing, and a factor of the parameter that is none."""
    x = rng.normal(size=8) + 0.1
    functions = (
        lambda v: float(np.sum(np.exp(-0.35 * v**2) * np.arange(1, 9))),
        lambda v: np.exp(-0.35 * v**2) * np.arange(1, 9),
        lambda v: -0.7 * v * np.exp(-0.35 * v**2) * np.arange(1, 9),
    )
    yield pair(
        "bell of a width", "parametrisation", gradcheck.check_gradient, functions, x, words="-0.7 times the parameter"
    )
    functions = lambda v: float(np.sum(v**2)) * 0.35, lambda v: np.full(8, -0.7), lambda v: 0.7 * v
    yield pair("a constant", "", gradcheck.check_gradient, functions, x)


def axes(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a softmax along rows and one along columns, each with the other's sum in backward."""
    for axis, words in ((0, "over the last axis where"), (1, "over axis 0 where")):

        def soft(x: Array, axis: int = axis) -> tuple[Array, Array]:
            e = np.exp(x)
            return e / np.sum(e, axis=axis, keepdims=True), e / np.sum(e, axis=axis, keepdims=True)

        def back(dy: Array, y: Array, axis: int = axis) -> Array:
            return y * (dy - np.sum(dy * y, axis=axis, keepdims=True))

        functions = soft, lambda dy, y, back=back, a=axis: back(dy, y, 1 - a), back
        x = rng.normal(size=(4, 5))
        yield pair(f"softmax over {axis}", "wrong-slope", gradcheck.check_layer, functions, x, of="x", words=words)
