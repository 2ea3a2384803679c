"""The rule of acceptance along random directions: elements are cleared together, and wrong ones located.

Claim and derivative are compared along four random directions of all elements. If they disagree the leaves responsible
are found by halving. For each of them an explanation is tried first: a factor of the whole claim, perhaps rearranged, or of
sections of it. Otherwise its wrong elements are located by halving and measured one by one, or if there are too many a
sample of them. The search ends when four fresh directions agree with the derivatives known by then.
"""

from __future__ import annotations

import itertools

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.detection import Detection
from gradcheck.acceptance.directions import DIRECTIONS, PLACES, Directions, Slopes
from gradcheck.acceptance.first_look import first_look
from gradcheck.acceptance.individual import Individual
from gradcheck.acceptance.irregular import look_for_kinks, look_for_zeros_on_stairs
from gradcheck.acceptance.ledger import Estimate, Limit
from gradcheck.acceptance.locate import Group, contradicted_leaves, groups_of, locate, strongest
from gradcheck.acceptance.other_claims import GROSS, negligible_columns
from gradcheck.acceptance.parts import elements_of
from gradcheck.acceptance.refinement import MOST_OVERHEAD
from gradcheck.acceptance.screening import measure_noise
from gradcheck.acceptance.sections import sections
from gradcheck.acceptance.together import equal_elements_may_tie
from gradcheck.acceptance.whole_claim import multiple_of, rearranged
from gradcheck.aliases import Floats
from gradcheck.differences.counts import DOZEN, FEW, SMALL
from gradcheck.differences.lengths import FIRST_STEP, RATIO
from gradcheck.differences.noise import DISAGREES, PLAINLY
from gradcheck.differences.steps import DEFAULT_STEP

__all__ = ["judge_along_directions", "judge_if_gross"]


def judge_along_directions(bench: Bench, key: int) -> bool:
    """Judge all elements of a bench along random directions.

    Parameters
    ----------
    bench : Bench
        Claims and functions; evidence is added to it.
    key : int
        The seed of the directions.

    Returns
    -------
    is_settled : bool
        Whether something is wrong, or nothing is undecided.

    Notes
    -----
    A right gradient costs about 26 calls, 16 more when the round-off of other claims hides most of the largest leaf, and up
    to 96 more when the gradient of some leaf is small beside the noise. A wrong element costs two calls a halving and about 25 to
    confirm; a leaf that is wrong throughout costs a dozen such elements, or nothing if a multiple of the claim explains it.
    """
    run = _begin(bench, key)
    run.locate_all(first_look(run.directions, run.individual))
    run.measure_largest_alone()
    run.conclude()
    found = bench.judgements.values()
    is_open = run.detection.is_blurred or any(each.undecided.any() for each in found)
    return any(each.wrong.any() for each in found) or not is_open


def judge_if_gross(bench: Bench, key: int, *, sampled: bool) -> bool:
    """Judge all elements along random directions if these show a gross error; otherwise each is to be measured.

    An error is gross if claims for more than a few elements are off by one factor, or by a large share of what they predict.

    Parameters
    ----------
    bench : Bench
        Claims and functions; evidence is added to it.
    key : int
        The seed of the directions.
    sampled : bool
        Whether a sample of a leaf is enough if no factor explains its error. Some diagnoses need all derivatives.

    Returns
    -------
    done : bool
        Whether all elements were judged, and some are wrong. If not, the bench is of no further use.

    Notes
    -----
    A right gradient costs 18 calls beside those for the noise, a gross error about as many as `judge_along_directions`.
    """
    run = _begin(bench, key)
    slopes = first_look(run.directions, run.individual)
    if not (slopes.significance > DISAGREES).any() or not run.is_gross(slopes):
        return False
    run.locate_all(run.directions.measure_fresh() if run.wrong_leaves else slopes)
    if not bench.any_contradicted or not (sampled or run.is_explained):
        return False
    run.conclude()
    return True


