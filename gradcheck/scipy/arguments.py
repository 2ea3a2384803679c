"""The arguments of SciPy's solvers: functions with further arguments, points and bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds

from gradcheck.errors import InvalidArgument

__all__ = ["INFINITE", "Floats", "Function", "columns", "limits", "point", "with_args"]

Floats = NDArray[np.float64]
Function = Callable[..., Any]

INFINITE = (-np.inf, np.inf)


def with_args(function: Any, args: tuple[Any, ...]) -> Any:
    """Return a function of the point alone; None for what is no function, as ``'2-point'``."""
    return (lambda x: function(x, *args)) if callable(function) else None


def columns(hessp: Function, args: tuple[Any, ...]) -> Function:
    """Return the Hessian whose products these are."""
    return lambda x: np.stack([np.ravel(hessp(x.copy(), e, *args)) for e in np.eye(x.size)], axis=-1)


def point(x0: Any) -> Floats:
    """Read a point: a vector of real numbers.

    Raises
    ------
    InvalidArgument
        For anything else.
    """
    x = np.atleast_1d(np.asarray(x0))
    if x.dtype.kind not in "biuf" or x.ndim != 1:
        raise InvalidArgument(f"x0 has dtype {x.dtype} and shape {x.shape}; a vector of real numbers was required.")
    return x.astype(np.float64)


def limits(bounds: Any, size: int) -> tuple[Any, Any]:
    """Read bounds as SciPy does: a `Bounds`, a pair (lower, upper) of arrays, or a sequence of pairs, None for none."""
    if bounds is None:
        return INFINITE
    if isinstance(bounds, Bounds):
        return bounds.lb, bounds.ub
    pairs = list(bounds)
    if len(pairs) != size or any(np.size(pair) != 2 for pair in pairs):
        raise InvalidArgument(
            f"bounds hold {len(pairs)} entries; one (min, max) for each of the {size} elements of x0."
        )
    lower = [-np.inf if low is None else low for low, _ in pairs]
    return lower, [np.inf if high is None else high for _, high in pairs]
