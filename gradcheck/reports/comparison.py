"""How far two gradients are apart, in numbers that mean the same whatever their size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.arrays import as_numpy
from gradcheck.functions.blocks import blocks, product
from gradcheck.functions.trees import MISSING, align, flatten

__all__ = ["Comparison", "Divergence", "compare", "divergence_of", "error_in_words"]

LARGEST, EPS = float(np.finfo(np.float64).max), float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """How far a claimed gradient is from a reference.

    All fields are finite wherever the arrays are; a ratio that overflows, or whose denominator alone is zero, is the
    largest float. Of two zero vectors the claim is right.

    Attributes
    ----------
    relative_error : float
        ``|claimed - reference| / |reference|``, Euclidean norms.
    cosine : float
        Of the angle between both; 0 where just one of them is zero.
    angle : float
        In degrees, accurate also near 0 and 180.
    norm_ratio : float
        ``|claimed| / |reference|``.
    sign_agreement : float
        Share of the elements with equal sign (-, 0, +).
    max_abs_error : float
        The largest difference of one element.
    digits : float
        To how many decimal digits both agree, as far as the reference can tell; between 0 and 15.95.
    """

    relative_error: float
    cosine: float
    angle: float
    norm_ratio: float
    sign_agreement: float
    max_abs_error: float
    digits: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two trees compared.

    Attributes
    ----------
    parameters : dict
        Name of each leaf -> its `Divergence`.
    total : Divergence
        Over all leaves together, as one long vector.
    """

    parameters: dict[str, Divergence]
    total: Divergence

    def __str__(self) -> str:
        """Return a table: one line for each parameter, and one for all together."""
        rows = {**self.parameters, **({"all together": self.total} if len(self.parameters) > 1 else {})}
        width = max(map(len, rows))
        return "\n".join(
            f"{name:<{width}}  {error_in_words(d.relative_error)}, angle {d.angle:.3g} degrees, "
            f"{f'norm ratio {d.norm_ratio:.3g}, ' if d.norm_ratio < LARGEST else ''}equal signs {d.sign_agreement:.0%}, {d.digits:.1f} digits"
            for name, d in rows.items()
        )


def error_in_words(relative: float) -> str:
    """Say a relative error; the largest float stands for one of a true gradient that is zero, or next to it."""
    if relative == LARGEST:
        return "true is zero"
    return f"relative error {relative:.2g}" if math.isfinite(relative) else "relative error unknown"


def compare(claimed: Any, reference: Any) -> Comparison:
    """Compare a claimed gradient with a reference; nothing is evaluated and nothing decided.

    Parameters
    ----------
    claimed, reference : tree
        Of the same structure and shapes. Integer and boolean leaves of ``reference`` are passed over.

    Returns
    -------
    Comparison

    Raises
    ------
    InvalidArgument
        When structure or shapes differ, or there is nothing to compare.

    Examples
    --------
    >>> import numpy as np
    >>> true = np.array([3.0, 4.0])
    >>> compare(true[::-1], true).total.angle.__round__(2)
    16.26
    """
    leaves, _ = flatten(reference, argument="reference")
    entries, mismatches = align(reference, claimed)
    if mismatches:
        first = mismatches[0]
        place = f" {first.where}" if first.where else ""
        raise InvalidArgument(f"claimed{place} {first.message}; both trees must have the same structure.")
    pairs: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    for leaf, entry in zip(leaves, entries, strict=True):
        if not leaf.is_differentiable:
            continue
        if entry is MISSING or entry is None:
            raise InvalidArgument(f"claimed lacks {leaf.name!r}; both trees must have the same structure.")
        try:
            given = as_numpy(entry)
            common = np.result_type(given.dtype, leaf.value.dtype, np.float64)  # both complex where one is
        except (TypeError, ValueError, RuntimeError):
            common = np.dtype(object)
        if common.kind not in "fc":
            raise InvalidArgument(f"claimed {leaf.name} is {described(entry)}; an array of numbers was required.")
        if given.shape != leaf.value.shape:
            raise InvalidArgument(
                f"claimed {leaf.name} has shape {given.shape}, reference has {leaf.value.shape}; "
                "both must have the same shape."
            )
        pairs[leaf.name] = (given.ravel().astype(common), leaf.value.ravel().astype(common))
    if not pairs:
        raise InvalidArgument("reference holds no floating-point array; there is nothing to compare.")
    return Comparison(
        parameters={name: divergence_of(*pair) for name, pair in pairs.items()},
        total=divergence_of(*(np.concatenate(side) for side in zip(*pairs.values(), strict=True))),
    )


