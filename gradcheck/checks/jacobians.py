"""Who claims a whole Jacobian: every entry is judged, each output on its own, from the same evaluations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from gradcheck.acceptance.rule import Judgement
from gradcheck.aliases import Floats
from gradcheck.checks.adjoint import AdjointTest
from gradcheck.checks.check import Check, Subject
from gradcheck.functions.formats import format_of
from gradcheck.functions.kinds import NUMPY
from gradcheck.functions.outputs import EachOutput, one_array_of
from gradcheck.functions.points import Handed, Layout, Output, Point, as_given
from gradcheck.functions.probe import Probe, calling
from gradcheck.functions.trees import Leaf
from gradcheck.reports.claims import Reading, Words, read_gradient
from gradcheck.reports.report import Finding

__all__ = ["JacobianSubject", "as_one_column", "block"]

WORDS = Words("the Jacobian", "y.shape + x.shape")


class JacobianSubject(Subject):
    """A function from one array to another and its Jacobian."""

    derivative = "jac"
    probe: type[Probe] = EachOutput
    words = WORDS

    def __init__(self, f: Callable[..., Any], jac: Callable[..., Any], x: Any, point: Point) -> None:
        super().__init__(f)
        self.value = f
        self.jac = jac
        self.x = x
        self.first: Reading | None = None
        self.given: Any = None
        self.inputs = point.leaves
        self.entries: list[Leaf] = []
        """What is claimed for each leaf of x: its shape, and how it is called."""

    def output(self, value: Any) -> Output:
        """Learn the form of the output, and with it that of the Jacobian."""
        output = one_array_of(Output.of(value, "f"))
        shape = output.leaves[0].value.shape
        self.entries = [block(leaf, shape + leaf.value.shape, leaf.name) for leaf in self.inputs]
        return output

    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Read each output as it is."""
        del rng
        return np.ones((max(output.size, 1), 1))

    def _matrix(self, handed: Handed) -> Reading:
        self.calls += 1
        with calling(self.derivative, "at the given point"):
            self.given = self.jac(handed.tree)
        reading = self.read(self.given)
        reading.handed = handed.named()
        return reading

    def read(self, given: Any) -> Reading:
        """Read the blocks of the claimed matrix."""
        reading = read_gradient(given, self.x, self.entries, words=self.words)
        reading.findings = [self._in_order(finding) for finding in reading.findings]
        return reading

    def _in_order(self, finding: Finding) -> Finding:
        """Say where f and jac may be swapped: the matrix has the shape that a value would have, and the value that of a matrix."""
        given, whole = finding.evidence.get("given"), [entry.value.shape for entry in self.entries]
        if given is None or len(whole) > 1 or (*given, *2 * self.inputs[0].value.shape) != whole[0]:
            return finding
        remedy = "are f and jac swapped? The order is check_jacobian(f, jac, x)"
        return replace(finding, message=f"{finding.message}: {remedy}")

    def readings(self, check: Check, handed: Handed, cotangents: Floats, layout: Layout = as_given) -> list[Reading]:
        """Return the rows of the claimed Jacobian."""
        del check, layout
        whole = self._matrix(handed)
        self.first = self.first or whole
        rows = [Reading({}, [], whole.eps, whole.absent) for _ in cotangents]
        rows[0].findings = whole.findings
        for leaf, matrix in whole.values.items():
            for row, values in zip(rows, matrix.reshape(len(rows), -1), strict=False):
                row.values[leaf] = values
        return rows

    def protocol(self, check: Check, cotangents: Floats, first: list[Reading]) -> None:
        """Check that both products of a linear operator are those of one matrix: solvers use either."""
        del cotangents, first
        matvec, rmatvec = (getattr(self.given, name, None) for name in ("matvec", "rmatvec"))
        if not (callable(matvec) and callable(rmatvec)) or len(getattr(self.given, "shape", ())) != 2:
            return
        settings = replace(check.settings, max_evaluations=None, rng=np.random.default_rng(check.settings.key))
        y, x = (
            Leaf(name, np.ones(n), NUMPY, format_of(np.dtype(float)))
            for name, n in zip("yx", self.given.shape, strict=True)
        )
        with contextlib.suppress(NotImplementedError):  # SciPy's, where there is no rmatvec
            for fault in AdjointTest(settings, matvec, rmatvec, x, y).of_pairs():
                check.find(fault.code, fault.message, where=self.entries[0].name, fatal=True, **fault.evidence)

    def sample(self, check: Check, handed: Handed, cotangents: Floats, layout: Layout = as_given) -> list[Reading]:
        """Return the whole matrix."""
        del check, cotangents, layout
        return [self._matrix(handed)]

    def first_sample(self, check: Check, cotangents: Floats, first: list[Reading]) -> list[Reading]:
        """Return the matrix as it was claimed first."""
        del check, cotangents, first
        return [self.first or Reading()]

    def laid_out(
        self, point: Point, readings: list[Reading], judgements: dict[int, Judgement]
    ) -> tuple[Point, list[Reading], dict[int, Judgement]]:
        """Return a parameter for each block of the Jacobian."""
        del readings
        unknown = Reading({i: np.full(entry.value.size, np.nan) for i, entry in enumerate(self.entries)})
        found = {leaf: as_one_column(judgement) for leaf, judgement in judgements.items()}
        return replace(point, leaves=self.entries), [self.first or unknown], found


def block(leaf: Leaf, shape: tuple[int, ...], name: str) -> Leaf:
    """Return the entries that belong to a leaf of x, as a leaf of that shape."""
    return replace(leaf, name=name, value=np.zeros(shape, dtype=leaf.value.dtype), restore=NUMPY)


def as_one_column(found: Judgement) -> Judgement:
    """Return a judgement of ``n`` elements under ``K`` outputs, (n, K), as one of ``K n`` entries, (K n, 1)."""
    arrays = {field.name: getattr(found, field.name) for field in fields(found)}
    return Judgement(
        **{name: a.T.reshape(-1, 1) if a.ndim == 2 else np.max(a, keepdims=True) for name, a in arrays.items()}
    )
