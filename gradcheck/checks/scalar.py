"""Who claims the gradient of a scalar function: another function, the same one, or numbers that are at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.checks.check import Check, Subject
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.arrays import as_numpy, is_array
from gradcheck.functions.containers import parts_of
from gradcheck.functions.points import Handed, Layout, Output, as_given
from gradcheck.functions.probe import calling
from gradcheck.functions.trees import MISSING, align, flatten
from gradcheck.reports.claims import Misfit, Reading, read_gradient

__all__ = ["VALUE_FIRST", "GivenGradient", "ScalarSubject", "is_claim", "pair_of"]

VALUE_FIRST = "(value, gradient)"
"""What f returns with ``grad=True``."""


@dataclass(frozen=True, slots=True)
class GivenGradient:
    """A gradient that was computed before: a tree like the parameters."""

    tree: Any


def is_claim(grad: Any, params: Any) -> bool:
    """Tell whether what was given as the gradient is one, already computed, and no function.

    What is a container or an array is one; a number is, where the point is one. A container that can be called is one
    where the point is of the same class.
    """
    if callable(grad):
        return type(grad) is type(params) and parts_of(grad) is not None
    if isinstance(grad, bool) or grad is None:
        return False
    if isinstance(grad, int | float | np.number):
        return isinstance(params, float | np.number) or (is_array(params) and not as_numpy(params).ndim)
    return is_array(grad) or bool(parts_of(grad)) or isinstance(grad, list) or _is_written_out(grad)


def _is_written_out(grad: Any) -> bool:
    return any(callable(getattr(grad, name, None)) for name in ("toarray", "to_dense", "todense"))


class ScalarSubject(Subject):
    """A scalar function and its gradient."""

    is_whole = True
    may_ignore_its_point = True

    def __init__(
        self, f: Callable[[Any], Any], grad: Callable[[Any], Any] | GivenGradient | Literal[True], params: Any
    ) -> None:
        super().__init__(f)
        self.grad = grad
        self.is_given = isinstance(grad, GivenGradient)
        self.stands_alone = not self.is_given and grad is not True
        self.params = params
        self.value = f if grad is not True else partial(_value_of, f, params)

    def output(self, value: Any) -> Output:
        """Learn the form of the value."""
        if self.grad is not True:
            self._require_alone(value)
        if isinstance(value, bool | np.bool_):
            raise InvalidArgument("f returned True or False; a number was required.")
        output = Output.of(value, "f")
        if output.size != 1 or len(output.leaves) != 1:
            shapes = [leaf.value.shape for leaf in output.leaves]
            given = "None" if value is None else f"shape {shapes[0]}" if len(shapes) == 1 else f"{len(shapes)} arrays"
            remedy = (
                "that is built like params, as a gradient is: are f and grad swapped (the order is check_gradient(f, grad, params)), or does "
                "f map over elements, as by vmap, where their sum was meant?"
                if _is_like(value, self.params)
                else "return a scalar, or check a layer with check_layer"
            )
            raise InvalidArgument(f"f returned {given}; a single number was required; {remedy}.")
        return output

    def _require_alone(self, value: Any) -> None:
        """Refuse a value that comes with something else."""
        pair = pair_of(value, self.params)
        if pair == VALUE_FIRST:
            raise InvalidArgument(
                f"f returned {pair}, but a gradient was given too; pass grad=True, or return the value alone."
            )
        if pair or (type(value) is tuple and len(value) > 1 and _is_number(value[0])):
            given = pair or f"a number and {described(value[1])}"
            raise InvalidArgument(f"f returned {given}; a single number was required: return the value alone.")

    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Return the one cotangent of a scalar."""
        del output, rng
        return np.ones((1, 1))

    def readings(self, check: Check, handed: Handed, cotangents: Floats, layout: Layout = as_given) -> list[Reading]:
        """Return the claimed gradient at a point."""
        del cotangents, layout
        reading = read_gradient(self._gradient(check, handed.tree), self.params, check.point.leaves)
        reading.handed = handed.named()
        return [reading]

    def _gradient(self, check: Check, tree: Any) -> Any:
        if isinstance(self.grad, GivenGradient):
            return self.grad.tree
        self.calls += 1
        if self.grad is True:
            check.budget.spend()
            with calling("f", "for its gradient"):
                return _pair(self.function(tree), self.params)[1]
        with calling("grad", "at the given point"):
            given = self.grad(tree)
        pair = pair_of(given, self.params)
        remedy = "; return that, or pass this function as f, with grad=True" if pair == VALUE_FIRST else ""
        return Misfit(f"grad returned {pair} where the gradient alone was required{remedy}") if pair else given


def pair_of(given: Any, params: Any) -> str:
    """Describe a pair of which one part is a gradient, such as ``(value, gradient)``; empty for anything else."""
    if not (type(given) is tuple and len(given) == 2) or _is_like(given, params):
        return ""
    first, second = given
    if _is_built_like(second, params):
        if _is_number(first):
            return VALUE_FIRST
        if type(first) is tuple and len(first) == 2 and _is_number(first[0]):
            return f"((value, {described(first[1])}), gradient)"
    if _is_like(first, params):
        return f"(gradient, {'value' if _is_number(second) else described(second)})"
    return ""


def _is_number(thing: Any) -> bool:
    """Tell whether this is a single number."""
    try:
        number = as_numpy(thing)
    except (TypeError, ValueError, RuntimeError):
        return False
    return number.size == 1 and number.dtype.kind in "iuf"


def _is_built_like(value: Any, params: Any) -> bool:
    """Tell whether a value has the structure of the parameters."""
    entries, mismatches = align(params, value)
    return not mismatches and not any(entry is MISSING or parts_of(entry) for entry in entries)


def _is_like(value: Any, params: Any) -> bool:
    """Tell whether a value has the structure and the shapes of the parameters."""
    if not _is_built_like(value, params):
        return False
    try:
        shapes = [as_numpy(entry).shape for entry in align(params, value)[0]]
    except (TypeError, ValueError, RuntimeError):
        return False
    return shapes == [leaf.value.shape for leaf in flatten(params)[0]]


def _pair(value: Any, params: Any) -> tuple[Any, Any]:
    pair = pair_of(value, params)
    if pair and pair != VALUE_FIRST:
        raise InvalidArgument(
            f"grad=True requires f to return {VALUE_FIRST}, but it returned {pair}; return these two alone, in this order."
        )
    if not (isinstance(value, tuple) and len(value) == 2):
        raise InvalidArgument(
            f"grad=True requires f to return (value, gradient), but it returned {described(value)}; "
            "return both, or pass the gradient function as grad."
        )
    return value


def _value_of(f: Callable[[Any], Any], params: Any, tree: Any) -> Any:
    return _pair(f(tree), params)[0]
