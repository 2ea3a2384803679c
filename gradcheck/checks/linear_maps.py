"""A user's linear map: called on fresh vectors, read, and measured for rounding, linearity and repeatability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.arrays import as_numpy, format_in, is_array, is_still
from gradcheck.functions.probe import Budget, calling
from gradcheck.functions.trees import Leaf, flatten

__all__ = ["CANCELLED", "MOST_ELEMENTS", "LinearMap", "UnfitError", "norm", "vector_like"]

Array = NDArray[Any]

NUDGE = 64
"""Epsilons by which a vector is scaled to see how the map rounds: too few for anything smooth to show."""

NOT_ROUNDING = 30.0
"""A difference this many times the measured rounding is not rounding."""

CANCELLED = 16.0
"""What a map loses of terms that cancel, as a saturated softmax does, is at most so many epsilons of the vector."""

MOST_ELEMENTS = 1000
"""Largest number of elements that are tested one by one; of more, this many are drawn at random."""


class UnfitError(Exception):
    """A map gave something that cannot be compared. Never leaves the package."""

    def __init__(self, code: str, message: str, shape: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.code, self.shape = code, shape


def vector_like(value: Any, argument: str) -> Leaf:
    """Read an array of floating-point or complex numbers that stands for a space.

    Raises
    ------
    InvalidArgument
        For anything else, for an empty array and for NaN or infinity.
    """
    if not isinstance(value, float | complex | np.number) and not is_array(value):
        raise InvalidArgument(f"{argument} is {described(value)}; an array of floats or complex was required.")
    (leaf,), _ = flatten(value, root=argument, argument=argument)
    if leaf.value.dtype.kind not in "fc" or not leaf.value.size:
        raise InvalidArgument(
            f"{argument} is an array of {leaf.value.dtype} with {leaf.value.size} elements; floats or complex numbers "
            "were required, at least one; convert it with astype(float)."
        )
    if not np.all(np.isfinite(leaf.value)):
        raise InvalidArgument(f"{argument} holds NaN or infinity; give finite numbers.")
    return leaf


@dataclass(slots=True)
class LinearMap:
    """A map between the spaces of two leaves.

    Attributes
    ----------
    noise : float
        By how much what it gives is off by its rounding, relative to its norm: measured.
    blur : array
        The same for each number that it gives, for a vector of length one.
    eps : float
        Machine epsilon of the coarsest floating-point numbers met.
    """

    name: str
    function: Callable[[Any], Any]
    domain: Leaf
    codomain: Leaf
    budget: Budget
    calls: int = 0
    noise: float = 0.0
    blur: Floats = field(default_factory=lambda: np.zeros(()))
    eps: float = float(np.finfo(np.float64).eps)

    def __post_init__(self) -> None:
        self.blur = np.zeros(self.codomain.value.shape)
        self.eps = max(self.eps, self.domain.format.eps, self.codomain.format.eps)

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw a vector of its domain."""
        value = self.domain.value
        drawn = rng.normal(size=value.shape)
        if value.dtype.kind == "c":
            drawn = drawn + 1j * rng.normal(size=value.shape)
        return self.rounded(drawn)

    def rounded(self, vector: Array) -> Array:
        """Round a vector to the dtype of the domain, in double precision."""
        return _double(self.domain.format.rounded(np.asarray(vector)))

    def __call__(self, vector: Array) -> Array:
        """Apply it to a fresh copy of a vector; return what came back in double precision."""
        kept = np.array(vector, dtype=self.domain.value.dtype)
        handed = self.domain.restore(kept.copy())
        self.budget.spend()
        self.calls += 1
        with calling(self.name, f"with a vector like {self.domain.name}{self._order()}"):
            given = self.function(handed)
        if not is_still(handed, kept):
            raise UnfitError("inputs-changed", f"{self.name} changed its argument in place")
        return self._read(given)

    def _order(self) -> str:
        """Say what belongs to which map, where the first call of all shows whether the points are in the right order."""
        shapes = self.domain.value.shape, self.codomain.value.shape
        if self.calls > 1 or shapes[0] == shapes[1]:
            return ""
        return (
            f", of shape {shapes[0]}: matvec takes vectors like x and gives vectors like y, rmatvec the reverse; if the two "
            "points are swapped, call check_adjoint(matvec, rmatvec, x, y)"
        )

    def _read(self, given: Any) -> Array:
        like, name = self.codomain.value, self.codomain.name
        try:
            array = as_numpy(given)
        except (TypeError, ValueError, RuntimeError):
            array = np.empty(0, dtype=object)
        if array.dtype.kind not in "biufc":
            raise UnfitError("wrong-type", f"{self.name} returned {described(given)} that is no array of numbers")
        if array.shape != like.shape:
            message = f"{self.name} returned shape {array.shape}, but {name} has {like.shape}"
            raise UnfitError("wrong-shape", message, array.shape if self.name == "rmatvec" else ())
        if like.dtype.kind != "c" and array.dtype.kind == "c":
            if np.any(array.imag != 0):
                raise UnfitError("wrong-dtype", f"{self.name} returned {array.dtype}, but {name} is {like.dtype}")
            array = array.real
        if not np.all(np.isfinite(array)):
            raise UnfitError("not-finite", f"{self.name} returned NaN or infinity for a finite argument")
        self.eps = max(self.eps, format_in(given).eps)
        return _double(array.astype(np.complex128)) if like.dtype.kind == "c" else _double(array)

    def loses(self, vector: Array, image: Array, rtol: float) -> bool:
        """Tell whether the image of a vector lacks what the images of its elements add up to: large elements hide what small ones give."""
        if vector.size > MOST_ELEMENTS:
            return False
        total, unit = np.zeros_like(image), np.zeros_like(vector)
        for place in np.ndindex(*vector.shape):
            unit[place] = 1
            total = total + vector[place] * self(unit)
            unit[place] = 0
        return norm(total - image) > max(100 * self.eps, rtol) * max(norm(total), norm(image))

    def rounding(self, vector: Array, image: Array, weights: Array) -> float:
        """Return by how much rounding changes the product of an image with weights.

        As far as was measured, and by an epsilon at least, or by the distance of the smallest numbers that its dtype has.
        """
        share = self.eps if self.noise < 1 else 1.0
        least = float(np.finfo(self.codomain.format.dtype).smallest_subnormal)
        return norm(weights * np.hypot(np.maximum(share * np.abs(image), least), self.blur * norm(vector)))

    def measure(self, vectors: list[Array], images: list[Array], weights: Array, rtol: float) -> list[tuple[str, str]]:
        """Check that it is repeatable and linear, and measure its rounding.

        Parameters
        ----------
        vectors, images : lists of arrays
            What it was given before, and what it gave.
        weights : array, shape (len(vectors),)
            Vector ``k`` and the one after it are combined with the weights in their places.
        rtol : float
            The relative error that matters.

        Returns
        -------
        findings : list of (code, message)
        """
        findings = []
        scale = max(norm(images[0]), np.finfo(float).tiny)
        again = norm(self(vectors[0]) - images[0]) / scale
        if again > 10 * rtol:
            findings.append(
                ("second-call-differs", f"{self.name} gave something else, by {again:.2g}, when called again")
            )
        nudged = self.rounded(vectors[0] * (1 + NUDGE * self.eps))
        moved = np.abs(self(nudged) - images[0] * (1 + NUDGE * self.eps))
        self.noise, self.blur = norm(moved) / scale, moved / max(norm(nudged), np.finfo(float).tiny)
        allowed = max(100 * self.eps, rtol, NOT_ROUNDING * self.noise)
        worst, is_linear = 0.0, True
        for k in range(len(vectors)):
            pair = [k, (k + 1) % len(vectors)]
            vector = self.rounded(sum(weights[i] * vectors[i] for i in pair))
            combined = self(vector)
            terms = sum(np.abs(weights[i] * images[i]) for i in pair)
            defect = np.abs(combined - sum(weights[i] * images[i] for i in pair))
            relative = norm(defect) / max(norm(terms), np.finfo(float).tiny)
            lost = CANCELLED * self.eps * norm(sum(np.abs(weights[i] * vectors[i]) for i in pair))
            if relative > allowed and norm(defect) <= lost:
                self.noise = 1.0
                continue
            alone = (defect > allowed * terms) & (defect > 100 * np.median(defect) + 1000 * self.eps * terms + lost)
            is_linear &= relative <= allowed and not np.any(alone)
            worst = max(worst, float(np.max(defect)))
            self.noise = max(self.noise, min(relative, allowed))
            if relative <= allowed:  # else it is no rounding
                defect = np.where(alone, 0.0, defect / max(norm(vector), np.finfo(float).tiny))
                self.blur = np.maximum(self.blur, defect)
        if not is_linear:
            size = max(float(np.max(np.abs(image))) for image in images)
            apart = f"a combination of two vectors is off by {worst:.3g}, what it gives is up to {size:.3g}"
            findings.append(("not-linear", f"{self.name} is not linear: {apart}"))
        return findings


def norm(array: Array) -> float:
    """Return the Euclidean norm of all elements; without BLAS, whose threads cost more than they save here."""
    sizes = np.abs(array)
    largest = float(np.max(sizes, initial=0.0))
    return largest * float(np.sqrt(np.sum((sizes / largest) ** 2))) if 0 < largest < np.inf else largest


def _double(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
