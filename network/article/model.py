"""The forward pass, composed of `network.layers`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from network.layers import (
    arctan_backward,
    arctan_forward,
    conv2d_forward,
    dense_forward,
    max_pool2d_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from network.layers._arguments import Array, Shape, broadcast

__all__ = [
    "ACTIVATIONS",
    "LAYER_ACTIVATIONS",
    "ConvolveCache",
    "ForwardCache",
    "activate_forward",
    "check_data",
    "check_params",
    "convolve_forward",
    "flatten",
    "forward",
    "leading_axes",
]

Activation = tuple[Callable[[Array], tuple[Array, Any]], Callable[[Array, Any], Array]]

ACTIVATIONS: dict[str, Activation] = {
    "relu": (relu_forward, relu_backward),
    "arctan": (arctan_forward, arctan_backward),
    "tanh": (tanh_forward, tanh_backward),
    "sigmoid": (sigmoid_forward, sigmoid_backward),
}

LAYER_ACTIVATIONS = {
    1: ("relu", "arctan"),
    2: ("arctan", "relu", "arctan", "tanh"),
    3: ("arctan",),
    4: ("tanh",),
    5: ("sigmoid",),
}
"""Layer -> the activation of each of its channels; dense layers have one."""

NAMES = ("W1a", "W1b", "W2a", "W2b", "W2c", "W2d", "W3", "W4", "W5")
KERNELS = {1: NAMES[:2], 2: NAMES[2:6]}
ARGUMENTS = tuple(f"params[{name!r}]" for name in NAMES)
"""What messages call the weights."""

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
"""What is computed in."""


class ConvolveCache(NamedTuple):
    """The layer's cache, and what each kernel was before they were stacked."""

    layer: Any
    kernels: tuple[tuple[Shape, Any], ...]


class ForwardCache(NamedTuple):
    """The caches of the layers in order; ``pooled1`` is what layer 2 saw, ``outputs`` what came out."""

    conv1: ConvolveCache
    act1: tuple[Any, ...]
    pool1: Any
    pooled1: Array
    conv2: ConvolveCache
    act2: tuple[Any, ...]
    pool2: Any
    maps: Shape
    dense: tuple[Any, Any, Any]
    acts: tuple[Any, Any, Any]
    outputs: Array


def forward(params: Mapping[str, Array], images: Array, *, shared_kernel: bool = False) -> tuple[Array, ForwardCache]:
    """Run the network.

    Parameters
    ----------
    params : mapping
        The nine weights (see `network.article.init_params`), each with any leading axes.
    images : array, shape (..., N, 8, 8)
    shared_kernel : bool
        The published forward: all four kernels of layer 2 are ``W1b``.

    Returns
    -------
    outputs : array, shape (..., N)
        Between 0 and 1. Leading axes of weights and images broadcast; a layer has only those of what it depends on.
    cache : ForwardCache

    Raises
    ------
    ValueError
        Naming the argument that does not fit; nothing is computed then.
    """
    checked = check_params(params)
    images = check_data(checked, images)
    second = (checked["W1b"],) * 4 if shared_kernel else [checked[name] for name in KERNELS[2]]
    z1, conv1 = convolve_forward(images[..., None, :, :], *(checked[name] for name in KERNELS[1]))
    a1, act1 = activate_forward(z1, LAYER_ACTIVATIONS[1])
    p1, pool1 = max_pool2d_forward(a1, 2)
    z2, conv2 = convolve_forward(p1, *second, groups=2)
    a2, act2 = activate_forward(z2, LAYER_ACTIVATIONS[2])
    p2, pool2 = max_pool2d_forward(a2, 2)
    units = flatten(p2)
    dense, acts = [], []
    for layer in (3, 4, 5):
        z, dense_cache = dense_forward(units, checked[f"W{layer}"])
        units, act_cache = ACTIVATIONS[LAYER_ACTIVATIONS[layer][0]][0](z)
        dense.append(dense_cache)
        acts.append(act_cache)
    outputs = units[..., 0]
    cache = ForwardCache(conv1, act1, pool1, p1, conv2, act2, pool2, p2.shape, tuple(dense), tuple(acts), outputs)  # type: ignore[arg-type]
    return outputs.copy(), cache


