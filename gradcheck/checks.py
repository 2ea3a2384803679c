"""The checks themselves: each describes a function and its claimed gradient to one engine.

A check returns a `Report` and never raises for a wrong gradient; its ``assert_`` twin raises `GradientError` unless
the verdict is ``"pass"``.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance import Claim, judge
from gradcheck.arguments import RTOL, CheckOptions, Settings, read_options, require_callable
from gradcheck.claims import Reading, read_gradient
from gradcheck.errors import InvalidArgument
from gradcheck.evaluation import Budget, BudgetExhaustedError, Output, Point, Probe, calling, point_of
from gradcheck.progress import metering
from gradcheck.report import Finding, Report
from gradcheck.summary import summarise

__all__ = ["assert_gradient", "assert_layer", "check_gradient", "check_layer"]

Floats = NDArray[np.float64]
Given = list[Any]

NUDGES = 4
"""Claims at points an ulp away: their spread is the round-off of an honest backward."""

OVERHEAD = 60
"""Calls beside two an element that a progress bar expects."""


def check_gradient(
    f: Callable[[Any], Any],
    grad: Callable[[Any], Any] | Literal[True],
    params: Any,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check the gradient of a scalar function.

    Each element of ``grad(params)`` is compared with a finite difference whose error is known. What passes is the
    gradient at this point, for these shapes; the report's blind spots say what was out of sight.

    Parameters
    ----------
    f : callable
        ``f(params) -> float``. It gets fresh arrays each time.
    grad : callable or True
        ``grad(params) ->`` tree like ``params``. True: ``f`` returns ``(value, gradient)``.
    params : tree of arrays or floats
        The point. Integer and boolean leaves are held fixed.
    **options
        See `CheckOptions`.

    Returns
    -------
    Report
        ``bool(report)`` is True only for the verdict ``"pass"``.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong gradient does not raise.

    Notes
    -----
    Costs two calls of ``f`` an element where claim and difference agree, and at most about a hundred more; about
    seventeen for a wrong element. ``grad`` is called twice, four times more when its dtype is coarser than float64.

    Examples
    --------
    >>> import numpy as np
    >>> check_gradient(lambda x: np.sum(x**3), lambda x: 3 * x**2, np.array([1.0, 2.0])).verdict
    'pass'
    >>> check_gradient(lambda x: np.sum(x**3), lambda x: 2 * x**2, np.array([1.0, 2.0])).verdict
    'fail'
    """
    require_callable(f=f)
    if grad is not True:
        require_callable(grad=grad)
    settings = read_options(options)
    return _Check(settings, point_of(params, "params"), _ScalarClaimant(f, grad), params).run()


def check_layer(
    forward: Callable[..., Any], backward: Callable[[Any, Any], Any], *inputs: Any, **options: Unpack[CheckOptions]
) -> Report:
    """Check the backward pass of a layer.

    Random upstream gradients ``dy`` are pulled back and compared with finite differences of ``sum(dy * y)``, for all
    inputs and all upstreams at once. The protocol is checked beside the values: linear in ``dy``, zero for zero, equal
    on the second call, nothing changed in place.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs) -> (y, cache)``; ``y`` is an array or a tree of arrays.
    backward : callable
        ``backward(dy, cache) ->`` the gradient, or a tuple in the order of the inputs. None: not differentiated.
    *inputs : trees of arrays or floats
        The point. They are named as in the signature of ``forward``.
    **options
        See `CheckOptions`.

    Returns
    -------
    Report
        Evaluations are calls of ``forward``.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong gradient does not raise.

    Notes
    -----
    Costs two calls of ``forward`` an element where claim and difference agree, and at most about a hundred more.

    Examples
    --------
    >>> import numpy as np
    >>> def forward(x):
    ...     return np.tanh(x), np.tanh(x)
    >>> check_layer(forward, lambda dy, y: dy * (1 - y**2), np.array([0.5, -1.0])).verdict
    'pass'
    >>> check_layer(forward, lambda dy, y: dy * (1 - y), np.array([0.5, -1.0])).verdict
    'fail'
    """
    require_callable(forward=forward, backward=backward)
    settings = read_options(options, vectorizable=False)
    if not inputs:
        raise InvalidArgument("check_layer needs at least one input of forward; pass them after backward.")
    named = dict(zip(_input_names(forward, len(inputs)), inputs, strict=True))
    return _Check(settings, point_of(named, "inputs"), _LayerClaimant(forward, backward, named), named).run()


