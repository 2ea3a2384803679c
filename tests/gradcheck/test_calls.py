"""The call as people write it: further arguments, some parameters only, arrays displaced in place, and natural mistakes."""

import array
import contextlib

import numpy as np
import pytest

from gradcheck import (
    InvalidArgument,
    check_adjoint,
    check_chain,
    check_gradient,
    check_hessian,
    check_hvp,
    check_jacobian,
    check_jvp,
    check_layer,
    check_vjp,
    compare,
    mutation_score,
    numerical_gradient,
    numerical_jacobian,
)

RNG = np.random.default_rng(7)
X, W = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 2))
V = RNG.normal(size=4)


def codes(report):
    return [finding.code for finding in report.findings]


# ---- further arguments ----------------------------------------------------------------------------------------------


def scaled(x, a, b=2.0):
    return (x**3).sum() * a * b


def of_scaled(x, a, b=2.0):
    return 3 * x**2 * a * b


@pytest.mark.parametrize(
    "given",
    [
        {"args": (2.0,)},
        {"args": [2.0]},
        {"args": 2.0},
        {"args": (2.0, 3.0)},
        {"args": (2.0,), "kwargs": {"b": 3.0}},
        {"kwargs": {"a": 1.5}},
    ],
    ids=str,
)
def test_further_arguments_reach_both_functions(given):
    assert check_gradient(scaled, of_scaled, V, **given)
    assert check_gradient(scaled, lambda x, *a, **k: 1.1 * of_scaled(x, *a, **k), V, **given).verdict == "fail"
    both = lambda x, *a, **k: (scaled(x, *a, **k), of_scaled(x, *a, **k))  # noqa: E731
    assert check_gradient(both, True, V, **given)


def test_the_reference_gets_them_too():
    point = V.astype(np.float32)
    assert check_gradient(scaled, of_scaled, point, args=(2.0,), kwargs={"b": 3.0}, reference=scaled)
    assert (
        check_gradient(
            scaled, lambda x, a, b: of_scaled(x, a), point, args=(2.0,), kwargs={"b": 3.0}, reference=scaled
        ).verdict
        == "fail"
    )


def test_keyword_arguments_of_the_other_checks():
    forward = lambda x, w, stride=1: (stride * (x @ w), (x, w, stride))  # noqa: E731
    backward = lambda dy, c: (c[2] * dy @ c[1].T, c[2] * c[0].T @ dy)  # noqa: E731
    report = check_layer(forward, backward, X, W, kwargs={"stride": 2})
    assert report and list(report.parameters) == ["x", "w"]
    assert check_layer(forward, lambda dy, c: (dy @ c[1].T, c[0].T @ dy), X, W, kwargs={"stride": 2}).verdict == "fail"
    assert check_vjp(lambda x, s=1: x * s, lambda dy, x, s=1: dy * s, X, kwargs={"s": 2})
    assert check_vjp(lambda x, s=1: x * s, lambda dy, x, s=1: dy, X, kwargs={"s": 2}).verdict == "fail"
    assert check_jvp(lambda x, s=1: x * s, lambda t, x, s=1: t[0] * s, X, kwargs={"s": 2})
    assert check_hvp(lambda x, s=1: s * x**2, lambda x, v, s=1: 2 * s * x * v, V, kwargs={"s": 2})
    assert check_hvp(lambda x, s=1: s * x**2, lambda x, v, s=1: s * x * v, V, kwargs={"s": 2}).verdict == "fail"


def test_keyword_arguments_that_are_none_are_refused():
    for bad in (3, [("a", 1)], {1: 2}):
        with pytest.raises(InvalidArgument, match="kwargs="):
            check_gradient(scaled, of_scaled, V, kwargs=bad)


# ---- some parameters only -------------------------------------------------------------------------------------------

TREE = {"W": W, "W*": np.array([0.5]), "X": X, "layers": [{"w": V}, {"w": 2 * V}]}


def f(p):
    return ((p["X"] @ p["W"]) ** 2).sum() * p["W*"][0] + (p["layers"][0]["w"] ** 2).sum() * p["layers"][1]["w"].sum()


