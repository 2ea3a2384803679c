"""Watching checks from outside: options that hold where a call gives none, and a record of what was found.

The pytest plugin sets a watch for the time of a test. There is one for the process, so that checks made in threads are
seen too. Without a watch, nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from gradcheck.reports.report import Report

__all__ = ["Watch", "tolerates", "watched", "watching"]

P = ParamSpec("P")
R = TypeVar("R", bound="Report | dict[str, Report]")

LONGEST_LABEL = 60
"""Characters that a check's description may have: it shares a line with the name of a test and a figure."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What holds for every check while it is watched, and who is told.

    Attributes
    ----------
    options : mapping
        Options of the checks; what a call gives itself comes first.
    record : callable
        ``record(label, report)``, once for each check; those that a check makes itself are not told.
    tolerates : callable
        ``tolerates(report) -> bool`` for a report that is no pass: True lets ``assert_ok`` return. It may raise.
    """

    options: Mapping[str, Any]
    record: Callable[[str, Report], None]
    tolerates: Callable[[Report], bool]


_current: Watch | None = None

_is_inside: ContextVar[bool] = ContextVar("gradcheck_is_inside", default=False)


@contextmanager
def watching(watch: Watch | None) -> Iterator[None]:
    """Watch every check in a block; a block inside it has its own watch, or with None none."""
    global _current  # noqa: PLW0603 - one watch for all threads
    before, _current = _current, watch
    try:
        yield
    finally:
        _current = before


def watched(check: Callable[P, R]) -> Callable[P, R]:
    """Decorate a check, so that a watch gives it options and is told of its report, or of each of its reports."""

    @wraps(check)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        watch = _current
        if watch is None or _is_inside.get():
            return check(*args, **kwargs)
        token = _is_inside.set(True)
        try:
            kwargs.update({name: value for name, value in watch.options.items() if name not in kwargs})
            found = check(*args, **kwargs)
        finally:
            _is_inside.reset(token)
        label = _label(check.__name__.lstrip("_"), next(iter((*args, *kwargs.values())), None))
        for part, report in found.items() if isinstance(found, dict) else [("", found)]:
            watch.record(f"{label} {part}".rstrip(), report)
        return found

    return call


def tolerates(report: Report) -> bool:
    """Tell whether the watch lets a report that is no pass go without an error."""
    return _current is not None and _current.tolerates(report)


def _label(check: str, subject: object) -> str:
    """Describe a check by its function and what it was given first: a function, or the stages of a chain."""
    if isinstance(subject, list | tuple):
        name = ", ".join(str(stage[0]) for stage in subject if isinstance(stage, list | tuple) and stage)
    else:
        name = getattr(subject, "__name__", type(subject).__name__)
    label = f"{check}({name})"
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 4]}...)"
