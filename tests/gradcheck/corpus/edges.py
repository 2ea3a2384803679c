"""Functions close to where they end: a domain's edge, overflow, the ends of the floating-point range.

Outside they are NaN or infinite, in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.gradcheck.corpus.case import Array, Case
from tests.gradcheck.corpus.smooth import EPS, NUMPY, Change, Formula, Problem, Rng, drawn

OVERFLOW = float(np.log(np.finfo(np.float64).max))


@dataclass(frozen=True)
class Curve:
    """A function of one number with an edge, and how to draw numbers (and their distances) from it."""

    name: str
    value: Formula
    slope: Formula
    draw: Callable[[Rng, int], tuple[Array, Array]]
    slips: tuple[tuple[str, Change], ...] = ()


def _distances(rng: Rng, n: int) -> Array:
    """Most very near the edge, some not."""
    return np.where(rng.random(n) < 0.65, 10 ** rng.uniform(-12, -3, size=n), rng.uniform(0.2, 0.8, size=n))


def _above_zero(rng: Rng, n: int) -> tuple[Array, Array]:
    x = _distances(rng, n)
    return x, x


def _within_one(rng: Rng, n: int) -> tuple[Array, Array]:
    x = (1 - _distances(rng, n)) * rng.choice([-1, 1], size=n)
    return x, 1 - np.abs(x)


def _around_zero(rng: Rng, n: int) -> tuple[Array, Array]:
    x = 10 ** rng.uniform(-4, -1, size=n) * rng.choice([-1, 1], size=n)
    return x, np.abs(x)


def _anywhere(rng: Rng, n: int) -> tuple[Array, Array]:
    x = 10 ** rng.uniform(-300, 300, size=n)
    return x, x


def _stirling(x: Array, m: Any) -> Array:
    """The logarithm of gamma, shifted by eight, by four terms of its series."""
    z = x + 8
    shifted = (z - 0.5) * m.log(z) - z + 1 / (12 * z) - 1 / (360 * z**3)
    return shifted - sum(m.log(x + k) for k in range(8))


def _stirling_slope(x: Array, m: Any) -> Array:
    z = x + 8
    return m.log(z) - 1 / (2 * z) - 1 / (12 * z**2) + 1 / (120 * z**4) - sum(1 / (x + k) for k in range(8))


def _sign(x: Array) -> Array:
    return np.where(x > 0, 1, -1)


CURVES = (
    Curve("log", lambda x, m: m.log(x), lambda x, _: 1 / x, _above_zero),
    Curve("sqrt", lambda x, m: m.sqrt(x), lambda x, m: 1 / (2 * m.sqrt(x)), _above_zero),
    Curve(
        "x log x",
        lambda x, m: x * m.log(x),
        lambda x, m: m.log(x) + 1,
        _above_zero,
        (("without the 1", np.log),),
    ),
    Curve(
        "x**1.5", lambda x, m: x * m.sqrt(x), lambda x, m: 1.5 * m.sqrt(x), _above_zero, (("1.5 x", lambda x: 1.5 * x),)
    ),
    Curve(
        "log gamma",
        _stirling,
        _stirling_slope,
        _above_zero,
        (("without the pole", lambda x: _stirling_slope(x, NUMPY) + 1 / x),),
    ),
    Curve("1/x", lambda x, _: 1 / x, lambda x, _: -1 / (x * x), _above_zero, (("-1/x", lambda x: -1 / x),)),
    Curve("arcsin", lambda x, m: m.arcsin(x), lambda x, m: 1 / m.sqrt((1 - x) * (1 + x)), _within_one),
    Curve("arccos", lambda x, m: m.arccos(x), lambda x, m: -1 / m.sqrt((1 - x) * (1 + x)), _within_one),
    Curve(
        "arctanh",
        lambda x, m: m.arctanh(x),
        lambda x, _: 1 / ((1 - x) * (1 + x)),
        _within_one,
        (("1/(1 + x**2)", lambda x: 1 / (1 + x * x)),),
    ),
    Curve("|x|**1.5", lambda x, m: abs(x) * m.sqrt(abs(x)), lambda x, m: 1.5 * _sign(x) * m.sqrt(abs(x)), _around_zero),
    Curve("log over the whole range", lambda x, m: m.log(x), lambda x, _: 1 / x, _anywhere),
    Curve("x**0.01 over the whole range", lambda x, _: x**0.01, lambda x, _: 0.01 * x**-0.99, _anywhere),
)


def _separable(curve: Curve, rng: Rng) -> Problem:
    n = int(rng.integers(1, 9))
    x, scale = curve.draw(rng, n)
    w = rng.uniform(0.5, 2, size=n) * rng.choice([-1, 1], size=n)
    return Problem(
        curve.name,
        x,
        lambda x, m: np.sum(w * curve.value(x, m)),
        lambda x, m: w * curve.slope(x, m),
        tuple((name, lambda x, slip=slip: w * slip(x)) for name, slip in curve.slips),
        scale=scale,
    )


def _near_overflow(rng: Rng) -> tuple[Array, Array]:
    x = OVERFLOW - 10 ** rng.uniform(-3, -0.5, size=rng.integers(1, 4))
    return x, OVERFLOW - x


def exponential(rng: Rng) -> Problem:
    """The weights keep f and its gradient well inside the range; exp(x) is what overflows."""
    x, scale = _near_overflow(rng)
    w = rng.uniform(0.01, 0.05, size=x.size)
    f = np.sum(w * np.exp(x))
    value, gradient = (lambda x, m: np.sum(w * m.exp(x))), (lambda x, m: w * m.exp(x))
    return Problem("exp before overflow", x, value, gradient, size=f, scale=scale)


def softplus(rng: Rng) -> Problem:
    """The naive form, infinite beyond 709."""
    x, scale = _near_overflow(rng)
    w = rng.normal(size=x.size) + 2
    return Problem(
        "softplus before overflow",
        x,
        lambda x, m: np.sum(w * m.log(1 + m.exp(x))),
        lambda x, m: w / (1 + m.exp(-x)),
        (("of the other sign", lambda x: w / (1 + np.exp(x))),),
        scale=scale,
    )


def mixture(rng: Rng) -> Problem:
    """Logarithms of sums, one of which has only tiny entries."""
    n, k = int(rng.integers(3, 8)), int(rng.integers(1, 5))
    x = np.where(np.arange(n) < 2, 10 ** rng.uniform(-12, -3, size=n), rng.uniform(0.1, 1, size=n))
    A = rng.uniform(0.1, 1, size=(k + 1, n))
    A[0, 2:] = 0
    with np.errstate(divide="ignore"):
        scale = np.min((A @ x)[:, None] / A, axis=0)
    return Problem(
        "log of sums with tiny entries",
        x,
        lambda x, m: np.sum(m.log(A @ x)),
        lambda x, _: A.T @ (1 / (A @ x)),
        (("without the row of tiny ones", lambda x: A[1:].T @ (1 / (A[1:] @ x))),),
        scale=scale,
    )


def multinomial(rng: Rng) -> Problem:
    """Probabilities without the last one: their sum must stay below one, and is close to it."""
    n, left = int(rng.integers(1, 8)), 10 ** rng.uniform(-6, -3)
    x = rng.dirichlet(np.full(n, 2.0)) * (1 - left)
    counts, last = rng.integers(1, 20, size=n), int(rng.integers(1, 5))

    def value(x: Array, m: Any) -> Any:
        return np.sum(counts * m.log(x)) + last * m.log(1 - np.sum(x))

    return Problem(
        "probabilities that add to almost one",
        x,
        value,
        lambda x, _: counts / x - last / (1 - np.sum(x)),
        (("without the last", lambda x: counts / x),),
        noise=2 * EPS * last / left,
        scale=np.minimum(x, left),
    )


def ball(rng: Rng) -> Problem:
    """The height of a sphere, near its equator."""
    n, left = int(rng.integers(1, 10)), 10 ** rng.uniform(-6, -3)
    x = rng.normal(size=n)
    x *= (1 - left) / np.linalg.norm(x)
    return Problem(
        "sphere near its equator",
        x,
        lambda x, m: m.sqrt(1 - np.sum(x * x)),
        lambda x, m: -x / m.sqrt(1 - np.sum(x * x)),
        (("without the sign", lambda x: x / np.sqrt(1 - np.sum(x * x))),),
        noise=2 * EPS / np.sqrt(2 * left),
        scale=np.minimum(left / np.abs(x), np.sqrt(left)),
    )


PROBLEMS = (exponential, softplus, mixture, multinomial, ball)


def cases(seed: int) -> list[Case]:
    """Functions near the ends of their domains."""
    rng = np.random.default_rng([seed, 2])
    builds = [lambda rng, curve=curve: _separable(curve, rng) for curve in CURVES] + list(PROBLEMS)
    return [drawn("edges", build, rng) for build in builds]
