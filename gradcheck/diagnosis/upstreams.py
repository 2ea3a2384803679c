"""What only asking backward again tells: it would be right for another upstream, so that is what it does to its own."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradcheck.diagnosis.candidates import Candidate
from gradcheck.diagnosis.clues import Case, Clues, Floats
from gradcheck.diagnosis.layers import COUPLED, OF_OUTPUT, SLOPES
from gradcheck.reports.symmetries import symmetries

__all__ = ["forgotten_outputs", "upstream_factors", "upstream_slices", "upstreams"]


def upstreams(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the layer would be right if it were given its upstream turned, transposed or flipped: it does that itself.

    A linear map of one axis that is the same at every place, a running sum or a convolution, has the adjoint that flips what goes in
    and what comes out. So a backward that is right with both flipped is the layer itself in place of its adjoint.
    """
    if case.dy is None or case.y is None or case.pull is None:
        return
    moves = symmetries(case.y.shape)
    if not moves:
        return
    inverse = {"rotated by 90": "rotated by 270", "rotated by 270": "rotated by 90"}
    back = {move.words: move for move in symmetries(clues.shape) if move.kind == "flipped"}
    pulled = case.pulled("symmetries", [move.apply(case.dy) for move in moves])
    for move, answers in zip(moves, pulled, strict=False):
        answer = answers.get(clues.name)
        if answer is None or answer.shape != clues.claimed.shape:
            continue
        words = next((move.words.replace(a, b) for a, b in inverse.items() if move.words.startswith(a)), move.words)
        yield _answered(
            clues,
            answer,
            kind="upstream-transformed",
            message=f"the layer pulls back its upstream {words}: the gradient of the upstream as it is would be right",
            cost=math.log10(2 * len(moves)),
            key=move.words,
            evidence={"upstream": words},
        )
        if move.words in back:
            yield _answered(
                clues,
                back[move.words].apply(answer),
                kind="upstream-transformed",
                message=f"backward is right with its upstream and its result {words} both: it does what forward does, not the adjoint",
                cost=math.log10(2 * len(moves)),
                key=f"{move.words}, both",
                evidence={"upstream": words, "result": words},
            )


def _answered(
    clues: Clues, answer: Floats, *, kind: str, message: str, cost: float, key: str, evidence: dict[str, object]
) -> Candidate:
    """Propose what would be so if the true gradient were that which backward gave for another upstream."""
    return Candidate(
        kind=kind,
        message=message,
        predicted=clues.claimed - (answer - clues.reference),
        margin=clues.margin,
        cost=cost,
        key=key,
        evidence=evidence,
    )


