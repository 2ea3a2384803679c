"""Who claims the gradients of a layer: a forward that keeps a cache, and a backward that takes it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.checks.check import Check
from gradcheck.checks.exchanged import is_marked
from gradcheck.checks.subjects import PullbackSubject, by_name, require_floats
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.points import Output, Point
from gradcheck.functions.probe import calling
from gradcheck.functions.trees import flatten
from gradcheck.reports.claims import Reading, read_gradient

__all__ = ["LayerSubject"]

PAIR = "are forward and backward swapped? The order is check_layer(forward, backward, *inputs); the other way round"


class LayerSubject(PullbackSubject):
    """A forward/backward pair."""

    name = "forward"
    derivative = "backward"
    seed = "its upstream"
    order = "backward(dy, cache)"
    is_whole = True

    def __init__(
        self,
        forward: Callable[..., Any],
        backward: Callable[[Any, Any], Any],
        inputs: dict[str, Any],
        settings: tuple[str, ...] = (),
    ) -> None:
        super().__init__(forward, inputs, settings)
        self.backward = backward
        self.value = partial(_output_of, forward)

    def like_value(self, function: Callable[..., Any]) -> Callable[[Any], Any]:
        """Return what calls another forward, with or without a cache."""
        assert self.form is not None  # noqa: S101 - output() comes first; tells the type checker
        return partial(_output_alone, function, [leaf.value.shape for leaf in self.form.leaves])

    def prepare(self, check: Check, tree: Any) -> Any:
        """Run forward, for its cache."""
        check.budget.spend()
        with calling(self.name, "at the given point"):
            return _run(self.function, tree)[1]

    def pull(self, seed: Any, prepared: Any) -> Any:
        """Call backward with an upstream and the cache."""
        return by_name(self.backward(seed, prepared), self.tree, self.derivative, self.settings)

    def pull_exchanged(self, seed: Any, prepared: Any) -> Any:
        """Call it with the cache first."""
        return by_name(self.backward(prepared, seed), self.tree, self.derivative, self.settings)

    def protocol(self, check: Check, cotangents: Floats, first: list[Reading]) -> None:
        """Say also where forward and backward seem to be swapped."""
        super().protocol(check, cotangents, first)
        if is_marked(check) and not any(finding.code == "arguments-swapped" for finding in check.faults):
            with suppress(Exception):
                if self.fits_swapped(check.point):
                    check.find("arguments-swapped", f"{PAIR} they give what fits", fatal=True)

    def fits_swapped(self, point: Point) -> bool:
        """Tell whether backward, called with the inputs, gives an output and a cache, and forward a gradient for each of those."""
        y, cache = _run(self.backward, point.hand().tree)
        output = Output.of(y, self.name)
        require_floats(output)
        given = by_name(self.function(output.like(np.ones(output.size)), cache), self.tree, self.name, self.settings)
        reading = read_gradient(given, self.tree, point.leaves, optional=self.optional, words=self.words)
        return self.fits(reading) and all(leaf in reading.values for leaf in point.free())


def _run(forward: Callable[..., Any], tree: dict[str, Any]) -> tuple[Any, Any]:
    value = forward(*tree.values())
    if not (isinstance(value, tuple) and len(value) == 2):
        raise InvalidArgument(
            f"forward must return (y, cache), but it returned {described(value)}"
            f"{f' of {len(value)}' if isinstance(value, tuple) else ''}; return both."
        )
    return value


def _output_of(forward: Callable[..., Any], tree: dict[str, Any]) -> Any:
    return _run(forward, tree)[0]


def _output_alone(function: Callable[..., Any], shapes: list[tuple[int, ...]], tree: dict[str, Any]) -> Any:
    """Return the output of a function that gives it alone, or beside a cache: the one that has these shapes."""
    value = function(*tree.values())
    if not (isinstance(value, tuple) and len(value) == 2):
        return value
    try:
        is_output = [leaf.value.shape for leaf in flatten(value)[0]] == shapes
    except InvalidArgument:  # a cache may hold anything
        is_output = False
    return value if is_output else value[0]
