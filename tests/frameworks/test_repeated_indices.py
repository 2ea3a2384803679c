"""An embedding whose backward keeps the last upstream of each row: the index is among a framework's arguments, and is named."""

import importlib

import numpy as np
import pytest


def test_in_pytorch():
    torch = pytest.importorskip("torch")
    check_function = importlib.import_module("gradcheck.torch").check_function

    class Embed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, table, at):
            ctx.at, ctx.shape = at, table.shape
            return table[at]

        @staticmethod
        def backward(ctx, dy):
            out = torch.zeros(ctx.shape)
            out[ctx.at] = dy
            return out, None

    table = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32))
    report = check_function(Embed.apply, table, torch.tensor([1, 3, 3, 0, 6, 1]))
    assert "slices 1 and 3 of 8 along axis 0, whose index occurs more than once" in report.findings[0].message


def test_in_jax():
    jax = pytest.importorskip("jax")
    check_grad = importlib.import_module("gradcheck.jax").check_grad

    pick = jax.custom_vjp(lambda table, at: table[at])
    pick.defvjp(
        lambda table, at: (table[at], (table, at)),
        lambda kept, dy: (
            jax.numpy.zeros_like(kept[0]).at[kept[1]].set(dy),
            np.zeros(kept[1].shape, jax.dtypes.float0),
        ),
    )
    table = jax.random.normal(jax.random.key(1), (7, 3))
    report = check_grad(lambda table, at: pick(table, at), table, jax.numpy.array([1, 4, 4, 0, 1]))
    assert "slices 1 and 4 of 7 along axis 0, whose index occurs more than once in at" in report.findings[0].message
