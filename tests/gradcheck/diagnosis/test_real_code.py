"""Real code with known faults: scikit-learn's regressor and kernels, the article's backward passes."""

import importlib

import numpy as np
import pytest

import gradcheck
from network import article

IMAGES, LABELS = article.load_digits01()


def scikit_learn(module):
    """Import a module of scikit-learn where a test needs it: every worker collects this file."""
    return importlib.import_module(f"sklearn.{module}")


def regressor(outputs, alpha, samples=9):
    """scikit-learn's network of several outputs: its loss averages over the outputs, its gradient sums (#8349)."""
    rng = np.random.default_rng(outputs)
    x, y = rng.normal(size=(samples, 4)), rng.normal(size=(samples, outputs))
    units = [4, 6, outputs]
    model = scikit_learn("neural_network").MLPRegressor(
        hidden_layer_sizes=(6,), activation="tanh", solver="sgd", alpha=alpha
    )
    model.partial_fit(x, y)

    def f(params):
        model.coefs_, model.intercepts_ = list(params["coefs"]), list(params["intercepts"])
        room = [x, *(None for _ in units[1:])]
        back = [None] * (len(units) - 1)
        given = ([np.empty_like(c) for c in model.coefs_], [np.empty_like(b) for b in model.intercepts_])
        loss, coefs, intercepts = model._backprop(x, y, None, room, back, *given)
        return float(loss), {"coefs": coefs, "intercepts": intercepts}

    return gradcheck.check_gradient(f, True, {"coefs": model.coefs_, "intercepts": model.intercepts_})


@pytest.mark.parametrize("outputs", [2, 3])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_the_regressor_of_several_outputs(outputs, alpha):
    for name, parameter in regressor(outputs, alpha).parameters.items():
        first = parameter.diagnoses[0]
        assert first.kind == ("two-term" if alpha and name.startswith("coefs") else "constant-ratio")
        assert f"{outputs} times" in first.message and "number of outputs" in first.message
        assert first.evidence["ratio"] == pytest.approx(outputs, rel=1e-5)
        if first.kind == "two-term":
            assert first.evidence["strength"] == pytest.approx(alpha / 9, rel=1e-4)


@pytest.mark.parametrize("theta", [[0.7], [1.7, 0.6, 0.2]])
def test_the_gradient_of_a_kernel_is_that_with_respect_to_logarithms(theta):
    kernels = scikit_learn("gaussian_process").kernels
    kernel = kernels.RBF(theta[0])
    if len(theta) > 1:
        kernel = kernels.ConstantKernel(theta[0]) * kernels.RBF(theta[1]) + kernels.WhiteKernel(theta[2])
    x = np.random.default_rng(0).normal(size=(5, 2))

    def gram(values):
        return kernel.clone_with_theta(np.log(values))(x, eval_gradient=True)

    report = gradcheck.check_jacobian(lambda v: gram(v)[0], lambda v: gram(v)[1], np.array(theta))
    first = report.parameters["params"].diagnoses[0]
    assert first.kind == "parametrisation" and "d/d log(params) where d/d params is asked" in first.message
    right = gradcheck.check_jacobian(lambda v: gram(np.exp(v))[0], lambda v: gram(np.exp(v))[1], np.log(theta))
    assert right.verdict != "fail"


def stage_report(backward, wanted):
    """Check one stage of the article's network at the values that reach it."""
    params, order = article.draw(12747)
    x, labels = IMAGES[order][10:13] / 16, LABELS[order][10:13]
    for name, forward, back, weights in article.stages(params, labels, backward=backward):
        if name == wanted:
            return gradcheck.check_layer(forward, back, x, *weights)
        x = forward(x, *weights)[0]
    raise AssertionError(wanted)


@pytest.mark.parametrize(
    ("backward", "stage", "kind", "words"),
    [
        ("transpose-gradient", "pool2", "transposed", "transposed"),
        pytest.param("rotate-gradient", "pool1", "rotated", "180 degrees", marks=pytest.mark.slow),
        ("transpose-upstream", "pool1", "upstream-transformed", "its upstream transposed"),
        ("rotate-upstream", "pool2", "upstream-transformed", "its upstream rotated by 180 degrees"),
        ("author-original", "conv2", "rotated", "180 degrees"),
    ],
)
def test_stages_of_the_article(backward, stage, kind, words):
    """Its wrong masks also send gradient to every tied maximum; that is left out of the comparison."""
    first = stage_report(backward, stage).parameters["x"].diagnoses[0]
    assert first.kind == kind and words in first.message


def test_the_published_network_has_kernels_without_influence():
    params, order = article.draw(12747, hidden=(3, 4))
    images, labels = IMAGES[order][10:12] / 16, LABELS[order][10:12]
    report = gradcheck.check_gradient(
        lambda p: float(article.loss(p, images, labels, shared_kernel=True)),
        lambda p: article.gradient(p, images, labels, backward="author-original", shared_kernel=True),
        params,
    )
    for name in ("W2a", "W2b", "W2c", "W2d"):
        first = report.parameters[name].diagnoses[0]
        assert first.kind == "no-influence" and f"{name} never influences the output" in first.message
    assert not any(report.parameters[name].diagnoses for name in ("W1a", "W1b"))
