"""What looks like noise from afar and is smooth from near by: jumps keep their size, waves and kinks do not."""

import numpy as np
import pytest

from gradcheck import check_gradient
from gradcheck.differences.jumps import jump_along, jumps_between, nearest_stair
from gradcheck.differences.lengths import lengths_of
from gradcheck.differences.sampled_noise import measure_noise
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe
from tests.seeds import seeds

WEIGHTS = np.random.default_rng(11).normal(size=(7, 4))
POINT = np.array([0.83, -1.27, 0.41, 2.06])


def single(values):
    return np.asarray(values).astype(np.float32).astype(np.float64)


def units(x):
    return np.tanh(WEIGHTS @ x)


def through_units(x, outer):
    """Return the gradient of ``outer @ units(x)``."""
    return WEIGHTS.T @ ((1 - units(x) ** 2) * outer)


OUTER = np.arange(1.0, 8.0)

STAIRS = {
    "float32 loss, float64 penalty": (
        lambda x: float(single(np.sum(np.sin(x)))) + 0.01 * x @ x,
        lambda x: np.cos(x) + 0.02 * x,
    ),
    "float32 hidden units": (lambda x: single(units(x)) @ OUTER + x @ x, lambda x: through_units(x, OUTER) + 2 * x),
    "rounded inputs": (lambda x: np.sum(np.cos(np.round(x, 6))) + x @ x, lambda x: 2 * x - np.sin(x)),
    "rounded term": (lambda x: np.exp(-x @ x / 9) + np.round(x[0] * x[1], 7), lambda x: rounded_term(x)),
}
"""A staircase beside something smooth, and the trend of both."""


def rounded_term(x):
    return -2 * x / 9 * np.exp(-x @ x / 9) + np.array([x[1], x[0], 0.0, 0.0])


SMOOTH = {
    "wave": lambda x: x @ x + 1e-6 * np.sum(np.sin(1e7 * x)),
    "slow wave": lambda x: x @ x + 1e-4 * np.sum(np.sin(3e4 * x)),
    "kink": lambda x: x @ x + np.sum(np.maximum(x - POINT - 3e-9, 0.0)),
    "many kinks": lambda x: x @ x + np.sum(np.abs(np.sin(1e7 * x))) * 1e-7,
}


def probe_of(f):
    point = point_of(POINT, "params")
    return Probe(f, point, Output.of(f(POINT), "f"), np.ones((1, 1)), Budget())


def noise_of(f, seed):
    probe = probe_of(f)
    noise = measure_noise(probe, probe.read(f(POINT)), {0: lengths_of(POINT)}, np.random.default_rng(seed))
    return float(noise[0])


@pytest.mark.parametrize("name", STAIRS)
@pytest.mark.parametrize("seed", seeds(3))
def test_a_staircase_beside_a_smooth_term_is_the_noise(name, seed):
    f, _ = STAIRS[name]
    assert noise_of(f, seed) > 1e-9


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("seed", seeds(3))
def test_what_is_smooth_from_near_by_is_no_noise(name, seed):
    assert noise_of(SMOOTH[name], seed) < 1e-12


@pytest.mark.parametrize("name", STAIRS)
@pytest.mark.parametrize("seed", seeds(3))
def test_the_trend_of_a_hidden_staircase_passes_and_its_bugs_fail(name, seed):
    f, gradient = STAIRS[name]
    assert check_gradient(f, gradient, POINT, rng=seed).ok
    for factor in (-1.0, 2.0, 0.0):
        report = check_gradient(f, lambda x, factor=factor: factor * gradient(x), POINT, rng=seed)
        assert report.verdict == "fail", f"{factor}: {report}"


def test_a_jump_keeps_its_size_and_each_function_is_told_apart():
    place = 3e-7

    def f(x):
        t = float(x[0] - POINT[0])
        return np.array([np.sin(x[0]) + 1e-6 * (t > place), np.sin(x[0]) + max(t - place, 0.0), np.sin(x[0])])

    point = point_of(POINT, "params")
    probe = Probe(f, point, Output.of(f(POINT), "f"), np.eye(3), Budget())
    direction = {0: np.array([2.0**-40, 0.0, 0.0, 0.0])}
    noise = np.full(3, 3e-7)
    assert jumps_between(probe, direction, 1e-5 * 2.0**40, noise).tolist() == [pytest.approx(1e-6), 0.0, 0.0]
    assert not jumps_between(probe, direction, 1e-7 * 2.0**40, noise).any()


@pytest.mark.parametrize(
    ("f", "height"),
    [
        (lambda t: np.floor(1e3 * (t + 2e-4)), 1.0),
        (lambda t: np.floor(1e3 * (t + 7e-4)), 1.0),
        (lambda t: max(t - 1e-3, 0.0), 0.0),  # flat here, and it does not jump where it ends
        (np.sin, 0.0),
        (lambda t: 0.0, 0.0),
    ],
)
def test_a_stair_ends_with_a_jump(f, height):
    x = np.array([1.0])
    point = point_of(x, "params")
    probe = Probe(lambda x: float(f(x[0] - 1)), point, Output.of(float(f(0.0)), "f"), np.eye(1), Budget())
    found = nearest_stair(probe, {0: np.ones(1)}, np.array([float(f(0.0))]), np.full(1, 1e-15))
    assert found[0] == pytest.approx(height)


@pytest.mark.parametrize("place", [1.0, 1e6])
def test_what_single_precision_cannot_divide_any_further_is_a_jump_only_where_it_changes_by_more_than_beside(place):
    x, unit = np.array([place], np.float32), float(np.spacing(np.float32(place)))
    noise, move, last = np.full(1, 0.1), {0: np.full(1, unit)}, 256.0

    def probe_of(f):
        function = lambda x: float(f((float(x[0]) - place) / unit))  # noqa: E731
        return Probe(function, point_of(x, "params"), Output.of(function(x), "f"), np.eye(1), Budget())

    assert not jumps_between(probe_of(lambda t: np.sin(t / 20)), move, last, noise).any()
    assert jumps_between(probe_of(lambda t: np.sin(t / 1e4) + (t > 70.5)), move, last, noise).all()


@pytest.mark.parametrize(("length", "height"), [(1, 0.0), (2, 0.0), (300, 300.0)])
def test_single_precision_stands_still_over_less_than_its_unit_and_that_is_no_stair(length, height):
    x, unit = np.array([1e5], np.float32), float(np.spacing(np.float32(1e5)))
    f = lambda x: float(length * np.floor(((float(x[0]) - 1e5) / unit + 120) / length))  # noqa: E731
    probe = Probe(f, point_of(x, "params"), Output.of(f(x), "f"), np.eye(1), Budget())
    assert nearest_stair(probe, {0: np.full(1, 1e5)}, np.array([f(x)]), np.full(1, 1e-3)) == height


@pytest.mark.parametrize(
    ("dtype", "height"), [(np.float32, 0.0), (np.float32, 0.5), (np.float64, 0.0), (np.float64, 0.5)]
)
def test_places_rounded_to_single_precision_are_no_jump(dtype, height):
    """Moved far the element is at places where the function is steep, and single precision holds none of those between."""
    x = np.array([0.2, 200.0], dtype)

    def f(x):
        x = x.astype(float)
        return np.sum(x**4) / 4 + height * (x[0] > 1.0)

    point = point_of(x, "params")
    probe = Probe(f, point, Output.of(f(x), "f"), np.ones((1, 1)), Budget())
    size, away = jump_along(probe, {0: np.array([100.0, 0.0])}, np.array([1e-6]))
    assert (abs(size[0] - height) < 0.05) and (away > 0) == (height > 0)
