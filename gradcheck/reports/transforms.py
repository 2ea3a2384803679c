"""The true gradient as a diagnosis says that it was changed, so that the claim can be seen beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.reports.symmetries import reshapes, shifts, symmetries

if TYPE_CHECKING:
    from gradcheck.reports.report import Diagnosis

__all__ = ["transformed"]


def transformed(diagnosis: Diagnosis, reference: Floats) -> tuple[str, Floats] | None:
    """Return the true gradient turned, reordered or scaled as a diagnosis says, and words for it.

    Parameters
    ----------
    diagnosis : Diagnosis
    reference : array
        The true gradient, NaN where it is not known.

    Returns
    -------
    shown : tuple of str and array, or None
        None where the evidence holds no such transform.
    """
    evidence = diagnosis.evidence
    if "move" in evidence:
        moves = (*symmetries(reference.shape), *reshapes(reference.shape), *shifts(reference.shape))
        apply = next((move.apply for move in moves if move.words == evidence["move"]), None)
        moved = None if apply is None else np.asarray(apply(reference[None])[0])
        words = f"true gradient {evidence['move']}"
    elif {"axis", "order"} <= evidence.keys():
        moved = np.take(reference, evidence["order"], axis=evidence["axis"])
        words = f"true gradient, its slices along axis {evidence['axis']} in another order"
    elif diagnosis.kind == "constant-ratio":
        moved, words = reference, "true gradient"
    else:
        return None
    ratio = float(evidence.get("ratio", 1.0))
    with np.errstate(over="ignore"):
        return None if moved is None else (words if ratio == 1 else f"{ratio:.6g} times the {words}", ratio * moved)
