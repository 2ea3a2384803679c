"""Every option of PyTorch's own call: what it asks is asked here too, with the outcome that PyTorch's own has."""

import pytest

torch = pytest.importorskip("torch")
from torch.autograd.function import once_differentiable  # noqa: E402

from gradcheck import InvalidArgument  # noqa: E402
from gradcheck import torch as ours  # noqa: E402

GRADCHECKS = {
    "torch": (torch.autograd.gradcheck, torch.autograd.gradgradcheck),
    "ours": (ours.gradcheck, ours.gradgradcheck),
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Backwards compatibility. New undefined gradient.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Sparse .* tensor support is in beta state.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Sparse invariant checks.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*There is a performance drop.*:UserWarning"),
]


def double(*shape, dtype=torch.double):
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def operator(backward, function=lambda x: x**2, *, materialize=True, jvp=None):
    """Return the ``apply`` of a Function whose backward is this, called with ``dy`` and ``x``."""

    class Operator(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.save_for_forward(x)
            ctx.set_materialize_grads(materialize)
            return function(x)

        @staticmethod
        def backward(ctx, *dy):
            return backward(*dy, *ctx.saved_tensors)

    if jvp is not None:
        Operator.jvp = staticmethod(lambda ctx, t: jvp(t, *ctx.saved_tensors))
    return Operator.apply


def vmap_breaks(dy, x):
    return 2 * x * dy if float(dy.sum()) > -1e9 else dy


def vmap_differs(dy, x):
    return 2 * x * dy * (2.0 if torch._C._functorch.is_legacy_batchedtensor(dy) else 1.0)


def two(x):
    return x**2, x**3


def of_two(dy, dz, x):
    found = torch.zeros_like(x)
    for upstream, slope in ((dy, 2 * x), (dz, 3 * x**2)):
        found = found if upstream is None else found + upstream * slope
    return found


def forgets_one(dy, dz, x):
    return torch.zeros_like(x) if dz is None else of_two(dy, dz, x)


class Passes(torch.autograd.Function):
    """Every second backward pass gives a little more."""

    count = 0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        Passes.count += 1
        return dy * (1 + 1e-9 * (Passes.count % 2))


class Strided(torch.autograd.Function):
    """The cube, with a double backward that reads the memory of its upstream in order."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * dy.as_strided(dy.shape, x.stride())


def coo(*, wrong=1.0):
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return torch.sparse.mm(x, y)

        @staticmethod
        def backward(ctx, dz):
            x, y = ctx.saved_tensors
            return (wrong * dz @ y.T).sparse_mask(x.coalesce()), x.to_dense().T @ dz

    return Product.apply


def sparse(layout=torch.sparse_coo):
    dense = torch.tensor([[0.5, 0.0, 1.5, 0.0], [0.0, -0.7, 0.0, 0.3]], dtype=torch.double)
    size = (1, 2) if layout in {torch.sparse_bsr, torch.sparse_bsc} else None
    return dense.to_sparse(layout=layout, blocksize=size).requires_grad_()


def summed(x):
    return x.to_dense(masked_grad=True).sin().sum()


SQUARE = {
    "right": operator(lambda dy, x: 2 * x * dy),
    "breaks": operator(vmap_breaks),
    "differs": operator(vmap_differs),
}
CASES = {
    "batched, right": lambda check, _: check(SQUARE["right"], (double(3),), check_batched_grad=True),
    "batched, of PyTorch's": lambda check, _: check(torch.linalg.inv, (double(3, 3),), check_batched_grad=True),
    "batched, breaks": lambda check, _: check(SQUARE["breaks"], (double(3),), check_batched_grad=True),
    "batched, breaks, not asked for": lambda check, _: check(SQUARE["breaks"], (double(3),)),
    "batched, differs": lambda check, _: check(SQUARE["differs"], (double(3),), check_batched_grad=True),
    "batched, several": lambda check, _: check(
        lambda x, y: (x @ y, y.sum()), (double(2, 3), double(3, 2)), check_batched_grad=True
    ),
    "batched, complex": lambda check, _: check(
        lambda z: z * z.conj(), (double(3, dtype=torch.cdouble),), check_batched_grad=True
    ),
    "batched, second order": lambda _, twice: twice(torch.mul, (double(3), double(3)), check_batched_grad=True),
    "batched, second order, breaks": lambda _, twice: twice(
        operator(lambda dy, x: SQUARE["breaks"](x) * dy, lambda x: x**3 / 3), (double(3),), check_batched_grad=True
    ),
    "batched forward, right": lambda check, _: check(
        torch.sin, (double(3),), check_forward_ad=True, check_batched_forward_grad=True
    ),
    "batched forward, several": lambda check, _: check(
        torch.matmul, (double(2, 3), double(3)), check_forward_ad=True, check_batched_forward_grad=True
    ),
    "batched forward, breaks": lambda check, _: check(
        operator(lambda dy, x: 2 * x * dy, jvp=vmap_breaks),
        (double(3),),
        check_forward_ad=True,
        check_batched_forward_grad=True,
    ),
    "batched forward, breaks, not asked for": lambda check, _: check(
        operator(lambda dy, x: 2 * x * dy, jvp=vmap_breaks), (double(3),), check_forward_ad=True
    ),
    "undefined, right": lambda check, _: check(operator(of_two, two, materialize=False), (double(3),)),
    "undefined, materialized": lambda check, _: check(
        operator(lambda dy, dz, x: 2 * x * dy + 3 * x**2 * dz, two), (double(3),)
    ),
    "undefined, forgets one": lambda check, _: check(operator(forgets_one, two, materialize=False), (double(3),)),
    "undefined, not asked for": lambda check, _: check(
        operator(lambda dy, x: dy * 2 * x if dy is not None else torch.ones_like(x), materialize=False),
        (double(3),),
        check_undefined_grad=False,
    ),
    "undefined, wrong": lambda check, _: check(
        operator(lambda dy, x: dy * 2 * x if dy is not None else torch.ones_like(x), materialize=False), (double(3),)
    ),
    "undefined, forward mode": lambda check, _: check(torch.mul, (double(3), double(3)), check_forward_ad=True),
    "another second pass": lambda check, _: check(Passes.apply, (double(3),)),
    "another second pass, allowed": lambda check, _: check(Passes.apply, (double(3),), nondet_tol=1e-6),
    "dtypes": lambda check, _: check(
        operator(lambda dy, x: (2 * x * dy).to(torch.cdouble)), (double(3),), check_grad_dtypes=True
    ),
    "layouts of cotangents": lambda _, twice: twice(torch.tanh, (double(3, 2),), gen_non_contig_grad_outputs=True),
    "layouts of cotangents, wrong": lambda _, twice: twice(
        Strided.apply, (double(3, 2),), gen_non_contig_grad_outputs=True
    ),
    "cotangents that are held fixed": lambda _, twice: twice(
        operator(lambda dy, x: HalfLinear.apply(dy) * x.exp(), torch.exp),
        (double(3),),
        torch.ones(3, dtype=torch.double),
    ),
    "cotangents that require grad": lambda _, twice: twice(
        operator(lambda dy, x: HalfLinear.apply(dy) * x.exp(), torch.exp), (double(3),), double(3)
    ),
    "no second order": lambda _, twice: twice(Once.apply, (double(3),)),
    "fast mode, several": lambda check, _: check(torch.matmul, (double(2, 3), double(3)), fast_mode=True),
    "sparse, of specified elements": lambda check, _: check(summed, (sparse(),), masked=True),
    "sparse, of all elements": lambda check, _: check(
        lambda x: x.to_dense(masked_grad=False).sin(), (sparse(),), masked=False
    ),
    "sparse, right": lambda check, _: check(coo(), (sparse(), double(4, 2)), masked=True, check_undefined_grad=False),
    "sparse, wrong": lambda check, _: check(
        coo(wrong=0.9), (sparse(), double(4, 2)), masked=True, check_undefined_grad=False
    ),
    "sparse, by rows": lambda check, _: check(summed, (sparse(torch.sparse_csr),), masked=True),
    "sparse, by columns": lambda check, _: check(summed, (sparse(torch.sparse_csc),), masked=True),
    "sparse, in blocks": lambda check, _: check(summed, (sparse(torch.sparse_bsr),), masked=True),
    "sparse, wrong by rows": lambda check, _: check(
        lambda x: operator(lambda dy, x: x * dy)(x.to_dense(masked_grad=True)).sum(),
        (sparse(torch.sparse_csr),),
        masked=True,
    ),
    "an rtol that is smaller than ours": lambda check, _: check(torch.sin, (double(3),), rtol=0.0, atol=1e-6),
    "an rtol that is larger": lambda check, _: check(operator(lambda dy, x: 2.001 * x * dy), (double(3),), rtol=1e-2),
    "an option that there is not": lambda check, _: check(torch.sin, (double(3),), check_foward_ad=True),
}


class HalfLinear(torch.autograd.Function):
    """The identity, whose backward gives half of what it should."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return dy / 2


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        return 2 * ctx.saved_tensors[0] * dy


def outcome(case, name):
    torch.manual_seed(0)
    Passes.count = 0
    try:
        return CASES[case](*GRADCHECKS[name])
    except (RuntimeError, ValueError, TypeError) as error:
        return next(kind.__name__ for kind in (RuntimeError, ValueError, TypeError) if isinstance(error, kind))


@pytest.mark.parametrize("case", CASES)
def test_the_outcome_is_torchs(case):
    assert outcome(case, "ours") == outcome(case, "torch")


def test_the_outcomes_are_of_all_kinds():
    assert {outcome(case, "torch") for case in CASES} == {True, "RuntimeError", "TypeError"}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: ours.gradcheck(torch.sin, x, check_backward_ad=False), "nothing would be checked"),
        (
            lambda x: ours.gradcheck(
                torch.sin, x, check_batched_grad=True, check_backward_ad=False, check_forward_ad=True
            ),
            "check_batched_grad=True needs check_backward_ad=True",
        ),
        (
            lambda x: ours.gradcheck(torch.sin, x, check_batched_forward_grad=True),
            "check_batched_forward_grad=True needs check_forward_ad=True",
        ),
        (lambda x: ours.gradgradcheck(torch.sin, x, check_rev_over_rev=False), "nothing would be checked"),
        (
            lambda x: ours.gradgradcheck(
                torch.sin, x, check_rev_over_rev=False, check_fwd_over_rev=True, check_batched_grad=True
            ),
            "check_batched_grad=True needs check_rev_over_rev=True",
        ),
        (lambda x: ours.gradgradcheck(torch.sin, x, (x, x)), "grad_outputs holds 2 tensors; .*, 1"),
    ],
)
def test_what_would_check_nothing_is_refused(call, words):
    with pytest.raises(InvalidArgument, match=words):
        call(double(3))


