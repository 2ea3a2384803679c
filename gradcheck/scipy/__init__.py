"""The problems of `scipy.optimize`: the derivatives that its solvers are given, by the call that they are given in.

``check_problem`` takes the arguments of `scipy.optimize.minimize`, ``check_least_squares`` those of
`scipy.optimize.least_squares`. Bounds are never left: at a bound differences are one-sided.
"""

from __future__ import annotations

from gradcheck.errors import needing

with needing("scipy", __name__):
    from gradcheck.scipy.least_squares import assert_least_squares, check_least_squares
    from gradcheck.scipy.problems import assert_problem, check_problem

__all__ = ["assert_least_squares", "assert_problem", "check_least_squares", "check_problem"]
