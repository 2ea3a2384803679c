"""Gradients that are wrong in form, arguments that describe no check, and user functions that misbehave."""

import itertools
import json
import pickle

import numpy as np
import pytest

from gradcheck import InvalidArgument, assert_layer, check_gradient, check_layer
from tests.seeds import seeds


def f(p):
    return float(np.sin(p["a"]).sum() * p["b"])


def grad(p):
    return {"a": np.cos(p["a"]) * p["b"], "b": float(np.sin(p["a"]).sum())}


PARAMS = {"a": np.linspace(0.1, 1.0, 6).reshape(2, 3), "b": 2.0, "steps": 3}


def codes(report):
    return {finding.code for finding in report.findings}


@pytest.mark.parametrize(
    ("claim", "code", "where"),
    [
        (lambda g: {**g, "a": g["a"].T}, "wrong-shape", "a"),
        (lambda g: {**g, "a": g["a"].sum(0)}, "wrong-shape", "a"),
        (lambda g: {**g, "a": g["a"].ravel()}, "wrong-shape", "a"),
        (lambda g: {"a": g["a"]}, "missing-gradient", "b"),
        (lambda g: {**g, "b": None}, "missing-gradient", "b"),
        (lambda g: {**g, "c": 1.0}, "wrong-structure", ""),
        (lambda g: None, "missing-gradient", "a"),
        (lambda g: [g["a"], g["b"]], "wrong-structure", ""),
        (lambda g: {**g, "a": g["a"] * np.nan}, "not-finite", "a"),
        (lambda g: {**g, "a": "text"}, "wrong-type", "a"),
        (lambda g: {**g, "a": g["a"] * (1 + 1j)}, "wrong-dtype", "a"),
    ],
)
def test_a_gradient_of_the_wrong_form_fails_with_a_finding(claim, code, where):
    report = check_gradient(f, lambda p: claim(grad(p)), PARAMS)
    assert report.verdict == "fail" and not report
    assert any(finding.code == code and finding.where == where for finding in report.findings), str(report)


def test_what_the_gradient_gives_for_integers_is_ignored():
    for extra in (None, 5, "text", np.ones(7)):
        assert check_gradient(f, lambda p, e=extra: {**grad(p), "steps": e}, PARAMS).ok
    assert "steps" not in check_gradient(f, grad, PARAMS).parameters


def test_nan_never_passes():
    report = check_gradient(lambda x: float("nan"), lambda x: x, np.ones(2))
    assert report.verdict == "inconclusive"
    report = check_gradient(lambda x: float(x @ x), lambda x: np.array([2.0, np.nan]), np.ones(2))
    assert report.parameters["params"].wrong.tolist() == [False, True]


def test_a_float32_gradient_is_judged_at_its_own_accuracy_with_a_finding():
    report = check_gradient(f, lambda p: {**grad(p), "a": grad(p)["a"].astype(np.float32)}, PARAMS)
    assert report.ok and "coarse-dtype" in codes(report)
    wrong = check_gradient(f, lambda p: {**grad(p), "a": (1.02 * grad(p)["a"]).astype(np.float32)}, PARAMS)
    assert wrong.parameters["a"].wrong.all()


def test_value_and_gradient_from_one_function():
    report = check_gradient(lambda x: (x @ x, 2 * x), True, np.ones(4))
    assert report.ok
    with pytest.raises(InvalidArgument, match="value, gradient"):
        check_gradient(lambda x: x @ x, True, np.ones(4))


