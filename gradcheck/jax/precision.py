"""The precision that a traced function computes in on the way, and the same function in double precision."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradcheck.checks.autodiff import coarsest_inside
from gradcheck.functions.formats import Format

__all__ = ["Arrays", "draws", "enable_x64", "eps_of", "evaluated", "inside_of", "widened"]

Arrays = list[Any]

INLINED = {"jit", "pjit", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat", "remat2"}
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
    """Evaluate a jaxpr with every floating-point number in double precision; loops in less than that raise `TypeError`."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], map(widened, [*constants, *arguments]), strict=True))

    def read(atom: Any) -> Any:
        return widened(atom.val) if hasattr(atom, "val") else known[atom]

    for equation in jaxpr.eqns:
        given, params = list(map(read, equation.invars)), dict(equation.params)
        if equation.primitive.name in INLINED:
            inner = params.get("jaxpr", params.get("call_jaxpr"))
            found = evaluated(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), given)
        elif any(inside_of(part, []) for part in _jaxprs_in(params)):
            raise TypeError(f"{equation.primitive.name} is in less than double precision inside")
        else:
            if (
                equation.primitive.name != "bitcast_convert_type"
            ):  # random bits keep their width: wider ones would be other numbers
                params |= {name: jnp.float64 for name in ASKED if _is_float(params.get(name))}
            found = equation.primitive.bind(*given, **params)
            found = found if equation.primitive.multiple_results else [found]
        known.update(zip(equation.outvars, map(widened, found), strict=True))
    return list(map(read, jaxpr.outvars))


def draws(traced: Any) -> bool:
    """Tell whether a traced function draws random numbers: asked for double precision, JAX draws others."""
    return any(equation.primitive.name.startswith(("random_bits", "threefry")) for equation in _equations_in(traced))


def _floats_in(traced: Any) -> Iterator[Any]:
    """Give the dtypes of all floating-point numbers that a traced function computes."""
    for equation in _equations_in(traced):
        yield from filter(_is_float, (getattr(variable.aval, "dtype", None) for variable in equation.outvars))


def _equations_in(traced: Any) -> Iterator[Any]:
    """Give the equations of a traced function, and of those that it calls."""
    for equation in traced.eqns:
        yield equation
        for part in _jaxprs_in(equation.params):
            yield from _equations_in(part)


def _jaxprs_in(params: dict[str, Any]) -> list[Any]:
    """Return the traced functions among the parameters of a primitive."""
    return [part for part in jax.tree_util.tree_leaves(list(params.values())) if hasattr(part, "eqns")]


def _is_float(dtype: Any) -> bool:
    return dtype is not None and bool(jnp.issubdtype(dtype, jnp.floating))