def grad(p):
    u, v = p["layers"][0]["w"], p["layers"][1]["w"]
    y = p["X"] @ p["W"]
    return {
        "W": 2 * p["W*"][0] * p["X"].T @ y,
        "W*": np.array([(y**2).sum()]),
        "X": 2 * p["W*"][0] * y @ p["W"].T,
        "layers": [{"w": 2 * u * v.sum()}, {"w": np.full(4, (u**2).sum())}],
    }


@pytest.mark.parametrize(
    ("wrt", "names"),
    [
        ("W", ["W"]),
        ("W*", ["W*"]),
        (["W?", "X"], ["W*", "X"]),
        ("layers*", ["layers[0].w", "layers[1].w"]),
        ("layers[1].*", ["layers[1].w"]),
        ("layers[0]", ["layers[0].w"]),
        (("*",), ["W", "W*", "X", "layers[0].w", "layers[1].w"]),
        ("[WX]", ["W", "X"]),
    ],
)
def test_only_what_is_named_is_checked(wrt, names):
    report = check_gradient(f, grad, TREE, wrt=wrt)
    assert report and list(report.parameters) == names
    assert check_gradient(f, lambda p: {**grad(p), "W": -grad(p)["W"]}, TREE, wrt=wrt).ok == ("W" not in names)


def test_the_rest_needs_no_gradient_and_it_is_said():
    point = {"a": V, "b": np.array([np.nan, 1.0])}
    report = check_gradient(lambda p: (p["a"] ** 2).sum(), lambda p: {"a": 2 * p["a"]}, point, wrt="a")
    assert report and any("b: held fixed, as wrt= asks" in spot for spot in report.blind_spots)
    assert check_layer(lambda x, w: (x @ w, (x, w)), lambda dy, c: c[0].T @ dy, X, W, wrt="w")
    assert check_layer(lambda x, w: (x @ w, (x, w)), lambda dy, c: (None, c[0].T @ dy), X, W, wrt="w")
    assert check_layer(lambda x, w: (x @ w, (x, w)), lambda dy, c: -c[0].T @ dy, X, W, wrt="w").verdict == "fail"


def test_where_only_some_have_a_gradient_the_option_is_named():
    def told(given):
        report = check_gradient(lambda p: (p["a"] ** 2).sum() + p["b"] ** 3, lambda p: given, {"a": V, "b": 1.5})
        return [finding.where for finding in report.findings if "wrt=" in finding.message]

    assert told({"a": 2 * V}) == ["b"]
    assert told({"da": 2 * V}) == told(None) == []


def test_tangents_of_the_rest_are_zero():
    def jvp(tangents, x, w):
        assert not tangents[0].any() and tangents[0].dtype == np.float32
        return tangents[0] @ w + x @ tangents[1]

    assert check_jvp(lambda x, w: x @ w, jvp, X.astype(np.float32), W, wrt="w")

    def hvp(p, v):
        assert not v["b"].any()
        return {"a": 2 * v["a"]}

    assert check_hvp(lambda p: {"a": 2 * p["a"], "b": 3 * p["b"]}, hvp, {"a": V, "b": V}, wrt="a")


@pytest.mark.parametrize("wrt", ["Q*", "", ["W", "Q"], 3, [], [3]])
def test_names_that_fit_nothing_are_refused_with_a_list(wrt):
    with pytest.raises(InvalidArgument, match=r"there are W, W\*, X, layers\[0\].w"):
        check_gradient(f, grad, TREE, wrt=wrt)


# ---- a gradient at hand ---------------------------------------------------------------------------------------------


def test_a_gradient_that_is_already_computed():
    report = check_gradient(f, grad(TREE), TREE)
    assert report and report.gradient_evaluations == 0
    assert any("given as numbers" in spot for spot in report.blind_spots)
    assert check_gradient(f, {**grad(TREE), "X": 1.01 * grad(TREE)["X"]}, TREE).verdict == "fail"
    assert check_gradient(f, {"W": grad(TREE)["W"]}, TREE).verdict == "fail"
    assert check_gradient(lambda x: x**2, 3.0, 1.5) and not check_gradient(lambda x: x**2, 2.0, 1.5)
    assert check_gradient(lambda x: x[0] * x[1], [3.0, 2.0], [2.0, 3.0])


