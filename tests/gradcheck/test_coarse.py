"""Where noise or a coarse dtype leaves only long steps, a gross error is still one; and where only short steps tell."""

import numpy as np
import pytest

from benchmarks.networks import mlp
from gradcheck import check_gradient, numerical_gradient
from network import article
from tests.seeds import seeds

WEIGHTS = np.arange(1.0, 7.0)


def waves(x):
    return np.sum(WEIGHTS * np.sin(x))


def slope(x):
    return WEIGHTS * np.cos(x)


def point(seed):
    return np.random.default_rng(seed).uniform(0.3, 1.2, 6)


FUNCTIONS = {
    "float16 inside": lambda x: float(waves(x.astype(np.float16).astype(np.float64))),
    "float32, large offset": lambda x: np.float32(1e4) + np.float32(waves(x)),
    "large offset": lambda x: 1e12 + waves(x),
    "three decimals": lambda x: round(float(waves(x)), 3),
}

STAIRS = ("float16 inside", "three decimals")
"""Coarser than single precision: there a claim of zero is the slope near the point, though not the trend, and never wrong."""


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_gross_error_is_seen_and_the_right_gradient_passes(name, seed):
    f, x = FUNCTIONS[name], point(seed)
    assert check_gradient(f, slope, x, rng=seed).ok
    for factor in (-1.0, 0.0, 0.5, 2.0):
        report = check_gradient(f, lambda x, t=factor: slope(x) * np.where(np.arange(6) == 4, t, 1.0), x, rng=seed)
        if factor == 0 and name in STAIRS:
            assert report.verdict == "inconclusive" and report.findings[0].code == "step-function", str(report)
            assert np.flatnonzero(report.parameters["params"].undecided).tolist() == [4]
        else:
            assert report.verdict == "fail", factor
            assert np.flatnonzero(report.parameters["params"].wrong).tolist() == [4]


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("n", [5, 40])
@pytest.mark.parametrize("name", ["f32", "f16", "2 digits", "3 digits", "4 digits of f"])
def test_a_claim_of_zero_on_a_stair_is_never_wrong_unless_it_is_that_of_single_precision(name, n, seed):
    inside = {
        "f32": lambda x: np.float32(x).astype(float),
        "f16": lambda x: np.float16(x).astype(float),
        "2 digits": lambda x: np.round(x, 2),
        "3 digits": lambda x: np.round(x, 3),
    }.get(name, lambda x: x)

    def f(x):
        value = float(np.sum(np.sin(inside(x))))
        return round(value, 4) if name == "4 digits of f" else value

    x = np.random.default_rng(seed).normal(size=n)
    for claim in (np.zeros(n), np.cos(x) * (np.arange(n) % 5 > 0)):
        report = check_gradient(f, claim, x, rng=seed)
        if name == "f32":
            assert report.verdict == "fail", str(report)
        elif np.any(claim):  # noise may hide a few
            assert report.verdict != "fail", str(report)
        else:
            assert report.verdict == "inconclusive" and report.findings[0].code == "step-function", str(report)


@pytest.mark.parametrize("seed", seeds(4))
def test_a_sign_in_float16_is_seen(seed):
    """Function in float32, point and gradient in float16."""
    x = point(seed).astype(np.float16)

    def f(x):
        return np.sum(np.sin(x.astype(np.float32)))

    def right(x):
        return np.cos(x.astype(np.float64)).astype(np.float16)

    assert check_gradient(f, right, x, rng=seed).ok
    report = check_gradient(f, lambda x: right(x) * np.array([1, 1, -1, 1, 1, 1], np.float16), x, rng=seed)
    assert np.flatnonzero(report.parameters["params"].wrong).tolist() == [2]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_bound_covers_the_error_and_a_longer_step_makes_it_small(name):
    for seed in range(4):
        x = point(seed)
        measured = numerical_gradient(FUNCTIONS[name], x, rng=seed)
        assert np.all(np.abs(measured.value - slope(x)) <= measured.error_bound)
        assert np.median(measured.error_bound) < 0.3


STEEP = {
    "tanh": (lambda z: np.tanh(z), lambda z: 1 / np.cosh(z) ** 2),
    "bump": (lambda z: np.exp(-z * z), lambda z: -2 * z * np.exp(-z * z)),
    "softplus": (lambda z: np.logaddexp(0, z), lambda z: 1 / (1 + np.exp(-z))),
}


