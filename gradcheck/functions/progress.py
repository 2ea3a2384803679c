"""Showing how far a check is: through a callable of the user's, as a bar when rich is installed, or as a plain line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

__all__ = ["Meter", "metering"]

Show = Callable[[int, int], object]

OFTEN = 0.1
"""Seconds between two updates of a plain line."""


class Meter:
    """Passes on rising counts, and exactly once ``done == total``."""

    def __init__(self, show: Show, total: int, tell: Callable[[str], object] | None = None) -> None:
        self._show = show
        self._tell = tell
        self._total = max(total, 1)
        self._done = -1

    def __call__(self, done: int) -> None:
        """Report ``done``, held just below the total until the check is over: the total is a forecast."""
        done = min(done, self._total - 1)
        if done > self._done:
            self._done = done
            self._show(done, self._total)

    def expect(self, seconds: float) -> None:
        """Say what the check is likely to cost, from the seconds that one call took. Nothing is chosen from this."""
        if self._tell is not None:
            cost = _duration(self._total * seconds)
            self._tell(f"about {self._total:,} evaluations of {_duration(seconds)}, {cost} one after another")

    def finish(self) -> None:
        """Report the end."""
        self._show(self._total, self._total)


def _duration(seconds: float) -> str:
    if seconds < 0.0995:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 99.5:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5970 else f"{seconds / 3600:,.3g} h"


@contextmanager
def metering(
    progress: Show | bool | None,  # noqa: FBT001 - True is a value of the option
    total: int,
    unit: str = "evaluations",
) -> Iterator[Meter | None]:
    """Give a meter for the duration of a check, or None when no progress is wanted; stdout is never written to."""
    if progress is None or progress is False:
        yield None
        return
    if progress is not True:
        meter = Meter(progress, total)
        yield meter
        meter.finish()
        return
    with _shown(total, unit) as meter:
        yield meter
        meter.finish()


@contextmanager
def _shown(total: int, unit: str) -> Iterator[Meter]:
    """Show a bar on stderr, or a line where rich is not installed."""
    try:
        # Here, because rich is optional and slow to import.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import Progress  # noqa: PLC0415
    except ImportError:
        line = _Line(unit)
        yield Meter(line.show, total, line.tell)
        return
    console = Console(stderr=True)
    with Progress(console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("gradcheck", total=total)
        yield Meter(
            lambda done, whole: bar.update(task, completed=done, total=whole),
            total,
            lambda text: bar.update(task, description=f"gradcheck: {text}"),
        )


class _Line:
    """One line on stderr, written over and over; in a file a line at the beginning and one at the end."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.text = ""
        self.next = 0.0

    def tell(self, text: str) -> None:
        self.text = f" ({text})"

    def show(self, done: int, total: int) -> None:
        now, is_over = monotonic(), done == total
        if is_over or now >= self.next:
            rewrites = sys.stderr.isatty()
            self.next = now + OFTEN if rewrites else float("inf")
            start, end = ("\r", "\n" if is_over else "") if rewrites else ("", "\n")
            sys.stderr.write(f"{start}gradcheck: {done:,} of {total:,} {self.unit}{self.text}{end}")
            sys.stderr.flush()
