"""One check: what it is given, what it asks of the user's functions, and what it has found so far."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.rule import Claim, Judgement, judge
from gradcheck.aliases import Floats
from gradcheck.functions.blocks import blocks
from gradcheck.functions.displacements import Moves
from gradcheck.functions.formats import Format
from gradcheck.functions.options import Settings, default_rtol
from gradcheck.functions.points import Handed, Layout, Output, Point, as_given
from gradcheck.functions.probe import Budget, Probe
from gradcheck.reports.claims import Reading
from gradcheck.reports.report import Finding

__all__ = ["NEAR", "NUDGES", "OVERHEAD", "Check", "Elsewhere", "Reference", "Roundoff", "Subject", "are_single"]

NUDGES = 4
"""Points an ulp away: by how much what is computed changes there is its round-off."""

NEAR = 1e-3
"""Largest distance of points near by, relative to each element: the difference of two functions hardly changes there."""

ROUND_BITS = 12
"""Numbers with no more bits than this, as ones and halves, fit into any dtype."""

OVERHEAD = 60
"""Calls beside two an element that a progress bar expects."""


class Subject(ABC):
    """What a check tests: a function, the derivative that is claimed for it, and what the check asks of the two.

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
    is_given : bool
        Whether the claim is numbers that are at hand, so that nothing can be asked for at other points.
    stands_alone : bool
        Whether the derivative gets the point itself, so that the function need not have been called there before.
    may_ignore_its_point : bool
        Whether people write functions of this sort that read other arrays than their argument.
    is_whole : bool
        Whether few calls give the claims for all elements, so that many can be judged together.
    inside : Format, optional
        What numbers are computed in on the way, where that is known to be coarser than what goes in and comes out.
    indices : mapping
        Name -> array of whole numbers that the function takes beside the point, as a framework's do: places in a leaf, perhaps.
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
    is_given = False
    inside: Format | None = None
    indices: Mapping[str, NDArray[np.intp]] = MappingProxyType({})
    stands_alone = False
    may_ignore_its_point = False

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls = 0

    def like_value(self, function: Callable[..., Any]) -> Callable[[Any], Any]:
        """Return what `value` would be of another function that is called likewise."""
        return function

    @abstractmethod
    def output(self, value: Any) -> Output:
        """Learn the form of the value."""

    @abstractmethod
    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Return the cotangents, one row each."""

    def apart(self, check: Check, output: Output) -> tuple[Floats, bool]:
        """Return further cotangents, that tell outputs apart which are lost beside others, and whether they are those of each output.

        ``output`` is the form of what differences are taken of.
        """
        del output
        return np.zeros((0, check.output.size)), False

    @abstractmethod
    def readings(self, check: Check, handed: Handed, cotangents: Floats, layout: Layout = as_given) -> list[Reading]:
        """Return the claimed gradients at a point, one per cotangent; the first has all findings."""

    def widened(self) -> Subject:
        """Return what asks for claims in double precision: seeds that have the form of the output are in float64 then too."""
        return self

    def sample(self, check: Check, handed: Handed, cotangents: Floats, layout: Layout = as_given) -> list[Reading]:
        """Return one claim at a point, to be compared with the same at other points; the seed laid out like that."""
        return self.readings(check, handed, cotangents[:1], layout)

    def first_sample(self, check: Check, cotangents: Floats, first: list[Reading]) -> list[Reading]:
        """Return that claim at the given point, where the first claims are already known."""
        del check, cotangents
        return first[:1]

    def protocol(  # noqa: B027 - most kinds have nothing of their own
        self, check: Check, cotangents: Floats, first: list[Reading]
    ) -> None:
        """Check what this kind of derivative must keep beside its values."""

    def forecast(self, elements: int) -> int:
        """Return about how many calls of the function a check of so many elements takes."""
        return 2 * elements + OVERHEAD

    def claimed_changes(self, claims: dict[int, Claim], moves: Moves) -> Floats:
        """Return by about how much the functions change along moves of the leaves if the claims are right; shape (K,)."""
        changes = [
            np.linalg.norm(move[:, None] * claims[leaf].values, axis=0)
            for leaf, move in moves.items()
            if leaf in claims
        ]
        return np.asarray(np.linalg.norm(changes, axis=0))

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


@dataclass(frozen=True, slots=True)
class Reference:
    """The function computed better, of which differences are taken.

    Attributes
    ----------
    function : callable
        Called like the user's own, with floats widened to float64.
    is_optional : bool
        Whether differences may be taken of the user's own where this one fails or is another function.
    """

    function: Callable[..., Any]
    is_optional: bool = False


@dataclass(slots=True)
class Elsewhere:
    """A second point.

    Attributes
    ----------
    arrays : list of arrays
        The point: one array per leaf.
    value : array
        What the function gives there, as one vector.
    cotangents : array, shape (K, M)
    claims : list of Reading
        What was claimed there.
    rounding : float
        The unit in the last place of the largest finite claim, in the dtype that it was computed in.
    same : list of int
        Leaves for which the same was claimed at the given point, once that is known.
    """

    arrays: list[NDArray[Any]]
    value: Floats
    cotangents: Floats
    claims: list[Reading]
    rounding: float = field(init=False)
    same: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        parts = [part for claim in self.claims for part in claim.values.values()]
        eps = max(self.claims[0].eps, float(np.finfo(np.float32).eps) if are_single(*parts) else 0.0)
        pieces = [block for part in parts for block in blocks(part)]
        self.rounding = eps * max((_largest(piece) for piece in pieces), default=0.0)


def are_single(*arrays: Floats) -> bool:
    """Tell whether finite numbers in float64 were computed in float32: all fit into it, and not all are round."""
    is_rough = False
    for block in (block for array in arrays for block in blocks(array)):
        values = block[np.isfinite(block)]
        if not (values == values.astype(np.float32)).all():
            return False
        mantissas = np.frexp(values)[0] * 2.0**ROUND_BITS
        is_rough |= bool((mantissas != np.rint(mantissas)).any())
    return is_rough


def _largest(values: Floats) -> float:
    """Return the largest of the finite absolute values."""
    return float(np.abs(values).max(initial=0.0, where=np.isfinite(values)))


@dataclass(frozen=True, slots=True)
class Roundoff:
    """By how much claims of one leaf change at points an ulp away: root mean square (K,), and that of each element (n, K)."""

    usual: Floats
    own: NDArray[np.float32]


class Check:
    """What a check is given, and what it has found so far."""

    def __init__(self, settings: Settings, point: Point, subject: Subject, reference: Reference | None = None) -> None:
        self.settings = settings
        self.point = point
        self.subject = subject
        self.reference = reference
        self.budget = Budget(settings.max_evaluations)
        self.faults: list[Finding] = []
        """What fails the check by itself."""
        self.remarks: list[Finding] = []
        """What does not."""
        self.untried: list[str] = []
        """Memory layouts that the functions refused."""
        self.rtol = settings.rtol or default_rtol(0.0)
        self.output = Output(subject.name)
        self.elsewhere: Elsewhere | None = None
        """What was claimed at another point, before anything was called at this one."""
        self.roundoff: dict[int, Roundoff] = {}
        """That of the claims, where it was measured."""
        self.readings = [Reading({i: np.broadcast_to(np.nan, leaf.value.size) for i, leaf in enumerate(point.leaves)})]
        """The claims; before they are known nothing."""
        self.judgements: dict[int, Judgement] = {}
        self.drawn: Floats = np.zeros((0, 0))
        """Cotangents of which all outputs are part."""
        self.cotangents: Floats = np.zeros((0, 0))
        """Through which the claims are judged: those drawn, and further ones; or one for each output."""
        self.is_each = False
        """Whether outputs are judged one by one."""
        self.probe: Probe | None = None
        self.base: Floats = np.zeros(0)
        """The function as seen through the cotangents, and what it gives at the point."""
        self.value: Floats = np.zeros(0)
        """What the function gave at the point, as one vector."""
        self.why_directions = ""
        """Why the elements are judged together, along random directions; empty where each is looked at."""

    def eps(self) -> float:
        """Return the largest epsilon of what goes in, comes out, or is known to be computed in on the way."""
        inside = self.subject.inside
        met = [self.output.eps, *(self.point.leaves[i].format.eps for i in self.point.free())]
        return max(met if inside is None else [*met, inside.eps])

    def find(self, code: str, message: str, *, where: str = "", fatal: bool = False, **evidence: Any) -> None:
        """Add a finding, each kind once a place; a fatal one fails the check by itself."""
        if (code, where) not in {(known.code, known.where) for known in self.faults + self.remarks}:
            finding = Finding(code=code, message=message, where=where, evidence=evidence)
            (self.faults if fatal else self.remarks).append(finding)
