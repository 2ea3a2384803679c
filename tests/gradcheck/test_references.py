"""Differences of the same function computed better: claims are judged at their own dtype's accuracy, and no coarser."""

import numpy as np
import pytest

from gradcheck import InvalidArgument, assert_gradient, check_gradient, check_jvp, check_layer, check_vjp


class Normalised:
    """Dense, batch normalisation, ReLU, dense, squared error: float32 parameters and inputs, in the dtype that comes in."""

    def __init__(self, seed, shift=0.0, batch=40):
        rng = np.random.default_rng(seed)
        self.x = (rng.normal(size=(batch, 7)) + shift).astype(np.float32)
        self.y = rng.normal(size=(batch, 3)).astype(np.float32)
        sizes = {"W1": (7, 10), "b1": (10,), "gamma": (10,), "beta": (10,), "W2": (10, 3), "b2": (3,)}
        self.params = {name: (rng.normal(size=size) / 3).astype(np.float32) for name, size in sizes.items()}

    def forward(self, p):
        dtype = p["W1"].dtype.type
        z = self.x.astype(dtype) @ p["W1"] + p["b1"]
        scale = 1 / np.sqrt(z.var(0) + dtype(1e-5))
        normal = (z - z.mean(0)) * scale
        a = np.maximum(normal * p["gamma"] + p["beta"], 0)
        return normal, scale, a, a @ p["W2"] + p["b2"] - self.y.astype(dtype)

    def loss(self, p):
        residual = self.forward(p)[-1]
        return (residual * residual).mean()

    def gradient(self, p):
        normal, scale, a, residual = self.forward(p)
        do = 2 * residual / residual.dtype.type(residual.size)
        da = (do @ p["W2"].T) * (a > 0)
        dn = da * p["gamma"]
        dz = scale * (dn - dn.mean(0) - normal * (dn * normal).mean(0))
        found = {"W1": self.x.T @ dz, "b1": dz.sum(0), "gamma": (da * normal).sum(0), "beta": da.sum(0)}
        return {**found, "W2": a.T @ do, "b2": do.sum(0)}


def planted(gradient, name, change):
    def wrong(p):
        found = gradient(p)
        array = found[name].copy()
        change(array)
        return {**found, name: array}

    return wrong


def largest_by(factor):
    def change(array):
        array.flat[np.argmax(np.abs(array))] *= array.dtype.type(factor)

    return change


CHANGES = (largest_by(1.01), largest_by(-1), lambda array: np.multiply(array, -1, out=array))


@pytest.mark.parametrize(
    ("seed", "method"), [(0, "exhaustive"), (1, "exhaustive"), (2, "directional"), (3, "directional")]
)
def test_a_single_precision_network_is_seen_through_double_precision(seed, method):
    """Each parameter gets one change, in turn: over the seeds every change of each, and two of each along directions."""
    net = Normalised(seed)
    report = check_gradient(net.loss, net.gradient, net.params, reference=net.loss, method=method)
    assert report.ok, str(report)
    largest = max(np.abs(parameter.claimed).max() for parameter in report.parameters.values())
    assert max(parameter.detection_floor for parameter in report.parameters.values()) < 1e-3 * largest
    for number, name in enumerate(("W1", "gamma", "beta", "W2", "b2")):
        wrong = planted(net.gradient, name, CHANGES[(number + seed) % len(CHANGES)])
        report = check_gradient(net.loss, wrong, net.params, reference=net.loss, method=method)
        assert report.verdict == "fail", str(report)
        assert [leaf for leaf, p in report.parameters.items() if p.wrong.any()] == [name], str(report)


@pytest.mark.parametrize(("seed", "shift"), [(0, 0.0), (1, 0.0), (2, 30.0), (3, 30.0)])
def test_a_bias_before_batch_normalisation_may_claim_round_off_where_zero_is_true(seed, shift):
    net = Normalised(seed, shift=shift)
    claim = np.abs(net.gradient(net.params)["b1"]).max()
    report = check_gradient(net.loss, net.gradient, net.params, reference=net.loss)
    assert claim > 0
    assert report.ok, str(report)
    wrong = planted(net.gradient, "b1", lambda a: np.add(a, 1e-3, out=a))
    report = check_gradient(net.loss, wrong, net.params, reference=net.loss)
    assert report.verdict == "fail" and report.parameters["b1"].wrong.all(), str(report)


