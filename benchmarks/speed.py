"""Convolution and pooling beside every peer and the machine's limits: ``python -m benchmarks.speed [--write]``.

Prints a table of ratios, ours over each peer's time, below 1 where ours is faster. The peers take turns in one process with
one thread; JAX is told so by ``XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"``. With
``--write`` the table goes into docs/speed.md, and the plot beside it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import test_conv2d, test_max_pool2d, timing
from benchmarks.peers import CONV2D, MAX_POOL2D, Call, both

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->\n"

DIRECTIONS = ("forward", "backward", "both")
DTYPES = (np.float32, np.float64)

Row = tuple[str, str, dict[str, dict[str, float]], float]
"""Shape, dtype, direction -> peer -> seconds, and the seconds that the machine's limit allows forward and backward."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/speed.md and docs/speed.png")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each peer (default 7)")
    parser.add_argument("--peers", default="torch,jax,mygrad,autograd,scipy,naive", help="which, separated by commas")
    options = parser.parse_args(arguments)
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    peers = [peer for peer in options.peers.split(",") if peer in {"naive", "scipy"} or importlib.util.find_spec(peer)]
    print(timing.machine())
    with timing.one_thread():
        tables = {
            name: [_row(name, shape, dtype, peers, options.rounds) for shape in shapes for dtype in DTYPES]
            for name, shapes in (("conv2d", test_conv2d.SHAPES), ("max_pool2d", test_max_pool2d.SHAPES))
        }
    text = "\n".join(_table(name, rows, peers) for name, rows in tables.items())
    print(text)
    if options.write:
        page = (DOCS / "speed.md").read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        (DOCS / "speed.md").write_text(f"{before}{BEGIN}{timing.machine()}.\n\n{text}\n{END}{after}", encoding="utf-8")
        _plot(tables, DOCS / "speed.png")


def _row(name: str, shape: tuple[int, ...], dtype: type, peers: list[str], rounds: int) -> Row:
    """Time one shape, the forward, the backward and both."""
    seconds: dict[str, dict[str, float]] = {direction: {} for direction in DIRECTIONS}
    calls: dict[str, dict[str, Callable[[], object]]] = {direction: {} for direction in DIRECTIONS}
    for peer in ("ours", *peers):
        if _is_left_out(name, shape, peer):
            continue
        forward, backward = _calls(name, shape, dtype, peer)
        calls["forward"][peer], calls["both"][peer] = forward.run, both(forward, backward).run
        if backward.setup is None:
            calls["backward"][peer] = backward.run
    for direction, of_peers in calls.items():
        seconds[direction] = timing.fastest(of_peers, rounds=rounds)
    return (
        "x".join(map(str, shape[:4])) + ("" if len(shape) == 4 else f" to {shape[4]}"),
        dtype.__name__,
        seconds,
        _limit(name, shape, dtype),
    )


def _is_left_out(name: str, shape: tuple[int, ...], peer: str) -> bool:
    if name == "conv2d":
        return test_conv2d.products(shape) > test_conv2d.LARGEST.get(peer, np.inf)
    return peer not in MAX_POOL2D or (peer == "naive" and int(np.prod(shape)) > 1e4)


def _calls(name: str, shape: tuple[int, ...], dtype: type, peer: str) -> tuple[Call, Call]:
    if name == "conv2d":
        dy, x, w, b = test_conv2d.operands(shape, dtype)
        functions: Any = CONV2D[peer]()
        return functions.conv2d_forward(x, w, b), functions.conv2d_backward(dy, x, w, b)
    dy, x = test_max_pool2d.operands(shape, dtype, peer)
    functions = MAX_POOL2D[peer]()
    return functions.max_pool2d_forward(x), functions.max_pool2d_backward(dy, x)


def _limit(name: str, shape: tuple[int, ...], dtype: type) -> float:
    """Return the seconds of the formula's products at a large product's rate, or of the traffic at a copy's."""
    if name == "conv2d":
        return 6 * test_conv2d.products(shape) / timing.gemm_limit(dtype) / 1e9
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return 2.5 * nbytes / timing.copy_limit(nbytes) / 1e9


def _table(name: str, rows: list[Row], peers: list[str]) -> str:
    """Return the ratios as Markdown: forward, backward, both."""
    shown = [peer for peer in peers if any(peer in seconds["both"] for _, _, seconds, _ in rows)]
    limit = "products at a large product's rate" if name == "conv2d" else "traffic at a copy's rate"
    lines = [
        f"`{name}`: ours / peer, forward, backward, both; ours in microseconds, and how much of it the limit is ({limit})",
        "",
        f"| N x C x H x W | dtype | ours, both | limit | {' | '.join(shown)} |",
        "|---|---|---|---|" + "---|" * len(shown),
    ]
    for shape, dtype, seconds, limit_seconds in rows:
        ours = seconds["both"]["ours"]
        cells = [" / ".join(_ratio(seconds[direction], peer) for direction in DIRECTIONS) for peer in shown]
        lines.append(f"| {shape} | {dtype} | {ours * 1e6:,.0f} | {limit_seconds / ours:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _ratio(seconds: dict[str, float], peer: str) -> str:
    if peer not in seconds:
        return "-"
    ratio = seconds["ours"] / seconds[peer]
    return f"{ratio:.2f}" if ratio >= 0.095 else f"{ratio:.1g}"


def _plot(tables: dict[str, list[Row]], path: Path) -> None:
    """Draw ours over each peer's time, forward and backward together, for every shape."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - needed for --write alone

    figure = Figure(figsize=(11, 9), layout="constrained")
    for axes, (name, rows) in zip(figure.subplots(2, 1), tables.items(), strict=True):
        labels = [f"{shape}\n{dtype}" for shape, dtype, _, _ in rows]
        for peer in dict.fromkeys(peer for _, _, seconds, _ in rows for peer in seconds["both"] if peer != "ours"):
            both_ways = [seconds["both"] for _, _, seconds, _ in rows]
            ratios = [of["ours"] / of[peer] if peer in of else np.nan for of in both_ways]
            axes.plot(ratios, "o", label=peer)
        axes.axhline(1, color="black", linewidth=1)
        axes.set_yscale("log")
        axes.set_ylabel("ours / peer")
        axes.set_title(f"{name}, forward and backward: below the line ours is faster")
        axes.set_xticks(range(len(rows)), labels, rotation=90, fontsize=7)
        axes.legend(ncols=6, fontsize=8)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
