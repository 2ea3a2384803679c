"""Gradients in single precision of which some elements are far smaller than others of their leaf: a large one hides no small one.

A right one may be off by as much as the terms it was summed from are rounded. In double precision that goes away, and an error stays.
"""

from dataclasses import replace

import numpy as np
import pytest

from gradcheck import check_gradient, check_hessian, check_layer, check_vjp
from gradcheck.acceptance.judgement import Claim

SIZES = np.array([3e5, 0.2, 1.0, 0.05, 4e6, 0.7], np.float32)
KINDS = {"sign": -1.0, "zero": 0.0, "twice": 2.0, "half as much again": 1.5}


def wide(x):
    return x.astype(np.float64)


def sines(x):
    return np.sum(SIZES.astype(x.dtype) * np.sin(x))


def cosines(x):
    return SIZES.astype(x.dtype) * np.cos(x)


def logarithms(x):
    return np.sum(np.log(np.abs(x)))


def cubes(x):
    return np.sum(x**3) / 3


def quartics(x):
    return np.sum(x**4) / 4


def steep(x):
    """Small where it is steep, so that single precision does not hide the rest."""
    return x.dtype.type(1e6) * (x[0] - x.dtype.type(0.5)) + np.sum(np.sin(x[1:]))


def steeply(x):
    slope = np.cos(x)
    slope[0] = 1e6
    return slope


AT = np.array([0.5, 0.3, -0.7, 1.1, 0.25, -1.3], np.float32)
SPREAD = np.array([2e-6, 3.0, -0.7, 11.0, 5e-7, -2.0], np.float32)
FUNCTIONS = {
    "sines": (sines, cosines, AT, (1, 2, 3, 5)),
    "logarithms": (logarithms, lambda x: 1 / x, SPREAD, (1, 2, 3, 5)),
    "cubes": (cubes, lambda x: x * x, np.array([900.0, 0.3, -0.2, 2000.0, 0.25, -0.4], np.float32), (1, 2, 4, 5)),
    "quartics": (quartics, lambda x: x**3, np.array([90.0, 0.3, 0.2, 200.0, 0.25, 0.4], np.float32), (1, 2, 4, 5)),
    "steep": (steep, steeply, AT, (1, 2, 3, 5)),
}


def planted(grad, element, factor):
    def wrong(x):
        found = grad(x).copy()
        found[element] *= found.dtype.type(factor)
        return found

    return wrong


def is_alone(flags, element):
    return np.flatnonzero(flags).tolist() == [element]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_error_that_stays_in_double_precision_is_wrong_however_small_beside_the_others(name, kind):
    f, grad, x, small = FUNCTIONS[name]
    for differences in ({"reference": f}, {}):
        g = f if differences else lambda x: f(wide(x))
        assert check_gradient(g, grad, x, **differences).ok
        for element in small:
            report = check_gradient(g, planted(grad, element, KINDS[kind]), x, **differences)
            assert report.verdict == "fail" and is_alone(report.parameters["params"].wrong, element), str(report)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_where_it_comes_in_single_precision_alone_it_cannot_be_told_from_round_off(name, kind):
    """By saturation or among constants a right one may be off by as much, and is the same at points an ulp away."""
    f, grad, x, small = FUNCTIONS[name]

    def single(claim):
        return lambda x: claim(wide(x)).astype(np.float32)

    for point in (x, wide(x)):
        assert check_gradient(lambda x: f(wide(x)), single(grad), point).ok
        for element in small:
            report = check_gradient(lambda x: f(wide(x)), single(planted(grad, element, KINDS[kind])), point)
            found = report.parameters["params"]
            assert not report.ok and is_alone(found.undecided | found.wrong, element), str(report)
            assert found.wrong.any() or {each.code for each in report.findings} >= {"undecided-roundoff"}


def test_numbers_that_are_the_same_in_any_precision_show_no_round_off():
    """Whether constants were summed up from others, with round-off, cannot be seen."""

    def f(x):
        return SIZES.astype(x.dtype) @ x

    report = check_gradient(f, planted(lambda x: SIZES.astype(x.dtype), 3, -1.0), AT, reference=f)
    assert report.verdict == "inconclusive" and is_alone(report.parameters["params"].undecided, 3), str(report)


