"""Whether a claim is in Clarke's subdifferential, the convex hull of the gradients at very near points.

Gradients of the elements that share a kink are sampled, and the claim is projected on their hull. The residual is the
direction in which claim and hull lie farthest apart. The claim is valid only if the derivative along that direction, at some
very near point, is as large as the claim says (F. H. Clarke, "Optimization and Nonsmooth Analysis" (1983)). Such a point is
searched for, and its gradient joins the samples. The claim is wrong if lines along the direction bound the derivative below
that: a line crosses every kink that changes the derivative along it, so the derivative is at most the first slope plus all rises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from itertools import chain, combinations

import numpy as np

from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.counts import DOZEN, FEW, NEGLIGIBLE, SMALL
from gradcheck.differences.noise import PLAINLY
from gradcheck.nonsmooth.groups import LINKED, Group, groups_of
from gradcheck.nonsmooth.hull import nearest_in_hull, weights_of_nearest
from gradcheck.nonsmooth.sampling import STEP, Ball, Flagged
from gradcheck.nonsmooth.scans import has_steady_gap, scan
from gradcheck.nonsmooth.searches import Background, Request, Requests, Samples

__all__ = ["judge"]

MOST_SHARED = 2000
"""Largest number of elements sharing a kink for which gradients are sampled: a sample takes a call for each element, and memory for
the square of their number. Larger groups stay undecided."""


def judge(ball: Ball, flagged: list[Flagged]) -> None:
    """Decide about flagged elements, and record the outcome in them.

    Parameters
    ----------
    ball : Ball
        The functions and claims near the point.
    flagged : list of Flagged
        All elements that are about to be called wrong, and all at which differences saw a kink.

    Notes
    -----
    Costs a few calls if no kink is shared, see `groups_of`, and 54 to 108 for each contradicted element without a shared kink, up
    to four in a leaf. A kink that ``m`` elements share costs about ``6 (m + 1)`` calls if the claims are valid, 100 to 200 more if not.
    """
    # With an infinite bound nothing is decided.
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
        elif element.gap.any() or smooth[element.leaf] < FEW:
            smooth[element.leaf] += not scan(ball, element)
        else:
            element.conclude(np.zeros_like(element.valid))


def _judge_groups(ball: Ball, groups: list[Group], flagged: set[int]) -> None:
    """Decide about groups of elements, all at once if they change different outputs."""
    hulls = [_Hull(ball, group, ball.radius(group.members)) for group in groups]
    _answer(ball, hulls, [hull.compare() for hull in hulls])
    # A claim within the hull by curvature alone is not valid: a smaller radius shows that.
    nearer = {
        hull: _Hull(ball, hull.group, hull.unit / closer) for hull in hulls if (closer := hull.shrink_factor()) >= 2
    }
    _answer(ball, list(nearer.values()), [near.compare(hull.supporting_places()) for hull, near in nearer.items()])
    for hull in hulls:
        near = nearer.get(hull, hull)
        near.settle_curvature()
        for member, *wrong in zip(hull.members, hull.wrong, near.wrong, strict=True):
            if id(member) in flagged and hull.gradients and near.gradients:
                member.conclude((member.stake > 0) & ~(wrong[0] | wrong[1]))
        either = hull.wrong | near.wrong
        unclear = hull.hidden_by_noise() | near.maybe_curved | hull.unsettled(either) | near.unsettled(either)
        for member, left in zip(hull.members, unclear, strict=True):
            # If noise hides the error, a claim is not valid just because no sampled gradient contradicts it.
            member.valid, member.open = member.valid & ~left, member.open | left


def _answer(ball: Ball, hulls: list[_Hull], generators: list[Requests]) -> None:
    """Evaluate the slopes that the hulls request, one request of each in the same calls, until all generators end."""
    asked = {number: next(generator, None) for number, generator in enumerate(generators)}
    while any(request is not None for request in asked.values()):
        open_ = {number: request for number, request in asked.items() if request is not None}
        staying = {number: request for number, request in open_.items() if request.stays}
        for number, slopes in _slopes(ball, hulls, staying or open_).items():
            try:
                asked[number] = generators[number].send(slopes)
            except StopIteration:
                asked[number] = None


def _slopes(ball: Ball, hulls: list[_Hull], asked: dict[int, Request]) -> dict[int, Floats]:
    """Return the requested slopes of each hull; groups that change different outputs are moved at once, others one by one."""
    some, request = next(iter(asked.items()))
    drawn = (
        hulls[some].background
        if request.stays
        else Background(int(ball.rng.integers(2**63)), min(hulls[number].unit for number in asked))
    )
    start = drawn.moves(ball)
    for number, each in asked.items():
        hulls[number].background = drawn
        hulls[number].move(start, each.place)
    if tuple(asked) not in drawn.outputs:
        drawn.outputs[tuple(asked)] = ball.outputs(start)
    base = drawn.outputs[tuple(asked)]
    counts = {number: len(each.directions) for number, each in asked.items()}
    together = ball.separates_outputs
    turns = (
        [[(number, turn) for number, count in counts.items() if turn < count] for turn in range(max(counts.values()))]
        if together
        else [[(number, turn)] for number, count in counts.items() for turn in range(count)]
    )
    slopes = {number: np.zeros((count, len(ball.noise))) for number, count in counts.items()}
    for turn in turns:
        moves = {leaf: shift.copy() for leaf, shift in start.items()}
        for number, row in turn:
            hulls[number].move(moves, asked[number].place + STEP * asked[number].directions[row])
        change = ball.outputs(moves) - base
        for number, row in turn:
            hull = hulls[number]
            slopes[number][row] = ball.read(change, hull.outputs) / (STEP * hull.unit)
    return slopes


class _Hull(Samples):
    """Whether claims lie in the hull of sampled gradients."""

    def __init__(self, ball: Ball, group: Group, radius: float) -> None:
        super().__init__(ball, group, radius)
        self.tried_alike: set[int] = set()
        self.has_too_few = False
        """Whether claims were still outside of the hull when no more gradients were sampled."""
        self.wrong, self.maybe_curved = np.zeros((2, *self.claim.shape), dtype=bool)
        """Claims that are contradicted, and claims whose error may be curvature."""

    def _smooth_errors(self) -> Floats:
        """Return the errors of claims at which no difference saw a kink and which no sample contradicts, shape (m, K); else NaN."""
        members = self.members
        error = np.array([np.abs(member.claimed - member.reference) for member in members])
        asked = np.array([member.contradicted & (member.gap == 0) & (member.stake > 0) for member in members])
        return np.where(asked & ~self.wrong, self.scale * error, np.nan)

    def shrink_factor(self) -> float:
        """Return by what factor the radius may shrink before noise hides such an error; 0 where there is none."""
        blur = self.noise + 2 * self.ball.rounded(self.members).max(axis=0) / (STEP * self.unit)
        # The extrapolation to the point, six times as noisy as a slope, still shows such an error.
        affordable = np.nan_to_num(self._smooth_errors() / (PLAINLY * blur), nan=0.0)
        return float(affordable.max(initial=0.0)) if self.gradients else 0.0

    def settle_curvature(self) -> None:
        """Call claims wrong that lie in the hull by curvature alone, and leave those open that may.

        Derivatives along the errors at the two outermost places are extrapolated to the point: the part of curvature is linear in
        the distance, that of a kink is constant. Costs eight calls for each column with such errors.
        """
        errors = np.nan_to_num(self._smooth_errors(), nan=0.0)
        errors[:, self.wrong.any(axis=0)] = 0.0  # samples of these were chosen to find what is wrong
        for column in np.flatnonzero((errors > 0).any(axis=0)) if self.gradients and not self.has_too_few else ():
            signed = self.claim[:, column] - self.scale[:, 0] * np.array([m.reference[column] for m in self.members])
            along = np.where(errors[:, column] > 0, signed, 0.0) / errors[:, column].max()
            slopes = [float(gradient[:, column] @ along) for gradient in self.gradients]
            found = [self._at_the_point(int(pick(slopes)), along)[:, column] for pick in (np.argmin, np.argmax)]
            ends, shifts = np.transpose(found)
            claimed, uncertainty = (
                along @ self.claim[:, column],
                17 / 3 * self.noise[column] + NEGLIGIBLE * self.stake[column],
            )
            if not min(ends) - uncertainty <= claimed <= max(ends) + uncertainty:
                self.wrong[:, column] |= errors[:, column] > 0
            elif max(shifts) > along @ signed / 2:  # curvature is so large here that it may explain the error
                self.maybe_curved[:, column] |= errors[:, column] > 0

    def _at_the_point(self, sample: int, along: Floats) -> Floats:
        """Return the derivative along a direction at a sampled place, extrapolated to the point, and the change by that, shape (2, K).

        It is measured at the place and at a quarter of its distance.
        """
        slopes = []
        for share in (1.0, 0.25):
            moves = self.backgrounds[sample].moves(self.ball, share)
            ends = []
            for step in (0.0, STEP):
                self.move(moves, share * (self.places[sample] + step * along))
                ends.append(self.ball.outputs(moves))
            slopes.append(self.ball.read(ends[1] - ends[0], self.outputs) / (STEP * share * self.unit))
        shift = (slopes[1] - slopes[0]) / 3
        return np.array([slopes[1] + shift, np.abs(shift)])

    def hidden_by_noise(self) -> Bools:
        """Tell where the uncertainty of slopes exceeds half of the error, shape (m, K)."""
        return np.asarray(self.uncertainty > self._smooth_errors() / 2)

    def unsettled(self, wrong: Bools) -> Bools:
        """Tell which claims of members that are not wrong are still outside the hull, in columns without wrong ones; shape (m, K)."""
        left, among = np.zeros_like(wrong), np.asarray(~wrong.any(axis=1))
        if self.gradients and among.any():
            beyond, directions = self._outside(among)
            for column in np.flatnonzero((beyond > 0) & ~wrong.any(axis=0)):
                left[:, column] = directions[column] != 0
        return left

    def supporting_places(self) -> list[Floats]:
        """Return the places of the gradients whose convex combination is nearest to the claims."""
        points, held = np.array(self.gradients), np.zeros(len(self.gradients), dtype=bool)
        for column in np.flatnonzero(self.stake) if len(points) else ():
            held |= weights_of_nearest(points[:, :, column], self.claim[:, column]) > 0
        return [place for place, is_held in zip(self.places, held, strict=True) if is_held]

    def compare(self, places: Sequence[Floats] = ()) -> Requests:
        """Compare the claims with the hull of the gradients, sampled at some places first, and record which members are wrong.

        If a member is contradicted alone, the others contradicted with it are tested again without it.
        """
        for place in chain(places, self._first_places()):
            yield from self._sample(place)
            if self.gradients and not self._outside(np.ones(len(place), dtype=bool))[0].any():
                return
        among = np.ones(len(self.members), dtype=bool)
        while among.any() and self.gradients:
            contradicted = yield from self._contradictions(among)
            alone = yield from self._contradicted_alone(contradicted, among)
            if not all(self._exceeds_samples(direction, column) for column, direction in contradicted.items()):
                continue  # a later sample covers a claim that seemed contradicted
            if not np.any(alone):
                for column, direction in contradicted.items():
                    rows = np.flatnonzero(np.abs(direction) > LINKED)
                    wrong = yield from self._contradicted_parts(rows, column)
                    self.wrong[rows if len(wrong) == 0 else wrong, column] = True
                return
            self.wrong |= alone
            among &= ~alone.any(axis=1)

    def _contradictions(self, among: Bools) -> Generator[Request, Floats, dict[int, Floats]]:
        """Return the columns in which the claims of some members are contradicted together, and along which direction."""
        found: dict[int, Floats] = {}
        left: list[int] = []
        count = len(among)
        # For very many elements as many gradients would be needed, which costs too much.
        # A claim still outside the hull of a dozen gradients, or of three for each element, agrees with as many along directions chosen to
        # contradict it, and stays open.
        for _ in range(FEW if count > SMALL else max(DOZEN, min(3 * count, SMALL))):
            beyond, directions = self._outside(among)
            beyond[left] = 0.0
            if not np.any(beyond) or len(found) == FEW:
                break
            column = int(np.argmax(beyond))
            is_met = yield from self._search(directions[column], column)
            is_first = column not in self.tried_alike
            self.tried_alike.add(column)
            if is_met is False:
                found[column] = directions[column]
            if not is_met and not is_first:
                left.append(column)
        else:
            self.has_too_few = True
        return found

    def _exceeds_samples(self, direction: Floats, column: int) -> bool:
        """Tell whether the claimed derivative along a direction exceeds that of every sampled gradient."""
        largest = max(float(gradient[:, column] @ direction) for gradient in self.gradients)
        return bool(direction @ self.claim[:, column] - largest > self.uncertainty[column])

    def _contradicted_alone(self, contradicted: dict[int, Floats], among: Bools) -> Generator[Request, Floats, Bools]:
        """Tell which members are contradicted alone, shape (m, K): two are tested, and the others taken to be like them."""
        low, high = np.min(self.gradients, axis=0) - self.uncertainty, np.max(self.gradients, axis=0) + self.uncertainty
        beyond = np.maximum(low - self.claim, self.claim - high) / self.uncertainty
        beyond[~among] = 0.0
        beyond[:, [column for column in range(len(self.stake)) if column not in contradicted]] = 0.0
        tested = np.argsort(-beyond.max(axis=1))[:2]
        found = np.zeros_like(self.wrong)
        for row in tested[beyond[tested].max(axis=1) > 0]:
            own = yield from self._contradictions(np.arange(len(self.members)) == row)
            found[row, list(own)] = True
        return np.asarray(found | (beyond > 0)) if found[tested].any(axis=1).all() else found

    def _contradicted_parts(self, rows: Indices, column: int) -> Generator[Request, Floats, Indices]:
        """Divide contradicted members into parts whose effects add up, and return those still contradicted in their part.

        None if the members do not divide. A few samples chosen for one part leave the claims of another outside the hull as well.
        """
        labels = self._linked(rows, column) if len(rows) <= DOZEN else np.zeros(len(rows), dtype=np.intp)
        wrong = []
        for label in np.unique(labels) if (labels != labels[0]).any() else ():
            part = rows[labels == label]
            found = yield from self._contradictions(np.isin(np.arange(len(self.members)), part))
            wrong += [part] if column in found else []
        return np.concatenate([np.zeros(0, dtype=np.intp), *wrong])

    def _linked(self, rows: Indices, column: int) -> Indices:
        """Return a label for each of some members: equal if their effects do not add up, both moved up or both down."""
        labels, base = np.arange(len(rows)), self.ball.outputs(self.ball.at_rest())
        sizes = self.ball.rng.uniform(1.2, 1.8, len(rows))
        uncertainty = 4 * self.ball.noise[column] + LINKED * self.stake[column] * self.unit
        for sign in (1.0, -1.0):

            def change(*moved: int, sign: float = sign) -> float:
                moves, place = self.ball.at_rest(), np.zeros(len(self.members))
                place[rows[list(moved)]] = sign * sizes[list(moved)]
                self.move(moves, place)
                return float(self.ball.read(self.ball.outputs(moves) - base, self.outputs)[column])

            alone = [change(number) for number in range(len(rows))]
            for one, other in combinations(range(len(rows)), 2):
                left = change(one, other) - alone[one] - alone[other]
                if labels[one] != labels[other] and abs(left) > uncertainty:
                    labels[labels == labels[other]] = labels[one]
        return labels

    def _outside(self, among: Bools) -> tuple[Floats, list[Floats]]:
        """Return how far outside the hull the claims are in each column, in units of the uncertainty, and in which direction."""
        points = np.array(self.gradients)
        beyond, directions = np.zeros(len(self.stake)), []
        for column, uncertainty in enumerate(self.uncertainty):
            direction = np.zeros(len(self.members))
            claim, hull = self.claim[among, column], points[:, among, column]
            # First along the common move of all members: one direction, however many share the kink.
            left = np.ones(len(claim)) * (claim.sum() - np.clip(claim.sum(), hull.sum(1).min(), hull.sum(1).max()))
            if column in self.tried_alike or not np.abs(left).max() > uncertainty:
                left = claim - nearest_in_hull(hull, claim)
            size = np.abs(left).max(initial=0.0)
            if self.stake[column] > 0 and not size <= uncertainty:
                beyond[column] = size / uncertainty
                direction[among] = left / size
            directions.append(direction)
        return beyond, directions
