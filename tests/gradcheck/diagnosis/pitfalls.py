"""Bugs of which an explanation that fits is not the true one, or was not given: each beside its right twin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import gradcheck
from tests.gradcheck.diagnosis.planted import Array, Planted
from tests.gradcheck.diagnosis.reported import pair


def pitfalls(seed: int) -> Iterator[Planted]:
    """Give them all."""
    rng = np.random.default_rng([seed, 9])
    for family in (indices, invariant, numbers, masks, windows, paths):
        yield from family(rng)


def indices(rng: np.random.Generator) -> Iterator[Planted]:
    """Give repeated indices of which every upstream is added, and whole numbers that are no index."""
    at = np.array([3, 1, 3, 7, 1, 0, 3])

    def pick(table: Array, at: Array) -> tuple[Array, Any]:
        return np.sin(table[at]), (table, at)

    def back(dy: Array, cache: Any, change: Any = lambda out, counts: out) -> tuple[Array, None]:
        table, at = cache
        out = np.zeros_like(table)
        np.add.at(out, at, dy * np.cos(table[at]))
        return change(out, np.bincount(at, minlength=len(table))[:, None]), None

    for name, kind, change, words in (
        ("by frequency", "slice-ratios", lambda out, n: out / np.maximum(n, 1), "how often each index occurs in at"),
        ("minus", "constant-ratio", lambda out, n: np.where(n > 1, -out, out), "minus the true one in slices 1 and 3"),
    ):
        functions = pick, lambda dy, c, change=change: back(dy, c, change), back
        yield pair(name, kind, gradcheck.check_layer, functions, rng.normal(size=(9, 4)), at, of="table", words=words)

    lengths = np.array([4, 4, 5])

    def cut(w: Array, lengths: Array) -> tuple[Array, Any]:
        return np.stack([np.sum(np.sin(w[:n]), axis=0) for n in lengths]), (w, lengths)

    def uncut(dy: Array, cache: Any, last: float = 1.0) -> tuple[Array, None]:
        w, lengths = cache
        out = np.zeros_like(w)
        for one, n in zip(dy, lengths, strict=True):
            out[:n] += one * np.cos(w[:n])
        out[4] *= last
        return out, None

    functions = cut, lambda dy, c: uncut(dy, c, 0.0), uncut
    inputs, words = (rng.normal(size=(6, 3)), lengths), "zero in slice 4"
    yield pair("lengths", "zeroed", gradcheck.check_layer, functions, *inputs, of="w", words=words)

    target = rng.normal(size=6)
    point = {"table": rng.normal(size=(8, 3)), "at": np.array([2, 2, 5, 0, 5, 2]), "v": rng.normal(size=3)}

    def loss(p: dict[str, Array]) -> float:
        return float(np.sum((p["table"][p["at"]] @ p["v"] - target) ** 2))

    def of_loss(p: dict[str, Array], add: bool) -> dict[str, Any]:
        e = 2 * (p["table"][p["at"]] @ p["v"] - target)
        out = np.zeros_like(p["table"])
        if add:
            np.add.at(out, p["at"], e[:, None] * p["v"])
        else:
            out[p["at"]] += e[:, None] * p["v"]
        return {"table": out, "v": p["table"][p["at"]].T @ e, "at": None}

    functions = loss, lambda p: of_loss(p, add=False), lambda p: of_loss(p, add=True)
    words = "slices 2 and 5 of 8"
    yield pair("in a tree", "repeated-index", gradcheck.check_gradient, functions, point, of="table", words=words)


def invariant(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a projection that one multiple of the parameter stands for, and an epsilon that is forgotten."""
    a, b = rng.normal(size=8), rng.normal(size=8)

    def cosine(p: dict[str, Array]) -> float:
        return float(p["a"] @ p["b"] / np.linalg.norm(p["a"]) / np.linalg.norm(p["b"]))

    def of_cosine(p: dict[str, Array], project: bool) -> dict[str, Array]:
        na, nb, cos = np.linalg.norm(p["a"]), np.linalg.norm(p["b"]), cosine(p)
        return {
            "a": p["b"] / na / nb - project * cos * p["a"] / na**2,
            "b": p["a"] / na / nb - cos * p["b"] / nb**2,
        }

    functions = cosine, lambda p: of_cosine(p, project=False), lambda p: of_cosine(p, project=True)
    yield pair("one cosine", "missing-projection", gradcheck.check_gradient, functions, {"a": a, "b": b}, of="a")

    def norm(x: Array) -> tuple[Array, Any]:
        m, v = x.mean(0), x.var(0)
        return (x - m) / np.sqrt(v + 1e-5), (x, m, v)

    def of_norm(dy: Array, cache: Any, eps: float) -> Array:
        x, m, v = cache
        h, s = (x - m) / np.sqrt(v + 1e-5), np.sqrt(v + eps)
        return (dy - dy.mean(0) - h * (dy * h).mean(0)) / s

    functions = norm, lambda dy, c: of_norm(dy, c, 0.0), lambda dy, c: of_norm(dy, c, 1e-5)
    x = rng.normal(size=(8, 3))
    yield pair("epsilon", "slice-ratios", gradcheck.check_layer, functions, x, of="x", words="true one: 1.0000")


