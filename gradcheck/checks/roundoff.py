"""How exact a claim can be: the round-off of a backward in its dtype, measured and not assumed.

The claims are asked for at points an ulp away. What changes by rounding there is of the size of the terms that a backward
adds up, times the epsilon of its dtype; the sum itself may be far smaller, as that of a bias before a batch
normalisation, which is zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.checks.check import NEAR, NUDGES, Check, Roundoff, are_single
from gradcheck.differences.lengths import lengths_of
from gradcheck.functions.blocks import blocks, product
from gradcheck.functions.float_errors import at_our_own_points
from gradcheck.functions.points import Point
from gradcheck.functions.probe import calling
from gradcheck.reports.claims import Reading

__all__ = ["changes_by_rounding", "compare_in_double", "measure_roundoff", "nudged", "residues", "rounded_beside"]

JUMP = 0.01
"""A claim that changes by this share of its leaf when the point moves by an ulp may do so at a kink."""

COARSE = 4.0
"""But not by so many epsilons, which in half precision are more: sums of few terms of its leaf's size are rounded by that."""

CANCELLED = 1e4
"""But not by less than so many epsilons of what the parameters' gradients, or the value, come to together: a sum whose
terms cancel is rounded like its terms. After thousands of steps of training the round-off was 8,500 epsilons."""

USUAL_EPSILONS = 100.0
"""The same, assumed of a gradient that is given as numbers: a sum of ten thousand terms that cancel."""

RESIDUE = 10.0
"""Epsilons of the value, by the length of a leaf: a claim whose elements all are of this size may be nothing but round-off."""

USUAL_LARGEST = 1.5
"""The largest of four normal numbers, in standard deviations."""


def measure_roundoff(check: Check, readings: list[Reading], cotangents: Floats, base: Floats) -> dict[int, Roundoff]:
    """Measure the round-off of claims at points an ulp away.

    Parameters
    ----------
    check : Check
        Asks for the claims.
    readings : list of Reading
        The claims at the point, one per cotangent.
    cotangents : array, shape (K, M)
    base : array, shape (K,)
        The functions' values.

    Returns
    -------
    roundoff : dict
        By the position of the leaf, for those that have claims.

    Notes
    -----
    Costs four times the calls that give the claims, and none of the function.
    """
    levels = _rounding_levels(check, readings, base)
    columns = len(readings)
    if check.subject.is_given:
        return {
            leaf: _assumed(level * (USUAL_EPSILONS / CANCELLED), readings[0], leaf) for leaf, level in levels.items()
        }
    squares = {leaf: np.zeros(columns) for leaf in readings[0].values}
    largest = {leaf: np.zeros((values.size, columns), np.float32) for leaf, values in readings[0].values.items()}
    inside = check.subject.inside
    share = readings[0].eps if inside is None else max(readings[0].eps, inside.eps)
    for _ in range(NUDGES):
        moved = check.subject.readings(
            check, check.point.hand(check.point.nudged(share, check.settings.rng)), cotangents
        )
        for leaf, most in largest.items():
            limits = levels.get(leaf, np.zeros(columns))
            for k, (new, old) in enumerate(zip(moved, readings, strict=True)):
                if leaf in new.values and leaf in old.values and most.size:
                    apart, smooth = _apart(old.values[leaf], new.values[leaf], limits[k], max(JUMP, COARSE * share))
                    squares[leaf][k] += smooth / NUDGES
                    np.maximum(most[:, k], apart, out=most[:, k])
    found = {}
    for leaf, most in largest.items():
        level = np.zeros(columns)
        if leaf in levels:
            level = levels[leaf] * (_ordinary(check, leaf) / CANCELLED)
        least = _least(readings, leaf, level)
        own = np.maximum(most / USUAL_LARGEST, least.astype(np.float32))
        found[leaf] = Roundoff(np.maximum(np.sqrt(squares[leaf]), least), own)
    return found


