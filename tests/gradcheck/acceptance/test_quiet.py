"""Which elements noise hides because of others: each part as a table, and the whole on a sum with one noisy element."""

import numpy as np
import pytest

from gradcheck.acceptance import quiet
from gradcheck.acceptance.ledger import Estimate, Membership
from gradcheck.acceptance.quiet import (
    MOST_GROUPS,
    QUIETER,
    SPACING,
    _has_short_step,
    _hidden,
    _is_quiet,
    _lengths,
    _loud,
    _noise_near,
    quiet_elements,
    without_others,
)
from gradcheck.differences.noise import OFFSETS
from gradcheck.differences.steps import DEFAULT_STEP

from .benches import bench_of, calls, enter


def grain(x, size=1e-5):
    """Noise that is the same at the same place."""
    return size * ((np.sin(np.asarray(x) * 1e9) * 43758.5453) % 1.0)


def noisy(x, size=1e-5):
    """Smooth in all elements but the first, which has noise beside."""
    return float(np.sum(np.sin(x)) + grain(x[0], size))


def of_noisy(n=6, *, size=1e-5, **options):
    x = np.linspace(0.4, 1.3, n)
    bench = bench_of(lambda p: noisy(p["x"], size), {"x": x}, {"x": np.cos(x)}, **{"noise": 3e-6, **options})
    return bench, x


def linear(claims, **options):
    x = np.ones(len(claims))
    return bench_of(lambda p: float(np.sum(p["x"])), {"x": x}, {"x": claims}, **options)


def test_others_stand_still():
    bench = bench_of(
        lambda p: float(np.sum(p["a"]) + np.sum(p["b"])),
        {"a": np.array([1.0, 2.0, 4.0]), "b": np.ones(2)},
        {"a": np.ones(3), "b": np.ones(2)},
    )
    lengths = _lengths(bench, {0: np.array([2])})
    assert list(lengths) == [0] and lengths[0].tolist() == [0, 0, bench.lengths[0][2]] and bench.lengths[0].all()


@pytest.mark.parametrize(("noise", "loud"), [(0.9, False), (1.1, True)])
def test_noise_is_loud_above_a_thousand_units_in_the_last_place(noise, loud):
    bench = linear(np.ones(3))
    bench.noise = noise * 1e3 * np.spacing(np.abs(bench.base))
    assert _loud(bench).all() == loud


@pytest.mark.parametrize(("noise", "loud"), [(0.9, False), (1.1, True)])
def test_of_a_function_in_single_precision_loud_is_thirty_times_its_rounding(noise, loud):
    bench = bench_of(lambda p: np.float32(np.sum(p["x"])), {"x": np.ones(3)}, {"x": np.ones(3)})
    bench.noise = noise * 30.0 * bench.probe.rounding()
    assert _loud(bench).all() == loud


@pytest.mark.parametrize(("share", "short"), [(1.01 / QUIETER, False), (0.99 / QUIETER, True), (1 / QUIETER, True)])
def test_a_step_is_short_at_a_thirtieth_of_the_usual_one(share, short):
    bench = linear(np.ones(3), step=share * DEFAULT_STEP)
    assert _has_short_step(bench, 0) is short
    bench.steps = {}
    assert _has_short_step(bench, 0) is False


def test_hidden_is_what_noise_clears_by_more_than_the_tolerance_of_the_median_element():
    """Of a gradient of ones: agreed with, cleared within a millionth, within a thousandth, contradicted, not measured."""
    bench = linear(np.array([1.0, 1.0, 1.0, 2.0, 1.0, 1.0]))
    enter(bench, [1.0, 1.0 + 5e-7, 1.0 + 1e-3, 1.0, 1.0], [1e-12, 4e-7, 2e-3, 1e-12, 1e-12], typical=1.0)
    assert _hidden(bench, 0).tolist() == [2, 3]
    assert _hidden(linear(np.ones(2)), 0).tolist() == []


def test_what_is_valid_at_a_kink_is_hidden_if_noise_is_more_than_its_tolerance():
    bench = linear(np.ones(3))
    enter(bench, [1.0, 1.0, 1.0], [1e-12, 1e-3, 1e-12], typical=1.0)
    bench.ledgers[0].enter_membership(np.arange(2), np.full((2, 1), Membership.VALID))
    assert _hidden(bench, 0).tolist() == [1]


def test_one_element_far_larger_than_the_others_hides_none():
    bench = linear(np.array([1.0, 1.0, 1e6]))
    enter(bench, [1.0, 1.0 + 1e-3, 1e6], [1e-12, 2e-3, 1e-12], typical=1.0)
    assert _hidden(bench, 0).tolist() == [1]


