"""`MLPRegressor` with K outputs: the data's part of the gradient is K times too large.

The squared loss is a mean over samples *and outputs*, its gradient a mean over samples alone, while the penalty's part is right. So with
`alpha > 0` no single factor explains the error, and the weight decay that acts is `alpha / K`. One step of plain gradient descent
shows it, through the public methods alone. Known: [#8349](https://github.com/scikit-learn/scikit-learn/issues/8349), open since
2017; [#34830](https://github.com/scikit-learn/scikit-learn/pull/34830) mends it.
"""

import copy

import numpy as np
from sklearn.neural_network import MLPRegressor

from gradcheck import check_gradient

RELEASE = "scikit-learn 1.9.1"


def check(outputs=3, alpha=0.5):
    """Check what one step of descent, of length one and on all samples, subtracts from the weights."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, outputs))
    one_step = {"solver": "sgd", "learning_rate_init": 1, "momentum": 0, "batch_size": 20}
    start = MLPRegressor(hidden_layer_sizes=(5,), activation="tanh", alpha=alpha, random_state=0, **one_step)
    start.partial_fit(x, y)

    def loss_and_gradient(params):
        model = copy.deepcopy(start)
        model.coefs_, model.intercepts_ = copy.deepcopy((params["coefs"], params["intercepts"]))
        model.partial_fit(x, y)
        after = {"coefs": model.coefs_, "intercepts": model.intercepts_}
        return model.loss_, {name: [a - b for a, b in zip(params[name], after[name], strict=True)] for name in after}

    return check_gradient(loss_and_gradient, True, {"coefs": start.coefs_, "intercepts": start.intercepts_})


if __name__ == "__main__":
    print(check())
