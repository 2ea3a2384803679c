"""The noise of a function, estimated from a sample of its values.

Noise is what remains without the smooth part: rounding, single precision inside, an iterative solver that stops early. The
idea is that of the difference tables of J. J. Moré and S. M. Wild, "Estimating computational noise", SIAM Journal on
Scientific Computing 33 (2011). The points here are not equally spaced: on a staircase equal spacings can meet each stair at
the same place, and show no noise at all.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.differences.counts import DOZEN, FEW

__all__ = [
    "CLOSEST_STEP",
    "DISAGREES",
    "OFFSETS",
    "OF_ROUNDING",
    "PLAINLY",
    "POINTS",
    "SAME_NOISE",
    "SUSPICIOUS",
    "WHOLE_OFFSETS",
    "noise_from_samples",
    "output_quantum",
    "ulp",
]

OFFSETS = np.array([0.0, 8.1317, 13.2903, 22.3711, 27.0519, 36.7713, 41.1931, 50.2347])
"""Places where a function is sampled for its noise, in units of a spacing."""

WHOLE_OFFSETS = np.rint(OFFSETS)
"""The same for parameters coarser than float64: with a spacing exact in their dtype all points are exact."""

POINTS = len(OFFSETS)

SAME_NOISE = 4.0
"""Largest factor between two estimates of the same noise, within a sample or between two samples. Also between a bound and the noise
that limits it, and between an error and the jump that explains it."""

OF_ROUNDING = 30.0
"""Noise, in units of the rounding of the values to their dtype, up to which a function that computes in that dtype explains it;
or a change of an output that counts as none."""

SUSPICIOUS = 1e3
"""Ratio of a change to the noise, or to a unit in the last place, beyond which it is not noise: a fast oscillation, a
pole, a saturation, or a different result."""

DISAGREES = 3.3
"""Standard deviations at which a residual is significant: along four directions a right gradient exceeds it in 1 of
50,000 checks. Also the multiple of its own bound at which a gap between one-sided slopes counts."""

PLAINLY = 30.0
"""Ratio of an error to its uncertainty beyond which no further measurement is needed. The uncertainty is the bound of two
differences, the second difference between their points, or the standard deviation of a residual along directions. The
residual of one half may then be obtained by subtraction, and a factor is known to a few per cent of its distance
from one."""

CLOSEST_STEP = SUSPICIOUS * float(np.finfo(np.float64).eps)
"""Shortest step with which a contradicted element is measured, in units of its length. At shorter ones a function that amplifies the
rounding of its elements may agree with any claim."""


def ulp(values: Floats) -> Floats:
    """Return the spacing of float64 at the largest finite magnitude along the first axis."""
    largest: Floats = np.where(np.isfinite(values), np.abs(values), 0.0).max(axis=0, initial=0.0)
    return np.spacing(largest)


def noise_from_samples(values: Floats, offsets: Floats = OFFSETS) -> tuple[float, bool]:
    """Estimate the standard deviation of the noise from values at some offsets.

    What polynomials of degree ``k`` leave of the values vanishes quickly with ``k`` for a smooth function. For noise, divided
    by the degrees of freedom, it stays constant.

    Parameters
    ----------
    values, offsets : arrays, shape (POINTS,)

    Returns
    -------
    noise : float
        The level at which the residuals are constant, or the least of them as an upper bound.
    settled : bool
        Whether three successive residuals agree within a factor of four. If not, the spacing was too wide for the function's
        smooth part, and the estimate is only an upper bound.
    """
    values = np.asarray(values, dtype=np.float64)
    basis = _polynomials(tuple(offsets.tolist()))
    coefficients = basis.T @ (values - values[0])
    if not np.isfinite(coefficients).all():
        return np.inf, False
    squares = np.cumsum(coefficients[::-1] ** 2)[::-1]
    levels = np.sqrt(squares / (POINTS - np.arange(POINTS)))[2:]
    for first in range(len(levels) - 2):
        window = levels[first : first + 3]
        # The last level is a single number, which may be small by chance.
        sure = window[:2] if first == len(levels) - 3 else window
        if window.max() <= SAME_NOISE * sure.min():
            return float(window[0]), True
    return float(levels[:-1].min()), False


@lru_cache(maxsize=8)
def _polynomials(offsets: tuple[float, ...]) -> Floats:
    """Return orthonormal polynomials at some offsets, column k of degree k."""
    places = np.array(offsets)
    basis = np.asarray(np.linalg.qr(np.vander(places / places[-1] * 2 - 1, increasing=True))[0])
    basis.setflags(write=False)
    return basis


def output_quantum(values: Floats) -> float:
    """Return the spacing of the grid on which all values lie, or 0 when it is no coarser than rounding.

    Single precision and cancellation leave binary grids, rounding to decimals leaves decimal ones.
    """
    values = values[np.isfinite(values) & (values != 0)]
    if len(values) < POINTS or len(np.unique(values)) < FEW:
        return 0.0
    mantissas, exponents = np.frexp(values)
    integers = np.abs(mantissas * 2.0**53).astype(np.int64)
    lowest = integers & -integers
    if (lowest >= 2**DOZEN).all():  # the last dozen bits of all values are zero
        return float(np.ldexp(lowest.astype(np.float64), exponents - 53).min())
    for places in range(np.finfo(np.float64).precision + 1):
        scaled = values * 10.0**places
        if np.abs(scaled).max() > 2.0**40:
            break
        whole = np.rint(scaled)
        if (np.abs(whole - scaled) <= 4 * np.spacing(np.abs(scaled))).all():
            return float(10.0**-places) if len(np.unique(whole)) >= FEW else 0.0
    return 0.0