@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [
        ((3, grad, PARAMS), {}, "f="),
        ((f, "grad", PARAMS), {}, "grad="),
        ((f, grad, {"a": np.ones(2, int)}), {}, "params"),
        ((f, grad, {}), {}, "params"),
        ((f, grad, {"a": np.array([np.inf])}), {}, "params"),
        ((f, grad, PARAMS), {"rtol": 0.0}, "rtol"),
        ((f, grad, PARAMS), {"rtol": float("nan")}, "rtol"),
        ((f, grad, PARAMS), {"rtol": "1e-3x"}, "rtol"),
        ((f, grad, PARAMS), {"rtol": True}, "rtol"),
        ((f, grad, PARAMS), {"method": "guess"}, "method"),
        ((f, grad, PARAMS), {"max_evaluations": 0}, "max_evaluations"),
        ((f, grad, PARAMS), {"max_evaluations": 2.5}, "max_evaluations"),
        ((f, grad, PARAMS), {"rng": -1}, "rng"),
        ((f, grad, PARAMS), {"rng": "seed"}, "rng"),
        ((f, grad, PARAMS), {"progress": 3}, "progress"),
        ((f, grad, PARAMS), {"vectorized": 1}, "vectorized"),
        ((f, grad, PARAMS), {"tolerance": 1}, "tolerance"),
        ((lambda p: p["a"], grad, PARAMS), {}, "f returned"),
        ((lambda p: "text", grad, PARAMS), {}, "value of f"),
        ((lambda p: 1j, grad, PARAMS), {}, "f returned"),
        ((f, grad, PARAMS), {"vectorized": True}, "vectorized"),
    ],
)
def test_arguments_that_describe_no_check_are_refused_by_name(arguments, options, name):
    with pytest.raises(InvalidArgument, match=name):
        check_gradient(*arguments, **options)


def test_an_exception_of_the_users_function_comes_through_with_a_note():
    class TheirsError(Exception):
        pass

    def broken(x):
        if x[0] != 1.0:
            raise TheirsError("mine")
        return float(x @ x)

    with pytest.raises(TheirsError, match="mine") as caught:
        check_gradient(broken, lambda x: 2 * x, np.ones(2))
    assert "calling f" in caught.value.__notes__[0]


@pytest.mark.filterwarnings("error")
def test_a_point_near_the_largest_float_gives_no_warning():
    report = check_gradient(lambda p: sum(map(float, p)), np.ones_like, np.array([1e308, -1e308, 1.0]))
    assert report.verdict != "fail", str(report)


def test_the_function_may_keep_or_overwrite_what_it_gets():
    kept = []

    def hoards(p):
        kept.append(p)
        return f(p)

    def vandal(p):
        value = f(p)
        p["a"] *= 0
        p["a"] += 7
        return value

    params = {**PARAMS, "a": PARAMS["a"].copy()}
    assert check_gradient(hoards, grad, params).ok
    assert all(abs(p["a"] - PARAMS["a"]).max() < 1 for p in kept) and kept[0]["a"].flags.writeable
    report = check_gradient(vandal, grad, params)
    assert "inputs-changed" in codes(report) and report.verdict == "pass"
    np.testing.assert_array_equal(params["a"], PARAMS["a"])


def test_reports_hold_copies_and_travel():
    report = check_gradient(f, lambda p: {"a": np.full((2, 3), np.nan), "b": grad(p)["b"]}, PARAMS)
    twin = pickle.loads(pickle.dumps(report))  # noqa: S301 - our own bytes
    assert str(twin) == str(report)
    plain = json.loads(report.to_json("all"), parse_constant=lambda c: pytest.fail(f"{c} is not strict JSON"))
    assert plain["verdict"] == "fail" and plain["parameters"]["a"]["claimed"][0][0] == "nan"
    assert "FAIL" in report._repr_html_()


def test_progress_rises_and_ends_with_everything_done():
    seen = []
    check_gradient(f, grad, PARAMS, progress=lambda done, total: seen.append((done, total)))
    done = [pair[0] for pair in seen]
    assert done == sorted(set(done)) and seen[-1][0] == seen[-1][1]


def test_a_gradient_that_was_never_asked_for_is_not_called_wrong():
    both = check_gradient(lambda x: (x @ x, 2 * x), True, np.ones(3), max_evaluations=1)
    layer = check_layer(lambda x: (x**2, x), lambda dy, x: 2 * x * dy, np.ones(3), max_evaluations=1)
    for report in (both, layer):
        assert report.verdict == "inconclusive" and codes(report) == {"undecided-not-probed"}
        assert report.evaluations == 1 and all(p.undecided.all() for p in report.parameters.values())


# ---- layers -------------------------------------------------------------------------------------------------------


