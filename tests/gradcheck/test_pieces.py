"""Solvers that stop early: the derivative of what they compute is another one than that of the exact solution."""

import numpy as np
import pytest

from gradcheck import check_gradient

TOLERANCE = 1e-6


class FixedPoint:
    """``y = 0.6 cos(y) + 0.3 x + 0.1 y'``, iterated until it moves by less than the tolerance; ``y'`` is the next element."""

    size = 5
    weights = np.arange(1.0, 6.0)

    def step(self, y, x):
        return 0.6 * np.cos(y) + 0.3 * x + 0.1 * np.roll(y, 1)

    def value(self, x):
        y = np.zeros(self.size)
        while np.max(np.abs(self.step(y, x) - y)) >= TOLERANCE:
            y = self.step(y, x)
        return float(self.weights @ self.step(y, x))

    def gradient(self, x):
        y = np.zeros(self.size)
        for _ in range(300):
            y = self.step(y, x)
        jacobian = np.diag(-0.6 * np.sin(y)) + 0.1 * np.roll(np.eye(self.size), -1, axis=1)
        return 0.3 * np.linalg.solve((np.eye(self.size) - jacobian).T, self.weights)


class Descent:
    """The minimum of a quadratic, found by steps of fixed length; returned: its squared norm."""

    size = 3
    matrix = np.diag([1.0, 2.0, 5.0]) + 0.3

    def value(self, x):
        y = np.zeros(self.size)
        while np.linalg.norm(self.matrix @ y - x) >= TOLERANCE:
            y -= 0.15 * (self.matrix @ y - x)
        return float(y @ y)

    def gradient(self, x):
        inverse = np.linalg.inv(self.matrix)
        return 2 * inverse @ inverse @ x


class Quadrature:
    """An adaptive Simpson rule: it divides an interval until two estimates agree."""

    size = 2

    def value(self, x):
        parts = (
            self.integral(lambda t: np.exp(-abs(x[0]) * t) * np.sin(x[1] * t), a, a + 1, TOLERANCE) for a in range(4)
        )
        return float(sum(parts))

    def integral(self, f, a, b, tolerance):
        middle = (a + b) / 2
        coarse, left, right = self.simpson(f, a, b), self.simpson(f, a, middle), self.simpson(f, middle, b)
        if abs(left + right - coarse) < 15 * tolerance:
            return left + right
        return self.integral(f, a, middle, tolerance / 2) + self.integral(f, middle, b, tolerance / 2)

    def simpson(self, f, a, b):
        return (b - a) / 6 * (f(a) + 4 * f((a + b) / 2) + f(b))

    def gradient(self, x):
        t, weights = np.polynomial.legendre.leggauss(80)
        t, weights = 2 * (t + 1), 2 * weights
        decay = np.exp(-abs(x[0]) * t)
        inner = np.array([-np.sign(x[0]) * t * decay * np.sin(x[1] * t), t * decay * np.cos(x[1] * t)])
        return inner @ weights


SOLVERS = [FixedPoint, Descent, Quadrature]


@pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 8), marks=pytest.mark.slow)], ids=str)
def test_the_gradient_of_the_exact_solution_is_hardly_ever_called_wrong(seeds):
    """Where no jump is near by, the function computed is a smooth one with another gradient: so it is at up to one point in six."""
    failed = 0
    for solver in SOLVERS:
        problem = solver()
        for seed in seeds:
            x = np.random.default_rng(seed).normal(size=problem.size)
            failed += check_gradient(problem.value, problem.gradient, x, rng=seed).verdict == "fail"
    assert failed <= len(SOLVERS) * len(seeds) / 6


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
@pytest.mark.parametrize("solver", SOLVERS)
def test_an_error_that_the_tolerance_does_not_explain_is(solver, seed):
    problem = solver()
    x = np.random.default_rng(seed).normal(size=problem.size)
    largest = np.argmax(np.abs(problem.gradient(x)))

    def wrong(x):
        gradient = problem.gradient(x)
        gradient[largest] *= 1.1
        return gradient

    report = check_gradient(problem.value, wrong, x, rng=seed)
    assert report.verdict == "fail"
    assert report.parameters["params"].wrong[largest]


@pytest.mark.parametrize("error", [1e-5, 1e-3])
def test_jumps_that_are_no_tolerance_do_not_explain_an_error(error):
    """The jumps of ``floor`` are as large as the function: they say nothing about its accuracy."""
    x = np.array([0.42, 1.31, -2.63])

    def wrong(x):
        return np.cos(x) * np.array([1.0, 1 + error, 1.0])

    report = check_gradient(lambda x: float(np.sum(np.floor(x) + np.sin(x))), wrong, x)
    assert report.parameters["params"].wrong.tolist() == [False, True, False]


@pytest.mark.parametrize("error", [1e-5, 1e-3])
def test_nor_do_kinks(error):
    inputs, targets = (np.random.default_rng(seed).normal(size=(40, n)) for seed, n in ((1, 4), (2, 1)))

    def wrong(w):
        gradient = -inputs.T @ np.sign(targets[:, 0] - inputs @ w) / 40 + 2 * w
        gradient[0] *= 1 + error
        return gradient

    report = check_gradient(lambda w: float(np.mean(np.abs(targets[:, 0] - inputs @ w)) + w @ w), wrong, np.ones(4))
    assert report.parameters["params"].wrong.tolist() == [True, False, False, False]


@pytest.mark.parametrize("seed", range(3))
def test_nor_does_a_small_jump_far_away(seed):
    """A solver's slope is off by what its jumps make up for: this one would have to be a hundred times larger."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=12)
    edge = x + 0.2 * np.sqrt(np.mean(x * x)) * rng.choice([-1, 1], 12)

    def wrong(x):
        return np.cos(x) * (1 + 0.03 * (np.arange(12) == np.argmax(np.abs(np.cos(x)))))

    def f(x):
        return float(np.sum(np.sin(x)) + 1e-5 * np.sum(x > edge))

    assert check_gradient(f, np.cos, x).verdict == "pass"
    assert check_gradient(f, wrong, x).parameters["params"].wrong.sum() == 1


def test_nor_do_oscillations_without_end_around_other_points():
    def f(x):
        return float(np.sum(x * x * np.sin(1 / x)))

    def slope(x):
        return 2 * x * np.sin(1 / x) - np.cos(1 / x)

    def wrong(x):
        return slope(x) * (1 + 0.01 * (np.arange(20) == 5))

    x = 10 ** np.random.default_rng(3).uniform(-2, 0, 20)
    assert check_gradient(f, slope, x).verdict == "pass"
    assert check_gradient(f, wrong, x).parameters["params"].wrong.nonzero()[0].tolist() == [5]
