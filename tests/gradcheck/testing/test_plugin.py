"""The plugin, by pytest inside pytest: what users see, in the terminal, in files, and when something raises.

The file stands on its own, so that .ci/run can run it against the installed wheel, with the entry point.
"""

import importlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import gradcheck

pytest_plugins = ["pytester"]

IS_INSTALLED = bool(importlib.metadata.entry_points(group="pytest11", name="gradcheck"))

ROOT = Path(gradcheck.__file__).parent.parent

SUITE = """
import numpy as np
import pytest
from gradcheck import assert_gradient, assert_layer, check_gradient

X = np.array([0.5, -1.0, 2.0])

def cube(x):
    return np.sum(x**3)

def right(x):
    return 3 * x**2

def wrong(x):
    return 2 * x**2
"""


for _name in gradcheck.__all__:
    getattr(gradcheck, _name)
for _module in ("testing.recorder", "reports.report"):
    # pytester forgets the modules that a run within this process imports, and classes would be there twice.
    importlib.import_module(f"gradcheck.{_module}")


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test file: in this process, which is quicker, or in one of its own, as a user's command does."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "COV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def run(code, *arguments, ini="", prelude=SUITE, alone=False, workers=None):
        pytester.makepyfile(test_it=prelude + code)
        pytester.makeini(f"[pytest]\n{ini}")
        loading = () if IS_INSTALLED else ("-p", "gradcheck_pytest")
        distribution = ("-p", "no:xdist") if workers is None else ("-n", str(workers))
        start = pytester.runpytest_subprocess if alone else pytester.runpytest_inprocess
        return start(*loading, "-p", "no:cacheprovider", *distribution, *arguments)

    return run


def section(result):
    """The lines of the plugin's section in the terminal."""
    lines = [line.rstrip() for line in result.outlines]
    start = next(i for i, line in enumerate(lines) if line.strip("= ") == "gradcheck")
    end = next(i for i in range(start + 1, len(lines)) if lines[i].startswith("==="))
    return lines[start + 1 : end]


def section_or_none(result):
    return section(result) if any(line.strip("= ") == "gradcheck" for line in result.outlines) else None


def test_every_check_is_told_with_or_without_the_fixture(run):
    result = run("""
@pytest.fixture
def checked():
    assert_gradient(cube, right, X)

def test_plain():
    assert_gradient(cube, right, X)

def test_by_fixture(gradcheck, checked):
    gradcheck.assert_layer(lambda x: (2 * x, None), lambda dy, cache: 2 * dy, X)

def test_that_looks_at_the_report():
    assert not check_gradient(cube, wrong, X)

def test_without_a_check():
    pass
""")
    result.assert_outcomes(passed=4)
    head, first, *others = section(result)
    assert head.startswith("4 checks in 3 tests: 3 pass, 1 fail; ")
    assert first.startswith("  fail  params: relative error 0.33")
    assert first.endswith("test_it.py::test_that_looks_at_the_report  check_gradient(cube)")
    assert sum("check_gradient(cube)" in line for line in others) == 2
    assert sum("test_it.py::test_by_fixture  check_layer(<lambda>)" in line for line in others) == 1
    assert "not covered:" in others


def test_a_run_without_checks_has_no_section_and_loads_no_numpy(run):
    result = run("""
import sys

def test_nothing():
    assert not [name for name in sys.modules if name.split(".")[0] == "numpy"]
""", prelude="", alone=True)  # fmt: skip
    result.assert_outcomes(passed=1)
    assert section_or_none(result) is None


def test_pytest_does_not_compile_the_package_anew_to_explain_its_asserts(run):
    """It does so with all modules of a plugin's distribution: seconds in a fresh environment."""
    result = run("""
import gradcheck.checks.check

def test_loaders():
    for module in (gradcheck, gradcheck.checks.check):
        assert type(module.__loader__).__name__ == "SourceFileLoader"
""", prelude="", alone=True)  # fmt: skip
    result.assert_outcomes(passed=1)


