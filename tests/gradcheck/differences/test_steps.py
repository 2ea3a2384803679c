"""The step with which a leaf is screened, against closed forms."""

import numpy as np
import pytest

from gradcheck.differences.lengths import FIRST_STEP, RATIO, SHORTEST_STEP
from gradcheck.differences.steps import CONVERGED, DEFAULT_STEP, _balanced, _median, choose_step
from gradcheck.errors import InvalidArgument
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe


def probe_of(f, x):
    x = np.asarray(x)
    value = np.atleast_1d(np.asarray(f(x.copy()), float))
    return Probe(
        lambda tree: np.atleast_1d(np.asarray(f(tree), float)),
        point_of(x, "x"),
        Output.of(value, "f"),
        np.eye(len(value)),
        Budget(),
    )


def chosen(f, n=6, noise=1e-16, rtol=1e-6, at=0.7):
    probe = probe_of(f, np.full(n, at))
    base, noises = np.atleast_1d(f(np.full(n, at))), np.full(len(probe.cotangents), noise)
    step = choose_step(probe, 0, np.ones(n), base, noises, rtol, np.random.default_rng(0))
    return step, probe.budget.used


@pytest.mark.parametrize("frequency", [1.0, 30.0, 1000.0])
def test_the_truncation_error_of_the_step_is_about_an_eighth_of_what_matters(frequency):
    """That of a central difference of a sine is ``(frequency * step)**2 / 6`` of its slope, where that is not near zero."""
    step, _ = chosen(lambda x: np.sum(np.sin(frequency * (x - 0.7) + 0.3)) / frequency)
    assert 1e-9 < (frequency * step) ** 2 / 6 < 1e-6 / 8 * 1.5


def test_a_linear_function_takes_the_longest_step_that_suits_kinks_or_noise():
    assert chosen(lambda x: np.sum(x)) == (DEFAULT_STEP, 4)
    step, calls = chosen(lambda x: np.sum(x), noise=1e-9)
    assert DEFAULT_STEP < step <= FIRST_STEP and calls == 4


def test_where_noise_hides_much_the_step_is_longer_if_the_function_is_smooth_so_far():
    def bent(x):
        return np.sum(x) + 3 * np.sum(np.maximum(x - 0.8, 0))  # a kink 0.1 away

    step, calls = chosen(lambda x: np.sum(np.sin(x)), noise=1e-3)
    assert FIRST_STEP < step <= RATIO * FIRST_STEP / 2 and calls == 6
    step, calls = chosen(bent, noise=1e-3)
    assert step <= FIRST_STEP and calls == 6


def test_where_nothing_moves_there_is_no_step_and_where_noise_hides_all_it_is_the_longest():
    assert chosen(lambda x: 1.0) == (None, 4)
    assert chosen(lambda x: np.sum(x), noise=10.0)[0] is None


def test_each_factor_of_eight_of_an_oscillation_costs_two_calls():
    calls = [chosen(lambda x, f=f: np.sum(np.sin(f * (x - 0.7) + 0.3)) / f)[1] for f in (1e3, 8e3, 64e3)]
    assert calls[1] - calls[0] in (0, 2, 4) and calls[2] - calls[1] in (0, 2, 4) and calls[2] > calls[0]


@pytest.mark.parametrize(
    ("change", "jitter", "share", "expected"),
    [
        (
            1e-6,
            1e-12,
            1e-6,
            1e-4 * RATIO,
        ),  # truncation is the share at the longer step: that one, as long as it is usual
        (4e-6, 1e-12, 1e-6, DEFAULT_STEP),  # half as long would do, the usual one is shorter
        (1e-2, 1e-16, 1e-6, 1e-4 * RATIO * 1e-2),  # the square root of the ratio of both
    ],
)
def test_a_step_balances_truncation_and_noise(change, jitter, share, expected):
    found = _balanced(1e-4, np.array([change]), np.array([jitter]), np.array([share]))
    assert found == pytest.approx(min(expected, DEFAULT_STEP))


def test_where_no_step_makes_both_small_they_are_least_together():
    """``jitter * s / h + change * (h / (s r))**2`` is least at ``cbrt(jitter s (s r)**2 / (2 change))``; a share of that is taken."""
    step, change, jitter = 1e-4, 1e-2, 1e-5
    found = _balanced(step, np.array([change]), np.array([jitter]), np.array([1e-9]))
    steps = np.geomspace(1e-7, 1e-2, 200_001)
    best = steps[np.argmin(jitter * step / steps + change * (steps / (step * RATIO)) ** 2)]
    assert found == pytest.approx(0.6 * best, rel=1e-3)


def test_no_step_is_shorter_than_numbers_resolve():
    """A wave of a hundred spacings, a tenth of a spacing long: none is resolved."""
    step, _ = chosen(lambda x: np.sum(np.sin(x / (0.1 * np.spacing(0.7)))), n=1)
    assert step is None or step >= 1 / CONVERGED * np.spacing(0.7)
    step, _ = chosen(lambda x: np.sum(np.sin((x - 0.7) / (3000 * np.spacing(0.7)))), n=1)
    assert 1 / CONVERGED * np.spacing(0.7) <= step <= 3000 * np.spacing(0.7)


