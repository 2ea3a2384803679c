"""A pass is tested on itself: leaves that are tiny, where bugs must fail and right gradients pass."""

import numpy as np
import pytest

from gradcheck import check_gradient, check_layer

SCALES = [1e-2, 1e-4, 1e-6, 1e-8, 1e-12, 1e-16, 0.0]
OF_EACH_SIZE = [pytest.param(scale, marks=[pytest.mark.slow] * (scale in {1e-4, 1e-6, 1e-12})) for scale in SCALES]
BUGS = [-1.0, 2.0, 0.0]


def dense(scale, dtype):
    rng = np.random.default_rng(1)
    return [(size * rng.normal(size=shape)).astype(dtype) for size, shape in ((1, (8, 5)), (1, (5, 4)), (scale, 4))]


def check_dense(scale, dtype, factor):
    def backward(dy, cache):
        x, w, _ = cache
        return dy @ w.T, x.T @ dy, (factor * dy.sum(0)).astype(dtype)

    return check_layer(lambda x, w, b: (x @ w + b, (x, w, b)), backward, *dense(scale, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", OF_EACH_SIZE)
def test_a_bias_of_any_size_is_seen(scale, dtype):
    right = check_dense(scale, dtype, 1.0)
    assert right.verdict == "pass" and "right to 0 digits" not in str(right)
    turn = SCALES.index(scale) + (dtype is np.float64)
    for factor in (BUGS[turn % 3], BUGS[(turn + 1) % 3]):  # each with either dtype, and all of them at every size
        report = check_dense(scale, dtype, factor)
        assert report.verdict == "fail" and report.parameters["b"].wrong.all(), str(report)
        assert not report.parameters["x"].wrong.any(), str(report)


@pytest.mark.parametrize("scale", OF_EACH_SIZE)
def test_so_it_is_behind_an_activation_in_single_precision(scale):
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(7, 6)).astype(np.float32), rng.normal(size=(6, 5)).astype(np.float32)
    b = (scale * rng.normal(size=5)).astype(np.float32)

    def f(b):
        return np.float32((np.tanh(x @ w + b) ** 2).sum())

    def grad(b):
        t = np.tanh(x @ w + b)
        return (2 * t * (1 - t * t)).sum(0)

    assert check_gradient(f, grad, b).verdict == "pass"
    for factor in BUGS:
        assert check_gradient(f, lambda b, k=factor: np.float32(k) * grad(b), b).verdict == "fail"


def test_parameters_that_do_not_matter_pass_beside_those_that_do():
    params = {"w": np.array([0.3, -1.2]), "dead": np.array([0.7, 0.1])}
    report = check_gradient(
        lambda p: float(np.sum(p["w"] ** 2)), lambda p: {"w": 2 * p["w"], "dead": np.zeros(2)}, params
    )
    assert report.verdict == "pass"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (-1.0, "fail"), (0.5, "fail"), (0.0, "fail")])
def test_a_pole_very_near_clears_nothing_by_an_infinite_bound(factor, verdict):
    report = check_gradient(
        lambda x: float(1 / (x[0] - 1) + x[1] / 1e4),
        lambda x: np.array([-factor / (x[0] - 1) ** 2, 1e-4]),
        np.array([1 + 1e-8, 1e4]),
    )
    assert report.verdict == verdict and np.all(np.isfinite(report.parameters["params"].error_bound))


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (-1.0, "fail"), (2.0, "fail"), (0.0, "fail")])
def test_a_step_at_which_the_function_overflows_hides_nothing(factor, verdict):
    x = np.log(np.finfo(float).max) - np.array([0.05, 0.01, 0.02])
    report = check_gradient(lambda x: np.sum(np.log(1 + np.exp(x))), lambda x: factor / (1 + np.exp(-x)), x)
    assert report.verdict == verdict


@pytest.mark.parametrize(("slope", "dx"), [(0.0, 0.0), (0.3, 0.0), (1.0, 0.0), (0.3, 1e-9), (0.0, 1e-3)])
def test_a_zero_initialised_layer_before_a_relu(slope, dx):
    """Every claim may be zero there, and the inputs' must be: the kinks of the weights say what a gradient's size is."""
    x, w, b = np.random.default_rng(5).normal(size=(4, 6)), np.zeros((6, 5)), np.zeros(5)

    def backward(dy, cache):
        x, w, z = cache
        dz = dy * np.where(z == 0, slope, z > 0)
        return dz @ w.T + dx * dy.sum(), x.T @ dz, dz.sum(0)

    report = check_layer(lambda x, w, b: (np.maximum(x @ w + b, 0), (x, w, x @ w + b)), backward, x, w, b)
    assert report.verdict == ("fail" if dx else "pass"), str(report)
    assert report.parameters["x"].wrong.all() == bool(dx) and not report.parameters["w"].wrong.any()


