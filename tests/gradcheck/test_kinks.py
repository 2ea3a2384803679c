"""Valid subgradients pass and invalid ones fail, whatever the seed."""

import numpy as np
import pytest

from gradcheck import check_gradient, check_layer
from gradcheck.nonsmooth import subdifferential
from tests.seeds import seeds


def relu(z):
    return np.maximum(z, 0.0)


def difference_of_maxima(x):
    return max(x[0], x[1]) - max(x[0], x[2])


def nested(x):
    return min(max(x[0], x[1]), x[2])


def max_of_minima(x):
    return np.max(np.min(x.reshape(3, 3), axis=1))


def min_of_maxima(x):
    return np.min(np.max(x.reshape(3, 2), axis=1))


def weighted_order(x):
    return np.sort(x) @ np.arange(5.0)


def least_of_relus(x):
    return np.min(relu(x))


def capped_maximum(x):
    return min(np.max(x), 1.0)


SORTED_TIE = np.array([1.0, 3, 2, 1, 1])

VALID = [
    ("median of five, one", np.median, np.ones(5), [0, 0, 1, 0, 0]),
    ("median of five, shared", np.median, np.ones(5), [0.2] * 5),
    ("maximum of nine, one", np.max, np.ones(9), [0] * 8 + [1]),
    ("relu of a sum, 0", lambda x: relu(x.sum() - 5), np.ones(5), [0.0] * 5),
    ("relu of a sum, 1", lambda x: relu(x.sum() - 5), np.ones(5), [1.0] * 5),
    ("sort", weighted_order, SORTED_TIE, [0, 4, 3, 1, 2]),
    ("sort, other order", weighted_order, SORTED_TIE, [2, 4, 3, 1, 0]),
    ("difference of maxima, a b c", difference_of_maxima, np.ones(3), [0, 1, -1]),
    ("difference of maxima, both a", difference_of_maxima, np.ones(3), [0, 0, 0]),
    ("difference of relus", lambda x: relu(x[0] - x[1]) - relu(x[1] - x[2]), np.ones(3), [0, 0, 0]),
    ("nested, a", nested, np.ones(3), [1, 0, 0]),
    ("nested, c", nested, np.ones(3), [0, 0, 1]),
    ("maximum of minima, one", max_of_minima, np.ones(9), [0, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("minimum of maxima, one", min_of_maxima, np.ones(6), [0, 0, 0, 1, 0, 0]),
    ("least of three relus, a quarter of one", least_of_relus, np.zeros(3), [0.25, 0, 0]),
    ("capped maximum of three, a tenth of one", capped_maximum, np.ones(3), [0.1, 0, 0]),
    ("capped maximum of four, shares of two", capped_maximum, np.ones(4), [0.1, 0, 0, 0.05]),
    (
        "capped maximum beside another element, shares of three",
        lambda x: capped_maximum(x[:-1]) + x[-1],
        np.ones(7),
        [0.1, 0.1, 0.1, 0, 0, 0, 1],
    ),
    ("median of absolute values", lambda x: np.median(np.abs(x)), np.zeros(5), [-1.0, 0, 0, 0, 0]),
    ("relu of a product", lambda x: relu(np.array([-0.7, 0.6, -0.03, 0.4]) @ x), np.zeros(4), [0.0] * 4),
]

INVALID = [
    ("median of five, two", np.median, np.ones(5), [1, 1, 0, 0, 0]),
    ("median of five, all", np.median, np.ones(5), [1] * 5),
    ("median of five, dropped", np.median, np.ones(5), [0] * 5),
    ("median of nine, dropped", np.median, np.ones(9), [0] * 9),
    ("maximum of three, all", np.max, np.ones(3), [1, 1, 1]),
    ("maximum of nine, dropped", np.max, np.ones(9), [0] * 9),
    ("relu of a sum, one", lambda x: relu(x.sum() - 5), np.ones(5), [1, 0, 0, 0, 0]),
    ("relu of a sum, twice", lambda x: relu(x.sum() - 5), np.ones(5), [2.0] * 5),
    ("sort, one weight twice", weighted_order, SORTED_TIE, [0, 4, 3, 1, 1]),
    ("difference of maxima, b to both", difference_of_maxima, np.ones(3), [0, 1, 0]),
    ("difference of maxima, too much", difference_of_maxima, np.ones(3), [1, 1, -1]),
    ("maximum of minima, two", max_of_minima, np.ones(9), [0, 0, 0, 1, 1, 0, 0, 0, 0]),
    ("minimum of maxima, two of one", min_of_maxima, np.ones(6), [0, 0, 1, 1, 0, 0]),
    ("minimum of maxima, dropped", min_of_maxima, np.ones(6), [0] * 6),
    ("least of three relus, twice", least_of_relus, np.zeros(3), [2.0, 0, 0]),
    ("capped maximum of four, minus", capped_maximum, np.ones(4), [0, 0, 0, -0.1]),
    ("nested, two", nested, np.ones(3), [1, 0, 1]),
]


@pytest.mark.parametrize("method", ["exhaustive", "directional"])
@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize(("name", "f", "x", "claim"), VALID, ids=[case[0] for case in VALID])
def test_a_valid_subgradient_passes(name, f, x, claim, seed, method):
    report = check_gradient(lambda x: float(f(x)), lambda x: np.array(claim, float), x, rng=seed, method=method)
    assert report.ok, str(report)


@pytest.mark.parametrize("method", ["exhaustive", "directional"])
@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize(("name", "f", "x", "claim"), INVALID, ids=[case[0] for case in INVALID])
def test_an_invalid_one_fails(name, f, x, claim, seed, method):
    report = check_gradient(lambda x: float(f(x)), lambda x: np.array(claim, float), x, rng=seed, method=method)
    assert report.verdict == "fail", str(report)


@pytest.mark.parametrize("at", [1.0, 1.0 - 1e-6, 1.0 + 1e-7])
def test_at_a_jump_the_check_says_that_it_cannot_tell_or_steps_short_of_it(at):
    report = check_gradient(lambda x: np.sum(np.floor(x) + x), np.ones_like, np.array([at, 2.5, 3.3]))
    assert report.verdict == ("inconclusive" if at == 1.0 else "pass")


@pytest.mark.parametrize(("f", "many", "seed"), [(np.median, 43, 0), (np.max, 31, 1), (np.min, 31, 2)])
def test_a_tie_of_many_is_judged(f, many, seed):
    """More than are worth a sample of every order of them."""
    one, other = np.eye(many)[[17, 3]]
    for claim, verdict in ((one, "pass"), (one + other, "fail"), (0 * one, "fail"), (one + 1, "fail")):
        assert check_gradient(lambda x: float(f(x)), lambda x, g=claim: g, np.ones(many), rng=seed).verdict == verdict


def pooled(image):
    """The largest of each two by two, weighted."""
    largest = image.reshape(4, 2, 4, 2).max(axis=(1, 3))
    return float(np.sum(largest * np.arange(1.0, 17.0).reshape(4, 4)))


def spread(shares):
    """Gradient of `pooled` in an image of zeros, with these shares for the four of a window."""
    return np.kron(np.arange(1.0, 17.0).reshape(4, 4), np.reshape(shares, (2, 2)))


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [([1, 0, 0, 0], "pass"), ([0.25] * 4, "pass"), ([1, 1, 1, 1], "fail"), ([0, 0, 0, 0], "fail")],
)
def test_windows_of_a_constant_image_are_judged_apart(shares, verdict):
    """All 64 are equal, and only four at a time share a kink."""
    assert check_gradient(pooled, lambda x: spread(shares), np.zeros((8, 8))).verdict == verdict


def test_many_equal_elements_of_a_smooth_function_are_no_tie():
    """Biases start at zero, all of them."""
    inputs = np.random.default_rng(0).normal(size=(30, 6))

    def gradient(p):
        y = np.tanh(inputs @ p["W"] + p["b"])
        d = 2 * y * (1 - y**2)
        return {"W": inputs.T @ d, "b": 2 * d.sum(0)}

    params = {"W": np.random.default_rng(1).normal(size=(6, 80)), "b": np.zeros(80)}
    report = check_gradient(lambda p: np.sum(np.tanh(inputs @ p["W"] + p["b"]) ** 2), gradient, params)
    assert report.parameters["b"].wrong.all()
    assert not report.parameters["W"].wrong.any()


@pytest.mark.parametrize(("units", "is_squared"), [(4, False), (4, True), (16, True)])
def test_a_layer_whose_weights_are_all_zero_passes_at_a_cost_in_proportion(units, is_squared):
    """Each unit has a kink that all its weights share."""
    rng = np.random.default_rng(0)
    data, factors, out, targets = (rng.normal(size=size) for size in ((8, 3), (8, units), units, 8))

    def f(p):
        y = relu(data @ p["W"] + p["b"])
        return float(np.mean((y @ out - targets) ** 2) if is_squared else np.sum(factors * y))

    def gradient(p, at_zero=0.0):
        z = data @ p["W"] + p["b"]
        dy = np.outer(relu(z) @ out - targets, out) / 4 if is_squared else factors
        dz = dy * np.where(z > 0, 1, np.where(z == 0, at_zero, 0))
        return {"W": data.T @ dz, "b": dz.sum(0)}

    params = {"W": np.zeros((3, units)), "b": np.zeros(units)}
    report = check_gradient(f, gradient, params)
    assert report.ok, str(report)
    assert report.evaluations <= 5 * (2 * 4 * units + 100)
    assert check_gradient(f, lambda p: gradient(p, 3.0), params).verdict == "fail"


def largest_eigenvalue(a):
    return float(np.linalg.eigvalsh((a + a.T) / 2)[-1])


def its_gradient(a):
    vector = np.linalg.eigh((a + a.T) / 2)[1][:, -1]
    return np.outer(vector, vector)


def spectral_norm(a):
    return float(np.linalg.norm(a, 2))


def its_gradient_too(a):
    u, _, v = np.linalg.svd(a)
    return np.outer(u[:, 0], v[0])


@pytest.mark.parametrize(("size", "seed"), [(2, 0), (3, 1)])
@pytest.mark.parametrize(
    ("f", "gradient"), [(largest_eigenvalue, its_gradient), (spectral_norm, its_gradient_too)], ids=["eigen", "norm"]
)
def test_an_eigenvalue_or_singular_value_where_it_is_multiple(f, gradient, size, seed):
    other = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    for a in (np.eye(size), other):
        assert check_gradient(f, gradient, a, rng=seed).ok
        assert check_gradient(f, lambda x: 2 * gradient(x), a, rng=seed).verdict == "fail"
    assert check_gradient(f, np.zeros_like, np.eye(size), rng=seed).verdict == "fail"


@pytest.mark.parametrize("ratio", [1e-3, 1e-6, 1e-9])
def test_elements_of_very_different_size_are_told_apart_or_judged_together(ratio):
    """Each moves as far as its own size lets it: what one shows is not lost in the other."""
    x = np.array([0.7, 0.9 * ratio, 0.6, 0.8 * ratio])
    smooth = check_gradient(lambda x: np.sum(np.log(x)), lambda x: (1 + 1e-5) / x, x)
    assert smooth.verdict == "fail" and smooth.parameters["params"].wrong.all()

    def hinge(x):  # at its kink; all elements share it
        return np.abs(x[0] / 0.7 - x[1] / (0.9 * ratio)) + np.abs(x[2] / 0.6 - x[3] / (0.8 * ratio))

    slopes = 1 / x
    for shares, verdict in ((np.array([1.0, -1.0, 0.0, 0.0]), "pass"), (np.array([1.0, 1.0, 0.0, 0.0]), "fail")):
        assert check_gradient(hinge, lambda _, shares=shares: shares * slopes, x).verdict == verdict


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("count", [5, 9, 12])
def test_elements_that_tie_among_sorted_ones_may_come_in_any_order(count, seed):
    """Weights of sorted elements go neither up nor down: each order of the tied ones is a gradient very near."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=16), rng.normal(size=16)
    tied = rng.choice(16, count, replace=False)
    x[tied] = 0
    right = w[np.argsort(np.argsort(x, kind="stable"), kind="stable")]
    mean, more, largest = right.copy(), right.copy(), right.copy()
    mean[tied], largest[tied] = right[tied].mean(), right[tied].max()
    more[tied[0]] += 0.5
    for claim, verdict in ((right, "pass"), (mean, "pass"), (more, "fail"), (largest, "fail"), (-right, "fail")):
        report = check_gradient(lambda x, w=w: float(w @ np.sort(x)), lambda x, c=claim: c.copy(), x, rng=seed)
        assert report.verdict == verdict, str(report)


@pytest.mark.parametrize("seed", range(12))
def test_where_parameters_tie_the_one_that_is_wrong_elsewhere_is_named(seed):
    rng = np.random.default_rng(seed)
    x, alpha = np.append(rng.normal(size=6) + 1, [2.0, 2.0, 2.7, 3.1]), 2.0

    def forward(x, alpha):
        return np.clip(x, 0, alpha), (x, alpha)

    def backward(dy, cache, mask):
        x, alpha = cache
        return dy * mask(x, alpha), 0.0 * np.sum(dy)

    def inside(x, alpha):
        return (x > 0) & (x <= alpha)

    report = check_layer(forward, lambda dy, cache: backward(dy, cache, inside), x, alpha, rng=seed)
    assert report.verdict == "fail"
    assert {name: parameter.wrong.sum() for name, parameter in report.parameters.items()} == {"x": 0, "alpha": 1}
    assert {finding.code for finding in report.findings} == {"wrong-gradient"}
    # One that is wrong away from ties stays wrong.
    report = check_layer(forward, lambda dy, cache: backward(dy, cache, lambda x, _: x > 0), x, alpha, rng=seed)
    assert report.parameters["x"].wrong.sum() >= 2


@pytest.mark.parametrize("seed", range(6))
def test_ties_within_a_parameter_are_its_own_fault_beside_one_that_is_wrong_everywhere(seed):
    def f(p):
        return max(np.max(p["x"]), p["alpha"]) + p["alpha"] ** 2

    def grad(p):
        return {"x": 1.0 * (p["x"] >= max(np.max(p["x"]), p["alpha"])), "alpha": 0.0}

    report = check_gradient(f, grad, {"x": np.array([0.3, 2.0, 2.0, -1.0]), "alpha": 2.0}, rng=seed)
    assert report.parameters["alpha"].wrong.sum() == 1
    assert report.parameters["x"].wrong.sum() == 2


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("is_one_leaf", [False, True])
def test_a_tie_is_judged_apart_from_kinks_that_others_have_by_themselves(is_one_leaf, seed):
    """Their many directions would hide the one in which a maximum without a gradient is wrong."""
    factors = np.random.default_rng(seed).uniform(0.5, 2.0, 60)
    params = {"a": np.zeros(60), "b": np.ones(36)}
    share = np.random.default_rng(seed).dirichlet(np.ones(36))
    slopes = np.random.default_rng(seed).random(60)

    def parts(p):
        return (p[:60], p[60:]) if is_one_leaf else (p["a"], p["b"])

    def f(p):
        a, b = parts(p)
        return np.tanh(0.01 * relu(a) @ factors + 0.03 * np.max(b))

    def gradient(p, total=1.0):
        outer = 1 - f(p) ** 2
        found = {"a": 0.01 * factors * slopes * outer, "b": 0.03 * total * share * outer}
        return np.concatenate([*found.values()]) if is_one_leaf else found

    point = np.concatenate([*params.values()]) if is_one_leaf else params
    assert check_gradient(f, gradient, point, rng=seed).ok
    for total in (0.0, 0.5, 1.5):
        assert check_gradient(f, lambda p, total=total: gradient(p, total), point, rng=seed).verdict == "fail"


@pytest.mark.parametrize("seed", seeds(3))
def test_equal_shares_of_a_median_pass_along_directions_too(seed):
    """Of five that tie none moves the median alone, and no two of them do together."""

    def verdict(total):
        return check_gradient(np.median, np.full(5, total / 5), np.ones(5), method="directional", rng=seed).verdict

    assert verdict(1.0) == "pass"
    assert {verdict(0.5), verdict(2.0)} == {"fail"}


@pytest.mark.parametrize("seed", seeds(3))
@pytest.mark.parametrize("count", [6, 10, 20])
def test_a_kink_that_nearly_all_directions_miss_makes_claims_valid(count, seed):
    """Where some element rises the cap holds: no difference, and hardly any direction, sees that all may fall."""
    for claim, verdict in ((0.6 / count, "pass"), (1.2 / count, "fail"), (-0.6 / count, "fail")):
        report = check_gradient(capped_maximum, lambda x, c=claim: np.full(count, c), np.ones(count), rng=seed)
        assert report.verdict == verdict, str(report)


@pytest.mark.parametrize("claim", [0.1, 1.0, -1.0])
def test_a_kink_that_thousands_share_is_left_open_at_little_cost(claim):
    x = np.ones(3001)
    gradient = np.append(claim * (np.arange(3000) == 3), 1.0)
    report = check_gradient(lambda x: min(np.max(x[:-1]), 1.0) + x[-1], gradient, x, method="directional")
    assert report.verdict == "inconclusive" and report.evaluations <= 200, str(report)


def links(x):
    """A chain of maxima, in which every element ties with its neighbours."""
    return float(np.maximum(x[:-1], x[1:]).sum())


def links_gradient(y):
    larger = y[:-1] > y[1:]
    return np.append(larger, False) + np.append(False, ~larger).astype(float)


@pytest.mark.parametrize("seed", seeds(4, quick=2))
def test_a_mean_of_many_gradients_of_a_wide_hull_passes_and_what_lies_slightly_outside_does_not(seed):
    rng = np.random.default_rng(seed)
    mean = sum(share * links_gradient(rng.normal(size=25)) for share in rng.dirichlet(np.ones(5)))
    report = check_gradient(links, mean, np.ones(25), rng=seed)
    assert report.ok, str(report)
    outside = np.ones(50)
    outside[0], outside[-1] = 0.5 + 0.6, 0.5 - 0.6  # the first k add up to k + 0.1, and at most to k
    assert check_gradient(links, outside, np.ones(50), rng=seed).verdict == "fail"


def test_a_claim_that_no_sample_settles_stays_open(monkeypatch):
    def no_contradictions(hull, among):
        yield from ()
        return {}

    monkeypatch.setattr(subdifferential._Hull, "_contradictions", no_contradictions)
    outside = np.ones(25)
    outside[0], outside[-1] = 1.1, -0.1
    assert check_gradient(links, outside, np.ones(25)).verdict == "inconclusive"


@pytest.mark.parametrize("size", [1.0, 8e200, 1e-200])
@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (0.5, "fail"), (0.0, "fail"), (-1.0, "fail")])
def test_rounding_is_no_kink_of_a_function_of_huge_values_that_is_zero_at_the_point(size, factor, verdict):
    """The noise at the point is that of zero: values beside it are larger by more than float64 can hold."""
    report = check_gradient(
        lambda x: size * float(0.9 * x[0] ** 2 - 0.01 * x[0]), lambda x: factor * size * (1.8 * x - 0.01), np.zeros(1)
    )
    assert report.verdict == verdict, str(report)


@pytest.mark.parametrize("factor", [-1.0, 0.0, 1.01])
def test_nor_does_it_overflow_where_elements_are_next_to_nothing(factor):
    rng = np.random.default_rng(32)
    inputs, x = rng.normal(size=(6, 4)), 1e-300 * rng.normal(size=4)

    def grad(x):
        return inputs.T @ (1 - np.tanh(inputs @ x + 0.3) ** 2)

    def f(x):
        return float(np.tanh(inputs @ x + 0.3).sum())

    assert check_gradient(f, grad, x).ok
    wrong = np.where(np.arange(4) == 2, factor, 1.0)
    assert check_gradient(f, lambda x: wrong * grad(x), x).parameters["params"].wrong.tolist() == [False] * 2 + [
        True,
        False,
    ]