def test_a_float32_gradient_at_hand_is_judged_at_its_own_accuracy():
    x = RNG.normal(size=(64, 8)).astype(np.float32)
    bias = RNG.normal(size=8).astype(np.float32)
    g = RNG.normal(size=(64, 8))

    def loss(b):
        h = x + b
        return (g * (h - h.mean(0)) / h.std(0)).sum()

    residue = np.full(8, 1e-6, np.float32)  # the true gradient is zero, and what float32 leaves of it is not
    assert check_gradient(loss, residue, bias).verdict != "fail"
    assert check_gradient(lambda w: ((x @ w) ** 2).sum(), (2 * x.T @ (x @ bias)), bias)
    assert check_gradient(lambda w: ((x @ w) ** 2).sum(), -(2 * x.T @ (x @ bias)), bias).verdict == "fail"


# ---- functions that read other arrays than their argument -------------------------------------------------------------


class Net:
    def __init__(self):
        self.params = {"W": RNG.normal(size=(3, 2)), "b": RNG.normal(size=2), "n": np.arange(2)}

    def loss(self):
        h = np.tanh(X @ self.params["W"] + self.params["b"])
        return h.sum(), {"W": X.T @ (1 - h**2), "b": (1 - h**2).sum(0)}


def test_a_saturated_function_ignores_nothing():
    """Its slope, 1e-304 at most, would change no bit of it wherever it is called."""
    x = np.array([300.0, -400.0, -1000.0])

    def softmax(x):
        return np.exp(x - x.max()) / np.exp(x - x.max()).sum()

    def grad(x):
        s = softmax(x)
        return 2 * s * (s - s @ s)

    assert np.any(grad(x) != 0)
    report = check_gradient(lambda x: softmax(x) @ softmax(x), grad, x)
    assert "f-ignores-params" not in codes(report) and report.verdict != "fail"
    wrong = check_gradient(lambda x: softmax(x) @ softmax(x), lambda x: grad(x) + 1e-6 * x, x)
    assert wrong.verdict != "pass"


@pytest.mark.parametrize("number", [float, np.float32])
def test_a_change_that_single_precision_loses_ignores_nothing(number):
    """The slope of 1e-9 is lost beside 1e4, whose spacing is 1e-3, also where it came as a Python number."""
    x = np.linspace(0.2, 0.9, 12, dtype=np.float32)
    report = check_gradient(lambda x: number(np.float32(1e4) + np.float32(1e-9) * x.sum()), np.full_like(x, 1e-9), x)
    assert "f-ignores-params" not in codes(report) and report.verdict != "fail"


@pytest.mark.parametrize("grad", [True, "function", "tree"])
def test_a_function_that_ignores_its_argument(grad):
    net = Net()
    f = (lambda p: net.loss()) if grad is True else (lambda p: net.loss()[0])
    claim = {"function": lambda p: net.loss()[1], "tree": net.loss()[1]}.get(grad, True)
    report = check_gradient(f, claim, net.params)
    assert report.verdict == "inconclusive" and codes(report)[0] == "f-ignores-params" and report.evaluations <= 20
    assert "use its argument" in report.findings[0].message and "in_place=True" in report.findings[0].message
    kept = {name: array.copy() for name, array in net.params.items()}
    assert check_gradient(f, claim, net.params, in_place=True)
    assert all(np.array_equal(net.params[name], kept[name]) for name in kept)


def test_a_wrong_gradient_in_place():
    net = Net()
    wrong = lambda p: {**net.loss()[1], "b": 2 * net.loss()[1]["b"]}  # noqa: E731
    report = check_gradient(lambda p: net.loss()[0], wrong, net.params, in_place=True)
    assert report.verdict == "fail" and report.findings[0].where == "b"


def test_what_a_claim_of_zero_says_of_a_function_that_ignores_its_argument():
    assert check_gradient(lambda x: 3.0, np.zeros_like, V).verdict != "fail"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, MemoryError])
