"""``--gradcheck-mutate``, by pytest inside pytest: which tests are run again, what counts, what is said and left behind."""

import functools
import importlib.metadata
import re
import shutil
from pathlib import Path

import pytest

import gradcheck.testing.calls
import gradcheck.testing.mutation
from gradcheck.mutants import mutants_of

pytest_plugins = ["pytester"]

IS_INSTALLED = bool(importlib.metadata.entry_points(group="pytest11", name="gradcheck"))

EXAMPLE = Path(__file__).parents[3] / "examples" / "wrong_gradients"

CUBES = """
import functools
import numpy as np

def slope(x):
    return 3 * x**2

class Cube:
    @staticmethod
    def slope(x):
        return 3 * x**2

    @classmethod
    def of_class(cls, x):
        return cls.factor * x**2

    def of_object(self, x):
        return self.factor * x**2

    def __call__(self, x):
        return self.of_object(x)

    factor = 3

    class Inner:
        def of_object(self, x):
            return 3 * x**2

def logged(f):
    calls = []
    @functools.wraps(f)
    def inner(*args, **kwargs):
        calls.append(args)
        return f(*args, **kwargs)
    return inner

@logged
def decorated(x):
    return 3 * x**2

PARTIAL = functools.partial(slope)
CALLABLE = Cube()
ALMOST = lambda x: slope(x)
NUMBER = 7
"""

STRICT = """
import numpy as np
import pytest
import cubes
from cubes import slope

X = np.array([0.5, -1.0, 0.0, 2.0])

def judge(slope):
    x = X.copy()
    found, again = slope(x), slope(2 * x)
    np.testing.assert_allclose(found, 3 * X**2, rtol=1e-9)
    np.testing.assert_allclose(again, 12 * X**2, rtol=1e-9)
    np.testing.assert_array_equal(x, X)
    assert found.dtype == X.dtype
    return found
"""


@pytest.fixture
def mutate(pytester, monkeypatch):
    """Run a suite beside the module ``cubes`` in this process, and return the result."""
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini("[pytest]")
    pytester.makepyfile(cubes=CUBES)
    pytester.syspathinsert()

    def mutate(code, *arguments, target="cubes:slope", workers=None):
        pytester.makepyfile(test_it=code)
        distribution = ("-p", "no:xdist") if workers is None else ("-n", str(workers))
        loading = () if IS_INSTALLED else ("-p", "gradcheck_pytest")
        options = (*loading, "-p", "no:cacheprovider", *distribution, *arguments)
        return pytester.runpytest_inprocess(*options, f"--gradcheck-mutate={target}")

    return mutate


@pytest.fixture
def few(monkeypatch):
    """Plant three bugs alone, where it does not matter which."""
    chosen = functools.partial(mutants_of, mutants=["sign flipped", "dropped", "stale"])
    monkeypatch.setattr(gradcheck.testing.calls, "mutants_of", chosen)


def counted(result):
    """How many of how many pass, as the run says."""
    found = re.search(r"^(\d+) of (\d+) wrong gradients pass your tests of ", result.stdout.str(), flags=re.MULTILINE)
    assert found, result.stdout.str()
    return int(found[1]), int(found[2])


def test_a_strict_test_lets_none_pass(mutate):
    result = mutate(STRICT + "def test_it(): judge(slope)")
    survived, count = counted(result)
    assert survived == 0 and count >= 20
    assert result.ret == 0


def test_a_weak_test_lets_many_pass_and_is_told_what_would_catch_the_first(mutate):
    code = STRICT + "def test_it(): assert np.all(slope(X) >= 0)"
    result = mutate(code)
    survived, count = counted(result)
    assert 10 < survived < count and result.ret == 1
    lines = result.outlines[
        result.outlines.index(f"{survived} of {count} wrong gradients pass your tests of cubes:slope") :
    ]
    assert lines[1] == "  assert that the gradient of every parameter is compared:"
    assert lines[2].startswith("    dropped: ") and lines[4].startswith("    doubled: ")
    assert lines[3].startswith("  compare the numbers with a difference quotient")
    names = [line for line in lines if line.startswith("    ")]
    assert len(names) == 3 and lines[lines.index(names[-1]) + 1] == f"  and {survived - 3} more; -v shows all"
    everything = mutate(code, "-v").outlines
    told = everything[everything.index(lines[0]) + 1 :]
    assert len([line for line in told if line.startswith("    ")]) == survived
    remedies = [line for line in told if line.startswith("  ") and line.endswith(":")]
    assert 1 < len(remedies) == len(set(remedies))
    assert not any("-v shows all" in line for line in everything)


