"""A traced function computed in double precision, also where it casts to less by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from gradcheck.jax.arrays import Arrays, coarser, floats_in, jaxprs_in, widened

__all__ = ["evaluated"]

INLINED = {"jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat", "remat2"}
"""Primitives that call another function, whose equations are evaluated in their place."""

ASKED = ("new_dtype", "preferred_element_type", "dtype")
"""Parameters of primitives that ask for a dtype."""


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
        elif any(coarser(floats_in(part), []) for part in jaxprs_in(params)):
            raise TypeError(f"{equation.primitive.name} casts to half precision inside")
        else:
            params |= {name: jnp.float64 for name in ASKED if name in params and _is_float(params[name])}
            found = equation.primitive.bind(*given, **params)
            found = found if equation.primitive.multiple_results else [found]
        known.update(zip(equation.outvars, found, strict=True))
    return list(map(read, jaxpr.outvars))


def _is_float(dtype: Any) -> bool:
    return dtype is not None and bool(jnp.issubdtype(dtype, jnp.floating))
