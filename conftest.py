"""What pytest needs at the root: which of tests and benchmarks a run collects, and on how many processes."""

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parent


def runs_everything(config: pytest.Config) -> bool:
    """Tell whether no path was named on the command line; a worker of pytest-xdist has that from its controller."""
    if hasattr(config, "workerinput"):
        return bool(config.workerinput["runs_everything"])
    return config.args_source is not pytest.Config.ArgsSource.ARGS


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Let plain ``pytest`` leave out the benchmarks, and ``pytest --benchmark-only`` the tests.

    ``--benchmark-skip`` in the configuration would do the first half, but the plugin refuses it
    beside ``--benchmark-only``. What is named on the command line is always collected.
    """
    if not runs_everything(config):
        return None
    left_out = "tests" if config.getoption("benchmark_only", default=False) else "benchmarks"
    return True if collection_path.is_relative_to(ROOT / left_out) else None


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite on all cores, one thread of BLAS each, unless ``-n`` says otherwise.

    One file is quicker in one process, which a debugger and a benchmark need anyway.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what runs in the background, and processes that tests interrupt would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    option = config.option
    busy = option.collectonly or option.usepdb or config.getoption("benchmark_only", default=False)
    if hasattr(config, "workerinput") or busy or not runs_everything(config):
        return
    if getattr(option, "numprocesses", 0) is None:
        option.numprocesses = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if (
        getattr(option, "dist", "no") == "no"
    ):  # neighbours share fixtures, and no process waits for the last file of another
        option.dist = "worksteal"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a hundred processes would compile all that they import


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell a worker what was named on the controller's command line: it gets paths in any case."""
    node.workerinput["runs_everything"] = runs_everything(node.config)  # type: ignore[attr-defined]
