"""The network as a chain of stages, each a forward and a backward of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from network.article.backward import activate_backward, convolve_backward, pool_backward
from network.article.model import (
    ACTIVATIONS,
    KERNELS,
    LAYER_ACTIVATIONS,
    activate_forward,
    check_labels,
    check_params,
    convolve_forward,
    flatten,
)
from network.article.variants import Rule, choose_rule
from network.layers import dense_backward, dense_forward, max_pool2d_forward
from network.layers._arguments import Array
from network.losses import squared_error_backward, squared_error_forward

__all__ = ["stages"]

Stage = tuple[str, Callable[..., tuple[Array, Any]], Callable[[Array, Any], tuple[Array, ...]], tuple[Array, ...]]


def stages(
    params: Mapping[str, Array],
    labels: Array,
    *,
    backward: str = "right",
    layers: tuple[int, ...] = (1, 2),
    ties: str | None = None,
) -> list[Stage]:
    """Cut the network into stages: run on images (..., N, 8, 8), they give the loss and any of its gradients.

    Parameters
    ----------
    params : mapping
        The nine weights, each with any leading axes.
    labels : array, shape (..., N)
    backward, layers, ties
        See `network.article.gradient`.

    Returns
    -------
    stages : list of tuples ``(name, forward, backward, params)``
        ``conv1, act1, pool1, conv2, act2, pool2, dense3, act3, dense4, act4, dense5, act5, loss``.
        ``forward(x, *params)`` gives ``(y, cache)``, ``backward(dy, cache)`` gives ``(dx, *dparams)``. A wrong
        backward is wrong in the pools; the author's two also in the convolutions.

    Raises
    ------
    ValueError
        Naming the argument that does not fit.
    """
    rule = choose_rule(backward, layers, ties)
    checked = check_params(params)
    labels = check_labels(labels, checked)
    chain = [*_pooled(1, rule, checked), *_pooled(2, rule, checked)]
    for layer in (3, 4, 5):
        chain += _dense(layer, checked[f"W{layer}"])
    return [*chain, _loss(labels)]


def _pooled(layer: int, rule: Rule, params: Mapping[str, Array]) -> list[Stage]:
    """Return convolution, activation and pool of a layer."""
    activations, rotate_input = LAYER_ACTIVATIONS[layer], rule.rotate_input and layer == 2

    def convolution(x: Array, *kernels: Array) -> tuple[Array, Any]:
        return convolve_forward(x if layer == 2 else x[..., None, :, :], *kernels, groups=layer)

    def convolution_back(dy: Array, cache: Any) -> tuple[Array, ...]:
        dx, *dw = convolve_backward(dy, cache, rotate_input=rotate_input, rotate_weights=rule.rotate_weights)
        return (dx if layer == 2 else dx[..., 0, :, :], *dw)

    def activation(x: Array) -> tuple[Array, Any]:
        return activate_forward(x, activations)

    def activation_back(dy: Array, cache: Any) -> tuple[Array, ...]:
        return (activate_backward(dy, cache, activations),)

    def pool(x: Array) -> tuple[Array, Any]:
        return max_pool2d_forward(x, 2)

    def pool_back(dy: Array, cache: Any) -> tuple[Array, ...]:
        return (pool_backward(dy, cache, rule, layer),)

    return [
        (
            f"conv{layer}",
            _naming(convolution, *KERNELS[layer]),
            convolution_back,
            tuple(params[name] for name in KERNELS[layer]),
        ),
        (f"act{layer}", activation, activation_back, ()),
        (f"pool{layer}", pool, pool_back, ()),
    ]


def _naming(forward: Callable[..., tuple[Array, Any]], *weights: str) -> Callable[..., tuple[Array, Any]]:
    """Give the forward of a stage a signature in which its weights have their own names, for who reads it."""
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("x", *weights)]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return forward


def _dense(layer: int, weights: Array) -> list[Stage]:
    """Return a dense layer, the first on flattened maps, and its activation."""
    forward, backward = ACTIVATIONS[LAYER_ACTIVATIONS[layer][0]]

    def dense(x: Array, w: Array) -> tuple[Array, Any]:
        y, cache = dense_forward(flatten(x) if layer == 3 else x, w)
        return y, (cache, x.shape)

    def dense_back(dy: Array, cache: Any) -> tuple[Array, ...]:
        dx, dw = dense_backward(dy, cache[0])
        return dx.reshape(cache[1]), dw

    def activation_back(dy: Array, cache: Any) -> tuple[Array, ...]:
        return (backward(dy, cache),)

    return [
        (f"dense{layer}", _naming(dense, f"W{layer}"), dense_back, (weights,)),
        (f"act{layer}", forward, activation_back, ()),
    ]


def _loss(labels: Array) -> Stage:
    def loss(x: Array) -> tuple[Array, Any]:
        return squared_error_forward(x[..., 0], labels)

    def loss_back(dy: Array, cache: Any) -> tuple[Array, ...]:
        return (squared_error_backward(dy, cache)[0][..., None],)

    return ("loss", loss, loss_back, ())
