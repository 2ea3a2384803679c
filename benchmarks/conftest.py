"""How the benchmarks are collected, and how a call is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from benchmarks import timing

if TYPE_CHECKING:  # it imports scipy.signal, and every process of plain pytest imports this file
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
    with timing.one_thread():
        yield


@pytest.fixture
def measure(benchmark) -> Callable[[Call], float]:
    """``measure(call)`` times it, and returns the fewest seconds that a round took."""

    def run(call: Call) -> float:
        if call.setup:
            rounds = _rounds(timing.seconds_of(call.results))
            benchmark.pedantic(call.run, setup=lambda: (call.setup(), {}), rounds=rounds, warmup_rounds=1)
        else:
            call.run()
            seconds = timing.seconds_of(call.run)
            iterations = max(1, int(1e-3 / seconds))
            benchmark.pedantic(call.run, rounds=_rounds(seconds * iterations), iterations=iterations, warmup_rounds=1)
        return benchmark.stats.stats.min

    return run


def _rounds(seconds: float) -> int:
    return max(3, min(100, int(SECONDS / seconds)))


@pytest.fixture(scope="session")
def gemm_limit() -> Callable[[type], float]:
    """``gemm_limit(dtype)``: GFLOP/s of a large matrix product."""
    return timing.gemm_limit


@pytest.fixture(scope="session")
def copy_limit() -> Callable[[int], float]:
    """``copy_limit(nbytes)``: GB/s of a copy."""
    return timing.copy_limit