def assert_gradient(
    f: Callable[[Any], Any],
    grad: Callable[[Any], Any] | Literal[True],
    params: Any,
    **options: Unpack[CheckOptions],
) -> Report:
    """Do as `check_gradient`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_gradient(f, grad, params, **options)
    report.assert_ok()
    return report


def assert_layer(
    forward: Callable[..., Any], backward: Callable[[Any, Any], Any], *inputs: Any, **options: Unpack[CheckOptions]
) -> Report:
    """Do as `check_layer`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_layer(forward, backward, *inputs, **options)
    report.assert_ok()
    return report


# ---- names ----------------------------------------------------------------------------------------------------


def _input_names(forward: Callable[..., Any], count: int) -> list[str]:
    """Name the inputs as in the signature of the function, else x0, x1, ...."""
    fallback = [f"x{i}" for i in range(count)]
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return fallback
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names + fallback[len(names) :] if len(set(names) | set(fallback[len(names) :])) == count else fallback


# ---- who claims ---------------------------------------------------------------------------------------------------


class _ScalarClaimant:
    """A scalar function and its gradient."""

    optional = False

    def __init__(self, f: Callable[[Any], Any], grad: Callable[[Any], Any] | Literal[True]) -> None:
        self.f = f
        self.grad = grad
        self.calls = 0

    def value(self, tree: Any) -> Any:
        """Return the function's value alone."""
        return self.f(tree) if self.grad is not True else self._pair(self.f(tree))[0]

    def output(self, value: Any) -> Output:
        """Learn the form of the value."""
        output = Output.of(value, "f")
        if output.size != 1 or len(output.leaves) != 1:
            shapes = [leaf.value.shape for leaf in output.leaves]
            raise InvalidArgument(
                f"f returned {'shape ' + str(shapes[0]) if len(shapes) == 1 else f'{len(shapes)} arrays'}; "
                "a single number was required; return a scalar, or check a layer with check_layer."
            )
        return output

    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Return the one cotangent of a scalar."""
        del output, rng
        return np.ones((1, 1))

    def claims(self, check: _Check, arrays: list[NDArray[Any]], cotangents: Floats) -> Given:
        """Return the claimed gradients at a point, one per cotangent."""
        del cotangents
        tree = check.point.hand_out(arrays)
        self.calls += 1
        if self.grad is True:
            check.budget.spend()
            with calling("f", "for its gradient"):
                return [self._pair(self.f(tree))[1]]
        with calling("grad", "at the given point"):
            return [self.grad(tree)]

    def protocol(self, check: _Check, cotangents: Floats, first: list[Reading]) -> None:
        """Call the gradient again: it must be the same, and leave the parameters alone."""
        arrays = check.point.copies()
        (given,) = self.claims(check, arrays, cotangents)
        check.same_again(given, first[0], "grad")
        changed = check.point.changed(arrays)
        if changed:
            check.find("inputs-changed", f"grad changed its argument in place: {', '.join(changed)}", fatal=True)

    @staticmethod
    def _pair(value: Any) -> tuple[Any, Any]:
        if not (isinstance(value, tuple) and len(value) == 2):
            raise InvalidArgument(
                f"grad=True requires f to return (value, gradient), but it returned a {type(value).__name__}; "
                "return both, or pass the gradient function as grad."
            )
        return value


class _LayerClaimant:
    """A forward/backward pair."""

    optional = True

    def __init__(
        self, forward: Callable[..., Any], backward: Callable[[Any, Any], Any], inputs: dict[str, Any]
    ) -> None:
        self.forward = forward
        self.backward = backward
        self.inputs = inputs
        self.calls = 0
        self.form: Output | None = None

    def value(self, tree: dict[str, Any]) -> Any:
        """Return the output of the layer."""
        return self._forward(tree)[0]

    def _forward(self, tree: dict[str, Any]) -> tuple[Any, Any]:
        value = self.forward(*tree.values())
        if not (isinstance(value, tuple) and len(value) == 2):
            raise InvalidArgument(
                f"forward must return (y, cache), but it returned a {type(value).__name__}"
                f"{f' of {len(value)}' if isinstance(value, tuple) else ''}; return both."
            )
        return value

    def output(self, value: Any) -> Output:
        """Learn the form of the output."""
        self.form = Output.of(value, "forward")
        if self.form.size and not any(leaf.value.dtype.kind == "f" for leaf in self.form.leaves):
            raise InvalidArgument("forward returned no floating-point output; there is nothing to differentiate.")
        return self.form

    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Draw two upstreams, rounded to the output's dtype."""
        drawn = rng.normal(size=(2, output.size))
        return np.stack([output.read(output.like(row)) for row in drawn])

    def claims(self, check: _Check, arrays: list[NDArray[Any]], cotangents: Floats) -> Given:
        """Return the pulled-back cotangents at a point, in the order of the rows."""
        assert self.form is not None  # noqa: S101 - output() comes first; tells the type checker
        tree = check.point.hand_out(arrays)
        check.budget.spend()
        with calling("forward", "at the given point"):
            _, cache = self._forward(tree)
        return [self._pull(self.form.like(row), cache) for row in cotangents]

    def _pull(self, dy: Any, cache: Any) -> Any:
        self.calls += 1
        with calling("backward", "at the given point"):
            given = self.backward(dy, cache)
        return self._by_name(given)

    def _by_name(self, given: Any) -> Any:
        """Lay a returned tuple beside the names of the inputs."""
        names = list(self.inputs)
        if isinstance(given, tuple) and len(given) == len(names):
            return dict(zip(names, given, strict=True))
        if len(names) == 1 and not isinstance(given, tuple):
            return {names[0]: given}
        if given is None:
            return dict.fromkeys(names)
        return given

    def protocol(self, check: _Check, cotangents: Floats, first: list[Reading]) -> None:
        """Check what backward must hold beside its values."""
        assert self.form is not None  # noqa: S101 - output() comes first; tells the type checker
        arrays = check.point.copies()
        check.budget.spend()
        with calling("forward", "at the given point"):
            _, cache = self._forward(check.point.hand_out(arrays))
        weights = check.settings.rng.uniform(0.5, 1.5, size=2) * (1, -1)
        upstreams = [cotangents[0], weights @ cotangents, np.zeros(self.form.size), cotangents[0]]
        handed = [self.form.like(row) for row in upstreams]
        readings = []
        for dy in handed:
            given = self._pull(dy, cache)
            readings.append(read_gradient(given, self.inputs, check.point.leaves, optional=True))
        check.same_again_reading(readings[3], first[0], "backward")
        check.linear(readings[1], first, weights)
        check.zero_for_zero(readings[2])
        if any(
            not np.array_equal(self.form.read(dy), self.form.read(self.form.like(row)), equal_nan=True)
            for dy, row in zip(handed, upstreams, strict=True)
        ):
            check.find("upstream-changed", "backward changed its upstream dy in place", fatal=True)
        changed = check.point.changed(arrays)
        if changed:
            check.find("inputs-changed", f"the layer changed its inputs in place: {', '.join(changed)}", fatal=True)


