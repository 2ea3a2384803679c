"""``--gradcheck-mutate`` on a suite that is built on PyTorch's own checker."""

import functools
import importlib.metadata

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
