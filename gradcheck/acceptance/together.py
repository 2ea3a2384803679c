"""Many elements that contradict their claims, confirmed at once along random directions.

Screening has measured each of them with one difference. Those derivatives predict the change of the functions when all
the elements move together: other points, another step. Where fresh directions agree with the prediction, and values
ahead and behind show no kink, every one of the derivatives is confirmed to what would have shown in its element alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.decide import Decision
from gradcheck.acceptance.directions import ALLOWANCE, DIRECTIONS, DISAGREES, INFORMATIVE, Directions
from gradcheck.acceptance.ledger import Estimate

__all__ = ["bends_less", "confirm_together"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

PRECISE = 100.0
"""An error must be this many times the bound that directions give: an explanation needs to know it to two digits."""


def confirm_together(bench: Bench, chosen: dict[int, Indices]) -> None:
    """Enter the derivatives that screening gave for some elements as confirmed, with a bound, if directions agree with them.

    Parameters
    ----------
    bench : Bench
        Where the elements were screened.
    chosen : dict
        Position of a leaf -> some of its elements.

    Notes
    -----
    Costs 18 calls, however many elements there are.
    """
    directions = Directions(bench, int(bench.rng.integers(2**32)), of_claims=False)
    noise: dict[int, Floats] = {}
    decided: dict[int, Decision] = {}
    for leaf, indices in chosen.items():
        found = decided[leaf] = bench.decide(leaf, indices)
        directions.correct(leaf, indices, found.reference)
        noise[leaf] = np.zeros_like(directions.believed[leaf])
        noise[leaf][indices] = np.hypot(found.noise / bench.multiplier, ALLOWANCE * bench.rtol * found.reference)
    parts = [directions.redraw(directions.of_elements(chosen)) for _ in range(DIRECTIONS)]
    slopes = directions.measure(parts)
    allowed = DISAGREES * np.hypot(slopes.deviation, directions.spread(parts, noise))
    if np.any(np.abs(slopes.residual) > allowed) or not np.all(np.isfinite(allowed)):
        return
    needed = np.abs(slopes.residual) + DISAGREES * slopes.deviation
    moves = [directions.moves(part) for part in parts]
    for leaf, indices in chosen.items():
        moved = np.abs([move[leaf][indices] for move in moves])[..., None]
        value = directions.believed[leaf][indices]
        bound = np.min(2 * needed[:, None] / moved, axis=0) + decided[leaf].noise
        error = np.abs(bench.claims[leaf].values[indices] - value)
        known = np.all(np.isfinite(bound) & np.isfinite(value), axis=1)
        known &= np.all((error > PRECISE * bound) | ~decided[leaf].excluded, axis=1)
        bench.ledgers[leaf].add(Estimate.multiple(indices[known], value[known], bound[known]))


def bends_less(bench: Bench, leaf: int, indices: Indices, derivatives: Floats) -> NDArray[np.bool_]:
    """Tell for which functions elements together contradict their claims and agree with derivatives, without a kink; shape (K,).

    Along most of four random directions the claims must be off by twice what noise, and a bend of the functions, explain.

    Notes
    -----
    Costs 18 calls.
    """
    directions = Directions(bench, int(bench.rng.integers(2**32)), of_claims=False)
    directions.correct(leaf, indices, derivatives)
    parts = [directions.redraw(directions.of_elements({leaf: indices})) for _ in range(DIRECTIONS)]
    slopes = directions.measure(parts)
    measured = np.array([changes.sum(axis=0) for changes in slopes.predicted]) - slopes.residual
    claimed = directions.predict(parts, leaf, bench.claims[leaf].values)
    agrees = np.abs(slopes.residual) <= DISAGREES * slopes.deviation
    contradicts = np.abs(claimed - measured) > 2 * DISAGREES * slopes.deviation
    return np.asarray(np.count_nonzero(agrees & contradicts, axis=0) >= INFORMATIVE)
