"""Why elements are undecided that only seem noisy: the function stands still here, and changes only further away."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.rule import Judgement
from gradcheck.functions.points import Point
from gradcheck.reports.summary import NOISY

__all__ = ["Move", "stairs"]

Move = Callable[[str, Sequence[float]], tuple[NDArray[np.float64], NDArray[np.float64]] | None]
"""As in `gradcheck.diagnosis.Case`."""

SHORT = 1e-4
"""Short move of a parameter, in units of its elements' lengths: it changes any function that has a slope there, also one that is
rounded to single precision."""

SPACINGS = 16
"""Numbers of a parameter's dtype in such a move, at least: half precision stands still over it whatever the function does."""

LONG = (0.0137, -0.0411, 0.137, -0.0822)
"""Moves from which it is moved on by `SHORT`: a step function rarely jumps on the way, and any other changes."""

STILL = 0.5
"""Share of such short moves at which a step function stands still to the last bit; others never do."""

COARSE = 1e3 * float(np.finfo(np.float32).eps)
"""Changes below this share of the value may be those of single precision, whose stairs are noise."""


def stairs(
    point: Point, judgements: dict[int, Judgement], base: NDArray[np.float64], move: Move
) -> list[tuple[str, str]]:
    """Say of which parameters that noise leaves undecided the function is a step function, or flat.

    Parameters
    ----------
    point : Point
    judgements : dict
        Position of a leaf -> what was found about it.
    base : array, shape (K,)
        The values of the function at the point.
    move : callable
        As in `gradcheck.diagnosis.Case`.

    Returns
    -------
    found : list of (name, message)

    Notes
    -----
    Ten evaluations for each such parameter.
    """
    found = []
    for position, judgement in judgements.items():
        name = point.leaves[position].name
        resolved = point.leaves[position].format.eps < SHORT / SPACINGS
        undecided = judgement.limit[judgement.undecided] if resolved else np.zeros(0)
        if not len(undecided) or not np.isin(undecided, NOISY).any():
            continue
        moved = move(name, (SHORT, -SHORT, *LONG, *(share + SHORT for share in LONG)))
        if moved is not None:
            message = _described(name, moved[1], base)
            found += [(name, message)] if message else []
    return found


def _described(name: str, changes: NDArray[np.float64], base: NDArray[np.float64]) -> str:
    """Say what the changes of the function, shape (moves, values), show of it, if they do."""
    near, first, second = changes[:2], changes[2 : 2 + len(LONG)], changes[2 + len(LONG) :]
    still = np.concatenate([near == 0, first == second])
    if not changes.any():
        return (
            f"f does not change when {name} alone moves by up to {max(map(abs, LONG)):.0%} of its size, only further away, or with others, does it: "
            "it is flat here and its slope is 0, which is all that a check can see; move the point to where f changes"
        )
    if np.mean(still.all(axis=1)) < STILL or np.abs(changes).max() <= COARSE * np.abs(base).max():
        return ""
    return (
        f"f is a step function of {name}: it stands still at short moves and jumps at longer ones, as rounding does; its slope is 0, "
        "and a claim that follows the trend, a straight-through estimate, cannot be checked against it: freeze what is rounded, "
        "x + (round(x0) - x0), and check that"
    )
