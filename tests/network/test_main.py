"""The main job as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from network.__main__ import main
from tests.pages import faults_of

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "network"]


def alive(group):
    """Tell whether a process of the group is still there after it had time to end."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def refuse(constant):
    raise AssertionError(f"{constant} is not strict JSON")


def test_quick_run_writes_everything(tmp_path):
    done = subprocess.run(  # noqa: S603
        [*COMMAND, "--quick", "--seeds", "2", "--epochs", "2", "--output", str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("results.json", "costs.png", "divergence.png", "index.html"):
        assert (tmp_path / "out" / name).stat().st_size > 500
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert not faults_of(page) and "e+308" not in page and "true is zero" in page
    results = json.loads((tmp_path / "out" / "results.json").read_text(), parse_constant=refuse)
    assert results["complete"] and results["checks"]["right"]["verdict"] == "pass"
    broken = results["checks"]["author-broken"]["weights"]
    assert broken["W1a"]["verdict"] == "wrong" and broken["W5"]["verdict"] == "right"
    assert len(results["pairings"]) == 4
    assert "PASS: the gradient is right in 9 parameters" in done.stdout
    assert "W3, W4, W5: right in every gradient." in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is POSIX")
def test_ctrl_c_keeps_what_is_done_and_leaves_no_process(tmp_path):
    job = subprocess.Popen(  # noqa: S603
        [*COMMAND, "--quick", "--epochs", "500", "--no-plots", "--output", str(tmp_path)],  # trains for minutes
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    while not (line := job.stdout.readline()).startswith("cost:"):
        assert line, "the job ended before the first report"
    time.sleep(0.5)
    os.killpg(job.pid, signal.SIGINT)
    rest, _ = job.communicate(timeout=30)
    assert job.returncode == 130 and "Interrupted" in rest
    assert json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)["complete"] is False
    assert not alive(job.pid)


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--seeds", "many"], ["--epochs", "-1"], ["--unknown"]])
def test_bad_options_are_named(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and arguments[0] in capsys.readouterr().err


def test_help_explains_itself(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(
        option in shown for option in ("--seeds", "--epochs", "--quick", "--published", "--output", "--no-plots")
    )
    assert "examples:" in shown


def test_an_output_that_cannot_be_written_is_an_error(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--output", str(tmp_path / "file" / "out")]) == 2
    assert "--output" in capsys.readouterr().err
