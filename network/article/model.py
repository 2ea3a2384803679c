"""The forward pass, composed of `network.layers`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from network.losses import squared_error_forward

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
    "loss",
    "predict",
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

BLOCK_BYTES = 2**21
"""What the widest dense layer gives for the networks that are run at a time: it stays in a second-level cache."""

NAMES = ("W1a", "W1b", "W2a", "W2b", "W2c", "W2d", "W3", "W4", "W5")
KERNELS = {1: NAMES[:2], 2: NAMES[2:6]}


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
    return _forward(checked, check_data(checked, images), shared_kernel=shared_kernel)


def _forward(checked: dict[str, Array], images: Array, *, shared_kernel: bool) -> tuple[Array, ForwardCache]:
    """Run the network on arguments that were found good."""
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


def predict(params: Mapping[str, Array], images: Array, *, shared_kernel: bool = False) -> Array:
    """Return the label 1 where the output is more than a half, else 0.

    Parameters
    ----------
    params, images, shared_kernel
        See `forward`.

    Returns
    -------
    labels : array of int, shape (..., N)

    Raises
    ------
    ValueError
        See `forward`.
    """
    outputs, _ = forward(params, images, shared_kernel=shared_kernel)
    return (outputs > 0.5).astype(int)


def loss(params: Mapping[str, Array], images: Array, labels: Array, *, shared_kernel: bool = False) -> Array:
    """Return ``sum_n (o[n] - y[n])**2 / 2``.

    Parameters
    ----------
    params, images, shared_kernel
        See `forward`.
    labels : array, shape (..., N)

    Returns
    -------
    loss : array, shape (...)

    Raises
    ------
    ValueError
        Naming the argument that does not fit; nothing is computed then.
    """
    checked = check_params(params)
    images = check_data(checked, images)
    labels = check_labels(labels, checked, images)
    leading = _leading(checked)
    each = max(1, BLOCK_BYTES // max(1, images[..., 0, 0].nbytes * checked["W4"].shape[-1]))
    if len(leading) != 1 or leading[0] <= each or images.ndim > 3 or labels.ndim > 1:
        return _loss(checked, images, labels, shared_kernel=shared_kernel)
    parts = [slice(start, start + each) for start in range(0, leading[0], each)]
    several = [
        {name: array[part] if array.ndim > 2 and len(array) > 1 else array for name, array in checked.items()}
        for part in parts
    ]
    return np.concatenate([_loss(some, images, labels, shared_kernel=shared_kernel) for some in several])


def _loss(checked: dict[str, Array], images: Array, labels: Array, *, shared_kernel: bool) -> Array:
    """Return the loss for arguments that were found good."""
    outputs, _ = _forward(checked, images, shared_kernel=shared_kernel)
    value, _ = squared_error_forward(outputs, labels)
    # A weight that the shared kernel makes idle still says how many networks there are.
    leading = broadcast(value=value.shape, params=_leading(checked))
    return value if value.shape == leading else np.broadcast_to(value, leading).copy()


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
    return maps.reshape(*maps.shape[:-3], -1)


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
    checked = {name: _floating(f"params[{name!r}]", params[name]) for name in NAMES}
    required: dict[str, tuple[Any, Any]] = dict.fromkeys(NAMES[:6], (3, 3))
    required |= {"W3": (16, "A"), "W4": (_width(checked["W3"]), "B"), "W5": (_width(checked["W4"]), 1)}
    for name, core in required.items():
        shape = checked[name].shape
        if len(shape) < 2 or any(type(n) is int and n != given for n, given in zip(core, shape[-2:], strict=True)):
            raise ValueError(
                f"params[{name!r}] has shape {shape}, but its last two axes must be ({core[0]}, {core[1]})."
            )
    if any(array.ndim > 2 for array in checked.values()):
        broadcast(**{f"params[{name!r}]": array.shape[:-2] for name, array in checked.items()})
    return checked


def check_data(params: Mapping[str, Array], images: Array) -> Array:
    """Return the images as a float array; raises ValueError where they do not fit the (checked) params."""
    images = _floating("images", images)
    if images.ndim < 3 or images.shape[-2:] != (8, 8):
        raise ValueError(f"images has shape {images.shape}, but must be (..., N, 8, 8).")
    broadcast(params=_leading(params), images=images.shape[:-3])
    return images


def check_labels(labels: Array, params: Mapping[str, Array], images: Array | None = None) -> Array:
    """Return the labels as a float array; raises ValueError where they do not fit the (checked) params and images."""
    labels = _floating("labels", labels)
    samples = None if images is None else images.shape[-3]
    if labels.ndim < 1 or samples not in (None, labels.shape[-1]):
        count = "N" if samples is None else f"N={samples}"
        raise ValueError(f"labels has shape {labels.shape}, but must be (..., {count}), one for each image.")
    shapes = {"params": _leading(params), "labels": labels.shape[:-1]}
    broadcast(**(shapes if images is None else shapes | {"images": images.shape[:-3]}))
    return labels


def _leading(params: Mapping[str, Array]) -> Shape:
    shapes = {array.shape[:-2] for array in params.values()} - {()}
    return shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)


def _width(array: Array) -> Any:
    return array.shape[-1] if array.ndim else "A"


def _floating(name: str, value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.kind in "iub":
        return array.astype(float)
    if array.dtype not in (np.float64, np.float32):
        raise ValueError(f"{name} has dtype {array.dtype}; give float64, float32 or integers.")
    return array
