"""Calls as users of each library write them, line for line, each with its wrong twin.

What the other files here and `tests/gradcheck/test_calls.py`, `test_containers.py` try one by one is not repeated: these are the calls
in which several of those things meet.
"""

from typing import NamedTuple

import numpy as np
import pytest

from gradcheck import check_gradient, check_hvp, check_jacobian, check_jvp, check_layer, check_vjp

jax = pytest.importorskip("jax")
jnp = jax.numpy
torch = pytest.importorskip("torch")
optimize = pytest.importorskip("scipy.optimize")


def is_told(right, wrong, where=None):
    """Assert that the right call passes and that its wrong twin fails, for the parameter that is wrong."""
    assert right.verdict == "pass", str(right)
    assert wrong.verdict == "fail", str(wrong)
    assert where is None or wrong.findings[0].where == where


# ---- JAX -------------------------------------------------------------------------------------------------------------

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
W = np.linspace(0.2, 0.9, 6, dtype=np.float32).reshape(3, 2)


class Params(NamedTuple):
    """Weights as many keep them."""

    layers: list
    scale: float


def predict(params, x):
    for layer in params.layers:
        x = jnp.tanh(x @ layer["W"] + layer["b"])
    return params.scale * x


def loss(params, x, y):
    return jnp.mean((predict(params, x) - y) ** 2)


def with_factor(factor):
    """Return a sine whose ``custom_vjp`` is off by a factor."""

    @jax.custom_vjp
    def sine(x):
        return jnp.sin(x)

    sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (factor * dy * jnp.cos(x),))
    return sine


def test_a_network_in_a_named_tuple_with_its_data_as_args():
    params = Params([{"W": jnp.asarray(W), "b": jnp.full(2, 0.1)}], 1.5)
    gradient = jax.jit(jax.grad(loss))

    def wrong(params, x, y):
        found = gradient(params, x, y)
        return found._replace(layers=[{"W": found.layers[0]["W"], "b": 2 * found.layers[0]["b"]}])

    data = (jnp.asarray(X), jnp.ones((2, 2)))
    right = check_gradient(loss, gradient, params, args=data)
    is_told(right, check_gradient(loss, wrong, params, args=data), "layers[0].b")
    assert list(right.parameters) == ["layers[0].W", "layers[0].b", "scale"]


def test_a_custom_vjp_and_the_upstream_that_it_gets():
    def vjp(function):
        return jax.jit(lambda dy, x: jax.vjp(function, x)[1](dy))

    is_told(*(check_vjp(with_factor(k), vjp(with_factor(k)), jnp.asarray(X)) for k in (1.0, 0.9)), "x")

    def forward(x, w):
        return jax.vjp(lambda x, w: jnp.tanh(x @ w), x, w)  # what pulls back is the cache

    twice = lambda dy, pull: (pull(dy)[0], 2 * pull(dy)[1])  # noqa: E731
    reports = [
        check_layer(forward, backward, jnp.asarray(X), jnp.asarray(W)) for backward in (lambda dy, p: p(dy), twice)
    ]
    is_told(*reports, "w")


def test_both_modes_of_jacobians_and_products():
    x = jnp.asarray([0.3, -0.7, 1.1])
    f = jax.jit(lambda x: jnp.outer(x, jnp.sin(x)).sum(0))
    jacobian = jax.jit(jax.jacfwd(f))
    is_told(check_jacobian(f, jacobian, x), check_jacobian(f, lambda x: jacobian(x).T, x))
    push = jax.jit(lambda t, x: jax.jvp(f, (x,), t)[1])
    is_told(check_jvp(f, push, x), check_jvp(f, lambda t, x: 1.1 * push(t, x), x))
    gradient = jax.jit(jax.grad(lambda x: f(x).sum()))
    product = jax.jit(jax.grad(lambda x, v: gradient(x) @ v))
    is_told(check_hvp(gradient, product, x), check_hvp(gradient, lambda x, v: 0.5 * product(x, v), x))


def test_vectorized_by_vmap():
    one = lambda x: jnp.sum(jnp.tanh(x) ** 2)  # noqa: E731
    several, gradient = jax.jit(jax.vmap(one)), jax.jit(jax.grad(one))
    many = lambda x: several(x) if x.ndim == 2 else one(x)  # noqa: E731
    x = jnp.linspace(-1, 1, 5)
    right, wrong = (check_gradient(many, lambda x, k=k: k * gradient(x), x, vectorized=True) for k in (1, -1))
    is_told(right, wrong)


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


def test_a_training_step_of_torch():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh()).double()
    params = {name: value.detach() for name, value in model.named_parameters()}
    x, y = torch.tensor(X).double(), torch.ones(2, 2, dtype=torch.float64)

    def value(p):
        return torch.nn.functional.mse_loss(torch.func.functional_call(model, p, (x,)), y)

    model.zero_grad()
    value(dict(model.named_parameters())).backward()
    grads = {name: value.grad for name, value in model.named_parameters()}  # at hand, as in a training script
    flipped = {**grads, "0.weight": -grads["0.weight"]}
    is_told(check_gradient(value, grads, params), check_gradient(value, flipped, params), "0.weight")
    gradient = torch.func.grad(value)
    is_told(
        check_gradient(value, gradient, params),
        check_gradient(value, lambda p: {**gradient(p), "0.bias": 2 * gradient(p)["0.bias"]}, params),
        "0.bias",
    )


# ---- SciPy -----------------------------------------------------------------------------------------------------------


def test_a_problem_of_scipy_as_its_solvers_take_it():
    data = np.linspace(0, 1, 8), np.linspace(1, 3, 8)

    def residuals(x, t, y):
        return x[0] * np.exp(x[1] * t) - y

    def jacobian(x, t, y):
        return np.stack([np.exp(x[1] * t), x[0] * t * np.exp(x[1] * t)], axis=1)

    wrong = lambda x, t, y: jacobian(x, t, y) * [1, 0.5]  # noqa: E731
    right, other = (
        check_jacobian(residuals, jac, [1.0, 0.7], kwargs=dict(zip("ty", data, strict=True)))
        for jac in (jacobian, wrong)
    )
    is_told(right, other)
    both = lambda x: (optimize.rosen(x), optimize.rosen_der(x))  # noqa: E731
    is_told(
        check_gradient(both, True, [1.3, 0.7, 0.8]),
        check_gradient(lambda x: (both(x)[0], both(x)[1] * [1, 1, 0.99]), True, [1.3, 0.7, 0.8]),
    )
