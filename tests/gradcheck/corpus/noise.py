"""Functions whose value is noisy: solvers that stop early, single precision inside, rounding, cancellation.

The noise is deterministic: the same point gives the same value.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.gradcheck.corpus import smooth
from tests.gradcheck.corpus.case import Array, Case
from tests.gradcheck.corpus.smooth import EPS, NUMPY, Problem, Rng, drawn

EPS32 = float(np.finfo(np.float32).eps)
BASES = (smooth.logsumexp, smooth.quadratic, smooth.perceptron, smooth.trigonometric)
BASES += (smooth.cross_entropy, smooth.likelihood, smooth.rational, smooth.product)


def _away(x: Array) -> Array:
    """The point, with no element close to zero: a step relative to it is a long one."""
    return np.where(x < 0, -1, 1) * np.maximum(np.abs(x), 0.3)


def _base(rng: Rng) -> Problem:
    problem = BASES[rng.integers(len(BASES))](rng)
    return replace(problem, x=_away(problem.x), fine=False)


def _value(problem: Problem) -> Callable[[Array], float]:
    return lambda x: float(problem.value(x, NUMPY))


def _size(problem: Problem) -> float:
    """How large the numbers are that f adds."""
    x = problem.x.astype(np.float64)
    return abs(float(problem.value(x, NUMPY))) + float(np.sum(np.abs(problem.gradient(x, NUMPY) * x)))


def cast_input(rng: Rng) -> Problem:
    """A staircase in each element."""
    base = _base(rng)

    def cast(x: Array) -> Array:
        return x.astype(np.float32).astype(np.float64)

    def single(x: Array) -> Array:
        return np.asarray(base.gradient(cast(x), NUMPY)).astype(np.float32)

    right = single if rng.random() < 0.5 else None
    noise = EPS32 * _size(base)
    return replace(
        base, name=f"{base.name} of a float32 input", f=lambda x: _value(base)(cast(x)), right=right, noise=noise
    )


def cast_output(rng: Rng) -> Problem:
    base = _base(rng)
    out = (np.float32, lambda y: float(np.float32(y)))[rng.integers(2)]
    noise = EPS32 * abs(_value(base)(base.x))
    return replace(base, name=f"{base.name} returned in float32", f=lambda x: out(_value(base)(x)), noise=noise)


def rounded(rng: Rng) -> Problem:
    base, decimals = _base(rng), int(rng.integers(5, 9))
    name = f"{base.name} rounded to {decimals} decimals"
    return replace(base, name=name, f=lambda x: round(_value(base)(x), decimals), noise=10.0**-decimals)


def offset(rng: Rng) -> Problem:
    base, much = _base(rng), 10 ** rng.uniform(6, 10)
    return replace(base, name=f"{base.name} plus {much:.0e}", f=lambda x: _value(base)(x) + much, noise=EPS * much)


def cancelled(rng: Rng) -> Problem:
    """The difference of two large numbers that both move."""
    base, much = _base(rng), 10 ** rng.uniform(5, 9)

    def f(x: Array) -> float:
        large = much * (1 + np.sum(x * x))
        return float((large + base.value(x, NUMPY)) - large)

    noise = EPS * much * (1 + np.sum(base.x**2))
    return replace(base, name=f"{base.name} after cancellation of {much:.0e}", f=f, noise=noise)


def hashed(rng: Rng) -> Problem:
    base, amplitude = _base(rng), 10 ** rng.uniform(-9, -6)

    def f(x: Array) -> float:
        return _value(base)(x) + amplitude * (zlib.crc32(np.ascontiguousarray(x).tobytes()) / 2**31 - 1)

    return replace(base, name=f"{base.name} plus pseudo-noise of {amplitude:.0e}", f=f, noise=amplitude)


def single_precision(rng: Rng) -> Problem:
    """Point, value and gradient in float32."""
    base = (smooth.logsumexp, smooth.rational, smooth.product)[rng.integers(3)](rng)
    base = replace(base, x=_away(base.x).astype(np.float32), fine=False)

    def right(x: Array) -> Array:
        return np.asarray(base.gradient(x, NUMPY)).astype(x.dtype)

    noise = 2 * EPS32 * _size(base)
    return replace(
        base, name=f"{base.name} in float32", f=lambda x: base.value(x, NUMPY), right=right, noise=noise, slips=()
    )


def summed_in_single(rng: Rng) -> Problem:
    """Terms in float64, added in float32: in pairs, one by one, or in chunks."""
    n = int(rng.integers(10, 60))
    x, w = _away(rng.normal(size=n)), rng.normal(size=n)

    def terms(x: Array, m: Any) -> Array:
        return w * m.sin(x) + x * x / 2

    add = (
        np.sum,
        lambda t: np.cumsum(t, dtype=np.float32)[-1],
        lambda t: sum(np.sum(part) for part in (t[::2], t[1::2])),
    )
    chosen = int(rng.integers(3))
    return Problem(
        f"terms added in float32, way {chosen}",
        x,
        lambda x, m: np.sum(terms(x, m)),
        lambda x, m: w * m.cos(x) + x,
        (("without the square", lambda x: w * np.cos(x)),),
        f=lambda x: float(add[chosen](terms(x, NUMPY).astype(np.float32))),
        noise=0.5 * EPS32 * np.sqrt(n) * np.sum(np.abs(terms(x, NUMPY))),
        fine=False,
    )


def bisect(s: float, tol: float) -> float:
    """Where y + y**3 is s."""
    low, high = -8.0, 8.0
    while high - low > tol:
        y = (low + high) / 2
        low, high = (y, high) if y + y**3 < s else (low, y)
    return (low + high) / 2


def newton(s: float, tol: float) -> float:
    y, step = 0.0, 1.0
    while abs(step) > tol:
        step = (y + y**3 - s) / (1 + 3 * y * y)
        y -= step
    return y


def iterate(s: float, tol: float) -> float:
    y, step = 0.0, 1.0
    while abs(step) > tol:
        step = 0.3 * (y + y**3 - s)
        y -= step
    return y


# Newton squares its last error. A fixed point's falls by a factor that depends on x, and so does its derivative: at a
# loose tolerance the derivative of what is computed would differ from that of the solution.
SOLVERS = ((bisect, -10, -6, 1.0), (newton, -10, -6, 1e-4), (iterate, -10, -9, 3.0))


def solved(solver: Callable[[float, float], float], low: float, high: float, rest: float, rng: Rng) -> Problem:
    """The root y(x) of y + y**3 = s(x), by a solver that leaves ``rest`` times its tolerance."""
    n, tol = int(rng.integers(1, 9)), 10 ** rng.uniform(low, high)
    x, w = _away(rng.normal(size=n)), rng.uniform(0.3, 1, size=n) * rng.choice([-1, 1], size=n) / np.sqrt(n)

    def source(x: Array, m: Any) -> Any:
        return np.sum(w * (x + m.sin(x)))

    def value(x: Array, m: Any) -> Any:
        t = 1.5 * m.sqrt(3.0) * source(x, m)
        e = m.exp(m.log(t + m.sqrt(t * t + 1)) / 3)
        return (e - 1 / e) / m.sqrt(3.0)

    def gradient(x: Array, m: Any) -> Array:
        y = solver(source(x, m), tol) if m is NUMPY else value(x, m)
        return w * (1 + m.cos(x)) / (1 + 3 * y * y)

    return Problem(
        f"{solver.__name__} to {tol:.0e}",
        x,
        value,
        gradient,
        (("without the root's slope", lambda x: w * (1 + np.cos(x))),),
        f=lambda x: float(solver(source(x, NUMPY), tol)),
        noise=rest * tol,
        fine=False,
    )


def _simpson(q: Callable[[Array], Array], tol: float) -> float:
    """The integral of q over [0, 1], with twice the nodes until it has settled."""
    n, before, now = 2, np.inf, 0.0
    while abs(now - before) > tol:
        n, before = 2 * n, now
        y = q(np.linspace(0, 1, n + 1))
        now = (y[0] + y[-1] + 4 * y[1::2].sum() + 2 * y[2:-1:2].sum()) / (3 * n)
    return float(now)


def integral(rng: Rng) -> Problem:
    """An integral of exponentials, whose number of nodes depends on the point."""
    n, tol = int(rng.integers(1, 7)), 10 ** rng.uniform(-10, -7)
    x, w = _away(2 * rng.normal(size=n)), rng.uniform(0.3, 1, size=n) * rng.choice([-1, 1], size=n)
    return Problem(
        f"quadrature to {tol:.0e}",
        x,
        lambda x, m: np.sum(w * (m.exp(x) - 1) / x),
        lambda x, m: w * ((x - 1) * m.exp(x) + 1) / x**2,
        (("without the 1/x**2", lambda x: w * np.exp(x) / x),),
        f=lambda x: _simpson(lambda t: w @ np.exp(np.outer(x, t)), tol),
        noise=tol,
        fine=False,
    )


def variance(rng: Rng) -> Problem:
    """The mean square less the square of the mean, of numbers far from zero."""
    n, far = int(rng.integers(2, 20)), 10 ** rng.uniform(2, 4)
    x = far + rng.normal(size=n)
    return Problem(
        f"variance of numbers near {far:.0e}",
        x,
        lambda x, _: np.sum(x * x) / n - (np.sum(x) / n) ** 2,
        lambda x, _: 2 * (x - np.sum(x) / n) / n,
        (("without the 1/n", lambda x: 2 * (x - x.mean())),),
        noise=4 * EPS * far**2,
        scale=1.0,
        fine=False,
    )


PROBLEMS = (cast_input, cast_output, rounded, offset, cancelled, hashed, single_precision)
PROBLEMS += (summed_in_single, integral, variance)
PROBLEMS += tuple(lambda rng, solver=solver: solved(*solver, rng) for solver in SOLVERS)


def cases(seed: int) -> list[Case]:
    """Functions with noise far above rounding."""
    rng = np.random.default_rng([seed, 3])
    return [drawn("noise", build, rng) for build in PROBLEMS]
