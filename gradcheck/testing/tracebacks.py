"""Tracebacks that show the user's own lines alone."""

from __future__ import annotations

from types import TracebackType

import pytest

__all__ = ["Hiding", "hide_own_frames"]

OWN = ("gradcheck", "gradcheck_pytest")

CARRIERS = ("concurrent", "contextlib", "functools", "multiprocessing", "threading")
"""Modules of the standard library that stand between this package and a function of the user."""


class Hiding:
    """The hook that does it. No wrapper: pytest itself puts the exception of a `unittest.TestCase` in place in a hook before this."""

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Hide our frames, but where all frames are asked for."""
        if call.excinfo is not None and not item.config.getoption("fulltrace"):
            hide_own_frames(call.excinfo.value)
            # That of a `unittest.TestCase` is taken apart already, and says where a test was skipped.
            call.excinfo.traceback = type(call.excinfo.traceback)(call.excinfo.tb)


def hide_own_frames(error: BaseException) -> None:
    """Take the frames of this package out of a traceback, and out of those of its causes and parts.

    Frames of the user's functions that the package called stay, and so do all before it. The first frame is the test
    runner's, so there always is one.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        _relink(current.__traceback__)
        waiting += [current.__cause__, current.__context__]
        waiting += getattr(current, "failures", ())  # of a doctest, which keeps exceptions apart
        waiting += [part for part in getattr(current, "exc_info", ()) if isinstance(part, BaseException)]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions


def _relink(shown: TracebackType | None) -> None:
    while shown is not None:
        following, is_own = shown.tb_next, False
        while following is not None and (_is_of(following, OWN) or (is_own and _is_of(following, CARRIERS))):
            following, is_own = following.tb_next, True
        shown.tb_next = following
        shown = following


def _is_of(entry: TracebackType, packages: tuple[str, ...]) -> bool:
    return str(entry.tb_frame.f_globals.get("__name__", "")).split(".")[0] in packages