@pytest.mark.parametrize("seed", [1, 5, 6, 13, 20])
def test_a_gradient_that_is_all_round_off_is_not_wrong_where_zero_is_true(seed):
    """A sum of probabilities: at points an ulp away the residue is often the same, which shows no round-off."""

    def softmax(x):
        e = np.exp(x - np.max(x))
        return e / np.sum(e)

    def grad(x):
        e = np.exp(x - np.max(x))
        total = e.sum()
        return (1 / total * np.ones_like(e)) * e - (e.sum() / total**2) * e

    for n in (2, 3):
        x = (np.random.default_rng(seed).normal(size=n) - 0.5).astype(np.float32)
        options = {"reference": lambda x: softmax(np.asarray(x, np.float64)).sum()}
        assert check_gradient(lambda x: softmax(x).sum(), grad, x, **options).verdict != "fail"
        wrong = check_gradient(lambda x: softmax(x).sum(), lambda x: grad(x) + np.float32(1e-4), x, **options)
        assert not wrong.ok


def test_it_costs_no_more_than_other_smooth_functions():
    net = Normalised(0)
    report = check_gradient(net.loss, net.gradient, net.params, reference=net.loss, method="exhaustive")
    longer = 4  # calls of steps over which the bias before the normalisation would show an error that noise hides
    assert report.evaluations <= 2 * sum(value.size for value in net.params.values()) + 100 + longer


def test_the_user_gets_single_precision_and_the_reference_double():
    seen = {"f": set(), "grad": set(), "reference": set()}

    def noting(who, result):
        def call(p):
            seen[who].add((p["w"].dtype, type(p["s"]), p["n"].dtype))
            return result(p)

        return call

    params = {"w": np.array([0.3, -2.0], np.float32), "s": np.float32(1.5), "n": np.array([2])}
    f = noting("f", lambda p: np.sum(p["w"] ** 2) * p["s"] * p["n"][0])
    grad = noting("grad", lambda p: {"w": 2 * p["w"] * p["s"] * 2, "s": np.sum(p["w"] ** 2) * 2})
    reference = noting("reference", lambda p: float(np.sum(p["w"] ** 2) * p["s"] * p["n"][0]))
    assert check_gradient(f, grad, params, reference=reference).ok
    assert seen["f"] == seen["grad"] == {(np.dtype(np.float32), np.float32, np.dtype(np.int64))}
    assert seen["reference"] == {(np.dtype(np.float64), np.float64, np.dtype(np.int64))}


@pytest.mark.parametrize("other", [lambda x: np.sum(x**3) * 1.01, lambda x: np.sum(x**2), lambda x: np.nan])
def test_another_function_judges_nothing(other):
    x = np.array([1.0, 2.0, 0.5], np.float32)
    for claim in (lambda x: 3 * x**2, lambda x: x):
        report = check_gradient(lambda x: np.sum(x**3), claim, x, reference=other)
        assert report.verdict == "inconclusive"
        assert report.findings[0].code == "reference-differs"
        assert not report.parameters["params"].wrong.any()
    with pytest.raises(AssertionError):
        assert_gradient(lambda x: np.sum(x**3), lambda x: 3 * x**2, x, reference=other)


def test_values_may_differ_by_what_cancels_in_single_precision():
    def f(x):
        return np.sum((x + x.dtype.type(1e4)) ** 2) - x.dtype.type(x.size * 1e8)

    def grad(x):
        return 2 * (x + x.dtype.type(1e4))

    x = np.random.default_rng(0).normal(size=20).astype(np.float32)
    assert abs(f(x) - f(x.astype(float))) > 3e-4 * abs(f(x.astype(float)))
    assert check_gradient(f, grad, x, reference=f).ok
    assert check_gradient(f, lambda x: grad(x) * np.float32(1.01), x, reference=f).verdict == "fail"


