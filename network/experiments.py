"""The article's experiments: the right gradient against the broken one, over many seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network import article

__all__ = ["GOOD", "HIDDEN_SIZES", "PUBLISHED", "Outcome", "Pairing", "Regime", "pair", "run", "signed_rank"]

Floats = NDArray[np.float64]

HIDDEN_SIZES = ((18, 20), (48, 56), (28, 36))
"""The article's results 1 and 2, and the size in its code."""

SMALL_TEST = 10
"""Images on which the article measured accuracy."""


@dataclass(frozen=True, slots=True)
class Regime:
    """How a network is initialised, trained and tested.

    Attributes
    ----------
    name : str
    learning_rate, momentum : float
    scale : float
        Standard deviation of the initial weights.
    brightest : float
        Pixels are divided by this.
    epochs : int
    test : int
        How many images, the first of the permutation, are kept for testing.
    """

    name: str
    learning_rate: float
    momentum: float
    scale: float
    brightest: float
    epochs: int
    test: int


GOOD = Regime("good", 0.01, 0.9, 0.2, 16.0, 50, 120)
PUBLISHED = Regime("published", 1e-4, 8e-5, 1.0, 1.0, 500, 10)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one gradient trained, over all seeds.

    Attributes
    ----------
    regime : str
    hidden : tuple of int
    backward : str
    shared_kernel : bool
    seeds : tuple of int
    costs : array, shape (epochs, seeds)
    accuracy_10, accuracy_all : arrays, shape (seeds,)
        Share of right answers among the first ten test images, and among all of them.
    tested : int
        How many test images ``accuracy_all`` speaks of.
    """

    regime: str
    hidden: tuple[int, int]
    backward: str
    shared_kernel: bool
    seeds: tuple[int, ...]
    costs: Floats
    accuracy_10: Floats
    accuracy_all: Floats
    tested: int


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two outcomes, seed by seed.

    Attributes
    ----------
    seeds : int
    wins : int
        Seeds in which the broken gradient ends with the lower cost.
    cost_ratio : float
        Geometric mean of broken over baseline final cost.
    p_value : float or None
        Two-sided Wilcoxon signed-rank test of the log costs; None for fewer than two seeds.
    accuracy_10, accuracy_all : tuple of float
        Mean accuracy of (baseline, broken).
    better, tied, worse : int
        Seeds in which the broken net does better, as well, or worse on ten images.
    """

    seeds: int
    wins: int
    cost_ratio: float
    p_value: float | None
    accuracy_10: tuple[float, float]
    accuracy_all: tuple[float, float]
    better: int
    tied: int
    worse: int


def run(
    regime: Regime,
    hidden: tuple[int, int],
    backwards: tuple[str, ...],
    seeds: tuple[int, ...],
    *,
    epochs: int | None = None,
    shared_kernel: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Outcome, ...]:
    """Train one network per gradient and seed, all together, and test them.

    Parameters
    ----------
    regime : Regime
    hidden : tuple of int
        Sizes of the two dense layers.
    backwards : tuple of str
        Names in `network.article.BACKWARDS`; several must fit together, see `network.article.train`.
    seeds : tuple of int
    epochs : int, optional
        Default: the regime's.
    shared_kernel : bool
        The published forward.
    progress : callable, optional
        Called after each epoch with the epochs done and their number.

    Returns
    -------
    outcomes : tuple of Outcome
        One for each gradient.
    """
    images, labels = article.load_digits01()
    images = images / regime.brightest
    drawn = [article.draw(seed, hidden=hidden, scale=regime.scale) for seed in seeds]
    params = {name: np.stack([[weights[name] for weights, _ in drawn]] * len(backwards)) for name in drawn[0][0]}
    order = np.stack([permutation for _, permutation in drawn])
    seen, kept = order[:, regime.test :], order[:, : regime.test]
    trained = article.train(
        params,
        images[seen],
        labels[seen],
        learning_rate=regime.learning_rate,
        momentum=regime.momentum,
        epochs=regime.epochs if epochs is None else epochs,
        backward=backwards,
        shared_kernel=shared_kernel,
        progress=progress,
    )
    right = article.predict(trained.params, images[kept], shared_kernel=shared_kernel) == labels[kept]
    return tuple(
        Outcome(
            regime=regime.name,
            hidden=hidden,
            backward=backward,
            shared_kernel=shared_kernel,
            seeds=seeds,
            costs=trained.costs[:, index],
            accuracy_10=right[index, :, :SMALL_TEST].mean(axis=1),
            accuracy_all=right[index].mean(axis=1),
            tested=regime.test,
        )
        for index, backward in enumerate(backwards)
    )


def pair(baseline: Outcome, broken: Outcome) -> Pairing:
    """Compare two outcomes of the same seeds.

    Raises
    ------
    ValueError
        When the seeds differ.
    """
    if baseline.seeds != broken.seeds:
        raise ValueError(f"the outcomes have seeds {baseline.seeds} and {broken.seeds}; pair the same seeds.")
    first, second = baseline.costs[-1], broken.costs[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(second / first)
    small = np.sign(broken.accuracy_10 - baseline.accuracy_10)
    return Pairing(
        seeds=len(baseline.seeds),
        wins=int(np.sum(second < first)),
        cost_ratio=float(np.exp(np.mean(logs))),
        p_value=signed_rank(logs),
        accuracy_10=(float(baseline.accuracy_10.mean()), float(broken.accuracy_10.mean())),
        accuracy_all=(float(baseline.accuracy_all.mean()), float(broken.accuracy_all.mean())),
        better=int(np.sum(small > 0)),
        tied=int(np.sum(small == 0)),
        worse=int(np.sum(small < 0)),
    )


def signed_rank(logs: Floats) -> float | None:
    """Return the p value of Wilcoxon's two-sided signed-rank test; None where there is nothing to rank."""
    if len(logs) < 2 or not np.all(np.isfinite(logs)) or not np.any(logs):
        return None
    from scipy.stats import wilcoxon  # noqa: PLC0415 - scipy is slow to import and only needed here

    result: Any = wilcoxon(logs)
    return float(result.pvalue)
