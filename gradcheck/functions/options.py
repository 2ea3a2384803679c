"""The options of a check: what they are, and clear errors for what they cannot be."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as abbreviated
from typing import Any, Literal, TypedDict, get_args

import numpy as np

from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.workers import WorkerPool, Workers, read_workers

__all__ = [
    "CheckOptions", "Method", "Settings", "default_rtol", "read_options", "require_callable", "require_choice", "require_flag", "require_known",
]  # fmt: skip

Method = Literal["auto", "exhaustive", "directional", "complex-step"]

RTOL = {"float64": 3.3e-7, "float32": 1e-3, "float16": 3e-2}
"""Floating-point dtype -> the relative error that matters where nothing coarser is met.

In float64 a third of 1e-6, so that an error of 1e-6 is seen where the reference is good to as much again, and a right
element is cleared where it is.
"""

COARSEST_RTOL = 0.1
"""The same for bfloat16, which has eps 0.008: products of a few factors are off by that much."""

MEANT = {"seed": "rng", "random_state": "rng", "n_jobs": "workers", "verbose": "progress", "argnames": "argnums"}
"""What other libraries call an option -> its name here."""


def default_rtol(eps: float) -> float:
    """Return the relative error that matters where ``eps`` is the largest epsilon met."""
    return next((rtol for name, rtol in RTOL.items() if eps <= np.finfo(np.dtype(name)).eps), COARSEST_RTOL)


class CheckOptions(TypedDict, total=False):
    """The keyword options of every check.

    Attributes
    ----------
    rtol : float, optional
        The relative error that matters; default from the coarsest dtype among parameters, function value and
        gradient: 3.3e-7 for float64, 1e-3 for float32, 3e-2 for float16, 0.1 for bfloat16.
    method : {"auto", "exhaustive", "directional", "complex-step"}
        ``"exhaustive"`` looks at every element by differences; ``"directional"`` compares all of them together along
        random directions, and locates those that are wrong, for `check_gradient`, `check_layer`, `check_vjp` and `check_chain`;
        ``"auto"`` takes the first, unless there are more than 10,000 elements or ``max_evaluations`` is too few for it
        and enough for the second; ``"complex-step"`` looks at every element by a step along the imaginary axis,
        which has no truncation error and no cancellation, where the function takes complex numbers; that is checked,
        and where it does not hold differences are used.
    vectorized : bool
        ``f`` accepts a tree in which one leaf carries one extra leading axis of length ``P``, and returns ``P``
        values. That they are those of ``P`` calls is checked, leaf by leaf.
    workers : int, map-like or concurrent.futures.Executor, optional
        Who calls ``f`` at displaced points: so many processes (-1: one a core), a function like `map`, or an executor,
        which stays open. Default, and 1: this thread. The report is the same whatever the workers. ``f`` is sent to them with
        the point, and must be picklable where they are processes; what it changes there is not seen here.
    rng : int or numpy.random.Generator
        The same seed gives the same report.
    max_evaluations : int, optional
        A hard bound on the calls of ``f``.
    progress : True or callable, optional
        ``progress(done, total)``, rising, the last call with ``done == total``; True shows a bar on stderr, or a line
        where rich is not installed.

    Notes
    -----
    Ctrl-C ends a check within a second. The `KeyboardInterrupt` has an attribute ``report``: what was found so far, never
    a pass, elements that were not looked at undecided.
    """

    rtol: float | None
    method: Method
    vectorized: bool
    workers: Workers | None
    rng: int | np.random.Generator
    max_evaluations: int | None
    progress: Callable[[int, int], object] | bool | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Options that were read and found good.

    Attributes
    ----------
    key : int
        A seed for what must not depend on the order of draws, nor on what else there is.
    seed : str
        What to pass as ``rng`` to repeat the check. The other attributes are the options themselves.
    """

    rtol: float | None
    method: Method
    vectorized: bool
    workers: Workers | WorkerPool | None
    rng: np.random.Generator
    key: int
    seed: str
    max_evaluations: int | None
    progress: Callable[[int, int], object] | bool | None

    @property
    def complex_step(self) -> bool:
        """Whether to step along the imaginary axis."""
        return self.method == "complex-step"


