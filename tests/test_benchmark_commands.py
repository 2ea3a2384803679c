import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import conftest

ROOT = Path(__file__).parent.parent
SOURCES = pytest.Config.ArgsSource


@pytest.mark.parametrize(
    ("is_benchmark_only", "source", "folders"),
    [
        (False, SOURCES.TESTPATHS, {"tests"}),
        (True, SOURCES.TESTPATHS, {"benchmarks"}),
        (False, SOURCES.ARGS, {"tests", "benchmarks"}),
        (True, SOURCES.ARGS, {"tests", "benchmarks"}),
    ],
    ids=["plain", "benchmark-only", "named", "benchmark-only, named"],
)
def test_which_folders_a_run_collects(is_benchmark_only, source, folders):
    """Plain pytest never times anything, --benchmark-only never tests, and what is named is collected."""
    options = {"benchmark_only": is_benchmark_only}
    config = SimpleNamespace(args_source=source, getoption=lambda name, default=None: options.get(name, default))
    paths = {"tests": ROOT / "tests/network/test_dense.py", "benchmarks": ROOT / "benchmarks/test_conv2d.py"}
    ignored = {name: conftest.pytest_ignore_collect(path, config) for name, path in paths.items()}
    assert {name for name, left_out in ignored.items() if not left_out} == folders


def test_benchmark_only_collects_benchmarks_when_run_as_a_user_does():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "--benchmark-only"]
    # A worker of pytest-xdist says so in its environment, and pytest-benchmark measures nothing there.
    user = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    run = subprocess.run(  # noqa: S603 - the command is ours
        command, cwd=ROOT, env=user, capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert {line.split("/")[0] for line in run.stdout.splitlines() if "::" in line} == {"benchmarks"}
