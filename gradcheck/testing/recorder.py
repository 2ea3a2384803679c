"""The hooks that record every check of a test run, give them their options, and tell what was found."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.testing import records as summary
from gradcheck.testing.settings import options_of_ini, policy_of_ini, read_marks
from gradcheck.watching import Watch, watching

if TYPE_CHECKING:
    from gradcheck.reports.report import Report

__all__ = ["Recorder", "summary_path"]

PLACE = pytest.StashKey[int]()
"""Where a test comes in the order of collection, which is the same on every worker of pytest-xdist."""

MADE = pytest.StashKey[list[dict[str, Any]]]()
"""Records of the checks that a test has made so far."""

REFUSED = pytest.StashKey[str]()
"""What is wrong with a test's marker, if anything."""


class Recorder:
    """Records of a run, and the hooks that make and tell them.

    A record travels as an attribute of the test's report, which pytest-xdist brings from its workers; so there is one
    way with and without them, and what a worker did before it crashed is kept.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.options = options_of_ini(config)
        self.policy = policy_of_ini(config)
        self.json_path, self.html_path = (_path_of(config, name) for name in ("gradcheck_json", "gradcheck_html"))
        self.summary_path = summary_path(config)
        self.received: list[tuple[int, list[dict[str, Any]]]] = []
        self.shared: list[str] = []
        self.unwritten: list[str] = []

    # ---- while tests run ----------------------------------------------------------------------------------------

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the order of the tests."""
        for place, item in enumerate(session.items):
            item.stash[PLACE] = place

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch the checks of a test, of its fixtures too."""
        item.stash[MADE], item.stash[REFUSED] = [], ""
        try:
            said = read_marks(item)
        except pytest.UsageError as error:
            said, item.stash[REFUSED] = {}, str(error)
        policy = said.pop("inconclusive", self.policy)

        def record(label: str, report: Report) -> None:
            whole = bool(self.json_path or self.html_path)
            as_markdown = self.summary_path is not None
            made = summary.record_of(item.nodeid, label, report, whole=whole, as_markdown=as_markdown)
            item.stash[MADE].append({**made, "shared": self.shared})

        watch = Watch({**self.options, **said}, record, lambda report: _tolerate(report, policy))
        with watching(watch):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Note which fixture makes the checks, if it is one that tests share: each worker of pytest-xdist makes its own."""
        before = self.shared
        if fixturedef.scope != "function":
            place = str(getattr(request, "param_index", ""))
            self.shared = [request.node.nodeid, fixturedef.baseid, fixturedef.argname, place]
        try:
            return (yield)
        finally:
            self.shared = before

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Refuse a test whose marker makes no sense, as pytest does with its own; a worker cannot stop the run."""
        if item.stash[REFUSED]:
            pytest.fail(item.stash[REFUSED], pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Send the records along with the last report of a test."""
        made = item.stash.get(MADE, [])
        if call.when == "teardown" and made:
            item.stash[MADE] = []  # a test may run again within its protocol
            others = [entry for entry in item.user_properties if not entry[0].startswith("gradcheck.")]
            item.user_properties[:] = [*others, *summary.properties(made)]
        report = yield
        if call.when == "teardown" and made:
            report.gradcheck = [item.stash[PLACE], made]  # type: ignore[attr-defined]
        return report

    # ---- afterwards ---------------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Receive the records of a test, from this process or a worker."""
        place, made = getattr(report, "gradcheck", (0, []))
        if made:
            self.received.append((place, made))

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records, in the order of collection; those of a fixture that tests share as its first test has them."""
        kept, told_at = [], dict[tuple[str, ...], int]()
        for place, made in sorted(self.received, key=lambda entry: entry[0]):
            kept += [
                one for one in made if not one["shared"] or told_at.setdefault(tuple(one["shared"]), place) == place
            ]
        return kept

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files that were asked for; a worker writes none."""
        if hasattr(self.config, "workerinput"):
            return
        if self.json_path:
            self._write(self.json_path, lambda path: _write_text(path, summary.document(self.records)))
        if self.html_path:
            self._write(self.html_path, self._write_html)
        if self.summary_path is not None:
            given, mode = self.summary_path
            self._write(given, lambda path: _write_text(path, summary.markdown(self.records), mode))
        if self.unwritten and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self, path: str, write: Callable[[str], None]) -> None:
        """Write a file, or keep why it cannot be: the results of the tests are worth more."""
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write(path)
        except OSError as error:
            self.unwritten.append(f"{path} cannot be written: {error.strerror or error}")

    def _write_html(self, path: str) -> None:
        import json  # noqa: PLC0415 - with NumPy and all, only for those who ask

        from gradcheck.reports.report import Report, write_html  # noqa: PLC0415

        pages: dict[str, Report] = {}
        for record in summary.worst_first(self.records):
            title = f"{record['test']} {record['name']}"
            while title in pages:
                title += "'"
            pages[title] = Report.from_json(json.dumps(record["report"]))
        write_html(pages, path)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show one section, in runs that checked something."""
        records = self.records
        if records or self.unwritten:
            terminalreporter.ensure_newline()
            terminalreporter.section("gradcheck")
            everything = self.config.get_verbosity() > 0
            for line in [*self.unwritten, *(summary.lines(records, everything=everything) if records else ())]:
                terminalreporter.write_line(line)


def summary_path(config: pytest.Config) -> tuple[str, str] | None:
    """Return where the Markdown goes and how that file is opened, or None where it was not asked for.

    The file of ``$GITHUB_STEP_SUMMARY`` is shared by the steps of a job, so it is appended to.
    """
    given: str | None = config.getoption("gradcheck_summary")
    if given is None:
        return None
    if not given:
        given = os.environ.get("GITHUB_STEP_SUMMARY", "")
        if not given:
            raise pytest.UsageError(
                "--gradcheck-summary: $GITHUB_STEP_SUMMARY is not set; give --gradcheck-summary=PATH"
            )
        return given, "a"
    if given.endswith(".py") or Path(given).is_dir():
        raise pytest.UsageError(f"--gradcheck-summary {given} would write there; say --gradcheck-summary=PATH")
    return str(Path(given).expanduser()), "w"


def _path_of(config: pytest.Config, option: str) -> str | None:
    """Return where a file goes that an option asks for, if it does."""
    given: str | None = config.getoption(option)
    if given is None:
        return None
    if Path(given).expanduser().is_dir():
        raise pytest.UsageError(f"--{option.replace('_', '-')}={given} is a folder; give the path of a file")
    return str(Path(given).expanduser())


def _write_text(path: str, text: str, mode: str = "w") -> None:
    with Path(path).open(mode, encoding="utf-8") as file:
        file.write(text)


def _tolerate(report: Report, policy: str) -> bool:
    """Do with a report that is no pass as the ini or the marker says."""
    if report.verdict != "inconclusive" or policy == "fail":
        return False
    if policy == "pass":
        return True
    reason = f"gradcheck cannot tell: {report.findings[0].message if report.findings else 'inconclusive'}"
    if policy == "xfail":
        pytest.xfail(reason)
    hypothesis = sys.modules.get("hypothesis")
    if hypothesis is not None and hypothesis.currently_in_test_context():
        hypothesis.reject()  # this example only: another one may be decided
    pytest.skip(reason)
