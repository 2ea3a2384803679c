"""What only a layer can be told of its own derivative: it is missing, or taken at the wrong variable, or another one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from gradcheck.diagnosis.candidates import REAL, SURE, Candidate
from gradcheck.diagnosis.clues import Case, Clues, Floats, Map
from gradcheck.diagnosis.scale import is_multiple
from gradcheck.diagnosis.shapes import axes_in_words, reductions

__all__ = ["COUPLED", "OF_OUTPUT", "SLOPES", "activations", "upstream_sums"]


def _sigmoid(v: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-v)))


SLOPES: dict[str, Map] = {
    "1 - {0}**2": lambda v: 1 - v**2,
    "1 - tanh({0})**2": lambda v: 1 - np.tanh(v) ** 2,
    "{0} * (1 - {0})": lambda v: v * (1 - v),
    "sigmoid({0}) * (1 - sigmoid({0}))": lambda v: _sigmoid(v) * (1 - _sigmoid(v)),
    "sigmoid({0})": _sigmoid,
    "1 - exp(-{0})": lambda v: -np.expm1(-v),
    "1 / (1 + {0}**2)": lambda v: 1 / (1 + v**2),
    "cos({0})**2": lambda v: np.cos(v) ** 2,
    "1 + {0}**2": lambda v: 1 + v**2,
    "{0}": lambda v: v,
    "exp({0})": np.exp,
    "1 / {0}": lambda v: 1 / v,
    "2 * {0}": lambda v: 2 * v,
    "1 / (2 * {0})": lambda v: 0.5 / v,
    "1 / (2 * sqrt({0}))": lambda v: 0.5 / np.sqrt(v),
    "cos({0})": np.cos,
    "-sin({0})": lambda v: -np.sin(v),
    "cosh({0})": np.cosh,
    "sinh({0})": np.sinh,
    "1 / sqrt(1 - {0}**2)": lambda v: 1 / np.sqrt(1 - v**2),
    "1 / sqrt(1 + {0}**2)": lambda v: 1 / np.sqrt(1 + v**2),
    "sigmoid({0}) * (1 + {0} * (1 - sigmoid({0})))": lambda v: _sigmoid(v) * (1 + v * (1 - _sigmoid(v))),
    "1 / (1 + abs({0}))**2": lambda v: 1 / (1 + np.abs(v)) ** 2,
    "(1 - abs({0}))**2": lambda v: (1 - np.abs(v)) ** 2,
    "1 where {0} > 0, exp({0}) elsewhere": lambda v: np.where(v > 0, 1.0, np.exp(v)),
    "1 where {0} > 0, 1 + {0} elsewhere": lambda v: np.where(v > 0, 1.0, 1 + v),
    "1 where {0} > 0": lambda v: np.where(v > 0, 1.0, 0.0),
}
"""Derivatives of the usual activations, from their input or from their output."""

OF_OUTPUT = (
    "1 - {0}**2", "{0} * (1 - {0})", "{0}", "1 where {0} > 0", "1 where {0} > 0, 1 + {0} elsewhere", "1 - exp(-{0})",
    "cos({0})**2", "1 / (2 * {0})",
)  # fmt: skip
"""Those that layers take from their output: tanh, sigmoid, exp, ReLU, ELU, softplus, arctan, square root."""

AFTER_FACTORS = 2.0
"""Digits that the bare upstream in a parameter's sum costs, so that a missing factor which another leaf holds is named before it."""

OVER = " over axis "
"""Before the number of an axis that is not the last."""

COUPLED: dict[str, Callable[[Floats, Floats], Floats]] = {
    "{0} * (dy - sum(dy * {0})), a softmax's,": lambda dy, y: y * (dy - np.sum(dy * y, axis=-1, keepdims=True)),
    "dy - exp({0}) * sum(dy), a log-softmax's,": lambda dy, y: dy - np.exp(y) * np.sum(dy, axis=-1, keepdims=True),
}
"""Gradients of layers that are not elementwise, over the last axis, of which a wrong one may keep the elementwise part."""


