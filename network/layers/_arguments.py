"""Reading and checking the arguments of the layers: every function raises before anything is computed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Array", "as_floats", "as_upstream", "common_dtype", "pair_of_ints"]

Array = NDArray[Any]
"""An array of float32 or float64."""


def as_floats(value: ArrayLike, name: str, layer: str) -> Array:
    """Return ``value`` as an array of float32 or float64; it is not copied where it is one already."""
    array = np.asarray(value)
    if array.dtype.char not in "fd":
        raise ValueError(
            f"{name} has dtype {array.dtype}, but {layer} computes in float32 or float64; "
            f"convert it first, for example with {name}.astype(np.float64)."
        )
    return array


def as_upstream(dy: ArrayLike, shape: tuple[int, ...], layer: str) -> Array:
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
    return first.dtype.newbyteorder("=")


def pair_of_ints(value: int | Iterable[int], name: str, layer: str, *, least: int) -> tuple[int, int]:
    """Return an int or a pair of ints as a pair, each at least ``least``."""
    if type(value) is int and value >= least:  # all but always, and this is called 200,000 times in a training
        return value, value
    entries = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) and np.ndim(value) else (value, value)
    if len(entries) != 2:
        raise ValueError(
            f"{name}={value!r} has {len(entries)} entries, but {layer} slides along 2 axes (H, W); "
            f"pass an int or a pair."
        )
    first, second = (_as_int(entry, lambda: _refuse_entry(value, name, layer)) for entry in entries)
    if min(first, second) < least:
        raise ValueError(
            f"{name}={value!r} was given, but {layer} needs a {name} of at least {least}; "
            f"pass an int from {least} on, or a pair of them."
        )
    return first, second


def _as_int(entry: Any, refuse: Callable[[], NoReturn]) -> int:
    if isinstance(entry, (bool, np.bool_)):
        refuse()
    try:
        return operator.index(entry)
    except TypeError:
        refuse()


def _refuse_entry(value: Any, name: str, layer: str) -> NoReturn:
    raise ValueError(f"{name}={value!r} was given, but {layer} counts in whole pixels; pass an int or a pair of ints.")
