"""Which steps are taken: how many, how long the first, and what ends them. And the scales that they are in units of."""

import math

import numpy as np
import pytest

from gradcheck.differences.ladder import climb, noise_multiplier
from gradcheck.differences.lengths import exceeds_own_size, lengths_of, own_sizes, scale_is_hidden, smallest_usual_size
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe

FIRST, RATIO = 0.0291438719, 7.8172937


def climbed(f, x, *, noise=1e-16, rtol=3e-7, lengths=None, indices=None, **options):
    """Climb for some elements; return the measurement, and for each the distances ahead at which the function was called, as often behind."""
    x = np.asarray(x)
    met = []

    def recorded(at):
        moved = (np.asarray(at, float) - np.asarray(x, float)).ravel()
        index = int(np.argmax(np.abs(moved)))
        met.append((index, float(moved[index])))
        return f(at)

    value = f(x.copy())
    output = Output.of(value, "f")
    probe = Probe(recorded, point_of(x, "x"), output, np.eye(output.size), Budget())
    indices = np.arange(x.size) if indices is None else np.array(indices, dtype=int)
    lengths = np.ones(len(indices)) if lengths is None else np.array(lengths)
    base, noise = probe.read(value), np.full(output.size, noise)
    options = {"multiplier": 4.0, **options}
    found = climb(probe, 0, indices, lengths, base, noise, rtol=rtol, **options)
    ahead, behind = (
        [sorted({s * d for i, d in met if i == j and s * d > 0}, reverse=True) for j in indices] for s in (1, -1)
    )
    assert [len(a) for a in ahead] == [len(b) for b in behind]
    return found, ahead


def ladder_of(levels, first=FIRST):
    return first / RATIO ** np.arange(levels)


def test_four_levels_do_for_smooth_functions_and_each_step_is_a_ratio_shorter():
    found, steps = climbed(lambda x: float(np.exp(x).sum()), np.array([0.0, 0.5]))
    for distances in steps:
        np.testing.assert_allclose(distances, ladder_of(4), rtol=1e-9)
    assert np.all(np.abs(found.value[:, 0] - np.exp([0.0, 0.5])) <= found.bound[:, 0]) and not found.ended.any()
    assert np.all(found.bound <= 1e-7 * found.value)


def test_steps_are_in_units_of_the_length_of_each_element():
    _, steps = climbed(lambda x: float(np.exp(x).sum()), np.zeros(2), lengths=[1.0, 0.01], first_step=0.02)
    np.testing.assert_allclose(steps[0], ladder_of(4, 0.02), rtol=1e-9)
    np.testing.assert_allclose(steps[1], ladder_of(4, 2e-4), rtol=1e-9)


def test_only_the_elements_asked_for_move_and_none_costs_nothing():
    _, steps = climbed(lambda x: float(np.exp(x).sum()), np.zeros(3), indices=[1])
    assert len(steps[0]) == 4
    found, steps = climbed(lambda x: float(np.exp(x).sum()), np.zeros(3), indices=[])
    assert found.value.shape == (0, 1) and not steps


def test_a_kink_at_the_point_ends_the_ladder_at_eleven_levels():
    found, steps = climbed(lambda x: float(np.abs(x).sum()), np.zeros(1))
    np.testing.assert_allclose(steps[0], ladder_of(11), rtol=1e-9)
    assert found.kink.all()


def test_what_never_settles_takes_sixteen_levels():
    found, steps = climbed(lambda x: float(x[0] > 0), np.zeros(1))
    np.testing.assert_allclose(steps[0], ladder_of(16), rtol=1e-6)
    assert np.isinf(found.bound).all()


def test_where_noise_hides_all_three_levels_and_a_longer_step_are_taken():
    found, steps = climbed(lambda x: float(x.sum()), np.zeros(2), noise=1e-3)
    for distances in steps:
        np.testing.assert_allclose(distances, [FIRST * RATIO, *ladder_of(3)], rtol=1e-9)
    longest = 4 * 1e-3 / FIRST  # of the level after the longest: its distance to that one is what bounds it
    assert np.all(found.noise == pytest.approx(longest)) and np.all(found.bound < 1.01 * longest)


@pytest.mark.parametrize("sides", [(-0.02, 0.02), (-0.02, 1.0), (-1.0, 0.02)])
def test_no_longer_step_where_the_function_is_not_finite_at_the_first(sides):
    _, steps = climbed(lambda x: float(x.sum()) if sides[0] < x[0] < sides[1] else math.inf, np.zeros(1), noise=1e-3)
    np.testing.assert_allclose(steps[0], ladder_of(4), rtol=1e-9)