def activations(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that the slope of an elementwise layer is missing, or that of something else."""
    if case.dy is None or case.dy.shape != clues.claimed.shape:
        return
    tiny = 1e-12 * np.abs(case.dy)
    yield Candidate(
        kind="activation-missing",
        message="the gradient equals the upstream itself: the layer's own derivative is missing",
        predicted=case.dy,
        margin=tiny + 1e-3 * clues.margin,
    )
    yield from _paths(clues, case.dy)
    if clues.value is None or case.y is None or clues.value.shape != case.y.shape:
        return
    variables = {clues.name: clues.value, "y": case.y}
    table = [
        (form, name, case.dy * slope(value)) for form, slope in SLOPES.items() for name, value in variables.items()
    ]
    coupled = list(_coupled(case.dy, case.y))
    right = [(form, name) for form, name, g in table + coupled if _is_close(g, clues.reference, clues)]
    for form, name, predicted in table + coupled:
        if (form, name) in right or not _is_close(predicted, clues.claimed, clues):
            continue
        for true_form, true_name in right or [("", "")]:
            forms = _with_axes(form, true_form)
            yield _slope(clues, predicted, forms[0], name, forms[1], true_name)


def _coupled(dy: Floats, y: Floats) -> Iterator[tuple[str, str, Floats]]:
    """Give the gradients of layers that are not elementwise, over each axis: a sum may be over the wrong one."""
    for axis in range(1, dy.ndim):
        where = f"{OVER}{axis - 1}" if axis < dy.ndim - 1 else ""
        for form, gradient in COUPLED.items():
            found = gradient(np.moveaxis(dy, axis, -1), np.moveaxis(y[None], axis, -1))
            yield form + where, "y", np.moveaxis(found, -1, axis)


def _with_axes(*forms: str) -> tuple[str, ...]:
    """Name the last axis too where another one is named beside it."""
    if not any(OVER in form for form in forms):
        return forms
    return tuple(f"{form} over the last axis" if form in COUPLED else form for form in forms)


def _paths(clues: Clues, dy: Floats) -> Iterator[Candidate]:
    """Propose that the path by which an input reaches the output as it is, or a share of it, is left out or taken twice."""
    used = clues.used & (dy != 0)
    if not np.any(used):
        return
    error, upstream = clues.error[used], dy[used]
    weights = np.abs(upstream) / (clues.margin[used] + 1e-16 * np.abs(error))
    weights = (weights / np.max(weights)) ** 2
    share = float(np.sum(weights * error / upstream) / np.sum(weights))
    if not math.isfinite(share) or not share:
        return
    size, sign = abs(share), "less" if share < 0 else "plus"
    is_one = math.isclose(size, 1, rel_tol=1e-6)
    yield Candidate(
        kind="missing-path" if share < 0 else "extra-path",
        message=(
            f"the gradient equals the true one {sign} {'' if is_one else f'{size:.6g} times '}the upstream: the path of a skip connection "
            f"{'is missing, or too small a part of it is there' if share < 0 else 'is counted twice, or does not belong'}"
        ),
        predicted=clues.reference + share * dy,
        margin=clues.margin,
        cost=REAL,
        is_generic=is_multiple(clues, dy),  # then a ratio says it
        evidence={"share": share},
    )


def _slope(clues: Clues, predicted: Floats, form: str, name: str, true_form: str, true_name: str) -> Candidate:
    """Say which slope was taken, and which is the right one where that is known."""
    taken = form.format(name)
    if form == true_form and name != true_name:
        kind = "wrong-variable"
        message = f"the slope is taken as {taken} where {true_form.format(true_name)} is right: "
        message += f"{name} in place of {true_name}"
    else:
        kind = "wrong-slope"
        message = f"the slope is taken as {taken}" + (
            f" where {true_form.format(true_name)} is right" if true_form else ""
        )
    return Candidate(
        kind=kind,
        message=message,
        predicted=predicted,
        margin=1e-12 * np.abs(predicted) + 1e-3 * clues.margin,
        cost=math.log10(2 * len(SLOPES)) + (0.0 if kind == "wrong-variable" else 0.1 if true_form else 0.2),
        most=SURE if np.unique(np.abs(clues.claimed)).size > 2 else 3.0,
    )


def _is_close(one: Floats, other: Floats, clues: Clues) -> bool:
    return bool(np.all((np.abs(one - other) <= 2 * clues.margin + 1e-9 * np.abs(other))[clues.used]))


def upstream_sums(clues: Clues, case: Case) -> Iterator[Candidate]:
    """Propose that a parameter's sum is over the upstream as it is, where the slope of the layer belongs in it."""
    if case.dy is None or case.dy.shape == clues.claimed.shape:
        return
    found = [*_summed(case.dy, clues.shape), *_products(case, clues)]
    if any(_is_close(predicted, clues.reference, clues) for _, predicted, _ in found):
        return  # the layer has no slope of its own
    for words, predicted, terms in found:
        yield Candidate(
            kind="activation-missing",
            message=f"the gradient equals {words}: the layer's own derivative is missing",
            predicted=predicted,
            margin=1e-12 * terms + 1e-3 * clues.margin,
            cost=math.log10(len(found)) + AFTER_FACTORS,
        )


def _summed(dy: Floats, shape: tuple[int, ...]) -> Iterator[tuple[str, Floats, Floats]]:
    """Sum an upstream to a parameter's shape, as that of a bias."""
    for axes in reductions(dy.shape[1:], shape):
        over = tuple(axis + 1 for axis in axes)
        total, terms = (np.sum(a, axis=over).reshape(len(dy), *shape) for a in (dy, np.abs(dy)))
        yield f"the sum of the upstream over {axes_in_words(axes)}", total, terms


def _products(case: Case, clues: Clues) -> Iterator[tuple[str, Floats, Floats]]:
    """Multiply an upstream with inputs to a parameter's shape, as that of the weights of a dense layer."""
    dy = case.dy
    if dy is None or dy.ndim < 3 or len(clues.shape) != 2:
        return
    flat = dy.reshape(len(dy), -1, dy.shape[-1])
    for name, value in case.values.items():
        if name == clues.name or value.ndim < 2 or value.shape[:-1] != dy.shape[1:-1]:
            continue
        rows = value.reshape(-1, value.shape[-1])
        product, terms = rows.T @ flat, np.abs(rows).T @ np.abs(flat)
        if product.shape[1:] == clues.shape:
            yield f"{name}.T @ dy", product, terms
        if product.shape[:0:-1] == clues.shape:
            yield f"dy.T @ {name}", np.swapaxes(product, 1, 2), np.swapaxes(terms, 1, 2)