HOLDERS = {
    "a name": "def test_it(): judge(slope)",
    "a module": "def test_it(): judge(cubes.slope)",
    "a caller": "def test_it(): judge(cubes.ALMOST)",
    "a default argument": "def test_it(found=slope): judge(found)",
    "a closure": "def held(f): return lambda x: f(x)\nheld = held(slope)\ndef test_it(): judge(held)",
    "a table": "TABLE = {'cube': (slope, 1)}\ndef test_it(): judge(TABLE['cube'][0])",
    "a partial": "from functools import partial\nP = partial(slope)\ndef test_it(): judge(P)",
    "a class": "class TestIt:\n    slope = staticmethod(slope)\n    def test_it(self): judge(self.slope)",
    "a TestCase": "import unittest\nclass TestIt(unittest.TestCase):\n    def test_it(self): judge(slope)",
    "the test itself": "def test_it():\n    from cubes import slope as found\n    judge(found)",
    "a parametrised class": (
        "@pytest.mark.parametrize('k', [1, 2])\nclass TestIt:\n    def test_it(self, k):\n        from cubes import slope\n        judge(slope)"
    ),
    "a module's setup": (
        "def setup_module(module): module.FOUND = judge(slope), slope(X)\n"
        "def test_first(): pass\ndef test_it(): np.testing.assert_allclose(FOUND[1], 3 * X**2, rtol=1e-9)"
    ),
    "a class's setup": (
        "import unittest\nclass TestIt(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls): cls.found = slope(X), slope(2 * X)\n"
        "    def test_first(self): pass\n    def test_it(self): np.testing.assert_allclose(self.found[1], 12 * X**2, rtol=1e-9)"
    ),
    "a fixture that is asked for by name": (
        "@pytest.fixture(scope='session')\ndef found(): return slope(X), slope(2 * X)\n"
        "@pytest.fixture\ndef again(found): return found[1]\n"
        "def test_first(found): pass\ndef test_it(again): np.testing.assert_allclose(again, 12 * X**2, rtol=1e-9)"
    ),
    "a parameter": "@pytest.mark.parametrize('f', [slope])\ndef test_it(f): judge(f)",
    "a fixture of the module": (
        "@pytest.fixture(scope='module')\ndef found(): return judge(slope)\n"
        "def test_first(found): pass\ndef test_it(found): assert found[2] == 0"
    ),
}  # fmt: skip


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("holder", HOLDERS)
def test_it_does_not_matter_who_holds_the_function(mutate, holder):
    assert counted(mutate(STRICT + HOLDERS[holder])) == (0, 3)


TARGETS = {
    "Cube.slope": "Cube.slope",
    "Cube.of_class": "Cube.of_class",
    "Cube.of_object": "Cube().of_object",
    "CALLABLE.of_object": "Cube().of_object",
    "Cube.__call__": "CALLABLE",
    "Cube.Inner.of_object": "Cube.Inner().of_object",
    "decorated": "decorated",
    "PARTIAL": "PARTIAL",
}
"""What is named on the command line -> what the test calls."""


@pytest.mark.parametrize("target", TARGETS)
def test_methods_and_what_is_wrapped_get_the_bugs_of_a_plain_function(mutate, target):
    """The object of a method is no parameter: what depends on the parameter is planted beside it."""
    survived, count = counted(
        mutate(STRICT + f"def test_it(): judge(cubes.{TARGETS[target]})", target=f"cubes:{target}")
    )
    assert survived == 0
    assert count == counted(mutate(STRICT + "def test_it(): judge(slope)"))[1]


