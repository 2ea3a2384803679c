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


@pytest.mark.parametrize("name", GROSS)
def test_a_gross_error_is_judged_along_directions(name):
    """Of what shows no cause in a dozen elements some more are looked at."""
    bug, most = GROSS[name], 350 if name == "shuffled" else 250
    f, grad, x = problem()
    report = check_gradient(f, lambda p: bug(grad(p)), x)
    entry, true = report.parameters["params"], grad(x)
    assert report.verdict == "fail" and report.evaluations <= most
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


@pytest.mark.parametrize("side", [1, 2, 3, 7])
@pytest.mark.parametrize("bug", ["minus", "twice", "zero", "transposed", "rolled"])
def test_a_gross_error_in_few_elements_costs_no_more_than_five_times_a_pass(bug, side):
    f, grad, x = problem(side=side)
    right, true = check_gradient(f, grad, x), grad(x)
    wrong = GROSS[bug](true)
    report = check_gradient(f, lambda p: GROSS[bug](grad(p)), x)
    assert right.ok and report.verdict == ("fail" if np.any(wrong != true) else "pass")
    assert report.evaluations <= 5 * right.evaluations
    np.testing.assert_array_equal(report.parameters["params"].wrong, wrong != true)


def network(dtype):
    """Return the loss of a small network with ReLU, its gradient and a point of five leaves."""
    rng = np.random.default_rng(8)
    inputs, targets = rng.normal(size=(9, 4)).astype(dtype), rng.normal(size=9).astype(dtype)
    point = {"V": rng.normal(size=(4, 6)), "b": rng.normal(size=6), "w": rng.normal(size=6), "c": rng.normal(size=1)}

    def f(p):
        return np.mean((np.maximum(inputs @ p["V"] + p["b"], 0) @ p["w"] + p["c"] - targets) ** 2)

    def grad(p):
        z = inputs @ p["V"] + p["b"]
        d = 2 * (np.maximum(z, 0) @ p["w"] + p["c"] - targets) / len(targets)
        dz = np.outer(d, p["w"]) * (z > 0)
        return {"V": inputs.T @ dz, "b": dz.sum(0), "w": np.maximum(z, 0).T @ d, "c": d.sum(keepdims=True)}

    return f, grad, {name: value.astype(dtype) for name, value in point.items()}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("factor", [-1, 2, 1.1])
def test_small_leaves_off_by_one_factor_are_one(factor, dtype):
    f, grad, p = network(dtype)
    right = check_gradient(f, grad, p)
    report = check_gradient(f, lambda p: {k: (factor * v).astype(dtype) for k, v in grad(p).items()}, p)
    assert right.ok and report.evaluations <= 2.5 * right.evaluations
    assert all(entry.wrong.any() for entry in report.parameters.values())


@pytest.mark.parametrize("claim", [(1, 0, 0), (0, 0.5, 0.5), (1 / 3, 1 / 3, 1 / 3)])
def test_a_tie_that_no_element_shows_alone_is_not_ruled_out_beside_a_wrong_element(claim):
    """The median of three equal numbers stands still whichever of them moves."""
    x = np.append(np.linspace(0.3, 0.9, 5), np.full(3, 0.7))
    gradient = np.append(np.cos(x[:5]), 1.7 * np.array(claim))
    wrong = gradient.copy()
    wrong[2] *= -1
    for given, expected in ((gradient, []), (wrong, [2])):
        report = check_gradient(lambda v: np.sin(v[:5]).sum() + 1.7 * np.median(v[5:]), lambda _, g=given: g.copy(), x)
        assert list(np.flatnonzero(report.parameters["params"].wrong)) == expected
        assert report.ok == (not expected)


@pytest.mark.parametrize("factor", [0.0, 0.5])
@pytest.mark.parametrize(
    ("depth", "width", "at", "seed"), [(8, 40, 7, 0), (8, 40, 7, 1), (16, 30, 14, 0), (16, 30, 14, 1)]
)
def test_what_a_fault_spoils_is_not_searched(factor, depth, width, at, seed):
    """A sixth of the units of one of many layers passes on a part of its gradient, or nothing: that layer is named, and no other."""
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(8, width)), rng.normal(size=(8, width))
    weights = {f"W{i}": (rng.normal(size=(width, width)) / width**0.5).astype(np.float32) for i in range(1, depth + 1)}
    faulty = slice(width // 3, width // 2)

    def run(p):
        kept = [x]
        for w in p.values():
            kept.append(np.tanh(kept[-1] @ w))
        return kept

    def gradient(p):
        kept = run(p)
        found, dy = {}, kept[-1] - target
        for i in range(depth, 0, -1):
            dy = dy * (1 - kept[i] ** 2)
            if i == at:
                dy[:, faulty] *= factor
            found[f"W{i}"] = kept[i - 1].T @ dy
            dy = dy @ p[f"W{i}"].T
        return found

    report = check_gradient(lambda p: np.sum((run(p)[-1] - target) ** 2) / 2, gradient, weights)
    assert report.verdict == "fail" and report.evaluations <= 300, str(report)
    assert [name for name, entry in report.parameters.items() if entry.wrong.any()] == [f"W{at}"]
    wrong = report.parameters[f"W{at}"].wrong
    assert not wrong[:, : faulty.start].any() and not wrong[:, faulty.stop :].any()
    assert np.all(wrong[:, faulty]) == (factor != 0)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_one_claim_that_is_not_finite_among_equal_elements_hides_no_common_factor(number):
    claim = np.full(3000, 4.0)
    claim[7] = number
    report = check_gradient(lambda x: float(np.sum(x**2)), lambda x: claim, np.ones(3000))
    assert report.verdict == "fail" and report.parameters["params"].wrong.all()
    assert report.evaluations <= 250


@pytest.mark.parametrize("size", [1e-300, 1e-310])
def test_ways_to_stairs_end_where_elements_are_next_to_nothing(size):
    x = np.array([1.0, 2.0, -3.0]) * size
    report = check_gradient(lambda x: float(np.sum(3 * x)), lambda x: np.full(3, 6.0), x)
    assert report.verdict == "fail" and report.evaluations <= 1250  # most of them for the scale


@pytest.mark.parametrize(("factor", "most"), [(-1, 200), (2, 300)])
def test_small_elements_off_by_the_factor_of_the_others_need_no_search_for_kinks(factor, most):
    rng = np.random.default_rng(3)
    matrix, x = rng.normal(size=(600, 40)) / 25, rng.normal(size=600)

    def f(x):
        return float(np.sum(np.tanh(matrix.T @ x) ** 2) + np.sum(x**2))

    def grad(x):
        z = matrix.T @ x
        return matrix @ (2 * np.tanh(z) / np.cosh(z) ** 2) + 2 * x

    x[5] -= grad(x)[5] / 2 - 1e-3
    report = check_gradient(f, lambda x: factor * grad(x), x, method="exhaustive")
    assert report.parameters["params"].wrong.all() and report.evaluations <= 2 * 600 + most


@pytest.mark.parametrize("at_the_kink", [0.0, 0.5, 1.0])
def test_a_claim_that_a_kink_makes_valid_is_not_wrong_for_having_the_factor_of_the_others(at_the_kink):
    x = np.append(np.linspace(0.5, 2, 40), 0.0)

    def grad(x):
        return np.where(x > 0, 2.0, at_the_kink)  # twice the slopes, and at zero twice their mean, or less

    report = check_gradient(lambda x: float(np.maximum(x, 0).sum()), grad, x, method="exhaustive")
    assert report.parameters["params"].wrong.tolist() == [True] * 40 + [False]
