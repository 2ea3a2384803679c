"""`scipy.special.mathieu_cem`: the argument is in degrees, the derivative per radian.

`mathieu_sem` too. Known: [#14580](https://github.com/scipy/scipy/issues/14580), open; [xsf #68](https://github.com/scipy/xsf/issues/68).
"""

import numpy as np
from scipy.special import mathieu_cem

from gradcheck import check_gradient

RELEASE = "SciPy 1.17.1"


def check():
    """Check the second value that it returns as the derivative of the first."""
    degrees = np.array([10.0, 35.0, 80.0, 140.0])
    return check_gradient(lambda x: mathieu_cem(2, 1.5, x)[0].sum(), lambda x: mathieu_cem(2, 1.5, x)[1], degrees)


if __name__ == "__main__":
    print(check())
