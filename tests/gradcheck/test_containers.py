"""Right gradients in the containers that people keep them in, and their wrong twins."""

import dataclasses

import numpy as np
import pytest

from gradcheck import (
    InvalidArgument,
    check_chain,
    check_gradient,
    check_hessian,
    check_hvp,
    check_jacobian,
    check_jvp,
    check_layer,
    check_vjp,
)


def cubes(x):
    return np.sum(np.asarray(x) ** 3)


def of_cubes(x):
    return 3 * np.asarray(x) ** 2


@pytest.mark.parametrize(
    "point",
    [[1.3, 0.7, 0.8], [1.3, 2, 0.8], np.array([1.3, 0.7, 0.8]), (1.3, 0.7, 0.8), list(np.array([1.3, 0.7, 0.8]))],
    ids=repr,
)
@pytest.mark.parametrize("form", [np.asarray, list, tuple, np.ndarray.tolist], ids=lambda f: f.__name__)
def test_a_list_of_numbers_and_the_array_of_them_are_one_point(point, form):
    assert check_gradient(cubes, lambda x: form(of_cubes(x)), point)
    assert check_gradient(cubes, lambda x: form(of_cubes(x) * [1, 1, 1.01]), point).verdict == "fail"


def test_arrays_stand_for_the_derivatives_by_a_tuple_of_numbers():
    def f(x):
        assert type(x) is tuple
        return x[0] ** 2 * x[1]

    def values(x):
        return np.array([x[0] * x[1], x[1] ** 2, x[0]])

    point = (1.5, 0.7)
    jac = np.array([[0.7, 1.5], [0, 1.4], [1, 0]])
    hess, twisted = np.array([[1.4, 3.0], [3.0, 0.0]]), np.array([[1.4, 3.0], [3.1, 0.0]])
    assert check_hessian(f, lambda x: hess, point)
    report = check_hessian(f, lambda x: twisted, point)
    assert [name for name, found in report.parameters.items() if np.any(found.wrong)] == ["[1].[0]"]
    assert check_jacobian(values, lambda x: jac, point)
    report = check_jacobian(values, lambda x: jac + np.eye(3, 2, -1), point)
    assert report.parameters["[0]"].wrong.tolist() == [False, True, False]
    assert report.parameters["[1]"].wrong.tolist() == [False, False, True]
    assert check_gradient(f, lambda x: hess, point).verdict == "fail"
    assert check_gradient(f, lambda x: np.ones(3), point).findings[0].code == "wrong-structure"


def test_a_list_stays_one_and_may_be_part_of_a_tree():
    def f(p):
        assert type(p["a"]) is list and type(p["a"][0]) is float
        return cubes(p["a"]) * p["b"]

    point = {"a": [1.5, 2.5], "b": 2.0}
    report = check_gradient(f, lambda p: {"a": list(of_cubes(p["a"]) * p["b"]), "b": cubes(p["a"])}, point)
    assert report and list(report.parameters) == ["a", "b"]
    assert check_hessian(cubes, lambda x: np.diag(6 * np.asarray(x)), [1.5, 2.5])
    assert check_jacobian(lambda x: np.asarray(x) ** 2, lambda x: np.diag(2 * np.asarray(x)), [1.5, 2.5])
    assert check_jacobian(lambda x: np.asarray(x) ** 2, lambda x: np.diag(np.asarray(x)), [1.5, 2.5]).verdict == "fail"


def forward(x, w, b, param):
    return param["stride"] * (x @ w) + b * param["pad"], (x, w, param)


def backward(dy, cache):
    x, w, param = cache
    return param["stride"] * dy @ w.T, param["stride"] * x.T @ dy, dy.sum(0) * param["pad"]


@pytest.mark.parametrize(
    "form",
    [tuple, list, lambda three: (*three, None), lambda three: [*three, {}]],
    ids=["tuple", "list", "with None", "with something"],
)
def test_settings_need_no_gradient(form, rng):
    inputs = rng.normal(size=(5, 3)), rng.normal(size=(3, 2)), rng.normal(size=2), {"stride": 2, "pad": 1}
    report = check_layer(forward, lambda dy, cache: form(backward(dy, cache)), *inputs)
    assert report and list(report.parameters) == ["x", "w", "b"]

    def wrong(dy, cache):
        dx, dw, db = backward(dy, cache)
        return form((dx, dw, 2 * db))

    assert check_layer(forward, wrong, *inputs).verdict == "fail"
    assert check_layer(forward, lambda dy, cache: form(backward(dy, cache)[:1]), *inputs).verdict == "fail"


@pytest.mark.parametrize("setting", ["train", None, np.tanh, {"mode": "train", "eps": 1e-5}, [1, 1], object(), 3])
def test_whatever_holds_no_float_is_handed_through(setting, rng):
    seen = []

    def forward(x, setting):
        seen.append(setting)
        return 2 * x, None

    x = rng.normal(size=3)
    assert check_layer(forward, lambda dy, _: 2 * dy, x, setting)
    assert check_vjp(lambda x, setting: 2 * x, lambda dy, x, setting: 2 * dy, x, setting)
    assert check_vjp(lambda x, setting: 2 * x, lambda dy, x, setting: (2 * dy, None), x, setting)
    assert check_jvp(lambda x, setting: 2 * x, lambda t, x, setting: 2 * t[0], x, setting)
    assert check_chain([("double", forward, lambda dy, _: 2 * dy, (setting,))], x)
    assert check_layer(forward, lambda dy, _: dy, x, setting).verdict == "fail"
    assert all(given == setting for given in seen)


