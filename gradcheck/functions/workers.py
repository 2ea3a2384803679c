"""Evaluating in other threads, processes or machines: through executors and maps that others made.

A job is a function that is sent along with each task; a task is a batch of points. Results come back by number, so
it does not matter in which order. What the user's function raises comes back as data: any other exception is one of
the workers themselves.
"""

from __future__ import annotations

import os
import pickle
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import active_children
from multiprocessing.pool import AsyncResult, Pool, ThreadPool
from time import monotonic
from typing import Any

import numpy as np

from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.tasks import REMEDY, Evaluated, Job, Packed, Raised, Task, settle_in

__all__ = ["WorkerPool", "Workers", "WorkersLostError", "open_pool", "read_workers"]

Map = Callable[..., Any]
Workers = int | Executor | Map

SILENCE, MARGIN = 30.0, 100.0
"""Seconds without any result, and the multiple of what one task should take that is added to them, after which it is given up.
Executors of others may lose a task without a word."""

FEWEST_IN_FLIGHT, MOST_IN_FLIGHT, BYTES_IN_FLIGHT = 8, 256, 2**27
"""Tasks that are handed over and not back yet: each may carry a copy of the point."""

GLANCE = 0.05
"""Seconds between two looks at whether the processes of a pool still live."""


class WorkersLostError(Exception):
    """Some results will never come. Never leaves the package."""


def read_workers(value: Any) -> Workers | None:
    """Validate the option ``workers``; None is serial, and so is one worker.

    Raises
    ------
    InvalidArgument
        For anything but None, -1, a positive whole number, an executor or a function like `map`.
    """
    given = f"workers={value!r}"
    required = "None, a number of processes (-1: one a core), a map such as pool.map, or a concurrent.futures.Executor"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if value == -1 or value >= 1:
            return None if value == 1 else int(value)  # one worker is this process, as in SciPy
        raise InvalidArgument(f"{given} is no number of processes; give a positive one, or -1 for one a core.")
    if value is None or isinstance(value, Executor):
        return value
    if isinstance(value, type) and issubclass(value, Executor):
        raise InvalidArgument(f"{given} is a class; pass an instance of it.")
    if callable(value):
        return value  # type: ignore[no-any-return]
    remedy = "pass its method map" if callable(getattr(value, "map", None)) else "pass one of these"
    raise InvalidArgument(f"{given} is {described(value)}; {required} was required; {remedy}.")


@contextmanager
def open_pool(workers: Workers | WorkerPool | None) -> Iterator[WorkerPool | None]:
    """Open a pool for the duration of a check; what was given stays open afterwards, what was started is ended."""
    if workers is None or isinstance(workers, WorkerPool):  # one that is open already goes on
        yield workers
    elif isinstance(workers, int):
        pool = _Processes(workers)
        try:
            yield pool
        finally:
            pool.close()
    elif isinstance(workers, Executor):
        yield _Given(workers)
    elif isinstance(given := getattr(workers, "__self__", None), Pool) and not isinstance(given, ThreadPool):
        yield _Watched(given)
    else:
        yield _Mapped(workers)


Numbered = tuple[int, Any]
Answers = Iterator[Any]


