"""NumPy's floating-point errors: the engine's are silent, those of the user's functions are the user's."""

import warnings

import numpy as np
import pytest

from gradcheck import check_adjoint, check_gradient, check_layer, numerical_gradient

HUGE = np.array([3.0, -1.0, 2.0])


def huge(x):
    """Its values are near the largest float, and so are differences of its gradient."""
    return 1e300 * float(np.sum(x**2))


@pytest.mark.parametrize("how", ["warn", "raise"])
@pytest.mark.parametrize("factor", [1.0, -1.0, 1e7, np.inf, np.nan])
def test_no_claim_however_large_makes_the_engine_warn(how, factor):
    with warnings.catch_warnings(), np.errstate(all=how):
        warnings.simplefilter("error")
        report = check_gradient(huge, lambda x: np.float64(2e300) * x * (factor if factor != 1e7 else 1e7), HUGE)
    assert report.verdict == ("pass" if factor == 1.0 else "fail")


def test_a_function_warns_at_the_users_point_and_nowhere_else():
    """It divides by zero at the point itself; at displaced points it would so often."""
    calls = []

    def f(x):
        calls.append(x)
        return float(np.sum(x)) + 0 * float(np.float64(1.0) / np.float64(1e-320) > 0)

    with np.errstate(over="warn"), pytest.warns(RuntimeWarning, match="overflow") as seen:
        check_gradient(f, np.ones_like, HUGE)
    assert 1 <= len(seen) < len(calls) / 4


def test_the_users_setting_holds_in_the_users_functions_and_afterwards():
    seen = []

    def f(x):
        seen.append(np.geterr()["divide"])
        return float(np.sum(x))

    def grad(x):
        seen.append(np.geterr()["divide"])
        return np.ones_like(x)

    with np.errstate(divide="call"):
        check_gradient(f, grad, HUGE)
        assert np.geterr()["divide"] == "call"
    assert {"call", "ignore"} == set(seen)  # at the point, and where it is displaced


def test_doors_that_do_not_go_through_the_engine():
    with np.errstate(all="raise"):
        numerical_gradient(huge, HUGE)
        check_adjoint(lambda x: 1e200 * x, lambda y: 1e200 * y, HUGE, HUGE)
        check_layer(lambda x: (1e200 * x, None), lambda dy, _: 1e200 * dy, HUGE)