def test_elements_that_change_places():
    swapped = lambda x: cosines(x)[[0, 2, 1, 3, 4, 5]]  # noqa: E731
    report = check_gradient(sines, swapped, AT, reference=sines)
    assert report.verdict == "fail" and np.flatnonzero(report.parameters["params"].wrong).tolist() == [1, 2], str(
        report
    )


class Saturated:
    """A unit of a dense layer at which ``1 - tanh(z) ** 2`` is a few units of rounding, or none, beside others at which it is not."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.x = (2 + rng.normal(size=(9, 3)) / 20).astype(np.float32)
        self.v = rng.normal(size=4).astype(np.float32)
        self.params = rng.normal(size=(3, 4)).astype(np.float32) / 4
        self.params[:, 2] = [7.9, 8.5, 9.5][seed % 3] / 6

    def loss(self, w):
        return np.sum(np.tanh(self.x.astype(w.dtype) @ w) @ self.v.astype(w.dtype))

    def gradient(self, w):
        x = self.x.astype(w.dtype)
        y = np.tanh(x @ w)
        return x.T @ ((1 - y * y) * self.v.astype(w.dtype))


def rotated(seed):
    """Of a gradient in some basis, in another: what is small there has the round-off of what is large."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(7, 7)))[0].astype(np.float32)
    d = (10.0 ** rng.uniform(-4, 3, 7)).astype(np.float32)
    small = rng.normal(size=7) * np.array([1, 1e-6, 1, 1e-5, 1, 1, 1e-6])
    x = np.linalg.solve((q.T.astype(float) * d) @ q, small).astype(np.float32)

    def f(x):
        return np.sum(d.astype(x.dtype) * (q.astype(x.dtype) @ x) ** 2) / 2

    return f, lambda x: q.T.astype(x.dtype) @ (d.astype(x.dtype) * (q.astype(x.dtype) @ x)), x


def beside_a_minimum(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(30, 5)).astype(np.float32), rng.normal(size=30).astype(np.float32)
    x = np.linalg.lstsq(a.astype(float), b.astype(float), rcond=None)[0]
    x = np.append(x, rng.normal(size=2)).astype(np.float32)

    def residual(x):
        return a.astype(x.dtype) @ x[:5] - b.astype(x.dtype)

    def f(x):
        return np.sum(residual(x) ** 2) / 2 + x.dtype.type(1e4) * np.sum(x[5:] ** 2)

    def grad(x):
        return np.concatenate([a.T.astype(x.dtype) @ residual(x), x.dtype.type(2e4) * x[5:]])

    return f, grad, x


def probabilities(seed):
    rng = np.random.default_rng(seed)
    x, w = (rng.normal(size=8) * 6).astype(np.float32), (rng.normal(size=8) * 1e3).astype(np.float32)

    def softmax(x):
        e = np.exp(x - x.max())
        return e / e.sum()

    def grad(x):
        p = softmax(x)
        return p * (w.astype(x.dtype) - p @ w.astype(x.dtype))

    return lambda x: softmax(x) @ w.astype(x.dtype), grad, x


