"""Functions that turn a hundred to a million times as fast as their point is large, or carry a fast ripple.

The product w x is rounded: at w = 1e6 a float64 gradient is itself right to ten digits only, and f as noisy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.gradcheck.corpus.case import Array, Case
from tests.gradcheck.corpus.smooth import EPS, NUMPY, Problem, Rng, drawn

Wave = Callable[[Array, Array, Any], Array]  # of the point, its frequencies, and the functions to use

# (name, value, slope, the slope with something forgotten)
WAVES: tuple[tuple[str, Wave, Wave, Wave], ...] = (
    (
        "sine",
        lambda x, w, m: m.sin(w * x),
        lambda x, w, m: w * m.cos(w * x),
        lambda x, w, m: m.cos(w * x),
    ),
    (
        "chirp",
        lambda x, w, m: m.sin(w * x * x),
        lambda x, w, m: 2 * w * x * m.cos(w * x * x),
        lambda x, w, m: w * m.cos(w * x * x),
    ),
    (
        "rational chirp",
        lambda x, w, m: m.cos(w / (1 + x * x)),
        lambda x, w, m: 2 * w * x / (1 + x * x) ** 2 * m.sin(w / (1 + x * x)),
        lambda x, w, m: 2 * w * x / (1 + x * x) * m.sin(w / (1 + x * x)),
    ),
    (
        "wave packet",
        lambda x, w, m: m.exp(-x * x) * m.sin(w * x),
        lambda x, w, m: m.exp(-x * x) * (w * m.cos(w * x) - 2 * x * m.sin(w * x)),
        lambda x, w, m: m.exp(-x * x) * w * m.cos(w * x),
    ),
    (
        "beat",
        lambda x, w, m: m.sin(w * x) * m.cos(3 * x),
        lambda x, w, m: w * m.cos(w * x) * m.cos(3 * x) - 3 * m.sin(w * x) * m.sin(3 * x),
        lambda x, w, m: w * m.cos(w * x) * m.cos(3 * x),
    ),
    (
        "modulated frequency",
        lambda x, w, m: m.sin(w * x + 5 * m.sin(w * x / 8)),
        lambda x, w, m: w * (1 + 0.625 * m.cos(w * x / 8)) * m.cos(w * x + 5 * m.sin(w * x / 8)),
        lambda x, w, m: w * m.cos(w * x + 5 * m.sin(w * x / 8)),
    ),
    (
        "log of a cosine",
        lambda x, w, m: m.log(2 + m.cos(w * x)),
        lambda x, w, m: -w * m.sin(w * x) / (2 + m.cos(w * x)),
        lambda x, w, m: -w * m.sin(w * x),
    ),
)


def _frequencies(rng: Rng, n: int) -> Array:
    """From 1e2 to 1e6; mostly one size within a point."""
    low = rng.uniform(2, 6)
    return 10 ** (
        rng.uniform(2, 6, size=n) if rng.random() < 0.25 else np.minimum(low + rng.uniform(0, 0.3, size=n), 6)
    )


def _point(rng: Rng, n: int) -> Array:
    return rng.uniform(0.5, 2, size=n) * rng.choice([-1, 1], size=n)


def separable(name: str, value: Wave, slope: Wave, slip: Wave, rng: Rng) -> Problem:
    n = int(rng.integers(1, 9))
    x, w, c = _point(rng, n), _frequencies(rng, n), rng.uniform(0.5, 2, size=n)
    return Problem(
        f"{name}, w to {w.max():.0e}",
        x,
        lambda x, m: np.sum(c * value(x, w, m)),
        lambda x, m: c * slope(x, w, m),
        (("a factor or term forgotten", lambda x: c * slip(x, w, NUMPY)),),
        noise=2 * EPS * float(np.sum(c * w * np.maximum(x * x, 1))),
        scale=1 / (w * np.maximum(2 * np.abs(x), 1.6)),
    )


def cosines(rng: Rng) -> Problem:
    """A product, so that each element's derivative depends on the others."""
    n = int(rng.integers(2, 5))
    x, w = _point(rng, n), _frequencies(rng, n)

    def others(x: Array, m: Any) -> Array:
        c = m.cos(w * x)
        return np.array([np.prod(np.delete(c, i)) for i in range(n)])

    return Problem(
        f"product of cosines, w to {w.max():.0e}",
        x,
        lambda x, m: np.prod(m.cos(w * x)),
        lambda x, m: -w * m.sin(w * x) * others(x, m),
        (("the product of all", lambda x: -w * np.sin(w * x) * np.prod(np.cos(w * x))),),
        noise=2 * EPS * float(np.sum(w * np.abs(x))),
        scale=1 / w,
    )


