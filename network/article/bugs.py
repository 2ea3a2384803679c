"""Bugs of a hand-written backward pass, as data, and networks that are trained with them.

Each is a slip that a person makes in the article's network: a sign, a factor, a derivative left out, a kernel the wrong way
round. Networks with different bugs are trained together, on the leading axis. `gradient` is the very code that trains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from network.article.fused import FusedStep, Pool, columns_of
from network.article.model import NAMES
from network.article.taps import KERNEL
from network.article.training import Training, flat_weights, named_weights, run
from network.article.variants import Rule, choose_rule
from network.layers._arguments import Array

__all__ = ["ALL", "BUGS", "RIGHT", "Bug", "feedback_of", "gradient", "groups", "train"]

FEEDBACK_SEED = 10**6
"""Added to a network's seed: that of the fixed random weights that its upstream goes back through."""


@dataclass(frozen=True, slots=True)
class Bug:
    """A slip in the backward pass.

    Attributes
    ----------
    name, mistake : str
        A few words, and what the code computes.
    factors : mapping
        Weight -> what its gradient is multiplied by.
    rotated : tuple of str
        Kernels whose gradient is rotated by 180 degrees.
    exchanged : tuple of str
        Two weights of one shape that get each other's gradient.
    flat : tuple of str
        Where the activation's derivative is taken for 1: "layer 1", "layer 2", "dense", "output".
    feedback : tuple of str
        Weights in whose place the upstream goes back through fixed random ones.
    has_no_mask : bool
        Every position of a pool's window gets the gradient.
    has_turned_kernels : bool
        The upstream goes back through rotated kernels of layer 2.
    backward, shared_kernel
        As for `network.article.gradient`.
    """

    name: str
    mistake: str
    factors: Mapping[str, float] = field(default_factory=dict)
    rotated: tuple[str, ...] = ()
    exchanged: tuple[str, ...] = ()
    flat: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()
    has_no_mask: bool = False
    has_turned_kernels: bool = False
    backward: str = "right"
    shared_kernel: bool = False

    @property
    def changes_dense(self) -> bool:
        """Whether the way back through the dense layers is another one."""
        return bool(self.feedback) or "dense" in self.flat


FIRST, SECOND, DENSE = NAMES[:2], NAMES[2:6], NAMES[6:]
RIGHT = Bug("right", "the derivative of the forward")


def _scaled(factor: float, *names: str) -> dict[str, float]:
    return dict.fromkeys(names, factor)


BUGS: tuple[Bug, ...] = (
    Bug("sign of dW2b", "minus the gradient of W2b", factors=_scaled(-1, "W2b")),
    Bug("sign of dW1a", "minus the gradient of W1a", factors=_scaled(-1, "W1a")),
    Bug("sign of dW2", "minus the gradients of W2a to W2d", factors=_scaled(-1, *SECOND)),
    Bug("no derivative, layer 2", "activations of layer 2 taken for linear", flat=("layer 2",)),
    Bug("no derivative, layer 1", "activations of layer 1 taken for linear", flat=("layer 1",)),
    Bug("no derivative, dense", "arctan and tanh of the dense layers taken for linear", flat=("dense",)),
    Bug("no sigmoid derivative", "o - y without o (1 - o)", flat=("output",)),
    Bug("factor 2, dense", "twice the gradients of W3, W4 and W5", factors=_scaled(2, *DENSE)),
    Bug("dW1 = 0", "layer 1 gets no gradient", factors=_scaled(0, *FIRST)),
    Bug("dW1 = dW2 = 0", "the convolutions get no gradient", factors=_scaled(0, *FIRST, *SECOND)),
    Bug("only W5", "W5 alone gets a gradient", factors=_scaled(0, *NAMES[:8])),
    Bug("random feedback, W3", "upstream through fixed random numbers in place of W3", feedback=("W3",)),
    Bug("random feedback, dense", "upstream through fixed random numbers in place of W3, W4, W5", feedback=DENSE),
    Bug("dW2 rotated", "gradients of W2a to W2d rotated by 180 degrees", rotated=SECOND),
    Bug("dW1 rotated", "gradients of W1a and W1b rotated by 180 degrees", rotated=FIRST),
    Bug("all kernels rotated", "gradients of all kernels rotated by 180 degrees", rotated=FIRST + SECOND),
    Bug("no pool mask", "each position of a window gets the gradient of its maximum", has_no_mask=True),
    Bug("dW2a and dW2c swapped", "W2a gets the gradient of W2c, and the reverse", exchanged=("W2a", "W2c")),
    Bug("kernel not rotated", "upstream through the kernels of layer 2 the wrong way round", has_turned_kernels=True),
    Bug("upstream rotated", "upstream of layer 1 rotated: the article's own original code", backward="author-original"),
    Bug(
        "as published",
        "the original code with the forward it was published with: W1b for every kernel of layer 2",
        backward="author-original",
        shared_kernel=True,
    ),
    Bug("sign of dW5", "minus the gradient of W5", factors=_scaled(-1, "W5")),
    Bug("sign of dW3", "minus the gradient of W3", factors=_scaled(-1, "W3")),
    Bug("sign of dW4", "minus the gradient of W4", factors=_scaled(-1, "W4")),
    Bug("all signs", "minus the gradient", factors=_scaled(-1, *NAMES)),
)

