"""Hessians at points so small that their size says nothing of the function's scale, and what no step shows."""

import numpy as np
import pytest

from gradcheck import check_hessian
from tests.seeds import seeds


def f(x):
    return x[0] * x[1] + np.cos(x[2]) + np.exp(x[0])


def hessian(x):
    return np.array([[np.exp(x[0]), 1, 0], [1, 0, 0], [0, 0, -np.cos(x[2])]], dtype=x.dtype)


WRONG = {
    "minus": lambda h: -h,
    "twice": lambda h: 2 * h,
    "no mixed derivatives": lambda h: np.diag(np.diag(h)),
    "a zero on the diagonal": lambda h: h * np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0]], dtype=h.dtype),
}


@pytest.mark.parametrize("seed", seeds(3))
@pytest.mark.parametrize(
    ("size", "dtype"),
    [(1e-12, np.float64), (1e-9, np.float64), (1e-5, np.float64), (1e-4, np.float32), (1e-2, np.float32)],
)
def test_near_zero_the_right_hessian_passes_and_no_wrong_one(size, dtype, seed):
    x = (size * np.random.default_rng(seed).normal(size=3)).astype(dtype)
    assert check_hessian(f, hessian, x).ok
    for name, bug in WRONG.items():
        report = check_hessian(f, lambda x, bug=bug: bug(hessian(x)), x)
        assert report.verdict == "fail", f"{name}: {report}"


@pytest.mark.parametrize("seed", seeds(3))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_large_value_of_the_function_excuses_no_wrong_hessian(dtype, seed):
    """The second derivatives are a billionth of the value, and a thousandth of the slopes."""
    rng = np.random.default_rng(seed)
    matrix, x = rng.normal(size=(3, 3)), (1e-3 * rng.normal(size=3)).astype(dtype)

    def offset(x):
        return 1e6 + float(np.sin(matrix @ x.astype(np.float64)).sum())

    def right(x):
        return (matrix.T @ np.diag(-np.sin(matrix @ x.astype(np.float64))) @ matrix).astype(dtype)

    assert check_hessian(offset, right, x).ok
    for name, bug in list(WRONG.items())[:3]:
        report = check_hessian(offset, lambda x, bug=bug: bug(right(x)), x)
        assert report.verdict == "fail", f"{name}: {report}"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_dead_unit_has_no_second_derivative(dtype):
    x = np.array([-0.5, -1.0], dtype)
    assert check_hessian(lambda x: float(np.maximum(x, 0).sum() ** 2), lambda x: np.zeros((2, 2), x.dtype), x).ok
    assert not check_hessian(lambda x: float(np.maximum(x, 0).sum() ** 2), lambda x: np.eye(2, dtype=x.dtype), x).ok


@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        (0.0, np.float64),
        (1e-6, np.float64),
        (1.0, np.float64),
        (0.0, np.float32),
        (1e-3, np.float32),
        (1.0, np.float32),
    ],
)
def test_the_zero_hessian_of_a_linear_function_passes(size, dtype):
    x = (size * np.array([1.0, -2.0, 0.5])).astype(dtype)
    assert check_hessian(lambda x: 3 * x[0] - x[1] + x[2], lambda x: np.zeros((3, 3), x.dtype), x).ok


def test_where_noise_hides_the_whole_hessian_it_is_not_seen():
    """What is noisy at 1e-3 shows no second derivative of 1e-3, right or wrong."""
    rng = np.random.default_rng(0)

    def noisy(x):
        return 5e-4 * float(x @ x) + 1e-3 * np.random.default_rng(abs(hash(x.tobytes())) % 2**32).normal()

    for factor in (1.0, -1.0, 0.0):
        report = check_hessian(noisy, lambda x, c=factor: c * 1e-3 * np.eye(3), rng.normal(size=3))
        assert not report.ok


@pytest.mark.parametrize("size", [1e-200, 1e150, 1e250])
def test_the_size_of_the_function_is_no_matter(size):
    x = np.array([0.3, -0.2, 0.5])
    scaled = lambda x: size * f(x)  # noqa: E731
    assert check_hessian(scaled, lambda x: size * hessian(x), x).ok
    for name, bug in WRONG.items():
        assert check_hessian(scaled, lambda x, bug=bug: size * bug(hessian(x)), x).verdict == "fail", name


@pytest.mark.parametrize("curvature", [2e-3, 0.1])
def test_the_hessian_of_what_rounding_keeps_constant_is_not_wrong(curvature):
    report = check_hessian(
        lambda x: round(100 + curvature * (x @ x) / 2), lambda x: curvature * np.eye(2), np.array([0.7, -0.4])
    )
    assert report.verdict == "inconclusive" and report.findings[0].code == "f-ignores-params"
