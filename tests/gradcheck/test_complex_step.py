"""The complex step: all digits where the function is analytic as it is written, and never trusted where it is not."""

import numpy as np
import pytest

from gradcheck import InvalidArgument, check_adjoint, check_gradient, check_hessian, check_layer, numerical_gradient

X = np.random.default_rng(0).normal(size=8)


def test_all_digits_where_an_offset_leaves_differences_five():
    found = numerical_gradient(lambda x: np.exp(x).sum() + 1e8, X, method="complex-step")
    assert np.all(np.abs(found.value - np.exp(X)) <= found.error_bound)
    assert np.all(found.error_bound <= 1e-13 * np.exp(X))
    assert found.evaluations <= X.size + 60


@pytest.mark.parametrize("error", [1e-4, 1e-5, 1e-6])
def test_an_error_far_below_the_noise_of_differences_is_seen(error):
    factor = np.where(np.arange(8) == 3, 1 + error, 1.0)
    report = check_gradient(lambda x: np.sin(x).sum() + 1e8, lambda x: factor * np.cos(x), X, method="complex-step")
    assert report.parameters["params"].wrong.tolist() == (factor != 1).tolist()
    assert check_gradient(lambda x: np.sin(x).sum() + 1e8, np.cos, X, method="complex-step").ok


@pytest.mark.parametrize(
    ("f", "grad"),
    [
        (lambda x: np.sum(np.abs(x) ** 3), lambda x: 3 * x * np.abs(x)),
        (lambda x: np.sum(np.real(x) ** 2), lambda x: 2 * x),
        (lambda x: np.sum((x * np.conj(x)).real), lambda x: 2 * x),
        (lambda x: np.sum(np.where(np.isreal(x), x**2, 0)), lambda x: 2 * x),
        (lambda x: sum(float(v) ** 2 for v in np.real_if_close(x, 0)), lambda x: 2 * x),
        (lambda x: np.linalg.norm(x) ** 2, lambda x: 2 * x),
        (lambda x: np.sum(x * np.conj(x)) + 1j * 0, lambda x: 2 * x),
    ],
    ids=["abs", "real part", "conjugate", "branch", "raises", "norm", "complex conjugate"],
)
@pytest.mark.filterwarnings("ignore:Casting complex values:numpy.exceptions.ComplexWarning")
def test_a_function_that_is_not_analytic_as_written_is_judged_by_differences(f, grad):
    """Its complex step gives plausible nonsense: nothing is called wrong for it, and bugs are caught all the same."""

    def real(x):
        return np.real(f(x)) if not np.iscomplexobj(x) else f(x)

    report = check_gradient(real, grad, X, method="complex-step")
    assert report.ok
    assert [finding.code for finding in report.findings] == ["complex-step-unsupported"]
    assert check_gradient(real, lambda x: -grad(x), X, method="complex-step").parameters["params"].wrong.all()


def test_floats_trees_layers_and_float32_parameters():
    params = {"a": 0.5, "b": [X.astype(np.float32)]}
    found = numerical_gradient(lambda p: p["a"] * np.cos(p["b"][0]).sum(), params, method="complex-step")
    assert float(found.value["a"]) == pytest.approx(np.cos(X.astype(np.float32)).astype(float).sum(), rel=1e-6)
    np.testing.assert_allclose(found.value["b"][0], -0.5 * np.sin(X.astype(np.float32).astype(float)), rtol=1e-13)

    def forward(x):
        return np.tanh(x), x

    assert check_layer(forward, lambda dy, x: dy / np.cosh(x) ** 2, X, method="complex-step").ok
    assert not check_layer(forward, lambda dy, x: dy / np.cosh(x), X, method="complex-step").ok


def test_a_kink_is_still_a_kink():
    """np.maximum orders complex numbers by their real parts: a valid subgradient other than its choice passes."""
    x = np.array([0.0, 1.0, -1.0])
    for at_zero in (0.0, 0.5, 1.0):
        claim = np.array([at_zero, 1.0, 0.0])
        assert check_gradient(lambda x: np.maximum(x, 0).sum(), lambda x, c=claim: c, x, method="complex-step").ok


def test_checks_that_differentiate_otherwise_refuse_it():
    with pytest.raises(InvalidArgument, match="complex-step"):
        check_hessian(lambda x: x @ x, lambda x: 2 * np.eye(2), np.ones(2), method="complex-step")
    with pytest.raises(InvalidArgument, match="complex-step"):
        check_adjoint(np.cumsum, np.cumsum, np.ones(2), np.ones(2), method="complex-step")
