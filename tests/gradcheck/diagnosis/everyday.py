"""The reported kinds of bug a third time, as they are met at work: other functions, shapes and calls, each beside its right twin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import gradcheck
from tests.gradcheck.diagnosis.planted import Array, Planted
from tests.gradcheck.diagnosis.reported import pair


def everyday(seed: int) -> Iterator[Planted]:
    """Give them all."""
    rng = np.random.default_rng([seed, 8])
    for family in (graphs, stages, cameras, mixtures, matrices, pools, signals, finance, slips):
        yield from family(rng)


def softmax(z: Array) -> Array:
    e = np.exp(z - np.max(z, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def graphs(rng: np.random.Generator) -> Iterator[Planted]:
    """Give springs between nodes of two index arrays, and the mean of a bag of words."""
    i, j = np.array([0, 1, 2, 2, 5, 6, 8]), np.array([1, 3, 3, 4, 6, 7, 9])

    def stretch(x: Array, i: Array, j: Array) -> tuple[Array, Any]:
        d = x[i] - x[j]
        return np.sum(d**2, axis=1), (x, i, j, d)

    def pulled(dy: Array, cache: Any, add: bool) -> tuple[Array, None, None]:
        x, i, j, d = cache
        each, out = 2 * dy[:, None] * d, np.zeros_like(x)
        if add:
            np.add.at(out, i, each)
            np.subtract.at(out, j, each)
        else:
            out[i] += each
            out[j] -= each
        return out, None, None

    functions = stretch, lambda dy, c: pulled(dy, c, add=False), lambda dy, c: pulled(dy, c, add=True)
    yield pair("springs", "repeated-index", gradcheck.check_layer, functions, rng.normal(size=(11, 2)), i, j, of="x")

    words = np.array([[1, 4, 9], [0, 4, 2], [7, 11, 2], [6, 6, 3]])

    def bag(table: Array, words: Array) -> tuple[Array, Any]:
        return np.tanh(np.mean(table[words], axis=1)), (table, words)

    def unpacked(dy: Array, cache: Any, add: bool) -> tuple[Array, None]:
        table, words = cache
        each = (dy / np.cosh(np.mean(table[words], axis=1)) ** 2 / 3)[:, None].repeat(3, axis=1)
        out = np.zeros_like(table)
        if add:
            np.add.at(out, words, each)
        else:
            out[words] += each
        return out, None

    functions = bag, lambda dy, c: unpacked(dy, c, add=False), lambda dy, c: unpacked(dy, c, add=True)
    table = rng.normal(size=(13, 4))
    yield pair("bag of words", "repeated-index", gradcheck.check_layer, functions, table, words, of="table")


def stages(rng: np.random.Generator) -> Iterator[Planted]:
    """Give the bias of a softplus in a chain, a leaky slope that is not the layer's, a gain that is forgotten."""
    w, b, target = rng.normal(size=(6, 4)), rng.normal(size=4), rng.normal(size=(5, 4))

    def soft(x: Array, w: Array, b: Array) -> tuple[Array, Any]:
        z = x @ w + b
        return np.logaddexp(z, 0), (x, w, z)

    def of_soft(dy: Array, cache: Any, known: bool) -> tuple[Array, Array, Array]:
        x, w, z = cache
        dz = dy / (1 + np.exp(-z))
        return dz @ w.T, x.T @ dz, np.sum(dz if known else dy, axis=0)

    def loss(x: Array) -> tuple[Any, Any]:
        return np.sum((x - target) ** 2), x

    def check(_: Any, back: Any, x: Array) -> Any:
        chain = [("soft", soft, back, (w, b)), ("loss", loss, lambda dy, y: dy * 2 * (y - target), ())]
        return gradcheck.check_chain(chain, x)

    functions = None, lambda dy, c: of_soft(dy, c, known=False), lambda dy, c: of_soft(dy, c, known=True)
    yield pair("softplus bias", "activation-missing", check, functions, rng.normal(size=(5, 6)), of="soft.b")

    functions = (
        lambda x: (np.where(x > 0, x, 0.2 * x), x),
        lambda dy, x: dy * np.where(x > 0, 1, 0.01),
        lambda dy, x: dy * np.where(x > 0, 1, 0.2),
    )
    words = "where x is negative"
    yield pair("leak", "constant-ratio", gradcheck.check_layer, functions, rng.normal(size=(4, 6)), of="x", words=words)

    def rms(x: Array, gain: Array) -> tuple[Array, Any]:
        s = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6)
        return gain * x / s, (x, gain, s)

    def of_rms(dy: Array, cache: Any, known: bool, project: bool) -> tuple[Array, Array]:
        x, gain, s = cache
        dn = dy * gain if known else dy
        dx = (dn - project * x * np.mean(dn * x, axis=-1, keepdims=True) / s**2) / s
        return dx, np.sum(dy * x / s, axis=(0, 1))

    inputs = rng.normal(size=(2, 3, 6)), rng.uniform(0.5, 2, size=6)
    right = lambda dy, c: of_rms(dy, c, known=True, project=True)  # noqa: E731 - one of three functions
    functions = rms, lambda dy, c: of_rms(dy, c, known=False, project=True), right
    yield pair("gain", "missing-factor", gradcheck.check_layer, functions, *inputs, of="x", words="gain")
    functions = rms, lambda dy, c: of_rms(dy, c, known=True, project=False), right
    yield pair("root mean square", "missing-projection", gradcheck.check_layer, functions, *inputs, of="x")


