"""Mistakes that people make with PyTorch, JAX and SciPy: each is told in one sentence with the remedy, and judged as nothing else."""

import re

import numpy as np
import pytest

from gradcheck import InvalidArgument, check_gradient, check_hvp, check_jacobian, check_jvp, check_vjp

jax = pytest.importorskip("jax")
jnp = jax.numpy
torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

optimize = pytest.importorskip("scipy.optimize")

from gradcheck.jax import check_grad  # noqa: E402
from gradcheck.scipy import check_least_squares, check_problem  # noqa: E402
from gradcheck.torch import check_function, check_module  # noqa: E402

LINEAR = nn.Linear(4, 3)
T, LABELS = torch.linspace(-1, 1, 20).reshape(5, 4), torch.arange(5) % 3
X = jnp.linspace(0.5, 1.5, 3)
X0 = np.array([1.3, 0.7, 0.8])


class Square(torch.autograd.Function):
    """Right, and given to a check in wrong ways."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, dy):
        return 2 * ctx.saved_tensors[0] * dy


class Thing:
    """An object of no kind that anybody has registered."""

    def __init__(self):
        self.w = X


def backward_inside(y):
    loss = nn.functional.cross_entropy(y, LABELS)
    loss.backward()
    return loss


def cube(x):
    return jnp.sum(x**3)


REFUSED = [
    (lambda: check_module(nn.Linear, T), "not its class"),
    (lambda: check_module(T, LINEAR), "a torch.nn.Module was required"),
    (lambda: check_module(LINEAR, T, loss="mse"), "loss='mse' is a str"),
    (lambda: check_module(LINEAR, T, loss=backward_inside), "calls backward.* leave it out"),
    (lambda: check_module(LINEAR, T, loss=lambda y: y.sum().item()), "loss returned a float"),
    (lambda: check_module(LINEAR, T, kwargs=3), "kwargs is an int"),
    (lambda: check_module(LINEAR, T, wrt=LINEAR.weight), "must be a name"),
    (lambda: check_function(Square, T), r"Square\.apply"),
    (lambda: check_function(Square(), T), r"Square\.apply"),
    (lambda: check_function(Square.apply, torch.arange(3)), r"x0 is a Tensor of torch\.int64"),
    (lambda: check_function(torch.sin, T.numpy()), r"x0 is an ndarray of float32.*check_vjp"),
    (lambda: check_function(lambda x: torch.from_numpy(np.sin(x.numpy())), T), "calls NumPy.*check_vjp"),
    (lambda: check_function(lambda x: x.mul_(2).sum(), T), r"writes into an input.*x\.clone\(\)"),
    (lambda: check_function(torch.softmax, T, dim=1), r"kwargs= where a check takes it"),
    (lambda: check_grad(lambda x, y: jnp.sum(x) * y, X, jnp.arange(3), argnums=1), "y is an ArrayImpl of int32"),
    (lambda: check_grad(lambda x: sum(v**2 for v in x), [1, 2, 3]), r"x\[0\] is an int"),
    (lambda: check_grad(lambda m: jnp.sum(m.w), Thing()), "m is a Thing.*the arrays that it holds"),
    (lambda: check_grad(cube, X, args=(1,)), r"kwargs=\{\.\.\.\}"),
    (lambda: check_grad(cube, X, argnames="x"), "argnums= is meant"),
    (lambda: check_grad(cube, X, seed=1), "rng= is meant"),
    (lambda: check_grad(cube, X, kwargs=3), "kwargs is an int"),
    (lambda: check_problem(optimize.rosen, X0, jac=optimize.rosen_der, kwargs={"a": 1}), r"functools\.partial"),
    (lambda: check_problem(optimize.rosen, X0, jac=optimize.rosen_der, hes=1), "hes= is not an option"),
    (lambda: check_problem(optimize.rosen, optimize.OptimizeResult(x=X0), jac=optimize.rosen_der), "give its x"),
    (lambda: check_least_squares(np.sin, X0, "2-point"), "jac='2-point' is a str"),
    (lambda: check_gradient(lambda x: x[0] > 1, np.cos, X0), "True or False"),
    (lambda: check_gradient(jax.value_and_grad(lambda x: (cube(x), x), has_aux=True), True, X), "an ArrayImpl.*alone"),
    (lambda: check_gradient(torch.func.grad_and_value(lambda x: (x**2).sum()), True, T), r"returned \(gradient, value\)"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_describes_no_check_is_refused(number):
    call, words = REFUSED[number]
    with pytest.raises(InvalidArgument, match=words) as caught:
        call()
    assert len(str(caught.value)) < 400


NOTED = [
    (lambda: check_module(LINEAR, T, LABELS), TypeError, "targets belong to the loss"),
    (lambda: check_module(LINEAR, T, loss=nn.CrossEntropyLoss()), TypeError, "targets belong to the loss"),
    (lambda: check_module(LINEAR, (T,)), TypeError, "one by one"),
    (lambda: check_function(torch.dot, [T[0], T[0]]), TypeError, "one by one"),
    (lambda: check_grad(lambda x, y: jnp.sum(x * y), (X, X)), TypeError, r"check_grad(f, x, y)"),
    (lambda: check_vjp(jnp.sin, jax.vjp(jnp.sin, X)[1], X), TypeError, "it is called vjp(dy, *inputs)"),
    (lambda: check_jvp(jnp.sin, jax.linearize(jnp.sin, X)[1], X), TypeError, "it is called jvp(tangents, *inputs)"),
    (lambda: check_gradient(lambda p: (p**2).sum(), lambda p: torch.autograd.grad((p**2).sum(), p)[0], T), RuntimeError, "requires_grad_()"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NOTED)))
def test_what_a_function_raises_is_noted_once_with_the_remedy(number):
    call, kind, words = NOTED[number]
    with pytest.raises(kind) as caught:
        call()
    assert sum(words in note for note in caught.value.__notes__) == 1


JUDGED = [
    (lambda: check_jvp(jnp.sin, lambda t, x: jax.jvp(jnp.sin, (x,), t), X), r"a tuple of 2, of which \[0\] and \[1\]"),
    (lambda: check_hvp(jax.grad(cube), lambda x, v: jax.jvp(jax.grad(cube), (x,), (v,)), X), r"\[0\] and \[1\] could be meant"),
    (lambda: check_jacobian(jnp.sin, jax.jacfwd(lambda x: (jnp.sin(x), x), has_aux=True), X), r"\[0\] could be meant"),
    (lambda: check_gradient(cube, jax.grad(lambda x: (cube(x), {}), has_aux=True), X), r"returned \(gradient, a dict\)"),
    (lambda: check_gradient(cube, jax.value_and_grad(cube), X), r"returned \(value, gradient\)"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(JUDGED)))
def test_what_a_derivative_returns_beside_is_told(number):
    call, words = JUDGED[number]
    report = call()
    assert report.verdict == "fail"
    assert report.findings[0].code == "wrong-structure"
    assert re.search(words, report.findings[0].message)


# ---- what is no mistake of the derivative ---------------------------------------------------------------------------


def test_a_function_that_draws_from_numpy_is_not_judged_by_its_modes():
    rng = np.random.default_rng(0)
    report = check_grad(lambda x: jnp.sum(x * rng.random(3)), X)
    assert report.verdict == "inconclusive" and report.findings[0].code == "f-not-deterministic"


def test_modes_are_compared_where_values_are_nan():
    report = check_grad(lambda x: jnp.sum(jnp.log(x)), -X)
    assert report.verdict == "inconclusive" and report.findings[0].code == "value-not-finite"


@pytest.mark.parametrize("forward", [False, True])
def test_a_rule_whose_forward_pass_is_another_function_fails(forward):
    def sine(value):
        if forward:
            f = jax.custom_jvp(jnp.sin)
            f.defjvp(lambda x, t: (value(x[0]), jnp.cos(x[0]) * t[0]))
        else:
            f = jax.custom_vjp(jnp.sin)
            f.defvjp(lambda x: (value(x), x), lambda x, dy: (jnp.cos(x) * dy,))
        return f

    assert check_grad(sine(jnp.sin), X).ok
    report = check_grad(sine(jnp.cos), X)
    assert report.verdict == "fail" and report.findings[0].code == "values-differ"


def test_a_module_that_computes_something_else_without_a_graph_fails():
    right, wrong = (lambda x, k=k: x.sin() if torch.is_grad_enabled() else k * x.sin() for k in (1, 2))
    assert check_function(right, T).ok
    codes = {finding.code for finding in check_function(wrong, T).findings}
    assert "values-differ" in codes


# ---- what was changed -------------------------------------------------------------------------------------------------


def test_nothing_of_the_user_is_written_into():
    table = nn.Embedding(9, 4, max_norm=1.0)
    before = table.weight.detach().clone()
    check_module(table, torch.tensor([1, 2, 0]))
    assert torch.equal(table.weight, before)
    point = T.clone()
    with pytest.raises(InvalidArgument):
        check_function(lambda x: x.mul_(2).sum(), point)
    assert torch.equal(point, T)


class Words(nn.Module):
    """An embedding with padding, whose table is the head's weight too where that is asked for."""

    def __init__(self, *, tied):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 4, padding_idx=2), nn.Linear(4, 9, bias=False)
        nn.init.normal_(self.table.weight)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, words):
        return self.head(torch.tanh(self.table(words)))


