"""The command line: what it prints, and its exit codes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from gradcheck import __version__, check_gradient
from gradcheck.command import main

MODULE = """
import sys
import numpy as np
from gradcheck import assert_gradient, check_gradient

f, x = lambda x: float(np.sum(x**2)), np.arange(1.0, 4.0)

def right(): return check_gradient(f, lambda x: 2 * x, x)
def wrong(): return check_gradient(f, lambda x: 3 * x, x)
def raises(): assert_gradient(f, lambda x: 3 * x, x)
def unsure(): return check_gradient(f, lambda x: 2 * x, x, max_evaluations=1)
def several(): return {"one": right(), "two": wrong()}
def nothing(): return None
def empty(): return {}
def broken(): raise RuntimeError("the case itself is broken")
def leaves(): sys.exit()
def leaves_with(): sys.exit(1)
def stops():
    def f(x):
        f.calls += 1
        if f.calls > 30: raise KeyboardInterrupt
        return float(np.sum(x**2))
    f.calls = 0
    return check_gradient(f, lambda x: 2 * x, np.arange(1.0, 40.0), method="exhaustive")
def with_argument(x): return right()
async def later(): return right()
number = 3
"""


@pytest.fixture
def cases(tmp_path, monkeypatch):
    (tmp_path / "cases_of_a_user.py").write_text(MODULE)
    (tmp_path / "does_not_import.py").write_text("import there_is_no_such_thing\n")
    (tmp_path / "ends_at_once.py").write_text("raise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield "cases_of_a_user"
    sys.modules.pop("cases_of_a_user", None)


@pytest.mark.parametrize(
    ("case", "code", "shown"),
    [
        ("right", 0, "PASS: "),
        ("wrong", 1, "FAIL: params: 3 of 3 elements wrong"),
        ("raises", 1, "FAIL: params: 3 of 3 elements wrong"),
        ("unsure", 2, "INCONCLUSIVE: "),
        ("several", 1, "two: FAIL: "),
        ("nothing", 3, "returned None"),
        ("empty", 3, "it is to return a Report"),
        ("number", 3, "a function without arguments was required"),
        ("missing", 3, "has no 'missing'"),
        ("broken", 4, "RuntimeError: the case itself is broken"),
        ("leaves", 4, "ended the process by sys.exit(None)"),
        ("leaves_with", 4, "ended the process by sys.exit(1)"),
        ("stops", 130, "[interrupted]"),
        ("with_argument", 3, "is a function with arguments; a function without arguments was required"),
        ("later", 3, "returned a coroutine"),
    ],
)
def test_run(cases, capsys, case, code, shown):
    assert main(["run", f"{cases}:{case}"]) == code
    out, err = capsys.readouterr()
    assert shown in out + err


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("there_is_no_module:f", 3),
        ("no_colon", 3),
        (":f", 3),
        ("m:", 3),
        ("does_not_import:f", 4),
        ("ends_at_once:f", 4),
        ("./checks.py:f", 3),
        ("checks.py:f", 3),
    ],
)
def test_run_of_what_cannot_be_found(cases, capsys, name, code):
    assert main(["run", name]) == code
    assert capsys.readouterr().err


def test_show_prints_the_text_of_the_report(tmp_path, capsys):
    report = check_gradient(lambda x: float(np.sum(x**3)), lambda x: x**2, np.linspace(1, 2, 5))
    (tmp_path / "report.json").write_text(report.to_json())
    assert main(["show", str(tmp_path / "report.json"), "--html", str(tmp_path / "page.html")]) == 1
    assert capsys.readouterr().out == f"{report}\n"
    assert "<svg" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_show_reads_what_editors_put_before_the_text(tmp_path, capsys, encoding):
    report = check_gradient(lambda x: float(np.sum(x**3)), lambda x: x**2, np.linspace(1, 2, 5))
    (tmp_path / "report.json").write_text(report.to_json(), encoding=encoding)
    assert main(["show", str(tmp_path / "report.json")]) == 1 and capsys.readouterr().out == f"{report}\n"


def test_a_console_that_lacks_a_sign_gets_another(tmp_path):
    name = "σ"
    report = check_gradient(
        lambda p: float(np.sum(p[name] ** 3)), lambda p: {name: p[name]}, {name: np.linspace(1, 2, 5)}
    )
    (tmp_path / "report.json").write_text(report.to_json())
    command = [sys.executable, "-m", "gradcheck", "show", str(tmp_path / "report.json")]
    own = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=own)  # noqa: S603
    assert done.returncode == 1 and not done.stderr and "+-" in done.stdout and "\\u03c3" in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
def test_a_full_disk_is_no_verdict(tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        command = [sys.executable, "-m", "gradcheck", "demo"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603
    assert done.returncode == 3 and "cannot be printed" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
def test_a_reader_that_goes_early_loses_neither_the_page_nor_the_exit_code(tmp_path):
    report = check_gradient(lambda x: float(np.sum(x**3)), lambda x: x**2, np.linspace(1, 2, 5))
    (tmp_path / "report.json").write_text(report.to_json())
    reader, writer = os.pipe()
    os.close(reader)
    command = [
        sys.executable,
        "-m",
        "gradcheck",
        "show",
        str(tmp_path / "report.json"),
        "--html",
        str(tmp_path / "page.html"),
    ]
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603
    assert done.returncode == 1 and not done.stderr and (tmp_path / "page.html").read_text().endswith("</html>\n")


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"no json",
        b'{"a": 1}',
        b"\xff\xfe\x00",
    ],
)
def test_show_of_what_is_no_report(tmp_path, capsys, content):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    assert main(["show", str(path)]) == 3
    assert "report.json" in capsys.readouterr().err


def test_show_of_a_damaged_report(tmp_path, capsys):
    path = tmp_path / "report.json"
    report = check_gradient(lambda x: float(np.sum(x**3)), lambda x: x**2, np.linspace(1, 2, 5))
    whole = json.loads(report.to_json())
    path.write_text(json.dumps(whole))
    assert main(["show", str(path)]) == 1 and capsys.readouterr().out
    without_findings = {name: value for name, value in whole.items() if name != "findings"}
    for damage in ({"parameters": "params"}, {"verdict": "banana"}, {"parameters": {"params": {}}}, None):
        path.write_text(json.dumps(without_findings if damage is None else {**whole, **damage}))
        assert main(["show", str(path)]) == 3, damage
        assert "report.json" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["show"], ["run"], ["demo", "more"]])
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 3 and "usage: python -m gradcheck" in capsys.readouterr().err


def test_its_version_is_told(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert not caught.value.code and capsys.readouterr().out == f"gradcheck {__version__}\n"


def test_the_demonstration_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "gradcheck", "demo"], capture_output=True, text=True, check=True)
    assert "FAIL: kernel: 8 of 9 elements wrong; the gradient equals the true one rotated by 180 degrees" in done.stdout
