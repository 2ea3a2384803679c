"""Calling the user's function at displaced points: counted, bounded, and without sharing anything with it.

Every call gets fresh arrays of the user's own dtype, so the function may keep or even overwrite them. What comes
back is read as a vector of float64 and contracted with the cotangents of the check, so that a scalar function and
a layer with a thousand outputs look the same from here on: each point gives one number per cotangent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.errors import GradcheckError, InvalidArgument
from gradcheck.functions.arrays import as_numpy
from gradcheck.functions.displacements import Displacements, Elements, Line, Moves, Parts, Ray
from gradcheck.functions.float_errors import SILENT, as_the_user_set, silent
from gradcheck.functions.points import Output, Point
from gradcheck.functions.tasks import Evaluated
from gradcheck.functions.workers import WorkerPool, WorkersLostError

__all__ = ["CHUNK_LENGTH", "Budget", "BudgetExhaustedError", "Probe", "calling", "means_undefined", "quoted", "unit_of"]

CHUNK_BYTES = 2**21
"""Bytes of perturbed copies that go through a vectorised function in one call: they should stay in the second-level cache."""

CHUNK_LENGTH = 256
"""Most such copies in one call, since the function's own intermediates grow with them."""

FEWEST_TASKS, POINTS_IN_A_TASK = 32, 16
"""A batch that goes to workers is parted into at least so many tasks, where it has as many points; a task has no more
points than this. It depends on nothing else, so that calls are the same whatever the workers."""

LONGEST_QUOTED = 80
"""Characters of an exception's text that a report quotes."""

NOT_FINITE = "gave NaN or infinity"
"""What a function did that is not defined at a point and raises nothing."""

LARGEST_EXPONENT = 300
"""Functions whose value is beyond this power of two, or below its inverse, are counted in units of their own size."""


class BudgetExhaustedError(Exception):
    """``max_evaluations`` is used up. Never leaves the package."""


def means_undefined(error: BaseException) -> bool:
    """Tell whether an exception says that a function is not defined at a point, rather than that it is broken.

    So says arithmetic of its values, as of ``math.log(-1.0)``, and every library's ``LinAlgError``, as of a matrix that
    is not positive definite.
    """
    if isinstance(error, GradcheckError):
        return False
    is_linear_algebra = any(kind.__name__.endswith("LinAlgError") for kind in type(error).__mro__)
    return is_linear_algebra or isinstance(error, ArithmeticError | ValueError)


ARITY = re.compile(
    r"positional arguments?\b|unexpected keyword argument|must be Tensor, not (tuple|list)|called with \d+ arguments|expected PyTreeDef"
)
"""What Python and PyTorch say of a call with too few arguments, too many, or others."""


class calling:  # noqa: N801 - reads as a statement: with calling("f", "at x"):
    """Call a user's function as outside of the check, and note on an exception who was called, and where.

    Where the arguments do not fit, ``remedy`` says how others are handed over. ``is_ours``: the point is ours, see `at_our_own_points`.
    """

    def __init__(
        self,
        name: str,
        where: str,
        remedy: str = "further arguments are handed over by kwargs={...} or, of a gradient, args=(...); inputs one by one, in no tuple or dict",
        *,
        is_ours: bool = False,
    ) -> None:
        self.name = name
        self.where = where
        self.remedy = remedy
        self.float_errors = as_the_user_set(SILENT if is_ours else None)

    def __enter__(self) -> None:
        self.float_errors.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.float_errors.__exit__(kind, error, trace)
        if error is not None and not isinstance(error, BudgetExhaustedError):
            error.add_note(f"gradcheck was calling {self.name} {self.where}")
            if isinstance(error, TypeError) and ARITY.search(str(error)) and self.remedy not in error.__notes__:
                error.add_note(self.remedy)
            if isinstance(error, RuntimeError) and "does not require grad and does not have" in str(error):
                error.add_note(
                    "tensors are handed over as they were given: call requires_grad_() on those that autograd must record"
                )


