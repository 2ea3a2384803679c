"""Claims are in the convex hull of the gradients near by, or they are wrong, and the right elements are named."""

import numpy as np
import pytest

from gradcheck import check_gradient
from gradcheck.nonsmooth.hull import nearest_in_hull
from gradcheck.nonsmooth.subdifferential import judge
from tests.seeds import seeds

from .balls import ball_of, flag_all


@pytest.mark.parametrize("seed", range(40))
def test_the_nearest_point_of_a_hull(seed):
    """It is the nearest if no vertex lies farther in the direction of the target (the variational inequality)."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(-3, 3)
    points = size * rng.normal(size=(rng.integers(1, 30), rng.integers(1, 8)))
    target = size * rng.normal(size=points.shape[1]) * rng.choice([0.1, 3.0])
    nearest = nearest_in_hull(points, target)
    assert np.max((points - nearest) @ (target - nearest)) <= 1e-9 * size**2
    weights = rng.dirichlet(np.ones(len(points)))
    np.testing.assert_allclose(nearest_in_hull(points, weights @ points), weights @ points, atol=1e-9 * size)


def outcome(f, x, claim, **options):
    """Return where claims were found wrong; asserts that nothing was left open. Elements not flagged are right."""
    ball = ball_of(f, x, claim, **options)
    flagged = flag_all(ball)
    judge(ball, flagged)
    wrong = np.zeros(ball.claims[0].shape, dtype=bool)
    for element in flagged:
        assert not element.open.any()
        wrong[element.index] = ~element.valid & (element.stake > 0)
    return wrong.any(axis=1).nonzero()[0].tolist(), ball.probe.budget.used


def norm(x):
    return float(np.linalg.norm(x))


def quantile(x):
    return float(np.quantile(x, 0.3))


VALID = [
    ("norm at zero", norm, np.zeros(4), [0.0] * 4),
    ("norm at zero, on the sphere", norm, np.zeros(4), [0.6, 0.0, -0.8, 0.0]),
    ("quantile", quantile, np.ones(6), [0, 0.5, 0, 0, 0, 0.5]),
    ("clip at the bound", lambda x: float(np.clip(x, 0, 1) @ [1, 2, 3]), np.array([0.0, 1.0, 0.5]), [1.0, 0.0, 3.0]),
    ("relu of sums", lambda x: float(max(x[0] + x[1], 0) - max(x[1] + x[2], 0)), np.zeros(3), [0.5, 0.0, -0.5]),
    ("sorted, falling weights", lambda x: float(np.sort(x) @ [4, 1, 3, 2]), np.ones(4), [3, 1, 2, 4]),
    ("maximum and absolute values", lambda x: float(np.abs(x).sum() + x.max()), np.zeros(5), [0, 1, 0, 0, 0]),
]

INVALID = [
    ("norm at zero, beyond", norm, np.zeros(4), [0.9, 0.0, 0.9, 0.0], [0, 1, 2, 3]),
    ("quantile, two", quantile, np.ones(6), [0, 1, 0, 0, 0, 1], [1, 5]),
    ("maximum, two of five", lambda x: float(x.max()), np.ones(5), [0, 1, 1, 0, 0], [1, 2]),
    ("maximum, dropped", lambda x: float(x.max()), np.ones(3), [0, 0, 0], [0, 1, 2]),
    ("clip, beyond", lambda x: float(np.clip(x, 0, 1) @ [1, 2, 3]), np.array([0.0, 1.0, 0.5]), [1.2, 0.0, 3.0], [0]),
    (
        "two maxima, one of them wrong",
        lambda x: float(x[:3].max() + x[3:].max()),
        np.ones(6),
        [1, 0, 0, 0, 1, 1],
        [4, 5],
    ),
    ("smooth beside a maximum", lambda x: float(x[:3].max() + x[3] ** 2), np.ones(4), [1, 0, 0, 1], [3]),
]


@pytest.mark.parametrize("seed", seeds(5, quick=2))
@pytest.mark.parametrize(("name", "f", "x", "claim"), VALID, ids=[case[0] for case in VALID])
def test_valid_claims(name, f, x, claim, seed):
    wrong, calls = outcome(f, x, claim, seed=seed)
    assert not wrong
    assert calls <= 300


@pytest.mark.parametrize("seed", seeds(5, quick=2))
@pytest.mark.parametrize(("name", "f", "x", "claim", "expected"), INVALID, ids=[case[0] for case in INVALID])
def test_invalid_ones_and_which_elements(name, f, x, claim, expected, seed):
    wrong, calls = outcome(f, x, claim, seed=seed)
    assert wrong
    assert set(wrong) <= set(expected)  # at a tie several sets are defensible
    assert calls <= 1100


@pytest.mark.parametrize("seeds", [range(16), pytest.param(range(16, 40), marks=pytest.mark.slow)], ids=str)
def test_a_right_claim_at_another_kink_is_not_wrong_with_it(seeds):
    """Two maxima of three; too few samples leave the claims at both outside of the hull. In 7 of 40 draws they did."""
    _, f, x, claim, expected = next(case for case in INVALID if case[0] == "two maxima, one of them wrong")
    for seed in seeds:
        assert outcome(f, x, claim, seed=seed)[0] == expected


@pytest.mark.parametrize("seed", [4, 5, 7])
def test_gradients_that_differ_by_curvature_alone_make_no_claim_valid(seed):
    """A singular matrix is 1e-6 away: in the nearest ball that noise allows, gradients differ by more than the error."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(4, 4)))[0]
    matrix = basis @ np.diag([1, 0.5, 0.3, 1e-6]) @ basis.T
    report = check_gradient(lambda a: np.linalg.slogdet(a)[1], lambda a: 1.001 * np.linalg.inv(a).T, matrix)
    assert not report.ok
    assert not report.parameters["params"].kink.sum() > 1


