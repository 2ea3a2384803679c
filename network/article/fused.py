"""One training step of many networks at once, without the layers' generality.

A step of one network is some seventy calls on arrays of a few dozen numbers, so what counts is the number of calls:
buffers and views of them are made once, numbers are arrays without axes, and all channels take a call that changes only
some of them, since a contiguous array takes less time than the half of it. Every array starts with the axis S of the
networks. Maps are laid out as in `network.article.taps`, and what moves pixels (padding, convolution, rotation,
transposition) is a table of indices. `network.article.gradient` is the readable version; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from network.article.taps import KERNEL, TAPS, columns_table, moves_table, spread_table
from network.article.variants import CHANNELS, Route, Rule
from network.layers._arguments import Array

__all__ = ["FusedStep", "Pool", "columns_of"]

SLACK = np.array(4 * np.finfo(float).eps)
"""Where all maxima of a window count, those up to so much smaller do, relatively: see `network.article.variants.tie_mask`."""

ZERO, ONE, BELOW_ZERO = np.array(0.0), np.array(1.0), np.array(-1.0)
"""Constants as arrays: NumPy would convert a Python number in every call."""


def columns_of(images: Array) -> Array:
    """Return what the first convolution multiplies its kernels with, shape (N, S, 9, 64), for images (S, N, 8, 8)."""
    flat = images.reshape(*images.shape[:2], 64)
    padded = np.concatenate([flat, np.zeros((*flat.shape[:2], 1))], axis=-1)
    return np.ascontiguousarray(padded.swapaxes(0, 1)[..., columns_table(8)])


class Pool:
    """Activation and pool of one layer: values forward, and the gradient's route back.

    Attributes
    ----------
    maps : array, shape (S, C, 4, windows)
        Pre-activations on entry of `forward`; relu and tanh are applied in place.
    pooled : array, shape (S, C, windows)
        Their maxima.
    delta : array, shape (S, C * positions + 1)
        The gradient of the pre-activations; its last column stays zero, for what lies outside the maps.
    """

    def __init__(self, layer: int, rules: Sequence[Rule]) -> None:
        networks, channels, size = len(rules), CHANNELS[layer], {1: 8, 2: 4}[layer]
        windows = size * size // TAPS
        self.layer, self.ties, self.is_plain = layer, rules[0].ties, all(rule.is_plain(layer) for rule in rules)
        self.maps = np.empty((networks, channels, TAPS, windows))
        self.pooled = np.empty((networks, channels, windows))
        self.delta = np.zeros((networks, channels * size * size + 1))
        self.routed = self.delta[:, :-1].reshape(self.maps.shape)
        self.mask = np.empty(self.maps.shape, bool)
        self.so_far = np.empty(self.maps.shape, bool)
        self.up_pooled = self.pooled[:, :, None, :]
        values = self.pooled if self.is_plain else self.maps
        self._set_routes([route for rule in rules for route in rule.routes[layer]], size)
        self._set_channels(values)

    def _set_routes(self, routes: Sequence[Route], size: int) -> None:
        """Make the tables that move pixels, of all channels of all networks."""
        upstream = moves_table([route.upstream for route in routes], size // 2, is_tap_major=False)
        self.move_upstream = None if upstream is None else upstream.reshape(self.pooled.shape)
        mask = moves_table([route.mask for route in routes], size, is_tap_major=True)
        self.move_mask = None if mask is None else mask.reshape(self.maps.shape)
        gradient = moves_table([route.gradient for route in routes], size, is_tap_major=True)
        self.move_gradient = None if gradient is None else gradient.reshape(self.maps.shape)
        self.moved_mask, self.product, self.moved = (np.empty(self.maps.shape, kind) for kind in (bool, float, float))

    def _set_channels(self, values: Array) -> None:
        """Make views of the channels of each activation: of the maps, their maxima, and what slopes come from."""
        relu, arctan = (0, slice(1, 2)) if self.layer == 1 else (1, slice(0, None, 2))
        self.values, self.slope, self.squares = values, np.empty(values.shape), np.empty(values.shape)
        self.relu_slope, self.relu_values = self.slope[:, relu], values[:, relu]
        self.least = np.full(self.maps.shape, -np.inf)
        self.least[:, relu] = 0
        self.arctan_pooled = self.pooled[:, arctan]
        tanh = slice(3, None)  # none in layer 1
        self.tanh_maps, self.tanh_slope = self.maps[:, tanh], self.slope[:, tanh]
        self.tanh_squares = self.squares[:, tanh]
        self.plain_pooled, self.plain, self.arctans = self.pooled[:, relu::2], slice(relu, None, 2), arctan

    def forward(self, out: Array) -> None:
        """Pool ``maps`` and write the activations of the maxima to ``out``, shape (S, C, windows).

        Activations grow, so arctan waits for the maxima. In relu and tanh different pre-activations may tie, so their
        maps are activated first.
        """
        np.maximum(self.maps, self.least, out=self.maps)
        if self.layer == 2:
            np.tanh(self.tanh_maps, out=self.tanh_maps)
        np.maximum.reduce(self.maps, axis=2, out=self.pooled)
        out[:, self.plain] = self.plain_pooled
        np.arctan(self.arctan_pooled, out=out[:, self.arctans])

    def backward(self, upstream: Array) -> None:
        """Write ``delta`` for the gradient of the pooled maps, shape (S, C, windows)."""
        self.find_mask()
        self.find_slope()
        if self.is_plain:
            self.slope *= upstream
            np.multiply(self.mask, self.slope[:, :, None, :], out=self.routed)
            return
        mask = self.mask
        if self.move_upstream is not None:
            upstream = upstream.take(self.move_upstream)
        if self.move_mask is not None:
            mask = mask.take(self.move_mask, out=self.moved_mask, mode="clip")
        routed = np.multiply(mask, upstream[:, :, None, :], out=self.product)
        if self.move_gradient is not None:
            routed = routed.take(self.move_gradient, out=self.moved, mode="clip")
        np.multiply(routed, self.slope, out=self.routed)

    def find_mask(self) -> None:
        """Find the maxima of each window, or the first of them."""
        if self.ties == "all":
            slack = np.abs(self.up_pooled)
            slack *= SLACK
            np.greater_equal(self.maps, np.subtract(self.up_pooled, slack, out=slack), out=self.mask)
            return
        np.equal(self.maps, self.up_pooled, out=self.mask)
        np.logical_or.accumulate(self.mask, axis=2, out=self.so_far)
        np.greater(self.so_far[:, :, 1:], self.so_far[:, :, :-1], out=self.mask[:, :, 1:])

    def find_slope(self) -> None:
        """Find the activations' derivatives, at the maxima where no map is moved, else everywhere."""
        np.multiply(self.values, self.values, out=self.squares)
        np.add(self.squares, ONE, out=self.slope)
        np.reciprocal(self.slope, out=self.slope)
        np.sign(self.relu_values, out=self.relu_slope)
        if self.layer == 2:
            np.subtract(ONE, self.tanh_squares, out=self.tanh_slope)


