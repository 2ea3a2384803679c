"""What the layers ask of their arguments; every message says what was given, what is required and what to do."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]

__all__ = ["Array", "Shape", "broadcast", "float_array", "output_gradient", "pair", "positive_int", "sum_to"]


FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


def float_array(name: str, value: Any, axes: str = "") -> Array:
    """Return ``value`` as an array of float32 or float64 with at least the named axes.

    Raises
    ------
    ValueError
        For another dtype, or too few axes.
    """
    array = np.asarray(value)
    if array.dtype not in FLOATS:
        raise ValueError(
            f"{name} has dtype {array.dtype}, but layers compute in float32 or float64; "
            f"convert it, for example with {name}.astype(float)."
        )
    required = len(axes.split())
    if array.ndim < required:
        raise ValueError(
            f"{name} has shape {array.shape}, but its last {required} axes are ({', '.join(axes.split())}); "
            f"give an array of at least {required} axes."
        )
    return array


def pair(name: str, value: Any, least: int, layer: str) -> tuple[int, int]:
    """Return an int, or a pair of ints for the axes (H, W), as a pair."""
    if type(value) is int and value >= least:
        return value, value
    entries = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(entries) != 2:
        raise ValueError(
            f"{name}={value!r} has {len(entries)} entries, but {layer} slides along 2 axes (H, W); pass an int or a pair."
        )
    first, second = (_integer(name, entry, value, least) for entry in entries)
    return first, second


def positive_int(name: str, value: Any) -> int:
    """Return a whole number that is at least 1."""
    return _integer(name, value, value, 1)


def _integer(name: str, entry: Any, value: Any, least: int) -> int:
    try:
        number = operator.index(entry)
    except TypeError:
        number = None
    if number is None or isinstance(entry, bool | np.bool_) or number < least:
        raise ValueError(f"{name}={value!r} must be a whole number, at least {least}.")
    return number


def broadcast(**shapes: Shape) -> Shape:
    """Return the shape to which leading axes broadcast.

    Raises
    ------
    ValueError
        Naming the arguments whose leading axes do not fit.
    """
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"the leading axes of {given} do not broadcast; they must be equal, 1 or absent, as for numpy.matmul."
        ) from None


def output_gradient(dy: Any, shape: Shape) -> Array:
    """Return the upstream gradient, which must have exactly the shape of the forward's output."""
    array = float_array("dy", dy)
    if array.shape != shape:
        raise ValueError(f"dy has shape {array.shape}, but the output of forward has {shape}; give one of that shape.")
    return array


def sum_to(gradient: Array, shape: Shape, dtype: Any) -> Array:
    """Sum a gradient over the axes along which its operand was broadcast, down to the operand's shape and dtype."""
    if gradient.shape != shape:
        extra = gradient.ndim - len(shape)
        stretched = [i + extra for i, size in enumerate(shape) if size == 1 and gradient.shape[i + extra] != 1]
        gradient = gradient.sum(axis=(*range(extra), *stretched), keepdims=True).reshape(shape)
    return gradient.astype(dtype, copy=False)