def test_the_first_step_is_shortened_to_the_domain_and_only_where_it_must():
    def f(x):
        return float(np.log(x).sum()) if np.all(x > 0) else math.nan

    x = np.array([1e-3, 1.0])
    found, steps = climbed(f, x)
    np.testing.assert_allclose(steps[0], ladder_of(6), rtol=1e-6)  # two of them outside
    np.testing.assert_allclose(steps[1], ladder_of(4), rtol=1e-9)
    assert np.all(np.abs(found.value[:, 0] * x - 1) <= found.bound[:, 0] * x) and np.all(found.bound[:, 0] * x < 1e-6)


def test_at_the_very_edge_the_first_step_is_kept_and_the_search_for_a_domain_ends():
    """Zero is resolved down to 1e-323: four hundred steps, each a ratio shorter."""
    calls = []

    def f(x):
        calls.append(x[0])
        return float(3 * x[0] + x[0] ** 2) if x[0] >= 0 else math.nan

    found, steps = climbed(f, np.zeros(1))
    assert found.value[0, 0] == pytest.approx(3, abs=1e-6) and steps[0][0] == pytest.approx(FIRST)
    assert len(calls) <= 4 * 16


@pytest.mark.parametrize(("dtype", "levels"), [(np.float32, 6), (np.float64, 16)])
def test_the_dtype_ends_the_ladder_two_spacings_from_the_point(dtype, levels):
    """A step: it never settles."""
    x = np.ones(1, dtype)
    found, steps = climbed(lambda x: float(x[0] > 1), x)
    spacing = float(np.spacing(x[0]))
    assert len(steps[0]) == levels == np.count_nonzero(ladder_of(16) > 2 * spacing)
    assert found.ended.all() is np.bool_(levels < 16)


def test_half_precision_starts_with_a_longer_step_and_takes_none_longer():
    x = np.ones(1, np.float16)
    found, steps = climbed(lambda x: float(np.float16(2) * np.asarray(x, float)[0]), x, rtol=3e-2, noise=1e-3)
    assert steps[0][0] == pytest.approx(FIRST * RATIO, rel=1e-2)
    assert found.value[0, 0] == pytest.approx(2, abs=found.bound[0, 0]) and found.bound[0, 0] < 0.2
    assert len(steps[0]) == 3 and found.ended.all()  # three: there is no fourth that the dtype resolves


def test_two_levels_tell_something_where_there_are_no_more():
    found, steps = climbed(
        lambda x: float(2 * np.asarray(x, float)[0]), np.full(1, 8, np.float16), rtol=3e-2, noise=1e-5
    )
    assert (
        len(steps[0]) == 2 and found.value[0, 0] == pytest.approx(2, abs=found.bound[0, 0]) and found.bound[0, 0] < 0.01
    )


def test_elements_settle_by_themselves():
    _, steps = climbed(lambda x: float(np.abs(x[0]) + np.exp(x[1]) + 1e-8 * np.sin(1e4 * x[2])), np.zeros(3))
    assert [len(s) for s in steps[:2]] == [11, 4] and len(steps[2]) > 4


def test_a_column_that_has_not_settled_keeps_its_element_climbing():
    found, steps = climbed(lambda x: np.array([np.exp(x[0]), np.abs(x[0])]), np.zeros(1))
    assert len(steps[0]) == 11
    assert found.value[0, 0] == pytest.approx(1, abs=1e-9) and found.kink.tolist() == [[False, True]]


def test_elements_are_beside_each_other_in_every_column():
    """In one all is hidden by noise and in the other nothing: no short cut; an edge in one column shortens for both."""
    found, steps = climbed(lambda x: np.array([np.exp(x).sum(), 1e-9 * x.sum()]), np.zeros(3), noise=1e-12)
    assert [len(s) for s in steps] == [4] * 3 and found.value.shape == (3, 2)
    _, steps = climbed(lambda x: np.array([np.exp(x[0]), np.log(x[0] + 2e-3)]), np.zeros(1))
    np.testing.assert_allclose(steps[0], ladder_of(6), rtol=1e-9)


def test_noise_that_hides_one_column_is_no_reason_to_stop_before_the_other_has_settled():
    for noise in (np.array([1e-3, 1e-16]), np.array([1e-16, 1e-3])):
        _, steps = climbed(lambda x: np.exp(x[0]) * np.ones(2), np.zeros(1), noise=noise)
        np.testing.assert_allclose(steps[0], [FIRST * RATIO, *ladder_of(4)], rtol=1e-9)