@pytest.mark.parametrize("at", [1, 2, 9, 40])
def test_arrays_are_restored_whatever_happens(error, at):
    arrays = {"a": RNG.normal(size=(4, 5))[::2, ::-1], "b": np.array([1e-310, -0.0, np.pi])}
    kept = {name: array.tobytes() for name, array in arrays.items()}
    calls = []

    def f(_):
        calls.append(1)
        if len(calls) >= at:
            arrays["b"][0] = 7.0
            raise error
        return (arrays["a"] ** 2).sum() + arrays["b"].sum()

    with contextlib.suppress(error):
        check_gradient(f, lambda _: {"a": 2 * arrays["a"], "b": np.ones(3)}, arrays, in_place=True)
    assert {name: array.tobytes() for name, array in arrays.items()} == kept


def test_a_function_that_writes_into_the_arrays_in_place_is_seen():
    x = np.array([1.0, 2.0])

    def gradient(_):
        made = 2 * x
        x[0] += 1.0
        return made

    report = check_gradient(lambda _: (x**2).sum(), gradient, x, in_place=True)
    assert "inputs-changed" in codes(report) and x.tolist() == [1.0, 2.0]


def test_what_cannot_be_displaced_in_place_is_refused():
    fixed = np.ones(3)
    fixed.flags.writeable = False
    both = np.ones(4)
    for point, options, words in [
        (fixed, {}, "cannot be written"),
        ({"a": 1.0}, {}, "is a float"),
        ([1.0, 2.0], {}, "is a list"),
        ({"a": both, "b": both[1:]}, {}, "same memory"),
        (V, {"workers": 2}, "workers="),
        (V, {"vectorized": True}, "vectorized="),
        (V, {"reference": np.sum}, "reference="),
    ]:
        with pytest.raises(InvalidArgument, match=words):
            check_gradient(lambda p: 1.0, lambda p: p, point, in_place=True, **options)


# ---- natural mistakes -----------------------------------------------------------------------------------------------


def test_value_and_gradient_where_one_of_them_was_asked_for():
    both = lambda x: ((x**2).sum(), 2 * x)  # noqa: E731
    with pytest.raises(InvalidArgument, match="pass grad=True"):
        check_gradient(both, lambda x: 2 * x, V)
    report = check_gradient(lambda x: (x**2).sum(), both, V)
    assert report.verdict == "fail" and "grad=True" in report.findings[0].message
    assert check_gradient(
        lambda p: p[0] * p[1].sum(), lambda p: (p[1].sum(), np.full(4, p[0])), (1.5, V)
    )  # no such pair


def square_and(x):
    return (x**2).sum(), {"x": x}


@pytest.mark.parametrize(
    ("f", "grad", "words"),
    [
        (square_and, lambda x: 2 * x, "f returned a number and a dict"),
        (square_and, lambda x: (2 * x, {"x": x}), "f returned a number and a dict"),
        (lambda x: (2 * x, (x**2).sum()), lambda x: 2 * x, r"f returned \(gradient, value\)"),
        (lambda x: (square_and(x), 2 * x), lambda x: 2 * x, r"f returned \(\(value, a dict\), gradient\)"),
        (lambda x: (square_and(x), 2 * x), True, r"it returned \(\(value, a dict\), gradient\)"),
        (lambda x: (2 * x, (x**2).sum()), True, r"it returned \(gradient, value\)"),
        (lambda x: (2 * x, {"x": x}), True, r"it returned \(gradient, a dict\)"),
    ],
)
def test_what_comes_beside_value_and_gradient_is_told(f, grad, words):
    with pytest.raises(InvalidArgument, match=words):
        check_gradient(f, grad, V)