@pytest.mark.parametrize("seed", seeds(3))
@pytest.mark.parametrize("name", STEEP)
@pytest.mark.parametrize("power", [3, 5, 7, 9])
def test_what_happens_near_the_point_only_is_not_called_wrong(name, power, seed):
    """The function is steep over a billionth of the point; farther away it does not move."""
    f, derivative = STEEP[name]
    k = 10.0**power
    x = 1 + np.random.default_rng(seed).uniform(-0.5, 0.5, 3) / k
    report = check_gradient(lambda x: np.sum(f(k * (x - 1))), lambda x: k * derivative(k * (x - 1)), x, rng=seed)
    assert report.verdict != "fail", str(report)


def test_many_wrong_elements_cost_little_more_than_right_ones():
    x = np.random.default_rng(0).normal(size=300)
    report = check_gradient(lambda x: np.sum(np.sin(x)), lambda x: 2 * np.cos(x), x)
    assert report.parameters["params"].wrong.all()
    assert report.evaluations <= 12 * x.size


def test_a_right_element_among_many_wrong_ones_is_not_called_wrong():
    x = np.random.default_rng(0).normal(size=60)
    right = np.zeros(60, dtype=bool)
    right[[0, 7, 31, 59]] = True
    report = check_gradient(lambda x: np.sum(np.sin(x)), lambda x: np.where(right, 1.0, 2.0) * np.cos(x), x)
    np.testing.assert_array_equal(report.parameters["params"].wrong, ~right)


def test_all_leaves_of_a_gradient_that_is_wrong_throughout_are_named():
    params = {f"w{i}": np.random.default_rng(i).normal(size=12) for i in range(10)}
    report = check_gradient(
        lambda p: sum(float(np.sum(np.exp(v))) for v in p.values()),
        lambda p: {k: 2 * np.exp(v) for k, v in p.items()},
        params,
    )
    assert all(parameter.wrong.all() for parameter in report.parameters.values())


def test_rounding_near_the_point_that_was_not_measured_explains_no_wrong_sign():
    """An ill-conditioned system: the noise along one element is larger than along the direction that was sampled."""
    hilbert = 1 / (np.arange(8)[:, None] + np.arange(8) + 1.0)
    right = np.linalg.inv(hilbert).T @ np.ones(8) * 1e-6
    for seed in range(3):
        for element in (4, 5, 6):
            signs = np.where(np.arange(8) == element, -1.0, 1.0)
            report = check_gradient(
                lambda x: np.sum(np.linalg.solve(hilbert, x)) * 1e-6,
                lambda x, signs=signs: right * signs,
                np.random.default_rng(seed).normal(size=8),
                rng=seed,
            )
            assert report.parameters["params"].wrong[element]


@pytest.mark.parametrize(
    ("activation", "rows", "seed"), [("relu", 32, 8), ("max", 32, 3), ("relu", 8, 5), ("abs", 32, 5), ("leaky", 8, 0)]
)
def test_a_single_precision_network_with_kinks_near_the_point_passes(activation, rows, seed):
    """Noise forbids the steps that would not cross the kinks: differences that all cross them agree by luck."""
    f, grad, params = mlp((10, 24, 24, 16, 4), activation, seed, rows=rows, dtype=np.float32)
    assert check_gradient(f, grad, params).verdict == "pass"


@pytest.mark.parametrize(
    ("activation", "rows", "seed"), [("relu", 8, 5), pytest.param("leaky", 8, 0, marks=pytest.mark.slow)]
)
def test_a_transposed_weight_of_such_a_network_fails(activation, rows, seed):
    f, grad, params = mlp((10, 24, 24, 16, 4), activation, seed, rows=rows, dtype=np.float32)
    transposed = lambda p: grad(p) | {"w1": grad(p)["w1"].T.copy()}  # noqa: E731
    sampled, wrong = (check_gradient(f, transposed, params, method=method) for method in ("auto", "exhaustive"))
    assert sampled.verdict == wrong.verdict == "fail" and wrong.parameters["w1"].wrong.sum() > 100
    assert sampled.parameters["w1"].wrong.sum() >= 6 and sampled.evaluations < wrong.evaluations / 2


