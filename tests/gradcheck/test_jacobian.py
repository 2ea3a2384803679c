"""Whole matrices: Jacobians and Hessians, claimed and measured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck import (
    GradientError,
    InvalidArgument,
    assert_hessian,
    assert_jacobian,
    check_hessian,
    check_jacobian,
    numerical_gradient,
    numerical_jacobian,
)
from tests.seeds import seeds

B = np.random.default_rng(0).normal(size=(6, 5))
X = np.random.default_rng(1).normal(size=5)


def f(x):
    return np.tanh(B @ x)


def jac(x):
    return (1 - np.tanh(B @ x) ** 2)[:, None] * B


def codes(report):
    return {finding.code for finding in report.findings}


def wrong(report):
    return np.argwhere(report.parameters["params"].wrong).tolist()


# ---- Jacobians -------------------------------------------------------------------------------------------------------

SCALES = 10.0 ** np.arange(-9, 10, 3)

CASES = {
    "tanh": (f, jac, X),
    "float32": (lambda x: np.tanh(B.astype("f") @ x), lambda x: jac(x).astype("f"), X.astype("f")),
    "float64 at a float32 point": (f, jac, X.astype("f")),
    "number to number": (lambda x: x**3, lambda x: 3 * x**2, 2.0),
    "number to array": (
        lambda x: np.array([[np.sin(x)], [np.exp(x)]]),
        lambda x: np.array([[np.cos(x)], [np.exp(x)]]),
        0.5,
    ),
    "array to number": (lambda x: np.sum(x**2), lambda x: 2 * x, X.reshape(5, 1)),
    "outputs of 18 decades": (lambda x: SCALES * np.sin(x[0]), lambda x: (SCALES * np.cos(x[0]))[:, None], X[:1]),
    "sparse": (lambda x: np.sin(x), lambda x: np.diag(np.cos(x)), X),
    "absolute values at zero": (np.abs, lambda x: np.diag(np.sign(x)), np.zeros(3)),
    "constant": (lambda x: np.ones(3), lambda x: np.zeros((3, 2)), X[:2]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", seeds(3))
def test_right_jacobians_pass(name, seed):
    function, derivative, x = CASES[name]
    report = assert_jacobian(function, derivative, x, rng=seed)
    parameter = report.parameters["params"]
    shape = np.shape(function(x)) + np.shape(x)
    for part in ("claimed", "reference", "error_bound", "wrong", "undecided", "kink"):
        assert getattr(parameter, part).shape == shape == parameter.shape
    assert report.evaluations <= 2 * np.size(x) + 100


@given(st.lists(st.integers(1, 3), max_size=2), st.lists(st.integers(1, 3), max_size=2), st.integers(0, 99))
def test_every_entry_stands_in_its_place(shape_y, shape_x, seed):
    """One entry changed is one entry wrong, whatever the shapes; its reference is the true one."""
    rng = np.random.default_rng(seed)
    matrix, x = rng.uniform(0.5, 2.0, size=(*shape_y, *shape_x)), rng.normal(size=shape_x)

    def linear(x):
        return np.tensordot(matrix, x, axes=len(shape_x))

    place = tuple(rng.integers(0, n) for n in matrix.shape)
    claim = matrix.copy()
    claim[place] *= 1.0001
    report = check_jacobian(linear, lambda x: claim, x, rng=seed)
    assert wrong(report) == [list(place)]
    assert report.parameters["params"].reference[place] == pytest.approx(matrix[place], rel=1e-7)
    assert check_jacobian(linear, lambda x: matrix, x, rng=seed).ok


@pytest.mark.parametrize("factor", [0.0, -1.0, 1 + 1e-5])
def test_entries_of_tiny_outputs_do_not_hide_behind_huge_ones(factor):
    claim = (SCALES * np.cos(X[0]))[:, None]
    claim[0] *= factor
    report = check_jacobian(CASES["outputs of 18 decades"][0], lambda x: claim, X[:1])
    assert wrong(report) == [[0, 0]]


def test_a_transposed_jacobian_is_explained():
    report = check_jacobian(lambda x: B[:5] @ x, lambda x: B[:5].T.copy(), X)
    assert report.verdict == "fail" and report.parameters["params"].diagnoses[0].kind == "transposed"
    assert not report.parameters["params"].wrong.diagonal().any()


def test_many_outputs_cost_no_more_evaluations():
    matrix = np.random.default_rng(2).normal(size=(2000, 20))
    report = check_jacobian(
        lambda x: np.sin(matrix @ x), lambda x: np.cos(matrix @ x)[:, None] * matrix, np.full(20, 0.1)
    )
    assert report.ok and report.evaluations <= 2 * 20 + 100 and report.gradient_evaluations <= 6


def test_an_output_that_is_not_finite_spoils_no_other():
    report = check_jacobian(lambda x: np.array([np.inf, x[0]]), lambda x: np.array([[0.0], [1.0]]), np.ones(1))
    assert report.parameters["params"].undecided.tolist() == [[True], [False]]
    report = check_jacobian(lambda x: np.array([np.inf, x[0]]), lambda x: np.array([[0.0], [2.0]]), np.ones(1))
    assert wrong(report) == [[1, 0]]


def overwrites(x):
    result = jac(x)
    x *= 0.5
    return result


@pytest.mark.parametrize(
    ("claim", "code"),
    [
        (lambda x: jac(x).T, "wrong-shape"),
        (lambda x: jac(x)[0], "wrong-shape"),
        (lambda x: None, "missing-gradient"),
        (lambda x: {"a": jac(x)}, "wrong-type"),
        (lambda x: jac(x) * 1j, "wrong-dtype"),
        (lambda x: np.where(np.arange(30).reshape(6, 5) == 13, np.nan, jac(x)), "not-finite"),
        (overwrites, "inputs-changed"),
    ],
)
def test_faults_of_a_jacobian_are_named(claim, code):
    report = check_jacobian(f, claim, X)
    assert report.verdict == "fail" and code in codes(report), str(report)
    assert wrong(report) == {"not-finite": [[2, 3]], "inputs-changed": []}.get(
        code, np.argwhere(np.ones_like(B)).tolist()
    )
    with pytest.raises(GradientError):
        assert_jacobian(f, claim, X)


def test_a_jacobian_that_changes_between_calls_is_seen():
    calls = []

    def claim(x):
        calls.append(1)
        return jac(x) * len(calls)

    assert "accumulates" in codes(check_jacobian(f, claim, X))


def test_a_budget_is_kept():
    report = check_jacobian(f, jac, X, max_evaluations=8)
    assert report.verdict == "inconclusive" and report.evaluations <= 8


# ---- numerical Jacobians ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CASES if name != "absolute values at zero"])
def test_the_bound_covers_the_error_of_every_entry(name):
    function, derivative, x = CASES[name]
    found, exact = numerical_jacobian(function, x), np.asarray(derivative(x), dtype=np.float64)
    assert found.value.shape == found.error_bound.shape == found.kink.shape == exact.shape
    # What a float32 claim is worth is no matter of the measurement.
    rounding = 1e-6 * np.abs(exact) if name == "float32" else 0.0
    assert np.all(np.abs(found.value - exact) <= found.error_bound + rounding)
    assert not found.kink.any()


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
def test_bounds_cover_the_error_at_random_points(m, n, seed):
    rng = np.random.default_rng(seed)
    matrix, x = rng.normal(size=(m, n)), rng.normal(size=n)
    found = numerical_jacobian(lambda x: np.exp(np.sin(matrix @ x)), x)
    inner = matrix @ x
    exact = (np.exp(np.sin(inner)) * np.cos(inner))[:, None] * matrix
    assert np.all(np.abs(found.value - exact) <= found.error_bound)
    assert np.all(found.error_bound <= 1e-6 * np.max(np.abs(exact), axis=1, keepdims=True) + 1e-12)


def test_gradient_and_jacobian_of_a_number_are_the_same():
    def number(x):
        return float(np.log(np.exp(x).sum()))

    gradient, jacobian = numerical_gradient(number, X), numerical_jacobian(number, X)
    np.testing.assert_array_equal(gradient.value, jacobian.value)
    assert gradient.evaluations == jacobian.evaluations


def test_kinks_are_flagged_output_by_output():
    found = numerical_jacobian(lambda x: np.array([np.abs(x[0]), x[0] + x[1]]), np.array([0.0, 1.0]))
    assert found.kink.tolist() == [[True, False], [False, False]]
    assert found.error_bound[0, 0] >= 1.0 and abs(found.value[0, 0]) <= 1e-6


def test_all_outputs_come_from_the_same_evaluations():
    small, large = (numerical_jacobian(lambda x, k=k: np.sin(np.outer(np.ones(k), x)), X).evaluations for k in (1, 300))
    assert small == large <= 8 * X.size + 14


def test_a_budget_leaves_nan_and_infinite_bounds():
    found = numerical_jacobian(f, X, max_evaluations=5)
    assert found.evaluations == 5 and np.isnan(found.value).all() and np.isinf(found.error_bound).all()


# ---- Hessians --------------------------------------------------------------------------------------------------------


def rosenbrock(x):
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def rosenbrock_hessian(x):
    h, k = np.zeros((x.size, x.size)), np.arange(x.size - 1)
    h[k, k] += 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
    h[k + 1, k + 1] += 200
    h[k, k + 1] = h[k + 1, k] = -400 * x[:-1]
    return h


def log_sum_exp(x):
    return float(np.log(np.exp(x).sum()))


def log_sum_exp_hessian(x):
    p = np.exp(x) / np.exp(x).sum()
    return np.diag(p.ravel()).reshape(x.shape * 2) - np.multiply.outer(p, p)


HESSIANS = {
    "rosenbrock": (rosenbrock, rosenbrock_hessian, X),
    "log-sum-exp": (log_sum_exp, log_sum_exp_hessian, X[:4].reshape(2, 2)),
    "linear": (lambda x: float(B[0] @ x), lambda x: np.zeros((5, 5)), X),
    "fast": (lambda x: float(np.sin(100 * x).sum()), lambda x: np.diag(-1e4 * np.sin(100 * x)), X),
    "near an edge": (lambda x: float(np.log(x).sum()), lambda x: np.diag(-1 / x**2), np.array([1e-3, 1e-2, 1.0, 50.0])),
    "kinks near by": (lambda x: float(np.sum(np.maximum(x, 0) ** 2)), lambda x: np.diag(2.0 * (x > 0)), X),
    "number": (np.cosh, np.cosh, 0.7),
    "float32": (
        lambda x: np.log(np.exp(x).sum()),
        lambda x: log_sum_exp_hessian(x).astype("f"),
        X.astype("f"),
    ),
}


@pytest.mark.parametrize("name", HESSIANS)
@pytest.mark.parametrize("seed", seeds(3))
def test_right_hessians_pass(name, seed):
    function, hessian, x = HESSIANS[name]
    report = assert_hessian(function, hessian, x, rng=seed)
    assert report.parameters["params"].shape == np.shape(x) * 2
    assert report.evaluations <= (30 if name in {"fast", "near an edge"} else 12) * np.size(x) ** 2 + 30


@pytest.mark.parametrize("name", ["rosenbrock", "fast", "near an edge", "kinks near by"])
@pytest.mark.parametrize("error", [1e-3, 0.5])
def test_wrong_entries_of_a_hessian_are_named(name, error):
    function, hessian, x = HESSIANS[name]
    claim = hessian(x)
    size = np.sqrt(np.mean(claim**2))
    claim[1, 1] += error * size
    claim[0, 2] += error * size
    claim[2, 0] += error * size
    assert wrong(check_hessian(function, lambda x: claim, x)) == [[0, 2], [1, 1], [2, 0]]


@pytest.mark.parametrize("name", ["rosenbrock", "log-sum-exp"])
def test_the_bound_of_a_second_derivative_covers_its_error(name):
    function, hessian, x = HESSIANS[name]
    for seed in range(20):
        at = np.random.default_rng(seed).normal(size=x.shape)
        parameter = check_hessian(function, hessian, at, rng=seed).parameters["params"]
        assert np.all(np.abs(parameter.reference - hessian(at)) <= parameter.error_bound)
        assert np.all(parameter.error_bound <= 1e-5 * np.max(np.abs(hessian(at))))


def test_a_hessian_that_is_not_symmetric_is_a_finding():
    def claim(x):
        return rosenbrock_hessian(x) + np.triu(np.ones((5, 5)), 1)

    report = check_hessian(rosenbrock, claim, X)
    assert report.verdict == "fail" and "not-symmetric" in codes(report)
    assert wrong(report) == [[i, j] for i in range(5) for j in range(i + 1, 5)]


def test_at_a_kink_a_hessian_is_undecided():
    report = check_hessian(lambda x: float(np.abs(x).sum()), lambda x: np.zeros((3, 3)), np.zeros(3))
    assert report.verdict == "inconclusive"
    np.testing.assert_array_equal(report.parameters["params"].undecided, np.eye(3, dtype=bool))


@pytest.mark.parametrize(
    ("claim", "code"),
    [
        (lambda x: rosenbrock_hessian(x).ravel(), "wrong-shape"),
        (lambda x: rosenbrock_hessian(x) * np.nan, "not-finite"),
        (lambda x: None, "missing-gradient"),
    ],
)
def test_faults_of_a_hessian_are_named(claim, code):
    report = check_hessian(rosenbrock, claim, X)
    assert report.verdict == "fail" and code in codes(report) and report.parameters["params"].wrong.all()


def test_a_hessian_takes_one_call_for_all_steps_of_a_vectorised_function():
    report = assert_hessian(lambda x: np.log(np.exp(x).sum(-1)), log_sum_exp_hessian, X, vectorized=True)
    assert report.evaluations <= 5**2 + 30


def test_a_hessian_without_calls_left_is_undecided():
    report = check_hessian(rosenbrock, rosenbrock_hessian, X, max_evaluations=60)
    assert report.verdict == "inconclusive" and report.evaluations <= 60 and not wrong(report)


# ---- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [check_jacobian, check_hessian], ids=["jacobian", "hessian"])
@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [
        ((3, jac, X), {}, "f="),
        ((f, 3, X), {}, "(jac|hess)="),
        ((f, jac, "text"), {}, "x: the leaf .* is a str"),
        ((f, jac, np.ones(5, int)), {}, "x holds no floating-point"),
        ((f, jac, X + 1j), {}, "complex"),
        ((lambda x: (x, x), jac, X), {}, "f returned"),
        ((lambda x: {"y": x}, jac, X), {}, "f returned"),
        ((f, jac, X), {"tolerance": 1.0}, "tolerance"),
        ((f, jac, X), {"rtol": 0.0}, "rtol"),
    ],
)
def test_matrices_that_cannot_be_checked_are_refused_by_name(check, arguments, options, name):
    with pytest.raises(InvalidArgument, match=name):
        check(*arguments, **options)


@pytest.mark.parametrize("method", ["auto", "complex-step"])
def test_no_outputs_pass_as_other_empties_do_and_the_blind_spots_say_so(method):
    report = check_jacobian(lambda x: x[:0], lambda x: np.zeros((0, 5)), np.ones(5), method=method)
    assert report.verdict == "pass" and report.parameters["params"].shape == (0, 5)
    assert any("f returned no numbers" in words for words in report.blind_spots)
    wrong = check_jacobian(lambda x: x[:0], lambda x: np.zeros((0, 4)), np.ones(5))
    assert wrong.verdict == "fail" and wrong.findings[0].code == "wrong-shape"
    assert numerical_jacobian(lambda x: x[:0], np.ones(5)).value.shape == (0, 5)


def test_what_has_no_jacobian_is_refused():
    for bad in (lambda x: x.astype(int), lambda x: "text"):
        with pytest.raises(InvalidArgument, match=r"f returned|value of f"):
            check_jacobian(bad, jac, X)
        with pytest.raises(InvalidArgument, match=r"f returned|value of f"):
            numerical_jacobian(bad, X)
    for options in ({"vectorized": True}, {"oops": 1}):
        with pytest.raises(InvalidArgument):
            numerical_jacobian(f, X, **options)
        with pytest.raises(InvalidArgument):
            check_jacobian(f, jac, X, **options)
    with pytest.raises(InvalidArgument, match="a single number"):
        check_hessian(f, jac, X)
