"""Parameters whose size says nothing of their scale, and values whose size says nothing of their rounding."""

import numpy as np
import pytest

from gradcheck import check_gradient, check_layer
from tests.seeds import seeds

SINCE_1970 = 1.7e9
"""A time in seconds, of which float64 resolves a quarter of a microsecond."""


def test_a_tone_in_seconds_since_1970():
    """Its period is 4e-10 of the parameter: every usual step is many of them."""
    rng = np.random.default_rng(3)
    weights, t = rng.uniform(0.5, 2, 4), SINCE_1970 + rng.normal(size=4) / 10

    def tone(t):
        return weights @ np.sin(10 * (t - SINCE_1970))

    def slope(t):
        return 10 * weights * np.cos(10 * (t - SINCE_1970))

    assert check_gradient(tone, slope, t).ok
    for factor in (-1, 0, 2, 1.1):
        report = check_gradient(tone, lambda t, c=factor: c * slope(t), t)
        assert report.verdict == "fail" and report.parameters["params"].wrong.all(), str(report)


@pytest.mark.parametrize("width", [2e-3, 0.2])
def test_the_arrival_of_a_pulse_in_seconds_since_1970(width):
    """Both ends of every usual step are beyond the pulse, where the misfit is the same: the slope there is zero."""
    times = np.linspace(-25, 25, 60) * width
    measured, arrival = np.exp(-((times / width) ** 2)), np.array([SINCE_1970 + 0.3 * width])

    def misfit(t):
        return np.sum((np.exp(-(((times - (t[0] - SINCE_1970)) / width) ** 2)) - measured) ** 2)

    def slope(t):
        late = times - (t[0] - SINCE_1970)
        pulse = np.exp(-((late / width) ** 2))
        return np.array([np.sum(4 * (pulse - measured) * pulse * late / width**2)])

    assert check_gradient(misfit, slope, arrival).ok
    for factor in (-1, 2):
        assert check_gradient(misfit, lambda t, c=factor: c * slope(t), arrival).verdict == "fail"
    assert not check_gradient(misfit, lambda t: 0 * slope(t), arrival).ok  # a stair of the parameter itself, perhaps


FROM_AFAR = {
    "wave": (lambda d, w: w @ np.sin(d), lambda d, w: w * np.cos(d)),
    "pulse": (lambda d, w: w @ np.exp(-(d**2) / 2), lambda d, w: -w * d * np.exp(-(d**2) / 2)),
    "distance": (lambda d, w: w @ d**2, lambda d, w: 2 * w * d),
}


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("name", FROM_AFAR)
@pytest.mark.parametrize("place", [1e5, 5e5])
def test_single_precision_coordinates_far_from_their_origin(name, place, seed):
    """Metres of a map: 128 or 32 units in the last place are one of what the function changes over."""
    f, slope = FROM_AFAR[name]
    rng = np.random.default_rng(seed)
    x, w = (place + rng.normal(size=4)).astype(np.float32), rng.uniform(0.5, 2, 4) * rng.choice([-1, 1], 4)
    value = lambda x, w=w: np.float32(f(x.astype(np.float64) - place, w))  # noqa: E731
    gradient = lambda x, w=w: slope(x.astype(np.float64) - place, w).astype(np.float32)  # noqa: E731
    report = check_gradient(value, gradient, x, rng=seed)
    assert report.ok, str(report)
    for factor in (-1, 0, 2):
        wrong = check_gradient(value, lambda x, c=factor, g=gradient: np.float32(c) * g(x), x, rng=seed)
        assert not wrong.ok, str(wrong)
        assert wrong.verdict == "fail" or place > 1e5, str(wrong)  # farther out no step is left to look for a kink


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("seed", seeds(4))
@pytest.mark.parametrize(
    ("dtype", "confidence"), [(np.float32, 14), (np.float32, 20), (np.float32, 30), (np.float64, 40)]
)
def test_the_right_gradient_of_samples_that_are_classified_well_is_never_wrong(dtype, confidence, seed):
    """The loss is zero, or nearly: what it is the logarithm of is rounded to 1."""
    rng = np.random.default_rng(seed)
    labels, z = rng.integers(0, 5, 3), rng.normal(size=(3, 5))
    z[np.arange(3), labels] += confidence
    z = z.astype(dtype)

    def backward(dy, z, labels=labels):
        q = np.exp(log_softmax(z))
        q[np.arange(3), labels] -= 1
        return q * dy[:, None]

    def loss(z, labels=labels):
        return -log_softmax(z)[np.arange(3), labels].mean()

    assert check_gradient(loss, lambda z, b=backward: b(np.full(3, dtype(1 / 3)), z), z).verdict != "fail"
    each = check_layer(lambda z, y=labels: (-log_softmax(z)[np.arange(3), y], z), backward, z)
    assert each.verdict != "fail", str(each)
    wrong = check_gradient(loss, lambda z, b=backward: b(np.full(3, dtype(1 / 3)), z) + dtype(0.1), z)
    assert wrong.verdict == "fail"


