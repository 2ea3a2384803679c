"""What pytest needs at the root: which of tests and benchmarks a run collects."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Let plain ``pytest`` skip the benchmarks and ``pytest --benchmark-only`` skip the tests.

    ``--benchmark-skip`` in the configuration would do the first half, but the plugin refuses it beside
    ``--benchmark-only``. A path named on the command line is always collected.
    """
    named = [Path(argument.split("::")[0]).resolve() for argument in config.args]
    if collection_path in named:
        return None
    is_benchmark = collection_path == BENCHMARKS or BENCHMARKS in collection_path.parents
    if any(path == BENCHMARKS or BENCHMARKS in path.parents for path in named) and config.invocation_params.args:
        return None
    only_benchmarks = config.getoption("benchmark_only", default=False)
    return True if is_benchmark != only_benchmarks and collection_path.parent == BENCHMARKS.parent and collection_path.is_dir() else None