@pytest.mark.usefixtures("few")
def test_an_argument_by_name_is_moved_to_another_point(mutate):
    """A stale gradient shows at a second point alone, which the test does not have."""
    result = mutate(STRICT + "def test_it(): np.testing.assert_allclose(slope(x=X), 3 * X**2, rtol=1e-9)")
    assert counted(result) == (1, 3)


@pytest.mark.usefixtures("few")
def test_all_tests_that_use_a_fixture_that_calls_it_are_run_again(mutate):
    result = mutate(STRICT + """
@pytest.fixture(scope="module")
def found():
    x = X.copy()
    return slope(x), slope(2 * x), x

def test_first(found): pass

def test_second(found):
    np.testing.assert_allclose(found[0], 3 * X**2, rtol=1e-9)
    np.testing.assert_allclose(found[1], 12 * X**2, rtol=1e-9)
    np.testing.assert_array_equal(found[2], X)
    assert found[0].dtype == X.dtype

def test_other():
    print("was not run again")
""")  # fmt: skip
    result.stdout.fnmatch_lines(["gradcheck: tests that depend on cubes:slope: 2; *"])
    assert counted(result)[0] == 0


def test_a_bug_that_shows_at_other_points_only_is_left_out(mutate):
    positive = STRICT.replace("-1.0, 0.0, 2.0", "1.0, 2.0, 3.0")
    result = mutate(positive + "def test_it(): judge(slope)")
    result.stdout.re_match_lines([r"\d more change nothing at the points of your tests and were left out"])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def test_it(): assert slope(X)[0] == 1", "the suite is red, with the function as it is (1 failed); mend that first."),
        ("def test_it(): assert X[0] == 0.5", "no test calls it *"),
        ("def test_it(): slope(2)", "it returned no array of floating-point numbers *"),
        ("CALLED = []\ndef test_it():\n    slope(X)\n    assert not CALLED\n    CALLED.append(1)", "its tests fail when they run twice *"),
        ("KEPT = []\ndef test_it():\n    if not KEPT: KEPT.append(slope(X))", "its tests do not call it when they run a second time*"),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_said(mutate, code, message):
    result = mutate(STRICT + code)
    result.stdout.fnmatch_lines([f"cubes:slope is not scored: {message}"])
    assert result.ret == 1
    assert " wrong gradients pass" not in result.stdout.str()


def test_a_test_that_is_never_collected_is_no_test(mutate):
    """autograd#412: a decorator that returned nothing hid a test, and with it a wrong sign, for years."""
    result = mutate(STRICT + """
def twice(function):
    def both():
        function()
        function()

@twice
def test_it(): judge(slope)

def test_other(): assert X[0] == 0.5
""")  # fmt: skip
    result.stdout.fnmatch_lines(["cubes:slope is not scored: no test calls it *", "*1 passed*"])
    assert result.ret == 1


