"""`NegativeBinomialP(p=1.5).hessian`: the block of slope and dispersion is wrong, and standard errors with it.

For `p` other than 1 and 2. The rest of the Hessian is right, and so is the score.
"""

import warnings

import numpy as np
import statsmodels.api as sm
from statsmodels.discrete.discrete_model import NegativeBinomialP

from gradcheck import check_jacobian, numerical_jacobian

RELEASE = "statsmodels 0.15.0"


def model():
    """Return a model of overdispersed counts."""
    rng = np.random.default_rng(0)
    x = sm.add_constant(rng.normal(size=(300, 1)))
    mean = np.exp(x @ [1.0, 0.5])
    return NegativeBinomialP(rng.negative_binomial(2.0, 2 / (2 + mean)), x, p=1.5)


def check():
    """Check the Hessian as the Jacobian of the score."""
    counts = model()
    return check_jacobian(counts.score, counts.hessian, np.array([0.9, 0.4, 0.6]))


def consequence():
    """Compare the standard errors after `fit` with those of the true Hessian at the same parameters."""
    counts = model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = counts.fit(disp=0)
    hessian = numerical_jacobian(counts.score, fitted.params).value
    true = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    return f"standard errors: {np.round(fitted.bse, 4)}, by the true Hessian: {np.round(true, 4)}"


if __name__ == "__main__":
    print(check())
    print(consequence())
