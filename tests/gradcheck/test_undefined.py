"""Functions that raise where they are not defined: NaN at displaced points, an exception at the given one."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gradcheck import check_gradient, check_jacobian, check_layer, numerical_gradient

RNG = np.random.default_rng(0)


def barely_definite(gap):
    root = RNG.normal(size=(4, 4))
    matrix = root @ root.T
    return matrix + (gap - np.linalg.eigvalsh(matrix)[0]) * np.eye(4)


def log_det(a):
    return 2 * float(np.sum(np.log(np.diag(np.linalg.cholesky((a + a.T) / 2)))))


def log_det_gradient(a):
    return np.linalg.inv((a + a.T) / 2)


def logs(x):
    return sum(math.log(v) for v in x)


class SolverError(ArithmeticError):
    """A user's own kind of exception."""


def picky(x):
    if np.min(x) <= 0:
        raise SolverError("no root in the bracket")
    return float(np.sum(np.sqrt(x)))


CASES = [
    (logs, lambda x: 1 / x, np.array([1e-4, 1.0, 2.0])),
    (logs, lambda x: 1 / x, np.array([1e-300, 1.0, 2.0])),
    (lambda x: sum(math.acos(v) for v in x), lambda x: -1 / np.sqrt(1 - x * x), np.array([1 - 1e-6, 0.1, -0.5])),
    (lambda x: sum(math.sqrt(v) for v in x), lambda x: 0.5 / np.sqrt(x), np.array([1e-8, 0.1, 3.0])),
    (log_det, log_det_gradient, barely_definite(1e-3)),
    (picky, lambda x: 0.5 / np.sqrt(x), np.array([1e-5, 2.0])),
    (lambda x: 1 / float(x[0] > 0) * float(x @ x), lambda x: 2 * x, np.array([1e-6, 1.0])),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("factor", "verdict"), [(1, "pass"), (-1, "fail"), (1.01, "fail"), (0, "fail")])
def test_near_the_edge_of_the_domain(case, factor, verdict):
    f, gradient, x = case
    report = check_gradient(f, lambda x: factor * gradient(x), x)
    assert report.verdict == verdict, str(report)


def test_a_layer_that_raises_near_by():
    def forward(x):
        return np.array([math.log(v) for v in x]), x

    x = np.array([1e-4, 0.5, 1.0])
    assert check_layer(forward, lambda dy, x: dy / x, x).ok
    assert check_layer(forward, lambda dy, x: dy * x, x).verdict == "fail"


def test_workers_see_the_same():
    f, gradient, x = CASES[0]
    with ThreadPoolExecutor(2) as executor:
        there = check_gradient(f, lambda x: -gradient(x), x, workers=executor)
    here = check_gradient(f, lambda x: -gradient(x), x)
    assert str(there).splitlines()[:-1] == str(here).splitlines()[:-1] and there.evaluations == here.evaluations


def test_where_no_difference_can_be_taken_the_report_quotes_what_was_raised():
    def f(x):
        if x[0] != 1:
            raise ValueError("only at one")
        return 1.0

    for executor in (None, ThreadPoolExecutor(2)):
        report = check_gradient(f, lambda x: np.array([2.0, 0.0]), np.array([1.0, 2.0]), workers=executor)
        assert report.verdict == "inconclusive" and report.findings[0].code == "undefined-nearby", str(report)
        assert "ValueError: only at one" in str(report)


@pytest.mark.parametrize("error", [TypeError, NameError, MemoryError, IndexError, KeyboardInterrupt])
def test_what_does_not_speak_of_the_domain_comes_through(error):
    def f(x):
        if x[0] != 1:
            raise error("broken")
        return float(x @ x)

    with pytest.raises(error) as caught:
        check_gradient(f, lambda x: np.array([2.0, 0.0]), np.array([1.0, 2.0]))
    if error is not KeyboardInterrupt:
        assert any("gradcheck was calling f" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, np.linalg.LinAlgError])
def test_at_the_given_point_everything_comes_through(error):
    def f(x):
        if x[0] == 1:
            raise error("not here")
        return float(x @ x)

    with pytest.raises(error) as caught:
        check_gradient(f, lambda x: np.array([2.0, 0.0]), np.array([1.0, 2.0]))
    assert any("at the given point" in note for note in caught.value.__notes__)


def test_a_vectorised_function_raises_for_some_points_of_a_call_only():
    def f(x):
        if np.any(x <= 0):
            raise ValueError("negative")
        return np.sum(np.log(x), axis=-1)

    x = np.array([1e-4, 1.0, 2.0])
    assert check_gradient(f, lambda x: 1 / x, x, vectorized=True).ok
    assert check_gradient(f, lambda x: -1 / x, x, vectorized=True).verdict == "fail"


def test_a_function_that_cannot_take_the_leading_axis_is_not_undefined():
    def f(x):
        if x.ndim > 1:
            raise ValueError("operands could not be broadcast")
        return float(np.sum(x**2))

    with pytest.raises(ValueError, match="broadcast"):
        check_gradient(f, lambda x: np.array([2.0, 0.0]), np.array([1.0, 2.0]), vectorized=True)


def test_a_numerical_gradient_near_the_edge_of_the_domain():
    x = np.array([1e-5, 1.0])
    found = numerical_gradient(logs, x)
    assert np.all(np.abs(found.value - 1 / x) <= found.error_bound) and np.all(found.error_bound < 1e-6 / x)


