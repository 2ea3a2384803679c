"""The check of a chain: each stage a layer with a check of its own, and then the whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Unpack

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.checks.blind_spots import of_the_point
from gradcheck.checks.check import OVERHEAD, Check
from gradcheck.checks.composition import check_composition
from gradcheck.checks.layers import LayerSubject
from gradcheck.checks.run import run
from gradcheck.checks.stages import Passage, pass_through, read_stages
from gradcheck.functions.float_errors import silent
from gradcheck.functions.options import CheckOptions, Settings, read_options
from gradcheck.functions.points import Output, Point
from gradcheck.functions.probe import Budget, BudgetExhaustedError
from gradcheck.functions.progress import Meter, metering
from gradcheck.functions.workers import open_pool
from gradcheck.reports.claims import Reading
from gradcheck.reports.report import Finding, ParameterReport, Report, Verdict
from gradcheck.reports.summary import NOTHING_CHECKED
from gradcheck.watching import watched

__all__ = ["check_chain"]

COMPOSITION = 80
"""Calls of each forward that the check of the whole is expected to take."""

ROUNDINGS = 10.0
"""Largest difference between a stage's results alone and in sequence, in units of ``rtol``: memory is laid out
differently."""


@watched
@silent
def check_chain(
    stages: Iterable[tuple[str, Callable[..., Any], Callable[[Any, Any], Any], tuple[Any, ...]]],
    x: Any,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check the backward pass of a network stage by stage, and say which stage is wrong.

    The chain is run once, forward and backward. Then each stage is checked as a layer of its own, at the value and the
    upstream that reached it and with random upstreams besides, so that the fault of one stage is never seen in another.
    What each gave in sequence must be what it gives alone. At last the gradient of the whole is compared with
    differences of the whole, near the point along random directions: a fault in how right stages fit together.

    Parameters
    ----------
    stages : list of tuples ``(name, forward, backward, params)``
        ``forward(x, *params) -> (y, cache)`` and ``backward(dy, cache) -> (dx, *dparams)``; ``y`` is the ``x`` of the
        next stage. None in place of a gradient: not differentiated. Without params ``dx`` may come bare. The chain
        may end in a loss or in any array; the upstream that reaches the last stage is ones.
    x : tree of arrays or floats
        The input of the first stage. Integers are held fixed.
    **options
        See `CheckOptions`; ``vectorized`` is refused. ``max_evaluations`` bounds the calls of all forwards together.

    Returns
    -------
    Report
        ``stage`` is the wrong stage, of several the one nearest the output; each has a finding ``wrong-stage``, first
        the one of ``stage``. Parameters are called ``stage.param`` as in the signature of the stage's forward, its
        input ``stage.x``. Evaluations are calls of forwards.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong gradient does not raise.

    Notes
    -----
    Costs two calls of a stage's forward for each element of its input and its parameters where claim and difference
    agree, and at most about two hundred more for each stage, those for the whole among them.

    Examples
    --------
    >>> import numpy as np
    >>> def dense(x, w):
    ...     return x @ w, (x, w)
    >>> def dense_backward(dy, cache):
    ...     x, w = cache
    ...     return dy @ w.T, x.T @ dy
    >>> def tanh(x):
    ...     return np.tanh(x), x
    >>> def tanh_backward(dy, x):
    ...     return dy * (1 - x**2)
    >>> w1, w2 = np.array([[0.5, -0.2], [0.1, 0.7]]), np.array([[1.0], [0.3]])
    >>> stages = [("one", dense, dense_backward, (w1,)), ("act", tanh, tanh_backward, ()),
    ...           ("two", dense, dense_backward, (w2,))]
    >>> check_chain(stages, np.array([[0.3, 1.0], [-0.5, 0.4]])).stage
    'act'
    """
    settings = read_options(options, vectorizable=False, directional=True)
    read = read_stages(stages)
    started = time.perf_counter()
    chain = _Chain(settings, order=[stage.name for stage in read])
    try:
        try:
            passages = pass_through(read, x, chain.budget)
        except BudgetExhaustedError:
            message = f"max_evaluations was used up before the {len(read)} stages had been run once; allow more"
            chain.findings.append(Finding(code="undecided-not-probed", message=message))
            passages = []
        with metering(settings.progress, _forecast(passages)) as meter, open_pool(settings.workers) as pool:
            chain.settings = replace(settings, workers=pool)
            chain.check(passages, meter)
    except KeyboardInterrupt as interrupt:
        chain.interrupt()
        interrupt.report = chain.report(time.perf_counter() - started)  # type: ignore[attr-defined]
        raise
    return chain.report(time.perf_counter() - started)


def _forecast(passages: list[Passage]) -> int:
    """Return about how many calls of forwards the check takes."""
    return sum(_share(passage) + COMPOSITION for passage in passages)


