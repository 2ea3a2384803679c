"""`ZeroInflatedPoisson.hessian`: the block of inflation and mean is zero, and standard errors are too small.

Exactly zero when the inflation is a constant, wrong otherwise. The score is right.
"""

import warnings

import numpy as np
import statsmodels.api as sm
from statsmodels.discrete.count_model import ZeroInflatedPoisson

from gradcheck import check_jacobian, numerical_jacobian

RELEASE = "statsmodels 0.15.0"


def model():
    """Return a model of counts of which three in ten are zeros for another reason."""
    rng = np.random.default_rng(0)
    x = sm.add_constant(rng.normal(size=(300, 1)))
    counts = rng.poisson(np.exp(x @ [0.5, 0.4])) * (rng.random(300) > 0.3)
    return ZeroInflatedPoisson(counts, x, exog_infl=np.ones((300, 1)))


def check():
    """Check the Hessian as the Jacobian of the score."""
    counts = model()
    return check_jacobian(counts.score, counts.hessian, np.array([-0.6, 0.4, 0.3]))


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
