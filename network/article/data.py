"""Images and initial weights, drawn in the order in which the article's author drew them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from network.layers._arguments import Array

__all__ = ["draw", "init_params", "load_digits01", "load_four_images"]

IMAGES = 360
"""How many of scikit-learn's digits are a 0 or a 1."""

PUBLISHED_SEED = 12747
TEST_IMAGES = 10
"""The author's test set: the first images of the permutation; the others are the training set."""

FOUR_IMAGES = (0, 110, 122, 3)
"""Which training images the author's script for four images prints."""


def load_digits01() -> tuple[Array, Array]:
    """Load the zeros and ones among scikit-learn's 8x8 digits.

    Returns
    -------
    images : array, shape (360, 8, 8)
        float64, integers 0..16; all zeros, then all ones, each in the data set's order.
    labels : array, shape (360,)
        Integers 0 and 1.

    Raises
    ------
    ModuleNotFoundError
        Without scikit-learn.
    """
    rows = np.loadtxt(_digits(), delimiter=",")
    zeros, ones = (rows[rows[:, -1] == digit, :-1] for digit in (0, 1))
    return np.concatenate([zeros, ones]).reshape(-1, 8, 8), np.repeat([0, 1], [len(zeros), len(ones)])


def _digits() -> Path:
    """Find the file that `sklearn.datasets.load_digits` reads: to import that takes a second in every process."""
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("scikit-learn is not installed, whose digits were asked for.", name="sklearn")
    return Path(found.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")


def load_four_images() -> tuple[Array, Array]:
    """Load the four training images of the article's small example.

    Returns
    -------
    images : array, shape (4, 8, 8)
        float64, integers 0..16.
    labels : array, shape (4,)
        0, 1, 1, 0.
    """
    images, labels = load_digits01()
    _, permutation = draw(PUBLISHED_SEED)
    chosen = permutation[TEST_IMAGES:][list(FOUR_IMAGES)]
    return images[chosen], labels[chosen]


def init_params(seed: int, hidden: tuple[int, int] = (28, 36), scale: float = 1.0) -> dict[str, Array]:
    """Draw the nine weights.

    Parameters
    ----------
    seed : int
        Of a legacy generator, so that the author's numbers come out.
    hidden : pair of int
        Units of the two hidden dense layers.
    scale : float
        Standard deviation of the weights.

    Returns
    -------
    params : dict
        ``W1a``, ``W1b``, ``W2a`` to ``W2d`` of shape (3, 3), ``W3`` (16, A), ``W4`` (A, B), ``W5`` (B, 1), in the
        order in which they are drawn.

    Raises
    ------
    ValueError
        For ``hidden`` that is not two whole numbers, at least 1.
    """
    return _params(np.random.RandomState(seed), hidden, scale)


def draw(seed: int, hidden: tuple[int, int] = (28, 36), scale: float = 1.0) -> tuple[dict[str, Array], Array]:
    """Draw the nine weights, then from the same generator a permutation of the 360 images.

    Parameters
    ----------
    seed, hidden, scale
        See `init_params`.

    Returns
    -------
    params : dict
        See `init_params`.
    permutation : array, shape (360,)
        Integers. The author tests on the first ten, and trains on the others in this order.

    Raises
    ------
    ValueError
        See `init_params`.
    """
    generator = np.random.RandomState(seed)
    params = _params(generator, hidden, scale)
    permutation = np.arange(IMAGES)
    generator.shuffle(permutation)
    return params, permutation


def _params(generator: np.random.RandomState, hidden: Any, scale: float) -> dict[str, Array]:
    try:
        first, second = (int(units) for units in hidden)
    except (TypeError, ValueError):
        first = second = 0
    if min(first, second) < 1:
        raise ValueError(f"hidden={hidden!r} must be two whole numbers, at least 1: the units of the hidden layers.")
    shapes = dict.fromkeys(("W1a", "W1b", "W2a", "W2b", "W2c", "W2d"), (3, 3))
    shapes |= {"W3": (16, first), "W4": (first, second), "W5": (second, 1)}
    return {name: scale * generator.randn(*shape) for name, shape in shapes.items()}
