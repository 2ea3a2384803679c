"""Whether functions give the same again at the same points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradcheck.aliases import Floats

__all__ = ["NotRepeatableError", "require_same", "require_undefined_again"]

ROUNDED = 8.0
"""Largest difference of repeated values, in units of what noise may change: rounding may depend on how many points are evaluated at once."""


class NotRepeatableError(Exception):
    """The functions gave something else when they were called again at the same points."""


def require_same(values: Floats, before: Floats, jitter: Floats) -> None:
    """Compare values, or differences of them, with those from before at the same points.

    Parameters
    ----------
    values, before : arrays, shape (..., K)
    jitter : array, shape (..., K)
        By how much noise may change them.

    Raises
    ------
    NotRepeatableError
        When they are others, by more than rounding.
    """
    if np.any(np.abs(values - before) > ROUNDED * jitter):
        raise NotRepeatableError


def require_undefined_again(again: Callable[[], Floats] | None) -> None:
    """Call the functions ``again`` at a displaced point at which they were not defined, if there was one.

    Raises
    ------
    NotRepeatableError
        When they are defined there now.
    """
    if again is not None and np.isfinite(again()).any():
        raise NotRepeatableError
