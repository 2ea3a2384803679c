"""Who claims: a scalar function with its gradient, or a layer. Both tell the engine the same things.

The value of the function, the form of that value, the cotangents to read it through, and the claimed gradients; and
each checks the protocol that its own kind of backward must keep.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gradcheck.claims import Reading, read_gradient
from gradcheck.errors import InvalidArgument
from gradcheck.evaluation import Output, calling
from gradcheck.session import Session

__all__ = ["LayerClaimant", "ScalarClaimant", "input_names"]

Floats = NDArray[np.float64]
Given = list[Any]


def input_names(forward: Callable[..., Any], count: int) -> list[str]:
    """Name the inputs as in the signature of the function, else x0, x1, ...."""
    fallback = [f"x{i}" for i in range(count)]
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return fallback
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names + fallback[len(names) :] if len(set(names) | set(fallback[len(names) :])) == count else fallback


class ScalarClaimant:
    """A scalar function and its gradient."""

    name = "f"
    optional = False

    def __init__(self, f: Callable[[Any], Any], grad: Callable[[Any], Any] | Literal[True]) -> None:
        self.f = f
        self.grad = grad
        self.calls = 0

    def value(self, tree: Any) -> Any:
        """Return the function's value alone."""
        return self.f(tree) if self.grad is not True else self._pair(self.f(tree))[0]

    def output(self, value: Any) -> Output:
        """Learn the form of the value."""
        output = Output.of(value, "f")
        if output.size != 1 or len(output.leaves) != 1:
            shapes = [leaf.value.shape for leaf in output.leaves]
            raise InvalidArgument(
                f"f returned {'shape ' + str(shapes[0]) if len(shapes) == 1 else f'{len(shapes)} arrays'}; "
                "a single number was required; return a scalar, or check a layer with check_layer."
            )
        return output

    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Return the one cotangent of a scalar."""
        del output, rng
        return np.ones((1, 1))

    def claims(self, check: Session, arrays: list[NDArray[Any]], cotangents: Floats) -> Given:
        """Return the claimed gradients at a point, one per cotangent."""
        del cotangents
        tree = check.point.hand_out(arrays)
        self.calls += 1
        if self.grad is True:
            check.budget.spend()
            with calling("f", "for its gradient"):
                return [self._pair(self.f(tree))[1]]
        with calling("grad", "at the given point"):
            return [self.grad(tree)]

    def protocol(self, check: Session, cotangents: Floats, first: list[Reading]) -> None:
        """Call the gradient again: it must be the same, and leave the parameters alone."""
        arrays = check.point.copies()
        (given,) = self.claims(check, arrays, cotangents)
        check.same_again(given, first[0], "grad")
        changed = check.point.changed(arrays)
        if changed:
            check.find("inputs-changed", f"grad changed its argument in place: {', '.join(changed)}", fatal=True)

    @staticmethod
    def _pair(value: Any) -> tuple[Any, Any]:
        if not (isinstance(value, tuple) and len(value) == 2):
            raise InvalidArgument(
                f"grad=True requires f to return (value, gradient), but it returned a {type(value).__name__}; "
                "return both, or pass the gradient function as grad."
            )
        return value


class LayerClaimant:
    """A forward/backward pair."""

    name = "forward"
    optional = True

    def __init__(
        self, forward: Callable[..., Any], backward: Callable[[Any, Any], Any], inputs: dict[str, Any]
    ) -> None:
        self.forward = forward
        self.backward = backward
        self.inputs = inputs
        self.calls = 0
        self.form: Output | None = None

    def value(self, tree: dict[str, Any]) -> Any:
        """Return the output of the layer."""
        return self._forward(tree)[0]

    def _forward(self, tree: dict[str, Any]) -> tuple[Any, Any]:
        value = self.forward(*tree.values())
        if not (isinstance(value, tuple) and len(value) == 2):
            raise InvalidArgument(
                f"forward must return (y, cache), but it returned a {type(value).__name__}"
                f"{f' of {len(value)}' if isinstance(value, tuple) else ''}; return both."
            )
        return value

    def output(self, value: Any) -> Output:
        """Learn the form of the output."""
        self.form = Output.of(value, "forward")
        if self.form.size and not any(leaf.value.dtype.kind == "f" for leaf in self.form.leaves):
            raise InvalidArgument("forward returned no floating-point output; there is nothing to differentiate.")
        return self.form

    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Draw two upstreams, rounded to the output's dtype."""
        drawn = rng.normal(size=(2, output.size))
        return np.stack([output.read(output.like(row)) for row in drawn])

    def claims(self, check: Session, arrays: list[NDArray[Any]], cotangents: Floats) -> Given:
        """Return the pulled-back cotangents at a point, in the order of the rows."""
        assert self.form is not None  # noqa: S101 - output() comes first; tells the type checker
        tree = check.point.hand_out(arrays)
        check.budget.spend()
        with calling("forward", "at the given point"):
            _, cache = self._forward(tree)
        return [self._pull(self.form.like(row), cache) for row in cotangents]

    def _pull(self, dy: Any, cache: Any) -> Any:
        self.calls += 1
        with calling("backward", "at the given point"):
            given = self.backward(dy, cache)
        return self._by_name(given)

    def _by_name(self, given: Any) -> Any:
        """Lay a returned tuple beside the names of the inputs."""
        names = list(self.inputs)
        if isinstance(given, tuple) and len(given) == len(names):
            return dict(zip(names, given, strict=True))
        if len(names) == 1 and not isinstance(given, tuple):
            return {names[0]: given}
        if given is None:
            return dict.fromkeys(names)
        return given

    def protocol(self, check: Session, cotangents: Floats, first: list[Reading]) -> None:
        """Check what backward must hold beside its values."""
        assert self.form is not None  # noqa: S101 - output() comes first; tells the type checker
        arrays = check.point.copies()
        check.budget.spend()
        with calling("forward", "at the given point"):
            _, cache = self._forward(check.point.hand_out(arrays))
        weights = check.settings.rng.uniform(0.5, 1.5, size=2) * (1, -1)
        upstreams = [cotangents[0], weights @ cotangents, np.zeros(self.form.size), cotangents[0]]
        handed = [self.form.like(row) for row in upstreams]
        readings = []
        for dy in handed:
            given = self._pull(dy, cache)
            readings.append(read_gradient(given, self.inputs, check.point.leaves, optional=True))
        check.same_again_reading(readings[3], first[0], "backward")
        check.linear(readings[1], first, weights)
        check.zero_for_zero(readings[2])
        if any(
            not np.array_equal(self.form.read(dy), self.form.read(self.form.like(row)), equal_nan=True)
            for dy, row in zip(handed, upstreams, strict=True)
        ):
            check.find("upstream-changed", "backward changed its upstream dy in place", fatal=True)
        changed = check.point.changed(arrays)
        if changed:
            check.find("inputs-changed", f"the layer changed its inputs in place: {', '.join(changed)}", fatal=True)
