"""The claim is a multiple of the gradient: nothing at all, a constant, or a value that occurs in the check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.diagnosis.candidates import REAL, SURE, Candidate
from gradcheck.diagnosis.clues import Bools, Case, Clues, Floats, Map
from gradcheck.diagnosis.movements import is_inert, is_stepped, observed
from gradcheck.diagnosis.numbers import name_ratio
from gradcheck.differences.steps import DEFAULT_STEP

__all__ = ["DROPPED", "absences", "factors", "is_multiple", "parametrisations", "ratio_of", "ratios"]

VISIBLE = 0.01
"""A derivative is zero where what its bound leaves open is no more than this share of the largest claim."""

OWN_VALUE: dict[str, tuple[Map, str]] = {
    "times-value": (lambda v: v, "times the parameter: d/d log({0}) where d/d {0} is asked"),
    "over-value": (lambda v: 1 / v, "divided by the parameter: d/d {0} where d/d log({0}) is asked"),
    "over-minus": (lambda v: -1 / v, "divided by minus the parameter: an inner derivative, minus {0}, is missing"),
    "over-exp": (lambda v: np.exp(-v), "divided by exp({0}): d/d exp({0}) where d/d {0}, a logarithm, is asked"),
    "times-exp": (np.exp, "times exp({0}): the factor of a logarithm's chain rule once too often"),
    "times-root": (lambda v: 2 * np.sqrt(v), "times 2 sqrt({0}): d/d sqrt({0}) where d/d {0} is asked"),
    "over-double": (lambda v: 0.5 / v, "divided by 2 {0}: d/d {0}**2 where d/d {0} is asked"),
    "times-square": (lambda v: -(v**2), "times minus {0}**2: d/d (1/{0}) where d/d {0} is asked"),
    "over-square": (lambda v: -1 / v**2, "divided by minus {0}**2: d/d {0} where d/d (1/{0}) is asked"),
    "log-one-plus": (lambda v: (1 + v) / v, "times (1 + {0}) / {0}: the slope of log({0}) where f has log(1 + {0})?"),
    "log": (lambda v: v / (1 + v), "times {0} / (1 + {0}): the slope of log(1 + {0}) where f has log({0})?"),
    "times-logit": (lambda v: v * (1 - v), "times {0} (1 - {0}): d/d logit({0}) where d/d {0} is asked"),
}
"""Another parametrisation, or another function of it: key -> the factor, and the words for it."""

ROUNDED = (
    "which stands still at short steps and jumps at longer ones, as rounding does; a claim that follows the trend, a straight-through "
    "estimate, cannot be checked against it: freeze what is rounded, x + (round(x0) - x0), and check that"
)

DROPPED = "the gradient is zero throughout; the true one is not: it was dropped"

FEW, SPREADS = 4, 4.0
"""Least number of quotients whose scatter tells how well their ratio is known, and its error bound in median deviations."""

SHARED = DEFAULT_STEP**2
"""The relative truncation error that all differences may share, as those of a sine do: no deviation shows it."""


def absences(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is zero throughout, or that the function does not depend on the parameter."""
    if not clues.claimed.any():
        nothing = np.zeros_like(clues.claimed)
        yield Candidate(kind="dropped", message=DROPPED, predicted=nothing, margin=clues.margin, is_observation=True)
        return
    seen = clues.used & (clues.margin < VISIBLE * np.abs(clues.claimed[clues.used]).max())
    wrong = clues.used & clues.wrong
    is_zero = (np.abs(clues.reference[seen]) <= clues.margin[seen]).all()
    is_known = 2 * np.count_nonzero(wrong & seen) >= np.count_nonzero(wrong)  # on a stair some are known less well
    if not is_zero or not is_known:
        return
    if is_stepped(case, clues.name):
        yield observed(
            clues,
            "step-function",
            f"the true gradient is zero throughout: f is a step function of {clues.name}, {ROUNDED}",
        )
    elif is_inert(case, clues.name):
        message = f"the true gradient is zero throughout: {clues.name} never influences the output at this point"
        yield observed(clues, "no-influence", message)


def ratio_of(clues: Clues, chosen: Bools) -> tuple[float, float] | None:
    """Fit ``claimed = ratio * reference`` to some elements; return the ratio and how well it is known."""
    chosen = chosen & (np.abs(clues.reference) > clues.margin)
    if not chosen.any():
        return None
    n, c, margin = clues.reference[chosen], clues.claimed[chosen], clues.margin[chosen]
    quotients, precision = c / n, margin / np.abs(n)
    weights = (precision.min() + 1e-16) ** 2 / (precision + 1e-16) ** 2
    ratio = float((weights * quotients).sum() / weights.sum())
    error = float(precision.min()) * (min(1.0, abs(ratio)) + abs(ratio))  # a small claim is rounded less
    if len(quotients) >= FEW:  # what is tolerated is more than what is unsure
        middle = _median(quotients)
        spread = SPREADS * _median(np.abs(quotients - middle)) + SHARED * abs(middle)
        ratio, error = (middle, spread) if spread < error else (ratio, error)
    return (ratio, error) if np.isfinite(ratio) and ratio else None


