"""Noise of functions near a point, sampled from nearer and nearer: the parts, against known levels."""

from itertools import pairwise

import numpy as np
import pytest

from gradcheck.differences.noise import OFFSETS, WHOLE_OFFSETS
from gradcheck.differences.sampled_noise import (
    _exact,
    _is_moved,
    _least_change,
    _longest,
    _noise_from_steps,
    _Sample,
    _samples,
    _Seen,
    _settled,
    _staircase_noise,
    is_smooth_afar,
    lost_in_rounding,
    measure_noise,
)
from gradcheck.functions.blocks import BLOCK, random_signs, signed
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, BudgetExhaustedError, Probe
from tests.gradcheck.differences.test_steps import probe_of


@pytest.mark.parametrize("shape", [0, 7, (3, 5)])
def test_random_signs_are_those_that_numpy_chooses(shape):
    ours, theirs = np.random.default_rng(3), np.random.default_rng(3)
    np.testing.assert_array_equal(random_signs(shape, ours), theirs.choice([-1.0, 1.0], shape), strict=True)
    assert ours.random() == theirs.random()


def test_signs_and_sizes_are_of_both_kinds_and_go_on_beyond_a_block():
    drawn = signed(BLOCK + 1000, np.random.default_rng(0))
    assert len(drawn) == BLOCK + 1000
    assert np.min(np.abs(drawn)) >= 0.5 and np.max(np.abs(drawn)) <= 1.32
    assert abs(np.mean(drawn > 0) - 0.5) < 0.02 and abs(np.mean(np.abs(drawn)) - 0.91) < 0.01


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_multiples_of_a_move_are_held_exactly_by_the_dtype(dtype):
    x = np.array([1.0, -3.3, 0.02, 1e4, 0.0], dtype=dtype)
    probe = probe_of(lambda tree: float(np.sum(tree)), x)
    signs = np.array([1.0, -0.7, 1.2, -0.5, 0.9])
    moves = _exact(probe, 0, 1.8834172961e-7, signs, np.ones(5), 10.0, 5512.0)
    assert np.all(np.sign(moves) == np.sign(signs)) and np.all(moves != 0)
    for times in (1, 3, 7, 5507):
        there = x.astype(np.float64) + times * moves
        np.testing.assert_array_equal(there.astype(dtype).astype(np.float64), there)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_all_samples_are_at_places_that_the_dtype_holds_also_just_below_a_power_of_two(dtype):
    """Beyond it the numbers lie twice as far apart, and what was between two of them is rounded: by slope times half a unit."""
    rng = np.random.default_rng(0)
    below = 2.0 ** rng.integers(-3, 4, 400) * (1 - np.finfo(dtype).epsneg * rng.integers(1, 200, 400))
    x = (below * rng.choice([-1.0, 1.0], 400)).astype(dtype)
    for sample in _samples(probe_of(lambda x: 0.0, x), {0: np.abs(x).astype(float)}, np.full(1, 1e-16), rng):
        there = x.astype(np.float64) + sample.places[:, None] * sample.moves[0]
        np.testing.assert_array_equal(there.astype(dtype).astype(np.float64), there)
        assert np.all(sample.moves[0] != 0)


def test_the_noise_of_a_coarse_value_is_its_rounding_however_curved_the_function_is_farther_away():
    """Near by it stands still, and where it has moved by hundreds of units no parabola fits it any more: in one of five cases."""
    units = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, w = (100 + rng.normal(size=4)).astype(np.float32), rng.normal(size=4)
        f = lambda x, w=w: np.float32(1e4 + 0.1 * (w @ np.tanh(x.astype(np.float64) - 100)))  # noqa: E731
        found = measure_noise(probe_of(f, x), np.array([float(f(x))]), {0: np.full(4, 100.0)}, rng)
        units.append(found[0] / np.spacing(np.float32(1e4)))
    assert np.min(units) > 0.1 and np.sum((np.array(units) > 0.2) & (np.array(units) < 0.6)) >= 29


