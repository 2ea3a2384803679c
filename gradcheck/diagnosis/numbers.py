"""Naming a ratio: -1, 1/2, the number of outputs, n/(n - 1), pi. The sizes are those that occur in this check."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from gradcheck.diagnosis.candidates import REAL
from gradcheck.diagnosis.clues import Case, Floats

__all__ = ["MOST", "Named", "digits_apart", "name_ratio", "sizes"]

MOST_READINGS = 3
"""Meanings of one number that are listed."""

MOST_ELEMENTS = 20
"""Elements of an array that are looked through for a number: among more, six digits are found by chance."""

VAGUE = 0.01
"""How well a ratio must be known, relatively, to be given a name."""

MOST = 1e9
"""Ratios beyond this, or below its inverse, have no name."""

LARGEST_COUNT = 1000
"""A whole number up to this is worth a name though no size explains it."""

RARE = 2.5
"""Digits that a number costs which is simple but has no meaning here: of a single element it is no evidence."""

CHANCE = 0.1
"""Probability that a random ratio, known this well, is near some fraction of a denominator: above it the fraction says nothing."""

SMALL = {1, 2, 3, 4}
"""Numerators and denominators of ratios that need no explanation."""

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


UNITS = {
    100: "percent",
    252: "days of trading and years",
    365: "days and years",
    1000: "a unit and its thousandth",
    3600: "seconds and hours",
    10_000: "basis points",
    1_000_000: "a unit and its millionth",
}
"""Whole numbers by which quantities are often rescaled."""


@dataclass(frozen=True)
class Named:
    """A ratio in words: ``"1/3 of"``, a note that says what its numbers are, and the digits of evidence it costs."""

    words: str
    note: str
    cost: float


def name_ratio(ratio: float, error: float, case: Case) -> Named:
    """Say a ratio as people write it, if it is known well enough to be one of these numbers."""
    known = sizes(case)
    sign, size = ("-" if ratio < 0 else ""), abs(ratio)
    if not 1 / MOST <= size <= MOST:
        return Named(f"{ratio:.6g} times", "", REAL)
    error = min(max(error, 1e-9 * size), VAGUE * size)
    fraction = _simplest(size - error, size + error)
    top, bottom = fraction.numerator, fraction.denominator
    if top == bottom == 1 and ratio < 0:
        return Named("minus", "", 1.0)
    most = max(top, bottom)
    if min(top, bottom) == 1 and top != bottom and (most in known or most in UNITS or most <= LARGEST_COUNT):
        notes = _meanings(most, known, is_large=top > bottom) if ratio > 0 else ""
        words = f"{sign}{top} times" if bottom == 1 else f"{sign}1/{bottom} of"
        return Named(words, notes, 1.0 if notes or most == 2 else RARE)
    is_size = most <= LARGEST_COUNT or not known.keys().isdisjoint({top, bottom})
    if abs(top - bottom) == 1 and most > 3 and is_size and error * most**2 < CHANCE:
        form, n = ("n/(n - 1)", top) if top > bottom else ("(n - 1)/n", bottom)
        meaning = ", or ".join(known.get(n, [])[:MOST_READINGS])
        is_round = (
            min(abs(size - round(size, 2)), abs(size - 1 / round(1 / size, 2))) <= error
        )  # 1.01, rather than 101/100
        if meaning or (n > max(SMALL) and not is_round):
            note = f" ({form} with n = {n}{': ' + meaning if meaning else ''})"
            return Named(f"{sign}{top}/{bottom} of", note, 1.5 if meaning else RARE)
    if {top, bottom} <= SMALL and top != bottom:
        return Named(f"{sign}{top}/{bottom} of", "", RARE)
    share = _share(top, bottom, error, known) if ratio > 0 else None  # no mean changes a sign
    if share is not None:
        return Named(f"{sign}{share[0]} of", f" ({share[1]})", RARE)
    for number, words in _others(case, known):
        if abs(size - number) <= error:
            return Named(f"{sign}{size:.6g} times", f" ({size:.6g} is {words})", 2.0)
    inverse = round(1 / size, 2)
    is_inverse = size < 1 and inverse and abs(size - 1 / inverse) <= error < abs(size - round(size, 2))
    return Named(f"{sign}1/{inverse:g} of" if is_inverse else f"{digits_apart(ratio)} times", "", REAL)


def _share(top: int, bottom: int, error: float, known: dict[int, list[str]]) -> tuple[str, str] | None:
    """Say a ratio as a count over a length that occurs, which is what a mean over too many or too few gives."""
    least, most = sorted((top, bottom))
    for length, readings in known.items():
        if length % most == 0 and length <= LARGEST_COUNT and error * length**2 < CHANCE:
            count = least * length // most
            words = f"{count}/{length}" if top < bottom else f"{length}/{count}"
            given, asked = (f"all {length}", f"{count} of them")[:: 1 if top < bottom else -1]
            return words, f"{length} is {readings[0]}: a mean over {given} where one over {asked} is asked?"
    return None


def digits_apart(ratio: float) -> str:
    """Write a ratio with as many digits, six at least, as it takes to see that it is not one."""
    return next((text for digits in range(6, 18) if (text := f"{ratio:.{digits}g}") != "1"), "1")


def _simplest(low: float, high: float) -> Fraction:
    """Return the fraction with the smallest denominator in an interval of positive numbers (Stern and Brocot)."""
    whole = math.floor(low)
    if whole == low or whole + 1 <= high:
        return Fraction(whole if whole == low else whole + 1)
    return whole + 1 / _simplest(1 / (high - whole), 1 / (low - whole))


def sizes(case: Case) -> dict[int, list[str]]:
    """Return the lengths that occur, with what they are lengths of; likely meanings first."""
    found: dict[int, list[str]] = {}

    def note(length: int, words: str) -> None:
        if length > 1:
            found.setdefault(length, []).append(words)

    y, values = case.y, case.values
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


def _meanings(number: int, known: dict[int, list[str]], *, is_large: bool) -> str:
    """Say what a whole number may be."""
    readings = [words for words in known.get(number, []) if number > 2 or "of axis" not in words]
    given, asked = ("sum", "mean") if is_large else ("mean", "sum")
    if readings:
        half = ", or the half of a half square" if number == 2 else ""
        return f" ({number} is {', or '.join(readings[:MOST_READINGS])}: a {given} where a {asked} is asked{half}?)"
    if number <= max(SMALL):
        return ""
    constant = "a factor too many" if is_large else "a factor such as a learning rate"
    unit = f"{UNITS[number]}, " if number in UNITS else ""
    return f" ({unit}{constant}, or a {given} over {number} terms where a {asked} is asked?)"


def _others(case: Case, known: dict[int, list[str]]) -> Iterator[tuple[float, str]]:
    """Give numbers that are neither whole nor simple fractions, with words for them."""
    for words, number in CONSTANTS.items():
        yield number, words
        yield 1 / number, f"1 / ({words})" if " " not in words else f"the inverse of {words}"
    for length, readings in known.items():
        root = math.sqrt(length)
        yield root, f"the square root of {length}, {readings[0]}"
        yield 1 / root, f"1 / the square root of {length}, {readings[0]}"
    for name, value in case.values.items():
        if value.size == 1 and math.isfinite(number := abs(float(value.ravel()[0]))) and number > 0:
            yield number, f"the value of {name}"
            yield 1 / number, f"1 / the value of {name}"
            yield abs(1 - number), f"one less the value of {name}"
        elif value.size <= MOST_ELEMENTS:
            yield from _elements(name, value)
    if case.of_f is not None and math.isfinite(number := abs(case.of_f)) and number > 0:
        yield number, "the value of f"
        yield 1 / number, "1 / the value of f"
        if abs(case.of_f) < math.log(MOST):
            yield (
                math.exp(case.of_f),
                "exp of the value of f: f is a logarithm, and the gradient that of what is under it?",
            )


def _elements(name: str, value: Floats) -> Iterator[tuple[float, str]]:
    """Give the elements of a small array: one of them may be in a formula by mistake."""
    for place, element in np.ndenumerate(value):
        if math.isfinite(number := abs(float(element))) and number > 0:
            words = f"{name}[{', '.join(map(str, place))}]"
            yield number, words
            yield 1 / number, f"1 / {words}"