def compare_in_double(
    check: Check, readings: list[Reading], cotangents: Floats, base: Floats
) -> dict[int, tuple[Floats, Floats, Floats]]:
    """Return what `Claim.in_double` does, for each leaf.

    Parameters
    ----------
    check, readings, cotangents, base
        As of `measure_roundoff`.

    Returns
    -------
    distances : dict
        By the position of the leaf. Where its claim is not in double precision, since the derivative raised or its numbers fit into
        float32, the distance is not known, infinity, and what is plausible is no more than a few epsilons. Empty where the point
        already was.

    Notes
    -----
    Costs one call, and eight more if a distance is beyond the usual round-off of its leaf. Only round-off varies then: a
    derivative that is wrong in one of the precisions is wrong by about the same near by.
    """
    wide = check.point.widened()
    if all(wide.leaves[i] is check.point.leaves[i] for i in wide.free()):
        return {}
    here, usual = _from_double(check, wide, check.point.copies(), readings, cotangents), check.roundoff
    beyond = [
        np.any(np.abs(apart[:, k]) > COARSE * max(reading.eps * _typical(reading.values[leaf]), usual[leaf].usual[k]))
        for leaf, apart in here.items()
        for k, reading in enumerate(readings)
    ]
    near, rng = [], np.random.default_rng(check.settings.key)
    for _ in range(NUDGES if any(beyond) else 0):
        arrays = check.point.moved(NEAR, rng)
        near.append(_from_double(check, wide, arrays, None, cotangents))
    found, levels = {}, _rounding_levels(check, readings, base, cotangents)
    for leaf in (leaf for leaf in readings[0].values if all(leaf in reading.values for reading in readings)):
        level = levels.get(leaf, np.zeros(len(readings)))
        if leaf in here:
            known = [here[leaf], *(other[leaf] for other in near if leaf in other)]
            found[leaf] = here[leaf], np.nan_to_num(np.std(known, axis=0)), level
        else:
            apart = np.full((readings[0].values[leaf].size, len(readings)), np.inf)
            if leaf in levels:  # of second derivatives nothing is known
                level = level * (RESIDUE * _ordinary(check, leaf) / CANCELLED)
            found[leaf] = apart, np.zeros_like(apart), level
    return found


def _from_double(
    check: Check, wide: Point, arrays: list[NDArray[Any]], readings: list[Reading] | None, cotangents: Floats
) -> dict[int, Floats]:
    """Return the claims at a point less those in double precision, shape (n, K) for each leaf that has both."""
    subject = check.subject
    try:
        with at_our_own_points():
            if readings is None:
                readings = check.subject.readings(check, check.point.hand([a.copy() for a in arrays]), cotangents)
            subject = check.subject.widened()
            wider = [array.astype(leaf.value.dtype) for array, leaf in zip(arrays, wide.leaves, strict=True)]
            better = subject.readings(check, wide.hand(wider), cotangents)
    except Exception:  # noqa: BLE001 - whatever it makes of another dtype
        return {}
    finally:
        check.subject.calls = max(check.subject.calls, subject.calls)
    if max(reading.eps for reading in better) > np.finfo(np.float64).eps:
        return {}
    both = [leaf for leaf in readings[0].values if all(leaf in reading.values for reading in (*readings, *better))]
    values = {leaf: np.stack([reading.values[leaf] for reading in better], axis=1) for leaf in both}
    return {
        leaf: np.stack([reading.values[leaf] for reading in readings], axis=1) - exact
        for leaf, exact in values.items()
        if not are_single(exact)
    }


def rounded_beside(
    check: Check, readings: list[Reading], cotangents: Floats, base: Floats
) -> dict[int, tuple[Floats, Floats]]:
    """Return `Claim.least` and `Claim.beside` for each leaf; the arguments are those of `measure_roundoff`.

    Of outputs that are judged one by one that is the round-off of the largest, of sums what their own size does not explain.
    """
    together = _rounding_levels(check, readings, base, cotangents)
    least = float(np.finfo(np.float32).tiny) * np.maximum(1.0, np.abs(cotangents).max(axis=1, initial=0.0))
    beside = {}
    for leaf, level in _rounding_levels(check, readings, base).items():
        more = together[leaf] if check.is_each else together[leaf] - level
        beside[leaf] = least, more * (RESIDUE * _ordinary(check, leaf) / CANCELLED)
    return beside


def changes_by_rounding(check: Check, cotangents: Floats, here: list[Reading]) -> dict[str, float]:
    """Return the largest change of the value (key "") and of each claim (by name) when the point or the seed moves by an ulp.

    Where terms cancel to all digits that is as much as they come to. Changes at a kink are left out.

    Parameters
    ----------
    check, cotangents
        As of `measure_roundoff`.
    here : list of Reading
        What `Subject.sample` gives at the point.

    Notes
    -----
    Costs four calls of the function, and eight times those that give the claim.
    """
    largest = np.abs(check.value).max(initial=0.0, where=np.isfinite(check.value))
    levels = _rounding_levels(check, here, np.full(len(here), largest))
    changes = dict.fromkeys(("", *(name for reading in here for name in reading.names.values())), 0.0)

    def enter(moved: list[Reading], jump: float) -> None:
        for old, new in zip(here, moved, strict=True):
            for leaf in old.values.keys() & new.values.keys():
                limit = float(np.max(levels.get(leaf, 0.0), initial=0.0))
                apart, _ = _apart(old.values[leaf], new.values[leaf], limit, jump)
                changes[old.names[leaf]] = max(changes[old.names[leaf]], float(apart.max(initial=0.0)))

    rng, eps, sample = check.settings.rng, here[0].eps, check.subject.sample
    for _ in range(NUDGES):
        arrays = check.point.nudged(eps, rng)
        check.budget.spend()
        with at_our_own_points(), calling(check.subject.name, "an ulp away from the given point"):
            value = check.output.read(check.subject.value(check.point.hand([a.copy() for a in arrays]).tree))
        changes[""] = max(changes[""], float(np.abs(value - check.value).max(initial=0.0)))
        with at_our_own_points():
            enter(sample(check, check.point.hand(arrays), cotangents), JUMP)
        enter(
            sample(check, check.point.hand(), nudged(cotangents, eps, rng)), np.inf
        )  # no kink is crossed at one point
    return changes


