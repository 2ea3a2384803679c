"""Elements beside others of another nature, in one array: what those do neither hides errors nor makes them up."""

import math

import numpy as np
import pytest

from gradcheck import check_gradient
from tests.seeds import seeds

FAST_OR_STEEP = {
    "a fast wave": (lambda b: math.sin(1e7 * b), lambda b: 1e7 * math.cos(1e7 * b), 0.3),
    "a cube root": (lambda b: float(np.cbrt(b)), lambda b: float(np.cbrt(b)) / b / 3, 1e-6),
    "a sharp step": (lambda b: math.tanh(1e6 * b), lambda b: 1e6 / math.cosh(1e6 * b) ** 2, 1e-6),
}


@pytest.mark.parametrize("factor", [-1.0, 1.01, 1.0001])
@pytest.mark.parametrize("name", FAST_OR_STEEP)
@pytest.mark.parametrize("seed", seeds(2))
def test_a_fast_or_steep_element_does_not_hide_errors_of_ordinary_ones(name, factor, seed):
    function, slope, at = FAST_OR_STEEP[name]
    rng = np.random.default_rng(seed)
    weights, x = rng.uniform(0.5, 2, 6), np.append(rng.normal(size=6), at * rng.uniform(0.9, 1.1))
    right = np.append(weights * np.cos(x[:6]), slope(float(x[6])))

    def f(x):
        return float(weights @ np.sin(x[:6])) + function(float(x[6]))

    assert check_gradient(f, right, x).ok
    wrong = right.copy()
    wrong[seed] *= factor
    report = check_gradient(f, wrong, x)
    assert report.verdict == "fail"
    assert np.flatnonzero(report.parameters["params"].wrong).tolist() == [seed], str(report)


@pytest.mark.parametrize("element", [4, 7, 8])
@pytest.mark.parametrize("seed", seeds(2))
def test_elements_of_all_scales_that_saturate(element, seed):
    rng = np.random.default_rng(seed)
    scale = 10.0 ** np.linspace(-8, 8, 9)
    x, weights = rng.normal(size=9) * scale, rng.uniform(0.5, 2, 9)

    def f(x):
        return float(weights @ np.tanh(x / scale) ** 2)

    right = 2 * weights * np.tanh(x / scale) / np.cosh(x / scale) ** 2 / scale
    assert check_gradient(f, right, x).ok
    for factor in (-1.0, 1.01):
        wrong = right.copy()
        wrong[element] *= factor
        assert check_gradient(f, wrong, x).verdict == "fail"


@pytest.mark.parametrize("seed", seeds(4))
def test_what_an_element_does_over_its_own_scale_may_be_hidden_by_others_and_is_not_denied(seed):
    """All that the smallest can do is 1e-8, as much as the noise of a value of 1e8."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** np.linspace(-8, 8, 9)
    x, weights = rng.normal(size=9) * scale, rng.uniform(0.5, 2, 9)

    def f(x):
        return float(np.sum(weights * scale * np.sin(x / scale)))

    right = weights * np.cos(x / scale)
    assert check_gradient(f, right, x).verdict != "fail"
    wrong = right.copy()
    wrong[6] *= -1
    report = check_gradient(f, wrong, x)
    assert np.flatnonzero(report.parameters["params"].wrong).tolist() == [6], str(report)


STAIRS = {
    "half precision": lambda b: float(np.sin(np.float16(b))),
    "single precision": lambda b: float(np.sin(np.float32(b))),
    "rounded": lambda b: math.floor(1e3 * math.sin(b)) / 1e3,
}


@pytest.mark.parametrize("size", [1.0, 1e-4])
@pytest.mark.parametrize("name", STAIRS)
@pytest.mark.parametrize("seed", seeds(2))
def test_a_stair_under_one_element_is_judged_by_its_trend(name, size, seed):
    """The values stand still where short steps look; beside smooth elements no noise tells of it."""
    rng = np.random.default_rng(seed)
    weights, x = rng.uniform(0.5, 2, 6), np.append(rng.normal(size=6), 0.7 * rng.uniform(0.9, 1.1))
    right = np.append(weights * np.cos(x[:6]), size * math.cos(x[6]))

    def f(x):
        return float(weights @ np.sin(x[:6])) + size * STAIRS[name](float(x[6]))

    assert check_gradient(f, right, x).ok
    for factor in (-1.0, 2.0):
        wrong = right.copy()
        wrong[6] *= factor
        report = check_gradient(f, wrong, x)
        assert np.flatnonzero(report.parameters["params"].wrong).tolist() == [6], str(report)
    if name != "single precision":  # so fine that its trend is seen
        dropped = right.copy()
        dropped[6] = 0.0
        assert check_gradient(f, dropped, x).verdict != "fail"


@pytest.mark.parametrize(
    ("f", "x", "claims"),
    [
        (lambda x: np.max(np.abs(x[:3])), [2, -2, 1], [(1, -1, 0), (1, -0.5, 0), (0.8, -0.8, 0), (0, 0, 0)]),
        (lambda x: max(x[0], 4 - x[1], x[2]), [2, 2, 1], [(1, -1, 0), (0.8, -0.8, 0)]),
        (lambda x: np.max(np.abs(x[:3])), [2, -2, 2], [(0.5, -0.5, 0.5), (1, -1, 1)]),
    ],
)
@pytest.mark.parametrize("others", [0, 3])
def test_ties_of_opposite_signs_share_one_gradient(f, x, claims, others):
    rest = np.random.default_rng(others).normal(size=others)
    x, right = np.append(np.array(x, float), rest), np.append([1.0, 0, 0], np.cos(rest))
    assert check_gradient(lambda x: float(f(x) + np.sin(x[3:]).sum()), right, x).ok
    for claim in claims:
        report = check_gradient(lambda x: float(f(x) + np.sin(x[3:]).sum()), np.append(claim, np.cos(rest)), x)
        assert report.verdict == "fail", f"{claim}: {report}"


@pytest.mark.parametrize("factor", [-1.0, 0.0, 1.01])
def test_a_pole_in_reach_of_one_element_hides_no_error_of_another(factor):
    """Energy of a satellite in SI units: the four derivatives are twenty decades apart."""
    x = np.array([5.97e24, 1e3, 7e6, 7.5e3])

    def f(x):
        return float(-6.674e-11 * x[0] * x[1] / x[2] + x[1] * x[3] ** 2 / 2)

    right = np.array([-6.674e-11 * x[1] / x[2], 0, 6.674e-11 * x[0] * x[1] / x[2] ** 2, x[1] * x[3]])
    right[1] = f(x) / x[1]
    assert check_gradient(f, right, x).ok
    for element in range(4):
        assert check_gradient(f, right * np.where(np.arange(4) == element, factor, 1.0), x).verdict == "fail"


def test_an_element_dropped_beside_an_amplified_rounding_is_seen():
    """The last look at an element with a step of a few units in the last place would agree with zero, as with anything."""
    missed, basis = 0, np.eye(3)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        left, right = (np.linalg.qr(rng.normal(size=basis.shape))[0] for _ in range(2))
        matrix = (left * np.logspace(0, -7, 3)) @ right
        for dropped in range(basis.size):
            kept = np.arange(basis.size).reshape(basis.shape) != dropped
            report = check_gradient(
                lambda a: np.linalg.slogdet(a)[1], lambda a, kept=kept: kept * np.linalg.inv(a).T, matrix
            )
            assert report.verdict != "pass"
            missed += report.verdict != "fail"
    assert missed <= 1
