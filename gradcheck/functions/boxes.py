"""Functions that are defined, or wanted, only inside of bounds: continued beyond them without being called there.

Along the elements that are out of bounds a function is continued by the parabola through three points inside. At a bound a
central difference of the continuation is then the one-sided difference of second order of the function,
``(3 f(x) - 4 f(x - h) + f(x - 2 h)) / 2 h``, its truncation error falls with the square of the step as elsewhere, and its
noise is measured as it is, three to four times that of the function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.errors import InvalidArgument

__all__ = ["Box"]


SHORTEST = 0.5
"""Least room inside the bounds, in units of the move that is continued: with less, noise is amplified more than 21 times, and there is no value."""


class Box:
    """Bounds around a point.

    Parameters
    ----------
    x : array, shape (n,)
    lower, upper : arrays that broadcast to the shape of x

    Raises
    ------
    InvalidArgument
        When the point is out of bounds.

    Attributes
    ----------
    fixed : array of bool, shape (n,)
        Elements that cannot move.
    """

    def __init__(self, x: Floats, lower: Any, upper: Any) -> None:
        try:
            self.lower, self.upper = (np.broadcast_to(np.asarray(side, float), x.shape) for side in (lower, upper))
        except ValueError as error:
            raise InvalidArgument(f"bounds do not fit x0, of shape {x.shape}: {error}") from error
        outside = np.flatnonzero(~((self.lower <= x) & (x <= self.upper)))
        if outside.size:
            i = int(outside[0])
            raise InvalidArgument(
                f"x0[{i}] = {x[i]:.6g} is out of its bounds, {self.lower[i]:.6g} to {self.upper[i]:.6g}; "
                "give a point inside, or on, them."
            )
        self.x = x
        self.fixed = np.asarray(self.lower == self.upper)

    def clip(self, x: Floats) -> Floats:
        """Return the point inside that is nearest."""
        return np.clip(x, self.lower, self.upper)

    def extend(self, f: Callable[[Floats], Any]) -> Callable[[Floats], Any]:
        """Continue a function beyond the bounds; elements that cannot move have no influence."""

        def extended(x: Floats) -> Any:
            moves = np.where(self.fixed, 0.0, x - self.x)
            target = self.x + moves  # complex for a step along the imaginary axis, which leaves no bounds
            beyond = (np.real(target) < self.lower) | (np.real(target) > self.upper)
            if not beyond.any():
                return f(np.where(self.fixed, self.x, x))
            over = np.where(beyond, moves, 0.0)
            start = np.where(beyond, self.x, x)
            nodes = self._nodes(over, beyond)
            if nodes[0] - nodes[2] < SHORTEST:
                return np.asarray(f(self.x.copy())) * np.nan
            values = [np.asarray(f(self.clip(start + node * over))) for node in nodes]
            return sum(weight * value for weight, value in zip(_weights(nodes), values, strict=True))

        return extended

    def _nodes(self, over: Floats, beyond: NDArray[np.bool_]) -> tuple[float, float, float]:
        """Return three places inside along a move from the point, which is of length one and leads out."""
        move, x = over[beyond], self.x[beyond]
        with np.errstate(all="ignore"):
            ends = np.stack([(self.lower[beyond] - x) / move, (self.upper[beyond] - x) / move])
        last = float(np.min(np.max(ends, axis=0)))
        first = max(float(np.max(np.min(ends, axis=0))), last - 2.0)
        return last, (first + last) / 2, first


def _weights(nodes: tuple[float, float, float]) -> list[float]:
    """Return the weights that give the value at 1 of the parabola through its values at three places."""
    a, b, c = nodes
    return [
        (1 - b) * (1 - c) / ((a - b) * (a - c)),
        (1 - a) * (1 - c) / ((b - a) * (b - c)),
        (1 - a) * (1 - b) / ((c - a) * (c - b)),
    ]