def cameras(rng: np.random.Generator) -> Iterator[Planted]:
    """Give points seen by a turned camera, and cosines whose lengths are taken for constants."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn[:, 0] *= np.linalg.det(turn)
    seen = rng.normal(size=(7, 2))

    def error(x: Array) -> tuple[Array, Array]:
        z = x @ turn.T + np.array([0, 0, 6.0])
        return z[:, :2] / z[:, 2:] - seen, z

    def slope(x: Array, frame: Array) -> Array:
        e, z = error(x)
        flat = 2 * e / z[:, 2:]
        return np.hstack([flat, -np.sum(flat * z[:, :2], axis=1, keepdims=True) / z[:, 2:]]) @ frame

    functions = lambda x: float(np.sum(error(x)[0] ** 2)), lambda x: slope(x, np.eye(3)), lambda x: slope(x, turn)
    yield pair("camera", "mixed", gradcheck.check_gradient, functions, rng.normal(size=(7, 3)), words="a rotation by")

    b = rng.normal(size=(5, 4))
    b = b / np.linalg.norm(b, axis=1, keepdims=True)

    def cosines(a: Array) -> float:
        return float(np.sum((1 - np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1)) ** 2))

    def by_angle(a: Array, project: bool) -> Array:
        size = np.linalg.norm(a, axis=1, keepdims=True)
        cos = np.sum(a * b, axis=1, keepdims=True) / size
        return -2 * (1 - cos) * (b - project * cos * a / size) / size

    functions = cosines, lambda a: by_angle(a, project=False), lambda a: by_angle(a, project=True)
    yield pair("cosines", "missing-projection", gradcheck.check_gradient, functions, rng.normal(size=(5, 4)))


def mixtures(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a mixture's weights that need not sum to one, deviations for variances, a temperature that is forgotten, a barrier."""
    x = rng.normal(size=15)

    def mixture(p: dict[str, Array]) -> float:
        each = np.log(softmax(p["logits"])) - np.log(p["spread"]) - 0.5 * ((x[:, None] - p["mean"]) / p["spread"]) ** 2
        return float(np.sum(np.logaddexp.reduce(each, axis=1)))

    def slopes(p: dict[str, Array], normal: float = 1.0, variance: bool = False) -> dict[str, Array]:
        each = np.log(softmax(p["logits"])) - np.log(p["spread"]) - 0.5 * ((x[:, None] - p["mean"]) / p["spread"]) ** 2
        share, apart = softmax(each), (x[:, None] - p["mean"]) / p["spread"]
        by_spread = np.sum(share * (apart**2 - 1), axis=0) / p["spread"]
        return {
            "logits": np.sum(share, axis=0) - normal * len(x) * softmax(p["logits"]),
            "mean": np.sum(share * apart, axis=0) / p["spread"],
            "spread": by_spread / (2 * p["spread"]) if variance else by_spread,
        }

    point = {"logits": rng.normal(size=4), "mean": rng.normal(size=4), "spread": rng.uniform(0.4, 2, size=4)}
    functions = mixture, lambda p: slopes(p, normal=0.0), slopes
    yield pair("shares", "unbalanced", gradcheck.check_gradient, functions, point, of="logits")
    functions = mixture, lambda p: slopes(p, variance=True), slopes
    yield pair("variances", "parametrisation", gradcheck.check_gradient, functions, point, of="spread", words="**2")

    label = rng.integers(5, size=8)

    def loss(p: dict[str, Any]) -> float:
        return float(-np.mean(np.log(softmax(p["logits"] / p["tau"]))[np.arange(8), label]))

    def of_loss(p: dict[str, Any], known: bool) -> dict[str, Any]:
        d = (softmax(p["logits"] / p["tau"]) - np.eye(5)[label]) / 8
        return {"logits": d / p["tau"] if known else d, "tau": -np.sum(d * p["logits"]) / p["tau"] ** 2}

    functions = loss, lambda p: of_loss(p, known=False), lambda p: of_loss(p, known=True)
    point = {"logits": rng.normal(size=(8, 5)), "tau": 1.7}
    yield pair("temperature", "constant-ratio", gradcheck.check_gradient, functions, point, of="logits", words="tau")

    a, b = rng.normal(size=(9, 6)), rng.normal(size=9)
    functions = (
        lambda v: float(np.sum((a @ v - b) ** 2) - 0.3 * np.sum(np.log(v))),
        lambda v: 2 * a.T @ (a @ v - b),
        lambda v: 2 * a.T @ (a @ v - b) - 0.3 / v,
    )
    point = rng.uniform(0.5, 2, size=6)
    yield pair("barrier", "log-term", gradcheck.check_gradient, functions, point, words="0.3")