def sometimes(f, what, period=30):
    """Return ``f``, which at one call of so many does something else."""
    calls = 0

    def called(x):
        nonlocal calls
        calls += 1
        return what() if calls % period == 0 else f(x)

    return called


def raises():
    raise FloatingPointError("lost")


@pytest.mark.parametrize("what", [lambda: np.nan, lambda: np.inf, raises], ids=["nan", "inf", "raises"])
def test_what_is_undefined_at_some_calls_only_is_not_deterministic(what):
    x = np.array([0.3, -0.7, 1.1])
    report = check_gradient(sometimes(lambda x: float(np.sin(x).sum()), what), np.cos, x)
    assert report.verdict == "inconclusive" and report.findings[0].code == "f-not-deterministic", str(report)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_function_that_is_finite_at_the_point_alone_is_said_to_be_undefined_beside_it(value, workers):
    x = np.array([0.3, -0.7, 1.1])
    executor = ThreadPoolExecutor(workers) if workers else None
    report = check_gradient(
        lambda y: float(np.sin(y).sum()) if np.array_equal(x, y) else value, np.cos, x, workers=executor
    )
    assert report.verdict == "inconclusive" and report.findings[0].code == "undefined-nearby", str(report)
    assert "gave NaN or infinity" in str(report) and "[step-function]" not in str(report)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("factor", "verdict"), [(1, "pass"), (-1, "fail"), (1.01, "fail"), (0, "fail")])
def test_a_function_that_is_finite_on_one_side_alone_has_the_derivative_of_that_side(value, factor, verdict):
    x = np.array([0.3, -0.7, 1.1])
    f = lambda y: float(np.sin(y).sum()) if np.all(y <= x) else value  # noqa: E731
    assert check_gradient(f, lambda x: factor * np.cos(x), x).verdict == verdict


def test_one_output_that_is_undefined_beside_the_point_leaves_the_others_judged():
    x = np.array([1e-4, 0.5])

    def f(x):
        return np.array([np.log(x[0]), np.sin(x[1])])

    right = np.array([[1 / x[0], 0.0], [0.0, np.cos(x[1])]])
    assert check_jacobian(f, lambda x: right, x).ok
    for row in (0, 1):
        wrong = right.copy()
        wrong[row] *= -1
        assert check_jacobian(f, lambda x, wrong=wrong: wrong, x).verdict == "fail"


@pytest.mark.parametrize(("factor", "verdict"), [(1, "pass"), (-1, "fail"), (1.01, "fail"), (0, "fail")])
def test_a_power_that_python_makes_complex_is_undefined_there(factor, verdict):
    x = np.array([1e-3, 0.5])
    report = check_gradient(
        lambda x: float(x[0]) ** 0.5 * float(x[1]),
        lambda x: factor * np.array([0.5 * x[1] / x[0] ** 0.5, x[0] ** 0.5]),
        x,
    )
    assert report.verdict == verdict, str(report)
    found = numerical_gradient(lambda x: float(x[0]) ** 0.5, x[:1])
    assert abs(found.value[0] - 0.5 / x[0] ** 0.5) <= found.error_bound[0]


def test_a_warning_about_complex_arguments_of_ours_is_not_passed_on(recwarn):
    f = lambda x: math.sin(x[0]) + float(np.sum(x**2))  # noqa: E731
    gradient = lambda x: 2 * x + np.array([math.cos(x[0]), 0.0])  # noqa: E731
    report = check_gradient(f, gradient, np.array([0.3, 0.7]), method="complex-step")
    assert report.ok and not recwarn.list
    assert "takes no complex step: TypeError" in str(report)


def test_masked_elements_are_no_numbers():
    x = np.array([0.3, -0.7, 1.1])
    report = check_gradient(
        lambda x: float(np.sin(x).sum()), lambda x: np.ma.array(np.cos(x), mask=[False, True, False]), x
    )
    assert report.verdict == "fail" and report.findings[0].code == "wrong-type"
    assert "1 of 3 elements masked" in str(report)
    whole = check_gradient(lambda x: float(np.sin(x).sum()), lambda x: np.ma.array(np.cos(x), mask=False), x)
    assert whole.ok


def test_an_array_without_elements_has_no_digits():
    report = check_gradient(lambda x: 1.0, lambda x: np.zeros(0), np.zeros(0))
    assert "no elements, nothing to check" in str(report) and "digits" not in str(report)


def test_an_output_that_is_not_a_number_is_no_noise_of_the_others():
    x = np.array([0.3, 0.5])

    def f(x):
        return np.array([np.sin(x[0]), np.nan, x[1] ** 2])

    report = check_jacobian(f, lambda x: np.array([[np.cos(x[0]), 0], [0, 0], [0, 2 * x[1]]]), x)
    assert report.verdict == "inconclusive" and report.findings[0].code == "value-not-finite"
    assert "noise of f (nan)" not in str(report)


def test_no_difference_is_said_to_be_nan():
    x = np.array([0.3, 0.5])
    report = check_gradient(sometimes(lambda x: float(np.sin(x).sum()), lambda: np.nan, 3), np.cos, x)
    assert report.findings[0].code == "f-not-deterministic" and "up to nan" not in str(report)
