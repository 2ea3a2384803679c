"""JAX: every function of one array in `jax.numpy`, `jax.nn`, `jax.lax` and `jax.scipy.special`, in both modes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy import special

from gradcheck import Report
from gradcheck.jax import check_grad

MODULES = {"jax.scipy.special": special, "jax.nn": jax.nn, "jax.lax": jax.lax, "jax.numpy": jnp}

POINTS = {"inside": [0.3, 0.55, 0.8], "beyond": [1.2, 1.7, 2.6], "negative": [-0.4, -0.7]}
"""Inside of the unit interval, beyond it, and below zero."""


def cases() -> Iterator[tuple[str, Callable[[], Report]]]:
    """Yield a name and a check for every place in which a function is defined."""
    for module, functions in MODULES.items():
        for name, function in sorted(vars(functions).items()):
            if name.startswith("_") or inspect.isclass(function) or not callable(function):
                continue
            for place, points in POINTS.items():
                if _is_smooth_map(function, jnp.array(points)):
                    yield f"{module}.{name}-{place}", partial(_check, function, jnp.array(points))


def _is_smooth_map(function: Callable, x: jax.Array) -> bool:
    """Whether it makes finite floats of one array of floats."""
    try:
        y = function(x)
    except Exception:  # noqa: BLE001 - whatever it says of an argument that it does not take
        return False
    return isinstance(y, jax.Array) and jnp.issubdtype(y.dtype, jnp.floating) and bool(jnp.all(jnp.isfinite(y)))


def _check(function: Callable, x: jax.Array) -> Report:
    return check_grad(lambda x: jnp.sum(function(x)), x)