@pytest.mark.parametrize("seed", [12, pytest.param(27, marks=pytest.mark.slow)])
def test_single_precision_inside_a_float64_network_is_no_fault(seed):
    """Truncation is alike in a whole leaf; and another memory layout rounds otherwise, in single precision."""
    images, labels = article.load_digits01()
    params, order = article.draw(seed)
    images, labels = (images[order][:8] / 16).astype(np.float32), labels[order][:8].astype(np.float32)

    def single(p):
        return {name: array.astype(np.float32) for name, array in p.items()}

    def grad(p):
        return {name: array.astype(float) for name, array in article.gradient(single(p), images, labels).items()}

    params = {name: array.astype(float) for name, array in single(params).items()}
    assert check_gradient(lambda p: float(article.loss(single(p), images, labels)), grad, params).verdict == "pass"


@pytest.mark.parametrize("x", [0.7, np.float64(0.7), np.array(0.7), np.array([[0.7]]), np.float32(0.7)])
def test_a_single_number_in_noise(x):
    def f(x):
        return np.float32(1e3) + np.float32(np.sin(np.sum(x)))

    assert check_gradient(f, np.cos, x).verdict == "pass"
    assert check_gradient(f, lambda x: -np.cos(x), x).verdict == "fail"


@pytest.mark.parametrize(("sizes", "activation", "rows"), [((6, 9, 7, 4), "relu", 8), ((6, 9, 7, 4), "relu", 32)])
def test_a_kink_farther_away_than_was_measured_explains_no_error(sizes, activation, rows):
    """Of 8 % in one of the largest elements: closer by, differences agree on another slope."""
    f, grad, params = mlp(sizes, activation, 8, rows=rows, dtype=np.float32)
    right = grad(params)["w1"]
    place = np.argsort(np.abs(right), axis=None)[-5]

    def wrong(p):
        claimed = grad(p)
        claimed["w1"].flat[place] += np.float32(0.08) * right.flat[place]
        return claimed

    assert check_gradient(f, grad, params).verdict == "pass"
    assert check_gradient(f, wrong, params).parameters["w1"].wrong.ravel().nonzero()[0].tolist() == [place]


def logistic(x, dtype):
    return np.sum(1 / (1 + np.exp(-np.dot(np.array([[0.7, -1.1, 0.4], [0.2, 0.9, -0.5]], dtype), x.astype(dtype)))))


BESIDE = {
    "penalty": lambda x, single: float(logistic(x, single)) + float(np.sum(x.astype(float) ** 2)),
    "large constant, added in float64": lambda x, single: 1e5 + float(logistic(x, single)),
    "what nearly cancels it": lambda x, single: (
        float(logistic(x, single) - single(0.999)) + float(np.sum(x.astype(float) ** 2))
    ),
    "large constant, added in float32": lambda x, single: float(single(300) + logistic(x, single)),
}


@pytest.mark.parametrize("scale", [1e-4, 1e-6, 1e-12])
@pytest.mark.parametrize("name", BESIDE)
def test_single_precision_hidden_in_a_function_of_tiny_parameters_is_noise(name, scale):
    """Moved by their own sizes they leave the single precision standing still, and something smooth beside it may move."""
    f, signs = BESIDE[name], np.array([1.0, -1.0, 0.5])
    for seed, dtype in enumerate((np.float32, np.float64)):
        x = (scale * signs * np.random.default_rng(seed).uniform(0.5, 1, 3)).astype(dtype)
        steps = 1e-3 * np.eye(3)
        right = np.array([f(x + h, np.float64) - f(x - h, np.float64) for h in steps]) / 2e-3
        for factor, verdict in ((1.0, "pass"), (-1.0, "fail"), (0.0, "fail")):
            claim = (factor * right).astype(dtype)
            report = check_gradient(lambda x: f(x, np.float32), lambda x, claim=claim: claim, x, rng=seed)
            assert report.verdict == verdict, str(report)