def on_stairs(factor, seed):
    x = np.random.default_rng(seed).normal(size=12)
    return check_gradient(lambda x: float(np.sum(0.01 * np.round(x / 0.01))), lambda x: factor * np.ones(12), x)


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0, -1.0])
def test_on_stairs_no_other_multiple_of_the_trend_passes(factor):
    """Each element agrees with twice the trend to within its noise, and all of them together do not."""
    assert not any(on_stairs(factor, seed).ok for seed in range(4))


def test_the_trend_of_stairs_is_seen_by_all_elements_together_at_some_points_and_fails_at_none():
    """It passes where half of it would not have passed as well: at 9 of 15 points."""
    verdicts = [on_stairs(1.0, seed).verdict for seed in range(15)]
    assert verdicts.count("pass") >= 6 and "fail" not in verdicts


@pytest.mark.parametrize("factor", [1.0, -1.0, 2.0, 0.0])
def test_a_gradient_hidden_by_the_rounding_of_a_large_constant_is_not_as_good_as_zero(factor):
    """The functions change over the length of the parameters, so more than nothing was to be seen."""
    for seed in range(4):
        x = np.random.default_rng(seed).uniform(0.5, 1, 3).astype(np.float32)
        f = lambda x: np.float32(5e5) + np.float32(np.sum(np.sin(x)))  # noqa: E731
        assert check_gradient(f, lambda x: np.float32(factor) * np.cos(x), x, rng=seed).verdict == "inconclusive"


def test_a_gradient_that_is_zero_but_for_rounding_passes_alone():
    """Of functions that move by no more than their rounding, and at an optimum."""
    x = np.random.default_rng(0).normal(size=6)
    for dtype in (np.float64, np.float32):
        point = x.astype(dtype)
        claim = (1e-9 * x if dtype is np.float32 else 1e-17 * x).astype(dtype)
        assert check_gradient(lambda x: np.sum(np.exp(x - np.max(x)) / np.sum(np.exp(x - np.max(x)))), claim, point).ok
        at_optimum = lambda x, best=point: 3 + np.sum((x - best) ** 2)  # noqa: E731
        assert check_gradient(at_optimum, lambda x, best=point: 2 * (x - best), point).ok


STATIONARY = {
    "cosine": (lambda x: np.cos(x).sum(), lambda x: -np.sin(x)),
    "norm": (lambda x: np.sqrt(0.01 + x @ x), lambda x: x / np.sqrt(0.01 + x @ x)),
    "product": (lambda x: np.sqrt(np.prod(1 + x**2)), lambda x: np.sqrt(np.prod(1 + x**2)) * x / (1 + x**2)),
}


@pytest.mark.parametrize("size", [1, 6, 300])
@pytest.mark.parametrize("name", STATIONARY)
def test_where_all_slopes_vanish_a_zero_in_single_precision_passes_and_nothing_else(name, size):
    f, grad = STATIONARY[name]

    def check(x, error):
        return check_gradient(
            lambda x: float(f(x.astype(np.float64))), lambda x: (grad(x.astype(np.float64)) + error).astype(x.dtype), x
        ).verdict

    origin = np.zeros(size, np.float32)
    assert check(origin, 0.0) == "pass"
    assert check(origin, 1e-3) == "fail"
    near = (1e-8 * np.random.default_rng(size).normal(size=size)).astype(np.float32)
    for factor in (-2.0, 1.0, -1.0):  # minus, twice and zero
        wrong = factor * grad(near.astype(np.float64))
        assert check(near, wrong) != "pass"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1, 40])
@pytest.mark.parametrize("power", [3, 4, 5])
def test_a_power_at_zero_passes_and_a_millionth_beside_it_fails(power, size, dtype):
    def check(error):
        return check_layer(
            lambda x: (x**power, x),
            lambda dy, x: (dy * power * x ** (power - 1) + x.dtype.type(error),),
            np.zeros(size, dtype),
        ).verdict

    assert check(0.0) == "pass"
    assert check(1e-6) == "fail"
