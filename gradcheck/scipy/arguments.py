"""The arguments of SciPy's solvers: functions with further arguments, points, bounds and constraints."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from reprlib import repr as abbreviated
from typing import Any

import numpy as np
from scipy.optimize import Bounds, HessianUpdateStrategy, OptimizeResult

from gradcheck.aliases import Floats
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.options import CheckOptions, require_known

__all__ = [
    "INFINITE", "Function", "behind", "both", "columns", "derivative", "limits", "listed", "number", "of_checks", "point", "sides",
]  # fmt: skip

Function = Callable[..., Any]
INFINITE = (-np.inf, np.inf)
SCHEMES = ("2-point", "3-point", "cs")
"""SciPy's names for differences of its own."""

METHODS = {
    *("nelder-mead", "powell", "cg", "bfgs", "newton-cg", "l-bfgs-b", "tnc", "cobyla", "cobyqa", "slsqp", "dogleg"),
    *("trust-constr", "trust-ncg", "trust-exact", "trust-krylov", "trf", "dogbox", "lm"),
}
"""SciPy's names for its methods."""


def of_checks(solver: Callable[..., Any], options: CheckOptions) -> CheckOptions:
    """Return the options of a check without those that the solver alone reads: a call may be given as it is."""
    solvers = inspect.signature(solver).parameters.keys() - CheckOptions.__annotations__.keys()
    kept: Any = {name: value for name, value in options.items() if name not in solvers}
    require_known(kept)
    method = kept.get("method")
    if method is None or callable(method) or str(method).lower() in METHODS:
        kept.pop("method", None)
    return kept  # type: ignore[no-any-return] # a part of what it was


def behind(args: Any) -> tuple[Any, ...]:
    """Return further arguments as SciPy takes them: a tuple, or the only one."""
    return args if isinstance(args, tuple) else (args,)


def derivative(name: str, given: Any, args: tuple[Any, ...] = ()) -> Any:
    """Return a derivative as a function of the point alone; None for what SciPy approximates itself.

    Raises
    ------
    InvalidArgument
        For anything else, as an array: it would be left unchecked without a word.
    """
    if callable(given):
        return lambda x: given(x, *args)
    is_known = given is None or given is False or isinstance(given, HessianUpdateStrategy)
    if is_known or (isinstance(given, str) and given in SCHEMES):
        return None
    raise InvalidArgument(
        f"{name}={abbreviated(given)} is {described(given)}; a function was required, or what SciPy approximates: "
        f"None, {', '.join(map(repr, SCHEMES))} or a HessianUpdateStrategy."
    )


def both(fun: Function, args: tuple[Any, ...]) -> tuple[Function, Function]:
    """Return value and gradient of a function that gives both, ``jac=True``."""

    def pair(x: Floats) -> Any:
        given = fun(x, *args)
        if not (isinstance(given, tuple | list) and len(given) == 2):
            raise InvalidArgument(
                f"jac=True requires fun to return (value, gradient), but it returned {described(given)}; return both, "
                "or pass the gradient function as jac."
            )
        return given

    return lambda x: pair(x)[0], lambda x: pair(x)[1]


def number(value: Any) -> Any:
    """Return the value of a function as a single number."""
    try:
        return np.reshape(value, ())
    except ValueError as error:
        given = f"shape {np.shape(value)}" if isinstance(value, np.ndarray) else described(value)
        raise InvalidArgument(
            f"fun returned {given}; a single number was required; where it returns (value, gradient) pass jac=True."
        ) from error


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
        remedy = "; give its x" if isinstance(x0, OptimizeResult) else ""
        raise InvalidArgument(
            f"x0 is {described(x0)} of dtype {x.dtype} and shape {x.shape}; a vector of real numbers was required{remedy}."
        )
    return x.astype(np.float64)


def limits(bounds: Any, size: int) -> tuple[Any, Any]:
    """Read bounds as `minimize` does: a `Bounds`, or a sequence of pairs (min, max), None for none."""
    if bounds is None:
        return INFINITE
    if isinstance(bounds, Bounds):
        return bounds.lb, bounds.ub
    try:
        pairs = [(low, high) for low, high in bounds]
    except (TypeError, ValueError):
        pairs = []
    if len(pairs) != size:
        raise InvalidArgument(
            f"bounds={abbreviated(bounds)} must be a Bounds, or one (min, max) for each of the {size} elements of x0."
        )
    lower = [-np.inf if low is None else low for low, _ in pairs]
    return lower, [np.inf if high is None else high for _, high in pairs]


def sides(bounds: Any) -> tuple[Any, Any]:
    """Read bounds as `least_squares` does: a `Bounds`, or a pair (lower, upper) of arrays or numbers."""
    if isinstance(bounds, Bounds):
        return bounds.lb, bounds.ub
    try:
        lower, upper = bounds
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"bounds={abbreviated(bounds)} must be a Bounds or a pair (lower, upper), each a number or one for each element of x0."
        ) from error
    return lower, upper


def listed(constraints: Any) -> Iterable[Any]:
    """Return constraints as a list, where there may be one alone."""
    is_one = isinstance(constraints, Mapping) or not isinstance(constraints, Iterable)
    return [constraints] if is_one else constraints
