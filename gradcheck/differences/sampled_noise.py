"""The noise of functions near the point, from samples along one random direction at shorter and shorter distances.

What looks like noise over long distances may be an oscillation, a kink or a staircase; the next, nearer sample decides. No claim
is known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.counts import FEW
from gradcheck.differences.jumps import jumps_between
from gradcheck.differences.lengths import BEYOND, FIRST_STEP, RATIO, scale_is_hidden
from gradcheck.differences.noise import (
    OF_ROUNDING,
    OFFSETS,
    SAME_NOISE,
    SUSPICIOUS,
    WHOLE_OFFSETS,
    noise_from_samples,
    output_quantum,
    ulp,
)
from gradcheck.functions.blocks import BLOCK, signed
from gradcheck.functions.displacements import Moves
from gradcheck.functions.probe import BudgetExhaustedError, Probe

__all__ = [
    "SPACING",
    "is_smooth_afar",
    "lost_in_rounding",
    "measure_noise",
    "noise_and_jumps",
    "noise_of_half",
    "noise_of_single",
]

SPACING = 1.8834172961e-7
"""Spacing of the points at which noise is measured first, in units of the elements' lengths."""

SAMPLES = (
    (5507.0, SPACING),
    (-5507.0, SPACING),
    (0.0, SPACING),
    (0.0, 1.8834172961e-10),
    (0.0, 1.8834172961e-14),
    (0.0, 1.8834172961e-16),
)
"""Samples along a direction: distance from the point in spacings, spacing. The next one is taken if the function is not finite, or
if what looks like noise may be something else."""

WIDER = 64.0
"""Factor by which a sample with constant values is widened, repeatedly, up to the elements' lengths. A sample within one step of a
staircase then spans at most this many, eight from place to place; one with more is taken again eight times narrower. Up to a
quarter as many steps may be fitted by a polynomial."""


def measure_noise(
    probe: Probe, base: Floats, lengths: dict[int, Floats], rng: np.random.Generator, fewest: int = 2
) -> Floats:
    """Measure the standard deviation of the functions' noise near the point.

    Returns
    -------
    noise : array, shape (K,)
        Never below half a unit in the last place of the outputs' dtype, nor below half their quantum.

    Notes
    -----
    See `noise_and_jumps`.
    """
    return noise_and_jumps(probe, base, lengths, rng, fewest)[0]


def noise_and_jumps(
    probe: Probe,
    base: Floats,
    lengths: dict[int, Floats],
    rng: np.random.Generator,
    fewest: int = 2,
    *,
    far: bool = True,
) -> tuple[Floats, Bools]:
    """Measure the noise, and tell where it consists of jumps beside something smooth, at least ``fewest`` of them, shapes (K,).

    Such jumps are farther away than the samples; they are searched for unless ``far`` is False.

    Notes
    -----
    Costs 8 to 13 calls, 21 if parameters are in single precision and values in double. Up to 40 more at the edge of a domain, and if
    what looks like noise may be a fast oscillation; those of `jumps_between` if it may jump; and 24 to 72 for each side of the point
    on which the function is constant.
    """
    probe = probe.one_by_one()  # whether it may be called with many points at once is tested when its noise is known
    floor = np.maximum(np.maximum(ulp(base[None]), np.finfo(np.float64).tiny) / 2, probe.rounding())
    seen = _Seen(probe, base)
    for sample in _samples(probe, lengths, floor, rng):
        seen.add(sample)
        if sample.is_nearest or (seen.jumps | (seen.noise <= sample.enough) | (seen.noise == seen.quantum)).all():
            break
    jumps = seen.look_far(floor, fewest) if far else np.zeros_like(seen.jumps)
    noise = np.maximum(np.where(np.isfinite(seen.noise), seen.noise, 4 * floor), floor)
    lost = np.maximum(noise, lost_in_rounding(probe, base, list(lengths)))
    return np.asarray(np.where(seen.stands_still, lost, noise)), jumps


