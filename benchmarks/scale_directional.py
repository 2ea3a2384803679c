"""Random directions: what they cost, what they find, that they call nothing right wrong."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.networks import mlp
from gradcheck import Report, check_gradient

Tree = dict[str, Any]
Fault = Callable[[Tree], None]

SIZES = {"1e5": (300, 300, 32, 1), "1e6": (1000, 960, 42, 1)}
SEEDS = {"1e5": 3, "1e6": 1}
ROUNDS = 3
RUNS = 400
SMALL = [(40, 40, 10, 1), (100, 80, 20, 1), (150, 100, 20, 1)]


def main() -> None:
    """Print right gradients and faults of large networks, then false alarms on small ones."""
    print("random directions: verdict, evaluations, wrong elements found / planted, beside them, undecided")
    for name, sizes in SIZES.items():
        for activation in ("tanh", "relu", "max"):
            _large(f"{name} {activation}", sizes, activation, SEEDS[name])
    _false_alarms()


def _large(name: str, sizes: tuple[int, ...], activation: str, seeds: int) -> None:
    f, grad, params = mlp(sizes, activation, 0)
    size = sum(value.nbytes for value in params.values())
    tracemalloc.start()
    right = check_gradient(f, grad, params)
    peak = tracemalloc.get_traced_memory()[1] / size
    tracemalloc.stop()
    own = min(_own_time(f, grad, params) for _ in range(ROUNDS))
    floor = max(report.detection_floor for report in right.parameters.values())
    print(
        f"{name:10s} {'right':32s} {right.verdict:12s} {right.evaluations:5d}"
        f"  floor {floor:.1e}, peak memory {peak:.1f} x the parameters, {own * 1e3:.1f} ms an evaluation beside f and grad"
    )
    for label, plant in _faults(right, seeds):
        _wrong(name, label, f, grad, params, plant)


def _own_time(f: Any, grad: Any, params: Tree) -> float:
    """Return the CPU seconds that a check takes for each evaluation, beside those of f and grad."""
    spent = []

    def timed(function: Callable[[Tree], Any]) -> Callable[[Tree], Any]:
        def call(p: Tree) -> Any:
            started = time.process_time()
            value = function(p)
            spent.append(time.process_time() - started)
            return value

        return call

    started = time.process_time()
    report = check_gradient(timed(f), timed(grad), params)
    return (time.process_time() - started - sum(spent)) / report.evaluations


def _faults(right: Report, seeds: int) -> Iterator[tuple[str, Fault]]:
    """Give faults by name; the sizes of some are multiples of what the check of the right gradient said it sees."""
    floors = {name: report.detection_floor for name, report in right.parameters.items()}
    for seed in range(seeds):
        for times in (1, 2, 20, 100):
            for count in (1, 3):
                yield f"{count} of {times} x the floor", _shift(floors, count, times, seed)
        for factor in (-1, 2):
            for count in (1, 3):
                yield f"{count} times {factor}", _scale(count, factor, seed)
    yield "a row", lambda g: np.negative(g["w0"][7], out=g["w0"][7])
    yield "four columns", lambda g: np.negative(g["w0"][:, 8:12], out=g["w0"][:, 8:12])
    yield "a leaf times 1.01", lambda g: np.multiply(g["w1"], 1.01, out=g["w1"])
    yield "a small leaf times 2", lambda g: np.multiply(g["b1"], 2, out=g["b1"])
    yield "everything halved", _halve
    yield "two equal and opposite", lambda g: np.add.at(g["w0"], ([3, -5], [3, -7]), [1e-3, -1e-3])


def _shift(floors: dict[str, float], count: int, times: float, seed: int) -> Fault:
    def plant(gradient: Tree) -> None:
        rng = np.random.default_rng(seed)
        for leaf in ("w0", "w1", "w0")[:count]:
            gradient[leaf].reshape(-1)[rng.integers(gradient[leaf].size)] += times * floors[leaf] * rng.choice([-1, 1])

    return plant


def _scale(count: int, factor: float, seed: int) -> Fault:
    def plant(gradient: Tree) -> None:
        flat = gradient["w0"].reshape(-1)
        typical = np.flatnonzero(np.abs(flat) >= 0.5 * np.sqrt(np.mean(flat**2)))
        flat[np.random.default_rng(seed).choice(typical, count, replace=False)] *= factor

    return plant


def _halve(gradient: Tree) -> None:
    for values in gradient.values():
        np.multiply(values, 0.5, out=values)


def _wrong(name: str, label: str, f: Any, grad: Any, params: Tree, plant: Fault) -> None:
    def wrong(p: Tree) -> Tree:
        gradient = grad(p)
        plant(gradient)
        return gradient

    report = check_gradient(f, wrong, params)
    truth, claimed = grad(params), wrong(params)
    planted = {leaf: claimed[leaf] != truth[leaf] for leaf in params}
    found = sum(int(np.sum(report.parameters[leaf].wrong & planted[leaf])) for leaf in params)
    beside = sum(int(np.sum(report.parameters[leaf].wrong & ~planted[leaf])) for leaf in params)
    undecided = sum(int(np.sum(entry.undecided)) for entry in report.parameters.values())
    kinds = {diagnosis.kind for entry in report.parameters.values() for diagnosis in entry.diagnoses}
    print(
        f"{name:10s} {label:32s} {report.verdict:12s} {report.evaluations:5d}"
        f"  {found} / {sum(int(part.sum()) for part in planted.values())}, {beside}, {undecided} {' '.join(sorted(kinds))}"
    )


def _false_alarms() -> None:
    """Count verdicts on right gradients of small networks with kinks."""
    for dtype in (np.float64, np.float32):
        for activation in ("relu", "max", "leaky", "abs"):
            verdicts: Counter[str] = Counter()
            calls = []
            for seed in range(RUNS // 8):
                f, grad, params = mlp(SMALL[seed % 3], activation, seed, rows=1 + seed % 7, dtype=dtype)
                report = check_gradient(f, grad, params, method="directional", rng=seed)
                verdicts[report.verdict] += 1
                calls.append(report.evaluations)
            print(
                f"{dtype.__name__} {activation:6s} right: {dict(verdicts)}, {int(np.median(calls))} to {max(calls)} evaluations"
            )