@pytest.mark.parametrize("point", [V, {"w": V, "b": 2.0}, (1.5, V)])
def test_what_comes_beside_a_gradient_is_told(point):
    flat = lambda p: np.concatenate([np.ravel(part) for part in (p.values() if isinstance(p, dict) else p)])  # noqa: E731
    f = lambda p: float((flat(p) ** 2).sum())  # noqa: E731

    def grad(p):
        if isinstance(p, dict):
            return {name: 2 * part for name, part in p.items()}
        return 2 * p if p is V or isinstance(p, np.ndarray) else tuple(2 * part for part in p)

    assert check_gradient(f, grad, point).ok
    for beside, words in [
        (lambda p: (grad(p), {"n": 3}), "(gradient, a dict)"),
        (lambda p: (grad(p), f(p)), "(gradient, value)"),
        (lambda p: (f(p), grad(p)), "(value, gradient)"),
        (lambda p: ((f(p), "ok"), grad(p)), "((value, a str), gradient)"),
    ]:
        report = check_gradient(f, beside, point)
        assert report.verdict == "fail" and f"grad returned {words}" in report.findings[0].message


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_gradient(TREE, f, grad), r"the order is check_gradient\(f, grad, params\)"),
        (lambda: check_gradient(f, TREE, grad), "the functions come first"),
        (lambda: check_layer(X, f, grad), r"check_layer\(forward, backward, \*inputs\)"),
        (lambda: check_gradient(scaled, of_scaled, V, 2.0, 3.0), "args="),
        (lambda: check_hessian(lambda x: 2 * x, lambda x: 2 * np.eye(4), V), "check_jacobian"),
        (lambda: check_gradient(f, grad, Net()), "arrays that it holds"),
        (lambda: check_gradient(f, grad, (i for i in range(3))), "a list, a dict or an array"),
        (lambda: check_gradient(f, "grad", V), "grad="),
        (lambda: check_gradient(f, None, V), "grad="),
        (lambda: check_gradient(f, 3, V), "grad="),
        (lambda: check_gradient(f, False, V), "grad="),
    ],
)
def test_mistakes_get_one_sentence_with_the_remedy(call, words):
    with pytest.raises(InvalidArgument, match=words) as caught:
        call()
    assert len(str(caught.value)) < 400


def test_a_missing_argument_is_told_with_the_remedy():
    with pytest.raises(TypeError) as caught:
        check_gradient(scaled, of_scaled, V)
    assert any("args=" in note for note in caught.value.__notes__)


def test_a_backward_that_takes_the_cache_first():
    report = check_layer(lambda x: (np.sin(x), x), lambda cache, dy: np.cos(cache) * dy, X)
    assert report.verdict == "fail" and codes(report)[0] == "arguments-swapped"
    with pytest.raises((TypeError, ValueError)) as caught:
        check_layer(lambda x, w: (x @ w, (x, w)), lambda cache, dy: (dy @ cache[1].T, cache[0].T @ dy), X, W)
    assert any("swapped" in note for note in caught.value.__notes__)


MIXED = np.array([[1.0, -2.0, 0.5], [0.3, 1.1, -0.7], [2.0, 0.4, 0.9]])


@pytest.mark.parametrize("limit", range(90, 112, 2))
def test_no_more_calls_than_allowed_are_spent_on_the_order_of_arguments(limit):
    """Each call is counted, also where the function is not defined at what was given as the gradient."""
    x, calls = np.array([0.4, -0.2, 0.8]), []

    def f(v):
        calls.append(v)
        if np.any(v > 0.9):
            raise ValueError("outside of the domain")
        return float(np.sum(np.sin(MIXED @ v)))

    for given, at in ((x, MIXED.T @ np.cos(MIXED @ x) / 4), (x + 0.5, x)):
        calls.clear()
        report = check_gradient(f, given, at, max_evaluations=limit)
        assert report.verdict != "pass" and report.evaluations == len(calls) <= limit, str(report)


ORDERS = {
    "vjp, one input": lambda: check_vjp(np.sin, lambda x, dy: dy * np.cos(x), V),
    "vjp, two": lambda: check_vjp(np.multiply, lambda a, b, dy: (dy * b, dy * a), V, V + 1),
    "hvp": lambda: check_hvp(np.sin, lambda v, x: np.cos(x) * v, V),
    "jvp behind": lambda: check_jvp(np.sin, lambda x, t: np.cos(x) * t[0], V),
    "jvp bare": lambda: check_jvp(np.sin, lambda t, x: np.cos(x) * t, V),
    "jvp bare behind": lambda: check_jvp(np.sin, lambda x, t: np.cos(x) * t, V),
    "the pair of a layer": lambda: check_layer(
        lambda dy, c: (dy * c[1], dy * c[0]), lambda a, b: (dy_times(a, b), (a, b)), V, V + 1
    ),
}