@pytest.mark.parametrize("tied", [False, True])
def test_padding_has_no_gradient_and_is_a_constant(tied):
    module, words = Words(tied=tied), torch.tensor([[1, 2, 0], [4, 2, 8]])
    calls = []
    module.table.register_forward_hook(lambda *_: calls.append(1))
    hooks = dict(module.table._forward_hooks)
    assert check_module(module, words).ok and calls
    assert dict(module.table._forward_hooks) == hooks
    module.table.weight.register_hook(lambda dw: 1.2 * dw)
    assert check_module(module, words).parameters["table.weight"].wrong.any()


def test_keyword_arguments_of_functions():
    scale = torch.tensor(2.0)
    for factor, verdict in ((1, "pass"), (2, "fail")):

        def f(x, *, scale, power, factor=factor):
            y = scale * x**power
            if y.requires_grad:
                y.register_hook(lambda dy: factor * dy)
            return y

        report = check_function(f, T[0], kwargs={"scale": scale, "power": 2})
        assert report.parameters["x"].wrong.any() == (verdict == "fail")
    both = check_function(torch.mul, T[0].clone().requires_grad_(), kwargs={"other": T[1].clone().requires_grad_()})
    assert both.ok and list(both.parameters) == ["x0", "other"]

    def g(x, *, scale, train):
        return jnp.sum(jnp.sin(x)) * scale if train else 0.0

    assert check_grad(g, X, kwargs={"scale": jnp.ones(()), "train": True}).ok