def test_what_is_wrong_is_told():
    for case, words in [
        ("batched, breaks", "backward, called with several cotangents at once by vmap, raised RuntimeError"),
        ("batched, differs", "gave something else than what it gives for each"),
        ("batched forward, breaks", "forward mode, called with several tangents at once by vmap, raised"),
        ("undefined, forgets one", "called without an upstream of output 1, gave something else than"),
        ("another second pass", "nondet_tol=0 is allowed"),
    ]:
        torch.manual_seed(0)
        with pytest.raises(ours.TorchGradientError, match=words):
            CASES[case](*GRADCHECKS["ours"])


def test_a_sparse_input_of_check_function_is_itself():
    seen = []

    def f(x):
        seen.append(x.layout)
        return summed(x)

    report = ours.check_function(f, sparse())
    assert report.ok and report.parameters["x"].shape == (4,), str(report)
    assert set(seen) == {torch.sparse_coo}
    assert any("x: of this sparse tensor the 4 specified elements were checked" in line for line in report.blind_spots)


def test_forward_mode_of_many_elements_and_of_none():
    many = torch.linspace(-1, 1, 300, dtype=torch.float64).requires_grad_()
    assert ours.gradcheck(lambda x: (x**2).sum(), many, check_forward_ad=True)
    assert ours.gradcheck(lambda x: x.sum(), torch.zeros(0, dtype=torch.float64, requires_grad=True))
