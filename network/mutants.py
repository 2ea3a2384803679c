"""The experiment of bugs: the article's network trained with each, against what a gradient check says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network import article
from network.article.bugs import ALL, RIGHT, Bug, feedback_of, groups, train
from network.experiments import GOOD, signed_rank
from network.job import PUBLISHED_SIZE, Task

__all__ = ["NEARLY_ALL", "Row", "conclusion", "merged", "rows_of", "train_some", "training_tasks"]

Floats = NDArray[np.float64]
Trained = dict[str, tuple[Floats, Floats]]
"""Name of a bug -> final costs and accuracies, one for each seed."""

NETWORKS_AT_ONCE = 60
"""Networks that take their steps together: fewer cost more calls, more would not fit the cache."""

NEARLY_ALL = 0.99
"""Mean accuracy above which a network is taken for one that works."""

REWARDED = 0.95
"""Share of the seeds in which a bug ends with the lower cost that makes it one which training rewards."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one bug does to training, and what a check says of it.

    Attributes
    ----------
    name, mistake : str
    cost, cost_ratio : float
        Median final cost, and the geometric mean of its ratio to that of the right gradient, seed by seed.
    cheaper : int
        Seeds in which the final cost is lower than with the right gradient.
    p_value : float or None
        Two-sided Wilcoxon signed-rank test of the log costs.
    accuracy, worst : float
        Mean and least accuracy on the test images.
    better, tied, worse : int
        Seeds in which the accuracy is higher, the same, lower than with the right gradient.
    seeds : int
    verdict : str
        Of the gradient check.
    images, evaluations : int
        From so many images, with so many calls of the loss.
    wrong : tuple of str
        The weights that the check names.
    relative_error, angle : float
        Of the whole gradient, from the right one, in degrees.
    """

    name: str
    mistake: str
    cost: float
    cost_ratio: float
    cheaper: int
    p_value: float | None
    accuracy: float
    worst: float
    better: int
    tied: int
    worse: int
    seeds: int
    verdict: str
    images: int
    evaluations: int
    wrong: tuple[str, ...]
    relative_error: float
    angle: float

    @property
    def is_rewarded(self) -> bool:
        """Whether the cost ends lower than with the right gradient in nearly every network."""
        return self.cheaper >= REWARDED * self.seeds


def training_tasks(seeds: int, epochs: int | None) -> list[Task]:
    """Return the trainings, the longest first; each gives final costs and accuracies of some bugs and seeds."""
    parts = []
    for members in groups(ALL):
        size = max(1, NETWORKS_AT_ONCE // len(members))
        parts += [(members, tuple(range(start, min(start + size, seeds)))) for start in range(0, seeds, size)]
    parts.sort(key=lambda part: -len(part[0]) * len(part[1]))
    return [(f"train {members} {chunk}", train_some, (members, chunk, epochs)) for members, chunk in parts]


def train_some(
    members: list[int],
    seeds: tuple[int, ...],
    epochs: int | None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train the networks of some bugs, by their positions, and seeds; test them."""
    images, labels = article.load_digits01()
    images = images / GOOD.brightest
    bugs = [ALL[i] for i in members]
    drawn = [article.draw(seed, hidden=PUBLISHED_SIZE, scale=GOOD.scale) for seed in seeds]
    order = np.stack([permutation for _, permutation in drawn])
    seen, kept = order[:, GOOD.test :], order[:, : GOOD.test]
    trained = train(
        {name: np.stack([weights[name] for weights, _ in drawn]) for name in drawn[0][0]},
        images[seen],
        labels[seen],
        bugs=bugs,
        feedback=np.stack([feedback_of(seed, PUBLISHED_SIZE, GOOD.scale) for seed in seeds]),
        learning_rate=GOOD.learning_rate,
        momentum=GOOD.momentum,
        epochs=GOOD.epochs if epochs is None else epochs,
        progress=progress,
    )
    found = article.predict(trained.params, images[kept], shared_kernel=bugs[0].shared_kernel) == labels[kept]
    return {bug.name: (trained.costs[-1, i], found[i].mean(axis=1)) for i, bug in enumerate(bugs)}


def merged(parts: list[Trained | None]) -> Trained:
    """Put the parts of `training_tasks` together, in their order; bugs of which a part is missing are left out."""
    found: dict[str, list[tuple[Floats, Floats]]] = {}
    for part in parts:
        for name, outcome in (part or {}).items():
            found.setdefault(name, []).append(outcome)
    together = {
        name: (np.concatenate([cost for cost, _ in outcomes]), np.concatenate([share for _, share in outcomes]))
        for name, outcomes in found.items()
    }
    most = max((len(cost) for cost, _ in together.values()), default=0)
    return {name: outcome for name, outcome in together.items() if len(outcome[0]) == most}


def rows_of(trained: Trained, checks: dict[str, dict[str, Any]]) -> list[Row]:
    """Return a row for each bug of which both are there, the right gradient first."""
    right = trained.get(RIGHT.name)
    if right is None:
        return []
    return [
        _row(bug, right, trained[bug.name], checks[bug.name])
        for bug in ALL
        if bug.name in trained and bug.name in checks
    ]


def _row(bug: Bug, right: tuple[Floats, Floats], wrong: tuple[Floats, Floats], check: dict[str, Any]) -> Row:
    (right_cost, right_accuracy), (cost, accuracy) = right, wrong
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(cost / right_cost)
    change = np.sign(accuracy - right_accuracy)
    return Row(
        name=bug.name,
        mistake=bug.mistake,
        cost=float(np.median(cost)),
        cost_ratio=float(np.exp(np.mean(logs))),
        cheaper=int(np.sum(cost < right_cost)),
        p_value=signed_rank(logs),
        accuracy=float(accuracy.mean()),
        worst=float(accuracy.min()),
        better=int(np.sum(change > 0)),
        tied=int(np.sum(change == 0)),
        worse=int(np.sum(change < 0)),
        seeds=len(cost),
        **check,
    )


def conclusion(rows: list[Row]) -> str:
    """Say in one paragraph what follows, from the numbers."""
    wrong = [row for row in rows if row.name != RIGHT.name]
    if not wrong:
        return "The experiment was not finished, so nothing follows from it yet."
    kept = [row for row in wrong if row.accuracy >= NEARLY_ALL]
    cheaper = [row for row in wrong if row.is_rewarded]
    flagged = [row for row in wrong if row.verdict == "fail"]
    rewarded = f" ({'; '.join(row.name for row in cheaper)})" if cheaper else ""
    images = max(row.images for row in wrong)
    return (
        f"{len(kept)} of {len(wrong)} wrong gradients leave the mean accuracy on {GOOD.test} test images at {NEARLY_ALL} or "
        f"more, and {len(cheaper)} end with a lower cost than the right gradient in nearly every network{rewarded}. A gradient "
        f"check on {'one image' if images == 1 else f'{images} images at most'} says fail to {len(flagged)} of {len(wrong)}, "
        f"and {rows[0].verdict} to the right one."
    )
