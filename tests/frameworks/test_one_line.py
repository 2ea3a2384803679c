"""The calls that `docs/how-to` lists for JAX and PyTorch: each is one expression, right functions pass and wrong ones fail."""

import ast
import dataclasses
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import gradcheck

jax = pytest.importorskip("jax")
jnp = jax.numpy
torch = pytest.importorskip("torch")
nn = torch.nn

from gradcheck.jax import check_grad  # noqa: E402
from gradcheck.torch import check_function, check_module  # noqa: E402
from gradcheck.torch import gradcheck as own_call  # noqa: E402

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
CHECKS = {name: getattr(gradcheck, name) for name in gradcheck.__all__ if name.startswith("check_")}


def calls_of(page):
    text = (HOW_TO / f"{page}.md").read_text(encoding="utf-8")
    section = text.split("## Every call is one line")[1].split("\n## ")[0]
    return re.findall(r"\| `([^|]*)` \|$", section, flags=re.MULTILINE)


@cache
def of_jax(factor):
    """Return what a user of JAX has, of which one rule is off by a factor."""

    @jax.custom_vjp
    def softplus(x):
        return jnp.logaddexp(x, 0.0)

    softplus.defvjp(lambda x: (softplus(x), x), lambda x, dy: (factor * dy * jax.nn.sigmoid(x),))

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Model:
        w: Any

        def __call__(self, x):
            return softplus(x * self.w)

    def loss(params, x, labels):
        return jnp.mean((softplus(x[:, None] * params["w"]).sum(1) + params["b"] - labels) ** 2)

    def energy(x):
        return jnp.sum(softplus(x) * x**2)

    x = jnp.linspace(-1.0, 1.0, 4)
    params, labels = {"w": jnp.array([0.5, -0.3, 0.8]), "b": jnp.array(0.2)}, jnp.arange(4) % 2
    grads = jax.grad(loss)(params, x, labels)
    return {
        "jax": jax, "softplus": softplus, "Model": Model, "model": Model(x + 2), "loss": loss, "energy": energy, "x": x,
        "params": params, "labels": labels, "grads": grads, "check_grad": check_grad, **CHECKS,
    }  # fmt: skip


@cache
def of_torch(factor):
    """Return what a user of PyTorch has, of which one backward is off by a factor."""

    class Scaled(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return 2 * x**2

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, dy):
            return factor * 4 * ctx.saved_tensors[0] * dy

    class Layer(nn.Linear):
        def forward(self, x):
            return Scaled.apply(super().forward(x))

    torch.manual_seed(0)
    model, x, labels = nn.Sequential(Layer(3, 4), nn.Linear(4, 3)), torch.randn(5, 3), torch.arange(5) % 3

    def loss(params):
        return nn.functional.cross_entropy(torch.func.functional_call(model, params, (x,)), labels)

    loss(dict(model.named_parameters())).backward()
    return {
        "torch": torch, "nn": nn, "Scaled": Scaled, "model": model, "x": x, "labels": labels, "loss": loss,
        "params": {name: p.detach().clone() for name, p in model.named_parameters()},
        "forward": lambda x: (2 * x**2, x), "backward": lambda dy, x: factor * 4 * x * dy,
        "check_function": check_function, "check_module": check_module, "gradcheck": own_call, **CHECKS,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("have", "call"),
    [(have, call) for page, have in (("jax", of_jax), ("pytorch", of_torch)) for call in calls_of(page)],
)
def test_a_call_of_the_how_tos_is_one_expression_and_right(have, call):
    assert len(call) <= 120 and isinstance(ast.parse(call).body[0], ast.Expr) and len(ast.parse(call).body) == 1
    right, wrong = (eval(call, dict(have(factor))) for factor in (1, 1.25))  # noqa: S307 - our own page
    if isinstance(right, bool):  # PyTorch's own call
        assert right and not wrong
    else:
        assert right.ok, str(right)
        assert wrong.verdict == "fail", str(wrong)


def test_the_pages_list_calls():
    assert len(calls_of("jax")) >= 12 and len(calls_of("pytorch")) >= 11