def dy_times(a, b):
    return a * b


@pytest.mark.parametrize("factor", [1.0, 1.3])
def test_a_point_given_as_the_gradient(factor):
    """The numbers are told apart by the function's slope; a wrong gradient in its place is not called swapped."""
    x, tree = np.array([0.4, -0.2, 0.8]), {"a": np.array(0.3), "b": np.array([0.7, -1.2])}

    def gradient(v):
        return MIXED.T @ np.cos(MIXED @ v)

    def of_tree(p):
        return float(p["a"] ** 4 + np.sum(p["b"] ** 4))

    slopes = {name: factor * 4 * value**3 for name, value in tree.items()}
    reports = [
        check_gradient(lambda v: float(np.sum(np.sin(MIXED @ v))), x, factor * gradient(x)),
        check_gradient(of_tree, tree, slopes),
    ]
    for report in reports:
        assert report.verdict == "fail"
        assert (codes(report)[0] == "arguments-swapped") == (factor == 1.0), str(report)
    assert "arguments-swapped" not in codes(check_gradient(of_tree, slopes | {"a": slopes["b"][0]}, tree))


@pytest.mark.parametrize("case", ORDERS)
def test_another_order_of_arguments_is_named_first(case):
    report = ORDERS[case]()
    assert report.verdict == "fail" and codes(report)[0] == "arguments-swapped", str(report)
    assert "swapped?" in report.findings[0].message


@pytest.mark.parametrize(
    "call",
    [
        lambda: check_vjp(np.matmul, lambda x, w, dy: (dy @ w.T, x.T @ dy), X, W),
        lambda: check_jvp(np.multiply, lambda a, b, t: t[0] * b + a * t[1], V, V + 1),
        lambda: check_jvp(np.multiply, lambda ta, tb, a, b: ta * b + a * tb, V, V + 1),
        lambda: check_layer(lambda a, b: (dy_times(a, b), (a, b)), lambda c, dy: (dy * c[1], dy * c[0]), V, V + 1),
        lambda: check_layer(lambda dy, c: (dy @ c[1].T, c[0].T @ dy), lambda x, w: (x @ w, (x, w)), X, W),
    ],
)
def test_an_exception_is_told_with_the_order(call):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert any("swapped?" in note and "gives what fits" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("call", "order"),
    [
        (lambda: check_vjp(lambda dy, x: dy * x, lambda x: x**2, V), "check_vjp(f, vjp, *inputs)"),
        (lambda: check_jvp(lambda t, x: t[0] * x, lambda x: x**2, V), "check_jvp(f, jvp, *inputs)"),
        (lambda: check_hvp(lambda x, v: v * x, lambda x: x**2, V), "check_hvp(grad, hvp, x)"),
        (
            lambda: check_layer(lambda dy, c: dy * c, lambda x: (x**2, 2 * x), V),
            "check_layer(forward, backward, *inputs)",
        ),
        (lambda: check_gradient(lambda x: 2 * x, lambda x: (x**2).sum(), V), "check_gradient(f, grad, params)"),
        (lambda: check_hessian(lambda x: 2 * np.eye(4), lambda x: (x**2).sum(), V), "check_hessian(f, hess, x)"),
        (lambda: check_jacobian(X, np.sin, V), "check_jacobian(f, jac, x)"),
        (lambda: check_adjoint(X, np.sin, V, V), "check_adjoint(matvec, rmatvec, x, y)"),
        (lambda: check_chain(X, []), "check_chain(stages, x)"),
        (lambda: numerical_gradient(V, np.sum), "numerical_gradient(f, params)"),
        (lambda: numerical_jacobian(V, np.sin), "numerical_jacobian(f, x)"),
        (
            lambda: mutation_score(lambda x: x.sum(), lambda f, g, p: True, np.ones_like, V),
            "mutation_score(check, f, grad, params)",
        ),
        (lambda: check_hvp(np.sin, lambda x, v: v, V, V), "check_hvp(grad, hvp, x)"),
        (lambda: check_adjoint(np.sin, np.sin, V, V, 2.0), "check_adjoint(matvec, rmatvec, x, y)"),
        (lambda: numerical_gradient(np.sum, V, 1e-5), "numerical_gradient(f, params)"),
        (lambda: numerical_jacobian(np.sin, V, 1e-5), "numerical_jacobian(f, x)"),
    ],
)
def test_the_order_of_functions_is_told(call, order):
    with pytest.raises(InvalidArgument) as caught:
        call()
    assert order in str(caught.value) and len(str(caught.value)) < 400