def test_stairs_of_single_precision_longer_than_what_is_sampled_are_noise_beside_something_steeper():
    """Within a stair the smooth term alone shows, a slope off by 1 % that repeats to many digits: at one point of 20 it is still taken."""
    right, dropped = [], []
    for seed in range(20):
        x = np.random.default_rng(seed).uniform(0.3, 1, 10)
        f = lambda x: float(np.float32(1 + 0.02 * np.sin(np.mean(x)))) + float(np.mean(x**2))  # noqa: E731
        slope = 0.002 * np.cos(np.mean(x)) + 0.2 * x
        right.append(check_gradient(f, slope, x, rng=seed).verdict)
        dropped.append(check_gradient(f, 0.2 * x, x, rng=seed).verdict)
        assert check_gradient(f, -slope, x, rng=seed).verdict == "fail"
    assert right.count("pass") >= 19 and dropped.count("fail") >= 19


HALF = {
    "input in half precision": lambda x: float(waves(x.astype(np.float16).astype(float))),
    "value in half precision": lambda x: float(np.float16(3 + waves(x))),
    "all in half precision": lambda x: float(3 + np.sum(WEIGHTS.astype(np.float16) * np.sin(x.astype(np.float16)))),
    "two decimals": lambda x: round(float(waves(x)), 2),
}


@pytest.mark.parametrize("name", HALF)
@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_stairs_of_half_precision_beside_something_smooth_are_noise(name, scale):
    """Shorter steps agree to many digits on the slope of the penalty alone. That is the derivative nearly everywhere, and not the trend."""
    right, penalty = [], []
    for seed in range(6):
        x, centre = scale * point(seed), np.random.default_rng(seed).normal(size=6)
        f = lambda x, centre=centre: HALF[name](x) + float(np.sum((x - centre) ** 2))  # noqa: E731
        alone = 2 * (x - centre)
        trend = slope(x) + alone
        right.append(check_gradient(f, trend, x, rng=seed).verdict)
        penalty.append(check_gradient(f, alone, x, rng=seed).verdict)
        for factor in (-1.0, 0.0, 2.0):
            assert check_gradient(f, factor * trend, x, rng=seed).verdict == "fail"
    assert "fail" not in right and right.count("pass") >= 5
    is_fine = (
        scale < 1 and name == "input in half precision"
    )  # its grid is absolute there, and finer than single precision makes one
    assert set(penalty) == ({"fail"} if is_fine else {"inconclusive"})


def test_the_trend_of_stairs_as_long_as_any_step_is_not_called_wrong():
    """Over a fifteenth of the element it jumps once or not at all, and between the jumps the penalty alone shows."""
    verdicts = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x, centre = rng.uniform(0.5, 1, 1), rng.normal()
        f = lambda x, centre=centre: float(np.rint(24 * np.sin(x[0])) / 24 + (x[0] - centre) ** 2)  # noqa: E731
        trend = np.cos(x) + 2 * (x - centre)
        verdicts.append(check_gradient(f, trend, x, rng=seed).verdict)
        assert check_gradient(f, trend + 2 * np.cos(x), x, rng=seed).verdict == "fail"
    assert "fail" not in verdicts


