"""The rule of acceptance along random directions: elements are cleared together, and wrong ones located.

Claim and derivative are compared along four random directions of all elements. Where they disagree the leaves that
disagree are found by halving. Of each of them, in this order: a multiple of the whole claim, perhaps rearranged, that
agrees with the derivative explains it; a dozen elements are looked at when the disagreement is as large as the claim;
else the wrong elements are located by halving and measured one by one. The search ends when four fresh directions
agree with what is believed by then.
"""

from __future__ import annotations

import numpy as np

from gradcheck.acceptance.bench import Bench, Limit
from gradcheck.acceptance.directions import (
    ALLOWANCE,
    DISAGREES,
    Directions,
    Slopes,
)
from gradcheck.acceptance.first_look import LONGER, first_look
from gradcheck.acceptance.individual import SMALL, Individual
from gradcheck.acceptance.irregular import look_for_kinks, look_for_zeros_on_stairs
from gradcheck.acceptance.ledger import Estimate
from gradcheck.acceptance.locate import CERTAIN, Group, contradicted_leaves, groups_of, locate, strongest
from gradcheck.acceptance.parts import elements_of, without
from gradcheck.acceptance.screening import DOZEN, measure_noise
from gradcheck.acceptance.sections import sections
from gradcheck.acceptance.shown import Shown
from gradcheck.acceptance.whole_claim import multiple_of, rearranged
from gradcheck.aliases import Floats, Indices
from gradcheck.differences.lengths import FIRST_STEP
from gradcheck.differences.steps import DEFAULT_STEP

__all__ = ["glance", "search"]

MOST_ROUNDS = 8
"""Searches, each of which begins with fresh directions."""

MOST_FRUITLESS = 2
"""Searches in which nothing new was found before the search is given up."""

MOST_LEAVES, LAST_LEAVES = 8, 4
"""Contradicted leaves that one search tells apart, and the number of them where there are more."""

MOST_SCATTERED = 2
"""Leaves without an explanation that are examined before the same fault is assumed in the others."""

MOST_CLOSER = 96
"""Calls spent on such leaves: six sets of four directions."""

GROSS = 0.2
"""Leaves that contradict their claims by this share of what the claims predict are wrong in more than a few places: one wrong
element among a hundred contributes no more than that."""

VERIFYING = 2
"""Fresh directions that must agree with an explanation."""

LEAST = 3
"""Elements of one leaf that are looked at, at least, where a `DOZEN` is shared by several."""

MOST_CONTRADICTED = 100
"""Largest number of contradicted groups that are halved on: with more, the wrong elements are not few, and a sample is looked at."""

NARROWED, FOLLOWED = 4, 2
"""Most significant of more contradicted groups than that which are halved on, and halves that are followed in each."""


def search(bench: Bench, key: int) -> bool:
    """Judge all elements of a bench along random directions.

    Parameters
    ----------
    bench : Bench
        Claims and functions; the judgements are filled in.
    key : int
        The seed of the directions.

    Returns
    -------
    seen : bool
        Whether something is wrong, or directions show enough of everything.

    Notes
    -----
    A right gradient costs about 26 calls, 16 more when the round-off of other claims hides most of the largest leaf, and up
    to 96 more when the gradient of some leaf is small beside the noise. A wrong element costs two calls a halving and about 25 to
    confirm; a leaf that is wrong throughout a dozen such elements, or nothing where a multiple of the claim is right.
    """
    run = _search(bench, key)
    run.locate_all(first_look(run.directions, run.individual))
    run.look_at_largest()
    run.conclude()
    found = bench.judgements.values()
    is_open = run.shown.is_blurred or any(each.undecided.any() for each in found)
    return any(each.wrong.any() for each in found) or not is_open


def glance(bench: Bench, key: int, *, sampled: bool) -> bool:
    """Judge all elements along random directions if these show a gross error; else leave them to a look at each.

    Claims for more than a few elements are then off by one factor, or by a large share of what they predict.

    Parameters
    ----------
    bench : Bench
        Claims and functions; the judgements are filled in.
    key : int
        The seed of the directions.
    sampled : bool
        Whether a sample is enough of what nothing explains. What may explain it otherwise, such as a transformed upstream,
        needs all the measured derivatives.

    Returns
    -------
    done : bool
        Whether all elements were judged, and some are wrong. If not, the bench is of no further use.

    Notes
    -----
    A right gradient costs 18 calls beside those of the noise, a gross error of it about as much as `search` takes.
    """
    run = _search(bench, key)
    slopes = first_look(run.directions, run.individual)
    if not (slopes.significance > DISAGREES).any() or not run.is_gross(slopes):
        return False
    run.locate_all(run.directions.look() if run.throughout else slopes)
    if not bench.has_wrong or not (sampled or run.is_explained):
        return False
    run.conclude()
    return True


