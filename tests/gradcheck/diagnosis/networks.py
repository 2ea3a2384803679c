"""Bugs in trees of parameters, layers and matrices of derivatives; each names the place that it imitates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

import gradcheck
from network import layers
from tests.gradcheck.diagnosis.planted import Array, Planted

RATIO = ("constant-ratio",)


def two_layers(seed: int, outputs: int = 3, samples: int = 5, alpha: float = 0.0) -> tuple[Any, Any, dict[str, Array]]:
    """Return the mean squared error of a small network, its gradient with a factor on the data part, and a point."""
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(samples, 4)), rng.normal(size=(samples, outputs))
    sizes = {"W1": (4, 6), "b1": (6,), "W2": (6, outputs), "b2": (outputs,)}
    params = {name: rng.normal(size=size) for name, size in sizes.items()}

    def f(p: dict[str, Array]) -> float:
        h = np.tanh(x @ p["W1"] + p["b1"])
        penalty = alpha / 2 / samples * sum(np.sum(p[w] ** 2) for w in ("W1", "W2"))
        return float(np.mean((h @ p["W2"] + p["b2"] - target) ** 2) / 2 + penalty)

    def grad(p: dict[str, Array], factor: float = 1.0, penalty: float = 1.0) -> dict[str, Array]:
        h = np.tanh(x @ p["W1"] + p["b1"])
        d = factor * (h @ p["W2"] + p["b2"] - target) / target.size
        e = (d @ p["W2"].T) * (1 - h**2)
        g = {"W1": x.T @ e, "b1": e.sum(0), "W2": h.T @ d, "b2": d.sum(0)}
        for w in ("W1", "W2"):
            g[w] = g[w] + penalty * alpha / samples * p[w]
        return g

    return f, grad, params


def trees(seed: int) -> Iterator[Planted]:
    """Give bugs in networks and other trees."""
    for outputs in (1, 2, 3, 5):
        f, grad, params = two_layers(seed, outputs)

        def times(k: int, f: Any = f, g: Any = grad, p: Any = params) -> Callable[[], gradcheck.Report]:
            return cache(lambda: gradcheck.check_gradient(f, lambda q: g(q, k), p))  # one check for all parameters

        if outputs > 1:  # MLPRegressor of scikit-learn (#8349): the number of outputs times too large
            check = times(outputs)
            for name in params:
                yield Planted(f"outputs {outputs} {name} {seed}", RATIO, check, name, "number of outputs")
        check = times(5 * outputs)
        for name in params:  # a sum where a mean is asked
            yield Planted(f"sum {outputs} {name} {seed}", RATIO, check, name, f"{5 * outputs} times")
    for outputs in (2, 3):
        f, grad, params = two_layers(seed, outputs, alpha=0.4)
        check = cache(lambda f=f, g=grad, p=params, k=outputs: gradcheck.check_gradient(f, lambda q: g(q, k), p))
        for name in params:
            kinds = ("two-term",) if name.startswith("W") else RATIO
            yield Planted(f"outputs and penalty {outputs} {name} {seed}", kinds, check, name, f"{outputs} times")
        check = cache(lambda f=f, g=grad, p=params: gradcheck.check_gradient(f, lambda q: g(q, 1.0, 0.0), p))
        for name in ("W1", "W2"):
            yield Planted(f"no penalty {name} {seed}", ("missing-weight-decay",), check, name, "strength 0.08")
    yield from exchanged(seed)
    yield from scalars(seed)


def exchanged(seed: int) -> Iterator[Planted]:
    """Give gradients of one parameter in place of another's."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, 3, 3))
    params = {"Wa": rng.normal(size=(3, 3)), "Wb": rng.normal(size=(3, 3)), "idle": rng.normal(size=(3, 3))}

    def f(p: dict[str, Array]) -> float:
        return float(np.sum(a * np.sin(p["Wa"]) * p["Wb"]) + np.sum(b * p["Wb"] ** 2))

    def grad(p: dict[str, Array]) -> dict[str, Array]:
        wa, wb = a * np.cos(p["Wa"]) * p["Wb"], a * np.sin(p["Wa"]) + 2 * b * p["Wb"]
        return {"Wa": wa, "Wb": wb, "idle": np.zeros((3, 3))}

    def changed(**how: Any) -> Any:
        return lambda: gradcheck.check_gradient(f, lambda p: grad(p) | {k: v(grad(p)) for k, v in how.items()}, params)

    yield Planted(f"swapped {seed}", ("swapped",), changed(Wa=lambda g: g["Wb"], Wb=lambda g: g["Wa"]), "Wa", "Wb")
    yield Planted(f"other {seed}", ("other-parameter",), changed(Wa=lambda g: g["Wb"]), "Wa", "Wb")
    yield Planted(f"idle {seed}", ("no-influence",), changed(idle=lambda g: c), "idle", "never influences")


