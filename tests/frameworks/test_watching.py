"""The checks of the framework modules are watched as all others are: given options, told once, tolerated where that is asked."""

import numpy as np
import pytest

from gradcheck.watching import Watch, watching


@pytest.fixture
def told():
    """Labels and verdicts of what was checked."""
    return []


@pytest.fixture
def _watched(told):
    watch = Watch({"rng": 5}, lambda label, report: told.append((label, report.verdict, report.seed)), lambda _: True)
    with watching(watch):
        yield


pytestmark = pytest.mark.usefixtures("_watched")


def test_torch(told):
    torch = pytest.importorskip("torch")
    checks = pytest.importorskip("gradcheck.torch")

    class Doubled(torch.autograd.Function):
        """Claims twice the derivative of the sine."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved_tensors
            return 2 * dy * x.cos()

    x = torch.linspace(-1, 2, 3, dtype=torch.float64, requires_grad=True)
    checks.assert_function(torch.sin, x)
    checks.check_module(torch.nn.Linear(2, 1), torch.ones(3, 2))
    assert checks.gradcheck(torch.sin, (x,))
    assert checks.gradgradcheck(torch.sin, (x,))
    assert not checks.gradcheck(Doubled.apply, (x,))  # whoever watches said that no error is to be raised
    assert told == [
        ("check_function(sin)", "pass", "5"),
        ("check_module(Linear)", "pass", "5"),
        ("gradcheck(sin)", "pass", "5"),
        ("gradgradcheck(sin)", "pass", "5"),
        ("gradcheck(apply)", "fail", "5"),
    ]


def test_jax(told):
    jnp = pytest.importorskip("jax.numpy")
    pytest.importorskip("gradcheck.jax").assert_grad(jnp.sin, jnp.ones(2), order=2)
    assert told == [("check_grad(sin)", "pass", "5")]


def test_scipy_tells_each_of_its_reports(told):
    pytest.importorskip("scipy")
    checks = pytest.importorskip("gradcheck.scipy")

    def value(x):
        return np.sum(x**4)

    with pytest.raises(AssertionError):  # what is wrong is tolerated by no one
        checks.assert_problem(value, [0.5, 2.0], jac=lambda x: 4 * x**3, hess=lambda x: np.diag(x**2))
    checks.assert_least_squares(np.square, [0.5, 2.0], lambda x: np.diag(2 * x))
    assert told == [
        ("check_problem(value) jac", "pass", "5"),
        ("check_problem(value) hess", "fail", "5"),
        ("check_least_squares(square)", "pass", "5"),
    ]