def scale_forward(x, gain):
    return x * gain, (x, gain)


def scale_backward(dy, cache):
    x, gain = cache
    return dy * gain, (dy * x).sum(axis=0)


X, GAIN = np.linspace(-1, 2, 12).reshape(4, 3), np.array([0.5, 2.0, -1.0])


def test_a_right_layer_passes_and_inputs_are_named_after_the_signature():
    report = assert_layer(scale_forward, scale_backward, X, GAIN)
    assert list(report.parameters) == ["x", "gain"]
    assert list(check_layer(lambda *args: scale_forward(*args), scale_backward, X, GAIN).parameters) == ["x0", "x1"]


@pytest.mark.parametrize(
    ("backward", "code"),
    [
        (lambda dy, c: (np.ones_like(dy) * c[1], c[0].sum(0)), "upstream-ignored"),
        (lambda dy, c: (dy * c[1] + 1, (dy * c[0]).sum(0)), "zero-upstream"),
        (lambda dy, c: (dy**2 * c[1], (dy * c[0]).sum(0)), "not-linear"),
        (lambda dy, c: (dy * c[1], dy * c[0]), "wrong-shape"),
        (lambda dy, c: (dy * c[1], (dy * c[0]).mean(0)), "wrong-gradient"),
        (lambda dy, c: dy * c[1], "wrong-structure"),
        (lambda dy, c: scale_backward(np.multiply(dy, 2, out=dy) / 2, c), "upstream-changed"),
        (lambda dy, c: scale_backward(dy, (np.multiply(c[0], 1.5, out=c[0]), c[1])), "inputs-changed"),
    ],
    ids=[
        "ignores upstream",
        "adds one",
        "squares",
        "broadcast sum missing",
        "mean",
        "one for two",
        "upstream",
        "inputs",
    ],
)
def test_faults_of_a_backward_are_named(backward, code):
    report = check_layer(scale_forward, backward, X, GAIN)
    assert report.verdict == "fail" and code in codes(report), str(report)


def test_accumulation_on_the_second_call_is_seen():
    total = {"x": 0.0, "gain": 0.0}

    def accumulates(dy, cache):
        dx, dgain = scale_backward(dy, cache)
        total["gain"] = total["gain"] + dgain
        return dx, total["gain"]

    assert "accumulates" in codes(check_layer(scale_forward, accumulates, X, GAIN))


def test_none_is_not_differentiated_and_said():
    report = check_layer(scale_forward, lambda dy, c: (dy * c[1], None), X, GAIN)
    assert report.ok and list(report.parameters) == ["x"] and any("gain" in spot for spot in report.blind_spots)
    assert check_layer(scale_forward, lambda dy, c: (None, None), X, GAIN).verdict == "inconclusive"
    assert check_layer(scale_forward, lambda dy, c: None, X, GAIN).verdict == "inconclusive"


def test_a_single_gradient_comes_bare_or_as_a_tuple_of_one():
    for wrap in (lambda g: g, lambda g: (g,)):
        assert check_layer(lambda x: (np.tanh(x), x), lambda dy, x, w=wrap: w(dy / np.cosh(x) ** 2), X).ok


def test_the_upstream_has_exactly_the_form_of_y():
    seen = []

    def backward(dy, x):
        seen.append((dy.shape, dy.dtype, dy.flags.writeable))
        return 2 * dy

    assert check_layer(lambda x: (2 * x, x), backward, X.astype(np.float32)).ok
    assert set(seen) == {((4, 3), np.dtype(np.float32), True)}


def test_a_forward_without_cache_is_refused():
    with pytest.raises(InvalidArgument, match=r"\(y, cache\)"):
        check_layer(np.tanh, lambda dy, c: dy, X)


def test_empty_axes_are_checked_like_any_other():
    report = check_layer(scale_forward, scale_backward, np.zeros((0, 3)), GAIN)
    assert report.ok and report.parameters["x"].wrong.shape == (0, 3)


# ---- state and memory ------------------------------------------------------------------------------------------------


def keeps_first(right):
    kept = []

    def claim(*arguments):
        if not kept:
            kept.append(right(*arguments))
        return kept[0]

    return claim


