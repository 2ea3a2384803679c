"""What a case of the corpus is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Bug:
    """A wrong gradient.

    ``elements`` are those that are wrong, in the shape of the point; None where only the verdict is asked for (at a tie
    several sets are defensible; an error pooled over a leaf that drowns in noise element by element).
    """

    name: str
    gradient: Callable[[Array], Array]
    elements: Array | None = None


@dataclass(frozen=True)
class Case:
    """A scalar function of one array, with right and wrong gradients of it.

    Attributes
    ----------
    name, family : str
    f : callable
        ``f(x)``; its value may be noisy, float32, rounded.
    x : array
        The point, in any float dtype.
    right : callable
        A right gradient, computed the way an author would who derived it correctly (its dtype is what that author would return).
    bugs : tuple of Bug
        Each must be caught: its error lies above what the noise of ``f`` hides from anybody.
    exact : array or None
        The true derivative to at least 1e-14 relatively; at a kink None.
    sides : (array, array) or None
        At a kink the left and right derivatives along each element's own axis.
    easy : bool
        Whether none may be inconclusive about ``right``.
    """

    name: str
    family: str
    f: Callable[[Array], float]
    x: Array
    right: Callable[[Array], Array]
    bugs: tuple[Bug, ...] = ()
    exact: Array | None = None
    sides: tuple[Array, Array] | None = None
    easy: bool = False

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"


@dataclass(frozen=True)
class LayerCase:
    """A layer, ``y, cache = forward(*inputs)``, with right and wrong backward passes of it.

    A bug's ``elements`` are then a tuple, one array (or None: all right) per input.
    """

    name: str
    family: str
    forward: Callable[..., tuple[Array, object]]
    inputs: tuple[Array, ...]
    right: Callable[[Array, object], tuple[Array, ...]]
    bugs: tuple[Bug, ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"
