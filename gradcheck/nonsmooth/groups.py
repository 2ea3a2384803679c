"""Which elements share a kink: those whose effects on the functions do not add up at first order.

Elements that change no output in common share none, and one evaluation serves an element of every such group (column
compression: A. Curtis, M. Powell and J. Reid, "On the estimation of sparse Jacobian matrices", IMA Journal of Applied
Mathematics 13 (1974)).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats, Indices
from gradcheck.differences.counts import DOZEN
from gradcheck.differences.noise import OF_ROUNDING
from gradcheck.functions.blocks import random_signs
from gradcheck.nonsmooth.sampling import Ball, Flagged, Place

__all__ = ["LINKED", "Group", "groups_of"]

LINKED = 0.05
"""Effects add up if their residual is below this share of the error in question; a shared kink leaves a large part of
it. The same share of a direction's largest component marks a member as involved, and lines agree within this share of
what the claim lacks."""

PATTERNS = 8
"""Number of joint moves with random signs, beside all up and all down, in which effects must add up. A kink that shows only when
two elements move against each other, as in a largest absolute value, shows in half of them: once in 256 times in none."""


@dataclass(frozen=True, slots=True)
class Group:
    """Elements that share a kink, or a single element.

    Attributes
    ----------
    members : list of Flagged
        Flagged elements, and elements equal to one that were not flagged.
    outputs : array of int or None
        The outputs that they change; None for all.
    """

    members: list[Flagged]
    outputs: Indices | None = None


def groups_of(ball: Ball, flagged: list[Flagged]) -> list[Group]:
    """Divide flagged elements, and all that are equal to one, into groups whose effects add up at first order.

    Parameters
    ----------
    ball : Ball
        The functions.
    flagged : list of Flagged

    Returns
    -------
    list of Group
        Those with a flagged element.

    Notes
    -----
    Costs 11 calls if all effects add up, five for two elements. If not, and there are more than a dozen elements, a few more for each
    leaf, absolute value, and index along an axis. If several outputs are read, two calls for each element as well.
    """
    members = flagged + _equals(ball, flagged)
    if len(members) == 1:
        return [Group(members)]
    found, base = [], ball.outputs(ball.at_rest())
    chosen = {id(element) for element in flagged}
    for group in _by_outputs(ball, members, base):
        if any(id(member) in chosen for member in group.members):
            found += _Additivity(ball, group, base).parts()
    return [group for group in found if any(id(member) in chosen for member in group.members)]


def _equals(ball: Ball, flagged: list[Flagged]) -> list[Flagged]:
    """Return the elements with exactly the absolute value of a flagged one of their leaf: they may share its kink."""
    found = []
    for leaf in dict.fromkeys(element.leaf for element in flagged):
        values = np.abs(ball.probe.point.leaves[leaf].value.ravel())
        taken = np.array([element.index for element in flagged if element.leaf == leaf])
        for index in np.setdiff1d(np.flatnonzero(np.isin(values, values[taken])), taken):
            claimed = ball.claims[leaf][index]
            zero = np.zeros_like(claimed)
            found.append(Flagged(leaf, int(index), claimed, claimed, zero, zero))
    return found


def _by_outputs(ball: Ball, members: list[Flagged], base: Floats) -> list[Group]:
    """Divide elements into groups that change no outputs in common."""
    if not ball.separates_outputs:
        return [Group(members)]
    step = ball.radius(members)
    heads: dict[int | Place, tuple[list[Flagged], set[int]]] = {}
    for member in members:
        move = step * ball.scales[member.leaf][member.index]
        values, _ = ball.each.elements(member.leaf, np.array([member.index] * 2), np.array([move, -move]))
        merged = ([member], {int(o) for o in np.flatnonzero(_differ(values, base).any(axis=0))})
        for group in {id(heads[o]): heads[o] for o in merged[1] if o in heads}.values():
            merged = (group[0] + merged[0], group[1] | merged[1])
        for head in merged[1] or [(member.leaf, member.index)]:
            heads[head] = merged
    groups = {id(group): group for group in heads.values()}.values()
    return [Group(group, np.array(sorted(outputs), dtype=np.intp)) for group, outputs in groups]


def _differ(values: Floats, base: Floats) -> NDArray[np.bool_]:
    """Tell where values differ by more than rounding."""
    return np.asarray(~(np.abs(values - base) <= OF_ROUNDING * np.spacing(np.abs(base))))


class _Additivity:
    """Compares the effect of elements moved together with the sum of their single effects."""

    def __init__(self, ball: Ball, group: Group, base: Floats) -> None:
        self.ball, self.group, self.members, self.base = ball, group, group.members, base
        self.unit = ball.radius(self.members)
        self.scale = ball.scale(self.members)
        self.stake = (self.scale[:, None] * np.array([member.stake for member in self.members])).max(axis=0)
        self.patterns = list(self._patterns())

    def parts(self) -> list[Group]:
        """Divide the group into parts whose effects add up: single elements, leaves, equal elements, slices of leaves, or the whole."""
        if len(self.members) == 1 or self._singles_add_up():
            return [Group([member], self.group.outputs) for member in self.members]
        for labels in self._partitions() if len(self.members) > DOZEN else ():
            blocks = [np.flatnonzero(labels == label) for label in np.unique(labels)]
            parts_some = 1 < len(blocks) < len(self.members)
            if parts_some and all(self._blocks_add_up(pattern, blocks) for pattern in self.patterns[:4]):
                groups = [Group([self.members[i] for i in block], self.group.outputs) for block in blocks]
                return [part for group in groups for part in self._parts_of(group)]
        return [self.group]

    def _parts_of(self, group: Group) -> list[Group]:
        """Divide a block of many elements further."""
        return _Additivity(self.ball, group, self.base).parts() if len(group.members) > DOZEN else [group]

    def _patterns(self) -> Iterator[Floats]:
        """Yield joint moves, shape (m,)."""
        rng, count = self.ball.rng, len(self.members)
        against = np.array([[1.0, -1.0], [-1.0, 1.0]]) if count == 2 else random_signs((PATTERNS, count), rng)
        for ways in (np.ones(count), -np.ones(count), *against):
            yield ways * rng.uniform(1.2, 1.8, count)

    def _partitions(self) -> Iterator[Indices]:
        """Yield labels of the elements, shape (m,): leaves, absolute values, indices along the last axis, along the first."""
        values = [self.ball.probe.point.leaves[member.leaf].value for member in self.members]
        yield np.array([member.leaf for member in self.members])
        yield np.array([abs(v.flat[m.index]) for m, v in zip(self.members, values, strict=True)])
        places = [np.unravel_index(m.index, v.shape) for m, v in zip(self.members, values, strict=True)]
        if all(places):
            yield np.array([place[-1] for place in places])
            yield np.array([place[0] for place in places])

    def _change(self, move: Floats, factor: float = 1.0) -> Floats:
        """Return by how much a joint move changes the functions, shape (K,). Costs one call."""
        moves = self.ball.at_rest()
        for member, part in zip(self.members, move * self.scale, strict=True):
            moves[member.leaf][member.index] = factor * part * self.unit
        return self.ball.read(self.ball.outputs(moves) - self.base, self.group.outputs)

    def _singles_add_up(self) -> bool:
        """Compare joint moves with the sum predicted from one-sided derivatives of single elements.

        Only a residual of first order counts: a kink near the point, but not at it, does not link elements.
        """
        for pattern in self.patterns:
            slopes = np.array([m.slope(np.sign(t)) for m, t in zip(self.members, pattern, strict=True)])
            uncertainty = np.array([np.maximum(m.bound - np.abs(m.gap) / 2, 0) for m in self.members])
            expected = self.unit * ((pattern * self.scale) @ slopes)
            blur = 2 * self.ball.noise + self.unit * np.sqrt((pattern * self.scale) ** 2 @ uncertainty**2)

            def residual(factor: float, pattern: Floats = pattern, expected: Floats = expected) -> Floats:
                return self._change(pattern, factor) / factor - expected

            if self._is_of_first_order(residual, blur, self.ball.noise):
                return False
        return True

    def _blocks_add_up(self, pattern: Floats, blocks: list[Indices]) -> bool:
        """Compare a joint move with the sum of the moves of each block."""
        parts = [np.where(np.isin(np.arange(len(pattern)), block), pattern, 0.0) for block in blocks]

        def residual(factor: float) -> Floats:
            return (self._change(pattern, factor) - sum(self._change(part, factor) for part in parts)) / factor

        noise = np.sqrt(len(blocks) + 2) * self.ball.noise
        return not self._is_of_first_order(residual, noise, noise)

    def _is_of_first_order(self, residual: Callable[[float], Floats], blur: Floats, noise: Floats) -> bool:
        """Tell whether the residual divided by the distance is significant, and as large nearer to the point."""
        far = residual(1.0)
        seen = (self.stake > 0) & (np.abs(far) > blur + LINKED * self.stake * self.unit)
        # At three distances: curvature of several orders may leave the same residual at two by chance.
        for nearer in (1 / 4, 1 / 16):
            if not seen.any():
                break
            close = residual(nearer)
            seen &= np.abs(close - far) <= np.abs(far) / 4 + noise / nearer
            far = close
        return bool(seen.any())
