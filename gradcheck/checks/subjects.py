"""What a check tests: a function and the derivative that is claimed for it, here one that pulls cotangents back.

A subject gives the value of the function, the form of that value, the cotangents to read it through, and the claimed
gradients; and it knows the protocol that its own kind of derivative must keep.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Collection
from copy import copy
from functools import partial
from typing import Any

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.checks.check import Check, Subject
from gradcheck.checks.equalised import can_be_single, each_of, equalising
from gradcheck.checks.exchanged import is_marked, is_slope, note_on
from gradcheck.checks.protocol import examine_linearity, examine_zero
from gradcheck.checks.scalar import pair_of
from gradcheck.differences.counts import DOZEN
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.arrays import as_numpy, is_still
from gradcheck.functions.points import Handed, Layout, Output, Point, as_given
from gradcheck.functions.probe import calling
from gradcheck.functions.tangents import differentiable, read_tangent, tangent
from gradcheck.functions.trees import MISSING, align, arrays_in
from gradcheck.reports.claims import GRADIENT, Misfit, Reading, Words, read_gradient, unwrapped

__all__ = ["HvpSubject", "VjpSubject", "input_names", "require_floats", "spread"]


def input_names(forward: Callable[..., Any], count: int) -> list[str]:
    """Name the inputs as in the signature of the function, else x0, x1, ...."""
    fallback = [f"x{i}" for i in range(count)]
    try:
        parameters = inspect.signature(forward).parameters.values()
    except Exception:  # noqa: BLE001 - whatever the attributes of a callable raise
        return fallback
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names + fallback[len(names) :] if len(set(names) | set(fallback[len(names) :])) == count else fallback


def require_floats(output: Output) -> None:
    """Raise `InvalidArgument` where no number of the value can be differentiated."""
    if not output.leaves:
        raise InvalidArgument(
            f"{output.name} returned nothing that holds a number; an array, or a tree of them, was required."
        )
    if output.size and not any(leaf.value.dtype.kind == "f" for leaf in output.leaves):
        raise InvalidArgument(f"{output.name} returned no floating-point output; there is nothing to differentiate.")


def spread(f: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    """Call a function of several inputs."""
    return f(*inputs.values())


class PullbackSubject(Subject):
    """A function with outputs of any form, and something that pulls cotangents of them back."""

    optional = True
    pulls_back = True
    words = GRADIENT
    order = "vjp(dy, *inputs)"
    """How the derivative is called."""

    def __init__(self, function: Callable[..., Any], tree: Any, settings: tuple[str, ...] = ()) -> None:
        super().__init__(function)
        self.tree = tree
        self.settings = settings
        self.form: Output | None = None

    @abstractmethod
    def prepare(self, check: Check, tree: Any) -> Any:
        """Return what pulling back needs beside the cotangent: made at one point, used for several cotangents."""

    @abstractmethod
    def pull(self, seed: Any, prepared: Any) -> Any:
        """Call the derivative with one cotangent."""

    @abstractmethod
    def pull_exchanged(self, seed: Any, prepared: Any) -> Any:
        """Call it with the cotangent in the other place."""

    def output(self, value: Any) -> Output:
        """Learn the form of the output."""
        self.form = Output.of(value, self.name)
        require_floats(self.form)
        return self.form

    def seed_of(self, row: Floats, layout: Layout = as_given) -> Any:
        """Return a cotangent as the user gets it, fresh."""
        assert self.form is not None  # noqa: S101 - output() comes first; tells the type checker
        return self.form.like(row, layout)

    def widened(self) -> PullbackSubject:
        """Return a copy whose cotangents are float64."""
        assert self.form is not None  # noqa: S101 - output() comes first; tells the type checker
        wide = copy(self)
        wide.form = self.form.widened()
        return wide

    def seen(self, seed: Any) -> Floats:
        """Read a cotangent that the user got."""
        assert self.form is not None  # noqa: S101 - output() comes first; tells the type checker
        return self.form.read(seed)

    def cotangents(self, output: Output, rng: np.random.Generator) -> Floats:
        """Draw two cotangents, rounded to the dtype in which they are handed out."""
        return np.stack([self.seen(self.seed_of(row)) for row in rng.normal(size=(2, output.size))])

    def apart(self, check: Check, output: Output) -> tuple[Floats, bool]:
        """Return those of single outputs, where these are few and may be of different sizes; of many those in which each counts alike."""
        rows, is_known = equalising(check, output), check.elsewhere is not None
        if (len(rows) or not is_known) and 1 < output.size <= DOZEN and can_be_single(check):
            return each_of(check.output), True
        return np.array([self.seen(self.seed_of(row)) for row in rows]).reshape(rows.shape), False

    def readings(self, check: Check, handed: Handed, cotangents: Floats, layout: Layout = as_given) -> list[Reading]:
        """Return the pulled-back cotangents at a point, in the order of the rows."""
        prepared = self.prepare(check, handed.tree)
        readings = self._read_each(check, [self.seed_of(row, layout) for row in cotangents], prepared)
        given = set().union(*(reading.values for reading in readings))
        for reading in readings:
            reading.handed += handed.named()
            # None beside products of other cotangents is that of one that a leaf has no part in.
            for leaf in given & reading.absent if self.optional else ():
                reading.values[leaf] = np.zeros(check.point.leaves[leaf].value.size)
                reading.absent.discard(leaf)
        return readings

    def _read_each(self, check: Check, seeds: list[Any], prepared: Any) -> list[Reading]:
        """Pull several cotangents back; where what was prepared serves one of them only, prepare it again and say so."""
        readings: list[Reading] = []
        for seed in seeds:
            try:
                readings.append(self._read(check, seed, prepared))
            except Exception:
                if not readings:
                    raise
                readings.append(self._read(check, seed, self.prepare(check, check.point.hand().tree)))
                message = f"{self.derivative} can be called once only: what {self.name} kept does not survive it"
                check.find("cache-changed", message, fatal=True)
        return readings

    def _read(self, check: Check, seed: Any, prepared: Any) -> Reading:
        self.calls += 1
        with calling(self.derivative, "at the given point", f"it is called {self.order}"):
            try:
                given = self.pull(seed, prepared)
            except Exception as error:
                note_on(error, {self._exchanged: lambda: self.fits(self._read_exchanged(check, seed, prepared))})
                raise
        reading = read_gradient(given, self.tree, check.point.leaves, optional=self.optional, words=self.words)
        reading.handed = [(self.seed, array) for array in arrays_in(seed)]
        return reading

    @property
    def _exchanged(self) -> str:
        return f"are the arguments of {self.derivative} swapped? It is called {self.order}; with {self.seed} in the other place"

    def _read_exchanged(self, check: Check, seed: Any, prepared: Any) -> Reading:
        given = self.pull_exchanged(seed, prepared)
        return read_gradient(given, self.tree, check.point.leaves, optional=self.optional, words=self.words)

    def fits(self, reading: Reading) -> bool:
        """Tell whether what was read has the form of gradients."""
        return bool(reading.values) and not any(finding.code != "coarse-dtype" for finding in reading.findings)

    def _examine_order(self, check: Check, row: Floats) -> None:
        """Say where the derivative takes its arguments in the other order, and is right so."""
        if not is_marked(check):
            return
        try:
            prepared = self.prepare(check, check.point.hand().tree)
            reading = self._read_exchanged(check, self.seed_of(row), prepared)
            if not self.fits(reading):
                return
            is_exchanged = is_slope(
                check,
                row,
                lambda steps: np.concatenate([v * steps[leaf] for leaf, v in reading.values.items() if leaf in steps]),
            )
        except Exception:  # noqa: BLE001 - whatever it makes of them
            return
        if is_exchanged:
            check.find("arguments-swapped", f"{self._exchanged} it gives the slope of {self.name}", fatal=True)

    def protocol(self, check: Check, cotangents: Floats, first: list[Reading]) -> None:
        """Check that it is linear in the cotangent, zero for zero, and changes nothing that it gets."""
        handed = check.point.hand()
        prepared = self.prepare(check, handed.tree)
        kept = [(array, as_numpy(array).copy()) for array in arrays_in(prepared)]
        weights = check.settings.rng.uniform(0.5, 1.5, size=2) * (1, -1)
        rows = [weights @ cotangents, np.zeros_like(cotangents[0])]
        seeds = [self.seed_of(row) for row in rows]
        combined, nothing = self._read_each(check, seeds, prepared)
        ignored = examine_zero(check, nothing, first[0])
        examine_linearity(check, cotangents, combined, first, weights, ignored)
        if not all(self._unchanged(seed, row) for seed, row in zip(seeds, rows, strict=True)):
            check.find(f"{self.role}-changed", f"{self.derivative} changed {self.seed} in place", fatal=True)
        changed = handed.changed()
        if changed:
            names = ", ".join(changed)
            check.find("inputs-changed", f"{self.derivative} changed its arguments in place: {names}", fatal=True)
        elif not all(is_still(array, copy) for array, copy in kept):
            message = f"{self.derivative} changed what {self.name} kept for it: called again it gives something else"
            check.find("cache-changed", message, fatal=True)
        self._examine_order(check, cotangents[0])

    def _unchanged(self, seed: Any, row: Floats) -> bool:
        try:
            return np.array_equal(self.seen(seed), self.seen(self.seed_of(row)), equal_nan=True)
        except InvalidArgument:  # its containers are no longer what they were
            return False


class VjpSubject(PullbackSubject):
    """A function of several inputs and its vector-Jacobian product."""

    derivative = "vjp"
    is_whole = True

    def __init__(
        self, f: Callable[..., Any], vjp: Callable[..., Any], inputs: dict[str, Any], settings: tuple[str, ...] = ()
    ) -> None:
        super().__init__(f, inputs, settings)
        self.vjp = vjp
        self.value = partial(spread, f)

    def like_value(self, function: Callable[..., Any]) -> Callable[[Any], Any]:
        """Return what calls another function with the inputs."""
        return partial(spread, function)

    def prepare(self, check: Check, tree: Any) -> Any:
        """Return the inputs themselves."""
        del check
        return tree

    def pull(self, seed: Any, prepared: Any) -> Any:
        """Call vjp with a cotangent and the inputs."""
        return by_name(self.vjp(seed, *prepared.values()), self.tree, self.derivative, self.settings)

    def pull_exchanged(self, seed: Any, prepared: Any) -> Any:
        """Call it with the inputs first."""
        return by_name(self.vjp(*prepared.values(), seed), self.tree, self.derivative, self.settings)


class HvpSubject(PullbackSubject):
    """A gradient and the product of the Hessian with a vector: since that is symmetric, a pull-back of the gradient."""

    name = "grad"
    derivative = "hvp"
    seed = "v"
    role = "vector"
    order = "hvp(x, v)"
    optional = False
    words = Words("its part of hvp(x, v)", "that of x")

    def __init__(self, grad: Callable[[Any], Any], hvp: Callable[[Any, Any], Any], x: Any, point: Point) -> None:
        super().__init__(grad, x)
        self.hvp = hvp
        self.point = point
        self.value = partial(_gradient_parts, grad, point, x)

    def seed_of(self, row: Floats, layout: Layout = as_given) -> Any:
        """Return a vector like x, fresh; zeros for what is held fixed."""
        return tangent(self.point, row, layout)

    def seen(self, seed: Any) -> Floats:
        """Read a vector that the user got."""
        return read_tangent(self.point, seed)

    def prepare(self, check: Check, tree: Any) -> Any:
        """Return the point itself."""
        del check
        return tree

    def pull(self, seed: Any, prepared: Any) -> Any:
        """Call hvp with a vector."""
        return self.hvp(prepared, seed)

    def pull_exchanged(self, seed: Any, prepared: Any) -> Any:
        """Call it with the vector first."""
        return self.hvp(seed, prepared)


def _gradient_parts(grad: Callable[[Any], Any], point: Point, x: Any, tree: Any) -> list[Any]:
    """Return the gradient: one array for each differentiable leaf."""
    given = grad(tree)
    pair = pair_of(given, x)
    if pair:
        raise InvalidArgument(f"grad returned {pair}; return the gradient alone.")
    given = unwrapped(given, x)
    entries, _ = align(x, MISSING if given is None else given)
    parts = []
    for i in differentiable(point):
        leaf = point.leaves[i]
        shape = None if entries[i] is MISSING or entries[i] is None else as_numpy(entries[i]).shape
        if shape != leaf.value.shape:
            raise InvalidArgument(
                f"grad returned {'nothing' if shape is None else f'shape {shape}'} for {leaf.name}, which has "
                f"shape {leaf.value.shape}; a gradient like x is required."
            )
        parts.append(entries[i])
    return parts


def by_name(given: Any, inputs: dict[str, Any], derivative: str, settings: Collection[str] = ()) -> Any:
    """Lay a returned tuple beside the names of the inputs; what does not fit is a `Misfit`.

    Gradients of ``settings`` may be left out.
    """
    asked = [name for name in inputs if name not in settings]
    if isinstance(given, tuple | list):
        for names in (list(inputs), asked):
            is_one = len(names) == 1 and isinstance(given, list)
            if len(given) == len(names) and not (is_one and unwrapped(given, inputs[names[0]]) is given):
                return dict.fromkeys(inputs) | dict(zip(names, given, strict=True))
    if len(asked) == 1 and not isinstance(given, tuple):
        return dict.fromkeys(inputs) | dict.fromkeys(asked, given)
    if given is None:
        return dict.fromkeys(inputs)
    what = f"{described(given)}{f' of {len(given)}' if isinstance(given, tuple | list) else ''}"
    listed = f" ({', '.join(asked)})" if len(asked) > 1 else ""
    return Misfit(f"{derivative} returned {what}; a tuple of {len(asked)}{listed} was required")
