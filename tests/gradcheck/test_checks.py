"""Products with Jacobians and Hessians, and adjoints: right ones pass, planted bugs fail where they are, protocol."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradcheck
from gradcheck import (
    GradientError,
    InvalidArgument,
    assert_adjoint,
    assert_hvp,
    assert_jvp,
    assert_vjp,
    check_adjoint,
    check_hvp,
    check_jvp,
    check_vjp,
)
from tests.seeds import seeds


def codes(report):
    return {finding.code for finding in report.findings}


def wrong(report, name):
    return np.argwhere(report.parameters[name].wrong).tolist()


# ---- a function of two inputs and an integer, with several outputs ---------------------------------------------------


def f(p, gain, times):
    return {"s": np.sin(p["a"]) * gain * times, "t": (p["a"].sum() * p["b"],)}


def vjp(dy, p, gain, times):
    ds, dt = dy["s"], dy["t"][0]
    da = ds * np.cos(p["a"]) * gain * times + dt * p["b"]
    return {"a": da, "b": dt * p["a"].sum()}, (ds * np.sin(p["a"])).sum(axis=0) * times, None


def jvp(tangents, p, gain, times):
    dp, dgain, _ = tangents
    ds = np.cos(p["a"]) * gain * times * dp["a"] + np.sin(p["a"]) * times * dgain
    return {"s": ds, "t": (dp["a"].sum() * p["b"] + p["a"].sum() * dp["b"],)}


RNG = np.random.default_rng(3)
INPUTS = ({"a": RNG.normal(size=(2, 3)), "b": 1.5}, RNG.normal(size=3), 2)
CHECKS = {"vjp": (check_vjp, assert_vjp, vjp), "jvp": (check_jvp, assert_jvp, jvp)}


def in_float32(tree):
    if isinstance(tree, dict):
        return {key: in_float32(part) for key, part in tree.items()}
    return tree if isinstance(tree, int) else np.float32(tree)


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("seed", seeds(3))
def test_right_products_pass_in_both_precisions(kind, seed):
    _, assert_, derivative = CHECKS[kind]
    report = assert_(f, derivative, *INPUTS, rng=seed)
    assert list(report.parameters) == ["p.a", "p.b", "gain"] and report.evaluations <= 2 * 10 + 100
    assert all(p.digits > 6 for p in report.parameters.values())
    single = tuple(in_float32(part) for part in INPUTS)
    assert assert_(f, derivative, *single, rng=seed).parameters["gain"].dtype == np.float32


@given(st.lists(st.integers(1, 4), min_size=0, max_size=3), st.integers(0, 99))
def test_elementwise_functions_of_any_shape(shape, seed):
    x = np.random.default_rng(seed).normal(size=shape)
    assert check_vjp(np.tanh, lambda dy, x: dy / np.cosh(x) ** 2, x, rng=seed).ok
    assert check_jvp(np.tanh, lambda t, x: t[0] / np.cosh(x) ** 2, x, rng=seed).ok


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_matrix_products_of_any_shape(n, k, m, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, k)), rng.normal(size=(k, m))
    assert check_vjp(np.matmul, lambda dy, a, b: (dy @ b.T, a.T @ dy), a, b, rng=seed).ok
    assert check_jvp(np.matmul, lambda t, a, b: t[0] @ b + a @ t[1], a, b, rng=seed).ok


@pytest.mark.parametrize("factor", [-1.0, 0.0, 1 + 1e-5, 2.0])
def test_exactly_the_wrong_elements_are_named(factor):
    def wrong_vjp(dy, p, gain, times):
        dp, dgain, _ = vjp(dy, p, gain, times)
        dp["a"][1, 2] *= factor
        dgain[0] *= factor
        return dp, dgain, None

    def wrong_jvp(tangents, p, gain, times):
        dp, dgain = {"a": tangents[0]["a"].copy(), "b": tangents[0]["b"]}, tangents[1].copy()
        dp["a"][1, 2] *= factor
        dgain[0] *= factor
        return jvp((dp, dgain, 0), p, gain, times)

    for check, derivative in ((check_vjp, wrong_vjp), (check_jvp, wrong_jvp)):
        report = check(f, derivative, *INPUTS)
        assert report.verdict == "fail" and "wrong-gradient" in codes(report)
        assert wrong(report, "p.a") == [[1, 2]] and wrong(report, "gain") == [[0]]
        assert not report.parameters["p.b"].wrong.any()


def cube(x):
    return x**3


def slope(x):
    return 3 * x**2


X = np.array([[0.5, -1.0], [2.0, 0.25]])


def grows(derivative):
    calls = [0.0]

    def grown(*arguments):
        calls[0] += 0.01
        return derivative(*arguments) * (1 + calls[0])

    return grown


def overwrites(array, derivative):
    result = derivative()
    array *= 0.5
    return result


@pytest.mark.parametrize(
    ("claim", "code"),
    [
        (lambda dy, x: slope(x), "upstream-ignored"),
        (lambda dy, x: abs(dy) * slope(x), "not-linear"),
        (lambda dy, x: (dy * slope(x)).sum(axis=0), "wrong-shape"),
        (lambda dy, x: dy * slope(x) * np.nan, "not-finite"),
        (lambda dy, x: "text", "wrong-type"),
        (lambda dy, x: dy * slope(x) * (1 + 1j), "wrong-dtype"),
        (lambda dy, x: (dy * slope(x), dy), "wrong-structure"),
        (lambda dy, x: overwrites(dy, lambda: dy * slope(x)), "upstream-changed"),
        (lambda dy, x: overwrites(x, lambda: dy * slope(x)), "inputs-changed"),
        (grows(lambda dy, x: dy * slope(x)), "accumulates"),
        (lambda dy, x: dy * x**2, "wrong-gradient"),
    ],
)
def test_faults_of_a_vjp_are_named(claim, code):
    report = check_vjp(cube, claim, X)
    assert report.verdict == "fail" and code in codes(report), str(report)
    protocol = {"upstream-changed", "inputs-changed", "not-linear", "second-call-differs", "accumulates"}
    assert all(finding.message.startswith("vjp ") for finding in report.findings if finding.code in protocol)
    with pytest.raises(GradientError):
        assert_vjp(cube, claim, X)


@pytest.mark.parametrize(
    ("claim", "code"),
    [
        (lambda t, x: slope(x), "tangent-ignored"),
        (lambda t, x: abs(t[0]) * slope(x), "not-linear"),
        (lambda t, x: (t[0] * slope(x)).sum(axis=0), "wrong-shape"),
        (lambda t, x: t[0] * slope(x) * np.nan, "not-finite"),
        (lambda t, x: None, "missing-gradient"),
        (lambda t, x: "text", "wrong-type"),
        (lambda t, x: t[0] * slope(x) * (1 + 1j), "wrong-dtype"),
        (lambda t, x: (t[0] * slope(x), t[0]), "wrong-shape"),
        (lambda t, x: {"y": t[0] * slope(x)}, "wrong-type"),
        (lambda t, x: overwrites(t[0], lambda: t[0] * slope(x)), "tangent-changed"),
        (lambda t, x: overwrites(x, lambda: t[0] * slope(x)), "inputs-changed"),
        (grows(lambda t, x: t[0] * slope(x)), "accumulates"),
        (lambda t, x: t[0] * x**2, "wrong-gradient"),
    ],
)
def test_faults_of_a_jvp_are_named(claim, code):
    report = check_jvp(cube, claim, X)
    assert report.verdict == "fail" and code in codes(report), str(report)
    with pytest.raises(GradientError):
        assert_jvp(cube, claim, X)


def test_a_dy_that_lacks_an_output_is_a_finding_against_each_input():
    report = check_jvp(f, lambda *arguments: {"s": jvp(*arguments)["s"]}, *INPUTS)
    assert report.verdict == "fail" and codes(report) == {"missing-gradient"}
    assert {finding.where for finding in report.findings} == {"p.a", "p.b", "gain"}
    assert all("t[0]" in finding.message for finding in report.findings)


def test_a_jvp_that_is_right_for_single_inputs_and_wrong_for_both_is_not_linear():
    def claim(tangents, a, b):
        return a * tangents[1] + b * tangents[0] + 5 * tangents[0] * tangents[1]

    report = check_jvp(np.multiply, claim, np.array([1.0, 2.0]), np.array([3.0, -1.0]))
    assert report.verdict == "fail" and codes(report) == {"not-linear"}


def test_tangents_are_fresh_and_have_the_form_of_the_inputs():
    seen = []

    def claim(tangents, p, gain, times):
        seen.append(tangents)
        return jvp(tangents, p, gain, times)

    single = tuple(in_float32(part) for part in INPUTS)
    assert check_jvp(f, claim, *single).ok
    for tangents in seen:
        assert isinstance(tangents, tuple) and len(tangents) == 3
        assert tangents[0]["a"].dtype == tangents[1].dtype == np.float32 and tangents[0]["a"].shape == (2, 3)
        assert type(tangents[0]["b"]) is np.float32
        assert isinstance(tangents[2], float) and tangents[2] == 0.0
        assert tangents[1].flags.writeable
    arrays = [t[1] for t in seen]
    assert len({id(array) for array in arrays}) == len(arrays)


def test_the_cost_of_a_jvp_check_is_one_call_an_element():
    report = check_jvp(np.sin, lambda t, x: np.cos(x) * t[0], np.linspace(0, 1, 50))
    assert report.gradient_evaluations <= 50 + 10 and report.evaluations <= 2 * 50 + 100


def test_a_single_output_may_come_in_a_container():
    def named(x):
        return {"y": x**3}

    assert check_vjp(named, lambda dy, x: dy["y"] * slope(x), X).ok
    assert check_jvp(named, lambda t, x: {"y": t[0] * slope(x)}, X).ok
    assert check_jvp(lambda x: (x**3,), lambda t, x: (t[0] * slope(x),), X).ok


def test_none_is_not_differentiated():
    def partly(dy, a, b):
        return dy * b, None

    report = check_vjp(np.multiply, partly, np.ones(2), np.array([2.0, 3.0]))
    assert report.ok and len(report.parameters) == 1 and report.blind_spots
    assert check_vjp(np.multiply, lambda dy, a, b: None, np.ones(2), np.ones(2)).verdict == "inconclusive"


def test_exceptions_come_through_with_the_users_names():
    def broken(*_):
        raise KeyError("theirs")

    for check, derivative, name in ((check_vjp, broken, "vjp"), (check_jvp, broken, "jvp"), (check_hvp, broken, "hvp")):
        with pytest.raises(KeyError) as caught:
            check(cube, derivative, X)
        assert any(name in note for note in caught.value.__notes__)
        with pytest.raises(KeyError) as caught:
            check(broken, cube, X)
        assert any(("grad" if name == "hvp" else "calling f") in note for note in caught.value.__notes__)


# ---- Hessian-vector products -----------------------------------------------------------------------------------------


def grad(p):
    return {"a": np.exp(p["a"]) * p["b"], "b": np.exp(p["a"]).sum(), "steps": None}


def hvp(p, v):
    e = np.exp(p["a"])
    return {"a": e * p["b"] * v["a"] + e * v["b"], "b": (e * v["a"]).sum(), "steps": None}


POINT = {"a": np.linspace(-1, 1, 6).reshape(2, 3), "b": 2.0, "steps": 3}


def test_right_hessian_vector_products_pass():
    seen = []

    def claim(p, v):
        seen.append(v)
        return hvp(p, v)

    report = assert_hvp(grad, claim, POINT)
    assert list(report.parameters) == ["a", "b"]
    assert all(v["a"].shape == (2, 3) and isinstance(v["b"], float) and v["steps"] == 0 for v in seen)
    assert assert_hvp(np.sin, lambda x, v: np.cos(x) * v, np.float32([0.1, 2.0])).ok


@given(st.integers(1, 6), st.integers(0, 99))
def test_quadratic_forms_of_any_size(n, seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    assert check_hvp(lambda x: (a + a.T) @ x, lambda x, v: (a + a.T) @ v, rng.normal(size=n), rng=seed).ok


@pytest.mark.parametrize(
    ("claim", "code"),
    [
        (lambda p, v: {**hvp(p, v), "b": hvp(p, v)["b"] + v["b"]}, "wrong-gradient"),
        (lambda p, v: {**hvp(p, v), "a": np.exp(p["a"])}, "vector-ignored"),
        (lambda p, v: {**hvp(p, v), "b": abs(hvp(p, v)["b"])}, "not-linear"),
        (lambda p, v: {**hvp(p, v), "b": None}, "missing-gradient"),
        (lambda p, v: {**hvp(p, v), "a": hvp(p, v)["a"].T}, "wrong-shape"),
        (lambda p, v: overwrites(v["a"], lambda: hvp(p, v)), "vector-changed"),
        (lambda p, v: overwrites(p["a"], lambda: hvp(p, v)), "inputs-changed"),
        (lambda p, v: None, "missing-gradient"),
    ],
)
def test_faults_of_a_hessian_vector_product_are_named(claim, code):
    report = check_hvp(grad, claim, POINT)
    assert report.verdict == "fail" and code in codes(report), str(report)


def test_a_wrong_element_of_a_hessian_vector_product_is_named():
    def claim(x, v):
        product = 3 * x**2 * v
        product[2] *= 1.001
        return product

    report = check_hvp(lambda x: x**3, claim, np.array([1.0, 2.0, 3.0, 4.0]))
    assert report.verdict == "fail" and wrong(report, "params") == [[2]]


def test_a_gradient_unlike_its_point_is_refused():
    for bad in (lambda x: x[:1], lambda x: None, lambda x: {"a": x}, lambda x: float(x.sum())):
        with pytest.raises(InvalidArgument, match="grad"):
            check_hvp(bad, lambda x, v: v, np.ones(3))


# ---- adjoints --------------------------------------------------------------------------------------------------------

A = np.random.default_rng(5).normal(size=(5, 4))
C = A + 1j * np.random.default_rng(6).normal(size=(5, 4))
N = 8


def irfft(z):
    return np.fft.irfft(z, N)


def irfft_adjoint(t):
    z = np.fft.rfft(t) / N
    z[1:-1] *= 2
    z[[0, -1]] = z[[0, -1]].real
    return z


def convolve(x):
    return np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(np.exp(-np.arange(64.0) / 2)), 64)


def correlate(y):
    return np.fft.irfft(np.fft.rfft(y) * np.conj(np.fft.rfft(np.exp(-np.arange(64.0) / 2))), 64)


def reverse_sum(y):
    return np.cumsum(y[::-1])[::-1]


SPREAD = np.array([1e-12, 1.0, 1e12, 0.0])
MAPS = {
    "matrix": (lambda x: A @ x, lambda y: A.T @ y, np.zeros(4), np.zeros(5)),
    "complex": (lambda x: C @ x, lambda y: C.conj().T @ y, np.zeros(4, complex), np.zeros(5, complex)),
    "single": (lambda x: C @ x, lambda y: C.conj().T @ y, np.zeros(4, "F"), np.zeros(5, "F")),
    "real to complex": (
        np.fft.rfft,
        lambda y: (np.fft.rfft(np.eye(N), axis=0).conj().T @ y).real,
        np.ones(N),
        np.zeros(N // 2 + 1, complex),
    ),
    "complex to real": (irfft, irfft_adjoint, np.zeros(N // 2 + 1, complex), np.zeros(N)),
    "sums": (np.cumsum, reverse_sum, np.zeros(7), np.zeros(7)),
    "fast convolution": (convolve, correlate, np.zeros(64), np.zeros(64)),
    "24 decades": (lambda x: SPREAD * x, lambda y: SPREAD * y, np.zeros(4), np.zeros(4)),
    "number": (lambda x: 3 * x, lambda y: 3 * y, 1.0, 2.0),
    "images": (lambda x: x.T.copy(), lambda y: y.T.copy(), np.zeros((2, 3)), np.zeros((3, 2))),
    "float32 inside": (lambda x: A.astype("f") @ x.astype("f"), lambda y: A.T @ y, np.zeros(4), np.zeros(5)),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("seed", seeds(5, quick=2))
def test_right_adjoints_pass(name, seed):
    matvec, rmatvec, x, y = MAPS[name]
    report = assert_adjoint(matvec, rmatvec, x, y, rng=seed)
    assert report.evaluations <= 9 + 2 * np.size(x) and report.gradient_evaluations == 9
    assert set(report.parameters) == ({"x.real", "x.imag"} if np.iscomplexobj(x) else {"x"})


@pytest.mark.parametrize("name", ["matrix", "sums", "fast convolution", "24 decades", "number", "images"])
@pytest.mark.parametrize("factor", [0.0, 1.001, -1.0])
def test_wrong_elements_of_an_adjoint_are_named(name, factor):
    matvec, rmatvec, x, y = MAPS[name]

    def claim(v):
        result = np.array(rmatvec(v))
        result.flat[0] *= factor
        return result

    report = check_adjoint(matvec, claim, x, y)
    assert report.verdict == "fail" and np.flatnonzero(report.parameters["x"].wrong).tolist() == [0]


def test_adjoints_that_only_look_right_fail():
    for claim in (lambda y: C.T @ y, lambda y: (C.conj().T @ y).conj()):
        report = check_adjoint(lambda x: C @ x, claim, np.zeros(4, complex), np.zeros(5, complex))
        assert report.verdict == "fail" and "not-adjoint" in codes(report)
    report = check_adjoint(irfft, lambda t: np.fft.rfft(t) / N, np.zeros(N // 2 + 1, complex), np.zeros(N))
    assert wrong(report, "x.real") == [[1], [2], [3]]
    assert not check_adjoint(np.cumsum, np.cumsum, np.zeros(4), np.zeros(4))


def test_small_errors_are_seen_and_smaller_ones_never_called_wrong():
    for error, verdict in ((1e-6, "fail"), (1e-8, "pass")):
        factors = np.array([1.0, 1 + error, 1.0, 1.0])
        for seed in range(10):
            report = check_adjoint(
                lambda x: A @ x, lambda y, s=factors: (A * s).T @ y, np.zeros(4), np.zeros(5), rng=seed
            )
            assert report.verdict == verdict


@pytest.mark.parametrize(
    ("matvec", "rmatvec", "code", "where"),
    [
        (lambda x: A @ x + 1, lambda y: A.T @ y, "not-linear", "y"),
        (lambda x: A @ np.abs(x), lambda y: A.T @ y, "not-linear", "y"),
        (lambda x: A @ x, lambda y: np.maximum(A.T @ y, 0), "not-linear", "x"),
        (lambda x: A @ x, lambda y: A.T @ y + np.eye(4)[1], "not-linear", "x"),
        (lambda x: A @ x, lambda y: A @ y[:4], "wrong-shape", "x"),
        (lambda x: A[:3] @ x, lambda y: A.T @ y, "wrong-shape", "y"),
        (lambda x: A @ x, lambda y: None, "wrong-type", "x"),
        (lambda x: "text", lambda y: A.T @ y, "wrong-type", "y"),
        (lambda x: A @ x, lambda y: A.T @ y * np.nan, "not-finite", "x"),
        (lambda x: A @ x, lambda y: A.T @ y * 1j, "wrong-dtype", "x"),
        (lambda x: overwrites(x, lambda: A @ x), lambda y: A.T @ y, "inputs-changed", "y"),
        (lambda x: A @ x, lambda y: overwrites(y, lambda: A.T @ y), "inputs-changed", "x"),
        (grows(lambda x: A @ x), lambda y: A.T @ y, "second-call-differs", "y"),
        (lambda x: A @ x, grows(lambda y: A.T @ y), "second-call-differs", "x"),
    ],
)
def test_faults_of_linear_maps_are_named(matvec, rmatvec, code, where):
    report = check_adjoint(matvec, rmatvec, np.zeros(4), np.zeros(5))
    assert report.verdict == "fail" and not report
    assert any(finding.code == code and finding.where == where for finding in report.findings), str(report)


def test_a_conjugation_is_not_linear_between_complex_spaces():
    z = np.zeros(3, complex)
    assert "not-linear" in codes(check_adjoint(np.conj, np.conj, z, z))


def test_of_a_large_map_a_sample_is_looked_at_and_the_rest_said():
    n = 3000
    report = assert_adjoint(np.cumsum, reverse_sum, np.zeros(n), np.zeros(n))
    assert report.evaluations <= 1009 and report.parameters["x"].digits > 6
    assert any("2000 of 3000" in spot for spot in report.blind_spots)
    report = check_adjoint(np.cumsum, lambda y: reverse_sum(y) * (np.arange(n) != 7), np.zeros(n), np.zeros(n))
    assert report.verdict == "fail" and "not-adjoint" in codes(report)


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200, 1e300])
def test_huge_and_tiny_maps(size):
    assert check_adjoint(lambda x: size * (A @ x), lambda y: size * (A.T @ y), np.ones(4), np.ones(5)).ok
    assert not check_adjoint(lambda x: size * (A @ x), lambda y: -size * (A.T @ y), np.ones(4), np.ones(5))
    assert check_adjoint(lambda x: A @ x, lambda y: A.T @ y, np.full(4, size), np.full(5, size)).ok


@pytest.mark.parametrize("sharpness", [1, 12, 20, 40, 100])
@pytest.mark.parametrize("seed", range(8))
def test_adjoints_of_a_saturated_softmax_never_fail_when_right_nor_pass_when_wrong(sharpness, seed):
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=5)
    p = np.exp(logits - logits.max())
    p /= p.sum()
    product, x, y = (lambda v: p * v - p * (p @ v)), rng.normal(size=5), rng.normal(size=5)
    matrix = np.diag(p) - np.outer(p, p)
    for right in (product, lambda v: matrix @ v):  # the one loses what cancels, the other less of it
        verdict = check_adjoint(product, right, x, y, rng=seed).verdict
        assert verdict == "pass" if sharpness == 1 else verdict != "fail"
    for wrong in (lambda v: -product(v), lambda v: 2 * product(v), lambda v: p * v):
        assert not check_adjoint(product, wrong, x, y, rng=seed) or not np.any(product(x))


@pytest.mark.parametrize("size", [1e-30, 1e-18])
def test_small_maps_are_judged_in_their_own_units(size):
    x, y = np.ones(4), np.ones(5)
    for bend in (0.5 * np.abs(A), -A, np.where(np.arange(20).reshape(5, 4) == 7, -A, A)):
        assert check_adjoint(lambda x: size * (A @ x), lambda y, bend=bend: size * (bend.T @ y), x, y).verdict == "fail"
    report = check_adjoint(lambda x: size * np.maximum(A @ x, 0), lambda y: size * (A.T @ y), x, y)
    assert report.verdict != "pass"


def test_without_the_calls_nothing_is_said_about_an_adjoint():
    for limit in (1, 9, 11):
        report = check_adjoint(*MAPS["matrix"], max_evaluations=limit)
        assert report.verdict == "inconclusive" and report.evaluations <= limit


# ---- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [check_vjp, check_jvp], ids=["vjp", "jvp"])
@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [
        ((3, cube, X), {}, "f="),
        ((cube, None, X), {}, "[vj]"),
        ((cube, cube), {}, "inputs"),
        ((cube, cube, np.ones(2, int)), {}, "inputs"),
        ((cube, cube, X + 1j), {}, "inputs: x is complex"),
        ((cube, cube, X), {"vectorized": True}, "vectorized"),
        ((cube, cube, X), {"tolerance": 1.0}, "tolerance"),
        ((lambda x: 1j * x, cube, X), {}, "f returned"),
        ((lambda x: [1, 2], cube, X), {}, "f returned"),
    ],
)
def test_products_that_cannot_be_checked_are_refused_by_name(check, arguments, options, name):
    with pytest.raises(InvalidArgument, match=name):
        check(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [
        ((3, np.sin, 1.0, 1.0), {}, "matvec="),
        ((np.sin, 3, 1.0, 1.0), {}, "rmatvec="),
        ((np.sin, np.sin, [1.0], 1.0), {}, "x is a list"),
        ((np.sin, np.sin, 1.0, np.ones(2, int)), {}, "y is an array of int"),
        ((np.sin, np.sin, np.zeros(0), 1.0), {}, "x is"),
        ((np.sin, np.sin, np.nan, 1.0), {}, "x holds NaN"),
        ((np.sin, np.sin, 1.0, 1.0), {"vectorized": True}, "vectorized"),
        ((np.sin, np.sin, 1.0, 1.0), {"rtol": -1}, "rtol"),
    ],
)
def test_maps_that_cannot_be_checked_are_refused_by_name(arguments, options, name):
    with pytest.raises(InvalidArgument, match=name):
        check_adjoint(*arguments, **options)


def test_every_check_has_a_twin_that_raises():
    checks = {name.removeprefix("check_") for name in gradcheck.__all__ if name.startswith("check_")}
    twins = {name.removeprefix("assert_") for name in gradcheck.__all__ if name.startswith("assert_")}
    assert checks == twins >= {"gradient", "layer", "vjp", "jvp", "jacobian", "hessian", "hvp", "adjoint"}


# ---- arguments -------------------------------------------------------------------------------------------------------


def test_swapped_points_of_an_adjoint_are_told_in_a_note():
    matrix = np.arange(12.0).reshape(4, 3)

    def matvec(x):
        return matrix @ x

    def rmatvec(y):
        return matrix.T @ y

    with pytest.raises(ValueError, match="matmul") as raised:
        check_adjoint(matvec, rmatvec, np.ones(4), np.ones(3))
    assert any("if the two points are swapped" in note for note in raised.value.__notes__)
    assert check_adjoint(matvec, rmatvec, np.ones(3), np.ones(4)).verdict == "pass"


def test_a_map_that_raises_later_is_not_told_of_swapped_points():
    calls = []

    def matvec(x):
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("no memory left")
        return np.append(x, 0.0)

    with pytest.raises(ValueError, match="no memory left") as raised:
        check_adjoint(matvec, lambda y: y[:-1], np.ones(3), np.ones(4))
    assert not any("swapped" in note for note in raised.value.__notes__)


@pytest.mark.parametrize("value", ["yes", 1, None, 0.0])
@pytest.mark.parametrize("option", ["in_place", "vectorized"])
def test_what_is_neither_true_nor_false_is_refused(option, value):
    with pytest.raises(InvalidArgument, match=f"{option}=.* must be True or False"):
        gradcheck.check_gradient(lambda x: (x**2).sum(), lambda x: 2 * x, np.ones(2), **{option: value})


@pytest.mark.parametrize("rtol", [1.0, 2, 1e300])
def test_an_rtol_that_accepts_zero_is_named_as_the_reason(rtol):
    report = gradcheck.check_gradient(lambda x: (x**2).sum(), lambda x: 2 * x, np.arange(1.0, 4), rtol=rtol)
    assert report.verdict == "inconclusive" and report.findings[0].code == "undecided-rtol"
    assert "rtol of 1 or more" in report.findings[0].message and "noise" not in report.findings[0].message


def test_an_rtol_below_one_passes_and_a_noisy_function_is_still_noisy():
    def check(f, grad, **options):
        return gradcheck.check_gradient(f, grad, np.arange(1.0, 4), **options)

    assert check(lambda x: (x**2).sum(), lambda x: 2 * x, rtol=0.5).verdict == "pass"
    assert check(lambda x: (x**2).sum(), lambda x: 20 * x, rtol=2.0).verdict == "fail"
