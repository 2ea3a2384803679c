"""Bugs of the kinds that people report in public, in functions of other fields, each beside its right twin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import gradcheck
from tests.gradcheck.diagnosis.planted import Array, Planted


def pair(
    name: str,
    kind: str,
    check: Callable[..., Any],
    functions: tuple[Any, Any, Any],
    *inputs: Any,
    of: str = "params",
    words: str = "",
) -> Planted:
    """Check a function with the wrong and with the right derivative."""
    f, wrong, right = functions
    return Planted(name, (kind,), lambda: check(f, wrong, *inputs), of, words, lambda: check(f, right, *inputs))


def reported(seed: int) -> Iterator[Planted]:
    """Give them all."""
    rng = np.random.default_rng([seed, 5])
    for family in (indices, sums, frames, norms, wrong_arrays, ties, matrices, steps, groups):
        yield from family(rng)


def indices(rng: np.random.Generator) -> Iterator[Planted]:
    """Give gathers whose backward writes where it must add."""
    words = rng.permutation([0, 3, 3, -1, 5, 2, 5, 5])  # -1 is the last of 7, picked once

    def gather(table: Array, at: Array) -> tuple[Array, Any]:
        return np.tanh(table[at]) * 2, (table, at)

    def gathered(write: Callable[[Array, Array, Array], None]) -> Any:
        def backward(dy: Array, cache: Any) -> tuple[Array, None]:
            table, at = cache
            out = np.zeros_like(table)
            write(out, at, 2 * dy / np.cosh(table[at]) ** 2)
            return out, None

        return backward

    def assign(out: Array, at: Array, values: Array) -> None:
        out[at] = values

    def keep_first(out: Array, at: Array, values: Array) -> None:
        out[at[::-1]] = values[::-1]

    for which, write in (("last", assign), ("first", keep_first)):
        functions = gather, gathered(write), gathered(np.add.at)
        yield pair(
            f"gather {which}",
            "repeated-index",
            gradcheck.check_layer,
            functions,
            rng.normal(size=(7, 2)),
            words,
            of="table",
            words=f"slices 3 and 5 of 7 along axis 0, whose index occurs more than once in at: backward uses only the {which}",
        )

    pixels = np.array([[1, 4], [4, 0], [2, 2]])

    def splat(p: dict[str, Array]) -> float:
        return float(np.sum(np.sin(p["image"][:, p["at"]]) * np.arange(1.0, 7).reshape(3, 2)))

    def slope(add: bool) -> Any:
        def grad(p: dict[str, Array]) -> dict[str, Any]:
            out = np.zeros_like(p["image"])
            values = np.cos(p["image"][:, p["at"]]) * np.arange(1.0, 7).reshape(3, 2)
            if add:
                np.add.at(out, (slice(None), p["at"]), values)
            else:
                out[:, p["at"]] = values
            return {"image": out, "at": None}

        return grad

    point = {"image": rng.normal(size=(4, 6)), "at": pixels}
    yield pair(
        "splat", "repeated-index", gradcheck.check_gradient, (splat, slope(False), slope(True)), point, of="image"
    )


def sums(rng: np.random.Generator) -> Iterator[Planted]:
    """Give parameters whose sum is over the upstream of what comes after the activation."""

    def layer(activation: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Any:
        def forward(x: Array, w: Array, b: Array) -> tuple[Array, Any]:
            y = activation(x @ w + b)
            return y, (x, w, y)

        def back(dy: Array, cache: Any, wrong: str = "") -> tuple[Array, Array, Array]:
            x, w, y = cache
            da = dy * slope(y)
            rows = (dy if wrong == "w" else da).reshape(-1, y.shape[-1])
            return da @ w.T, x.reshape(-1, x.shape[-1]).T @ rows, np.sum(dy if wrong == "b" else da, axis=(0, 1))

        return forward, back

    inputs = rng.normal(size=(3, 2, 4)), rng.normal(size=(4, 5)), rng.normal(size=5)
    rare = layer(np.arcsinh, lambda y: 1 / np.cosh(y))
    usual = layer(lambda z: 1 / (1 + np.exp(-z)), lambda y: y * (1 - y))
    for title, (forward, back), name, words in (
        ("sum", rare, "w", "x.T @ dy"),
        ("sum", rare, "b", "the sum of the upstream over axes 0 and 1"),
        ("slope in sum", usual, "w", "for the upstream times y * (1 - y)"),
        ("slope in sum", usual, "b", "for the upstream times y * (1 - y)"),
    ):
        functions = (forward, lambda dy, c, back=back, n=name: back(dy, c, n), back)
        yield pair(
            f"{title} {name}", "activation-missing", gradcheck.check_layer, functions, *inputs, of=name, words=words
        )


def frames(rng: np.random.Generator) -> Iterator[Planted]:
    """Give vectors in another frame: of space, of the plane, of channels that a matrix mixes."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn[:, 0] *= np.linalg.det(turn)
    colours = rng.normal(size=(4, 4))
    for name, matrix, words in (("space", turn, "a rotation by"), ("colours", colours, "a 4 x 4 matrix")):
        functions = (
            lambda x, m=matrix: (np.sin(x @ m), x @ m),
            lambda dy, z: dy * np.cos(z),
            lambda dy, z, m=matrix: (dy * np.cos(z)) @ m.T,
        )
        size = len(matrix)
        yield pair(
            f"frame {name}", "mixed", gradcheck.check_layer, functions, rng.normal(size=(9, size)), of="x", words=words
        )
    angle = rng.uniform(0.3, 1.2)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    functions = lambda v: 3 * rotation @ v, lambda v: 3 * np.eye(2), lambda v: 3 * rotation
    degrees = f"a rotation by {-np.degrees(angle):.4g} degrees"
    yield pair("frame plane", "mixed", gradcheck.check_jacobian, functions, rng.normal(size=2), words=degrees)


