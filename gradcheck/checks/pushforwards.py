"""Who claims a Jacobian-vector product: unit tangents give its columns, read through the check's cotangents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.checks.check import NUDGES, Check, Subject
from gradcheck.checks.equalised import can_be_single, each_of, equalising
from gradcheck.checks.exchanged import is_marked, is_slope, note_on
from gradcheck.checks.protocol import ROUNDED, examine_zero
from gradcheck.checks.roundoff import nudged, residues
from gradcheck.checks.subjects import require_floats, spread
from gradcheck.errors import InvalidArgument
from gradcheck.functions.blocks import random_signs
from gradcheck.functions.points import Handed, Layout, Output, as_given
from gradcheck.functions.probe import calling
from gradcheck.functions.tangents import differentiable, read_tangent, tangent
from gradcheck.functions.trees import arrays_in
from gradcheck.reports.claims import Reading, Words, read_gradient
from gradcheck.reports.report import Finding

__all__ = ["JvpSubject"]

WORDS = Words("dy", "y")

ORDERS: dict[str, Callable[[tuple[Any, ...], tuple[Any, ...]], tuple[Any, ...]]] = {
    "with the tangents behind the inputs": lambda tangents, inputs: (*inputs, tangents),
    "with each tangent by itself, in no tuple,": lambda tangents, inputs: (*tangents, *inputs),
    "with each tangent by itself, behind the inputs,": lambda tangents, inputs: (*inputs, *tangents),
}
"""Other orders in which people write the arguments."""

MIXED = 20180101
"""Seed of the tangent that is compared between calls."""


class JvpSubject(Subject):
    """A function of several inputs and its Jacobian-vector product."""

    derivative = "jvp"
    seed = "its tangents"
    role = "tangent"

    def __init__(self, f: Callable[..., Any], jvp: Callable[..., Any], inputs: dict[str, Any]) -> None:
        super().__init__(f)
        self.jvp = jvp
        self.value = partial(spread, f)
        self.inputs = inputs
        self.form: Output | None = None

    def like_value(self, function: Callable[..., Any]) -> Callable[[Any], Any]:
        """Return what calls another function with the inputs."""
        return partial(spread, function)

    def output(self, value: Any) -> Output:
        """Learn the form of the output."""
        self.form = Output.of(value, self.name)
        require_floats(self.form)
        return self.form

    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Draw two rows through which dy and y are read."""
        return rng.normal(size=(2, output.size))

    def apart(self, check: Check, output: Output) -> tuple[Floats, bool]:
        """Return those of single outputs, where these are not too many; else those in which each counts alike."""
        if output.size > 1 and can_be_single(check):
            return each_of(check.output), True
        return equalising(check, output), False

    def readings(self, check: Check, handed: Handed, cotangents: Floats, layout: Layout = as_given) -> list[Reading]:
        """Push every unit tangent forward, and read what comes out through each cotangent."""
        del layout
        names = {position: leaf.name for position, leaf in enumerate(check.point.leaves)}
        readings = [Reading(names=names) for _ in cotangents]
        start = 0
        for leaf in differentiable(check.point):
            end = start + check.point.leaves[leaf].value.size
            table = self._columns(check, leaf, slice(start, end), handed.tree, cotangents, readings[0])
            if table is not None:
                for k, reading in enumerate(readings):
                    reading.values[leaf] = table[:, k]
            start = end
        for reading in readings:
            reading.eps = readings[0].eps
        return readings

    def _columns(
        self, check: Check, leaf: int, place: slice, tree: Any, cotangents: Floats, notes: Reading
    ) -> Floats | None:
        """Return the products of one leaf's columns with the cotangents, shape (n, K); None where dy is unlike y."""
        name, shape = check.point.leaves[leaf].name, check.point.leaves[leaf].value.shape
        vector, rows, codes = np.zeros(_length(check)), [], set[str]()
        for number, index in enumerate(np.ndindex(shape)):
            vector[place.start + number] = 1.0
            dy, reading = self._push(tangent(check.point, vector), tree)
            vector[place.start + number] = 0.0
            notes.eps = max(notes.eps, reading.eps)
            for finding in reading.findings:
                if finding.code not in codes:
                    codes.add(finding.code)
                    notes.findings.append(_of_unit(finding, name, index))
            if dy is None:
                return None
            rows.append(_contract(cotangents, dy))
        return np.array(rows).reshape(len(rows), len(cotangents))

    def _push(self, tangents: dict[str, Any], tree: dict[str, Any]) -> tuple[Floats | None, Reading]:
        """Call jvp, and read what it gives as one vector; None where it has not the form of y."""
        self.calls += 1
        arguments = tuple(tangents.values()), tuple(tree.values())
        with calling("jvp", "at the given point", "it is called jvp(tangents, *inputs), with a tuple of tangents"):
            try:
                given = self.jvp(arguments[0], *arguments[1])
            except Exception as error:
                note_on(error, {_exchanged(w): partial(self._fits, order(*arguments)) for w, order in ORDERS.items()})
                raise
        return self._read(given)

    def _fits(self, arguments: tuple[Any, ...]) -> bool:
        return self._read(self.jvp(*arguments))[0] is not None

    def _read(self, given: Any) -> tuple[Floats | None, Reading]:
        assert self.form is not None  # noqa: S101 - output() comes first; tells the type checker
        like = self.form.like(np.zeros(self.form.size))
        reading = read_gradient(given, like, self.form.leaves, words=WORDS)
        fits = not any(finding.code == "wrong-structure" for finding in reading.findings)
        parts = []
        for i, leaf in enumerate(self.form.leaves):
            part = reading.values.get(i) if leaf.is_differentiable else np.zeros(leaf.value.size)
            if part is None:
                fits = False
            else:
                parts.append(part)
        return np.concatenate(parts) if fits else None, reading

    def sample(self, check: Check, handed: Handed, cotangents: Floats, layout: Layout = as_given) -> list[Reading]:
        """Push one tangent forward, without small elements and always the same."""
        del cotangents
        tangents = tangent(check.point, self._mixed(check), layout)
        reading = self._push(tangents, handed.tree)[1]
        reading.handed = [("its tangents", array) for array in arrays_in(tangents)] + handed.named()
        return [reading]

    def first_sample(self, check: Check, cotangents: Floats, first: list[Reading]) -> list[Reading]:
        """Push that tangent forward at the given point."""
        del first
        return self.sample(check, check.point.hand(), cotangents)

    def _mixed(self, check: Check) -> Floats:
        rng = np.random.default_rng(MIXED)
        size = _length(check)
        drawn = rng.uniform(0.5, 1.5, size) * random_signs(size, rng)
        return read_tangent(check.point, tangent(check.point, drawn))

    def protocol(self, check: Check, cotangents: Floats, first: list[Reading]) -> None:
        """Check that it is linear in its tangents, zero for zero, and changes nothing that it gets."""
        if all(leaf in first[0].values for leaf in differentiable(check.point)):
            self._examine(check, cotangents, first)
        if is_marked(check):
            self._examine_order(check, cotangents[0])

    def _examine_order(self, check: Check, row: Floats) -> None:
        """Say where jvp takes its arguments in another order, and is right so."""
        for words, order in ORDERS.items():
            try:
                is_exchanged = is_slope(check, row, partial(self._terms, check, row, order))
            except Exception:  # noqa: BLE001, S112 - it is another order, or none
                continue
            if is_exchanged:
                check.find("arguments-swapped", f"{_exchanged(words)} it gives the slope of {self.name}", fatal=True)
                return

    def _terms(self, check: Check, row: Floats, order: Callable[..., Any], steps: dict[int, Floats]) -> Floats:
        """Return the products of a cotangent with what another order of arguments gives along some way; NaN where that does not fit."""
        vector = np.concatenate([steps.get(leaf, np.zeros(0)) for leaf in differentiable(check.point)])
        arguments = order(tuple(tangent(check.point, vector).values()), tuple(check.point.hand().tree.values()))
        dy = self._read(self.jvp(*arguments))[0]
        return np.full(1, np.nan) if dy is None else row * dy

    def _examine(self, check: Check, cotangents: Floats, first: list[Reading]) -> None:
        handed = check.point.hand()
        mixed = self._mixed(check)
        vectors = [mixed, np.zeros_like(mixed), *self._parts(check, -mixed)]
        trees = [tangent(check.point, vector) for vector in vectors]
        answers = [self._push(tangents, handed.tree) for tangents in trees]
        codes = {finding.code for finding in first[0].findings} | {"coarse-dtype"}
        for finding in (finding for _, reading in answers for finding in reading.findings):
            if finding.code not in codes:
                codes.add(finding.code)
                check.find(finding.code, f"for a random tangent, {finding.message}", fatal=True)
        pushed = [dy for dy, _ in answers]
        ignored = examine_zero(check, answers[1][1], answers[0][1])
        if not ignored:
            self._linear(check, cotangents, first, [(vectors[k], pushed[k]) for k in (0, *range(2, len(pushed)))])
        if not all(_unchanged(check, tangents, vector) for tangents, vector in zip(trees, vectors, strict=True)):
            check.find("tangent-changed", "jvp changed its tangents in place", fatal=True)
        changed = handed.changed()
        if changed:
            check.find("inputs-changed", f"jvp changed its arguments in place: {', '.join(changed)}", fatal=True)

    def _parts(self, check: Check, vector: Floats) -> list[Floats]:
        """Return the part of a vector in each leaf, the rest zero."""
        sizes = [check.point.leaves[leaf].value.size for leaf in differentiable(check.point)]
        owner = np.repeat(np.arange(len(sizes)), sizes)
        return [np.where(owner == k, vector, 0.0) for k in range(len(sizes))]

    def _linear(
        self, check: Check, cotangents: Floats, first: list[Reading], pushed: list[tuple[Floats, Floats | None]]
    ) -> None:
        """Compare what a tangent gives with the sum of what its elements give."""
        leaves = differentiable(check.point)
        columns = np.stack([np.concatenate([reading.values[leaf] for leaf in leaves]) for reading in first])
        for number, (vector, dy) in enumerate(pushed):
            if dy is None:
                continue
            terms = columns * vector
            apart = np.abs(_contract(cotangents, dy) - terms.sum(axis=1))
            size = np.abs(terms).sum(axis=1)
            worst = int(np.argmax(apart / np.maximum(size, np.finfo(float).tiny)))
            beyond = apart > max(100 * first[0].eps, check.rtol) * size
            if beyond.any() and np.any(
                beyond & (apart > ROUNDED * self._rounding(check, cotangents, first, vector, dy))
            ):
                check.find(
                    "not-linear",
                    f"jvp is not linear in its tangents: a combination of unit tangents is off by {apart[worst]:.3g}, "
                    f"its terms add up to {size[worst]:.3g}",
                    where=check.point.leaves[leaves[number - 1]].name if number else "",
                    fatal=True,
                )

    def _rounding(self, check: Check, cotangents: Floats, first: list[Reading], vector: Floats, dy: Floats) -> Floats:
        """Return the round-off of the products of cotangents with dy for one tangent, shape (K,).

        It is the largest of the change for tangents an ulp away, what a column may be that is nothing but round-off, and, for coarse
        dtypes, the round-off measured for single columns. Where terms cancel inside jvp, as in front of a normalisation, that is as
        much as they come to.
        """
        eps, least = check.eps(), residues(check, first, np.abs(cotangents) @ np.abs(check.value))
        each = np.zeros((vector.size, len(cotangents)))
        for part, leaf in zip(self._parts(check, np.ones_like(vector)), differentiable(check.point), strict=True):
            each += np.outer(part, least.get(leaf, 0.0))
        if check.roundoff:
            own = np.concatenate([check.roundoff[leaf].own for leaf in differentiable(check.point)])
            own = np.sqrt(own**2 @ (cotangents**2).T) if check.is_each else own[:, : len(cotangents)]
            each = np.maximum(each, own)
        changes: Floats = np.linalg.norm(each * vector[:, None], axis=0)
        for _ in range(NUDGES):
            moved = self._push(tangent(check.point, nudged(vector, eps, check.settings.rng)), check.point.hand().tree)[
                0
            ]
            if moved is not None:
                changes = np.maximum(changes, np.abs(_contract(cotangents, moved - dy)))
        return changes


def _exchanged(words: str) -> str:
    return f"are the arguments of jvp swapped? It is called jvp(tangents, *inputs), with a tuple of tangents; {words}"


def _length(check: Check) -> int:
    return sum(check.point.leaves[leaf].value.size for leaf in differentiable(check.point))


def _contract(cotangents: Floats, dy: Floats) -> Floats:
    return np.asarray(cotangents @ dy)


def _of_unit(finding: Finding, name: str, index: tuple[int, ...]) -> Finding:
    """Say with which tangent a finding about dy was made; ``where`` is the input, not the output."""
    which = f"for a tangent of one{f' at {list(index)}' if index else ''}"
    output = f" (in {finding.where})" if finding.where not in {"", "y"} else ""
    return replace(finding, where=name, message=f"{which}, {finding.message}{output}")


def _unchanged(check: Check, handed: Any, vector: Floats) -> bool:
    try:
        return np.array_equal(read_tangent(check.point, handed), vector)
    except InvalidArgument:  # its containers are no longer what they were
        return False