@pytest.mark.parametrize("width", [1e-3, 1e-6, 1e-9, 1e-12])
def test_a_pulse_that_both_points_of_a_difference_lie_beyond_is_found(width):
    """Far away on either side the function is the same, and no slope."""
    step, _ = chosen(lambda x: 1 - np.exp(-np.sum(((x - 0.7) / width - 0.4) ** 2)), n=2)
    assert width / 10_000 <= step <= width / 2


def test_the_middle():
    assert _median(np.array([3.0])) == 3.0 and _median(np.array([3.0, 1.0, 2.0])) == 2.0
    assert _median(np.array([4.0, 1.0])) == 2.5


# ---- functions of the distance along the direction, of which the outcome is known ---------------------------------------

MULTIPLIER = np.sqrt(2 * np.log(1 / 0.005))
"""Standard deviations that noise of one element may take."""


def along(f, noise=0.0, rtol=1e-6, seed=0):
    """Return the step chosen for functions of one number at zero, which is moved by as much as the step says."""
    value = np.atleast_1d(np.asarray(f(0.0), float))
    probe = probe_of(lambda x: f(float(x[0])), np.zeros(1))
    noises = np.zeros(len(value)) + noise
    return choose_step(probe, 0, np.ones(1), value, noises, rtol, np.random.default_rng(seed))


def root(t):
    """Return a root: the slope grows by the same factor from step to step, and nothing converges."""
    return np.sign(t) * abs(t) ** 0.5


def needle(t):
    """Return a pulse narrower than whatever step."""
    return 1.0 * (t == 0)


def test_truncation_of_a_cubic_is_an_eighth_of_what_matters():
    """The slope of ``t - (w t)**3 / w`` is off by ``(w step)**2``, and no higher term."""
    for rtol in (1e-6, 1e-5):
        step = along(lambda t: t - 1e8 * t**3, rtol=rtol)
        assert 1e8 * step**2 == pytest.approx(rtol / 8, rel=0.05)


def test_of_several_functions_the_one_most_curved_bounds_the_step():
    step = along(lambda t: t - 1e8 * t**3)
    for order in (slice(None), slice(None, None, -1)):
        assert along(lambda t, o=order: np.array([t, t - 1e8 * t**3, 0.0])[o]) == pytest.approx(step, rel=1e-3)


@pytest.mark.parametrize(
    ("share", "step"), [(0.9, RATIO * FIRST_STEP / 2), (1.1, None), (0.9 / RATIO, RATIO * FIRST_STEP / 2)]
)
def test_a_slope_is_seen_where_it_exceeds_its_noise(share, step):
    """At the longest usual step, but at no shorter one; at neither; at both. Where it is seen a longer one is tried."""
    noise = share * FIRST_STEP / MULTIPLIER
    assert along(lambda t: t, noise) == (step if step is None else pytest.approx(step))
    for order in (slice(None), slice(None, None, -1)):
        both = along(lambda t, o=order: np.array([t, 0.0])[o], noise)
        assert (both is None) == (step is None)


@pytest.mark.parametrize(("bent", "is_converged"), [(0.4, True), (0.6, False)])
def test_slopes_that_differ_by_no_more_than_noise_have_converged(bent, is_converged):
    """The slope is 1 beyond the second step. Where it has not converged, a shorter step sees no slope, and the second is the longest."""
    noise = 0.5 * FIRST_STEP / RATIO / MULTIPLIER
    found = along(lambda t: t * (1 + bent * (abs(t) < 0.01)), noise)
    assert (found == pytest.approx(FIRST_STEP / RATIO)) is not is_converged


@pytest.mark.parametrize("domain", [1e-2, 1e-3])
def test_a_function_that_is_not_finite_at_the_longest_steps_is_waited_for(domain):
    """Another, of which nothing is seen, says nothing until then."""
    wave = lambda t: np.sin(1e4 * t) / 1e4 if abs(t) < domain else np.nan  # noqa: E731
    alone = along(wave, 1e-18)
    assert (1e4 * alone) ** 2 / 6 < 1e-6 / 8 * 1.1
    for f in (lambda t: np.array([wave(t), 0.0]), lambda t: np.array([0.0, wave(t)])):
        assert along(f, 1e-18) == pytest.approx(alone, rel=1e-3)


@pytest.mark.parametrize("even", [0.0, 1e-3, 1e3])
def test_what_never_converges_and_is_no_pulse_has_the_usual_step(even):
    """Whether or not it has an even part, which shrinks with the square of the step."""
    assert along(lambda t: root(t) + even * t**2) == DEFAULT_STEP


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("share", [0.9, -0.9])
def test_a_jump_of_which_less_is_even_than_odd_is_no_pulse(sign, share):
    assert along(lambda t: np.sign(sign * t) + share * (t != 0)) == DEFAULT_STEP


def test_an_even_part_at_the_longest_step_alone_is_no_pulse():
    assert along(lambda t: root(t) + 100 * (abs(t) > 0.01)) == DEFAULT_STEP