def norms(rng: np.random.Generator) -> Iterator[Planted]:
    """Give normalisations that are not differentiated, or not all of them."""

    def unit(x: Array) -> tuple[Array, Any]:
        size = np.linalg.norm(x, axis=0)
        return np.cos(3 * x / size), (x, size)

    def of_unit(dy: Array, cache: Any, project: bool, scale: bool) -> Array:
        x, size = cache
        inner = -3 * dy * np.sin(3 * x / size)
        along = np.sum(inner * x, axis=0) * x / size**2
        return (inner - project * along) / (size if scale else 1.0)

    x = rng.normal(size=(4, 3))
    for name, scale, words in (
        ("kept", True, "the true one plus"),
        ("dropped", False, "the true one times the length of x"),
    ):
        functions = (
            unit,
            lambda dy, c, s=scale: of_unit(dy, c, False, s),
            lambda dy, c: of_unit(dy, c, True, True),
        )
        yield pair(f"unit {name}", "missing-projection", gradcheck.check_layer, functions, x, of="x", words=words)

    def layer_norm(x: Array) -> tuple[Array, Any]:
        deviation = np.sqrt(
            np.var(x, axis=1, keepdims=True) + 1e-5
        )  # as in every library: the right angle is nearly one
        y = (x - np.mean(x, axis=1, keepdims=True)) / deviation
        return y, (y, deviation)

    def of_norm(dy: Array, cache: Any, second: bool) -> Array:
        y, deviation = cache
        inner = dy - np.mean(dy, axis=1, keepdims=True)
        return (inner - second * y * np.mean(dy * y, axis=1, keepdims=True)) / deviation

    functions = layer_norm, lambda dy, c: of_norm(dy, c, False), lambda dy, c: of_norm(dy, c, True)
    yield pair("layer norm", "missing-projection", gradcheck.check_layer, functions, rng.normal(size=(3, 5)), of="x")


