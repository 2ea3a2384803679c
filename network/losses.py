"""Losses: pure pairs of a forward and a backward, as the layers."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from network.layers._arguments import Array, Shape, as_floats, as_upstream, broadcast, sum_to

__all__ = ["SquaredErrorCache", "squared_error_backward", "squared_error_forward"]


class SquaredErrorCache(NamedTuple):
    """What `squared_error_backward` needs: the operands as they were given."""

    outputs: Array
    targets: Array


def squared_error_forward(outputs: ArrayLike, targets: ArrayLike) -> tuple[Array, SquaredErrorCache]:
    """Halve the sum of squared differences over the samples.

    Parameters
    ----------
    outputs : array, shape (..., N)
        What the network gives, float32 or float64.
    targets : array, shape (..., N)
        What it should give; both broadcast.

    Returns
    -------
    loss : array, shape (...)
        One number for each entry of the leading axes; 0-d where there are none.
    cache : SquaredErrorCache
        For `squared_error_backward`. It refers to both arguments and copies none.

    Raises
    ------
    ValueError
        When shapes or dtypes do not fit together; nothing has been computed then.

    Notes
    -----
    **Forward** ``loss = sum_n (outputs[n] - targets[n])**2 / 2``

    **Backward** ``d_outputs[n] = dy * (outputs[n] - targets[n])``, ``d_targets = -d_outputs``
    """
    outputs = as_floats(outputs, "outputs", "squared_error")
    targets = as_floats(targets, "targets", "squared_error")
    _difference_shape(outputs.shape, targets.shape)
    with np.errstate(all="ignore"):
        difference = outputs - targets
        loss = np.add.reduce(difference * difference, axis=-1) / 2
    return loss, SquaredErrorCache(outputs, targets)


def squared_error_backward(dy: ArrayLike, cache: SquaredErrorCache) -> tuple[Array, Array]:
    """Pull the gradient of the loss back to outputs and targets.

    Parameters
    ----------
    dy : array
        Of exactly the shape of the loss: 1.0 where it has no axis.
    cache : SquaredErrorCache
        From `squared_error_forward`; it is not changed.

    Returns
    -------
    d_outputs, d_targets : array
        Shapes and dtypes of outputs and targets, summed over the axes along which they were broadcast.

    Raises
    ------
    ValueError
        When dy has not exactly the shape of the loss, or is not of floats.
    """
    outputs, targets = cache
    dy = as_upstream(dy, _difference_shape(outputs.shape, targets.shape)[:-1], "squared_error")
    with np.errstate(all="ignore"):
        gradient = dy[..., np.newaxis] * (outputs - targets)
        return sum_to(gradient, outputs.shape, outputs.dtype), sum_to(-gradient, targets.shape, targets.dtype)


@lru_cache(maxsize=1024)
def _difference_shape(outputs: Shape, targets: Shape) -> Shape:
    """Check the shapes and return what they broadcast to."""
    for name, shape in (("outputs", outputs), ("targets", targets)):
        if not shape:
            raise ValueError(
                f"{name} is a single number, but squared_error sums over a last axis of N samples; pass shape (..., N)."
            )
    if outputs[-1] != targets[-1]:
        raise ValueError(
            f"outputs has {outputs[-1]} samples (shape {outputs}), but targets has {targets[-1]} (shape {targets}); "
            f"the last axes must be equal."
        )
    return (*broadcast(outputs=outputs[:-1], targets=targets[:-1]), outputs[-1])
