import mpmath
import numpy as np
import pytest

from gradcheck import InvalidArgument, numerical_gradient
from tests.gradcheck.functions import EASY, HARD


@pytest.mark.parametrize("case", [*EASY, *HARD], ids=str)
def test_the_bound_covers_the_true_error(case):
    """Each true derivative lies within the bound of the measured one, and on easy functions the bound is tight."""
    found = numerical_gradient(case.f, case.x)
    exact = case.grad(case.x)
    assert np.all(np.abs(found.value - exact) <= found.error_bound)
    if case in EASY:
        assert np.all(found.error_bound <= 1e-7 * np.max(np.abs(exact)))


@pytest.mark.parametrize("name", ["gamma", "zeta", "erf", "besselj", "airyai"])
def test_special_functions_against_higher_precision(name):
    """mpmath differentiates in fifty digits what we differentiate in sixteen."""
    function = {"besselj": lambda t: mpmath.besselj(1, t)}.get(name, getattr(mpmath, name))
    for at in (1.3, 2.7, 4.1):
        found = numerical_gradient(lambda x: float(function(mpmath.mpf(float(x)))), at)
        with mpmath.workdps(50):
            exact = float(mpmath.diff(function, mpmath.mpf(at)))
        assert abs(float(found.value) - exact) <= float(found.error_bound) <= 1e-8 * max(1.0, abs(exact))


def test_cost_is_at_most_eleven_calls_an_element():
    x = np.random.default_rng(0).normal(size=50)
    assert numerical_gradient(lambda x: float(np.tanh(x).sum()), x).evaluations <= 11 * x.size


@pytest.mark.parametrize("f", [np.sin, np.exp, lambda x: x**3 - x, np.log, np.abs])
def test_a_number_costs_seventeen_calls_and_more_where_its_differences_stray(f):
    """Half precision beside something smooth shows in the ladder, and jumps are looked for then."""
    assert numerical_gradient(f, np.asarray(1.3)).evaluations == 17
    rounded = numerical_gradient(lambda x: float(np.float16(f(x))) + float((x - 0.2) ** 2), np.asarray(1.3))
    right = (f(1.3 + 1e-3) - f(1.3 - 1e-3)) / 2e-3 + 2.2
    assert rounded.evaluations > 17 and abs(rounded.value - right) <= rounded.error_bound + 1e-4


def test_a_kink_is_flagged_and_the_interval_holds_both_sides():
    found = numerical_gradient(lambda x: float(np.abs(x).sum() + x.sum()), np.array([0.0, 1.0]))
    assert found.kink.tolist() == [True, False]
    low, high = found.value[0] - found.error_bound[0], found.value[0] + found.error_bound[0]
    assert low <= 0.0 and high >= 2.0


@pytest.mark.parametrize("x", [1e-300, 1e-12, 1.0, 1e12, 1e300])
def test_steps_survive_any_size(x):
    found = numerical_gradient(lambda t: np.log(t).sum(), np.array([x]))
    assert abs(found.value[0] * x - 1) <= found.error_bound[0] * x <= 1e-6


def test_the_tree_is_kept_and_integers_are_held_fixed():
    found = numerical_gradient(lambda p: p["a"] ** 2 * p["n"] + p["b"][0].sum(), {"a": 3.0, "n": 2, "b": [np.ones(2)]})
    assert found.value["a"] == pytest.approx(12.0) and found.value["n"] == 0
    np.testing.assert_allclose(found.value["b"][0], 1.0)
    assert [np.asarray(kink).dtype for kink in (found.kink["a"], found.kink["n"], found.kink["b"][0])] == [bool] * 3


def test_a_point_without_floats_or_with_nan_is_refused():
    for bad in (np.ones(2, int), np.array([np.nan]), 1 + 2j):
        with pytest.raises(InvalidArgument):
            numerical_gradient(lambda x: 0.0, bad)


@pytest.mark.parametrize("power", [0.3, 0.5, 0.9])
def test_a_cusp_has_no_slope(power):
    found = numerical_gradient(lambda x: float((np.abs(x) ** power).sum()), np.zeros(2))
    assert np.all(np.isinf(found.error_bound)) and found.kink.all()


@pytest.mark.parametrize("power", [1.3, 1.5, 2.0])
def test_what_is_no_cusp_has_one(power):
    found = numerical_gradient(lambda x: float((np.abs(x) ** power).sum()), np.zeros(2))
    assert (
        np.all(np.abs(found.value) <= found.error_bound) and np.all(found.error_bound < 1e-2) and not found.kink.any()
    )


@pytest.mark.parametrize("size", [1e-12, 1e-8, 1e-6, 1e-4])
def test_small_parameters_are_moved_as_far_as_the_function_is_smooth(size):
    """AMICI#3226: a step in proportion to a parameter of 1e-4 drowns in the noise of a function that varies over one."""
    x = size * np.array([1.0, -0.7, 0.3])
    found = numerical_gradient(lambda x: np.sum(np.sin(x) + 0.3 * np.exp(x)), x)
    apart = np.abs(found.value - np.cos(x) - 0.3 * np.exp(x))
    assert np.all(apart <= found.error_bound) and np.all(found.error_bound <= 1e-8)
    quick = numerical_gradient(lambda x: np.sum(np.sin(x / size)), x)  # over its own size, which no step may pass
    apart = np.abs(quick.value - np.cos(x / size) / size)
    assert np.all(apart <= quick.error_bound) and np.all(quick.error_bound <= 1e-8 / size)
