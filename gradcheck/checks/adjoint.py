"""The dot test: whether one linear map is the adjoint of another. There are no differences in it, only rounding.

Inner products are conjugate linear in their first argument. Where one of the two spaces is real, so are they: the
adjoint of the real-to-complex Fourier transform gives real vectors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.decide import Decision, Tolerance, decide
from gradcheck.acceptance.judgement import judgement_of
from gradcheck.acceptance.ledger import Estimate, Kind, Ledger
from gradcheck.acceptance.rule import Judgement, Limit
from gradcheck.aliases import Bools, Floats
from gradcheck.checks.explanations import gather
from gradcheck.checks.linear_maps import CANCELLED, MOST_ELEMENTS, LinearMap, UnfitError, norm
from gradcheck.diagnosis import cuts, diagnose
from gradcheck.functions.arrays import as_numpy
from gradcheck.functions.float_errors import silent
from gradcheck.functions.options import Settings, default_rtol
from gradcheck.functions.points import Point
from gradcheck.functions.probe import Budget, BudgetExhaustedError
from gradcheck.functions.progress import metering
from gradcheck.functions.trees import Leaf
from gradcheck.reports.claims import Reading
from gradcheck.reports.comparison import divergence_of
from gradcheck.reports.report import Finding, Report
from gradcheck.reports.summary import summarise

__all__ = ["AdjointTest"]

Array = NDArray[Any]
Pair = tuple[Array, Array, Array, Array]
"""Vectors like ``x`` and ``y``, and what the maps make of them."""

PAIRS = 3
"""Random pairs of vectors beside the one given."""

CALLS = 9
"""Calls of each map, beside those for single elements."""

ROUNDING = 16.0
"""A right pair may differ by this many times the measured rounding, or the epsilon of the dtype."""

HIDDEN = 0.1
"""An element is undecided where rounding hides more than this share of its size, and of the root mean square."""


class AdjointTest:
    """One check of two linear maps."""

    def __init__(
        self, settings: Settings, matvec: Callable[[Any], Any], rmatvec: Callable[[Any], Any], x: Leaf, y: Leaf
    ) -> None:
        self.settings = settings
        self.x, self.y = x, y
        self.budget = Budget(settings.max_evaluations)
        self.there = LinearMap("matvec", matvec, x, y, self.budget)
        self.back = LinearMap("rmatvec", rmatvec, y, x, Budget())
        self.is_complex = {"x": x.value.dtype.kind == "c", "y": y.value.dtype.kind == "c"}
        self.faults: list[Finding] = []
        self.claimed: Array | None = None
        self.found: tuple[Array, Floats, Bools] | None = None

    @property
    def rtol(self) -> float:
        """The relative error that matters."""
        return self.settings.rtol or default_rtol(max(self.there.eps, self.back.eps))

    @silent
    def of_pairs(self) -> list[Finding]:
        """Return what inner products alone show: those of the pair given, and of random ones."""
        try:
            self._pairs()
        except UnfitError as unfit:
            self._find(unfit.code, str(unfit))
        return self.faults

    @silent
    def run(self) -> Report:
        """Make the check."""
        started = time.perf_counter()
        chosen = self._chosen()
        with metering(self.settings.progress, len(chosen) + CALLS) as meter:
            self.budget.progress = meter
            with self.budget.until_exhausted():
                try:
                    self._elements(chosen, self._pairs())
                except UnfitError as unfit:
                    concerned = self.y if str(unfit).startswith("matvec") else self.x
                    self._find(unfit.code, f"{unfit}{self._cut_short(unfit)}", where=concerned.name)
            report = self._report(chosen, started)
            self.budget.pass_on_interrupt(report)
        return report

    def _report(self, chosen: NDArray[np.intp], started: float) -> Report:
        """Report what was found."""
        point = Point(self._parts(self.x), lambda values: values)
        found = point, [self._reading()], self._judgements(chosen)
        interrupted = Finding(code="interrupted", message="the check was interrupted before it was over")
        report = summarise(
            *found,
            diagnoses=diagnose(gather(*found, {})),
            faults=self.faults,
            remarks=[interrupted] if isinstance(self.budget.ended, KeyboardInterrupt) else [],
            stopped=self.budget.stopped,
            evaluations=self.there.calls,
            gradient_evaluations=self.back.calls,
            seconds=time.perf_counter() - started,
            seed=self.settings.seed,
        )
        return report if len(chosen) == self.x.value.size else self._of_sample(report, len(chosen))

    def _chosen(self) -> NDArray[np.intp]:
        size = self.x.value.size
        if size <= MOST_ELEMENTS:
            return np.arange(size)
        return np.sort(self.settings.rng.choice(size, size=MOST_ELEMENTS, replace=False))

    def _find(self, code: str, message: str, *, where: str = "", **evidence: Any) -> None:
        self.faults.append(Finding(code=code, message=message, where=where, evidence=evidence))

    # ---- vectors ---------------------------------------------------------------------------------------------

    def _pairs(self) -> Pair:
        """Compare the inner products of the pair given and of random ones; return a random one."""
        rng = self.settings.rng
        ys = [_without_small(self.back.draw(rng), rng) for _ in range(PAIRS)]
        xs = [self.there.draw(rng) for _ in range(PAIRS)]
        try:
            pushed = [self.there(x) for x in xs]
        except (BudgetExhaustedError, UnfitError, KeyboardInterrupt):  # what is claimed is reported all the same
            self.claimed = self.back(self.back.rounded(ys[0]))
            raise
        sizes = self._sizes(pushed)
        ys = [self.back.rounded(y / sizes) for y in ys]
        self.claimed = self.back(ys[0])
        pulled = [self.claimed, *(self.back(y) for y in ys[1:])]
        for each, vectors, images in ((self.there, xs, pushed), (self.back, ys, pulled)):
            for code, message in each.measure(vectors, images, self._weights(), self.rtol):
                self._find(code, message, where=each.codomain.name)
        given = self.there.rounded(self.x.value), self.back.rounded(self.y.value)
        pairs = [*zip(xs, ys, pushed, pulled, strict=True), (*given, self.there(given[0]), self.back(given[1]))]
        for number, pair in enumerate(pairs):
            if not self._agree(*pair) and not self._is_cancelled(self._apart(*pair) / norm(pair[0]), pair):
                which = "the pair given" if number == PAIRS else f"random pair {number + 1} of {PAIRS}"
                left, right = self._product(pair[2], pair[1]), self._product(pair[0], pair[3])
                self._find(
                    "not-adjoint",
                    f"for {which} <matvec(x), y> = {left:.9g}, but <x, rmatvec(y)> = {right:.9g}",
                    left=left,
                    right=right,
                )
                break
        return pairs[0]

    def _cut_short(self, unfit: UnfitError) -> str:
        """Say which part of what rmatvec returned would be right, where it is too long, as after padding."""
        rmatvec, shape = self.back.function, self.x.value.shape
        for words, part in cuts(unfit.shape, shape) if unfit.code == "wrong-shape" and unfit.shape else ():
            cut = LinearMap("rmatvec", partial(_part_of, rmatvec, part), self.y, self.x, self.back.budget)
            pairs = [(self.there.draw(self.settings.rng), cut.draw(self.settings.rng)) for _ in range(PAIRS)]
            is_right = all(self._agree(x, y, self.there(x), cut(y)) for x, y in pairs)
            self.back.calls += cut.calls
            if is_right:
                return f": {words} of it are right, what was padded is not cut off"
        return ""

    def _sizes(self, images: list[Array]) -> Floats:
        """Return the size of each number that matvec gives, in units of their middle: weighed by its inverse none is lost beside others.

        Ones where those with half the digits that matter are not lost as they are.
        """
        sizes = np.max(np.abs(images), axis=0)
        known = sizes[sizes > 0]
        if not known.size or known.min() >= np.sqrt(self.rtol) * known.max():
            return np.ones_like(sizes)
        least = 16 / np.finfo(self.there.codomain.format.dtype).max  # sums of a few vectors must not overflow either
        return np.where(sizes > 0, np.maximum(sizes / (np.sqrt(known.min()) * np.sqrt(known.max())), least), 1.0)

    def _weights(self) -> Array:
        """Draw weights; complex ones where both spaces are."""
        rng = self.settings.rng
        weights = rng.uniform(0.5, 1.5, PAIRS) * (1, -1, 1)
        return weights * np.exp(2j * np.pi * rng.random(PAIRS)) if all(self.is_complex.values()) else weights

    def _product(self, a: Array, b: Array) -> Any:
        product = np.sum(np.conj(a) * b)
        return product if all(self.is_complex.values()) else product.real

    def _apart(self, x: Array, y: Array, pushed: Array, pulled: Array) -> float:
        return float(abs(self._product(pushed, y) - self._product(x, pulled)))

    def _is_cancelled(self, apart: float, pair: Pair) -> bool:
        """Tell whether a difference is so small that terms which cancel may have left it, and one of the maps does lose some: then both are noise."""
        x, y, pushed, pulled = pair
        if apart > CANCELLED * max(self.there.eps, self.back.eps) * norm(y):
            return False
        is_lost = self.there.loses(x, pushed, self.rtol) or self.back.loses(y, pulled, self.rtol)
        if is_lost:
            self.there.noise = self.back.noise = 1.0
        return is_lost

    def _agree(self, x: Array, y: Array, pushed: Array, pulled: Array) -> bool:
        left, right = self._product(pushed, y), self._product(x, pulled)
        if not (np.isfinite(left) and np.isfinite(right)):  # the pair given is huge; the random ones are not
            return True
        # An error of every element is this large when it has a sign of its own in each, and when it has not.
        matters = self.rtol * (norm(x * pulled) + abs(left))
        rounding = self.there.rounding(x, pushed, y) + self.back.rounding(y, pulled, x)
        return bool(abs(left - right) <= matters + ROUNDING * rounding)

    # ---- elements --------------------------------------------------------------------------------------------

    def _elements(self, chosen: NDArray[np.intp], pair: Pair) -> None:
        """Compare elements of ``rmatvec(y)`` with the products of ``y`` with the images of unit vectors."""
        size, shape, y, claimed = self.x.value.size, self.x.value.shape, pair[1], pair[3].ravel()
        reference = np.full(size, np.nan, dtype=np.complex128)
        rounding, looked_at = np.full(size, np.nan), np.zeros(size, dtype=bool)
        self.found = reference, rounding, looked_at
        blur = self.back.blur.ravel() * norm(y)
        unit = np.zeros(size, dtype=np.complex128 if self.is_complex["x"] else np.float64)
        for i in chosen:
            unit[i] = 1
            vector = unit.reshape(shape)
            image = self.there(vector)
            product = complex(self._product(image, y))
            if self.is_complex["x"] and not self.is_complex["y"]:
                unit[i] = 1j
                product += 1j * float(self._product(self.there(unit.reshape(shape)), y))
            unit[i] = 0
            reference[i], looked_at[i] = product, True
            rounding[i] = ROUNDING * (self.there.rounding(vector, image, y) + blur[i])
        apart = np.abs(claimed - reference)
        beyond = apart > self.rtol * np.abs(reference) + rounding
        if np.any(beyond) and self._is_cancelled(float(np.max(apart[beyond])), pair):
            rounding += ROUNDING * np.abs(reference)

    # ---- the report ------------------------------------------------------------------------------------------

    def _parts(self, leaf: Leaf) -> list[Leaf]:
        """Return what is reported: a real array, or the real and the imaginary part of a complex one."""
        if not self.is_complex["x"]:
            return [leaf]
        return [
            Leaf(f"{leaf.name}.{part}", getattr(leaf.value, part), leaf.restore, leaf.format)
            for part in ("real", "imag")
        ]

    def _reading(self) -> Reading:
        if self.claimed is None:
            return Reading()
        flat = self.claimed.ravel()
        return Reading({0: flat.real, 1: flat.imag} if self.is_complex["x"] else {0: flat})

    def _judgements(self, chosen: NDArray[np.intp]) -> dict[int, Judgement]:
        if self.found is None or self.claimed is None:
            return {}
        reference, rounding, looked_at = self.found
        missed = np.zeros(len(looked_at), dtype=bool)
        missed[chosen] = ~looked_at[chosen]
        usual = norm(reference[looked_at]) / max(1, int(looked_at.sum())) ** 0.5
        claims = self._reading().values
        judgements = {}
        for position, part in enumerate([reference.real, reference.imag][: len(claims)]):
            ledger = Ledger(len(part), 1)
            indices = np.flatnonzero(looked_at)
            value, bound = part[indices, None], rounding[indices, None]
            zero, never = np.zeros_like(value), np.zeros(value.shape, dtype=bool)
            least = 0.0 if usual else np.finfo(self.there.codomain.format.dtype).tiny  # a map that gives zeros only
            seen = bound <= np.maximum(HIDDEN * np.maximum(usual, np.abs(value)), least)
            ledger.add(Estimate(Kind.EXACT, indices, value, bound, bound, zero, zero, seen, never, np.zeros(1)))
            claim = claims[position][:, None]
            judgement = judgement_of(
                claim.shape,
                ledger,
                partial(self._decide, claim, ledger),
                noise_of_f=np.array([max(self.there.noise, self.back.noise)]),
                unseen=Limit.NONE,
            )
            limit = np.where(missed[:, None], Limit.NOT_PROBED, judgement.limit).astype(np.int8)
            judgements[position] = replace(judgement, limit=limit)
        return judgements

    def _decide(self, claim: Floats, ledger: Ledger, rows: NDArray[np.intp]) -> Decision:
        nothing, zero = np.zeros(len(rows)), np.zeros(1)
        tolerance = Tolerance(self.rtol, zero, zero, zero, nothing, nothing, nothing, zero, smooth=True)
        return decide(claim[rows], ledger.evidence(rows), tolerance)

    def _of_sample(self, report: Report, count: int) -> Report:
        """Measure the divergence where elements were looked at, and say that the others were not."""
        parameters = {}
        for name, parameter in report.parameters.items():
            seen = np.isfinite(parameter.reference)
            divergence = divergence_of(parameter.claimed[seen], parameter.reference[seen])
            parameters[name] = replace(parameter, divergence=divergence)
        others = self.x.value.size - count
        spot = f"{self.x.name}: {others} of {self.x.value.size} elements were seen in {PAIRS + 1} inner products only"
        return replace(report, parameters=parameters, blind_spots=(*report.blind_spots, spot))


def _without_small(drawn: Array, rng: np.random.Generator) -> Array:
    """Return numbers of the same signs, or phases, none of which hides what it is multiplied by."""
    sizes = np.abs(drawn)
    return np.where(sizes > 0, drawn / np.where(sizes > 0, sizes, 1.0), 1.0) * rng.uniform(0.5, 1.5, drawn.shape)


def _part_of(function: Callable[[Any], Any], part: tuple[slice, ...], vector: Any) -> Any:
    return as_numpy(function(vector))[part]
