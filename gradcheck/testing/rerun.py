"""Running tests again within one run of pytest, without telling of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, Protocol

import pytest
from _pytest.runner import runtestprotocol

__all__ = ["Rerun", "rerunning"]


class Placing(Protocol):
    """Puts something in place for the time of one test."""

    def __call__(self) -> AbstractContextManager[None]:
        """Return a context in which it is in place."""


class Unreported:
    """The hooks of a test without those that print reports or start a debugger: subtests call these by themselves."""

    def __init__(self, hooks: Any, reports: list[pytest.TestReport]) -> None:
        self.hooks = hooks
        self.reports = reports

    def __getattr__(self, name: str) -> Any:
        return getattr(self.hooks, name)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report."""
        self.reports.append(report)

    def pytest_exception_interact(self, **_: Any) -> None:
        """Let an exception be; many a wrong gradient raises one."""


class Rerun:
    """Hooks under which a test is no more than its reports: nothing is reported, so that no count and no file knows of it."""

    def __init__(self, session: pytest.Session) -> None:
        self.session = session
        self.reports: list[pytest.TestReport] = []
        self.hooks_of = session.gethookproxy

    def gethookproxy(self, fspath: os.PathLike[str]) -> Any:
        """Return the hooks of the tests of a path, for the session."""
        return Unreported(self.hooks_of(fspath), self.reports)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run a test; what others wrap around it stays."""
        self.reports.clear()
        self.reports += runtestprotocol(item, nextitem=nextitem, log=False)
        return True

    def first_failing(self, items: Sequence[pytest.Item], placing: Placing) -> pytest.Item | None:
        """Run tests until one fails, and return that; their fixtures of all scopes are made anew."""
        for item, following in zip(items, [*items[1:], None], strict=True):
            with placing():
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                if any(report.failed for report in self.reports):
                    with suppress(Exception):  # the test has failed already
                        self.session._setupstate.teardown_exact(None)  # noqa: SLF001 - pytest has no other way
                    return item
        return None


@contextmanager
def rerunning(session: pytest.Session, items: Sequence[pytest.Item]) -> Iterator[Rerun]:
    """Give what runs tests again, for the time of a block."""
    rerun = Rerun(session)
    session.config.pluginmanager.register(rerun, "gradcheck-rerun")
    session.gethookproxy = rerun.gethookproxy  # type: ignore[method-assign]
    try:
        with _hypothesis_in_haste(items):
            yield rerun
    finally:
        del session.gethookproxy
        session.config.pluginmanager.unregister(rerun)


@contextmanager
def _hypothesis_in_haste(items: Sequence[pytest.Item]) -> Iterator[None]:
    """Let property tests stop at the first failing example, always try the same ones, and keep none of them in a file."""
    hypothesis: Any = sys.modules.get("hypothesis")
    name = "_hypothesis_internal_use_settings"
    with ExitStack() as afterwards:
        for item in items:
            test = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
            if hypothesis is None or not hasattr(test, name):
                continue
            before = getattr(test, name)
            quick = hypothesis.settings(
                before,
                database=None,
                deadline=None,
                derandomize=True,
                phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            setattr(test, name, quick)
            afterwards.callback(setattr, test, name, before)
        yield
