"""What a diagnosis may know: of each parameter its claim and its measured derivative, of a layer what it was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Bools, Floats
from gradcheck.diagnosis.occurring import Occurring

__all__ = ["Bools", "Case", "Clues", "Floats", "Map", "Move", "Pull", "Reach"]

SAMPLED = 200
"""Wrong elements at which an explanation is tried first."""

Map = Callable[[Floats], Floats]
ENOUGH = 12
"""Measured elements that stand for the others where not all are: the dozen that is looked at of a leaf that is wrong throughout."""

Pull = Callable[[list[Floats]], list[dict[str, Floats]]]
"""Gives for each of several cotangents like ``dy`` the claims by name, shaped like `Clues.claimed`."""


Move = Callable[[str, Sequence[float]], tuple[Floats, Floats] | None]

Reach = Callable[[str, str], bool]
"""Tells of a parameter and an output, by name, whether the output moves with the parameter."""


@dataclass(frozen=True, eq=False)
class Clues:
    """One parameter. All arrays but ``value`` have a leading axis of length K: one claim for each cotangent.

    Attributes
    ----------
    name : str
    claimed, reference : arrays, shape (K, *shape)
    margin : array, shape (K, *shape)
        How far a right claim may be from the reference: its error bound, the tolerance and the claim's round-off.
    wrong, kink : arrays of bool, shape (K, *shape)
        The verdict, and where the function has a kink: any valid derivative is right there.
    value : array or None
        The parameter itself, in a shape that broadcasts against ``shape``.
    """

    name: str
    claimed: Floats
    reference: Floats
    margin: Floats
    wrong: Bools
    kink: Bools
    value: Floats | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's shape."""
        return self.claimed.shape[1:]

    @cached_property
    def error(self) -> Floats:
        """Claim less reference."""
        return np.asarray(self.claimed - self.reference)

    @cached_property
    def used(self) -> Bools:
        """Where claim and reference can be compared."""
        known = np.isfinite(self.claimed) & np.isfinite(self.reference) & np.isfinite(self.margin)
        return np.asarray(known & ~self.kink)

    @cached_property
    def sample(self) -> tuple[NDArray[np.intp], ...]:
        """Places of some wrong elements, spread over all: most explanations fail there already."""
        places = np.nonzero(self.wrong & self.used)
        step = max(1, len(places[0]) // SAMPLED)
        return tuple(axis[::step] for axis in places)

    @cached_property
    def is_alive(self) -> Bools:
        """Where claim or reference is not zero."""
        return np.asarray(self.used & ((np.abs(self.reference) > self.margin) | (self.claimed != 0)))

    @cached_property
    def is_at_kinks(self) -> bool:
        """Whether all wrong elements are at kinks, where several values are right and these are not."""
        return bool(np.any(self.wrong)) and bool(np.all(self.kink[self.wrong])) and bool(np.any(self.used))

    @cached_property
    def is_absent(self) -> bool:
        """Whether the claim is zero throughout, and wrong."""
        return not np.any(self.claimed) and bool(np.any(self.wrong))

    @cached_property
    def is_explicable(self) -> bool:
        """Whether there is something to explain, and enough is known for it."""
        known = int(np.count_nonzero(self.used | self.kink))
        return bool(np.any(self.wrong & self.used)) and known >= min(self.used.size / 2, ENOUGH)


@dataclass(frozen=True, eq=False)
class Case:
    """All that one check found.

    Attributes
    ----------
    parameters : dict
        Name -> `Clues`, the right parameters too.
    values : dict
        Name -> value of every leaf, those held fixed included.
    indices : dict
        Name -> value of every leaf of whole numbers, which may be places in another.
    of_f : float or None
        The value of a function that has a single one.
    dy : array or None
        The cotangents, shape (K, *y.shape), where the function is a layer whose value is one array.
    y : array or None
        That value.
    move : callable or None
        ``move(name, shares)`` moves all elements of a parameter, each by a share of its own length, one way and the other; gives
        the moves, shape (S, *shape), and by how much the function's values change, shape (S, K). None where the budget is used up.
    rounding : array, shape (K,) or ()
        By how much rounding may change the function's values.
    pull : callable or None
        Asks for the claims under other cotangents: arrays like ``dy``, or like ``of_outputs`` laid side by side; one answer by name
        for each.
    of_outputs : dict
        Name -> the cotangents of each output, shape (K, size), where the function has several; empty where it has one.
    reach : callable or None
        Tells whether an output of several moves with a parameter, at two calls of the function.
    """

    parameters: Mapping[str, Clues]
    values: Mapping[str, Floats] = field(default_factory=dict)
    indices: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)
    of_f: float | None = None
    dy: Floats | None = None
    y: Floats | None = None
    move: Move | None = None
    rounding: Floats = field(default_factory=lambda: np.zeros(()))
    pull: Pull | None = None
    of_outputs: Mapping[str, Floats] = field(default_factory=dict)
    reach: Reach | None = None
    _answers: dict[str, list[dict[str, Floats]]] = field(default_factory=dict, init=False)

    @cached_property
    def occurring(self) -> Occurring:
        """The numbers that occur, which a ratio may be named after."""
        return Occurring.of(self.values, self.y, self.of_f)

    def pulled(self, family: str, cotangents: list[Floats]) -> list[dict[str, Floats]]:
        """Ask for the claims under other cotangents, once a family for all parameters."""
        if family not in self._answers:
            self._answers[family] = self.pull(cotangents) if self.pull is not None else []
        return self._answers[family]