def _share(passage: Passage) -> int:
    """Return about how many calls the check of a stage takes."""
    elements = sum(passage.point.leaves[i].value.size for i in passage.point.free())
    return 2 * elements + OVERHEAD if passage.is_checkable else 0


class StageSubject(LayerSubject):
    """A stage of a chain: a layer that an upstream reached."""

    def __init__(self, passage: Passage) -> None:
        super().__init__(passage.stage.forward, passage.stage.backward, passage.inputs, passage.point.settings)
        self.name, self.derivative = passage.stage.pair
        self.passage = passage
        self.disagrees: list[str] = []
        """Leaves whose gradient was another in sequence."""

    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Draw two cotangents, and add the upstream that occurred; zeros would show nothing."""
        drawn = super().cotangents(output, rng)
        upstream = self.passage.upstream
        if upstream is None or not np.any(upstream):
            return drawn
        return np.vstack([drawn, self.seen(self.seed_of(upstream))])

    def protocol(self, check: Check, cotangents: Floats, first: list[Reading]) -> None:
        """Check what a layer must keep, and that it gave the same in sequence."""
        super().protocol(check, cotangents[:2], first[:2])
        if len(first) > 2 and self.passage.reading is not None:
            self._compare(check, self.passage.reading, cotangents, first)

    def _compare(self, check: Check, in_sequence: Reading, cotangents: Floats, first: list[Reading]) -> None:
        """Compare with what was given in sequence, in units of what such an upstream gives where nothing cancels."""
        sizes = np.linalg.norm(cotangents, axis=1)
        for leaf, values in first[-1].values.items():
            other = in_sequence.values.get(leaf, np.full_like(values, np.nan))
            apart = np.abs(other - values)
            scale = max(
                float(np.max(np.abs(reading.values.get(leaf, np.zeros(1))), initial=0.0)) * sizes[-1] / size
                for reading, size in zip(first, sizes, strict=True)
            )
            is_nan = np.isnan(other) & np.isnan(values)
            if not np.all((apart <= ROUNDINGS * check.rtol * scale) | is_nan):
                self.disagrees.append(first[-1].names[leaf])


@dataclass(slots=True)
class _Chain:
    """What the check of a chain has found so far."""

    settings: Settings
    budget: Budget = field(init=False)
    gradient_evaluations: int = 0
    findings: list[Finding] = field(default_factory=list)
    parameters: dict[str, ParameterReport] = field(default_factory=dict)
    blind_spots: list[str] = field(default_factory=list)
    wrong: dict[str, Finding] = field(default_factory=dict)
    """Wrong stages, and what is said first of each."""
    order: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    """Stages that were checked to the end."""
    points: list[Point] = field(default_factory=list)
    is_open: bool = False
    """Whether something that matters stays undecided."""

    def __post_init__(self) -> None:
        self.budget = Budget(self.settings.max_evaluations)

    def check(self, passages: list[Passage], meter: Meter | None) -> None:
        """Check each stage, and then those after the last wrong one together."""
        self.points = [passage.point for passage in passages]
        self.budget.progress = meter
        self.gradient_evaluations = sum(passage.reading is not None for passage in passages)
        shares = [_share(passage) for passage in passages]
        rest = COMPOSITION * len(passages)
        for position, passage in enumerate(passages):
            share = shares[position] / max(1, sum(shares[position:]) + rest)
            self._check_stage(passage, self.budget.left * share, meter)
            self.done.add(passage.stage.name)
        start = max((i + 1 for i, name in enumerate(self.order) if name in self.wrong), default=0)
        unreached = [i for i, passage in enumerate(passages) if passage.upstream is None]
        start = max(start, *(i + 1 for i in unreached), 0)
        if start < len(passages):
            self._check_whole(passages[start:], is_all=start == 0)

    def _check_stage(self, passage: Passage, share: float, meter: Meter | None) -> None:
        """Check one stage as a layer."""
        name = passage.stage.name
        if not passage.point.free():
            self.blind_spots.append(f"{name}: nothing to differentiate, so not checked")
            return
        limit = int(share) if np.isfinite(share) else None
        if not passage.is_finite or limit == 0:
            why = "its input is not finite" if limit != 0 else "max_evaluations was used up; allow more"
            self._leave_open(Finding(code="undecided-not-probed", where=name, message=f"{name} not looked at: {why}"))
            return
        used = self.budget.used
        show = None if meter is None else lambda done, _: meter(used + done)
        settings = replace(self.settings, max_evaluations=limit, progress=show)
        subject = StageSubject(passage)
        try:
            report = run(Check(settings, passage.point, subject))
        except KeyboardInterrupt as interrupt:
            self._take_over(passage, interrupt.report)  # type: ignore[attr-defined]
            raise
        self._take_over(passage, report)
        self._compare(passage, [] if _is_random(report) else subject.disagrees)

    def _take_over(self, passage: Passage, report: Report) -> None:
        """Add what was found about one stage."""
        name = passage.stage.name
        self.budget.used += report.evaluations
        self.gradient_evaluations += report.gradient_evaluations
        self.parameters |= report.parameters
        own = set(of_the_point(passage.point))  # said once, of all stages together
        self.blind_spots += [spot for spot in report.blind_spots if spot not in (*own, NOTHING_CHECKED)]
        self.is_open |= any(parameter.undecided.any() for parameter in report.parameters.values())
        self.is_open |= any(finding.code == "workers-lost" for finding in report.findings)
        self.findings[:0] = [
            replace(finding, where=finding.where or name)
            for finding in report.findings
            if finding.code != "interrupted"
        ]
        if report.verdict == "fail":
            self._call_wrong(
                name, _reason(report), gradients=[p.name for p in report.parameters.values() if p.wrong.any()]
            )

    def _compare(self, passage: Passage, disagrees: list[str]) -> None:
        """Call a stage wrong that gave something else in sequence, or wrote into what it had kept or returned."""
        name, writer = passage.stage.name, passage.writer
        if writer and (disagrees or passage.is_overwritten):
            what = "a gradient that {} had returned" if passage.is_overwritten else "what {} had kept for its backward"
            self._call_wrong(
                writer, f"{writer} writes into {what.format(name)}, which is wrong from then on", gradients=disagrees
            )
        elif disagrees:
            self._call_wrong(
                name,
                f"in the chain it gives another gradient of {', '.join(disagrees)} than alone at the same values: it "
                "shares state with another stage",
                gradients=disagrees,
            )

    def _check_whole(self, passages: list[Passage], *, is_all: bool) -> None:
        """Check that the stages fit together: all, or those after the last wrong one."""
        outcome = check_composition(passages, self.settings, self.budget.left)
        self.budget.used += outcome.evaluations
        self.gradient_evaluations += outcome.gradient_evaluations
        if outcome.verdict == "fail":
            self._call_wrong(
                passages[outcome.position].stage.name,
                "the gradient of the chain from it to the end is wrong, though each stage is right alone: it gives a "
                "later stage something beside its output, or it is wrong at a point near the given one",
                gradients=[],
            )
        elif outcome.verdict == "inconclusive" and is_all:
            self.blind_spots.append("how the stages fit together could not be judged near the given point")

    def interrupt(self) -> None:
        """Say which stages were not checked to the end."""
        rest = ", ".join(name for name in self.order if name not in self.done) or "how they fit together"
        message = f"the check was interrupted before it was over; not checked to the end: {rest}"
        self._leave_open(Finding(code="interrupted", message=message))

    def _leave_open(self, finding: Finding) -> None:
        self.findings.append(finding)
        self.is_open = True

    def _call_wrong(self, name: str, reason: str, *, gradients: list[str]) -> None:
        """Say once of a stage that it is wrong."""
        place = len(self.order) - self.order.index(name)
        counted = f"{place} of {len(self.order)} counted from the output"
        message = f"stage {name}, number {counted}, has a wrong backward: {reason}"
        evidence = {"from_output": place, "gradients": gradients}
        self.wrong.setdefault(name, Finding(code="wrong-stage", where=name, message=message, evidence=evidence))

    def report(self, seconds: float) -> Report:
        """Put everything together, what is nearest the output first."""
        faults = [self.wrong[name] for name in reversed(self.order) if name in self.wrong]
        if not self.parameters:
            self.blind_spots.append(NOTHING_CHECKED)
        verdict: Verdict = "fail" if faults else "inconclusive" if self.is_open or not self.parameters else "pass"
        return Report(
            verdict=verdict,
            parameters=self.parameters,
            findings=(*faults, *self.findings),
            stage=faults[0].where if faults else None,
            blind_spots=(*self.blind_spots, *of_the_point(*self.points)),
            evaluations=self.budget.used,
            gradient_evaluations=self.gradient_evaluations,
            seconds=seconds,
            seed=self.settings.seed,
        )


def _reason(report: Report) -> str:
    """Say in one sentence why a stage is wrong: by its values, else by what it does not keep."""
    wrong = [finding for finding in report.findings if finding.code == "wrong-gradient"]
    first = (wrong or list(report.findings))[0]
    return f"{first.where}: {first.message}" if first.where else first.message


def _is_random(report: Report) -> bool:
    """Whether a stage gives something else each time by itself."""
    return any(finding.code in ("f-not-deterministic", "second-call-differs") for finding in report.findings)
