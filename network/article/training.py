"""Training sample by sample with momentum, many networks at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from network.article.fused import FusedStep, columns_of
from network.article.model import NAMES, check_data, check_labels, check_params
from network.article.variants import Rule, choose_rule
from network.layers._arguments import Array, Shape, broadcast

__all__ = ["Training", "flat_weights", "named_weights", "run", "train"]


class Training(NamedTuple):
    """What training gave.

    Attributes
    ----------
    costs : array, shape (epochs, ...)
        Per epoch the sum of the samples' losses, each at the weights of its own visit.
    params : dict
        The weights at the end.
    """

    costs: Array
    params: dict[str, Array]


def train(
    params: Mapping[str, Array],
    images: Array,
    labels: Array,
    *,
    learning_rate: float,
    momentum: float,
    epochs: int,
    backward: str | tuple[str, ...] = "right",
    layers: tuple[int, ...] = (1, 2),
    ties: str | None = None,
    shared_kernel: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Training:
    """Train by ``v = momentum v + learning_rate g; w = w - v`` after each sample, from ``v = 0``.

    Parameters
    ----------
    params : mapping
        The weights at the start, leading axes (...) for independent networks; not changed.
    images : array, shape (..., N, 8, 8)
        In the order in which they are visited, the same in every epoch.
    labels : array, shape (..., N)
    learning_rate, momentum : float
    epochs : int
    backward, layers, ties, shared_kernel
        See `network.article.gradient`. A tuple of names has one for each entry of the first leading axis; together they
        take little more than one alone. They must treat ties, and the gradient between the layers, the same way.
    progress : callable, optional
        Called after each epoch with the epochs done and their number.

    Returns
    -------
    training : Training
        ``costs`` and ``params``, in float64. Leading axes of weights, images and labels broadcast: each combination
        is a network of its own.

    Raises
    ------
    ValueError
        Naming the argument that does not fit; nothing is computed then.
    """
    names = (backward,) if isinstance(backward, str) else tuple(backward)
    rules = [choose_rule(name, layers, ties, shared_kernel=shared_kernel) for name in names]
    checked = check_params(params)
    images = check_data(checked, images)
    labels = check_labels(labels, checked, images)
    _check_numbers(learning_rate, momentum, epochs)
    leading = broadcast(
        params=np.broadcast_shapes(*(array.shape[:-2] for array in checked.values())),
        images=images.shape[:-3],
        labels=labels.shape[:-1],
    )
    if not isinstance(backward, str):
        _check_together(names, rules, leading)

    def step_of(weights: Array, hidden: tuple[int, int]) -> FusedStep:
        of_networks = [rule for rule in rules for _ in range(len(weights) // len(rules))]
        return FusedStep(weights, hidden, of_networks, shared_kernel=shared_kernel)

    return run(step_of, checked, images, labels, leading, learning_rate, momentum, epochs, progress)


def run(
    step_of: Callable[[Array, tuple[int, int]], FusedStep],
    params: Mapping[str, Array],
    images: Array,
    labels: Array,
    leading: Shape,
    learning_rate: float,
    momentum: float,
    epochs: int,
    progress: Callable[[int, int], None] | None = None,
) -> Training:
    """Train with any step.

    Parameters
    ----------
    step_of : callable
        ``step_of(weights, hidden)`` gives the step of the networks whose weights (S, parameters) are handed over.
    params, images, labels, learning_rate, momentum, epochs, progress
        As for `train`, checked.
    leading : tuple of int
        What the leading axes broadcast to.
    """
    shapes = {name: params[name].shape[-2:] for name in NAMES}
    weights = flat_weights(params, leading)
    if not len(weights):
        return Training(np.zeros((epochs, *leading)), named_weights(weights, leading, shapes))
    step = step_of(weights, (shapes["W4"][0], shapes["W4"][1]))
    columns = columns_of(_networks_first(images, leading, 3))
    targets = np.ascontiguousarray(_networks_first(labels, leading, 1).T)[:, :, None, None]
    costs = np.empty((epochs, len(step.weights)))
    for epoch in range(epochs):
        costs[epoch] = _run_epoch(step, columns, targets, learning_rate, momentum)
        if progress is not None:
            progress(epoch + 1, epochs)
    return Training(costs.reshape(epochs, *leading), named_weights(step.weights, leading, shapes))


def _run_epoch(step: FusedStep, columns: Array, targets: Array, learning_rate: float, momentum: float) -> Array:
    """Visit each sample once; return the sum of the costs, shape (S,)."""
    residuals = np.empty((len(columns), *step.slope5.shape))
    rate, kept = np.array(learning_rate), np.array(momentum)  # see `network.article.fused`
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for seen, target, residual in zip(columns, targets, residuals, strict=True):
            np.subtract(step.forward(seen), target, out=residual)
            step.backward(rate * residual, seen)
            step.update(kept)
        costs: Array = (residuals * residuals).sum(axis=(0, 2, 3)) / 2
    return costs


def _check_together(names: tuple[str, ...], rules: Sequence[Rule], leading: Shape) -> None:
    """Raise ValueError where these rules are not one for each entry of the first leading axis, or cannot take one step."""
    if leading[:1] != (len(names),):
        raise ValueError(
            f"backward={names!r} has {len(names)} names, but the leading axes are {leading}; give one name for each "
            f"entry of the first of them, or a single name for all."
        )
    if len({(rule.ties, rule.rotate_input) for rule in rules}) > 1:
        raise ValueError(
            f"backward={names!r} treat ties, or the gradient between the layers, in different ways; train them one "
            f"after the other."
        )


def _check_numbers(learning_rate: Any, momentum: Any, epochs: Any) -> None:
    for name, value in (("learning_rate", learning_rate), ("momentum", momentum)):
        if np.ndim(value) or not np.isfinite(value):
            raise ValueError(f"{name}={value!r} must be a finite number.")
    if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 0:
        raise ValueError(f"epochs={epochs!r} must be a whole number, at least 0.")


def flat_weights(params: Mapping[str, Array], leading: Shape) -> Array:
    """Return the weights of all networks, shape (S, parameters)."""
    networks = int(np.prod(leading))
    full = [np.broadcast_to(array, (*leading, *array.shape[-2:])) for array in (params[name] for name in NAMES)]
    return np.concatenate(
        [array.reshape(networks, int(np.prod(array.shape[-2:]))) for array in full], axis=1, dtype=float
    )


def named_weights(flat: Array, leading: Shape, shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """Cut the rows of numbers into weights again."""
    parts = np.split(flat, np.cumsum([np.prod(shapes[name]) for name in NAMES])[:-1], axis=1)
    return {name: part.reshape(*leading, *shapes[name]).copy() for name, part in zip(NAMES, parts, strict=True)}


def _networks_first(data: Array, leading: Shape, core: int) -> Array:
    """Return data with one leading axis, of length 1 where all networks share them."""
    core_shape = data.shape[data.ndim - core :]
    if all(length == 1 for length in data.shape[: data.ndim - core]):
        return data.reshape(1, *core_shape)
    return np.broadcast_to(data, (*leading, *core_shape)).reshape(-1, *core_shape)
