"""The derivatives that SciPy's solvers are given, by the call that they are given in; every right one with a wrong twin."""

import numpy as np
import pytest

from gradcheck import GradientError, InvalidArgument

optimize = pytest.importorskip("scipy.optimize")
sparse = pytest.importorskip("scipy.sparse")

from gradcheck.scipy import assert_least_squares, assert_problem, check_least_squares, check_problem  # noqa: E402

rosen, rosen_der, rosen_hess, rosen_hess_prod = (
    getattr(optimize, name) for name in ("rosen", "rosen_der", "rosen_hess", "rosen_hess_prod")
)
X0 = [1.3, 0.7, 0.8, 1.9, -1.2]


def verdicts(reports):
    return {name: report.verdict for name, report in reports.items()}


def wrong_at(array, *index):
    array = np.array(array)
    array[index] += 0.01 * np.abs(array).max()
    return array


def test_rosenbrock_as_in_the_documentation_of_minimize():
    given = {"jac": rosen_der, "hess": rosen_hess, "hessp": rosen_hess_prod}
    assert verdicts(check_problem(rosen, X0, **given)) == {"jac": "pass", "hess": "pass", "hessp": "pass"}
    wrong = {
        "jac": lambda x: wrong_at(rosen_der(x), 2),
        "hess": lambda x: wrong_at(rosen_hess(x), 1, 2),
        "hessp": lambda x, p: wrong_at(rosen_hess_prod(x, p), 3),
    }
    for name, derivative in wrong.items():
        reports = check_problem(rosen, X0, **{**given, name: derivative})
        assert {key for key, report in reports.items() if not report.ok} == {name}, name
        assert reports[name].verdict == "fail"
    assert np.argwhere(
        check_problem(rosen, X0, **{**given, "hess": wrong["hess"]})["hess"].parameters["params"].wrong
    ).tolist() == [[1, 2]]


def test_a_hessian_without_a_gradient_is_compared_with_values():
    assert verdicts(check_problem(rosen, X0[:3], hess=rosen_hess)) == {"hess": "pass"}
    assert verdicts(check_problem(rosen, X0[:3], hessp=lambda x, p: -rosen_hess_prod(x, p))) == {"hessp": "fail"}


def scaled(x, a, b):
    return a * np.sum((x - b) ** 2)


def test_args_and_jac_true():
    x0 = np.array([0.3, -2.0, 1.0])
    assert_problem(scaled, x0, (2.0, 1.5), jac=lambda x, a, b: 2 * a * (x - b))
    assert_problem(
        scaled, x0, args=(2.0, 1.5), jac=lambda x, a, b: 2 * a * (x - b), hess=lambda x, a, b: 2 * a * np.eye(3)
    )
    both = lambda x, a: (a * np.sum(x**3), 3 * a * x**2)  # noqa: E731
    assert_problem(both, x0, (0.5,), jac=True)
    assert_problem(lambda x, a: np.sum(x**a), [1.0, 2.0], 3, jac=lambda x, a: a * x ** (a - 1))
    with pytest.raises(GradientError) as raised:
        assert_problem(lambda x, a: (a * np.sum(x**3), 3 * x**2), x0, (0.5,), jac=True)
    assert raised.value.__notes__ == ["this is the report of jac"]


def constrained(wrong=""):
    def hess(x, v):
        return v[0] * np.diag([2.0, 0.0]) + v[1] * np.array([[0.0, 1.0 if wrong != "hess" else 1.1], [1.0, 0.0]])

    def jac(x):
        return [[2 * x[0], 1.0], [x[1], x[0] if wrong != "jac" else x[1]]]

    return optimize.NonlinearConstraint(lambda x: [x[0] ** 2 + x[1], x[0] * x[1]], -np.inf, 1, jac=jac, hess=hess)