def convolve_forward(x: Array, *kernels: Array, groups: int = 1) -> tuple[Array, ConvolveCache]:
    """Convolve maps (..., N, C, H, W) with 3x3 kernels (..., 3, 3), one channel of the result each.

    True convolution: `network.layers.conv2d_forward` with flipped kernels, zeros around the map. Each group of kernels
    sees its own channel.
    """
    if any(kernel.ndim > 2 for kernel in kernels):
        leading = broadcast(**{f"kernel {i}": kernel.shape[:-2] for i, kernel in enumerate(kernels)})
        stacked = np.stack([np.broadcast_to(kernel, (*leading, 3, 3)) for kernel in kernels], axis=-3)
    else:
        stacked = np.array(kernels)
    y, cache = conv2d_forward(x, stacked[..., None, ::-1, ::-1], padding=1, groups=groups)
    return y, ConvolveCache(cache, tuple((kernel.shape, kernel.dtype) for kernel in kernels))


def activate_forward(z: Array, activations: tuple[str, ...]) -> tuple[Array, tuple[Any, ...]]:
    """Apply to each channel of maps (..., N, C, H, W) its own activation."""
    pairs = [ACTIVATIONS[name][0](z[..., channel, :, :]) for channel, name in enumerate(activations)]
    return np.stack([y for y, _ in pairs], axis=-3), tuple(cache for _, cache in pairs)


def flatten(maps: Array) -> Array:
    """Concatenate the maps (..., N, C, H, W) of all channels, row by row."""
    return maps.reshape(*maps.shape[:-3], math.prod(maps.shape[-3:]))


def check_params(params: Mapping[str, Array]) -> dict[str, Array]:
    """Return the nine weights as float arrays.

    Raises
    ------
    ValueError
        For a missing or unknown weight, or shapes that do not fit together.
    """
    missing = [name for name in NAMES if name not in params]
    unknown = [repr(name) for name in params if name not in NAMES]
    if missing or unknown:
        wrong = f"params has no {', '.join(missing)}" if missing else f"params has an unknown {', '.join(unknown)}"
        raise ValueError(f"{wrong}; it must hold exactly {', '.join(NAMES)}.")
    checked = {name: _floating(argument, params[name]) for name, argument in zip(NAMES, ARGUMENTS, strict=True)}
    _check_shapes(tuple([checked[name].shape for name in NAMES]))
    return checked


@lru_cache(maxsize=64)
def _check_shapes(shapes: tuple[Shape, ...]) -> None:
    """Raise ValueError where the shapes of the weights do not fit together."""
    given = dict(zip(NAMES, shapes, strict=True))
    required: dict[str, tuple[Any, Any]] = dict.fromkeys(NAMES[:6], (3, 3))
    required |= {"W3": (16, "A"), "W4": (_width(given["W3"]), "B"), "W5": (_width(given["W4"]), 1)}
    for name, core in required.items():
        shape = given[name]
        if len(shape) < 2 or any(type(n) is int and n != length for n, length in zip(core, shape[-2:], strict=True)):
            raise ValueError(
                f"params[{name!r}] has shape {shape}, but its last two axes must be ({core[0]}, {core[1]})."
            )
    broadcast(**{argument: shape[:-2] for argument, shape in zip(ARGUMENTS, shapes, strict=True)})


def leading_axes(matrices: Iterable[Array]) -> Shape:
    """Return what the leading axes of (checked) weights, or other matrices, broadcast to."""
    shapes = {array.shape[:-2] for array in matrices} - {()}
    if len(shapes) <= 1:  # nearly always
        return shapes.pop() if shapes else ()
    return np.broadcast_shapes(*shapes)


def check_data(params: Mapping[str, Array], images: Array) -> Array:
    """Return the images as a float array; raises ValueError where they do not fit the (checked) params."""
    images = _floating("images", images)
    if images.ndim < 3 or images.shape[-2:] != (8, 8):
        raise ValueError(f"images has shape {images.shape}, but must be (..., N, 8, 8).")
    if images.ndim > 3:
        broadcast(params=leading_axes(params.values()), images=images.shape[:-3])
    return images


def check_labels(labels: Array, params: Mapping[str, Array], images: Array | None = None) -> Array:
    """Return the labels as a float array; raises ValueError where they do not fit the (checked) params and images."""
    labels = _floating("labels", labels)
    samples = None if images is None else images.shape[-3]
    if labels.ndim < 1 or samples not in (None, labels.shape[-1]):
        count = "N" if samples is None else f"N={samples}"
        raise ValueError(f"labels has shape {labels.shape}, but must be (..., {count}), one for each image.")
    if labels.ndim > 1:
        shapes = {"params": leading_axes(params.values()), "labels": labels.shape[:-1]}
        broadcast(**(shapes if images is None else shapes | {"images": images.shape[:-3]}))
    return labels


def _width(shape: Shape) -> Any:
    return shape[-1] if shape else "A"


def _floating(name: str, value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype in FLOATS:
        return array
    if array.dtype.kind not in "iub":
        raise ValueError(f"{name} has dtype {array.dtype}; give float64, float32 or integers.")
    return array.astype(float)
