"""Wrong gradients as data: each a check of one, the parameter to look at, and the kind of explanation that is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import gradcheck
from gradcheck import Report

Array = np.ndarray


@dataclass(frozen=True)
class Planted:
    """A wrong gradient.

    Attributes
    ----------
    name : str
    kinds : tuple of str
        The kinds of diagnosis that are true; one where they can be told apart.
    check : callable
        Makes the check.
    parameter : str
        Whose diagnosis is looked at.
    words : str
        What the message must say besides.
    right : callable or None
        Makes the check of the right gradient.
    """

    name: str
    kinds: tuple[str, ...]
    check: Callable[[], Report]
    parameter: str = "params"
    words: str = ""
    right: Callable[[], Report] | None = None

    def __str__(self) -> str:
        return self.name

    def first(self) -> tuple[str, str]:
        """Return kind and message of the first diagnosis, empty where there is none."""
        report = self.check()
        assert report.verdict == "fail", f"{self.name}: {report}"
        diagnoses = report.parameters[self.parameter].diagnoses
        return (diagnoses[0].kind, diagnoses[0].message) if diagnoses else ("", "")

    def is_met(self) -> bool:
        """Whether the first diagnosis is true."""
        kind, message = self.first()
        return kind in self.kinds and self.words in message


def smooth(
    shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[Callable[[Array], float], Callable[[Array], Array], Array]:
    """Return a function of an array whose gradient has no symmetry, that gradient, and a point."""
    a, b, x = rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=shape)
    x = np.where(np.abs(x) < 0.1, 0.5, x)
    return (
        lambda v: float(np.sum(a * np.sin(v) + b * v**2 / 2) + np.sum(a * v) ** 2 / 10),
        lambda v: a * np.cos(v) + b * v + np.sum(a * v) * a / 5,
        x,
    )


def _of_array(
    name: str, kinds: tuple[str, ...], shape: tuple[int, ...], seed: int, bug: Callable[..., Array], words: str = ""
) -> Planted:
    rng = np.random.default_rng([seed, *shape])
    f, grad, x = smooth(shape, rng)
    return Planted(
        f"{name} {shape} {seed}", kinds, lambda: gradcheck.check_gradient(f, lambda v: bug(grad(v), v), x), words=words
    )


SHAPES = [(7,), (4, 6), (5, 5), (4, 2, 3, 3), (3, 5, 4)]
MAPS = [(4, 6), (5, 5), (4, 2, 3, 3), (3, 5, 4)]
SQUARES = [(5, 5), (4, 2, 3, 3)]

RATIOS = {
    "minus": -1.0,
    "2 times": 2.0,
    "1/2 of": 0.5,
    "3 times": 3.0,
    "1/5 of": 0.2,
    "9/8 of": 9 / 8,
    "-2 times": -2.0,
}

MOVES = [
    ("rotated", "rotated by 180", lambda g, x: g[..., ::-1, ::-1], MAPS),
    ("rotated", "rotated by 90", lambda g, x: np.rot90(g, axes=(-2, -1)), SQUARES),
    ("transposed", "transposed", lambda g, x: np.swapaxes(g, -1, -2), SQUARES),
    ("transposed", "reshaped", lambda g, x: np.swapaxes(g, -1, -2).reshape(g.shape), [(4, 6), (3, 5, 4)]),
    ("transposed", "reshaped", lambda g, x: g.T.reshape(g.shape), [(4, 6), (3, 5, 4)]),
    ("flipped", "", lambda g, x: g[..., ::-1], SHAPES),
    ("flipped", "last but one", lambda g, x: g[..., ::-1, :], MAPS),
    ("shifted", "wrapping", lambda g, x: np.roll(g, 1, axis=-1), SHAPES),
    ("shifted", "zeros entering", lambda g, x: np.roll(g, 1, axis=-1) * (np.arange(g.shape[-1]) > 0), SHAPES),
    ("permuted", "exchanged", lambda g, x: g[[1, 0, *range(2, len(g))]], SHAPES),
    ("permuted", "", lambda g, x: g[[2, 0, 1, *range(3, len(g))]], [(7,), (4, 6), (5, 5), (4, 2, 3, 3)]),
    ("transposed", "1/2 of", lambda g, x: np.swapaxes(g, -1, -2) / 2, SQUARES),
    ("flipped", "-3 times", lambda g, x: -3 * g[..., ::-1], SHAPES),
    ("accumulated", "axis 0", lambda g, x: np.cumsum(g, axis=0), SHAPES),
    ("rotated", "minus", lambda g, x: -g[..., ::-1, ::-1], MAPS),
    ("repeated", "first slice", lambda g, x: np.broadcast_to(g[:1], g.shape), MAPS),
    ("repeated", "sum", lambda g, x: np.broadcast_to(g.sum(0), g.shape), SHAPES),
]

OWN = [
    ("absolute", "absolute value", lambda g, x: np.abs(g), MAPS),
    ("squared", "square", lambda g, x: g**2, SHAPES),
    ("sign-only", "sign", lambda g, x: np.sign(g), SHAPES),
    ("clipped", "at -0.3 and at 0.3", lambda g, x: np.clip(g, -0.3, 0.3), MAPS),
    ("clipped", "clipped at 0.3", lambda g, x: np.minimum(g, 0.3), MAPS),
    ("parametrisation", "d/d log", lambda g, x: g * x, SHAPES),
    ("parametrisation", "log", lambda g, x: g / x, SHAPES),
    ("parametrisation", "exp", lambda g, x: g / np.exp(x), SHAPES),
    ("parametrisation", "**2", lambda g, x: g / (2 * x), SHAPES),
    ("missing-weight-decay", "0.05", lambda g, x: g - 0.05 * x, SHAPES),
    ("extra-weight-decay", "0.3", lambda g, x: g + 0.3 * x, SHAPES),
    ("missing-l1-penalty", "0.2", lambda g, x: g - 0.2 * np.sign(x), SHAPES),
    ("two-term", "3 times", lambda g, x: 3 * (g - 0.1 * x) + 0.1 * x, SHAPES),
    ("two-term", "1/4 of", lambda g, x: (g - 0.7 * x) / 4 + 0.7 * x, SHAPES),
    ("penalty-only", "", lambda g, x: 0.1 * x, SHAPES),
    ("truncated", "float16", lambda g, x: g.astype(np.float16).astype(float), SHAPES),
    ("truncated", "whole numbers", lambda g, x: np.rint(g), [(4, 6), (4, 2, 3, 3)]),
    ("dropped", "zero", lambda g, x: np.zeros_like(g), SHAPES),
    ("constant-offset", "mean", lambda g, x: g - g.mean(), SHAPES),
]


def _edge(shape: tuple[int, ...]) -> Array:
    """Return where the border of the last two axes is."""
    inside = np.zeros(shape, dtype=bool)
    inside[..., 1:-1, 1:-1] = True
    return ~inside


def _last(shape: tuple[int, ...], axis: int) -> Array:
    mask = np.zeros(shape, dtype=bool)
    np.moveaxis(mask, axis, 0)[-1] = True
    return mask


PARTS = [
    ("zeroed", "last slice along axis 0", lambda g, x: np.where(_last(g.shape, 0), 0, g), MAPS),
    ("zeroed", "", lambda g, x: np.where(_last(g.shape, -1), 0, g), SHAPES),
    ("zeroed", "border", lambda g, x: np.where(_edge(g.shape), 0, g), [(5, 5), (4, 6), (3, 6, 6)]),
    ("zeroed", "", lambda g, x: np.where(np.sin(50 * x) > 0.3, 0, g), MAPS),
    ("zeroed", "negative", lambda g, x: np.where(x < 0, 0, g), MAPS),
    (
        "constant-ratio",
        "2 times the true one in the border",
        lambda g, x: np.where(_edge(g.shape), 2 * g, g),
        [(5, 5), (4, 6), (3, 6, 6)],
    ),
    ("constant-ratio", "negative", lambda g, x: np.where(x < 0, 0.1 * g, g), MAPS),
    ("constant-ratio", "off the diagonal", lambda g, x: np.where(np.eye(len(g)), g, 2 * g), [(5, 5)]),
    ("last-slice", "axis 0", lambda g, x: np.where(_last(g.shape, 0), g + np.cos(9 * x), g), MAPS),
    ("borders-only", "", lambda g, x: np.where(_edge(g.shape), g + np.cos(9 * x), g), [(5, 5), (6, 6), (3, 6, 6)]),
    ("slice-ratios", "", lambda g, x: g * np.linspace(0.5, 2, g.shape[0]).reshape(-1, *[1] * (g.ndim - 1)), MAPS),
]


def arrays(seed: int) -> Iterator[Planted]:
    """Give bugs in the gradient of one array."""
    for shape in SHAPES:
        for words, ratio in RATIOS.items():
            yield _of_array(words, ("constant-ratio",), shape, seed, lambda g, x, r=ratio: r * g, words)
        size = int(np.prod(shape))
        yield _of_array("mean", ("constant-ratio",), shape, seed, lambda g, x: g / g.size, f"1/{size} of")
    for kind, words, bug, shapes in [*MOVES, *OWN, *PARTS]:
        for shape in shapes:
            yield _of_array(f"{kind} {words}", (kind,), shape, seed, bug, words)
