"""Calling the user's function at displaced points: counted, bounded, and without sharing anything with it.

Every call gets fresh arrays of the user's own dtype, so the function may keep or even overwrite them. What comes
back is read as a vector of float64 and contracted with the cotangents of the check, so that a scalar function and
a layer with a thousand outputs look the same from here on: each point gives one number per cotangent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import InvalidArgument
from gradcheck.points import Output, Point

__all__ = ["Budget", "BudgetExhaustedError", "Moves", "Probe", "calling", "unit_of"]

Floats = NDArray[np.float64]
Moves = dict[int, Floats]
"""Position of a leaf -> by how much its elements are moved, shape (n,)."""

CHUNK_BYTES = 2**21
"""Perturbed copies that go through a vectorised function in one call: they should stay in the second-level cache."""

CHUNK_LENGTH = 256
"""And no more than this many, since the function's own intermediates grow with them."""


LARGEST_EXPONENT = 300
"""Functions whose value is beyond this power of two, or below its inverse, are counted in units of their own size."""


class BudgetExhaustedError(Exception):
    """``max_evaluations`` is used up. Never leaves the package."""


class calling:  # noqa: N801 - reads as a statement: with calling("f", "at x"):
    """Add a note to an exception of the user's function: who was called, and where."""

    def __init__(self, name: str, where: str) -> None:
        self.name = name
        self.where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, BudgetExhaustedError):
            error.add_note(f"gradcheck was calling {self.name} {self.where}")


