"""A crowd: more groups of elements disagree with their claims than a few wrong elements make.

It is most of a leaf, a slice of it, or scattered elements. The first two are sampled, the last are followed as far as
that is worth its calls, and what was not looked at stays undecided: the check fails anyway.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.bench import Doubt
from gradcheck.acceptance.directions import Directions
from gradcheck.acceptance.group_testing import DISAGREES, Group, groups_of, locate
from gradcheck.acceptance.one_by_one import ALLOWANCE, Singly

__all__ = ["CROWD", "Crowds"]

Indices = NDArray[np.intp]

CROWD, PAIR = 100, 8
"""More groups than this disagree: not a few elements are wrong. The same for the search within one such group."""

DENSE = 0.2
"""Where so many of the elements looked at in a crowd contradict their claims, the others are taken to do so too."""

SAMPLE, LEAST_SAMPLE = 160, 16
"""Elements of a crowd that are looked at one by one, and the least number in each leaf."""

MOST_ACCUSED = 12
"""Elements of a crowd, in each leaf, that go through the ladder."""

SMALLER = 4.0
"""By so much a crowd must shrink with another axis first to be a slice."""

NARROWED = 4
"""Groups of a crowd, the most significant ones, that are searched on when the crowd is not dense."""


class Crowds:
    """Parts crowds.

    Parameters
    ----------
    singly : Singly
        Judges elements one by one.
    """

    def __init__(self, singly: Singly) -> None:
        self.singly = singly
        self.bench = singly.bench
        self.directions: Directions = singly.directions

    def part(self, whole: Group, left: list[Group]) -> list[Group]:
        """Find out what so many groups that disagree are: most of a leaf, a slice of it, or scattered elements.

        Returns those groups in which a search went on to few elements. Others of the crowd stay undecided.
        """
        found: list[Group] = []
        dense = self._look_at_sample(left)
        slack = DISAGREES * np.sqrt(whole.variance) + ALLOWANCE * self.directions.allowed([whole.part])[0]
        if not self.bench.accuses and np.all(np.abs(whole.residual) <= slack):
            return []
        for leaf, indices in self.directions.elements_of(group.part for group in left).items():
            if leaf not in dense:
                slices = self._slices(leaf, len(indices))
                if slices is not None:
                    found += slices[0]
                    if slices[1]:
                        self._look_at_sample(slices[1])
                        self._leave(leaf, self.directions.elements_of(group.part for group in slices[1])[leaf])
                    continue
                inside = [
                    group for group in left if any(other == leaf for other, _ in self.directions.members(group.part))
                ]
                for group in inside[:NARROWED]:
                    found += locate(self.directions, [group], PAIR)[0]
            near = self.directions.elements_of(group.part for group in found).get(leaf, indices[:0])
            self._leave(leaf, np.setdiff1d(indices, near))
        return found

    def _slices(self, leaf: int, crowd: int) -> tuple[list[Group], list[Group]] | None:
        """Locate groups in a leaf with another axis first; None where they are no smaller so."""
        shape = self.bench.leaves[leaf].value.shape
        for axis in range(1, len(shape)):
            order = np.moveaxis(np.arange(np.prod(shape)).reshape(shape), axis, 0).ravel()
            part = self.directions.draw(0, len(order), (leaf, order))
            found, left = locate(self.directions, groups_of([part], self.directions.measure([part])), CROWD)
            if found + left and sum(group.part.size for group in found + left) < crowd / SMALLER:
                return found, left
        return None

    def _look_at_sample(self, left: list[Group]) -> list[int]:
        """Look at a sample of a crowd, and return the leaves in which much of it contradicts its claims."""
        everything = self.directions.elements_of(group.part for group in left)
        share = max(LEAST_SAMPLE, SAMPLE // len(everything))
        sample = {leaf: self._sample(indices, share) for leaf, indices in everything.items()}
        self.singly.look_at(sample, MOST_ACCUSED)
        dense = []
        for leaf, indices in sample.items():
            found = self.bench.judgements[leaf]
            contradicted = np.count_nonzero(np.any(found.wrong[indices] | found.undecided[indices], axis=1))
            if contradicted >= DENSE * len(indices):
                dense.append(leaf)
        return dense

    def _leave(self, leaf: int, indices: Indices) -> None:
        """Leave those undecided that were not looked at, and out of all directions."""
        found = self.bench.judgements[leaf]
        rest = indices[np.all(found.doubt[indices] == Doubt.NOT_PROBED, axis=1)]
        found.doubt[rest] = Doubt.GROUP
        self.directions.hold(leaf, rest)

    def _sample(self, indices: Indices, count: int) -> Indices:
        """Choose some elements: all, or as many neighbours as others drawn at random."""
        if len(indices) <= count:
            return indices
        start = int(self.bench.rng.integers(len(indices) - count // 2))
        drawn = self.bench.rng.choice(len(indices), size=count // 2, replace=False)
        return indices[np.union1d(drawn, np.arange(start, start + count // 2))]
