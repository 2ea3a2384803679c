"""A piecewise linear function along a line: its slopes, found piece by piece."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gradcheck.aliases import Floats

__all__ = ["Line"]


class Point(NamedTuple):
    """Position, value and slope ahead."""

    at: float
    value: float
    slope: float


class Cut(NamedTuple):
    """Where to measure next: at ``at``, one step ahead of it, and at ``end`` if that is farther.

    If there is a single kink in between, the values at ``at`` and ``end`` are as ``expected`` to within ``allowed``; ``behind``
    is the position of the point before.
    """

    at: float
    end: float
    expected: Floats
    allowed: Floats | float = 0.0
    behind: float = np.nan


class Line:
    """The values of a function along a line, and where to measure it next.

    Parameters
    ----------
    reach : float
        How far the line goes to both sides.
    step : float
        The step of a slope: shorter pieces are not resolved.
    noise : float
        By how much noise may change a value.
    curved : float
        By how much curvature may change a slope over a length of one.
    fine : float
        Smaller changes of the slope are not followed: a curved function has infinitely many pieces.
    ends : pair of float
        The slopes far beyond both ends.
    most_points : int
        Largest number of points, one or two for each piece, at two calls each; the largest kinks come first.
    """

    def __init__(
        self,
        reach: float,
        step: float,
        *,
        noise: float,
        curved: float,
        fine: float,
        ends: tuple[float, float],
        most_points: int,
    ) -> None:
        self.step, self.noise, self.curved, self.fine, self.ends = step, noise, curved, fine, ends
        self.most_points = most_points
        self.blur = 2 * noise / step
        self._points: list[Point] = []
        self._cuts = [Cut(at, at, np.full(2, np.nan)) for at in (-reach, 0.0, reach)]
        self._single_kink: set[float] = set()

    def next_positions(self) -> Floats:
        """Return the positions at which the function is to be measured next; none once all pieces are known."""
        return np.array([at for cut in self._cuts for at in self._places(cut)])

    def _places(self, cut: Cut) -> list[float]:
        near = [cut.at, cut.at + self.step]
        return [*near, cut.end] if cut.end > near[1] else near

    def enter(self, values: Floats) -> None:
        """Enter the values that were asked for."""
        found = iter(values.tolist())
        for cut in self._cuts:
            value, *ahead = (next(found) for _ in self._places(cut))
            if (np.abs([value, ahead[-1]] - cut.expected) <= cut.allowed).all():
                self._single_kink.add(cut.behind)
            else:
                self._points.append(Point(cut.at, value, (ahead[0] - value) / self.step))
        self._points.sort()
        asked = [self._cut(*both) for both in pairwise(self._points) if both[0].at not in self._single_kink]
        cuts = sorted((each for each in asked if each is not None), key=lambda each: -each[0])
        self._cuts = [cut for _, cut in cuts[: self.most_points - len(self._points)]]

    def _cut(self, one: Point, other: Point) -> tuple[float, Cut] | None:
        """Return by how much the slope changes between two points, and where to measure; None if both are on one piece.

        That is where the pieces of both points would meet: if they do, there is a single kink between them.
        """
        length, bend = other.at - one.at, other.slope - one.slope
        left = (other.value - one.value) / length - one.slope
        beyond = max(-left, left - bend) if bend > 0 else max(left, bend - left)
        uncertainty = 2 * self.noise / length + self.blur + self.curved * length
        if length <= 3 * self.step or (abs(bend) <= max(self.fine, uncertainty) and beyond <= uncertainty):
            return None
        weight = max(abs(bend), beyond)
        if abs(bend) > uncertainty:
            meet = length * (1 - left / bend)
            blurs = 2 * self.noise + self.blur * np.array([meet, length - meet])
            # If the kink is elsewhere one of the two values is off by eight times what noise explains.
            aside = max(self.step / 2, 8 * float(blurs.max()) / abs(bend))
            if one.at + 1.5 * self.step < one.at + meet - aside < one.at + meet + aside < other.at:
                expected = [one.value + one.slope * (meet - aside), other.value + other.slope * (meet + aside - length)]
                cut = Cut(one.at + meet - aside, one.at + meet + aside, np.array(expected), blurs, one.at)
                return weight, cut
        return weight, Cut(one.at + length / 2, one.at, np.full(2, np.nan))

    @property
    def points(self) -> int:
        """The number of points measured."""
        return len(self._points)

    @property
    def largest(self) -> tuple[float, float]:
        """The largest slope, and the position at which it was measured."""
        return max((point.slope, point.at) for point in self._points)

    @property
    def upper_bound(self) -> float:
        """The first slope plus all rises along the line: an upper bound for the slope, whatever the order of the kinks.

        Falls within the noise of a slope are ignored.
        """
        slopes = [self.ends[0]]
        for one, other in pairwise(self._points):
            slopes += [one.slope]
            if one.at not in self._single_kink:
                slopes += [(other.value - one.value) / (other.at - one.at)]
        most = low = top = self.ends[0]
        for slope in [*slopes[1:], self._points[-1].slope, self.ends[1]]:
            if slope < top - 2 * self.blur or top == low > slope:
                most += top - low
                low = top = slope
            top = max(top, slope)
        return most + top - low