def ill_conditioned(seed):
    """The likelihood of a Gaussian process: an inverse in single precision loses most of its digits, the same at points an ulp away."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0, 3, 12))
    squares, y = ((t[:, None] - t) ** 2).astype(np.float32), (np.sin(t) + rng.normal(size=12) / 10).astype(np.float32)
    x = np.array([0.01, np.log(rng.uniform(0.3, 1.5)), np.log(10 ** rng.uniform(-4, -2))], np.float32)

    def kernel(x):
        e = np.exp(x)
        k = e[0] * np.exp(-squares.astype(x.dtype) / (2 * e[1] ** 2))
        return e, k, k + e[2] * np.eye(12, dtype=x.dtype)

    def f(x):
        k, z = kernel(x)[2], y.astype(x.dtype)
        return (z @ np.linalg.solve(k, z) + np.linalg.slogdet(k)[1]) / 2

    def grad(x):
        e, smooth, k = kernel(x)
        inverse = np.linalg.inv(k)
        a = inverse @ y.astype(x.dtype)
        w = (inverse - np.outer(a, a)) / 2
        changes = smooth, smooth * squares.astype(x.dtype) / e[1] ** 2, e[2] * np.eye(12)
        return np.array([np.sum(w * change) for change in changes], x.dtype)

    return f, grad, x


@pytest.mark.parametrize("seed", range(8))
def test_right_ones_that_lose_most_digits_pass(seed):
    f, grad, x = ill_conditioned(seed)
    assert check_gradient(f, grad, x, reference=f).ok
    assert check_gradient(f, planted(grad, 2, -1.0), x, reference=f).verdict == "fail"


@pytest.mark.parametrize("seed", range(6))
def test_right_ones_whose_round_off_is_that_of_larger_terms_pass(seed):
    net = Saturated(seed)
    true, claimed = net.gradient(wide(net.params)), net.gradient(net.params)
    assert (np.abs(claimed - true) > 1e-3 * np.abs(true))[:, 2].any()
    for f, grad, x in ((net.loss, net.gradient, net.params), beside_a_minimum(seed), probabilities(seed)):
        report = check_gradient(f, grad, x, reference=f)
        assert report.ok, str(report)
    f, grad, x = rotated(seed)
    assert check_gradient(f, grad, x, reference=f).verdict != "fail"


@pytest.mark.parametrize("seed", range(3))
def test_right_ones_that_are_saturated_do_not_fail_where_they_come_in_single_precision_alone(seed):
    net = Saturated(seed)

    def grad(w):
        assert w.dtype == np.float32
        return net.gradient(w)

    report = check_gradient(net.loss, grad, net.params, reference=net.loss)
    assert report.verdict != "fail", str(report)


def test_a_saturated_sigmoid_whose_gradient_comes_in_single_precision_alone_is_undecided():
    """Of ``s (1 - s)`` nothing but the rounding of ``1 - s`` is lost, alike at all points an ulp away."""
    x = np.array([5.8, 12.3, 6.1, 11.7, 6.4], np.float32)

    def f(x):
        return np.sum(1 / (1 + np.exp(-x)))

    def grad(x):
        s = 1 / (1 + np.exp(-x.astype(np.float32)))
        return s * (1 - s)

    report = check_gradient(f, grad, x, reference=f)
    assert report.verdict == "inconclusive" and report.findings[0].code == "undecided-roundoff", str(report)
    for element in range(5):
        report = check_gradient(f, planted(grad, element, -1.0), x, reference=f)
        assert report.verdict == "fail" and is_alone(report.parameters["params"].wrong, element), str(report)


def test_a_gradient_that_underflows():
    """In single precision it is zero where numbers less than the smallest normal one are flushed."""
    x = np.array([-95.0, -92.0, -88.5, -3.0, 1.0], np.float32)

    def sigmoids(x):
        return np.exp(x) / (1 + np.exp(x))

    def vjp(dy, x):
        s = sigmoids(x)
        s[s < np.finfo(x.dtype).tiny] = 0
        return dy * s * (1 - s)

    report = check_vjp(sigmoids, vjp, x, reference=sigmoids)
    assert report.verdict != "fail", str(report)
    for element in (3, 4):
        wrong = lambda dy, x, element=element: planted(lambda x: vjp(dy, x), element, -1.0)(x)  # noqa: E731
        report = check_vjp(sigmoids, wrong, x, reference=sigmoids)
        assert report.verdict == "fail" and is_alone(report.parameters["x"].wrong, element), str(report)


@pytest.mark.parametrize("size", [1e3, 1e6])
@pytest.mark.parametrize("claim", [(1, 0, 0), (0.5, 0.5, 1), (1, 1, 0), (0, 0, 0), (1, 0, 2), (1, 0, -1.5)])
def test_what_a_claim_changes_by_at_a_kink_is_no_round_off(size, claim):
    """Two elements tie and one is zero; beside the first element their claims are small, and at points an ulp away they are others."""

    def f(x):
        return x.dtype.type(size) * x[0] ** 2 + np.maximum(x[1], x[2]) + np.abs(x[3])

    def grad(x):
        there = float(x[1] > x[2]), float(x[1] < x[2]), np.sign(x[3])
        return np.array([2 * size * x[0], *(claim if x[1] == x[2] else there)], x.dtype)

    x = np.array([0.7, 0.3, 0.3, 0.0], np.float32)
    report = check_gradient(f, grad, x, reference=f)
    assert report.verdict == ("pass" if sum(claim[:2]) == 1 and abs(claim[2]) <= 1 else "fail"), str(report)


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.0])
@pytest.mark.parametrize("seed", range(8))
def test_where_others_are_steep_noise_beside_the_point_is_no_kink(seed, factor):
    """The values are small at the point, and far larger, so rounded more, where the first element is moved with the others."""
    x = np.random.default_rng(seed).normal(size=6).astype(np.float32)
    x[3] = 1.53
    at = x[0]

    def f(x):
        return x.dtype.type(3e5) * (x[0] - at.astype(x.dtype)) + np.sum(np.sin(x[1:]))

    def grad(x):
        slope = np.cos(x)
        slope[0] = 3e5
        return slope

    report = check_gradient(f, planted(grad, 3, factor), x)
    assert report.verdict == ("pass" if factor == 1 else "fail"), str(report)


@pytest.mark.parametrize("z", [8.0, 8.7, 9.5])
def test_right_ones_of_which_all_is_saturated_do_not_fail(z):
    """The largest of the gradient is as little as what is rounded of the rest: no claim in single precision shows how much that is."""
    net = Saturated(1)
    net.params[:] = np.float32(5 / 6)
    net.params[:, 2] = z / 6
    report = check_gradient(net.loss, net.gradient, net.params, reference=net.loss)
    assert report.verdict != "fail", str(report)
    wrong = check_gradient(
        net.loss, lambda w: net.gradient(w) * np.where(np.arange(4) == 1, -1, 1), net.params, reference=net.loss
    )
    assert wrong.verdict == "fail" and wrong.parameters["params"].wrong[:, 1].all(), str(wrong)


def test_what_is_wrong_in_single_precision_alone_is_wrong():
    """As a kernel of its own may be: that it is right in double precision excuses no more than round-off."""

    def grad(x):
        return cosines(x) * (np.float32(1.01) if x.dtype == np.float32 else 1.0)

    report = check_gradient(sines, grad, AT, reference=sines)
    assert report.verdict == "fail" and np.flatnonzero(report.parameters["params"].wrong).tolist() == [0, 4], str(
        report
    )


@pytest.mark.parametrize("wrong", [False, True])
def test_double_precision_is_asked_for_once_and_only_in_doubt(wrong):
    seen = []

    def grad(x):
        seen.append(x.dtype)
        return planted(cosines, 2, -1.0)(x) if wrong else cosines(x)

    report = check_gradient(sines, grad, AT, reference=sines)
    assert report.ok is not wrong
    assert seen.count(np.dtype(np.float64)) == wrong
    assert len(seen) == report.gradient_evaluations


def test_layers_and_products():
    def forward(x):
        return SIZES.astype(x.dtype) * np.sin(x), x

    def backward(dy, x):
        return dy * cosines(x)

    def wrong(dy, x):
        return planted(lambda x: dy * cosines(x), 3, 0.0)(x)

    assert check_layer(forward, backward, AT, reference=forward).ok
    report = check_layer(forward, wrong, AT, reference=forward)
    assert report.verdict == "fail" and is_alone(report.parameters["x"].wrong, 3), str(report)

    def of_alone(x):
        return forward(x)[0]

    assert check_vjp(of_alone, backward, AT, reference=of_alone).ok
    assert check_vjp(of_alone, wrong, AT, reference=of_alone).verdict == "fail"


@pytest.mark.parametrize("kind", KINDS)
def test_entries_of_hessians(kind):
    def hess(x):
        return np.diag(-SIZES.astype(x.dtype) * np.sin(x))

    def in_double(x):
        return sines(wide(x))

    assert check_hessian(in_double, hess, AT).ok
    for place in ((1, 1), (2, 2), (5, 5)):
        wrong = planted(hess, place, KINDS[kind])
        report = check_hessian(in_double, wrong, AT)
        assert report.verdict == "fail", str(report)
        assert np.argwhere(report.parameters["params"].wrong).tolist() == [list(place)], str(report)
        assert not check_hessian(sines, lambda x, wrong=wrong: wrong(x).astype(np.float32), wide(AT)).ok


@pytest.mark.parametrize("seed", range(12))
def test_right_hessians_in_single_precision_pass(seed):
    """A product, which is far larger and more rounded where a tiny element is moved far; and probabilities that are nearly one."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=4) * 10.0 ** rng.uniform(-4, 2, 4)).astype(np.float32)

    def of_product(x):
        rest = [[0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(4)] for i in range(4)]
        return np.array(rest, x.dtype)

    assert check_hessian(np.prod, of_product, x).ok

    def softmax(x):
        e = np.exp(x - x.max())
        return e / e.sum()

    def curvature(x):
        return np.diag(softmax(x)) - np.outer(softmax(x), softmax(x))

    x = (rng.normal(size=4) * 4).astype(np.float32)
    assert check_hessian(lambda x: np.log(np.sum(np.exp(wide(x)))), curvature, x).ok