@dataclass(frozen=True, slots=True)
class _Sample:
    """The values of the functions at some places along a direction.

    Attributes
    ----------
    moves : dict
        The direction: integer multiples of it are exact.
    length : float
        The longest of the moves.
    places : array, shape (POINTS,)
        In moves; the first is 0 where the sample is taken at the point itself.
    values : array, shape (POINTS, K)
    enough : array, shape (K,)
        Noise up to this needs no nearer sample.
    is_nearest : bool
        Whether the places are neighbouring numbers of the dtypes of the parameters.
    is_coarse : bool
        Whether a move is far longer than was asked for, since half precision has no shorter ones.
    is_rounded : bool
        Whether single precision inside may have put the values on a line.
    """

    moves: Moves
    length: float
    places: Floats
    values: Floats
    enough: Floats
    is_nearest: bool
    is_coarse: bool = False
    is_rounded: bool = False

    @property
    def offsets(self) -> Floats:
        """Distances from the first place."""
        return np.asarray(self.places - self.places[0])

    @property
    def noise(self) -> Floats:
        """The noise of this sample, shape (K,): infinite if it may be the smooth part; of the nearest sample an upper bound."""
        most = np.where(self.is_nearest, np.inf, self.enough)
        return np.array(
            [_settled(column, self.offsets, limit) for column, limit in zip(self.values.T, most, strict=True)]
        )

    def quantum(self, base: Floats) -> Floats:
        """Return half the spacing of the grid on which all values lie, shape (K,)."""
        columns = zip(self.values.T, base, strict=True)
        return np.array([output_quantum(np.append(column, at)) / 2 for column, at in columns])


def _samples(probe: Probe, lengths: dict[int, Floats], floor: Floats, rng: np.random.Generator) -> Iterator[_Sample]:
    """Yield nearer and nearer samples, as far as the functions are finite there."""
    signs = {leaf: signed(len(scale), rng) for leaf, scale in lengths.items()}
    resolutions = [probe.point.leaves[leaf].format.eps for leaf in lengths]
    coarsest, finest = max(resolutions, default=0.0), min(resolutions, default=0.0)
    double = float(np.finfo(np.float64).eps)
    # By chance single precision may put the values at multiples of a move on a line: another move shows that.
    is_rounded = coarsest > double >= probe.output.eps
    # In half precision the distant samples would be several times an element's size away.
    samples = [(distance, spacing) for distance, spacing in SAMPLES if abs(distance) * coarsest <= 1]
    # Twice that, since rounding a move to the dtype lengthens it by less than a factor of two.
    farthest = 2 * (max(abs(distance) for distance, _ in samples) + OFFSETS[-1])
    for distance, spacing in samples:
        is_nearest = spacing < finest and finest > double  # units of double precision are nearer than what is sampled
        offsets = OFFSETS if coarsest <= double else np.arange(float(len(OFFSETS))) if is_nearest else WHOLE_OFFSETS
        moves = {
            leaf: _exact(probe, leaf, spacing, signs[leaf], scale, distance, farthest)
            for leaf, scale in lengths.items()
        }
        values = probe.ray(moves, distance + offsets)
        if np.isfinite(values).all():
            enough = np.maximum(SUSPICIOUS * ulp(values), OF_ROUNDING * floor)
            if distance > 0 and is_rounded:
                enough = np.zeros_like(enough)
                signs = {leaf: signed(len(scale), rng) for leaf, scale in lengths.items()}
            yield _Sample(
                moves,
                _longest(moves),
                distance + offsets,
                values,
                enough,
                is_nearest,
                len(samples) < len(SAMPLES),
                is_rounded,
            )


