"""What is checked: a function from named arrays to arrays, made of the user's function and its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradcheck.checks.claimants import input_names
from gradcheck.errors import InvalidArgument
from gradcheck.functions.formats import Format
from gradcheck.functions.probe import calling
from gradcheck.jax.arrays import (
    Arrays,
    coarser,
    enable_x64,
    floats_in,
    hides_arrays,
    is_complex,
    is_float,
    step,
    widened,
)
from gradcheck.jax.widening import evaluated

__all__ = ["Problem", "compiled", "of_function", "positions"]

REMEDY = "arguments follow the function one by one: check_grad(f, x, y)"
"""What to do where the arguments of a call do not fit."""

UNTRACEABLE = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""What a function raises that can be evaluated and differentiated, but not compiled."""


@dataclass(frozen=True)
class Problem:
    """A function from named arrays to a list of arrays.

    Attributes
    ----------
    function : callable
        ``function(leaves, wide) -> list of arrays``; ``wide`` is whether what it holds fixed is widened too.
    inputs : dict
        Name -> array, of what is differentiated.
    inside : Format, optional
        What it computes in on the way, where that is coarser than the inputs.
    indices : mapping
        Name -> array of whole numbers that it takes beside the inputs.
    """

    function: Callable[[Arrays, bool], Arrays]
    inputs: dict[str, NDArray[Any]]
    inside: Format | None = None
    indices: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)

    @cached_property
    def _wide(self) -> Callable[[Arrays], Arrays]:
        def whole(leaves: Arrays) -> Arrays:
            traced = jax.make_jaxpr(lambda leaves: self.function(leaves, True))(leaves)
            return evaluated(traced.jaxpr, traced.consts, leaves)

        # It is called hundreds of times.
        return compiled(whole if self.inside is not None else lambda leaves: self.function(leaves, True))

    def value(self, *leaves: Any, wide: bool = False) -> Arrays:
        """Return the values at a point."""
        if not wide:
            return list(map(np.asarray, self.function(list(map(jnp.asarray, leaves)), False)))
        with enable_x64(True):
            return list(map(np.asarray, self._wide(list(map(jnp.asarray, leaves)))))

    def number(self, p: dict[str, Any], *, wide: bool = False) -> Any:
        """Return the value of a problem that has one number."""
        return self.value(*p.values(), wide=wide)[0].reshape(())

    def tried(self) -> tuple[Problem, Arrays]:
        """Return the same, as a call of the function shows it to be, and the values at the point."""
        with calling("f", "at the given point", REMEDY):
            values = self.value(*self.inputs.values())
        if not any(part.size for part in values):
            raise InvalidArgument("f returned no floating-point number; there is nothing to differentiate.")
        leaves = list(map(jnp.asarray, self.inputs.values()))
        try:
            seen = list(floats_in(jax.make_jaxpr(lambda leaves: self.function(leaves, False))(leaves)))
        except UNTRACEABLE:
            seen = []
        return replace(self, inside=coarser(seen, [leaf.dtype for leaf in leaves])), values

    def pulled(self, dy: Sequence[Any], leaves: Arrays) -> Arrays:
        """Return the products of cotangents with the Jacobian, by reverse mode."""
        values, pull = jax.vjp(lambda x: self.function(x, False), list(map(jnp.asarray, leaves)))
        found: Arrays = pull([jnp.asarray(seed, value.dtype) for seed, value in zip(dy, values, strict=True)])[0]
        return found

    def pushed(self, tangents: Sequence[Any], leaves: Arrays) -> Arrays:
        """Return the products of the Jacobian with tangents, by forward mode."""
        point = list(map(jnp.asarray, leaves))
        moves = [jnp.asarray(move, leaf.dtype) for move, leaf in zip(tangents, point, strict=True)]
        found: Arrays = jax.jvp(lambda x: self.function(x, False), (point,), (moves,))[1]
        return found

    def pull(self, dy: Sequence[Any], *leaves: Any) -> tuple[Any, ...]:
        """Return what `pulled` gives as `check_vjp` asks for it."""
        return tuple(map(np.asarray, self.pulled(dy, list(leaves))))

    def push(self, tangents: Sequence[Any], *leaves: Any) -> Arrays:
        """Return what `pushed` gives as `check_jvp` asks for it."""
        return list(map(np.asarray, self.pushed(tangents, list(leaves))))

    def derivative(self) -> Problem:
        """Return the function that pulls one fixed cotangent back."""
        seeds = [np.random.default_rng(0).uniform(0.5, 1.5, part.shape) for part in self.value(*self.inputs.values())]

        def slope(leaves: Arrays, wide: bool) -> Arrays:  # noqa: FBT001 - one of two forms of every problem
            values, pull = jax.vjp(lambda x: self.function(x, wide), leaves)
            (found,) = pull([jnp.asarray(seed, value.dtype) for seed, value in zip(seeds, values, strict=True)])
            return list(found)

        return Problem(slope, self.inputs)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called; where that cannot be it is called as it is."""
    left: list[Callable[..., Any]] = [jax.jit(function), function]

    def call(*args: Any) -> Any:
        try:
            return left[0](*args)
        except UNTRACEABLE:
            if len(left) == 1:
                raise
            del left[0]
            return left[0](*args)

    return call


def of_function(
    f: Callable[..., Any], args: tuple[Any, ...], argnums: set[int], static: set[int], *, has_aux: bool
) -> Problem:
    """Take arguments apart: floating-point leaves that are differentiated, arrays that are held fixed, settings."""
    if argnums & static:
        raise InvalidArgument(f"argument {min(argnums & static)} is both in argnums and in static_argnums.")
    free: dict[str, tuple[int, int]] = {}
    taken, indices = [], {}
    for number, (name, arg) in enumerate(zip(input_names(f, len(args)), args, strict=True)):
        paths, tree = ([], None) if number in static else jax.tree_util.tree_flatten_with_path(arg)
        taken.append(([leaf for _, leaf in paths], tree))
        for place, (path, leaf) in enumerate(paths):
            plain = name + "".join(map(step, path))
            if number in argnums:
                _require_seen(leaf, f"args: {plain}", "pass its real and imaginary parts as two arrays")
            if isinstance(dtype := getattr(leaf, "dtype", None), np.dtype) and dtype.kind in "iu":
                indices[plain] = np.asarray(leaf).astype(np.intp)
            if number in argnums and is_float(leaf):
                free[plain if plain not in free else name + jax.tree_util.keystr(path)] = number, place

    def function(leaves: Arrays, wide: bool) -> Arrays:  # noqa: FBT001 - one of two forms of every problem
        moved = dict(zip(free.values(), leaves, strict=True))
        given = [
            arg
            if tree is None
            else tree.unflatten([moved.get((n, i), widened(leaf) if wide else leaf) for i, leaf in enumerate(parts)])
            for n, ((parts, tree), arg) in enumerate(zip(taken, args, strict=True))
        ]
        value = f(*given)
        if has_aux and not (isinstance(value, tuple) and len(value) == 2):
            raise InvalidArgument(
                f"has_aux=True, but f returned a {type(value).__name__}; a pair (value, aux) was required; return both, or "
                "leave has_aux out."
            )
        parts = jax.tree_util.tree_leaves(value[0] if has_aux else value)
        for part in parts:
            _require_seen(part, "f: what it returned", "return its real and imaginary parts as two arrays")
        return [part for part in parts if is_float(part)]

    inputs = {name: np.asarray(jnp.asarray(taken[n][0][i])) for name, (n, i) in free.items()}
    return Problem(function, inputs, indices=indices)


def _require_seen(leaf: Any, what: str, remedy: str) -> None:
    """Refuse numbers that would be left out without a word."""
    if is_complex(leaf):
        raise InvalidArgument(f"{what} is complex ({jnp.result_type(leaf)}); real numbers are required; {remedy}.")
    if hides_arrays(leaf):
        raise InvalidArgument(
            f"{what} is an instance of {type(leaf).__name__}, which JAX does not know, so that its arrays would not be seen; register "
            "it with jax.tree_util.register_dataclass, or use a dict or tuple."
        )


def positions(name: str, given: int | Sequence[int], count: int) -> set[int]:
    """Read argnums: positions, which may be counted from the end."""
    numbers = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(number, int | np.integer) and -count <= number < count for number in numbers):
        raise InvalidArgument(
            f"{name}={given!r}, but there are {count} arguments; positions from {-count} to {count - 1} are required."
        )
    return {number % count for number in numbers}
