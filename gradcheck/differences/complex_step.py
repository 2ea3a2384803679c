"""Derivatives by a complex step: the imaginary part of a function at a point moved along the imaginary axis.

No difference is taken, so there is no cancellation and the derivative has all digits. It is valid only for a function that is
analytic as written: ``abs``, a real part or a comparison inside gives wrong derivatives. So it is compared with central
differences along random directions before it is used.

Source: W. Squire and G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40
(1998).
"""

from __future__ import annotations

import warnings

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.differences.counts import FEW
from gradcheck.differences.ladder import FEWEST_LEVELS, Ladder
from gradcheck.differences.lengths import FIRST_STEP, RATIO
from gradcheck.differences.noise import OF_ROUNDING
from gradcheck.functions.blocks import signed
from gradcheck.functions.probe import BudgetExhaustedError, Probe, quoted

__all__ = ["ROUNDING", "NotAnalyticError", "complex_slopes"]

ROUNDING = OF_ROUNDING * float(np.finfo(np.float64).eps)
"""Relative error of a derivative: there is no cancellation beyond that of the function itself."""

STEP = 1e-20
"""Step along the imaginary axis, in units of the element's length. Its square is far below rounding, so there is no truncation error."""


class NotAnalyticError(Exception):
    """The function does not allow a complex step. Never leaves the package."""


def complex_slopes(
    probe: Probe,
    base: Floats,
    lengths: dict[int, Floats],
    noise: Floats,
    *,
    multiplier: float,
    rng: np.random.Generator,
) -> dict[int, Floats]:
    """Differentiate with respect to every element of some leaves by a complex step.

    Parameters
    ----------
    multiplier : float
        How many standard deviations of noise count.

    Returns
    -------
    slopes : dict
        For each leaf its derivatives, shape (n, K).

    Raises
    ------
    NotAnalyticError
        With the reason: the function refuses complex numbers, drops the imaginary part, or disagrees with differences.

    Notes
    -----
    Costs one call an element and 32 for the comparison with differences.
    """
    slopes = {}
    for leaf, scale in lengths.items():
        steps = np.maximum(STEP * scale, np.finfo(np.float64).tiny)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", np.exceptions.ComplexWarning)  # the numbers are ours, not the user's
                imaginary = probe.imaginary(leaf, np.arange(scale.size), steps)
        except BudgetExhaustedError:
            raise
        except Exception as error:
            raise NotAnalyticError(quoted(error)) from error
        slopes[leaf] = imaginary / steps[:, None]
    for _ in range(FEW):
        _compare(probe, base, lengths, noise, multiplier, rng, slopes)
    return slopes


def _compare(
    probe: Probe,
    base: Floats,
    lengths: dict[int, Floats],
    noise: Floats,
    multiplier: float,
    rng: np.random.Generator,
    slopes: dict[int, Floats],
) -> None:
    """Raise `NotAnalyticError` if differences along a random direction contradict the slopes."""
    direction = {leaf: scale * signed(scale.size, rng) for leaf, scale in lengths.items()}
    steps = FIRST_STEP * RATIO ** -np.arange(1.0, FEWEST_LEVELS + 1)
    values = probe.ray(direction, np.concatenate([steps, -steps]))
    plus, minus = values[None, :FEWEST_LEVELS], values[None, FEWEST_LEVELS:]
    measured = Ladder(steps[None], steps[None], plus, minus, base, noise, multiplier).measure()
    parts = np.concatenate([direction[leaf][:, None] * slopes[leaf] for leaf in direction])
    residual = np.abs(parts.sum(axis=0) - measured.value[0])
    uncertainty = measured.bound[0] + ROUNDING * np.abs(parts).sum(axis=0)
    if not (residual <= uncertainty).all():
        raise NotAnalyticError("what it gives for complex arguments disagrees with differences")
