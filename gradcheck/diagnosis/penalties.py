"""The gradient is right but for a penalty, or the penalty is right and the gradient of the data is not."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import REAL, Candidate
from gradcheck.diagnosis.clues import Case, Clues, Floats, Map
from gradcheck.diagnosis.movements import has_jumps_beside, observed
from gradcheck.diagnosis.numbers import Named, as_known, name_ratio
from gradcheck.diagnosis.occurring import MOST
from gradcheck.diagnosis.projections import lacks_projection
from gradcheck.diagnosis.scale import is_multiple

__all__ = ["only_penalties", "penalties", "two_terms"]


def _inverse(value: Floats) -> Floats:
    return np.asarray(np.divide(1.0, value, out=np.full(value.shape, np.nan), where=value != 0))


TEMPLATES: dict[str, tuple[Map, str, str]] = {
    "weight-decay": (lambda value: value, "times the parameter", "weight decay (an L2 penalty)"),
    "l1-penalty": (np.sign, "times the parameter's sign", "an L1 penalty"),
    "log-term": (_inverse, "over the parameter", "a term in its logarithm (a barrier, a prior)"),
}
"""Kind -> what a penalty's gradient is proportional to, and words for it."""

OF_LENGTH, ROUND = "weight-decay", 2
"""What a missing projection looks like too, and the most digits of a strength as people choose it: a projection leaves any number."""

AS_CHOSEN = 1.0
"""Digits by which such a strength is the likelier cause."""

EITHER_SIGN = "log-term"
"""What is as often subtracted from `f` as added, so that its sign does not tell where it is missing."""


def _fit(target: Floats, columns: list[Floats], margin: Floats) -> tuple[Floats, Floats] | None:
    """Fit a vector by multiples of others, elements weighed by how well they are known; also how sure each is."""
    floor = np.max(np.abs(target)) * 1e-16 + np.finfo(float).tiny
    weights = np.min(margin + floor) / (margin + floor)
    matrix = np.stack([column * weights for column in columns], axis=1)
    sizes = np.linalg.norm(matrix, axis=0)
    if len(target) <= len(columns) or not np.all(np.isfinite(target)) or not np.all(np.isfinite(sizes) & (sizes > 0)):
        return None
    solution, _, rank, singular = np.linalg.lstsq(matrix / sizes, target * weights, rcond=None)
    if rank < len(columns) or singular[-1] < 1e-6:
        return None
    unsure = np.min(margin + floor) / (sizes * singular[-1])
    return solution / sizes, unsure


def penalties(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim differs from the gradient by a multiple of the parameter, or of its sign.

    Where that is one number throughout, an offset says it; where the true gradient is itself a multiple of it, a ratio does; and where
    the true gradient is at a right angle to the parameter, `f` has no penalty whose gradient could be missing.
    """
    del case
    used = clues.used
    if clues.value is None or not np.any(clues.value):
        return
    for key, (shape_of, words, name) in TEMPLATES.items():
        template = np.broadcast_to(shape_of(clues.value), clues.claimed.shape)
        is_flat = clues.claimed[0].size > 1 and np.ptp(template[0]) == 0
        fitted = _fit(clues.error[used], [template[used]], clues.margin[used])
        if fitted is None:
            continue
        strength, unsure = float(fitted[0][0]), float(fitted[1][0])
        is_projection = key == OF_LENGTH and lacks_projection(clues)
        if is_projection and strength < 0:
            continue
        is_round = abs(strength - float(f"{strength:.{ROUND}g}")) <= unsure
        size = as_known(abs(strength), unsure)
        what = f"{name} of strength {size}"
        if key == EITHER_SIGN:
            kind, cause = key, f"{what} is in f or in the gradient, and not in both"
        elif strength < 0:
            kind, cause = f"missing-{key}", f"{what} is missing"
        else:
            kind, cause = f"extra-{key}", f"{what} is in the gradient and not in f"
        yield Candidate(
            kind=kind,
            message=f"the gradient equals the true one {'less' if strength < 0 else 'plus'} {size} {words}: {cause}",
            predicted=clues.reference + strength * template,
            margin=clues.margin,
            cost=math.inf if is_flat else REAL - (AS_CHOSEN if is_projection and is_round else 0.0),
            key=key,
            factor=strength,
            factor_error=unsure,
            is_generic=is_multiple(clues, template),
            evidence={"strength": abs(strength)},
        )


def two_terms(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is a multiple of the gradient plus a multiple of the parameter.

    With ``true = data + strength * parameter`` a claim ``a * data + strength * parameter`` is
    ``a * true + (1 - a) * strength * parameter``.
    """
    used = clues.used
    if clues.value is None or not np.any(clues.value):
        return
    template = np.broadcast_to(clues.value, clues.claimed.shape)
    fitted = _fit(clues.claimed[used], [clues.reference[used], template[used]], clues.margin[used])
    if fitted is None:
        return
    (a, b), (unsure_a, unsure_b) = fitted[0], fitted[1]
    if abs(a) <= unsure_a:
        length = ""
        if abs(b) < MOST and abs(b - round(b)) <= unsure_b:
            length = next(iter(case.occurring.lengths.get(round(b), [])), "")
        yield Candidate(
            kind="penalty-only",
            message=(
                f"the gradient equals {as_known(b, unsure_b)} times the parameter{f' ({round(b)} is {length})' if length else ''}: that of a penalty, or "
                "of another sum of squares, alone; is the rest of f missing?"
            ),
            predicted=b * template,
            margin=clues.margin * 1e-3,
            cost=REAL,
            evidence={"strength": b},
        )
        return
    if abs(a - 1) <= unsure_a or abs(b) <= unsure_b:
        return
    named, strength = name_ratio(a, unsure_a, case), b / (1 - a)
    multiple = f"{'plus' if b > 0 else 'less'} {as_known(abs(b), unsure_b)} times the parameter"
    yield Candidate(
        kind="two-term",
        message=f"the gradient equals {named.words} the true one {multiple}: {_parted(named, as_known(strength, unsure_b / abs(1 - a)))}",
        predicted=a * clues.reference + b * template,
        margin=abs(a) * clues.margin,
        cost=named.cost + REAL,
        key="ratio",
        factor=float(a),
        factor_error=float(unsure_a),
        is_generic=strength <= 0,
        evidence={"ratio": float(a), "parameter": float(b), "strength": float(strength)},
    )


def _parted(named: Named, strength: str) -> str:
    """Say which part of the gradient is wrong, if the other is that of a penalty."""
    if float(strength) <= 0:
        return f"a multiple of the gradient and a multiple of the parameter{named.note}"
    size = "of the wrong sign" if named.words == "minus" else f"{named.words} what it should be{named.note}"
    return f"the data part is {size}, the penalty of strength {strength} is right"


def only_penalties(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that all slope that f has is that of a penalty, since the rest of it is a step function."""
    if clues.value is None or clues.value.shape != clues.shape or len(clues.claimed) > 1 or not np.all(clues.used):
        return
    fitted = _fit(clues.reference[clues.used], [clues.value[None][clues.used]], clues.margin[clues.used])
    if fitted is None:
        return
    strength = float(fitted[0][0])
    if np.any(np.abs(clues.reference - strength * clues.value) > 2 * clues.margin):
        return
    if has_jumps_beside(case, clues, strength):
        message = (
            f"the true gradient is {strength:.6g} times the parameter, that of a penalty alone: the rest of f is a step function, "
            "which has no slope; the claim follows its trend (a straight-through estimate?)"
        )
        yield observed(clues, "step-function", message)