def test_a_jacobian_before_its_function_is_told():
    report = check_jacobian(lambda x: np.diag(np.cos(x)), np.sin, V)
    assert report.verdict == "fail" and "check_jacobian(f, jac, x)" in report.findings[0].message


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_hvp(lambda x: ((x**3).sum(), 3 * x**2), lambda x, v: 6 * x * v, V), "return the gradient alone"),
        (lambda: numerical_gradient(lambda x: ((x**3).sum(), 3 * x**2), V), "return the value alone"),
        (lambda: check_vjp(np.sin, lambda dy, x: dy, "text"), "x is a str|x0 is a str"),
        (lambda: check_vjp(np.sin, lambda dy, x: dy, Net()), "is a Net"),
        (lambda: check_gradient(np.sum, np.ones_like, None), "it is None or empty"),
        (lambda: check_gradient(np.sum, np.ones_like, np.arange(3)), "an array of int64"),
        (lambda: check_hessian(np.sum, np.outer, V, args=(2,)), "kwargs="),
        (lambda: check_jacobian(np.sum, np.outer, V, 2.0), "kwargs="),
        (lambda: compare("text", {"a": V}), "claimed is a str in place of a dict"),
        (lambda: check_gradient(lambda x: None, np.ones_like, V), "f returned None; a single number"),
        (lambda: check_gradient(lambda x: "1.0", np.ones_like, V), "the value of f: .* is a str; .* return numbers"),
        (lambda: check_gradient(np.sum, None, V), "^grad=None; a function was required"),
        (lambda: check_gradient(f, grad, TREE.values()), "is a dict_values; .* a list, a dict or an array"),
        (lambda: check_gradient(np.sum, grad, array.array("d", V)), "a list, a dict or an array"),
        (lambda: check_gradient(np.sum, grad, np.ma.array(V, mask=V > 0)), r"masked array; .* filled\(0.0\).*\)\.$"),
        (lambda: check_gradient(np.sum, grad, np.zeros(2, "f8,f8")), r"\{'f0': array\['f0'\]\}"),
        (lambda: check_gradient(np.sum, np.ones_like, V, arg=(1,)), "perhaps args= is meant"),
        (lambda: check_gradient(np.sum, np.ones_like, V, max_evals=9), "perhaps max_evaluations= is meant"),
        (lambda: check_gradient(np.sum, np.ones_like, V, eps=1e-6), "eps= is not an option; .* rtol= is"),
    ],
)
def test_what_was_given_is_named(call, words):
    with pytest.raises(InvalidArgument, match=words) as caught:
        call()
    assert len(str(caught.value)) < 400


def test_order_is_not_named_for_other_faults():
    for wrong in (
        lambda dy, c: 2 * c * dy,
        lambda dy, c: c * dy + 1,
        lambda dy, c: c * dy**2,
        lambda dy, c: (c * dy)[:1],
    ):
        report = check_layer(lambda x: (np.sin(x), np.cos(x)), wrong, X)
        assert report.verdict == "fail" and "arguments-swapped" not in codes(report)


def test_at_an_optimum_the_remedy_is_another_point():
    def valley(x):
        return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))

    def slope(x):
        a, b = x[:-1], x[1:]
        return np.append(-400 * a * (b - a**2) - 2 * (1 - a), 0.0) + np.append(0.0, 200 * (b - a**2))

    assert check_gradient(valley, slope, np.ones(3))
    report = check_gradient(valley, slope, np.ones(3) + 1e-12)
    assert report.verdict == "inconclusive" and "as at an optimum; move the point" in report.findings[0].message
    assert check_gradient(valley, slope, np.full(3, 0.7))
    assert check_gradient(valley, lambda x: 1.01 * slope(x), np.full(3, 0.7)).verdict == "fail"