def test_noise_is_looked_at_along_a_line_of_eight_points_in_which_only_some_elements_move():
    bench, _ = of_noisy()
    seen = []
    ray = bench.probe.ray
    bench.probe.ray = lambda moves, places: seen.append((moves, places)) or ray(moves, places)
    with_it = _noise_near(bench, _lengths(bench, {0: np.array([0, 3])}))
    without = _noise_near(bench, _lengths(bench, {0: np.array([1, 3])}))
    assert 1e-6 < with_it[0] < 1e-5 and without[0] < 1e-14
    moves, places = seen[1]
    np.testing.assert_array_equal(places, SPACING * OFFSETS)
    share = moves[0] / bench.lengths[0]
    assert np.flatnonzero(share).tolist() == [1, 3] and np.all(share[[1, 3]] >= 0.5) and np.all(share <= 1.0)
    assert calls(bench) == 16


@pytest.mark.parametrize(
    ("group", "quiet_"), [([1, 2, 3], True), ([4], True), ([0], False), ([0, 4], False), ([0, 1, 2, 3, 4, 5], False)]
)
def test_a_group_is_quiet_without_the_noisy_element(group, quiet_):
    bench, _ = of_noisy()
    assert _is_quiet(bench, [(0, i) for i in group]) is quiet_


@pytest.mark.parametrize(("times", "quiet_"), [(0.5, False), (20.0, False), (45.0, True)])
def test_noise_over_the_step_must_fall_to_a_thirtieth(monkeypatch, times, quiet_):
    bench = linear(np.ones(3), noise=1e-6, step=1e-4)
    monkeypatch.setattr(quiet, "_noise_near", lambda bench, lengths: np.array([1e-9]))
    monkeypatch.setattr(quiet, "measure_noise", lambda *arguments: np.array([1e-6 / times]))
    monkeypatch.setattr(quiet, "choose_step", lambda *arguments: 1e-4)
    assert _is_quiet(bench, [(0, 1)]) is quiet_
    monkeypatch.setattr(quiet, "choose_step", lambda *arguments: 2e-4)  # over twice the step, half of it counts
    assert _is_quiet(bench, [(0, 1)]) is (times >= 15)
    monkeypatch.setattr(quiet, "choose_step", lambda *arguments: None)  # where nothing moves, the longest
    assert _is_quiet(bench, [(0, 1)]) is (times >= 0.5)


@pytest.mark.parametrize(("step", "calls_"), [(1e-4, 8), (1e-6, 16)])
def test_a_first_look_is_enough_where_noise_alone_is_in_question(monkeypatch, step, calls_):
    """With a step far shorter than usual it is the step that may grow."""
    bench, _ = of_noisy(step=step)
    monkeypatch.setattr(quiet, "choose_step", lambda *arguments: 1e-4)
    assert _is_quiet(bench, [(0, 0)]) is (step == 1e-6)
    assert (calls(bench) == 8) is (calls_ == 8)


@pytest.mark.parametrize("noisy_one", [True, False])
def test_the_quiet_ones_are_parted_from_the_others(noisy_one):
    bench, x = of_noisy(12, size=1e-5 if noisy_one else 0.0)
    enter(bench, np.cos(x) + 1e-3, 2e-3, typical=1.0)
    if not noisy_one:
        bench.noise = np.full(1, 1e-16)
    found = quiet_elements(bench)
    assert {leaf: indices.tolist() for leaf, indices in found.items()} == ({0: list(range(1, 12))} if noisy_one else {})
    assert calls(bench) > 0 if noisy_one else calls(bench) == 0


def test_where_all_are_noisy_two_groups_tell_so():
    x = np.linspace(0.4, 1.3, 40)
    bench = bench_of(
        lambda p: float(np.sum(np.sin(p["x"])) + np.sum(grain(p["x"]))), {"x": x}, {"x": np.cos(x)}, noise=3e-6
    )
    enter(bench, np.cos(x) + 1e-3, 2e-3, typical=1.0)
    assert quiet_elements(bench) == {} and calls(bench) == 16


def test_no_more_than_a_dozen_groups_for_each_of_a_few_elements_are_moved(monkeypatch):
    bench, x = of_noisy(12)
    enter(bench, np.cos(x) + 1e-3, 2e-3, typical=1.0)
    asked = []

    def is_quiet(bench, group):
        asked.append(len(group))
        return len(asked) == 1

    monkeypatch.setattr(quiet, "_is_quiet", is_quiet)
    assert quiet_elements(bench) == {}
    assert asked[:2] == [2, 12] and len(asked) == 1 + 12 + 11  # each element by itself in the end
    many, x = of_noisy(100)
    enter(many, np.cos(x) + 1e-3, 2e-3, typical=1.0)
    asked.clear()
    assert quiet_elements(many) == {} and len(asked) == 1 + MOST_GROUPS
    monkeypatch.setattr(quiet, "MOST_GROUPS", 5)
    asked.clear()
    quiet_elements(bench)
    assert len(asked) == 1 + 5