def matrices(rng: np.random.Generator) -> Iterator[Planted]:
    """Give the lower triangle of a Hessian, a cross block taken twice, a Jacobian by columns, other arrays in place of gradients."""
    a = rng.normal(size=(8, 5))

    def f(v: Array) -> float:
        return float(np.sum(np.exp(0.4 * a @ v)))

    def hessian(v: Array) -> Array:
        return 0.16 * a.T @ (np.exp(0.4 * a @ v)[:, None] * a)

    functions = f, lambda v: np.tril(hessian(v)), hessian
    yield pair("lower triangle", "zeroed", gradcheck.check_hessian, functions, rng.normal(size=5), words="above")

    def g(p: dict[str, Array]) -> float:
        return float(np.sum(np.exp(a[:, :2] @ p["a"]) * np.sin(a[:, 2:] @ p["b"])))

    def blocks(p: dict[str, Array], cross: float) -> dict[str, dict[str, Array]]:
        u, v = a[:, :2], a[:, 2:]
        e, s, c = np.exp(u @ p["a"])[:, None], np.sin(v @ p["b"])[:, None], np.cos(v @ p["b"])[:, None]
        mixed = cross * u.T @ (e * c * v)
        return {"a": {"a": u.T @ (e * s * u), "b": mixed}, "b": {"a": mixed.T, "b": -v.T @ (e * s * v)}}

    functions = g, lambda p: blocks(p, 2.0), lambda p: blocks(p, 1.0)
    point = {"a": 0.5 * rng.normal(size=2), "b": rng.normal(size=3)}
    yield pair("cross twice", "constant-ratio", gradcheck.check_hessian, functions, point, of="a.b", words="2 times")

    t = np.linspace(0, 2, 9)

    def curve(p: Array) -> Array:
        return p[0] * np.exp(-p[1] * t) * np.cos(p[2] * t)

    def jacobian(p: Array) -> Array:
        e, c, s = np.exp(-p[1] * t), np.cos(p[2] * t), np.sin(p[2] * t)
        return np.stack([e * c, -t * p[0] * e * c, -t * p[0] * e * s], axis=1)

    functions = curve, lambda p: jacobian(p).T, jacobian
    yield pair("columns", "transposed", gradcheck.check_jacobian, functions, np.array([1.3, 0.7, 2.1]))
    ratio = lambda p: jacobian(p) * p[[1]]  # noqa: E731 - one of three functions
    functions = curve, ratio, jacobian
    point = np.array([1.3, 0.7, 2.1])
    yield pair("rate", "constant-ratio", gradcheck.check_jacobian, functions, point, words="params[1]")

    def layer(x: Array, w: Array) -> tuple[Array, Any]:
        y = np.tanh(x @ w)
        return y, (x, w, y)

    def of_layer(dy: Array, cache: Any) -> tuple[Array, Array]:
        x, w, y = cache
        return dy * (1 - y**2) @ w.T, x.T @ (dy * (1 - y**2))

    functions = layer, lambda dy, c: (of_layer(dy, c)[0], c[1].copy()), of_layer
    inputs = rng.normal(size=(4, 3)), rng.normal(size=(3, 5))
    yield pair("the weights", "copied", gradcheck.check_layer, functions, *inputs, of="w")


