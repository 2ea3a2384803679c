"""What a check would leave out without a word is looked into, or refused: a wrong part beside a right one never passes."""

import dataclasses
import warnings

import numpy as np
import pytest

from gradcheck import InvalidArgument

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
jnp = jax.numpy

from gradcheck.jax import check_grad  # noqa: E402 - where the libraries are
from gradcheck.torch import check_function, check_module  # noqa: E402

X = jnp.linspace(0.5, 2.0, 5)


@dataclasses.dataclass
class Record:
    logits: object
    extra: object = None


@jax.custom_vjp
def reversed_in_jax(x):
    return x


reversed_in_jax.defvjp(lambda x: (x, None), lambda _, dy: (-dy,))


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return -dy


def test_complex_parts_are_refused_in_jax():
    z = (X + 1j * X).astype(jnp.complex64)
    with pytest.raises(InvalidArgument, match=r"p.z is complex \(complex64\); .* real and imaginary parts"):
        check_grad(lambda p: jnp.sum(p["a"] ** 2) + jnp.sum(jnp.abs(reversed_in_jax(p["z"])) ** 2), {"a": X, "z": z})
    with pytest.raises(InvalidArgument, match="returned is complex"):
        check_grad(lambda a: (a**2, jnp.exp(1j * reversed_in_jax(a))), X)


def test_a_class_that_jax_does_not_know_is_opened():
    def both(last):
        return lambda a, u: (a**2, Record(jnp.sum(last(u.logits)), u.extra))

    for last, wrong in ((jnp.tanh, set()), (reversed_in_jax, {"u.logits"})):
        report = check_grad(both(last), X, Record(X + 3, "a name"), argnums=(0, 1))
        assert {name for name, entry in report.parameters.items() if entry.wrong.any()} == wrong
        assert report.verdict == ("fail" if wrong else "pass") and list(report.parameters) == ["a", "u.logits"]
    assert check_grad(lambda a: (a**2, Record(reversed_in_jax(a))), X).verdict == "fail"


def test_settings_are_no_arrays_whatever_they_name():
    for dtype in ("float32", jnp.float32, np.dtype("float32")):
        assert check_grad(lambda x, d: x.astype(d) ** 2, X, dtype).ok
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_grad(lambda x, c: x**2 if c["mode"] == "f" else x, X, {"mode": "f", "name": "a"}).ok


def test_aux_needs_a_pair():
    with pytest.raises(InvalidArgument, match=r"a pair \(value, aux\) was required"):
        check_grad(lambda x: x * jnp.array([1.0, 2.0]), X[:2], has_aux=True)
    assert check_grad(lambda x: (jnp.sum(x**2), {"note": 1}), X, has_aux=True).ok


def test_outputs_in_a_dataclass_are_seen_in_pytorch():
    t = torch.linspace(-1, 1, 4)
    assert check_function(lambda x: Record(x.sin(), {"more": Record(x.cos())}), t).ok
    assert check_function(lambda x: (x.sin(), Record(None, Record(Reversed.apply(x.cos())))), t).verdict == "fail"

    class Model(torch.nn.Module):
        def __init__(self, last):
            super().__init__()
            self.a, self.b, self.last = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2), last

        def forward(self, x):
            return self.a(x), Record(self.last(self.b(x)))

    torch.manual_seed(0)
    x = torch.randn(4, 3)
    assert check_module(Model(torch.tanh), x).ok
    report = check_module(Model(Reversed.apply), x)
    wrong = {name for name, entry in report.parameters.items() if entry.wrong.any()}
    assert report.verdict == "fail" and wrong == {"b.weight", "b.bias"}


def test_inputs_in_a_dataclass_are_seen_in_pytorch():
    t, u = (torch.linspace(-1, 1, 4, requires_grad=True) for _ in range(2))
    for last, wrong in ((torch.exp, set()), (Reversed.apply, {"o.logits"})):
        report = check_function(lambda x, o, last=last: x.sin() * last(o.logits), t, Record(u, "a name"))
        assert {name for name, entry in report.parameters.items() if entry.wrong.any()} == wrong
        assert report.verdict == ("fail" if wrong else "pass") and list(report.parameters) == ["x", "o.logits"]
    held = check_function(lambda x, o: x.sin() * o.logits, t, Record(torch.ones(4)))
    assert held.ok and list(held.parameters) == ["x"]


def test_sparse_points_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        s = torch.eye(3, dtype=torch.float64).to_sparse().requires_grad_()
        check_function(torch.sparse.mm, s, torch.randn(3, 2, dtype=torch.float64, requires_grad=True))