@pytest.mark.parametrize("seed", range(3))
def test_every_window_under_every_cotangent(seed):
    """Twenty windows of three, told apart by the outputs; two of them get too much."""
    cotangents = np.random.default_rng(seed).normal(size=(2, 20))
    claim = np.zeros((20, 3, 2))
    claim[:, 0] = cotangents.T
    x = np.zeros((20, 3))
    wrong, calls = outcome(lambda x: x.max(axis=1), x, claim.reshape(60, 2), cotangents=cotangents, seed=seed)
    assert not wrong
    claim[[4, 9], 1] = cotangents.T[[4, 9]]
    wrong, more = outcome(lambda x: x.max(axis=1), x, claim.reshape(60, 2), cotangents=cotangents, seed=seed)
    assert {place // 3 for place in wrong} == {4, 9}
    assert calls <= 250
    assert more <= 1000


@pytest.mark.parametrize("power", [0.5, 0.8])
def test_nothing_is_decided_on_an_infinite_bound(power):
    ball = ball_of(lambda x: float(np.sum(np.abs(x) ** power)), np.zeros(2), [0.0, 1e30])
    flagged = flag_all(ball)
    for element in flagged:
        element.bound = np.array([np.inf])
    judge(ball, flagged)
    assert all(element.open.all() for element in flagged)
    assert ball.probe.budget.used == 0


def test_a_gap_that_grows_as_the_step_shrinks_is_no_kink():
    """A cusp: its one-sided slopes have no limit, so a claim outside them is not wrong but not resolved."""
    ball = ball_of(lambda x: float(np.sum(np.abs(x) ** 0.5)), np.zeros(1), [1e9])
    flagged = flag_all(ball)
    judge(ball, flagged)
    assert flagged[0].open.all()


@pytest.mark.parametrize("seed", range(3))
def test_a_parameter_is_not_wrong_because_another_one_is(seed):
    """``max(a, b)`` gives all to ``a``; to ``b`` as well under one cotangent, more than all under the other."""
    f = lambda x: np.array([max(x[0], x[1]), x[1]])  # noqa: E731
    cotangents = np.array([[1.0, 0.0], [-1.0, 0.0]])
    wrong, _ = outcome(f, np.zeros(2), [[1.0, -1.0], [1.0, 0.5]], cotangents=cotangents, seed=seed)
    assert wrong == [1]


@pytest.mark.parametrize("count", [2, 3, 6, 12])
@pytest.mark.parametrize("error", [1e-3, 3e-3, 0.03])
def test_claims_that_only_their_sum_contradicts_are_all_wrong(count, error):
    """At a maximum of equal elements each is off by hardly more than can be seen, and so is a move of all of them."""
    x = np.ones(count)
    report = check_gradient(np.max, lambda x: np.full(count, 1 / count), x)
    assert report.verdict == "pass"
    report = check_gradient(np.max, lambda x: np.full(count, 1 / count + error), x)
    assert report.verdict == "fail" and report.parameters["params"].wrong.all()


@pytest.mark.parametrize("seed", seeds(6, quick=2))
@pytest.mark.parametrize(("count", "top"), [(10, np.max), (20, np.min), (30, np.max), (30, lambda v: np.abs(v).max())])
def test_many_elements_at_the_end_of_their_interval_beside_a_tie(count, top, seed):
    """Each at a bound claims the slope of one side; those that tie share theirs, and each place tried has to have all on their sides."""
    rng = np.random.default_rng(seed)
    point = {name: rng.choice([0.0, 1.0, -1.0, 2.0], count) for name in "ab"}

    def clipped(p):
        return np.clip(p["a"], 0, 1).sum()

    def f(p):
        return float(clipped(p) * (1 + 0.1 * top(p["b"])))

    ties = np.array([top(point["b"] + 1e-3 * unit) - top(point["b"] - 1e-3 * unit) for unit in np.eye(count)])
    shared = np.sign(np.round(ties, 6))
    right = {"a": np.zeros(count), "b": 0.1 * clipped(point) * shared / np.abs(shared).sum()}
    report = check_gradient(f, lambda p: right, point, rng=seed)
    assert report.verdict == "pass", str(report)
    for wrong in ({"b": 2 * right["b"]}, {"b": -right["b"]}, {"a": right["a"] - 0.3}):
        assert check_gradient(f, lambda p, wrong=wrong: right | wrong, point, rng=seed).verdict == "fail"
