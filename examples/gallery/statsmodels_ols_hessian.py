"""`OLS.hessian` without a scale: not the Hessian of the profile likelihood that it is documented to be.

Its two terms need the factors `-n` and `2 n`, and have `-n/2` and `n/2`. `loglike` and `score` are right. Known:
[#9469](https://github.com/statsmodels/statsmodels/issues/9469), open. Results of `fit` do not use it.
"""

import numpy as np
import statsmodels.api as sm

from gradcheck import check_jacobian

RELEASE = "statsmodels 0.15.0"


def check():
    """Check the Hessian as the Jacobian of the score."""
    rng = np.random.default_rng(0)
    x = sm.add_constant(rng.normal(size=(50, 2)))
    model = sm.OLS(x @ [1.0, 0.5, -0.3] + rng.normal(size=50), x)
    return check_jacobian(model.score, model.hessian, np.array([0.8, 0.3, -0.1]))


if __name__ == "__main__":
    print(check())