@pytest.mark.parametrize(("share", "longer"), [(0.9, False), (1.1, True)])
def test_noise_matters_from_a_third_of_the_tolerance_of_the_largest_column(share, longer):
    """That of the smaller one: four deviations of it over the second step."""
    noise = np.array([1e-16, share * (3e-7 / 3 * 1e3) * ladder_of(2)[1] / 4])
    _, steps = climbed(lambda x: np.array([1e3 * np.exp(x[0]), x[0]]), np.zeros(1), noise=noise)
    assert (max(steps[0]) > FIRST * 2) is longer


def test_noise_in_a_small_column_beside_a_large_one_asks_for_no_longer_step():
    """It does not matter beside the other."""
    _, steps = climbed(lambda x: np.array([1e9 * np.exp(x[0]), x[0]]), np.zeros(1), noise=1e-7)
    assert len(steps[0]) == 4


def rough(size):
    """Noise that is the same at the same place: the last digits of a large multiple."""
    return lambda v: size * (2 * np.modf(abs(np.sin(1e9 * v + 1e-3 / (abs(v) + 1e-30)) * 1e4))[0] - 1)


def test_what_nothing_explains_is_repeated_at_nearly_the_last_step_and_nothing_else_is():
    """Noise a million times what was measured, in one column of two elements, of which one has fewer steps; the third is smooth."""
    noise = rough(1e-9)

    def f(x):
        return np.array([x[0] + noise(x[0]) + x[1] + noise(x[1]) + np.exp(x[2]), np.exp(x[0])])

    found, steps = climbed(f, np.array([0.0, 1e3, 0.0]))
    assert found.unexplained[:, 0].tolist() == [True, True, False]
    assert len(steps[0]) == 17 and 8 < len(steps[1]) < 17 and len(steps[2]) == 4
    for distances in steps[:2]:
        assert 0.7 < distances[-1] / distances[-2] < 0.95
        np.testing.assert_allclose(distances[:-1], ladder_of(len(distances) - 1), rtol=0.2)


# ---- scales -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "lengths"),
    [
        ([0.0, 0.0], [1, 1]),
        ([3.0, -4.0], [math.sqrt(12.5), 4]),
        ([0.0, 5.0], [math.sqrt(12.5), 5]),
        ([1e-9, 1.0], [1e-5, 1]),  # no more than ten thousand times its own
        ([math.nan, 2.0], [math.sqrt(2), 2]),
        ([1e-320, 0.0], [2.2250738585072014e-308] * 2),
        ([1e300, 1e300], [1e300, 1e300]),
    ],
)
def test_the_length_of_an_element_is_its_size_or_that_of_its_leaf(x, lengths):
    np.testing.assert_allclose(lengths_of(np.array(x)), lengths, rtol=1e-12)


def test_the_smallest_of_a_kind_are_ten_thousand_times_smaller_than_their_leaf():
    assert smallest_usual_size(np.array([3.0, -4.0])) == pytest.approx(math.sqrt(12.5) / 1e4)
    assert smallest_usual_size(np.zeros(3)) == smallest_usual_size(np.zeros(0)) == 0


@pytest.mark.parametrize(
    ("size", "step", "beyond"), [(1.0, 10.0, False), (1.0, 10.1, True), (0.0, 5.0, False), (1e-9, 1e-7, True)]
)
def test_a_step_is_beyond_elements_ten_times_smaller_but_not_beyond_zeros(size, step, beyond):
    assert exceeds_own_size(np.array([size]), step).tolist() == [beyond]


@pytest.mark.parametrize(
    ("size", "length", "hidden"), [(0.0, 1.0, True), (2.0, 4.0e4, False), (2.0, 4.001e4, True), (-2.0, 1.0, False)]
)
def test_the_size_of_an_element_says_nothing_of_its_scale_where_it_was_lengthened(size, length, hidden):
    assert scale_is_hidden(np.abs(np.array([size])), np.array([length])).tolist() == [hidden]
    assert own_sizes(np.array([size]), np.array([length])).tolist() == [0.0 if hidden else abs(size)]


@pytest.mark.parametrize("chances", [0, 1, 10, 1000, 10**6])
def test_the_noise_multiplier_keeps_the_largest_of_many_errors_inside(chances):
    """At least 99.5 % of the checks: the chance that a Gaussian exceeds it, times the number of chances."""
    multiplier = noise_multiplier(chances)
    assert max(chances, 1) * math.erfc(multiplier / math.sqrt(2)) <= 0.005 * 1.01
    assert multiplier == pytest.approx(math.sqrt(2 * math.log(200 * max(chances, 1))))