def test_wrong_forms_and_exceptions_of_the_reference_are_the_users():
    x = np.ones(3, np.float32)
    with pytest.raises(InvalidArgument, match=r"reference returned shapes \[\(3,\)\] where f gives \[\(\)\]"):
        check_gradient(np.sum, np.ones_like, x, reference=lambda x: x)
    with pytest.raises(InvalidArgument, match="reference=3 is an int; a function was required"):
        check_gradient(np.sum, np.ones_like, x, reference=3)
    with pytest.raises(ZeroDivisionError) as raised:
        check_gradient(np.sum, np.ones_like, x, reference=lambda x: 1 / 0)
    assert "gradcheck was calling reference at the given point" in raised.value.__notes__


def test_a_reference_that_is_random_is_said():
    rng = np.random.default_rng(0)
    x = np.ones(3, np.float32)
    report = check_gradient(np.sum, np.ones_like, x, reference=lambda x: np.sum(x) * (1 + 1e-6 * rng.normal()))
    assert report.findings[0].code == "f-not-deterministic"
    assert report.findings[0].message.startswith("reference gave something else")


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("reference", [softmax, lambda x: (softmax(x), "a cache")])
def test_layers_with_and_without_a_cache(reference):
    def forward(x):
        return softmax(x), softmax(x)

    def backward(dy, p):
        return p * (dy - (p * dy).sum(-1, keepdims=True))

    x = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    report = check_layer(forward, backward, x, reference=reference)
    assert report.ok and max(p.detection_floor for p in report.parameters.values()) < 1e-5, str(report)
    assert check_layer(forward, lambda dy, p: p * dy, x, reference=reference).verdict == "fail"
    nearly = check_layer(forward, lambda dy, p: backward(dy, p) * np.float32(1.005), x, reference=reference)
    assert nearly.verdict == "fail"


def test_a_layer_that_returns_two_outputs():
    x = np.random.default_rng(2).normal(size=6).astype(np.float32)

    def forward(x):
        return (np.sin(x), x * x), x

    def backward(dy, x):
        return dy[0] * np.cos(x) + 2 * dy[1] * x

    for reference in (forward, lambda x: forward(x)[0]):
        assert check_layer(forward, backward, x, reference=reference).ok
        assert check_layer(forward, lambda dy, x: dy[0] * np.cos(x), x, reference=reference).verdict == "fail"


def test_products():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)

    def vjp(dy, a, b):
        return np.outer(dy, b), a.T @ dy

    def jvp(tangents, a, b):
        return tangents[0] @ b + a @ tangents[1]

    assert check_vjp(np.matmul, vjp, a, b, reference=np.matmul).ok
    assert (
        check_vjp(np.matmul, lambda dy, a, b: (vjp(dy, a, b)[0], -(a.T @ dy)), a, b, reference=np.matmul).verdict
        == "fail"
    )
    assert check_jvp(np.matmul, jvp, a, b, reference=np.matmul).ok
    assert check_jvp(np.matmul, lambda t, a, b: t[0] @ b, a, b, reference=np.matmul).verdict == "fail"


@pytest.mark.parametrize("claim", [(1, 0, 0), (0, 0.5, 0.5), (1, 1, 0), (1, 1, 1), (0, 0, 0)])
def test_at_a_tie_in_single_precision(claim):
    x = np.full(3, 0.7, np.float32)
    value = np.array(claim, np.float32)
    report = check_gradient(lambda x: x.max(), lambda x: value.copy(), x, reference=lambda x: x.max())
    assert (report.verdict == "fail") == (sum(claim) != 1), str(report)


def test_half_precision_is_judged_by_its_own_measure():
    x = np.random.default_rng(4).normal(size=30).astype(np.float16)

    def f(x):
        return np.sum(np.sin(x))

    assert check_gradient(f, np.cos, x, reference=f).ok
    assert check_gradient(f, lambda x: np.cos(x) * np.float16(1.2), x, reference=f).verdict == "fail"