class WorkerPool(ABC):
    """Where batches are evaluated beside this process.

    Attributes
    ----------
    seconds_per_call : float
        Seconds that one point takes, as far as is known.
    """

    attempts = 1
    """How often tasks are handed over before they are given up."""

    def __init__(self) -> None:
        self.seconds_per_call = 0.0
        self.trouble: list[Exception] = []

    def run(self, job: Job, tasks: Sequence[Any], received: Callable[[int], None], nbytes: int) -> list[Evaluated]:
        """Do all tasks.

        Parameters
        ----------
        job : callable
            ``job(task)`` gives values with as many rows as the task has.
        tasks : sequence
            Batches.
        received : callable
            Called once for each task, with its number, when its result has come.
        nbytes : int
            About the size of what is sent with each task.

        Returns
        -------
        results : list
            In the order of the tasks.

        Raises
        ------
        InvalidArgument
            When the function cannot be sent to the workers.
        WorkersLostError
            When results are missing in the end. What the user's function raises comes through.
        """
        results: dict[int, Evaluated] = {}
        window = int(np.clip(BYTES_IN_FLIGHT // max(1, nbytes), FEWEST_IN_FLIGHT, MOST_IN_FLIGHT))
        patience = SILENCE + MARGIN * self.seconds_per_call * len(tasks[0])
        self.trouble = []
        try:
            for _ in range(self.attempts):
                known = set(results)
                missing = ((i, task) for i, task in enumerate(tasks) if i not in known)
                for number, answer in self._answers(Task(job), missing, window, patience):
                    if number not in results:
                        results[number] = _value_of(answer)
                        received(number)
                if len(results) == len(tasks):
                    return [results[number] for number in range(len(tasks))]
        except BaseException:
            self.abandon()
            raise
        raise WorkersLostError(_told(self.trouble))

    def _answers(
        self, task: Task, missing: Iterator[Numbered], window: int, patience: float
    ) -> Iterator[tuple[int, Any]]:
        """Give the answers that come; what goes wrong with the workers is noted, or tells that they cannot be used."""
        answers = self.attempt(task, missing, window, patience)
        while True:
            try:
                answer = next(answers)
            except StopIteration:
                return
            except InvalidArgument:
                raise
            except Exception as error:  # noqa: BLE001 - the user's function does not raise here; see `Raised`
                self.note(error)
                return
            if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Evaluated | Raised):
                yield answer

    def note(self, error: Exception) -> None:
        """Remember what went wrong with the workers; raise `InvalidArgument` where the function cannot be sent."""
        if isinstance(error, pickle.PicklingError) or any(
            word in str(error).lower() for word in ("pickle", "serializ")
        ):
            raise InvalidArgument(f"workers: f cannot be sent to another process ({error}); {REMEDY}.") from error
        self.trouble.append(error)

    @abstractmethod
    def attempt(self, task: Task, missing: Iterator[Numbered], window: int, patience: float) -> Answers:
        """Hand over tasks, no more than ``window`` at a time, and give the answers as they come."""

    def abandon(self) -> None:  # noqa: B027 - what others started is theirs
        """Stop what was started."""


class _Given(WorkerPool):
    """An executor of the user's."""

    def __init__(self, executor: Executor) -> None:
        super().__init__()
        self.executor = executor

    def attempt(self, task: Task, missing: Iterator[Numbered], window: int, patience: float) -> Answers:
        """Submit tasks, and wait for them in order: an error is then the same one whatever the workers."""
        waiting: deque[Future[Any]] = deque()
        try:
            yield from self.over(self.executor, task, missing, window, patience, waiting)
        finally:
            for future in waiting:
                future.cancel()

    def over(
        self,
        executor: Executor,
        task: Callable[[Numbered], Any],
        missing: Iterator[Numbered],
        window: int,
        patience: float | None,
        waiting: deque[Future[Any]],
    ) -> Answers:
        """Do the same with any executor; ``waiting`` holds what was submitted and not yet asked for."""
        while True:
            try:
                for numbered in islice(missing, window - len(waiting)):
                    waiting.append(executor.submit(task, numbered))
            except Exception as error:  # noqa: BLE001 - closed, or broken
                self.note(error)
                missing = iter(())
            if not waiting:
                break
            future = waiting.popleft()
            try:
                answer = future.result(patience)
            except TimeoutError:
                self.note(TimeoutError(f"no result came for {patience:.0f} s"))
                patience, missing = 0.0, iter(())
            except Exception as error:  # noqa: BLE001 - one task is lost, others may not be
                self.note(error)
            else:
                yield answer


class _Processes(_Given):
    """Processes of our own."""

    attempts = 2

    def __init__(self, count: int) -> None:
        WorkerPool.__init__(self)
        self.count = count if count > 0 else os.cpu_count() or 1
        self.pool: ProcessPoolExecutor | None = None

    def attempt(self, task: Task, missing: Iterator[Numbered], window: int, patience: float) -> Answers:
        """Submit tasks to processes, which are started where there are none."""
        del patience  # the pool says when a process ends
        try:
            packed = Packed(task)
        except Exception as error:
            raise InvalidArgument(
                f"workers={self.count}: f cannot be sent to another process ({type(error).__name__}: {error}); {REMEDY}."
            ) from error
        if self.pool is None:
            self.pool = ProcessPoolExecutor(min(self.count, MOST_IN_FLIGHT), initializer=settle_in)
        before = len(self.trouble)
        # None of these futures is cancelled from here: up to Python 3.12 the thread that minds a pool falls over one that
        # was when its processes are killed, and is left behind.
        yield from self.over(self.pool, packed, missing, window, patience=None, waiting=deque())
        if len(self.trouble) > before:
            self.abandon()

    def abandon(self) -> None:
        """Kill the processes."""
        pool, self.pool = self.pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):  # noqa: SLF001 - kill_workers() comes with Python 3.14
                process.kill()
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """End the processes."""
        if self.pool is not None:
            self.pool.shutdown()
            self.pool = None


class _Watched(WorkerPool):
    """The processes of a `multiprocessing.Pool`, whose own map waits for ever when one of them is killed."""

    attempts = 2

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool

    def attempt(self, task: Task, missing: Iterator[Numbered], window: int, patience: float) -> Answers:
        """Hand over tasks and wait for them, as long as no process dies."""
        alive = set(active_children())
        waiting: deque[AsyncResult[Any]] = deque()
        while True:
            waiting.extend(self.pool.apply_async(task, (n,)) for n in islice(missing, window - len(waiting)))
            if not waiting:
                return
            handle, until = waiting.popleft(), monotonic() + patience
            while not handle.ready():
                handle.wait(GLANCE)
                if any(process.exitcode for process in alive) or monotonic() > until:
                    self.note(RuntimeError("a process of the pool ended, or did not answer"))
                    yield from (other.get() for other in waiting if other.ready())
                    return
                alive.update(active_children())
            yield handle.get()


class _Mapped(WorkerPool):
    """Anything like the built-in `map`."""

    def __init__(self, function: Map) -> None:
        super().__init__()
        self.function = function

    def attempt(self, task: Task, missing: Iterator[Numbered], window: int, patience: float) -> Answers:
        """Map the tasks."""
        del patience
        while some := list(islice(missing, window)):
            try:
                yield from self.function(task, some)
            except TypeError as error:
                self.note(error)
                raise InvalidArgument(
                    f"workers={self.function!r} raised {error}; a function like map was required: workers(function, tasks)."
                ) from error


def _value_of(answer: Evaluated | Raised) -> Evaluated:
    """Return the values; raise what the user's function raised instead."""
    if isinstance(answer, Raised):
        raise answer.error
    return answer


def _told(trouble: list[Exception]) -> str:
    if not trouble:
        return "some results did not come"
    return f"{type(trouble[0]).__name__}: {trouble[0]}".rstrip(": ")
