"""`GeneralizedPoisson.score` with `use_transparams=True`: the square of a derivative where log(alpha) is searched.

The last element is the derivative by alpha, squared; it should be alpha times that derivative. `NegativeBinomialP` has the same, and
`score_obs` and `hessian` differentiate by alpha. Known: [#7522](https://github.com/statsmodels/statsmodels/issues/7522), open since 2021.
"""

import warnings

import numpy as np
import statsmodels.api as sm
from statsmodels.discrete.discrete_model import GeneralizedPoisson

from gradcheck import check_gradient

RELEASE = "statsmodels 0.15.0"


def model():
    """Return a model of overdispersed counts."""
    rng = np.random.default_rng(0)
    x = sm.add_constant(rng.normal(size=(300, 1)))
    mean = np.exp(x @ [1.0, 0.5])
    return GeneralizedPoisson(rng.negative_binomial(2.0, 2 / (2 + mean)), x, p=1)


def check():
    """Check the score in the parameters that `fit(use_transparams=True)` searches in."""
    counts = model()
    counts._transparams = True  # noqa: SLF001 - what fit(use_transparams=True) sets while it searches
    return check_gradient(counts.loglike, counts.score, np.array([0.9, 0.4, np.log(0.4)]))


def consequence():
    """Compare the two parametrisations of one model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = {name: model().fit(use_transparams=name == "log(alpha)", disp=0) for name in ("log(alpha)", "alpha")}
    return "; ".join(
        f"fit in {name}: log-likelihood {fit.llf:.2f}, converged: {fit.mle_retvals['converged']}"
        for name, fit in fits.items()
    )


if __name__ == "__main__":
    print(check())
    print(consequence())