def test_lists_of_lists_of_numbers_and_an_array():
    square, double = lambda x: float(np.sum(np.asarray(x) ** 2)), lambda x: 2 * np.asarray(x)
    point = [[1.0, 2.0, 0.5], [3.0, 4.0, 0.7]]
    assert check_gradient(square, double, point).ok
    wrong = check_gradient(square, lambda x: double(x) * [[1, 1, 1], [1, 2, 1]], point)
    assert wrong.verdict == "fail" and wrong.findings[0].where == "[1]"
    assert check_gradient(square, lambda x: double(x).T, point).verdict == "fail"


def test_a_module_that_changes_itself_is_not_blamed_on_its_derivative():
    class Switching(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) * (1 if self.calls < 5 else 2)

    codes = {finding.code for finding in check_module(Switching(4, 3), T).findings}
    assert "values-differ" not in codes


def test_what_is_no_tensor_is_the_same_in_every_call():
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert check_function(lambda x, g: x * torch.rand(4, generator=g), T[0], generator).ok
    assert torch.equal(generator.get_state(), state)

    def writes(x, numbers):
        numbers += 1
        return x * float(numbers.sum())

    numbers = np.ones(2)
    assert check_function(writes, T[0], numbers).ok and numbers.sum() == 2


class Spread(nn.Module):
    """One weight for all, which is no memory of its own for each."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1).expand(4))

    def forward(self, x):
        return x * self.scale


def test_tensors_that_share_memory_or_are_conjugated_lazily():
    z = torch.complex(T[0], T[1])
    for f in (torch.conj, lambda z: z * z.conj()):
        assert check_function(f, z).ok
    assert check_function(lambda z: z * z, z.conj()).ok
    assert check_module(Spread(), T).ok