def upstream_factors(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that backward leaves out a factor of its upstream, or has one too many: another parameter, or an activation's slope.

    That explains gradients in which the factor is no longer seen, since sums and products came after it.
    """
    if case.dy is None or case.y is None or case.pull is None:
        return
    dy, y, shape = case.dy, case.y, case.y.shape
    asked: list[tuple[str, str, str, Floats]] = []
    with np.errstate(all="ignore"):
        for name, value in case.values.items():
            if value.ndim == 0 or not _broadcasts(value.shape, shape):
                continue
            asked += [
                ("missing-factor", f"times {name}", "that factor is missing", dy * value),
                ("extra-factor", f"over {name}", "that factor does not belong, or is applied twice", dy / value),
            ]
        for form in OF_OUTPUT:
            words, why = (
                f"times {form.format('y')}",
                "the activation's own derivative is missing, or another one was taken",
            )
            asked.append(("activation-missing", words, why, dy * SLOPES[form](y)))
        for form, gradient in COUPLED.items():
            words = form.format("y")
            asked.append(("activation-missing", f"as {words}", "that derivative is missing", gradient(dy, y)))
    asked = [one for one in asked if np.all(np.isfinite(one[3]))]
    pulled = case.pulled("factors", [upstream for *_, upstream in asked])
    for (kind, words, why, _), answers in zip(asked, pulled, strict=False):
        answer = answers.get(clues.name)
        if answer is not None and answer.shape == clues.claimed.shape:
            yield _answered(
                clues,
                answer,
                kind=kind,
                message=f"the gradient would be right for the upstream {words}: {why}",
                cost=math.log10(len(asked)),
                key=words,
                evidence={"upstream": words},
            )


def _broadcasts(shape: tuple[int, ...], onto: tuple[int, ...]) -> bool:
    """Whether an array can be multiplied with one of another shape without making it larger."""
    try:
        return np.broadcast_shapes(shape, onto) == onto
    except ValueError:
        return False


def upstream_slices(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the layer leaves out one slice of its upstream, uses no other, or counts it twice."""
    if case.dy is None or case.y is None or case.pull is None:
        return
    places = [
        (f"the {end} slice of its upstream along axis {axis}", _slice_mask(case.y.shape, axis, end))
        for axis in sorted({0, max(0, case.y.ndim - 2), max(0, case.y.ndim - 1)})
        for end in ("last", "first")
        if case.y.ndim and case.y.shape[axis] > 1
    ]
    weights = [weight for _, mask in places for weight in (1.0 - mask, mask, 1.0 - mask / 2)]
    answers = [answer.get(clues.name) for answer in case.pulled("slices", [weight * case.dy for weight in weights])]
    left_out = []
    for (words, _), without, only, half in zip(places, answers[::3], answers[1::3], answers[2::3], strict=False):
        if without is None or only is None or half is None:
            continue
        rounding = 1e-12 * np.abs(clues.claimed) + 1e-3 * clues.margin
        unchanged = [bool(np.all(np.abs(answer - clues.claimed) <= rounding)) for answer in (without, only)]
        if unchanged[0] and not unchanged[1]:
            left_out.append(words)
        elif unchanged[1] and not unchanged[0]:
            yield _seen_of_upstream(clues, f"backward uses only {words}", 0.0)
        yield Candidate(
            kind="upstream-slice",
            message=f"backward counts {words} twice",
            predicted=clues.claimed - (half - clues.reference),
            margin=clues.margin,
            cost=math.log10(2 * len(places)),
        )
    if left_out:
        is_border = len(left_out) == len(places)
        what = "the border of its upstream" if is_border else ", ".join(left_out)
        yield _seen_of_upstream(clues, f"backward leaves out {what}", 0.1)


def forgotten_outputs(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Say which of several outputs move with the parameter while backward does not depend on their upstream."""
    if case.pull is None or case.reach is None:
        return
    parts = case.of_outputs
    without = [
        np.concatenate([rows * (name != left_out) for name, rows in parts.items()], axis=1) for left_out in parts
    ]
    answers = [answer.get(clues.name) for answer in case.pulled("outputs", without)]
    rounding = 1e-12 * np.abs(clues.claimed) + 1e-3 * clues.margin
    names = [
        name
        for name, answer in zip(parts, answers, strict=False)
        if answer is not None and np.all(np.abs(answer - clues.claimed) <= rounding) and case.reach(clues.name, name)
    ]
    if 0 < len(names) < len(parts):
        which = f"output {names[0]}, which depends" if len(names) == 1 else f"outputs {', '.join(names)}, which depend"
        yield _seen_of_upstream(clues, f"backward leaves out the upstream of {which} on {clues.name}", 0.0)


def _seen_of_upstream(clues: Clues, message: str, cost: float) -> Candidate:
    """Say what changing the upstream showed."""
    return Candidate(
        kind="upstream-slice",
        message=message,
        predicted=clues.claimed,
        margin=1e-12 * np.abs(clues.claimed) + 1e-3 * clues.margin,
        cost=cost,
        is_observation=True,
        is_generic=True,
    )


def _slice_mask(shape: tuple[int, ...], axis: int, end: str) -> Floats:
    mask = np.zeros(shape)
    np.moveaxis(mask, axis, 0)[-1 if end == "last" else 0] = 1.0
    return mask
