"""The right gradient and the wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from network.article.model import (
    ACTIVATIONS,
    KERNELS,
    LAYER_ACTIVATIONS,
    NAMES,
    ConvolveCache,
    ForwardCache,
    check_data,
    check_labels,
    check_params,
    convolve_forward,
    forward,
)
from network.article.variants import Rule, choose_rule, rotate, tie_mask, transform, upsample
from network.layers import conv2d_backward, dense_backward, max_pool2d_backward
from network.layers._arguments import Array, sum_to
from network.losses import squared_error_backward, squared_error_forward

__all__ = ["activate_backward", "convolve_backward", "gradient", "pool_backward"]


def gradient(
    params: Mapping[str, Array],
    images: Array,
    labels: Array,
    *,
    backward: str = "right",
    layers: tuple[int, ...] = (1, 2),
    ties: str | None = None,
    shared_kernel: bool = False,
) -> dict[str, Array]:
    """Return the gradient of the loss, or what a wrong backward pass takes for it.

    Parameters
    ----------
    params : mapping
        The nine weights, each with any leading axes.
    images : array, shape (..., N, 8, 8)
    labels : array, shape (..., N)
    backward : str
        A name in `network.article.BACKWARDS`.
    layers : tuple of int
        At which pooled layers a wrong pass is wrong. ``author-*`` and ``article-*`` are whole: only (1, 2).
    ties : {"first", "all"}, optional
        Who gets the gradient of a window with several equal maxima: the first in row-major order (the derivative),
        or all (as the article's author did). Default: "first" for "right", "all" for the rest.
    shared_kernel : bool
        The published forward (see `network.article.forward`): with "right" its true gradient, with "author-original"
        and "author-broken" what the published code computes.

    Returns
    -------
    gradient : dict
        Like ``params``, every entry of its weight's shape: summed over the samples, and over the leading axes along
        which the weight was broadcast.

    Raises
    ------
    ValueError
        Naming the argument that does not fit; nothing is computed then.
    """
    rule = choose_rule(backward, layers, ties, shared_kernel=shared_kernel)
    checked = check_params(params)
    images = check_data(checked, images)
    labels = check_labels(labels, checked, images)
    outputs, cache = forward(checked, images, shared_kernel=shared_kernel)
    cost, loss_cache = squared_error_forward(outputs, labels)
    dy, _ = squared_error_backward(np.ones_like(cost), loss_cache)
    gradients: dict[str, Array] = {}
    dy = dy[..., None]
    for layer in (5, 4, 3):
        dy = ACTIVATIONS[LAYER_ACTIVATIONS[layer][0]][1](dy, cache.acts[layer - 3])
        dy, gradients[f"W{layer}"] = dense_backward(dy, cache.dense[layer - 3])
    dy = pool_backward(dy.reshape(cache.maps), cache.pool2, rule, 2)
    dy = activate_backward(dy, cache.act2, LAYER_ACTIVATIONS[2])
    dy, second, shared = _second_layer(dy, cache, checked, rule, is_shared=shared_kernel, is_right=backward == "right")
    dy = pool_backward(dy, cache.pool1, rule, 1)
    dy = activate_backward(dy, cache.act1, LAYER_ACTIVATIONS[1])
    _, *first = convolve_backward(dy, cache.conv1, rotate_weights=rule.rotate_weights, needs_dx=False)
    gradients |= dict(zip(KERNELS[1] + KERNELS[2], [*first, *second], strict=True))
    gradients["W1b"] = gradients["W1b"] + sum(shared)
    return {name: gradients[name] for name in NAMES}


def _second_layer(
    dy: Array, cache: ForwardCache, params: Mapping[str, Array], rule: Rule, *, is_shared: bool, is_right: bool
) -> tuple[Array, list[Array], list[Array]]:
    """Return the gradients of layer 2's input, of W2a to W2d, and of the four uses of a shared W1b."""
    flags = {"rotate_input": rule.rotate_input, "rotate_weights": rule.rotate_weights}
    kernels = [params[name] for name in KERNELS[2]]
    if not is_shared:
        dx, *second = convolve_backward(dy, cache.conv2, **flags)
        return dx, second, []
    if is_right:
        dx, *shared = convolve_backward(dy, cache.conv2, **flags)
        return dx, [np.zeros_like(kernel) for kernel in kernels], shared
    z, conv2 = convolve_forward(cache.pooled1, *kernels, groups=2)  # the published code goes back through W2a to W2d
    dx, *second = convolve_backward(np.broadcast_to(dy, z.shape), conv2, **flags)
    return dx, second, []


def convolve_backward(
    dy: Array, cache: ConvolveCache, *, rotate_input: bool = False, rotate_weights: bool = False, needs_dx: bool = True
) -> tuple[Any, ...]:
    """Pull a gradient back through `network.article.model.convolve_forward`, or do as the author's code did.

    Parameters
    ----------
    dy : array, shape (..., N, O, H, W)
    cache : ConvolveCache
    rotate_input : bool
        Rotate the input's gradient by 180 degrees.
    rotate_weights : bool
        Compute the kernels' gradients from the rotated ``dy``.
    needs_dx : bool
        False leaves the input's gradient out; it is None then.

    Returns
    -------
    dx, *dkernels : arrays, shapes of the arguments of forward
    """
    dx, dw = conv2d_backward(dy, cache.layer, needs_dx=needs_dx)
    if rotate_weights:
        _, dw = conv2d_backward(rotate(dy), cache.layer, needs_dx=False)
    if rotate_input and needs_dx:
        dx = rotate(dx).copy()
    dw = rotate(dw)
    kernels = (sum_to(dw[..., i, 0, :, :], *like).copy() for i, like in enumerate(cache.kernels))
    return (dx, *kernels)


def activate_backward(dy: Array, caches: tuple[Any, ...], activations: tuple[str, ...]) -> Array:
    """Pull a gradient back through `network.article.model.activate_forward`."""
    channels = zip(activations, caches, strict=True)
    return np.stack(
        [ACTIVATIONS[name][1](dy[..., i, :, :], cache) for i, (name, cache) in enumerate(channels)], axis=-3
    )


def pool_backward(dy: Array, cache: Any, rule: Rule, layer: int) -> Array:
    """Pull a gradient back through a 2x2 pool, each channel by its own route.

    Parameters
    ----------
    dy : array, shape (..., N, C, H/2, W/2)
    cache : MaxPool2dCache
    rule : Rule
    layer : int
        1 or 2.

    Returns
    -------
    dx : array, shape (..., N, C, H, W)
    """
    if rule.is_plain(layer) and rule.ties == "first":
        return max_pool2d_backward(dy, cache)
    first = max_pool2d_backward(np.ones_like(cache.y), cache)
    mask = tie_mask(cache.x, cache.y, first, rule.ties)
    dx: Array = np.empty_like(cache.x)
    for channel, route in enumerate(rule.routes[layer]):
        here = (..., channel, slice(None), slice(None))
        upstream = upsample(transform(route.upstream, dy[here]))
        dx[here] = transform(route.gradient, transform(route.mask, mask[here]) * upstream)
    return dx
