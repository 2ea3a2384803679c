"""Numbers that occur in a check, and what they are: lengths, values, constants of mathematics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from gradcheck.aliases import Floats

__all__ = ["MOST", "Occurring"]

MOST = 1e9
"""Ratios beyond this, or below its inverse, have no name."""

MOST_ELEMENTS = 20
"""Elements of an array that are looked through for a number: among more, six digits are found by chance."""

CONSTANTS = {
    "pi": math.pi,
    "2 pi": 2 * math.pi,
    "sqrt(pi)": math.sqrt(math.pi),
    "sqrt(2 pi)": math.sqrt(2 * math.pi),
    "sqrt(2)": math.sqrt(2),
    "ln 2: a logarithm to base 2": math.log(2),
    "ln 10: a logarithm to base 10": math.log(10),
    "180/pi: degrees and radians": 180 / math.pi,
    "e": math.e,
}


@dataclass(frozen=True, eq=False, slots=True)
class Occurring:
    """What a ratio may be named after.

    Attributes
    ----------
    lengths : dict
        Length -> what it is the length of, likely meanings first.
    numbers : array, shape (n,)
        Numbers that are neither whole nor simple fractions.
    words : list of str
        What they are.
    """

    lengths: dict[int, list[str]]
    numbers: Floats
    words: list[str]

    @classmethod
    def of(cls, values: Mapping[str, Floats], y: Floats | None, of_f: float | None) -> Occurring:
        """Collect what occurs: in the leaves by name, in the value of a layer, or that of a scalar function."""
        lengths = _lengths(values, y)
        numbers: dict[float, str] = {}
        for number, words in _numbers(values, of_f, lengths):
            numbers.setdefault(number, words)
        return cls(lengths, np.array(list(numbers)), list(numbers.values()))

    def named(self, number: float, error: float) -> str:
        """Say what a number is that is known to within an error; empty where it is none of these."""
        found = np.flatnonzero(np.abs(self.numbers - number) <= error)
        return self.words[found[0]] if len(found) else ""


def _lengths(values: Mapping[str, Floats], y: Floats | None) -> dict[int, list[str]]:
    """Return the lengths that occur, with what they are lengths of; likely meanings first."""
    found: dict[int, list[str]] = {}

    def note(length: int, words: str) -> None:
        if length > 1:
            found.setdefault(length, []).append(words)

    matrices = [name for name, value in values.items() if value.ndim > 1]
    last = matrices[-1] if matrices else ""
    if y is not None and y.ndim:
        note(y.shape[-1], "the number of outputs (the last axis of y)")
        for axis, length in enumerate(y.shape[:-1]):
            note(length, f"the batch size (axis {axis} of y)" if axis == 0 else f"the length of axis {axis} of y")
        note(y.size if y.ndim > 1 else 0, "the number of all elements of y")
    elif last:
        note(values[last].shape[-1], f"the number of outputs (the last axis of {last}?)")
    for name, value in values.items():
        if y is not None and _are_windows(value.shape, y.shape):
            note(value.size // y.size, f"the number of elements of {name} for each of y")
        for axis, length in enumerate(value.shape):
            is_batch = y is not None and axis == 0 and value.ndim > 1 and y.ndim > 1 and length == y.shape[0]
            is_output = y is None and (name, axis) == (last, value.ndim - 1)
            if not is_batch and not is_output:
                note(length, f"the length of axis {axis} of {name}")
        note(value.size if value.ndim > 1 else 0, f"the number of elements of {name}")
    return found


def _are_windows(given: tuple[int, ...], made: tuple[int, ...]) -> bool:
    """Whether an array of one shape falls into equal windows along some axes, one for each element of another."""
    return len(given) == len(made) and 0 not in made and all(g % m == 0 for g, m in zip(given, made, strict=True))


def _numbers(
    values: Mapping[str, Floats], of_f: float | None, lengths: dict[int, list[str]]
) -> Iterator[tuple[float, str]]:
    """Give numbers that are neither whole nor simple fractions, with words for them."""
    for words, number in CONSTANTS.items():
        yield number, words
        yield 1 / number, f"1 / ({words})" if " " not in words else f"the inverse of {words}"
    for length, readings in lengths.items():
        root = math.sqrt(length)
        yield root, f"the square root of {length}, {readings[0]}"
        yield 1 / root, f"1 / the square root of {length}, {readings[0]}"
    for name, value in values.items():
        if value.size == 1 and math.isfinite(number := abs(float(value.ravel()[0]))) and number > 0:
            yield number, f"the value of {name}"
            yield 1 / number, f"1 / the value of {name}"
            yield abs(1 - number), f"one less the value of {name}"
        elif value.size <= MOST_ELEMENTS:
            yield from _elements(name, value)
    if of_f is not None and math.isfinite(number := abs(of_f)) and number > 0:
        yield number, "the value of f"
        yield 1 / number, "1 / the value of f"
        if abs(of_f) < math.log(MOST):
            yield (
                math.exp(of_f),
                "exp of the value of f: f is a logarithm, and the gradient that of what is under it?",
            )


def _elements(name: str, value: Floats) -> Iterator[tuple[float, str]]:
    """Give the elements of a small array: one of them may be in a formula by mistake."""
    for place, element in np.ndenumerate(value):
        if math.isfinite(number := abs(float(element))) and number > 0:
            words = f"{name}[{', '.join(map(str, place))}]"
            yield number, words
            yield 1 / number, f"1 / {words}"