def _search(bench: Bench, key: int) -> _Search:
    measure_noise(bench)
    bench.steps = dict.fromkeys(bench.claims, DEFAULT_STEP)
    return _Search(bench, Directions(bench, key))


class _Search:
    """What is known of the elements that no direction has cleared yet."""

    def __init__(self, bench: Bench, directions: Directions) -> None:
        self.bench = bench
        self.directions = directions
        self.individual = Individual(bench, directions)
        self.throughout: set[int] = set()
        """Leaves that are wrong as a whole: explained, or sampled."""
        self._explained: set[int] = set()
        """Leaves of which a factor, of all or of sections, explains what is wrong."""
        self.contradicted = False
        """Whether directions of all elements contradict the claims beyond doubt, and no element does, or what was explained spoils it."""
        self._tried: set[int] = set()
        self._wrong_in: set[int] = set()
        """Leaves of which slices are wrong that nothing explains."""
        self.shown = Shown(bench, directions)

    @property
    def is_explained(self) -> bool:
        """Whether factors explain every leaf that was found to be wrong."""
        return bool(self._explained) and self.throughout <= self._explained

    # ---- what is wrong --------------------------------------------------------------------------------------------------

    def look_at_largest(self) -> None:
        """Measure the largest leaf alone, where the round-off of the claims for others hides more of it than its own."""
        leaf = max(self.directions.leaves, key=lambda leaf: len(self.bench.claims[leaf].values))
        if leaf not in self.throughout and not self.contradicted and self.directions.is_hidden_by_others(leaf):
            self.locate_all(self.directions.look([leaf]))

    def locate_all(self, slopes: Slopes) -> None:
        """Search until fresh directions agree with what is believed of all elements that move along the first ones."""
        leaves = slopes.parts[0].leaves
        fruitless = 0
        for number in range(MOST_ROUNDS):
            if number:
                slopes = self.directions.look(leaves)
            allowed = np.zeros_like(slopes.residual)
            if number and not self.bench.has_wrong:  # all may be a little off, by what is allowed to each
                allowed = ALLOWANCE * self.directions.allowed(slopes.parts)
            if not (np.abs(slopes.residual) > DISAGREES * slopes.deviation + allowed).any():
                self.shown.record(slopes, allowed)
                break
            # What disagrees still is what the fault spoils; none of it is searched.
            is_spoilt = bool(number and self._explained)
            if fruitless == MOST_FRUITLESS or is_spoilt:
                self.contradicted = is_spoilt or bool(slopes.significance.max() >= CERTAIN)
                self.shown.forget(leaves)
                break
            fruitless += not self.find(slopes)
        look_for_kinks(self.bench)

    def is_gross(self, slopes: Slopes) -> bool:
        """Tell whether claims for many elements are off by a factor, which is believed then, or by much of what they predict."""
        leaves = self.directions.leaves
        if self._explain_together(leaves, slopes):
            return True
        groups, left = self._contradicted(slopes)
        leaves = list(dict.fromkeys(leaf for group in groups + left for leaf in group.part.leaves))
        count = sum(len(self.bench.claims[leaf].values) for leaf in leaves)
        if count <= max(SMALL, DOZEN * len(leaves)):  # of so few a sample would be all
            return False
        if not left and self._explain_together(leaves, slopes):
            return True
        predicted = np.linalg.norm(slopes.predicted_of(leaves), axis=0)
        return bool((np.linalg.norm(slopes.residual, axis=0) > GROSS * predicted).any())

    def find(self, slopes: Slopes) -> bool:
        """Find what is wrong along some directions; tell whether there was anything new."""
        groups, left = self._contradicted(slopes)
        before = self.individual.count, len(self._explained | self.throughout)
        if self._explained:
            self._leave_all(groups + left)
            return False
        self._leave_all([group for group in groups + left if self._is_spoilt(group)])
        groups, left = ([group for group in part if not self._is_spoilt(group)] for part in (groups, left))
        leaves = dict.fromkeys(leaf for group in groups + left for leaf in group.part.leaves)
        fresh = [leaf for leaf in leaves if leaf not in self._tried | self.throughout]
        if fresh and not self._explain_together(fresh, slopes):
            groups = self._explain_each(groups, left)
        rest = [group for group in groups if not self.throughout.issuperset(group.part.leaves)]
        if self._explained:
            self._leave_all(rest)
            rest = [group for group in rest if self._explained.issuperset(group.part.leaves)]
        if rest:
            self._locate(rest, DOZEN if self._explained else MOST_CONTRADICTED)
        return before != (self.individual.count, len(self._explained | self.throughout))

    def _contradicted(self, slopes: Slopes) -> tuple[list[Group], list[Group]]:
        """Return the leaves that disagree along the direction that disagrees most, and groups that were not told apart."""
        worst = groups_of(slopes)[int(slopes.significance.argmax())]
        return contradicted_leaves(self.directions, worst, MOST_LEAVES, LAST_LEAVES)

    # ---- leaves that are wrong throughout -------------------------------------------------------------------------------

    def _explain_together(self, leaves: list[int], slopes: Slopes) -> bool:
        """Explain the claims of several leaves by one factor; return whether that was verified."""
        predicted = slopes.predicted_of(leaves)
        multiple = multiple_of(predicted, predicted - slopes.residual, self._deviation(slopes), predicted)
        if multiple is None:
            return False
        claims = {leaf: self.directions.believed[leaf] for leaf in leaves}
        return self._is_verified(claims, multiple.factor, multiple.uncertainty)

    def _explain_each(self, groups: list[Group], left: list[Group]) -> list[Group]:
        """Explain leaf by leaf, the last one first; return what is to be searched for single elements.

        What cannot be explained, and is not in a few places either, is sampled. Then leaves that were not reached, or are too
        large to be looked at beside that, stay undecided: a fault spoils the gradients of what comes before it.
        """
        search: list[Group] = []
        scattered: list[Group] = []
        waiting = list(groups)
        while waiting and len(scattered) < MOST_SCATTERED:
            group = waiting.pop()
            (leaf,) = group.part.leaves
            is_known = leaf in self._tried | self.throughout
            few = self.individual.count + sum(each.part.size for each in [*search, group]) <= SMALL
            edges = [group] if is_known or few else None if self._explained else self._explain_sections(group)
            if edges is None and not self._explain(leaf):
                scattered.append(group)
            self._tried.add(leaf)
            if edges and not few and not scattered and self._is_wrong_in(leaf, edges):
                self._leave_all(waiting + left)
                return search
            search += edges or []
        leaves = [group.part.leaves[0] for group in scattered]
        self._sample([] if self._explained else leaves)
        if self.throughout.intersection(leaves):
            spoilt = [group for group in scattered + search if self._is_spoilt(group)]
            self._leave_all([group for group in spoilt if group.part.size > DOZEN] + waiting + left)
            waiting, scattered = [], [group for group in scattered if group not in spoilt]
            search = [group for group in search if group not in spoilt or group.part.size <= DOZEN]
        return search + scattered + waiting

    def _is_wrong_in(self, leaf: int, edges: list[Group]) -> bool:
        """Tell whether slices of a leaf that no factor explains, as where a gradient is dropped, are wrong: a sample of them is."""
        indices = elements_of(group.part for group in edges)[leaf]
        if len(indices) <= SMALL or not self.individual.is_dense(leaf, indices):
            return False
        self._wrong_in.add(leaf)
        self.individual.leave(leaf, indices)
        return True

    def _is_spoilt(self, group: Group) -> bool:
        """Tell whether all leaves of a group come before one that is wrong throughout."""
        return max(group.part.leaves) < self._last_wrong and self.throughout.isdisjoint(group.part.leaves)

    @property
    def _last_wrong(self) -> int:
        """The last leaf that is wrong throughout, or in whole slices: a backward pass meets it first, and spoils those before it."""
        return max(self.throughout | self._wrong_in, default=-1)

    def _leave_all(self, groups: list[Group]) -> None:
        """Leave undecided what is not explained of the leaves of some groups: a fault spoils the gradients of what comes before it."""
        for leaf in {leaf for group in groups for leaf in group.part.leaves} - self._explained:
            self.individual.leave(leaf)

    def _explain_sections(self, group: Group) -> list[Group] | None:
        """Explain the claim of a leaf by factors of sections of it.

        Returns the elements that are neither right nor explained, in groups; None where they are scattered, or no explanation
        was verified.
        """
        (leaf,) = group.part.leaves
        values = self.bench.claims[leaf].values
        if self.directions.believed[leaf] is not values:
            return [group]
        found = sections(self.directions, leaf)
        if found is None:
            return None
        unknown = np.isnan(found.factors)
        if unknown.all():
            return None
        factors = np.where(unknown, 1.0, found.factors)
        if (factors == 1).all():
            return found.edges or [group]
        edges = np.flatnonzero(unknown)
        self.directions.hold(leaf, edges)
        is_verified = self._is_verified({leaf: values}, factors, found.uncertainty)
        self.directions.release(leaf, edges)
        return found.edges if is_verified else None

    def _explain(self, leaf: int) -> bool:
        """Explain the claim of a leaf by a multiple of it, perhaps rearranged; return whether that was verified."""
        slopes = self.directions.look([leaf], longer=True)
        deviation = self._deviation(slopes)
        believed = self.directions.believed[leaf]
        claimed = slopes.predicted_of()
        measured = claimed - slopes.residual
        for values in rearranged(believed, self.bench.leaves[leaf].value.shape):
            multiple = multiple_of(self.directions.predict(slopes.parts, leaf, values), measured, deviation, claimed)
            if multiple is not None and self._is_verified({leaf: values}, multiple.factor, multiple.uncertainty):
                return True
        return False

    def _deviation(self, slopes: Slopes) -> Floats:
        """Return the standard deviation of measured changes where claims may be off by what ``rtol`` allows."""
        return np.hypot(slopes.deviation, self.directions.allowed(slopes.parts))

    def _is_verified(self, claims: dict[int, Floats], factors: Floats | float, uncertainty: float) -> bool:
        """Believe factors times claims if two fresh directions agree, and call those elements wrong that differ from it.

        Not where it concerns a few elements: a kink that does not show along directions may make their claims valid.
        """
        if sum(np.count_nonzero(values.any(axis=1)) for values in claims.values()) <= DOZEN:
            return False
        before = {leaf: self.directions.believed[leaf] for leaf in claims}
        for leaf, values in claims.items():
            self.directions.believe(leaf, factors * values)
        slopes = self.directions.look(claims, count=VERIFYING, longer=True)
        predicted = np.abs(slopes.predicted_of())
        unknown = uncertainty * predicted / max(float(np.abs(factors).min()), uncertainty)
        allowed = DISAGREES * self._deviation(slopes) + unknown
        agree = (np.abs(slopes.residual) <= allowed).all() and np.isfinite(slopes.deviation).all()
        if not agree or slopes.are_unresolved(self.bench.noise):
            for leaf, values in before.items():
                self.directions.believe(leaf, values)
            return False
        for leaf, values in claims.items():
            self._call_wrong(leaf, values, np.broadcast_to(factors, (len(values), 1)), uncertainty)
        return True

    def _call_wrong(self, leaf: int, values: Floats, factors: Floats, uncertainty: float) -> None:
        """Record multiples of some values, other than once, as derivatives of a leaf, and what differs from them as wrong."""
        self._explained.add(leaf)
        rearranged = values is not self.bench.claims[leaf].values
        wrong = (factors[:, 0] != 1) | rearranged
        if wrong.all():
            self.throughout.add(leaf)
        new = np.flatnonzero(wrong & ~self.individual.looked_at[leaf])
        reference = self.directions.believed[leaf]
        bound = uncertainty * np.abs(values) + self.bench.rtol * np.abs(reference)
        self.bench.ledgers[leaf].add(Estimate.multiple(new, reference[new], bound[new]))

    def _sample(self, leaves: list[int]) -> None:
        """Look at a dozen elements of some leaves; those in which some contradict their claims are wrong throughout."""
        if not leaves:
            return
        share = max(LEAST, DOZEN // len(leaves))
        chosen = {leaf: self.individual.typical(leaf, share) for leaf in leaves[: DOZEN // LEAST]}
        self.individual.look_at(chosen)
        for leaf, indices in chosen.items():
            found = self.bench.decide(leaf, indices)
            seen = np.maximum(np.abs(self.bench.claims[leaf].values[indices]), np.abs(found.reference))
            shows = (seen > found.noise).any(axis=1)
            if self.individual.contradicted(leaf, indices)[shows].any():  # of a few no sample has any
                self.throughout.add(leaf)
                self.individual.leave(leaf)

    # ---- elements that are wrong in leaves that are not ----------------------------------------------------------------

    def _locate(self, groups: list[Group], most: int) -> None:
        """Locate wrong elements in some groups and look at them; where more than ``most`` groups disagree, at a sample."""
        found, left = locate(self.directions, groups, most)
        if left and not self.bench.has_wrong and self._is_allowed(groups):
            return
        for leaf, indices in sorted(elements_of(group.part for group in left).items(), reverse=True):
            if leaf in self._explained:
                self.individual.leave(leaf, indices)
            else:
                found += self._sample_groups(leaf, indices, left)
        self.individual.look_at(elements_of(group.part for group in found))

    def _is_allowed(self, groups: list[Group]) -> bool:
        """Tell whether groups disagree by no more than ``rtol`` allows to all their elements together."""
        allowed = ALLOWANCE * self.directions.allowed([group.part for group in groups])
        slack = [DISAGREES * np.sqrt(group.variance) + each for group, each in zip(groups, allowed, strict=True)]
        return all((np.abs(group.residual) <= each).all() for group, each in zip(groups, slack, strict=True))

    def _sample_groups(self, leaf: int, indices: Indices, left: list[Group]) -> list[Group]:
        """Look at a sample of many groups of a leaf that disagree; if few are wrong, return the elements that disagree most, in groups.

        Once something is wrong no more than the sample is looked at. The others stay undecided: the check fails anyway.
        """
        found: list[Group] = []
        has_wrong = self.bench.has_wrong
        if not self.individual.is_dense(leaf, indices) and not has_wrong:
            inside = [group for group in left if leaf in group.part.leaves]
            for group in sorted(inside, key=lambda group: -group.significance)[:NARROWED]:
                found += strongest(self.directions, group, FOLLOWED)
        near = elements_of(group.part for group in found).get(leaf, indices[:0])
        self.individual.leave(leaf, without(indices, near, len(self.bench.claims[leaf].values)))
        return found

    # ---- what could hide ------------------------------------------------------------------------------------------------

    def conclude(self) -> None:
        """Clear the elements that were not looked at in leaves of which directions show enough; else look closer."""
        self._clear_seen()
        if not self.contradicted:
            self._look_closer()
            look_for_kinks(self.bench)
            self._clear_seen()
        for leaf in self._unseen():
            hides = Limit.ASSUMED if self.bench.claims[leaf].assumed else Limit.NOISE
            self._settle(leaf, Limit.GROUP if self.contradicted or leaf < self._last_wrong else hides)
        self._look_at_stationary()
        look_for_zeros_on_stairs(self.bench)

    def _look_at_stationary(self) -> None:
        """Look at a few elements where all claims are zero: zero is seen beside how the functions bend, as at a minimum."""
        leaves = self.directions.leaves
        if not self.bench.has_wrong and not any(self.bench.claims[leaf].values.any() for leaf in leaves):
            self.individual.look_at({leaf: self.individual.typical(leaf, LEAST) for leaf in leaves[: DOZEN // LEAST]})

    def _unseen(self) -> list[int]:
        """Return the leaves of which directions do not show enough."""
        return [leaf for leaf in self.directions.leaves if leaf not in self.throughout and not self.shown.sees(leaf)]

    def _clear_seen(self) -> None:
        """Clear the elements that were not looked at in leaves of which directions show enough."""
        for leaf in self.directions.leaves:
            if self.shown.sees(leaf):
                self._settle(leaf, Limit.NONE)

    def _settle(self, leaf: int, limit: int) -> None:
        """Enter what limits the elements of a leaf that were not looked at."""
        self.bench.together[leaf] = limit
        self.bench.ledgers[leaf].version += 1

    def _look_closer(self) -> None:
        """Measure leaves of which too little shows with longer steps: all of them, then each, then their few elements.

        Not those that come before one that is wrong throughout.
        """
        step, until = self.directions.step, self.bench.probe.budget.used + MOST_CLOSER
        self._lengthen(self._obscure(), until)
        for leaf in self._obscure():
            self.directions.step = step
            self._lengthen([leaf], until)
        self.directions.step = step
        small = 0
        for leaf in sorted(self._obscure(), key=lambda leaf: len(self.bench.claims[leaf].values)):
            small += len(self.bench.claims[leaf].values)
            if small <= SMALL:
                self.individual.look_at({leaf: np.flatnonzero(~self.individual.looked_at[leaf])})

    def _obscure(self) -> list[int]:
        return [leaf for leaf in self._unseen() if leaf > self._last_wrong]

    def _lengthen(self, leaves: list[int], until: int) -> None:
        """Measure some leaves with longer and longer steps, while directions agree and show more."""
        tries = 0
        while leaves and self.directions.step < FIRST_STEP and self.bench.probe.budget.used < until:
            step = self.directions.step
            self.directions.step = min(step * LONGER, FIRST_STEP)
            slopes = self.directions.look(leaves)
            worst = float(slopes.significance.max())
            if worst >= CERTAIN and not tries:  # what is wrong is small beside the noise along shorter steps
                tries += 1
                self.find(slopes)
                self.directions.step = step
            elif worst > DISAGREES or not self.shown.record(slopes):
                return
            leaves = [leaf for leaf in leaves if leaf in self._unseen()]