class Budget:
    """Calls of the function made so far, the most that may be made, and why no more are.

    Attributes
    ----------
    used : int
    points : int
        At which the function was evaluated: more than the calls where it is vectorised.
    ended : BaseException or None
        What ended the evaluations before their time: lost workers, or Ctrl-C.
    undefined : Counter
        What the function did at displaced points, at which it is not defined -> how often.
    undefined_again : callable or None
        Evaluates the function again at the first of them.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.used = 0
        self.points = 0
        self.progress: Callable[[int], None] | None = None
        self.ended: BaseException | None = None
        self.undefined: Counter[str] = Counter()
        self.undefined_again: Callable[[], Floats] | None = None

    def spend(self, points: int = 1) -> None:
        """Count one call, before it is made, with so many points; raise `BudgetExhaustedError` when that would be one too many."""
        if self.limit is not None and self.used >= self.limit:
            raise BudgetExhaustedError
        self.used += 1
        self.points += points
        if self.progress is not None:
            self.progress(self.used)

    @property
    def left(self) -> float:
        """How many calls may still be made."""
        return np.inf if self.limit is None else self.limit - self.used

    @contextmanager
    def no_more_than(self, calls: float) -> Iterator[None]:
        """Run a block until it has spent this number of calls."""
        before, self.limit = self.limit, int(min(self.left, calls)) + self.used if calls < np.inf else self.limit
        try:
            yield
        except BudgetExhaustedError:
            if self.ended is not None or (before is not None and self.used >= before):
                raise
        finally:
            if self.ended is None:
                self.limit = before

    def end(self, reason: BaseException) -> None:
        """Allow no more calls."""
        self.ended = reason
        self.limit = self.used

    def pass_on_interrupt(self, report: Any) -> None:
        """Raise the `KeyboardInterrupt` that ended the evaluations, if one did, with the report attached."""
        if isinstance(self.ended, KeyboardInterrupt):
            self.ended.report = report  # type: ignore[attr-defined]
            raise self.ended

    @property
    def stopped(self) -> str:
        """Why the evaluations ended, if not by the bound, as a part of a sentence."""
        if isinstance(self.ended, KeyboardInterrupt):
            return "the check was interrupted"
        return "its evaluations were lost with the workers" if self.ended is not None else ""

    @contextmanager
    def until_exhausted(self) -> Iterator[None]:
        """Run a block as far as the evaluations go: to the bound, to the loss of the workers, or to Ctrl-C."""
        try:
            yield
        except BudgetExhaustedError:
            pass
        except KeyboardInterrupt as interrupt:
            self.end(interrupt)


def unit_of(base: Floats) -> Floats:
    """Return powers of two in which huge or tiny values are counted, so that no difference overflows; shape (K,)."""
    exponents = np.frexp(np.where(np.isfinite(base), base, 0.0))[1]
    return np.where(np.abs(exponents) > LARGEST_EXPONENT, np.ldexp(1.0, np.clip(exponents, -1000, 1000)), 1.0)


class Probe:
    """A function seen from one point.

    Parameters
    ----------
    function : callable
        ``function(tree)``; its value is read by ``output``.
    point : Point
        Where the derivatives are wanted.
    output : Output
        The form of the value.
    cotangents : array, shape (K, M)
        Each point gives ``K`` numbers, the products of these rows with the ``M`` outputs.
    budget : Budget
        Counts the calls.
    vectorized : bool
        Whether ``function`` takes a leading axis on one leaf and returns as many values.
    pool : WorkerPool, optional
        Who evaluates batches in place of this thread.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        point: Point,
        output: Output,
        cotangents: Floats,
        budget: Budget,
        *,
        vectorized: bool = False,
        pool: WorkerPool | None = None,
    ) -> None:
        self.function = function
        self.point = point
        self.output = output
        self.cotangents = cotangents
        self.budget = budget
        self.vectorized = vectorized
        self.pool = pool
        self.compared: set[int] = set()
        """Leaves in which a point of a chunk was compared with the same point alone."""

    def with_cotangents(self, cotangents: Floats) -> Self:
        """Return the same function and point, read through other cotangents."""
        return self._like(cotangents=cotangents)

    def one_by_one(self) -> Self:
        """Return the same, but with a call for every point."""
        return self._like(vectorized=False)

    def _like(self, **changed: Any) -> Self:
        other = object.__new__(type(self))  # `copy.copy` takes five times as long
        vars(other).update(vars(self), **changed)
        return other

    def read(self, value: Any) -> Floats:
        """Contract a value of the function with the cotangents; products are summed in float64."""
        return self._contract(self.output.read(value))

    def _contract(self, outputs: Floats) -> Floats:
        return self.cotangents @ outputs

    def rounding(self) -> Floats:
        """Return the standard deviation that rounding of the outputs to their dtype gives each product, shape (K,).

        A constant stretch of a coarse output shows no noise, and hides a slope all the same.
        """
        return np.asarray(np.sqrt(((self.cotangents * self.output.rounding()) ** 2).sum(axis=1)))

    # ---- where the points are -----------------------------------------------------------------------------------

    def elements(self, leaf: int, indices: NDArray[np.intp], steps: Floats) -> tuple[Floats, Floats]:
        """Displace single elements.

        Parameters
        ----------
        leaf : int
            Which leaf.
        indices, steps : arrays, shape (P,)
            Row ``p`` moves the element with flat index ``indices[p]`` by ``steps[p]``.

        Returns
        -------
        values : array, shape (P, K)
        moved : array, shape (P,)
            The displacements as they came out in the leaf's dtype.
        """
        original = self.point.leaves[leaf].value
        start = original.ravel()[indices]
        targets = self.point.leaves[leaf].format.rounded(start + steps)
        moved = (targets - start).astype(np.float64, copy=False)
        return self.values(Elements(leaf, indices, targets)), moved

    def imaginary(self, leaf: int, indices: NDArray[np.intp], steps: Floats) -> Floats:
        """Move single elements along the imaginary axis, and return the imaginary parts of the values, shape (P, K).

        Raises
        ------
        TypeError
            When a value is not complex.
        """
        return self.values(Elements(leaf, indices, self.point.leaves[leaf].value.ravel()[indices] + 1j * steps))

    def ray(self, directions: Moves, lengths: Floats) -> Floats:
        """Move along one direction, all leaves named in ``directions`` together, by each of ``lengths``.

        Returns
        -------
        values : array, shape (P, K)
        """
        return self.values(Ray(directions, lengths))

    def rays(self, directions: Iterable[Moves], lengths: Floats) -> Floats:
        """Move along several directions, which are taken one at a time, by each of ``lengths``.

        Returns
        -------
        values : array, shape (D, P, K)
        """
        values = [self.ray(direction, lengths) for direction in directions]
        return np.array(values).reshape(len(values), len(lengths), len(self.cotangents))

    def line(self, start: Moves, leaf: int, index: int, shifts: Floats) -> Floats:
        """Move all leaves by ``start`` and then one element along its own axis, to each of ``shifts``.

        Returns
        -------
        values : array, shape (P, K)
        """
        return self.values(Line(start, leaf, index, shifts))

    # ---- how they are evaluated ---------------------------------------------------------------------------------

    def values(self, batch: Displacements) -> Floats:
        """Evaluate a batch, here or wherever the pool is.

        Returns
        -------
        values : array, shape (P, K)
            NaN at displaced points where the function raises, or gives NaN or infinity. The values do not depend on the pool.
        """
        raised = self.budget.undefined.total()
        values = self._evaluated(batch)
        defined = np.isfinite(values)
        if defined.all() or not batch.leaves:
            return values
        undefined = ~defined.any(axis=1)  # of several functions some may be undefined everywhere
        if undefined.any():
            raised = self.budget.undefined.total() - raised
            self.budget.undefined += Counter({NOT_FINITE: int(np.count_nonzero(undefined)) - raised})
            if self.budget.undefined_again is None:
                row = int(undefined.argmax())
                self.budget.undefined_again = partial(self.evaluate, batch.rows(slice(row, row + 1)))
        return np.where(defined, values, np.nan)

    def _evaluated(self, batch: Displacements) -> Floats:
        if self.pool is None:
            return self.evaluate(batch)
        size = self._points_in_a_call(batch)
        calls = len(Parts(batch, size or 1))
        if calls <= 1:
            return self.evaluate(batch)
        if calls > self.budget.left:  # as in this thread: as far as it goes
            self._evaluated(batch.rows(slice(int(self.budget.left) * (size or 1))))
            raise BudgetExhaustedError
        tasks = Parts(batch, size or int(np.clip(len(batch) // FEWEST_TASKS, 1, POINTS_IN_A_TASK)))

        def received(number: int) -> None:
            for _ in range(1 if size else len(tasks[number])):
                self.budget.spend(len(tasks[number]) if size else 1)

        sent = _Sent(self._like(budget=Budget(), pool=None))
        nbytes = sum(leaf.value.nbytes for leaf in self.point.leaves) + self.cotangents.nbytes
        try:
            answers = self.pool.run(sent, tasks, received, nbytes)
        except WorkersLostError as lost:
            self.budget.end(lost)
            raise BudgetExhaustedError from lost
        self.budget.undefined.update(chain.from_iterable(raised for _, raised in answers))
        return np.concatenate([values for values, _ in answers])

    def _points_in_a_call(self, batch: Displacements) -> int:
        """Return how many points of a batch go through a vectorised function in one call; 0 where it gets no axis."""
        leaf = batch.lone_leaf()
        if not self.vectorized or leaf is None:
            return 0
        return self.chunk_length(leaf)

    def chunk_length(self, leaf: int) -> int:
        """Return how many copies of a leaf go through a vectorised function in one call, at most."""
        return max(1, min(CHUNK_LENGTH, CHUNK_BYTES // max(1, self.point.leaves[leaf].value.nbytes)))

    def evaluate(self, batch: Displacements) -> Floats:
        """Evaluate a batch in this thread, values of shape (P, K); NaN where the function raises at displaced points."""
        count, size = len(batch), self._points_in_a_call(batch)
        names = ", ".join([self.point.leaves[i].name for i in batch.leaves])
        if 0 < count <= size:
            return self._values_of_block(batch, names)
        values = np.empty((count, len(self.cotangents)))
        if size:
            for start in range(0, count, size):
                part = slice(start, start + size)
                values[part] = self._values_of_block(batch.rows(part), names)
            return values
        where = f"with {names} slightly displaced" if names else "at the given point"
        with calling(self.output.name, where, is_ours=True):
            function, point, read, spend = self.function, self.point, self._reader(), self.budget.spend
            is_imaginary = batch.is_imaginary
            for row in range(count):
                spend()
                try:
                    value = function(point.tree(batch.arrays(point, row)))
                except Exception as error:
                    if not names or not means_undefined(error):
                        raise
                    self.budget.undefined[f"raised {quoted(error)!r}"] += 1
                    values[row] = np.nan
                    continue
                values[row] = read(self.output.imaginary(value) if is_imaginary else value)
        return values

    def _reader(self) -> Callable[[Any], Floats]:
        """Return what reads and contracts values; a product with one number is no product of matrices."""
        if self.cotangents.shape[1] == 1 == self.output.size:
            column, read = self.cotangents[:, 0], self.output.read
            return lambda value: column * read(value)
        return lambda value: self._contract(self.output.read(value))

    def _values_of_block(self, block: Displacements, names: str) -> Floats:
        """Evaluate points in one call; where that raises, one by one, since only some of them may be undefined."""
        try:
            return self._call_block(block, names)
        except Exception as error:
            if not means_undefined(error):
                raise
            before = self.budget.undefined.total()
            values = self.one_by_one().evaluate(block)
            if self.budget.undefined.total() == before:  # it is the leading axis that the function cannot take
                raise
            return values

    def _call_block(self, block: Displacements, name: str) -> Floats:
        count = len(block)
        self.budget.spend(count)
        tree = self.point.tree(block.block(self.point))
        where = f"with {count} perturbed copies of {name} (vectorized=True)"
        with calling(self.output.name, where, is_ours=True):
            value = self.function(tree)
            if block.is_imaginary:
                value = self.output.imaginary(value)
            value = as_numpy(value)
        if value.shape != (count,):
            raise InvalidArgument(
                f"vectorized=True, but with {count} copies of {name} along a leading axis f returned shape "
                f"{value.shape}; {(count,)} was required; broadcast over that axis or leave vectorized out."
            )
        return value.astype(np.float64)[:, None] * self.cotangents[:, 0]


class _Sent:
    """What a worker does: evaluate points, and tell what the function raised at them."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe

    @silent
    def __call__(self, batch: Displacements) -> Evaluated:
        probe = self.probe._like(budget=Budget())  # noqa: SLF001 - of this module
        return Evaluated(probe.evaluate(batch), list(probe.budget.undefined.elements()))


def quoted(error: BaseException) -> str:
    """Quote an exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:LONGEST_QUOTED]}" if text else type(error).__name__
