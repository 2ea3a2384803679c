"""scikit-learn: kernels, losses, and the objectives of its own solvers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from sklearn._loss import loss as losses
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor, kernels
from sklearn.linear_model._linear_loss import LinearModelLoss
from sklearn.manifold._t_sne import _joint_probabilities, _kl_divergence
from sklearn.metrics import pairwise_distances

from gradcheck import Report, check_gradient, check_jacobian

Case = tuple[str, Callable[[], Report]]

KERNELS = {
    "ConstantKernel": kernels.ConstantKernel(1.5),
    "WhiteKernel": kernels.WhiteKernel(0.3),
    "RBF": kernels.RBF([0.8, 1.3]),
    "Matern-0.5": kernels.Matern([0.8, 1.3], nu=0.5),
    "Matern-1.5": kernels.Matern([0.8, 1.3], nu=1.5),
    "Matern-2.5": kernels.Matern([0.8, 1.3], nu=2.5),
    "Matern-inf": kernels.Matern([0.8, 1.3], nu=np.inf),
    "Matern-0.8": kernels.Matern(0.8, nu=0.8),
    "RationalQuadratic": kernels.RationalQuadratic(1.2, 0.7),
    "ExpSineSquared": kernels.ExpSineSquared(0.9, 1.7),
    "DotProduct": kernels.DotProduct(0.8),
    "PairwiseKernel-rbf": kernels.PairwiseKernel(0.8, metric="rbf"),
    "Sum": kernels.RBF(0.8) + kernels.DotProduct(0.5),
    "Product": kernels.RBF(0.8) * kernels.DotProduct(0.5),
    "Exponentiation": kernels.Exponentiation(kernels.RationalQuadratic(), 2),
}

# Loss -> what it is of: numbers, counts, shares, classes.
LOSSES = {
    "HalfSquaredError": (losses.HalfSquaredError(), "numbers"),
    "AbsoluteError": (losses.AbsoluteError(), "numbers"),
    "PinballLoss": (losses.PinballLoss(quantile=0.3), "numbers"),
    "HuberLoss": (losses.HuberLoss(delta=0.7), "numbers"),
    "HalfPoissonLoss": (losses.HalfPoissonLoss(), "counts"),
    "HalfGammaLoss": (losses.HalfGammaLoss(), "counts"),
    "HalfTweedieLoss-1.5": (losses.HalfTweedieLoss(power=1.5), "counts"),
    "HalfTweedieLoss-3": (losses.HalfTweedieLoss(power=3), "counts"),
    "HalfTweedieLossIdentity-1.5": (losses.HalfTweedieLossIdentity(power=1.5), "positive"),
    "HalfBinomialLoss": (losses.HalfBinomialLoss(), "shares"),
    "ExponentialLoss": (losses.ExponentialLoss(), "shares"),
    "HalfMultinomialLoss": (losses.HalfMultinomialLoss(n_classes=3), "classes"),
}


def cases() -> Iterator[Case]:
    """Yield a name and a check of everything."""
    for name, kernel in KERNELS.items():
        yield f"kernels.{name}", partial(_kernel, kernel)
    for name, (loss, kind) in LOSSES.items():
        yield f"loss.{name}", partial(_loss, loss, kind)
        yield f"loss.{name}.hessian", partial(_hessian, loss, kind)
        yield f"LinearModelLoss.{name}", partial(_linear, loss, kind)
    yield (
        "GaussianProcessRegressor",
        partial(_process, GaussianProcessRegressor(KERNELS["Sum"], alpha=0.1, optimizer=None), 1.0),
    )
    yield "GaussianProcessClassifier", partial(_process, GaussianProcessClassifier(KERNELS["RBF"], optimizer=None), 0.0)
    for components in (2, 3):
        yield f"TSNE-{components}", partial(_tsne, components)


def _data(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and raw predictions."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(12, 3) if kind == "classes" else 12)
    y = {
        "numbers": lambda: rng.normal(size=12),
        "counts": lambda: rng.gamma(2.0, size=12),
        "positive": lambda: rng.gamma(2.0, size=12),
        "shares": lambda: rng.integers(0, 2, 12).astype(float),
        "classes": lambda: rng.integers(0, 3, 12).astype(float),
    }[kind]()
    return y, np.abs(raw) + 0.1 if kind == "positive" else raw


def _kernel(kernel: kernels.Kernel) -> Report:
    x = np.random.default_rng(0).normal(size=(5, 2))
    return check_jacobian(
        lambda theta: kernel.clone_with_theta(theta)(x),
        lambda theta: kernel.clone_with_theta(theta)(x, eval_gradient=True)[1],
        kernel.theta,
    )


def _loss(loss: losses.BaseLoss, kind: str) -> Report:
    y, raw = _data(kind)
    return check_gradient(lambda r: np.sum(loss.loss(y, r)), lambda r: loss.gradient(y, r), raw)


def _hessian(loss: losses.BaseLoss, kind: str) -> Report:
    """Check the diagonal that it returns, of one class where there are several."""
    y, raw = _data(kind)
    column = (slice(None), 0) if raw.ndim == 2 else slice(None)

    def moved(part: np.ndarray) -> np.ndarray:
        whole = raw.copy()
        whole[column] = part
        return whole

    return check_gradient(
        lambda part: np.sum(loss.gradient(y, moved(part))[column]),
        lambda part: loss.gradient_hessian(y, moved(part))[1][column],
        raw[column].copy(),
    )


def _linear(loss: losses.BaseLoss, kind: str) -> Report:
    y, raw = _data(kind)
    rng = np.random.default_rng(1)
    x = np.abs(rng.normal(size=(12, 4))) if kind == "positive" else rng.normal(size=(12, 4))
    linear = LinearModelLoss(loss, fit_intercept=True)
    start = np.abs(rng.normal(size=5)) if kind == "positive" else 0.3 * rng.normal(size=(3, 5) if raw.ndim == 2 else 5)
    return check_gradient(lambda c: linear.loss_gradient(c, x, y, l2_reg_strength=0.2), True, np.asfortranarray(start))


def _process(process: GaussianProcessRegressor | GaussianProcessClassifier, noise: float) -> Report:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(15, 2))
    process.fit(x, np.sin(x[:, 0]) + noise * rng.normal(size=15) if noise else x[:, 0] > 0)
    theta = process.kernel_.theta if noise else process.base_estimator_.kernel_.theta
    return check_gradient(
        process.log_marginal_likelihood, lambda t: process.log_marginal_likelihood(t, eval_gradient=True)[1], theta
    )


def _tsne(components: int) -> Report:
    rng = np.random.default_rng(0)
    near = _joint_probabilities(pairwise_distances(rng.normal(size=(15, 5)), squared=True), 4.0, 0)
    return check_gradient(
        lambda flat: _kl_divergence(flat, near, components - 1, 15, components), True, rng.normal(size=15 * components)
    )
