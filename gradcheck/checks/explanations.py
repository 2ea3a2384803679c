"""From a finished check to the explanations in its report: gathers what a diagnosis may know, and asks for more of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.rule import Claim, Judgement, Limit
from gradcheck.aliases import Floats
from gradcheck.checks.check import Check
from gradcheck.checks.stairs import stairs
from gradcheck.diagnosis import Case, Clues, diagnose, explain_shape, forms_of
from gradcheck.differences.lengths import lengths_of
from gradcheck.functions.float_errors import at_our_own_points
from gradcheck.functions.points import Point
from gradcheck.functions.probe import BudgetExhaustedError, Probe
from gradcheck.reports.claims import Reading
from gradcheck.reports.report import Diagnosis

__all__ = ["explain", "explain_noise", "gather"]

Explanations = dict[str, tuple[Diagnosis, ...]]
Shape = tuple[int, ...]

MOST_AXES = 32
"""Arrays of more than this, of the 64 that NumPy allows, are laid out without those of size one: others are added here."""

LONG_MOVE = 1e-3
"""Share of its own length by which a parameter is moved to see which outputs depend on it."""

SEEN = 1e3
"""Units of rounding that an output must move by: so much is no rounding of a function of many operations."""

EPS = float(np.finfo(np.float64).eps)


def explain(
    check: Check,
    probe: Probe,
    base: Floats,
    reported: tuple[Point, list[Reading], dict[int, Judgement]],
) -> Explanations:
    """Explain the wrong parameters of a check.

    Parameters
    ----------
    check : Check
        The check.
    probe : Probe
        The function.
    base : array, shape (K,)
        Its values at the point.
    reported : (Point, list of Reading, dict)
        Point, claims and judgements in the form in which they are reported.

    Returns
    -------
    diagnoses : dict
        Name of a parameter -> what explains its claim, best first.

    Notes
    -----
    A right gradient costs nothing. A wrong one of a layer costs one more call of it and up to some eighty of its
    backward; a claim of the wrong shape the measurement of its parameter; a derivative that is zero throughout two calls.
    """
    point, readings, judgements = reported
    claims = _stacked(point, readings)
    if not any(_wrong(claims[point.leaves[i].name], found).any() for i, found in judgements.items()):
        return _explain_shapes(check, probe, base, point, readings)
    values = {
        leaf.name: np.asarray(leaf.value, dtype=np.float64).reshape(_shape(leaf.value)) for leaf in check.point.leaves
    }
    more: dict[str, Any] = {
        "indices": {
            **{leaf.name: leaf.value.astype(np.intp) for leaf in check.point.leaves if leaf.value.dtype.kind in "iu"},
            **check.subject.indices,
        },
        "move": lambda name, shares: _move(check, probe, base, name, shares),
        "rounding": np.maximum(probe.rounding(), np.abs(base) * EPS),
    }
    if check.subject.is_slope and check.value.size == 1:
        more["of_f"] = float(check.value.ravel()[0])
    if check.subject.pulls_back and check.output.is_bare:
        shape = _shape(check.output.leaves[0].value)
        more["dy"] = check.cotangents.reshape(len(check.cotangents), *shape)
        more["y"] = check.value.reshape(shape)
        more["pull"] = lambda cotangents: _pull(check, cotangents)
    elif check.subject.pulls_back and len(check.output.leaves) > 1:
        more["of_outputs"] = _of_outputs(check, check.cotangents)
        more["pull"] = lambda cotangents: _pull(check, cotangents)
        more["reach"] = lambda name, output: _reaches(check, probe, name, output)
    case = gather(*reported, values, **more)
    return diagnose(case) | _explain_shapes(check, probe, base, point, readings)


def explain_noise(check: Check, probe: Probe, base: Floats) -> None:
    """Say of which undecided parameters the function is a step function, whose jumps only look like noise."""
    if not check.subject.is_slope:  # where second differences stand still, the function need not
        return
    for name, message in stairs(check.point, check.judgements, base, lambda *asked: _move(check, probe, base, *asked)):
        check.find("step-function", message, where=name)


def gather(
    point: Point,
    readings: Sequence[Reading],
    judgements: dict[int, Judgement],
    values: dict[str, Floats],
    **more: Any,
) -> Case:
    """Lay out what a check found, parameter by parameter; the rest goes to `Case` as it is."""
    parameters = {}
    claims = _stacked(point, readings)
    for position, judgement in judgements.items():
        leaf = point.leaves[position]
        shape = (len(readings), *_shape(leaf.value))
        claimed = claims[leaf.name]
        reference, margin = _measured(claimed.reshape(len(readings), -1).T, judgement)
        parameters[leaf.name] = Clues(
            name=leaf.name,
            claimed=claimed,
            reference=reference.T.reshape(shape),
            margin=margin.T.reshape(shape),
            wrong=_wrong(claimed, judgement),
            kink=judgement.gap.T.reshape(shape) != 0,
            value=_laid_along(values, leaf.name, shape[1:]),
        )
    return Case(parameters, values, **more)


def _stacked(point: Point, readings: Sequence[Reading]) -> dict[str, Floats]:
    """Return the claims of each parameter that has one in all readings, shape (K, *shape), by name."""
    return {
        leaf.name: np.stack([reading.values[i] for reading in readings]).reshape(len(readings), *_shape(leaf.value))
        for i, leaf in enumerate(point.leaves)
        if readings and all(i in reading.values for reading in readings)
    }


def _shape(array: NDArray[Any]) -> Shape:
    """Return the shape in which an array is laid out."""
    return array.shape if array.ndim <= MOST_AXES else tuple(n for n in array.shape if n != 1)


def _wrong(claimed: Floats, judgement: Judgement) -> NDArray[np.bool_]:
    """Return where a claim (K, *shape) is wrong."""
    return np.asarray(judgement.wrong.T.reshape(claimed.shape) | np.isnan(claimed))


def _measured(claimed: Floats, judgement: Judgement) -> tuple[Floats, Floats]:
    """Return the reference and how far a right claim may be from it, as far as that was found out, shapes (n, K).

    Elements that were cleared together are right, to within what would have shown.
    """
    margin = np.where(np.isfinite(judgement.floor), judgement.floor, judgement.bound)
    together = np.isnan(judgement.reference) & (judgement.limit == Limit.NONE) & ~np.isnan(judgement.floor_along)
    return np.where(together, claimed, judgement.reference), np.where(together, judgement.floor_along, margin)


def _laid_along(values: dict[str, Floats], name: str, shape: Shape) -> Floats | None:
    """Return the parameter's value; for a Jacobian that of its one input, which is laid along its last axes."""
    value = values.get(name)
    if value is None and len(values) == 1:
        (value,) = values.values()
    return value if value is not None and shape[len(shape) - value.ndim :] == value.shape else None


