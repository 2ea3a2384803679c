"""What is sent to a worker: a job and a batch of points, and what the user's function raised on the way back."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing import parent_process
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import InvalidArgument

__all__ = ["REMEDY", "Evaluated", "Job", "Packed", "Raised", "Task", "settle_in"]


REMEDY = (
    "define it at the top level of a module, or pass a concurrent.futures.ThreadPoolExecutor, or an executor that pickles "
    "functions by value, such as joblib's loky (joblib.externals.loky.get_reusable_executor())"
)


class Evaluated(NamedTuple):
    """The values of a batch of points, and what the function raised at those where it is not defined."""

    values: NDArray[np.float64]
    undefined: list[str]


Job = Callable[[Any], Evaluated]


class Raised:
    """What the user's function raised. It pickles whatever that is."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[type[Raised], tuple[BaseException]]:
        text = "".join(traceback.format_exception(self.error))
        try:
            error = pickle.loads(pickle.dumps(self.error))  # noqa: S301 - our own bytes: does it survive the way?
        except Exception:  # noqa: BLE001 - whatever its class does to being pickled
            error = RuntimeError(f"{type(self.error).__name__}: {self.error}")
            for note in getattr(self.error, "__notes__", ()):
                error.add_note(note)
        error.add_note(f"raised in a worker:\n{text}")
        return Raised, (error,)


class Task:
    """A job as it is called by a worker: with a number and a batch, and returning that number and the values."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, numbered: tuple[int, Any]) -> tuple[int, Evaluated | Raised]:
        """Do the job."""
        number, task = numbered
        try:
            return number, self.job(task)
        except BaseException as error:  # noqa: BLE001 - it goes on to the user, from where it was asked for
            return number, Raised(error)


class Packed:
    """A task pickled beforehand, so that a worker that cannot read it can say so."""

    def __init__(self, task: Task) -> None:
        self.bytes = pickle.dumps(task)

    def __call__(self, numbered: tuple[int, Any]) -> tuple[int, Evaluated | Raised]:
        """Unpack the task and do it."""
        try:
            task = pickle.loads(self.bytes)  # noqa: S301 - made by this package a moment ago
        except Exception as error:  # noqa: BLE001 - whatever importing the user's module does
            unread = f"workers: f cannot be read by another process ({type(error).__name__}: {error}); {REMEDY}."
            return numbered[0], Raised(InvalidArgument(unread))
        answer: tuple[int, Evaluated | Raised] = task(numbered)
        return answer


def settle_in() -> None:
    """Leave Ctrl-C to the parent, and end with it: nobody else would end this process if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)
