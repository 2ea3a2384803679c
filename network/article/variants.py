"""The ways of going backward: where each leaves the right one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from network.layers._arguments import Array

__all__ = ["BACKWARDS", "Route", "Rule", "choose_rule", "rotate", "tie_mask", "transform", "upsample"]

BACKWARDS = {
    "right": "the derivative of the forward",
    "author-original": "as the article's original code: the gradient between the layers comes out rotated by 180 degrees",
    "author-broken": "as the article's broken code: masked gradients rotated before the activation's derivative, "
    "and back after it for the kernels only",
    "transpose-gradient": "the masked upsampled gradient transposed",
    "transpose-mask": "the pool's mask transposed",
    "transpose-upstream": "the gradient transposed before it is upsampled",
    "rotate-gradient": "the masked upsampled gradient rotated by 180 degrees",
    "rotate-mask": "the pool's mask rotated by 180 degrees",
    "rotate-upstream": "the gradient rotated by 180 degrees before it is upsampled",
    "article-transpose": "the article's words: transpose-gradient, but transpose-mask in the last channel of layer 2",
    "article-rotate": "the article's words, rotating: rotate-gradient, but rotate-mask in the last channel of layer 2",
}
"""Names of the backward passes and what each does, in one line."""

CHANNELS = {1: 2, 2: 4}
"""Channels of the two pooled layers."""


class Route(NamedTuple):
    """What one channel's pool does to the map on its way back; each is "keep", "transpose" or "rotate"."""

    gradient: str = "keep"
    mask: str = "keep"
    upstream: str = "keep"


class Rule(NamedTuple):
    """A backward pass, spelled out.

    Attributes
    ----------
    routes : dict
        Layer -> one `Route` per channel.
    ties : str
        "first" or "all": who gets the gradient of a window with several maxima.
    rotate_input : bool
        Whether the gradient that the second convolution hands to the first layer is rotated.
    rotate_weights : bool
        Whether the kernels' gradients are computed from the rotated gradient of the convolution.
    """

    routes: dict[int, tuple[Route, ...]]
    ties: str
    rotate_input: bool = False
    rotate_weights: bool = False

    def is_plain(self, layer: int) -> bool:
        """Whether no channel of this layer's pool changes its map."""
        return all(route == Route() for route in self.routes[layer])


def rotate(maps: Array) -> Array:
    """Rotate maps (..., H, W) by 180 degrees; a view."""
    return maps[..., ::-1, ::-1]


def transform(name: str, maps: Array) -> Array:
    """Keep, transpose or rotate maps (..., H, W); a view."""
    if name == "rotate":
        return rotate(maps)
    return maps.swapaxes(-1, -2) if name == "transpose" else maps


def choose_rule(backward: str, layers: Any, ties: Any, *, shared_kernel: bool = False) -> Rule:
    """Check the options of a backward pass and spell it out.

    Parameters
    ----------
    backward : str
        A name in `BACKWARDS`.
    layers : iterable of int
        At which pooled layers it is applied.
    ties : {"first", "all"} or None
        None: "first" for "right", "all" for the rest.
    shared_kernel : bool
        Whether the forward is the published one.

    Raises
    ------
    ValueError
        Naming the option that does not fit.
    """
    if backward not in BACKWARDS:
        raise ValueError(f"backward={backward!r} is unknown; choose one of {', '.join(BACKWARDS)}.")
    chosen = _layers(layers)
    kind, _, what = backward.partition("-")
    if kind in ("author", "article") and chosen != {1, 2}:
        raise ValueError(
            f"layers={layers!r} with backward={backward!r}, which is defined as a whole; use layers=(1, 2)."
        )
    if ties not in (None, "first", "all"):
        raise ValueError(f'ties={ties!r} must be "first", "all" or None.')
    if shared_kernel and backward != "right" and kind != "author":
        raise ValueError(
            f"shared_kernel=True with backward={backward!r}; the published forward has only "
            "right, author-original and author-broken."
        )
    routes = {layer: (_route(kind, what),) * n if layer in chosen else (Route(),) * n for layer, n in CHANNELS.items()}
    if kind == "article":
        routes[2] = (*routes[2][:3], Route(mask=what))
    if backward == "author-broken":
        routes[2] = (*routes[2][:3], Route(mask="rotate"))
    ties = ties or ("first" if backward == "right" else "all")
    return Rule(routes, ties, rotate_input=kind == "author", rotate_weights=backward == "author-broken")


def _layers(layers: Any) -> set[int]:
    chosen = list(layers) if isinstance(layers, Iterable) else [layers]
    if not chosen or any(type(layer) is not int or layer not in CHANNELS for layer in chosen):
        raise ValueError(f"layers={layers!r} must name pooled layers: (1,), (2,) or (1, 2).")
    return set(chosen)


def _route(kind: str, what: str) -> Route:
    if kind == "article":
        return Route(gradient=what)
    if kind == "author":
        return Route(gradient="rotate") if what == "broken" else Route()
    return Route(**{what: kind}) if kind in ("transpose", "rotate") else Route()


def tie_mask(maps: Array, pooled: Array, first: Array, ties: str) -> Array:
    """Return where windows of 2x2 hold their maximum: the given first one, or all up to 4 units in the last place."""
    if ties == "first":
        return first
    slack = 4 * np.finfo(pooled.dtype).eps
    with np.errstate(invalid="ignore"):
        return maps >= upsample(pooled - slack * np.abs(pooled))


def upsample(maps: Array) -> Array:
    """Repeat every pixel of maps (..., H, W) to 2x2."""
    return maps.repeat(2, axis=-2).repeat(2, axis=-1)