def test_collecting_another_project_imports_no_numpy(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(test_other="def test_nothing(): pass")
    loading = [] if IS_INSTALLED else ["-p", "gradcheck_pytest"]
    # Other plugins that happen to be installed may import NumPy; what they do is not asked here.
    command = [sys.executable, "-X", "importtime", "-m", "pytest", "--co", *loading, "-p", "no:benchmark"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=pytester.path)  # noqa: S603
    assert "gradcheck.testing.recorder" in done.stderr and "test_nothing" in done.stdout
    assert "numpy" not in done.stderr


def test_a_failure_shows_our_report_and_the_users_lines_alone(run):
    result = run("""
def test_wrong():
    assert_gradient(cube, wrong, X)
""")
    result.assert_outcomes(failed=1)
    output = result.stdout.str()
    assert "FAIL: params: 3 of 3 elements wrong" in output
    assert re.search(r"^>\s+assert_gradient\(cube, wrong, X\)$", output, flags=re.MULTILINE)
    assert_no_frame_of_ours(output)


def assert_no_frame_of_ours(output):
    frames = [
        line for line in output.splitlines() if ".py:" in line and ("gradcheck/" in line or "gradcheck_pytest" in line)
    ]
    assert not frames


@pytest.mark.parametrize("style", ["long", "short", "native"])
def test_an_exception_of_the_users_function_shows_its_own_frames_alone(run, style):
    result = run(
        """
def helper(x):
    raise RuntimeError("from the depths of the user's code")

def raising(x):
    try:
        return helper(x)
    except RuntimeError as error:
        raise TypeError("the user's own") from error

def test_f():
    assert_gradient(raising, right, X)

def test_grad():
    assert_gradient(cube, raising, X)

def test_layer():
    assert_layer(lambda x: (2 * x, None), lambda dy, cache: helper(dy), X)

def test_argument():
    assert_gradient(cube, right, X, rtol=-1)
""",
        f"--tb={style}",
    )
    result.assert_outcomes(failed=4)
    output = result.stdout.str()
    assert output.count("from the depths of the user's code") >= 3
    assert "gradcheck was calling" in output  # the note that says where
    assert "InvalidArgument" in output and "rtol" in output
    in_tracebacks = output.split("short test summary")[0]
    frames = [line for line in in_tracebacks.splitlines() if "gradcheck/" in line or "gradcheck\\" in line]
    assert not frames, frames


def test_so_it_does_in_test_cases_of_unittest_and_fixtures(run):
    result = run(
        """
import unittest

def raising(x):
    raise RuntimeError("the user's own")

class TestIt(unittest.TestCase):
    def test_method(self):
        assert_gradient(raising, right, X)

    def test_parts(self):
        for grad in (right, raising):
            with self.subTest(grad=grad):
                assert_gradient(cube, grad, X)

class TestThere(unittest.IsolatedAsyncioTestCase):
    async def test_coroutine(self):
        assert_gradient(cube, raising, X)

class TestBefore(unittest.TestCase):
    def setUp(self):
        assert_gradient(raising, right, X)

    def test_nothing(self):
        pass

@pytest.fixture
def raised():
    assert_gradient(raising, right, X)

def test_fixture(raised):
    pass
""",
        "--tb=short",
    )
    output = result.stdout.str()
    assert output.count("RuntimeError: the user's own") >= 5
    assert_no_frame_of_ours(output)


def test_so_it_does_in_doctests(run):
    code = '''"""
>>> import numpy as np
>>> from gradcheck import assert_gradient
>>> assert_gradient(lambda x: np.sum(x**3), lambda x: x, np.ones(2))
>>> 1 + 1
3
"""'''
    for arguments in ((), ("--doctest-continue-on-failure",)):
        output = run(code, "--doctest-modules", *arguments, prelude="").stdout.str()
        assert "GradientError: FAIL" in output
        assert "assertions.py" not in output and "report.py" not in output


def test_full_trace_shows_everything(run):
    result = run(
        """
def test_argument():
    assert_gradient(cube, right, X, rtol=-1)
""",
        "--full-trace",
    )
    assert "options.py" in result.stdout.str()


UNDECIDED = """
def test_it(gradcheck):
    gradcheck.assert_gradient(cube, right, X)
    report = gradcheck.check_gradient(cube, right, X, max_evaluations=3)
    assert report.verdict == "inconclusive"
    report.assert_ok()
    print("went on")
"""


def test_a_test_that_is_skipped_is_told_at_the_users_line(run):
    result = run("""
import unittest
class TestIt(unittest.TestCase):
    def test_it(self):
        assert_gradient(np.round, np.ones_like, 0.2)
""", "-rs", ini="gradcheck_inconclusive = skip")  # fmt: skip
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED [[]1[]] test_it.py:*: gradcheck cannot tell: *"])


@pytest.mark.parametrize(
    ("policy", "outcomes"),
    [
        ("", {"failed": 1}),
        ("fail", {"failed": 1}),
        ("skip", {"skipped": 1}),
        ("xfail", {"xfailed": 1}),
        ("pass", {"passed": 1}),
    ],
)
def test_what_becomes_of_an_inconclusive_check(run, policy, outcomes):
    result = run(UNDECIDED, "-rsx", ini=f"gradcheck_inconclusive = {policy}" if policy else "")
    result.assert_outcomes(**outcomes)
    assert "1 inconclusive" in section(result)[0]
    if policy in {"skip", "xfail"}:
        result.stdout.fnmatch_lines(["*gradcheck cannot tell: *"])
    if policy == "skip":
        result.stdout.fnmatch_lines(["SKIPPED*test_it.py*"])


def test_a_wrong_gradient_fails_under_every_policy(run):
    result = run(
        """
@pytest.mark.parametrize("policy", ["skip", "xfail", "pass"])
def test_wrong(request, policy):
    assert_gradient(cube, wrong, X)
""",
        ini="gradcheck_inconclusive = pass",
    )
    result.assert_outcomes(failed=3)


def test_the_marker_comes_before_the_ini_and_the_call_before_the_marker(run):
    result = run(
        UNDECIDED.replace(
            "def test_it",
            """
@pytest.mark.gradcheck(max_evaluations=12)
class TestMarked:
    def test_class(self):
        assert check_gradient(cube, right, X).evaluations <= 12

    @pytest.mark.gradcheck(max_evaluations=9, rtol=1e-3)
    def test_method(self):
        assert check_gradient(cube, right, X).evaluations <= 9
        assert check_gradient(cube, right, X, max_evaluations=1000).evaluations > 12

    @pytest.mark.gradcheck(inconclusive="skip")
    def test_policy(self):
        assert_gradient(cube, right, X)

def test_ini():
    report = check_gradient(cube, right, X)
    assert report.seed == "7"

@pytest.mark.gradcheck(inconclusive="skip")
def test_it""",
        ),
        ini="gradcheck_inconclusive = fail\ngradcheck_max_evaluations = 100000\ngradcheck_seed = 7",
    )
    assert result.parseoutcomes()["passed"] == 3
    assert result.parseoutcomes()["skipped"] == 2


@pytest.mark.parametrize(
    ("ini", "message"),
    [
        (
            "gradcheck_inconclusive = maybe",
            "*gradcheck_inconclusive: 'maybe' is not known; it is one of fail, skip, xfail, pass*",
        ),
        ("gradcheck_max_evaluations = many", "*gradcheck_max_evaluations = many must be a whole number*"),
        ("gradcheck_seed = -1", "*gradcheck_seed = -1 must be a whole number*"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_a_sentence(run, ini, message):
    result = run("", ini=ini)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


SENSELESS = """
@pytest.mark.gradcheck(rtoll=1)
def test_x(): pass

@pytest.mark.gradcheck(inconclusive='no')
def test_y(): pass

def test_z(): pass
"""


def assert_markers_are_refused(output):
    assert "test_x: @pytest.mark.gradcheck(rtoll=) is not understood; it takes rtol, " in output
    assert "test_y: @pytest.mark.gradcheck(inconclusive=...): 'no' is not known; it is one of" in output
    assert_no_frame_of_ours(output)


def test_a_marker_that_makes_no_sense_is_an_error_of_its_test(run):
    result = run(SENSELESS)
    result.assert_outcomes(errors=2, passed=1)
    assert_markers_are_refused(result.stdout.str())


SWEEP = """
@pytest.mark.parametrize("n", range(1, 22))
def test_sweep(n):
    x = np.linspace(0.5, 2.0, n)
    check_gradient(cube, right if n % 7 else lambda x: (1 + 0.01 * n) * right(x), x)
"""


def test_a_sweep_is_one_table_worst_first(run):
    result = run(SWEEP)
    result.assert_outcomes(passed=21)
    head, *rows = section(result)
    assert head.startswith("21 checks in 21 tests: 18 pass, 3 fail")
    wrong = [row.split()[-2] for row in rows if row.startswith("  fail")]
    assert wrong == [f"test_it.py::test_sweep[{n}]" for n in (21, 14, 7)]
    assert "  and 11 pass more; -v shows all" in rows
    assert sum(row.startswith(("  pass", "  fail")) for row in section(run(SWEEP, "-v"))) == 21


def without_seconds(value):
    if isinstance(value, dict):
        return {name: without_seconds(entry) for name, entry in value.items() if name != "seconds"}
    return [without_seconds(entry) for entry in value] if isinstance(value, list) else value


SHARED = """
@pytest.fixture(scope="module", params=["a", "b"])
def checked(request): return check_gradient(cube, right, X)

@pytest.mark.parametrize("n", range(4))
def test_first(checked, n): assert checked

class TestSecond:
    def test_second(self, checked): assert checked
"""


def test_workers_change_nothing(run, pytester):
    """The files are the same with two workers and without, but for the seconds; each worker makes the shared fixtures."""
    pytest.importorskip("xdist")
    documents, sections = [], []
    for number in (0, 2):
        path = pytester.path / "reports" / f"{number}.json"
        result = run(SWEEP + SHARED + SENSELESS, f"--gradcheck-json={path}", workers=number, alone=number > 0)
        result.assert_outcomes(passed=32, errors=2)
        assert_markers_are_refused(result.stdout.str())
        documents.append(json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail))
        sections.append(section(result))
    assert without_seconds(documents[0]) == without_seconds(documents[1])
    assert sections[0] == sections[1]
    first = documents[0]["checks"][0]
    assert documents[0]["schema"] == 1 and len(documents[0]["checks"]) == 23
    assert set(first) == {"test", "name", "verdict", "seed", "report"}
    assert first["test"] == "test_it.py::test_sweep[1]" and first["name"] == "check_gradient(cube)"
    assert first["report"]["verdict"] == first["verdict"] == "pass"


def test_the_files_that_are_asked_for(run, pytester, monkeypatch):
    step = pytester.path / "step.md"
    step.write_text("from the step before\n", encoding="utf-8")
    code = """
def test_right():
    assert_gradient(cube, right, X)

def test_wrong():
    assert_gradient(cube, wrong, X)
    """
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    run(code, "--gradcheck-summary", "--gradcheck-html=page.html", "--junitxml=junit.xml")
    text = step.read_text(encoding="utf-8")
    assert text.startswith("from the step before\n## gradcheck\n\n2 checks in 2 tests: 1 pass, 1 fail; ")
    assert text.index(
        "| fail | params: relative error 0.33 | `test_it.py::test_wrong` | `check_gradient(cube)` |"
    ) < text.index("| pass |")
    assert r"### test\_it.py::test\_wrong, check\_gradient(cube)" in text and "3 of 3 elements wrong" in text
    page = (pytester.path / "page.html").read_text(encoding="utf-8")
    assert page.index("test_it.py::test_wrong") < page.index("test_it.py::test_right")
    cases = ET.parse(pytester.path / "junit.xml").getroot().iter("testcase")  # noqa: S314 - written just now
    said = {
        case.get("name"): {entry.get("name"): entry.get("value") for entry in case.iter("property")} for case in cases
    }
    assert said["test_wrong"]["gradcheck.verdict"] == "fail"
    assert said["test_wrong"]["gradcheck.worst"] == "params: relative error 0.33"
    assert int(said["test_right"]["gradcheck.evaluations"]) > 6

    run(code, "--gradcheck-summary=own.md")
    assert (pytester.path / "own.md").read_text(encoding="utf-8").startswith("## gradcheck")


def test_a_file_that_cannot_be_written_is_told_and_the_results_stay(run, pytester):
    (pytester.path / "file").write_text("", encoding="utf-8")
    result = run(
        "def test_it(): assert_gradient(cube, right, X)", "--gradcheck-json=file/a.json", "--gradcheck-html=b.html"
    )
    result.assert_outcomes(passed=1)
    told, count = section(result)[:2]
    assert told.startswith("file/a.json cannot be written: ") and count.startswith("1 check in 1 test")
    assert result.ret == 1 and (pytester.path / "b.html").is_file()
    for option in ("json", "html"):
        refused = run("", f"--gradcheck-{option}=.")
        refused.stderr.fnmatch_lines([f"*--gradcheck-{option}=. is a folder; give the path of a file*"])
        assert refused.ret == 4


RERUNS = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for _ in range(3):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            item.ihook.pytest_runtest_logreport(report=report)
    return True
"""


def test_a_test_that_runs_again_tells_each_check_once(run, pytester):
    """As pytest-rerunfailures lets it, within one protocol."""
    pytester.makeconftest(RERUNS)
    result = run("def test_it(): assert_gradient(cube, right, X)", "--junitxml=junit.xml", alone=True)
    assert section(result)[0].startswith("3 checks in 1 test: 3 pass; ")
    written = (pytester.path / "junit.xml").read_text(encoding="utf-8")
    assert written.count('"gradcheck.verdict"') == written.count("<testcase")


def test_the_fixture_serves_a_property_test(run):
    pytest.importorskip("hypothesis")
    result = run("""
from hypothesis import given, settings, strategies as st

@settings(max_examples=3, database=None)
@given(factor=st.integers(1, 3))
def test_it(gradcheck, factor):
    gradcheck.assert_gradient(cube, right, factor * X)
""")
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", [("--gradcheck-summary",), ("--gradcheck-summary", "test_it.py")])
def test_a_summary_that_has_no_place_is_refused(run, arguments):
    result = run("", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--gradcheck-summary=PATH*"])


def test_checks_made_in_threads_and_inside_others_are_told_once(run):
    result = run("""
from concurrent.futures import ThreadPoolExecutor

def test_threads():
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(lambda _: check_gradient(cube, right, X), range(2)))

def test_nested():
    def f(x):
        assert check_gradient(cube, right, X)
        return cube(x)

    assert check_gradient(f, right, X)
""")
    result.assert_outcomes(passed=2)
    assert section(result)[0].startswith("3 checks in 2 tests: 3 pass; ")


def test_under_given_an_inconclusive_example_is_rejected(run):
    pytest.importorskip("hypothesis")
    code = """
from hypothesis import given, settings, strategies as st

SEEN = []

@settings(max_examples=10, derandomize=True, database=None)
@given(st.booleans(), st.integers(0, 1000))
def test_sometimes(is_short, n):
    assert_gradient(cube, right, X, max_evaluations=3 if is_short else None)
    assert not is_short
    SEEN.append(n)

def test_that_the_others_were_checked():
    assert len(SEEN) >= 10
"""
    result = run(code, ini="gradcheck_inconclusive = skip")
    result.assert_outcomes(passed=2)
    rows = [line for line in section(result) if "test_sometimes  check_gradient(cube), " in line]
    assert len(rows) == 2 and all(row.endswith(" times") for row in rows)  # one for each verdict
    assert run(code).parseoutcomes()["failed"] >= 1


PROPERTY = """
import numpy as np
from hypothesis import given, settings, strategies as st
from gradcheck import assert_layer
from gradcheck.strategies import smooth_arrays

def forward(x, w):
    return np.convolve(x, w, mode="valid"), (x, w)

def backward(dy, cache):
    x, w = cache
    dw = np.array([x[i : i + dy.size] @ dy for i in range(w.size)])  # in reverse order
    return np.convolve(dy, w[::-1]), dw

sizes = st.tuples(st.integers(1, 5), st.integers(0, 55))

@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(sizes.flatmap(lambda n: st.tuples(smooth_arrays(n[0] + n[1]), smooth_arrays(n[0]))))
def test_convolution(operands):
    assert_layer(forward, backward, *operands)
"""


def test_a_red_property_test_is_quick_shows_the_smallest_case_and_none_of_our_lines(run):
    """With the profile it makes a few dozen checks; tracing them for an explanation took half a minute without."""
    pytest.importorskip("hypothesis")
    result = run(PROPERTY, ini="gradcheck_hypothesis_profile = true", prelude="", alone=True)
    result.assert_outcomes(failed=1)
    output = result.stdout.str()
    assert "the gradient equals the true one in reverse order" in output
    assert "Explanation:" not in output
    assert_no_frame_of_ours(output)
    shown = re.search(r"operands=\(array\(\[(.*?)\]\), array\(\[(.*?)\]\)\)", output)
    assert [len(part.split(",")) for part in shown.groups()] == [2, 2]
    assert int(section(result)[0].split()[0]) <= 60


def test_a_wrong_gradient_does_not_shrink_to_one_that_cannot_be_judged(run):
    """The simplest operands are zeros, at which nothing of a product can be seen: that is told beside it."""
    pytest.importorskip("hypothesis")
    drawn = "arrays(float, n[0] + n[1], elements=st.floats(-3, 3)), arrays(float, n[0], elements=st.floats(-3, 3))"
    code = PROPERTY.replace("smooth_arrays(n[0] + n[1]), smooth_arrays(n[0])", drawn)
    code = code.replace("gradcheck.strategies import smooth_arrays", "hypothesis.extra.numpy import arrays")
    code = code.replace("st.integers(0, 55)", "st.integers(0, 3)")
    code = code.replace("max_examples=100", "max_examples=20, phases=(Phase.generate, Phase.shrink)")
    result = run(code.replace("import given", "import Phase, given"), prelude="")
    result.assert_outcomes(failed=1)
    output = result.stdout.str()
    told = re.findall(r"GradientError: (FAIL|INCONCLUSIVE)", output)
    assert told == ["FAIL", "INCONCLUSIVE"]
    assert re.search(r"operands=\(array\(\[.*?,.*?\]\), array\(\[.*?,.*?\]\)\)", output)
    assert_no_frame_of_ours(output)