def test_what_was_judged_along_directions_is_left_alone():
    bench, x = of_noisy()
    enter(bench, np.cos(x) + 1e-3, 2e-3, typical=1.0)
    bench.floor_along[0][:] = 1e-3
    assert quiet_elements(bench) == {} and calls(bench) == 0


def test_a_bench_without_the_others_knows_the_noise_of_those_alone():
    bench, _ = of_noisy()
    bench.probe.budget.points = 77
    apart = without_others(bench, {0: np.array([2, 5])})
    assert apart.noise[0] < 1e-14 and apart.elements == 2 and apart.spent_before == 77
    assert np.flatnonzero(apart.lengths[0]).tolist() == [2, 5] and not apart.ledgers[0].count.any()
    assert apart.claims[0] is bench.claims[0] and apart.rtol == bench.rtol
    assert without_others(bench, {0: np.array([0, 5])}).noise[0] > 1e-6


# ---- two functions at once: one is enough to be in question, both have to be quiet ------------------------------------------


def two(**options):
    """A smooth function beside the noisy one."""
    x = np.linspace(0.4, 1.3, 6)
    return bench_of(
        lambda p: np.array([float(np.sum(np.sin(p["x"]))), noisy(p["x"])]),
        {"x": x},
        {"x": np.stack([np.cos(x)] * 2, axis=1)},
        **{"noise": [1e-16, 3e-6], **options},
    )


def enter_two(bench, values, noise):
    values, noise = np.array(values, float), np.array(noise, float)
    bench.ledgers[0].add(Estimate.difference(np.arange(len(values)), values, noise, np.zeros_like(values)))


def test_one_loud_function_is_enough_and_one_of_which_something_is_hidden():
    bench = two()
    assert _loud(bench).any()
    ones = np.ones((6, 2))
    bench.claims[0].values[:] = 1.0
    enter_two(bench, ones + np.array([0.0, 1e-3]), ones * [1e-12, 2e-3])
    assert _hidden(bench, 0).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("near", "measured", "quiet_"),
    [
        ([1e-9, 1e-9], [1e-9, 1e-9], True),
        ([1e-9, 1e-6], [1e-9, 1e-9], False),  # one function is as noisy when only they move
        ([1e-9, 1e-9], [1e-9, 1e-6], False),
        ([1e-9, 4e-8], [1e-9, 1e-9], False),  # the larger of both estimates
        ([1e-9, 1e-9], [4e-8, 1e-9], False),
    ],
)
def test_a_group_is_quiet_in_every_function(monkeypatch, near, measured, quiet_):
    bench = two(noise=[1e-6, 1e-6], step=1e-4)
    monkeypatch.setattr(quiet, "_noise_near", lambda bench, lengths: np.array(near))
    monkeypatch.setattr(quiet, "measure_noise", lambda *arguments: np.array(measured))
    monkeypatch.setattr(quiet, "choose_step", lambda *arguments: 1e-4)
    assert _is_quiet(bench, [(0, 1)]) is quiet_


def test_a_leaf_judged_along_directions_in_one_function_only_is_looked_at():
    bench = two()
    ones = np.ones((6, 2))
    enter_two(bench, bench.claims[0].values + np.array([0.0, 1e-3]), ones * [1e-12, 2e-3])
    bench.floor_along[0][:] = [np.nan, 1e-3]
    assert quiet_elements(bench) == {} and calls(bench) == 0


def test_two_groups_of_an_eighth_are_tried_first(monkeypatch):
    bench, x = of_noisy(40)
    enter(bench, np.cos(x) + 1e-3, 2e-3, typical=1.0)
    asked = []
    monkeypatch.setattr(quiet, "_is_quiet", lambda bench, group: asked.append(group) or False)
    assert quiet_elements(bench) == {} and [len(group) for group in asked] == [5, 5]
    assert not set(asked[0]) & set(asked[1])


