"""The loss of the article's network."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from network.layers._arguments import Array, Shape, broadcast, float_array, output_gradient, sum_to

__all__ = ["SquaredErrorCache", "squared_error_backward", "squared_error_forward"]


class SquaredErrorCache(NamedTuple):
    """What `squared_error_backward` needs."""

    residual: Array
    outputs: tuple[Shape, np.dtype[np.floating]]
    targets: tuple[Shape, np.dtype[np.floating]]


def squared_error_forward(outputs: Array, targets: Array) -> tuple[Array, SquaredErrorCache]:
    """Return half the sum of squared differences over the last axis.

    Parameters
    ----------
    outputs, targets : arrays, shape (..., N)
        Leading axes broadcast.

    Returns
    -------
    loss : array, shape (...)
    cache : SquaredErrorCache

    Raises
    ------
    ValueError
        When the last axes differ, or the leading axes do not broadcast.

    Notes
    -----
    **Forward** ``loss = sum_n (outputs[n] - targets[n])**2 / 2``.
    **Backward** ``d_outputs[n] = dy (outputs[n] - targets[n])``, ``d_targets = -d_outputs``.
    """
    outputs, targets = float_array("outputs", outputs, "N"), float_array("targets", targets, "N")
    if outputs.shape[-1] != targets.shape[-1]:
        raise ValueError(
            f"outputs has shape {outputs.shape} and targets {targets.shape}; the last axis N must be the same."
        )
    broadcast(outputs=outputs.shape[:-1], targets=targets.shape[:-1])
    with np.errstate(over="ignore", invalid="ignore"):
        residual = np.asarray(outputs - targets)
        loss = np.asarray((residual * residual).sum(axis=-1) / 2)
    return loss.astype(residual.dtype, copy=False), SquaredErrorCache(
        residual, (outputs.shape, outputs.dtype), (targets.shape, targets.dtype)
    )


def squared_error_backward(dy: Array, cache: SquaredErrorCache) -> tuple[Array, Array]:
    """Pull a gradient back through `squared_error_forward`.

    Parameters
    ----------
    dy : array, shape (...)
        1.0 for the gradient of the loss itself where there is no leading axis.
    cache : SquaredErrorCache

    Returns
    -------
    d_outputs, d_targets : arrays, shapes of outputs and targets

    Raises
    ------
    ValueError
        For a ``dy`` that does not have exactly the loss's shape.
    """
    dy = output_gradient(dy, cache.residual.shape[:-1])
    with np.errstate(over="ignore", invalid="ignore"):
        gradient = dy[..., None] * cache.residual
        return sum_to(gradient, *cache.outputs), sum_to(-gradient, *cache.targets)
