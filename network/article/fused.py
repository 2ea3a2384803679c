"""One training step of many networks at once, without the layers' generality.

Every array starts with the axis S of the networks. Maps are flat and *tap-major*: first the upper left pixel of every
2x2 window, then the upper right ones, and so on, so that pooling is a maximum over four rows. What moves pixels
(padding, convolution, rotation, transposition) is a table of indices. `network.article.gradient` is the readable
version; a test holds the two together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from network.article.variants import CHANNELS, Rule, transform
from network.layers._arguments import Array

__all__ = ["FusedStep", "columns_of"]

TAPS = 4
KERNEL = 9


def columns_of(images: Array) -> Array:
    """Return what the first convolution multiplies its kernels with, shape (N, S, 9, 64), for images (S, N, 8, 8)."""
    flat = images.reshape(*images.shape[:2], 64)
    padded = np.concatenate([flat, np.zeros((*flat.shape[:2], 1))], axis=-1)
    return np.ascontiguousarray(padded.swapaxes(0, 1)[..., _columns_table(8)])


def _tap_major(size: int) -> Array:
    """Return the row-major pixel at each tap-major position."""
    half = size // 2
    return np.arange(size * size).reshape(half, 2, half, 2).transpose(1, 3, 0, 2).ravel()


def _columns_table(size: int) -> Array:
    """Return for each tap of a flipped kernel and each position the pixel it sees, shape (9, size**2)."""
    return _seen(size, 1)[:, _tap_major(size)]


def _spread_table(size: int, maps: int, groups: int) -> Array:
    """Return for each group, (map, tap) and pixel where in the tap-major maps its gradient comes from."""
    places = np.append(np.argsort(_tap_major(size)), maps * size * size)
    table = places[_seen(size, -1)]
    outside = table == places[-1]
    tables = np.stack([np.where(outside, places[-1], table + o * size * size) for o in range(maps)])
    return tables.reshape(groups, -1, size * size)


def _seen(size: int, sign: int) -> Array:
    """Return the pixel at (i + sign (1 - u), j + sign (1 - v)), or size**2 outside, shape (9, size**2)."""
    u, v, i, j = np.ogrid[:3, :3, :size, :size]
    rows, columns = i + sign * (1 - u), j + sign * (1 - v)
    inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    return np.where(inside, rows * size + columns, size * size).reshape(KERNEL, size * size)


def _moves(names: list[str], size: int, *, tap_major: bool) -> Array | None:
    """Return the table that keeps, transposes or rotates the map of each channel, None where all are kept."""
    if all(name == "keep" for name in names):
        return None
    order = _tap_major(size) if tap_major else np.arange(size * size)
    place = np.argsort(order)
    pixels = np.arange(size * size).reshape(size, size)
    tables = [place[transform(name, pixels).ravel()[order]] for name in names]
    return np.concatenate([table + channel * size * size for channel, table in enumerate(tables)])


class _Pool:
    """Activation and pool of one layer: values forward, and the gradient's route back."""

    def __init__(self, networks: int, layer: int, rule: Rule) -> None:
        channels, size = CHANNELS[layer], {1: 8, 2: 4}[layer]
        windows = size * size // TAPS
        self.layer, self.ties, self.is_plain = layer, rule.ties, rule.is_plain(layer)
        routes = rule.routes[layer]
        self.move_upstream = _moves([route.upstream for route in routes], size // 2, tap_major=False)
        self.move_mask = _moves([route.mask for route in routes], size, tap_major=True)
        self.move_gradient = _moves([route.gradient for route in routes], size, tap_major=True)
        self.maps = np.empty((networks, channels, TAPS, windows))
        self.pooled = np.empty((networks, channels, windows))
        self.slack = np.empty_like(self.pooled)
        self.slope = np.empty_like(self.pooled)
        self.slopes = np.empty((networks, channels, TAPS * windows))
        self.mask = np.empty(self.maps.shape, bool)
        self.taken = np.empty((networks, windows * channels), bool).reshape(networks, channels, windows)

    def forward(self, out: Array) -> None:
        """Pool ``maps``, which hold pre-activations, and write the activations of the maxima to ``out``.

        Activations grow, so arctan waits for the maxima. In relu and tanh different pre-activations may tie, so their
        maps are activated in place first.
        """
        maps, pooled = self.maps, self.pooled
        if self.layer == 1:
            np.maximum(maps[:, 0], 0, out=maps[:, 0])
            maps.max(axis=2, out=pooled)
            out[:, 0] = pooled[:, 0]
            np.arctan(pooled[:, 1], out=out[:, 1])
            return
        np.maximum(maps[:, 1], 0, out=maps[:, 1])
        np.tanh(maps[:, 3], out=maps[:, 3])
        maps.max(axis=2, out=pooled)
        np.arctan(pooled[:, ::2], out=out[:, ::2])
        out[:, 1::2] = pooled[:, 1::2]

    def backward(self, upstream: Array, out: Array) -> None:
        """Write the gradient of the pre-activations, shape (S, C, positions), for that of the pooled maps."""
        self._find_mask()
        networks, channels, windows = self.pooled.shape
        routed = out.reshape(self.maps.shape)
        if self.is_plain:
            self._slopes(self.pooled, self.slope)
            self.slope *= upstream
            np.multiply(self.mask, self.slope[:, :, None, :], out=routed)
            return
        mask = self.mask
        if self.move_upstream is not None:
            upstream = upstream.reshape(networks, -1).take(self.move_upstream, axis=1).reshape(self.pooled.shape)
        if self.move_mask is not None:
            mask = mask.reshape(networks, -1).take(self.move_mask, axis=1).reshape(mask.shape)
        np.multiply(mask, upstream[:, :, None, :], out=routed)
        if self.move_gradient is not None:
            out[...] = out.reshape(networks, -1).take(self.move_gradient, axis=1).reshape(out.shape)
        self._slopes(self.maps.reshape(out.shape), self.slopes)
        out *= self.slopes

    def _find_mask(self) -> None:
        mask, taken = self.mask, self.taken
        if self.ties == "all":
            np.abs(self.pooled, out=self.slack)
            self.slack *= 4 * np.finfo(float).eps
            np.subtract(self.pooled, self.slack, out=self.slack)
            np.greater_equal(self.maps, self.slack[:, :, None, :], out=mask)
            return
        np.equal(self.maps, self.pooled[:, :, None, :], out=mask)
        taken[...] = mask[:, :, 0]
        for tap in (1, 2, 3):  # a later maximum counts where no earlier one was taken
            np.greater(mask[:, :, tap], taken, out=mask[:, :, tap])
            if tap < 3:
                taken |= mask[:, :, tap]

    def _slopes(self, values: Array, out: Array) -> None:
        """Write the activations' derivatives, given values as `forward` left them in the maps."""
        arctan = 1 if self.layer == 1 else slice(0, None, 2)
        squares = out[:, arctan]
        np.multiply(values[:, arctan], values[:, arctan], out=squares)
        squares += 1
        np.divide(1, squares, out=squares)
        relu = self.layer - 1
        np.greater(values[:, relu], 0, out=out[:, relu])
        if self.layer == 2:
            np.multiply(values[:, 3], values[:, 3], out=out[:, 3])
            np.subtract(1, out[:, 3], out=out[:, 3])


class FusedStep:
    """The weights of S networks in one buffer, and everything a step writes.

    Attributes
    ----------
    weights, velocity, gradient : arrays, shape (S, parameters)
        Row by row W1a, W1b, W2a to W2d, W3, W4, W5.
    """

    def __init__(self, weights: Array, hidden: tuple[int, int], rule: Rule, *, shared_kernel: bool) -> None:
        networks = weights.shape[0]
        self.rule, self.is_shared = rule, shared_kernel
        self.is_true = not rule.rotate_input
        self.weights, self.velocity, self.gradient = weights, np.zeros_like(weights), np.zeros_like(weights)
        self.w, self.g = _views(weights, hidden), _views(self.gradient, hidden)
        self.pool1, self.pool2 = _Pool(networks, 1, rule), _Pool(networks, 2, rule)
        self.columns_table, self.spread_table = _columns_table(4), _spread_table(4, 4, 2)
        self.seen = np.zeros((networks, 2, 17))
        self.columns2 = np.empty((networks, 2, KERNEL, 16))
        self.used = np.empty((networks, 2, 2, KERNEL)) if shared_kernel else self.w[1]
        self.h = np.empty((networks, 4, TAPS))
        self.delta1 = np.empty((networks, 2, 64))
        self.delta2 = np.zeros((networks, 4 * 16 + 1))  # the last stays zero: what lies outside the maps
        self.spread = np.empty((networks, 2, 18, 16))
        self.units = [np.empty((networks, 1, n)) for n in (*hidden, 1)]
        self.slope5 = np.empty((networks, 1, 1))

    def forward(self, columns: Array) -> Array:
        """Return the outputs, shape (S, 1, 1), for columns (S, 9, 64) of one sample each."""
        networks = len(self.weights)
        w1, _, w3, w4, w5 = self.w
        np.matmul(w1, columns, out=self.pool1.maps.reshape(networks, 2, 64))
        self.pool1.forward(self.seen[..., :16])
        self.seen.take(self.columns_table, axis=2, out=self.columns2, mode="clip")
        if self.is_shared:
            self.used[...] = w1[:, 1, None, None, :]
        np.matmul(self.used, self.columns2, out=self.pool2.maps.reshape(networks, 2, 2, 16))
        self.pool2.forward(self.h)
        z3, a4, output = self.units
        np.matmul(self.h.reshape(networks, 1, 16), w3, out=z3)
        self.a3 = np.arctan(z3)
        np.matmul(self.a3, w4, out=a4)
        np.tanh(a4, out=a4)
        np.matmul(a4, w5, out=output)
        tail = np.exp(-np.abs(output))
        inner = 1 / (1 + tail)
        np.multiply(tail, inner * inner, out=self.slope5)
        return np.where(output >= 0, inner, tail * inner)

    def backward(self, residual: Array, columns: Array) -> None:
        """Write the gradient, given the derivative of the loss with respect to the outputs, shape (S, 1, 1)."""
        networks = len(self.weights)
        g1, g2 = self.g[:2]
        upstream = self._dense_backward(residual)
        delta2 = self.delta2[:, :-1].reshape(networks, 2, 2, 16)
        self.pool2.backward(upstream.reshape(networks, 4, TAPS), self.delta2[:, :-1].reshape(networks, 4, 16))
        for_weights = delta2[..., ::-1].copy() if self.rule.rotate_weights else delta2
        kernel_gradients = for_weights @ self.columns2.swapaxes(-1, -2)
        self.delta2.take(self.spread_table, axis=1, out=self.spread, mode="clip")
        back = self.used if self.is_true else self.w[1]
        pooled = (back.reshape(networks, 2, 1, 18) @ self.spread).reshape(networks, 2, 16)
        if self.rule.rotate_input:
            pooled = pooled[..., ::-1]
        delta1 = self.delta1
        self.pool1.backward(pooled, delta1)
        if self.rule.rotate_weights:
            delta1 = delta1[..., ::-1].copy()
        np.matmul(delta1, columns.swapaxes(-1, -2), out=g1)
        if self.is_shared and self.is_true:
            g1[:, 1] += kernel_gradients.sum(axis=(1, 2))
            g2[...] = 0
        else:
            g2[...] = kernel_gradients

    def _dense_backward(self, residual: Array) -> Array:
        """Write the gradients of W3 to W5 and return that of the pooled maps, shape (S, 16, 1)."""
        networks = len(self.weights)
        w3, w4, w5 = self.w[2:]
        g3, g4, g5 = self.g[2:]
        z3, a4, _ = self.units
        delta = residual * self.slope5
        np.multiply(a4.swapaxes(1, 2), delta, out=g5)
        delta = delta * w5.swapaxes(1, 2)
        delta *= 1 - a4 * a4
        np.multiply(self.a3.swapaxes(1, 2), delta, out=g4)
        delta = (w4 @ delta.swapaxes(1, 2)).swapaxes(1, 2)
        delta /= 1 + z3 * z3
        np.multiply(self.h.reshape(networks, 16, 1), delta, out=g3)
        return w3 @ delta.swapaxes(1, 2)

    def update(self, momentum: float) -> None:
        """Move the weights; the learning rate is in the gradient already."""
        self.velocity *= momentum
        self.velocity += self.gradient
        self.weights -= self.velocity


def _views(flat: Array, hidden: tuple[int, int]) -> tuple[Any, ...]:
    """Return W1 (S, 2, 9), W2 (S, 2, 2, 9), W3, W4, W5 as views of their rows of numbers."""
    shapes = [(2, KERNEL), (2, 2, KERNEL), (16, hidden[0]), hidden, (hidden[1], 1)]
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    parts = np.split(flat, ends, axis=1)
    return tuple(part.reshape(len(flat), *shape) for part, shape in zip(parts, shapes, strict=True))
