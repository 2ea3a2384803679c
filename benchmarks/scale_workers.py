"""A function that keeps a processor busy for a millisecond, checked with and without workers.

Beside it what the machine gives at that moment: the same calls, split between two processes and nothing else done.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

import gradcheck

ROUNDS, ELEMENTS = 3, 1000


def main() -> None:
    x = np.linspace(0.1, 0.9, ELEMENTS)
    seconds: dict[object, list[float]] = {None: [], 2: []}
    bare: list[float] = []
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(calls, [1, 1]))
        for _ in range(ROUNDS):
            for workers, taken in seconds.items():
                report = gradcheck.check_gradient(busy, np.cos, x, workers=workers)  # type: ignore[arg-type]
                assert report.ok
                taken.append(report.seconds)
            began = time.perf_counter()
            list(pool.map(calls, [report.evaluations // 2] * 2))
            bare.append(time.perf_counter() - began)
    alone, helped = min(seconds[None]), min(seconds[2])
    print(f"f that takes 1 ms, {ELEMENTS} elements, {report.evaluations:,} evaluations")
    print(f"  alone {alone:.2f} s, workers=2 {helped:.2f} s: {alone / helped:.2f} x")
    print(
        f"  the bare calls in two processes {min(bare):.2f} s: {alone / min(bare):.2f} x is what two processors give here"
    )


def busy(x: np.ndarray) -> float:
    """Take a millisecond of the processor."""
    until = time.thread_time() + 1e-3
    while time.thread_time() < until:
        pass
    return float(np.sum(np.sin(x)))


def calls(number: int) -> None:
    """Take so many milliseconds."""
    for _ in range(number):
        busy(np.zeros(1))
