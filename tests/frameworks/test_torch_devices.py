"""Tensors stay on their device. No other device is at hand, but ``meta`` refuses to meet a tensor of the CPU, as a GPU does."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from gradcheck.checks.autodiff import upstreams  # noqa: E402
from gradcheck.functions.kinds import Tensor  # noqa: E402
from gradcheck.torch.arguments import of_function, of_module  # noqa: E402
from gradcheck.torch.tensors import like  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # of PyTorch's rules for meta


def on_meta(*shape, **options):
    return torch.empty(*shape, device="meta", **options)


def stays(problem):
    """Assert that values, products of both modes, and those of second order stay, in both precisions."""
    leaves = list(problem.inputs.values())
    values, better = problem.value(*leaves), problem.value(*(leaf.double() for leaf in leaves), wide=True)
    seeds = [like(*pair) for pair in zip(values, upstreams(values), strict=True)]
    found = [
        *values,
        *better,
        *problem.pull(seeds, *leaves),
        *problem.push([torch.ones_like(leaf) for leaf in leaves], *leaves),
        *problem.derivative().value(*problem.derivative().inputs.values()),
    ]
    assert {part.device.type for part in found} == {"meta"}
    assert {part.dtype for part in better} == {torch.float64}


@pytest.mark.parametrize(
    "inputs",
    [
        (on_meta(2, 3), on_meta(3, 4)),
        (on_meta(2, 3, dtype=torch.float16), on_meta(3, 4, dtype=torch.float16)),
        (on_meta(2, 3, dtype=torch.complex64), on_meta(3, 4, dtype=torch.complex64)),
        (on_meta(2, 3), on_meta(3, 4, requires_grad=True)),
    ],
)
def test_what_a_function_gives_stays_on_the_device(inputs):
    stays(of_function(lambda x, w: torch.tanh(x @ w), inputs))


def test_what_a_module_gives_stays_on_the_device():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)).to("meta")
    stays(of_module(module, (on_meta(5, 3),), None, None, "*"))
    stays(of_module(module, (on_meta(5, 3),), None, lambda y: (y**2).mean(), "0.*"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cls", [torch.Tensor, nn.Parameter])
def test_arrays_are_given_back_on_the_device(cls, dtype):
    kind = Tensor(cls, dtype, torch.device("meta"), True, dtype is torch.bfloat16)
    for form, kept in ((kind, dtype), (kind.widened(), torch.float64)):
        array = np.ones((2, 3), np.float64 if kept is torch.float64 else np.float32)
        given = form(array)
        assert given.device.type == "meta" and given.dtype is kept and type(given) is cls and given.requires_grad
        assert form.nothing(array).device.type == "meta"
