"""PyTorch users' calls as they write them: every right gradient passes, and its wrong twin is named."""

import pickle
from functools import partial

import numpy as np
import pytest

from gradcheck import GradientError, InvalidArgument

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from gradcheck.torch import (  # noqa: E402
    TorchGradientError,
    assert_function,
    assert_module,
    check_function,
    check_module,
    gradcheck,
    gradgradcheck,
)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Scaled(torch.autograd.Function):
    """``tanh`` with a backward that is off by a factor, and whose double backward is right for that factor."""

    @staticmethod
    def forward(ctx, x, factor):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        ctx.factor = factor
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return ctx.factor * dy * (1 - y * y), None


class Detached(torch.autograd.Function):
    """A product whose backward forgets that it depends on its inputs."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, dy):
        x, y = ctx.saved_tensors
        return dy * y.detach(), dy * x


def wrong(report):
    return [name for name, parameter in report.parameters.items() if parameter.wrong.any()]


# ---- functions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("factor", [1.0, 1.01, -1.0, 0.5])
def test_an_autograd_function(factor, dtype):
    x = torch.randn(4, 3, dtype=dtype)
    report = check_function(Scaled.apply, x, factor)
    assert report.verdict == ("pass" if factor == 1.0 else "fail"), str(report)
    report = check_function(lambda x, y: (Scaled.apply(x @ y, factor), y.sum()), x, torch.randn(3, 2, dtype=dtype))
    assert report.verdict == ("pass" if factor == 1.0 else "fail"), str(report)
    assert wrong(report) == ([] if factor == 1.0 else ["x", "y"])


BACKWARDS = {
    "right": lambda dy, x: 2 * x * dy,
    "upstream-ignored": lambda dy, x: 2 * x,
    "zero-upstream": lambda dy, x: x * (1 + dy),
    "not-linear": lambda dy, x: 2 * x * abs(dy),
}
"""Of the sum of squares: all are its gradient where the upstream is one."""


@pytest.mark.parametrize("code", BACKWARDS)
def test_the_upstream_of_a_loss(code):
    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return (x**2).sum()

        @staticmethod
        def backward(ctx, dy):
            return BACKWARDS[code](dy, *ctx.saved_tensors)

    for report in (
        check_function(Loss.apply, torch.randn(4)),
        check_module(nn.Linear(3, 2), torch.randn(4, 3), loss=Loss.apply),
    ):
        assert report.verdict == ("pass" if code == "right" else "fail"), str(report)
        assert code in {"right", *(finding.code for finding in report.findings)}
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(Loss.apply, (x,), raise_exception=False) is (code == "right")


def test_only_what_requires_grad_is_checked():
    x, y = torch.randn(3, requires_grad=True), torch.randn(3)
    assert list(check_function(torch.mul, x, y).parameters) == ["x0"]
    assert list(check_function(lambda a, b: a * b, x, y).parameters) == ["a"]
    assert list(check_function(lambda a, b: a * b, x.detach(), y).parameters) == ["a", "b"]
    assert x.grad is None and x.requires_grad


def test_integers_settings_trees_and_tuples():
    table, index = torch.randn(6, 3), torch.tensor([0, 2, 2, 5])

    def f(pair, index, mode="sum"):
        assert mode == "sum"
        rows = functional.embedding(index, pair["table"])
        return rows.sum(0) * pair["scale"][0], {"largest": rows.max(), "where": rows.argmax()}

    report = check_function(f, {"table": table, "scale": [torch.tensor(1.5)]}, index, "sum")
    assert report.ok, str(report)
    assert list(report.parameters) == ["pair.table", "pair.scale[0]"]

    class Lost(torch.autograd.Function):
        @staticmethod
        def forward(ctx, table, index):
            ctx.save_for_backward(index)
            ctx.shape = table.shape
            return table[index]

        @staticmethod
        def backward(ctx, dy):
            (index,) = ctx.saved_tensors
            found = torch.zeros(ctx.shape, dtype=dy.dtype)
            found[index] = dy
            return found, None

    report = check_function(Lost.apply, table, index)
    assert np.unique(np.argwhere(report.parameters["x0"].wrong)[:, 0]).tolist() == [2]


def test_what_is_cut_off_from_the_graph_has_a_gradient_of_zero():
    report = check_function(lambda x, y: x.detach() * y, torch.randn(3), torch.randn(3))
    assert report.verdict == "fail" and wrong(report) == ["x"]
    assert check_function(lambda x: x.detach().sum(), torch.randn(3)).verdict == "fail"


def test_outputs_that_do_not_require_grad_are_left_out_and_named():
    x, weight, bias = torch.randn(4, 5), torch.randn(5), torch.randn(5)
    report = check_function(torch.native_layer_norm, x, [5], weight, bias, 1e-5)
    assert report.ok and "outputs 1, 2 of the function do not require grad" in str(report), str(report)
    report = check_function(lambda x: (Scaled.apply(x, 0.9), x.detach() ** 2), x)
    assert report.verdict == "fail" and "outputs 1 of" in str(report)
    assert check_function(lambda x: (x.argmax(), x.detach(), Scaled.apply(x, 1.0)), x, order=2).ok
    assert gradcheck(lambda x: (x.sin(), x.detach()), (torch.randn(3, dtype=torch.float64, requires_grad=True),))


def test_double_backward():
    x, y = torch.randn(3), torch.randn(3)
    assert check_function(torch.mul, x, y, order=2).ok
    report = check_function(Detached.apply, x, y, order=2)
    assert report.verdict == "fail"
    assert not {"x0", "x1"} & set(wrong(report)) and "x1 (order 2)" in wrong(report), str(report)


def test_a_function_that_differentiates_something_itself():
    def force(x):
        x = x if x.requires_grad else x.requires_grad_()
        energy = (x**4).sum() + x.prod()
        return torch.autograd.grad(energy, x, create_graph=True)[0]

    assert check_function(force, torch.randn(4)).ok


def test_complex_tensors():
    z, w = torch.randn(3, dtype=torch.complex128), torch.randn(3, dtype=torch.complex64)
    assert check_function(lambda z: (z * z.conj()).real.sqrt(), z).ok
    assert check_function(lambda z: torch.fft.fft(z) * z, w).ok

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z * z

        @staticmethod
        def backward(ctx, dy):
            return 2 * dy * ctx.saved_tensors[0]  # without conj

    for point in (z, w):
        assert check_function(Wrong.apply, point).verdict == "fail"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    x = torch.randn(6, 5, dtype=dtype)
    assert check_function(lambda x: (x.tanh() ** 2).sum(), x).ok
    assert check_function(lambda x: (Scaled.apply(x, 0.5) ** 2).sum(), x).verdict == "fail"


def test_what_knows_only_one_dtype_is_checked_as_it_is():
    def single(x):
        if x.dtype != torch.float32:
            raise RuntimeError("expected scalar type Float")
        return Scaled.apply(x, 1.0).sum()

    report = check_function(single, torch.randn(4))
    assert report.ok and [finding.code for finding in report.findings] == ["reference-unavailable"], str(report)
    report = check_function(lambda x: 2 * single(x) - Scaled.apply(x, 0.5).sum(), torch.randn(4))
    assert report.verdict == "fail"


def test_sparse_gradients_and_strided_inputs():
    index = torch.tensor([[0, 2], [3, 3]])
    assert check_function(lambda w: functional.embedding(index, w, sparse=True) ** 2, torch.randn(5, 2)).ok
    x = torch.randn(4, 6).t()[::2]
    assert not x.is_contiguous()
    assert check_function(lambda x: x.cumsum(0).sin(), x).ok
    assert check_function(lambda x: Scaled.apply(x.expand(2, *x.shape), 0.9), x).verdict == "fail"


# ---- modules ---------------------------------------------------------------------------------------------------------


class Halving(nn.Module):
    """A linear layer that passes half of the gradient on to its weight."""

    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, features) / 3)

    def forward(self, x):
        return x @ (self.weight + self.weight.detach()) / 2


def network(*, with_fault=False):
    middle = Halving(6) if with_fault else nn.Linear(6, 6)
    return nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), middle, nn.Dropout(0.4), nn.LayerNorm(6), nn.Linear(6, 3)
    )


LABELS = torch.arange(8) % 3


def cross_entropy(output):
    return functional.cross_entropy(output, LABELS)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("loss", [None, cross_entropy])
def test_batch_normalisation_and_dropout(training, loss):
    x = torch.randn(8, 5, requires_grad=True)
    module = network().train(training)
    report = check_module(module, x, loss=loss)
    assert report.ok, str(report)
    assert list(report.parameters) == [*dict(module.named_parameters()), "input"]
    module = network(with_fault=True).train(training)
    report = check_module(module, x, loss=loss)
    assert report.verdict == "fail" and wrong(report) == ["3.weight"], str(report)
    assert "1/2 of the true one" in str(report)


def everything(module):
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    return state, [None if p.grad is None else p.grad.clone() for p in module.parameters()], torch.get_rng_state()


@pytest.mark.parametrize("scale", [3.0, 10.0, 30.0])
@pytest.mark.parametrize("seed", [0, 4, 10])
def test_log_probabilities_without_a_loss(seed, scale):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(5, 3), nn.LogSoftmax(-1))
    x = scale * torch.randn(8, 5)
    assert check_module(module, x).ok
    module[0].weight.register_hook(lambda gradient: 1.01 * gradient)
    assert check_module(module, x).verdict == "fail"


def test_nothing_of_a_module_is_changed():
    module, x = network(), torch.randn(8, 5)
    module[0].seen, module[0].counts = [], {"calls": 0}

    def note(part, inputs):
        part.seen.append(1)
        part.counts["calls"] += 1
        part.last = inputs[0]

    handle = module[0].register_forward_pre_hook(note)
    cross_entropy(module(x)).backward()
    module[4].eval()
    graph = cross_entropy(module(x))  # somebody's graph that is still to be used
    seen, counts = list(module[0].seen), dict(module[0].counts)
    identities = [id(p) for p in module.parameters()], [p.data_ptr() for p in module.parameters()]
    state, gradients, random = everything(module)
    for loss in (None, cross_entropy):
        check_module(module, x, loss=loss)
        after = everything(module)
        assert all(torch.equal(state[name], after[0][name]) for name in state)
        assert all(torch.equal(a, b) for a, b in zip(gradients, after[1], strict=True))
        assert torch.equal(random, after[2])
        assert identities == ([id(p) for p in module.parameters()], [p.data_ptr() for p in module.parameters()])
        assert [part.training for part in module] == [True, True, True, True, False, True, True]
        assert module[0].seen == seen and module[0].counts == counts
        assert handle.id in module[0]._forward_pre_hooks
    graph.backward()


@pytest.mark.parametrize("kind", ["tensor", "module"])
def test_a_hook_that_halves_a_gradient_is_found(kind):
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    x = torch.randn(3, 4)
    assert check_module(module, x).ok
    if kind == "tensor":
        module[2].weight.register_hook(lambda gradient: gradient / 2)
        names = ["2.weight"]
    else:
        module[1].register_full_backward_hook(lambda _, inputs, __: (inputs[0] / 2,))
        names = ["0.weight", "0.bias"]
    assert wrong(check_module(module, x)) == names


class Tied(nn.Module):
    def __init__(self, fault=1.0):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.fault = fault

    def forward(self, tokens, *, scale=1.0):
        return self.head(Scaled.apply(self.embedding(tokens), self.fault)) * scale


def test_tied_weights_and_keywords():
    tokens = torch.tensor([[1, 4, 4], [0, 10, 2]])
    report = check_module(Tied(), tokens, kwargs={"scale": 0.5})
    assert report.ok and list(report.parameters) == ["embedding.weight"], str(report)
    assert check_module(Tied(0.9), tokens).verdict == "fail"


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_recurrent_modules(cell):
    report = check_module(cell(3, 4, batch_first=True), torch.randn(2, 5, 3, requires_grad=True))
    assert report.ok, str(report)


def test_convolution_in_channels_last_and_frozen_parameters():
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3))
    x = torch.randn(2, 2, 6, 6)
    module(x)
    module = module.to(memory_format=torch.channels_last)
    module[0].bias.requires_grad_(False)
    report = check_module(module, x)
    assert report.ok and list(report.parameters) == ["0.weight", "4.weight", "4.bias"], str(report)


def test_wrt():
    module, x = network(with_fault=True), torch.randn(8, 5, requires_grad=True)
    assert list(check_module(module, x, wrt="0.*").parameters) == ["0.weight", "0.bias"]
    assert wrong(check_module(module, x, wrt=["3.weight", "input"])) == ["3.weight"]
    with pytest.raises(
        InvalidArgument,
        match=r"wrt='none' fits nothing; there are 0.weight.*; .* requires_grad_\(\) makes one of another",
    ):
        check_module(module, x, wrt="none")


def test_attention_with_a_wrong_value_projection():
    class Block(nn.Module):
        def __init__(self, fault):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.norm, self.fault = nn.LayerNorm(8), fault
            self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

        def forward(self, x):
            attended = self.attention(x, x, x, need_weights=False)[0]
            return self.norm(self.mlp(x + Scaled.apply(attended, self.fault)))

    x = torch.randn(2, 5, 8)
    assert check_module(Block(1.0), x).ok
    report = check_module(Block(0.5), x)
    assert wrong(report) and all(name.startswith("attention.") for name in wrong(report)), str(report)


class Halved(nn.Module):
    """Two dense layers that compute in half precision inside: under autocast, or by casts of their own."""

    def __init__(self, fault, dtype, by):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.fault, self.dtype, self.by = fault, dtype, by

    def forward(self, x):
        if self.by == "autocast":
            with torch.autocast("cpu", dtype=self.dtype):
                return self.last(Scaled.apply(self.first(x), self.fault)).float()
        hidden = Scaled.apply(self.first(x).to(self.dtype), self.fault)
        return (hidden @ self.last.weight.to(self.dtype).T).float() + self.last.bias


@pytest.mark.parametrize("by", ["autocast", "casts"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_is_computed_in_half_precision_inside_is_judged_at_its_accuracy(dtype, by):
    x, square = torch.randn(4, 3), lambda y: (y**2).mean()
    report = check_module(Halved(1.0, dtype, by), x, loss=square)
    assert report.ok and [finding.code for finding in report.findings] == ["coarse-dtype"], str(report)
    assert f"computes in {str(dtype).removeprefix('torch.')} on the way" in report.findings[0].message
    report = check_module(Halved(0.5, dtype, by), x, loss=square, max_evaluations=400)
    assert report.verdict == "fail" and set(wrong(report)) <= {"first.weight", "first.bias"}, str(report)


class Normalised(nn.Module):
    """A bias before a batch normalisation: its gradient is zero, and in half precision nothing but rounding."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault
        self.first, self.norm, self.last = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=x.dtype is torch.float32):
            return self.last(torch.relu(Scaled.apply(self.norm(self.first(x)), self.fault)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_round_off_of_the_gradient_is_not_called_noise_of_the_function(dtype):
    torch.manual_seed(1)
    x = torch.randn(16, 5).to(dtype)
    report = check_module(Normalised(1.0).to(dtype), x)
    told = {finding.where: finding for finding in report.findings}
    assert report.verdict == "inconclusive" and told["first.bias"].code == "undecided-roundoff", str(report)
    assert "evaluate f" not in told["first.bias"].message and "wider dtype" in told["first.bias"].message
    report = check_module(Normalised(0.5).to(dtype), x)
    assert report.verdict == "fail" and "norm.weight" in wrong(report), str(report)


class Weighed(torch.autograd.Function):
    """Sines by weights that span ten decades, with a backward that may be off in one element."""

    @staticmethod
    def forward(ctx, x, factors):
        ctx.save_for_backward(x, factors)
        return (torch.logspace(-4, 6, len(x), dtype=x.dtype) * torch.sin(x)).sum()

    @staticmethod
    def backward(ctx, dy):
        x, factors = ctx.saved_tensors
        return dy * factors.to(x.dtype) * torch.logspace(-4, 6, len(x), dtype=x.dtype) * torch.cos(x), None


@pytest.mark.parametrize("element", [None, *range(6)])
def test_no_element_hides_behind_larger_ones_in_single_precision(element):
    factors = torch.ones(6)
    if element is not None:
        factors[element] = -1
    report = check_function(lambda x: Weighed.apply(x, factors), torch.linspace(0.3, 1.4, 6).requires_grad_())
    found = report.parameters["x"].wrong
    assert report.ok if element is None else np.flatnonzero(found).tolist() == [element], str(report)


@pytest.mark.parametrize("bias", [6.0, 8.5, 20.0])
def test_saturated_units_in_single_precision_are_right(bias):
    """Where ``1 - tanh(z) ** 2`` is rounded to few units, or zero, beside units that are not saturated."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].bias[1] = bias
    report = check_module(model, torch.randn(7, 3), loss=lambda y: (y**2).mean())
    assert report.ok, str(report)


def test_a_module_that_is_random_on_its_own():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.rng = nn.Parameter(torch.ones(3)), np.random.default_rng(0)

        def forward(self):
            return (self.weight * float(self.rng.normal())).sum()

    report = check_module(Noisy())
    assert report.verdict == "inconclusive" and report.findings[0].code == "f-not-deterministic"


def test_few_calls_where_vmap_does():
    module = nn.Sequential(nn.Linear(12, 30), nn.Tanh(), nn.Linear(30, 1))
    report = check_module(module, torch.randn(7, 12), loss=lambda y: (y**2).mean())
    assert report.ok and report.evaluations < 120, str(report)
    as_told = check_module(module, torch.randn(7, 12), loss=lambda y: (y**2).mean(), vectorized=False)
    assert as_told.ok and as_told.evaluations > 500


@pytest.mark.parametrize("seed", [0, 7])
def test_a_perceptron_of_a_hundred_thousand_weights(seed):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    x, labels = torch.rand(64, 784), torch.randint(10, (64,))
    loss = partial(functional.cross_entropy, target=labels)
    report = check_module(module, x, loss=loss)
    largest = max(np.abs(parameter.claimed).max() for parameter in report.parameters.values())
    weight = report.parameters["0.weight"]
    assert report.ok and report.evaluations <= 160, str(report)
    assert weight.detection_floor <= 1e-4 * largest
    usual = np.flatnonzero(np.abs(weight.claimed) <= np.sqrt(np.mean(weight.claimed**2)))
    place = int(np.random.default_rng(seed).choice(usual))

    def off(gradient):
        changed = gradient.clone()
        changed.view(-1)[place] += weight.detection_floor
        return changed

    module[0].weight.register_hook(off)
    report = check_module(module, x, loss=loss)
    assert report.verdict == "fail" and wrong(report) == ["0.weight"], str(report)
    assert np.flatnonzero(report.parameters["0.weight"].wrong).tolist() == [place]


# ---- torch's own call ------------------------------------------------------------------------------------------------


def test_what_gradcheck_raises_is_both():
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    for kind in (RuntimeError, GradientError, AssertionError):
        with pytest.raises(kind) as raised:
            gradcheck(lambda x: Scaled.apply(x, 0.5), (x,))
    again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - our own
    assert type(again) is TorchGradientError and again.report.verdict == "fail"
    assert gradcheck(lambda x: Scaled.apply(x, 0.5), x, raise_exception=False) is False
    assert gradcheck(lambda x: Scaled.apply(x, 1.001), x, rtol=0.01, atol=0, eps=1e-3, nondet_tol=1.0)
    with pytest.raises(ValueError, match="no input requires grad"):
        gradcheck(torch.sin, torch.randn(3))
    y = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(torch.mul, (x, y)) and gradgradcheck(torch.mul, (x, y), torch.ones(3, dtype=torch.float64))
    with pytest.raises(RuntimeError):
        gradgradcheck(Detached.apply, (x, y))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_assertions_and_errors():
    assert assert_function(torch.sin, torch.randn(3)).ok and assert_module(nn.Linear(2, 2), torch.randn(3, 2)).ok
    with pytest.raises(GradientError):
        assert_function(Scaled.apply, torch.randn(3), 0.5)
    with pytest.raises(GradientError):
        assert_module(Halving(3), torch.randn(2, 3))
    with pytest.raises(InvalidArgument, match=r"a torch\.nn\.Module was required"):
        check_module(torch.sin, torch.randn(3))
    with pytest.raises(InvalidArgument, match="nothing to differentiate"):
        check_function(lambda x: x.argmax(), torch.randn(3))
    with pytest.raises(InvalidArgument, match="loss returned a tensor of shape"):
        check_module(nn.Linear(2, 2), torch.randn(3, 2), loss=lambda y: y)
    with pytest.raises(InvalidArgument, match="meta device"):
        check_function(torch.sin, torch.randn(3, device="meta"))
    with pytest.raises(InvalidArgument, match=r"functools.partial\(f, negative_slope=\.\.\.\)"):
        check_function(nn.functional.leaky_relu, torch.randn(3), negative_slope=0.2)
    with pytest.raises(InvalidArgument, match="order=3"):
        check_function(torch.sin, torch.randn(3), order=3)
    with pytest.raises(InvalidArgument, match=r"fn is the class Scaled; a function was required: Scaled\.apply"):
        check_function(Scaled, torch.randn(3), 1.0)
    with pytest.raises(InvalidArgument, match="no floating-point tensor"):
        check_function(torch.sin)
    with pytest.raises(InvalidArgument, match="module is a ScriptModule"):
        check_module(torch.jit.script(nn.Linear(2, 2)), torch.randn(3, 2))
    with pytest.raises(InvalidArgument, match=r"module is a DataParallel, .*: module\.module"):
        check_module(nn.DataParallel(nn.Linear(2, 2)), torch.randn(3, 2))
    with pytest.raises(InvalidArgument, match=r"module: 0\.weight has no shape until the module is first called"):
        check_module(nn.Sequential(nn.LazyLinear(2)), torch.randn(3, 2))
    with pytest.raises(InvalidArgument, match="and not its class"):
        check_module(nn.ReLU, torch.randn(3, 2))
    assert check_function(nn.Linear(2, 2), torch.randn(3, 2)).ok


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_function(torch.sin, np.ones(3)), "is an ndarray"),
        (lambda: check_function(torch.abs, torch.arange(3)), r"is a Tensor of torch.int64"),
        (lambda: check_module(nn.Linear(2, 2), torch.randn(3, 2), loss=3), "loss=3 is an int"),
        (lambda: check_module(nn.Linear(2, 2), torch.randn(3, 2), kwargs=3), "kwargs is an int"),
        (lambda: check_module(nn.Linear(2, 2), torch.randn(3, 2), wrt=None), "wrt=None must be a name"),
        (lambda: gradcheck(torch.sin, None), "inputs is None"),
        (lambda: gradcheck(None, torch.randn(3, requires_grad=True)), "func=None; a function was required"),
    ],
)
def test_what_was_given_is_named(call, words):
    with pytest.raises(InvalidArgument, match=words):
        call()


def test_inference_mode_is_refused_and_no_grad_is_not():
    with torch.inference_mode(), pytest.raises(InvalidArgument, match="outside of it"):
        check_function(torch.sin, torch.randn(3))
    with torch.no_grad():
        assert check_function(torch.sin, torch.randn(3)).ok
        assert check_function(lambda x: Scaled.apply(x, 0.9), torch.randn(3)).verdict == "fail"


def test_empty_and_0_d_tensors():
    report = check_function(torch.sin, torch.zeros(0, 3))
    assert report.ok and "empty" in str(report)
    assert check_function(lambda x, y: x.sum() + y.sin(), torch.zeros(0, 3), torch.tensor(0.7)).ok
    assert (
        check_function(lambda x, y: x.sum() + Scaled.apply(y, 2.0), torch.zeros(0, 3), torch.tensor(0.7)).verdict
        == "fail"
    )


def test_an_exception_midway_leaves_the_module_as_it_was():
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.norm, self.calls = nn.Parameter(torch.ones(3)), nn.BatchNorm1d(3), []

        def forward(self, x):
            self.calls.append(1)
            self.last = x
            if len(self.calls) > 9:
                raise KeyError("midway")
            return self.norm(x * self.weight)

    module, x = Breaks(), torch.randn(5, 3)
    before, attributes = everything(module), set(vars(module))
    with pytest.raises(KeyError):
        check_module(module, x)
    after = everything(module)
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0]) and torch.equal(before[2], after[2])
    assert after[1] == [None] * len(after[1]) and set(vars(module)) == attributes and module.calls == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: check_module(nn.Linear(2, 2), torch.randn(3, 2), torch.randn(3, 2)),
        lambda: check_module(nn.Linear(2, 2)),
        lambda: check_module(nn.Linear(2, 2), torch.randn(3, 2), loss=nn.MSELoss()),
        lambda: check_function(lambda x, y: x @ y, (torch.randn(2, 3), torch.randn(3))),
    ],
)
def test_arguments_that_do_not_fit_are_told_with_the_remedy(call):
    with pytest.raises(TypeError) as raised:
        call()
    notes = "; ".join(raised.value.__notes__)
    assert "inputs follow the function or module one by one; targets belong to the loss: loss=" in notes


class HalfGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * torch.arange(3.0).double()

    @staticmethod
    def backward(ctx, dy):
        return (dy * torch.arange(3.0).double()).sum() / 2


@pytest.mark.parametrize("half", [False, True])
def test_the_gradient_of_a_single_number_of_which_several_are_made_has_no_axis(half):
    report = check_function(
        HalfGradient.apply if half else lambda x: x * torch.arange(3.0).double(), torch.tensor(0.7).double()
    )
    assert report.verdict == ("fail" if half else "pass")
    assert {finding.code for finding in report.findings} <= {"wrong-gradient"}
