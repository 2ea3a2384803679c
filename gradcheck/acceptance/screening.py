"""Screening: the noise, a step for each leaf, and one central difference for each element.

Claims that a difference contradicts are compared with other steps. Then the elements are tested together: for an error
that a whole leaf shares, and for zeros that move the functions only jointly.
"""

from __future__ import annotations

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import Outcome
from gradcheck.acceptance.ledger import Estimate
from gradcheck.acceptance.pooled import fit_common_error, joint_slope, tied_groups
from gradcheck.aliases import Bools, Chosen, Floats, Indices
from gradcheck.differences.complex_step import complex_slopes
from gradcheck.differences.counts import DOZEN, STAYS, evenly
from gradcheck.differences.ladder import FEWEST_LEVELS
from gradcheck.differences.lengths import BETWEEN, FIRST_STEP, RATIO, SHORTEST_STEP
from gradcheck.differences.noise import SUSPICIOUS, ulp
from gradcheck.differences.scale import measure_noise_and_lengths
from gradcheck.differences.steps import DEFAULT_STEP, choose_step
from gradcheck.differences.vectorized import require_rowwise
from gradcheck.functions.repeated import require_same

__all__ = [
    "measure_noise",
    "pilot",
    "prepare",
    "screen",
    "screen_if_flat",
    "step_along_the_imaginary_axis",
]


def prepare(bench: Bench) -> None:
    """Measure noise and lengths, if they are not known, and choose a step for each leaf; beyond a dozen leaves the median of theirs."""
    measure_noise(bench)
    largest = sorted(bench.claims, key=lambda leaf: -bench.lengths[leaf].size)[:DOZEN]
    for leaf in largest:
        pilot(bench, leaf)
    others = {leaf: scale for leaf, scale in bench.lengths.items() if leaf not in largest}
    require_rowwise(bench.probe, others, bench.noise, bench.rng)
    noisy = (bench.noise > SUSPICIOUS * ulp(bench.base[None])).any()
    usual = float(np.median(list(bench.steps.values()))) if bench.steps else FIRST_STEP if noisy else DEFAULT_STEP
    bench.steps = {leaf: bench.steps.get(leaf, usual) for leaf in bench.claims}


def pilot(bench: Bench, leaf: int) -> None:
    """Choose a step for a leaf, if the function resolves one; shorten its lengths if the step is far below the usual ones."""
    step = choose_step(bench.probe, leaf, bench.lengths[leaf], bench.base, bench.noise, bench.rtol, bench.rng)
    if step is not None and step < SHORTEST_STEP:
        _shorten(bench, leaf, step / DEFAULT_STEP)
        step = DEFAULT_STEP
    if step is not None:
        bench.steps[leaf] = step


def _shorten(bench: Bench, leaf: int, factor: float) -> None:
    """Shorten the lengths of a leaf whose values say nothing about their scale, such as times in seconds since 1970.

    Not where the length of some element exceeds its own size: perhaps only that one is too long.
    """
    size = np.abs(bench.leaves[leaf].value.ravel())
    if (bench.lengths[leaf] <= 2 * size).all():
        bench.shortened[leaf] = factor
        bench.lengths[leaf] = factor * bench.lengths[leaf]


def measure_noise(bench: Bench) -> None:
    """Measure noise and lengths, if they are not known."""
    if np.isnan(bench.noise).any():
        bench.noise, bench.jumps, bench.lengths = measure_noise_and_lengths(
            bench.probe, bench.base, bench.lengths, bench.rtol, bench.rng
        )


def step_along_the_imaginary_axis(bench: Bench) -> None:
    """Differentiate every element by a complex step.

    Raises
    ------
    NotAnalyticError
        When the function does not allow it; nothing has changed then.
    """
    bench.exact = complex_slopes(
        bench.probe, bench.base, bench.lengths, bench.noise, multiplier=bench.multiplier, rng=bench.rng
    )


def screen(bench: Bench, chosen: Chosen | None = None) -> None:
    """Compare every claim with one central difference, or those of the elements chosen in some leaves."""
    if chosen is None:
        confirming = 2 * 2 * FEWEST_LEVELS  # calls of two ladders, of which the second confirms the first
        chosen = _sample(bench, max(0.0, bench.probe.budget.left - confirming) / 2)
    plain = {}
    for leaf, indices in chosen.items():
        if len(indices):
            plain[leaf] = bench.slopes(leaf, indices)
            _enter(bench, leaf, indices, *plain[leaf])
    _require_repeatable(bench, {leaf: (chosen[leaf], slope) for leaf, (slope, _, _) in plain.items()})
    for leaf, (slope, _, deviation) in plain.items():
        _screen_again(bench, leaf, chosen[leaf], slope)
        _test_common_error(bench, leaf, chosen[leaf], slope, deviation)
    _move_zeros_together(bench)


