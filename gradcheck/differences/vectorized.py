"""Whether a function declared vectorised treats each entry along the leading axis as a separate point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.differences.lengths import FIRST_STEP, RATIO
from gradcheck.differences.noise import SUSPICIOUS
from gradcheck.errors import InvalidArgument
from gradcheck.functions.blocks import signed
from gradcheck.functions.displacements import Moves
from gradcheck.functions.probe import Probe

__all__ = ["elements", "require_rowwise", "require_same_alone"]

PLACES = np.array([1.0, -0.6137, 0.3719])
"""Three points along one direction. The value at the second differs from those at the others, from the mean and from sums."""

COMPARED = 0.618
"""Which row of a chunk is compared with the same point alone, as a share of the chunk: not in the middle, nor at an end."""


def require_rowwise(probe: Probe, lengths: dict[int, Floats], noise: Floats, rng: np.random.Generator) -> None:
    """Compare the value at a point among three with the value at that point alone, leaf by leaf.

    Only if the function is declared vectorised; ``noise`` is that of values measured one by one.

    Raises
    ------
    InvalidArgument
        Naming the leaf along whose axis the function mixes or drops points.

    Notes
    -----
    Costs 2 calls a leaf; 2 more at the edge of a domain.
    """
    if not probe.vectorized:
        return
    for leaf, scale in lengths.items():
        direction = scale * signed(scale.size, rng)
        for distance in FIRST_STEP * RATIO ** np.array([0.0, -3.0]):  # the nearer one where the function is not finite
            among = probe.ray({leaf: direction}, distance * PLACES)
            require_same_alone(probe, {leaf: direction}, distance * PLACES[1], among[1], noise)
            if np.isfinite(among).all():
                break


def require_same_alone(probe: Probe, direction: Moves, place: float, among: Floats, noise: Floats) -> None:
    """Compare the values of a vectorised function at a point among others with those at that point alone.

    Parameters
    ----------
    place : float
        The position of the point along the direction, a move of one leaf.
    among : array, shape (K,)
        The values there, with other points before and behind it along the axis.

    Raises
    ------
    InvalidArgument
        Naming the leaf.
    """
    if not probe.vectorized:
        return
    (leaf,) = direction
    _require_same(among, probe.one_by_one().ray(direction, np.array([place]))[0], noise, probe.point.leaves[leaf].name)


def elements(probe: Probe, leaf: int, indices: NDArray[np.intp], steps: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Displace single elements, as `Probe.elements` does.

    The first time in a leaf one point of the first chunk is compared with the same point alone, at one more call: the number of
    points may matter.

    Raises
    ------
    InvalidArgument
        Naming the leaf along whose axis the function mixes points.
    """
    values, moved = probe.elements(leaf, indices, steps)
    if probe.vectorized and leaf not in probe.compared and len(indices):
        probe.compared.add(leaf)
        row = int(COMPARED * min(len(indices), probe.chunk_length(leaf)))
        alone, _ = probe.one_by_one().elements(leaf, indices[row : row + 1], steps[row : row + 1])
        _require_same(values[row], alone[0], noise, probe.point.leaves[leaf].name)
    return values, moved


def _require_same(among: Floats, alone: Floats, noise: Floats, name: str) -> None:
    """Raise `InvalidArgument` where values for a point among others and alone differ by more than rounding."""
    is_same = np.abs(among - alone) <= SUSPICIOUS * noise
    if not (is_same | (np.isnan(among) & np.isnan(alone))).all():
        raise InvalidArgument(
            f"vectorized=True, but f gives {among[0]:.9g} for a point of {name} that is one of several along a leading "
            f"axis, and {alone[0]:.9g} for that point alone; each entry along the axis must be treated as a point of its "
            "own: reduce over the other axes only, or leave vectorized out."
        )
