"""Arrays of JAX and the numbers that are drawn like them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import is_dataclass
from numbers import Number
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Arrays",
    "enable_x64",
    "eps_of",
    "hides_arrays",
    "inner",
    "is_complex",
    "is_float",
    "norm",
    "nudged",
    "signed",
    "step",
    "widened",
]

Arrays = list[Any]

enable_x64: Any = (jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")).enable_x64
_finfo: Any = jnp.finfo  # JAX gives it no types


def eps_of(leaf: Any) -> float:
    """Return the epsilon of an array of floats."""
    return float(_finfo(leaf.dtype).eps)


def inner(one: Sequence[Any], other: Sequence[Any]) -> tuple[float, float]:
    """Return the inner product in double precision, and the sum of the sizes of its terms."""
    terms = [np.asarray(a, np.float64) * np.asarray(b, np.float64) for a, b in zip(one, other, strict=True)]
    return float(sum(np.sum(part) for part in terms)), float(sum(np.sum(np.abs(part)) for part in terms))


def norm(leaf: Any) -> float:
    """Return the Euclidean norm of an array."""
    return float(np.linalg.norm(np.asarray(leaf, np.float64).ravel()))


def signed(rng: np.random.Generator, like: Any) -> NDArray[Any]:
    """Draw numbers of either sign, none of them small."""
    shape = np.shape(like)
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)).astype(like.dtype)


def nudged(rng: np.random.Generator, leaf: NDArray[Any], eps: float) -> NDArray[Any]:
    """Move every number by ``eps`` of its size, up or down."""
    return np.asarray(leaf * (1 + rng.choice([-eps, eps], leaf.shape))).astype(leaf.dtype)


def is_float(leaf: Any) -> bool:
    """Tell whether a leaf of a tree holds floating-point numbers; functions, strings and names of dtypes do not."""
    return _is_a(leaf, jnp.floating)


def is_complex(leaf: Any) -> bool:
    """Tell whether a leaf of a tree holds complex numbers."""
    return _is_a(leaf, jnp.complexfloating)


def _is_a(leaf: Any, kind: Any) -> bool:
    if isinstance(leaf, type | np.dtype) or not (isinstance(leaf, Number) or hasattr(leaf, "shape")):
        return False
    try:
        return bool(jnp.issubdtype(jnp.result_type(leaf), kind))
    except TypeError:
        return False


def hides_arrays(leaf: Any) -> bool:
    """Tell whether a leaf is an instance of a dataclass that JAX does not know, with floating-point arrays in it."""
    if not is_dataclass(leaf) or isinstance(leaf, type):
        return False
    return any(is_float(part) or is_complex(part) for part in jax.tree_util.tree_leaves(list(vars(leaf).values())))


def widened(leaf: Any) -> Any:
    """Return an array of floats in double precision; anything else as it is."""
    return jnp.asarray(leaf, jnp.float64) if hasattr(leaf, "dtype") and is_float(leaf) else leaf


def step(key: Any) -> str:
    """Return one step of a path, as people write it."""
    tree = jax.tree_util
    if isinstance(key, tree.GetAttrKey):
        return f".{key.name}"
    if isinstance(key, tree.SequenceKey):
        return f"[{key.idx}]"
    return f".{key.key}" if isinstance(key, tree.DictKey) and isinstance(key.key, str) else f"[{key.key!r}]"