def divergence_of(
    claimed: NDArray[Any], reference: NDArray[Any], *, resolution: NDArray[Any] | float = 0.0
) -> Divergence:
    """Compare two vectors.

    Parameters
    ----------
    claimed, reference : arrays, shape (n,)
    resolution : array, shape (n,), or float
        How well the reference is known; it limits `Divergence.digits`.
    """
    c, n = _unfold(claimed), _unfold(reference)
    if not c.size:
        return Divergence(
            relative_error=0.0,
            cosine=1.0,
            angle=0.0,
            norm_ratio=1.0,
            sign_agreement=1.0,
            max_abs_error=0.0,
            digits=_digits(0.0),
        )
    with np.errstate(all="ignore"):
        pairs = list(zip(blocks(c), blocks(n), strict=True))
        size_c, size_n = _norm(lambda: blocks(c)), _norm(lambda: blocks(n))
        # Halved, so that the difference of two huge numbers of opposite sign stays finite.
        apart = _norm(lambda: (a / 2 - b / 2 for a, b in pairs))
        relative = _ratio(apart, size_n, 2.0)
        if size_c[0] == 0 or size_n[0] == 0:
            same = size_c[0] == size_n[0]
            cosine, angle = (1.0, 0.0) if same else (0.0, 90.0)
        else:
            # From the chords: the scalar product has no digits left near 0 and 180 degrees.
            chord = opposite = 0.0
            for a, b in pairs:
                one, other = a / size_c[0] / size_c[1], b / size_n[0] / size_n[1]
                chord, opposite = chord + _square(one - other), opposite + _square(one + other)
            chord, opposite = math.sqrt(chord), math.sqrt(opposite)
            cosine = 1 - chord**2 / 2 if chord < opposite else opposite**2 / 2 - 1
            angle = math.degrees(2 * math.atan2(chord, opposite))
        largest = apart[0]
        unknown = resolution if isinstance(resolution, np.ndarray) else np.full(n.shape, resolution)
        limit = _ratio(_norm(lambda: (np.where(np.isfinite(u), u, 0.0) for u in blocks(unknown))), size_n)
        norm_ratio = _ratio(size_c, size_n, zero=1.0)
    return Divergence(
        relative_error=relative,
        cosine=cosine,
        angle=angle,
        norm_ratio=norm_ratio,
        sign_agreement=sum(int(np.count_nonzero(np.sign(a) == np.sign(b))) for a, b in pairs) / c.size,
        max_abs_error=2 * largest if not largest > LARGEST / 2 else LARGEST if math.isfinite(largest) else largest,
        digits=_digits(max(relative, limit) if math.isfinite(relative) else relative),
    )


def _unfold(array: NDArray[Any]) -> Floats:
    """Return a float64 vector; a complex one as real and imaginary parts."""
    flat = np.asarray(array).ravel()
    if flat.dtype.kind == "c":
        flat = np.concatenate([flat.real, flat.imag])
    return np.asarray(flat, dtype=np.float64)


def _norm(pieces: Callable[[], Iterable[Floats]]) -> tuple[float, float]:
    """Return the Euclidean norm of a vector in pieces as (largest element, factor), whose product might overflow."""
    largest = float(reduce(np.maximum, (np.abs(piece).max() for piece in pieces())))
    if largest == 0 or not math.isfinite(largest):
        return largest, 1.0
    return largest, _length(piece / largest for piece in pieces())


def _length(pieces: Iterable[Floats]) -> float:
    """Return the Euclidean norm of a vector in pieces, whose elements are about one at most."""
    return math.sqrt(sum(map(_square, pieces)))


def _square(vector: Floats) -> float:
    return float(product(vector, vector))


def _ratio(over: tuple[float, float], under: tuple[float, float], factor: float = 1.0, *, zero: float = 0.0) -> float:
    """Return ``factor * over / under``: ``zero`` for 0 / 0, and never more than the largest float."""
    if under[0] == 0 and not math.isnan(over[0]):
        return zero if over[0] == 0 else LARGEST
    value = float(np.float64(over[0]) / np.float64(under[0])) * (over[1] / under[1]) * factor
    return min(value, LARGEST) if math.isfinite(over[0]) else value


def _digits(relative: float) -> float:
    if math.isnan(relative):
        return relative
    return max(0.0, -math.log10(max(relative, EPS / 2)))