def screen_if_flat(bench: Bench, leaf: int) -> None:
    """Compare the claims of a leaf with differences over the longest step, where noise hides least, if the functions stay as they are over it.

    So do those that a parameter does not move, such as a bias before a normalisation.
    """
    indices = bench.ledgers[leaf].known
    slope, curvature, deviation = bench.difference(leaf, indices, FIRST_STEP)
    step = FIRST_STEP * bench.lengths[leaf][indices, None]
    moves = np.abs(slope) + np.abs(curvature) * step / 2  # the larger of both changes, by the step
    if not (moves > 2 * bench.multiplier * bench.noise / step).any():
        _enter(bench, leaf, indices, slope, curvature, deviation)


def _require_repeatable(bench: Bench, screened: dict[int, tuple[Indices, Floats]]) -> None:
    """Measure the difference that contradicts its claim most clearly twice more: if its values change, the functions are not deterministic."""
    worst = (0.0, -1, 0)
    for leaf, (indices, _) in screened.items():
        found = bench.decide(leaf, indices)
        if not found.excluded.any():
            continue
        errors = np.where(found.excluded, np.abs(bench.claims[leaf].values[indices] - found.reference), 0.0)
        ratio = np.nan_to_num((errors / np.maximum(found.noise, np.finfo(float).tiny)).max(axis=1, initial=0.0))
        row = int(ratio.argmax())
        worst = max(worst, (float(ratio[row]), leaf, row))
    _, leaf, row = worst
    if leaf < 0 or leaf in bench.exact:
        return
    indices, slopes = screened[leaf]
    again, _, deviation = bench.slopes(leaf, indices[[row, row]])
    require_same(again, slopes[[row]], bench.multiplier * deviation)


def _enter(
    bench: Bench,
    leaf: int,
    indices: Indices,
    slope: Floats,
    curvature: Floats,
    deviation: Floats,
    where: Bools | None = None,
) -> None:
    """Enter differences, second differences and the noise of the first; of entries not in ``where`` nothing."""
    limited = RATIO * bench.steps[leaf] >= FIRST_STEP  # a longer one would hardly show more
    noise = bench.multiplier * deviation
    bench.ledgers[leaf].add(Estimate.difference(indices, slope, noise, curvature, limited=limited, where=where))


def _sample(bench: Bench, affordable: float) -> Chosen:
    """Choose the elements to screen: all, or as many as the budget allows, drawn at random."""
    everything = {leaf: np.arange(claim.values.shape[0]) for leaf, claim in bench.claims.items()}
    if bench.probe.vectorized or affordable >= bench.elements:
        return everything
    keys = np.concatenate([np.full(len(indices), leaf) for leaf, indices in everything.items()])
    numbers = np.concatenate(list(everything.values()))
    drawn = np.sort(bench.rng.choice(len(keys), size=int(affordable), replace=False))
    return {leaf: numbers[drawn][keys[drawn] == leaf] for leaf in everything}


def _screen_again(bench: Bench, leaf: int, indices: Indices, slope: Floats) -> None:
    """Screen contradicted elements with other steps: truncation or a nearby kink may be the only reason.

    Of many a dozen first: if that clears none, most are wrong, and the rest is left to tests of many elements at once.
    """
    if leaf in bench.exact:
        return
    rows = np.asarray(_contradicted(bench, leaf, indices)[0].any(axis=1)).nonzero()[0]
    if not len(rows):
        return
    dozen, rest = rows, rows[:0]
    if len(rows) > 2 * DOZEN:
        dozen = evenly(rows, DOZEN)
        rest = np.setdiff1d(rows, dozen)
    _screen_with_other_steps(bench, leaf, indices[dozen], slope[dozen], len(indices))
    if len(rest) and not _contradicted(bench, leaf, indices[dozen])[0].any(axis=1).all():
        _screen_with_other_steps(bench, leaf, indices[rest], slope[rest], len(indices))


def _screen_with_other_steps(bench: Bench, leaf: int, indices: Indices, slope: Floats, among: int) -> None:
    """Screen contradicted elements, out of ``among`` screened ones, with shorter steps while noise allows and some are cleared.

    Where noise allows no shorter step a longer one is taken. From two steps the truncation error, quadratic in the step, is removed.
    """
    _extrapolate_with_longer_step(bench, leaf, indices, slope)
    step, before = bench.steps[leaf], among + 1
    while True:  # fewer and fewer elements
        contradicted, improves = _contradicted(bench, leaf, indices)
        rows = (contradicted & improves).any(axis=1)
        count = int(np.count_nonzero(rows))
        if not count or count >= STAYS * before:
            return
        step, before, last, indices = step / BETWEEN, count, slope[rows], indices[rows]
        slope, curvature, deviation = bench.difference(leaf, indices, step)
        _enter(bench, leaf, indices, slope, curvature, deviation)
        is_open = bench.decide(leaf, indices).outcome == Outcome.OPEN
        _enter(bench, leaf, indices, _extrapolated(slope, last), curvature, _amplified(deviation), is_open)


def _contradicted(bench: Bench, leaf: int, indices: Indices) -> tuple[Bools, Bools]:
    """Return where screening contradicts the claim, and where noise allows a shorter step, shapes (m, K)."""
    found = bench.decide(leaf, indices)
    improves = bench.rtol * np.abs(bench.claims[leaf].values[indices]) > BETWEEN * found.noise
    return (found.outcome == Outcome.OPEN) & found.excluded, improves


