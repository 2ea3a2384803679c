"""`autograd.numpy.sinc` at zero: the gradient is NaN, and should be zero.

The function is smooth there; the rule divides by `x ** 2`.
"""

import autograd.numpy as anp
import numpy as np
from autograd import grad

from gradcheck import check_gradient

RELEASE = "autograd 1.9.1"


def check():
    """Check it at zero and elsewhere."""

    def total(x):
        return anp.sum(anp.sinc(x))

    return check_gradient(total, grad(total), np.array([0.0, 0.3, 1.7]))


if __name__ == "__main__":
    print(check())