# ---- the engine ---------------------------------------------------------------------------------------------------


class _Check:
    """One check: what it is given, and what it has found so far."""

    def __init__(self, settings: Settings, point: Point, claimant: _ScalarClaimant | _LayerClaimant, tree: Any) -> None:
        self.settings = settings
        self.point = point
        self.claimant = claimant
        self.tree = tree
        self.budget = Budget(settings.max_evaluations)
        self.findings: list[Finding] = []
        self.fatal = False
        self.rtol = settings.rtol or RTOL[8]

    def run(self) -> Report:
        """Make the check."""
        started = time.perf_counter()
        elements = sum(self.point.leaves[i].value.size for i in self.point.free())
        with metering(self.settings.progress, 2 * elements + OVERHEAD) as meter:
            self.budget.progress = meter
            arrays = self.point.copies()
            self.budget.spend()
            with calling("f" if isinstance(self.claimant, _ScalarClaimant) else "forward", "at the given point"):
                value = self.claimant.value(self.point.hand_out(arrays))
            output = self.claimant.output(value)
            base_outputs = output.read(value)
            changed = self.point.changed(arrays)
            if changed:
                self.find("inputs-changed", f"{output.name} changed its argument in place: {', '.join(changed)}")
            cotangents = self.claimant.cotangents(output, self.settings.rng)
            probe = Probe(
                self.claimant.value, self.point, output, cotangents, self.budget, vectorized=self.settings.vectorized
            )
            base = cotangents @ base_outputs
            if not np.all(np.isfinite(base)):
                self.find("value-not-finite", f"{output.name} is not finite at the given point: no derivative exists")
            readings, claims = self._read(output, cotangents)
            judgements = judge(probe, base, claims, rtol=self.rtol, rng=self.settings.rng)
        return summarise(
            self.point,
            readings,
            judgements,
            findings=self.findings,
            fatal=self.fatal,
            evaluations=self.budget.used,
            gradient_evaluations=self.claimant.calls,
            seconds=time.perf_counter() - started,
            seed=self.settings.seed,
        )

    def find(self, code: str, message: str, *, where: str = "", fatal: bool = False, **evidence: Any) -> None:
        """Add a finding; a fatal one fails the check by itself."""
        self.findings.append(Finding(code=code, message=message, where=where, evidence=evidence))
        self.fatal |= fatal

    def _read(self, output: Output, cotangents: Floats) -> tuple[list[Reading], dict[int, Claim]]:
        """Ask for the claims, read them, and check how they come about."""
        readings: list[Reading] = []
        spread: dict[int, Floats] = {}
        try:
            readings = self._ask(self.point.copies(), cotangents)
            self.findings += readings[0].findings
            self.fatal |= any(finding.code == "wrong-structure" for finding in readings[0].findings)
            self.rtol = self.settings.rtol or self._default_rtol(output, readings)
            self.claimant.protocol(self, cotangents, readings)
            if readings[0].eps > np.finfo(np.float64).eps:
                spread = self._spread(readings, cotangents)
        except BudgetExhaustedError:
            readings = readings or [Reading() for _ in cotangents]
        claims = {}
        for leaf in readings[0].values:
            columns = [reading.values.get(leaf) for reading in readings]
            if all(column is not None for column in columns):
                values = np.stack([column for column in columns if column is not None], axis=1)
                claims[leaf] = Claim(values, spread.get(leaf, np.zeros(values.shape[1])), readings[0].eps)
        return readings, claims

    def _ask(self, arrays: list[NDArray[Any]], cotangents: Floats) -> list[Reading]:
        given = self.claimant.claims(self, arrays, cotangents)
        return [read_gradient(g, self.tree, self.point.leaves, optional=self.claimant.optional) for g in given]

    def _default_rtol(self, output: Output, readings: list[Reading]) -> float:
        sizes = [self.point.leaves[i].value.dtype.itemsize for i in self.point.free()] + [output.dtype.itemsize]
        sizes += [4] if readings[0].eps > np.finfo(np.float64).eps else []
        return RTOL[min(8, *sizes)]

    def _spread(self, readings: list[Reading], cotangents: Floats) -> dict[int, Floats]:
        """Measure the round-off of the claim: its root-mean-square spread over points an ulp away, per leaf."""
        squares: dict[int, Floats] = {}
        for _ in range(NUDGES):
            moved = self._ask(self.point.nudged(readings[0].eps, self.settings.rng), cotangents)
            for leaf in readings[0].values:
                apart = [
                    np.sqrt(np.mean((new.values[leaf] - old.values[leaf]) ** 2))
                    if leaf in new.values and leaf in old.values and old.values[leaf].size
                    else 0.0
                    for new, old in zip(moved, readings, strict=True)
                ]
                squares[leaf] = squares.get(leaf, 0.0) + np.nan_to_num(np.array(apart)) ** 2 / NUDGES
        return {leaf: np.sqrt(square) for leaf, square in squares.items()}

    # ---- protocol -----------------------------------------------------------------------------------------------

    def same_again(self, given: Any, first: Reading, name: str) -> None:
        """Compare a second gradient with the first."""
        again = read_gradient(given, self.tree, self.point.leaves, optional=self.claimant.optional)
        self.same_again_reading(again, first, name)

    def same_again_reading(self, again: Reading, first: Reading, name: str) -> None:
        """Compare a second gradient with the first."""
        for leaf, values in first.values.items():
            other = again.values.get(leaf, np.full_like(values, np.nan))
            if np.array_equal(values, other, equal_nan=True):
                continue
            with np.errstate(all="ignore"):
                apart = float(np.max(np.abs(values - other)))
                size = float(np.max(np.abs(values)))
            self.find(
                "second-call-differs",
                f"{name} gave another gradient when called again at the same point: they differ by up to {apart:.3g}, "
                f"the gradient is up to {size:.3g}",
                where=self.point.leaves[leaf].name,
                fatal=not apart <= 10 * self.rtol * size,
                difference=apart,
            )

    def linear(self, combined: Reading, first: list[Reading], weights: Floats) -> None:
        """Compare the pull-back of a combination of upstreams with the combination of their pull-backs."""
        for leaf, values in combined.values.items():
            parts = [reading.values.get(leaf) for reading in first]
            if any(part is None for part in parts):
                continue
            with np.errstate(all="ignore"):
                expected = sum(w * part for w, part in zip(weights, parts, strict=True) if part is not None)
                apart = np.max(np.abs(values - expected), initial=0.0)
                size = np.max(np.abs([part for part in parts if part is not None]), initial=0.0)
            if apart > max(100 * combined.eps, self.rtol) * size:
                self.find(
                    "not-linear",
                    f"backward is not linear in its upstream: a combination of two upstreams is off by {apart:.3g}, "
                    f"the gradient is up to {size:.3g}",
                    where=self.point.leaves[leaf].name,
                    fatal=True,
                )

    def zero_for_zero(self, reading: Reading) -> None:
        """Check that a zero upstream gives a zero gradient."""
        for leaf, values in reading.values.items():
            if np.any(values != 0):
                self.find(
                    "zero-upstream",
                    "backward gives a gradient that is not zero for an upstream of zeros: it ignores its upstream, "
                    "or accumulates",
                    where=self.point.leaves[leaf].name,
                    fatal=True,
                )