@dataclass(slots=True)
class Budget:
    """Calls of the function made so far, and the most that may be made."""

    limit: int | None = None
    used: int = 0
    progress: Callable[[int], None] | None = None

    def spend(self) -> None:
        """Count one call, before it is made.

        Raises
        ------
        BudgetExhaustedError
            When that call would be one too many.
        """
        if self.limit is not None and self.used >= self.limit:
            raise BudgetExhaustedError
        self.used += 1
        if self.progress is not None:
            self.progress(self.used)

    @property
    def left(self) -> float:
        """How many calls may still be made."""
        return np.inf if self.limit is None else self.limit - self.used


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
    ) -> None:
        self.function = function
        self.point = point
        self.output = output
        self.cotangents = cotangents
        self.budget = budget
        self.vectorized = vectorized

    def with_cotangents(self, cotangents: Floats) -> Probe:
        """Return the same function and point, read through other cotangents."""
        return Probe(self.function, self.point, self.output, cotangents, self.budget, vectorized=self.vectorized)

    def read(self, value: Any) -> Floats:
        """Contract a value of the function with the cotangents; products are summed in float64."""
        with np.errstate(all="ignore"):
            return self.cotangents @ self.output.read(value)

    def rounding(self) -> Floats:
        """Return the standard deviation that rounding of the outputs to their dtype gives each product, shape (K,).

        A constant stretch of a coarse output shows no noise, and hides a slope all the same.
        """
        with np.errstate(all="ignore"):
            return np.asarray(np.sqrt(np.sum((self.cotangents * self.output.rounding()) ** 2, axis=1)))

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
        with np.errstate(all="ignore"):
            target = (start + steps).astype(original.dtype)
            moved = np.real(target - start).astype(np.float64)

        def displace(block: slice) -> NDArray[Any]:
            copies = np.repeat(original.reshape(1, -1), len(indices[block]), axis=0)
            copies[np.arange(len(copies)), indices[block]] = target[block]
            return copies.reshape(-1, *original.shape)

        return self._blocks(leaf, displace, indices), moved

    def imaginary(self, leaf: int, indices: NDArray[np.intp], steps: Floats) -> Floats:
        """Move single elements along the imaginary axis, and return the imaginary parts of the values, shape (P, K).

        Raises
        ------
        TypeError
            When a value is not complex.
        """
        original = self.point.leaves[leaf].value.astype(np.complex128)

        def displace(block: slice) -> NDArray[Any]:
            copies = np.repeat(original.reshape(1, -1), len(indices[block]), axis=0)
            copies[np.arange(len(copies)), indices[block]] += 1j * steps[block]
            return copies.reshape(-1, *original.shape)

        return self._blocks(leaf, displace, indices, part=self.output.imaginary)

    def ray(self, directions: Moves, lengths: Floats) -> Floats:
        """Move along one direction, all leaves named in ``directions`` together, by each of ``lengths``.

        Returns
        -------
        values : array, shape (P, K)
        """
        if self.vectorized and len(directions) == 1:
            ((leaf, direction),) = directions.items()
            return self._blocks(
                leaf, lambda block: self._moved(leaf, np.multiply.outer(lengths[block], direction)), lengths
            )
        rows = [self._call({i: self._moved(i, length * part) for i, part in directions.items()}) for length in lengths]
        return np.array(rows).reshape(len(lengths), -1)

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
        others = {i: move for i, move in start.items() if i != leaf}

        def displace(block: slice) -> NDArray[Any]:
            moves = np.repeat(start[leaf][None], len(shifts[block]), axis=0)
            moves[:, index] = shifts[block]
            return self._moved(leaf, moves)

        return self._blocks(leaf, displace, shifts, others)

    def _moved(self, leaf: int, moves: Floats) -> NDArray[Any]:
        """Return a leaf moved by ``moves``, shape (..., n), in its own dtype."""
        original = self.point.leaves[leaf].value
        with np.errstate(all="ignore"):
            moved = original + moves.reshape((*moves.shape[:-1], *original.shape))
            return np.asarray(moved).astype(original.dtype)

    def _blocks(
        self,
        leaf: int,
        displace: Callable[[slice], NDArray[Any]],
        rows: NDArray[Any],
        others: Moves | None = None,
        part: Callable[[Any], Any] = lambda value: value,
    ) -> Floats:
        """Evaluate displaced copies of one leaf, as many in a call as the function takes, the others moved as told."""
        others = others or {}

        def surroundings() -> dict[int, NDArray[Any]]:
            return {i: self._moved(i, move) for i, move in others.items()}

        length = len(rows)
        if not self.vectorized:
            copies = (np.asarray(displace(slice(p, p + 1))[0]) for p in range(length))
            return np.array([self._call({**surroundings(), leaf: copy}, part) for copy in copies]).reshape(length, -1)
        size = max(1, min(CHUNK_LENGTH, CHUNK_BYTES // max(1, self.point.leaves[leaf].value.nbytes)))
        blocks = [displace(slice(p, min(p + size, length))) for p in range(0, length, size)]
        values = [self._call_block(leaf, block, surroundings(), part) for block in blocks]
        return np.concatenate(values) if values else np.zeros((0, 1))

    def _call(self, replaced: dict[int, NDArray[Any]], part: Callable[[Any], Any] = lambda value: value) -> Floats:
        self.budget.spend()
        tree = self.point.tree(replaced)
        # The point is ours, not the user's: what the function thinks of it is no matter for a warning.
        with np.errstate(all="ignore"), calling(self.output.name, self._where(replaced)):
            value = self.function(tree)
        return self.read(part(value))

    def _call_block(
        self, leaf: int, block: NDArray[Any], others: dict[int, NDArray[Any]], part: Callable[[Any], Any]
    ) -> Floats:
        self.budget.spend()
        name = self.point.leaves[leaf].name
        tree = self.point.tree({**others, leaf: block})
        with np.errstate(all="ignore"), calling(self.output.name, f"with {len(block)} perturbed copies of {name}"):
            value = np.asarray(part(self.function(tree)))
        if value.shape != (len(block),):
            raise InvalidArgument(
                f"vectorized=True, but with {len(block)} copies of {name} along a leading axis f returned shape "
                f"{value.shape}; {(len(block),)} was required; broadcast over that axis or leave vectorized out."
            )
        return value.astype(np.float64)[:, None] * self.cotangents[:, 0]

    def _where(self, replaced: dict[int, NDArray[Any]]) -> str:
        names = ", ".join(self.point.leaves[i].name for i in replaced)
        return f"with {names} slightly displaced" if names else "at the given point"
