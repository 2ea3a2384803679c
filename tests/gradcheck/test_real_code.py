"""Gradients that others published: what the check says of them, and why."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, RationalQuadratic
from sklearn.neural_network import MLPRegressor

from gradcheck import check_gradient

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "scikit_learn_gradient.py"


def example():
    spec = importlib.util.spec_from_file_location("scikit_learn_gradient", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mlp(outputs, alpha, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(17, 4)), rng.normal(size=(17, outputs))
    model = MLPRegressor(hidden_layer_sizes=(6, 5), activation="tanh", alpha=alpha, random_state=seed)
    model.partial_fit(x, y if outputs > 1 else y.ravel())
    params = {"coefs": list(model.coefs_), "intercepts": list(model.intercepts_)}
    return check_gradient(example().loss_and_gradient(model, x, y), True, params)


@pytest.mark.parametrize("outputs", [2, 3, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_gradient_of_mlp_regressor_is_k_times_that_of_its_loss(outputs, seed):
    report = mlp(outputs, 0.0, seed)
    assert report.verdict == "fail"
    for parameter in report.parameters.values():
        assert parameter.wrong.all()
        first = parameter.diagnoses[0]
        assert first.kind == "constant-ratio" and first.evidence["ratio"] == pytest.approx(outputs, rel=1e-5)
    assert f"{outputs} times" in str(report) and "number of outputs" in str(report)


@pytest.mark.parametrize("outputs", [2, 3, 7])
def test_so_it_is_with_weight_decay_where_no_single_ratio_explains_it(outputs):
    report = mlp(outputs, 0.7, 0)
    assert report.verdict == "fail"
    for name, parameter in report.parameters.items():
        first = parameter.diagnoses[0]
        assert f"{outputs} times" in first.message, (name, first.message)
    assert "number of outputs" in str(report)


def test_with_one_output_it_is_right():
    assert mlp(1, 0.0, 0).ok and mlp(1, 0.7, 1).ok


X = np.random.default_rng(1).normal(size=(8, 3))
WEIGHTS = np.random.default_rng(2).normal(size=(8, 8))


def kernel_sum(kernel):
    """A smooth function of the matrix of a kernel, and scikit-learn's gradient of it: by the logarithms of its parameters."""

    def at(theta):
        return kernel.clone_with_theta(np.log(theta))

    def f(theta):
        return float((WEIGHTS * at(theta)(X)).sum())

    def by_logarithm(theta):
        return np.einsum("ij,ijk->k", WEIGHTS, at(theta)(X, eval_gradient=True)[1])

    return f, by_logarithm, np.exp(kernel.theta)


KERNELS = {
    "anisotropic": RBF([0.8, 1.7, 2.9]),
    "scaled": ConstantKernel(2.3) * RBF([0.8, 1.7, 2.9]),
    "rational": ConstantKernel(0.4) * RationalQuadratic(1.3, 0.7),
}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_a_gradient_by_the_logarithm_is_named(kernel):
    f, by_logarithm, theta = kernel_sum(kernel)
    report = check_gradient(f, by_logarithm, theta)
    assert report.verdict == "fail"
    assert "log" in report.parameters["params"].diagnoses[0].message, str(report)
    assert check_gradient(f, lambda theta: by_logarithm(theta) / theta, theta).ok
    assert check_gradient(lambda log_theta: f(np.exp(log_theta)), lambda t: by_logarithm(np.exp(t)), np.log(theta)).ok
