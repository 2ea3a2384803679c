"""Numerical derivatives for use outside a check: values with error bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.differences.complex_step import ROUNDING, NotAnalyticError, complex_slopes
from gradcheck.differences.ladder import Measurement, climb, noise_multiplier
from gradcheck.differences.lengths import lengths_of
from gradcheck.differences.noise import SAME_NOISE
from gradcheck.differences.scale import measure_noise_and_lengths
from gradcheck.differences.vectorized import require_rowwise
from gradcheck.errors import GradcheckError, InvalidArgument
from gradcheck.functions.calls import refuse_extras
from gradcheck.functions.float_errors import silent
from gradcheck.functions.options import CheckOptions, Settings, default_rtol, read_options, require_callable
from gradcheck.functions.outputs import EachOutput, one_array_of, one_leaf_of
from gradcheck.functions.points import Output, Point, point_of
from gradcheck.functions.probe import Budget, BudgetExhaustedError, calling
from gradcheck.functions.progress import metering
from gradcheck.functions.workers import open_pool

__all__ = ["NumericalDerivative", "numerical_gradient", "numerical_jacobian"]

ALONE = "steps are chosen from what is measured, and f takes the point alone: bind the rest with a lambda"
"""What to do with further arguments."""

CALLS_AN_ELEMENT, OVERHEAD = 8, 12
"""Calls that an element usually takes, and those of the noise, for the forecast of a progress bar."""

ENTRIES_AT_ONCE = 2**17
"""Derivatives whose ladders are kept in memory together: a ladder takes about a kilobyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericalDerivative:
    """A derivative measured with finite differences.

    Attributes
    ----------
    value : tree
        Like the point, in float64; NaN for what could not be measured, zero for what is held fixed. Of
        `numerical_jacobian`: arrays of shape ``y.shape + x.shape``.
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


@silent
def numerical_gradient(
    f: Callable[[Any], Any], params: Any, *extras: Any, **options: Unpack[CheckOptions]
) -> NumericalDerivative:
    """Differentiate a scalar function with finite differences that know their error.

    Parameters
    ----------
    f : callable
        ``f(params) -> float``.
    params : tree of arrays or floats
        The point. Integer and boolean leaves are held fixed.
    *extras : object
        None: steps are chosen, and ``f`` takes the point alone.
    **options
        See `CheckOptions`; ``rtol`` is the relative error at which an element has settled.

    Returns
    -------
    NumericalDerivative

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a derivative.
    GradcheckError
        When workers were lost, so that evaluations are missing.

    Notes
    -----
    Costs eight calls of ``f`` an element and nine more; further ones for elements near a kink, on a fast oscillation or
    at the edge of the domain. Where differences with the longest steps stray, the noise is measured again and those elements may be
    measured twice. See `gradcheck.differences.ladder` for the method.

    Examples
    --------
    >>> import numpy as np
    >>> slope = numerical_gradient(lambda x: np.sin(x).sum(), np.array([0.0, 1.0]))
    >>> bool(np.all(np.abs(slope.value - np.cos([0.0, 1.0])) <= slope.error_bound))
    True
    """
    refuse_extras("numerical_gradient(f, params)", extras, ALONE)
    require_callable("numerical_gradient(f, params)", f=f)
    settings = read_options(options)
    run = _Run(f, point_of(params, "params"), settings, _one_number_of)
    found = run.climb()
    return NumericalDerivative(
        value=_fill(run.point, found, lambda part: part.value),
        error_bound=_fill(run.point, found, lambda part: part.bound),
        kink=_fill(run.point, found, lambda part: part.kink, dtype=np.bool_),
        evaluations=run.budget.used,
    )


@silent
def numerical_jacobian(
    f: Callable[[Any], Any], x: Any, *extras: Any, **options: Unpack[CheckOptions]
) -> NumericalDerivative:
    """Differentiate an array with respect to an array, with finite differences that know their error.

    Parameters
    ----------
    f : callable
        ``f(x) -> y``, an array of floating-point numbers or a float.
    x : array or float
        The point.
    *extras : object
        None: steps are chosen, and ``f`` takes the point alone.
    **options
        See `CheckOptions`; ``rtol`` is the relative error at which an entry has settled.

    Returns
    -------
    NumericalDerivative
        Arrays of shape ``y.shape + x.shape``: entry ``[i, j]`` is the derivative of ``y[i]`` with respect to ``x[j]``.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a derivative.
    GradcheckError
        When workers were lost, so that evaluations are missing.

    Notes
    -----
    All outputs come from the same evaluations: eight calls of ``f`` an element of ``x`` and nine more, however
    many outputs; further ones where some output has a kink near by, oscillates, or is so flat that noise hides its slope.

    Examples
    --------
    >>> import numpy as np
    >>> slope = numerical_jacobian(lambda x: np.array([x[0] * x[1], x[0] ** 2]), np.array([2.0, 3.0]))
    >>> bool(np.all(np.abs(slope.value - [[3.0, 2.0], [4.0, 0.0]]) <= slope.error_bound))
    True
    """
    refuse_extras("numerical_jacobian(f, x)", extras, ALONE)
    require_callable("numerical_jacobian(f, x)", f=f)
    settings = read_options(options, vectorizable=False)
    run = _Run(f, one_leaf_of(x, "x"), settings, one_array_of)
    shape = run.probe.output.leaves[0].value.shape + run.point.leaves[0].value.shape
    found = run.climb()[0]
    return NumericalDerivative(
        value=found.value.T.reshape(shape),
        error_bound=found.bound.T.reshape(shape),
        kink=found.kink.T.reshape(shape),
        evaluations=run.budget.used,
    )


def _one_number_of(output: Output) -> Output:
    if output.size != 1:
        raise InvalidArgument(
            f"f returned {output.size} numbers; a single number was required; of (value, gradient) return the value alone, for an "
            "array use numerical_jacobian."
        )
    return output


class _Run:
    """One differentiation: the function was called once, and its value has its form."""

    def __init__(
        self, f: Callable[[Any], Any], point: Point, settings: Settings, required: Callable[[Output], Output]
    ) -> None:
        self.point = point
        self.settings = settings
        self.budget = Budget(settings.max_evaluations)
        self.elements = sum(point.leaves[leaf].value.size for leaf in point.free())
        self.budget.spend()
        began = perf_counter()
        with calling("f", "at the given point"):
            value = f(point.tree())
        self.seconds_per_call = perf_counter() - began
        output = required(Output.of(value, "f"))
        factors = np.ones((output.size, 1))
        self.probe = EachOutput(f, point, output, factors, self.budget, vectorized=settings.vectorized)
        self.base = self.probe.read(value)

    def climb(self) -> dict[int, Measurement]:
        """Differentiate with respect to every element, as far as ``max_evaluations`` goes."""
        leaves, free = self.point.leaves, self.point.free()
        columns = len(self.base)
        found = {leaf: Measurement.nothing(leaves[leaf].value.size, columns) for leaf in free}
        lengths = {leaf: lengths_of(leaves[leaf].value) for leaf in free}
        rtol = self.settings.rtol or default_rtol(self.probe.output.eps)
        forecast = CALLS_AN_ELEMENT * self.elements + OVERHEAD
        with metering(self.settings.progress, forecast) as meter, open_pool(self.settings.workers) as pool:
            self.budget.progress, self.probe.pool = meter, pool
            if meter is not None:
                meter.expect(self.seconds_per_call)
            if pool is not None:
                pool.seconds_per_call = self.seconds_per_call
            try:
                rng = self.settings.rng
                noise, _, longer = measure_noise_and_lengths(self.probe, self.base, lengths, rtol, rng, far=False)
                require_rowwise(self.probe, longer, noise, rng)
                if self.settings.complex_step and self._step(found, longer, noise):
                    return found
                self._climb(found, longer, noise, rtol)
                if any(part.strays.any() for part in found.values()):  # there may be jumps farther away
                    more, _, longer = measure_noise_and_lengths(self.probe, self.base, lengths, rtol, rng)
                    if (more > SAME_NOISE * noise).any():
                        self._climb(found, longer, np.maximum(more, noise), rtol)
            except BudgetExhaustedError:
                if self.budget.ended is not None:
                    raise GradcheckError(
                        f"workers stopped answering ({self.budget.ended}) after {self.budget.used} evaluations; the derivative "
                        "is not complete; run it again, with fewer of them if memory is short."
                    ) from self.budget.ended
        return found

    def _climb(self, found: dict[int, Measurement], lengths: dict[int, Floats], noise: Floats, rtol: float) -> None:
        """Measure every element whose differences are not yet those of a smooth function."""
        columns = len(self.base)
        for leaf, part in found.items():
            chosen = np.flatnonzero(part.strays.any(axis=1))
            for rows in np.array_split(chosen, chosen.size * columns // ENTRIES_AT_ONCE + 1):
                measured = climb(
                    self.probe, leaf, rows, lengths[leaf][rows], self.base, noise,
                    multiplier=noise_multiplier(self.elements * columns), rtol=rtol,
                )  # fmt: skip
                part.put(rows, measured)

    def _step(self, found: dict[int, Measurement], lengths: dict[int, Floats], noise: Floats) -> bool:
        """Differentiate by a complex step; return False where the function does not take it."""
        try:
            slopes = complex_slopes(
                self.probe, self.base, lengths, noise,
                multiplier=noise_multiplier(self.elements), rng=self.settings.rng,
            )  # fmt: skip
        except NotAnalyticError:
            return False
        for leaf, slope in slopes.items():
            found[leaf].value, found[leaf].bound = slope, ROUNDING * np.abs(slope)
        return True


def _fill(
    point: Point,
    found: dict[int, Measurement],
    what: Callable[[Measurement], NDArray[Any]],
    dtype: type[np.generic] = np.float64,
) -> Any:
    """Build a tree like the point from one column per leaf; other leaves are zeros."""
    arrays = [
        what(found[i])[:, 0].reshape(leaf.value.shape) if i in found else np.zeros(leaf.value.shape, dtype)
        for i, leaf in enumerate(point.leaves)
    ]
    return point.build(arrays)