def test_noise_that_is_not_settled_is_infinite_unless_it_is_enough():
    rng = np.random.default_rng(0)
    assert 1e-7 < _settled(1.0 + 1e-6 * rng.normal(size=8), OFFSETS, 0.0) < 1e-5
    assert _settled(np.ones(8), OFFSETS, 0.0) == 0.0
    assert np.isinf(_settled(np.sin(OFFSETS / 10), OFFSETS, 1e-9))
    assert np.isfinite(_settled(np.sin(OFFSETS / 10), OFFSETS, 10.0))


@pytest.mark.parametrize("place", [3e5, 1e6])
@pytest.mark.parametrize("seed", range(4))
def test_a_wave_of_few_units_in_the_last_place_is_no_noise(place, seed):
    """At 1e6 single precision has sixteen units in a radian: points fifty units apart tell nothing of its slope."""
    rng = np.random.default_rng(seed)
    weights, x = rng.uniform(0.5, 2, 4), (place + rng.normal(size=4)).astype(np.float32)
    f = lambda x: np.float32(weights @ np.sin(x.astype(np.float64) - place))  # noqa: E731
    found = measure_noise(probe_of(f, x), np.array([float(f(x))]), {0: np.full(4, place)}, rng)
    assert found[0] < 1e-4


@pytest.mark.parametrize("level", [1e-12, 1e-8, 1e-4])
@pytest.mark.parametrize("seed", range(3))
def test_noise_of_a_known_level_is_measured(level, seed):
    rng = np.random.default_rng(seed)
    f = lambda x: float(np.sum(x**2) + level * rng.normal())  # noqa: E731
    probe = probe_of(f, np.linspace(0.5, 1.5, 5))
    found = measure_noise(probe, np.array([5.6]), {0: np.ones(5)}, np.random.default_rng(seed))
    assert level / 4 < found[0] < 4 * level


def test_the_noise_of_a_smooth_function_is_rounding_at_thirteen_calls():
    probe = probe_of(lambda x: float(np.sum(np.sin(x))), np.linspace(0.5, 1.5, 5))
    found = measure_noise(probe, np.array([4.2]), {0: np.ones(5)}, np.random.default_rng(0))
    assert 2.0**-52 / 2 <= found[0] < 1e-14 and probe.budget.used == 13


def measured(f, x, seed=0):
    probe = probe_of(f, x)
    base = np.atleast_1d(np.asarray(f(np.array(x)), float))
    return measure_noise(probe, base, {0: np.ones(len(x))}, np.random.default_rng(seed)), probe.budget.used


X = np.linspace(0.5, 1.5, 5)


def grainy(x):
    """Noise that is the same at the same place, and another at the next number."""
    return float(np.sum(x) + 1e-6 * np.random.default_rng(int.from_bytes(np.float64(x[0]).tobytes())).normal())


def quantised(x):
    return float(np.round(np.sum(x**2), 6))


def test_several_functions_are_each_as_noisy_as_alone():
    functions = [lambda x: float(np.sum(np.sin(x))), grainy, quantised, lambda x: 3.0]
    together, _ = measured(lambda x: np.array([f(x) for f in functions]), X)
    alone = [measured(f, X)[0][0] for f in functions]
    np.testing.assert_allclose(together, alone, rtol=0.5)
    assert alone[0] < 1e-14 and 2.5e-7 < alone[1] < 4e-6 and alone[3] == 2.0**-53 * 3


@pytest.mark.parametrize("digits", [3, 6, 9])
def test_the_noise_of_rounded_values_is_half_their_quantum_at_least(digits):
    found, _ = measured(lambda x: float(np.round(np.sum(np.sin(x)), digits)), X)
    assert 0.25 * 10.0**-digits <= found[0] <= 10.0**-digits


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("many", [1, 2])
def test_a_kink_on_one_side_is_no_noise(side, many):
    """At the distance at which noise is sampled, for a step that is the same for all."""
    direction = np.random.default_rng(0).choice([-1.0, 1.0], 5)

    def f(x):
        away = float(direction @ (x - X)) * side
        return np.array([np.sum(x) + max(away - k * 1e-3, 0.0) for k in range(1, many + 1)])

    for seed in range(4):
        assert np.all(measured(f, X, seed)[0] < 1e-13)


