"""Reported kinds of bug once more, in other layers, shapes and fields: each beside its right twin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import gradcheck
from tests.gradcheck.diagnosis.planted import Array, Planted
from tests.gradcheck.diagnosis.reported import pair


def fields(seed: int) -> Iterator[Planted]:
    """Give them all."""
    rng = np.random.default_rng([seed, 6])
    for family in (networks, sequences, geometry, statistics, physics):
        yield from family(rng)


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def networks(rng: np.random.Generator) -> Iterator[Planted]:
    """Give messages between nodes, weight normalisation, a shift behind a ReLU, attention without its scale."""
    edges = np.array([[0, 3], [2, 3], [3, 1], [4, 1], [5, 0], [1, 3]])

    def pass_on(x: Array, edges: Array) -> tuple[Array, Any]:
        return np.sin(x[:, edges[:, 1]]) - x[:, edges[:, 0]] ** 2, (x, edges)

    def passed_on(dy: Array, cache: Any, add: bool) -> tuple[Array, None]:
        x, edges = cache
        out = np.zeros_like(x)
        np.add.at(out, (slice(None), edges[:, 0]), -2 * dy * x[:, edges[:, 0]])
        received = dy * np.cos(x[:, edges[:, 1]])
        if add:
            np.add.at(out, (slice(None), edges[:, 1]), received)
        else:
            out[:, edges[:, 1]] += received
        return out, None

    functions = pass_on, lambda dy, c: passed_on(dy, c, False), lambda dy, c: passed_on(dy, c, True)
    yield pair("messages", "repeated-index", gradcheck.check_layer, functions, rng.normal(size=(3, 6)), edges, of="x")

    def normalised(x: Array, v: Array, g: Array) -> tuple[Array, Any]:
        size = np.sqrt(np.sum(v**2, axis=1, keepdims=True))
        return np.tanh(x @ (g[:, None] * v / size).T), (x, v, g, size)

    def of_normalised(dy: Array, cache: Any, project: bool) -> tuple[Array, Array, Array]:
        x, v, g, size = cache
        w = g[:, None] * v / size
        da = dy * (1 - np.tanh(x @ w.T) ** 2)
        dw = da.T @ x
        along = np.sum(dw * v, axis=1, keepdims=True) / size
        dv = g[:, None] / size * (dw - project * along * v / size)
        return da @ w, dv, along[:, 0]

    functions = normalised, lambda dy, c: of_normalised(dy, c, False), lambda dy, c: of_normalised(dy, c, True)
    inputs = rng.normal(size=(7, 4)), rng.normal(size=(3, 4)), rng.uniform(0.5, 2, size=3)
    yield pair("weight normalisation", "missing-projection", gradcheck.check_layer, functions, *inputs, of="v")

    def shifted(x: Array, gamma: Array, beta: Array) -> tuple[Array, Any]:
        spread = np.sqrt(np.var(x, axis=0) + 1e-5)
        normal = (x - np.mean(x, axis=0)) / spread
        y = np.maximum(gamma * normal + beta, 0)
        return y, (normal, spread, gamma, y)

    def of_shifted(dy: Array, cache: Any, slope: bool) -> tuple[Array, Array, Array]:
        normal, spread, gamma, y = cache
        da = dy * (y > 0)
        dn = da * gamma
        dx = (dn - np.mean(dn, axis=0) - normal * np.mean(dn * normal, axis=0)) / spread
        return dx, np.sum(da * normal, axis=0), np.sum(da if slope else dy, axis=0)

    functions = shifted, lambda dy, c: of_shifted(dy, c, False), lambda dy, c: of_shifted(dy, c, True)
    inputs = rng.normal(size=(9, 5)), rng.uniform(0.5, 2, size=5), 0.3 * rng.normal(size=5)
    yield pair("shift behind a relu", "activation-missing", gradcheck.check_layer, functions, *inputs, of="beta")

    def square(x: Array, w: Array) -> tuple[Array, Any]:
        y = np.tanh(np.sin(x) @ w)
        return y, (x, w, y)

    def of_square(dy: Array, cache: Any, transposed: bool) -> tuple[Array, Array]:
        x, w, y = cache
        da = dy * (1 - y**2)
        return da @ (w.T if transposed else w) * np.cos(x), np.sin(x).T @ da

    functions = square, lambda dy, c: of_square(dy, c, False), lambda dy, c: of_square(dy, c, True)
    inputs = rng.normal(size=(3, 6)), rng.normal(size=(6, 6))
    yield pair("square weights", "not-transposed", gradcheck.check_layer, functions, *inputs, of="x")
    single = [(part / 2).astype(np.float32) for part in inputs]  # where tanh is not flat
    words = "the linear map in backward is that of forward, and its adjoint"
    yield pair(
        "square weights, single", "not-transposed", gradcheck.check_layer, functions, *single, of="x", words=words
    )

    def attend(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
        logits = q @ k.T / np.sqrt(q.shape[1])
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        a = e / e.sum(axis=1, keepdims=True)
        return a @ v, (q, k, v, a)

    def attended(dy: Array, cache: Any, scaled: bool) -> tuple[Array, Array, Array]:
        q, k, v, a = cache
        da = dy @ v.T
        logits = a * (da - np.sum(da * a, axis=1, keepdims=True))
        logits = logits / np.sqrt(q.shape[1]) if scaled else logits
        return logits @ k, logits.T @ q, a.T @ dy

    functions = attend, lambda dy, c: attended(dy, c, False), lambda dy, c: attended(dy, c, True)
    inputs = rng.normal(size=(4, 7)), rng.normal(size=(5, 7)), rng.normal(size=(5, 3))
    yield pair(
        "attention", "constant-ratio", gradcheck.check_layer, functions, *inputs, of="q", words="the square root of 7"
    )


def sequences(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a recurrence averaged over its steps, a running sum's adjoint, a mean over what is masked, a forgotten output."""
    xs, target = rng.normal(size=(9, 3)).astype(np.float32), rng.normal(size=4)
    start = {
        "u": (0.5 * rng.normal(size=(3, 6))).astype(np.float32),
        "w": (0.4 * rng.normal(size=(6, 6))).astype(np.float32),
        "b": (0.1 * rng.normal(size=6)).astype(np.float32),
        "out": (0.5 * rng.normal(size=(6, 4))).astype(np.float32),
    }

    def run(p: dict[str, Array]) -> list[Array]:
        states = [np.zeros(6, p["w"].dtype)]
        for x in xs:
            states.append(np.tanh(x.astype(p["w"].dtype) @ p["u"] + states[-1] @ p["w"] + p["b"]))
        return states

    def loss(p: dict[str, Array]) -> Any:
        return np.sum((run(p)[-1] @ p["out"] - target.astype(p["w"].dtype)) ** 2)

    def through_time(p: dict[str, Array], mean: bool) -> dict[str, Array]:
        states = run(p)
        error = 2 * (states[-1] @ p["out"] - target.astype(p["w"].dtype))
        found = {name: np.zeros_like(value) for name, value in p.items()}
        found["out"] = np.outer(states[-1], error)
        later = p["out"] @ error
        for x, before, after in zip(xs[::-1], states[-2::-1], states[:0:-1], strict=True):
            da = later * (1 - after**2)
            found["u"] += np.outer(x, da)
            found["w"] += np.outer(before, da)
            found["b"] += da
            later = p["w"] @ da
        for name in ("u", "w", "b") if mean else ():
            found[name] /= np.float32(len(xs))
        return found

    functions = loss, lambda p: through_time(p, True), lambda p: through_time(p, False)
    yield pair("mean over time", "constant-ratio", gradcheck.check_gradient, functions, start, of="w", words="1/9")

    weights = rng.normal(size=(5, 6))
    functions = (
        lambda x: (np.cumsum(np.exp(x), axis=1) * weights, x),
        lambda dy, x: np.cumsum(dy * weights, axis=1) * np.exp(x),
        lambda dy, x: np.cumsum((dy * weights)[:, ::-1], axis=1)[:, ::-1] * np.exp(x),
    )
    yield pair("running sum", "not-transposed", gradcheck.check_layer, functions, rng.normal(size=(5, 6)), of="x")

    mask = rng.permutation(np.arange(32) < 13).reshape(4, 8)
    wanted = rng.normal(size=(4, 8))
    functions = (
        lambda y: float(np.sum(mask * (np.sin(y) - wanted) ** 2) / np.sum(mask)),
        lambda y: 2 * mask * (np.sin(y) - wanted) * np.cos(y) / mask.size,
        lambda y: 2 * mask * (np.sin(y) - wanted) * np.cos(y) / np.sum(mask),
    )
    yield pair(
        "mean over a mask",
        "constant-ratio",
        gradcheck.check_gradient,
        functions,
        rng.normal(size=(4, 8)),
        words=f"over {np.sum(mask)} of them",
    )

    functions = (
        lambda x: (np.sin(x), np.sum(x**2, axis=1)),
        lambda dy, x: (dy[0] * np.cos(x),),
        lambda dy, x: (dy[0] * np.cos(x) + 2 * x * dy[1][:, None],),
    )
    yield pair(
        "second output", "upstream-slice", gradcheck.check_vjp, functions, rng.normal(size=(4, 3)), of="x", words="[1]"
    )