def lags(right):
    """Gives what it was asked for the time before, like a layer that reads what an earlier forward left."""
    kept = []

    def claim(*arguments):
        kept.append(right(*arguments))
        return kept[max(0, len(kept) - 2)]

    return claim


def cube(x):
    return float((x**3).sum())


def cube_gradient(x):
    return 3 * x**2


POINT = np.linspace(0.5, 2.0, 6).reshape(2, 3)
NOISE, TOTAL, BUFFER = np.random.default_rng(0), np.zeros((2, 3)), np.zeros((2, 3))


@pytest.mark.parametrize(
    ("claim", "code"),
    [
        (keeps_first(cube_gradient), "stale-gradient"),
        (lags(cube_gradient), "stale-gradient"),
        (lambda x: cube_gradient(x) * (1 + 1e-3 * NOISE.normal()), "second-call-differs"),
        (lambda x: np.add(TOTAL, cube_gradient(x), out=TOTAL).copy(), "accumulates"),
        (lambda x: np.multiply(cube_gradient(x), 1, out=BUFFER), "buffer-reused"),
        (lambda x: 3 * np.frombuffer(x.tobytes("A")).reshape(x.shape) ** 2, "layout-dependent"),
        (lambda x: (x.__imul__(1.001), cube_gradient(x))[1], "inputs-changed"),
    ],
    ids=["kept", "lags", "random", "accumulates", "buffer", "layout", "inputs"],
)
def test_state_and_memory_of_a_gradient(claim, code):
    report = check_gradient(cube, claim, POINT)
    assert report.verdict == "fail" and report.findings[0].code == code, str(report)


def test_a_leaf_of_zeros_beside_small_ones_moves_to_the_second_point():
    """One step from zeros: the gradient of ``b`` hardly changes with ``b``, and only zeros that move show that it is kept."""
    point = {"a": np.zeros(3), "b": np.full(3, 2e-3)}
    slope = lambda p: {"a": np.cos(p["a"] + p["b"]) + p["a"], "b": np.cos(p["a"] + p["b"])}  # noqa: E731
    report = check_gradient(lambda p: np.sum(np.sin(p["a"] + p["b"]) + p["a"] ** 2 / 2), keeps_first(slope), point)
    assert report.verdict == "fail" and "stale-gradient" in codes(report)


def test_a_right_constant_passes_and_is_said():
    report = check_gradient(cube, lambda x: cube_gradient(POINT), POINT)
    assert report.ok and codes(report) == {"constant-gradient"}
    assert not check_gradient(lambda x: float(x.sum()), lambda x: np.ones((2, 3)), POINT).findings
    assert check_gradient(
        lambda x: float(np.abs(x - 1).max()), lambda x: np.eye(2, 3)[::-1] * 0 + [[0, 0, 0], [0, 0, 1]], POINT
    ).ok


def test_a_constant_valid_at_a_kink_alone_is_not_said_to_be_stale():
    report = check_gradient(lambda x: float(np.abs(x - POINT).sum()), lambda x: np.full((2, 3), 0.5), POINT)
    assert report.ok and not report.findings


class Counting:
    """A function that depends on how many calls were made before."""

    def __init__(self, term):
        self.calls, self.term = 0, term

    def __call__(self, x):
        self.calls += 1
        return cube(x) + self.term(self.calls)


NOT_THE_SAME = {
    "a counter": lambda n: 1e-6 * n,
    "a slow drift": lambda n: 1e-9 * n,
    "a warm start": lambda n: 0.1 * 0.9**n,
    "a step size that decays": lambda n: 1 / n,
    "one that alternates": lambda n: 1e-4 * (n % 2),
    "one that changes later": lambda n: 1e-3 * (n > 12),
    "random": lambda n: 1e-8 * np.random.default_rng(n).normal(),
}


@pytest.mark.parametrize("term", NOT_THE_SAME.values(), ids=NOT_THE_SAME)
@pytest.mark.parametrize("factor", [1, -1, 0])
def test_a_function_that_is_not_deterministic_is_inconclusive(term, factor):
    report = check_gradient(Counting(term), lambda x: factor * cube_gradient(x), POINT)
    assert report.verdict == "inconclusive" and report.findings[0].code == "f-not-deterministic", str(report)


