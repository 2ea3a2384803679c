"""Whether the function uses what it is given at all.

A function that reads other arrays, such as those of an object, has a gradient of zero as far as differences can tell, and its
right gradient would be called wrong in every element.
"""

from __future__ import annotations

import numpy as np

from gradcheck.acceptance.rule import Claim
from gradcheck.aliases import Floats
from gradcheck.checks.check import Check
from gradcheck.differences.lengths import lengths_of
from gradcheck.functions.blocks import signed
from gradcheck.functions.probe import Probe

__all__ = ["ignores_its_point"]

PLACES = np.array([1.31e-3, -0.117, 0.371, -0.913, 2.17])
"""Places where the function is called, in lengths of the elements: near by, and beyond zero."""


def ignores_its_point(check: Check, probe: Probe, base: Floats, claims: dict[int, Claim]) -> bool:
    """Tell whether the function gives the same bits wherever it is called, while a change is claimed; and say so.

    A claim so small that rounding would hide the change, as where all is saturated, says nothing of what the function uses.

    Notes
    -----
    Costs nothing where the value at the second point is another; else six calls, and one more where no second point was
    visited.
    """
    if not check.subject.may_ignore_its_point or not check.point.free() or not np.isfinite(base).all():
        return False
    if (
        check.settings.vectorized
    ):  # one that mixes its points may well be constant for each alone; that is found elsewhere
        return False
    if check.elsewhere is not None and not np.array_equal(check.elsewhere.value, check.value):
        return False
    rng = np.random.default_rng(check.settings.key)
    directions = {}
    for leaf in check.point.free():
        lengths = lengths_of(probe.point.leaves[leaf].value)
        directions[leaf] = lengths * signed(lengths.size, rng)
    # Values of elements that are all tiny may be lost beside what they are added to, so at last they move as zeros do.
    as_zero = {leaf: np.copysign(np.maximum(np.abs(move), 1.0), move) for leaf, move in directions.items()}
    places = [*((directions, place) for place in PLACES), (as_zero, PLACES[1])]
    claimed = check.subject.claimed_changes
    changes = np.max([abs(place) * claimed(claims, moves) for moves, place in places[-2:]], axis=0)
    # The values of single precision may have come as a Python number.
    if np.all(changes <= np.maximum(check.eps() * np.abs(base), probe.rounding())):
        return False
    alone = probe.one_by_one()
    for moves, place in places:  # one at a time: nearly always the first is enough
        if not np.array_equal(alone.ray(moves, np.array([place]))[0], base):
            return False
    check.find(
        "f-ignores-params",
        f"f gives {base[0]:.6g}, to the last bit, at every displaced point, and a gradient was claimed that is not zero: f "
        "does not use what it is given, but other arrays, such as those of an object; let it use its argument, or pass "
        "in_place=True with the arrays that it reads",
    )
    return True
