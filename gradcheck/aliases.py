"""Arrays as annotations call them."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bools", "Chosen", "Floats", "Indices"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]
Chosen = dict[int, Indices]
"""Position of a leaf -> some of its elements."""
