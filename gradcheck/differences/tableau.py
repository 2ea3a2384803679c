"""The limit of differences at shorter and shorter steps, and its error bound.

Richardson extrapolation with Ridders' error estimate, for first and second derivatives alike. Arrays have shape (m, J, K):
elements, levels, functions.

Source: C. Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", Advances in Engineering Software 4 (1982).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats

__all__ = ["at_level", "extrapolate", "settle"]


def extrapolate(sequence: Floats, shrink: Floats) -> Floats:
    """Remove the leading error term, which falls by the factor ``shrink``, shape (m, J - 1, 1), from level to level.

    The first entry is kept as it is, so that level ``j`` never uses steps shorter than the ``j``-th.
    """
    better = sequence.copy()
    better[:, 1:] += (sequence[:, 1:] - sequence[:, :-1]) / (shrink - 1)
    better[:, 1:] = np.where(np.isfinite(sequence[:, :-1]), better[:, 1:], sequence[:, 1:])
    return better


def settle(
    sequence: Floats, noise: Floats, more: Floats | float = 0.0
) -> tuple[Floats, Floats, Floats, NDArray[np.intp]]:
    """Choose the level of least bound.

    The bound of a level is its distance to the level before, plus its noise, plus ``more``. If a finer level differs by more
    than its own noise, or shows a kink, the bound reaches to the far end of that level's interval.

    Returns
    -------
    value, bound, noise : arrays, shape (m, K)
    level : array of int, shape (m, K)
    """
    bound = np.full_like(sequence, np.inf)
    bound[:, 1:] = np.abs(np.diff(sequence, axis=1)) + noise[:, 1:]
    bound += more
    bound = np.where(np.isfinite(bound), bound, np.inf)
    kinked = more > noise
    explained, reach = np.where(kinked, -np.inf, noise), noise + np.where(kinked, more, 0.0)
    for finer in range(1, sequence.shape[1]):
        level = slice(finer, finer + 1)
        distance = np.abs(sequence[:, :finer] - sequence[:, level])
        contradicts = distance > explained[:, level]
        bound[:, :finer] = np.fmax(bound[:, :finer], np.where(contradicts, distance + reach[:, level], 0.0))
    best = bound.argmin(axis=1)
    return at_level(sequence, best), at_level(bound, best), at_level(noise, best), best


def at_level(values: Floats, level: NDArray[np.intp]) -> Floats:
    """Return the entries of the chosen levels, shape (m, K)."""
    return np.asarray(values[np.arange(len(values))[:, None], level, np.arange(values.shape[2])])