def _extrapolate_with_longer_step(bench: Bench, leaf: int, indices: Indices, slope: Floats) -> None:
    """Screen elements with the extrapolation of their first difference and one with a longer step."""
    contradicted, improves = _contradicted(bench, leaf, indices)
    concerned = contradicted & ~improves
    rows = concerned.any(axis=1)
    if not rows.any():
        return
    ratio = max(1 / BETWEEN, bench.steps[leaf] / (RATIO * FIRST_STEP))
    longer, curvature, deviation = bench.difference(leaf, indices[rows], bench.steps[leaf] / ratio)
    better = _extrapolated(slope[rows], longer, ratio)
    _enter(bench, leaf, indices[rows], better, curvature, _amplified(deviation / ratio, ratio), concerned[rows])


def _extrapolated(shorter: Floats, longer: Floats, ratio: float = 1 / BETWEEN) -> Floats:
    """Return differences without truncation error, from those with two steps, the longer one ``1 / ratio`` times the shorter; shape (m, K)."""
    return np.asarray(shorter + (shorter - longer) * ratio**2 / (1 - ratio**2))


def _amplified(deviation: Floats, ratio: float = 1 / BETWEEN) -> Floats:
    """Return a bound on the deviation of an extrapolation from that of the difference with the shorter step, shape (m, K)."""
    return deviation * ((1 + ratio**3) / (1 - ratio**2))


def _test_common_error(bench: Bench, leaf: int, indices: Indices, slope: Floats, deviation: Floats) -> None:
    """Look for an error that a whole leaf has in common, among elements that noise keeps from being judged one by one.

    A common truncation error looks the same, but changes with the step: a second step must confirm the error.
    """
    claim = bench.claims[leaf].values[indices]
    noise = bench.multiplier * deviation
    noisy = (noise > bench.rtol * np.abs(claim)) & (np.abs(claim - slope) <= 2 * noise)
    if np.count_nonzero(noisy) < DOZEN:  # mostly none
        return
    sizes = np.abs(bench.leaves[leaf].value.ravel()[indices]).astype(np.float64)
    # The truncation error of elements smaller than their step need not shrink with it, and may be common to all.
    noisy &= ((sizes == 0) | (bench.steps[leaf] * bench.lengths[leaf][indices] <= sizes))[:, None]
    if np.count_nonzero(noisy.any(axis=1)) < DOZEN:
        return
    places = np.unravel_index(indices, bench.leaves[leaf].value.shape)
    deviation = np.where(noisy, deviation, np.nan)
    first = fit_common_error(claim, slope, deviation, places)
    seen = first.significant & (np.abs(first.share) > bench.rtol)
    if not seen.any():
        return
    if bench.probe.budget.left < 2 * len(indices):
        return
    shorter, _, deviation = bench.difference(leaf, indices, bench.steps[leaf] / BETWEEN)
    deviation = np.where(noisy, deviation, np.nan)
    second = fit_common_error(claim, shorter, deviation, places)
    extrapolated = _extrapolated(shorter, slope)
    best = fit_common_error(claim, extrapolated, deviation / (1 - BETWEEN**-2), places)
    wrong = first.significant & second.confirmed_by(best) & (np.abs(best.share) > bench.rtol)
    bench.common_error[leaf] = np.where(wrong, best.share, 0.0)
    bench.ledgers[leaf].version += 1


def _move_zeros_together(bench: Bench) -> None:
    """Move elements together whose claim and difference are both zero; where that changes ``f``, enter the slope."""
    zeros = {}
    for leaf, ledger in bench.ledgers.items():
        known = ledger.known
        known = known[(bench.claims[leaf].values[known] == 0).all(axis=1)]
        if not len(known):
            continue
        found = bench.decide(leaf, known)
        zeros[leaf] = known[(np.abs(found.reference) <= found.noise).all(axis=1)]
    moves = {leaf: _common_move(bench, leaf, indices) for leaf, indices in zeros.items() if len(indices)}
    noise = bench.multiplier * bench.noise
    if not moves or not joint_slope(bench.probe, moves, noise).any():
        return
    for leaf in moves:
        for group in tied_groups(bench.leaves[leaf].value, zeros[leaf]):
            slope = joint_slope(bench.probe, {leaf: _common_move(bench, leaf, group)}, noise)
            if slope.any():
                step = np.mean(bench.lengths[leaf][group]) * bench.steps[leaf]
                bench.ledgers[leaf].add(Estimate.joint(group, noise / step, slope / step))


def _common_move(bench: Bench, leaf: int, indices: Indices) -> Floats:
    """Return a move of a leaf, shape (n,): some elements, all upwards, by about the screening step."""
    move = np.zeros_like(bench.lengths[leaf])
    spread = bench.rng.uniform(0.5, 1.5, len(indices))
    move[indices] = bench.steps[leaf] * bench.lengths[leaf][indices] * spread
    return move
