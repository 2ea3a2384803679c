"""Wrong elements among many: found by halves along directions, in linear functions whose gradient is a table."""

import numpy as np
import pytest

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.directions import Directions
from gradcheck.acceptance.individual import Individual
from gradcheck.acceptance.judgement import Claim
from gradcheck.acceptance.ledger import Limit
from gradcheck.acceptance.locate import (
    Group,
    _followed,
    contradicted_leaves,
    groups_of,
    locate,
    strongest,
)
from gradcheck.acceptance.parts import Part, Span
from gradcheck.acceptance.screening import _extrapolated, _sample, prepare, screen
from gradcheck.differences.counts import FEW, SMALL
from gradcheck.differences.noise import DISAGREES
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe

NOISE = 1e-15


def bench_of(params, gradients, claims, *, bend=0.0, budget=None):
    """A bench of ``sum of gradients * parameters``, bent by ``bend``, at a point, with claims."""
    point = point_of(params, "params")
    names = [leaf.name for leaf in point.leaves]

    def f(tree):
        value = sum(float(np.sum(gradients[name] * tree[name])) for name in names)
        value += bend * sum(float(np.sum((tree[name] - params[name]) ** 2)) for name in names)
        return value

    value = f(params)
    left = Budget() if budget is None else Budget(budget)
    probe = Probe(f, point, Output.of(value, "f"), np.ones((1, 1)), left)
    made = {
        i: Claim(np.asarray(claims[name], float).reshape(-1, 1), np.zeros(1), 2.0**-52) for i, name in enumerate(names)
    }
    bench = Bench(probe, np.array([value]), made, 1e-6, np.random.default_rng(0))
    bench.noise, bench.steps = np.full(1, NOISE), dict.fromkeys(made, 1e-4)
    return bench


def leaves(seed=0, **shapes):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def with_errors(gradients, **places):
    claims = {name: gradient.copy() for name, gradient in gradients.items()}
    for name, indices in places.items():
        claims[name].ravel()[indices] += 0.5
    return claims


def found_in(groups):
    return sorted(
        (span.leaf, int(i)) for group in groups for span in group.part.spans for i in np.atleast_1d(span.indices)
    )


def group(*significances):
    """A group of one element, so many deviations off in each function."""
    return Group(
        Part(0, 1.0, (Span(0, 0, 1),)),
        np.zeros(1),
        np.array(significances, float),
        np.ones(len(significances)),
        np.ones(1),
    )


def test_a_group_is_as_far_off_as_in_the_worst_function_and_not_at_all_without_a_residual():
    assert group(3.0, -5.0).significance == 5.0
    with np.errstate(all="ignore"):
        assert Group(group().part, np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2)).significance == 0.0
        assert Group(group().part, np.zeros(1), np.array([1.0]), np.array([4.0]), np.zeros(1)).significance == 0.5


def test_halves_that_disagree_are_followed_and_the_likelier_where_neither_does_clearly():
    low, faint, likelier, clear, more = (group(x) for x in (0.45 * DISAGREES, 0.55 * DISAGREES, 3.2, 3.4, 50.0))
    for pair, chosen in (
        ((clear, more), [clear, more]),
        ((low, more), [more]),
        ((faint, likelier), [likelier]),
        ((faint, low), [faint]),
        ((low, group(0.0)), []),
    ):
        assert _followed([pair]) == chosen
    assert _followed([(clear, low), (low, more)]) == [clear, more]


def whole_of(directions):
    part = directions.draw_leaves()
    return groups_of(directions.measure([part]))


@pytest.mark.parametrize("wrong", [[37], [0, 255], [3, 4, 100, 201]])
def test_a_few_of_many_elements_are_found_by_halves(wrong):
    params, gradients = leaves(x=256), leaves(1, x=256)
    bench = bench_of(params, gradients, with_errors(gradients, x=wrong))
    directions = Directions(bench, 0)
    found, left = locate(directions, whole_of(directions), 64)
    assert not left and all(group.part.size <= FEW for group in found)
    assert {(0, i) for i in wrong} <= set(found_in(found)) and len(found) <= len(wrong)
    halvings = 6 * len(wrong)  # from 256 to four elements
    assert bench.probe.budget.used <= 8 + 4 * halvings


def test_the_search_ends_where_more_disagree_than_it_is_for():
    params, gradients = leaves(x=256), leaves(1, x=256)
    bench = bench_of(params, gradients, {"x": 2 * gradients["x"]})
    directions = Directions(bench, 0)
    found, left = locate(directions, whole_of(directions), 6)
    assert not found and 6 < len(left) <= 12
    assert found_in(left) == [(0, i) for i in range(256)]