def test_the_round_off_that_is_allowed_and_shown():
    eps = float(np.finfo(np.float32).eps)
    own = np.array([[1.0, 0.5], [0.0, 0.0], [0.25, 2.0]], np.float32)
    values, second = np.array([[3.0, 4], [5, 6], [7, 8]]), np.array([1, 2])
    apart = np.array([[9, 9], [0.5, 100], [1, 1]])
    varies = np.array([[0.0, 0], [0, 0.25], [2, 0]])
    claim = Claim(values, np.array([0.5, 0.75]), eps, own, in_double=lambda: (apart, varies, np.array([32.0, 48])))
    usual = np.array([8.0, 12])
    np.testing.assert_array_equal(claim.roundoff(np.zeros(2)), usual)
    np.testing.assert_array_equal(claim.roundoff(np.zeros(2), second), [[8, 12], [8, 32]])
    allowed = claim.roundoff(np.zeros(2), second)
    np.testing.assert_allclose(
        claim.confirmed_roundoff(allowed, second), [[8 * eps * 5, 8 * eps * 6], [4, 32]], rtol=1e-12
    )
    compared = claim.with_measured_roundoff()
    assert compared.in_double is None
    np.testing.assert_array_equal(compared.measured, [[0, 9], [0.5, 0], [1, 1]])
    np.testing.assert_array_equal(compared.own, [[1, 9 / 16], [0.5 / 16, 3], [2, 2]])
    np.testing.assert_array_equal(compared.roundoff(np.zeros(2), second), [[0.5, 48], [32, 32]])
    np.testing.assert_allclose(
        compared.confirmed_roundoff(compared.roundoff(np.zeros(2), second), second), [[0.5, 8 * eps * 6], [1, 1]]
    )
    unit = np.array([2.0, 4])
    np.testing.assert_array_equal(claim.in_units(unit).with_measured_roundoff().measured, compared.measured / unit)
    np.testing.assert_array_equal(claim.in_units(unit).with_measured_roundoff().own, compared.own / unit)
    exact_zero = Claim(np.zeros((3, 2)), np.zeros(2), eps, np.zeros((3, 2), np.float32))
    assert Claim(values, np.zeros(2), eps, own, in_double=lambda: None).with_measured_roundoff().measured is None
    judged = replace(claim, beside=np.array([0.5, 1.0])).with_measured_roundoff()
    np.testing.assert_array_equal(judged.values, [[3, 4], [4.5, 6], [7, 7]])
    np.testing.assert_array_equal(judged.measured, [[0, 9], [0, 0], [1, 0]])
    least = replace(exact_zero, least=np.array([0.5, 0.25]))
    np.testing.assert_array_equal(least.roundoff(np.zeros(2), second), np.tile([0.5, 0.25], (2, 1)))
    np.testing.assert_array_equal(least.confirmed_roundoff(np.ones((2, 2)), second), np.tile([0.5, 0.25], (2, 1)))
    np.testing.assert_array_equal(least.in_units(unit).least, [0.25, 1 / 16])
    unknown = np.full((3, 2), np.inf), np.zeros((3, 2)), np.array([8.0, 24])
    compared = Claim(values, np.zeros(2), eps, own, in_double=lambda: unknown).with_measured_roundoff()
    np.testing.assert_array_equal(compared.measured, 16 * own)
    np.testing.assert_array_equal(compared.own, [[1, 1.5], [0.5, 1.5], [0.5, 2]])
    exact = Claim(values, np.zeros(2), 2.0**-52)
    assert not exact.roundoff(np.ones(2), second).any() and not exact.confirmed_roundoff(np.zeros(2), second).any()