def test_a_running_mean_is_inconclusive():
    mean = np.zeros(3)

    def forward(x):
        mean[:] = 0.99 * mean + 0.01 * x.mean(axis=0)
        return x - mean, None

    for factor in (1, -1, 0):
        report = check_layer(forward, lambda dy, _, factor=factor: factor * dy, np.ones((4, 3)))
        assert report.verdict == "inconclusive" and report.findings[0].code == "f-not-deterministic", str(report)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_that_changes_from_call_to_call_is_noise(dtype):
    rng, terms = np.random.default_rng(0), np.random.default_rng(1).normal(size=3000).astype(dtype)

    def f(x):  # as a sum on several threads, in any order
        return np.cumsum(rng.permutation(terms) * x[0])[-1] + np.sum(np.sin(x))

    def gradient(x):
        return np.cos(x) + np.array([terms.sum(), 0, 0], dtype=dtype)

    x = np.array([0.5, 1.0, 1.5], dtype=dtype)
    assert check_gradient(f, gradient, x).ok
    assert check_gradient(f, lambda x: -gradient(x), x).verdict == "fail"


@pytest.mark.parametrize("seed", [21, 22, 24, 27, 32])
def test_a_wrong_slope_with_a_kink_at_both_points_is_not_said_to_be_stale(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4, 5)) * (rng.random((4, 5)) > 0.15)
    report = check_layer(lambda x: (np.where(x > 0, x, 0.2 * x), x), lambda dy, x: dy * np.where(x > 0, 1.0, 0.01), x)
    assert report.verdict == "fail" and "stale-gradient" not in codes(report), str(report)


@pytest.mark.parametrize("seed", [30, 50, 85, 96])
def test_a_wrong_constant_in_noise_is_not_said_to_be_stale(seed):
    rng = np.random.default_rng(seed)
    a, offset = (10 * rng.normal(size=(50, 6))).astype(np.float32), (1e4 * rng.normal(size=50)).astype(np.float32)
    x = rng.normal(size=6).astype(np.float32)
    report = check_layer(lambda x: (a @ x + offset, None), lambda dy, _: np.float32(1.02) * (dy @ a), x)
    assert report.verdict == "fail" and "stale-gradient" not in codes(report), str(report)


def test_a_random_function_is_named():
    rng = np.random.default_rng(0)
    report = check_gradient(lambda x: cube(x) + 1e-3 * rng.normal(), cube_gradient, POINT)
    assert codes(report) == {"f-not-deterministic"}
    report = check_layer(lambda x: (x * (rng.random(x.shape) < 0.5), x), lambda dy, x: dy, POINT)
    assert "f-not-deterministic" in codes(report) and not report.ok


@pytest.mark.parametrize(
    ("backward", "where"),
    [
        (lambda dy, c: (dy, dy), {"a", "b"}),
        (lambda dy, c: (dy.copy(), dy), {"b"}),
        (lambda dy, c: (c[0], 2 * dy), {"a"}),
        (lambda dy, c: tuple([dy.copy()] * 2), {"b"}),
    ],
    ids=["both the upstream", "one the upstream", "the cache", "each other"],
)
def test_shared_memory_is_said_and_fails_no_gradient(backward, where):
    def forward(a, b):
        return (a + b if backward(1.0 * a, (a, b))[0] is not a else a * a / 2 + 2 * b), (a, b)

    def scaled(dy, cache):
        return backward(dy, cache)

    report = check_layer(forward, scaled, POINT, POINT + 1)
    shared = {finding.where for finding in report.findings if finding.code == "shares-memory"}
    assert shared == where, str(report)


class Linear:
    """A product of matrices, as a layer with state of its own."""

    def __init__(self):
        self.kept = None
        self.buffer = np.zeros((4, 3))
        self.total = 0.0

    def forward(self, x, w):
        return x @ w, (x, w)

    def backward(self, dy, cache):
        x, w = cache
        return dy @ w.T, x.T @ dy


