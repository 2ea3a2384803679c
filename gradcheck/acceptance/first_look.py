"""The first measurements along random directions, with a step so short that they cross few kinks."""

from __future__ import annotations

import numpy as np

from gradcheck.acceptance.directions import Directions, Slopes
from gradcheck.acceptance.individual import Individual
from gradcheck.differences.counts import SMALL
from gradcheck.differences.lengths import RATIO

__all__ = ["first_look"]


def first_look(directions: Directions, individual: Individual) -> Slopes:
    """Measure along four directions; the step is shortened while kinks or truncation cause more uncertainty than noise."""
    individual.judge_infinite()
    slopes = directions.measure_fresh()
    while slopes.are_blurred(directions.bench.noise):
        uncertain, step = np.median(slopes.deviation, axis=0), directions.step
        directions.step = step / RATIO
        shorter = directions.measure_fresh()
        left = np.median(shorter.deviation, axis=0)
        if ((left * RATIO > uncertain) | np.isinf(left)).any():
            directions.step = step
            break
        slopes = shorter
    return _without_zeros(directions, individual, slopes)


def _without_zeros(directions: Directions, individual: Individual, slopes: Slopes) -> Slopes:
    """Judge elements that are exactly zero one by one, if directions without them cross fewer kinks.

    At zero itself many functions have a kink: ``abs``, or a ReLU of a bias. Zeros are judged, at about six calls
    each, if they are at most 128, or a quarter of all elements and at most 1,024.
    """
    bench = directions.bench
    values = {leaf: bench.leaves[leaf].value.ravel() for leaf in bench.claims}
    zeros = {leaf: np.flatnonzero(value == 0) for leaf, value in values.items() if (value == 0).any()}
    uncertain = np.median(slopes.deviation, axis=0)
    most = max(SMALL, min(directions.elements // 4, 8 * SMALL))
    if not 0 < sum(map(len, zeros.values())) <= most or not slopes.are_blurred(bench.noise):
        return slopes
    for leaf, indices in zeros.items():
        directions.hold(leaf, indices)
    without = directions.measure(slopes.parts)
    if (np.median(without.deviation, axis=0) > uncertain / RATIO).any():
        for leaf, indices in zeros.items():
            directions.release(leaf, indices)
        return slopes
    individual.judge(zeros)
    return directions.measure(slopes.parts)
