"""What is checked: a function from named arrays to arrays, and what JAX gives of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from gradcheck.checks.autodiff import Problem, require_values, upstreams
from gradcheck.functions.probe import calling
from gradcheck.jax.precision import Arrays, draws, enable_x64, evaluated, inside_of

__all__ = ["JaxProblem", "compiled"]

REMEDY = "arguments follow the function one by one: check_grad(f, x, y)"
"""What to do where the arguments of a call do not fit."""

UNTRACEABLE = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""What a function raises that can be evaluated and differentiated, but not compiled."""


@dataclass(frozen=True)
class JaxProblem(Problem):
    """A function of arrays of JAX; its inputs are NumPy's, so that they are in float64 where JAX is told to have none.

    ``traced`` is the function as it was traced, where that gives the same to the last bit: a loop is compiled once then.
    """

    traced: Any = None

    @cached_property
    def _wide(self) -> Callable[[Arrays], Arrays]:
        def whole(leaves: Arrays) -> Arrays:
            if self.traced is not None and draws(self.traced):
                with contextlib.suppress(TypeError):  # a loop in single precision
                    return evaluated(self.traced.jaxpr, self.traced.consts, leaves)
            if self.inside is None:
                return self.function(leaves, True)
            traced = jax.make_jaxpr(lambda leaves: self.function(leaves, True))(leaves)
            return evaluated(traced.jaxpr, traced.consts, leaves)

        return compiled(whole)  # it is called hundreds of times

    def value(self, *leaves: Any, wide: bool = False) -> Arrays:
        """Return the values at a point."""
        if not wide:
            given = list(map(jnp.asarray, leaves))
            values = self.function(given, False) if self.traced is None else jaxpr_as_fun(self.traced)(*given)
            return list(map(np.asarray, values))
        with enable_x64(True):
            return list(map(np.asarray, self._wide(list(map(jnp.asarray, leaves)))))

    def tried(self) -> tuple[JaxProblem, Arrays]:
        """Return the same, as a call of the function shows it to be, and the values at the point."""
        with calling(self.name, "at the given point", REMEDY):
            values = self.value(*self.inputs.values())
        require_values(self, values)
        leaves = list(map(jnp.asarray, self.inputs.values()))
        try:
            traced = jax.make_jaxpr(lambda leaves: self.function(leaves, False))(leaves)
        except UNTRACEABLE:
            return self, values
        tried = replace(self, inside=inside_of(traced, [leaf.dtype for leaf in leaves]))
        again = replace(tried, traced=traced)
        is_same = all(map(partial(np.array_equal, equal_nan=True), values, again.value(*leaves)))
        return (again if is_same else tried), values

    def pull(self, dy: Sequence[Any], *leaves: Any) -> Arrays:
        """Return the products of cotangents with the Jacobian, by reverse mode."""
        return self.both("rev", dy, *leaves)[1]

    def push(self, tangents: Sequence[Any], *leaves: Any) -> Arrays:
        """Return the products of the Jacobian with tangents, by forward mode."""
        return self.both("fwd", tangents, *leaves)[1]

    def both(self, mode: str, seeds: Sequence[Any], *leaves: Any) -> tuple[Arrays, Arrays]:
        """Return the values that the function has while it is differentiated in a mode, and the products of that mode."""
        if self.is_wider(leaves):
            with enable_x64(True):
                return self._pulled(seeds, list(map(jnp.asarray, leaves)), wide=True)
        point = list(map(jnp.asarray, leaves))
        if mode == "rev":
            return self._pulled(seeds, point, wide=False)
        moves = [jnp.asarray(move, leaf.dtype) for move, leaf in zip(seeds, point, strict=True)]
        found: tuple[Arrays, Arrays] = jax.jvp(lambda x: self.function(x, False), (point,), (moves,))
        return found

    def derivative(self) -> JaxProblem:
        """Return the function that pulls one fixed cotangent back."""
        seeds = upstreams(self.value(*self.inputs.values()))
        return JaxProblem(lambda leaves, wide: self._pulled(seeds, leaves, wide=wide)[1], self.inputs)

    def _pulled(self, dy: Sequence[Any], leaves: Arrays, *, wide: bool) -> tuple[Arrays, Arrays]:
        values, pull = jax.vjp(lambda x: self.function(x, wide), leaves)
        found: Arrays = pull([jnp.asarray(seed, value.dtype) for seed, value in zip(dy, values, strict=True)])[0]
        return values, found


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
