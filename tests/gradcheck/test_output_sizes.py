"""Functions with outputs of very different sizes: the error of a small one shows, and right derivatives pass."""

import numpy as np
import pytest

from gradcheck import check_adjoint, check_hvp, check_jacobian, check_jvp, check_layer, check_vjp
from gradcheck.checks.equalised import weights_of
from tests.seeds import seeds


class Scaled:
    """Outputs ``size * (offset + tanh(A x))`` with their products; one output's derivative is multiplied by a factor.

    The large one is added to what hides most of its digits where there is an offset.
    """

    def __init__(self, sizes, seed, dtype, *, broken=None, factor=1.0, offset=0.0, steep=1.0):
        rng = np.random.default_rng(seed)
        self.sizes, self.offset = np.array(sizes, dtype), np.array(offset, dtype)
        self.matrix = (steep * rng.normal(size=(len(sizes), 3))).astype(dtype)
        self.x = rng.normal(size=3).astype(dtype)
        self.factors = np.ones(len(sizes), dtype)
        if broken is not None:
            self.factors[broken] = factor

    def value(self, x):
        return self.sizes * (self.offset + np.tanh(self.matrix @ x))

    def jvp(self, tangents, x):
        return self.factors * self.sizes / np.cosh(self.matrix @ x) ** 2 * (self.matrix @ tangents[0])

    def vjp(self, dy, x):
        return (dy * self.factors * self.sizes / np.cosh(self.matrix @ x) ** 2) @ self.matrix

    def check(self, kind, seed):
        if kind == "jvp":
            return check_jvp(self.value, self.jvp, self.x, rng=seed)
        if kind == "vjp":
            return check_vjp(self.value, self.vjp, self.x, rng=seed)
        return check_layer(lambda x: (self.value(x), x), self.vjp, self.x, rng=seed)


SIZES = {
    "two": (1e6, 1.0),
    "a tiny one last": (1.0, 2.0, 1e-8),
    "all sizes": tuple(10.0 ** np.arange(-8, 9, 4)),
    "many": (1e7, *np.linspace(1, 2, 40)),
}


