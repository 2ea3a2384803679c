"""Poles, bumps and waves finer than the usual steps: bounds hold, bugs fail, right twins pass."""

import numpy as np
import pytest

from gradcheck import check_gradient, numerical_gradient
from tests.seeds import seeds

POLE, WIDTH, WAVES = 1 + 3e-10, 2e-9, 7e8


def bump_slope(x):
    away = (x[0] - 0.7) / WIDTH
    return 2 * x + np.array([-2 * away / WIDTH * np.exp(-(away**2)), 0.0])


CASES = {
    "pole": (lambda x: 1 / (x[0] - 1) + x[1], lambda x: np.array([-1 / (x[0] - 1) ** 2, 1.0]), np.array([POLE, 2.0])),
    "pole in a large leaf": (
        lambda x: 1 / (x[0] - 1) + x[1] / 1e4,
        lambda x: np.array([-1 / (x[0] - 1) ** 2, 1e-4]),
        np.array([1 + 3e-8, 1e4]),
    ),
    "bump": (
        lambda x: x @ x + np.exp(-(((x[0] - 0.7) / WIDTH) ** 2)),
        bump_slope,
        np.array([0.7 + 0.4 * WIDTH, 1.6]),
    ),
    "wave": (
        lambda x: np.sum(x + 2 * np.sin(WAVES * x) / WAVES),
        lambda x: 1 + 2 * np.cos(WAVES * x),
        np.array([0.45, 1.3]),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", seeds(2))
def test_what_is_finer_than_usual_steps_is_judged(name, seed):
    f, gradient, x = CASES[name]
    assert check_gradient(f, gradient, x, rng=seed).ok
    for factor in (-1.0, 0.5, 0.0, 1.1):
        wrong = np.array([factor, 1.0])
        report = check_gradient(f, lambda at, wrong=wrong: wrong * gradient(at), x, rng=seed)
        assert report.verdict == "fail", f"{factor}: {report}"


@pytest.mark.parametrize("name", CASES)
def test_its_bounds_hold_and_are_finite(name):
    f, gradient, x = CASES[name]
    slope = numerical_gradient(f, x)
    assert np.all(np.abs(slope.value - gradient(x)) <= slope.error_bound)
    assert np.all(slope.error_bound <= 1e-2 * np.abs(gradient(x)))


def test_an_average_slope_of_a_wave_does_not_pass():
    f, _, x = CASES["wave"]
    assert check_gradient(f, np.ones_like, x).verdict == "fail"


@pytest.mark.parametrize("away", [1e-13, -1e-13])
def test_a_pole_a_few_hundred_spacings_away_lets_no_wrong_claim_pass(away):
    x = np.array([1 + away])
    for factor, never in ((1.0, "fail"), (-1.0, "pass"), (0.5, "pass"), (2.0, "pass"), (0.0, "pass")):
        report = check_gradient(lambda at: np.log(np.abs(at[0] - 1)), lambda at, factor=factor: factor / (at - 1), x)
        assert report.verdict != never, str(report)


def test_the_gap_of_a_cusp_is_a_kink_and_that_of_a_pole_is_none():
    assert numerical_gradient(lambda x: np.sqrt(np.abs(x[0])), np.array([0.0])).kink[0]
    assert not numerical_gradient(lambda x: 1 / (x[0] - 1), np.array([POLE])).kink[0]