ALL = (RIGHT, *BUGS)


def groups(bugs: Sequence[Bug]) -> list[list[int]]:
    """Return the positions of bugs whose networks can take their steps together, at no cost to each other."""
    keys = [(bug.backward, bug.shared_kernel, bug.has_no_mask, bug.changes_dense) for bug in bugs]
    return [[i for i, other in enumerate(keys) if other == key] for key in dict.fromkeys(keys)]


def feedback_of(seed: int, hidden: tuple[int, int], scale: float) -> Array:
    """Return the fixed random numbers of a network that stand for W3, W4 and W5 on the way back, one after the other."""
    rng = np.random.RandomState(seed + FEEDBACK_SEED)
    shapes = ((16, hidden[0]), hidden, (hidden[1], 1))
    return scale * np.concatenate([rng.randn(*shape).ravel() for shape in shapes])


def gradient(
    params: Mapping[str, Array], images: Array, labels: Array, *, bug: Bug, feedback: Array
) -> dict[str, Array]:
    """Return what a backward pass with a bug takes for the gradient of the loss.

    Parameters
    ----------
    params : mapping
        The nine weights, float64, without leading axes.
    images : array, shape (N, 8, 8)
    labels : array, shape (N,)
    bug : Bug
    feedback : array
        See `feedback_of`.

    Returns
    -------
    gradient : dict
        Summed over the samples.
    """
    weights = flat_weights(params, (1,))
    shapes = {name: params[name].shape for name in NAMES}
    step = BuggyStep(weights, (shapes["W4"][0], shapes["W4"][1]), [bug], feedback[None])
    total = np.zeros_like(weights)
    for columns, label in zip(columns_of(images[None]), labels, strict=True):
        step.backward(step.forward(columns) - label, columns)
        total += step.gradient
    return {name: array[0] for name, array in named_weights(total, (1,), shapes).items()}


def train(
    params: Mapping[str, Array],
    images: Array,
    labels: Array,
    *,
    bugs: Sequence[Bug],
    feedback: Array,
    learning_rate: float,
    momentum: float,
    epochs: int,
    progress: Callable[[int, int], None] | None = None,
) -> Training:
    """Train one network for each bug and seed, all together.

    Parameters
    ----------
    params : mapping
        The weights at the start, float64, shape (seeds, ...) each.
    images : array, shape (seeds, N, 8, 8)
    labels : array, shape (seeds, N)
    bugs : sequence of Bug
        Of one of the `groups`.
    feedback : array, shape (seeds, numbers)
        See `feedback_of`.
    learning_rate, momentum, epochs, progress
        As for `network.article.train`.

    Returns
    -------
    training : Training
        ``costs`` (epochs, bugs, seeds) and ``params`` with leading axes (bugs, seeds).
    """
    seeds = len(images)
    stacked = {name: np.broadcast_to(array, (len(bugs), *array.shape)) for name, array in params.items()}

    def step_of(weights: Array, hidden: tuple[int, int]) -> FusedStep:
        return BuggyStep(
            weights, hidden, [bug for bug in bugs for _ in range(seeds)], np.tile(feedback, (len(bugs), 1))
        )

    return run(step_of, stacked, images, labels, (len(bugs), seeds), learning_rate, momentum, epochs, progress)


# ---- one step ---------------------------------------------------------------------------------------------------------


class BuggyPool(Pool):
    """A pool whose mask, or whose activation's derivative, is left out in some networks."""

    def __init__(self, layer: int, rules: Sequence[Rule], bugs: Sequence[Bug]) -> None:
        super().__init__(layer, rules)
        self.flat = np.array([f"layer {layer}" in bug.flat for bug in bugs])
        self.open = np.array([bug.has_no_mask for bug in bugs])
        if self.open.any():  # slopes are needed at every position then
            self.is_plain = False
            self._set_channels(self.maps)

    def find_mask(self) -> None:
        """Find the maxima, or take every position for one."""
        super().find_mask()
        self.mask[self.open] = True

    def find_slope(self) -> None:
        """Find the derivatives, or take them for 1."""
        super().find_slope()
        self.slope[self.flat] = 1