class _Seen:
    """The noise according to the samples so far, shapes (K,)."""

    def __init__(self, probe: Probe, base: Floats) -> None:
        self.probe, self.base = probe, base
        self.noise = np.full_like(base, np.inf)
        self.quantum = np.zeros_like(base)
        self.jumps = np.zeros(base.shape, dtype=bool)
        """Where it consists of jumps, which nearer samples do not make smaller."""
        self.first: _Sample | None = None
        self.last: _Sample | None = None
        self._stood_still = np.ones(base.shape, dtype=bool)

    @property
    def stands_still(self) -> Bools:
        """Where all values so far equal the one at the point."""
        return self._stood_still if self.last is not None else np.zeros_like(self._stood_still)

    def add(self, sample: _Sample) -> None:
        """Take a sample into account."""
        self._stood_still &= (sample.values == self.base).all(axis=0)
        self.quantum = np.maximum(self.quantum, sample.quantum(self.base))
        if sample.places[0]:  # a kink within a sample looks like noise, but on one side of the point only
            estimate = _staircase_noise(self.probe, sample)
            before = np.where(np.isfinite(self.noise), self.noise, estimate)
            less, more = np.minimum(before, estimate), np.maximum(before, estimate)
            by_chance = sample.is_rounded & (SAME_NOISE * less < np.finfo(np.float32).eps / 2 * np.abs(self.base))
            is_kink = (more > SAME_NOISE * less) & ~by_chance
            self.noise = np.maximum(np.where(is_kink, less, more), self.quantum)
        elif self.last is None:
            stands = self._stood_still.any()  # as in half precision, which has no distant samples
            self.noise = np.maximum(_staircase_noise(self.probe, sample) if stands else sample.noise, self.quantum)
        else:
            self._look_from_nearer(sample, self.last)
        self.first, self.last = self.first or sample, sample

    def look_far(self, floor: Floats, fewest: int) -> Bools:
        """Search for jumps if slopes do not explain the change over a long distance; tell for which functions there are any.

        The stairs of single or half precision may be longer than the whole sample.
        """
        sample = self.first
        if sample is None or sample.is_coarse or (self.jumps | (self.noise > sample.enough)).all():
            return np.zeros_like(self.jumps)
        way = 2 * np.rint(FIRST_STEP / SPACING)  # as far as a difference spans
        self.noise = np.maximum(self.noise, floor)
        least = self._unexplained(sample, way, fewest)
        noise = jumps_between(self.probe, sample.moves, way, least) / np.sqrt(12)
        jumps = np.asarray(noise > SAME_NOISE * self.noise)
        self.noise = np.where(jumps, noise, self.noise)
        return jumps

    def _unexplained(self, sample: _Sample, way: float, fewest: int) -> Floats:
        """Return the smallest jump that would explain the change over a distance; NaN where slopes at its ends and middle explain it.

        For a smooth function they do. Beyond kinks the slope in the middle is not between the others. The change by stairs beside
        something smooth is missing from the slopes over both halves alike.
        """
        places = np.array([1.0, way / 2, way / 2 + 1, way, way + 1])
        values = np.stack([self.base, *_values_or_nan(self.probe, sample.moves, places)]).reshape(3, 2, -1)
        at, slopes = values.mean(axis=1), values[:, 1] - values[:, 0]
        missing = np.diff(at, axis=0) - way / 2 * (slopes[1:] + slopes[:-1]) / 2
        bent = way / 2 * np.abs(slopes[1] - (slopes[0] + slopes[2]) / 2)
        less, more = np.sort(np.abs(missing), axis=0)
        alike = (missing[0] * missing[1] > 0) & (SAME_NOISE * less > more)
        less = less if fewest > 1 else more
        least = 2 * less * sample.offsets[-1] / way  # if there is one jump over each width of the sample
        asked = (alike | (fewest == 1)) & (less > 8 * bent)
        asked &= less > SAME_NOISE * way * self.noise  # noise of the slopes
        return np.where(asked, least, np.nan)

    def _look_from_nearer(self, sample: _Sample, last: _Sample) -> None:
        """Take the smaller noise of a nearer sample, unless it is smaller because a staircase is constant there.

        An oscillation looks like noise in a distant sample and is smooth, and steep, in a near one.
        """
        is_known = np.isfinite(self.noise)
        still = np.diff(sample.values, axis=0) == 0
        self.jumps = self.jumps | (is_known & still.all(axis=0))  # a still nearer sample would show no more
        staircase = is_known & (self.jumps | still.any(axis=0))
        less = np.maximum(np.minimum(self.noise, sample.noise), self.quantum)
        falls = is_known & ~staircase & (less * SAME_NOISE < self.noise)
        if falls.any():
            reach = float(np.abs(last.places).max()) * last.length / sample.length
            asked = np.where(falls, self.noise, np.nan)
            self.jumps = self.jumps | (jumps_between(self.probe, sample.moves, reach, asked) > 0)
        self.noise = np.where(staircase | self.jumps, self.noise, less)


