"""``--gradcheck-mutate`` on suites that are built on PyTorch's and JAX's own checkers."""

import functools
import importlib.metadata
import importlib.util
import re
from pathlib import Path

import pytest

import gradcheck.testing.calls
from gradcheck.mutants import mutants_of

pytest_plugins = ["pytester"]

IS_INSTALLED = bool(importlib.metadata.entry_points(group="pytest11", name="gradcheck"))


def test_the_backward_of_an_autograd_function(pytester, monkeypatch):
    pytest.importorskip("torch")
    few = functools.partial(mutants_of, mutants=["sign flipped", "off by 1e-6", "upstream ignored"])
    monkeypatch.setattr(gradcheck.testing.calls, "mutants_of", few)
    pytester.makeini("[pytest]")
    pytester.makepyfile(
        cubes="""
import torch

class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x**3 @ w

    @staticmethod
    def backward(ctx, grad_output):
        x, w = ctx.saved_tensors
        return (grad_output @ w.T) * 3 * x**2, (x**3).T @ grad_output
""",
        test_it="""
import torch
from cubes import Cube

def test_it():
    x = torch.tensor([[0.5, -1.0], [2.0, 0.7], [1.1, 0.3]], dtype=torch.float64, requires_grad=True)
    w = torch.tensor([[0.4], [-0.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Cube.apply, (x, w))
""",
    )
    pytester.syspathinsert()
    loading = () if IS_INSTALLED else ("-p", "gradcheck_pytest")
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", "-v")
    result = pytester.runpytest_inprocess(*loading, *options, "--gradcheck-mutate=cubes:Cube.backward")
    assert result.ret == 1
    output = result.stdout.str()
    assert "1 of 3 wrong gradients pass your tests of cubes:Cube.backward" in output
    assert "    off by 1e-6: [" in output  # its tolerances are wider than that


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
@pytest.mark.parametrize(
    ("judged", "told"),
    [
        (
            'check_grads(cube, (X,), order=1, modes=["rev"])',
            r"^[1-9] of [2-3]\d wrong gradients pass your tests of cubes:backward$",
        ),
        (
            "np.testing.assert_allclose(jax.jit(jax.grad(lambda x: cube(x).sum()))(X), 3 * X**2, rtol=1e-5)",
            "cubes:backward is not scored: it returned no array .*; where jax.jit traces it, set JAX_DISABLE_JIT=1 for this run",
        ),
    ],
    ids=["check_grads", "jit"],
)
def test_the_backward_of_a_custom_vjp(pytester, monkeypatch, judged, told):
    monkeypatch.setenv("PYTHONPATH", str(Path(gradcheck.__file__).parents[1]))
    pytester.makeini("[pytest]")
    pytester.makepyfile(
        cubes="""
import jax

@jax.custom_vjp
def cube(x):
    return x**3

def backward(x, dy):
    return (3 * x**2 * dy,)

cube.defvjp(lambda x: (x**3, x), backward)
""",
        test_it=f"""
import jax
import numpy as np
from jax.test_util import check_grads
from cubes import cube

X = np.array([0.5, -1.0, 2.0], np.float32)

def test_it():
    {judged}
""",
    )
    pytester.syspathinsert()
    loading = () if IS_INSTALLED else ("-p", "gradcheck_pytest")
    options = ("-p", "no:cacheprovider", "-p", "no:xdist")
    result = pytester.runpytest_subprocess(*loading, *options, "--gradcheck-mutate=cubes:backward")
    assert result.ret == 1
    assert re.search(told, result.stdout.str(), flags=re.MULTILINE)
