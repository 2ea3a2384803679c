"""Is a claim in Clarke's subdifferential: the convex hull of the gradients at points very near.

Gradients of the elements that share a kink are sampled, and the claim is projected on their hull. What is left over is the
direction in which the claim and the hull lie farthest apart. By F. H. Clarke, "Optimization and Nonsmooth Analysis" (1983),
the claim is valid only if some derivative along that direction, at a point very near, is as large as the claim says; such a
point is looked for. If there is one its gradient joins the samples; if independent searches agree that there is none the claim is wrong.
A valid claim thus needs few samples, and a wrong one is tested along the direction that contradicts it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.functions.displacements import Moves
from gradcheck.nonsmooth.groups import LINKED, Group, groups_of
from gradcheck.nonsmooth.hull import best_place, nearest_in_hull
from gradcheck.nonsmooth.sampling import STEP, Ball, Flagged
from gradcheck.nonsmooth.scans import SLACK, has_steady_gap, scan

__all__ = ["judge"]

Question = tuple[Floats, Floats]
"""For slopes at a place, shape (m,), along directions, shape (D, m). The answer has shape (D, K)."""
Asking = Generator[Question, Floats, None]

SAMPLES = 24
"""Gradients sampled beside the first ones, or three for each element, up to `MOST_RANKS`. A claim still outside their hull has
agreed along as many directions chosen to contradict it, and stays open."""

MOST_RANKS = 129
"""Largest number of ranks in which every element is tried before a direction contradicts a claim, and of gradients sampled."""


SEARCHES, LINES = 3, 2
"""Searches for the largest derivative along a direction that start apart from each other, and as many as `LINES` where all kinks known
bend the same way, so that none ends short; lines along which kinks are learned for them."""

TRIES = 3
"""Places near each other at which a gradient is sampled, until no kink lies between the points of its differences."""

CLEAR = 20.0
"""The error over the noise of a slope at the nearest radius: the extrapolation to the point, six times as noisy, still tells them."""

INVOLVED = 0.05
"""A member is part of a contradiction if its component of the direction exceeds this share of the largest component."""

MOST_PARTED = 8
"""Largest number of members of a contradiction that are separated pair by pair, at two calls a pair: about the cost
of one search."""

MOST_SHARED = 2000
"""Largest number of elements sharing a kink for which gradients are sampled: a sample takes a call for each element, and memory for
the square of their number. Larger groups stay undecided."""

LOOKED_AT = 4
"""Smooth elements of a leaf that are scanned; if all of these are wrong, so are the other contradicted ones."""


def judge(ball: Ball, flagged: list[Flagged]) -> None:
    """Decide about flagged elements, and write the outcome into them.

    Parameters
    ----------
    ball : Ball
        The functions and claims near the point.
    flagged : list of Flagged
        All elements that are about to be called wrong, and all at which differences saw a kink.

    Notes
    -----
    Costs a few calls where no kink is shared, see `groups_of`, and 54 to 108 for each element that seems to be wrong by
    itself, of up to four in a leaf. Elements that share a kink, ``m`` of them: about ``6 (m + 1)`` calls if the claims are valid,
    100 to 200 more if not.
    """
    # Nothing is decided on an infinite bound.
    known = [element for element in flagged if np.isfinite(element.bound[element.stake > 0]).all()]
    if not known:
        return
    groups = groups_of(ball, known)
    order = ball.rng.permutation([i for i, group in enumerate(groups) if len(group.members) == 1])
    _judge_singles(ball, [groups[i].members[0] for i in order])
    shared = [group for group in groups if 1 < len(group.members) <= MOST_SHARED]
    _judge_groups(ball, shared, {id(element) for element in known})


def _judge_singles(ball: Ball, elements: list[Flagged]) -> None:
    """Decide about elements that share no kink."""
    smooth: Counter[int] = Counter()
    for element in elements:
        if element.gap.any() and not (element.contradicted & (element.stake > 0)).any():
            element.conclude(element.gap != 0)  # between the one-sided derivatives, which nothing else changes
        elif element.gap.any() and not has_steady_gap(ball, element).all():
            continue
        elif element.gap.any() or smooth[element.leaf] < LOOKED_AT:
            smooth[element.leaf] += not scan(ball, element)
        else:
            element.conclude(np.zeros_like(element.valid))


def _judge_groups(ball: Ball, groups: list[Group], flagged: set[int]) -> None:
    """Decide about groups of elements, those that outputs tell apart all at once."""
    hulls = [_Hull(ball, group, ball.radius(group.members)) for group in groups]
    _answer(ball, hulls, [hull.compare() for hull in hulls])
    # What gradients near by come to by curvature alone does not make a claim valid: nearer ones have less of it.
    nearer = {hull: _Hull(ball, hull.group, hull.unit / closer) for hull in hulls if (closer := hull.closer()) >= 2}
    _answer(ball, list(nearer.values()), [hull.compare() for hull in nearer.values()])
    for hull in hulls:
        near = nearer.get(hull, hull)
        near.settle_curvature()
        for member, *wrong in zip(hull.members, hull.wrong, near.wrong, strict=True):
            if id(member) in flagged and hull.gradients and near.gradients:
                member.conclude((member.stake > 0) & ~(wrong[0] | wrong[1]))
        either = hull.wrong | near.wrong
        unclear = hull.blind() | near.bent | hull.unsettled(either) | near.unsettled(either)
        for member, left in zip(hull.members, unclear, strict=True):
            # Where noise hides the error itself, that no sampled gradient contradicts the claim does not make it valid.
            member.valid, member.open = member.valid & ~left, member.open | left


def _answer(ball: Ball, hulls: list[_Hull], asking: list[Asking]) -> None:
    """Evaluate the slopes that the hulls ask for, one question of each in the same calls, until none asks any more."""
    asked = {number: next(questions, None) for number, questions in enumerate(asking)}
    while any(question is not None for question in asked.values()):
        open_ = {number: question for number, question in asked.items() if question is not None}
        for number, slopes in _slopes(ball, hulls, open_).items():
            try:
                asked[number] = asking[number].send(slopes)
            except StopIteration:
                asked[number] = None


def _slopes(ball: Ball, hulls: list[_Hull], asked: dict[int, Question]) -> dict[int, Floats]:
    """Return the slopes that are asked for.

    Outputs tell groups apart, and then they are moved at once; otherwise one after the other.
    """
    drawn = _Start(int(ball.rng.integers(2**63)), min(hulls[number].unit for number in asked))
    start = drawn.moves(ball)
    for number, (place, _) in asked.items():
        hulls[number].start = drawn
        hulls[number].move(start, place)
    base = ball.outputs(start)
    counts = {number: len(directions) for number, (_, directions) in asked.items()}
    together = ball.tells_apart
    turns = (
        [[(number, turn) for number, count in counts.items() if turn < count] for turn in range(max(counts.values()))]
        if together
        else [[(number, turn)] for number, count in counts.items() for turn in range(count)]
    )
    slopes = {number: np.zeros((count, len(ball.noise))) for number, count in counts.items()}
    for turn in turns:
        moves = {leaf: shift.copy() for leaf, shift in start.items()}
        for number, row in turn:
            place, directions = asked[number]
            hulls[number].move(moves, place + STEP * directions[row])
        change = ball.outputs(moves) - base
        for number, row in turn:
            hull = hulls[number]
            slopes[number][row] = ball.read(change, hull.outputs) / (STEP * hull.unit)
    return slopes


@dataclass(frozen=True, slots=True)
class _Start:
    """The displacement of all other elements, drawn again each time it is needed, since it may be large."""

    seed: int
    radius: float

    def moves(self, ball: Ball, share: float = 1.0) -> Moves:
        """Return the displacement, or a fraction of it."""
        return ball.near(share * self.radius, np.random.default_rng(self.seed))


class _Hull:
    """Gradients of elements that share a kink, sampled at points near by.

    Each member is measured in its own scale, so that one does not stand still while another moves: places are displacements
    in units of the distance between two that are moved apart, and gradients are taken with respect to them.
    """

    def __init__(self, ball: Ball, group: Group, radius: float) -> None:
        self.ball, self.group, self.members, self.outputs = ball, group, group.members, group.outputs
        self.unit = radius
        self.scale = ball.scale(self.members)[:, None]
        self.claim = self.scale * np.array([member.claimed for member in self.members])
        self.stake = (self.scale * np.array([member.stake for member in self.members])).max(axis=0)
        self.noise = 2 * ball.noise / (STEP * self.unit)
        self.unsure = self.noise + SLACK * self.stake
        self.places: list[Floats] = []
        self.start: _Start  # of the last slopes that were asked for
        self.starts: list[_Start] = []
        self.gradients: list[Floats] = []
        self.moved_alike: set[int] = set()
        self.kinks: dict[int, list[tuple[Floats, float]]] = defaultdict(list)
        self.lines: Counter[int] = Counter()
        self.refuted: list[tuple[int, Floats]] = []
        self.wrong, self.bent = np.zeros((2, *self.claim.shape), dtype=bool)
        """Claims that are contradicted, and those whose error is not told from curvature."""

    def move(self, moves: dict[int, Floats], place: Floats) -> None:
        """Set the members in a displacement of all elements."""
        for member, part in zip(self.members, place * self.scale[:, 0], strict=True):
            moves[member.leaf][member.index] = part * self.unit

    def _smooth_errors(self) -> Floats:
        """Return by how much claims are off where no difference saw a kink, and no sample contradicts them, shape (m, K); else NaN."""
        members = self.members
        error = np.array([np.abs(member.claimed - member.reference) for member in members])
        asked = np.array([member.contradicted & (member.gap == 0) & (member.stake > 0) for member in members])
        return np.where(asked & ~self.wrong, self.scale * error, np.nan)

    def closer(self) -> float:
        """Return by what factor the radius may shrink before noise hides such an error; 0 where there is none."""
        blur = self.noise + 2 * self.ball.rounded(self.members).max(axis=0) / (STEP * self.unit)
        affordable = np.nan_to_num(self._smooth_errors() / (CLEAR * blur), nan=0.0)
        return float(affordable.max(initial=0.0)) if self.gradients else 0.0

    def settle_curvature(self) -> None:
        """Call claims wrong that lie among the gradients by curvature alone, and leave those open that may.

        Along the errors, the derivatives at the two outermost places are extrapolated to the point itself: what curvature adds is
        linear in the distance, and what a kink makes of them stays. Costs eight calls for each column with such errors.
        """
        errors = np.nan_to_num(self._smooth_errors(), nan=0.0)
        errors[:, self.wrong.any(axis=0)] = 0.0  # their samples were taken to find what is wrong
        for column in np.flatnonzero((errors > 0).any(axis=0)) if self.gradients else ():
            signed = self.claim[:, column] - self.scale[:, 0] * np.array([m.reference[column] for m in self.members])
            along = np.where(errors[:, column] > 0, signed, 0.0) / errors[:, column].max()
            slopes = [float(gradient[:, column] @ along) for gradient in self.gradients]
            found = [self._at_the_point(int(pick(slopes)), along)[:, column] for pick in (np.argmin, np.argmax)]
            ends, shifts = np.transpose(found)
            claimed, unsure = along @ self.claim[:, column], 17 / 3 * self.noise[column] + SLACK * self.stake[column]
            if not min(ends) - unsure <= claimed <= max(ends) + unsure:
                self.wrong[:, column] |= errors[:, column] > 0
            elif max(shifts) > along @ signed / 2:  # so far away curvature alone may make up for the error
                self.bent[:, column] |= errors[:, column] > 0

    def _at_the_point(self, sample: int, along: Floats) -> Floats:
        """Return a derivative along a direction, extrapolated to the point, and by how much that moved it, shape (2, K).

        It is taken at a place and a quarter of the way to it.
        """
        slopes = []
        for share in (1.0, 0.25):
            moves = self.starts[sample].moves(self.ball, share)
            ends = []
            for step in (0.0, STEP):
                self.move(moves, share * (self.places[sample] + step * along))
                ends.append(self.ball.outputs(moves))
            slopes.append(self.ball.read(ends[1] - ends[0], self.outputs) / (STEP * share * self.unit))
        shift = (slopes[1] - slopes[0]) / 3
        return np.array([slopes[1] + shift, np.abs(shift)])

    def blind(self) -> Bools:
        """Tell where noise exceeds half of the error, shape (m, K)."""
        return np.asarray(self.unsure > self._smooth_errors() / 2)

    def unsettled(self, wrong: Bools) -> Bools:
        """Tell which claims are still outside of the hull, shape (m, K), beside some wrong ones, in columns without any."""
        left, among = np.zeros_like(wrong), np.asarray(~wrong.any(axis=1))
        if self.gradients and among.any():
            beyond, directions = self._outside(among)
            for column in np.flatnonzero((beyond > 0) & ~wrong.any(axis=0)):
                left[:, column] = directions[column] != 0
        return left

    def compare(self) -> Asking:
        """Compare the claims with the hull of the gradients, and say which members are wrong.

        A member contradicted alone explains the contradictions in which it is involved with others.
        """
        for place in self._first_places():
            yield from self._sample(place)
            if self.gradients and not self._outside(np.ones(len(place), dtype=bool))[0].any():
                return
        among = np.ones(len(self.members), dtype=bool)
        while among.any() and self.gradients:
            contradicted = yield from self._contradictions(among)
            alone = yield from self._alone(contradicted, among)
            if not all(self._is_beyond(direction, column) for column, direction in contradicted.items()):
                continue  # a place that was not found before was met in the meantime
            if not np.any(alone):
                for column, direction in contradicted.items():
                    rows = np.flatnonzero(np.abs(direction) > INVOLVED)
                    wrong = yield from self._contradicted_parts(rows, column)
                    self.wrong[rows if len(wrong) == 0 else wrong, column] = True
                return
            self.wrong |= alone
            among &= ~alone.any(axis=1)

    def _contradictions(self, among: Bools) -> Generator[Question, Floats, dict[int, Floats]]:
        """Return the columns in which the claims of some members are contradicted together, and along which direction."""
        found: dict[int, Floats] = {}
        left: list[int] = []
        for _ in range(max(SAMPLES, min(3 * len(among), MOST_RANKS))):
            beyond, directions = self._outside(among)
            beyond[left] = 0.0
            if not np.any(beyond) or len(found) == LOOKED_AT:
                break
            column = int(np.argmax(beyond))
            is_met = yield from self._search(directions[column], column)
            is_first = column not in self.moved_alike
            self.moved_alike.add(column)
            if is_met is False:
                found[column] = directions[column]
            if not is_met and not is_first:
                left.append(column)
        return found

    def _is_beyond(self, direction: Floats, column: int) -> bool:
        """Tell whether the claims along a direction are larger than each derivative that was sampled."""
        largest = max(float(gradient[:, column] @ direction) for gradient in self.gradients)
        return bool(direction @ self.claim[:, column] - largest > self.unsure[column])

    def _alone(self, contradicted: dict[int, Floats], among: Bools) -> Generator[Question, Floats, Bools]:
        """Return the members that are contradicted by themselves, shape (m, K): two are tested, the others are like them."""
        low, high = np.min(self.gradients, axis=0) - self.unsure, np.max(self.gradients, axis=0) + self.unsure
        beyond = np.maximum(low - self.claim, self.claim - high) / self.unsure
        beyond[~among] = 0.0
        beyond[:, [column for column in range(len(self.stake)) if column not in contradicted]] = 0.0
        tested = np.argsort(-beyond.max(axis=1))[:2]
        found = np.zeros_like(self.wrong)
        for row in tested[beyond[tested].max(axis=1) > 0]:
            own = yield from self._contradictions(np.arange(len(self.members)) == row)
            found[row, list(own)] = True
        return np.asarray(found | (beyond > 0)) if found[tested].any(axis=1).all() else found

    def _contradicted_parts(self, rows: Indices, column: int) -> Generator[Question, Floats, Indices]:
        """Return the members that are contradicted with those alone whose effects do not add up with theirs; none if all add up.

        Samples that tell one part's claims from the hull leave another's outside of it too, until there are enough of them.
        """
        labels = self._linked(rows, column) if len(rows) <= MOST_PARTED else np.zeros(len(rows), dtype=np.intp)
        wrong = []
        for label in np.unique(labels) if (labels != labels[0]).any() else ():
            part = rows[labels == label]
            found = yield from self._contradictions(np.isin(np.arange(len(self.members)), part))
            wrong += [part] if column in found else []
        return np.concatenate([np.zeros(0, dtype=np.intp), *wrong])

    def _linked(self, rows: Indices, column: int) -> Indices:
        """Return a label for each of some members: the same where effects of pairs do not add up, both up or both down."""
        labels, base = np.arange(len(rows)), self.ball.outputs(self.ball.at_rest())
        sizes = self.ball.rng.uniform(1.2, 1.8, len(rows))
        unsure = 4 * self.ball.noise[column] + LINKED * self.stake[column] * self.unit
        for sign in (1.0, -1.0):

            def change(*moved: int, sign: float = sign) -> float:
                moves, place = self.ball.at_rest(), np.zeros(len(self.members))
                place[rows[list(moved)]] = sign * sizes[list(moved)]
                self.move(moves, place)
                return float(self.ball.read(self.ball.outputs(moves) - base, self.outputs)[column])

            alone = [change(number) for number in range(len(rows))]
            for one, other in combinations(range(len(rows)), 2):
                left = change(one, other) - alone[one] - alone[other]
                if labels[one] != labels[other] and abs(left) > unsure:
                    labels[labels == labels[other]] = labels[one]
        return labels

    def _outside(self, among: Bools) -> tuple[Floats, list[Floats]]:
        """Return how far outside the hull claims are in each column, in units of the uncertainty, and in which direction."""
        points = np.array(self.gradients)
        beyond, directions = np.zeros(len(self.stake)), []
        for column, unsure in enumerate(self.unsure):
            direction = np.zeros(len(self.members))
            claim, hull = self.claim[among, column], points[:, among, column]
            # All moved alike: there each valid claim agrees with the derivative, however many share the kink.
            left = np.ones(len(claim)) * (claim.sum() - np.clip(claim.sum(), hull.sum(1).min(), hull.sum(1).max()))
            if column in self.moved_alike or not np.abs(left).max() > unsure:
                left = claim - nearest_in_hull(hull, claim)
            size = np.abs(left).max(initial=0.0)
            if self.stake[column] > 0 and not size <= unsure:
                beyond[column] = size / unsure
                direction[among] = left / size
            directions.append(direction)
        return beyond, directions

    def _sample(self, place: Floats, share: float = LINKED) -> Generator[Question, Floats, None]:
        """Sample a gradient at a place, or near it where a kink passes between the points of the differences.

        The differences along the axes then do not add up to the one along all of them.
        """
        count = len(place)
        for _ in range(TRIES):
            slopes = yield place, np.vstack([np.eye(count), -np.ones(count)])
            gradient, joint = slopes[:-1], slopes[-1]
            apart = np.abs(gradient.sum(axis=0) + joint)
            if np.all((apart <= share * self.stake + np.sqrt(count) * self.unsure) | (self.stake == 0)):
                self.places.append(place)
                self.starts.append(self.start)
                self.gradients.append(gradient)
                return
            place = place + self.ball.rng.uniform(-0.7, 0.7, count)

    # ---- where to look ----------------------------------------------------------------------------------------------

    def _towards(self, direction: Floats, spread: float = 0.5) -> Floats:
        """Return a place far along a direction, at which elements that it does not tell apart are in some order."""
        ranks = self.ball.rng.permutation(len(direction)) - (len(direction) - 1) / 2
        return np.asarray(len(direction) * direction + spread * ranks)

    def _in_order(self, place: Floats) -> Floats:
        """Return a place at which elements are in the same order, equal ones in any, and all apart."""
        ranks = np.empty(len(place))
        ranks[np.lexsort((self.ball.rng.permutation(len(place)), place))] = np.arange(len(place))
        return ranks - (len(ranks) - 1) / 2

    def _first_places(self) -> Iterator[Floats]:
        """Give where gradients are sampled first: where a valid claim is likely to be the gradient.

        Along the axis of the element whose one-sided derivative is nearest to its claim; along the claim, as for a maximum, and
        against it, as for a minimum; all up and all down; then the orders that fit the claims, by the slopes of the first sample.
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
        yield from [self._towards(direction) for direction in [*found, ones, -ones]]
        if self.gradients:
            yield from [self._by_rank(self.claim[:, column], int(column)) for column in np.flatnonzero(self.stake)]

    def _by_rank(self, direction: Floats, column: int) -> Floats:
        """Return the place of the largest derivative along a direction if slopes go by ranks alone, as those of sorted elements do."""
        ranked = np.argsort(self.places[0])
        ranks = np.empty(len(ranked))
        ranks[np.argsort(direction, kind="stable")] = np.argsort(self.gradients[0][ranked, column])
        return ranks - (len(ranks) - 1) / 2

    def _gaps(self, column: int) -> Floats:
        """Return the sizes of the gaps between the derivatives on both sides, shape (m,)."""
        return np.asarray(self.scale[:, 0] * np.array([abs(member.gap[column]) for member in self.members]))

    def _nearest_side(self, column: int) -> tuple[Floats, Floats]:
        """Return the side, 1 or -1, whose derivative is nearest to the claim, and its distance, shapes (m,).

        The distance is in whole multiples of the share `SLACK` of the gap, infinite without a gap.
        """
        slopes = np.array([[member.slope(sign)[column] for sign in (1, -1)] for member in self.members])
        claimed = np.array([member.claimed[column] for member in self.members])
        sides = self.scale * np.abs(slopes - claimed[:, None])
        gap = self._gaps(column)
        share = np.full(len(gap), np.inf)
        np.divide(sides.min(axis=1), SLACK * gap, out=share, where=gap > 0)
        return 1.0 - 2 * sides.argmin(axis=1), np.rint(share)

    def _axis(self, column: int) -> Floats:
        """Return the axis, upwards or downwards, along which a one-sided derivative is nearest to the claim beside its gap."""
        side, share = self._nearest_side(column)
        row = np.lexsort((-self._gaps(column), -np.abs(self.claim[:, column]), share))[0]
        return np.asarray(np.eye(len(side))[row] * side)

    def _held(self, column: int) -> Floats:
        """Return the side, 1 or -1, of elements that claim a one-sided slope: if f is convex no other place has it. 0 for the others."""
        side, share = self._nearest_side(column)
        return np.where(share == 0, side, 0.0)

    @staticmethod
    def _ranked(direction: Floats) -> Floats:
        """Return a direction in the same order, so that no difference is too small to be seen among others."""
        ranks = np.unique(direction, return_inverse=True)[1]
        return np.asarray(2 * ranks / max(int(ranks.max()), 1) - 1)

    def _search(self, direction: Floats, column: int) -> Generator[Question, Floats, bool | None]:
        """Look for a gradient that is along a direction as large as the claim says, and sample it; tell whether there is one.

        None: there may be one. The largest derivative is looked for several times; if the claim is farther beyond what the best of
        these searches found than what they found is apart, another one would not reach it.
        """
        if any(column == of and np.allclose(direction, known) for of, known in self.refuted):
            return False
        wanted = float(direction @ self.claim[:, column] - self.unsure[column])
        largest, best = self._largest(direction, column)[0], -np.inf
        reached: list[float] = []
        for place in self._places(direction, column):
            slope = yield from self._slope(place, direction, column)
            best = max(best, slope)
            if slope >= wanted and (yield from self._gains(place, direction, column)):
                return True
        while len(reached) < (SEARCHES if self._bends_both_ways(column) else LINES):
            if self.lines[column] < LINES:
                yield from self._learn(direction, column)
                if self._largest(direction, column)[0] >= wanted > largest:
                    return True
            slope, place = yield from self._ascend(direction, column, wanted, is_first=not reached)
            if slope >= wanted and (yield from self._gains(place, direction, column)):
                return True
            reached.append(slope)
        best = max(best, *reached, self._largest(direction, column)[0])
        # Convex or concave near the point, the function has its largest derivative at an end of the direction, which was tried.
        apart = float(np.ptp(reached)) if self._bends_both_ways(column) else 0.0
        if not wanted - best > apart:
            return None
        self.refuted.append((column, direction))
        return False

    def _gains(self, place: Floats, direction: Floats, column: int) -> Generator[Question, Floats, bool]:
        """Sample at a place; tell whether a larger derivative along a direction is known now.

        Where kinks pass too near for that, as between elements that the direction does not tell apart, these are moved apart in its order.
        """
        before = self._largest(direction, column)[0]
        for each in (place, self._in_order(place)):
            yield from self._sample(each)
            if self._largest(direction, column)[0] > before:
                return True
        return False

    def _bends_both_ways(self, column: int) -> bool:
        """Tell whether the derivative across the kinks that are known grows at some and falls at others."""
        return len({side for _, side in self.kinks[column]}) > 1

    def _places(self, direction: Floats, column: int) -> Iterator[Floats]:
        """Give places at which a derivative along a direction may be the largest.

        Elements that claim a one-sided slope are first held on that side: few random places have all of them there.
        """
        if self.kinks[column]:
            yield self._scaled(best_place(*self._normals(column), direction, self.ball.rng))
        ranked, held = self._ranked(direction), self._held(column)
        for side in (held, np.zeros_like(held)) if np.any(held) else (held,):
            ahead = [self._by_rank(direction, column)] if self.gradients else []
            ahead += [self._towards(part, 0.0) for part in (direction, -direction)]
            ahead += [self._towards(part) for part in (direction, -direction, ranked, -ranked)]
            yield from (np.where(side, len(side) * side, place) for place in ahead + self._orders())

    def _slope(self, place: Floats, direction: Floats, column: int) -> Generator[Question, Floats, float]:
        """Return a derivative along a direction."""
        slopes = yield place, direction[None]
        return float(slopes[0, column])

    def _largest(self, direction: Floats, column: int) -> tuple[float, int]:
        """Return the largest derivative along a direction among the gradients sampled, and its number."""
        slopes = [float(gradient[:, column] @ direction) for gradient in self.gradients]
        best = int(np.argmax(slopes))
        return slopes[best], best

    def _scaled(self, place: Floats) -> Floats:
        """Return a place in the same direction, as far away as those where tied elements are moved apart."""
        return np.asarray(len(place) * place / max(np.max(np.abs(place)), np.finfo(float).tiny))

    def _learn(self, direction: Floats, column: int) -> Generator[Question, Floats, None]:
        """Learn the kinks along a line: the difference of the gradients on both sides of one is normal to it.

        The line goes through the place with the largest derivative so far at random, or through a random one along the direction.
        """
        drawn = self.ball.rng.normal(size=len(direction))
        base, along = drawn, direction
        if self.lines[column] % 2 == 0:
            base, along = self.places[self._largest(direction, column)[1]], drawn
        base, along = self._scaled(base), self._scaled(along)
        self.lines[column] += 1

        def sampled(angle: float) -> Generator[Question, Floats, bool]:
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
            if np.max(np.abs(normal)) <= self.unsure[column]:
                continue
            at = float(np.arctan2(-(normal @ base), normal @ along))
            at -= float(np.pi * np.rint(at / np.pi))
            if not one[0] < at < other[0]:
                at = (one[0] + other[0]) / 2
            for end, angle in ((one, at - aside), (other, at + aside)) if len(met) < SAMPLES // 2 else ():
                turned = np.cos(angle) * along - np.sin(angle) * base
                turned /= np.max(np.abs(turned))
                place = self._scaled(np.cos(angle) * base + np.sin(angle) * along)
                slope = yield from self._slope(place, turned, column)
                if abs(slope - end[1] @ turned) > 2 * self.unsure[column] and (yield from sampled(angle)):
                    waiting += [(one, met[-1]), (met[-1], other)]
                    break
            else:
                self._enter(normal, float(np.sign(normal @ (other[2] - one[2]))), column)

    def _enter(self, normal: Floats, side: float, column: int) -> None:
        """Enter a kink if it is not known yet."""
        for known, _ in self.kinks[column]:
            if min(np.max(np.abs(normal - known)), np.max(np.abs(normal + known))) <= 2 * self.unsure[column]:
                return
        self.kinks[column].append((normal, side))

    def _normals(self, column: int) -> tuple[Floats, Floats]:
        """Return normals of the kinks that were met, and on which side of each the derivative along its normal is larger, 1 or -1."""
        normals, sides = zip(*self.kinks[column], strict=True)
        return np.array(normals), np.array(sides)

    def _ascend(
        self, direction: Floats, column: int, wanted: float, *, is_first: bool
    ) -> Generator[Question, Floats, tuple[float, Floats]]:
        """Climb to a larger derivative along a direction, from the best of places at random, by crossing one kink at a time.

        Returns it and its place.
        """
        rng, best, at = self.ball.rng, -np.inf, np.zeros(len(direction))
        known = self.kinks[column]
        drawn = [rng.normal(size=len(direction)) + rng.normal() for _ in range(2 * len(direction) + 4)]
        if known:
            normals, sides = self._normals(column)
        if known and is_first:
            drawn.insert(0, best_place(normals, sides, direction, rng))
        for place in map(self._scaled, drawn):
            slope = yield from self._slope(place, direction, column)
            if slope > best:
                best, at = slope, place
            if best >= wanted:
                break
        if not known:
            return best, at
        sides = sides * np.sign(normals @ direction)
        unit = normals / np.linalg.norm(normals, axis=1)[:, None]
        is_better = True
        while is_better and best < wanted:
            is_better = False
            for number in np.argsort(sides * (unit @ at)):
                away = unit[number] @ at
                if away * sides[number] >= 0:
                    continue
                place = self._scaled(at - away * (1 + rng.uniform(0.05, 0.35)) * unit[number])
                slope = yield from self._slope(place, direction, column)
                if slope > best + self.unsure[column]:
                    best, at, is_better = slope, place, True
                if best >= wanted:
                    break
        return best, at

    def _orders(self) -> list[Floats]:
        """Return places in which every element has every rank, or `MOST_RANKS` of them.

        Those around the point first, then those where all elements are below it, or above: there nested kinks part.
        """
        count, rng = len(self.members), self.ball.rng
        drawn = rng.permutation(count)
        orders = [(drawn + j) % count for j in rng.permutation(count)[:MOST_RANKS]]
        return [np.asarray(order - (count - 1) / 2 + shift) for shift in (0, -count, count) for order in orders]
