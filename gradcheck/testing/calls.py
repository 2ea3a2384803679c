"""A right function whose calls are looked at while a suite runs as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gradcheck.mutants import Mutant, mutants_of, wrap
from gradcheck.mutants.behaviours import Taken, point_of_call, upstream_of

__all__ = ["Calls"]

MOST_KEPT = 4
"""Calls whose arguments are kept, to see whether a bug that no test notices is one at all."""

AWAY = 0.1
"""Share by which a second point differs, at which a bug that keeps something between calls must show."""


class Call(NamedTuple):
    """The arguments of a call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class Calls:
    """The function, to be called in its own place.

    Attributes
    ----------
    count : int
        Calls so far.
    mutants : tuple of Mutant
        Bugs that its gradient can have, as the first call shows that returned one.
    """

    def __init__(self, function: Callable[..., Any], seed: int) -> None:
        self.function = function
        self.seed = seed
        self.count = 0
        self.mutants: tuple[Mutant, ...] = ()
        self.kept: list[Call] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, and keep copies of the arguments of some calls."""
        self.count += 1
        before = _copied(Call(args, kwargs)) if len(self.kept) < MOST_KEPT else None
        gradient = self.function(*args, **kwargs)
        if before is not None:
            self.kept.append(before)
        if not self.mutants:
            self.mutants = mutants_of(gradient, function=self.function, args=args, kwargs=kwargs, seed=self.seed)
        return gradient

    def show(self, mutant: Mutant) -> bool:
        """Tell whether a bug changes what any kept call gave; one that may, what the first gives again or elsewhere."""
        mutated = wrap(self.function, mutant)
        first, entry = self.kept[:1], mutant.entry
        again = first if entry.behaviour.is_stateful else []
        is_elsewhere = entry.behaviour.shows_elsewhere or entry.needs_upstream
        elsewhere = [self._moved(call) for call in first if is_elsewhere]
        for call in [*again, *self.kept, *elsewhere]:
            given = _copied(call)
            try:
                if given is not None:
                    mutated(*given.args, **given.kwargs)
            except Exception:  # noqa: BLE001, S112 - it may not be defined there, which says nothing of the bug
                continue
        return mutated.state.differed

    def _moved(self, call: Call) -> Call:
        """Return a call at another point: with another upstream where it has one, else the parameters."""
        place = upstream_of(self.function, call.args, call.kwargs)
        place = point_of_call(call.args, call.kwargs) if place is None else place
        if place is None:
            return call
        if isinstance(place, str):
            return Call(call.args, {**call.kwargs, place: _elsewhere(call.kwargs[place])})
        return Call((*call.args[:place], _elsewhere(call.args[place]), *call.args[place + 1 :]), call.kwargs)


def _copied(call: Call) -> Call | None:
    """Return copies of arguments; None where there can be none, as of a context of autograd."""
    try:
        return copy.deepcopy(call)
    except Exception:  # noqa: BLE001 - whatever the user's class raises
        return None


def _elsewhere(tree: Any) -> Any:
    taken, rng = Taken.of(tree), np.random.default_rng(0)
    if taken is None:
        return tree
    values = {i: taken.leaves[i].value for i in taken.floats()}
    return taken.with_changes({i: v * (1 + AWAY * rng.normal(size=v.shape)) for i, v in values.items()})
