"""Bugs as data: kinds that turn any right gradient into a wrong one, each with what would catch it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.mutants.behaviours import Accumulated, Behaviour, Changed, Ones, Overwriting, Reused, Stale, Unsteady
from gradcheck.mutants.changes import (
    Change,
    at_one_element,
    averaged,
    borders_dropped,
    by_parameter,
    channels_permuted,
    clipped,
    copied_element,
    decay_added,
    decay_dropped,
    drawn,
    flushed,
    in_half,
    last_slice_dropped,
    leafwise,
    left_out,
    masked,
    mirrored,
    nan_at_zero,
    negative_dropped,
    offset,
    one_buffer,
    one_fewer,
    rotated,
    scaled,
    shifted,
    stacked,
    sum_for_mean,
    swapped,
    the_parameter,
    transposed,
    truncated,
    zero_at_zero,
)

__all__ = ["CATALOGUE", "Entry", "Mutant", "by_remedy"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One bug of the catalogue.

    Attributes
    ----------
    name, kind : str
        Several bugs may be of one kind.
    remedy : str
        What test would catch it, in one sentence.
    behaviour : Behaviour
        What it does to a call.
    needs_parameter, needs_twin, needs_upstream : bool
        Whether the parameter must be known, there must be two leaves of one shape, or an argument that is an upstream
        gradient.
    is_each : bool
        Whether it is planted in each leaf, rather than in one that is drawn.
    """

    name: str
    kind: str
    remedy: str
    behaviour: Behaviour
    needs_parameter: bool = False
    needs_twin: bool = False
    needs_upstream: bool = False
    is_each: bool = False


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug in a place.

    Attributes
    ----------
    name : str
        Of the bug, and of the leaf that it is in where it is in one, such as ``"transposed: W1"``.
    kind : str
        Such as ``"transpose"``.
    point : str
        Where it was tried: ``"given"``, ``"zeros"``, ``"tiny"``, ``"step"`` or ``"float32"``.
    remedy : str
        What test would catch it, in one sentence.
    leaf : str
        Name of that leaf.
    key : int
        Seeds what the bug draws.
    elements : mapping
        Name of a leaf -> boolean array of its shape: where the gradient is wrong at the point. Leaves that are right,
        and bugs that leave the numbers of a first call right, are not in it. Empty until it was tried.
    """

    name: str
    kind: str
    point: str
    remedy: str
    leaf: str
    key: int
    elements: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def entry(self) -> Entry:
        """The bug; not among the fields, so that a mutant is data that can be sent anywhere."""
        return _BY_NAME[self.name.partition(": ")[0]]


def by_remedy(mutants: Sequence[Mutant]) -> list[str]:
    """Return lines: what would catch some mutants, once, and below it which, and at which points if there are several."""
    found: dict[str, dict[str, list[str]]] = {}
    for mutant in mutants:
        found.setdefault(mutant.remedy, {}).setdefault(mutant.name, []).append(mutant.point)
    is_one_point = len({mutant.point for mutant in mutants}) == 1
    lines = []
    for remedy, points in found.items():
        lines.append(f"  {remedy}:")
        lines += [f"    {name}" + ("" if is_one_point else f" (at {', '.join(at)})") for name, at in points.items()]
    return lines


NUMBERS = "compare the numbers with a difference quotient, or with a gradient computed another way; a shape, a norm or a loss that falls is no test"
LOOSE = (
    "compare each element to a relative tolerance below {}, without an absolute one that is larger than the gradient"
)
EVERY = "compare every element, also of large arrays; samples and norms leave single ones out"
UNEQUAL = "use unequal sizes and random values, so that no axis can stand for another and no two numbers are the same"
TWO_CALLS = "call twice in the same test, at two points, and compare both results after the second call"
AT_ZEROS = "test at points with exact zeros among the parameters"


def _value(
    name: str, kind: str, remedy: str, change: Change, *, is_each: bool = False, needs_twin: bool = False
) -> Entry:
    return Entry(name, kind, remedy, Changed(change), is_each=is_each, needs_twin=needs_twin)


def _at_parameter(name: str, kind: str, remedy: str, change: Change) -> Entry:
    return Entry(name, kind, remedy, Changed(change), needs_parameter=True)


CATALOGUE: tuple[Entry, ...] = (
    _value("sign flipped", "sign", NUMBERS, scaled(-1.0)),
    _value("sign lost", "sign", NUMBERS, leafwise(lambda g, _: np.abs(g))),
    _value("doubled", "factor", NUMBERS, scaled(2.0)),
    _value("halved", "factor", NUMBERS, scaled(0.5)),
    _value("sum for mean", "missing-mean", NUMBERS, sum_for_mean),
    _value("n - 1 for n", "missing-mean", LOOSE.format("1/n"), one_fewer),
    _value("averaged", "missing-mean", UNEQUAL, averaged),
    _value("dropped", "dropped", "assert that the gradient of every parameter is compared", scaled(0.0), is_each=True),
    _value("offset", "offset", LOOSE.format("1e-3"), offset),
    _value("clipped", "clipped", EVERY, clipped),
    _value("small ones flushed", "flushed", EVERY, flushed),
    _value("sign of one", "one-element", EVERY, at_one_element(lambda v: -v)),
    _value("one dropped", "one-element", EVERY, at_one_element(lambda v: 0 * v)),
    _value("one off by 1 %", "one-element", EVERY, at_one_element(lambda v: 1.01 * v)),
    _value("one copied", "one-element", UNEQUAL, copied_element),
    _value("last slice dropped", "slice", EVERY, last_slice_dropped),
    _value("transposed", "transpose", UNEQUAL, transposed),
    _value("rotated", "rotate", UNEQUAL, rotated),
    _value("flipped", "flip", UNEQUAL, mirrored),
    _value("shifted", "shift", UNEQUAL, shifted),
    _value("channels permuted", "permute-channels", UNEQUAL, channels_permuted),
    _value("swapped", "swap", UNEQUAL, swapped, needs_twin=True),
    _value("one buffer for two", "alias", "compare all gradients after the call", one_buffer, needs_twin=True),
    _value("masked", "mask", EVERY, masked),
    _value("borders dropped", "borders", EVERY, borders_dropped),
    _value("drawn anew", "random", NUMBERS, drawn),
    _value("off by 1 %", "tiny", LOOSE.format("1e-2"), scaled(1.01)),
    _value("off by 1e-4", "tiny", LOOSE.format("1e-4"), scaled(1.0001)),
    _value("off by 1e-6", "tiny", LOOSE.format("1e-6"), scaled(1.000001)),
    _value("one is NaN", "nan", "assert that every element is finite", at_one_element(lambda v: v * np.nan)),
    _value("half precision", "dtype", LOOSE.format("1e-4"), in_half),
    _value("whole numbers", "dtype", "compare values and dtype, not only shapes", truncated),
    _value("sum left out", "shape", "compare the shape with that of the parameter", stacked),
    _at_parameter("left out", "structure", "require a gradient for every parameter", left_out),
    _at_parameter("decay added", "parameter-term", LOOSE.format("1e-3"), decay_added),
    _at_parameter("decay dropped", "parameter-term", LOOSE.format("1e-3"), decay_dropped),
    _at_parameter("times the parameter", "parametrisation", NUMBERS, by_parameter),
    _at_parameter("the parameter itself", "parametrisation", NUMBERS, the_parameter),
    _at_parameter("NaN at zeros", "at-zero", AT_ZEROS, nan_at_zero),
    _at_parameter("zero at zeros", "at-zero", AT_ZEROS, zero_at_zero),
    _at_parameter("dropped at negatives", "region", "test at points of both signs", negative_dropped),
    Entry("stale", "stale", TWO_CALLS, Stale()),
    Entry("accumulated", "accumulate", TWO_CALLS, Accumulated()),
    Entry("buffer reused", "buffer", TWO_CALLS, Reused()),
    Entry("different each time", "unsteady", TWO_CALLS, Unsteady()),
    Entry("argument changed", "in-place", "compare the arguments before and after the call", Overwriting()),
    Entry(
        "upstream ignored",
        "upstream",
        "give an upstream that is random, never all ones; a sum of outputs gives ones",
        Ones(),
        needs_upstream=True,
    ),
)

_BY_NAME = {entry.name: entry for entry in CATALOGUE}
