"""Gradients of elements that share a kink, sampled near the point, and the search for one with a large derivative along a direction.

The methods are generators that yield requests for slopes: so the slopes of independent groups are measured in the same calls.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.differences.counts import DOZEN, NEGLIGIBLE, SMALL
from gradcheck.functions.displacements import Moves
from gradcheck.nonsmooth.groups import LINKED, Group
from gradcheck.nonsmooth.hull import best_place
from gradcheck.nonsmooth.lines import Line
from gradcheck.nonsmooth.sampling import FARTHEST, STEP, Ball

__all__ = ["Background", "Request", "Requests", "Samples"]


class Request(NamedTuple):
    """A request for slopes at a place, shape (m,), along directions, shape (D, m). The answer has shape (D, K).

    With ``stays`` all other elements are where they were at the request before.
    """

    place: Floats
    directions: Floats
    stays: bool = False


Requests = Generator[Request, Floats, None]

LEARNED, LINES = 2, 10
"""Lines along which kinks are learned, used only where another order of the kinks could raise the derivative; and lines
followed along a direction to bound its derivative: in one case of eleven a further line would show more than all
ten."""

TRIES = 3
"""Places near each other at which a gradient is sampled, until no kink lies between the points of its differences."""


@dataclass(frozen=True, slots=True)
class Background:
    """A displacement of all other elements, drawn again each time it is needed, since it may be large.

    ``outputs`` holds the outputs there, for each set of groups that are moved to their places as well.
    """

    seed: int
    radius: float
    outputs: dict[tuple[int, ...], Floats] = field(default_factory=dict, compare=False)

    def moves(self, ball: Ball, share: float = 1.0) -> Moves:
        """Return the displacement, or a fraction of it."""
        return ball.near(share * self.radius, np.random.default_rng(self.seed))


class Samples:
    """Gradients of elements that share a kink, sampled at nearby points.

    Places are displacements of the members in units of their scales times the radius, and gradients are derivatives with
    respect to these. Places and directions have shape (m,), gradients (m, K), for ``m`` members.
    """

    def __init__(self, ball: Ball, group: Group, radius: float) -> None:
        self.ball, self.group, self.members, self.outputs = ball, group, group.members, group.outputs
        self.unit = radius
        self.scale = ball.scale(self.members)[:, None]
        self.claim = self.scale * np.array([member.claimed for member in self.members])
        self.stake = (self.scale * np.array([member.stake for member in self.members])).max(axis=0)
        self.noise = 2 * ball.noise / (STEP * self.unit)
        self.uncertainty = self.noise + NEGLIGIBLE * self.stake
        self.places: list[Floats] = []
        self.background: Background  # of the last slopes that were asked for
        self.backgrounds: list[Background] = []
        self.gradients: list[Floats] = []
        self.kinks: dict[int, list[tuple[Floats, float]]] = defaultdict(list)
        self.lines: Counter[int] = Counter()
        self.refuted: list[tuple[int, Floats]] = []

    def move(self, moves: dict[int, Floats], place: Floats) -> None:
        """Set the members in a displacement of all elements, in place."""
        for member, part in zip(self.members, place * self.scale[:, 0], strict=True):
            moves[member.leaf][member.index] = part * self.unit

    def _sample(self, place: Floats, share: float = LINKED) -> Generator[Request, Floats, None]:
        """Sample a gradient at a place, or near it if a kink passes between the points of the differences.

        In that case the differences along the axes do not add up to the one along all axes.
        """
        count = len(place)
        for _ in range(TRIES):
            slopes = yield Request(place, np.vstack([np.eye(count), -np.ones(count)]))
            gradient, joint = slopes[:-1], slopes[-1]
            mismatch = np.abs(gradient.sum(axis=0) + joint)
            if np.all((mismatch <= share * self.stake + np.sqrt(count) * self.uncertainty) | (self.stake == 0)):
                self.places.append(place)
                self.backgrounds.append(self.background)
                self.gradients.append(gradient)
                return
            place = place + self.ball.rng.uniform(-0.7, 0.7, count)

    # ---- where to look ----------------------------------------------------------------------------------------------

    def _far_along(self, direction: Floats, spread: float = 0.5) -> Floats:
        """Return a place far along a direction, with elements of equal components in a random order."""
        ranks = self.ball.rng.permutation(len(direction)) - (len(direction) - 1) / 2
        return np.asarray(len(direction) * direction + spread * ranks)

    def _in_order(self, place: Floats) -> Floats:
        """Return a place with elements in the same order, equally spaced, equal ones in a random order."""
        ranks = np.empty(len(place))
        ranks[np.lexsort((self.ball.rng.permutation(len(place)), place))] = np.arange(len(place))
        return ranks - (len(ranks) - 1) / 2

    def _first_places(self) -> Iterator[Floats]:
        """Yield the places where gradients are sampled first: where a valid claim is likely to be the gradient.

        Along the axis of the element whose one-sided derivative is nearest to its claim; along the claim, as for a maximum, and
        against it, as for a minimum; all up and all down; then in the orders that fit the claims by the slopes of the first sample.
        """
        found = []
        for column in np.flatnonzero(self.stake):
            claim = self.claim[:, column]
            found.append(self._axis(int(column)))
            size = np.abs(claim).max()
            if size > 0:
                ranked = self._ranked(claim)
                found += [claim / size, -claim / size, ranked, -ranked]
        ones = np.ones(len(self.members))
        yield from [self._far_along(direction) for direction in [*found, ones, -ones]]
        if self.gradients:
            yield from [self._by_rank(self.claim[:, column], int(column)) for column in np.flatnonzero(self.stake)]

    def _by_rank(self, direction: Floats, column: int) -> Floats:
        """Return the place of the largest derivative along a direction if slopes depend on ranks alone, as those of a sort."""
        ranked = np.argsort(self.places[0])
        ranks = np.empty(len(ranked))
        ranks[np.argsort(direction, kind="stable")] = np.argsort(self.gradients[0][ranked, column])
        return ranks - (len(ranks) - 1) / 2

    def _gaps(self, column: int) -> Floats:
        """Return the absolute gaps between the one-sided derivatives, shape (m,)."""
        return np.asarray(self.scale[:, 0] * np.array([abs(member.gap[column]) for member in self.members]))

    def _nearest_side(self, column: int) -> tuple[Floats, Floats]:
        """Return the side, 1 or -1, whose derivative is nearest to the claim, and its distance, shapes (m,).

        The distance is in whole multiples of the share `NEGLIGIBLE` of the gap, infinite without a gap.
        """
        slopes = np.array([[member.slope(sign)[column] for sign in (1, -1)] for member in self.members])
        claimed = np.array([member.claimed[column] for member in self.members])
        sides = self.scale * np.abs(slopes - claimed[:, None])
        gap = self._gaps(column)
        share = np.full(len(gap), np.inf)
        np.divide(sides.min(axis=1), NEGLIGIBLE * gap, out=share, where=gap > 0)
        return 1.0 - 2 * sides.argmin(axis=1), np.rint(share)

    def _axis(self, column: int) -> Floats:
        """Return the signed axis along which a one-sided derivative is nearest to the claim, relative to its gap."""
        side, share = self._nearest_side(column)
        row = np.lexsort((-self._gaps(column), -np.abs(self.claim[:, column]), share))[0]
        return np.asarray(np.eye(len(side))[row] * side)

    def _fixed_sides(self, column: int) -> Floats:
        """Return the side, 1 or -1, of elements whose claim is a one-sided slope, 0 for others: a convex f has it on that side only."""
        side, share = self._nearest_side(column)
        return np.where(share == 0, side, 0.0)

    @staticmethod
    def _ranked(direction: Floats) -> Floats:
        """Return a direction with components in the same order, equally spaced, so that no difference is too small."""
        ranks = np.unique(direction, return_inverse=True)[1]
        return np.asarray(2 * ranks / max(int(ranks.max()), 1) - 1)

    def _search(self, direction: Floats, column: int) -> Generator[Request, Floats, bool | None]:
        """Search for a gradient with a derivative along a direction as large as the claim's, and sample it; tell whether there is one.

        None means undecided. A line along the direction crosses every kink that changes the derivative along it, though
        in one order only. So the derivative is at most its value at the start plus all rises along the line.
        """
        if any(column == of and np.allclose(direction, known) for of, known in self.refuted):
            return False
        wanted = float(direction @ self.claim[:, column] - self.uncertainty[column])
        for place in self._places(direction, column):
            if (yield from self._sample_if_large(place, direction, column, wanted)):
                return True
        behind = yield from self._slope(self._far_along(-direction, 0.0), direction, column)
        ends = behind, (yield from self._slope(self._far_along(direction, 0.0), direction, column))
        most, totals, points = max(self._largest(direction, column)[0], *ends), list[float](), 0
        # Lines reach twelve times as far as gradients are sampled, so that they cross kinks at small angles to them too.
        # If noise allows a small radius, lines pass farther away, so that kinks lie many steps apart.
        stretch = float(np.clip(FARTHEST / (12 * len(direction) * self.unit), 1.0, 1 / STEP))
        noise = float(self.noise[column]) * STEP / 2
        curved = NEGLIGIBLE * float(self.stake[column]) * self.unit / FARTHEST
        for number in range(LINES):
            # With many kinks (more than eight points for each of the ten lines) every line crosses them all: the search ends
            # once the lines so far agree, and after a third of them in any case.
            agree = number > 1 and np.ptp(totals) <= LINKED * (wanted - most)
            if points > 8 * LINES and (agree or number >= LINES // 3):
                break
            if most >= wanted and (yield from self._search_behind_kinks(direction, column, wanted)):
                return True
            base = stretch * self._drawn(number)
            reach, fine = 12 * stretch * len(base), LINKED * (wanted - most)
            # A single line may take four times as many points as gradients are sampled.
            line = Line(reach, STEP, noise=noise, curved=curved, fine=fine, ends=ends, most_points=8 * LINES)
            yield from self._follow(line, base, direction, column, wanted)
            slope, at = line.largest
            place = self._scaled(base + at * direction)
            if slope >= wanted and (yield from self._sample_larger(place, direction, column)):
                return True
            totals.append(line.upper_bound)
            most, points = max(most, slope, line.upper_bound), points + line.points
        if not wanted > most:
            return None
        self.refuted.append((column, direction))
        return False

    def _search_behind_kinks(self, direction: Floats, column: int, wanted: float) -> Generator[Request, Floats, bool]:
        """Find kinks along a line, and sample on the wanted side of each; tell whether a derivative as large as wanted is known now."""
        if self.lines[column] >= LEARNED:
            return False
        yield from self._find_kinks(direction, column)
        if self._largest(direction, column)[0] >= wanted:
            return True
        if not self.kinks[column]:
            return False
        place = self._scaled(best_place(*self._normals(column), direction, self.ball.rng))
        return (yield from self._sample_if_large(place, direction, column, wanted))

    def _sample_if_large(
        self, place: Floats, direction: Floats, column: int, wanted: float
    ) -> Generator[Request, Floats, bool]:
        """Sample at a place if the derivative there is as large as wanted; tell whether a larger one is known now."""
        slope = yield from self._slope(place, direction, column)
        return slope >= wanted and (yield from self._sample_larger(place, direction, column))

    def _drawn(self, number: int) -> Floats:
        """Draw a place through which a line goes: normal, or with equal elements and very different sizes, where pieces are narrow."""
        rng, count = self.ball.rng, len(self.members)
        place = rng.normal(size=count)
        if number % 2:
            sizes = 10.0 ** rng.uniform(-1.5, 0, count + 1)
            place = rng.integers(-1, 2, count) * sizes[:-1] + place[0] * sizes[-1]
        return self._scaled(place) / 2

    def _follow(
        self, line: Line, base: Floats, direction: Floats, column: int, wanted: float
    ) -> Generator[Request, Floats, None]:
        """Measure the derivative along a direction at points of a line, until it is as large as wanted."""
        stays = False
        while len(asked := line.next_positions()) and not (stays and line.largest[0] >= wanted):
            slopes = yield Request(base, asked[:, None] / STEP * direction, stays)
            line.enter(STEP * slopes[:, column])
            stays = True

    def _sample_larger(self, place: Floats, direction: Floats, column: int) -> Generator[Request, Floats, bool]:
        """Sample at a place; tell whether a larger derivative along a direction is known now.

        If kinks are too near, as between elements of equal components, a place with all elements separated is tried as well.
        """
        before = self._largest(direction, column)[0]
        for each in (place, self._in_order(place)):
            yield from self._sample(each)
            if self._largest(direction, column)[0] > before:
                return True
        return False

    def _places(self, direction: Floats, column: int) -> Iterator[Floats]:
        """Yield places at which the derivative along a direction may be largest.

        Elements that claim a one-sided slope are first held on that side, since few random places have all of them there.
        """
        if self.kinks[column]:
            yield self._scaled(best_place(*self._normals(column), direction, self.ball.rng))
        ranked, held = self._ranked(direction), self._fixed_sides(column)
        for side in (held, np.zeros_like(held)) if np.any(held) else (held,):
            ahead = [self._by_rank(direction, column)] if self.gradients else []
            ahead += [self._far_along(part, 0.0) for part in (direction, -direction)]
            ahead += [self._far_along(part) for part in (direction, -direction, ranked, -ranked)]
            yield from (np.where(side, len(side) * side, place) for place in ahead + self._rankings())

    def _slope(self, place: Floats, direction: Floats, column: int) -> Generator[Request, Floats, float]:
        """Return the derivative along a direction at a place."""
        slopes = yield Request(place, direction[None])
        return float(slopes[0, column])

    def _largest(self, direction: Floats, column: int) -> tuple[float, int]:
        """Return the largest derivative along a direction among the gradients sampled, and its number."""
        slopes = [float(gradient[:, column] @ direction) for gradient in self.gradients]
        best = int(np.argmax(slopes))
        return slopes[best], best

    def _scaled(self, place: Floats) -> Floats:
        """Return a place in the same direction, with a largest component of ``m``, the number of members."""
        return np.asarray(len(place) * place / max(np.max(np.abs(place)), np.finfo(float).tiny))

    def _find_kinks(self, direction: Floats, column: int) -> Generator[Request, Floats, None]:
        """Find kinks along an arc: the difference of the gradients on both sides of a kink is normal to it.

        The arc goes from the place of the largest derivative so far in a random direction, or from a random place along the direction.
        """
        drawn = self.ball.rng.normal(size=len(direction))
        base, along = drawn, direction
        if self.lines[column] % 2 == 0:
            base, along = self.places[self._largest(direction, column)[1]], drawn
        base, along = self._scaled(base), self._scaled(along)
        self.lines[column] += 1

        def sampled(angle: float) -> Generator[Request, Floats, bool]:
            before = len(self.gradients)
            yield from self._sample(self._scaled(np.cos(angle) * base + np.sin(angle) * along), 0.0)
            if len(self.gradients) > before:
                met.append((angle, self.gradients[-1][:, column], self.places[-1]))
            return len(self.gradients) > before

        aside, met = 2 * STEP / len(direction), list[tuple[float, Floats, Floats]]()
        for angle in (-1.5, 1.5):
            yield from sampled(angle)
        waiting = [(met[0], met[1])] if len(met) == 2 else []
        while waiting:
            one, other = waiting.pop()
            normal = other[1] - one[1]
            if np.max(np.abs(normal)) <= self.uncertainty[column]:
                continue
            at = float(np.arctan2(-(normal @ base), normal @ along))
            at -= float(np.pi * np.rint(at / np.pi))
            if not one[0] < at < other[0]:
                at = (one[0] + other[0]) / 2
            for end, angle in ((one, at - aside), (other, at + aside)) if len(met) < DOZEN else ():
                turned = np.cos(angle) * along - np.sin(angle) * base
                turned /= np.max(np.abs(turned))
                place = self._scaled(np.cos(angle) * base + np.sin(angle) * along)
                slope = yield from self._slope(place, turned, column)
                if abs(slope - end[1] @ turned) > 2 * self.uncertainty[column] and (yield from sampled(angle)):
                    waiting += [(one, met[-1]), (met[-1], other)]
                    break
            else:
                self._enter(normal, float(np.sign(normal @ (other[2] - one[2]))), column)

    def _enter(self, normal: Floats, side: float, column: int) -> None:
        """Add a kink if it is not known yet."""
        for known, _ in self.kinks[column]:
            if min(np.max(np.abs(normal - known)), np.max(np.abs(normal + known))) <= 2 * self.uncertainty[column]:
                return
        self.kinks[column].append((normal, side))

    def _normals(self, column: int) -> tuple[Floats, Floats]:
        """Return the normals of the kinks found, and the side of each on which the derivative along its normal is larger, 1 or -1."""
        normals, sides = zip(*self.kinks[column], strict=True)
        return np.array(normals), np.array(sides)

    def _rankings(self) -> list[Floats]:
        """Return places in which every element has every rank, at most `SMALL` of them.

        Those around the point come first, then those with all elements below or above it, which separates nested kinks.
        """
        count, rng = len(self.members), self.ball.rng
        drawn = rng.permutation(count)
        orders = [(drawn + j) % count for j in rng.permutation(count)[:SMALL]]
        return [np.asarray(order - (count - 1) / 2 + shift) for shift in (0, -count, count) for order in orders]
