"""Bugs planted in gradients of other libraries' arrays."""

import numpy as np
import pytest

from gradcheck import mutation_score
from gradcheck.mutants import mutants_of, wrap

torch = pytest.importorskip("torch")


def test_tensors_come_back_as_tensors_and_right_ones_are_the_same_object():
    dx, dw = torch.ones(2, 3, dtype=torch.float32), torch.ones(3, dtype=torch.bfloat16)
    for mutant in mutants_of((dx, dw), mutants=["sign flipped", "dropped", "off by 1 %"]):
        wrong = wrap(lambda: (dx, dw), mutant)()
        changed = int(mutant.leaf[1])
        assert wrong[1 - changed] is (dx, dw)[1 - changed]
        assert isinstance(wrong[changed], torch.Tensor) and wrong[changed].dtype == (dx, dw)[changed].dtype
        assert not torch.equal(wrong[changed], (dx, dw)[changed])
    assert torch.equal(dx, torch.ones(2, 3)) and torch.equal(dw, torch.ones(3, dtype=torch.bfloat16))


def test_an_autograd_function_is_scored_by_torchs_own_check():
    """Its backward, wrapped where it is; what PyTorch's check of double precision misses is state and memory."""
    from torch.autograd import gradcheck  # noqa: PLC0415

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, grad_output):
            x, w = ctx.saved_tensors
            return grad_output * w, grad_output * x

    right = Scaled.backward
    points = [torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True) for _ in range(2)]
    points[1] = (points[1].detach() + 1).requires_grad_()
    assert gradcheck(Scaled.apply, points)
    sample = (points[0].detach(), points[1].detach())
    for mutant in mutants_of(sample, mutants=["sign flipped", "doubled", "one is NaN", "transposed"]):
        mutated = wrap(right, mutant)
        Scaled.backward = staticmethod(mutated)
        try:
            passed = gradcheck(Scaled.apply, points, raise_exception=False)
        finally:
            Scaled.backward = staticmethod(right)
        assert passed is not mutated.state.differed
    assert gradcheck(Scaled.apply, points)


def test_the_score_of_a_test_that_works_on_tensors():
    def f(p):
        return (p["w"] ** 3).sum() + p["b"].sum()

    def grad(p):
        return {"w": 3 * p["w"] ** 2, "b": torch.ones_like(p["b"])}

    def check(f, g, p):
        p = {name: value.detach().requires_grad_() for name, value in p.items()}
        true = torch.autograd.grad(f(p), list(p.values()))
        for claimed, right in zip(g(p).values(), true, strict=True):
            torch.testing.assert_close(claimed.detach(), right, rtol=1e-3, atol=1e-9)

    params = {"w": torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64), "b": torch.tensor([0.2], dtype=torch.float64)}
    found = mutation_score(
        check, f, grad, params, points=("given", "float32"), mutants=["sign", "factor", "tiny", "nan"]
    )
    assert {(m.point, m.name.partition(":")[0]) for m in found.survived} == {
        ("given", "off by 1e-4"),
        ("given", "off by 1e-6"),
    }
    assert {m.point for m in found.equivalent} == {"float32"} | {m.point for m in found.equivalent if m.kind == "sign"}


def test_jax_arrays_in_both_precisions():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        numbers = jax.numpy.asarray([0.5, -1.5])

        def check(f, g, p):
            assert isinstance(g(p), jax.Array)
            np.testing.assert_allclose(g(p), jax.grad(f)(p), rtol=1e-4)

        total = lambda p: (p**3).sum()  # noqa: E731
        found = mutation_score(
            check, total, jax.grad(total), numbers, points=("given", "float32"), mutants=["sign", "flip"]
        )
        assert not found.survived and {m.point for m in found.caught} == {"given", "float32"}