def test_what_stands_still_may_lose_what_rounding_of_numbers_as_large_as_one_or_the_parameters_loses():
    half = 2.0**-53
    for x, base, expected in ((0.1, 3.0, 3.0), (0.1, 0.0, 1.0), (50.0, 3.0, 50.0), (-50.0, 100.0, 100.0)):
        probe = probe_of(lambda x, b=base: b, np.array([x, 0.0]))
        assert lost_in_rounding(probe, np.array([base]), [0]).tolist() == [half * expected]
    probe = probe_of(lambda x: np.array([0.0, 0.0]), np.array([50.0]))
    weighted = probe.with_cotangents(np.array([[1.0, -3.0], [0.5, 0.0]]))
    assert lost_in_rounding(weighted, np.zeros(2), [0]).tolist() == [half * 200, half * 25]


def sampled(f, first, spacing=1.0, enough=1e-12, *, is_nearest=False):
    """Return a sample of a function of the distance from the point, which has several values, and its probe."""
    places = first + OFFSETS
    probe = probe_of(lambda x: f(float(x[0])), np.zeros(1))
    values = np.array([np.atleast_1d(f(spacing * place)) for place in places])
    return _Sample(
        {0: np.full(1, spacing)}, spacing, places, values, np.full(values.shape[1], enough), is_nearest
    ), probe


def seen(*samples):
    """Return what some samples, each with the probe of the last one, say together."""
    probe = samples[-1][1]
    probe.budget.used = 0
    found = _Seen(probe, probe.ray({0: np.ones(1)}, np.zeros(1))[0])
    for sample, _ in samples:
        found.add(sample)
    return found, probe.budget.used - 1


def rough(level, seed=0):
    """Return noise that is another at each place, and the same at the same one."""
    return lambda t: level * np.random.default_rng([seed, *np.float64(t).tobytes()]).normal()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_double_precision_is_sampled_between_whole_places_and_half_precision_by_single_units(dtype):
    x = np.array([0.7, 1.3], dtype)
    probe = probe_of(lambda x: float(np.sum(x)), x)
    found = list(_samples(probe, {0: np.ones(2)}, np.full(1, 1e-16), np.random.default_rng(0)))
    offsets = {np.float16: np.arange(8.0), np.float32: WHOLE_OFFSETS, np.float64: OFFSETS}[dtype]
    np.testing.assert_allclose(found[0].offsets, offsets)
    assert found[0].is_nearest == (dtype == np.float16) and found[-1].is_nearest == (dtype != np.float64)
    assert [bool(sample.places[0]) for sample in found[:3]] == (
        [False] * 3 if dtype == np.float16 else [True, True, False]
    )
    assert all(later.length <= (3 if dtype is np.float32 else 1) * sooner.length for sooner, later in pairwise(found))


def test_a_wave_is_resolved_from_as_near_as_its_period_is_short():
    """Ten thousand million radians in a unit: of double precision there are 450 numbers in each."""
    found, _ = measured(lambda x: float(np.sin(1e10 * (x[0] - 1)) + 0.3), np.array([1.0]))
    assert found[0] < 1e-2


def test_the_longest_move():
    assert _longest({}) == 0 and _longest({0: np.zeros(0)}) == 0
    assert _longest({0: np.array([-3.0, 1.0]), 1: np.array([2.0])}) == 3
    assert _longest({0: np.array([1.0, 2.0, 5.0])}) == 5 and _longest({0: np.array([-5.0, -2.0])}) == 5


