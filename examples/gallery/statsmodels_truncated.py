"""`TruncatedLFNegativeBinomialP(p=1)`: `score` and `hessian` are those of another parametrisation.

The term of the truncated probabilities comes from a helper model that is built without `p=`, so with the default `p=2`;
`p=2` itself is right. `TruncatedLFGeneralizedPoisson(p=2)`, whose default is 1, has the same.
"""

import warnings

import numpy as np
import statsmodels.api as sm
from scipy.optimize import minimize
from statsmodels.discrete.truncated_model import TruncatedLFNegativeBinomialP

from gradcheck import check_gradient

RELEASE = "statsmodels 0.15.0"


def model():
    """Return a model of counts of which the zeros were not recorded."""
    rng = np.random.default_rng(0)
    x = sm.add_constant(rng.normal(size=(600, 2)))
    mean = np.exp(x @ [0.6, 0.4, -0.3])
    counts = rng.negative_binomial(mean / 0.5, 1 / 1.5)
    return TruncatedLFNegativeBinomialP(counts[counts > 0], x[counts > 0], p=1)


def check():
    """Check the score away from the optimum."""
    truncated = model()
    return check_gradient(truncated.loglike, truncated.score, np.array([0.5, 0.3, -0.2, 0.4]))


def consequence():
    """Compare what `fit` finds with what a search without gradients finds."""
    truncated = model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = truncated.fit(disp=0, maxiter=200)
    best = minimize(
        lambda p: -truncated.loglike(p), [0.5, 0.3, -0.2, 0.4], method="Nelder-Mead", options={"maxiter": 4000}
    )
    return (
        f"fit: log-likelihood {fitted.llf:.2f}, converged: {fitted.mle_retvals['converged']}; "
        f"without gradients: {-best.fun:.2f}"
    )


if __name__ == "__main__":
    print(check())
    print(consequence())