class KeepsItsState(Linear):
    def forward(self, x, w):
        self.kept = x.copy(), w.copy()
        return x @ w, None

    def backward(self, dy, cache):
        return super().backward(dy, self.kept)


class KeepsTheFirst(KeepsItsState):
    def forward(self, x, w):
        self.kept = self.kept or (x.copy(), w.copy())
        return x @ w, None


class ReusesABuffer(Linear):
    def backward(self, dy, cache):
        return np.matmul(dy, cache[1].T, out=self.buffer), cache[0].T @ dy


class AddsUp(Linear):
    def backward(self, dy, cache):
        dx, dw = super().backward(dy, cache)
        self.total = self.total + dw
        return dx, self.total


class UsesUpItsCache(Linear):
    def forward(self, x, w):
        return x @ w, (x.copy(), w)

    def backward(self, dy, cache):
        gradients = super().backward(dy, cache)
        cache[0][:] *= 1.5
        return gradients


class ReadsRawMemory(Linear):
    def backward(self, dy, cache):
        return super().backward(np.frombuffer(dy.tobytes("A")).reshape(dy.shape), cache)


class Drops(Linear):
    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def forward(self, x, w):
        dropped = x * (self.rng.random(x.shape) < 0.5)
        return dropped @ w, (dropped, w)


class IsRandomInBackward(Linear):
    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def backward(self, dy, cache):
        return super().backward(dy * (1 + 1e-4 * self.rng.normal()), cache)


@pytest.mark.parametrize(
    ("layer", "verdict", "code"),
    [
        (Linear, "pass", None),
        (KeepsItsState, "pass", None),
        (KeepsTheFirst, "fail", "stale-gradient"),
        (ReusesABuffer, "fail", "buffer-reused"),
        (AddsUp, "fail", "accumulates"),
        (UsesUpItsCache, "fail", "cache-changed"),
        (ReadsRawMemory, "fail", "layout-dependent"),
        (Drops, "inconclusive", "f-not-deterministic"),
        (IsRandomInBackward, "fail", "second-call-differs"),
    ],
)
def test_state_and_memory_of_a_layer(layer, verdict, code):
    rng, made = np.random.default_rng(3), layer()
    report = check_layer(made.forward, made.backward, rng.normal(size=(4, 3)), rng.normal(size=(3, 2)))
    assert report.verdict == verdict, str(report)
    assert [finding.code for finding in report.findings[:1]] == ([code] if code else []), str(report)


@pytest.mark.parametrize("error", [ValueError("no"), TypeError("strides")])
def test_a_layout_that_is_refused_is_said_and_fails_no_gradient(error):
    def picky(x):
        if not x.flags.c_contiguous:
            raise error
        return cube(x)

    report = check_gradient(picky, cube_gradient, POINT)
    assert report.ok and not report.findings and any("negative strides" in spot for spot in report.blind_spots)


def test_a_function_that_fails_away_from_the_point_is_checked_there_alone():
    def narrow(x):
        if np.any(np.abs(x - POINT) > 1e-2):
            raise RuntimeError("too far")
        return cube(x)

    assert check_gradient(lambda x: cube(x), cube_gradient, POINT).ok
    with pytest.raises(RuntimeError, match="too far"):
        check_gradient(narrow, cube_gradient, POINT)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda dx, dw: dx, "backward returned an ndarray; a tuple of 2 (x, w) was required"),
        (lambda dx, dw: (dx,), "backward returned a tuple of 1; a tuple of 2 (x, w) was required"),
        (lambda dx, dw: [dx, dw, dx], "backward returned a list of 3; a tuple of 2 (x, w) was required"),
        (lambda dx, dw: {"x": dx, "w": dw}, "backward returned a dict; a tuple of 2 (x, w) was required"),
    ],
)
def test_what_is_no_tuple_of_gradients_is_named(given, message):
    layer, rng = Linear(), np.random.default_rng(3)
    report = check_layer(
        layer.forward, lambda dy, c: given(*layer.backward(dy, c)), rng.normal(size=(4, 3)), rng.normal(size=(3, 2))
    )
    assert report.verdict == "fail" and report.findings[0].message == message
    assert all(parameter.wrong.all() for parameter in report.parameters.values())