@pytest.mark.parametrize("kind", ["jvp", "vjp", "layer"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("seed", seeds(2))
def test_a_small_output_is_judged_beside_large_ones(kind, dtype, sizes, seed):
    right = Scaled(sizes, seed, dtype)
    assert right.check(kind, seed).verdict == "pass"
    small = int(np.argmin(sizes))
    for factor in (-1.0, 0.0, 2.0):
        wrong = Scaled(sizes, seed, dtype, broken=small, factor=factor).check(kind, seed)
        assert wrong.verdict == "fail" and {finding.code for finding in wrong.findings} == {"wrong-gradient"}


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
@pytest.mark.parametrize("seed", seeds(3))
def test_the_noise_of_one_output_hides_no_other(kind, seed):
    sizes, offset = (100.0, 1.0), (1e4, 0.0)
    assert Scaled(sizes, seed, np.float32, offset=offset).check(kind, seed).verdict == "pass"
    for factor in (-1.0, 0.0, 2.0):
        wrong = Scaled(sizes, seed, np.float32, broken=1, factor=factor, offset=offset)
        assert wrong.check(kind, seed).verdict == "fail"


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
@pytest.mark.parametrize("sizes", [(100.0, 0.1), (1.0, 30.0, 0.01), (0.02, *np.linspace(5, 9, 20))])
@pytest.mark.parametrize("seed", seeds(4))
def test_half_precision(kind, sizes, seed):
    small = int(np.argmin(sizes))
    assert Scaled(sizes, seed, np.float16, steep=0.3).check(kind, seed).verdict != "fail"
    for factor in (-1.0, 3.0):
        assert (
            Scaled(sizes, seed, np.float16, broken=small, factor=factor, steep=0.3).check(kind, seed).verdict != "pass"
        )


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
@pytest.mark.parametrize("seed", seeds(3))
def test_twelve_digits_between_two_outputs(kind, seed):
    sizes = (1e12, 1e-3)
    assert Scaled(sizes, seed, np.float64).check(kind, seed).verdict == "pass"
    assert Scaled(sizes, seed, np.float64, broken=1, factor=1.01).check(kind, seed).verdict == "fail"


def softmax(z):
    shifted = np.exp(z - z.max())
    return shifted / shifted.sum()


@pytest.mark.parametrize("seed", seeds(6))
def test_probabilities_of_all_sizes_in_single_precision(seed):
    rng = np.random.default_rng(seed)
    matrix, x = (8 * rng.normal(size=(6, 4))).astype(np.float32), rng.normal(size=4).astype(np.float32)

    def pull(dy, x):
        p = softmax(matrix @ x)
        return (p * (dy - dy @ p)) @ matrix

    def without_smallest(dy, x):
        p = softmax(matrix @ x)
        seen = np.where(np.arange(6) == np.argsort(p)[2], 0, dy)
        return (p * (seen - seen @ p)) @ matrix

    f = lambda x: softmax(matrix @ x)  # noqa: E731
    assert check_vjp(f, pull, x, rng=seed).verdict != "fail"
    wrong = check_vjp(f, without_smallest, x, rng=seed)
    assert wrong.verdict != "pass"


def log_softmax(x):
    z = x - x.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("scale", [3.0, 10.0, 30.0])
@pytest.mark.parametrize("rows", [4, 8])
@pytest.mark.parametrize("seed", seeds(6))
def test_log_probabilities_of_what_is_all_but_sure_in_single_precision(rows, scale, seed):
    """They hardly change, since terms cancel that are as large as those of the others, and so are rounded."""

    def backward(dy, x, factor=1.0):
        return dy - np.exp(log_softmax(x)) * dy.sum(axis=-1, keepdims=True) * dy.dtype.type(factor)

    def verdict(derivative):
        forward = lambda x: (log_softmax(x), x)  # noqa: E731
        return check_layer(forward, derivative, x, reference=lambda x: log_softmax(np.float64(x)), rng=seed).verdict

    x = (scale * np.random.default_rng(seed).normal(size=(rows, 3))).astype(np.float32)
    assert verdict(backward) == "pass"
    assert verdict(lambda dy, x: backward(dy, x, 1.01)) == "fail"
    sure = np.exp(log_softmax(np.float64(x))) > 0.99
    if np.any(sure & (np.exp(log_softmax(np.float64(x))) < 1 - 1e-5)):
        assert verdict(lambda dy, x: backward(np.where(sure, -dy, dy), x)) == "fail"
    assert verdict(lambda dy, x: backward(dy, x).astype(np.float32)) != "fail"  # whatever the point


@pytest.mark.parametrize("rows", [4, 8])
@pytest.mark.parametrize("seed", range(4))
def test_what_underflows_in_single_precision_is_no_error(rows, seed):
    """Probabilities down to 1e-60, whose derivatives are less than any number in float32."""

    def backward(dy, p):
        return p * (dy - (dy * p).sum(axis=-1, keepdims=True))

    def verdict(derivative):
        forward = lambda x: (np.exp(log_softmax(x)),) * 2  # noqa: E731
        reference = lambda x: np.exp(log_softmax(np.float64(x)))  # noqa: E731
        return check_layer(forward, derivative, x, reference=reference, rng=seed).verdict

    x = (30 * np.random.default_rng(seed).normal(size=(rows, 3))).astype(np.float32)
    assert verdict(backward) != "fail"
    assert verdict(lambda dy, p: p * (dy - (dy * p).mean(axis=-1, keepdims=True))) == "fail"
    assert verdict(lambda dy, p: 1.01 * backward(dy, p)) == "fail"


@pytest.mark.parametrize("seed", seeds(3))
def test_a_normalised_row_scaled_by_a_gain_of_all_sizes(seed):
    rng = np.random.default_rng(seed)
    gain, x = 10.0 ** np.array([-4.0, 0.0, 2.0, 5.0], np.float32), rng.normal(size=4).astype(np.float32)

    def normalised(x):
        return (x - x.mean()) / np.sqrt(x.var() + np.float32(1e-5))

    def pull(dy, x, factors=1):
        n, d = normalised(x), dy * gain * factors
        return (d - d.mean() - n * (d * n).mean()) / np.sqrt(x.var() + np.float32(1e-5))

    f = lambda x: gain * normalised(x)  # noqa: E731
    assert check_vjp(f, pull, x, rng=seed).verdict == "pass"
    flipped = np.array([-1, 1, 1, 1], np.float32)
    assert check_vjp(f, lambda dy, x: pull(dy, x, flipped), x, rng=seed).verdict == "fail"


def test_an_infinite_output_spoils_no_other():
    x = np.array([0.7, 1.3])
    f = lambda x: np.array([x[0] ** 2, np.inf, 3 * x[1]])  # noqa: E731
    right = lambda t, x: np.array([2 * x[0] * t[0][0], 0.0, 3 * t[0][1]])  # noqa: E731
    wrong = lambda t, x: np.array([2 * x[0] * t[0][0], 0.0, 2 * t[0][1]])  # noqa: E731
    assert "wrong-gradient" not in {finding.code for finding in check_jvp(f, right, x, rng=0).findings}
    assert check_jvp(f, wrong, x, rng=0).parameters["x"].wrong.tolist() == [False, True]


@pytest.mark.parametrize("seed", seeds(2))
def test_rows_of_a_hessian_of_all_sizes(seed):
    scale, x = np.array([1e5, 1.0, 1e-6]), np.random.default_rng(seed).uniform(0.5, 1.0, 3)
    assert check_hvp(lambda x: scale * x**3 / 3, lambda x, v: scale * x**2 * v, x, rng=seed).verdict == "pass"
    twice = np.array([1.0, 1.0, 2.0])
    report = check_hvp(lambda x: scale * x**3 / 3, lambda x, v: twice * scale * x**2 * v, x, rng=seed)
    assert report.parameters["params"].wrong.tolist() == [False, False, True]


@pytest.mark.parametrize("kind", ["vjp", "layer"])
def test_outputs_of_one_size_cost_no_further_cotangent(kind):
    right = Scaled((1.0, 2.0, 3.0), 0, np.float64).check(kind, 0)
    assert right.verdict == "pass" and right.gradient_evaluations <= 8 and right.evaluations <= 2 * 3 + 55


def test_weights_make_changes_or_noise_alike():
    rtol = 1e-3
    assert weights_of(np.array([1.0, 2.0, 0.5]), np.full(3, 1e-7), rtol).shape == (0, 3)
    (row,) = weights_of(np.array([1e6, 1.0]), np.array([1e-2, 1e-7]), rtol)
    assert row[0] * 1e6 == pytest.approx(row[1])
    changes, noise = np.array([1.0, 1.0, 1.0, 0.0]), np.array([1e-6, 1e-2, 0.1, 1.0])
    quiet, noisy = weights_of(changes, noise, rtol)
    assert quiet.astype(bool).tolist() == [True, False, False, False]
    assert noisy[1] * 1e-2 == pytest.approx(noisy[2] * 0.1) and not noisy[[0, 3]].any()


class Normalised:
    """``relu`` of a batch norm, without its own factor, of ``x w + b``: half of the outputs are zero, and ``b`` moves nothing."""

    def __init__(self, scale, seed, dtype):
        rng = np.random.default_rng(seed)
        point = scale * rng.normal(size=(6, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)
        self.x, self.w, self.b = (array.astype(dtype) for array in point)

    def parts(self, x, w, b):
        z = x @ w + b
        centred = z - z.mean(0)
        inverse = 1 / np.sqrt((centred**2).mean(0) + z.dtype.type(1e-5))
        return centred * inverse, inverse

    def through(self, dh, h, inverse):
        return inverse * (dh - dh.mean(0) - h * (dh * h).mean(0))

    def value(self, x, w, b):
        return np.maximum(self.parts(x, w, b)[0], 0)

    def jvp(self, tangents, x, w, b):
        dx, dw, db = tangents
        h, inverse = self.parts(x, w, b)
        return self.through(dx @ w + x @ dw + db, h, inverse) * (h > 0)

    def vjp(self, dy, x, w, b):
        h, inverse = self.parts(x, w, b)
        dz = self.through(dy * (h > 0), h, inverse)
        return dz @ w.T, x.T @ dz, dz.sum(0)


@pytest.mark.parametrize(
    ("scale", "dtype", "error"), [(1e-4, "f8", 1e-3), (1.0, "f8", 1e-3), (30.0, "f8", 1e-3), (1.0, "f4", 1e-2)]
)
@pytest.mark.parametrize("seed", seeds(3))
def test_a_parameter_that_moves_nothing_passes_beside_outputs_that_are_zero(scale, dtype, error, seed):
    layer = Normalised(scale, seed, dtype)
    point, error = (layer.x, layer.w, layer.b), layer.x.dtype.type(error)
    assert check_jvp(layer.value, layer.jvp, *point, rng=seed).verdict == "pass"
    assert check_vjp(layer.value, layer.vjp, *point, rng=seed).verdict == "pass"
    wrong = check_jvp(layer.value, lambda t, x, w, b: layer.jvp(t, x, w, b) + error * t[2], *point, rng=seed)
    assert wrong.verdict == "fail" and wrong.parameters["b"].wrong.any()
    wrong = check_vjp(layer.value, lambda dy, *p: (*layer.vjp(dy, *p)[:2], error * dy.sum(0)), *point, rng=seed)
    assert wrong.verdict == "fail" and wrong.parameters["b"].wrong.any()


POINT = np.array([0.4, -0.7, 0.3])
STEPS = {
    "sign": lambda x: np.sign(x[1]),
    "argmax": lambda x: float(np.argmax(x)),
    "floor": lambda x: np.floor(3 * x[0]),
    "round": lambda x: np.round(2 * x.sum()),
}


def check_beside_step(kind, step, row, seed):
    """Check a function with two smooth outputs and one that jumps, whose row of the Jacobian is claimed to be this."""
    value = lambda x: np.array([np.sin(x[0]), x[1] * x[2], step(x)])  # noqa: E731
    jacobian = lambda x: np.array([[np.cos(x[0]), 0, 0], [0, x[2], x[1]], row])  # noqa: E731
    if kind == "jvp":
        return check_jvp(value, lambda t, x: jacobian(x) @ t[0], POINT, rng=seed)
    if kind == "jacobian":
        return check_jacobian(value, jacobian, POINT, rng=seed)
    if kind == "vjp":
        return check_vjp(value, lambda dy, x: dy @ jacobian(x), POINT, rng=seed)
    return check_layer(lambda x: (value(x), x), lambda dy, x: dy @ jacobian(x), POINT, rng=seed)


@pytest.mark.parametrize("kind", ["jvp", "jacobian", "vjp", "layer"])
@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("seed", seeds(6))
def test_the_jumps_of_an_output_hide_no_claim_for_it(kind, name, seed):
    assert check_beside_step(kind, STEPS[name], [0.0, 0.0, 0.0], seed).verdict == "pass"
    for claimed in (0.1, -10.0, 1000.0):
        for place in range(3):
            row = np.where(np.arange(3) == place, claimed, 0.0)
            assert check_beside_step(kind, STEPS[name], row, seed).verdict != "pass"


@pytest.mark.parametrize("kind", ["jvp", "jacobian"])
@pytest.mark.parametrize("claimed", [0.1, 10.0, 1000.0])
@pytest.mark.parametrize("seed", seeds(6))
def test_an_element_that_makes_no_jump_is_judged_without_it(kind, claimed, seed):
    report = check_beside_step(kind, STEPS["sign"], [claimed, 0.0, 0.0], seed)
    (found,) = report.parameters.values()
    assert report.verdict == "fail" and np.atleast_2d(found.wrong)[-1].tolist() == [True, False, False]


@pytest.mark.parametrize("count", [2, 20])
@pytest.mark.parametrize("edge", [1e-5, 1e-6])
def test_a_small_output_is_judged_where_there_is_no_second_point(edge, count):
    sizes = np.append(np.full(count - 1, 1e8), 1e-3)
    matrix = np.random.default_rng(0).normal(size=(count, count))

    def f(x):
        if np.abs(x - 1).max() > edge:
            raise ValueError("the domain ends here")
        return sizes * np.sin(matrix @ x)

    for factor, verdict in ((1, "pass"), (0, "fail"), (-1, "fail"), (2, "fail")):
        weights = sizes * np.append(np.ones(count - 1), factor)
        report = check_vjp(f, lambda dy, x, w=weights: (matrix.T @ (w * np.cos(matrix @ x) * dy),), np.ones(count))
        assert report.verdict == verdict


def test_none_for_a_cotangent_of_zero_is_zero():
    def vjp(dy, a, b, size):
        return [np.full(3, c * d) if d else None for c, d in zip((1e8, size), dy, strict=True)]

    def f(a, b):
        return np.array([1e8 * a.sum(), 1e-4 * b.sum()])

    for size, verdict in ((1e-4, "pass"), (-1e-4, "fail")):
        assert check_vjp(f, lambda dy, a, b, s=size: vjp(dy, a, b, s), np.ones(3), np.ones(3)).verdict == verdict


# ---- linear maps ------------------------------------------------------------------------------------------------------


def broken_rows(matrix, row):
    """Give the transposed map with gross errors in one row of the matrix."""
    for factor in (-1, 0, 2):
        factors = np.ones((len(matrix), 1), matrix.dtype)
        factors[row] = factor
        yield factors * matrix


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", seeds(3))
def test_a_small_row_of_a_linear_map_is_judged_beside_large_ones(dtype, seed):
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** np.array([8, -8, 3, 0, -4, 6])
    matrix = (sizes[:, None] * rng.normal(size=(6, 5))).astype(dtype)
    x, y = np.ones(5, dtype), np.ones(6, dtype)
    report = check_adjoint(lambda v: matrix @ v, lambda w: w @ matrix, x, y, rng=seed)
    assert report.verdict == "pass" and report.gradient_evaluations == 9
    for row in range(6):
        for wrong in broken_rows(matrix, row):
            assert check_adjoint(lambda v: matrix @ v, lambda w, m=wrong: w @ m, x, y, rng=seed).verdict == "fail"


@pytest.mark.parametrize("seed", seeds(3))
def test_rows_of_half_precision_that_span_its_range_do_not_overflow(seed):
    row = np.array([1e-6, 1, 1e4]).astype(np.float16)
    ones = np.ones(3, np.float16)
    assert check_adjoint(lambda v: row * v, lambda w: row * w, ones, ones, rng=seed).verdict == "pass"
    for place in (1, 2):
        wrong = np.where(np.arange(3) == place, -row, row)
        assert check_adjoint(lambda v: row * v, lambda w, r=wrong: r * w, ones, ones, rng=seed).verdict == "fail"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_map_that_gives_zeros_only_has_an_adjoint(dtype):
    ones = np.ones(3, dtype)
    assert check_adjoint(np.zeros_like, np.zeros_like, ones, ones).verdict == "pass"
    for claim in (ones, ones * np.finfo(dtype).tiny):
        assert check_adjoint(np.zeros_like, lambda w, c=claim: c * w, ones, ones).verdict == "fail"


HALF_MAPS = {
    "dense": lambda n, rng: rng.normal(size=(n, n + 3)),
    "means": lambda n, rng: np.eye(n) - 1 / n,
    "few": lambda n, rng: rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.3),
    "all sizes": lambda n, rng: 10.0 ** rng.uniform(-2, 2, (n, 1)) * rng.normal(size=(n, n)),
}


@pytest.mark.parametrize("name", HALF_MAPS)
@pytest.mark.parametrize("seed", seeds(5))
def test_linear_maps_in_half_precision(name, seed):
    rng = np.random.default_rng(seed)
    matrix = HALF_MAPS[name](int(rng.integers(3, 30)), rng).astype(np.float16)
    rows, columns = matrix.shape
    x, y = rng.normal(size=columns).astype(np.float16), rng.normal(size=rows).astype(np.float16)
    matvec = lambda v: matrix @ v  # noqa: E731
    assert check_adjoint(matvec, lambda w: w @ matrix, x, y, rng=seed).verdict == "pass"
    row = int(np.abs(matrix).max(axis=1).argmax())
    for wrong in (-matrix, 2 * matrix, np.roll(matrix, 1, axis=0), *broken_rows(matrix, row)):
        assert check_adjoint(matvec, lambda w, m=wrong: w @ m, x, y, rng=seed).verdict == "fail"


def test_rounding_of_numbers_too_small_for_half_precision():
    p = np.array([0.9, 0.1, 3e-6, 1e-6, 2e-7], np.float16)

    def saturated(v):
        return p * (v - (p * v).sum(dtype=np.float16))

    for seed in range(20):
        assert check_adjoint(saturated, saturated, p, p, rng=seed).verdict != "fail"