def test_a_red_suite_shows_the_users_lines_alone(mutate, pytester):
    pytester.makepyfile(wrong="def slope(x):\n    raise ZeroDivisionError('of the user')")
    result = mutate("import wrong\ndef test_it(): wrong.slope(1)", target="wrong:slope")
    assert result.ret == 1
    frames = [line for line in result.outlines if re.match(r"\S+\.py:\d+: ", line)]
    assert [frame.split(":")[0] for frame in frames] == ["test_it.py", "wrong.py"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("cubes.slope", "*names no function; write package.module:function*"),
        ("nowhere:slope", "*importing nowhere raised ModuleNotFoundError*"),
        ("cubes:slop", "*has no attribute 'slop'*"),
        ("cubes:Cube", "*is a type; a function written in Python was required, or a method such as Class.__call__*"),
        ("cubes:NUMBER", "*is an int; a function written in Python was required*"),
        ("numpy:sin", "*is a ufunc; a function written in Python was required*"),
    ],
)
def test_a_target_that_is_none_is_refused(mutate, target, message):
    result = mutate(STRICT + "def test_it(): judge(slope)", target=target)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_what_jax_made_of_a_function_with_a_custom_backward_is_refused(mutate, pytester):
    """What is mutated would be its value, and called a gradient."""
    pytester.makepyfile(vjps="""
import functools

class custom_vjp:
    def __init__(self, function): functools.update_wrapper(self, function)
    def __call__(self, x): return self.__wrapped__(x)
    def defvjp(self, forward, backward): pass

@custom_vjp
def cube(x): return x**3
""")  # fmt: skip
    result = mutate(STRICT + "def test_it(): judge(slope)", target="vjps:cube")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*name the backward that was given to its defvjp*"])


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("given_up", ["pytest.skip('x')", "pytest.xfail('x')"])
def test_a_test_that_is_skipped_has_noticed_nothing(mutate, given_up):
    """As for `mutation_score`."""
    code = f"def test_it():\n    if not np.allclose(slope(X), 3 * X**2):\n        {given_up}"
    assert counted(mutate(STRICT + code)) == (3, 3)


UNSTEADY = """
import itertools
TIMES = itertools.count(1)
def test_first():
    found = slope(X)
    assert next(TIMES) % 5
"""


def test_a_test_that_fails_at_times_has_noticed_nothing(mutate):
    """It goes on with those that follow, and says so."""
    result = mutate(STRICT + UNSTEADY + "def test_it(): assert np.all(slope(X) >= 0)", "-v")
    survived, count = counted(result)
    steady = counted(mutate(STRICT + "def test_it(): assert np.all(slope(X) >= 0)"))
    assert (survived, count) == steady
    result.stdout.fnmatch_lines(["test_it.py::test_first failed, and passed with the same gradient: fix its random *"])


def test_a_gradient_that_no_test_looks_at_is_told_first(mutate, pytester):
    pytester.makepyfile(pairs="def both(dy, x, w):\n    return dy * w, dy * x\n")
    result = mutate(
        STRICT + "import pairs\ndef test_it(): np.testing.assert_allclose(pairs.both(X, 2 * X, 3 * X)[0], 3 * X**2, rtol=1e-9)",
        target="pairs:both",
    )  # fmt: skip
    told = result.outlines[next(i for i, line in enumerate(result.outlines) if "pass your tests of" in line) :]
    assert told[1:3] == ["  assert that the gradient of every parameter is compared:", "    dropped: [1]"]
    names = [line.strip() for line in told if line.startswith("    ")]
    assert len(names) == 3 and names[1].endswith(": [0]")


@pytest.mark.usefixtures("few")
def test_nothing_is_left_behind(mutate, pytester):
    """Neither in files, such as failing examples of Hypothesis, nor in the function."""
    code = (
        STRICT
        + """
import inspect
from hypothesis import given, settings, strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

@settings(max_examples=5, derandomize=False, database=DirectoryBasedExampleDatabase("kept"))
@given(st.floats(-3, 3))
def test_property(x):
    np.testing.assert_allclose(slope(np.array([x, 1.0])), [3 * x**2, 3.0], rtol=1e-9)

def test_it():
    judge(slope)
    assert list(inspect.signature(slope).parameters) == ["x"]
"""
    )
    pytest.importorskip("hypothesis")
    pytester.makeconftest("""
import cubes
CODE = cubes.slope.__code__

def pytest_unconfigure():
    assert cubes.slope.__code__ is CODE and not cubes.slope.__dict__
    print("as it was")
""")
    result = mutate(code)
    assert counted(result)[0] == 0
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*2 passed*"])
    assert "as it was" in result.stdout.str()
    files = {path.name for path in pytester.path.iterdir()} - {".hypothesis", ".benchmarks", "__pycache__"}
    assert files == {"conftest.py", "cubes.py", "test_it.py", "tox.ini"}