# ---- asking for more -------------------------------------------------------------------------------------------------


def _pull(check: Check, cotangents: list[Floats]) -> list[dict[str, Floats]]:
    """Ask for the claims under other cotangents; nothing where the budget does not allow it."""
    if not cotangents:
        return []
    count = len(cotangents[0])
    rows = np.concatenate([cotangent.reshape(count, -1) for cotangent in cotangents])
    try:
        with at_our_own_points():  # such as the reciprocals of tiny outputs
            readings = check.subject.readings(check, check.point.hand(), rows)
    except BudgetExhaustedError:
        return []
    return [_stacked(check.point, readings[i : i + count]) for i in range(0, len(rows), count)]


def _move(check: Check, probe: Probe, base: Floats, name: str, shares: Sequence[float]) -> tuple[Floats, Floats] | None:
    """Move all elements of a leaf, neighbours in opposite ways; see `Case`."""
    free = check.point.free()
    leaf = next((i for i in free if check.point.leaves[i].name == name), free[0])
    value = check.point.leaves[leaf].value
    lengths = lengths_of(value)
    direction = np.where(np.arange(len(lengths)) % 2, -1.0, 1.0) * lengths
    try:
        values = probe.ray({leaf: direction}, np.asarray(shares))
    except BudgetExhaustedError:
        return None
    return np.multiply.outer(np.asarray(shares), direction).reshape(-1, *_shape(value)), values - base


def _of_outputs(check: Check, cotangents: Floats) -> dict[str, Floats]:
    """Part cotangents into those of each output."""
    ends = np.cumsum([leaf.value.size for leaf in check.output.leaves])[:-1]
    return {leaf.name: part for leaf, part in zip(check.output.leaves, np.split(cotangents, ends, axis=1), strict=True)}


def _reaches(check: Check, probe: Probe, name: str, output: str) -> bool:
    """Whether one of several outputs moves with a parameter."""
    parts = _of_outputs(check, check.cotangents)
    rows = np.concatenate([rows * (of == output) for of, rows in parts.items()], axis=1)
    alone, base = probe.with_cotangents(np.diag(rows)[:, None] if check.is_each else rows), rows @ check.value.ravel()
    moved = _move(check, alone, base, name, (-LONG_MOVE, LONG_MOVE))
    if moved is None:
        return False
    return bool((np.abs(moved[1][1] - moved[1][0]) > SEEN * np.maximum(alone.rounding(), np.abs(base) * EPS)).any())


def _explain_shapes(check: Check, probe: Probe, base: Floats, point: Point, readings: list[Reading]) -> Explanations:
    """Measure the derivatives where claims have the wrong shape, to see whether they are right in another form."""
    found = {}
    for position, leaf in enumerate(point.leaves):
        misfits = [reading.misfits[position] for reading in readings if position in reading.misfits]
        if not misfits or len(misfits) != len(readings) or len({array.shape for array in misfits}) != 1:
            continue
        if max(leaf.value.ndim, misfits[0].ndim) > MOST_AXES:
            continue
        claimed, shape = np.stack(misfits), (len(misfits), *leaf.value.shape)
        if not claimed.size or not leaf.value.size or not np.isfinite(claimed).all():
            continue
        forms = forms_of(claimed, leaf.value.shape, leaf.name)
        values = (forms[0].values if forms else np.zeros(shape)).reshape(len(base), -1).T
        claim = Claim(values, np.zeros(len(base)), readings[0].eps)
        judged = check.subject.judge(probe, base, {position: claim}, rtol=check.rtol, rng=check.settings.rng)[position]
        reference, margin = (part.T.reshape(shape) for part in _measured(values, judged))
        found[leaf.name] = explain_shape(claimed, reference, margin, leaf.name)
    return found