def test_constraints():
    x0 = [0.5, 0.8]
    circle = {"type": "ineq", "fun": lambda x, r: r - x @ x, "jac": lambda x, r: -2 * x, "args": (3.0,)}
    plane = optimize.LinearConstraint([[1, 2]], 0, 4)
    reports = check_problem(rosen, x0, jac=rosen_der, constraints=[circle, plane, constrained()])
    assert verdicts(reports) == dict.fromkeys(
        ["jac", "constraints[0].jac", "constraints[2].jac", "constraints[2].hess"], "pass"
    )
    circle = {**circle, "jac": lambda x, r: -x}
    assert check_problem(rosen, x0, constraints=circle)["constraints[0].jac"].verdict == "fail"
    for name in ("jac", "hess"):
        reports = check_problem(rosen, x0, constraints=constrained(name))
        assert {key for key, report in reports.items() if not report.ok} == {f"constraints[0].{name}"}
    sparse_jac = optimize.NonlinearConstraint(lambda x: x**2, 0, 1, jac=lambda x: sparse.diags_array(2 * x).tocsr())
    assert check_problem(rosen, x0, constraints=sparse_jac)["constraints[0].jac"].ok


@pytest.mark.parametrize("make", [optimize.Bounds, lambda low, high: list(zip(low, high, strict=True))])
def test_bounds_are_never_left(make):
    low, high = np.array([0.0, 0.0, -1.0, 0.5]), np.array([np.inf, 1.0, 1.0, 0.5])
    x0 = np.array([0.0, 1.0, 0.25, 0.5])

    def inside(x):
        assert np.all((low <= x) & (x <= high)), x
        return x

    def fun(x):
        return np.sum(np.exp(inside(x))) + np.sum(inside(x)[:2] ** 1.5) + x[0] * x[1]

    def jac(x):
        x = inside(x)
        return np.exp(x) + np.array([1.5 * np.sqrt(x[0]) + x[1], 1.5 * np.sqrt(x[1]) + x[0], 0, 0])

    reports = check_problem(fun, x0, jac=jac, bounds=make(low, high))
    assert verdicts(reports) == {"jac": "pass"}, str(reports["jac"])
    assert any("x0[3]: its bounds are equal" in line for line in reports["jac"].blind_spots)
    for i in range(3):
        report = check_problem(fun, x0, jac=lambda x, i=i: wrong_at(jac(x), i), bounds=make(low, high))["jac"]
        assert report.verdict == "fail" and np.flatnonzero(report.parameters["params"].wrong).tolist() == [i]


@pytest.mark.parametrize("width", [1e-3, 1e-6])
def test_a_narrow_box(width):
    calls = []

    def fun(x):
        calls.append(x.copy())
        return np.sum(np.sin(3 * x))

    x0 = np.array([0.5, 0.5 + width, 0.5 + width / 3])
    bounds = [(0.5, 0.5 + width)] * 3
    report = check_problem(fun, x0, jac=lambda x: 3 * np.cos(3 * x), bounds=bounds)["jac"]
    assert report.ok, str(report)
    assert report.evaluations == len(calls)
    assert np.min(calls) >= 0.5 and np.max(calls) <= 0.5 + width
    assert check_problem(fun, x0, jac=lambda x: 3.01 * np.cos(3 * x), bounds=bounds)["jac"].verdict == "fail"


def test_second_derivatives_at_a_bound():
    bounds = [(0, None)] * 3
    x0 = [0.0, 1.0, 0.0]
    cubic = lambda x: np.sum(x**3) + x[0] * x[1] + 2 * x[0] * x[2]  # noqa: E731

    def hess(x):
        return np.diag(6 * x) + np.array([[0, 1, 2], [1, 0, 0], [2, 0, 0]])

    report = check_problem(cubic, x0, hess=hess, bounds=bounds)["hess"]
    assert report.ok, str(report)
    assert check_problem(cubic, x0, hess=lambda x: wrong_at(hess(x), 0, 2), bounds=bounds)["hess"].verdict == "fail"


def test_max_evaluations_counts_calls_of_fun_itself():
    calls = []
    report = check_problem(
        lambda x: calls.append(1) or np.sum(x**3), np.zeros(30) + [0.0, 1.0] * 15, jac=lambda x: 3 * x**2, bounds=[(0, 1)] * 30,
        max_evaluations=100,
    )["jac"]  # fmt: skip
    assert report.evaluations == len(calls) <= 100


def model(x, t, y, *, weight=1.0):
    return weight * (x[0] * np.exp(-x[1] * t) + x[2] - y)


