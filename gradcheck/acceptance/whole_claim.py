"""Explanations of a claim that is wrong throughout a leaf: a multiple of it, perhaps with its elements in another order.

Examples are minus the claim, twice the claim, the claim transposed or reversed. One that agrees with all measured directions
gives the derivative of every element without further calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import numpy as np

from gradcheck.acceptance.directions import DIRECTIONS
from gradcheck.aliases import Floats
from gradcheck.differences.noise import DISAGREES, PLAINLY

__all__ = ["Multiple", "fit", "multiple_of", "rearranged"]


class Multiple(NamedTuple):
    """An interval for the factor between measured and predicted changes."""

    low: float
    high: float

    @property
    def factor(self) -> float:
        """The fraction with the smallest denominator in the interval: -1 rather than -0.9998."""
        if self.low <= 0 <= self.high:
            return 0.0
        least, most = sorted((abs(Fraction(self.low)), abs(Fraction(self.high))))
        return math.copysign(float(_between(least, most)), self.low)

    @property
    def uncertainty(self) -> float:
        """Half of the width."""
        return (self.high - self.low) / 2


def multiple_of(predicted: Floats, measured: Floats, deviation: Floats, claimed: Floats) -> Multiple | None:
    """Fit measured changes by a multiple of predicted ones; None if too few are finite, or if `fit` finds none.

    Parameters
    ----------
    predicted, measured, deviation : arrays, shape (P, K)
        Changes along ``P`` directions, and the standard deviation of the measured ones.
    claimed : array, shape (P, K)
        The changes that the claim itself predicts; ``predicted`` may be those of the claim in another order.
    """
    known = np.isfinite(predicted) & np.isfinite(measured) & np.isfinite(deviation) & (deviation > 0)
    if np.count_nonzero(known) < DIRECTIONS - 1:  # one gives the factor, the others confirm it
        return None
    return fit(predicted[known], measured[known], deviation[known], claimed[known])


def fit(predicted: Floats, measured: Floats, deviation: Floats, claimed: Floats) -> Multiple | None:
    """Fit measured by a multiple of predicted changes, shapes (m,); None if no multiple agrees with all, or it predicts nearly what the claim does."""
    x, y = predicted / deviation, measured / deviation
    evidence = float(x @ x)
    if not evidence > 0 or not np.isfinite(evidence):
        return None
    factor, uncertainty = float(x @ y) / evidence, DISAGREES / float(np.sqrt(evidence))
    agrees = (np.abs(y - factor * x) <= DISAGREES).all()
    difference = float(np.linalg.norm(factor * x - claimed / deviation))
    if not agrees or not difference >= PLAINLY:  # else noise would let any factor fit
        return None
    return Multiple(factor - uncertainty, factor + uncertainty)


def _between(low: Fraction, high: Fraction) -> Fraction:
    """Return the fraction with the smallest denominator between two positive ones, by their continued fractions."""
    whole = math.floor(low)
    if whole == low or whole + 1 <= high:
        return Fraction(math.ceil(low))
    return whole + 1 / _between(1 / (high - whole), 1 / (low - whole))


def rearranged(values: Floats, shape: tuple[int, ...]) -> Iterator[Floats]:
    """Yield a claim, shape (n, K), with its elements in its own order and then in orders that a mistake may cause.

    These are: two axes of equal size exchanged; all axes reversed and read in the original shape; flipped along one axis or all;
    shifted by one element along one axis, or in the order of memory.
    """
    yield values
    axes = len(shape)
    columns = values.shape[1:]
    grid = values.reshape(*shape, *columns)
    for one, other in combinations(range(axes), 2):
        if shape[one] == shape[other] > 1:
            yield np.swapaxes(grid, one, other).reshape(values.shape)
    if axes > 1 and len(set(shape)) > 1:
        turned = values.reshape(*shape[::-1], *columns)
        yield np.moveaxis(turned, range(axes), range(axes - 1, -1, -1)).reshape(values.shape)
    long = [axis for axis in range(axes) if shape[axis] > 1]
    for axis in long:
        yield np.flip(grid, axis).reshape(values.shape)
    if len(long) > 1:
        yield np.flip(grid, tuple(long)).reshape(values.shape)
    for shift in (1, -1):
        for axis in long:
            yield np.roll(grid, shift, axis).reshape(values.shape)
        if len(long) > 1:
            yield np.roll(values, shift, axis=0)
