"""`scipy.special.obl_rad2` below x of about 2: the second value is not the derivative of the first.

Of `obl_rad2(1, 2, 1, x)` the derivative is off by up to a factor of a hundred, and values are inaccurate there too: the Wronskian with `obl_rad1`, which is
right, should be `1 / (c (x² + 1))`. Found by `python -m benchmarks.audit scipy`.
"""

import numpy as np
from scipy.special import obl_rad1, obl_rad2

from gradcheck import check_gradient

RELEASE = "SciPy 1.17.1"


def check():
    """Check the second value that it returns as the derivative of the first."""
    x = np.array([0.8, 1.5, 2.5])
    return check_gradient(lambda x: obl_rad2(1, 2, 1.0, x)[0].sum(), lambda x: obl_rad2(1, 2, 1.0, x)[1], x)


def consequence():
    """Evaluate the Wronskian, times what makes it one."""
    x = np.array([0.8, 1.5, 2.5])
    (first, slope_of_first), (second, slope_of_second) = obl_rad1(1, 2, 1.0, x), obl_rad2(1, 2, 1.0, x)
    wronskian = (first * slope_of_second - slope_of_first * second) * (x**2 + 1)
    return f"Wronskian at {x}, should be 1: {np.round(wronskian, 3)}"


if __name__ == "__main__":
    print(check())
    print(consequence())