def test_nothing_is_measured_where_the_function_is_not_finite():
    report = check_gradient(lambda x: float("nan"), lambda x: 1.0 * x, POINT)
    assert report.verdict == "inconclusive" and report.findings[0].code == "value-not-finite"
    assert report.evaluations < 20 and report.parameters["params"].undecided.all()


class Tape:
    """Keeps the point at which it was called last."""

    def __init__(self):
        self.at = None

    def __call__(self, x):
        self.at = np.array(x)
        return np.sum(self.at**3)

    def derivative(self, x):
        return 3 * self.at**2

    def own(self, x):
        self(x)
        return 3 * self.at**2


def test_a_gradient_of_the_point_of_the_last_call_is_a_remark():
    tape = Tape()
    report = check_gradient(tape, tape.derivative, POINT)
    assert report.ok and codes(report) == {"last-point-gradient"}, str(report)
    assert "call f first" in report.findings[0].message


def test_a_gradient_that_evaluates_at_its_argument_has_no_remark():
    tape = Tape()
    report = check_gradient(tape, tape.own, POINT)
    assert report.ok and not report.findings, str(report)
    assert check_gradient(tape, lambda x: 2 * tape.derivative(x), POINT).verdict == "fail"


@pytest.mark.parametrize("period", [10, 20, 30])
@pytest.mark.parametrize("factor", [-1.0, 1.01])
def test_a_function_that_is_off_at_every_so_many_calls_passes_nothing(period, factor):
    """Its values at those calls look like kinks, whose gradients would make any claim valid."""
    x, calls = np.random.default_rng(period).normal(size=5), itertools.count(1)

    def f(x):
        return float(np.sum(np.sin(x)) + x[0] * x[1] + (next(calls) % period == 0))

    claim = np.cos(x) + np.array([x[1], x[0], 0, 0, 0])
    claim[3] *= factor
    report = check_gradient(f, claim, x)
    assert report.verdict == "inconclusive", str(report)
    assert period == 10 or report.findings[0].code == "f-not-deterministic", str(report)  # then no step shows anything


def glitching(period, size):
    """A smooth function that adds something at every ``period``-th call."""
    calls = [0]

    def f(x):
        calls[0] += 1
        return float(np.sum(np.sin(x)) + x[0] * x[1]) + size * (calls[0] % period == 0)

    return f


def slopes(x):
    return np.cos(x) + np.r_[x[1], x[0], np.zeros(len(x) - 2)]


@pytest.mark.parametrize("seed", seeds(3))
@pytest.mark.parametrize(("period", "size"), [(20, 1.0), (37, 1e-3), (50, 1.0), (64, 1e-2)])
def test_a_function_that_is_off_at_a_few_calls_never_passes(period, size, seed):
    x = np.random.default_rng(seed).normal(size=30)
    report = check_gradient(glitching(period, size), slopes, x)
    assert report.verdict == "inconclusive", str(report)
    assert "f-not-deterministic" in {finding.code for finding in report.findings}


@pytest.mark.parametrize("seed", seeds(6, quick=2))
@pytest.mark.parametrize("period", [50, 64, 100])
def test_a_value_that_is_off_makes_no_kink(period, seed):
    """Among the slopes near by that clear a claim one may be that of a glitch."""
    x = np.random.default_rng(seed).normal(size=5)
    for element in (0, 3):
        claim = slopes(x)
        claim[element] *= -1
        assert not check_gradient(glitching(period, 1.0), claim, x).ok


@pytest.mark.parametrize("period", [3, 5, 7, 11])
@pytest.mark.parametrize("count", [5, 25, 45])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_function_that_is_off_so_often_that_it_looks_noisy_never_passes(period, count, dtype):
    x = np.random.default_rng(count).normal(size=count).astype(dtype)
    calls = itertools.count(1)
    report = check_gradient(lambda x: np.sin(x).sum() + dtype(1e-2) * (next(calls) % period == 0), np.cos, x)
    assert report.verdict == "inconclusive", str(report)
