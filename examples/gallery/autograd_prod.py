"""`autograd.numpy.prod` with a zero among the factors: the gradient is NaN.

The rule divides the product by the factor. Known: [#93](https://github.com/HIPS/autograd/issues/93),
[#378](https://github.com/HIPS/autograd/issues/378).
"""

import autograd.numpy as anp
import numpy as np
from autograd import grad

from gradcheck import check_gradient

RELEASE = "autograd 1.9.1"


def check():
    """Check a product of four numbers, one of them zero."""
    return check_gradient(anp.prod, grad(anp.prod), np.array([1.5, 0.0, -0.7, 2.0]))


if __name__ == "__main__":
    print(check())
