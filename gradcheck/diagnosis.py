"""What a wrong gradient looks like: explanations of the whole parameter, each with its fit. None when none fits.

A candidate predicts the claim from the reference. Its fit is the share of the error that it explains; only one that
explains nearly all of it, and does so with no more freedom than one number, is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from gradcheck.report import Diagnosis

__all__ = ["diagnose"]

Floats = NDArray[np.float64]

LEAST_FIT = 0.99
FEWEST_ELEMENTS = 3
"""A ratio or a rearrangement of fewer numbers than this is no evidence."""

REARRANGEMENTS: list[tuple[str, str, Callable[[Floats], Floats]]] = [
    ("rotated", "rotated by 180 degrees", lambda a: a[..., ::-1, ::-1]),
    ("transposed", "transposed in its last two axes", lambda a: np.swapaxes(a, -1, -2)),
    ("flipped", "flipped along its last axis", lambda a: a[..., ::-1]),
    ("flipped", "flipped along its last but one axis", lambda a: a[..., ::-1, :]),
]


def diagnose(claimed: Floats, reference: Floats) -> tuple[Diagnosis, ...]:
    """Explain how a claimed gradient differs from the true one.

    Parameters
    ----------
    claimed, reference : arrays of one shape
        Of one parameter.

    Returns
    -------
    diagnoses : tuple of Diagnosis
        At most three, best first; empty when nothing explains the error or not everything is finite.
    """
    if not (np.all(np.isfinite(claimed)) and np.all(np.isfinite(reference))):
        return ()
    scale = max(float(np.max(np.abs(claimed), initial=0.0)), float(np.max(np.abs(reference), initial=0.0)))
    if scale == 0:
        return ()
    c, n = claimed / scale, reference / scale
    error = float(np.linalg.norm(c - n))
    found = []
    for kind, message, predicted, evidence in _candidates(c, n):
        fit = 1 - float(np.linalg.norm(c - predicted)) / error if error else 0.0
        if fit >= LEAST_FIT:
            found.append(Diagnosis(kind=kind, message=message, fit=fit, evidence=evidence))
    return tuple(sorted(found, key=lambda diagnosis: -diagnosis.fit)[:3])


def _candidates(c: Floats, n: Floats) -> Iterator[tuple[str, str, Floats, dict[str, float]]]:
    """Give kind, message, predicted claim and evidence of every explanation that could be told from chance."""
    if not np.any(c):
        yield "dropped", "the gradient is zero throughout; the true one is not", np.zeros_like(n), {}
        return
    if np.count_nonzero(n) < FEWEST_ELEMENTS:
        return
    ratio = float(np.vdot(n, c) / np.vdot(n, n))
    yield "constant-ratio", f"the gradient equals {_named(ratio, n.size)} the true one", ratio * n, {"ratio": ratio}
    if n.ndim < 2:
        if n.ndim == 1:
            yield "flipped", "the gradient equals the true one in reverse order", n[::-1], {}
        return
    for kind, words, rearrange in REARRANGEMENTS:
        moved = rearrange(n)
        if moved.shape == n.shape and not np.allclose(moved, n):
            yield kind, f"the gradient equals the true one {words}", moved, {}


def _named(ratio: float, size: int) -> str:
    """Say a ratio as people write it: -1, 1/2, 1/n."""
    if np.isclose(ratio, -1, rtol=1e-6):
        return "minus"
    inverse = 1 / ratio if ratio else np.inf
    if not np.isfinite(inverse):
        return f"{ratio:.6g} times"
    if np.isclose(inverse, round(inverse), rtol=1e-6) and 1 < abs(round(inverse)) < 10**6:
        note = f", n = {size} being the number of elements" if round(abs(inverse)) == size else ""
        return f"1/{round(inverse)} of{note}"
    return f"{ratio:.6g} times"
