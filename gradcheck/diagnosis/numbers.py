"""Naming a ratio: -1, 1/2, the number of outputs, n/(n - 1), pi. The sizes are those that occur in this check."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from gradcheck.diagnosis.candidates import REAL
from gradcheck.diagnosis.clues import Case
from gradcheck.diagnosis.occurring import MOST

__all__ = ["Named", "as_known", "digits_apart", "name_ratio"]

MOST_READINGS = 3
"""Meanings of one number that are listed."""

VAGUE = 0.01
"""How well a ratio must be known, relatively, to be given a name."""

LARGEST_COUNT = 1000
"""A whole number up to this is worth a name though no size explains it."""

RARE = 2.5
"""Digits that a number costs which is simple but has no meaning here: of a single element it is no evidence."""

CHANCE = 0.1
"""Probability that a random ratio, known this well, is near some fraction of a denominator: above it the fraction says nothing."""

SMALL = {1, 2, 3, 4}
"""Numerators and denominators of ratios that need no explanation."""


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
    known = case.occurring.lengths
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
        if meaning or (n > max(SMALL) and not _is_round(size, error)):  # 1.01, rather than 101/100
            note = f" ({form} with n = {n}{': ' + meaning if meaning else ''})"
            return Named(f"{sign}{top}/{bottom} of", note, 1.5 if meaning else RARE)
    if {top, bottom} <= SMALL and top != bottom:
        return Named(f"{sign}{top}/{bottom} of", "", RARE)
    share = _share(top, bottom, error, known) if ratio > 0 else None  # no mean changes a sign
    if share is not None:
        words, note = f"{share[0]} of", share[1]
        if _is_round(size, error):
            other = "a factor too many" if size > 1 else "a factor such as a learning rate"
            words, note = f"{size:.6g} times", f"{other}, or {share[0]}, where {note}"
        return Named(words, f" ({note})", RARE)
    words = case.occurring.named(size, error)
    if words:
        cost = max(2.0, math.log10(len(case.occurring.words)))  # digits that finding one among so many takes
        return Named(f"{sign}{size:.6g} times", f" ({size:.6g} is {words})", cost)
    inverse = round(1 / size, 2)
    is_inverse = size < 1 and inverse and abs(size - 1 / inverse) <= error < abs(size - round(size, 2))
    return Named(f"{sign}1/{inverse:g} of" if is_inverse else f"{digits_apart(ratio)} times", "", REAL)


def _is_round(size: float, error: float) -> bool:
    """Whether a number, or its inverse, has at most two decimals: such a number may be written for any reason."""
    inverse = round(1 / size, 2)
    return abs(size - round(size, 2)) <= error or (inverse > 0 and abs(size - 1 / inverse) <= error)


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


def as_known(number: float, error: float) -> str:
    """Write a number with as few digits, six at most, as the error that it may have permits."""
    rounded = (float(f"{number:.{digits}g}") for digits in range(1, 6))
    return f"{next((each for each in rounded if abs(each - number) <= error), number):.6g}"


def _simplest(low: float, high: float) -> Fraction:
    """Return the fraction with the smallest denominator in an interval of positive numbers (Stern and Brocot)."""
    whole = math.floor(low)
    if whole == low or whole + 1 <= high:
        return Fraction(whole if whole == low else whole + 1)
    return whole + 1 / _simplest(1 / (high - whole), 1 / (low - whole))


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