def test_what_a_bug_writes_into_is_as_it_was_for_the_next_test(mutate):
    """Arrays of a module are shared by its tests: one bug that changes its argument would make every other one look caught."""
    code = (
        STRICT
        + """
def test_it():
    np.testing.assert_allclose(slope(X), [0.75, 3.0, 0.0, 12.0], rtol=1e-9)
"""
    )
    told = mutate(code, "-v").outlines
    below, survived = "", set()
    for line in told:
        below = line if re.match("  \\S", line) else below
        if line.startswith("    ") and below.startswith(("  call twice in the same test", "  compare the arg")):
            survived.add(line.strip())
    assert survived == {"stale", "accumulated: params", "buffer reused: params", "argument changed"}


SUBTESTS = {
    "a TestCase": """
import unittest
class TestIt(unittest.TestCase):
    def test_it(self):
        for k in (1, 2):
            with self.subTest(k):
                np.testing.assert_allclose(slope(k * X), 3 * (k * X)**2, rtol=1e-9)
""",
    "the fixture": """
def test_it(subtests):
    for k in (1, 2):
        with subtests.test(k):
            np.testing.assert_allclose(slope(k * X), 3 * (k * X)**2, rtol=1e-9)
""",
}


@pytest.mark.parametrize("kind", SUBTESTS)
def test_a_subtest_that_fails_notices_a_bug_and_is_not_told(mutate, kind):
    if kind == "the fixture" and not hasattr(pytest, "Subtests"):
        pytest.skip("pytest 9 has it")
    result = mutate(STRICT + SUBTESTS[kind], "--maxfail=1", "--pdb")
    assert counted(result)[0] < 5
    assert "SUBFAIL" not in result.stdout.str() and "(Pdb)" not in result.stdout.str()
    assert not re.search(r"\d failed", result.stdout.str())


def test_loops_that_a_wrong_gradient_keeps_from_ending_are_ended(mutate, monkeypatch):
    monkeypatch.setattr(gradcheck.testing.mutation, "LEAST_PATIENCE", 0.1)
    result = mutate(STRICT + """
def test_descent():
    x = X.copy()
    while np.max(np.abs(slope(x))) > 0.1:
        with np.errstate(all="ignore"):
            x = np.clip(x - 0.1 * np.sign(x) * slope(x), -3, 3)
""")  # fmt: skip
    survived, count = counted(result)
    assert 0 < survived < count


def test_time_is_bounded(mutate):
    result = mutate(STRICT + "def test_it(): judge(slope)", "--gradcheck-mutate-seconds=1e-9")
    result.stdout.fnmatch_lines(
        ["*not scored: there was no time to try a wrong gradient; raise --gradcheck-mutate-seconds."]
    )
    assert result.ret == 1


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_time_that_is_none_is_refused(mutate, seconds):
    result = mutate(STRICT + "def test_it(): judge(slope)", f"--gradcheck-mutate-seconds={seconds}")
    result.stderr.fnmatch_lines([f"*--gradcheck-mutate-seconds={seconds} must be a finite positive number*"])
    assert result.ret == 4


@pytest.mark.usefixtures("few")
def test_workers_are_not_used(mutate):
    pytest.importorskip("xdist")
    assert counted(mutate(STRICT + "def test_it(): judge(slope)", workers=2))[0] == 0


def test_collecting_only_plants_nothing(mutate):
    result = mutate(STRICT + "def test_it(): judge(slope)", "--collect-only")
    assert result.ret == 0 and "wrong gradients" not in result.stdout.str()


@pytest.mark.parametrize("tests", ["before", "after"])
def test_the_example_project_is_as_its_page_says(mutate, pytester, tests):
    shutil.copy(EXAMPLE / "layers.py", pytester.path / "layers.py")
    result = mutate((EXAMPLE / tests / "test_layers.py").read_text(encoding="utf-8"), target="layers:dense_backward")
    survived, count = counted(result)
    assert result.ret == (survived > 0) == (tests == "before")
    page = (EXAMPLE.parents[1] / "docs" / "how-to" / "pytest.md").read_text(encoding="utf-8")
    assert f"\n{survived} of {count} wrong gradients pass" in page or f"`{survived} of {count}`" in page
