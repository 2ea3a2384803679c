"""`NegativeBinomial`, before `fit`: the score is by log(alpha), the Hessian by alpha.

So an optimiser that is given `loglike`, `score` and `hessian` gets a Hessian of another function. After `fit` all three are by alpha and agree. Known, and
`fit` takes care of it: [#1967](https://github.com/statsmodels/statsmodels/issues/1967), open since 2014.
"""

import numpy as np
import statsmodels.api as sm

from gradcheck import check_jacobian

RELEASE = "statsmodels 0.15.0"


def check():
    """Check the Hessian as the Jacobian of the score, which is right."""
    rng = np.random.default_rng(0)
    x = sm.add_constant(rng.normal(size=(300, 1)))
    mean = np.exp(x @ [1.0, 0.5])
    model = sm.NegativeBinomial(rng.negative_binomial(2.0, 2 / (2 + mean)), x)
    return check_jacobian(model.score, model.hessian, np.array([0.9, 0.4, np.log(0.6)]))


if __name__ == "__main__":
    print(check())
