"""One check: what it is given, what it has found so far, and how it goes from claims to a report."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance import Claim, judge
from gradcheck.arguments import RTOL, Settings
from gradcheck.claims import Reading, read_gradient
from gradcheck.evaluation import Budget, BudgetExhaustedError, Output, Point, Probe, calling
from gradcheck.progress import metering
from gradcheck.report import Finding, Report
from gradcheck.summary import summarise

__all__ = ["Claimant", "Session"]

Floats = NDArray[np.float64]

NUDGES = 4
"""Claims at points an ulp away: their spread is the round-off of an honest backward."""

OVERHEAD = 60
"""Calls beside two an element that a progress bar expects."""


class Claimant(Protocol):
    """What a check asks of the functions that it is given."""

    name: str
    optional: bool
    calls: int

    def value(self, tree: Any) -> Any:
        """Return the function's value."""

    def output(self, value: Any) -> Output:
        """Learn the form of the value."""

    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Return the cotangents, shape (K, M)."""

    def claims(self, check: Session, arrays: list[NDArray[Any]], cotangents: Floats) -> list[Any]:
        """Return the claimed gradients at a point, one per cotangent."""

    def protocol(self, check: Session, cotangents: Floats, first: list[Reading]) -> None:
        """Check what the gradient must keep beside its values."""


class Session:
    """One check: what it is given, and what it has found so far."""

    def __init__(self, settings: Settings, point: Point, claimant: Claimant, tree: Any) -> None:
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
            with calling(self.claimant.name, "at the given point"):
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
