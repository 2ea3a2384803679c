"""The command line: three verbs, each prints reports; pytest is the runner of test suites."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gradcheck import __version__, demonstration
from gradcheck.errors import GradientError, InvalidArgument, described
from gradcheck.reports.report import Report

__all__ = ["main"]

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 2}
USAGE, CRASH, INTERRUPTED = 3, 4, 130
"""Exit codes: of a call that cannot be understood, of a case that raises, and, as shells have it, of Ctrl-C."""

DESCRIPTION = """\
Decide whether a gradient is right, and if not say which elements, by how much and why.

exit codes: 0 pass (and demo), 1 fail, 2 inconclusive, 3 usage, 4 the case raised an exception of its own"""


class _Parser(argparse.ArgumentParser):
    """A parser whose exit code for wrong usage differs from that of an inconclusive check."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    code : int
        0 pass, 1 fail, 2 inconclusive, 3 usage, 4 an exception of the case.
    """
    parser = _Parser(
        prog="python -m gradcheck", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"gradcheck {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    verbs.add_parser("demo", help="check a wrong gradient and print what the report says of it")
    show = verbs.add_parser("show", help="print a report that Report.to_json() wrote")
    show.add_argument("report", type=Path, metavar="REPORT.json")
    show.add_argument("--html", type=Path, metavar="PATH", help="write it as an HTML page too")
    run = verbs.add_parser("run", help="call a function of yours that returns a report, or raises GradientError")
    run.add_argument("case", metavar="module:case", help="for example tests.checks:convolution")
    options = parser.parse_args(arguments)
    try:
        if options.verb == "demo":
            _say(demonstration.text())
            return 0
        if options.verb == "show":
            return _show(options.report, options.html)
        return _run(options.case)
    except _UsageError as error:
        print(f"{parser.prog} {options.verb}: {error}", file=sys.stderr)  # noqa: T201
        return USAGE


class _UsageError(Exception):
    """What was asked for cannot be done; the message says what to do."""


def _say(text: str) -> None:
    """Print; where the reader has gone, as ``| head`` does, the rest goes nowhere and the exit code stays."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:  # the C locale, or the console of a language that a name is not in
        text = text.replace("±", "+-").encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(text, flush=True)  # noqa: T201
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise _UsageError(f"the report cannot be printed: {error}") from error


def _show(path: Path, html: Path | None) -> int:
    try:
        report = Report.from_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise _UsageError(f"{path} cannot be read: {error}") from error
    except InvalidArgument as error:
        raise _UsageError(f"{path}: {error}") from error
    if html is not None:
        try:
            report.to_html(html)
        except OSError as error:
            raise _UsageError(f"{html} cannot be written: {error}") from error
    _say(str(report))
    return EXIT_CODES[report.verdict]


def _run(name: str) -> int:
    try:
        result = _find(name)()
    except _UsageError:
        raise
    except GradientError as error:
        result = error.report
    except KeyboardInterrupt as stop:
        if isinstance(report := getattr(stop, "report", None), Report):
            _say(str(report))
        return INTERRUPTED
    except SystemExit as end:
        print(f"{name} ended the process by sys.exit({end.code!r}); it is to return a Report.", file=sys.stderr)  # noqa: T201
        return CRASH
    except Exception:  # noqa: BLE001 - whatever the module or the case raises
        traceback.print_exc()
        return CRASH
    return _tell(name, result)


def _find(name: str) -> Callable[[], object]:
    """Import a case; whatever its module raises is raised."""
    module, _, path = name.partition(":")
    if not module or not path:
        raise _UsageError(f"{name!r} is no case; write module:function, for example tests.checks:convolution.")
    if module.endswith(".py") or set(module) & {"/", "\\"} or module.startswith("."):
        dotted = ".".join(Path(module).with_suffix("").parts)
        raise _UsageError(f"{module} is a path, and a module was required; write {dotted}:{path}.")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as python -m does
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise _UsageError(f"there is no module {module!r} to import from {Path.cwd()}.") from error
        raise
    for part in path.split("."):
        if not hasattr(found, part):
            raise _UsageError(f"{module} has no {path!r}.")
        found = getattr(found, part)
    if not callable(found) or not _takes_nothing(found):
        kind = "function with arguments" if callable(found) else type(found).__name__
        raise _UsageError(f"{name} is a {kind}; a function without arguments was required.")
    case: Callable[[], object] = found
    return case


def _takes_nothing(function: Callable[..., object]) -> bool:
    """Whether a function can be called as it is."""
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    except ValueError:  # it does not say
        return True
    return True


def _tell(name: str, result: object) -> int:
    """Print the report, or the reports, of a case."""
    if inspect.iscoroutine(result):
        result.close()  # or Python warns that nothing awaited it
    reports = dict(result) if isinstance(result, Mapping) else {"": result}
    if not reports or not all(isinstance(report, Report) for report in reports.values()):
        raise _UsageError(f"{name} returned {described(result)}; it is to return a Report, or a dict of them.")
    for title, report in reports.items():
        _say(f"{title}: {report}" if title else str(report))
    codes = {EXIT_CODES[report.verdict] for report in reports.values() if isinstance(report, Report)}
    return 1 if 1 in codes else max(codes)
