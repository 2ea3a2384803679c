"""Smooth functions at harmless points; also how the numerical families (edges, noise, ...) plant their bugs.

A formula takes the point and the functions it may use: ``NUMPY`` gives what an author computes, ``PRECISE`` the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np

from tests.gradcheck.corpus.case import Array, Bug, Case

Formula = Callable[[Array, Any], Any]
Change = Callable[[Array], Array]
Rng = np.random.Generator

FUNCTIONS = {"exp": "exp", "log": "log", "log1p": "log1p", "sqrt": "sqrt", "sin": "sin", "cos": "cos", "tanh": "tanh"}
FUNCTIONS |= {"cosh": "cosh", "arcsin": "asin", "arccos": "acos", "arctanh": "atanh", "cbrt": "cbrt"}
MP = mpmath.MPContext()
MP.dps = 60
NUMPY = SimpleNamespace(
    **{name: getattr(np, name) for name in FUNCTIONS},
    inv=np.linalg.inv,
    logdet=lambda a: np.linalg.slogdet(a)[1],
    array=np.asarray,
)
PRECISE = SimpleNamespace(
    **{name: np.frompyfunc(getattr(MP, theirs), 1, 1) for name, theirs in FUNCTIONS.items()},
    inv=lambda a: np.array((MP.matrix(a.tolist()) ** -1).tolist(), object).reshape(a.shape),
    logdet=lambda a: MP.log(MP.det(MP.matrix(a.tolist()))),
    array=lambda a: np.frompyfunc(MP.mpf, 1, 1)(np.asarray(a, np.float64)),
)

EPS = np.finfo(np.float64).eps
VISIBLE = 30 / 0.01  # an error is plain to see if it is 30 times the noise over a hundredth of the scale of x
WRONG = 5e-7  # relative


@dataclass(frozen=True)
class Problem:
    """A function and its derivative as formulas, and what is needed to plant visible bugs.

    ``size`` is that of the largest numbers that f adds (None: from f and its gradient), ``noise`` what f errs by beyond
    rounding, ``scale`` the length on which f varies in each element (None: about that of x). ``f`` and ``right`` are
    what the case shows where that is not just the formulas in float64; ``slips`` are wrong gradients of its own.
    """

    name: str
    x: Array
    value: Formula
    gradient: Formula
    slips: tuple[tuple[str, Change], ...] = ()
    size: float | None = None
    noise: float = 0.0
    scale: Array | float | None = None
    f: Callable[[Array], Any] | None = None
    right: Change | None = None
    fine: bool = True
    easy: bool = False


def truth(problem: Problem) -> Array:
    """The derivative in sixty digits, rounded to float64."""
    return np.asarray(problem.gradient(PRECISE.array(problem.x), PRECISE)).astype(np.float64)


def hidden(problem: Problem, f0: float, g: Array) -> Array:
    """For each element, the error of a gradient that the noise of f might hide."""
    x = np.abs(problem.x.astype(np.float64))
    scale = np.maximum(x, 0.1 * (x.max() or 1)) if problem.scale is None else problem.scale
    size = abs(f0) + np.sum(np.abs(g) * x) if problem.size is None else problem.size
    return VISIBLE * (EPS * size + problem.noise) / np.broadcast_to(scale, x.shape)


def at(i: int, change: Callable[[float], float]) -> Change:
    """Change one element, by its flat index."""

    def changed(g: Array) -> Array:
        g = g.copy()
        g.flat[i] = change(g.flat[i])
        return g

    return changed


def moved(pairs: dict[int, int]) -> Change:
    """Give elements the values of others: target -> source."""

    def changed(g: Array) -> Array:
        out = g.copy()
        for target, source in pairs.items():
            out.flat[target] = g.flat[source]
        return out

    return changed


def _changes(rng: Rng, g: Array, floor: Array, *, fine: bool) -> Iterator[tuple[str, Change]]:
    """One change of each kind, at a drawn element where it shows."""
    seen = np.flatnonzero(np.abs(g) > floor)
    for name, change in (("sign of", lambda v: -v), ("twice", lambda v: 2 * v), ("dropped", lambda v: 0 * v)):
        if seen.size:
            i = rng.choice(seen)
            yield f"{name} element {i}", at(i, change)
    if seen.size > 1:
        i, j = rng.choice(seen, 2, replace=False)
        if abs(g.flat[i] - g.flat[j]) > 1e-3 * max(abs(g.flat[i]), abs(g.flat[j])):
            yield f"elements {i} and {j} swapped", moved({i: j, j: i})
            yield f"element {i} is that of {j}", moved({i: j})
    factor = rng.choice([0.5, 2.0, 1 / g.size if g.size > 1 else 3.0])
    yield f"all times {factor:.3g}", lambda g: (g * factor).astype(g.dtype)
    zeros = np.flatnonzero(g == 0)
    if zeros.size:
        i, value = rng.choice(zeros), max(np.abs(g).max(), 100 * floor.max()) or 1.0
        yield f"element {i} not zero", at(i, lambda _: value)
    error = rng.choice([1e-4, 1e-5, 1e-6])
    fit = np.flatnonzero(error * np.abs(g) > floor)
    if fine and fit.size:
        i = rng.choice(fit)
        yield f"element {i} off by {error:.0e}", at(i, lambda v: v * (1 + error))
        if fit.size == np.count_nonzero(g):
            yield f"all off by {error:.0e}", lambda g: g * (1 + error)


def _bug(name: str, wrong: Change, x: Array, g: Array, floor: Array) -> Bug | None:
    """The bug, if it shows; its elements unless some of them drown, or are wrong by about what is tolerated."""
    error = np.abs(wrong(x).astype(np.float64) - g)
    shows = (error > 1.8 * WRONG * np.abs(g)) & (error > floor)
    if not shows.any():
        return None
    return Bug(name, wrong, shows if np.array_equal(shows, error > 0.2 * WRONG * np.abs(g)) else None)


def plant(problem: Problem, right: Change, f0: float, rng: Rng) -> tuple[Bug, ...]:
    """Two to four bugs, each of another kind, that the noise of f cannot hide."""
    x, g = problem.x, right(problem.x).astype(np.float64)
    floor = hidden(problem, f0, g)
    found = [_bug(name, wrong, x, g, floor) for name, wrong in problem.slips]
    for name, change in _changes(rng, g, floor, fine=problem.fine):
        found.append(_bug(name, lambda x, change=change: change(right(x)), x, g, floor))
    bugs = [bug for bug in found if bug is not None]
    return tuple(bugs[i] for i in rng.permutation(len(bugs))[: rng.integers(2, 5)])


def finish(family: str, problem: Problem, rng: Rng) -> Case:
    """The case that a problem makes."""
    f = problem.f or np.errstate(all="ignore")(lambda x: float(problem.value(x, NUMPY)))
    right = problem.right or (lambda x: np.asarray(problem.gradient(x, NUMPY)))
    name = f"{problem.name} {problem.x.shape}"
    bugs = plant(problem, right, float(f(problem.x)), rng)
    return Case(name, family, f, problem.x, right, bugs, truth(problem), easy=problem.easy)


def drawn(family: str, build: Callable[[Rng], Problem], rng: Rng) -> Case:
    """A case with two bugs at least: where little can be planted, another is drawn."""
    while len((case := finish(family, build(rng), rng)).bugs) < 2:
        pass
    return case


SHAPES = ((1,), (2,), (7,), (33,), (60,), (3, 4), (1, 5), (6, 1), (2, 3, 4), (1, 4, 1), (5, 1, 3), (1, 1, 1))


def _shape(rng: Rng) -> tuple[int, ...]:
    return SHAPES[rng.integers(len(SHAPES))]


def _point(rng: Rng, shape: int | tuple[int, ...]) -> Array:
    """Normal, of a drawn size, sometimes with exact zeros."""
    x = rng.normal(size=shape) * rng.choice([0.3, 1.0, 2.0])
    if rng.random() < 0.35:
        x[rng.random(x.shape) < 0.3] = 0
    return x


def rosenbrock(rng: Rng) -> Problem:
    def value(x: Array, _: Any) -> Any:
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def gradient(x: Array, _: Any) -> Array:
        g = 0 * x
        g[:-1] += -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
        g[1:] += 200 * (x[1:] - x[:-1] ** 2)
        return g

    def slip(x: Array) -> Array:
        return np.append(gradient(x, NUMPY)[:-1] - 200 * np.append(0, x[1:-1] - x[:-2] ** 2), gradient(x, NUMPY)[-1])

    x = _point(rng, int(rng.integers(2, 61)))
    return Problem("rosenbrock", x, value, gradient, (("without the term of the previous", slip),))


def logsumexp(rng: Rng) -> Problem:
    def value(x: Array, m: Any) -> Any:
        return np.max(x) + m.log(np.sum(m.exp(x - np.max(x))))

    def gradient(x: Array, m: Any) -> Array:
        e = m.exp(x - np.max(x))
        return e / np.sum(e)

    return Problem(
        "logsumexp", _point(rng, _shape(rng)), value, gradient, (("not normalised", lambda x: np.exp(x - x.max())),)
    )


def quadratic(rng: Rng) -> Problem:
    n = int(rng.integers(1, 41))
    A, b = rng.normal(size=(n, n)), rng.normal(size=n)
    slips = (("not symmetric", lambda x: 2 * (A @ x) + b), ("without b", lambda x: (A + A.T) @ x))
    return Problem(
        "quadratic form", _point(rng, n), lambda x, _: x @ (A @ x) + b @ x, lambda x, _: A @ x + A.T @ x + b, slips
    )


def logdet(rng: Rng) -> Problem:
    n, k = rng.integers(1, 5, size=2)

    def gram(x: Array) -> Array:
        return x @ x.T + np.eye(n)

    slips = (("without the 2", lambda x: np.linalg.inv(gram(x)) @ x), ("not inverted", lambda x: 2 * gram(x) @ x))
    value, gradient = (lambda x, m: m.logdet(gram(x))), (lambda x, m: 2 * (m.inv(gram(x)) @ x))
    return Problem("logdet", _point(rng, (n, k)), value, gradient, slips, size=10.0)


def perceptron(rng: Rng) -> Problem:
    n, d, h = (int(k) for k in rng.integers([2, 1, 2], [8, 4, 7]))
    X, y = rng.normal(size=(n, d)), rng.normal(size=n)

    def passed(x: Array, m: Any) -> tuple[Array, Array, Array]:
        W, b, v, c = np.split(x, np.cumsum([d * h, h, h]))
        a = m.tanh(X @ W.reshape(d, h) + b)
        return a, v, a @ v + c - y

    def gradient(x: Array, m: Any, *, slope: bool = True, mean: bool = True) -> Array:
        a, v, r = passed(x, m)
        r = r / n if mean else r
        da = np.outer(r, v) * (1 - a * a if slope else 1)
        return np.concatenate([(X.T @ da).ravel(), da.sum(axis=0), a.T @ r, [r.sum()]])

    slips = (
        ("without the slope of tanh", lambda x: gradient(x, NUMPY, slope=False)),
        ("without 1/n", lambda x: gradient(x, NUMPY, mean=False)),
    )
    x = _point(rng, d * h + 2 * h + 1)
    return Problem("perceptron", x, lambda x, m: np.sum(passed(x, m)[2] ** 2) / (2 * n), gradient, slips)


def product(rng: Rng) -> Problem:
    def gradient(x: Array, _: Any) -> Array:
        return np.array([np.prod(np.delete(x, i)) for i in range(x.size)]).reshape(x.shape)

    shape = ((2,), (5,), (8,), (2, 3), (1, 4), (2, 1, 2))[rng.integers(6)]
    x = rng.uniform(0.4, 1.8, size=shape) * rng.choice([-1, 1], size=shape)
    if rng.random() < 0.3:
        x.flat[rng.integers(x.size)] = 0
    slips = (("the product of all", lambda x: np.full(x.shape, np.prod(x))),)
    return Problem("product", x, lambda x, _: np.prod(x), gradient, slips)


def trigonometric(rng: Rng) -> Problem:
    x = _point(rng, _shape(rng))
    w = rng.normal(size=x.shape)

    def gradient(x: Array, m: Any) -> Array:
        return w * m.cos(x) + m.cos(np.roll(x, 1)) - np.roll(x, -1) * m.sin(x)

    slips = (("without a term", lambda x: w * np.cos(x) + np.cos(np.roll(x, 1))),)
    return Problem(
        "trigonometric sum", x, lambda x, m: np.sum(w * m.sin(x) + x * m.cos(np.roll(x, 1))), gradient, slips
    )


def cross_entropy(rng: Rng) -> Problem:
    n, k = (int(v) for v in rng.integers([1, 2], [8, 8]))
    hot = np.eye(k)[rng.integers(k, size=n)]

    def odds(x: Array, m: Any) -> Array:
        return m.exp(x - x.max(axis=1, keepdims=True))

    def value(x: Array, m: Any) -> Any:
        shifted = x - x.max(axis=1, keepdims=True)
        return np.sum(m.log(odds(x, m).sum(axis=1)) - np.sum(hot * shifted, axis=1)) / n

    def gradient(x: Array, m: Any) -> Array:
        return (odds(x, m) / odds(x, m).sum(axis=1, keepdims=True) - hot) / n

    slips = (
        ("without 1/n", lambda x: n * gradient(x, NUMPY)),
        ("without the label", lambda x: gradient(x, NUMPY) + hot / n),
    )
    return Problem("cross-entropy", _point(rng, (n, k)), value, gradient, slips)


def likelihood(rng: Rng) -> Problem:
    n, k = (int(v) for v in rng.integers([1, 1], [10, 8]))
    y = rng.normal(size=(k, n))

    def value(x: Array, m: Any) -> Any:
        return np.sum(((y - x[:-1]) * m.exp(-x[-1])) ** 2) / 2 + k * n * x[-1]

    def gradient(x: Array, m: Any) -> Array:
        precision = m.exp(-2 * x[-1])
        last = k * n - np.sum((y - x[:-1]) ** 2) * precision
        return np.append(np.sum(x[:-1] - y, axis=0) * precision, last)

    slips = (("without the normaliser", lambda x: gradient(x, NUMPY) - k * n * (np.arange(n + 1) == n)),)
    return Problem("gaussian likelihood", 0.5 * _point(rng, n + 1), value, gradient, slips)


def rational(rng: Rng) -> Problem:
    def gradient(x: Array, _: Any) -> Array:
        s = 1 + np.sum(x * x)
        return (1 - x * x) / (1 + x * x) ** 2 + 1 / s - 2 * x * np.sum(x) / s**2

    def value(x: Array, _: Any) -> Any:
        return np.sum(x / (1 + x * x)) + np.sum(x) / (1 + np.sum(x * x))

    slips = (("without the quotient's term", lambda x: (1 - x * x) / (1 + x * x) ** 2 + 1 / (1 + np.sum(x * x))),)
    return Problem("rational", _point(rng, _shape(rng)), value, gradient, slips)


def polynomial(rng: Rng) -> Problem:
    n, k = (int(v) for v in rng.integers([1, 2], [9, 7]))
    powers, c = rng.integers(0, 4, size=(k, n)) * (rng.random((k, n)) < 0.5), rng.normal(size=k)
    powers[0] = 1 + np.arange(n) % 2

    def gradient(x: Array, _: Any) -> Array:
        lower = powers[:, None, :] - np.eye(n, dtype=int)
        return np.sum(c[:, None] * powers * np.prod(x ** np.maximum(lower, 0), axis=2), axis=0)

    return Problem("polynomial", _point(rng, n), lambda x, _: np.sum(c * np.prod(x**powers, axis=1)), gradient)


PROBLEMS = (rosenbrock, logsumexp, quadratic, logdet, perceptron, product)
PROBLEMS += (trigonometric, cross_entropy, likelihood, rational, polynomial)


def cases(seed: int) -> list[Case]:
    """Smooth functions: none may be inconclusive."""
    rng = np.random.default_rng([seed, 1])
    return [replace(drawn("smooth", problem, rng), easy=True) for problem in PROBLEMS]
