"""The precision that a traced function computes in on the way, and the same function in double precision."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradcheck.checks.autodiff import coarsest_inside
from gradcheck.functions.formats import Format

__all__ = ["Arrays", "enable_x64", "eps_of", "evaluated", "inside_of", "widened"]

Arrays = list[Any]

INLINED = {"jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat", "remat2"}
"""Primitives that call another function, whose equations are evaluated in their place."""

ASKED = ("new_dtype", "preferred_element_type", "dtype")
"""Parameters of primitives that ask for a dtype."""

enable_x64: Any = (jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")).enable_x64
_finfo: Any = jnp.finfo  # JAX gives it no types


def eps_of(dtype: Any) -> float:
    """Return the epsilon of a dtype of floats."""
    return float(_finfo(dtype).eps)


def widened(leaf: Any) -> Any:
    """Return an array of floats in double precision; anything else as it is."""
    return jnp.asarray(leaf, jnp.float64) if _is_float(getattr(leaf, "dtype", None)) else leaf


def inside_of(traced: Any, known: Sequence[Any]) -> Format | None:
    """Return the coarsest format that a traced function computes in, if it is coarser than the dtypes that are known."""
    return coarsest_inside({str(dtype): eps_of(dtype) for dtype in _floats_in(traced)}, list(map(eps_of, known)))


def evaluated(jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Any]) -> Arrays:
    """Evaluate a jaxpr with every floating-point number in double precision; loops whose bodies cast raise `TypeError`."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], map(widened, [*constants, *arguments]), strict=True))

    def read(atom: Any) -> Any:
        return widened(atom.val) if hasattr(atom, "val") else known[atom]

    for equation in jaxpr.eqns:
        given, params = list(map(read, equation.invars)), dict(equation.params)
        if equation.primitive.name in INLINED:
            inner = params.get("jaxpr", params.get("call_jaxpr"))
            found = evaluated(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), given)
        elif any(inside_of(part, []) for part in _jaxprs_in(params)):
            raise TypeError(f"{equation.primitive.name} casts to half precision inside")
        else:
            params |= {name: jnp.float64 for name in ASKED if _is_float(params.get(name))}
            found = equation.primitive.bind(*given, **params)
            found = found if equation.primitive.multiple_results else [found]
        known.update(zip(equation.outvars, found, strict=True))
    return list(map(read, jaxpr.outvars))


def _floats_in(traced: Any) -> Iterator[Any]:
    """Give the dtypes of all floating-point numbers that a traced function computes."""
    for equation in traced.eqns:
        dtypes = (getattr(variable.aval, "dtype", None) for variable in equation.outvars)
        yield from filter(_is_float, dtypes)
        for part in _jaxprs_in(equation.params):
            yield from _floats_in(part)


def _jaxprs_in(params: dict[str, Any]) -> list[Any]:
    """Return the traced functions among the parameters of a primitive."""
    return [part for part in jax.tree_util.tree_leaves(list(params.values())) if hasattr(part, "eqns")]


def _is_float(dtype: Any) -> bool:
    return dtype is not None and bool(jnp.issubdtype(dtype, jnp.floating))