def test_what_has_moved_and_by_how_much_at_least():
    here, there = np.array([[1.0, 1.0], [7.0, 7.0]]), np.array([[1.0, 1.0], [1.0, 1.5]])
    assert _is_moved(there, here).tolist() == [False, True]
    columns = [0.0, 1, 1, 2], [7, 3, 60, 70], [5, 5, 5, 5]
    assert _least_change(np.array(columns).T).tolist() == [1, 4, 0]


def test_the_estimate_of_a_sample_is_infinite_where_it_may_be_the_smooth_part_unless_none_is_nearer():
    wave = lambda t: np.array([np.sin(t / 8), rough(1e-6)(t)])  # noqa: E731
    far, nearest = sampled(wave, 0.0)[0], sampled(wave, 0.0, is_nearest=True)[0]
    assert np.isinf(far.noise[0]) and np.isfinite(nearest.noise[0])
    assert far.noise[1] == nearest.noise[1] and 1e-7 < far.noise[1] < 1e-5


@pytest.mark.parametrize(("other", "expected"), [(1e-7, 1e-7), (3e-6, 3e-6), (3e-5, 1e-6)])
def test_noise_that_is_much_larger_on_one_side_is_a_kink_there(other, expected):
    found, calls = seen(sampled(rough(1e-6), 5507.0), sampled(rough(other, 1), -5507.0))
    assert calls == 0
    assert expected / 4 < found.noise[0] < 4 * expected or (other < 1e-6 and found.noise[0] < 4e-7)


@pytest.mark.parametrize("unit", [1.0, 100.0])
def test_less_noise_from_nearer_is_taken_without_jumps_of_each_function_by_itself(unit):
    """A wave falls; noise stays as it is, at no calls; a step among the farther places is noise, and stays."""

    def functions(t):
        t /= unit
        return np.array([1e-3 * np.sin(3 * t), rough(1e-3)(t), 0.1 * t * 1e-3 + 1e-3 * (t > 40.2)])

    far, near = sampled(functions, 0.0, unit), sampled(functions, 0.0, 1e-4 * unit)
    found, calls = seen(far, near)
    assert found.noise[0] < 1e-9 and found.noise[1] > 1e-4 and calls > 0
    assert found.jumps.tolist() == [False, False, True] and found.noise[2] > 1e-5
    assert seen(sampled(rough(1e-3), 0.0), sampled(rough(1e-3), 0.0, 1e-4))[1] == 0


def test_stairs_that_stand_still_from_nearer_keep_their_noise():
    stairs = lambda t: 1e-3 * np.floor(t / 1e-3)  # noqa: E731
    found, _ = seen(*(sampled(stairs, 0.0, spacing) for spacing in (1.0, 1e-2, 1e-9)))
    assert found.noise[0] > 1e-4
    assert not found.stands_still[0]


def test_stairs_are_as_noisy_as_their_steps_are_high():
    """Eight places on one stair tell nothing; farther away there are others. A ramp beyond a flat region has none."""
    for step in (300.0, 3000.0):
        sample, probe = sampled(lambda t, s=step: 0.7 * np.floor((t - 5000) / s), 5507.0)
        assert 0.03 < _staircase_noise(probe, sample)[0] < 1.0
    sample, probe = sampled(lambda t: max(t - 6000.0, 0.0), 5507.0)
    assert _staircase_noise(probe, sample)[0] == 0


@pytest.mark.parametrize("growth", [4.0, 8.0, 12.0, 14.0])
@pytest.mark.parametrize("rounding", [np.floor, np.rint])
def test_stairs_that_grow_ever_steeper_farther_away_are_as_noisy_as_near_by(growth, rounding):
    """Over the widest range an exponential takes steps by the thousand, and stands still nowhere there."""
    sample, probe = sampled(lambda t: 0.7 * rounding(2.2 * np.exp(growth * (t - 5507) / (64**3 * OFFSETS[-1]))), 5507.0)
    assert np.ptp(sample.values) == 0 and 0.7 / 8 < np.sqrt(12) * _staircase_noise(probe, sample)[0] < 0.7 * 8


