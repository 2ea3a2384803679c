"""Reading and checking the arguments of the layers: every function raises before anything is computed."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "Array",
    "Shape",
    "as_floats",
    "as_upstream",
    "broadcast",
    "common_dtype",
    "int_from",
    "pair_of_ints",
    "quiet",
    "sum_to",
]

Array = NDArray[Any]
"""An array of float32 or float64."""

Shape = tuple[int, ...]

quiet = np.errstate(all="ignore")
"""Decorates what computes: no warnings, whatever the user's error state. As a ``with`` it takes twice as long."""


def as_floats(value: ArrayLike, name: str, layer: str) -> Array:
    """Return ``value`` as an array of float32 or float64; it is not copied where it is one already."""
    array = np.asarray(value)
    if array.dtype.char not in "fd":
        raise ValueError(
            f"{name} has dtype {array.dtype}, but {layer} computes in float32 or float64; "
            f"convert it first, for example with {name}.astype(np.float64)."
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def as_upstream(dy: ArrayLike, shape: Shape, layer: str) -> Array:
    """Return ``dy`` as an array of floats, which must have exactly the shape of y."""
    array = as_floats(dy, "dy", layer)
    if array.shape != shape:
        raise ValueError(
            f"dy has shape {array.shape}, but y of {layer} has shape {shape}; dy has exactly y's shape, "
            f"so broadcast it first."
        )
    return array


def common_dtype(first: Array, *others: Array) -> np.dtype[Any]:
    """Return the dtype in which these arrays meet: float64, or float32 where all are."""
    for other in others:
        if other.dtype != first.dtype:
            return np.result_type(first, *others)
    return first.dtype


def broadcast(**leading: Shape) -> Shape:
    """Return what the leading axes of the named operands broadcast to, as `numpy.matmul` does it."""
    if len(shapes := set(leading.values()) - {()}) <= 1:  # nearly always
        return shapes.pop() if shapes else ()
    try:
        return np.broadcast_shapes(*leading.values())
    except ValueError:
        given = ", ".join(f"{name} {axes}" for name, axes in leading.items())
        raise ValueError(
            f"the leading axes of {given} do not broadcast; make each of them equal in all, 1, or absent."
        ) from None


def sum_to(gradient: Array, shape: Shape, dtype: DTypeLike) -> Array:
    """Sum over the axes along which an operand of this shape was broadcast, and return the operand's dtype."""
    if gradient.shape != shape:
        extra = gradient.ndim - len(shape)
        axes = tuple(axis for axis, size in enumerate(gradient.shape) if axis < extra or shape[axis - extra] != size)
        gradient = np.add.reduce(gradient, axis=axes).reshape(shape)
    return gradient.astype(dtype, order="C", copy=False)


def pair_of_ints(value: int | Sequence[int], name: str, layer: str, *, least: int) -> tuple[int, int]:
    """Return an int or a pair of ints as a pair, each at least ``least``."""
    if type(value) is int and value >= least:  # nearly always, and a training asks 200,000 times
        return value, value
    entries: Sequence[Any] = value if isinstance(value, (tuple, list)) else (value, value)
    if len(entries) != 2:
        raise ValueError(
            f"{name}={value!r} has {len(entries)} entries, but {layer} slides along 2 axes (H, W); "
            f"pass an int or a pair."
        )
    return int_from(entries[0], name, layer, least=least), int_from(entries[1], name, layer, least=least)


def int_from(value: Any, name: str, layer: str, *, least: int) -> int:
    """Return an int, at least ``least``; NumPy's integers are taken, booleans and floats are not."""
    number = None if isinstance(value, (bool, np.bool_)) else _index(value)
    if number is None or number < least:
        raise ValueError(f"{name}={value!r} was given, but {layer} needs a whole number; pass an int from {least} on.")
    return number


def _index(value: Any) -> int | None:
    try:
        return operator.index(value)
    except TypeError:
        return None
