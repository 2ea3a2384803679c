"""Further calls as users write them, each with its wrong twin: containers, modules and problems of kinds that no other file here has."""

import dataclasses
from collections import OrderedDict
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

from gradcheck import check_gradient, check_jacobian, check_layer

jax = pytest.importorskip("jax")
jnp = jax.numpy
torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

optimize = pytest.importorskip("scipy.optimize")
sparse = pytest.importorskip("scipy.sparse")
linalg = pytest.importorskip("scipy.sparse.linalg")
pd = pytest.importorskip("pandas")

from gradcheck.jax import check_grad  # noqa: E402
from gradcheck.scipy import check_least_squares, check_problem  # noqa: E402
from gradcheck.torch import check_function, check_module  # noqa: E402

RNG = np.random.default_rng(12)
X, W, V = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=4)


class Off(torch.autograd.Function):
    """The identity with a backward that is off by a factor."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.factor, None


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def off(x, factor):
    return x


off.defvjp(lambda x, factor: (x, None), lambda factor, _, dy: (factor * dy,))


# ---- containers of JAX's libraries -----------------------------------------------------------------------------------


def flax_like(k):
    """A nested dict of parameters, as Flax has them, closed over by an ``apply``."""
    variables = {
        "params": {
            "Dense_0": {"kernel": jnp.asarray(W), "bias": jnp.ones(2) / 3},
            "Dense_1": {"kernel": jnp.ones((2, 1))},
        }
    }

    def apply(variables, x):
        p = variables["params"]
        h = jax.nn.tanh(x @ off(p["Dense_0"]["kernel"], k) + p["Dense_0"]["bias"])
        return jnp.sum(h @ p["Dense_1"]["kernel"])

    return check_grad(apply, variables, jnp.asarray(X))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Linear:
    """A registered dataclass, as Equinox's modules are."""

    weight: Any
    bias: Any
    activation: Any = dataclasses.field(metadata={"static": True}, default=jnp.tanh)


def equinox_like(k):
    layers = [Linear(jnp.asarray(W), jnp.zeros(2)), Linear(jnp.ones((2, 2)) / 2, jnp.ones(2), jax.nn.softplus)]

    def loss(layers, x):
        for layer in layers:
            x = layer.activation(x @ off(layer.weight, k) + layer.bias)
        return jnp.mean(x**2)

    return check_gradient(lambda p: loss(p, X), jax.grad(lambda p: loss(p, X)), layers)


class State(NamedTuple):
    mean: Any
    spread: Any


def named_tuples_in_a_dict(k):
    point = {"q": State(jnp.asarray(V), jnp.float32(0.5)), "steps": 3}
    f = lambda p: jnp.sum(off(p["q"].mean, k) ** 2) * jnp.exp(p["q"].spread) * p["steps"]  # noqa: E731
    return check_grad(f, point)


def several_outputs(k):
    return check_grad(lambda x: {"y": jnp.sin(off(x, k)), "z": (x.sum(), x**2)}, jnp.asarray(V))


def a_solver_inside(k):
    def f(a):
        return jnp.linalg.solve(jnp.eye(3) * 4 + off(a, k), jnp.ones(3)).sum()

    return check_grad(f, jnp.asarray(RNG.normal(size=(3, 3))), modes="rev")


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


class Net(nn.Module):
    """A ModuleDict, a ParameterList, a buffer, and a layer that is frozen."""

    def __init__(self, factor):
        super().__init__()
        self.parts = nn.ModuleDict({"in": nn.Linear(3, 4), "out": nn.Linear(4, 2)})
        self.gains = nn.ParameterList([nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(2) / 2)])
        self.register_buffer("seen", torch.zeros(()))
        self.parts["in"].weight.requires_grad_(False)
        self.factor = factor

    def forward(self, x, scale=None):
        self.seen += 1
        h = torch.tanh(self.parts["in"](x)) * Off.apply(self.gains[0], self.factor)
        return self.parts["out"](h) * self.gains[1] * (1 if scale is None else scale)


def half_frozen(k):
    torch.manual_seed(0)
    module = Net(k)
    report = check_module(module, torch.randn(6, 3), kwargs={"scale": torch.tensor(0.5)})
    assert "parts.in.weight" not in report.parameters and float(module.seen) == 0
    return report


def complex_parameters(k):
    class Rotor(nn.Module):
        def __init__(self):
            super().__init__()
            self.phase = nn.Parameter(torch.tensor([0.3 + 0.4j, -1.0 + 0.2j], dtype=torch.complex64))

        def forward(self, x):
            return Off.apply(self.phase * x, k).abs()

    return check_module(Rotor(), torch.tensor([0.5 + 1j, 2.0 - 0.5j]))


def functional_call(k):
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    values = {name: p.detach() for name, p in module.named_parameters()}

    def loss(p):
        return (
            torch.func.functional_call(module, {**p, "weight": Off.apply(p["weight"], k)}, (torch.tensor(X).float(),))
            .pow(2)
            .mean()
        )

    def grad(p):
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in p.items()}
        return dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True))

    return check_gradient(loss, grad, values, reference=loss_in_double)


