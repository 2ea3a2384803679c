"""What a check adds to each evaluation of a function that costs nothing, and small checks as a whole, in CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gradcheck
from benchmarks.scale_bugs import scalars

ROUNDS = 7


def main() -> None:
    print("overhead of an evaluation, trivial f of one leaf, in one thread")
    for size in (100, 1_000, 10_000):
        x = np.linspace(0.1, 0.9, size)
        gradient = np.eye(1, size)[0]
        seconds, calls = [], 0
        for _ in range(ROUNDS):
            started = time.process_time()
            report = gradcheck.check_gradient(first, lambda _, g=gradient: g.copy(), x)
            seconds.append(time.process_time() - started)
            calls = report.evaluations
        copy = min(_seconds_of_copy(x) for _ in range(ROUNDS))
        print(
            f"  {size:6,} elements: {min(seconds) / calls * 1e6:5.1f} us an evaluation in a whole check of {calls:,}, "
            f"of which {copy * 1e6:4.1f} copy the leaf"
        )
    x = np.array([0.3, -0.2, 1.1, 0.7, 2.0])
    print(f"  a whole check of {len(x)} elements: {_of_check(lambda p: np.sin(p).sum(), np.cos, x)}")
    _, f, right, numbers, bugs, _ = scalars(1_000)
    for name, claimed in {"right": right, "halved": bugs["halved"]}.items():
        print(f"  a whole check of {len(numbers):,} numbers, all {name}: {_of_check(f, claimed, numbers)}")


def _of_check(f: Callable[[Any], Any], grad: Callable[[Any], Any], params: Any) -> str:
    """Say what a check as a whole takes."""
    seconds, calls = [], 0
    for _ in range(ROUNDS):
        started = time.process_time()
        calls = gradcheck.check_gradient(f, grad, params).evaluations
        seconds.append(time.process_time() - started)
    return f"{min(seconds) * 1e3:,.1f} ms, {calls:,} calls of f"


def first(x: np.ndarray) -> float:
    return x[0]  # type: ignore[no-any-return]


def _seconds_of_copy(x: np.ndarray) -> float:
    started = time.process_time()
    for _ in range(200):
        x.copy()
    return (time.process_time() - started) / 200
