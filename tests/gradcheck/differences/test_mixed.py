"""Mixed second differences: their bounds against closed forms, in every dtype, at kinks, and as far as the calls go."""

import numpy as np
import pytest

from gradcheck.differences.mixed import FIRST_STEP, SECOND_STEP, MixedDifferences
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe
from tests.seeds import seeds


def differences_of(f, x, *, most=None, rtol=1e-6):
    point, value = point_of(x, "x"), f(x)
    probe = Probe(f, point, Output.of(value, "f"), np.ones((1, 1)), Budget(most))
    found = MixedDifferences(probe, np.array([float(value)]), rtol)
    with probe.budget.until_exhausted():
        found.prepare(np.random.default_rng(0))
    return found


def pairs_of(n):
    return [(i, i) for i in range(n)] + [(i, j) for i in range(n) for j in range(i)]


def smooth(name, matrix):
    """A function of few ``sin``s, and its second derivatives; both compute in float64."""

    def inner(x):
        return matrix @ x.astype(np.float64)

    if name == "sine":
        return lambda x: float(np.sin(inner(x)).sum()), lambda x: matrix.T @ np.diag(-np.sin(inner(x))) @ matrix
    if name == "quartic":
        return lambda x: float((inner(x) ** 4).sum()), lambda x: matrix.T @ np.diag(12 * inner(x) ** 2) @ matrix
    if name == "steep":
        return (
            lambda x: 1e4 * float(inner(x).sum()) + float(np.cos(inner(x)).sum()),
            lambda x: matrix.T @ np.diag(-np.cos(inner(x))) @ matrix,
        )
    return lambda x: float(
        np.logaddexp(0, inner(x)).sum()
    ), lambda x: matrix.T @ np.diag(1 / (2 + 2 * np.cosh(inner(x)))) @ matrix


@pytest.mark.parametrize("seed", seeds(3))
@pytest.mark.parametrize("step", [FIRST_STEP, SECOND_STEP])
@pytest.mark.parametrize("size", [1.0, 1e-3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("name", ["sine", "quartic", "steep", "softplus"])
def test_the_derivative_lies_within_its_bound_and_the_bound_says_something(name, dtype, size, step, seed):
    rng = np.random.default_rng(seed)
    matrix, x = rng.normal(size=(4, 3)), (size * rng.normal(size=3)).astype(dtype)
    f, hessian = smooth(name, matrix)
    pairs = pairs_of(3)
    with np.errstate(all="ignore"):
        found = differences_of(f, x).measure(pairs, step)
    true = np.array([hessian(x)[pair] for pair in pairs])[:, None]
    # A move is rounded by half a unit in the last place, which takes the middle of a difference to another point.
    away = np.finfo(dtype).eps / 2 * np.max(np.abs(x) + 2 * FIRST_STEP) * (dtype != np.float64)
    changes = [np.abs(hessian(x.astype(float) + sign * step) - hessian(x)).max() / step for sign in (1, -1)]
    third = max(changes)
    # In half precision two elements may be too coarse for any step that both resolve.
    known = np.isfinite(found.bound)
    assert np.all((np.abs(found.value - true) <= found.bound + 3 * away * third)[known])
    assert known.all() or dtype == np.float16
    # Rounding x to its dtype falsifies nothing, however steep the function is.
    assert np.median(found.bound) <= (1e-3 if dtype == np.float16 else 1e-5) * np.abs(hessian(x)).max()


@pytest.mark.parametrize("place", [0, 1])
def test_nothing_is_established_at_a_kink(place):
    found = differences_of(lambda x: abs(float(x[0])) + float(x[1] ** 2), np.array([0.0, 1.0])).measure(
        [(place, place)], FIRST_STEP
    )
    assert np.isinf(found.bound[0, 0]) == (place == 0)
    assert np.isnan(found.value[0, 0]) == (place == 0)


def test_noise_ends_the_sequence_where_shorter_steps_would_say_less():
    rng = np.random.default_rng(0)
    found = differences_of(lambda x: float(x @ x) + 1e-6 * rng.normal(), np.ones(2)).measure(pairs_of(2), FIRST_STEP)
    assert np.all(found.exhausted) and np.all(np.abs(found.value - [[2], [2], [0]]) <= found.bound)
    calm = differences_of(lambda x: float(x @ x), np.ones(2)).measure(pairs_of(2), FIRST_STEP)
    assert np.all(calm.bound < 1e-6 * 2)


def test_as_many_pairs_are_measured_as_there_are_calls_for():
    differences = differences_of(lambda x: float(np.sin(x).prod()), np.ones(4), most=None)
    differences.probe.budget = Budget(30)
    found = differences.measure(pairs_of(4), FIRST_STEP)
    assert len(found.value) == 3  # eight calls each
    assert np.all(np.isfinite(found.value))
    assert not len(differences.measure(pairs_of(4), SECOND_STEP).value)


def test_a_small_element_is_moved_as_far_as_the_function_is_smooth():
    x = np.array([1e-6])
    assert differences_of(lambda x: 1e3 + float(np.cos(x[0])), x).lengths[0] > 1e-3
    assert differences_of(lambda x: 1e3 + float(np.cos(1e6 * x[0])), x).lengths[0] < 1e-5


def test_moves_are_the_same_numbers_in_every_dtype():
    for dtype in (np.float64, np.float32, np.float16):
        differences = differences_of(lambda x: float(x.astype(np.float64) @ x), np.array([0.37, -2.9], dtype))
        assert np.all(np.log2(differences.lengths) % 1 == 0)