class FusedStep:
    """The weights of S networks in one buffer, and everything a step writes.

    Each network has its own rule; all have the same ``ties`` and ``rotate_input``.

    Attributes
    ----------
    weights, velocity, gradient : arrays, shape (S, parameters)
        Row by row W1a, W1b, W2a to W2d, W3, W4, W5.
    """

    def __init__(self, weights: Array, hidden: tuple[int, int], rules: Sequence[Rule], *, shared_kernel: bool) -> None:
        networks = weights.shape[0]
        self.rotates_input, self.is_shared = rules[0].rotate_input, shared_kernel
        self.is_true = not self.rotates_input
        self.weights, self.velocity, self.gradient = weights, np.zeros_like(weights), np.zeros_like(weights)
        self.w, self.g = _views(weights, hidden), _views(self.gradient, hidden)
        self._set_convolutions(networks, rules)
        self._set_dense(networks, hidden)

    def _set_convolutions(self, networks: int, rules: Sequence[Rule]) -> None:
        self.pool1, self.pool2 = self.make_pool(1, rules), self.make_pool(2, rules)
        self.z1 = self.pool1.maps.reshape(networks, 2, 64)
        self.z2 = self.pool2.maps.reshape(networks, 2, 2, 16)
        self.delta1 = self.pool1.delta[:, :-1].reshape(networks, 2, 64)
        self.delta2 = self.pool2.delta[:, :-1].reshape(networks, 2, 2, 16)
        self.seen = np.zeros((networks, 2, 17))  # what layer 2 sees, and a zero outside
        self.columns_table = columns_table(4) + 17 * np.arange(2 * networks).reshape(networks, 2, 1, 1)
        self.columns2 = np.empty((networks, 2, KERNEL, 16))
        self.columns2_across = self.columns2.swapaxes(-1, -2)
        self.spread_table = spread_table(4, 4, 2) + 65 * np.arange(networks).reshape(networks, 1, 1, 1)
        self.spread = np.empty((networks, 2, 18, 16))
        self.used = np.empty((networks, 2, 2, KERNEL)) if self.is_shared else self.w[1]
        self.shared, self.shared_from = np.empty((networks, 2, 2, KERNEL)), self.w[0][:, 1, None, None, :]
        self.shared_rows, self.shared_into = self.shared.reshape(networks, 4, KERNEL), self.g[0][:, 1]
        self.back = (self.used if self.is_true else self.w[1]).reshape(networks, 2, 1, 18)
        self.upstream1 = np.empty((networks, 2, 1, 16))
        self.upstream1_maps = self.upstream1[:, :, 0, ::-1] if self.rotates_input else self.upstream1[:, :, 0]
        turns = ["rotate" if rule.rotate_weights else "keep" for rule in rules]
        turn1 = moves_table([turn for turn in turns for _ in range(2)], 8, is_tap_major=True)
        turn2 = moves_table([turn for turn in turns for _ in range(4)], 4, is_tap_major=True)
        self.turned1, self.turned2 = np.empty(self.delta1.shape), np.empty(self.delta2.shape)
        self.turn1 = None if turn1 is None else turn1.reshape(self.delta1.shape)
        self.turn2 = None if turn2 is None else turn2.reshape(self.delta2.shape)

    def make_pool(self, layer: int, rules: Sequence[Rule]) -> Pool:
        """Return the pool of a layer."""
        return Pool(layer, rules)

    def _set_dense(self, networks: int, hidden: tuple[int, int]) -> None:
        self.h = np.empty((networks, 4, TAPS))
        self.h_row, self.h_column = self.h.reshape(networks, 1, 16), self.h.reshape(networks, 16, 1)
        self.z3, self.a3 = np.empty((networks, 1, hidden[0])), np.empty((networks, 1, hidden[0]))
        self.a4, self.z5 = np.empty((networks, 1, hidden[1])), np.empty((networks, 1, 1))
        self.a3_column, self.a4_column = self.a3.swapaxes(1, 2), self.a4.swapaxes(1, 2)
        self.delta3, self.delta4 = np.empty_like(self.a3), np.empty_like(self.a4)
        self.delta3_column, self.delta4_column = self.delta3.swapaxes(1, 2), self.delta4.swapaxes(1, 2)
        self.slope5 = np.empty((networks, 1, 1))
        self.w5_row = self.w[4].swapaxes(1, 2)
        self.upstream2 = np.empty((networks, 16, 1))
        self.upstream2_maps = self.upstream2.reshape(networks, 4, TAPS)

    def forward(self, columns: Array) -> Array:
        """Return the outputs, shape (S, 1, 1), for columns (S, 9, 64) of one sample each."""
        w1, _, w3, w4, w5 = self.w
        np.matmul(w1, columns, out=self.z1)
        self.pool1.forward(self.seen[..., :16])
        self.seen.take(self.columns_table, out=self.columns2, mode="clip")
        if self.is_shared:
            self.used[...] = self.shared_from
        np.matmul(self.used, self.columns2, out=self.z2)
        self.pool2.forward(self.h)
        np.matmul(self.h_row, w3, out=self.z3)
        np.arctan(self.z3, out=self.a3)
        np.matmul(self.a3, w4, out=self.a4)
        np.tanh(self.a4, out=self.a4)
        np.matmul(self.a4, w5, out=self.z5)
        # As the sigmoid layer: nothing overflows, the slope keeps its digits.
        tail = np.exp(np.copysign(self.z5, BELOW_ZERO))
        outputs: Array = np.reciprocal(tail + ONE)
        tail *= outputs
        np.multiply(tail, outputs, out=self.slope5)
        np.copyto(outputs, tail, where=self.z5 < ZERO)
        return outputs

    def backward(self, residual: Array, columns: Array) -> None:
        """Write the gradient, given the derivative of the loss with respect to the outputs, shape (S, 1, 1)."""
        g1, g2 = self.g[:2]
        self.dense_backward(residual)
        self.pool2.backward(self.upstream2_maps)
        self.pool2.delta.take(self.spread_table, out=self.spread, mode="clip")
        np.matmul(self.kernels_back(), self.spread, out=self.upstream1)
        self.pool1.backward(self.upstream1_maps)
        delta1, delta2 = self.delta1, self.delta2
        if self.turn1 is not None and self.turn2 is not None:
            delta1 = delta1.take(self.turn1, out=self.turned1, mode="clip")
            delta2 = delta2.take(self.turn2, out=self.turned2, mode="clip")
        np.matmul(delta1, columns.swapaxes(-1, -2), out=g1)
        if self.is_shared and self.is_true:  # the gradient of W2 stays zero
            np.matmul(delta2, self.columns2_across, out=self.shared)
            self.shared_into += np.add.reduce(self.shared_rows, axis=1)
        else:
            np.matmul(delta2, self.columns2_across, out=g2)

    def kernels_back(self) -> Array:
        """Return the kernels of layer 2 that its upstream goes back through, shape (S, 2, 1, 18)."""
        return self.back

    def dense_backward(self, residual: Array) -> None:
        """Write the gradients of W3 to W5 and that of the pooled maps."""
        w3, w4, _ = self.w[2:]
        g3, g4, g5 = self.g[2:]
        delta5 = residual * self.slope5
        np.multiply(self.a4_column, delta5, out=g5)
        slope4 = np.multiply(self.a4, self.a4)
        np.subtract(ONE, slope4, out=slope4)
        np.multiply(self.w5_row, delta5, out=self.delta4)
        self.delta4 *= slope4
        np.multiply(self.a3_column, self.delta4, out=g4)
        np.matmul(w4, self.delta4_column, out=self.delta3_column)
        self.z3 *= self.z3
        self.z3 += ONE
        self.delta3 /= self.z3
        np.multiply(self.h_column, self.delta3, out=g3)
        np.matmul(w3, self.delta3_column, out=self.upstream2)

    def update(self, momentum: Array) -> None:
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
