"""How numbers are held: NumPy's own floats, and bfloat16, which NumPy has not and which is held in float32."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats

__all__ = ["BFLOAT16", "Format", "format_of"]


@dataclass(frozen=True, slots=True)
class Format:
    """A floating-point format.

    Attributes
    ----------
    name : str
        As its library calls it.
    dtype : dtype
        Of the arrays in which its numbers are held: wider than the format where NumPy has none for it.
    eps : float
        From one to the next larger number; 0 for integers.
    """

    name: str
    dtype: np.dtype[Any]
    eps: float

    def rounded(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers of the format that are nearest, in its dtype; complex numbers become the dtype alone."""
        return array if array.dtype == self.dtype else array.astype(self.dtype)

    def spacing(self, array: NDArray[Any]) -> Floats:
        """Return the distance from each number, once rounded, to the next one farther from zero."""
        return np.asarray(np.spacing(self.rounded(array)).astype(np.float64, copy=False))


class _BFloat16(Format):
    """The upper half of a float32: the same exponents, 7 bits of fraction instead of 23."""

    __slots__ = ()

    def rounded(self, array: NDArray[Any]) -> NDArray[Any]:
        """Round to nearest, ties to even, as hardware does."""
        single = np.array(array, dtype=np.float32)
        bits = single.view(np.uint32)
        up = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        finite = np.isfinite(single)
        np.copyto(bits, up & np.uint32(0xFFFF0000), where=finite)
        return single

    def spacing(self, array: NDArray[Any]) -> Floats:
        """Return that of float32 times two to the bits that are missing."""
        return np.asarray(np.ldexp(np.spacing(self.rounded(array)).astype(np.float64), 16))


BFLOAT16 = _BFloat16("bfloat16", np.dtype(np.float32), 2.0**-7)


@lru_cache(maxsize=32)  # asked for every array that a user's function gives, and its name takes 10 microseconds
def format_of(dtype: np.dtype[Any]) -> Format:
    """Return the format of one of NumPy's dtypes; integers have an epsilon of 0."""
    eps = float(np.finfo(dtype).eps) if dtype.kind in "fc" else 0.0
    return Format(str(dtype), dtype, eps)