def wrong_arrays(rng: np.random.Generator) -> Iterator[Planted]:
    """Give arrays that are returned in place of the gradient, or numbers that it was multiplied with."""
    a = rng.normal(size=(8, 4))
    functions = lambda x: float(np.sum(np.sin(a @ x))), lambda x: x.copy(), lambda x: a.T @ np.cos(a @ x)
    x = rng.normal(size=4)
    yield pair("itself", "copied", gradcheck.check_gradient, functions, x, words="the parameter itself")
    times = lambda x: x[2] * (a.T @ np.cos(a @ x))  # noqa: E731 - one of three functions
    yield pair(
        "element", "constant-ratio", gradcheck.check_gradient, (functions[0], times, functions[2]), x, words="params[2]"
    )
    by_value = lambda x, f=functions[0]: f(x) * (a.T @ np.cos(a @ x))  # noqa: E731
    yield pair(
        "value of f",
        "constant-ratio",
        gradcheck.check_gradient,
        (functions[0], by_value, functions[2]),
        x,
        words="the value of f",
    )

    def clipped(x: Array, top: float) -> tuple[Array, Any]:
        return np.minimum(np.exp(x), top), (x, top)

    def of_clipped(dy: Array, cache: Any, known: float) -> tuple[Array, Any]:
        x, top = cache
        over = np.exp(x) >= top
        return np.where(over, 0.0, dy * np.exp(x)), known * np.sum(dy * over)

    functions = clipped, lambda dy, c: of_clipped(dy, c, 0.0), lambda dy, c: of_clipped(dy, c, 1.0)
    inputs = np.array([0.0, 0.3, np.log(2.0), 1.4, np.log(2.0)]), float(np.exp(np.log(2.0)))
    yield pair("bound at ties", "dropped", gradcheck.check_layer, functions, *inputs, of="top")


def ties(rng: np.random.Generator) -> Iterator[Planted]:
    """Give elements that are nearly the least, and are treated as that."""
    x = rng.normal(size=(6, 5))
    x[3] = x.min(axis=0) - 0.5
    x[1, [0, 2, 4]] = x[3, [0, 2, 4]] + np.array([2e-6, 3e-5, 1e-5])

    def least(x: Array) -> tuple[Array, Array]:
        return np.sum(np.min(x, axis=0) ** 2), x

    functions = (
        least,
        lambda dy, x: dy * 2 * x.min(axis=0) * (x <= x.min(axis=0) + 1e-4),
        lambda dy, x: dy * 2 * x * (np.arange(6)[:, None] == x.argmin(axis=0)),
    )
    yield pair("nearly least", "near-ties", gradcheck.check_layer, functions, x, of="x", words="along axis 0")


def matrices(rng: np.random.Generator) -> Iterator[Planted]:
    """Give sparse Jacobians filled in the wrong order, blocks of Hessians, and slices here and there."""
    pattern = rng.random((5, 6)) < 0.5
    pattern[0, 1:3], pattern[2:4, 0] = True, True
    dense = np.where(pattern, rng.normal(size=(5, 6)), 0.0)
    by_columns = np.zeros((5, 6))
    by_columns[np.nonzero(pattern)] = dense.T[np.nonzero(pattern.T)]
    for name, at, slope in (("linear", lambda x: x, np.ones_like), ("cubes", lambda x: x**3, lambda x: 3 * x**2)):
        functions = (
            lambda x, a=at: dense @ a(x),
            lambda x, s=slope: by_columns * s(x),
            lambda x, s=slope: dense * s(x),
        )
        if name == "linear":
            yield pair(
                f"filled {name}", "permuted", gradcheck.check_jacobian, functions, rng.normal(size=6), words="columns"
            )
    x = rng.normal(size=4)
    a = rng.normal(size=(9, 4))

    def energy(p: Array) -> float:
        return float(np.sum(np.log(1 + (a @ p) ** 2)))

    def curvature(p: Array, cross: float) -> Array:
        z = a @ p
        h = a.T @ ((2 * (1 - z**2) / (1 + z**2) ** 2)[:, None] * a)
        h[:2, 2:] += cross
        h[2:, :2] += cross
        return h

    functions = energy, lambda p: curvature(p, 0.7), lambda p: curvature(p, 0.0)
    yield pair("cross block", "block", gradcheck.check_hessian, functions, x, words="rows 0 to 1 and columns 2 to 3")
    chosen = np.zeros((8, 1))
    chosen[[1, 4, 6]] = 1.0
    b = rng.normal(size=(8, 3))
    functions = (
        lambda w: float(np.sum(b * np.sin(w))),
        lambda w: b * np.cos(w) + chosen * np.cos(7 * b),
        lambda w: b * np.cos(w),
    )
    yield pair(
        "some rows",
        "slices",
        gradcheck.check_gradient,
        functions,
        rng.normal(size=(8, 3)),
        words="slices 1, 4 and 6 of 8",
    )