def numbers(rng: np.random.Generator) -> Iterator[Planted]:
    """Give constants and multiples that a penalty of the same numbers would explain as well."""
    x, p = rng.normal(size=9), rng.uniform(0.1, 1, size=7)
    check = gradcheck.check_gradient
    functions = lambda x: float(np.sum(x**2)), lambda x: x, lambda x: 2 * x
    yield pair("square", "constant-ratio", check, functions, x, words="1/2 of the true one")
    functions = lambda p: float(np.sum(p * np.log(p))), lambda p: np.log(p), lambda p: np.log(p) + 1
    yield pair("entropy", "constant-offset", check, functions, p, words="off by")
    functions = (
        lambda x: float(np.sum(np.exp(-(x**2) / 2))),
        lambda x: np.exp(-(x**2) / 2),
        lambda x: -x * np.exp(-(x**2) / 2),
    )
    yield pair("bell", "parametrisation", check, functions, x, words="divided by minus the parameter")
    a, y, w = rng.normal(size=(300, 6)), rng.normal(size=300), rng.normal(size=6)

    def halved(w: Array) -> Array:
        total = np.zeros(6, np.float16)
        for row, error in zip(a.astype(np.float16), (a @ w - y).astype(np.float16), strict=True):
            total += row * error
        return total.astype(float)

    functions = lambda w: float(np.sum((a @ w - y) ** 2) / 2), halved, lambda w: a.T @ (a @ w - y)
    yield pair(
        "float16 sums", "truncated", check, functions, w, words="all numbers of the gradient are float16 numbers"
    )


def masks(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a mask that is too wide, and one that is another one."""
    functions = (
        lambda x: (np.clip(x, -1, 1) ** 3, x),
        lambda dy, x: dy * 3 * np.clip(x, -1, 1) ** 2 * (np.abs(x) < 2.5),
        lambda dy, x: dy * 3 * x**2 * (np.abs(x) < 1),
    )
    x = rng.permutation(np.append(rng.uniform(-0.9, 0.9, 18), rng.uniform(1.1, 2.4, 6) * rng.choice([-1, 1], 6)))
    words = "only where the true one is zero, in 6 of 24"
    yield pair("too wide", "other-mask", gradcheck.check_layer, functions, x.reshape(4, 6), of="x", words=words)
    keep, other = (rng.permutation(np.arange(24) < 12).reshape(4, 6) for _ in range(2))
    functions = lambda x: (x * keep / 0.5, None), lambda dy, _: dy * other / 0.5, lambda dy, _: dy * keep / 0.5
    x = rng.normal(size=(4, 6))
    yield pair("another", "other-mask", gradcheck.check_layer, functions, x, of="x", words="another mask")


def windows(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a pooling in which three windows share their largest element, and one of them is kept."""

    def forward(x: Array) -> tuple[Array, Any]:
        at = np.array([j + np.argmax(x[j : j + 3]) for j in range(len(x) - 2)])
        return x[at], (at, len(x))

    def back(dy: Array, cache: Any, add: bool) -> Array:
        at, size = cache
        out = np.zeros(size)
        if add:
            np.add.at(out, at, dy)
        else:
            out[at] = dy
        return out

    x = rng.permutation(np.linspace(-1, 1, 14))
    x[3], x[7], x[11] = 2.0, 3.0, 2.5
    functions = forward, lambda dy, c: back(dy, c, add=False), lambda dy, c: back(dy, c, add=True)
    yield pair("shared by three", "lost-upstream", gradcheck.check_layer, functions, x, of="x", words="it must add")


def paths(rng: np.random.Generator) -> Iterator[Planted]:
    """Give skip connections whose own path is forgotten."""
    w = rng.normal(size=(5, 5))
    for share, words in ((1.0, "less the upstream"), (0.5, "less 0.5 times the upstream")):
        functions = (
            lambda x, s=share: (s * x + np.tanh(x @ w), x),
            lambda dy, x: (dy * (1 - np.tanh(x @ w) ** 2)) @ w.T,
            lambda dy, x, s=share: s * dy + (dy * (1 - np.tanh(x @ w) ** 2)) @ w.T,
        )
        x = rng.normal(size=(3, 5))
        yield pair(f"skip {share}", "missing-path", gradcheck.check_layer, functions, x, of="x", words=words)
