"""The network's outputs and its loss alone: nothing is kept for a backward pass.

For one network what counts is the number of calls on arrays of a few dozen numbers; for thousands of copies that differ
in one weight each, to compute no more than what differs. Maps are laid out as in `network.article.taps`. Activations
grow, so they wait for the maxima of the pool, a quarter as many. `network.article.forward` is the readable version, and
what runs for images with leading axes of their own; a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from network.article.model import (
    KERNELS,
    LAYER_ACTIVATIONS,
    check_data,
    check_labels,
    check_params,
    forward,
    leading_axes,
)
from network.article.taps import KERNEL, TAPS, columns_table
from network.layers._arguments import Array, broadcast

__all__ = ["loss", "predict"]

InPlace = Callable[..., Array]
"""``activation(z, out=z)``."""

MOST_SAMPLES = 256
"""Images that are run at a time."""

BLOCK_BYTES = 2**21
"""What the networks that are run at a time give on the way, so that it stays in the caches of the processor."""

WIDTHS = (64 + 16 + 17 + KERNEL * 16, 16 + 4 + 16)
"""Numbers that each copy of a kernel of either layer makes of an image: a map, its maxima, what the next layer sees, its columns."""

IN_PLACE: dict[str, InPlace] = {"relu": partial(np.maximum, 0), "arctan": np.arctan, "tanh": np.tanh}
"""Activations that write their results to ``out``."""

FEWEST_SHARING = 6
"""Images from which on it is faster to look for what copies of a weight have in common than to multiply with each."""

LEAST_SHARE = 1 / 16
"""Least share of the element that it replaces that a copy's own one, or a typical one, has: with less it would lose digits."""

