"""What is in arrays of JAX, trees of them, and functions of those."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from numbers import Number
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradcheck.functions.formats import Format

__all__ = [
    "Arrays",
    "coarser",
    "enable_x64",
    "eps_of",
    "floats_in",
    "hides_arrays",
    "is_complex",
    "is_float",
    "jaxprs_in",
    "step",
    "widened",
]

Arrays = list[Any]

enable_x64: Any = (jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")).enable_x64
_finfo: Any = jnp.finfo  # JAX gives it no types


def eps_of(dtype: Any) -> float:
    """Return the epsilon of a dtype of floats."""
    return float(_finfo(dtype).eps)


def coarser(seen: Iterable[Any], known: Iterable[Any]) -> Format | None:
    """Return the coarsest of some dtypes, if it is coarser than all others that are known, and than single precision."""
    dtype = max(seen, key=eps_of, default=np.dtype(float))
    is_coarser = eps_of(dtype) > max(map(eps_of, [np.dtype(np.float32), *known]))
    return Format(str(dtype), np.dtype(float), eps_of(dtype)) if is_coarser else None


def floats_in(traced: Any) -> Iterator[Any]:
    """Give the dtypes of all floating-point numbers that a traced function computes."""
    for equation in traced.eqns:
        dtypes = (getattr(variable.aval, "dtype", None) for variable in equation.outvars)
        yield from (dtype for dtype in dtypes if dtype is not None and jnp.issubdtype(dtype, jnp.floating))
        for part in jaxprs_in(equation.params):
            yield from floats_in(part)


def jaxprs_in(params: dict[str, Any]) -> list[Any]:
    """Return the traced functions among the parameters of a primitive."""
    return [part for part in jax.tree_util.tree_leaves(list(params.values())) if hasattr(part, "eqns")]


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
