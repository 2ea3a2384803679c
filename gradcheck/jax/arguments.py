"""What is checked, made of the user's function and its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Number
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradcheck.checks.arguments import arguments_of, require_some, whole_numbers
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.trees import values_in
from gradcheck.jax.precision import Arrays, widened
from gradcheck.jax.problem import JaxProblem

__all__ = ["of_function", "positions"]


def of_function(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    argnums: set[int],
    static: set[int],
    *,
    has_aux: bool,
) -> JaxProblem:
    """Take arguments apart: floating-point leaves that are differentiated, arrays that are held fixed, settings."""
    if argnums & static:
        raise InvalidArgument(f"argument {min(argnums & static)} is both in argnums and in static_argnums.")
    given, spread = arguments_of(f, args, kwargs, static=static)
    leaves = {name: leaf for part in given for name, leaf in part.items()}
    asked = {name: leaf for i in sorted(argnums) for name, leaf in given[i].items()}
    for name, leaf in asked.items():
        _require_real(leaf, f"args: {name}", "pass its real and imaginary parts as two arrays")
        if callable(leaf):
            raise InvalidArgument(
                f"args: {name} is a function, which nothing is differentiated by: JAX computes the derivatives that are checked, so none is "
                "passed; check_grad(f, x, y). Where f itself takes a function, give static_argnums= or argnums=."
            )
    free = {name: leaf for name, leaf in asked.items() if _is_a(leaf, jnp.floating)}
    require_some(free, asked, "array")

    def function(moved: Arrays, wide: bool) -> Arrays:  # noqa: FBT001 - one of two forms of every problem
        others = {name: widened(leaf) if wide else leaf for name, leaf in leaves.items() if name not in free}
        places = {name: _like(free[name], leaf) for name, leaf in zip(free, moved, strict=True)}
        positional, keywords = spread(others | places)
        value = f(*positional, **keywords)
        if has_aux and not (isinstance(value, tuple) and len(value) == 2):
            raise InvalidArgument(
                f"has_aux=True, but f returned {described(value)}; a pair (value, aux) was required; return both, or "
                "leave has_aux out."
            )
        parts = values_in(value[0] if has_aux else value)
        for part in parts:
            _require_real(part, "f: what it returned", "return its real and imaginary parts as two arrays")
        return [jnp.asarray(part) for part in parts if _is_a(part, jnp.floating)]

    inputs = {name: np.asarray(jnp.asarray(leaf)) for name, leaf in free.items()}
    return JaxProblem(function, inputs, indices=whole_numbers(leaves))


def positions(name: str, given: int | Sequence[int], count: int) -> set[int]:
    """Read argnums: positions, which may be counted from the end."""
    numbers = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(number, int | np.integer) and -count <= number < count for number in numbers):
        raise InvalidArgument(
            f"{name}={given!r}, but there are {count} arguments; positions from {-count} to {count - 1} are required."
        )
    return {number % count for number in numbers}


def _is_a(leaf: Any, kind: Any) -> bool:
    """Tell whether a leaf of a tree holds numbers of a kind; functions, strings and names of dtypes do not."""
    if isinstance(leaf, type | np.dtype) or not (isinstance(leaf, Number | list) or hasattr(leaf, "shape")):
        return False
    try:
        return bool(jnp.issubdtype(jnp.asarray(leaf).dtype if isinstance(leaf, list) else jnp.result_type(leaf), kind))
    except TypeError:
        return False


def _like(leaf: Any, array: Any) -> Any:
    """Return an array as a list of numbers, where the leaf is one."""
    return list(array) if isinstance(leaf, list) else array


def _require_real(leaf: Any, what: str, remedy: str) -> None:
    """Refuse complex numbers, which would be left out without a word."""
    if _is_a(leaf, jnp.complexfloating):
        raise InvalidArgument(f"{what} is complex ({jnp.result_type(leaf)}); real numbers are required; {remedy}.")