def test_what_a_forward_writes_into_its_settings_does_not_reach_the_users(rng):
    def forward(x, gamma, param):
        assert "running_mean" not in param and param["momentum"].sum() == 2.0
        param["running_mean"] = x.mean(0)
        param["momentum"] *= 2
        return x * gamma, (x, gamma)

    given = {"mode": "train", "momentum": np.ones(2)}
    report = check_layer(
        forward, lambda dy, c: (dy * c[1], (dy * c[0]).sum(0)), rng.normal(size=(4, 2)), np.ones(2), given
    )
    assert report and sorted(given) == ["mode", "momentum"] and given["momentum"].tolist() == [1.0, 1.0]
    assert any(spot.startswith("param: held fixed") for spot in report.blind_spots)


def test_settings_inside_parameters_are_held_fixed(rng):
    point = {"w": rng.normal(size=4), "activation": "relu", "f": np.tanh, "n": None, "size": 3}
    assert check_gradient(lambda p: p["f"](p["w"]).sum(), lambda p: {"w": 1 - np.tanh(p["w"]) ** 2}, point)
    assert check_gradient(lambda p: p["f"](p["w"]).sum(), lambda p: {"w": 1 - np.tanh(p["w"])}, point).verdict == "fail"
    with pytest.raises(InvalidArgument, match="no floating-point"):
        check_gradient(lambda p: 1.0, lambda p: p, {"mode": "train", "n": 3})


# ---- nothing to see -------------------------------------------------------------------------------------------------

EMPTY = np.zeros((0, 3))


@pytest.mark.parametrize(
    "report",
    [
        lambda: check_gradient(np.sum, np.ones_like, EMPTY),
        lambda: check_gradient(lambda p: float(p["a"].sum()), lambda p: {"a": np.ones((0, 3))}, {"a": EMPTY, "n": 3}),
        lambda: check_layer(
            lambda x, w: (x @ w, (x, w)), lambda dy, c: (dy @ c[1].T, c[0].T @ dy), EMPTY, np.zeros((3, 0))
        ),
        lambda: check_vjp(np.sin, lambda dy, x: dy * np.cos(x), EMPTY),
        lambda: check_jvp(np.sin, lambda t, x: t[0] * np.cos(x), EMPTY),
        lambda: check_jacobian(np.sin, lambda x: np.zeros((0, 0)), np.zeros(0)),
        lambda: check_hessian(np.sum, lambda x: np.zeros((0, 0)), np.zeros(0)),
        lambda: check_hvp(np.sin, lambda x, v: np.cos(x) * v, EMPTY),
    ],
)
def test_empty_arrays_pass_and_it_is_said(report):
    made = report()
    assert made and any("every array is empty" in spot for spot in made.blind_spots)


def test_empty_arrays_have_a_shape():
    assert check_gradient(np.sum, lambda x: np.ones((0, 2)), EMPTY).verdict == "fail"
    assert check_gradient(np.sum, lambda x: None, EMPTY).verdict == "fail"


# ---- classes --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Dense:
    weight: np.ndarray
    bias: np.ndarray
    activation: str = "tanh"
    norm: float = dataclasses.field(init=False)

    def __post_init__(self):
        self.norm = np.sum(self.weight**2)


@dataclasses.dataclass(frozen=True, slots=True)
class Net:
    layers: list
    scale: float


def network(rng):
    return Net(
        [Dense(rng.normal(size=(3, 2)), rng.normal(size=2)), Dense(rng.normal(size=(2, 2)), rng.normal(size=2))], 1.5
    )


def loss(net):
    return sum(net.scale * layer.norm + (layer.bias**2).sum() for layer in net.layers)


def gradient(net):
    layers = [Dense(2 * net.scale * layer.weight, 2 * layer.bias) for layer in net.layers]
    return Net(layers, sum(layer.norm for layer in net.layers))


def test_dataclasses_are_containers_and_compute_what_is_derived(rng):
    report = check_gradient(loss, gradient, network(rng))
    assert report
    assert list(report.parameters) == [
        "layers[0].weight",
        "layers[0].bias",
        "layers[1].weight",
        "layers[1].bias",
        "scale",
    ]


def test_a_dict_stands_for_a_class_and_a_class_for_a_dict(rng):
    def named(net, factor=1.0):
        layers = [{"weight": 2 * net.scale * layer.weight, "bias": factor * 2 * layer.bias} for layer in net.layers]
        return {"scale": sum(layer.norm for layer in net.layers), "layers": layers}

    assert check_gradient(loss, named, network(rng))
    report = check_gradient(loss, lambda net: named(net, 1.1), network(rng))
    wrong = [name for name, parameter in report.parameters.items() if parameter.wrong.any()]
    assert report.verdict == "fail" and wrong == ["layers[0].bias", "layers[1].bias"]
    point = {"layers": [rng.normal(size=3)], "scale": 2.0}
    squares = lambda p: p["scale"] * (p["layers"][0] ** 2).sum()  # noqa: E731
    classy = lambda p: Net([2 * p["scale"] * p["layers"][0]], (p["layers"][0] ** 2).sum())  # noqa: E731
    assert check_gradient(squares, classy, point)
    for other in ({"layers": [], "size": 1.0}, {0: 1.0, 1: 2.0}, [1.0, 2.0]):
        report = check_gradient(loss, lambda net, other=other: other, network(rng))
        assert report.verdict == "fail" and report.findings[0].code == "wrong-structure"


def test_a_wrong_field_of_a_dataclass_is_named(rng):
    def wrong(net):
        made = gradient(net)
        made.layers[1].weight *= 2
        return made

    report = check_gradient(loss, wrong, network(rng))
    assert report.verdict == "fail" and report.findings[0].where == "layers[1].weight"
