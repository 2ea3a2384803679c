"""The exceptions of the package, each also an instance of the built-in that callers expect, and how messages describe a value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck.reports.report import Report

__all__ = ["GradcheckError", "GradientError", "InvalidArgument", "MissingDependency", "described", "needing"]


class GradcheckError(Exception):
    """Anything that this package raises on its own account."""


class InvalidArgument(GradcheckError, ValueError):  # noqa: N818 - the name is part of the contract
    """The arguments cannot describe a check; nothing is said about the gradient."""


class MissingDependency(GradcheckError, ImportError):  # noqa: N818 - the name is part of the contract
    """An optional package is needed for what was asked; the message names the extra to install."""


@contextmanager
def needing(package: str, module: str) -> Iterator[None]:
    """Raise `MissingDependency`, which names our module, where imports in a block find that a package is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingDependency(f"{module} needs {package}, which is not installed: pip install {package}") from error


class GradientError(GradcheckError, AssertionError):
    """A check did not pass. The message is the text of the report.

    Attributes
    ----------
    report : Report
        What was found.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report

    def __reduce__(self) -> tuple[type[GradientError], tuple[Report]]:
        return type(self), (self.report,)


for _error in (GradcheckError, InvalidArgument, MissingDependency, GradientError):
    _error.__module__ = "gradcheck"  # where users find it: tracebacks, and a test runner's one line, are shorter


def described(thing: Any) -> str:
    """Say of what type a thing is."""
    name = type(thing).__name__
    return "None" if thing is None else f"{'an' if name[0] in 'AEIOaeio' or name.startswith('nd') else 'a'} {name}"