def loss_in_double(p):
    return (torch.tensor(X) @ p["weight"].double().T + p["bias"].double()).pow(2).mean()


def an_ordered_dict_of_tensors(k):
    point = OrderedDict(a=torch.tensor(V), b=torch.tensor(W))
    f = lambda p: (p["a"] ** 2).sum() * p["b"].sin().sum()  # noqa: E731
    grad = lambda p: {"b": (p["a"] ** 2).sum() * p["b"].cos(), "a": k * 2 * p["a"] * p["b"].sin().sum()}  # noqa: E731
    return check_gradient(f, grad, point)


def a_sparse_matrix_of_weights(k):
    weights = torch.tensor([[0.5, 0.0, 1.0], [0.0, -2.0, 0.0]], dtype=torch.float64).to_sparse()
    x = torch.tensor(X)
    return check_function(lambda w, x: Off.apply(torch.sparse.mm(w, x.T), k), weights.requires_grad_(), x)


def views_that_share_memory(k):
    base = torch.tensor(np.arange(1.0, 7.0))
    return check_function(lambda a, b: Off.apply(a, k) @ b + (a * b).sin().sum(), base[:3], base[1:4])


# ---- SciPy, pandas and NumPy -----------------------------------------------------------------------------------------


def rosen_with_both(k):
    return check_problem(
        lambda x, s: (s * optimize.rosen(x), k * s * optimize.rosen_der(x)), [0.3, 0.7], (2.0,), jac=True
    )["jac"]


T = np.linspace(0, 2, 9)


def residuals(x, t):
    return x[0] * np.exp(-x[1] * t) - 1


def sparse_residuals(k):
    def jac(x, t):
        return sparse.csr_matrix(np.stack([k * np.exp(-x[1] * t), -x[0] * t * np.exp(-x[1] * t)], axis=1))

    return check_least_squares(residuals, [0.0, 0.7], jac, args=(T,), bounds=([0, 0], [3, np.inf]))


def an_operator_of_residuals(k):
    def jac(x, t):
        matrix = np.stack([np.exp(-x[1] * t), -k * x[0] * t * np.exp(-x[1] * t)], axis=1)
        return linalg.LinearOperator(matrix.shape, matvec=lambda v: matrix @ v, rmatvec=lambda v: matrix.T @ v)

    return check_least_squares(residuals, np.array([1.2, 0.7]), jac, args=(T,))


def a_frame(k):
    frame = pd.DataFrame(X, columns=list("abc"), index=list("vwxyz"))
    return check_gradient(lambda p: float((p**3).sum().sum()), lambda p: (3 * k * p**2)[["c", "a", "b"]], frame)


def a_series_and_a_mapping(k):
    point = MappingProxyType({"s": pd.Series(V, index=list("dcba")), "n": 2})
    return check_gradient(
        lambda p: float((p["s"] ** p["n"]).sum()), lambda p: {"s": k * 2 * p["s"].sort_index()}, point
    )


def an_object_whose_arrays_are_read(k):
    class Model:
        def __init__(self):
            self.params = {"W": W.copy(), "b": np.ones(2) / 5}

        def loss(self, x):
            y = np.tanh(x @ self.params["W"] + self.params["b"])
            d = 2 * y * (1 - y**2)
            return (y**2).sum(), {"W": k * x.T @ d, "b": d.sum(0)}

    model = Model()
    report = check_gradient(lambda _: model.loss(X)[0], model.loss(X)[1], model.params, in_place=True)
    assert np.array_equal(model.params["W"], W)
    return report


def a_layer_with_settings(k):
    def forward(x, w, mode, eps=1e-5):
        z = x @ w
        y = z / np.sqrt((z**2).mean(0) + eps) if mode["train"] else z
        return y, (x, w, z, eps)

    def backward(dy, cache):
        x, w, z, eps = cache
        s = np.sqrt((z**2).mean(0) + eps)
        dz = dy / s - z * (dy * z).sum(0) / (len(z) * s**3)
        return [dz @ w.T, k * x.T @ dz]

    return check_layer(forward, backward, X, W, {"train": True, "name": "norm"}, kwargs={"eps": 1e-3})


def a_jacobian_of_a_list(k):
    f = lambda x: [x[0] * x[1], np.sin(x[0])]  # noqa: E731
    return check_jacobian(lambda x: np.array(f(x)), lambda x: [[x[1], k * x[0]], [np.cos(x[0]), 0.0]], [0.5, 2.0])


CALLS = [
    flax_like, equinox_like, named_tuples_in_a_dict, several_outputs, a_solver_inside, half_frozen, complex_parameters,
    functional_call, an_ordered_dict_of_tensors, a_sparse_matrix_of_weights, views_that_share_memory, rosen_with_both,
    sparse_residuals, an_operator_of_residuals, a_frame, a_series_and_a_mapping, an_object_whose_arrays_are_read,
    a_layer_with_settings, a_jacobian_of_a_list,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*Sparse .*:UserWarning")
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_the_right_call_passes_and_its_wrong_twin_fails(call):
    report = call(1.0)
    assert report.verdict == "pass", str(report)
    report = call(0.9)
    assert report.verdict == "fail" and any(entry.wrong.any() for entry in report.parameters.values()), str(report)
