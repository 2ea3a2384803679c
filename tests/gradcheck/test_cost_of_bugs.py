"""What a wrong gradient costs in evaluations of f: a gross error little, any other no more than a look at each element."""

import numpy as np
import pytest

from gradcheck import check_gradient

SIDE = 54
N = SIDE * SIDE


def problem(dtype=np.float64, side=SIDE):
    """Return a sum of tanh with weights, its gradient and a point: a square matrix."""
    rng = np.random.default_rng(5)
    x, a = (rng.normal(size=(side, side)).astype(dtype) for _ in range(2))
    return lambda p: np.sum((a + 3) * np.tanh(p)), lambda p: (a + 3) * (1 - np.tanh(p) ** 2), x


SHUFFLED = np.random.default_rng(6).permutation(N)
GROSS = {
    "minus": np.negative,
    "twice": lambda g: 2 * g,
    "zero": np.zeros_like,
    "transposed": lambda g: g.T.copy(),
    "rolled": lambda g: np.roll(g, 1),
    "rolled along an axis": lambda g: np.roll(g, -1, axis=1),
    "shuffled": lambda g: g.ravel()[SHUFFLED].reshape(g.shape),
    "mask forgotten": lambda g: g * (SHUFFLED.reshape(g.shape) % 2),
}


@pytest.mark.parametrize("bug", GROSS.values(), ids=GROSS)
def test_a_gross_error_is_judged_along_directions(bug):
    f, grad, x = problem()
    report = check_gradient(f, lambda p: bug(grad(p)), x)
    entry, true = report.parameters["params"], grad(x)
    assert report.verdict == "fail" and report.evaluations <= 250
    assert entry.wrong.any() and not np.any(entry.wrong & (bug(true) == true))
    apart = np.abs(entry.claimed - entry.reference)[entry.wrong]
    assert np.all(apart > entry.error_bound[entry.wrong])


@pytest.mark.parametrize("bug", ["zero", "mask forgotten"])
def test_looking_at_each_needs_no_second_look_at_each(bug):
    side = 16
    f, grad, x = problem(side=side)
    kept = np.random.default_rng(7).random((side, side)) < 0.5
    wrong = {"zero": np.zeros_like, "mask forgotten": lambda g: g * kept}[bug]
    report = check_gradient(f, lambda p: wrong(grad(p)), x, method="exhaustive")
    assert report.verdict == "fail" and report.evaluations <= 2 * x.size + 200
    np.testing.assert_array_equal(report.parameters["params"].wrong, wrong(grad(x)) != grad(x))


def test_many_small_leaves_off_by_one_factor_are_one():
    values = np.random.default_rng(8).normal(size=150)
    params = {f"p{i}": np.array(value) for i, value in enumerate(values)}
    report = check_gradient(
        lambda p: sum(float(np.sin(v)) for v in p.values()), lambda p: {k: np.cos(v) / 2 for k, v in p.items()}, params
    )
    assert all(entry.wrong.all() for entry in report.parameters.values())
    assert report.evaluations <= 100


def test_an_error_in_common_that_noise_hides_in_each_element_takes_no_ladders():
    f, grad, x = problem(np.float32, side=30)
    report = check_gradient(f, lambda p: grad(p) * np.float32(1.01), x)
    assert report.parameters["params"].wrong.all()
    assert report.evaluations <= 4 * x.size + 200


def test_a_kink_that_some_steps_cross_costs_no_second_look_at_all():
    rng = np.random.default_rng(9)
    x, w, v = rng.normal(size=(16, 12)), rng.normal(size=(12, 20)), rng.normal(size=20)

    def grad(p):
        return x.T @ ((x @ p > 0) * v)

    report = check_gradient(
        lambda p: np.sum(np.maximum(x @ p, 0) @ v), lambda p: np.abs(grad(p)) + 0.1, w, method="exhaustive"
    )
    assert report.parameters["params"].wrong.all()
    assert report.evaluations <= 5 * w.size