def read_options(
    options: CheckOptions, *, vectorizable: bool = True, analytic: bool = True, directional: bool = False
) -> Settings:
    """Validate the options of a check, and whether it can do what they ask for.

    Raises
    ------
    InvalidArgument
        Naming the option, what was given and what is required.
    """
    require_known(options)
    method = options.get("method", "auto")
    if method not in get_args(Method):
        raise InvalidArgument(f"method={method!r} is not known; use {' or '.join(map(repr, get_args(Method)))}.")
    if method == "complex-step" and not analytic:
        raise InvalidArgument("method='complex-step' differentiates once, and this check needs more; leave it out.")
    if method == "directional" and not directional:
        raise InvalidArgument(
            "method='directional' judges many elements of a gradient together, and this function gives each on its own; "
            "leave it out, or use check_gradient, check_layer, check_vjp or check_chain."
        )
    vectorized = options.get("vectorized", False)
    require_flag("vectorized", vectorized)
    if vectorized and not vectorizable:
        raise InvalidArgument("vectorized=True needs a function with one value; this check has many; leave it out.")
    progress = options.get("progress")
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise InvalidArgument(f"progress={progress!r} must be True or a callable (done, total).")
    rng, key, seed = _generator(options.get("rng", 0))
    return Settings(
        rtol=_rtol(options.get("rtol")),
        method=method,
        vectorized=bool(vectorized),
        workers=read_workers(options.get("workers")),
        rng=rng,
        key=key,
        seed=seed,
        max_evaluations=_limit(options.get("max_evaluations")),
        progress=progress,
    )


def require_known(options: Mapping[str, Any]) -> None:
    """Raise `InvalidArgument` for an unknown option."""
    known = CheckOptions.__annotations__
    for name in options:
        if name not in known:
            raise InvalidArgument(f"{name}= is not an option; the options are {', '.join(known)}{_meant(name)}.")


def _meant(name: str) -> str:
    """Suggest what an unknown option may stand for."""
    if name in MEANT:
        return f"; {MEANT[name]}= is meant"
    if name == "args":
        return "; further arguments are handed over by kwargs={...}"
    if name == "kwargs":
        return "; hand further arguments over by functools.partial(f, ...)"
    if name in {"eps", "epsilon", "h", "step", "delta", "atol", "tol"}:
        return "; steps and what noise hides are found by the check, and rtol= is the relative error that matters"
    others = "args", "kwargs", "wrt", "in_place", "reference", *CheckOptions.__annotations__
    close = difflib.get_close_matches(name, others, 1)
    if close:
        return f"; perhaps {close[0]}= is meant"
    return f"; an argument of the function is given by functools.partial(f, {name}=...), and by kwargs= where a check takes it"


def require_callable(call: str = "", **functions: Any) -> None:
    """Raise `InvalidArgument` for the first argument that cannot be called; ``call`` shows their order."""
    for name, function in functions.items():
        if not callable(function):
            order = f": the order is {call}" if call else ""
            what = "" if function is None else f" is {described(function)}"
            raise InvalidArgument(f"{name}={abbreviated(function)}{what}; a function was required{order}.")


def require_flag(name: str, value: Any) -> None:
    """Raise `InvalidArgument` for anything but True and False."""
    if not isinstance(value, bool | np.bool_):
        raise InvalidArgument(f"{name}={abbreviated(value)} must be True or False.")


def require_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise `InvalidArgument` for what is none of a few values."""
    if value not in choices:
        raise InvalidArgument(f"{name}={abbreviated(value)} must be {' or '.join(map(repr, choices))}.")


def _rtol(value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if isinstance(value, bool | str | bytes) or not (np.isfinite(number) and number > 0):
        raise InvalidArgument(f"rtol={value!r} must be a finite positive number; leave it out for the default.")
    return number


def _limit(value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or number < 1:
        raise InvalidArgument(f"max_evaluations={value!r} must be a positive whole number; leave it out for no bound.")
    return number


def _generator(value: Any) -> tuple[np.random.Generator, int, str]:
    """Return a generator, a seed for what must not depend on the order of draws, and how to say it."""
    if isinstance(value, np.random.Generator):
        return value, int(value.integers(2**63)), "the generator given, in the same state"
    try:
        seed = operator.index(value)
    except TypeError:
        seed = -1
    if isinstance(value, bool) or seed < 0:
        raise InvalidArgument(f"rng={value!r} must be a non-negative whole number or a numpy.random.Generator.")
    return np.random.default_rng(seed), seed, str(seed)