@pytest.mark.parametrize("gap", [1e-8, 1e-9])
@pytest.mark.parametrize("seed", range(4))
def test_noise_that_a_singularity_magnifies_is_seen_at_the_shortest_steps(gap, seed):
    """A logarithm of what rounding leaves of a difference: beside the wall its noise is 1e6 times that of other points."""
    row, x = np.abs(np.random.default_rng(seed).normal(size=4)) + 0.1, np.full(4, 0.1)
    wall = row @ x + gap
    found, _ = climbed(lambda x: float(1e-3 * np.log(wall - row @ x)), x, noise=5e-17, lengths=x)
    right = -1e-3 * row / (wall - row @ x)
    assert np.all(np.abs(found.value[:, 0] - right) <= 3 * found.bound[:, 0])  # the noise is that of four differences
    assert np.median(found.bound[:, 0] / np.abs(right)) <= 1e-3


@pytest.mark.parametrize("noise", [0.0, 1e-14, 1e-11, 1e-8])
def test_small_derivatives_are_climbed_for_as_large_ones(noise):
    """The same function, and its noise, a millionth or a million times as large: the same steps, and bounds in proportion."""
    x = np.array([0.0, 0.3])
    usual, steps = climbed(lambda x: float(np.exp(x).sum() - 2), x, noise=noise)
    for size in (2.0**-20, 2.0**20):
        found, same = climbed(lambda x, s=size: s * float(np.exp(x).sum() - 2), x, noise=size * noise)
        assert same == steps
        np.testing.assert_allclose(found.bound, size * usual.bound, rtol=1e-9)


@pytest.mark.parametrize("noise", [1e-12, 1e-10, 1e-9, 1e-8])
def test_elements_with_ladders_of_several_lengths_are_each_measured_as_alone(noise):
    """Noise ends some, and a longer step is taken for them; the others climb on."""
    x = np.zeros(4)
    f = lambda x: float(np.exp(x[0]) + 1e6 * x[1] + 1e-3 * np.sin(x[2]) + 1e2 * np.exp(x[3]))  # noqa: E731
    together, steps = climbed(f, x, noise=noise)
    for i in range(4):
        alone, same = climbed(f, x, noise=noise, indices=[i])
        assert same == [steps[i]]
        np.testing.assert_array_equal(alone.value[0], together.value[i])
        np.testing.assert_array_equal(alone.bound[0], together.bound[i])


def test_noise_in_one_function_is_enough_for_a_longer_step():
    noise = np.array([1e-9, 1e-16])
    for order in (noise, noise[::-1]):
        _, steps = climbed(lambda x: np.exp(x[0]) * np.ones(2), np.zeros(1), noise=order)
        assert max(steps[0]) == pytest.approx(FIRST * RATIO)
    _, steps = climbed(lambda x: np.exp(x[0]) * np.ones(2), np.zeros(1))
    assert max(steps[0]) == pytest.approx(FIRST)


@pytest.mark.parametrize(("times", "again"), [(2.0, True), (2.9, True), (3.1, False), (6.0, False)])
def test_an_edge_is_looked_at_again_where_its_bound_is_more_than_a_third_of_the_tolerance(times, again):
    """One side never settles: all steps are taken, whatever the tolerance."""

    def f(x):
        return float(100 * x[0] + x[0] ** 1.5) if x[0] >= 0 else math.nan

    bound = climbed(f, np.zeros(1))[0].bound[0, 0] / 100
    _, steps = climbed(f, np.zeros(1), rtol=times * bound)
    assert (steps[0][-1] / steps[0][-2] == pytest.approx(0.8731)) is again and steps[0][-2] < 1e-14


def test_a_first_step_is_one_at_which_every_function_is_finite():
    x = np.array([1e-3])
    with np.errstate(invalid="ignore"):
        alone, steps = climbed(lambda x: np.sqrt(x), x)
        for order in (slice(None), slice(None, None, -1)):
            both, same = climbed(lambda x, o=order: np.array([x[0], np.sqrt(x[0])])[o], x)
            assert same == steps
            np.testing.assert_array_equal(both.value[0][order][1], alone.value[0, 0])
            np.testing.assert_array_equal(both.bound[0][order][1], alone.bound[0, 0])


def test_of_a_leaf_far_below_one_lengths_are_in_proportion_and_zeros_have_no_scale():
    for size in (1e-200, 1e-300):
        np.testing.assert_allclose(lengths_of(size * np.array([1.0, 2.0])) / size, lengths_of(np.array([1.0, 2.0])))
    assert scale_is_hidden(np.array([0.0, 1.0]), np.array([0.0, 1.0])).tolist() == [True, False]
