"""The network's outputs and its loss alone: nothing is kept for a backward pass.

One network is some thirty calls on arrays of a few dozen numbers, so what counts is the number of calls; of thousands
of copies that differ in a weight each, what counts is to compute no more than what differs. Maps are laid out as in
`network.article.taps`. Activations grow, so they wait for the maxima of the pool, a quarter as many.
`network.article.forward` is the readable version; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from network.article.model import KERNELS, check_data, check_labels, check_params, forward, leading_axes
from network.article.taps import KERNEL, TAPS, columns_table
from network.layers._arguments import Array, broadcast

__all__ = ["loss", "predict"]

MOST_SAMPLES = 256
"""Images that are run at a time, so that their columns stay in a second-level cache."""

BLOCK_BYTES = 2**21
"""What the widest layer gives for the networks that are run at a time, likewise."""

MAPS_WIDTH = 416
"""Numbers that the pooled layers make of an image on the way, most of them columns."""

Activation = Callable[..., Array]

FEWEST_SHARING = 4
"""Images from which on it pays to look for what copies of a weight have in common."""


def predict(params: Mapping[str, Array], images: Array, *, shared_kernel: bool = False) -> Array:
    """Return the label 1 where the output is more than a half, else 0.

    Parameters
    ----------
    params, images, shared_kernel
        See `network.article.forward`.

    Returns
    -------
    labels : array of int, shape (..., N)

    Raises
    ------
    ValueError
        See `network.article.forward`.
    """
    checked = check_params(params)
    return (_outputs(checked, check_data(checked, images), shared_kernel=shared_kernel) > 0.5).astype(int)


def loss(params: Mapping[str, Array], images: Array, labels: Array, *, shared_kernel: bool = False) -> Array:
    """Return ``sum_n (o[n] - y[n])**2 / 2``.

    Parameters
    ----------
    params, images, shared_kernel
        See `network.article.forward`.
    labels : array, shape (..., N)

    Returns
    -------
    loss : array, shape (...)

    Raises
    ------
    ValueError
        Naming the argument that does not fit; nothing is computed then.

    Notes
    -----
    Of copies ``(P, ...)`` of a dense weight that differ in one element each from what they have in common, only what
    that element moves is computed.
    """
    checked = check_params(params)
    images = check_data(checked, images)
    labels = check_labels(labels, checked, images)
    with np.errstate(all="ignore"):
        residual = _outputs(checked, images, shared_kernel=shared_kernel) - labels
        value = np.add.reduce(residual * residual, axis=-1) / 2
    # A weight that the shared kernel makes idle still says how many networks there are.
    leading = broadcast(value=value.shape, params=leading_axes(checked))
    return value if value.shape == leading else np.broadcast_to(value, leading).copy()


def _outputs(weights: dict[str, Array], images: Array, *, shared_kernel: bool) -> Array:
    """Return the outputs (..., N) for arguments that were found good."""
    if images.ndim > 3 or not len(images):
        return forward(weights, images, shared_kernel=shared_kernel)[0]
    if len(images) > MOST_SAMPLES:
        parts = [images[start : start + MOST_SAMPLES] for start in range(0, len(images), MOST_SAMPLES)]
        return np.concatenate([_outputs(weights, part, shared_kernel=shared_kernel) for part in parts], axis=-1)
    samples = len(images)
    placed = np.zeros((samples, 65), images.dtype)
    placed[:, :64] = images.reshape(samples, 64)
    columns = placed.ravel().take(_table(8, samples))
    first = _stack([weights[name] for name in KERNELS[1]])
    second = _stack([weights["W1b"]] * 4 if shared_kernel else [weights[name] for name in KERNELS[2]])
    with np.errstate(all="ignore"):
        bytes_each = max(1, samples * images.itemsize)
        units = _in_blocks(
            lambda *kernels: _pooled_layers(columns, samples, *kernels), bytes_each * MAPS_WIDTH, first, second
        )
        dense = [weights[name] for name in ("W3", "W4", "W5")]
        outputs = _in_blocks(_dense_layers, bytes_each * max(dense[1].shape[-2:]), units, *dense)
    return outputs[..., 0]


def _in_blocks(compute: Callable[..., Array], bytes_each: int, *operands: Array) -> Array:
    """Compute something for some networks at a time; operands are matrices with leading axes."""
    leading = {operand.shape[:-2] for operand in operands} - {()}
    each = max(1, BLOCK_BYTES // bytes_each)
    if len(leading) != 1 or len(axes := leading.pop()) != 1 or axes[0] <= each:
        return compute(*operands)
    parts = [slice(start, start + each) for start in range(0, axes[0], each)]
    return np.concatenate(
        [compute(*(array[part] if array.ndim > 2 else array for array in operands)) for part in parts]
    )


def _pooled_layers(columns: Array, samples: int, first: Array, second: Array) -> Array:
    """Return what the dense layers see, (..., N, 16), for kernels (..., 2, 9) and (..., 4, 9)."""
    z = _windows(first @ columns, samples)
    seen = np.zeros((*z.shape[:-3], samples, 17), z.dtype)  # a zero after the pixels of each map
    np.maximum.reduce(z, axis=-3, out=seen[..., :16])
    _apply(_relu, seen[..., 0, :, :])
    _apply(np.arctan, seen[..., 1, :, :])
    columns = seen.reshape(*seen.shape[:-2], samples * 17).take(_table(4, samples), axis=-1)
    z = second.reshape(*second.shape[:-2], 2, 2, KERNEL) @ columns
    maps: Array = np.maximum.reduce(_windows(z.reshape(*z.shape[:-3], 4, z.shape[-1]), samples), axis=-3)
    _apply(np.arctan, maps[..., ::2, :, :])
    _apply(_relu, maps[..., 1, :, :])
    _apply(np.tanh, maps[..., 3, :, :])
    return maps.swapaxes(-3, -2).reshape(*maps.shape[:-3], samples, 16)


def _apply(activation: Activation, values: Array) -> Array:
    """Replace values by what an activation makes of them."""
    return activation(values, out=values)


def _relu(z: Array, out: Array) -> Array:
    return np.maximum(z, 0, out=out)


def _sigmoid(z: Array, out: Array) -> Array:
    np.exp(np.negative(z, out=out), out=out)
    out += 1
    return np.reciprocal(out, out=out)


@lru_cache(maxsize=32)
def _table(size: int, samples: int) -> Array:
    """Return `columns_table` for several flat maps with their zeros in a row, shape (9, taps * samples * windows)."""
    table = columns_table(size).reshape(KERNEL, TAPS, 1, -1)
    return (table + (size * size + 1) * np.arange(samples)[:, None]).reshape(KERNEL, -1)


def _stack(kernels: Sequence[Array]) -> Array:
    """Return kernels (..., 3, 3) as rows of a matrix (..., kernels, 9)."""
    if all(kernel.ndim == 2 for kernel in kernels):
        return np.array(kernels).reshape(len(kernels), KERNEL)
    leading = broadcast(**{f"kernel {row}": kernel.shape[:-2] for row, kernel in enumerate(kernels)})
    stacked = np.empty((*leading, len(kernels), KERNEL), np.result_type(*kernels))
    for row, kernel in enumerate(kernels):
        stacked[..., row, :] = kernel.reshape(*kernel.shape[:-2], KERNEL)
    return stacked


def _windows(z: Array, samples: int) -> Array:
    """View maps (..., C, taps * N * windows) as (..., C, taps, N, windows)."""
    return z.reshape(*z.shape[:-1], TAPS, samples, z.shape[-1] // (TAPS * samples))


# ---- dense layers ----------------------------------------------------------------------------------------------------


class Shared(NamedTuple):
    """Units of P networks that have all but one unit in common.

    Attributes
    ----------
    values : array, shape (N, O)
        What they have in common.
    places : array, shape (P,)
        Which unit is each network's own.
    change : array, shape (P, N)
        By how much it differs from the common one.
    """

    values: Array
    places: Array
    change: Array


def _dense_layers(units: Array, w3: Array, w4: Array, w5: Array) -> Array:
    """Return the outputs (..., N, 1) for units (..., N, 16)."""
    is_shared = units.ndim == 2 and len(units) >= FEWEST_SHARING and sum(w.ndim > 2 for w in (w3, w4, w5)) == 1
    third = _units(units, w3, np.arctan, is_shared=is_shared)
    fourth = _units(third, w4, np.tanh, is_shared=is_shared)
    return _apply(_sigmoid, _product(fourth, w5))


def _units(given: Array | Shared, w: Array, activation: Activation, *, is_shared: bool) -> Array | Shared:
    """Return what a dense layer makes of units, of networks that have but one element of its weights of their own."""
    one = _elements_moved(w) if is_shared and w.ndim == 3 else None
    if one is None or isinstance(given, Shared):
        return _apply(activation, _product(given, w))
    common, places, own = one
    rows, columns = np.divmod(places, common.shape[1])
    z = given @ common
    moved = z.T[columns] + given.T[rows] * (own - common[rows, columns])[:, None]
    values = _apply(activation, z)
    return Shared(values, columns, _apply(activation, moved) - values.T[columns])


def _product(units: Array | Shared, w: Array) -> Array:
    if isinstance(units, Shared):
        z: Array = units.change[..., None] * w[units.places, None, :]
        z += units.values @ w
        return z
    return units @ w


def _elements_moved(w: Array) -> tuple[Array, Array, Array] | None:
    """Return what matrices (P, I, O) have in common, and for each the one element that it has of its own, and its value.

    None where there is nothing of that kind.
    """
    flat = w.reshape(len(w), -1)
    if len(flat) < 3:
        return None
    common = np.where(flat[0] == flat[-1], flat[0], flat[len(flat) // 2])
    differs = flat != common
    places = differs.argmax(axis=1)
    every = np.arange(len(flat))
    if np.count_nonzero(differs) != np.count_nonzero(differs[every, places]):
        return None
    return common.reshape(w.shape[1:]), places, flat[every, places]