@pytest.mark.parametrize("heights", [[0, 1, 1, 1, 1, 1, 1, 2], [4, 3, 3, 4, 5, 8, 10, 16], [0, 1, 2, 3, 4, 5, 6, 7]])
@pytest.mark.parametrize("wide", [64, 64**2, 64**3])
def test_steps_that_a_curve_goes_through_are_steps(heights, wide):
    ends = 5507 + wide * (OFFSETS[1:] - 1)
    sample, probe = sampled(lambda t: 0.7 * heights[int(np.searchsorted(ends, t))], 5507.0)
    assert np.ptp(sample.values) == 0 and 0.7 / 8 < np.sqrt(12) * _staircase_noise(probe, sample)[0] < 0.7 * 8


def test_values_are_those_at_the_places_and_the_noise_is_never_below_half_a_unit_of_the_value():
    """Sums of powers of two are exact: their samples show no noise at all."""
    x = np.array([1.0, 2.0])
    probe = probe_of(lambda x: 4096.0 + x[0] + 2 * x[1], x)
    for sample in _samples(probe, {0: np.ones(2)}, np.full(1, 1e-16), np.random.default_rng(0)):
        moved = sample.places * (sample.moves[0] @ [1.0, 2.0])
        np.testing.assert_allclose(sample.values[:, 0] - 4101, moved, rtol=1e-3, atol=1e-12)
    assert measured(lambda x: float(4096 * np.rint(x[0])), np.ones(1))[0][0] >= np.spacing(4096.0) / 2
    linear, calls = measured(lambda x: float(x[0] + 2 * x[1]), x)
    assert linear[0] >= np.spacing(5.0) / 2 and calls == 13


def asked_far_away(f, first=5507.0):
    """Return the noise of functions that may stand still, and the places at which they were looked at."""
    places = []
    sample, probe = sampled(lambda t: places.append(t) or f(t), first)
    places.clear()
    return _staircase_noise(probe, sample), np.array(places)


def table(heights, wide):
    """Return stairs from one to the next of the places so much wider, just before each."""
    ends = 5507 + wide * (OFFSETS[1:] - 0.5)
    return lambda t: 0.7 * heights[int(np.searchsorted(ends, t))]


def test_a_constant_is_looked_at_ever_farther_away_and_stairs_until_they_are_seen():
    noise, places = asked_far_away(lambda t: 3.0)
    assert noise == [0]
    np.testing.assert_allclose(places, np.concatenate([5507 + 64.0**k * OFFSETS for k in (1, 2, 3)]))
    noise, places = asked_far_away(table(range(8), 64))
    np.testing.assert_allclose(places, np.concatenate([5507 + 64 * OFFSETS, 5507 + 64 * OFFSETS[-1] + OFFSETS]))


@pytest.mark.parametrize(("top", "calls"), [(60, 16), (70, 24)])
def test_beyond_so_many_steps_it_is_looked_at_from_nearer(top, calls):
    """Where it does not move nearer, farther away is what there is."""
    noise, places = asked_far_away(table([0, 0, 0, 0, 0, 1, 2, top], 64))
    assert len(places) == calls and places[-8] == pytest.approx(5507 + 64 * OFFSETS[-1]) and noise[0] > 0.7


def test_stairs_seen_from_nearer_are_looked_at_there():
    """Eight times farther it is a ramp, of which they are nothing."""
    stairs = table([0, 1, 2, 3, 3, 4, 5, 6], 8)
    noise, places = asked_far_away(lambda t: stairs(t) if t < 6500 else t - 6500)
    nearer = 5507 + 8 * OFFSETS
    np.testing.assert_allclose(places, np.concatenate([5507 + 64 * OFFSETS, nearer, nearer[-1] + OFFSETS]))
    assert 0.7 / 8 < np.sqrt(12) * noise[0] < 0.7 * 8


