"""The main job as independent tasks: what is computed, in which process, and what can be said about it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from network import article
from network.experiments import GOOD, HIDDEN_SIZES, PUBLISHED, Outcome, Pairing, pair, run

__all__ = [
    "PUBLISHED_SIZE",
    "Plan",
    "Results",
    "Task",
    "by_key",
    "conclusion",
    "experiments_of",
    "gradients_of",
    "perform",
    "training_tasks",
]

AUTHOR_SEED = 12747
"""Seed of the author's published run."""

PUBLISHED_SIZE = (28, 36)

Task = tuple[str, Callable[..., Any], tuple[Any, ...]]
"""Key, function and arguments; the function is called with a ``progress`` keyword too."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is to be done.

    Attributes
    ----------
    seeds : int
        Networks per experiment.
    epochs : int or None
        Of the good regime; None for its own.
    published_epochs : int
    published_seeds : tuple of int
    published_sizes : tuple
    images, right_images : int
        On how many images the broken gradients are checked, and the right one.
    """

    seeds: int = 10
    epochs: int | None = None
    published_epochs: int = PUBLISHED.epochs
    published_seeds: tuple[int, ...] = (AUTHOR_SEED,)
    published_sizes: tuple[tuple[int, int], ...] = (PUBLISHED_SIZE,)
    images: int = 100
    right_images: int = 350


@dataclass(slots=True)
class Results:
    """Whatever has been computed so far."""

    right: Any = None  # the report about the right gradient
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    complete: bool = False

    def pairings(self) -> dict[str, Pairing]:
        """Return the paired comparisons of all experiments of which both sides are done."""
        found = {}
        for name, baseline, broken in experiments_of(self.outcomes):
            found[name] = pair(baseline, broken)
        return found


def gradients_of() -> list[tuple[str, str, bool]]:
    """Return the gradients that are checked: title, backward, shared kernel."""
    wrong = [(name, name, False) for name in article.BACKWARDS]
    return [*wrong, ("published original", "author-original", True), ("published broken", "author-broken", True)]


def training_tasks(plan: Plan) -> list[Task]:
    """Return the trainings, the longest first; each gives one outcome for each of its gradients."""
    published = (
        "author-original",
        "author-broken",
    )  # together, since a step of two networks takes little more than one
    tasks: list[Task] = []
    for hidden in plan.published_sizes:
        arguments: tuple[Any, ...] = (
            PUBLISHED,
            hidden,
            published,
            plan.published_seeds,
            plan.published_epochs,
            True,
        )
        tasks.append((_key("published", hidden, " and ".join(published)), train_some, arguments))
    for hidden in HIDDEN_SIZES:
        for backward in ("right", "author-broken"):
            arguments = (GOOD, hidden, (backward,), tuple(range(plan.seeds)), plan.epochs, False)
            tasks.append((_key("good", hidden, backward), train_some, arguments))
    return tasks


def by_key(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    """Return outcomes by regime, size and gradient."""
    return {_key(outcome.regime, outcome.hidden, outcome.backward): outcome for outcome in outcomes}


def experiments_of(outcomes: dict[str, Outcome]) -> Iterator[tuple[str, Outcome, Outcome]]:
    """Give name, baseline and broken outcome of every experiment of which both are done."""
    for outcome in outcomes.values():
        if outcome.backward in {"right", "author-original"}:
            other = outcomes.get(_key(outcome.regime, outcome.hidden, "author-broken"))
            if other is not None:
                yield f"{outcome.regime} {outcome.hidden[0]}/{outcome.hidden[1]}", outcome, other


def _key(regime: str, hidden: tuple[int, int], backward: str) -> str:
    return f"{regime} {hidden[0]}/{hidden[1]} {backward}"


def train_some(*arguments: Any, progress: Callable[[int, int], None]) -> tuple[Outcome, ...]:
    """Train one task's networks."""
    regime, hidden, backwards, seeds, epochs, shared_kernel = arguments
    return run(regime, hidden, backwards, seeds, epochs=epochs, shared_kernel=shared_kernel, progress=progress)


# ---- processes ----------------------------------------------------------------------------------------------------


def perform(
    tasks: list[Task], show: Callable[[str, float], None], meanwhile: Callable[[], object]
) -> Iterator[tuple[str, Any]]:
    """Perform tasks in worker processes and give their results as they come.

    Parameters
    ----------
    tasks : list of Task
    show : callable
        ``show(key, share)`` is called with the share of a task that is done.
    meanwhile : callable
        Called once when all tasks are handed out.

    Notes
    -----
    Leaving the iteration, also by Ctrl-C, ends the workers.
    """
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    with context.Pool(min(len(tasks), os.cpu_count() or 1), _start, (queue,)) as pool:
        pending = {key: pool.apply_async(_work, (key, function, arguments)) for key, function, arguments in tasks}
        meanwhile()
        while pending:
            for key in [key for key, answer in pending.items() if answer.ready()]:
                yield key, pending.pop(key).get()
            while not queue.empty():
                show(*queue.get())
            if pending:
                next(iter(pending.values())).wait(0.05)


_queue: Any = None


def _start(queue: Any) -> None:
    """Prepare a worker: Ctrl-C is the parent's to answer."""
    global _queue  # noqa: PLW0603 - a worker has one queue, given when it starts
    _queue = queue
    threadpool_limits(1)  # as many workers as cores: more threads would only get in each other's way
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(key: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(*arguments, progress=lambda done, total: _queue.put((key, done / max(total, 1))))


# ---- what follows -------------------------------------------------------------------------------------------------


def conclusion(results: Results) -> str:
    """Say in one paragraph what the experiments show, from their numbers."""
    pairings = results.pairings()
    good = {name: found for name, found in pairings.items() if name.startswith("good")}
    published = {name: found for name, found in pairings.items() if name.startswith("published")}
    if not good:
        return "The experiments were not finished, so nothing follows from them yet."
    wins, seeds = sum(p.wins for p in good.values()), sum(p.seeds for p in good.values())
    ratio = float(np.exp(np.mean([np.log(p.cost_ratio) for p in good.values()])))
    ten = [np.mean([p.accuracy_10[side] for p in good.values()]) for side in (0, 1)]
    tied = sum(p.tied for p in good.values())
    text = (
        f"Against the right gradient the broken one ends with the higher cost in {seeds - wins} of {seeds} networks, "
        f"{ratio:.3g} times as high in the geometric mean. Accuracy on ten images is a poor judge of that: it is "
        f"{ten[0]:.3f} with the right gradient and {ten[1]:.3f} with the broken one, and cannot tell the two apart in "
        f"{tied} of {seeds} networks."
    )
    if published:
        wins, seeds = sum(p.wins for p in published.values()), sum(p.seeds for p in published.values())
        text += (
            f" What the article observed compares two wrong gradients: in its own regime the published broken network "
            f"ends with the lower cost in {wins} of {seeds}"
            f"{' run, a single toss of a coin' if seeds == 1 else ' runs, no better than a coin'}"
            " (--published repeats it with 20 seeds and three sizes)."
        )
    return text + " A gradient check on a handful of images names the wrong weights at once."