class BuggyStep(FusedStep):
    """A step in which each network has a bug of its own; all are of one of the `groups`."""

    def __init__(self, weights: Array, hidden: tuple[int, int], bugs: Sequence[Bug], feedback: Array) -> None:
        self.bugs = bugs
        rule = choose_rule(bugs[0].backward, (1, 2), "first", shared_kernel=bugs[0].shared_kernel)
        super().__init__(weights, hidden, [rule] * len(bugs), shared_kernel=bugs[0].shared_kernel)
        self.is_output_flat = np.array(["output" in bug.flat for bug in bugs])
        self.is_dense_flat = np.array(["dense" in bug.flat for bug in bugs])
        self.turned = np.array([bug.has_turned_kernels for bug in bugs])
        self.back_weights = [np.empty(w.shape) for w in self.w[2:]]
        self.is_fed = [np.flatnonzero([name in bug.feedback for bug in bugs]) for name in DENSE]
        ends = np.cumsum([w[0].size for w in self.w[2:]])[:-1]
        parts = zip(np.split(feedback, ends, axis=1), self.w[2:], self.is_fed, strict=True)
        self.feedback = [part.reshape(w.shape)[is_fed] for part, w, is_fed in parts]
        self.changes_dense = any(bug.changes_dense for bug in bugs)
        self.moved, self.order, self.factors = _moves(bugs, hidden)

    def make_pool(self, layer: int, rules: Sequence[Rule]) -> Pool:
        """Return a pool with the networks' bugs."""
        return BuggyPool(layer, rules, self.bugs)

    def kernels_back(self) -> Array:
        """Return the kernels of layer 2, turned where that is the bug."""
        back = super().kernels_back()
        if not self.turned.any():
            return back
        kernels = back.reshape(len(back), 2, 2, KERNEL)
        return np.where(self.turned[:, None, None, None], kernels[..., ::-1], kernels).reshape(back.shape)

    def dense_backward(self, residual: Array) -> None:
        """Write the gradients of W3 to W5 and that of the pooled maps."""
        self.slope5[self.is_output_flat] = 1
        if not self.changes_dense:
            super().dense_backward(residual)
            return
        w3, w4, w5 = (self._dense_back(layer) for layer in range(3))
        g3, g4, g5 = self.g[2:]
        delta5 = residual * self.slope5
        np.multiply(self.a4_column, delta5, out=g5)
        slope4 = 1 - self.a4 * self.a4
        slope4[self.is_dense_flat] = 1
        np.multiply(w5.swapaxes(1, 2) * delta5, slope4, out=self.delta4)
        np.multiply(self.a3_column, self.delta4, out=g4)
        np.matmul(w4, self.delta4_column, out=self.delta3_column)
        slope3 = 1 / (1 + self.z3 * self.z3)
        slope3[self.is_dense_flat] = 1
        self.delta3 *= slope3
        np.multiply(self.h_column, self.delta3, out=g3)
        np.matmul(w3, self.delta3_column, out=self.upstream2)

    def _dense_back(self, layer: int) -> Array:
        """Return the weights that the upstream of a dense layer goes back through."""
        is_fed = self.is_fed[layer]
        weights: Array = self.w[2 + layer]
        if not len(is_fed):
            return weights
        back: Array = self.back_weights[layer]
        back[...] = weights
        back[is_fed] = self.feedback[layer]
        return back

    def backward(self, residual: Array, columns: Array) -> None:
        """Write the gradient, its numbers moved and multiplied where that is the bug."""
        super().backward(residual, columns)
        if len(self.moved):
            kernels = self.gradient[:, : self.order.shape[1]]
            kernels[self.moved] = np.take_along_axis(kernels[self.moved], self.order, axis=1)
        if self.factors is not None:
            self.gradient *= self.factors


def _moves(bugs: Sequence[Bug], hidden: tuple[int, int]) -> tuple[Array, Array, Array | None]:
    """Return which networks' gradients are moved, from where each number of their kernels comes, and what all are multiplied by."""
    sizes = [KERNEL] * 6 + [16 * hidden[0], hidden[0] * hidden[1], hidden[1]]
    ends = np.cumsum(sizes)
    places = {name: slice(end - size, end) for name, size, end in zip(NAMES, sizes, ends, strict=True)}
    order = np.tile(np.arange(ends[-1]), (len(bugs), 1))
    factors = np.ones(order.shape)
    for row, scales, bug in zip(order, factors, bugs, strict=True):
        for name in bug.rotated:
            row[places[name]] = row[places[name]][::-1].copy()
        for name, other in zip(bug.exchanged, bug.exchanged[::-1], strict=True):
            row[places[name]] = np.arange(ends[-1])[places[other]]
        for name, factor in bug.factors.items():
            scales[places[name]] = factor
    moved = np.flatnonzero(np.any(order != np.arange(ends[-1]), axis=1))
    return moved, order[moved, : KERNEL * 6], factors if np.any(factors != 1) else None