def residues(check: Check, readings: list[Reading], base: Floats) -> dict[int, Floats]:
    """Return what a claim may be that is nothing but round-off, shape (K,), by the position of the leaf.

    The arguments are those of `measure_roundoff`. Where a function is saturated its terms cancel alike for all points and seeds that
    are an ulp away, so that their changes do not show it.
    """
    levels = _rounding_levels(check, readings, base)
    return {leaf: level * (RESIDUE / CANCELLED) for leaf, level in levels.items()}


def nudged(values: Floats, eps: float, rng: np.random.Generator) -> Floats:
    """Return numbers each moved by ``eps`` of its size, up or down."""
    return np.asarray(values * (1 + np.where(rng.random(values.shape) < 0.5, -eps, eps)))


def _least(readings: list[Reading], leaf: int, level: Floats) -> Floats:
    """Return the round-off that a claim has even where none was seen, shape (K,).

    A claim that is all residue, as that of a sum of probabilities, may be the same at a few points by luck.
    """
    sizes = np.array([_typical(reading.values[leaf]) if leaf in reading.values else np.inf for reading in readings])
    return np.where(sizes <= RESIDUE * level, level, 0.0)


def _assumed(level: Floats, reading: Reading, leaf: int) -> Roundoff:
    """Return the round-off of a claim that cannot be asked for again."""
    size = reading.values[leaf].size if leaf in reading.values else 0
    return Roundoff(level, np.broadcast_to(level.astype(np.float32), (size, len(level))))


def _ordinary(check: Check, leaf: int) -> float:
    """Return what makes units of a leaf that is tiny as a whole ordinary: its values say nothing of a scale of the functions."""
    return min(1.0, _typical(lengths_of(check.point.leaves[leaf].value)))


def _rounding_levels(
    check: Check, readings: list[Reading], base: Floats, cotangents: Floats | None = None
) -> dict[int, Floats]:
    """Return by how much a claim may change through rounding alone whatever its own size, shape (K,) for each leaf.

    By the change that a step of one length in any leaf makes, or by the value itself, in units of the leaf. Of second derivatives
    nothing is known. With ``cotangents``, by the largest of these changes for a cotangent of that size: the terms of a small output,
    as of the log-probability of what is all but sure, may be as large as the others' are.
    """
    if not check.subject.is_slope:
        return {}
    lengths = {leaf: _typical(lengths_of(check.point.leaves[leaf].value)) for leaf in check.point.free()}
    effects = [
        np.nan_to_num([_typical(reading.values[leaf]) * length for reading in readings], posinf=0.0)
        for leaf, length in lengths.items()
        if all(leaf in reading.values for reading in readings)
    ]
    known = np.abs(np.where(np.isfinite(base), base, 0.0))
    size = np.max([*effects, known], axis=0)
    if cotangents is not None:
        most = np.abs(cotangents).max(axis=1, initial=0.0)
        size = most * np.divide(size, most, out=np.zeros_like(size), where=most > 0).max(initial=0.0)
    level = CANCELLED * readings[0].eps * size
    return {leaf: np.nan_to_num(level / length, posinf=0.0) for leaf, length in lengths.items()}


def _typical(values: Floats) -> float:
    """Return the root mean square of the finite numbers."""
    finite = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0


def _apart(one: Floats, other: Floats, limit: float, jump: float) -> tuple[NDArray[np.float32], float]:
    """Return by how much the elements of two claims differ, and its mean square; 0 for those that jump: they are at a kink."""
    apart, total, count = np.empty(one.shape, np.float32), 0.0, 0
    largest = max(jump * np.sqrt(product(one, one) / max(1, one.size)), limit)
    for part, a, b in zip(blocks(apart), blocks(one), blocks(other), strict=True):
        each = np.abs(b - a)
        is_smooth = each <= largest
        each[~is_smooth] = 0.0
        total += float(product(each, each))
        count += int(np.count_nonzero(is_smooth))
        part[:] = each
    return apart, float(total / max(1, count))
