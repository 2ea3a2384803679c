"""Showing how far a check is: through a callable of the user's, or as a bar when rich is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gradcheck.errors import MissingDependency

__all__ = ["Meter", "metering"]


class Meter:
    """Passes on rising counts, and exactly once ``done == total``."""

    def __init__(self, show: Callable[[int, int], object], total: int) -> None:
        self._show = show
        self._total = max(total, 1)
        self._done = -1

    def __call__(self, done: int) -> None:
        """Report ``done``, held just below the total until the check is over: the total is a forecast."""
        done = min(done, self._total - 1)
        if done > self._done:
            self._done = done
            self._show(done, self._total)

    def finish(self) -> None:
        """Report the end."""
        self._show(self._total, self._total)


@contextmanager
def metering(
    progress: Callable[[int, int], object] | bool | None,  # noqa: FBT001 - True is a value of the option
    total: int,
) -> Iterator[Meter | None]:
    """Give a meter for the duration of a check, or None when no progress is wanted.

    Raises
    ------
    MissingDependency
        For ``progress=True`` without rich.
    """
    if progress is None or progress is False:
        yield None
        return
    if progress is not True:
        meter = Meter(progress, total)
        yield meter
        meter.finish()
        return
    try:
        # Here, because rich is optional and slow to import.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import Progress  # noqa: PLC0415
    except ImportError:
        raise MissingDependency(
            "progress=True shows a bar with rich, which is not installed; "
            'run pip install "gradcheck[progress]" or pass a callable (done, total).'
        ) from None
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("gradcheck", total=total)
        meter = Meter(lambda done, whole: bar.update(task, completed=done, total=whole), total)
        yield meter
        meter.finish()
