"""Tests of many elements at once along common moves: confirming derivatives, and ruling out shared kinks and jumps.

Screening has measured each element with one difference. These derivatives predict the change of the functions when all
elements move together, at other points and with another step. If random directions agree with the prediction, and values
on both sides show no kink, each derivative is confirmed to within the error that would have shown in its element alone.
"""

from __future__ import annotations

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import Outcome
from gradcheck.acceptance.directions import DIRECTIONS, Directions
from gradcheck.acceptance.ledger import Estimate, Membership
from gradcheck.aliases import Bools, Chosen, Floats, Indices
from gradcheck.differences.counts import DOZEN, NEGLIGIBLE
from gradcheck.differences.jumps import REACHES, jump_along, jumps_between
from gradcheck.differences.lengths import BETWEEN, SHORTEST_STEP
from gradcheck.differences.noise import DISAGREES, PLAINLY, SAME_NOISE
from gradcheck.differences.sampled_noise import SPACING, noise_of_half
from gradcheck.differences.scale import ZERO_LENGTH
from gradcheck.functions.displacements import Moves

__all__ = [
    "confirm_by_factor",
    "confirm_together",
    "contradicted_plainly",
    "contradicted_without_kink",
    "distant_jump",
    "equal_elements_may_tie",
    "may_tie",
]

PRECISE = 100.0
"""Smallest ratio of an error to its bound from directions: a diagnosis needs two digits of the error."""


def contradicted_plainly(bench: Bench, leaf: int, indices: Indices) -> Bools:
    """Tell which claims screening contradicts by far more than the second difference explains, so that no kink does; shape (m,)."""
    found, evidence, _ = bench.known(leaf, indices)
    curvature = np.nan_to_num(np.abs(evidence.curvature), nan=np.inf).max(axis=1, initial=0.0)
    gap = curvature * (bench.steps[leaf] * bench.lengths[leaf][indices])[:, None]
    gap = np.maximum(gap - np.sqrt(12) * found.noise, 0.0)  # the gap is noisier than the slope by this factor
    plain = found.excluded & (found.outcome == Outcome.OPEN)
    plain &= np.abs(bench.claims[leaf].values[indices] - found.reference) > PLAINLY * gap
    return np.asarray(plain.any(axis=1))


def confirm_together(bench: Bench, waiting: Chosen) -> None:
    """Enter the screened derivatives of contradicted elements with a bound, if random directions agree with them.

    Only for elements whose claims are off by far more than the bound.

    Notes
    -----
    Costs 18 calls, however many elements there are.
    """
    untied = {leaf: indices[~may_tie(bench, leaf, indices)] for leaf, indices in waiting.items()}
    untied = {leaf: indices for leaf, indices in untied.items() if len(indices)}
    if not untied:
        return
    screened = {leaf: bench.decide(leaf, indices) for leaf, indices in untied.items()}
    directions = Directions(bench, int(bench.rng.integers(2**32)), of_claims=False)
    uncertainty: dict[int, Floats] = {}
    for leaf, indices in untied.items():
        value, noise = screened[leaf].reference, screened[leaf].noise
        directions.correct(leaf, indices, value)
        uncertainty[leaf] = np.zeros_like(directions.derivatives[leaf])
        uncertainty[leaf][indices] = np.hypot(noise / bench.multiplier, DISAGREES * bench.rtol * value)
    slopes = directions.measure_fresh(chosen=untied, longer=True)
    allowed = DISAGREES * np.hypot(slopes.deviation, directions.deviation_along(slopes.parts, uncertainty))
    agree = (np.abs(slopes.residual) <= allowed).all() and np.isfinite(allowed).all()
    if not agree or slopes.are_unresolved(bench.noise):
        return
    needed = np.abs(slopes.residual) + DISAGREES * slopes.deviation
    moves = [directions.moves(part) for part in slopes.parts]
    for leaf, indices in untied.items():
        value, excluded = screened[leaf].reference, screened[leaf].excluded
        moved = np.abs([move[leaf][indices] for move in moves])[..., None]
        bound = (2 * needed[:, None] / moved).min(axis=0) + screened[leaf].noise
        error = np.abs(bench.claims[leaf].values[indices] - value)
        sure = (np.isfinite(bound) & np.isfinite(value)).all(axis=1)
        sure &= ((error > PRECISE * bound) | ~excluded).all(axis=1)
        bench.ledgers[leaf].add(Estimate.multiple(indices[sure], value[sure], bound[sure]))


