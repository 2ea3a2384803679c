"""What pytest needs at the root: which of tests and benchmarks a run collects."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Let plain ``pytest`` leave out the benchmarks, and ``pytest --benchmark-only`` the tests.

    ``--benchmark-skip`` in the configuration would do the first half, but the plugin refuses it
    beside ``--benchmark-only``. What is named on the command line is always collected.
    """
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return None
    left_out = "tests" if config.getoption("benchmark_only", default=False) else "benchmarks"
    return True if collection_path.is_relative_to(ROOT / left_out) else None
