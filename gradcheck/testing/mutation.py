"""What ``pytest --gradcheck-mutate=package.module:function`` does: count the wrong gradients that the tests let pass.

The suite runs once as it is, and which tests call the function is noted. Then those run again for each bug of the catalogue
(`gradcheck.mutants`) in it, until one fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import FunctionType
from typing import Any

import pytest

from gradcheck.errors import InvalidArgument
from gradcheck.mutants import Mutant, Mutated, wrap
from gradcheck.mutants.catalogue import by_remedy
from gradcheck.testing.calls import Calls
from gradcheck.testing.planting import copy_of, find, replaced
from gradcheck.testing.rerun import Rerun, rerunning

__all__ = ["Mutation", "Score", "lines"]

PATIENCE, LEAST_PATIENCE = 10.0, 1.0
"""A wrong gradient may keep a loop from ending. Tests that take ten times as long as with the right one, and a second
more, have noticed it."""

MOST_SURVIVORS = 3
"""Wrong gradients that are listed without -v."""


class OutOfTimeError(BaseException):
    """Ends whatever loop calls the function; no `Exception`, which that loop may catch."""


@dataclass(frozen=True, slots=True)
class Score:
    """What became of the bugs.

    Attributes
    ----------
    caught, survived, equivalent : tuple of Mutant
        Those that a test notices, those that none does, and those that change nothing at the points of the tests.
    untried : int
        For how many there was no time.
    unsteady : tuple of str
        Tests that failed with a wrong gradient, and passed with the same one. It counts as survived.
    """

    caught: tuple[Mutant, ...]
    survived: tuple[Mutant, ...]
    equivalent: tuple[Mutant, ...]
    untried: int
    unsteady: tuple[str, ...] = ()


class Mutation:
    """The hooks of a run that plants bugs.

    Attributes
    ----------
    said : str
        Why nothing is scored; empty where it is.
    score : Score or None
    """

    def __init__(self, config: pytest.Config, target: str, seconds: float, seed: int) -> None:
        if not 0 < seconds < math.inf:
            raise pytest.UsageError(f"--gradcheck-mutate-seconds={seconds:g} must be a finite positive number")
        self.config = config
        self.target = target
        self.seconds = seconds
        self.seed = seed
        self.said = ""
        self.score: Score | None = None
        self.calls: Calls | None = None
        self.callers: set[pytest.Item] = set()
        self.fixtures: set[str] = set()
        config.option.dist = "no"  # the tests run again in one process, whatever pytest-xdist was told in the ini

    # ---- while the suite runs as it is -------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note which test calls the function."""
        before = self._count()
        result = yield
        if self._count() > before:
            self.callers.add(item)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """Note which fixture calls it: every test that uses the fixture depends on it."""
        before = self._count()
        result = yield
        if self._count() > before:
            self.fixtures.add(fixturedef.argname)
        return result

    def _count(self) -> int:
        return 0 if self.calls is None else self.calls.count

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Run the suite, and then the tests that call the function, again and again."""
        if self.config.option.collectonly:
            return (yield)
        try:
            function = find(self.target)
        except InvalidArgument as error:
            raise pytest.UsageError(f"--gradcheck-mutate: {error}") from None
        calls = self.calls = Calls(copy_of(function), self.seed)
        self.said = "the suite did not run to its end"
        with replaced(function, calls):
            result = yield
        self.said = _objection(session, calls)
        if not self.said:
            self._judge(session, function, calls)
        return result

    # ---- with bugs ---------------------------------------------------------------------------------------------------

    def _judge(self, session: pytest.Session, function: FunctionType, calls: Calls) -> None:
        items = [
            item
            for item in session.items
            if item in self.callers or self.fixtures.intersection(getattr(item, "fixturenames", ()))
        ]
        self._tell(f"tests that depend on {self.target}: {len(items)}; wrong gradients to try: {len(calls.mutants)}")
        with rerunning(session, items) as rerun:
            before, started = calls.count, perf_counter()
            failing = rerun.first_failing(items, lambda: replaced(function, calls))
            self.said = _rerun_objection(failing, calls.count > before)
            if self.said:
                return
            trials = Trials(rerun, items, function, calls, perf_counter() - started)
            self.score = trials.score(perf_counter() + self.seconds)
            if rerun.first_failing(items, lambda: replaced(function, calls)) is not None:
                self.said = (
                    "after wrong gradients the tests fail with the right one too: something keeps results of the function, or what "
                    "was made of them, so that a count means nothing"
                )
            elif not self.score.caught and not self.score.survived:
                self.said = (
                    "there was no time to try a wrong gradient; raise --gradcheck-mutate-seconds"
                    if self.score.untried
                    else "no wrong gradient of the catalogue changes anything at the points of the tests"
                )

    def _tell(self, line: str) -> None:
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            if self.config.get_terminal_writer().width_of_current_line:  # the dots of the tests
                reporter.write_line("")
            reporter.write_line(f"gradcheck: {line}")

    # ---- afterwards --------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run where a wrong gradient passes, or none was scored."""
        passes = self.score is not None and not self.score.survived
        if (
            (self.said or not passes)
            and not self.config.option.collectonly
            and session.exitstatus == pytest.ExitCode.OK
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show one section."""
        if not self.said and self.score is None:
            return
        terminalreporter.ensure_newline()
        terminalreporter.section("wrong gradients")
        for line in lines(self.target, self.said, self.score, everything=self.config.get_verbosity() > 0):
            terminalreporter.write_line(line)


def _objection(session: pytest.Session, calls: Calls) -> str:
    """Say why the suite cannot be scored, as its first run shows."""
    if session.testsfailed:
        return f"the suite is red, with the function as it is ({session.testsfailed} failed); mend that first"
    if not calls.count:
        return "no test calls it (under this name: a module that is imported by two names is there twice)"
    if not calls.mutants:
        return (
            "it returned no array of floating-point numbers in which a bug could be planted; where jax.jit traces it, set "
            "JAX_DISABLE_JIT=1 for this run"
        )
    return ""


def _rerun_objection(failing: pytest.Item | None, called: bool) -> str:  # noqa: FBT001 - two facts of one run
    """Say why the suite cannot be scored, as a second run within the process shows."""
    if failing is not None:
        return f"its tests fail when they run twice in one process, with the function as it is ({failing.nodeid})"
    return "" if called else "its tests do not call it when they run a second time: something keeps its results"


class Trials:
    """Bugs in a function, one after the other, and the tests that depend on it."""

    def __init__(
        self, rerun: Rerun, items: Sequence[pytest.Item], function: FunctionType, calls: Calls, pace: float
    ) -> None:
        self.rerun = rerun
        self.items = items
        self.function = function
        self.calls = calls
        self.patience = PATIENCE * pace + LEAST_PATIENCE
        self.unsteady: dict[str, None] = {}

    def score(self, end: float) -> Score:
        """Try bugs until a time, in an order that has some of every kind early."""
        mutants = self.calls.mutants
        became: dict[Mutant, str] = {}
        for mutant in sorted(mutants, key=lambda mutant: mutant.key):
            if perf_counter() > end:
                break
            outcome = self._outcome(mutant, end)
            if outcome != "caught" or perf_counter() < end:  # else it was the end that stopped the test
                became[mutant] = outcome
        groups = [
            tuple(mutant for mutant in mutants if became.get(mutant) == outcome)
            for outcome in ("caught", "survived", "equivalent")
        ]
        return Score(groups[0], groups[1], groups[2], len(mutants) - len(became), tuple(self.unsteady))

    def _outcome(self, mutant: Mutant, end: float) -> str:
        until = min(end, perf_counter() + self.patience)
        planted: list[Mutated] = []

        @contextmanager
        def place() -> Iterator[None]:
            mutated = wrap(self.calls.function, mutant)
            planted.append(mutated)
            try:
                with replaced(self.function, _in_time(mutated, until)):
                    yield
            finally:
                mutated.state.restore()  # what it wrote into may be an array of the module, for all its tests

        items = self.items
        while (failing := self.rerun.first_failing(items, place)) is not None:
            if perf_counter() > until or self.rerun.first_failing([failing], place) is not None:
                return "caught"
            self.unsteady[failing.nodeid] = None
            items = items[items.index(failing) + 1 :]
        shows = any(mutated.state.differed for mutated in planted) or self.calls.show(mutant)
        return "survived" if shows else "equivalent"


def _in_time(function: Callable[..., Any], until: float) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if perf_counter() > until:
            raise OutOfTimeError
        return function(*args, **kwargs)

    return call


def _most_telling_first(survived: Sequence[Mutant]) -> list[Mutant]:
    """Put first what shows that no test looks at a gradient, and last whatever else is in that one."""
    unseen = {mutant.leaf for mutant in survived if mutant.kind == "dropped"}
    return sorted(survived, key=lambda mutant: (mutant.kind != "dropped", mutant.leaf in unseen))


def lines(target: str, said: str, score: Score | None, *, everything: bool) -> list[str]:
    """Return what a terminal shows: a count, and the wrong gradients that pass with what would catch them."""
    if said or score is None:
        return [f"{target} is not scored: {said}."]
    count = len(score.survived) + len(score.caught)
    text = [f"{len(score.survived)} of {count} wrong gradients pass your tests of {target}"]
    survived = _most_telling_first(score.survived)
    shown = survived if everything else survived[:MOST_SURVIVORS]
    text += by_remedy(shown)
    if len(shown) < len(score.survived):
        text.append(f"  and {len(score.survived) - len(shown)} more; -v shows all")
    if score.equivalent:
        text.append(f"{len(score.equivalent)} more change nothing at the points of your tests and were left out")
    if score.unsteady:
        tests = " and ".join(score.unsteady[:2]) + (" and others" if len(score.unsteady) > 2 else "")
        text.append(
            f"{tests} failed, and passed with the same gradient: fix its random numbers, else a count means little"
        )
    if score.untried:
        text.append(f"{score.untried} more were not tried for want of time; raise --gradcheck-mutate-seconds")
    return text