def confirm_by_factor(bench: Bench) -> None:
    """Call contradicted elements wrong, without a search for kinks and jumps, that are off by the factor of the wrong ones of their leaf.

    A kink or a jump that shows in no other way would explain just that factor by chance alone. Zero may be valid at any kink.
    """
    for leaf, ledger in bench.ledgers.items():
        flagged = [found for found, _ in bench.flagged if found.leaf == leaf and not found.gap.any()]
        judged = bench.judgement(leaf)
        wrong = np.flatnonzero(judged.wrong.all(axis=1))
        if not flagged or len(wrong) < DOZEN:
            continue
        claim, true = bench.claims[leaf].values[wrong], judged.reference[wrong]
        factor = np.median(claim / true, axis=0)
        if not (np.abs(claim - factor * true) <= NEGLIGIBLE * np.abs(claim)).all():
            continue
        same = [
            found.index
            for found in flagged
            if (found.bound <= NEGLIGIBLE * np.abs(found.claimed)).all()
            and (np.abs(found.claimed - factor * found.reference) <= np.abs(factor) * found.bound).all()
        ]
        ledger.enter_membership(
            np.array(same, dtype=np.intp), np.full((len(same), len(bench.base)), Membership.INVALID)
        )


def distant_jump(bench: Bench, contradicted: Chosen) -> Floats:
    """Return the size of a jump which suggests that contradicted claims are the trend of a staircase, shape (K,); 0 for none.

    Differences are taken over longer and longer distances, up to the elements' lengths or that of zeros, until one agrees four times
    better with the claims and the next still twice as well: beyond a single jump differences agree with any claim somewhere. Only
    along the first of these distances is a jump looked for. For several elements, within their lengths, a jump higher than those of half
    precision is ignored: it belongs to a rounded layer.

    Notes
    -----
    Costs two calls a distance: six for elements of ordinary size, up to four more for each factor of eight by which they are smaller. If
    one agrees 25 more, up to 72 if there is a jump; if none is found, about 20 for each of at most four functions on each side of the point.
    """
    moves = {leaf: np.zeros_like(bench.lengths[leaf]) for leaf in contradicted}
    claimed, measured = np.zeros((2, len(bench.base)))
    for leaf, indices in contradicted.items():
        moves[leaf][indices] = bench.lengths[leaf][indices] * (-1.0) ** np.arange(len(indices))
        found, claim = bench.decide(leaf, indices), bench.claims[leaf].values[indices]
        claimed = claimed + moves[leaf][indices] @ np.where(found.excluded, claim, found.reference)
        measured = measured + moves[leaf][indices] @ found.reference
    longest = max(float(np.abs(move).max()) for move in moves.values())
    reach, most = REACHES[0], max(1.0, min(ZERO_LENGTH / longest, 1 / SHORTEST_STEP))
    agreed, distance = np.zeros(len(bench.base), dtype=bool), reach
    while distance <= BETWEEN * most:
        ahead, behind = bench.probe.ray(moves, np.array([distance, -distance]))
        rest, error = np.abs((ahead - behind) / (2 * distance) - claimed), np.abs(measured - claimed)
        if (
            agreed & (2 * rest < error)
        ).any():  # beyond a single jump 64 % of the error would be left: its effect falls with the distance
            break
        agreed, reach, distance = SAME_NOISE * rest < error, distance, BETWEEN * distance
    else:
        return np.zeros_like(measured)

    def times(factor: float) -> Moves:
        return {leaf: factor * move for leaf, move in moves.items()}

    jitter = bench.multiplier * bench.noise
    size = jump_along(bench.probe, times(reach / REACHES[0]), jitter)[0]
    for side in (SPACING, -SPACING):  # near the end of the interval a polynomial may fit the jump
        if not size.any():
            beside = jumps_between(bench.probe, times(side), float(np.rint(reach / SPACING)), jitter)
            size = np.where(beside > SAME_NOISE * jitter, beside, 0.0)
    is_of_layer = reach <= 1 and sum(map(len, contradicted.values())) > 1
    highest = noise_of_half(bench.probe, bench.base, list(bench.claims)) if is_of_layer else np.inf
    return np.where(size <= highest, size, 0.0)