def pools(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a pooling that takes near maxima for maxima, one whose windows overlap, and a padding that is not cut off."""
    x = rng.normal(size=(3, 4, 6))
    x[:, 1] = x.max(axis=1) + 0.3
    x[0, 3, [0, 2, 5]] = x[0, 1, [0, 2, 5]] - np.array([3e-5, 4e-6, 8e-5])

    def most(x: Array) -> tuple[Array, Array]:
        return np.max(x, axis=1), x

    functions = (
        most,
        lambda dy, x: dy[:, None] * np.isclose(x, x.max(axis=1, keepdims=True), rtol=0, atol=2e-4),
        lambda dy, x: dy[:, None] * (x == x.max(axis=1, keepdims=True)),
    )
    yield pair("isclose", "near-ties", gradcheck.check_layer, functions, x, of="x")

    at = np.arange(5)[:, None] * 2 + np.arange(4)

    def windows(x: Array) -> tuple[Array, Any]:
        y = x[:, at]
        return y.max(axis=2), (x, at[np.arange(5), y.argmax(axis=2)])

    def spread(dy: Array, cache: Any, add: bool) -> Array:
        x, where = cache
        out = np.zeros_like(x)
        rows = np.arange(len(x))[:, None]
        if add:
            np.add.at(out, (rows, where), dy)
        else:
            out[rows, where] = dy
        return out

    functions = windows, lambda dy, c: spread(dy, c, add=False), lambda dy, c: spread(dy, c, add=True)
    yield pair("overlap", "lost-upstream", gradcheck.check_layer, functions, rng.normal(size=(4, 12)), of="x")

    kernel = rng.normal(size=(3, 3))

    def convolve(x: Array) -> tuple[Array, Array]:
        padded = np.lib.stride_tricks.sliding_window_view(np.pad(x, 1), (3, 3))
        return np.sin(np.einsum("ijuv,uv->ij", padded, kernel)), x

    def back(dy: Array, x: Array, cut: bool) -> Array:
        padded = np.lib.stride_tricks.sliding_window_view(np.pad(x, 1), (3, 3))
        dz = dy * np.cos(np.einsum("ijuv,uv->ij", padded, kernel))
        out = np.zeros((x.shape[0] + 2, x.shape[1] + 2))
        for u, v in np.ndindex(3, 3):
            out[u : u + x.shape[0], v : v + x.shape[1]] += kernel[u, v] * dz
        return out[1:-1, 1:-1] if cut else out

    functions = convolve, lambda dy, c: back(dy, c, cut=False), lambda dy, c: back(dy, c, cut=True)
    yield pair("uncut image", "uncut", gradcheck.check_layer, functions, rng.normal(size=(5, 6)), of="x")


def signals(rng: np.random.Generator) -> Iterator[Planted]:
    """Give a spectrum's conjugate, a fixed point through which nothing flows, a time axis that runs backwards."""
    weights = rng.uniform(0.5, 2, size=9)

    def power(p: dict[str, Array]) -> float:
        return float(np.sum(weights * np.abs(np.fft.fft(p["re"] + 1j * p["im"])) ** 2))

    def of_power(p: dict[str, Array], sign: int) -> dict[str, Array]:
        g = 2 * 9 * np.fft.ifft(weights * np.fft.fft(p["re"] + 1j * p["im"]))
        return {"re": g.real, "im": sign * g.imag}

    functions = power, lambda p: of_power(p, -1), lambda p: of_power(p, 1)
    point = {"re": rng.normal(size=9), "im": rng.normal(size=9)}
    yield pair("conjugate", "constant-ratio", gradcheck.check_gradient, functions, point, of="im", words="minus")

    w = 0.3 * rng.normal(size=(4, 4)) / 2

    def settle(b: Array) -> Array:
        z = np.zeros(4)
        for _ in range(200):
            z = np.tanh(w @ z + b)
        return z

    def implicit(b: Array, through: float) -> Array:
        z = settle(b)
        d = np.diag(1 - z**2)
        return through * np.linalg.solve((np.eye(4) - d @ w).T, 2 * z) @ d

    functions = lambda b: float(np.sum(settle(b) ** 2)), lambda b: implicit(b, 0.0), lambda b: implicit(b, 1.0)
    yield pair("fixed point", "dropped", gradcheck.check_gradient, functions, rng.normal(size=4))

    u, drive = rng.normal(size=(7, 3)), rng.normal(size=(7, 3))

    def run(x: Array) -> tuple[Array, Any]:
        state, out = np.zeros(3), []
        for row in x:
            state = 0.6 * state + np.sin(row)
            out.append(state * drive[0])
        return np.array(out), x

    def unrun(dy: Array, x: Array, order: int) -> Array:
        later, out = np.zeros(3), np.zeros_like(x)
        for k in range(len(x) - 1, -1, -1):
            later = 0.6 * later + dy[k] * drive[0]
            out[k] = later * np.cos(x[k])
        return out[::order]

    functions = run, lambda dy, x: unrun(dy, x, -1), lambda dy, x: unrun(dy, x, 1)
    yield pair("backwards", "flipped", gradcheck.check_layer, functions, u, of="x", words="last but one axis")


def finance(rng: np.random.Generator) -> Iterator[Planted]:
    """Give sensitivities by the basis point and by the trading day, and contributions that are averaged over too many."""
    times = np.array([0.5, 1.0, 1.5, 2.0])

    def bond(p: dict[str, Any]) -> float:
        return float(np.sum(p["cash"] * np.exp(-(p["rate"] + p["spread"] ** 2) * times)))

    def greeks(p: dict[str, Any], unit: float) -> dict[str, Any]:
        discount = np.exp(-(p["rate"] + p["spread"] ** 2) * times)
        by_rate = -np.sum(times * p["cash"] * discount)
        return {"cash": discount, "rate": unit * by_rate, "spread": 2 * p["spread"] * by_rate}

    functions = bond, lambda p: greeks(p, 1e-4), lambda p: greeks(p, 1.0)
    point = {"cash": rng.uniform(2, 5, size=4), "rate": 0.04, "spread": 0.1}
    yield pair(
        "basis points", "constant-ratio", gradcheck.check_gradient, functions, point, of="rate", words="basis points"
    )

    x, y = rng.normal(size=(14, 3)), rng.normal(size=14)
    valid = np.arange(14) < 11

    def loss(w: Array) -> float:
        return float(np.mean(np.log(np.cosh(x @ w - y))[valid]))

    def of_loss(w: Array, count: int) -> Array:
        return x.T @ (valid * np.tanh(x @ w - y)) / count

    functions = loss, lambda w: of_loss(w, 14), lambda w: of_loss(w, 11)
    words = "0.785714 times"
    yield pair("padding counts", "constant-ratio", gradcheck.check_gradient, functions, rng.normal(size=3), words=words)


def slips(rng: np.random.Generator) -> Iterator[Planted]:
    """Give slopes of another logarithm, norms that are divided by twice, a lost temperature, and rows that were written twice."""
    x, weight = rng.uniform(0.2, 3, size=(4, 5)), rng.uniform(1, 3, size=(4, 5))
    functions = (
        lambda x: float(np.sum(weight * np.log1p(x))),
        lambda x: weight / x,
        lambda x: weight / (1 + x),
    )
    words = "the slope of log(params) where f has log(1 + params)"
    yield pair("log for log1p", "parametrisation", gradcheck.check_gradient, functions, x, words=words)
    functions = (lambda x: float(np.sum(weight * np.log(x))), lambda x: weight / (1 + x), lambda x: weight / x)
    words = "the slope of log(1 + params) where f has log(params)"
    yield pair("log1p for log", "parametrisation", gradcheck.check_gradient, functions, x, words=words)

    arrows, pull = rng.normal(size=(6, 3)), np.arange(1.0, 7)[:, None]
    functions = (
        lambda x: float(np.sum(pull * np.linalg.norm(x, axis=1, keepdims=True))),
        lambda x: pull * x / np.sum(x * x, axis=1, keepdims=True),
        lambda x: pull * x / np.linalg.norm(x, axis=1, keepdims=True),
    )
    words = "divided by the length of each slice of params along axis 0"
    yield pair("norms", "missing-factor", gradcheck.check_gradient, functions, arrows, words=words)

    logits, label = rng.normal(size=(12, 10)), np.eye(10)[rng.integers(10, size=12)]
    functions = (
        lambda z: float(-np.mean(np.sum(label * np.log(softmax(z / 2.5)), axis=1))),
        lambda z: (softmax(z / 2.5) - label) / 12,
        lambda z: (softmax(z / 2.5) - label) / 30,
    )
    words = "equals 2.5 times the true one (a factor too many, or 10/4"
    yield pair("temperature", "constant-ratio", gradcheck.check_gradient, functions, logits, words=words)

    functions = (
        lambda z: (softmax(z), softmax(z)),
        lambda dy, y: y * (dy - np.sum(dy, axis=1, keepdims=True)),
        lambda dy, y: y * (dy - np.sum(dy * y, axis=1, keepdims=True)),
    )
    single = logits[:6, :5].astype(np.float32)
    yield pair("softmax, single", "unbalanced", gradcheck.check_layer, functions, single, of="z", words="along axis 1")

    picked = np.append(np.arange(14), np.repeat(np.setdiff1d(np.arange(14), [3, 8]), 2))
    drawn = rng.normal(size=(len(picked), 6))

    def looked_up(table: Array, add: bool) -> Array:
        out, each = np.zeros_like(table), drawn * np.cos(table[picked])
        if add:
            np.add.at(out, picked, each)
        else:
            out[picked] += each
        return out

    functions = (
        lambda table: float(np.sum(drawn * np.sin(table[picked]))),
        lambda table: looked_up(table, add=False),
        lambda table: looked_up(table, add=True),
    )
    words = "wrong in all but slices 3 and 8 of 14 along axis 0"
    yield pair("look-up", "slices", gradcheck.check_gradient, functions, rng.normal(size=(14, 6)), words=words)
