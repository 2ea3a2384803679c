"""One check: what it is given, what it has found so far, and how it goes from claims to a report."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance import Claim, Judgement, judge
from gradcheck.arguments import RTOL, Settings
from gradcheck.claims import Reading
from gradcheck.complex_step import NotAnalyticError
from gradcheck.evaluation import Budget, BudgetExhaustedError, Probe, calling
from gradcheck.points import Layout, Output, Point, as_given
from gradcheck.progress import metering
from gradcheck.protocol import examine, settles
from gradcheck.report import Finding, Report
from gradcheck.summary import summarise

__all__ = ["Claimant", "Session"]

Floats = NDArray[np.float64]

NUDGES = 4
"""Claims at points an ulp away: their spread is the round-off of an honest backward."""

JUMP = 0.01
"""A claim that changes by this share of its leaf when the point moves by an ulp does not do so by round-off."""

OVERHEAD = 60
"""Calls beside two an element that a progress bar expects."""

MOST_EXHAUSTIVE = 10_000
"""Elements up to which each is looked at, unless the user says otherwise."""

MOST_OVERHEAD = 100
"""Calls beside two an element that looking at each may take."""

DIRECTIONAL_CALLS = 60
"""What a right gradient takes along random directions, about."""


class Claimant(ABC):
    """What a check asks of the functions that it is given.

    Attributes
    ----------
    name, derivative : str
        What the user calls the function and the claimed derivative.
    seed, role : str
        The argument that the derivative is linear in, and what kind of thing it is.
    probe : type
        How the function's value is read.
    is_slope : bool
        Whether the claim is a first derivative of the function.
    is_whole : bool
        Whether few calls give the claims for all elements, so that many can be judged together.
    calls : int
        Calls of the derivative so far.
    """

    name = "f"
    derivative = "grad"
    seed = "dy"
    role = "upstream"
    probe: type[Probe] = Probe
    is_slope = True
    is_whole = False

    def __init__(self) -> None:
        self.calls = 0

    @abstractmethod
    def value(self, tree: Any) -> Any:
        """Return the function's value."""

    @abstractmethod
    def output(self, value: Any) -> Output:
        """Learn the form of the value."""

    @abstractmethod
    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Return the cotangents, one row each."""

    @abstractmethod
    def readings(
        self, check: Session, arrays: list[NDArray[Any]], cotangents: Floats, layout: Layout = as_given
    ) -> list[Reading]:
        """Return the claimed gradients at a point, one per cotangent; the first has all findings."""

    def sample(
        self, check: Session, arrays: list[NDArray[Any]], cotangents: Floats, layout: Layout = as_given
    ) -> list[Reading]:
        """Return one claim at a point, to be compared with the same at other points; the seed laid out like that."""
        return self.readings(check, arrays, cotangents[:1], layout)

    def first_sample(self, check: Session, cotangents: Floats, first: list[Reading]) -> list[Reading]:
        """Return that claim at the given point, where the first claims are already known."""
        del check, cotangents
        return first[:1]

    def protocol(self, check: Session, cotangents: Floats, first: list[Reading]) -> None:
        """Check what this kind of derivative must keep beside its values."""

    def forecast(self, elements: int) -> int:
        """Return about how many calls of the function a check of so many elements takes."""
        return 2 * elements + OVERHEAD

    def judge(
        self, probe: Probe, base: Floats, claims: dict[int, Claim], *, rtol: float, rng: np.random.Generator
    ) -> dict[int, Judgement]:
        """Decide which elements are right."""
        return judge(probe, base, claims, rtol=rtol, rng=rng)

    def laid_out(
        self, point: Point, readings: list[Reading], judgements: dict[int, Judgement]
    ) -> tuple[Point, list[Reading], dict[int, Judgement]]:
        """Return point, claims and judgements in the form in which they are reported."""
        return point, readings, judgements


class Session:
    """One check: what it is given, and what it has found so far."""

    def __init__(self, settings: Settings, point: Point, claimant: Claimant) -> None:
        self.settings = settings
        self.point = point
        self.claimant = claimant
        self.budget = Budget(settings.max_evaluations)
        self.findings: list[Finding] = []
        self.fatal = False
        self.rtol = settings.rtol or RTOL[8]
        self.output = Output(claimant.name)
        self.second_point = False
        """Whether the derivative was called at another point as well."""
        self.value: Floats = np.zeros(0)
        """What the function gave at the point, as one vector."""
        self.why_directions = ""
        """Why the elements are judged together, along random directions; empty where each is looked at."""

    def run(self) -> Report:
        """Make the check."""
        started = time.perf_counter()
        elements = sum(self.point.leaves[i].value.size for i in self.point.free())
        self.why_directions = self._why_directions(elements)
        forecast = DIRECTIONAL_CALLS if self.why_directions else self.claimant.forecast(elements)
        with metering(self.settings.progress, forecast) as meter:
            self.budget.progress = meter
            arrays = self.point.copies()
            self.budget.spend()
            with calling(self.claimant.name, "at the given point"):
                value = self.claimant.value(self.point.hand_out(arrays))
            self.output = output = self.claimant.output(value)
            self.value = output.read(value)
            changed = self.point.changed(arrays)
            if changed:
                self.find("inputs-changed", f"{output.name} changed its argument in place: {', '.join(changed)}")
            cotangents = self.claimant.cotangents(output, self.settings.rng)
            probe = self.claimant.probe(
                self.claimant.value, self.point, output, cotangents, self.budget, vectorized=self.settings.vectorized
            )
            base = probe.read(value)
            if not np.all(np.isfinite(base)):
                self.find("value-not-finite", f"{output.name} is not finite at the given point: no derivative exists")
            readings, claims = self._read(probe)
            judgements = self._judge(probe, base, claims)
            with contextlib.suppress(BudgetExhaustedError):
                settles(self, probe)
        return summarise(
            *self.claimant.laid_out(self.point, readings, judgements),
            findings=self.findings,
            together=self.why_directions,
            fatal=self.fatal,
            evaluations=self.budget.used,
            gradient_evaluations=self.claimant.calls,
            seconds=time.perf_counter() - started,
            seed=self.settings.seed,
        )

    def _why_directions(self, elements: int) -> str:
        """Choose how to judge, from counts alone, and say why where it is along random directions."""
        together = f"the {elements:,} elements were judged together along random directions, not one by one"
        limit = self.settings.max_evaluations
        if self.settings.method == "directional":
            return f"{together}, as method='directional' asks"
        if self.settings.method != "auto" or not self.claimant.is_whole:
            return ""
        if elements > MOST_EXHAUSTIVE:
            return f"{together}: they are more than {MOST_EXHAUSTIVE:,}; method='exhaustive' looks at each"
        needed = 2 * elements + MOST_OVERHEAD
        if limit is not None and limit < needed and 2 * elements > DIRECTIONAL_CALLS:
            return f"{together}: max_evaluations={limit} is less than the {needed:,} that looking at each may take"
        return ""

    def _judge(self, probe: Probe, base: Floats, claims: dict[int, Claim]) -> dict[int, Judgement]:
        if self.settings.complex_step:
            try:
                return judge(probe, base, claims, rtol=self.rtol, rng=self.settings.rng, complex_step=True)
            except NotAnalyticError as error:
                message = f"{self.claimant.name} takes no complex step: {error}; differences were used instead"
                self.find("complex-step-unsupported", message)
        if self.why_directions:
            return judge(probe, base, claims, rtol=self.rtol, rng=self.settings.rng, key=self.settings.key)
        return self.claimant.judge(probe, base, claims, rtol=self.rtol, rng=self.settings.rng)

    def find(self, code: str, message: str, *, where: str = "", fatal: bool = False, **evidence: Any) -> None:
        """Add a finding, each kind once a place; a fatal one fails the check by itself."""
        if not any((known.code, known.where) == (code, where) for known in self.findings):
            self.findings.append(Finding(code=code, message=message, where=where, evidence=evidence))
        self.fatal |= fatal

    def _read(self, probe: Probe) -> tuple[list[Reading], dict[int, Claim]]:
        """Ask for the claims, read them, and check how they come about."""
        cotangents = probe.cotangents
        readings: list[Reading] = []
        spread: dict[int, Floats] = {}
        try:
            readings = self.claimant.readings(self, self.point.copies(), cotangents)
            self.findings += readings[0].findings
            self.fatal |= any(finding.code == "wrong-structure" for finding in readings[0].findings)
            self.rtol = self.settings.rtol or self._default_rtol(readings)
            if readings[0].eps > np.finfo(np.float64).eps:
                spread = self.spread(readings, lambda arrays: self.claimant.readings(self, arrays, cotangents))
            self.claimant.protocol(self, cotangents, readings)
            examine(self, probe, cotangents, readings)
        except BudgetExhaustedError:
            if not readings:
                self.find(
                    "undecided-not-probed", "max_evaluations was used up before the gradient was known; allow more"
                )
                unknown = {i: np.full(leaf.value.size, np.nan) for i, leaf in enumerate(self.point.leaves)}
                return [Reading(dict(unknown)) for _ in cotangents], {}
        for reading in readings:  # what is large and no longer asked for
            reading.given, reading.handed = {}, []
        claims = {}
        for leaf in readings[0].values:
            columns = [reading.values.get(leaf) for reading in readings]
            if all(column is not None for column in columns):
                values = np.stack([column for column in columns if column is not None], axis=1)
                claims[leaf] = Claim(values, spread.get(leaf, np.zeros(values.shape[1])), readings[0].eps)
        return readings, claims

    def _default_rtol(self, readings: list[Reading]) -> float:
        sizes = [self.point.leaves[i].value.dtype.itemsize for i in self.point.free()] + [self.output.dtype.itemsize]
        sizes += [4] if readings[0].eps > np.finfo(np.float64).eps else []
        return RTOL[min(8, *sizes)]

    def spread(self, readings: list[Reading], ask: Callable[[list[NDArray[Any]]], list[Reading]]) -> dict[int, Floats]:
        """Measure the round-off of claims: their root-mean-square spread over points an ulp away, per leaf."""
        squares: dict[int, Floats] = {}
        for _ in range(NUDGES):
            moved = ask(self.point.nudged(readings[0].eps, self.settings.rng))
            for leaf in readings[0].values:
                apart = [
                    _round_off(old.values.get(leaf), new.values.get(leaf))
                    for new, old in zip(moved, readings, strict=True)
                ]
                squares[leaf] = squares.get(leaf, 0.0) + np.array(apart) ** 2 / NUDGES
        return {leaf: np.sqrt(square) for leaf, square in squares.items()}


def _round_off(one: Floats | None, other: Floats | None) -> float:
    """Return the root mean square by which two claims differ, elements aside that jump: they are at a kink."""
    if one is None or other is None or not one.size:
        return 0.0
    with np.errstate(all="ignore"):
        apart = np.abs(other - one)
        smooth = apart[apart <= JUMP * np.sqrt(np.mean(one**2))]
    return float(np.sqrt(np.mean(smooth**2))) if smooth.size else 0.0
