"""A test file written for ``torch.autograd.gradcheck``, run with it and with ours: the outcomes are the same in float64.

Every call below is as its author wrote it; only the import differs.
"""

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402, N812

from gradcheck import torch as ours  # noqa: E402

GRADCHECKS = {
    "torch": (torch.autograd.gradcheck, torch.autograd.gradgradcheck),
    "ours": (ours.gradcheck, ours.gradgradcheck),
}


def double(*shape):
    return torch.randn(*shape, dtype=torch.double, requires_grad=True)


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * dy


class WrongCube(Cube):
    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 2 * x**2 * dy


class WrongTwice(Cube):
    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 3 * x.detach() ** 2 * dy


class WrongForward(Cube):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_forward(x)
        return Cube.forward(ctx, x)

    @staticmethod
    def jvp(ctx, dx):
        (x,) = ctx.saved_tensors
        return 2 * x**2 * dx


class Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.sum()

    @staticmethod
    def backward(ctx, dy):
        return torch.ones(ctx.shape, dtype=dy.dtype)


class Swapped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, dy):
        x, y = ctx.saved_tensors
        return dy * x, dy * y


index = torch.tensor([0, 2, 2])
labels = torch.tensor([0, 1, 2, 1])

CASES = {
    "one input": lambda check, _: check(torch.sin, double(3)),
    "a tuple": lambda check, _: check(torch.matmul, (double(2, 3), double(3, 4))),
    "a list": lambda check, _: check(torch.add, [double(3), double(3)]),
    "positional tolerances": lambda check, _: check(torch.exp, (double(3),), eps=1e-6, atol=1e-4),
    "a module": lambda check, _: check(torch.nn.Linear(3, 2).double(), (double(4, 3),)),
    "several outputs": lambda check, _: check(lambda x: (x.sin(), x.sum(), x.argmax()), (double(4),)),
    "not all require grad": lambda check, _: check(torch.mul, (double(3), torch.randn(3, dtype=torch.double))),
    "an integer input": lambda check, _: check(lambda x, i: x[i].prod(), (double(3, 2), index)),
    "a custom function": lambda check, _: check(Cube.apply, (double(5),)),
    "a wrong custom function": lambda check, _: check(WrongCube.apply, (double(5),)),
    "not raised": lambda check, _: check(WrongCube.apply, (double(5),), raise_exception=False),
    "swapped gradients": lambda check, _: check(Swapped.apply, (double(3), double(3))),
    "fast mode": lambda check, _: check(torch.linalg.inv, (double(3, 3),), fast_mode=True),
    "fast mode, wrong": lambda check, _: check(WrongCube.apply, (double(5),), fast_mode=True),
    "a loss": lambda check, _: check(lambda x: F.cross_entropy(x, labels), (double(4, 3),)),
    "complex": lambda check, _: check(lambda z: z.abs(), (torch.randn(3, dtype=torch.cdouble, requires_grad=True),)),
    "forward mode": lambda check, _: check(torch.linalg.inv, (double(3, 3),), check_forward_ad=True),
    "forward mode, wrong": lambda check, _: check(WrongForward.apply, (double(5),), check_forward_ad=True),
    "forward mode, not asked for": lambda check, _: check(WrongForward.apply, (double(5),)),
    "forward mode alone": lambda check, _: check(
        WrongForward.apply, (double(5),), check_forward_ad=True, check_backward_ad=False, check_undefined_grad=False
    ),
    "a loss that ignores its upstream": lambda check, _: check(Sum.apply, (double(4),)),
    "extra options": lambda check, _: check(torch.tanh, (double(3),), nondet_tol=1e-5, check_undefined_grad=False),
    "a convolution": lambda check, _: check(F.conv2d, (double(1, 2, 4, 4), double(3, 2, 2, 2), double(3))),
    "second order": lambda _, twice: twice(torch.mul, (double(3), double(3))),
    "second order, forward over reverse": lambda _, twice: twice(
        torch.mul, (double(3), double(3)), check_fwd_over_rev=True
    ),
    "second order, given": lambda _, twice: twice(Cube.apply, (double(3),), torch.ones(3, dtype=torch.double)),
    "second order, wrong": lambda _, twice: twice(WrongTwice.apply, (double(3),)),
    "nothing requires grad": lambda check, _: check(torch.sin, (torch.randn(3, dtype=torch.double),)),
}


def outcome(case, name):
    torch.manual_seed(0)
    try:
        return CASES[case](*GRADCHECKS[name])
    except RuntimeError:
        return "RuntimeError"
    except ValueError:
        return "ValueError"


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # PyTorch's own, in its forward mode
@pytest.mark.filterwarnings("ignore:.*Input #0 requires gradient and is not a double precision.*")
@pytest.mark.parametrize("case", CASES)
def test_the_outcome_is_torchs(case):
    assert outcome(case, "ours") == outcome(case, "torch")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_the_outcomes_are_of_all_kinds():
    assert {outcome(case, "torch") for case in CASES} == {True, False, "RuntimeError", "ValueError"}