def geometry(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a camera's pose in the body's frame, a turn in degrees, a bound that inputs equal."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn[:, 0] *= np.linalg.det(turn)
    points = rng.normal(size=(5, 3))

    def seen(t: Array) -> Array:
        return np.sin(points + turn @ t)

    functions = (
        seen,
        lambda t: np.cos(points + turn @ t)[:, :, None] * np.eye(3),
        lambda t: np.cos(points + turn @ t)[:, :, None] * turn,
    )
    yield pair("pose", "mixed", gradcheck.check_jacobian, functions, 0.1 * rng.normal(size=3))

    plane = rng.normal(size=(6, 2))
    goal = rng.normal(size=(6, 2))

    def turned(p: dict[str, Any], by: float) -> Array:
        angle = by * p["heading"]
        c, s = np.cos(angle), np.sin(angle)
        return plane @ np.array([[c, s], [-s, c]]) * p["size"] - goal

    def of_turned(p: dict[str, Any], by: float) -> dict[str, Any]:
        error = turned(p, np.pi / 180)
        image = error + goal
        aside = np.stack([-image[:, 1], image[:, 0]], axis=1)
        return {"heading": by * np.sum(2 * error * aside), "size": np.sum(2 * error * image) / p["size"]}

    functions = (
        lambda p: float(np.sum(turned(p, np.pi / 180) ** 2)),
        lambda p: of_turned(p, 1.0),
        lambda p: of_turned(p, np.pi / 180),
    )
    point = {"heading": 35.0, "size": 1.3}
    yield pair("degrees", "constant-ratio", gradcheck.check_gradient, functions, point, of="heading", words="degrees")

    def shrink(x: Array, least: float) -> tuple[Array, Any]:
        return np.sign(x) * np.maximum(np.abs(x) - least, 0), (x, least)

    def of_shrink(dy: Array, cache: Any, known: float) -> tuple[Array, Any]:
        x, least = cache
        kept = np.abs(x) > least
        return dy * kept, -known * np.sum(dy * kept * np.sign(x))

    functions = shrink, lambda dy, c: of_shrink(dy, c, 0.0), lambda dy, c: of_shrink(dy, c, 1.0)
    x = np.append(2 * rng.normal(size=7), [0.75, -0.75, 0.75])
    yield pair("soft threshold", "dropped", gradcheck.check_layer, functions, x, 0.75, of="least")


def statistics(rng: np.random.Generator) -> Iterator[Planted]:
    """Give length scales beside a variance, a symmetric matrix, half a penalty, a Hessian without its cross block."""
    points = rng.normal(size=(8, 3))
    weights = rng.normal(size=(8, 8))

    def likelihood(p: dict[str, Array]) -> float:
        apart = (points[:, None] - points[None]) / np.exp(p["log_length"])
        return float(np.sum(weights * np.exp(p["log_variance"] - 0.5 * np.sum(apart**2, axis=2))))

    def slopes(p: dict[str, Array], power: float) -> dict[str, Array]:
        length = np.exp(p["log_length"])
        apart = (points[:, None] - points[None]) / length
        kernel = weights * np.exp(p["log_variance"] - 0.5 * np.sum(apart**2, axis=2))
        by_length = np.einsum("ij,ijk->k", kernel, apart**2)
        return {"log_length": by_length / length**power, "log_variance": np.sum(kernel)}

    functions = likelihood, lambda p: slopes(p, 1), lambda p: slopes(p, 0)
    point = {"log_length": 0.5 * rng.normal(size=3), "log_variance": np.float64(0.4)}
    yield pair("length scales", "parametrisation", gradcheck.check_gradient, functions, point, of="log_length")

    half = rng.normal(size=(4, 4))
    spd = half @ half.T + np.eye(4)
    functions = (
        lambda m: float(np.linalg.slogdet(m)[1]),
        lambda m: 2 * np.linalg.inv(m).T - np.diag(np.diag(np.linalg.inv(m))),
        lambda m: np.linalg.inv(m).T,
    )
    yield pair(
        "symmetric",
        "constant-ratio",
        gradcheck.check_gradient,
        functions,
        spd,
        words="2 times the true one in what is off the diagonal",
    )

    a, b = rng.normal(size=(10, 6)), rng.normal(size=10)
    functions = (
        lambda w: float(np.mean((a @ w - b) ** 2) + 0.3 * np.sum(w**2)),
        lambda w: 2 * a.T @ (a @ w - b) / 10 + 0.3 * w,
        lambda w: 2 * a.T @ (a @ w - b) / 10 + 0.6 * w,
    )
    yield pair(
        "half a penalty", "missing-weight-decay", gradcheck.check_gradient, functions, rng.normal(size=6), words="0.3"
    )

    x = rng.normal(size=(12, 3))

    def curve(p: dict[str, Array]) -> float:
        return float(np.sum(np.log(1 + np.exp(x @ p["slope"] + p["level"]))))

    def hessian(p: dict[str, Array], cross: float) -> dict[str, dict[str, Any]]:
        s = sigmoid(x @ p["slope"] + p["level"])
        w = s * (1 - s)
        mixed = cross * x.T @ w
        return {
            "slope": {"slope": x.T @ (w[:, None] * x), "level": mixed},
            "level": {"slope": mixed, "level": np.sum(w)},
        }

    functions = curve, lambda p: hessian(p, 0.0), lambda p: hessian(p, 1.0)
    point = {"slope": rng.normal(size=3), "level": np.float64(0.2)}
    yield pair("no cross block", "dropped", gradcheck.check_hessian, functions, point, of="slope.level")


def physics(rng: np.random.Generator) -> Iterator[Planted]:
    """Give charges without reaction, Greeks by the day and by the percent, a filter that is not turned round."""
    where, charge = rng.normal(size=(6, 3)), rng.uniform(0.5, 1.5, size=6)
    i, j = np.triu_indices(6, 1)

    def energy(x: Array) -> float:
        return float(np.sum(charge[i] * charge[j] / np.sqrt(np.sum((x[i] - x[j]) ** 2, axis=1))))

    def slope(x: Array, reaction: bool) -> Array:
        apart = x[i] - x[j]
        each = -(charge[i] * charge[j] / np.sum(apart**2, axis=1) ** 1.5)[:, None] * apart
        out = np.zeros_like(x)
        np.add.at(out, i, each)
        if reaction:
            np.add.at(out, j, -each)
        return out

    functions = energy, lambda x: slope(x, False), lambda x: slope(x, True)
    yield pair("reaction", "unbalanced", gradcheck.check_gradient, functions, where, words="a reaction")

    def bond(p: dict[str, float]) -> float:
        return float(100 * np.exp(-(p["rate"] + 0.5 * p["spread"] ** 2) * p["time"]) * (1 + p["coupon"] * p["time"]))

    def greeks(p: dict[str, float], day: float, percent: float) -> dict[str, float]:
        growth = p["rate"] + 0.5 * p["spread"] ** 2
        value, factor = bond(p), 1 + p["coupon"] * p["time"]
        return {
            "rate": -p["time"] * value * percent,
            "spread": -p["spread"] * p["time"] * value,
            "coupon": p["time"] * value / factor,
            "time": (-growth * value + p["coupon"] * value / factor) * day,
        }

    functions = bond, lambda p: greeks(p, 1 / 365, 0.01), lambda p: greeks(p, 1, 1)
    point = {"rate": 0.03, "spread": 0.2, "coupon": 0.05, "time": 1.7}
    yield pair(
        "greeks", "constant-ratio", gradcheck.check_gradient, functions, point, of="time", words="days and years"
    )

    kernel = rng.normal(size=5)
    functions = (
        lambda x: (np.apply_along_axis(np.convolve, 1, np.tanh(x), kernel, "same"), x),
        lambda dy, x: np.apply_along_axis(np.convolve, 1, dy, kernel, "same") / np.cosh(x) ** 2,
        lambda dy, x: np.apply_along_axis(np.convolve, 1, dy, kernel[::-1], "same") / np.cosh(x) ** 2,
    )
    yield pair("filter", "not-transposed", gradcheck.check_layer, functions, rng.normal(size=(3, 9)), of="x")