def steps(rng: np.random.Generator) -> Iterator[Planted]:
    """Give step functions with straight-through claims, and gradients of approximations."""
    x, target = 0.3 * (rng.integers(-5, 6, size=9) + rng.uniform(-0.3, 0.3, size=9)), rng.normal(size=9)

    def rounded(v: Array) -> Array:
        return 0.3 * np.round(v / 0.3)

    functions = (
        lambda v: float(np.sum((rounded(v) - target) ** 2) + 0.2 * np.sum(v**2)),
        lambda v: 2 * (rounded(v) - target) + 0.4 * v,
        lambda v: 0.4 * v,
    )
    yield pair(
        "rounded and penalty", "step-function", gradcheck.check_gradient, functions, x, words="0.4 times the parameter"
    )
    a = rng.normal(size=(12, 9))

    def f(v: Array) -> float:
        return float(np.sum(np.tanh(a @ v)))

    def forward_differences(v: Array) -> Array:
        return np.array([(f(v + 1e-5 * e) - f(v)) / 1e-5 for e in np.eye(9)])

    functions = f, forward_differences, lambda v: a.T @ (1 - np.tanh(a @ v) ** 2)
    yield pair("differences", "approximate", gradcheck.check_gradient, functions, 0.3 * target, words="digits")
    functions = (
        lambda v: np.convolve(np.sin(v), [1.0, 2.0, -1.0]),
        lambda dy, v: np.convolve(dy, [-1.0, 2.0, 1.0]) * np.cos(np.pad(v, 2)),
        lambda dy, v: np.convolve(dy, [-1.0, 2.0, 1.0])[2:-2] * np.cos(v),
    )
    yield pair("padded", "uncut", gradcheck.check_vjp, functions, target, of="v", words="the middle 9 of 13")


def groups(rng: np.random.Generator) -> Iterator[Planted]:
    """Give means over groups of unequal size, a logarithm's gradient, and differences in a few elements of the claim."""
    at = np.repeat([0, 1, 2, 3], [3, 2, 4, 1])
    counts = np.bincount(at)[:, None]

    def forward(x: Array) -> tuple[Array, None]:
        y = np.zeros((4, 3))
        np.add.at(y, at, np.tanh(x))
        return y / counts, x

    functions = (
        forward,
        lambda dy, x: dy[at] / np.cosh(x) ** 2,
        lambda dy, x: (dy / counts)[at] / np.cosh(x) ** 2,
    )
    inputs = rng.normal(size=(10, 3))
    yield pair("groups", "slice-ratios", gradcheck.check_layer, functions, inputs, of="x", words="3, 3, 3, 2, 2, 4")
    a = rng.normal(size=(5, 7))
    functions = (
        lambda v: float(np.log(np.sum(np.exp(a @ v)))),
        lambda v: a.T @ np.exp(a @ v),
        lambda v: a.T @ np.exp(a @ v) / np.sum(np.exp(a @ v)),
    )
    x = 0.3 * rng.normal(size=7)
    yield pair("logarithm", "constant-ratio", gradcheck.check_gradient, functions, x, words="f is a logarithm")

    def f(v: Array) -> float:
        return float(np.sum(np.sin(3 * a @ v)))

    def slope(v: Array) -> Array:
        return 3 * a.T @ np.cos(3 * a @ v)

    def mixed(v: Array) -> Array:
        claim = slope(v)
        for i in np.argsort(np.abs(claim))[-3:]:
            claim[i] = (f(v + 1e-5 * np.eye(7)[i]) - f(v)) / 1e-5
        return claim

    yield pair("three differences", "approximate", gradcheck.check_gradient, (f, mixed, slope), x, words="digits")