def is_smooth_afar(probe: Probe, lengths: dict[int, Floats], noise: Floats, rng: np.random.Generator) -> Bools:
    """Tell which functions are smooth, to within their noise, over the longest moves of elements; shape (K,).

    All elements are moved together, so that kinks and stairs of any of them show.

    Notes
    -----
    Costs 8 calls.
    """
    moves = {leaf: scale * signed(len(scale), rng) for leaf, scale in lengths.items()}
    reach = RATIO * FIRST_STEP
    values = _values_or_nan(probe, moves, reach * (2 * OFFSETS / OFFSETS[-1] - 1))
    found = [noise_from_samples(column, OFFSETS) for column in values.T]
    return np.array([settled and seen <= SAME_NOISE * own for (seen, settled), own in zip(found, noise, strict=True)])


def noise_of_single(probe: Probe, base: Floats, leaves: list[int]) -> Floats:
    """Return the largest noise or jump that single precision inside the functions explains, shape (K,)."""
    return _noise_of(probe, base, leaves, np.float32)


def noise_of_half(probe: Probe, base: Floats, leaves: list[int]) -> Floats:
    """Return the same for half precision."""
    return _noise_of(probe, base, leaves, np.float16)


def _noise_of(probe: Probe, base: Floats, leaves: list[int], dtype: type[np.floating[Any]]) -> Floats:
    return OF_ROUNDING * lost_in_rounding(probe, base, leaves, float(np.finfo(dtype).eps))


def lost_in_rounding(probe: Probe, base: Floats, leaves: list[int], eps: float = 0.0) -> Floats:
    """Return the changes that constant functions may lose by rounding of intermediate numbers, shape (K,).

    ``log(1 + exp(-x))`` is zero where the sum is rounded to 1, as are losses of samples that are classified well. The intermediate
    numbers are taken to be as large as 1, the value or the largest parameter, and their epsilon to be at least ``eps``.
    """
    values = (probe.point.leaves[leaf].value for leaf in leaves)
    largest = max((float(np.abs(value).max(initial=1.0)) for value in values), default=1.0)
    eps = max(eps, probe.output.eps, float(np.finfo(np.float64).eps))
    weight = np.abs(probe.cotangents).sum(axis=1)
    return np.asarray(eps / 2 * np.maximum(np.abs(base), weight * largest))


def _longest(moves: dict[int, Floats]) -> float:
    """Return the size of the longest move, as rounded to the dtypes."""
    return max((float(max(move.max(), -move.min())) for move in moves.values() if move.size), default=0.0)


def _settled(values: Floats, offsets: Floats, enough: float) -> float:
    """Return the noise of sampled values, or infinity if it exceeds ``enough`` and may be the function's smooth part."""
    noise, settled = noise_from_samples(values, offsets)
    return noise if settled or noise <= enough else np.inf


def _exact(
    probe: Probe, leaf: int, spacing: float, signs: Floats, lengths: Floats, distance: float, reach: float
) -> Floats:
    """Return a move of each element, integer multiples of which, up to ``reach``, are exact in the dtype of the parameters.

    In samples at the point, with ``distance`` 0, moves are in proportion to the element's own size: the edge of a domain may be near.
    In distant ones they are at most a hundredth of it, since for larger elements of the leaf the function may be larger and noisier.
    Beyond the next power of two the dtype has only every other number: elements just below it move away from it.
    """
    held = probe.point.leaves[leaf]
    flat, exact = held.value.ravel(), np.empty_like(signs)
    most = BEYOND if distance else 1.0
    for start in range(0, len(exact), BLOCK):
        block = slice(start, start + BLOCK)
        value = np.abs(flat[block])
        sizes = value.astype(np.float64)
        hidden = scale_is_hidden(sizes, lengths[block])
        near = np.where(hidden, lengths[block], np.minimum(most * sizes, lengths[block]))
        moves = spacing * signs[block] * near
        unit = held.format.spacing(value)
        away = reach * np.maximum(np.abs(moves), unit)
        beyond = held.format.spacing(value + away)
        is_below = (beyond > unit) & (away < sizes)
        unit = np.where(is_below, unit, beyond)
        signed = np.where(is_below, flat[block] if distance < 0 else -flat[block], moves)
        exact[block] = np.where(
            moves == 0, 0.0, np.copysign(np.maximum(np.rint(np.abs(moves) / unit), 1.0) * unit, signed)
        )
    return exact


