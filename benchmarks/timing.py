"""One thread for everybody, limits of this machine, and the fewest seconds that calls take.

Seconds are the processor's: with one thread that is what a clock shows on a machine that does nothing else, and on a busy
one the time in which others run does not count (what they do to the caches does).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np

__all__ = ["copy_limit", "fastest", "gemm_limit", "machine", "one_thread", "seconds_of"]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Give NumPy's BLAS and PyTorch one thread each; JAX takes what the environment gives it."""
    with contextlib.ExitStack() as stack:
        if importlib.util.find_spec("threadpoolctl"):
            stack.enter_context(importlib.import_module("threadpoolctl").threadpool_limits(1))
        if importlib.util.find_spec("torch"):
            torch = importlib.import_module("torch")
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        yield


def seconds_of(function: Callable[[], object]) -> float:
    """Return how many seconds of the processor one call takes."""
    start = time.process_time()
    function()
    return max(time.process_time() - start, 1e-7)


def fastest(calls: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Return the fewest seconds of each call.

    The calls take turns, in blocks of at least 2 ms that begin warm (long calls are their own), so that whatever else the machine does meets all of
    them: a ratio of two says more than either.
    """
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, int(2e-3 / seconds_of(call)))
    best = dict.fromkeys(calls, np.inf)
    for _ in range(rounds):
        for name, call in calls.items():
            if repeats[name] > 1:
                call()
            block = seconds_of(lambda call=call, name=name: [call() for _ in range(repeats[name])])  # type: ignore[misc]
            best[name] = min(best[name], block / repeats[name])
    return best


@cache
def gemm_limit(dtype: type) -> float:
    """GFLOP/s of a large matrix product, measured once."""
    n = 1024
    matrix = np.ones((n, n), dtype)
    return 2 * n**3 / min(seconds_of(lambda: matrix @ matrix) for _ in range(8)) / 1e9


@cache
def copy_limit(nbytes: int) -> float:
    """GB/s, read and written, of copying so many bytes onto as many; once for each size."""
    source = np.ones(nbytes, np.uint8)
    target = np.empty_like(source)
    repeats = max(1, 2**22 // nbytes)

    def copy() -> None:
        for _ in range(repeats):
            np.copyto(target, source)

    return 2 * nbytes * repeats / min(seconds_of(copy) for _ in range(8)) / 1e9


def machine() -> str:
    """Return the processor, and NumPy's BLAS with the kernels that are live."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        text = cpuinfo.read_text(encoding="utf-8")
        values = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
        fields = {name.strip(): value.strip() for name, value in values.items()}
        vectors = (
            "AVX-512" if "avx512f" in fields.get("flags", "") else "AVX2" if "avx2" in fields.get("flags", "") else ""
        )
        model = f"{fields.get('model name', model)} (family {fields.get('cpu family')}, model {fields.get('model')}) {vectors}"
    blas = "unknown (install threadpoolctl)"
    if importlib.util.find_spec("threadpoolctl"):
        pools = importlib.import_module("threadpoolctl").threadpool_info()
        live = [pool for pool in pools if pool["user_api"] == "blas" and "numpy" in pool["filepath"]]
        blas = ", ".join(f"{p['internal_api']} {p['version']}, kernels {p.get('architecture')}" for p in live) or blas
    return f"{model.strip()}; NumPy {np.__version__} with {blas}; one thread"
