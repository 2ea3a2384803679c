"""A second point, for gradients that are kept from another one.

It is visited first, before anything is called at the given point: so a gradient that is kept from the first call is wrong
at the given point.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.rule import Claim, Judgement
from gradcheck.aliases import Floats
from gradcheck.checks.check import Check, Elsewhere
from gradcheck.differences.ladder import climb, noise_multiplier
from gradcheck.differences.lengths import lengths_of
from gradcheck.functions.blocks import random_signs
from gradcheck.functions.displacements import Moves
from gradcheck.functions.float_errors import at_our_own_points
from gradcheck.functions.points import point_of
from gradcheck.functions.probe import Probe
from gradcheck.reports.claims import Reading

__all__ = ["AWAY", "CERTAIN", "compare", "disagreement", "examine_constancy", "visit"]

AWAY = (0.03, 1e-3)
"""How far the second point is from the first, relatively and at most; the next is tried where there is no value."""

TRIES = ((AWAY[0], AWAY[1]), (AWAY[1], 0.0))
"""How far, and how large elements are at most that are moved as zeros are. A network one small step from zeros has hardly
another gradient at three hundredths of that step; a molecule in metres has no value three hundredths of a metre away, and is tried again."""

FEWEST_CALLS = 50
"""With fewer calls allowed, none is spent on a second point."""

CERTAIN = 10.0
"""A slope contradicts a claim that is the same at two points when it is this many error bounds away."""


def visit(check: Check) -> Elsewhere | None:
    """Call function and derivative at a second point, before they are called at the given one.

    A gradient that is the same everywhere and right at the given point, as one that was
    computed before, is thus distinguished from one that is cached at the first call. The functions need not be defined
    there: if they raise, the result is None, as it is when few calls are allowed.
    """
    for away, tiny in TRIES if check.budget.left >= FEWEST_CALLS and not check.subject.is_given else ():
        arrays = check.point.moved(away, check.settings.rng, tiny=tiny)
        try:
            check.budget.spend()
            with at_our_own_points():
                value = check.subject.value(check.point.hand([array.copy() for array in arrays]).tree)
                check.output = check.subject.output(value)
                if not np.isfinite(check.output.read(value)).all():
                    continue
                cotangents = check.subject.cotangents(check.output, check.settings.rng)
                claims = check.subject.sample(check, check.point.hand([array.copy() for array in arrays]), cotangents)
        except Exception:  # noqa: BLE001, S112 - whatever the user's functions raise; the blind spots say it
            continue
        for claim in claims:
            claim.handed = []  # large, and asked for at the given point alone
        return Elsewhere(arrays, check.output.read(value), cotangents, claims)
    return None


def examine_constancy(check: Check, probe: Probe, claims: dict[int, Claim], judgements: dict[int, Judgement]) -> None:
    """Examine gradients that are the same at two points: cached at the second one, which was visited first, or constant.

    It is that of the second where it agrees there, and the function is seen to have another slope at the first: at a
    kink, or in noise, a bound is so wide that anything agrees.

    A linear function has one. At a kink any of several gradients is right, and wrong everywhere else: what is off by as
    much a quarter of the way as at the second point is such a one. That of a smooth function is off by a quarter.
    """
    if check.elsewhere is None or not check.subject.is_slope:
        return
    there = check.elsewhere
    same = [leaf for leaf in there.same if leaf in judgements]
    if not same:
        return
    wrong = {leaf for leaf in same if judgements[leaf].wrong.any()}
    signs = {leaf: random_signs(there.arrays[leaf].size, check.settings.rng) for leaf in same}
    directions = {leaf: lengths_of(there.arrays[leaf]) * signs[leaf] for leaf in same}
    # The points are so near that noise is the same there.
    noise = np.max([judgement.noise_of_f for judgement in judgements.values()], axis=0)
    joint = disagreement(check, probe, there.arrays, claims, [directions], noise)
    if not wrong and not (np.abs(joint.apart) > CERTAIN * joint.allowed).any():
        return
    alone = [{leaf: directions[leaf]} for leaf in same]
    far = disagreement(check, probe, there.arrays, claims, alone, noise)
    near = [
        leaf.format.rounded(leaf.value + (b - leaf.value) / 4) if leaf.is_differentiable else b
        for leaf, b in zip(check.point.leaves, there.arrays, strict=True)
    ]
    close = disagreement(check, probe, near, claims, alone, noise)
    agrees = np.asarray((np.abs(far.apart) <= far.allowed).all(axis=1))
    if wrong and agrees.any():
        start = disagreement(check, probe, check.point.copies(), claims, alone, noise)
        agrees &= (np.abs(start.apart - far.apart) > start.allowed + far.allowed).any(axis=1)
    disagrees = (np.abs(far.apart) > CERTAIN * far.allowed) & ~far.kink
    disagrees &= np.abs(close.apart) + close.allowed < np.abs(far.apart) / 2
    derivative = check.subject.derivative
    for row, leaf in enumerate(same):
        name = check.point.leaves[leaf].name
        if leaf in wrong and agrees[row]:
            message = f"{derivative} always returns the gradient of the point at which it was first called"
            check.find("stale-gradient", message, where=name, fatal=True)
        elif leaf not in wrong and disagrees[row].any():
            message = f"{derivative} gives the same at a second point, where the slope is another: is it a constant?"
            check.find("constant-gradient", message, where=name)


def compare(check: Check, here: Reading) -> None:
    """Find the leaves with the same claim at both points, and drop what is no longer needed."""
    there = check.elsewhere
    if there is not None:
        there.same = _same(check, here, there.claims[0])
        there.claims = []


def _same(check: Check, here: Reading, there: Reading) -> list[int]:
    """Return the leaves for which the same was claimed at two points, and not zero."""
    equal = [
        leaf
        for leaf, values in here.values.items()
        if (values != 0).any() and leaf in there.values and np.array_equal(values, there.values[leaf])
    ]
    if len(here.names) == len(check.point.leaves) and all(
        name == check.point.leaves[leaf].name for leaf, name in here.names.items()
    ):
        return equal
    return check.point.free() if len(equal) == len(here.values) else []  # its leaves are those of y


class _Disagreement(NamedTuple):
    """Measured slopes less the claimed ones, by how much they may differ, and where there is a kink; shapes (D, K)."""

    apart: Floats
    allowed: Floats
    kink: NDArray[np.bool_]


def disagreement(
    check: Check,
    probe: Probe,
    arrays: list[NDArray[Any]],
    claims: dict[int, Claim],
    directions: list[Moves],
    noise: Floats,
) -> _Disagreement:
    """Compare slopes at another point along some directions with those that the claims of the first one give.

    ``noise`` is that of the functions near the first point, shape (K,).
    """

    def along(lengths: Floats) -> Any:
        moved = [array.astype(leaf.value.dtype) for array, leaf in zip(arrays, probe.point.leaves, strict=True)]
        for length, direction in zip(lengths, directions, strict=True):
            for leaf, part in direction.items() if length else ():
                target = moved[leaf] + (length * part).reshape(moved[leaf].shape)
                moved[leaf] = probe.point.leaves[leaf].format.rounded(target)
        return probe.function(probe.point.hand(moved).tree)

    start = point_of(np.zeros(len(directions)), "lengths")
    there = type(probe)(along, start, probe.output, probe.cotangents, check.budget)
    base = there.ray({}, np.zeros(1))[0]
    lengths = np.ones(len(directions))
    rows = np.arange(len(directions))
    multiplier = noise_multiplier(base.size * len(directions))
    slopes = climb(there, 0, rows, lengths, base, noise, multiplier=multiplier, rtol=check.rtol)
    terms = [np.concatenate([claims[leaf].values * part[:, None] for leaf, part in d.items()]) for d in directions]
    claimed = np.stack([part.sum(axis=0) for part in terms])
    sizes = np.stack([np.abs(part).sum(axis=0) for part in terms])
    return _Disagreement(slopes.value - claimed, slopes.bound + check.rtol * sizes, slopes.kink)