@pytest.mark.parametrize("seed", seeds(5, quick=2))
def test_a_small_value_beside_a_large_one_that_cancels_is_not_seen_without_noise(seed):
    """log(sum(exp(x))) - x[0] is 1e-11, rounded as x[0] is; what moves it by less than that stands still."""
    rng = np.random.default_rng(seed)
    x = np.array([25.0, 0.0, -5.0, -20.0, 1.0]) + rng.normal(size=5)
    p = np.exp(x - x.max())
    gradient = p / p.sum()
    gradient[0] = -p[1:].sum() / p.sum()
    report = check_gradient(lambda x: np.log(np.exp(x).sum()) - x[0], lambda _, g=gradient: g.copy(), x)
    assert report.verdict != "fail", str(report)


BEHIND_A_CONSTANT = {
    "waves": (lambda x, w: np.sum(w * np.sin(x)), lambda x, w: w * np.cos(x)),
    "log-sum-exp": (lambda x, w: np.log(np.exp(w * x).sum()), lambda x, w: w * np.exp(w * x) / np.exp(w * x).sum()),
    "square": (lambda x, w: np.sum(w * x) ** 2 / 4 + np.sum(w * x), lambda x, w: (np.sum(w * x) / 2 + 1) * w),
    "rates": (lambda x, w: np.sum(w / (1 + np.exp(-x))), lambda x, w: w / (2 + np.exp(x) + np.exp(-x))),
}


@pytest.mark.parametrize("constant", [1000, 3000])
def test_a_tenth_of_one_element_is_seen_behind_a_constant_that_rounds_much_of_it_away(constant):
    """In single precision noise hides up to a tenth of it at a step of 0.03 of the element; over a quarter of it the functions are smooth."""
    seen = []
    for f, slope in BEHIND_A_CONSTANT.values():
        for seed in range(6):
            rng = np.random.default_rng(seed)
            x, w = rng.normal(size=4).astype(np.float32), rng.uniform(0.5, 2, 4) * rng.choice([-1, 1], 4)
            value = lambda x, f=f, w=w: np.float32(f(x.astype(float), w) + constant)  # noqa: E731
            gradient = lambda x, g=slope, w=w: g(x.astype(float), w).astype(np.float32)  # noqa: E731
            largest = np.abs(gradient(x)) == np.abs(gradient(x)).max()
            off = lambda x, g=gradient, k=largest: g(x) * np.where(k, np.float32(1.1), np.float32(1))  # noqa: E731
            assert check_gradient(value, gradient, x, rng=seed).verdict != "fail"
            seen.append(check_gradient(value, off, x, rng=seed).verdict != "pass")
    assert np.mean(seen) >= 0.85


