"""One check: what it is given, what it has found so far, and how it goes from claims to a report."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance import Claim, Judgement, judge
from gradcheck.arguments import RTOL, Settings
from gradcheck.claims import Reading
from gradcheck.complex_step import NotAnalyticError
from gradcheck.evaluation import Budget, BudgetExhaustedError, Probe, calling
from gradcheck.points import Output, Point
from gradcheck.progress import metering
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
    calls : int
        Calls of the derivative so far.
    """

    name = "f"
    derivative = "grad"
    seed = "dy"
    role = "upstream"
    probe: type[Probe] = Probe

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
    def readings(self, check: Session, arrays: list[NDArray[Any]], cotangents: Floats) -> list[Reading]:
        """Return the claimed gradients at a point, one per cotangent; the first has all findings."""

    @abstractmethod
    def protocol(self, check: Session, cotangents: Floats, first: list[Reading]) -> None:
        """Check what the derivative must keep beside its values."""

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

    def run(self) -> Report:
        """Make the check."""
        started = time.perf_counter()
        elements = sum(self.point.leaves[i].value.size for i in self.point.free())
        with metering(self.settings.progress, self.claimant.forecast(elements)) as meter:
            self.budget.progress = meter
            arrays = self.point.copies()
            self.budget.spend()
            with calling(self.claimant.name, "at the given point"):
                value = self.claimant.value(self.point.hand_out(arrays))
            output = self.claimant.output(value)
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
            readings, claims = self._read(output, cotangents)
            judgements = self._judge(probe, base, claims)
        return summarise(
            *self.claimant.laid_out(self.point, readings, judgements),
            findings=self.findings,
            fatal=self.fatal,
            evaluations=self.budget.used,
            gradient_evaluations=self.claimant.calls,
            seconds=time.perf_counter() - started,
            seed=self.settings.seed,
        )

    def _judge(self, probe: Probe, base: Floats, claims: dict[int, Claim]) -> dict[int, Judgement]:
        if self.settings.complex_step:
            try:
                return judge(probe, base, claims, rtol=self.rtol, rng=self.settings.rng, complex_step=True)
            except NotAnalyticError as error:
                message = f"{self.claimant.name} takes no complex step: {error}; differences were used instead"
                self.find("complex-step-unsupported", message)
        return self.claimant.judge(probe, base, claims, rtol=self.rtol, rng=self.settings.rng)

    def find(self, code: str, message: str, *, where: str = "", fatal: bool = False, **evidence: Any) -> None:
        """Add a finding; a fatal one fails the check by itself."""
        self.findings.append(Finding(code=code, message=message, where=where, evidence=evidence))
        self.fatal |= fatal

    def _read(self, output: Output, cotangents: Floats) -> tuple[list[Reading], dict[int, Claim]]:
        """Ask for the claims, read them, and check how they come about."""
        readings: list[Reading] = []
        spread: dict[int, Floats] = {}
        try:
            readings = self.claimant.readings(self, self.point.copies(), cotangents)
            self.findings += readings[0].findings
            self.fatal |= any(finding.code == "wrong-structure" for finding in readings[0].findings)
            self.rtol = self.settings.rtol or self._default_rtol(output, readings)
            self.claimant.protocol(self, cotangents, readings)
            if readings[0].eps > np.finfo(np.float64).eps:
                spread = self._spread(readings, cotangents)
        except BudgetExhaustedError:
            if not readings:
                self.find(
                    "undecided-not-probed", "max_evaluations was used up before the gradient was known; allow more"
                )
                unknown = {i: np.full(leaf.value.size, np.nan) for i, leaf in enumerate(self.point.leaves)}
                return [Reading(dict(unknown)) for _ in cotangents], {}
        claims = {}
        for leaf in readings[0].values:
            columns = [reading.values.get(leaf) for reading in readings]
            if all(column is not None for column in columns):
                values = np.stack([column for column in columns if column is not None], axis=1)
                claims[leaf] = Claim(values, spread.get(leaf, np.zeros(values.shape[1])), readings[0].eps)
        return readings, claims

    def _default_rtol(self, output: Output, readings: list[Reading]) -> float:
        sizes = [self.point.leaves[i].value.dtype.itemsize for i in self.point.free()] + [output.dtype.itemsize]
        sizes += [4] if readings[0].eps > np.finfo(np.float64).eps else []
        return RTOL[min(8, *sizes)]

    def _spread(self, readings: list[Reading], cotangents: Floats) -> dict[int, Floats]:
        """Measure the round-off of the claim: its root-mean-square spread over points an ulp away, per leaf."""
        squares: dict[int, Floats] = {}
        for _ in range(NUDGES):
            arrays = self.point.nudged(readings[0].eps, self.settings.rng)
            moved = self.claimant.readings(self, arrays, cotangents)
            for leaf in readings[0].values:
                apart = [
                    _round_off(old.values.get(leaf), new.values.get(leaf))
                    for new, old in zip(moved, readings, strict=True)
                ]
                squares[leaf] = squares.get(leaf, 0.0) + np.array(apart) ** 2 / NUDGES
        return {leaf: np.sqrt(square) for leaf, square in squares.items()}

    # ---- protocol -----------------------------------------------------------------------------------------------

    def same_again(self, again: Reading, first: Reading) -> None:
        """Compare what a second call gave with what the first did."""
        for leaf, values in first.values.items():
            other = again.values.get(leaf, np.full_like(values, np.nan))
            if np.array_equal(values, other, equal_nan=True):
                continue
            with np.errstate(all="ignore"):
                apart = float(np.max(np.abs(values - other)))
                size = float(np.max(np.abs(values)))
            self.find(
                "second-call-differs",
                f"{self.claimant.derivative} gave something else when called again at the same point: they differ by up "
                f"to {apart:.3g}, the first is up to {size:.3g}",
                where=self.point.leaves[leaf].name,
                fatal=not apart <= 10 * self.rtol * size,
                difference=apart,
            )

    def linear(self, combined: Reading, first: list[Reading], weights: Floats) -> None:
        """Compare what a combination of seeds gives with the combination of what they give."""
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
                    f"{self.claimant.derivative} is not linear in {self.claimant.seed}: a combination of two is off by "
                    f"{apart:.3g}, what it gives is up to {size:.3g}",
                    where=self.point.leaves[leaf].name,
                    fatal=True,
                )

    def zero_for_zero(self, reading: Reading) -> None:
        """Check that zeros give zeros."""
        seed = self.claimant.seed
        for leaf, values in reading.values.items():
            if np.any(values != 0):
                self.find(
                    f"zero-{self.claimant.role}",
                    f"{self.claimant.derivative} is not zero where {seed} is zero: it ignores {seed}, or accumulates",
                    where=self.point.leaves[leaf].name,
                    fatal=True,
                )


def _round_off(one: Floats | None, other: Floats | None) -> float:
    """Return the root mean square by which two claims differ, elements aside that jump: they are at a kink."""
    if one is None or other is None or not one.size:
        return 0.0
    with np.errstate(all="ignore"):
        apart = np.abs(other - one)
        smooth = apart[apart <= JUMP * np.sqrt(np.mean(one**2))]
    return float(np.sqrt(np.mean(smooth**2))) if smooth.size else 0.0