def test_what_is_cleared_within_the_tolerance_of_the_median_element_is_not_hidden():
    """Within a thousandth of gradients of a thousand: a millionth of each."""
    x = np.ones(3)
    bench = bench_of(lambda p: float(1000.0 * np.sum(p["x"])), {"x": x}, {"x": np.full(3, 1000.0)}, rtol=1e-6)
    enter(bench, 1000.0 + np.array([4e-4, 2e-3, 0.0]), [5e-4, 3e-3, 1e-9], typical=1.0)
    assert _hidden(bench, 0).tolist() == [1]


def test_in_a_leaf_with_a_usual_step_the_first_look_is_enough_though_another_leaf_has_a_short_one(monkeypatch):
    """Two leaves: where any of them has a short step it is that which may grow, and both looks are taken."""
    x = {"a": np.ones(2), "b": np.ones(2)}
    bench = bench_of(
        lambda p: float(np.sum(p["a"]) + np.sum(p["b"])), x, {"a": np.ones(2), "b": np.ones(2)}, noise=1e-6
    )
    asked = []
    monkeypatch.setattr(quiet, "_noise_near", lambda bench, lengths: np.array([1e-6]))
    monkeypatch.setattr(quiet, "measure_noise", lambda *arguments: asked.append(1) or np.array([1e-6]))
    monkeypatch.setattr(quiet, "choose_step", lambda *arguments: 1e-4)
    for steps, looks in (((1e-4, 1e-4), 0), ((1e-4, 1e-7), 1), ((1e-7, 1e-7), 1)):
        asked.clear()
        bench.steps = dict(enumerate(steps))
        _is_quiet(bench, [(0, 1), (1, 1)])
        assert len(asked) == looks


def test_one_loud_function_in_a_group_is_enough_to_look_no_further(monkeypatch):
    bench, asked = two(noise=[1e-6, 1e-6], step=1e-4), []
    monkeypatch.setattr(quiet, "_noise_near", lambda bench, lengths: np.array([1e-9, 1e-6]))
    monkeypatch.setattr(quiet, "measure_noise", lambda *arguments: asked.append(1) or np.full(2, 1e-9))
    assert _is_quiet(bench, [(0, 1)]) is False and not asked


@pytest.mark.parametrize(("times", "quiet_"), [(3.9, True), (4.1, False)])
def test_noise_may_grow_fourfold_where_the_step_does_so_far_more(monkeypatch, times, quiet_):
    """Three estimates of one noise agree within that."""
    bench = linear(np.ones(3), noise=1e-6, step=1e-8)
    monkeypatch.setattr(quiet, "_noise_near", lambda bench, lengths: np.array([1e-9]))
    monkeypatch.setattr(quiet, "measure_noise", lambda *arguments: np.array([times * 1e-6]))
    monkeypatch.setattr(quiet, "choose_step", lambda *arguments: 1e-4)
    assert _is_quiet(bench, [(0, 1)]) is quiet_


def test_lengths_that_were_shortened_stay_so():
    bench = linear(np.ones(3))
    usual = _lengths(bench, {0: np.array([1])})[0][1]
    bench.shortened[0] = 4.0
    assert _lengths(bench, {0: np.array([1])})[0].tolist() == [0, usual / 4, 0]


def test_a_small_element_may_be_off_by_what_matters_in_the_median_one():
    """Noise clears it to thirty times what matters in itself."""
    slopes = np.array([10.0, 1000.0, 1000.0])
    bench = bench_of(lambda p: float(slopes @ p["x"]), {"x": np.ones(3)}, {"x": slopes}, rtol=1e-6)
    enter(bench, slopes + np.array([1e-4, 0.0, 0.0]), [2e-4, 1e-9, 1e-9], typical=1.0)
    assert _hidden(bench, 0).tolist() == []


@pytest.mark.parametrize(("shortened", "short"), [(1.9, False), (2.1, False), (0.4, True)])
def test_lengths_that_were_shortened_make_a_step_longer_in_their_units(shortened, short):
    bench = linear(np.ones(3), step=2 * DEFAULT_STEP / QUIETER)
    bench.shortened[0] = shortened
    assert _has_short_step(bench, 0) is short


@pytest.mark.parametrize("measured", [[5e-6, 1e-9], [1e-9, 5e-6]])
def test_a_group_is_not_quiet_where_one_function_is_noisier_by_more_than_estimates_differ(monkeypatch, measured):
    bench = two(noise=[1e-6, 1e-6], step=1e-8)
    monkeypatch.setattr(quiet, "_noise_near", lambda bench, lengths: np.full(2, 1e-9))
    monkeypatch.setattr(quiet, "measure_noise", lambda *arguments: np.array(measured))
    monkeypatch.setattr(quiet, "choose_step", lambda *arguments: 1e-3)
    assert _is_quiet(bench, [(0, 1)]) is False
