"""What a check adds to each evaluation of a function that costs nothing, in time of the processor."""

from __future__ import annotations

import time

import numpy as np

import gradcheck

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


def first(x: np.ndarray) -> float:
    return x[0]  # type: ignore[no-any-return]


def _seconds_of_copy(x: np.ndarray) -> float:
    started = time.process_time()
    for _ in range(200):
        x.copy()
    return (time.process_time() - started) / 200
