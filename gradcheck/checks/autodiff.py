"""Derivatives that a framework computes by itself, compared with differences: of a scalar as a gradient, else as products."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.checks.check import Check, Reference, Subject
from gradcheck.checks.orders import both_orders, with_remarks
from gradcheck.checks.protocol import examine_linearity, examine_zero
from gradcheck.checks.pushforwards import JvpSubject
from gradcheck.checks.run import run
from gradcheck.checks.scalar import ScalarSubject
from gradcheck.checks.subjects import VjpSubject
from gradcheck.errors import InvalidArgument
from gradcheck.functions.arrays import as_numpy, format_in
from gradcheck.functions.formats import Format
from gradcheck.functions.options import CheckOptions, read_options, require_choice, require_known
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import calling
from gradcheck.reports.claims import Reading, read_gradient
from gradcheck.reports.report import Finding, Report

__all__ = [
    "Problem", "against_differences", "coarsest_inside", "compare_values", "in_order", "is_scalar", "is_wide", "require_settings", "require_values", "upstreams",
]  # fmt: skip

FACTOR = -0.5
"""Pulled back beside one and zero: of the other sign, and a power of two, by which nothing is rounded."""


@dataclass(frozen=True)
class Problem(ABC):
    """A function from named arrays to a list of arrays, and what a framework gives of it.

    Attributes
    ----------
    function : callable
        ``function(leaves, wide) -> list of arrays``; ``wide`` is whether what it holds fixed is widened too.
    inputs : dict
        Name -> array of real numbers, of what is differentiated.
    name : str
        What the user calls the function.
    inside : Format, optional
        What it computes in on the way, where that is coarser than the inputs.
    indices : mapping
        Name -> array of whole numbers that it takes beside the inputs.
    remarks : tuple of str
        What a check of it cannot see.
    """

    function: Callable[[list[Any], bool], list[Any]]
    inputs: dict[str, Any]
    name: str = "f"
    inside: Format | None = None
    indices: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @abstractmethod
    def value(self, *leaves: Any, wide: bool = False) -> list[Any]:
        """Return the values at a point; ``wide`` is whether it is in float64."""

    @abstractmethod
    def pull(self, dy: Sequence[Any], *leaves: Any) -> Sequence[Any]:
        """Return the products of cotangents with the Jacobian, by reverse mode."""

    @abstractmethod
    def push(self, tangents: Sequence[Any], *leaves: Any) -> list[Any]:
        """Return the products of the Jacobian with tangents, by forward mode."""

    def is_wider(self, leaves: Sequence[Any]) -> bool:
        """Tell whether a point is in a wider dtype than the inputs."""
        given = self.inputs.values()
        return any(one.dtype.itemsize > other.dtype.itemsize for one, other in zip(leaves, given, strict=True))

    def number(self, p: dict[str, Any], *, wide: bool = False) -> Any:
        """Return the single value of a function that has one."""
        return self.value(*p.values(), wide=wide)[0].reshape(())


def is_scalar(values: list[Any]) -> bool:
    """Tell whether the values of a function are a single number."""
    return len(values) == 1 and int(np.prod(values[0].shape)) == 1


def require_values(problem: Problem, values: list[Any]) -> None:
    """Refuse a function whose values are none that could have a derivative."""
    if not values:
        raise InvalidArgument(
            f"{problem.name} returned no floating-point number: there is nothing to differentiate; return one, or give floats."
        )


def require_settings(order: int, reference: str | None, options: CheckOptions) -> None:
    """Validate the order, the reference and the options before the function is called."""
    require_known(options)
    require_choice("order", order, (1, 2))
    require_choice("reference", reference, ("float64", None))


def in_order(order: int, problem: Any, check: Callable[[Any], Report]) -> Report:
    """Check the derivatives of a problem, and with an order of two those of what pulls a cotangent of it back."""
    report = check(problem)
    return report if order == 1 else both_orders(report, check(problem.derivative()))


def upstreams(values: list[Any]) -> list[Floats]:
    """Return one cotangent of the values, the same each time: its pull-back is the function that second order differentiates."""
    rng = np.random.default_rng(0)
    return [rng.uniform(0.5, 1.5, tuple(part.shape)) for part in values]


def compare_values(problem: Problem, values: list[Any], differentiated: Sequence[Any]) -> list[Finding]:
    """Compare the values of a function with those that it has where it is differentiated: a custom rule brings its own forward pass.

    The two may differ by half the digits of their dtype, as two ways to compute the same do. Nothing is compared where a further
    call of the function gives other values too.
    """
    for number, (one, other) in enumerate(zip(map(as_numpy, values), map(as_numpy, differentiated), strict=True)):
        eps = max(format_in(one).eps, problem.inside.eps if problem.inside else 0.0)
        with np.errstate(invalid="ignore"):
            apart = np.abs(one.astype(np.float64) - other)
        if np.any(apart > np.sqrt(eps) * np.max(np.abs(one), initial=0.0)):
            if not np.array_equal(as_numpy(problem.value(*problem.inputs.values())[number]), one, equal_nan=True):
                return []
            worst = np.unravel_index(np.nanargmax(apart), apart.shape)
            message = (
                f"{problem.name} gives {other[worst]:.6g} where it is differentiated and {one[worst]:.6g} where it is not: the forward "
                "pass of one of its rules computes another function"
            )
            return [Finding(code="values-differ", message=message, evidence={"difference": float(apart[worst])})]
    return []


def coarsest_inside(seen: Mapping[str, float], known: Iterable[float]) -> Format | None:
    """Return the coarsest of the formats that a function computes in, if it is coarser than what is known and single precision.

    Formats are told by their names and epsilons.
    """
    name = max(seen, key=seen.__getitem__, default="")
    if not name or seen[name] <= max([float(np.finfo(np.float32).eps), *known]):
        return None
    return Format(name, np.dtype(float), seen[name])


def against_differences(
    problem: Problem,
    values: list[Any],
    options: CheckOptions,
    *,
    forward: bool,
    reference: str | None,
    stacks: bool = False,
) -> Report:
    """Compare what a framework gives with differences.

    Parameters
    ----------
    problem : Problem
    values : list of arrays
        At the point.
    options : CheckOptions
    forward : bool
        Whether in forward mode; else in reverse mode.
    reference : "float64" or None
        Whether to take differences of the function in float64, where it can be had and is the same.
    stacks : bool
        Whether ``number`` takes a stack of leaves, and gives one of numbers.
    """
    is_loss = is_scalar(values) and not forward
    subject: Subject
    if forward:
        subject = JvpSubject(problem.value, problem.push, problem.inputs)
    elif is_loss:
        subject = _Loss(problem, values[0])
    else:
        # A tuple: a list of one number would be an array of one.
        subject = VjpSubject(problem.value, lambda dy, *x: tuple(problem.pull(dy, *x)), problem.inputs)
    subject.inside, subject.indices = problem.inside, problem.indices
    settings = read_options(options, vectorizable=is_loss and stacks, directional=not forward)
    point = point_of(problem.inputs, "inputs")
    better = partial(problem.number if is_loss else problem.value, wide=True)
    is_better = reference is not None and not is_wide(problem)
    report = run(Check(settings, point, subject, Reference(better, is_optional=True) if is_better else None))
    return with_remarks(report, *problem.remarks)


def is_wide(problem: Problem) -> bool:
    """Tell whether all of a function is in double precision, so that it cannot be computed better."""
    return problem.inside is None and all(str(leaf.dtype).endswith("float64") for leaf in problem.inputs.values())


class _Loss(ScalarSubject):
    """The gradient of a scalar is what one is pulled back to. The last operation may ignore that number."""

    derivative = "backward"
    seed = "its upstream"

    def __init__(self, problem: Problem, value: Any) -> None:
        super().__init__(problem.number, lambda p: self._pulled(1.0, p), problem.inputs)
        self.problem, self.form = problem, Output.of(value, self.name)

    def _pulled(self, number: float, inputs: dict[str, Any]) -> dict[str, Any]:
        seed = self.form.like(np.array([number]))
        return dict(zip(inputs, self.problem.pull([seed], *inputs.values()), strict=True))

    def protocol(self, check: Check, cotangents: Floats, first: list[Reading]) -> None:
        """Check that it is linear in the number, and zero for zero."""
        ignored = examine_zero(check, self._reading(check, 0.0), first[0])
        examine_linearity(check, cotangents, self._reading(check, FACTOR), first, np.array([FACTOR]), ignored)

    def _reading(self, check: Check, number: float) -> Reading:
        self.calls += 1
        with calling(self.derivative, "at the given point"):
            given = self._pulled(number, check.point.hand().tree)
        return read_gradient(given, self.params, check.point.leaves)
