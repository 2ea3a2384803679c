import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def collected_folders(*arguments):
    """What ``pytest`` with these arguments collects, run from the root as a user does."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    run = subprocess.run(  # noqa: S603 - the command is ours
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return {line.split("/")[0] for line in run.stdout.splitlines() if "::" in line}


@pytest.mark.parametrize(
    ("arguments", "folders"),
    [
        ((), {"tests"}),
        (("--benchmark-only",), {"benchmarks"}),
        (("benchmarks/test_conv2d.py",), {"benchmarks"}),
        (("--benchmark-only", "tests/network/test_dense.py"), {"tests"}),
    ],
    ids=["plain", "benchmark-only", "benchmark named", "test named"],
)
def test_what_each_command_collects(arguments, folders):
    """Plain pytest never times anything, --benchmark-only never tests, and what is named is collected."""
    assert collected_folders(*arguments) == folders