def model_jac(x, t, y, *, weight=1.0):
    e = np.exp(-x[1] * t)
    return weight * np.stack([e, -x[0] * t * e, np.ones_like(t)], axis=1)


T, Y = np.linspace(0, 3, 15), np.random.default_rng(0).normal(size=15)


@pytest.mark.parametrize(
    "form", [np.asarray, sparse.csr_array, lambda m: optimize._lsq.common.LinearOperator(m.shape, matvec=lambda v: m @ v, rmatvec=lambda v: m.T @ v)]
)  # fmt: skip
def test_least_squares(form):
    x0 = [2.0, 0.7, 0.1]
    given = {"args": (T, Y), "kwargs": {"weight": 0.5}, "bounds": ([0, 0, -np.inf], np.inf)}
    assert_least_squares(model, x0, lambda *a, **k: form(model_jac(*a, **k)), **given)
    report = check_least_squares(model, x0, lambda *a, **k: form(wrong_at(model_jac(*a, **k), 4, 1)), **given)
    assert np.argwhere(report.parameters["params"].wrong).tolist() == [[4, 1]]


def test_both_products_of_an_operator_are_those_of_the_jacobian():
    def operator(there, back=None):
        rmatvec = None if back is None else lambda v: back.T @ v
        return optimize._lsq.common.LinearOperator(there.shape, matvec=lambda v: there @ v, rmatvec=rmatvec)

    def check(form):
        return check_least_squares(model, [2.0, 0.7, 0.1], lambda x, t, y: form(model_jac(x, t, y)), args=(T, Y))

    assert check(operator)  # has no rmatvec
    assert check(lambda m: operator(m, m))
    report = check(lambda m: operator(m, wrong_at(m, 4, 1)))
    assert report.verdict == "fail" and [finding.code for finding in report.findings] == ["not-adjoint"]
    assert "rmatvec" in report.findings[0].message


@pytest.mark.parametrize("wrong", [np.transpose, np.ravel, lambda m: m[:, 1:], lambda m: None, lambda m: "m"])
def test_a_jacobian_of_another_form_fails(wrong):
    given = {"args": (T, Y), "bounds": ([0, 0.7, -9], [9, 0.7, 9])}
    assert check_least_squares(model, [2.0, 0.7, 0.1], model_jac, **given)
    report = check_least_squares(model, [2.0, 0.7, 0.1], lambda *a: wrong(model_jac(*a)), **given)
    assert report.verdict == "fail"
    assert report.findings[0].code in {"wrong-shape", "missing-gradient", "wrong-type"}


@pytest.mark.parametrize("wrong", [lambda m: m[:-1], lambda m: m[:, :-1], np.diag, lambda m: [None, None]])
def test_a_hessian_of_another_form_fails(wrong):
    bounds = [(0, 2), (0.7, 0.7)] + 3 * [(-2, 2)]
    for jac in (rosen_der, None):
        assert all(check_problem(rosen, X0, jac=jac, hess=rosen_hess, bounds=bounds).values())
        report = check_problem(rosen, X0, jac=jac, hess=lambda x: wrong(rosen_hess(x)), bounds=bounds)["hess"]
        assert report.verdict == "fail" and report.findings[0].code in {"wrong-shape", "wrong-type"}


def test_sparsity():
    def residuals(x):
        return np.append(x[1:] - x[:-1] ** 2, x[0] * x[-1])

    def jac(x):
        n = len(x)
        matrix = np.zeros((n, n))
        matrix[np.arange(n - 1), np.arange(1, n)], matrix[np.arange(n - 1), np.arange(n - 1)] = 1, -2 * x[:-1]
        matrix[-1, 0], matrix[-1, -1] = x[-1], x[0]
        return matrix

    x0 = np.random.default_rng(1).normal(size=6)
    pattern = jac(x0) != 0
    for form in (np.asarray, sparse.csr_array, sparse.csr_matrix):
        assert check_least_squares(residuals, x0, lambda x, form=form: form(jac(x)), jac_sparsity=form(pattern)).ok
    narrow = pattern.copy()
    narrow[-1, 0] = False
    report = check_least_squares(residuals, x0, jac, jac_sparsity=narrow)
    assert report.verdict == "fail" and report.findings[0].code == "outside-sparsity"
    assert report.findings[0].evidence["first"] == [[5, 0]]
    with pytest.raises(GradientError, match="outside of jac_sparsity, the first at"):
        assert_least_squares(residuals, x0, jac, jac_sparsity=narrow)
    with pytest.raises(InvalidArgument, match="jac_sparsity has shape"):
        check_least_squares(residuals, x0, jac, jac_sparsity=narrow[1:])


