"""One thread for everybody, limits of this machine, and how a call is timed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest

from benchmarks.peers import Call

SECONDS = 0.15
"""Spent on one benchmark, if three rounds do not take longer."""


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave the benchmarks out of plain ``pytest``; named on the command line they are collected."""
    if config.args_source is pytest.Config.ArgsSource.ARGS or config.getoption("benchmark_only", default=False):
        return None
    return True


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if importlib.util.find_spec("threadpoolctl"):
            stack.enter_context(importlib.import_module("threadpoolctl").threadpool_limits(1))
        if importlib.util.find_spec("torch"):
            torch = importlib.import_module("torch")
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        yield


@pytest.fixture
def measure(benchmark) -> Callable[[Call], float]:
    """``measure(call)`` times it, and returns the fewest seconds that a round took."""

    def run(call: Call) -> float:
        if call.setup:
            rounds = _rounds(_seconds(call.results))
            benchmark.pedantic(call.run, setup=lambda: (call.setup(), {}), rounds=rounds, warmup_rounds=1)
        else:
            call.run()
            seconds = _seconds(call.run)
            iterations = max(1, int(1e-3 / seconds))
            benchmark.pedantic(call.run, rounds=_rounds(seconds * iterations), iterations=iterations, warmup_rounds=1)
        return benchmark.stats.stats.min

    return run


def _rounds(seconds: float) -> int:
    return max(3, min(100, int(SECONDS / seconds)))


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return max(time.perf_counter() - start, 1e-7)


@pytest.fixture(scope="session")
def gemm_limit() -> Callable[[type], float]:
    """``gemm_limit(dtype)``: GFLOP/s of a large matrix product, measured once."""

    @cache
    def limit(dtype: type) -> float:
        n = 1024
        matrix = np.ones((n, n), dtype)
        return 2 * n**3 / min(_seconds(lambda: matrix @ matrix) for _ in range(8)) / 1e9

    return limit


@pytest.fixture(scope="session")
def copy_limit() -> Callable[[int], float]:
    """``copy_limit(nbytes)``: GB/s, read and written, of copying so many bytes onto as many; once for each size."""

    @cache
    def limit(nbytes: int) -> float:
        source = np.ones(nbytes, np.uint8)
        target = np.empty_like(source)
        repeats = max(1, 2**22 // nbytes)

        def copy() -> None:
            for _ in range(repeats):
                np.copyto(target, source)

        return 2 * nbytes * repeats / min(_seconds(copy) for _ in range(8)) / 1e9

    return limit