def plane_wave(rng: Rng) -> Problem:
    """One phase for all elements."""
    n = int(rng.integers(2, 30))
    x, a, w = _point(rng, n), rng.normal(size=n), float(_frequencies(rng, 1)[0])
    return Problem(
        f"plane wave, w = {w:.0e}",
        x,
        lambda x, m: m.sin(w * np.sum(a * x)),
        lambda x, m: w * a * m.cos(w * np.sum(a * x)),
        (("of the phase only", lambda _: w * a),),
        noise=4 * EPS * w * float(np.sum(np.abs(a * x))),
        scale=1 / (w * np.abs(a)),
    )


def ripple(rng: Rng) -> Problem:
    """A smooth function with a fast ripple too small to see in its values; the ripple rules the derivative."""
    shape = ((1,), (4,), (9,), (2, 3), (1, 5))[rng.integers(5)]
    x = _point(rng, int(np.prod(shape))).reshape(shape)
    w, phase = 10 ** rng.uniform(3, 5), rng.uniform(0, 1, size=shape)
    size = 10 ** rng.uniform(0, 1) / w

    def smooth(x: Array, m: Any) -> Array:
        return m.exp(-x / 2) - x * x / 3

    def slope(x: Array, m: Any) -> Array:
        return -m.exp(-x / 2) / 2 - 2 * x / 3

    return Problem(
        f"ripple of {size:.0e} at w = {w:.0e}",
        x,
        lambda x, m: np.sum(smooth(x, m) + size * m.sin(w * x + phase)),
        lambda x, m: slope(x, m) + size * w * m.cos(w * x + phase),
        (
            ("without the ripple", lambda x: slope(x, NUMPY)),
            ("the ripple only", lambda x: size * w * np.cos(w * x + phase)),
        ),
        size=3.0 * x.size,
        noise=2 * EPS * size * w * float(np.sum(np.abs(x))),
        scale=1 / w,
    )


def weierstrass(rng: Rng) -> Problem:
    """Three terms, each faster and smaller than the last, but steeper."""
    n, a, b = int(rng.integers(1, 9)), rng.uniform(0.2, 0.7), float(rng.integers(7, 60))
    x = _point(rng, n)
    w, c = 6 * b ** np.arange(3), a ** np.arange(3)

    def slope(x: Array, m: Any, terms: int = 3) -> Array:
        return -np.sum((c * w)[:terms, None] * m.sin(np.multiply.outer(w[:terms], x)), axis=0)

    return Problem(
        f"Weierstrass, a = {a:.2f}, b = {b:.0f}",
        x,
        lambda x, m: np.sum(c[:, None] * m.cos(np.multiply.outer(w, x))),
        slope,
        (
            ("without the fastest term", lambda x: slope(x, NUMPY, 2)),
            ("the slowest term only", lambda x: slope(x, NUMPY, 1)),
        ),
        noise=2 * EPS * float(np.sum(c * w) * np.sum(np.abs(x))),
        scale=1 / float(w[-1]),
    )


PROBLEMS: tuple[Callable[[Rng], Problem], ...] = (cosines, plane_wave, ripple, weierstrass)


def cases(seed: int) -> list[Case]:
    """Fast oscillations."""
    rng = np.random.default_rng([seed, 5])
    builds = [lambda rng, wave=wave: separable(*wave, rng) for wave in WAVES] + list(PROBLEMS)
    return [drawn("oscillation", build, rng) for build in builds]