@pytest.mark.parametrize("most", [1, 2])
def test_of_very_many_wrong_elements_some_are_found(most):
    """Every half of every half disagrees, and it costs two calls a halving all the same."""
    params, gradients = leaves(x=4096), leaves(1, x=4096)
    wrong = np.random.default_rng(2).choice(4096, 400, replace=False)
    bench = bench_of(params, gradients, with_errors(gradients, x=wrong))
    directions = Directions(bench, 0)
    (whole,) = whole_of(directions)
    found = strongest(directions, [whole], most)
    assert len(found) == most and all(group.part.size <= FEW for group in found)
    assert all(set(found_in([group])) & {(0, int(i)) for i in wrong} for group in found)
    assert bench.probe.budget.used <= 2 + 4 * 10 * most


def test_nothing_is_followed_where_nothing_disagrees():
    params, gradients = leaves(x=256), leaves(1, x=256)
    directions = Directions(bench_of(params, gradients, gradients), 0)
    (whole,) = whole_of(directions)
    assert strongest(directions, [whole], 2) == []


def test_wrong_leaves_are_told_from_right_ones():
    shapes = dict.fromkeys("abcdefgh", 20)
    params, gradients = leaves(**shapes), leaves(1, **shapes)
    bench = bench_of(params, gradients, with_errors(gradients, b=[3], g=[7, 8]))
    directions = Directions(bench, 0)
    (whole,) = whole_of(directions)
    found, left = contradicted_leaves(directions, whole, most=4)
    assert [group.part.leaves for group in found] == [[1], [6]] and not left
    all_wrong = bench_of(params, gradients, {name: 2 * gradient for name, gradient in gradients.items()})
    directions = Directions(all_wrong, 0)
    (whole,) = whole_of(directions)
    found, left = contradicted_leaves(directions, whole, most=2)
    assert [group.part.leaves for group in found] == [[6], [7]]  # the last, which a backward pass meets first
    assert sorted(leaf for group in left for leaf in group.part.leaves) == list(range(6))


# ---- one by one ---------------------------------------------------------------------------------------------------------


def test_elements_that_are_looked_at_are_judged_once_and_what_is_wrong_is_corrected():
    params, gradients = leaves(x=40), leaves(1, x=40)
    bench = bench_of(params, gradients, with_errors(gradients, x=[3, 8, 9, 30]))
    directions = Directions(bench, 0)
    individual = Individual(bench, directions)
    chosen = np.array([3, 4, 8, 9, 30])
    individual.judge({0: chosen})
    assert individual.count == 5
    assert individual.contradicted(0, chosen).tolist() == [True, False, True, True, True]
    np.testing.assert_allclose(directions.derivatives[0][:, 0], gradients["x"], rtol=1e-6)


def test_of_infinite_claims_a_number_is_looked_at_and_the_rest_is_noted():
    count = SMALL + 30
    params, gradients = leaves(x=count), leaves(1, x=count)
    bench = bench_of(params, gradients, {"x": np.full(count, np.inf)})
    individual = Individual(bench, Directions(bench, 0))
    individual.judge_infinite()
    assert individual.count == SMALL
    assert np.count_nonzero(individual.measured[0][SMALL:]) == 0
    assert set(bench.judgements[0].limit[SMALL:].ravel()) == {Limit.GROUP}


# ---- screening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.2291, 0.5])
def test_two_steps_take_away_what_grows_with_the_square(ratio):
    longer = 2.0 + 3.0 * 0.1**2
    shorter = 2.0 + 3.0 * (0.1 * ratio) ** 2
    assert _extrapolated(np.array([shorter]), np.array([longer]), ratio)[0] == pytest.approx(2.0, rel=1e-14)


def test_as_many_elements_are_drawn_as_are_affordable_and_all_where_they_can_be():
    params, gradients = leaves(a=30, b=10), leaves(1, a=30, b=10)
    bench = bench_of(params, gradients, gradients)
    assert {leaf: len(indices) for leaf, indices in _sample(bench, 40).items()} == {0: 30, 1: 10}
    counts = np.zeros(40)
    for _ in range(200):
        drawn = _sample(bench, 12.9)
        assert sum(map(len, drawn.values())) == 12
        for leaf, indices in drawn.items():
            assert len(set(indices.tolist())) == len(indices)
            counts[indices + 30 * leaf] += 1
    assert np.all(np.abs(counts - 60) < 6 * np.sqrt(60 * 0.7))  # each as often as another


def test_a_right_gradient_costs_two_calls_an_element_and_a_few_more():
    params, gradients = leaves(a=30, b=10), leaves(1, a=30, b=10)
    bench = bench_of(params, gradients, gradients, bend=0.1)
    bench.noise = np.full(1, np.nan)
    prepare(bench)
    assert 1e-17 < bench.noise[0] < 1e-13 and set(bench.steps) == {0, 1}
    before = bench.probe.budget.used
    screen(bench)
    assert bench.probe.budget.used - before == 80  # nothing contradicts, so nothing is taken again
    for leaf in (0, 1):
        assert not bench.judgements[leaf].undecided.any()
