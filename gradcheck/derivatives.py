"""Numerical derivatives for use outside a check: values with honest error bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from gradcheck.arguments import RTOL, CheckOptions, read_options, require_callable
from gradcheck.differences import Measurement, climb, lengths_of, noise_multiplier
from gradcheck.errors import InvalidArgument
from gradcheck.evaluation import Budget, BudgetExhaustedError, Output, Point, Probe, calling, point_of
from gradcheck.pilot import measure_noise
from gradcheck.progress import metering

__all__ = ["NumericalDerivative", "numerical_gradient"]

Floats = NDArray[np.float64]

CALLS_AN_ELEMENT = 8
OVERHEAD = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericalDerivative:
    """A derivative measured with finite differences.

    Attributes
    ----------
    value : tree
        Like the point, in float64; NaN for what could not be measured, zero for what is held fixed.
    error_bound : tree
        The true derivative lies within this distance; infinite where nothing was established. At a kink the interval
        holds both one-sided derivatives.
    kink : tree
        Where left and right derivative differ.
    evaluations : int
        Calls of the function.
    """

    value: Any
    error_bound: Any
    kink: Any
    evaluations: int


def numerical_gradient(f: Callable[[Any], Any], params: Any, **options: Unpack[CheckOptions]) -> NumericalDerivative:
    """Differentiate a scalar function with finite differences that know their error.

    Parameters
    ----------
    f : callable
        ``f(params) -> float``.
    params : tree of arrays or floats
        The point. Integer and boolean leaves are held fixed.
    **options
        See `CheckOptions`; ``rtol`` is the relative error at which an element has settled.

    Returns
    -------
    NumericalDerivative

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a derivative.

    Notes
    -----
    Costs eight calls of ``f`` an element and about ten in all; more for elements near a kink, on a fast oscillation or
    at the edge of the domain. See `gradcheck.differences` for the method.

    Examples
    --------
    >>> import numpy as np
    >>> slope = numerical_gradient(lambda x: np.sin(x).sum(), np.array([0.0, 1.0]))
    >>> bool(np.all(np.abs(slope.value - np.cos([0.0, 1.0])) <= slope.error_bound))
    True
    """
    require_callable(f=f)
    settings = read_options(options)
    point = point_of(params, "params")
    budget = Budget(settings.max_evaluations)
    free = point.free()
    elements = sum(point.leaves[leaf].value.size for leaf in free)
    with metering(settings.progress, CALLS_AN_ELEMENT * elements + OVERHEAD) as meter:
        budget.progress = meter
        budget.spend()
        with calling("f", "at the given point"):
            value = f(point.tree())
        output = Output.of(value, "f")
        if output.size != 1:
            raise InvalidArgument(f"f returned {output.size} numbers; a single number was required.")
        probe = Probe(f, point, output, np.ones((1, 1)), budget, vectorized=settings.vectorized)
        base = probe.read(value)
        found = {leaf: Measurement.nothing(point.leaves[leaf].value.size, 1) for leaf in free}
        lengths = {leaf: lengths_of(point.leaves[leaf].value) for leaf in free}
        rtol = settings.rtol or RTOL[min(8, output.dtype.itemsize)]
        try:
            noise = measure_noise(probe, base, lengths, settings.rng)
            for leaf in free:
                found[leaf] = climb(
                    probe, leaf, np.arange(lengths[leaf].size), lengths[leaf], base, noise,
                    multiplier=noise_multiplier(elements), rtol=rtol,
                )  # fmt: skip
        except BudgetExhaustedError:
            pass
    return NumericalDerivative(
        value=_fill(point, found, lambda part: part.value),
        error_bound=_fill(point, found, lambda part: part.bound),
        kink=_fill(point, found, lambda part: part.kink),
        evaluations=budget.used,
    )


def _fill(point: Point, found: dict[int, Measurement], what: Callable[[Measurement], NDArray[Any]]) -> Any:
    """Build a tree like the point from one column per leaf; other leaves are zeros."""
    arrays = [
        what(found[i])[:, 0].reshape(leaf.value.shape) if i in found else np.zeros(leaf.value.shape)
        for i, leaf in enumerate(point.leaves)
    ]
    return point.build(arrays)
