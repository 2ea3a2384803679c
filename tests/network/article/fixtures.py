"""What the article's tests share: weights without a random generator, samples, and all ways of going backward."""

import functools
import itertools
from typing import Any

import numpy as np

from network import article

NAMES = ("W1a", "W1b", "W2a", "W2b", "W2c", "W2d", "W3", "W4", "W5")


def sine_params(hidden: tuple[int, int] = (28, 36)) -> dict[str, Any]:
    """0.3 sin(k + 1), k counting through all weights."""
    shapes = [(3, 3)] * 6 + [(16, hidden[0]), hidden, (hidden[1], 1)]
    params, k = {}, 0
    for name, (rows, columns) in zip(NAMES, shapes, strict=True):
        params[name] = 0.3 * np.sin(np.arange(k, k + rows * columns) + 1.0).reshape(rows, columns)
        k += rows * columns
    return params


@functools.cache
def digits() -> tuple[Any, Any]:
    """The zeros and ones and their labels, read once for all tests; the arrays are read-only."""
    arrays = article.load_digits01()
    for array in arrays:
        array.setflags(write=False)
    return arrays


def two_samples() -> tuple[Any, Any]:
    """The first zero and the first one."""
    images, labels = digits()
    return images[[0, 178]] / 16, labels[[0, 178]]


def regime(seed: int, name: str, hidden: tuple[int, int] = (28, 36)) -> tuple[dict[str, Any], Any, Any, Any, Any]:
    """Weights, training images and labels, test images and labels: "P" as published, "G" where networks learn well."""
    scale, divisor, tests = {"P": (1.0, 1, 10), "G": (0.2, 16, 120)}[name]
    params, order = article.draw(seed, hidden, scale)
    images, labels = digits()
    images, labels = images[order] / divisor, labels[order]
    return params, images[tests:], labels[tests:], images[:tests], labels[:tests]


REGIMES = {"P": {"learning_rate": 1e-4, "momentum": 8e-5}, "G": {"learning_rate": 0.01, "momentum": 0.9}}


def every_option() -> list[dict[str, Any]]:
    """All combinations of backward, layers, ties and shared_kernel that exist."""
    options = []
    for backward in article.BACKWARDS:
        is_author, is_article = backward.startswith("author"), backward.startswith("article")
        layers = [(1, 2)] if is_author or is_article else [(1,), (2,), (1, 2)]
        shared = (False, True) if is_author or backward == "right" else (False,)
        for at, ties, is_shared in itertools.product(layers, ("first", "all", None), shared):
            options.append({"backward": backward, "layers": at, "ties": ties, "shared_kernel": is_shared})
    return options


def option_id(options: dict[str, Any]) -> str:
    """A test's name for one of them."""
    layers = "".join(map(str, options["layers"]))
    return f"{options['backward']}-{layers}-{options['ties']}-{'shared' if options['shared_kernel'] else 'own'}"


def stacked(*trees: dict[str, Any]) -> dict[str, Any]:
    """Networks side by side on a leading axis."""
    return {name: np.stack([tree[name] for tree in trees]) for name in trees[0]}