def test_what_cannot_be_checked_says_so():
    with pytest.raises(InvalidArgument, match="nothing to check"):
        check_problem(rosen, X0, jac="2-point", hess=optimize.BFGS())
    with pytest.raises(InvalidArgument, match=r"x0\[1\] = 2 is out of its bounds, 0 to 1"):
        check_problem(rosen, [0.5, 2.0], jac=rosen_der, bounds=[(0, 1)] * 2)
    with pytest.raises(InvalidArgument, match=r"must be a Bounds, or one \(min, max\) for each of the 2 elements"):
        check_problem(rosen, [0.5, 2.0], jac=rosen_der, bounds=[(0, 1)])
    with pytest.raises(InvalidArgument, match=r"constraints\[0\] is an int"):
        check_problem(rosen, [0.5, 2.0], jac=rosen_der, constraints=[3])
    with pytest.raises(InvalidArgument, match="a vector of real numbers was required"):
        check_problem(rosen, [[0.5, 2.0]], jac=rosen_der)


def both(x):
    return rosen(x), rosen_der(x)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_problem(both, X0, jac=rosen_der), r"a tuple; a single number was required; .* pass jac=True"),
        (
            lambda: check_problem(rosen, X0, jac=True),
            r"jac=True requires fun to return \(value, gradient\), .* a float",
        ),
        (
            lambda: check_problem(rosen, X0, jac=rosen_der(X0)),
            r"jac=array.* is an ndarray; a function was required, or",
        ),
        (lambda: check_problem(rosen, X0, jac=rosen_der, hess=np.eye(5)), r"hess=array.*; a function was required, or"),
        (lambda: check_problem(rosen, X0, jac="3-piont"), r"jac='3-piont' is a str; a function was required, or"),
        (lambda: check_problem(rosen, X0, jac=rosen_der, bounds=5), r"bounds=5 must be a Bounds, or one \(min, max\)"),
        (
            lambda: check_problem(rosen, X0, constraints={"type": "eq"}),
            r"constraints\[0\]\['fun'\]=None; a function was required",
        ),
        (
            lambda: check_least_squares(both, X0, rosen_der, bounds=[(0, 1)] * 5),
            r"bounds=\[.* must be a Bounds or a pair \(lower, upper\)",
        ),
    ],
)
def test_mistakes_get_one_sentence_with_the_remedy(call, words):
    with pytest.raises(InvalidArgument, match=words):
        call()


def test_what_only_the_solver_reads_is_taken():
    given = {"method": "trust-ncg", "tol": 1e-8, "options": {"maxiter": 3}, "callback": print}
    assert verdicts(check_problem(rosen, X0[:3], jac=rosen_der, **given)) == {"jac": "pass"}
    assert check_problem(rosen, X0[:3], jac=lambda x: 2 * rosen_der(x), **given)["jac"].verdict == "fail"
    cube = {"fun": lambda x: x**3, "x0": X0[:3], "method": "lm", "ftol": 1e-9, "verbose": 2}
    assert check_least_squares(jac=lambda x: np.diag(3 * x**2), **cube).ok
    assert check_least_squares(jac=lambda x: np.diag(x**2), **cube).verdict == "fail"
    with pytest.raises(InvalidArgument, match="method='exhaustiv' is not known"):
        check_problem(rosen, X0[:3], jac=rosen_der, method="exhaustiv")


def test_what_scipy_approximates_has_nothing_to_check():
    reports = check_problem(rosen, X0[:3], jac=rosen_der, hess=optimize.BFGS())
    assert verdicts(reports) == {"jac": "pass"}
    assert verdicts(check_problem(rosen, X0[:3], jac="3-point", hessp=rosen_hess_prod)) == {"hessp": "pass"}
    assert check_least_squares(lambda x, k: k * x, X0, lambda x, k: k * np.eye(5), args=2.0).ok