LONG = {
    "one decimal": lambda x: round(float(1.2 * x.sum()), 1) + float(np.sum((x - 0.4) ** 2)),
    "value": lambda x: 20 * float(np.float16((20 + 1.2 * x.sum()) / 20)) + float(np.sum((x - 0.4) ** 2)),
    "sum": lambda x: float(np.float16(3 + 1.2 * x.sum())) + float(np.sum((x - 0.4) ** 2)),
    "decimals": lambda x: round(float(1.2 * x.sum()), 2) + float(np.sum((x - 0.4) ** 2)),
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("scale", [1e-3, 1e-2])
@pytest.mark.parametrize("count", [1, 6])
def test_the_trend_of_stairs_longer_than_the_elements_is_not_called_wrong(name, scale, count):
    """A unit of half precision is up to 16 of them: over their own size the smooth term alone shows, to many digits."""
    right, opposite = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x = scale * rng.uniform(0.5, 1.5, count) * rng.choice([-1, 1], count)
        trend = 1.2 + 2 * (x - 0.4)
        right.append(check_gradient(LONG[name], trend, x, rng=seed).verdict)
        opposite.append(check_gradient(LONG[name], -trend, x, rng=seed).verdict)
    assert right.count("fail") <= (count == 1)
    assert "pass" not in opposite and opposite.count("fail") >= 4
    assert check_gradient(lambda x: np.sum(np.sin(4 * x)), 5.2 * np.cos(4 * x), x).verdict == "fail"


def test_a_gradient_that_a_constant_in_single_precision_hides_is_not_taken_for_zero():
    """Nothing shows that the function depends on its only parameter; the claim says so."""
    for seed in (6, 12, 17):
        rng = np.random.default_rng(seed)
        x, w = rng.normal(size=10), rng.normal(size=10)
        f = lambda x, w=w: float(np.float32(1e8) + np.float32(w @ np.sin(x)))  # noqa: E731
        for factor in (-1, 1, 2):
            report = check_gradient(f, lambda x, c=factor, w=w: c * w * np.cos(x), x, rng=seed)
            assert report.verdict == "inconclusive", str(report)


@pytest.mark.parametrize("seed", seeds(3))
def test_a_single_jump_beside_something_smooth_hides_nothing(seed):
    x = point(seed)
    f = lambda y: waves(y) + float(y[0] > 1.01 * x[0]) - float(y[1] < 0.97 * x[1])  # noqa: E731
    assert check_gradient(f, slope, x, rng=seed).ok
    for factor in (-1.0, 0.0, 1.0001):
        assert check_gradient(f, lambda x, c=factor: c * slope(x), x, rng=seed).verdict == "fail"


@pytest.mark.parametrize("scale", [1e-5, 1e-6, 0.0])
def test_a_dropped_gradient_of_tiny_parameters_in_half_precision_fails(scale):
    """Over as many of their units as noise is sampled in, a sum in single precision stands still."""
    f = BESIDE["large constant, added in float32"]
    for seed in range(3):
        x = (scale * np.random.default_rng(seed).uniform(0.5, 1, 3)).astype(np.float16)
        right = np.array([f(h, np.float64) - f(-h, np.float64) for h in 1e-3 * np.eye(3)]) / 2e-3
        for factor, verdict in ((1.0, "pass"), (-1.0, "fail"), (0.0, "fail")):
            claim = (factor * right).astype(np.float16)
            report = check_gradient(lambda x: f(x, np.float32), lambda x, claim=claim: claim, x, rng=seed)
            assert report.verdict == verdict, str(report)


def test_rounding_that_lies_on_a_line_by_chance_hides_no_dropped_gradient():
    """The sum of a constant and whole multiples of a move may be rounded to whole multiples of the same number of units."""
    c, s, x = np.array([-1.8876], np.float32), np.float32(0.5), np.zeros(1, np.float32)
    verdicts = [
        check_gradient(lambda x: float(np.sin(float(x @ c + s))), lambda x: 0 * x, x, rng=seed).verdict
        for seed in (15, 53, 70, 74, 107, 133, 150, 210)
    ]
    assert verdicts == ["fail"] * 8


@pytest.mark.parametrize("out", [np.float16, float])
@pytest.mark.parametrize("size", [1000, 2000, 4000])
def test_a_wave_that_the_points_of_half_precision_do_not_resolve_contradicts_no_claim(size, out):
    """Neighbouring numbers are half a radian to four apart: what it does between them looks like noise, and its trend is zero."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, w = (size * rng.uniform(0.55, 0.95, 3)).astype(np.float16), rng.uniform(0.5, 2, 3)
        f = lambda x, w=w: out(np.sum(w * np.sin(x.astype(float))))  # noqa: E731
        slope = lambda x, w=w: (w * np.cos(x.astype(float))).astype(np.float16)  # noqa: E731
        assert check_gradient(f, slope, x, rng=seed).verdict != "fail"
        steady = lambda x, w=w: out(np.sum(w * np.sin(x.astype(float) / 500)))  # noqa: E731
        slope = lambda x, w=w: (w * np.cos(x.astype(float) / 500) / 500).astype(np.float16)  # noqa: E731
        steadily = [check_gradient(steady, lambda x, c=c, g=slope: c * g(x), x, rng=seed).verdict for c in (1, -1)]
        assert steadily == ["pass", "fail"] or (out is np.float16 and steadily[0] != "fail" and steadily[1] != "pass")
