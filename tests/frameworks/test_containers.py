"""Containers and claims of other libraries: attrs, JAX's registered classes, sparse matrices and linear operators."""

from typing import Any

import numpy as np
import pytest

from gradcheck import InvalidArgument, check_gradient, check_hessian, check_jacobian, check_layer

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jnp = jax.numpy
attrs = pytest.importorskip("attrs")
sparse = pytest.importorskip("scipy.sparse")
linalg = pytest.importorskip("scipy.sparse.linalg")
optimize = pytest.importorskip("scipy.optimize")


@attrs.frozen
class Line:
    slope: Any
    _offset: float


def test_attrs_classes(rng):
    point = Line(rng.normal(size=4), 2.0)
    right = lambda p: Line(2 * p.slope * p._offset, (p.slope**2).sum())  # noqa: E731
    assert check_gradient(lambda p: (p.slope**2).sum() * p._offset, right, point)
    wrong = lambda p: Line(2 * p.slope * p._offset, 2 * (p.slope**2).sum())  # noqa: E731
    assert check_gradient(lambda p: (p.slope**2).sum() * p._offset, wrong, point).verdict == "fail"


@jax.tree_util.register_pytree_with_keys_class
class Module:
    def __init__(self, layers, rate):
        self.layers, self.rate = layers, rate

    def tree_flatten_with_keys(self):
        return [(jax.tree_util.GetAttrKey("layers"), self.layers)], self.rate

    @classmethod
    def tree_unflatten(cls, rate, children):
        return cls(*children, rate)


def loss(module):
    return module.rate * sum((jnp.tanh(layer["weight"]) ** 2).sum() for layer in module.layers)


def test_classes_registered_with_jax(rng):
    point = Module([{"weight": jnp.asarray(rng.normal(size=(2, 3)))}, {"weight": jnp.asarray(rng.normal(size=3))}], 0.5)
    report = check_gradient(loss, jax.grad(loss), point)
    assert report and list(report.parameters) == ["layers[0].weight", "layers[1].weight"]

    def wrong(module):
        made = jax.grad(loss)(module)
        made.layers[1]["weight"] = -made.layers[1]["weight"]
        return made

    report = check_gradient(loss, wrong, point)
    assert report.verdict == "fail" and report.findings[0].where == "layers[1].weight"


def test_a_random_key_is_handed_through(rng):
    def f(p):
        return (jax.random.normal(p["key"], (3,)) * p["w"]).sum()

    point = {"w": jnp.asarray(rng.normal(size=3)), "key": jax.random.key(0)}
    gradient = jax.grad(f, allow_int=True)
    assert check_gradient(f, gradient, point)
    assert check_gradient(f, lambda p: {"w": 2 * gradient(p)["w"]}, point).verdict == "fail"


N = 20


def squares(x):
    return np.concatenate([x[1:] ** 2 - x[:-1], x[:1]])


def jacobian(x):
    matrix = sparse.lil_array((N, N))
    for i in range(N - 1):
        matrix[i, i + 1], matrix[i, i] = 2 * x[i + 1], -1
    matrix[N - 1, 0] = 1
    return matrix


@pytest.mark.parametrize(
    "form",
    [
        sparse.csr_array,
        sparse.csr_matrix,
        sparse.coo_array,
        linalg.aslinearoperator,
        lambda m: torch.tensor(m.toarray()).to_sparse(),
    ],
    ids=["csr_array", "csr_matrix", "coo", "operator", "torch"],
)
def test_sparse_jacobians_and_operators(form, rng):
    x = rng.normal(size=N)
    assert check_jacobian(squares, lambda x: form(jacobian(x).tocsr()), x)

    def missing(x):
        matrix = jacobian(x)
        matrix[3, 4] = 0
        return form(matrix.tocsr())

    report = check_jacobian(squares, missing, x)
    assert report.verdict == "fail" and np.argwhere(report.parameters["params"].wrong).tolist() == [[3, 4]]


def test_an_operator_for_a_hessian_and_a_sparse_gradient():
    x = np.array([1.3, 0.7, 0.9])

    def operator(x, factor=1.0):
        product = lambda v: factor * optimize.rosen_hess_prod(x, v)  # noqa: E731
        return linalg.LinearOperator((3, 3), matvec=product, rmatvec=product)

    assert check_hessian(optimize.rosen, operator, x)
    assert check_hessian(optimize.rosen, lambda x: operator(x, 1.1), x).verdict == "fail"
    assert check_gradient(optimize.rosen, lambda x: sparse.csr_matrix(optimize.rosen_der(x)), x)
    assert check_gradient(optimize.rosen, lambda x: sparse.csr_matrix(-optimize.rosen_der(x)), x).verdict == "fail"


def test_sparse_gradients_of_an_embedding():
    index = torch.tensor([0, 2, 2])

    def loss(table):
        return (torch.nn.functional.embedding(index, table) ** 2).sum()

    def gradient(table, factor=1.0):
        leaf = table.detach().clone().requires_grad_()
        (torch.nn.functional.embedding(index, leaf, sparse=True) ** 2).sum().backward()
        assert leaf.grad.is_sparse
        return factor * leaf.grad

    table = torch.randn(4, 2, dtype=torch.float64)
    assert check_gradient(loss, gradient, table)
    assert check_gradient(loss, lambda t: gradient(t, -1.0), table).verdict == "fail"


def test_a_module_is_no_point():
    linear = torch.nn.Linear(3, 2)
    for point in (linear, {"a": linear}):
        with pytest.raises(InvalidArgument, match="check_module"):
            check_gradient(lambda m: m(torch.ones(3)).sum(), lambda m: m, point)
    with pytest.raises(InvalidArgument, match="check_module"):
        check_layer(lambda m, x: (m(x), None), lambda dy, _: (None, dy), linear, torch.ones(3))


def test_jacobians_and_hessians_of_jax(rng):
    point = {"a": jnp.asarray(rng.normal(size=(2, 2))), "b": jnp.asarray(rng.normal(size=3))}

    def f(p):
        return jnp.outer(jnp.sin(p["a"]).sum(0), p["b"] ** 2)

    def value(p):
        return f(p).sum()

    assert check_jacobian(f, jax.jacobian(f), point)
    assert (
        check_jacobian(f, lambda p: jax.tree_util.tree_map(jnp.negative, jax.jacobian(f)(p)), point).verdict == "fail"
    )
    assert check_hessian(value, jax.hessian(value), point).verdict != "fail"  # in float32 second differences see little
    assert (
        check_hessian(value, lambda p: jax.tree_util.tree_map(jnp.negative, jax.hessian(value)(p)), point).verdict
        == "fail"
    )


@pytest.mark.parametrize("make", [lambda: (x for x in "ab"), lambda: {"w": 1.0}.values(), lambda: map(float, [1, 2])])
def test_iterators_are_no_points_where_jax_is_loaded_too(make):
    with pytest.raises(InvalidArgument, match="leaves are numbers or arrays of numbers"):
        check_gradient(lambda x: 1.0, lambda x: x, make())
