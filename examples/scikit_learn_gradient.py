"""The gradient of scikit-learn's MLPRegressor, checked against the loss that it reports.

For K outputs the squared loss is a mean over samples *and outputs*, its gradient a mean over samples alone.
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from gradcheck import check_gradient

OUTPUTS = 3


def fitted(alpha):
    """Return a small network after three steps of training, and its data."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, OUTPUTS))
    model = MLPRegressor(
        hidden_layer_sizes=(5,), activation="tanh", solver="lbfgs", alpha=alpha, max_iter=3, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y), x, y


def loss_and_gradient(model, x, y):
    """Return a function of the weights that calls scikit-learn's own forward and backward pass."""

    def evaluate(params):
        model.coefs_, model.intercepts_ = params["coefs"], params["intercepts"]
        activations = [x] + [np.empty((len(x), w.shape[1])) for w in model.coefs_]
        deltas = [np.empty_like(activation) for activation in activations[1:]]
        gradients = [[np.empty_like(part) for part in params[name]] for name in ("coefs", "intercepts")]
        loss, coefs, intercepts = model._backprop(x, y, None, activations, deltas, *gradients)  # noqa: SLF001 - no public way
        return loss, {"coefs": list(coefs), "intercepts": list(intercepts)}

    return evaluate


def check(alpha):
    """Check the gradient of a network with so much weight decay."""
    model, x, y = fitted(alpha)
    params = {"coefs": list(model.coefs_), "intercepts": list(model.intercepts_)}
    return check_gradient(loss_and_gradient(model, x, y), True, params)


if __name__ == "__main__":
    print(check(alpha=0.0))
    print(check(alpha=0.5))
