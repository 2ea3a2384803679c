"""What a bug makes of a right gradient: pure functions of its arrays.

A change is given the right gradient of all leaves and names new arrays for some of them. What it draws (an element, a
mask) follows from the key, so that the same bug is in the same place at every call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.functions.trees import MISSING

__all__ = [
    "Change",
    "Scene",
    "at_one_element",
    "averaged",
    "borders_dropped",
    "by_parameter",
    "channels_permuted",
    "clipped",
    "copied_element",
    "decay_added",
    "decay_dropped",
    "drawn",
    "flushed",
    "in_half",
    "last_slice_dropped",
    "leafwise",
    "left_out",
    "masked",
    "mirrored",
    "nan_at_zero",
    "negative_dropped",
    "offset",
    "one_buffer",
    "one_fewer",
    "rotated",
    "scaled",
    "shifted",
    "stacked",
    "sum_for_mean",
    "swapped",
    "the_parameter",
    "transposed",
    "truncated",
    "with_parameter",
    "zero_at_zero",
]

Array = NDArray[Any]

DECAY = 0.01
"""Strength of a penalty that is dropped or doubled: the usual weight decay, and small beside most gradients."""

FEWEST = 8
"""A sum where a mean is asked is this many times too large where the first axis does not say how many."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a change may look at.

    Attributes
    ----------
    leaves : list of array
        The right gradient.
    index : int
        The leaf in which the bug is.
    parameter : array or None
        What that leaf is the gradient of, of the same shape; None where it is not known.
    key : int
        Seeds what is drawn.
    """

    leaves: list[Array]
    index: int
    parameter: Array | None
    key: int

    @property
    def gradient(self) -> Array:
        """The right gradient of the leaf."""
        return self.leaves[self.index]

    def rng(self) -> np.random.Generator:
        """Return a generator that draws the same at every call."""
        return np.random.default_rng(self.key)

    def twin(self) -> int | None:
        """Return another leaf of the same shape, if there is one."""
        others = (i for i, leaf in enumerate(self.leaves) if i != self.index and leaf.shape == self.gradient.shape)
        return next(others, None)


Change = Callable[[Scene], dict[int, Any]]
"""Gives new arrays for some leaves, by position; `MISSING` for one that is left out."""


def leafwise(change: Callable[[Array, Scene], Any]) -> Change:
    """Make a change of one leaf, in its own dtype."""

    def changed(scene: Scene) -> dict[int, Any]:
        gradient = scene.gradient
        with np.errstate(all="ignore"):
            return {scene.index: np.asarray(change(gradient.copy(), scene)).astype(gradient.dtype)}

    return changed


def with_parameter(change: Callable[[Array, Array], Any]) -> Change:
    """Make a change of one leaf that depends on the parameter; none where that is not known."""
    return leafwise(lambda g, scene: g if scene.parameter is None else change(g, scene.parameter))


def scaled(factor: float) -> Change:
    """Multiply one leaf."""
    return leafwise(lambda g, _: factor * g)


def at_one_element(change: Callable[[Array], Array]) -> Change:
    """Change one element, drawn among those that are not zero."""

    def changed(g: Array, scene: Scene) -> Array:
        order = scene.rng().permutation(g.size)
        seen = order[np.ravel(g)[order] != 0]
        for place in (*seen, *order)[:1]:
            g.flat[place] = change(g.flat[place])
        return g

    return leafwise(changed)


# ---- numbers ----------------------------------------------------------------------------------------------------------


@leafwise
def sum_for_mean(g: Array, scene: Scene) -> Array:
    """Multiply by how many there are: a sum over samples where a mean is asked."""
    del scene
    return g * (len(g) if g.ndim and len(g) > 1 else FEWEST)


@leafwise
def one_fewer(g: Array, scene: Scene) -> Array:
    """Divide by n - 1 where n is right."""
    del scene
    return g * (g.size / (g.size - 1)) if g.size > 1 else g


@leafwise
def offset(g: Array, scene: Scene) -> Array:
    """Add one small number to every element."""
    del scene
    return g + 1e-3 * (_size(g) or 1.0)


@leafwise
def clipped(g: Array, scene: Scene) -> Array:
    """Leave the clipping of gradients in."""
    del scene
    bound = 0.5 * np.max(np.abs(g), initial=0.0)
    return np.clip(g, -bound, bound)


@leafwise
def flushed(g: Array, scene: Scene) -> Array:
    """Take small elements for zero: those below the median."""
    del scene
    sizes = np.abs(g)
    return np.where(sizes < np.median(sizes), 0, g) if g.size else g


@leafwise
def drawn(g: Array, scene: Scene) -> Array:
    """Draw another gradient of the same size."""
    return (_size(g) or 1.0) * scene.rng().normal(size=g.shape)


# ---- places -----------------------------------------------------------------------------------------------------------


@leafwise
def transposed(g: Array, scene: Scene) -> Array:
    """Exchange the last two axes; where the shape would not fit, lay the numbers out again."""
    del scene
    return g.swapaxes(-1, -2).reshape(g.shape) if g.ndim > 1 else g


@leafwise
def rotated(g: Array, scene: Scene) -> Array:
    """Rotate the last two axes by 180 degrees."""
    del scene
    return g[..., ::-1, ::-1] if g.ndim > 1 else g


@leafwise
def mirrored(g: Array, scene: Scene) -> Array:
    """Reverse the last axis."""
    del scene
    return g[..., ::-1] if g.ndim else g


@leafwise
def shifted(g: Array, scene: Scene) -> Array:
    """Move every element one place on along the last axis, a zero entering."""
    del scene
    moved = np.zeros_like(g)
    if g.ndim:
        moved[..., 1:] = g[..., :-1]
    return moved if g.ndim else g


@leafwise
def channels_permuted(g: Array, scene: Scene) -> Array:
    """Take the slices along the first axis in another order."""
    del scene
    return np.roll(g, 1, axis=0) if g.ndim > 1 else g


@leafwise
def copied_element(g: Array, scene: Scene) -> Array:
    """Give one element the value of another."""
    if g.size > 1:
        target, source = scene.rng().permutation(g.size)[:2]
        g.flat[target] = g.flat[source]
    return g


@leafwise
def averaged(g: Array, scene: Scene) -> Array:
    """Give all slices along the first axis their mean."""
    del scene
    return np.broadcast_to(g.mean(axis=0), g.shape) if g.size and g.ndim else g


@leafwise
def last_slice_dropped(g: Array, scene: Scene) -> Array:
    """Leave out the last slice along the first axis."""
    del scene
    if g.ndim:
        g[-1:] = 0
    return g


@leafwise
def masked(g: Array, scene: Scene) -> Array:
    """Zero every other element, drawn."""
    return np.where(scene.rng().permutation(g.size).reshape(g.shape) % 2 == 0, 0, g) if g.size > 1 else g


@leafwise
def borders_dropped(g: Array, scene: Scene) -> Array:
    """Zero the border of the last two axes, or of the one there is."""
    del scene
    kept = np.zeros_like(g)
    inner: Any = (..., *[slice(1, -1)] * min(g.ndim, 2))
    kept[inner] = g[inner]
    return kept if g.ndim else g


# ---- types and structure ----------------------------------------------------------------------------------------------


@leafwise
def in_half(g: Array, scene: Scene) -> Array:
    """Pass through half precision."""
    del scene
    return g.astype(np.float16)


def truncated(scene: Scene) -> dict[int, Any]:
    """Return whole numbers."""
    with np.errstate(all="ignore"):
        return {scene.index: np.trunc(np.nan_to_num(scene.gradient)).astype(np.int64)}


def stacked(scene: Scene) -> dict[int, Any]:
    """Leave out the sum over an axis along which the parameter was broadcast."""
    return {scene.index: np.stack([scene.gradient, scene.gradient])}


def left_out(scene: Scene) -> dict[int, Any]:
    """Give no gradient."""
    return {scene.index: MISSING}


def swapped(scene: Scene) -> dict[int, Any]:
    """Exchange the gradients of two parameters of the same shape."""
    twin = scene.twin()
    return {} if twin is None else {scene.index: scene.leaves[twin].copy(), twin: scene.gradient.copy()}


def one_buffer(scene: Scene) -> dict[int, Any]:
    """Compute the gradients of two parameters into one array, so that both are that of the later one."""
    twin = scene.twin()
    if twin is None:
        return {}
    shared = scene.leaves[twin].copy()
    return {scene.index: shared, twin: shared}


# ---- what depends on the parameter ------------------------------------------------------------------------------------

decay_added = with_parameter(lambda g, p: g + DECAY * p)
decay_dropped = with_parameter(lambda g, p: g - DECAY * p)
by_parameter = with_parameter(lambda g, p: g * p)
the_parameter = with_parameter(lambda _, p: p)
nan_at_zero = with_parameter(lambda g, p: g * np.where(p == 0, np.nan, 1))
zero_at_zero = with_parameter(lambda g, p: np.where(p == 0, 0, g))
negative_dropped = with_parameter(lambda g, p: np.where(p < 0, 0, g))


def _size(g: Array) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(g.astype(np.float64))))) if g.size else 0.0
