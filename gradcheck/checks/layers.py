"""Who claims the gradients of a layer: a forward that keeps a cache, and a backward that takes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.checks.check import Check
from gradcheck.checks.claimants import PullbackClaimant, by_name
from gradcheck.differences.ladder import lengths_of
from gradcheck.errors import InvalidArgument
from gradcheck.functions.float_errors import at_our_own_points
from gradcheck.functions.probe import calling
from gradcheck.functions.trees import flatten
from gradcheck.reports.claims import Reading, read_gradient

__all__ = ["LayerClaimant"]

Floats = NDArray[np.float64]

SWAPPED = "are the arguments of backward swapped? It is called backward(dy, cache)"
MARKS_OF_ORDER = {"zero-upstream", "upstream-ignored", "not-linear", "wrong-shape", "wrong-structure", "wrong-type"}
"""What a backward that takes the cache first is found to do."""

LIKE = 1e-2
"""The share of its terms by which a slope may be off: enough to tell one order of arguments from the other."""


class LayerClaimant(PullbackClaimant):
    """A forward/backward pair."""

    name = "forward"
    derivative = "backward"
    seed = "its upstream"
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
        try:
            given = self.backward(seed, prepared)
        except Exception as error:
            if self._fits_swapped(seed, prepared):
                error.add_note(f"{SWAPPED}: with the two exchanged it raises nothing and gives gradients that fit")
            raise
        return by_name(given, self.tree, self.derivative, self.settings)

    def protocol(self, check: Check, cotangents: Floats, first: list[Reading]) -> None:
        """Say also where backward takes its arguments in the other order."""
        super().protocol(check, cotangents, first)
        if MARKS_OF_ORDER & {finding.code for finding in check.faults} and self._is_right_swapped(check, cotangents):
            message = f"{SWAPPED}: with the two exchanged it gives the slope of forward"
            check.find("arguments-swapped", message, fatal=True)

    def _swapped(self, seed: Any, prepared: Any) -> Reading:
        given = by_name(self.backward(prepared, seed), self.tree, self.derivative, self.settings)
        return read_gradient(given, self.tree, flatten(self.tree, settings=self.settings)[0], optional=True)

    def _fits_swapped(self, seed: Any, prepared: Any) -> bool:
        try:
            reading = self._swapped(seed, prepared)
        except Exception:  # noqa: BLE001 - neither order is right
            return False
        return bool(reading.values) and not reading.findings

    def _is_right_swapped(self, check: Check, cotangents: Floats) -> bool:
        """Tell whether backward called with the cache first gives the slope along a direction that differences give."""
        row, slope, terms = cotangents[0], 0.0, 0.0
        moved: dict[float, list[NDArray[Any]]] = {1.0: check.point.copies(), -1.0: check.point.copies()}
        try:
            reading = self._swapped(self.seed_of(row), self.prepare(check, check.point.hand().tree))
            for leaf, values in reading.values.items():
                held = check.point.leaves[leaf]
                step = (np.sqrt(held.format.eps) * lengths_of(held.value)).reshape(held.value.shape)
                step *= check.settings.rng.uniform(0.5, 1.5, step.shape)
                for sign, arrays in moved.items():
                    arrays[leaf] = held.format.rounded(held.value + sign * step)
                step = (moved[1.0][leaf] - moved[-1.0][leaf]).astype(np.float64)
                slope, terms = slope + values @ step.ravel(), terms + np.abs(values) @ np.abs(step.ravel())
            with at_our_own_points():
                ahead, behind = (self.seen(self.value(check.point.hand(arrays).tree)) for arrays in moved.values())
        except Exception:  # noqa: BLE001 - whatever it makes of them
            return False
        check.budget.used += 2
        return not reading.findings and bool(abs(row @ (ahead - behind) - slope) <= LIKE * terms)


def _run(forward: Callable[..., Any], tree: dict[str, Any]) -> tuple[Any, Any]:
    value = forward(*tree.values())
    if not (isinstance(value, tuple) and len(value) == 2):
        raise InvalidArgument(
            f"forward must return (y, cache), but it returned a {type(value).__name__}"
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