def test_what_moves_down_steadily_beyond_a_flat_region_has_no_stairs():
    assert asked_far_away(lambda t: 5.0 - 1e-3 * max(t - 6000, 0.0))[0] == [0]


def test_few_steps_by_luck_in_a_sample_are_looked_at_from_farther_away():
    lucky = table([4, 3, 3, 4, 5, 8, 10, 16], 1)
    noise, _ = asked_far_away(lambda t: lucky(t) if t < 5600 else 0.7 * (4 + (t - 5500) // 300))
    assert 0.7 / 8 < np.sqrt(12) * noise[0] < 0.7 * 8


def test_functions_that_stand_still_are_looked_at_each_by_itself():
    """Beside what is smooth, what is a bump, where others have stairs, and what has far longer ones."""
    stairs, longer, longest = (table(range(8), wide) for wide in (64, 64**2, 64**3))
    bump = lambda t: max(0.0, 800 - abs(t - 6900))  # noqa: E731
    steep = table([0, 0, 0, 0, 0, 1, 2, 70], 64)
    ramp = lambda t: 0.7 * ((t - 5500) // 70) if t < 6500 else t - 6000  # noqa: E731
    functions = [np.sin, stairs, bump, steep, longer, longest, lambda t: 3.0, ramp]
    together, _ = asked_far_away(lambda t: np.array([f(t) for f in functions]))
    np.testing.assert_array_equal(together, [asked_far_away(f)[0][0] for f in functions])
    assert np.all(together[[1, 3, 4, 5, 7]] > 0.7 / 8 / np.sqrt(12)) and np.all(together[[2, 6]] == 0)
    alone, beside = (len(asked_far_away(f)[1]) for f in (stairs, lambda t: np.array([stairs(t), np.sin(t)])))
    assert alone == beside == 16


@pytest.mark.parametrize("unit", [1.0, 1e-3])
def test_the_noise_of_stairs_is_what_no_curve_explains_and_a_share_of_the_least_step_where_they_are_few(unit):
    curve = [503.0, 565, 681, 1030, 1283, 1963, 2343, 3256]  # a rounded parabola: its least change is of many steps
    lucky = [0.0, 1, 1, 1, 1, 1, 1, 2]
    found = _noise_from_steps(unit * np.array([curve, lucky, [5.0] * 8]).T, OFFSETS) / unit
    assert 0.1 < found[0] < 1 and found[1] == pytest.approx(1 / np.sqrt(12) / 4) and found[2] == 0


def test_what_raises_far_away_is_unknown_there_but_not_what_ends_the_check():
    def f(t):
        if t > 6000:
            raise RuntimeError
        return 2.0

    assert asked_far_away(f)[0] == [0]
    sample, probe = sampled(lambda t: 2.0, 5507.0)
    probe.budget.limit = probe.budget.used + 3
    with pytest.raises(BudgetExhaustedError):
        _staircase_noise(probe, sample)


@pytest.mark.parametrize("base", [4096.0, -512.0])
def test_no_less_noise_is_found_than_half_a_unit_of_the_value(base):
    found, _ = measured(lambda x: base + float(x[0] + 2 * x[1]), np.zeros(2))
    assert found[0] == np.spacing(abs(base)) / 2


def test_no_less_noise_is_found_than_a_normal_number_has():
    found, _ = measured(lambda x: float((x[0] - 1) * 1e-300), np.ones(1))
    assert found[0] == np.finfo(np.float64).tiny / 2


def test_of_a_function_that_is_undefined_all_around_four_units_are_assumed():
    found, calls = measured(lambda x: 3.0 if np.all(x == X) else np.nan, X)
    assert found[0] == 4 * 3 * 2.0**-53 and calls == 48


def test_what_stands_still_has_the_noise_that_rounding_may_hide_in_it():
    assert measured(lambda x: 0.0, X)[0] == [2.0**-53 * 1.5]


def test_a_wave_is_looked_at_from_nearer_beside_what_is_smooth():
    """At about as many calls: where what the slopes leave over of a wave is alike in both halves of a way, it is looked at there too."""
    more = []
    for wave in (0.9e6, 1e6, 1.1e6):
        alone, calls = measured(lambda x, wave=wave: float(np.sin(wave * x[0])), X)
        beside, as_many = measured(lambda x, wave=wave: np.array([np.sum(np.sin(x)), np.sin(wave * x[0])]), X)
        assert alone[0] < 1e-9 and np.all(beside < 1e-9) and calls > 13
        more.append(as_many - calls)
    assert np.median(more) <= 5


def test_samples_are_a_thousandth_away_on_both_sides_and_then_at_the_point():
    x = np.ones(2)
    probe = probe_of(lambda x: np.array([np.sum(x), 1e3]), x)
    found = list(_samples(probe, {0: np.ones(2)}, np.array([1e-16, 1e-9]), np.random.default_rng(0)))
    assert [np.sign(sample.places[0]) for sample in found] == [1, -1, 0, 0, 0, 0]
    for sample in found[:2]:
        assert 0.5e-3 <= np.min(np.abs(sample.places[0] * sample.moves[0])) < 1.4e-3
    np.testing.assert_allclose(
        found[2].enough, [1e3 * np.spacing(2.0), 3e-8]
    )  # a thousand units, or of rounding thirty


def test_samples_some_places_of_which_are_outside_of_the_domain_are_none():
    probe = probe_of(lambda x: x[0] if abs(x[0] - 1) < 3e-6 else np.nan, np.ones(1))
    found = list(_samples(probe, {0: np.ones(1)}, np.zeros(1), np.random.default_rng(0)))
    assert len(found) == 3 and all(np.all(np.isfinite(sample.values)) for sample in found)


def test_parameters_of_several_dtypes_are_at_places_that_the_coarser_one_holds_down_to_the_units_of_the_finer_one():
    x = {"a": np.ones(1, np.float32), "b": np.ones(1)}
    probe = Probe(lambda x: 1.0, point_of(x, "x"), Output.of(1.0, "f"), np.ones((1, 1)), Budget())
    found = list(_samples(probe, {0: np.ones(1), 1: np.ones(1)}, np.zeros(1), np.random.default_rng(0)))
    assert len(found) == 6 and not any(sample.is_nearest for sample in found)
    for sample in found:
        np.testing.assert_array_equal(sample.offsets, WHOLE_OFFSETS)


def test_without_anything_to_move_samples_are_those_of_double_precision():
    probe = probe_of(lambda x: 1.0, np.ones(1))
    found = list(_samples(probe, {}, np.zeros(1), np.random.default_rng(0)))
    assert [sample.is_nearest for sample in found] == [False] * 6 and found[0].places[0] == 5507


def test_only_what_is_just_below_a_power_of_two_goes_the_other_way():
    """Within twice the reach at most: half a percent below it the signs are those drawn."""
    for share, both in ((4.5e-3, True), (1e-5, False)):
        x = np.full(400, 1 - share, np.float32)
        probe = probe_of(lambda x: 0.0, x)
        for sample in list(_samples(probe, {0: np.ones(400)}, np.ones(1), np.random.default_rng(0)))[:3]:
            away = np.sign(sample.moves[0]) == (1 if sample.places[0] >= 0 else -1)
            assert (150 < np.sum(away) < 250) if both else not np.any(away)


def test_moves_are_the_spacing_times_the_length_but_no_more_than_the_elements_own_size_near_by_and_ten_times_it_farther():
    x = np.array([1.0, 1e-3, -1e-3, 0.0, 1e-6, 3.0])
    lengths = np.array([1.0, 1.0, 2e-3, 1.0, 1.0, 0.0])
    probe, signs = probe_of(lambda x: 0.0, x), np.array([1.0, -0.5, 1.2, -1.0, 1.0, 1.0])
    near = _exact(probe, 0, 1e-7, signs, lengths, 0.0, 100.0)
    np.testing.assert_allclose(
        near, 1e-7 * signs * [1, 1e-3, 1e-3, 1, 1, 0], rtol=1e-6
    )  # of 0 and 1e-6 nothing is known
    for distance in (5507.0, -5507.0):
        far = _exact(probe, 0, 1e-7, signs, lengths, distance, 100.0)
        np.testing.assert_allclose(far, 1e-7 * signs * [1, 1e-2, 2e-3, 1, 1, 0], rtol=1e-6)


def test_the_shortest_moves_are_of_one_unit():
    x = np.array([1.5, -3.0, 100.0], np.float32)
    moves = _exact(probe_of(lambda x: 0.0, x), 0, 1e-16, np.ones(3), np.ones(3), 0.0, 14.0)
    np.testing.assert_array_equal(moves, np.spacing(np.abs(x)))


def test_what_single_precision_loses_is_of_its_own_unit_and_of_the_largest_parameter_of_all():
    x = {"a": np.array([0.1, -7.0]), "b": np.array([0.5])}
    probe = Probe(lambda x: np.float32(0), point_of(x, "x"), Output.of(np.float32(0), "f"), np.ones((1, 1)), Budget())
    for leaves, largest in (([0, 1], 7), ([1], 1), ([1, 0], 7), ([], 1)):
        assert lost_in_rounding(probe, np.zeros(1), leaves).tolist() == [2.0**-24 * largest]


def test_a_wave_that_nothing_settled_from_afar_is_taken_as_it_is_from_nearer_at_no_calls():
    """Beside stairs, which stand still there and keep their noise."""
    functions = lambda t: np.array([np.sin(t / 8), 1e-3 * np.floor(t / 7), rough(1e-6)(t)])  # noqa: E731
    found, calls = seen(sampled(functions, 0.0), sampled(functions, 0.0, 1e-4))
    assert calls == 0 and found.noise[0] < 1e-12 and found.noise[1] > 1e-4 and 1e-7 < found.noise[2] < 1e-5
    assert found.jumps.tolist() == [False, True, False]  # so that nothing is sampled from nearer yet
    far = seen(sampled(functions, 0.0))[0]
    assert np.isinf(far.noise[0]) and far.noise[1] == found.noise[1]


def test_what_stands_still_at_some_places_from_nearer_keeps_its_noise():
    near_by = [4, 3, 3, 4, 5, 8, 10, 16]

    def stairs(t):
        return 1e-3 * np.floor(t / 7) if t > 1 else 1e-3 * near_by[int(np.searchsorted(1e-3 * (OFFSETS[1:] - 1), t))]

    far, near = sampled(stairs, 0.0), sampled(stairs, 0.0, 1e-3)
    assert near[0].noise[0] * 4 < far[0].noise[0] < 1
    found, calls = seen(far, near)
    assert calls == 0 and found.noise[0] == far[0].noise[0]


@pytest.mark.parametrize(
    ("bent", "is_smooth"),
    [
        (np.sin, True),
        (lambda x: np.log1p(np.exp(x)), True),
        (lambda x: np.maximum(x, 1.1), False),  # a kink 0.1 away
        (lambda x: np.round(x, 1), False),
        (lambda x: np.sin(60 * x) / 60, False),
        (lambda x: np.sqrt(x - 0.9), False),  # undefined over a part of the way
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_kinks_stairs_and_waves_of_any_element_show_when_all_are_moved_as_far_as_ever(bent, is_smooth):
    noise, rng = 1e-5, np.random.default_rng(0)
    probe = probe_of(lambda x: float(x[1] ** 2 + bent(x[0]) + noise * rng.normal()), np.array([1.0, 2.0]))
    found = is_smooth_afar(probe, {0: np.array([1.0, 2.0])}, np.array([noise]), np.random.default_rng(1))
    assert found.tolist() == [is_smooth] and probe.budget.used == 8
