"""Claims that are no arrays: sparse ones, and linear operators, written out in full."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.functions.arrays import as_numpy

__all__ = ["written_out"]

WRITERS = ("toarray", "to_dense", "todense")
"""What SciPy, PyTorch, and JAX and others call it."""


def written_out(claim: Any, shape: tuple[int, ...] | None = None) -> Any:
    """Write a sparse claim or a linear operator out; leave anything else as it is.

    A matrix that stands for an array of more or fewer axes is brought into its shape where the numbers keep their places:
    SciPy's sparse matrices and its operators have two axes always.

    Parameters
    ----------
    claim : object
        An operator has ``matvec`` and ``shape``; it is called once for each column.
    shape : tuple of int, optional
        The shape that is asked for; without it the matrix stays one.
    """
    writer = next((name for name in WRITERS if callable(getattr(claim, name, None))), None)
    if writer is not None and _is_sparse(claim):
        matrix = as_numpy(getattr(claim, writer)())
    elif callable(getattr(claim, "matvec", None)) and len(getattr(claim, "shape", ())) == 2:
        matrix = _multiplied_out(claim)
    else:
        return claim
    if shape is None:
        return matrix
    is_same = [n for n in matrix.shape if n != 1] == [n for n in shape if n != 1]
    return matrix.reshape(shape) if is_same or (matrix.ndim == 2 and _folds(matrix.shape, shape)) else matrix


def _is_sparse(claim: Any) -> bool:
    """Tell whether a thing that can be written out is no array of another sort that can be too."""
    layout = getattr(claim, "layout", None)
    return not isinstance(claim, np.ndarray) and str(layout) != "torch.strided"


def _multiplied_out(operator: Any) -> NDArray[Any]:
    rows, columns = operator.shape
    units = np.eye(columns)
    if not columns:
        return np.zeros((rows, 0))
    return np.stack([as_numpy(operator.matvec(unit)).reshape(rows) for unit in units], axis=1)


def _folds(matrix: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Tell whether the rows of a matrix are the first axes of a shape, in order, and its columns the others."""
    return any(
        matrix == (int(np.prod(shape[:i], dtype=int)), int(np.prod(shape[i:], dtype=int)))
        for i in range(len(shape) + 1)
    )
