"""The algorithms of convolution and pooling on both sides of each threshold: ``python -m benchmarks.thresholds [NAME ...]``.

Prints microseconds of forward and backward together, of all thresholds or of those named. A star marks what
`network.layers` chooses.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import timing
from network.layers import conv2d_backward, conv2d_forward, max_pool2d_backward, max_pool2d_forward, pooling
from network.layers._conv2d import dispatch, im2col, whole_layer, winograd
from network.layers._conv2d.plan import plan_conv2d

CONV2D: dict[str, list[tuple[int, ...]]] = {
    "SMALL_COLUMNS": [
        (8, 2, 8, 8, 4),
        (2, 1, 28, 28, 8),
        (4, 1, 28, 28, 8),
        (1, 3, 32, 32, 16),
        (3, 8, 14, 14, 16),
        (8, 1, 28, 28, 8),
    ],
    "LEAST_SAMPLES": [(4, 1, 8, 8, 2), (8, 1, 8, 8, 2), (16, 1, 8, 8, 2), (64, 1, 8, 8, 2)],
    "MOST_PRODUCTS": [(64, 1, 6, 6, 4), (64, 1, 8, 8, 4), (64, 1, 10, 10, 4), (64, 1, 14, 14, 4)],
    "LARGEST_MATRIX": [(64, 4, 8, 8, 8), (64, 8, 8, 8, 8), (64, 16, 8, 8, 16), (64, 16, 4, 4, 32)],
    "LEAST_CHANNELS": [(16, 16, 28, 28, 16), (16, 32, 28, 28, 32), (16, 48, 28, 28, 48), (16, 64, 28, 28, 64)],
    "LEAST_WIDTH": [(64, 64, 8, 8, 64), (64, 64, 12, 12, 64), (32, 64, 16, 16, 64), (32, 64, 20, 20, 64)],
    "MOST_WASTE": [(16, 64, 22, 22, 64), (16, 64, 30, 30, 64), (16, 64, 27, 27, 64), (8, 64, 54, 54, 64)],
}
"""Threshold -> shapes (N, C, H, W, O) around it."""

LITTLE = "LITTLE"
"""The threshold of pooling."""

POOL2D = [(16, 1, 8, 8), (128, 1, 8, 8), (360, 1, 8, 8), (1000, 1, 8, 8), (32, 1, 28, 28), (64, 1, 28, 28)]
"""Shapes around LITTLE."""

ALGORITHMS: dict[str, ModuleType | None] = {
    "one_product": None,
    "whole_layer": whole_layer,
    "im2col": im2col,
    "winograd": winograd,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.thresholds", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join((*CONV2D, LITTLE))}; default: all")
    names = parser.parse_args().names or (*CONV2D, LITTLE)
    unknown = [name for name in names if name not in (*CONV2D, LITTLE)]
    if unknown:
        parser.error(f"no threshold is called {', '.join(unknown)}")
    print(timing.machine())
    with timing.one_thread():
        for name in names:
            for shape in CONV2D.get(name, POOL2D):
                for dtype in (np.float32, np.float64):
                    _show(name, shape, dtype, *(_max_pool2d if name == LITTLE else _conv2d)(shape, dtype))


def _show(threshold: str, shape: Any, dtype: type, calls: dict[str, Callable[[], object]], chosen: str) -> None:
    seconds = timing.fastest(calls, rounds=7)
    times = ", ".join(f"{name}{'*' * (name == chosen)} {value * 1e6:,.0f}" for name, value in seconds.items())
    print(f"{threshold:14} {shape!s:22} {dtype.__name__}: {times}")


def _conv2d(shape: tuple[int, ...], dtype: type) -> tuple[dict[str, Callable[[], object]], str]:
    n, c, h, w, o = shape
    rng = np.random.default_rng(0)
    sizes = ((n, o, h, w), (n, c, h, w), (o, c, 3, 3), (o,))
    dy, x, k, b = (rng.normal(size=size).astype(dtype) for size in sizes)
    choice = dispatch.choose(plan_conv2d(x.shape, k.shape, b.shape, (1, 1), (1, 1), (1, 1), 1), winograd=True)

    def call(algorithm: ModuleType | None) -> None:
        with mock.patch.object(dispatch, "choose", return_value=algorithm):
            _, cache = conv2d_forward(x, k, b, padding=1)
            conv2d_backward(dy, cache)

    results = n * h * w
    within = {
        "one_product": 9 * c * results <= 4 * dispatch.SMALL_COLUMNS,
        "whole_layer": c * h * w * o * h * w <= 2**22,
        "winograd": c >= 8 and w >= 8,
    }
    calls = {name: lambda a=a: call(a) for name, a in ALGORITHMS.items() if within.get(name, True)}  # type: ignore[misc]
    return calls, next(name for name, algorithm in ALGORITHMS.items() if algorithm is choice)


def _max_pool2d(shape: tuple[int, ...], dtype: type) -> tuple[dict[str, Callable[[], object]], str]:
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=shape), 0).astype(dtype)
    dy = rng.normal(size=(*shape[:2], shape[2] // 2, shape[3] // 2)).astype(dtype)

    def call(little: int) -> None:
        with mock.patch.object(pooling, "LITTLE", little):
            _, cache = max_pool2d_forward(x, 2)
            max_pool2d_backward(dy, cache)

    chosen = "table" if x.size <= pooling.LITTLE else "winners"
    return {"table": lambda: call(x.size), "winners": lambda: call(0)}, chosen


if __name__ == "__main__":
    main()
