"""Arrays of other libraries at the boundary: right calls pass, their wrong twins fail, and each library gets its own back."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gradcheck import (
    InvalidArgument,
    check_adjoint,
    check_gradient,
    check_hessian,
    check_hvp,
    check_jacobian,
    check_jvp,
    check_layer,
    check_vjp,
    compare,
    numerical_gradient,
    numerical_jacobian,
)
from gradcheck.functions.trees import flatten

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jnp = jax.numpy
ml_dtypes = pytest.importorskip("ml_dtypes")
mygrad = pytest.importorskip("mygrad")
pd = pytest.importorskip("pandas")
xp = pytest.importorskip("array_api_strict")

TORCH_DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
JAX_DTYPES = [jnp.float32, jnp.float16, jnp.bfloat16]


def torch_point(dtype, *, requires_grad=False):
    generator = torch.Generator().manual_seed(1)
    shapes = {"W": (4, 3), "x": (3,)}
    return {k: torch.randn(s, generator=generator).to(dtype).requires_grad_(requires_grad) for k, s in shapes.items()}


def torch_loss(p):
    wide = torch.promote_types(p["x"].dtype, torch.float32)  # as mixed precision does: products narrow, the loss wide
    return (torch.tanh((p["W"] @ p["x"]).to(wide)) ** 2).sum()


def torch_gradient(p):
    q = {name: value.detach().clone().requires_grad_() for name, value in p.items()}
    torch_loss(q).backward()
    return {name: value.grad for name, value in q.items()}


def jax_loss(p):
    return (jnp.tanh((p["W"] @ p["x"]).astype(jnp.promote_types(p["x"].dtype, jnp.float32))) ** 2).sum()


def jax_point(rng, dtype=jnp.float32):
    return {"W": jnp.asarray(rng.normal(size=(4, 3)), dtype), "x": jnp.asarray(rng.normal(size=3), dtype)}


def negated(gradient, name="W"):
    return lambda p: {key: -value if key == name else value for key, value in gradient(p).items()}


# ---- verdicts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TORCH_DTYPES, ids=str)
def test_tensors_of_every_precision(dtype):
    point = torch_point(dtype)
    assert check_gradient(torch_loss, torch_gradient, point)
    assert check_gradient(torch_loss, negated(torch_gradient), point).verdict == "fail"
    reference = check_gradient(torch_loss, torch_gradient, point, reference=torch_loss)
    assert reference.ok and not reference.findings, str(reference)
    assert check_gradient(torch_loss, negated(torch_gradient), point, reference=torch_loss).verdict == "fail"


@pytest.mark.parametrize("dtype", TORCH_DTYPES[:2], ids=str)
def test_gradients_that_require_grad(dtype):
    def gradient(p):
        parts = torch.autograd.grad(torch_loss(p), list(p.values()), create_graph=True)
        assert all(part.requires_grad for part in parts)
        return dict(zip(p, parts, strict=True))

    point = torch_point(dtype, requires_grad=True)
    assert check_gradient(torch_loss, gradient, point)
    assert check_gradient(torch_loss, negated(gradient), point).verdict == "fail"


@pytest.mark.parametrize("dtype", JAX_DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_jax_arrays_of_every_precision(dtype, wrap, rng):
    point, gradient = jax_point(rng, dtype), wrap(jax.grad(jax_loss))
    assert check_gradient(wrap(jax_loss), gradient, point)
    assert check_gradient(wrap(jax_loss), negated(gradient), point).verdict == "fail"


def test_value_and_grad(rng):
    point = jax_point(rng)
    both = jax.value_and_grad(jax_loss)
    assert check_gradient(both, True, point)
    assert check_gradient(lambda p: (both(p)[0], negated(lambda p: both(p)[1])(p)), True, point).verdict == "fail"


def test_jax_functions_of_numpy_parameters(rng):
    point = {"W": rng.normal(size=(4, 3)), "x": rng.normal(size=3)}
    assert check_gradient(jax_loss, jax.grad(jax_loss), point)
    assert check_gradient(jax_loss, negated(jax.grad(jax_loss)), point).verdict == "fail"


def test_the_other_checks_with_jax(rng):
    x, n = jnp.asarray(rng.normal(size=4)), jnp.arange(4)

    def f(x, n=2):
        return jnp.sin(x) * n * x.sum()

    def scalar(x):
        return f(x).sum()

    assert check_jacobian(f, jax.jacobian(f), x)
    assert check_jacobian(f, lambda x: jax.jacobian(f)(x).T, x).verdict == "fail"
    assert check_hessian(scalar, jax.hessian(scalar), x)
    assert check_hessian(scalar, lambda x: 2 * jax.hessian(scalar)(x), x).verdict == "fail"
    gradient = jax.grad(scalar)
    assert check_hvp(gradient, lambda x, v: jax.jvp(gradient, (x,), (v,))[1], x)
    assert check_hvp(gradient, lambda x, v: jax.jvp(gradient, (x,), (-v,))[1], x).verdict == "fail"
    assert check_vjp(f, lambda dy, *a: jax.vjp(f, *a)[1](dy), x, n)
    assert check_vjp(f, lambda dy, *a: jax.vjp(f, *a)[1](2 * dy), x, n).verdict == "fail"
    assert check_jvp(f, lambda tangents, *a: jax.jvp(f, a, tangents)[1], x, n)  # JAX wants float0 for integers
    assert check_jvp(f, lambda tangents, *a: -jax.jvp(f, a, tangents)[1], x, n).verdict == "fail"
    assert check_adjoint(jnp.cumsum, lambda y: jnp.cumsum(y[::-1])[::-1], x, x)
    assert check_adjoint(jnp.cumsum, jnp.cumsum, x, x).verdict == "fail"


def test_the_other_checks_with_torch():
    x = torch.linspace(-1, 2, 4, dtype=torch.float64)
    of = torch.autograd.functional

    def f(x):
        return torch.sin(x) * x.sum()

    def scalar(x):
        return f(x).sum()

    assert check_jacobian(f, lambda x: of.jacobian(f, x), x)
    assert check_jacobian(f, lambda x: of.jacobian(f, x).T, x).verdict == "fail"
    assert check_hessian(scalar, lambda x: of.hessian(scalar, x), x)
    assert check_hessian(scalar, lambda x: -of.hessian(scalar, x), x).verdict == "fail"
    assert check_adjoint(lambda x: torch.cumsum(x, 0), lambda y: y.flip(0).cumsum(0).flip(0), x, x)
    assert check_adjoint(lambda x: torch.cumsum(x, 0), lambda y: y.cumsum(0), x, x).verdict == "fail"


def test_mygrad_tensors(rng):
    def loss(x):
        return (mygrad.tanh(x) ** 2).sum()

    def gradient(x):
        leaf = mygrad.tensor(x.data.copy())
        loss(leaf).backward()
        return leaf.grad

    point = mygrad.tensor(rng.normal(size=5))
    assert check_gradient(loss, gradient, point)
    assert check_gradient(loss, lambda x: 2 * gradient(x), point).verdict == "fail"


def test_a_series_and_a_frame_keep_their_labels():
    series = pd.Series([1.0, 2.0, 3.0], index=list("abc"), name="theta")
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [0.3, 0.2]}, index=[5, 7])

    def of_series(s):
        assert s.name == "theta"
        return (s**3).sum() + s["a"]

    extra = pd.Series([1.0, 0, 0], index=list("abc"))
    assert check_gradient(of_series, lambda s: 3 * s**2 + extra, series)
    assert check_gradient(of_series, lambda s: 3 * s**2, series).verdict == "fail"
    assert check_gradient(lambda f: (f["a"] ** 2).sum() * f.loc[5, "b"], of_frame, frame)
    assert (
        check_gradient(lambda f: (f["a"] ** 2).sum() * f.loc[5, "b"], lambda f: of_frame(f) * 1.1, frame).verdict
        == "fail"
    )
    with pytest.raises(InvalidArgument, match="columns of 2 dtypes"):
        check_gradient(of_series, of_series, pd.DataFrame({"a": [1.0], "b": [2]}))


def test_labels_tell_the_order_of_a_gradient():
    series = pd.Series([1.0, 2.0, 3.0], index=list("abc"))
    assert check_gradient(lambda s: (s**3).sum(), lambda s: (3 * s**2)[list("cab")], series)
    moved = lambda s: pd.Series((3 * s**2).to_numpy(), index=list("cab"))  # noqa: E731
    assert check_gradient(lambda s: (s**3).sum(), moved, series).verdict == "fail"
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [0.3, 0.2]}, index=[5, 7])
    assert check_gradient(lambda f: (f["a"] * f["b"]).sum(), lambda f: pd.DataFrame({"b": f["a"], "a": f["b"]}), frame)
    unlabelled = lambda s: pd.Series((3 * s**2).to_numpy())  # noqa: E731
    assert check_gradient(lambda s: (s**3).sum(), unlabelled, series)


def of_frame(frame):
    return pd.DataFrame(
        {"a": 2 * frame["a"] * frame.loc[5, "b"], "b": [(frame["a"] ** 2).sum(), 0.0]}, index=frame.index
    )


def test_the_array_api_standard(rng):
    x = xp.asarray(rng.normal(size=(3, 2)))
    assert check_gradient(lambda x: xp.sum(xp.sin(x)), xp.cos, x)
    assert check_gradient(lambda x: xp.sum(xp.sin(x)), lambda x: -xp.cos(x), x).verdict == "fail"
    assert check_layer(lambda x: (xp.sin(x), x), lambda dy, x: dy * xp.cos(x), x)
    assert check_layer(lambda x: (xp.sin(x), x), lambda dy, x: dy * xp.sin(x), x).verdict == "fail"


def test_bfloat16_of_numpy(rng):
    x = rng.normal(size=5).astype(ml_dtypes.bfloat16)

    def loss(x):
        assert x.dtype == ml_dtypes.bfloat16
        return np.sum(np.sin(x.astype(np.float32)))

    assert check_gradient(loss, np.cos, x)
    assert check_gradient(loss, lambda x: -np.cos(x), x).verdict == "fail"


# ---- what the user's functions get ----------------------------------------------------------------------------------


class Marked(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "leaf",
    [
        torch.ones(3, dtype=torch.bfloat16, requires_grad=True),
        torch.ones((), dtype=torch.float64),
        torch.nn.Parameter(torch.ones(2, 3)),
        torch.nn.Parameter(torch.ones(2), requires_grad=False),
        torch.ones(2).as_subclass(Marked),
        torch.ones(2, dtype=torch.float16),
    ],
    ids=str,
)
def test_tensors_come_back_as_they_were(leaf):
    seen = []

    def f(tree):
        seen.append(tree["a"])
        assert type(tree["n"]) is torch.Tensor and tree["n"].dtype == torch.int64
        return tree["a"].double().sum()

    def gradient(tree):
        return {"a": torch.ones_like(tree["a"]), "n": None}

    assert check_gradient(f, gradient, {"a": leaf, "n": torch.arange(2)})
    for got in seen:
        assert type(got) is type(leaf) and got.dtype == leaf.dtype and got.shape == leaf.shape
        assert got.requires_grad == leaf.requires_grad and got.is_leaf
        assert got.data_ptr() != leaf.data_ptr()


@pytest.mark.parametrize(
    "leaf", [jnp.ones(3), jnp.ones((), jnp.bfloat16), jnp.asarray(1.0), jnp.ones((2, 2), jnp.float16)], ids=str
)
def test_jax_arrays_come_back_as_they_were(leaf):
    seen = []

    def f(x):
        seen.append(x)
        return x.astype(jnp.float32).sum()

    assert check_gradient(f, jnp.ones_like, leaf)
    for got in seen:
        assert isinstance(got, jax.Array) and got.dtype == leaf.dtype and got.weak_type == leaf.weak_type
        assert got.sharding == leaf.sharding


def test_the_upstream_is_like_the_output_and_requires_nothing():
    def forward(x):
        return (x * 2).to(torch.float64), None

    def backward(dy, cache):
        assert dy.dtype == torch.float64 and not dy.requires_grad
        return (2 * dy).to(torch.float32)

    assert check_layer(forward, backward, torch.ones(3, requires_grad=True))


# ---- what is done in place ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_damage_done_to_tensors_is_seen(dtype):
    drawn = torch.Generator().manual_seed(5)
    x, w = (torch.randn(shape, generator=drawn).to(dtype) for shape in ((5, 3), (2, 3)))

    def forward(x, w):
        return x @ w.T, (x, w)

    def backward(dy, cache):
        x, w = cache
        return dy @ w, dy.T @ x

    def of_upstream(dy, cache):
        dx, dw = backward(dy, cache)
        dy.mul_(2)
        return dx, dw

    def of_cache(dy, cache):
        dx, dw = backward(dy, cache)
        cache[0].mul_(2)
        return dx, dw

    assert check_layer(forward, backward, x, w)
    assert "upstream-changed" in [f.code for f in check_layer(forward, of_upstream, x, w).findings]
    assert "inputs-changed" in [f.code for f in check_layer(forward, of_cache, x, w).findings]


def test_gradients_that_are_one_memory_are_seen():
    def gradient(p):
        both = torch.ones(3, dtype=torch.bfloat16)
        return {"a": both, "b": both}

    point = {"a": torch.zeros(3, dtype=torch.bfloat16), "b": torch.ones(3, dtype=torch.bfloat16)}
    report = check_gradient(lambda p: p["a"].sum() + p["b"].sum(), gradient, point)
    assert "shares-memory" in [finding.code for finding in report.findings]


def test_a_buffer_that_is_used_again_is_seen():
    buffer = torch.zeros(3, dtype=torch.bfloat16)

    def gradient(x):
        return torch.mul(x, 2, out=buffer)

    report = check_gradient(lambda x: (x.float() ** 2).sum(), gradient, torch.tensor([1.0, 2, 3], dtype=torch.bfloat16))
    assert "buffer-reused" in [finding.code for finding in report.findings]


# ---- memory layouts -------------------------------------------------------------------------------------------------


def test_layouts_are_those_that_the_kind_can_hold():
    strides = set()

    def forward(x, w):
        strides.add((x.stride(), w.stride()))
        return x @ w, (x, w)

    def backward(dy, cache):
        return dy @ cache[1].T, cache[0].T @ dy

    report = check_layer(forward, backward, torch.randn(4, 3), torch.nn.Parameter(torch.randn(3, 2)))
    assert report and not any("layout" in spot for spot in report.blind_spots)
    assert strides == {((3, 1), (2, 1)), ((1, 4), (2, 1)), ((6, 2), (2, 1))}  # as given, Fortran, with gaps


def test_a_gradient_that_minds_the_layout_of_its_tensor_is_seen():
    def gradient(x):
        return 2 * torch.as_strided(x, x.shape, (3, 1))  # takes the memory to be contiguous

    report = check_gradient(lambda x: (x**2).sum(), gradient, torch.randn(4, 3).double())
    assert report.verdict == "fail" and "layout-dependent" in [finding.code for finding in report.findings]


# ---- beside checks --------------------------------------------------------------------------------------------------


def test_derivatives_and_comparisons():
    slope = numerical_gradient(lambda x: (x**2).sum(), torch.tensor([1.0, 2.0], dtype=torch.float64))
    np.testing.assert_allclose(slope.value, [2.0, 4.0], rtol=1e-9)
    jacobian = numerical_jacobian(lambda x: x**2, jnp.asarray([1.0, 2.0]))
    assert np.all(np.abs(jacobian.value - np.diag([2.0, 4.0])) <= jacobian.error_bound)
    assert compare(torch.ones(3, requires_grad=True), jnp.ones(3)).total.digits > 15


def test_vectorized_and_complex_step():
    point = torch.randn(6).double()
    assert check_gradient(lambda x: (torch.sin(x)).sum(-1), torch.cos, point, vectorized=True)
    assert check_gradient(lambda x: (torch.sin(x)).sum(-1), torch.sin, point, vectorized=True).verdict == "fail"
    report = check_gradient(lambda x: torch.sin(x).sum(), torch.cos, point, method="complex-step")
    assert report and "complex-step-unsupported" not in [finding.code for finding in report.findings]


def test_a_tensor_without_numbers_is_refused():
    with pytest.raises(InvalidArgument, match="meta device"):
        check_gradient(torch.sum, torch.ones_like, torch.ones(3, device="meta"))


@pytest.mark.parametrize(
    "leaf",
    [torch.ones(2, requires_grad=True), torch.ones(2).bfloat16(), jnp.ones(2), pd.Series([1.0, 2.0]), xp.ones(2)],
)
def test_kinds_go_to_other_processes(leaf):
    (kept,), build = flatten(leaf)
    sent = pickle.loads(pickle.dumps(kept))  # noqa: S301
    assert type(build([sent.restore(sent.value.copy())])) is type(leaf)


def test_workers_get_tensors():
    point = torch_point(torch.float64)
    with ThreadPoolExecutor(2) as executor:
        there = check_gradient(torch_loss, torch_gradient, point, workers=executor)
    assert there.to_dict()["parameters"] == check_gradient(torch_loss, torch_gradient, point).to_dict()["parameters"]
