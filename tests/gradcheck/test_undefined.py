"""Functions that raise where they are not defined: NaN at displaced points, an exception at the given one."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gradcheck import check_gradient, check_layer, numerical_gradient

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