@pytest.mark.parametrize("seed", range(12))
def test_a_zero_in_one_element_that_single_precision_shows_does_not_pass(seed):
    """Behind 1e4, whose spacing is 1e-3, plain differences show the element and a ladder of shorter steps hardly does."""
    rng = np.random.default_rng(seed)
    x, w, b = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 6), (6, 5), (5,)))
    x *= np.float32(rng.choice([1, 10]))

    def value(p):
        return float(np.float32(1e4) + np.sqrt((p["x"] @ p["w"] + p["b"]) ** 2 + np.float32(0.1)).sum())

    def gradient(p):
        z = p["x"] @ p["w"] + p["b"]
        dz = z / np.sqrt(z**2 + np.float32(0.1))
        return {"x": dz @ p["w"].T, "w": p["x"].T @ dz, "b": dz.sum(axis=0)}

    point = {"x": x, "w": w, "b": b}
    right = gradient(point)
    assert check_gradient(value, gradient, point, rng=seed).verdict != "fail"
    for name, values in right.items():
        place = int(np.argmax(np.abs(values)))
        wrong = {**right, name: np.where(np.arange(values.size).reshape(values.shape) == place, 0, values)}
        assert check_gradient(value, wrong, point, rng=seed).verdict != "pass", (name, place)


STEEP = {
    "linear": (lambda x: x, lambda _: 1.0),
    "exponential": (np.exp, np.exp),
}
SLIGHT = {
    "waves": (lambda b, w, _: np.sum(w * np.sin(b)), lambda b, w, _: w * np.cos(b), lambda *_: 0.0),
    "products": (lambda b, w, a: a * np.sum(w * b), lambda b, w, a: w * a + 0 * b, lambda b, w, _: np.sum(w * b)),
}


def beside_a_steep_term(steep, slight, dtype, scale, count, *, together, seed):
    """Return f computed in a dtype, the point, and its gradient in double precision with that of some elements times a factor."""
    (big, big_slope), (small, slope, cross) = STEEP[steep], SLIGHT[slight]
    rng = np.random.default_rng(seed)
    w = (rng.uniform(1, 2, count - 1) * rng.choice([-1, 1], count - 1)).astype(dtype)
    x = rng.uniform(0.5, 1, count).astype(dtype)
    point = x if together else {"a": x[:1], "b": x[1:]}

    def parts(p):
        return (p[0], p[1:]) if together else (p["a"][0], p["b"])

    def f(p):
        a, b = parts(p)
        return dtype(scale) * big(a) + small(b, w, a)

    def gradient(p, factor=1.0, where=slice(None)):
        a, b = (np.asarray(part, float) for part in parts(p))
        first, rest = np.array([scale * big_slope(a) + cross(b, w.astype(float), a)]), slope(b, w.astype(float), a)
        rest[where] *= factor
        return np.concatenate([first, rest]) if together else {"a": first, "b": rest}

    return f, gradient, point


@pytest.mark.parametrize("seed", seeds(3, quick=1))
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("count", [2, 30])
@pytest.mark.parametrize("slight", SLIGHT)
@pytest.mark.parametrize("steep", STEEP)
@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 2e4), (np.float64, 1e13)])
def test_what_a_step_for_steeper_elements_does_not_move_is_seen_with_a_longer_one(
    dtype, scale, steep, slight, count, together, seed
):
    """The step of a leaf is that of its steepest elements: over it the others move the function by less than rounding, and any claim agrees."""
    f, gradient, point = beside_a_steep_term(steep, slight, dtype, scale, count, together=together, seed=seed)
    right = check_gradient(f, gradient, point, rng=seed)
    assert right.verdict != "fail", str(right)
    assert right.verdict != "pass" or right.evaluations <= 2 * count + 100
    for where in (seed % (count - 1), slice(None)):
        for factor in (0, -1):
            wrong = check_gradient(f, lambda p, c=factor, k=where, g=gradient: g(p, c, k), point, rng=seed)
            assert wrong.verdict != "pass", (factor, where, str(wrong))