def _staircase_noise(probe: Probe, sample: _Sample) -> Floats:
    """Return the noise that a sample shows, or that of its steps for a function constant between two places, shape (K,).

    Such functions are sampled over longer distances. One that never changes is constant; one that changes smoothly once it changes was
    in a flat region, as of a ReLU.
    """
    values, offsets, start = sample.values, sample.offsets, sample.places[0]
    stairs = np.any(np.diff(values, axis=0) == 0, axis=0)
    noise = np.where(stairs, np.maximum(sample.noise, _noise_from_steps(values, offsets)), sample.noise)
    still, wide = stairs & (_distinct(values) < FEW), 1.0
    while np.any(still) and (wide := wide * WIDER) * SPACING < 1:
        wider, width = _values_or_nan(probe, sample.moves, start + wide * offsets), np.full(still.shape, wide)
        many = still & (np.ptp(wider, axis=0) > WIDER * _least_change(wider))
        if many.any():
            nearer = _values_or_nan(probe, sample.moves, start + wide / 8 * offsets)
            many &= _is_moved(nearer, values)
            wider, width = np.where(many, nearer, wider), np.where(many, wide / 8, width)
        moved = still & _is_moved(wider, values)
        height, distinct = _noise_from_steps(wider, offsets), _distinct(wider)
        furthest = width * offsets[np.argmax(np.abs(wider - values[0]), axis=0)]
        for away in np.unique(furthest[moved]):  # where it has changed: elsewhere a flat region is constant as well
            there = _values_or_nan(probe, sample.moves, start + away + offsets)
            found = moved & (furthest == away)
            stairs = found & (np.diff(there, axis=0) == 0).any(axis=0)
            noise = np.where(stairs, np.maximum(noise, height), noise)
            still &= ~found | (stairs & (distinct < FEW))
    return noise


def _is_moved(there: Floats, here: Floats) -> Bools:
    """Tell which functions have another value in some place, shape (K,)."""
    return np.asarray((np.abs(there - here[0]) > 0).any(axis=0))


def _distinct(values: Floats) -> Indices:
    """Return how many different values functions take, shape (K,)."""
    return np.array([len(np.unique(column)) for column in values.T])


def _least_change(values: Floats) -> Floats:
    """Return the least change of functions between neighbouring places, 0 for constants, shape (K,)."""
    changes = np.abs(np.diff(values, axis=0))
    return np.asarray(np.where(changes > 0, changes, np.ptp(values, axis=0)).min(axis=0))


def _noise_from_steps(values: Floats, offsets: Floats) -> Floats:
    """Return the noise of staircases with these values, shape (K,).

    A polynomial may fit a few steps of differing width: the noise is bounded from below by that of the smallest step.
    """
    noise, least = np.array([noise_from_samples(column, offsets)[0] for column in values.T]), _least_change(values)
    few = np.ptp(values, axis=0) <= WIDER / 4 * least
    return np.where(few, np.maximum(noise, least / np.sqrt(12) / SAME_NOISE), noise)


def _values_or_nan(probe: Probe, moves: Moves, places: Floats) -> Floats:
    """Return the values at distant places, NaN if the function raises: it need not be defined there."""
    try:
        return probe.ray(moves, places)
    except BudgetExhaustedError:
        raise
    except Exception:  # noqa: BLE001 - whatever the function raises there: its value was not required
        return np.full((len(places), len(probe.cotangents)), np.nan)
