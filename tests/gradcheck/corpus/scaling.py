"""Elements, gradients and values of very different size; gradients that are zero in part or everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.gradcheck.corpus import smooth
from tests.gradcheck.corpus.case import Array, Case
from tests.gradcheck.corpus.smooth import NUMPY, Problem, Rng, drawn

CURVES = (
    (lambda x, m: m.sin(x), lambda x, m: m.cos(x)),
    (lambda x, m: m.exp(x), lambda x, m: m.exp(x)),
    (lambda x, m: m.tanh(x), lambda x, m: 1 / m.cosh(x) ** 2),
    (lambda x, _: 1 / (1 + x * x), lambda x, _: -2 * x / (1 + x * x) ** 2),
    (lambda x, m: m.log(1 + x * x), lambda x, _: 2 * x / (1 + x * x)),
)
# (value, slope, where the slope is exactly zero)
FLAT = (
    (lambda x, _: x * x, lambda x, _: 2 * x, 0.0),
    (lambda x, _: (x - 1) ** 2, lambda x, _: 2 * (x - 1), 1.0),
    (lambda x, m: m.cos(x), lambda x, m: -m.sin(x), 0.0),
    (lambda x, m: m.exp(-x * x), lambda x, m: -2 * x * m.exp(-x * x), 0.0),
    (lambda x, _: x**3 - 3 * x, lambda x, _: 3 * (x - 1) * (x + 1), -1.0),
    (lambda x, _: x**4, lambda x, _: 4 * x**3, 0.0),
)


def _powers(rng: Rng, n: int, span: float) -> Array:
    """Powers of ten from -span to span, both ends included, in a drawn order."""
    return rng.permutation(10 ** np.concatenate([[-span, span], rng.uniform(-span, span, size=n - 2)]))


def _normal(rng: Rng, n: int) -> Array:
    x = rng.normal(size=n)
    return np.where(x < 0, -1, 1) * np.maximum(np.abs(x), 0.2)


def heavy_terms(rng: Rng) -> Problem:
    """Gradients of 1e-12 beside 1e12: the small ones drown in the rounding of f."""
    n = int(rng.integers(2, 13))
    c, x = _powers(rng, n, 12), _normal(rng, n)
    value, slope = CURVES[rng.integers(len(CURVES))]
    slips = (("without the weights", lambda x: slope(x, NUMPY)),)
    return Problem(
        "terms of 1e-12 and 1e12", x, lambda x, m: np.sum(c * value(x, m)), lambda x, m: c * slope(x, m), slips
    )


def units(rng: Rng) -> Problem:
    """Elements from 1e-8 to 1e8, each of which matters as much: their gradients run the other way."""
    n = int(rng.integers(2, 13))
    k, u = _powers(rng, n, 8), _normal(rng, n)
    value, slope = CURVES[rng.integers(len(CURVES))]
    slips = (("without the unit", lambda x: slope(k * x, NUMPY)),)
    return Problem(
        "elements of 1e-8 to 1e8",
        u / k,
        lambda x, m: np.sum(value(k * x, m)),
        lambda x, m: k * slope(k * x, m),
        slips,
        scale=np.abs(u / k),
    )


def pairs(rng: Rng) -> Problem:
    """Tiny parameters multiplied by huge ones."""
    n = int(rng.integers(1, 6))
    x = np.stack([_normal(rng, n), _normal(rng, n)]) * (10 ** rng.uniform(4, 9, size=n)) ** np.array([[-1], [1]])

    def gradient(x: Array, m: Any) -> Array:
        p = x[0] * x[1]
        return x[::-1] * (m.cos(p) + 2 * p / (1 + p * p))

    def value(x: Array, m: Any) -> Any:
        p = x[0] * x[1]
        return np.sum(m.sin(p) + m.log(1 + p * p))

    slips = (("not crossed", lambda x: gradient(x, NUMPY)[::-1]),)
    return Problem("tiny times huge", x, value, gradient, slips, scale=np.abs(x))


def ignored(rng: Rng) -> Problem:
    """Some elements take no part."""
    n = int(rng.integers(3, 25))
    used, c = rng.permutation(np.arange(n) < rng.integers(1, n)), rng.normal(size=n)
    value, slope = CURVES[rng.integers(len(CURVES))]
    slips = (("as if all took part", lambda x: c * slope(x, NUMPY)),)
    return Problem(
        "some elements ignored",
        _normal(rng, n),
        lambda x, m: np.sum((c * value(x, m))[used]),
        lambda x, m: used * c * slope(x, m),
        slips,
        easy=True,
    )


def stationary(rng: Rng) -> Problem:
    """Exact zeros, where each element is at its own minimum, beside values; the curvature is not zero there."""
    n = int(rng.integers(2, 15))
    value, slope, zero = FLAT[rng.integers(len(FLAT))]
    c, flat = rng.uniform(0.5, 2, size=n), rng.random(n) < 0.5
    flat[0] = False
    slips = (("shifted", lambda x: c * slope(x + 0.1, NUMPY)),)
    return Problem(
        "true zeros beside values",
        np.where(flat, zero, zero + _normal(rng, n)),
        lambda x, m: np.sum(c * value(x, m)),
        lambda x, m: c * slope(x, m),
        slips,
        scale=1.0,
    )


def saturated(rng: Rng) -> Problem:
    """Units whose gradient is below any noise, beside others; the textbook's derivative there is exactly zero."""
    n = int(rng.integers(3, 20))
    x = np.where(rng.random(n) < 0.5, rng.uniform(18, 45, size=n), rng.uniform(0.2, 2, size=n)) * rng.choice([-1, 1], n)
    x[:2] = _normal(rng, 2)
    w, sigmoid, textbook = _normal(rng, n), rng.random() < 0.5, rng.random() < 0.5

    def value(x: Array, m: Any) -> Any:
        return np.sum(w / (1 + m.exp(-x)) if sigmoid else w * m.tanh(x))

    def gradient(x: Array, m: Any) -> Array:
        return w / (4 * m.cosh(x / 2) ** 2) if sigmoid else w / m.cosh(x) ** 2

    def short(x: Array) -> Array:
        s = 1 / (1 + np.exp(-x)) if sigmoid else np.tanh(x)
        return w * s * (1 - s) if sigmoid else w * (1 - s * s)

    slips = (("of the wrong one", lambda x: w / np.cosh(x) ** 2 if sigmoid else w / (4 * np.cosh(x / 2) ** 2)),)
    name = f"saturated {'sigmoid' if sigmoid else 'tanh'}"
    return Problem(name, x, value, gradient, slips, scale=1.0, right=short if textbook else None)