@pytest.mark.parametrize("height", [1e-3, 1.0, -1.0])
def test_a_needle_takes_the_shortest_step_that_numbers_resolve_by_the_coarsest_of_the_elements(height):
    x, lengths = np.array([1.0, 100.0, 3.0]), np.array([0.5, 2.0, 4.0])
    probe = probe_of(lambda at: height * float(np.any(at != x)), x)
    step = choose_step(probe, 0, lengths, np.zeros(1), np.full(1, 1e-20), 1e-6, np.random.default_rng(0))
    coarsest = 1 / CONVERGED * np.spacing(100.0) / 2.0
    assert coarsest < step <= RATIO * coarsest


def test_a_needle_beside_other_functions_is_found():
    for f in (lambda t: np.array([needle(t), 3 * t]), lambda t: np.array([3 * t, needle(t)])):
        assert 0 < along(f) < 1e-300


@pytest.mark.parametrize(("height", "is_seen"), [(1.9, False), (2.1, True)])
def test_a_pulse_of_less_than_four_noises_is_none(height, is_seen):
    """The even part of a pulse is twice its height."""
    found = along(lambda t: height * MULTIPLIER * 1e-3 * needle(t), 1e-3)
    assert (found is not None) == is_seen


def test_a_usual_leaf_takes_no_step_of_a_thousand_millionth_or_less_unless_nothing_longer_converges():
    """This cubic has converged at 2e-9, and would be known to an eighth of ``rtol`` at 2e-12."""
    assert along(lambda t: t - 2.5e13 * t**3, rtol=1e-9) == SHORTEST_STEP
    width = 1e-13
    assert along(lambda t: np.arctan(t / width)) < SHORTEST_STEP


class Recorded:
    """A function that keeps the points at which it was called."""

    def __init__(self):
        self.moves = []

    def __call__(self, x):
        self.moves.append(x.copy())
        return float(np.sum(x))


@pytest.mark.parametrize("seed", range(3))
def test_four_elements_are_moved_by_their_lengths_to_either_side(seed):
    for n in (3, 4, 20):
        f, lengths = Recorded(), np.arange(n + 1.0)
        choose_step(
            probe_of(f, np.zeros(n + 1)), 0, lengths, np.zeros(1), np.zeros(1), 1e-6, np.random.default_rng(seed)
        )
        moved = f.moves[1]
        assert np.count_nonzero(moved) == min(n, 4) and moved[0] == 0
        where = moved.nonzero()[0]
        np.testing.assert_allclose(np.abs(moved[where]), FIRST_STEP * lengths[where])
        np.testing.assert_array_equal(f.moves[2], -moved)
        assert n < 20 or len(f.moves) == 5


def test_signs_are_of_both_kinds():
    signs = []
    for seed in range(20):
        f = Recorded()
        choose_step(
            probe_of(f, np.zeros(1)), 0, np.ones(1), np.zeros(1), np.zeros(1), 1e-6, np.random.default_rng(seed)
        )
        signs.append(np.sign(f.moves[1][0]))
    assert 4 < signs.count(1.0) < 16


def test_a_vectorised_function_that_treats_points_alike_is_believed_and_another_is_not():
    def probe(f):
        x = np.array([0.3, 0.5])
        return Probe(f, point_of(x, "x"), Output.of(0.8, "f"), np.ones((1, 1)), Budget(), vectorized=True)

    def step(f):
        return choose_step(probe(f), 0, np.ones(2), np.array([0.8]), np.full(1, 1e-17), 1e-6, np.random.default_rng(0))

    assert step(lambda x: x.sum(axis=-1)) == DEFAULT_STEP
    with pytest.raises(InvalidArgument, match="vectorized"):
        step(lambda x: x.sum(axis=-1) + (x.sum() if x.ndim > 1 else 0.0))


@pytest.mark.parametrize(
    ("changes", "jitters", "shares", "expected"),
    [
        ([0.0], [2e-4], [1e-6], 5e-3),  # as long as a quarter of what matters takes for its noise
        ([1e-3], [1e-12], [1e-9], 1e-4 * RATIO * 1e-3),  # noise asks for less: truncation bounds it
        ([0.0], [1e-9], [1e-6], DEFAULT_STEP),
        ([0.0], [10.0], [1e-4], FIRST_STEP),  # noise asks for more than the longest: that, or as long as was seen
        ([1e-6, 1e-2], [1e-16, 1e-16], [1e-6, 1e-6], 1e-4 * RATIO * 1e-2),
        ([1e-2, 1e-6], [1e-16, 1e-16], [1e-6, 1e-6], 1e-4 * RATIO * 1e-2),
        # noise asks for 1.2 of what truncation allows: together they are least there, nearly
        ([1e-3], [1.2 * 4e-9 * RATIO * 1e-3], [1e-9], 1e-4 * RATIO * 1e-3),
    ],
)
def test_a_step_is_no_longer_than_truncation_allows_and_no_shorter_than_noise_does(changes, jitters, shares, expected):
    found = _balanced(1e-4, np.array(changes), np.array(jitters), np.array(shares))
    assert found == pytest.approx(expected if expected != FIRST_STEP else min(1e-4 * RATIO, FIRST_STEP))
