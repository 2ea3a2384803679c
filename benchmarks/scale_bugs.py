"""What a gross bug costs beside a right gradient: verdict, evaluations, seconds, what is said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.networks import Tree, mlp
from gradcheck import Report, check_gradient

Gradient = Callable[[Tree], Tree]
Case = tuple[str, Callable[[Tree], Any], Gradient, Tree, dict[str, Gradient], dict[str, Any]]


def main() -> None:
    """Print each case with its right gradient first, then its bugs."""
    print(
        "gross bugs: verdict, evaluations (times those of the right gradient), seconds; wrong, undecided; explanation"
    )
    for name, f, right, params, bugs, options in _cases():
        size = sum(np.size(value) for value in params.values())
        passed = _row(f"{name}, n = {size:,}", "right", check(f, right, params, **options), None)
        for label, wrong in bugs.items():
            _row("", label, check(f, wrong, params, **options), passed)


def check(f: Any, gradient: Gradient, params: Tree, **options: Any) -> tuple[Report, float]:
    """Check, and return the report with the time that it took."""
    started = time.perf_counter()
    report = check_gradient(f, gradient, params, **options)
    return report, time.perf_counter() - started


def _row(name: str, label: str, checked: tuple[Report, float], passed: int | None) -> int:
    report, seconds = checked
    wrong = sum(int(entry.wrong.sum()) for entry in report.parameters.values())
    undecided = sum(int(entry.undecided.sum()) for entry in report.parameters.values())
    said = [entry.diagnoses[0].message for entry in report.parameters.values() if entry.diagnoses]
    said += [finding.code for finding in report.findings if finding.code.startswith("undecided")]
    times = f"({report.evaluations / passed:.1f} x)" if passed else ""
    print(
        f"{name:38s} {label:22s} {report.verdict:12s} {report.evaluations:6d} {times:9s} {seconds:6.2f} s"
        f"  {wrong}, {undecided}; {said[0] if said else ''}",
        flush=True,
    )
    return report.evaluations


def _scaled(gradient: Gradient, factor: float, leaves: tuple[str, ...] = ()) -> Gradient:
    def wrong(p: Tree) -> Tree:
        return {name: value * factor if name in leaves or not leaves else value for name, value in gradient(p).items()}

    return wrong


def _cases() -> Iterator[Case]:
    for options in ({}, {"method": "exhaustive"}):
        f, grad, params = chain(3000)
        bugs = {"minus": _scaled(grad, -1), "twice": _scaled(grad, 2)}
        yield f"chain {options.get('method', '')}", f, grad, params, bugs, options
        f, grad, params = mlp((50, 50, 8, 1), "relu", 0, rows=32)
        forgotten = without_mask((50, 50, 8, 1), 0, rows=32)
        bugs = {"minus": _scaled(grad, -1), "mask forgotten": forgotten, "w0 twice": _scaled(grad, 2, ("w0",))}
        yield f"MLP relu {options.get('method', '')}", f, grad, params, bugs, options
    for count in (300, 1000):
        yield scalars(count)
    for dtype in (np.float64, np.float32):
        sizes = (784, 1200, 10)
        f, grad, params = mlp(sizes, "relu", 0, rows=32, dtype=dtype)
        bugs = {
            "minus": _scaled(grad, -1),
            "twice": _scaled(grad, 2),
            "mask forgotten": without_mask(sizes, 0, rows=32, dtype=dtype),
            "w0 minus": _scaled(grad, -1, ("w0",)),
            "1 % too large": _scaled(grad, 1.01),
        }
        yield f"MLP {dtype.__name__}", f, grad, params, bugs, {}
    f, grad, params = mlp((784, 1200, 10), "relu", 0, rows=32, dtype=np.float32)
    forgotten = without_mask((784, 1200, 10), 0, rows=32, dtype=np.float32)
    yield "at most 1,000 calls", f, grad, params, {"mask forgotten": forgotten}, {"max_evaluations": 1000}
    f, grad, params = chain(50_000, np.float32)
    bugs = {f"{share:.1%} too large": _scaled(grad, 1 + share) for share in (0.01, 0.003)}
    yield "chain float32", f, grad, params, bugs, {}
    f, grad, params = chain(50_000)
    yield "chain float64", f, grad, params, {"2e-6 too large": _scaled(grad, 1 + 2e-6)}, {}
    for zeros in (127, 129, 5000):
        yield lasso(zeros, kink=0.1)
        yield lasso(zeros, kink=None)


def chain(count: int, dtype: Any = np.float64) -> tuple[Callable[[Tree], Any], Gradient, Tree]:
    """Return the energy of a chain of coordinates with springs, and its gradient."""
    rng = np.random.default_rng(0)
    x = (np.arange(count) * 0.1 + rng.normal(size=count)).astype(dtype)

    def f(p: Tree) -> Any:
        return np.cos(np.diff(p["x"])).sum() + (np.tanh(p["x"] / 100) ** 2).sum()

    def grad(p: Tree) -> Tree:
        slopes = np.sin(np.diff(p["x"]))  # of the term before and after
        t = np.tanh(p["x"] / 100)
        g = 2 * t * (1 - t**2) / 100
        g[:-1] += slopes
        g[1:] -= slopes
        return {"x": g.astype(dtype)}

    return f, grad, {"x": x}


def without_mask(sizes: tuple[int, ...], seed: int, *, rows: int, dtype: Any = np.float64) -> Gradient:
    """Return the gradient of a ReLU network in which the mask of the ReLU was forgotten."""
    f, _, params = mlp(sizes, "relu", seed, rows=rows, dtype=dtype)
    cells = dict(zip(f.__code__.co_freevars, (cell.cell_contents for cell in f.__closure__ or ()), strict=True))
    forward, targets = cells["forward"], cells["targets"]
    last = len(list(pairwise(sizes))) - 1

    def wrong(p: Tree) -> Tree:
        hidden, _ = forward(p)
        dy, gradient = hidden[-1] - targets, {}
        for layer in reversed(range(last + 1)):
            gradient[f"w{layer}"], gradient[f"b{layer}"] = hidden[layer].T @ dy, dy.sum(axis=0)
            dy = dy @ p[f"w{layer}"].T
        return {name: gradient[name] for name in params}

    return wrong


def scalars(count: int) -> Case:
    """Return a function of many numbers, each a parameter of its own."""
    rng = np.random.default_rng(1)
    params = {f"p{i}": np.float64(rng.normal()) for i in range(count)}

    def f(p: Tree) -> Any:
        x = np.array(list(p.values()))
        return np.sin(x).sum() + (x[1:] * x[:-1]).sum()

    def grad(p: Tree) -> Tree:
        x = np.array(list(p.values()))
        g = np.cos(x)
        g[1:] += x[:-1]
        g[:-1] += x[1:]
        return dict(zip(p, g, strict=True))

    return f"{count} scalars", f, grad, params, {"halved": _scaled(grad, 0.5), "doubled": _scaled(grad, 2)}, {}


def lasso(zeros: int, kink: float | None, count: int = 20_000) -> Case:
    """Return a function with its kink at zero, where many of its elements are."""
    rng = np.random.default_rng(2)
    a = rng.normal(size=count)
    w = rng.normal(size=count)
    w[rng.choice(count, zeros, replace=False)] = 0.0

    def f(p: Tree) -> Any:
        if kink is None:
            return (np.maximum(p["w"], 0) * (1 + a**2)).sum()
        return kink * np.abs(p["w"]).sum() + a @ p["w"] + (p["w"] ** 2).sum()

    def grad(p: Tree) -> Tree:
        if kink is None:
            return {"w": (p["w"] > 0) * (1 + a**2)}
        return {"w": kink * np.sign(p["w"]) + a + 2 * p["w"]}

    def wrong(p: Tree) -> Tree:
        g = grad(p)["w"]
        g[p["w"] == 0] += 3.0
        return {"w": g}

    name = f"{'relu' if kink is None else 'lasso'}, {zeros} zeros"
    return name, f, grad, {"w": w}, {"minus": _scaled(grad, -1), "wrong at zeros": wrong}, {}