def _begin(bench: Bench, key: int) -> _Search:
    """Return a search, with the noise measured and the usual steps."""
    measure_noise(bench)
    bench.steps = dict.fromkeys(bench.claims, DEFAULT_STEP)
    return _Search(bench, Directions(bench, key))


class _Search:
    """The search for wrong elements of one bench."""

    def __init__(self, bench: Bench, directions: Directions) -> None:
        self.bench = bench
        self.directions = directions
        self.individual = Individual(bench, directions)
        self.detection = Detection(bench, directions)
        self.wrong_leaves: dict[int, bool] = {}
        """Leaves that are wrong in more than a few elements -> whether factors, of all of it or of sections, explain it."""
        self.unexplained = False
        """Whether directions contradict the claims beyond doubt and the search found no element that explains it."""
        self._tried: set[int] = set()
        """Leaves for which an explanation was tried."""

    @property
    def is_explained(self) -> bool:
        """Whether factors explain every leaf that is wrong in more than a few elements."""
        return bool(self.wrong_leaves) and all(self.wrong_leaves.values())

    # ---- what is wrong --------------------------------------------------------------------------------------------------

    def measure_largest_alone(self) -> None:
        """Measure along directions of the largest leaf alone, if the round-off of the claims for others hides much of it."""
        leaf = max(self.directions.leaves, key=lambda leaf: len(self.bench.claims[leaf].values))
        if leaf not in self.wrong_leaves and not self.unexplained and self.directions.is_hidden_by_others(leaf):
            self.locate_all(self.directions.measure_fresh([leaf]))

    def locate_all(self, slopes: Slopes) -> None:
        """Search until fresh directions agree with the derivatives known by then, or nothing new is found."""
        leaves, is_fruitful = slopes.parts[0].leaves, True
        for number in itertools.count():
            if number:
                slopes = self.directions.measure_fresh(leaves)
            allowed = np.zeros_like(slopes.residual)
            if number and not self.bench.any_contradicted:  # allowed errors of all claims may add up
                allowed = DISAGREES * self.directions.allowed(slopes.parts)
            if not (np.abs(slopes.residual) > DISAGREES * slopes.deviation + allowed).any():
                self.detection.record(slopes, allowed)
                break
            # A backward that is wrong in one leaf spoils the gradients of others: those are not searched.
            is_spoilt = bool(number and any(self.wrong_leaves.values()))
            if is_spoilt or not is_fruitful:
                self.unexplained = is_spoilt or bool(slopes.significance.max() >= PLAINLY)
                break
            is_fruitful = self.find_wrong(slopes)
        look_for_kinks(self.bench)

    def is_gross(self, slopes: Slopes) -> bool:
        """Tell whether claims for many elements are off by a factor, which is entered then, or by much of what they predict."""
        if self._explain_together(self.directions.leaves, slopes):
            return True
        groups, left = self._contradicted(slopes)
        leaves = list(dict.fromkeys(leaf for group in groups + left for leaf in group.part.leaves))
        count = sum(len(self.bench.claims[leaf].values) for leaf in leaves)
        if count <= max(SMALL, DOZEN * len(leaves)):  # a sample would be nearly all of so few
            return False
        if not left and self._explain_together(leaves, slopes):
            return True
        predicted = np.linalg.norm(slopes.predicted_of(leaves), axis=0)
        return bool((np.linalg.norm(slopes.residual, axis=0) > GROSS * predicted).any())

    def find_wrong(self, slopes: Slopes) -> bool:
        """Find what is wrong along some directions; tell whether there was anything new.

        The last leaves come first. Once one is wrong in more than a few elements those before it stay undecided: a backward pass
        reaches it first, and an error there spoils the gradients of the leaves before it.
        """
        groups, left = self._contradicted(slopes)
        before = self.individual.count, len(self.wrong_leaves)
        fresh = {leaf for group in groups + left for leaf in group.part.leaves} - self._tried
        if not self.wrong_leaves and not self._explain_together(sorted(fresh), slopes):
            found: list[Group] = []
            while groups and not self.wrong_leaves:
                found += self._examine(groups.pop(), self.individual.count + sum(group.part.size for group in found))
            chosen = elements_of(group.part for group in found)
            self.individual.judge(chosen)
            if not self.bench.any_contradicted:  # they may tie with others, and change nothing alone
                self.individual.judge(self.individual.equals(chosen))
        if self.wrong_leaves:
            for leaf in {leaf for group in groups + left for leaf in group.part.leaves} - set(self.wrong_leaves):
                self.individual.leave_undecided(leaf)
        return before != (self.individual.count, len(self.wrong_leaves))

    def _contradicted(self, slopes: Slopes) -> tuple[list[Group], list[Group]]:
        """Return the leaves that disagree along the worst direction, and groups of leaves that were not separated."""
        worst = groups_of(slopes)[int(np.argmax(slopes.significance))]
        return contradicted_leaves(self.directions, worst, FEW)

    def _examine(self, group: Group, count: int) -> list[Group]:
        """Explain the error of a leaf, or return groups of elements to measure; of too many a sample is measured at once."""
        (leaf,) = group.part.leaves
        edges, most = [group], SMALL // FEW
        if leaf not in self._tried and count + group.part.size > SMALL:
            self._tried.add(leaf)
            explained = self._explain_sections(group)
            if explained is None and self._explain_by_multiple(leaf):
                return []
            if explained is not None:
                edges = explained
                most = most if sum(group.part.size for group in edges) <= SMALL else DOZEN
        found, left = locate(self.directions, edges, most)
        if not edges or (left and not self.bench.any_contradicted and self._is_allowed(edges)):
            return []
        return found or self._sample(leaf, left or edges)

    def _sample(self, leaf: int, groups: list[Group]) -> list[Group]:
        """Measure a sample of groups of a leaf that disagree; if it shows nothing return the groups that disagree most."""
        indices = elements_of(group.part for group in groups)[leaf]
        if leaf not in self.wrong_leaves and self.individual.sample_contradicts(leaf, indices):
            self.wrong_leaves[leaf] = False
        found = [] if leaf in self.wrong_leaves else strongest(self.directions, groups, DOZEN)
        near = elements_of(group.part for group in found).get(leaf, indices[:0])
        self.individual.leave_undecided(leaf, np.setdiff1d(indices, near))
        return found

    def _is_allowed(self, groups: list[Group]) -> bool:
        """Tell whether groups disagree by no more than ``rtol`` allows to all their elements together."""
        allowed = DISAGREES * self.directions.allowed([group.part for group in groups])
        slack = [DISAGREES * np.sqrt(group.variance) + each for group, each in zip(groups, allowed, strict=True)]
        return all(np.all(np.abs(group.residual) <= each) for group, each in zip(groups, slack, strict=True))

    # ---- factors ----------------------------------------------------------------------------------------------------------

    def _explain_together(self, leaves: list[int], slopes: Slopes) -> bool:
        """Explain the claims of several leaves by one factor; return whether that was verified."""
        predicted = slopes.predicted_of(leaves)
        multiple = multiple_of(predicted, predicted - slopes.residual, self._deviation(slopes), predicted)
        if multiple is None:
            return False
        claims = {leaf: self.directions.derivatives[leaf] for leaf in leaves}
        if len(leaves) > 1 and any(
            self._is_right_alone(leaf, multiple.factor) for leaf in self._largest_of(leaves, slopes)
        ):
            return False
        return self._verify(claims, multiple.factor, multiple.uncertainty)

    @staticmethod
    def _largest_of(leaves: list[int], slopes: Slopes) -> list[int]:
        """Return the dozen leaves that predict the largest changes; none if there are more and none predicts half of all."""
        sizes = {leaf: float(np.linalg.norm(slopes.predicted_of([leaf]))) for leaf in leaves}
        largest = sorted(sizes, key=lambda leaf: -sizes[leaf])[:DOZEN]
        are_many_small = len(leaves) > DOZEN and 2 * sizes[largest[0]] < sum(sizes.values())
        return [] if are_many_small else largest

    def _is_right_alone(self, leaf: int, factor: float) -> bool:
        """Tell whether a leaf that moves alone agrees with its claim, though the factor would show: only larger leaves are off."""
        slopes = self.directions.measure_fresh([leaf], count=DIRECTIONS // 2, longer=True)
        allowed = DISAGREES * self._deviation(slopes)
        shows = np.abs((1 - factor) * slopes.predicted_of()) > 2 * allowed
        return bool((shows & (np.abs(slopes.residual) <= allowed)).any())

    def _explain_sections(self, group: Group) -> list[Group] | None:
        """Explain the claim of a leaf by factors of sections of it.

        Returns groups of elements that are neither right nor explained; None if they are scattered, or if no explanation was
        verified.
        """
        (leaf,) = group.part.leaves
        values = self.bench.claims[leaf].values
        if self.directions.derivatives[leaf] is not values:
            return [group]
        found = sections(self.directions, leaf)
        if found is None:
            return None
        unknown = np.isnan(found.factors)
        factors = np.where(unknown, 1.0, found.factors)
        if (factors == 1).all():
            return found.edges or [group]
        edges = np.flatnonzero(unknown)
        self.directions.hold(leaf, edges)
        is_verified = self._verify({leaf: values}, factors, found.uncertainty)
        self.directions.release(leaf, edges)
        return found.edges if is_verified else None

    def _explain_by_multiple(self, leaf: int) -> bool:
        """Explain the claim of a leaf by a multiple of it, perhaps rearranged; return whether that was verified."""
        slopes = self.directions.measure_fresh([leaf], longer=True)
        deviation = self._deviation(slopes)
        derivatives = self.directions.derivatives[leaf]
        claimed = slopes.predicted_of()
        measured = claimed - slopes.residual
        for values in rearranged(derivatives, self.bench.leaves[leaf].value.shape):
            multiple = multiple_of(self.directions.predict(slopes.parts, leaf, values), measured, deviation, claimed)
            if multiple is not None and self._verify({leaf: values}, multiple.factor, multiple.uncertainty):
                return True
        return False

    def _deviation(self, slopes: Slopes) -> Floats:
        """Return the standard deviation of residuals, with errors that ``rtol`` allows, shape (P, K)."""
        return np.hypot(slopes.deviation, self.directions.allowed(slopes.parts))

    def _verify(self, claims: dict[int, Floats], factors: Floats | float, uncertainty: float) -> bool:
        """Enter factors times claims as derivatives if two fresh directions agree; return whether they do.

        Not for a few elements, nor for equal ones that may share a kink: along directions it need not show, and claims may be valid there.
        """
        if sum(np.count_nonzero(values.any(axis=1)) for values in claims.values()) <= DOZEN:
            return False
        before = {leaf: self.directions.derivatives[leaf] for leaf in claims}
        self.directions.derivatives |= {leaf: factors * values for leaf, values in claims.items()}
        slopes = self.directions.measure_fresh(claims, count=DIRECTIONS // 2, longer=True)
        predicted = np.abs(slopes.predicted_of())
        unknown = uncertainty * predicted / max(float(np.abs(factors).min()), uncertainty)
        allowed = DISAGREES * self._deviation(slopes) + unknown
        agree = (np.abs(slopes.residual) <= allowed).all() and np.isfinite(slopes.deviation).all()
        agree &= not slopes.are_unresolved(self.bench.noise)
        if not agree or equal_elements_may_tie(self.bench, before, self.directions.derivatives, self.directions.step):
            self.directions.derivatives |= before
            return False
        for leaf, values in claims.items():
            self._record_multiple(leaf, values, np.broadcast_to(factors, (len(values), 1)), uncertainty)
        return True

    def _record_multiple(self, leaf: int, values: Floats, factors: Floats, uncertainty: float) -> None:
        """Enter the multiples of some values that differ from the claim as derivatives of a leaf: its claim is wrong there."""
        self.wrong_leaves[leaf] = True
        rearranged = values is not self.bench.claims[leaf].values
        new = np.flatnonzero(((factors[:, 0] != 1) | rearranged) & ~self.individual.measured[leaf])
        reference = self.directions.derivatives[leaf]
        bound = uncertainty * np.abs(values) + self.bench.rtol * np.abs(reference)
        self.bench.ledgers[leaf].add(Estimate.multiple(new, reference[new], bound[new]))

    # ---- what could hide ------------------------------------------------------------------------------------------------

    def conclude(self) -> None:
        """Clear the elements that were not measured in leaves of which directions show enough; else take longer steps."""
        self._clear_seen()
        if not self.unexplained:
            self._take_longer_steps()
            look_for_kinks(self.bench)
            self._clear_seen()
        self._measure_stationary()
        for leaf in self._unseen():
            if not self.bench.claims[leaf].values.any() and negligible_columns(self.bench, leaf).all():
                self._set_limit(leaf, Limit.NONE)
                continue
            hides = Limit.ASSUMED if self.bench.claims[leaf].assumed else Limit.NOISE
            self._set_limit(
                leaf, Limit.GROUP if self.unexplained or leaf < max(self.wrong_leaves, default=-1) else hides
            )
        look_for_zeros_on_stairs(self.bench)

    def _measure_stationary(self) -> None:
        """Measure a few elements if all claims are zero: their curvature tells how small a gradient counts as zero."""
        leaves = self.directions.leaves
        if not self.bench.any_contradicted and not any(np.any(self.bench.claims[leaf].values) for leaf in leaves):
            some = {leaf: np.arange(len(self.bench.claims[leaf].values)) for leaf in leaves[: DOZEN // FEW]}
            self.individual.judge({leaf: self.individual.sample(leaf, each, FEW) for leaf, each in some.items()})

    def _unseen(self) -> list[int]:
        """Return the leaves of which directions do not show enough."""
        return [
            leaf
            for leaf in self.directions.leaves
            if leaf not in self.wrong_leaves and not self.detection.shows_enough(leaf)
        ]

    def _clear_seen(self) -> None:
        """Clear the elements that were not measured in leaves of which directions show enough."""
        for leaf in self.directions.leaves:
            if self.detection.shows_enough(leaf):
                self._set_limit(leaf, Limit.NONE)

    def _set_limit(self, leaf: int, limit: int) -> None:
        """Enter why the elements of a leaf that were not measured are undecided, or that they are not."""
        self.bench.limit_along[leaf] = limit
        self.bench.ledgers[leaf].version += 1

    def _take_longer_steps(self) -> None:
        """Measure leaves of which too little shows with longer and longer steps while directions agree; small ones then one by one.

        Leaves before one that is wrong throughout are left out.
        """
        step, until = self.directions.step, self.bench.probe.budget.used + MOST_OVERHEAD - len(PLACES) * DIRECTIONS
        leaves, is_searched = self._unseen_after_wrong(), False
        while leaves and self.directions.step < FIRST_STEP and self.bench.probe.budget.used <= until:
            before, self.directions.step = self.directions.step, min(self.directions.step * RATIO, FIRST_STEP)
            slopes = self.directions.measure_fresh(leaves)
            if slopes.significance.max() <= DISAGREES:
                self.detection.record(slopes)
            elif slopes.significance.max() < PLAINLY or is_searched:
                break
            else:  # the error is small beside the noise of shorter steps
                is_searched = True
                self.find_wrong(slopes)
                self.directions.step = before
            leaves = [leaf for leaf in leaves if leaf in self._unseen()]
        self.directions.step = step
        small = 0
        for leaf in sorted(self._unseen_after_wrong(), key=lambda leaf: len(self.bench.claims[leaf].values)):
            small += len(self.bench.claims[leaf].values)
            if small <= SMALL:
                self.individual.judge({leaf: np.flatnonzero(~self.individual.measured[leaf])})

    def _unseen_after_wrong(self) -> list[int]:
        """Return those of them that come after the last wrong leaf."""
        return [leaf for leaf in self._unseen() if leaf > max(self.wrong_leaves, default=-1)]
