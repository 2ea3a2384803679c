"""One check: what it is given, what it has found so far, and how it goes from claims to a report."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance import Claim, Judgement, judge
from gradcheck.arguments import RTOL, Settings
from gradcheck.blind_spots import unseen
from gradcheck.claims import Reading
from gradcheck.complex_step import NotAnalyticError
from gradcheck.elsewhere import Elsewhere, is_stale, visit
from gradcheck.evaluation import CHUNK_LENGTH, Budget, Probe, calling
from gradcheck.explanations import explain
from gradcheck.points import Layout, Output, Point, as_given
from gradcheck.progress import Meter, metering
from gradcheck.protocol import examine, is_random, settles
from gradcheck.report import Finding, Report
from gradcheck.summary import summarise
from gradcheck.workers import Crew, WorkersLostError, hire

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
    function : callable
        The user's function.
    name, derivative : str
        What the user calls it and the claimed derivative.
    seed, role : str
        The argument that the derivative is linear in, and what kind of thing it is.
    probe : type
        How the function's value is read.
    is_slope : bool
        Whether the claim is a first derivative of the function.
    pulls_back : bool
        Whether the derivative takes a cotangent of the function's value.
    is_whole : bool
        Whether few calls give the claims for all elements, so that many can be judged together.
    calls : int
        Calls of the derivative so far.
    value : callable
        ``value(tree)`` gives the function's value. It goes to other processes, so it holds no more than the function.
    """

    value: Callable[[Any], Any]

    name = "f"
    derivative = "grad"
    seed = "dy"
    role = "upstream"
    probe: type[Probe] = Probe
    is_slope = True
    pulls_back = False
    is_whole = False

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls = 0

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

    def protocol(  # noqa: B027 - most kinds have nothing of their own
        self, check: Session, cotangents: Floats, first: list[Reading]
    ) -> None:
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
        self.faults: list[Finding] = []
        """What fails the check by itself."""
        self.remarks: list[Finding] = []
        """What does not."""
        self.untried: list[str] = []
        """Memory layouts that the functions refused."""
        self.rtol = settings.rtol or RTOL[8]
        self.output = Output(claimant.name)
        self.elsewhere: Elsewhere | None = None
        """What was claimed at another point, before anything was called at this one."""
        self.readings = [Reading({i: np.full(leaf.value.size, np.nan) for i, leaf in enumerate(point.leaves)})]
        """The claims; before they are known nothing."""
        self.judgements: dict[int, Judgement] = {}
        self.probe: Probe | None = None
        self.base: Floats = np.zeros(0)
        """The function as seen through the cotangents, and what it gives at the point."""
        self.value: Floats = np.zeros(0)
        """What the function gave at the point, as one vector."""
        self.why_directions = ""
        """Why the elements are judged together, along random directions; empty where each is looked at."""

    def run(self) -> Report:
        """Make the check; Ctrl-C comes through with the report so far."""
        started = time.perf_counter()
        self.why_directions = self._why_directions()
        with metering(self.settings.progress, self._forecast()) as meter, hire(self.settings.workers) as crew:
            self.budget.progress = meter
            with self.budget.until_exhausted():
                self._look(meter, crew)
            reports: list[Report] = []
            with self.budget.until_exhausted():
                reports.append(self._report(started))
            # Interrupted while what is wrong was being explained, it goes without.
            report = reports[0] if reports else self._report(started)
            self.budget.pass_on_interrupt(report)
        return report

    def _forecast(self) -> int:
        """Return about how many calls the check takes."""
        sizes = [self.point.leaves[i].value.size for i in self.point.free()]
        if self.why_directions:
            return DIRECTIONAL_CALLS
        if self.settings.vectorized:  # about as many for each leaf as it has chunks of elements, and a few pilots
            return sum(2 * size // CHUNK_LENGTH + 5 for size in sizes) + OVERHEAD // 2
        return self.claimant.forecast(sum(sizes))

    def _look(self, meter: Meter | None, crew: Crew | None) -> None:
        """Call function and derivative, and judge, as far as the evaluations go."""
        self.elsewhere = visit(self)
        arrays = self.point.copies()
        self.budget.spend()
        began = time.perf_counter()
        with calling(self.claimant.name, "at the given point"):
            value = self.claimant.value(self.point.hand_out(arrays))
        seconds = time.perf_counter() - began
        if meter is not None:
            meter.expect(seconds)
        if crew is not None:
            crew.pace = seconds
        self.output = output = self.claimant.output(value)
        self.value = output.read(value)
        changed = self.point.changed(arrays)
        if changed:
            self.find("inputs-changed", f"{output.name} changed its argument in place: {', '.join(changed)}")
        self.probe = probe = self.claimant.probe(
            self.claimant.value,
            self.point,
            output,
            self._cotangents(),
            self.budget,
            vectorized=self.settings.vectorized,
            crew=crew,
        )
        self.base = base = probe.read(value)
        if not np.all(np.isfinite(base)):
            self.find("value-not-finite", f"{output.name} is not finite at the given point: no derivative exists")
        claims = self._read(probe)
        if not np.any(np.isfinite(base)):
            return
        self.judgements = self._judge(probe, base, claims)
        settles(self, probe)
        is_stale(self, probe, claims, self.judgements)

    def _report(self, started: float) -> Report:
        """Report what was found."""
        if isinstance(self.budget.ended, WorkersLostError):
            self.find(
                "workers-lost",
                f"workers stopped answering before the check was over ({self.budget.ended}): what they had not evaluated "
                "is missing; run it again, with fewer of them if memory is short",
            )
        elif self.budget.ended is not None:
            self.find("interrupted", "the check was interrupted before it was over")
        found = self.claimant.laid_out(self.point, self.readings, self.judgements)
        ask = self.probe if self.budget.ended is None else None
        return summarise(
            *found,
            diagnoses=explain(self, ask, self.base, found) if ask is not None else {},
            faults=self.faults,
            remarks=self.remarks,
            together=self.why_directions,
            blind_spots=unseen(self),
            stopped=self.budget.stopped,
            evaluations=self.budget.used,
            gradient_evaluations=self.claimant.calls,
            seconds=time.perf_counter() - started,
            seed=self.settings.seed,
        )

    def _cotangents(self) -> Floats:
        """Return those that were used at the second point, where they fit."""
        if self.elsewhere is not None and self.elsewhere.size == self.output.size:
            return self.elsewhere.cotangents
        self.elsewhere = None
        return self.claimant.cotangents(self.output, self.settings.rng)

    def _why_directions(self) -> str:
        """Choose how to judge, from counts alone, and say why where it is along random directions."""
        elements = sum(self.point.leaves[i].value.size for i in self.point.free())
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
        if (code, where) not in {(known.code, known.where) for known in self.faults + self.remarks}:
            finding = Finding(code=code, message=message, where=where, evidence=evidence)
            (self.faults if fatal else self.remarks).append(finding)

    def _read(self, probe: Probe) -> dict[int, Claim]:
        """Ask for the claims, read them, and check how they come about."""
        cotangents = probe.cotangents
        readings: list[Reading] = []
        spread: dict[int, Floats] = {}
        with self.budget.until_exhausted():
            readings = self.claimant.readings(self, self.point.copies(), cotangents)
            self.readings = readings
            for finding in readings[0].findings:
                (self.remarks if finding.code == "coarse-dtype" else self.faults).append(finding)
            self.rtol = self.settings.rtol or self._default_rtol(readings)
            if readings[0].eps > np.finfo(np.float64).eps:
                spread = self.spread(readings, lambda arrays: self.claimant.readings(self, arrays, cotangents))
            settles(self, probe)
            if not is_random(self):  # else whatever comes back may be another thing each time, and right
                self.claimant.protocol(self, cotangents, readings)
                examine(self, probe, readings)
        if not readings:
            if self.budget.ended is None:
                message = "max_evaluations was used up before the gradient was known; allow more"
                self.find("undecided-not-probed", message)
            return {}
        for reading in readings:  # what is large and no longer asked for
            reading.given, reading.handed = {}, []
        claims = {}
        for leaf in readings[0].values:
            columns = [reading.values.get(leaf) for reading in readings]
            if all(column is not None for column in columns):
                values = np.stack([column for column in columns if column is not None], axis=1)
                claims[leaf] = Claim(values, spread.get(leaf, np.zeros(values.shape[1])), readings[0].eps)
        return claims

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
