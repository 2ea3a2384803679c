"""Right gradients pass, wrong ones fail with the exact set of elements."""

import numpy as np
import pytest

import gradcheck
from gradcheck import check_gradient
from tests.gradcheck.functions import EASY, HARD, KINKS
from tests.seeds import seeds


@pytest.mark.parametrize("case", [*EASY, *HARD, *KINKS], ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_right_gradients_pass(case, seed):
    report = check_gradient(case.f, case.grad, case.x, rng=seed)
    assert report.verdict == "pass", str(report)
    assert not report.parameters["params"].wrong.any()


@pytest.mark.parametrize("case", [case for case in (*EASY, *HARD) if case.name != "constant"], ids=str)
def test_one_wrong_element_is_named(case):
    exact = case.grad(case.x)
    index = int(np.argmax(np.abs(exact)))
    wrong = exact + 0.0
    wrong[index] += max(10 * case.noise, 1e-3) * max(1.0, abs(exact[index]))
    report = check_gradient(case.f, lambda x: wrong, case.x)
    assert report.verdict == "fail", str(report)
    assert np.flatnonzero(report.parameters["params"].wrong).tolist() == [index]


def test_a_constant_function_may_be_one_that_ignores_its_argument():
    report = check_gradient(lambda x: 3.0, lambda x: np.array([0.0, 1e-3]), np.ones(2))
    assert report.verdict == "inconclusive" and report.findings[0].code == "f-ignores-params"


def test_a_function_that_is_zero_wherever_it_is_called_has_no_slope():
    """The one row of a batch is its mean: its centred values are zero to the last bit, and so is every gradient."""
    x = np.array([[0.3, -1.2, 0.7]])
    report = check_gradient(lambda x: float(np.abs(x - x.mean(axis=0)).sum()), lambda x: np.zeros_like(x), x)
    assert report.ok, report


@pytest.mark.parametrize("case", EASY, ids=str)
@pytest.mark.parametrize("error", [1e-4, 1e-5, 1e-6])
def test_small_relative_errors_are_seen_in_float64(case, error):
    """In float64, where the noise of f allows, an error of 1e-6 of an element is seen and one of 1e-8 never called wrong."""
    exact = case.grad(case.x)
    index = int(np.argmax(np.abs(exact)))
    factors = np.ones_like(exact)
    factors[index] += error
    assert check_gradient(case.f, lambda x: exact * factors, case.x).verdict == "fail"
    factors[index] = 1 + 1e-8
    assert check_gradient(case.f, lambda x: exact * factors, case.x).verdict == "pass"


@pytest.mark.parametrize(
    "bug",
    [lambda g: -g, lambda g: 2 * g, lambda g: g / g.size, lambda g: g[::-1], np.zeros_like, lambda g: np.roll(g, 1)],
    ids=["sign", "twice", "1/n", "reversed", "dropped", "shifted"],
)
@pytest.mark.parametrize("case", EASY[:3], ids=str)
def test_planted_bugs_fail_in_every_element_they_change(case, bug):
    exact = case.grad(case.x)
    claimed = bug(exact)
    report = check_gradient(case.f, lambda x: claimed, case.x)
    expected = np.abs(claimed - exact) > 1e-6 * np.abs(exact)
    np.testing.assert_array_equal(report.parameters["params"].wrong, expected)


@pytest.mark.parametrize(
    ("f", "claim", "x"),
    [
        (np.max, [1.0, 1.0], [2.0, 2.0]),
        (np.max, [0.0, 0.0, 0.0], [2.0, 2.0, 2.0]),
        (np.median, [1.0, 1.0, 0.0], [2.0, 2.0, 2.0]),
        (lambda x: np.abs(x).sum(), [1.5, 1.0], [0.0, 1.0]),
        (lambda x: np.maximum(x, 0).sum(), [-1.0, 1.0], [0.0, 1.0]),
    ],
    ids=["to every maximum", "dropped at a tie", "to two medians", "abs", "relu"],
)
def test_what_is_no_subgradient_fails(f, claim, x):
    report = check_gradient(lambda v: float(f(v)), lambda v: np.array(claim), np.array(x))
    assert report.verdict == "fail"


def network32(rng):
    images = rng.normal(size=(32, 8)).astype(np.float32)

    def f(p):
        return np.sum((np.maximum(images @ p["w1"] + p["b1"], 0) @ p["w2"]) ** 2)

    def grad(p):
        z = images @ p["w1"] + p["b1"]
        h = np.maximum(z, 0)
        do = 2 * (h @ p["w2"])
        dz = do @ p["w2"].T * (z > 0)
        return {"w1": images.T @ dz, "b1": dz.sum(0), "w2": h.T @ do}

    params = {"w1": rng.normal(size=(8, 12)), "b1": np.zeros(12), "w2": rng.normal(size=(12, 3))}
    return f, grad, {name: value.astype(np.float32) for name, value in params.items()}


@pytest.mark.parametrize("seed", seeds(5, quick=2))
def test_a_right_float32_network_with_relus_passes(seed):
    f, grad, params = network32(np.random.default_rng(seed))
    report = check_gradient(f, grad, params, rng=seed)
    assert report.verdict == "pass", str(report)


@pytest.mark.parametrize("seed", seeds(3))
def test_a_wrong_float32_network_fails_where_it_is_wrong(seed):
    f, grad, params = network32(np.random.default_rng(seed))
    report = check_gradient(f, lambda p: {**grad(p), "w1": -grad(p)["w1"]}, params, rng=seed)
    assert report.verdict == "fail"
    assert report.parameters["w1"].wrong.sum() > 60 and not report.parameters["w2"].wrong.any()


def test_a_right_smooth_gradient_costs_two_calls_an_element():
    x = np.random.default_rng(0).normal(size=700)
    report = check_gradient(
        lambda x: float(np.tanh(x) @ np.cos(x)), lambda x: (1 - np.tanh(x) ** 2) * np.cos(x) - np.tanh(x) * np.sin(x), x
    )
    assert report.verdict == "pass" and report.evaluations <= 2 * x.size + 100


def test_evaluations_are_counted_exactly_and_bounded():
    calls = []
    report = check_gradient(
        lambda x: calls.append(1) or float(x @ x),
        lambda x: 2 * x,
        np.ones(300),
        method="exhaustive",
        max_evaluations=123,
    )
    assert report.evaluations == len(calls) <= 123
    assert report.verdict == "inconclusive" and report.parameters["params"].undecided.any()


def test_vectorized_agrees_with_one_by_one():
    data = np.random.default_rng(0).normal(size=(20, 5))

    def f(p):
        return np.sum(np.tanh(data @ p["w"][..., None] + np.asarray(p["b"])[..., None, None]) ** 2, axis=(-2, -1))

    def grad(p):
        y = np.tanh(data @ p["w"] + p["b"])
        d = 2 * y * (1 - y**2)
        return {"w": data.T @ d, "b": d.sum()}

    params = {"w": np.arange(5.0), "b": 0.5}
    one, many = check_gradient(f, grad, params), check_gradient(f, grad, params, vectorized=True)
    assert one.verdict == many.verdict == "pass"
    assert many.evaluations < one.evaluations
    wrong = check_gradient(f, lambda p: {"w": -grad(p)["w"], "b": grad(p)["b"]}, params, vectorized=True)
    assert wrong.parameters["w"].wrong.all() and not wrong.parameters["b"].wrong.any()


def test_a_huge_element_does_not_hide_a_small_one():
    """The same gradient in one vector or in two leaves: the sign of the small element is wrong in both."""
    scale = np.array([1e9, 1.0])
    report = check_gradient(
        lambda x: float(np.sum(scale * np.sin(x))), lambda x: scale * np.cos(x) * [1, -1], np.ones(2)
    )
    assert report.parameters["params"].wrong.tolist() == [False, True]


@pytest.mark.parametrize("power", [-40, 40])
def test_the_verdict_does_not_change_when_f_is_scaled_by_a_power_of_two(power):
    case, factor = EASY[1], 2.0**power
    for wrong in (1.0, 1 + 1e-5):
        plain = check_gradient(case.f, lambda x, w=wrong: w * case.grad(x), case.x)
        scaled = check_gradient(lambda x: factor * case.f(x), lambda x, w=wrong: factor * w * case.grad(x), case.x)
        assert plain.verdict == scaled.verdict
        np.testing.assert_array_equal(plain.parameters["params"].wrong, scaled.parameters["params"].wrong)


def test_the_same_seed_gives_the_same_report():
    case = HARD[0]
    first, second = (check_gradient(case.f, case.grad, case.x, rng=7).to_dict() for _ in range(2))
    first.pop("seconds"), second.pop("seconds")
    assert str(first) == str(second)


def test_assert_gradient_raises_with_the_report():
    with pytest.raises(gradcheck.GradientError, match="FAIL") as caught:
        gradcheck.assert_gradient(lambda x: float(x @ x), lambda x: x, np.ones(3))
    assert caught.value.report.verdict == "fail" and isinstance(caught.value, AssertionError)
    assert gradcheck.assert_gradient(lambda x: float(x @ x), lambda x: 2 * x, np.ones(3)).ok
