"""What is narrower than the step of screening: claims that agree with its difference and with no shorter one."""

import numpy as np
import pytest

from gradcheck import check_gradient


def beside_large(width, ratio, slope):
    """A function of an element near zero that is flat one step away, in a leaf of elements ``ratio`` widths large."""
    sizes = np.array([1.0, -2.0, 1.5]) * ratio * width

    def f(params):
        x = params["x"]
        return np.exp(-((x[0] / width - 0.4) ** 2)) + np.sum(slope * x[1:] / width) / ratio

    def gradient(x):
        bump = -2 * (x[0] / width - 0.4) / width * np.exp(-((x[0] / width - 0.4) ** 2))
        return np.array([bump, *np.full(3, slope / width / ratio)])

    return f, gradient, np.array([0.0, *sizes])


@pytest.mark.parametrize(
    ("width", "ratio", "slope"), [(1e-3, 1e4, 1e-3), (1e-3, 1e9, 1.0), (1.0, 1e4, 1.0), (1.0, 1e9, 1e-3)]
)
def test_a_zero_among_large_elements(width, ratio, slope):
    """Each two of the three numbers meet in all ways."""
    f, gradient, x = beside_large(width, ratio, slope)
    assert check_gradient(f, lambda p: {"x": gradient(p["x"])}, {"x": x}).verdict == "pass"
    for factor in (0, -1, 2):
        wrong = check_gradient(f, lambda p, factor=factor: {"x": gradient(p["x"]) * [factor, 1, 1, 1]}, {"x": x})
        assert wrong.verdict == "fail"
        assert wrong.parameters["x"].wrong.tolist() == [True, False, False, False]


@pytest.mark.parametrize("frequency", [1e3, 1e6, 1e9])
def test_the_trend_of_a_wave_is_not_its_derivative(frequency):
    x = np.random.default_rng(3).uniform(0.5, 2, 5)

    def f(params):
        return np.sum(params["x"] ** 2 + 2 * np.sin(frequency * params["x"]) / frequency)

    assert check_gradient(f, lambda p: {"x": 2 * p["x"]}, {"x": x}).verdict == "fail"
    assert check_gradient(f, lambda p: {"x": 2 * p["x"] + 2 * np.cos(frequency * p["x"])}, {"x": x}).verdict != "fail"


@pytest.mark.parametrize("n", [1, 60])
def test_a_right_smooth_gradient_costs_eight_calls_more(n):
    x = np.random.default_rng(n).normal(size=n)
    report = check_gradient(lambda p: np.sum(np.sin(p["x"])), lambda p: {"x": np.cos(p["x"])}, {"x": x})
    assert report.ok and report.evaluations <= 2 * n + 40


def test_one_of_many_is_found_among_the_accepted():
    rng = np.random.default_rng(5)
    a, x = rng.normal(size=100), rng.normal(size=100) * 1e4
    x[37] = 0.0

    def f(p):
        return np.sum(a * p["x"]) * 1e-4 + np.tanh(p["x"][37])

    claim = a * 1e-4
    report = check_gradient(f, lambda p: {"x": claim}, {"x": x})  # the derivative of tanh forgotten
    assert np.flatnonzero(report.parameters["x"].wrong).tolist() == [37]
    right = claim + np.eye(100)[37]
    assert check_gradient(f, lambda p: {"x": right}, {"x": x}).ok