def scalars(seed: int) -> Iterator[Planted]:
    """Give the hyperparameters of a Gaussian process: a few numbers, their gradient taken with respect to logarithms."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 3, 7))
    y, d2 = np.sin(3 * x), (x[:, None] - x) ** 2
    params = {
        "length": float(rng.uniform(0.3, 0.9)),
        "scale": float(rng.uniform(1.2, 2.5)),
        "noise": float(rng.uniform(0.05, 0.2)),
    }

    def parts(p: dict[str, float]) -> tuple[Array, dict[str, Array]]:
        k = p["scale"] * np.exp(-d2 / (2 * p["length"] ** 2))
        by = {"length": k * d2 / p["length"] ** 3, "scale": k / p["scale"], "noise": np.eye(len(x))}
        return k + p["noise"] * np.eye(len(x)), by

    def f(p: dict[str, float]) -> float:
        k, _ = parts(p)
        return float(y @ np.linalg.solve(k, y) / 2 + np.linalg.slogdet(k)[1] / 2)

    def grad(p: dict[str, float]) -> dict[str, float]:
        k, by = parts(p)
        inverse = np.linalg.inv(k)
        w = inverse @ y
        return {name: float(np.sum((inverse - np.outer(w, w)) * d) / 2) for name, d in by.items()}

    def vector(v: Array) -> dict[str, float]:
        return dict(zip(params, v, strict=True))

    theta = np.array(list(params.values()))
    for name in params:
        yield Planted(
            f"log of {name} {seed}",
            ("parametrisation",),
            lambda: gradcheck.check_gradient(f, lambda p: {n: g * p[n] for n, g in grad(p).items()}, params),
            name,
            "log",
        )
    yield Planted(
        f"log of vector {seed}",
        ("parametrisation",),
        lambda: gradcheck.check_gradient(
            lambda v: f(vector(v)), lambda v: np.array(list(grad(vector(v)).values())) * v, theta
        ),
        words="log",
    )
    yield Planted(
        f"not of log {seed}",
        ("parametrisation",),
        lambda: gradcheck.check_gradient(
            lambda v: f(vector(np.exp(v))), lambda v: np.array(list(grad(vector(np.exp(v))).values())), np.log(theta)
        ),
        words="log",
    )


def _layer(
    name: str, kinds: tuple[str, ...], forward: Any, backward: Any, *inputs: Array, of: str = "x", words: str = ""
) -> Planted:
    return Planted(name, kinds, lambda: gradcheck.check_layer(forward, backward, *inputs), of, words)


ACTIVATIONS = {
    # name: function, right slope, wrong slope, kind
    "tanh": (np.tanh, lambda x, y: 1 - y**2, lambda x, y: 1 - x**2, "wrong-variable"),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x, y: y * (1 - y), lambda x, y: x * (1 - x), "wrong-variable"),
    "softplus": (
        lambda x: np.log1p(np.exp(x)),
        lambda x, y: 1 - np.exp(-y),
        lambda x, y: 1 / (1 + np.exp(-y)),
        "wrong-variable",
    ),  # nanonn#4
    "arctan": (np.arctan, lambda x, y: 1 / (1 + x**2), lambda x, y: 1 / (1 + y**2), "wrong-variable"),
    "exp": (np.exp, lambda x, y: y, lambda x, y: x, "wrong-variable"),
    "tanh as sigmoid": (np.tanh, lambda x, y: 1 - y**2, lambda x, y: y * (1 - y), "wrong-slope"),
    "none": (np.tanh, lambda x, y: 1 - y**2, lambda x, y: np.ones_like(x), "activation-missing"),
    "no relu": (lambda x: np.maximum(x, 0), lambda x, y: x > 0, lambda x, y: np.ones_like(x), "activation-missing"),
}


def activations(seed: int) -> Iterator[Planted]:
    """Give wrong slopes of elementwise layers."""
    for shape in ((6,), (4, 3), (2, 3, 4, 4)):
        x = np.random.default_rng([seed, *shape]).normal(size=shape)
        for name, (function, _, wrong, kind) in ACTIVATIONS.items():
            forward = lambda x, f=function: (f(x), (x, f(x)))  # noqa: E731
            yield _layer(f"{name} {shape} {seed}", (kind,), forward, lambda dy, cache, w=wrong: dy * w(*cache), x)


def turned(name: str, a: Array) -> Array:
    """Turn maps."""
    return {"rotated": a[..., ::-1, ::-1], "transposed": np.swapaxes(a, -1, -2), "flipped": a[..., ::-1]}[name]


def convolutions(seed: int) -> Iterator[Planted]:
    """Give wrong backward passes of layers with weights."""
    rng = np.random.default_rng(seed)
    x, w, b = rng.normal(size=(2, 3, 5, 5)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    fw = lambda x, w, b: layers.conv2d_forward(x, w, b, padding=1)  # noqa: E731

    def changed(**how: Any) -> Any:
        def backward(dy: Array, cache: Any) -> tuple[Array, ...]:
            given = dict(zip(("x", "w", "b"), layers.conv2d_backward(dy, cache), strict=True))
            return tuple(how[k](v, dy) if k in how else v for k, v in given.items())

        return backward

    for kind in ("rotated", "transposed", "flipped"):
        for of in ("x", "w"):
            back = changed(**{of: lambda g, dy, kind=kind: turned(kind, g)})
            yield _layer(f"conv {kind} {of} {seed}", (kind,), fw, back, x, w, b, of=of)
    yield _layer(
        f"conv mean b {seed}", RATIO, fw, changed(b=lambda g, dy: g / len(dy)), x, w, b, of="b", words="1/2 of"
    )
    yield _layer(f"conv shifted x {seed}", ("shifted",), fw, changed(x=lambda g, dy: np.roll(g, 1, -1)), x, w, b)
    yield _layer(f"conv last of batch {seed}", ("zeroed",), fw, changed(x=lambda g, dy: g * np.array([1, 0]).reshape(2, 1, 1, 1)), x, w, b, words="last slice along axis 0")  # fmt: skip
    yield _layer(f"conv channels {seed}", ("permuted",), fw, changed(w=lambda g, dy: g[:, [1, 0, 2]]), x, w, b, of="w")
    inside = np.pad(np.ones((3, 3)), 1)
    yield _layer(f"conv border {seed}", ("borders-only",), fw, changed(x=lambda g, dy: g + (1 - inside) * dy.mean()), x, w, b)  # fmt: skip
    for kind in ("rotated", "transposed", "flipped"):
        back = lambda dy, cache, kind=kind: layers.conv2d_backward(turned(kind, dy), cache)  # noqa: E731
        yield _layer(f"conv upstream {kind} {seed}", ("upstream-transformed",), fw, back, x, w, b, of="w", words=kind)
        back = lambda dy, cache, kind=kind: layers.max_pool2d_backward(turned(kind, dy), cache)  # noqa: E731
        images = rng.normal(size=(2, 3, 6, 6))
        yield _layer(f"pool upstream {kind} {seed}", ("upstream-transformed",), lambda x: layers.max_pool2d_forward(x, 2), back, images, words=kind)  # fmt: skip
        back = lambda dy, cache, kind=kind: turned(kind, layers.max_pool2d_backward(dy, cache))  # noqa: E731
        yield _layer(f"pool {kind} {seed}", (kind,), lambda x: layers.max_pool2d_forward(x, 2), back, images)
    z, v, c = rng.normal(size=(5, 4)), rng.normal(size=(4, 4)), rng.normal(size=4)

    def dense(dy: Array, cache: Any) -> tuple[Array, ...]:
        dx, dw, db = layers.dense_backward(dy, cache)
        return dx, dw.T, db

    yield _layer(f"dense {seed}", ("transposed",), layers.dense_forward, dense, z, v, c, of="w")
    soft = lambda x: (np.exp(x) / np.exp(x).sum(-1, keepdims=True),) * 2  # noqa: E731
    # thinc 56f02723: the diagonal alone
    yield _layer(f"softmax {seed}", ("wrong-slope",), soft, lambda dy, y: dy * y * (1 - y), z, words="a softmax's")
    gamma = rng.uniform(0.5, 2, size=4)
    yield _layer(f"gamma missing {seed}", ("missing-factor", "activation-missing"), lambda x, gamma: (x * gamma, (x, gamma)), lambda dy, cache: (dy, (dy * cache[0]).sum(0)), z, gamma)  # fmt: skip
    yield _layer(f"gamma twice {seed}", ("extra-factor",), lambda x, gamma: (x * gamma, (x, gamma)), lambda dy, cache: (dy * cache[1] ** 2, (dy * cache[0]).sum(0)), z, gamma, words="gamma")  # fmt: skip


def matrices(seed: int) -> Iterator[Planted]:
    """Give wrong Jacobians and Hessians."""
    rng = np.random.default_rng(seed)
    a, x = rng.normal(size=(4, 4)), rng.uniform(0.5, 2, size=4)

    def jac(v: Array) -> Array:
        return a * np.cos(v) + np.eye(4) * v

    f = lambda v: a @ np.sin(v) + v**2 / 2  # noqa: E731
    yield Planted(
        f"jacobian transposed {seed}", ("transposed",), lambda: gradcheck.check_jacobian(f, lambda v: jac(v).T, x)
    )
    yield Planted(
        f"jacobian of log {seed}",
        ("parametrisation",),
        lambda: gradcheck.check_jacobian(f, lambda v: jac(v) * v, x),
        words="log",
    )
    y = rng.normal(size=6)
    b = rng.normal(size=(6, 6))

    def hess(v: Array) -> Array:
        return (b + b.T) * np.outer(np.cos(v), np.cos(v)) - np.diag(np.sin(v) * ((b + b.T) @ np.sin(v)))

    def value(v: Array) -> float:
        return float(np.sin(v) @ b @ np.sin(v))

    def block(v: Array, factor: float) -> Array:
        h = hess(v)
        h[:2, 3:] *= factor  # gpytorch#2598: the off-diagonal blocks negated
        h[3:, :2] *= factor
        return h

    yield Planted(
        f"hessian block {seed}", RATIO, lambda: gradcheck.check_hessian(value, lambda v: block(v, -1), y), words="block"
    )
    yield Planted(
        f"hessian zero block {seed}",
        ("zeroed",),
        lambda: gradcheck.check_hessian(value, lambda v: block(v, 0), y),
        words="block",
    )
    yield Planted(
        f"hessian half {seed}", RATIO, lambda: gradcheck.check_hessian(value, lambda v: hess(v) / 2, y), words="1/2"
    )
    yield Planted(f"hessian diagonal {seed}", ("zeroed",), lambda: gradcheck.check_hessian(value, lambda v: np.diag(np.diag(hess(v))), y), words="off the diagonal")  # fmt: skip


def shapes(seed: int) -> Iterator[Planted]:
    """Give gradients of the wrong shape, right but for one step."""
    rng = np.random.default_rng(seed)
    x, w, b = rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)

    def changed(name: str, change: Any) -> Any:
        def backward(dy: Array, cache: Any) -> tuple[Array, ...]:
            given = dict(zip(("x", "w", "b"), layers.dense_backward(dy, cache), strict=True))
            return tuple((given | {name: change(given[name], dy)}).values())

        return backward

    for name, kind, change in (
        ("b", "missing-sum", lambda g, dy: dy),  # chainer 3daca67c8a: not summed over the batch
        ("b", "missing-sum", lambda g, dy: len(dy) * dy),
        ("w", "transposed", lambda g, dy: g.T),
        ("w", "reshaped", lambda g, dy: g.reshape(2, 6)),
        ("x", "extra-sum", lambda g, dy: g.sum(0)),
        ("b", "extra-sum", lambda g, dy: g.sum()),
    ):
        yield _layer(f"{kind} {name} {seed}", (kind,), layers.dense_forward, changed(name, change), x, w, b, of=name)
    a = rng.normal(size=(3, 4))
    point = rng.normal(size=4)
    yield Planted(
        f"jacobian of transposed shape {seed}",
        ("transposed",),
        lambda: gradcheck.check_jacobian(lambda v: a @ np.sin(v), lambda v: (a * np.cos(v)).T, point),
    )
    yield Planted(
        f"scalar parameter not summed {seed}",
        ("missing-sum",),
        lambda: gradcheck.check_gradient(
            lambda v: float(np.sum(np.sin(v * a))), lambda v: a * np.cos(v * a), np.float64(0.3)
        ),
    )