def _median(numbers: Floats) -> float:
    """Return the middle of numbers without NaN: of a few, in a tenth of the time that `numpy.median` takes."""
    ordered = np.sort(numbers)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def is_multiple(clues: Clues, template: Floats) -> bool:
    """Whether the true gradient is a multiple of an array of several numbers, so that a ratio says what that array would."""
    template = np.broadcast_to(template, clues.claimed.shape)
    used = clues.used & np.isfinite(template)
    if clues.claimed[0].size < 2 or not template[used].any():
        return False
    along = template[used] / float(np.abs(template[used]).max())
    true = clues.reference[used]
    multiple = float(along @ true) / float(along @ along)
    return bool((np.abs(true - multiple * along) <= 2 * clues.margin[used]).all())


def ratios(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is a constant multiple."""
    fitted = ratio_of(clues, clues.used)
    if fitted is None:
        return
    ratio, error = fitted
    named = name_ratio(ratio, error, case)
    yield Candidate(
        kind="constant-ratio",
        message=f"the gradient equals {named.words} the true one{named.note}",
        predicted=ratio * clues.reference,
        margin=abs(ratio) * clues.margin,
        cost=named.cost,
        most=SURE if named.cost < 3 else 3.0,
        key="ratio",
        factor=ratio,
        factor_error=error,
        evidence={"ratio": ratio},
    )


def parametrisations(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim is the gradient with respect to a function of the parameter."""
    del case
    if clues.value is None or clues.value.size == 0:
        return
    for key, (factor_of, words) in OWN_VALUE.items():
        factor = factor_of(clues.value)
        predicted, margin = factor * clues.reference, np.abs(factor) * clues.margin
        yield Candidate(
            kind="parametrisation",
            message=f"the gradient equals the true one {words.format(clues.name or 'it')}",
            predicted=predicted,
            margin=margin,
            cost=1.0,
            most=SURE if clues.value.size == 1 else 3.0,
            key=key,
        )
    yield from _inner(clues, clues.value)


def _inner(clues: Clues, value: Floats) -> Iterator[Candidate]:
    """Propose that the derivative of a square inside, any number times the parameter, is missing."""
    if value.size < 2 or (value == 0).any() or np.ptp(value) == 0:
        return
    over = replace(clues, reference=clues.reference / value, margin=clues.margin / np.abs(value))
    fitted = ratio_of(over, over.used)
    if fitted is None:
        return
    yield Candidate(
        kind="parametrisation",
        message=(
            f"the gradient equals the true one divided by {1 / fitted[0]:.6g} times the parameter: an inner derivative, that of a square, "
            "is missing?"
        ),
        predicted=fitted[0] * over.reference,
        margin=abs(fitted[0]) * over.margin,
        cost=REAL + 1.0,
        evidence={"factor": 1 / fitted[0]},
    )


def factors(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the claim lacks a factor, or has one too many, that is the value of another leaf."""
    others = [(name, value) for name, value in case.values.items() if name != clues.name]
    if case.y is not None:
        others.append(("y", case.y))
    laid = [(name, array, axis) for name, value in others for array, axis in _laid_along(value, clues.shape)]
    laid += _lengths(clues)
    for name, array, axis in laid:
        where = "" if axis is None else f" along axis {axis}"
        for kind, factor, words in (
            ("extra-factor", array, "times"),
            ("missing-factor", _inverse(array), "divided by"),
        ):
            predicted, margin = factor * clues.reference, np.abs(factor) * clues.margin
            yield Candidate(
                kind=kind,
                message=f"the gradient equals the true one {words} {name}{where}: {_moral(kind)}",
                predicted=predicted,
                margin=margin,
                cost=np.log10(2 * len(laid)),
                evidence={"factor": name},
            )


def _lengths(clues: Clues) -> Sequence[tuple[str, Floats, int | None]]:
    """Give the norms of the parameter's slices along each axis, broadcast along it: a normalisation divides by them."""
    found: list[tuple[str, Floats, int | None]] = []
    value = clues.value
    if value is None or value.shape != clues.shape or value.ndim < 2 or not np.isfinite(value).all():
        return []
    for axis, length in enumerate(value.shape):
        sizes = np.linalg.norm(np.moveaxis(value, axis, 0).reshape(length, -1), axis=1)
        found += [
            (f"the length of each slice of {clues.name}", array, at)
            for array, at in _laid_along(sizes, clues.shape)
            if at == axis
        ]
    return found


def _moral(kind: str) -> str:
    return "a factor too many" if kind == "extra-factor" else "a factor is missing"


def _inverse(array: Floats) -> Floats:
    return np.asarray(np.where(array == 0, np.nan, 1 / array))


def _laid_along(value: Floats, shape: tuple[int, ...]) -> Iterator[tuple[Floats, int | None]]:
    """Give an array in the ways in which it multiplies one of a shape: element by element, or along one axis."""
    if value.size < 2 or not np.isfinite(value).all() or np.ptp(value) == 0:
        return
    if value.shape == shape:
        yield value, None
    elif value.ndim == 1:
        for axis, length in enumerate(shape):
            if length == value.size:
                yield value.reshape([-1 if i == axis else 1 for i in range(len(shape))]), axis
