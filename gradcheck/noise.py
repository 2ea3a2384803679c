"""How noisy a function is: measured from its own values, never assumed.

The noise of ``f`` is what is left when its smooth part is taken away: rounding, single precision hidden inside,
an iterative solver that stops early. Sources: J. J. Moré and S. M. Wild, "Estimating computational noise", SIAM
Journal on Scientific Computing 33 (2011), for difference tables; the quantum of the output is read off the bits.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

__all__ = ["POINTS", "noise_from_table", "output_quantum", "ulp"]

Floats = NDArray[np.float64]

POINTS = 8
"""Equally spaced points of a difference table."""

DISTINCT = 4
"""Fewer different values say nothing about the grid that they lie on: a constant lies on any."""

_SINGLE_BITS = 29
"""Trailing zero bits of a float64 that came out of float32."""


def ulp(values: Floats) -> Floats:
    """Return the spacing of float64 at the largest finite magnitude along the first axis."""
    with np.errstate(all="ignore"):
        largest: Floats = np.max(np.where(np.isfinite(values), np.abs(values), 0.0), axis=0, initial=0.0)
        return np.spacing(largest)


def noise_from_table(values: Floats) -> tuple[float, bool]:
    """Estimate the standard deviation of the noise from equally spaced values.

    Differences of order ``k`` of a smooth function vanish quickly with ``k``, those of noise grow like
    ``sqrt(binomial(2k, k))``: divided by that, they stand still where noise dominates.

    Parameters
    ----------
    values : array, shape (P,)

    Returns
    -------
    noise : float
        The estimate: the level at which the table stands still, or its last level as an upper bound.
    settled : bool
        Whether three successive levels agree within a factor of four. Where they do not, the spacing was too
        wide for the function's smooth part and the estimate is only an upper bound.
    """
    levels = []
    differences = np.asarray(values, dtype=np.float64)
    with np.errstate(all="ignore"):
        for order in range(1, len(values)):
            differences = np.diff(differences)
            levels.append(float(np.sqrt(np.mean(differences**2) / comb(2 * order, order))))
    if not np.all(np.isfinite(levels)):
        return np.inf, False
    for first in range(len(levels) - 2):
        window = levels[first : first + 3]
        if max(window) <= 4 * min(window):
            return window[0], True
    return min(levels[2:], default=0.0), False


def output_quantum(values: Floats) -> float:
    """Return the spacing of the grid on which all values lie, or 0 when it is no coarser than float64's own.

    Recognised are binary grids that leave at least 29 trailing bits zero, as single precision does, and decimal
    grids of up to 12 places, as rounding does.
    """
    values = values[np.isfinite(values) & (values != 0)]
    if len(values) < POINTS or len(np.unique(values)) < DISTINCT:
        return 0.0
    mantissas, exponents = np.frexp(values)
    integers = np.abs(mantissas * 2.0**53).astype(np.int64)
    lowest = integers & -integers
    if np.all(lowest >= 2**_SINGLE_BITS):
        return float(np.min(np.ldexp(lowest.astype(np.float64), exponents - 53)))
    for places in range(13):
        scaled = values * 10.0**places
        if np.max(np.abs(scaled)) > 2.0**40:
            break
        if np.all(np.abs(np.rint(scaled) - scaled) <= 4 * np.spacing(np.abs(scaled))):
            return float(10.0**-places)
    return 0.0
