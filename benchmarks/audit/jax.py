"""JAX: every function of one to three arrays in its public modules of mathematics, in both modes, which reaches its primitives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jax.scipy import special, stats

from gradcheck import Report
from gradcheck.jax import check_grad

MODULES = {
    "jax.scipy.special": special,
    "jax.nn": jax.nn,
    "jax.lax": jax.lax,
    "jax.lax.linalg": jax.lax.linalg,
    "jax.numpy.linalg": jnp.linalg,
    "jax.scipy.linalg": jax.scipy.linalg,
    "jax.numpy": jnp,
    **{
        f"jax.scipy.stats.{name}": module
        for name, module in sorted(vars(stats).items())
        if isinstance(module, ModuleType) and not name.startswith("_")
    },
}

POINTS: dict[str, tuple[list, ...]] = {
    "inside": ([0.3, 0.55, 0.8],),
    "beyond": ([1.2, 1.7, 2.6],),
    "negative": ([-0.4, -0.7],),
    "matrix": ([[2.0, 0.3, 0.1], [0.4, 1.4, -0.2], [0.2, -0.3, 0.9]],),
    "two": ([0.3, 0.55, 1.8], [1.3, 0.7, 0.4]),
    "matrices": ([[2.0, 0.3], [0.4, 1.4]], [[0.5, -0.2], [0.7, 1.1]]),
    "three": ([0.3, 0.55, 1.8], [1.3, 0.9, 2.1], [0.6, 0.2, 0.4]),
}
"""Points of one array inside of the unit interval, beyond it and below zero; of a matrix; and of several arrays."""


def cases() -> Iterator[tuple[str, Callable[[], Report]]]:
    """Yield a name and a check for every place in which a function is defined."""
    for module, functions in MODULES.items():
        for name, function in sorted(vars(functions).items()):
            if name.startswith("_") or inspect.isclass(function) or not callable(function):
                continue
            for place, points in POINTS.items():
                arrays = tuple(jnp.array(point) for point in points)
                if _is_smooth_map(function, arrays):
                    yield f"{module}.{name}-{place}", partial(_check, function, arrays)


def _is_smooth_map(function: Callable, arrays: tuple[jax.Array, ...]) -> bool:
    """Whether it makes finite floats, and nothing else, of these arrays of floats."""
    try:
        values = jax.tree.leaves(function(*arrays))
        return bool(values) and all(
            jnp.issubdtype(y.dtype, jnp.floating) and bool(jnp.all(jnp.isfinite(y))) for y in values
        )
    except Exception:  # noqa: BLE001 - whatever it says of arguments that it does not take
        return False


def _check(function: Callable, arrays: tuple[jax.Array, ...]) -> Report:
    """Check a sum in which every output has another weight: in a plain one much would cancel."""

    def weighted(*arrays: jax.Array) -> jax.Array:
        values = jax.tree.leaves(function(*arrays))
        return sum(jnp.sum(jnp.cos(1.0 + jnp.arange(y.size)).reshape(y.shape) * y) for y in values)

    return check_grad(weighted, *arrays, argnums=tuple(range(len(arrays))))