def confident(rng: Rng) -> Problem:
    """Cross-entropy of logits so far apart that some probabilities are 1e-20; one row is undecided."""
    base = smooth.cross_entropy(rng)
    x = np.clip(np.round(base.x * rng.uniform(10, 40), 3), -35, 35)
    x[0] = rng.normal(size=x.shape[1])
    return replace(base, name="confident cross-entropy", x=x, scale=1.0)


def rescaled(rng: Rng, power: float) -> Problem:
    """A harmless function times 1e200 or 1e-200."""
    base = (smooth.quadratic, smooth.perceptron, smooth.trigonometric, smooth.rational)[rng.integers(4)](rng)
    c = rng.uniform(1, 9) * 10.0**power
    return replace(
        base,
        name=f"{base.name} times {c:.0e}",
        value=lambda x, m: c * base.value(x, m),
        gradient=lambda x, m: c * base.gradient(x, m),
        slips=tuple((name, lambda x, slip=slip: c * slip(x)) for name, slip in base.slips),
        easy=True,
    )


def neighbours(rng: Rng) -> Problem:
    """A function of differences, far from zero: its scale is 1, not that of x."""
    n, far = int(rng.integers(2, 15)), 10 ** rng.uniform(3, 7)
    x = far + rng.normal(size=n)
    weights = rng.uniform(0.5, 2, size=n - 1)

    def value(x: Array, m: Any) -> Any:
        return np.sum(weights * m.log(1 + (x[1:] - x[:-1]) ** 2))

    def gradient(x: Array, _: Any) -> Array:
        d = x[1:] - x[:-1]
        t = weights * 2 * d / (1 + d * d)
        g = 0 * x
        g[1:] += t
        g[:-1] -= t
        return g

    slips = (("of one neighbour", lambda x: gradient(x, NUMPY) * (np.arange(n) == 0)),)
    return Problem(f"differences of numbers near {far:.0e}", x, value, gradient, slips, size=2.0 * n, scale=1.0)


PROBLEMS: tuple[Callable[[Rng], Problem], ...] = (heavy_terms, units, pairs, ignored, stationary)
PROBLEMS += (saturated, confident, neighbours)
PROBLEMS += tuple(lambda rng, power=power: rescaled(rng, power) for power in (-200, 200))


def cases(seed: int) -> list[Case]:
    """Badly scaled functions."""
    rng = np.random.default_rng([seed, 4])
    return [drawn("scaling", build, rng) for build in PROBLEMS]