def may_tie(bench: Bench, leaf: int, indices: Indices) -> Bools:
    """Tell which contradicted elements may share a kink with others of the same absolute value; shape (m,).

    Random directions rarely cross a kink that many elements share, as the maximum of equal elements does. Two to a dozen equal
    elements are therefore always taken to tie. More are moved together, away from zero and towards it: they tie unless the functions
    change on both sides as the derivatives predict, to within half of the claim's error.

    Notes
    -----
    Costs two calls if more than a dozen elements are equal.
    """
    values = bench.leaves[leaf].value.ravel()
    sizes, kinds = np.unique(np.abs(values[indices]), return_inverse=True)
    equal = np.flatnonzero((bench.ledgers[leaf].count > 0) & np.isin(np.abs(values), sizes))
    kind = np.searchsorted(sizes, np.abs(values[equal]))
    counts = np.bincount(kind, minlength=len(sizes))
    tied = np.asarray(counts[kinds] > 1)
    many = counts > DOZEN
    if not many[kinds].any():
        return tied
    equal, kind = equal[many[kind]], kind[many[kind]]
    away = bench.rng.uniform(0.5, 1.0, len(sizes))[kind] * bench.steps[leaf] * bench.lengths[leaf][equal]
    away = np.where(values[equal] < 0, -away, away)
    move = np.zeros_like(bench.lengths[leaf])
    move[equal] = away
    departs = _departure(bench, {leaf: move}, away @ bench.decide(leaf, equal).reference)
    chosen = indices[many[kinds]]
    found = bench.decide(leaf, chosen)
    error = np.abs(move[chosen])[:, None] * np.abs(bench.claims[leaf].values[chosen] - found.reference)
    tied[many[kinds]] = ~((2 * departs <= error) | ~found.excluded).all(axis=1)
    return tied


def equal_elements_may_tie(
    bench: Bench, claims: dict[int, Floats], derivatives: dict[int, Floats], step: float
) -> bool:
    """Tell whether equal elements may share a kink that random directions do not show and at which the claims are valid.

    Elements of equal absolute value are moved alike, all away from zero and all towards it. On both sides the functions must change
    as ``derivatives`` predict, to within half of the root sum of squares of the claims' errors. Elements without finite claims stay.

    Notes
    -----
    Costs two calls if there are equal elements.
    """
    moves, expected, error = {}, np.zeros_like(bench.base), np.zeros_like(bench.base)
    for leaf, claimed in claims.items():
        values = bench.leaves[leaf].value.ravel()
        _, kinds, counts = np.unique(np.abs(values), return_inverse=True, return_counts=True)
        away = bench.rng.uniform(0.5, 1.0, len(counts))[kinds] * step * bench.lengths[leaf]
        known = (np.isfinite(claimed) & np.isfinite(derivatives[leaf])).all(axis=1)
        moves[leaf] = np.where(known & (counts[kinds] > 1), np.where(values < 0, -away, away), 0.0)
        expected += moves[leaf][known] @ derivatives[leaf][known]
        error += moves[leaf][known] ** 2 @ (claimed - derivatives[leaf])[known] ** 2
    if not any(np.any(move) for move in moves.values()):
        return False
    return not bool((2 * _departure(bench, moves, expected) <= np.sqrt(error)).all())


def _departure(bench: Bench, moves: Moves, expected: Floats) -> Floats:
    """Return by how much the functions depart from expected changes, beyond noise, on the worse side, shape (K,); at two calls."""
    sides = np.array([[1.0], [-1.0]])
    changes = (bench.probe.ray(moves, sides[:, 0]) - bench.base) * sides
    return np.asarray(np.abs(changes - expected).max(axis=0) - np.sqrt(2) * bench.multiplier * bench.noise)


def contradicted_without_kink(bench: Bench, leaf: int, indices: Indices, derivatives: Floats) -> Bools:
    """Tell for which functions random directions contradict the claims, agree with other derivatives and show no kink; shape (K,).

    Along most of four directions the claims must be off by twice what noise and the disagreement of two steps explain.

    Notes
    -----
    Costs 18 calls.
    """
    directions = Directions(bench, int(bench.rng.integers(2**32)), of_claims=False)
    directions.correct(leaf, indices, derivatives)
    slopes = directions.measure_fresh(chosen={leaf: indices}, longer=True)
    measured = slopes.predicted_of() - slopes.residual
    claimed = directions.predict(slopes.parts, leaf, bench.claims[leaf].values)
    agrees = np.abs(slopes.residual) <= DISAGREES * slopes.deviation
    contradicts = np.abs(claimed - measured) > 2 * DISAGREES * slopes.deviation
    return np.asarray(np.count_nonzero(agrees & contradicts, axis=0) >= DIRECTIONS - 1)