LARGEST = 1e150
"""Beyond it products of two weights may overflow, and a difference of infinities is none."""


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
    images = check_data(checked, images)
    with np.errstate(all="ignore"):
        outputs = [_outputs(checked, images[..., part, :, :], shared_kernel=shared_kernel) for part in _parts(images)]
    return (np.concatenate(outputs, axis=-1) > 0.5).astype(int)


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
    Of copies ``(P, ...)`` of W3 or W4 that differ in one element each from what they have in common, only what that
    element moves is computed, where there are several images. It rounds otherwise than one network at a time.
    """
    checked = check_params(params)
    images = check_data(checked, images)
    labels = check_labels(labels, checked, images)
    with np.errstate(all="ignore"):
        sums = []
        for part in _parts(images):
            residual = _outputs(checked, images[..., part, :, :], shared_kernel=shared_kernel) - labels[..., part]
            sums.append(np.add.reduce(residual * residual, axis=-1))
        value = (sums[0] if len(sums) == 1 else np.add.reduce(sums)) / 2
    # A weight that the shared kernel makes idle still says how many networks there are.
    leading = broadcast(value=value.shape, params=leading_axes(checked.values()))
    return value if value.shape == leading else np.broadcast_to(value, leading).copy()


def _parts(images: Array) -> Iterator[slice]:
    """Give parts of the samples, one at least."""
    for start in range(0, max(1, images.shape[-3]), MOST_SAMPLES):
        yield slice(start, start + MOST_SAMPLES)


def _outputs(weights: dict[str, Array], images: Array, *, shared_kernel: bool) -> Array:
    """Return the outputs (..., N) for arguments that were found good."""
    samples = images.shape[-3]
    if images.ndim > 3 or not samples:
        return forward(weights, images, shared_kernel=shared_kernel)[0]
    placed = np.zeros((samples, 65), images.dtype)  # a zero after the pixels of each image
    placed[:, :64] = images.reshape(samples, 64)
    columns = placed.ravel().take(_table(8, samples))
    kernels = [weights[name] for name in KERNELS[1]]
    kernels += [weights["W1b"]] * 4 if shared_kernel else [weights[name] for name in KERNELS[2]]
    dense = [weights[name] for name in ("W3", "W4", "W5")]
    width = max(dense[1].shape[-2:])
    if not leading_axes(kernels):
        units = _pooled_layers(columns, samples, np.array(kernels).reshape(-1, KERNEL))
        return _dense_layers(units, *dense)[..., 0]
    layers = partial(_all_layers, columns, samples)
    width += WIDTHS[0] if leading_axes(kernels[:2]) else WIDTHS[1]
    return _in_blocks(layers, samples * width, *kernels, *dense)[..., 0]


def _in_blocks(compute: Callable[..., Array], width: int, *operands: Array) -> Array:
    """Compute something for some networks at a time, along the longest of the leading axes of matrices.

    ``width`` is how many numbers there are on the way for each network.
    """
    leading = leading_axes(operands)
    each = max(1, BLOCK_BYTES // (np.dtype(np.float64).itemsize * max(1, width)))
    if (count := math.prod(leading)) <= each:
        return compute(*operands)
    longest = max(leading)
    axis = leading.index(longest) - len(leading) - 2
    size = max(1, each * longest // count)
    parts = [slice(start, start + size) for start in range(0, longest, size)]
    several = [[_part(operand, axis, part) for operand in operands] for part in parts]
    return np.concatenate([_in_blocks(compute, width, *some) for some in several], axis=axis)


def _part(operand: Array, axis: int, part: slice) -> Array:
    """Return a part along a negative axis, or all where it is broadcast along that."""
    if operand.ndim < -axis or operand.shape[axis] == 1:
        return operand
    return operand[(..., part) + (slice(None),) * (-1 - axis)]


def _all_layers(columns: Array, samples: int, *weights: Array) -> Array:
    """Return the outputs (..., N, 1) for kernels (..., 3, 3) and the dense weights."""
    kernels = [kernel.reshape(*kernel.shape[:-2], KERNEL) for kernel in weights[:-3]]
    return _dense_layers(_pooled_channels(columns, samples, kernels), *weights[-3:])


# ---- pooled layers ---------------------------------------------------------------------------------------------------


def _pooled_layers(columns: Array, samples: int, kernels: Array) -> Array:
    """Return what the dense layers see, (N, 16), for the kernels (6, 9) of one network: of one image in half the time, all channels at once."""
    z = _windows(kernels[:2] @ columns, samples)
    seen = np.zeros((2, samples, 17), z.dtype)  # a zero after the pixels of each map
    np.maximum.reduce(z, axis=-3, out=seen[..., :16])
    relu, arctan = seen
    np.maximum(relu, 0, out=relu)
    np.arctan(arctan, out=arctan)
    columns = seen.reshape(2, samples * 17).take(_table(4, samples), axis=-1)
    z = kernels[2:].reshape(2, 2, KERNEL) @ columns
    maps: Array = np.maximum.reduce(_windows(z.reshape(4, z.shape[-1]), samples), axis=-3)
    arctan, relu, tanh = maps[::2], maps[1], maps[3]
    np.arctan(arctan, out=arctan)
    np.maximum(relu, 0, out=relu)
    np.tanh(tanh, out=tanh)
    return maps.swapaxes(0, 1).reshape(samples, 16)


def _pooled_channels(columns: Array, samples: int, kernels: Sequence[Array]) -> Array:
    """Return what the dense layers see, (..., N, 16), for six kernels (..., 9): each channel as often as there are copies of it."""
    maps = []
    for first in (0, 1):
        seen = _pooled(kernels[first] @ columns, samples, LAYER_ACTIVATIONS[1][first])
        padded = np.zeros((*seen.shape[:-1], 17), seen.dtype)  # a zero after the pixels of each map
        padded[..., :16] = seen
        its_columns = padded.reshape(*seen.shape[:-2], samples * 17).take(_table(4, samples), axis=-1)
        for second in (2 * first, 2 * first + 1):
            kernel = kernels[2 + second]
            has_one = kernel.ndim == 1 or its_columns.ndim == 2  # kernel, or matrix of columns, in all networks
            z = kernel @ its_columns if has_one else (kernel[..., None, :] @ its_columns)[..., 0, :]
            maps.append(_pooled(z, samples, LAYER_ACTIVATIONS[2][second]))
    units = np.empty((*np.broadcast_shapes(*(part.shape[:-1] for part in maps)), 16), np.result_type(*maps))
    for channel, part in enumerate(maps):
        units[..., 4 * channel : 4 * channel + 4] = part
    return units


def _pooled(z: Array, samples: int, activation: str) -> Array:
    """Return the activated maxima (..., N, windows) of maps (..., taps * N * windows)."""
    return _activated(IN_PLACE[activation], np.maximum.reduce(_windows(z, samples), axis=-3))


@lru_cache(maxsize=8)
def _table(size: int, samples: int) -> Array:
    """Return `columns_table` for several flat maps with their zeros in a row, shape (9, taps * samples * windows)."""
    one = columns_table(size).reshape(KERNEL, TAPS, 1, -1)
    table: Array = (one + (size * size + 1) * np.arange(samples)[:, None]).reshape(KERNEL, -1)
    table.setflags(write=False)
    return table


def _windows(z: Array, samples: int) -> Array:
    """View maps (..., taps * N * windows) as (..., taps, N, windows)."""
    return z.reshape(*z.shape[:-1], TAPS, samples, z.shape[-1] // (TAPS * samples))


# ---- dense layers ----------------------------------------------------------------------------------------------------


class MovedElements(NamedTuple):
    """Copies of a matrix that have all but one element in common.

    Attributes
    ----------
    common : array, shape (I, O)
    rows, columns, own : arrays, shape (P,)
        Of each copy the place of the element that it has of its own, and its value.
    """

    common: Array
    rows: Array
    columns: Array
    own: Array


class MovedUnits(NamedTuple):
    """Units of networks that have all but one unit in common.

    Attributes
    ----------
    common : array, shape (N, O)
    units : array, shape (P,)
        Which unit each network has of its own.
    change : array, shape (P, N)
        By how much that differs from the common one.
    """

    common: Array
    units: Array
    change: Array

    def factors(self, w: Array) -> tuple[Array, Array]:
        """Return two factors, (P, N, 1) and (P, 1, O), of what the change adds to the products of the units with a matrix."""
        return self.change[..., None], w[self.units, None, :]


def _dense_layers(units: Array, w3: Array, w4: Array, w5: Array) -> Array:
    """Return the outputs (..., N, 1) for units (..., N, 16)."""
    width = units.shape[-2] * max(w4.shape[-2:])
    moved = _moved_element(units, w3, w4, w5)
    if moved is None:
        return _in_blocks(_each_layer, width, units, w3, w4, w5)
    if w3.ndim == 3:
        change = _move_units(np.arctan, units, moved)
        return _in_blocks(partial(_behind, change.common @ w4, w5), width, *change.factors(w4))
    change = _move_units(np.tanh, _activated(np.arctan, units @ w3), moved)
    one, other = change.factors(w5)
    return _activated(_sigmoid, one * other + change.common @ w5)


def _each_layer(units: Array, w3: Array, w4: Array, w5: Array) -> Array:
    """Return the outputs of layer after layer, for each copy of a weight."""
    third = _activated(np.arctan, units @ w3)
    return _activated(_sigmoid, _activated(np.tanh, third @ w4) @ w5)


def _behind(common: Array, w5: Array, change: Array, row: Array) -> Array:
    """Return the outputs after a unit of the third layer changed: ``change * row`` is added to ``common``, what the fourth layer sees."""
    z = change * row
    z += common
    return _activated(_sigmoid, _activated(np.tanh, z) @ w5)


def _moved_element(units: Array, w3: Array, w4: Array, w5: Array) -> MovedElements | None:
    """Return what copies of W3 or W4 have in common, None where there is nothing of that kind, or no use in it."""
    if units.ndim > 2 or len(units) < FEWEST_SHARING or w5.ndim > 2:
        return None
    weights = (w3, w4, w5)
    copied = [w for w in weights if w.ndim > 2]
    if len(copied) != 1:
        return None
    (copies,) = copied
    if copies.ndim > 3 or len(copies) < 3 or not copies.size:
        return None
    flat = copies.reshape(len(copies), -1)
    common = np.where(flat[0] == flat[-1], flat[0], flat[len(flat) // 2])
    differs = flat != common
    places, every = differs.argmax(axis=1), np.arange(len(flat))
    if np.count_nonzero(differs) != np.count_nonzero(differs[every, places]):
        return None
    own, replaced, sizes = flat[every, places], common[places], np.abs(common)
    typical = np.partition(sizes, sizes.size // 2)[sizes.size // 2]
    keeps_digits = np.all(LEAST_SHARE * np.abs(replaced) <= np.maximum(np.abs(own), typical))
    others = [sizes, *(np.abs(array) for array in (own, units, *weights) if array is not copies)]
    if not keeps_digits or not all(size.max(initial=0.0) < LARGEST for size in others):
        return None
    rows, columns = np.divmod(places, copies.shape[-1])
    return MovedElements(common.reshape(copies.shape[1:]), rows, columns, own)


def _move_units(activation: InPlace, units: Array, moved: MovedElements) -> MovedUnits:
    """Return what a dense layer makes of units (N, I): of each copy of its weights one unit of its own."""
    common, rows, columns, own = moved
    z = units @ common
    z_own = z.T[columns] + units.T[rows] * (own - common[rows, columns])[:, None]
    values = _activated(activation, z)
    return MovedUnits(values, columns, _activated(activation, z_own) - values.T[columns])


def _activated(activation: InPlace, z: Array) -> Array:
    return activation(z, out=z)


def _sigmoid(z: Array, out: Array) -> Array:
    """Return the logistic function; where the exponential overflows it is zero, as it should be."""
    np.exp(np.negative(z, out=out), out=out)
    out += 1
    return np.reciprocal(out, out=out)
