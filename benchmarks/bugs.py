"""Twenty bugs as people really write them: a function, its right backward and a wrong one, and where to look.

Each is a formula written anew; the comment names the place that it imitates. A bug is planted by calling its function,
anew for each check, since some keep a state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

__all__ = ["BUGS", "Bug"]

Array = np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A function with its right and its wrong backward.

    Attributes
    ----------
    name, mistake : str
        A short name, and what the wrong backward does.
    forward : callable
        ``forward(*inputs) -> (y, cache)``.
    right, wrong : callable
        ``backward(dy, cache) -> gradient``, or a tuple in the order of the inputs.
    inputs : tuple of arrays
    cause : str
        A regular expression: what a message, or a code of ours, says that names this cause.
    elements : array of bool, optional
        What is wrong, where that is more than the elements that differ from ``right``: at a kink only together are they.
    note : str
        What else the page should say.
    """

    name: str
    mistake: str
    forward: Callable[..., tuple[Any, Any]]
    right: Callable[[Any, Any], Any]
    wrong: Callable[[Any, Any], Any]
    inputs: tuple[Array, ...]
    cause: str
    elements: Array | None = None
    note: str = ""


def _draw(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


# ---- formulas -------------------------------------------------------------------------------------------------------


def missing_term() -> Bug:
    # thinc 56f02723: softmax in attention, of which only the diagonal of the Jacobian was used.
    def forward(x):
        s = np.exp(x - x.max(-1, keepdims=True))
        s /= s.sum(-1, keepdims=True)
        return s, s

    return Bug(
        name="missing term",
        mistake="softmax: only the diagonal of the Jacobian, without `- s sum(dy s)`",
        forward=forward,
        right=lambda dy, s: s * (dy - np.sum(dy * s, axis=-1, keepdims=True)),
        wrong=lambda dy, s: dy * s * (1 - s),
        inputs=(_draw(1, 3, 5),),
        cause="missing-term|wrong-slope",
    )


def sign_of_one_element() -> Bug:
    # gpytorch#2598: entries of a block with the wrong sign; here one entry of ten thousand.
    u, v = _draw(20, 100), _draw(21, 100)

    def forward(a):
        y = np.tanh(a @ u)
        return np.sum(v * y), y

    def right(dy, y):
        return dy * np.outer(v * (1 - y**2), u)

    def wrong(dy, y):
        da = right(dy, y)
        da[37, 61] *= -1
        return da

    return Bug(
        name="one sign in 10,000",
        mistake="`v . tanh(A u)`: one element of a 100 x 100 gradient has the wrong sign",
        forward=forward,
        right=right,
        wrong=wrong,
        inputs=(_draw(22, 100, 100) / 10,),
        cause="sign",
    )


def scale_of_outputs() -> Bug:
    # scikit-learn#8349: the loss is a mean over outputs, its gradient that of a sum.
    targets = _draw(30, 6, 3)

    def forward(outputs):
        return np.mean((outputs - targets) ** 2) / 2, outputs

    return Bug(
        name="K times",
        mistake="squared error, a mean over samples and 3 outputs: divided by the samples only",
        forward=forward,
        right=lambda dy, outputs: dy * (outputs - targets) / outputs.size,
        wrong=lambda dy, outputs: dy * (outputs - targets) / len(outputs),
        inputs=(_draw(31, 6, 3),),
        cause="constant-ratio",
    )


def n_minus_one() -> Bug:
    # The course exercise of Andrew-Ng-notes#10 has wrong divisors too; this is the classic of batch normalisation.
    def forward(x):
        return np.var(x), x

    return Bug(
        name="1/(n-1) for 1/n",
        mistake="variance of n = 2000 numbers: 1/n in the function, 1/(n-1) in its gradient",
        forward=forward,
        right=lambda dy, x: dy * 2 * (x - np.mean(x)) / len(x),
        wrong=lambda dy, x: dy * 2 * (x - np.mean(x)) / (len(x) - 1),
        inputs=(_draw(4, 2000),),
        cause="constant-ratio",
    )


def broadcast_sum() -> Bug:
    # nd4j#2424, pytorch#1787, chainer 3daca67c8a: the gradient of what was broadcast is not summed.
    return Bug(
        name="broadcast sum",
        mistake="`x + b`: the gradient of b has the shape of x, not summed over the batch",
        forward=lambda x, b: (x + b, None),
        right=lambda dy, _: (dy.copy(), dy.sum(0)),
        wrong=lambda dy, _: (dy.copy(), dy.copy()),
        inputs=(_draw(50, 5, 4), _draw(51, 4)),
        cause="shape|broadcast",
        note="PyTorch's engine sums such a gradient by itself, so that there the bug does no harm.",
    )


def transposed() -> Bug:
    # MyGrad 41a7b2e5, candle#2337: swapped axes, invisible to shapes where a matrix is square.
    return Bug(
        name="transposed",
        mistake="`x @ w` with a square w: the gradient of w is transposed",
        forward=lambda x, w: (x @ w, (x, w)),
        right=lambda dy, cache: (dy @ cache[1].T, cache[0].T @ dy),
        wrong=lambda dy, cache: (dy @ cache[1].T, dy.T @ cache[0]),
        inputs=(_draw(60, 7, 4), _draw(61, 4, 4)),
        cause="transpose",
    )


def rotated_kernel() -> Bug:
    # The article's author: a convolution flips its kernel, and so must the gradient.
    def forward(x, kernel):
        return np.einsum("ijuv,uv->ij", sliding_window_view(x, kernel.shape), kernel[::-1, ::-1]), (x, kernel)

    def wrong(dy, cache):
        x, kernel = cache
        dx = np.zeros_like(x)
        for i, j in np.ndindex(*dy.shape):
            dx[i : i + 3, j : j + 3] += dy[i, j] * kernel[::-1, ::-1]
        return dx, np.einsum("ijuv,ij->uv", sliding_window_view(x, kernel.shape), dy)

    def right(dy, cache):
        dx, dkernel = wrong(dy, cache)
        return dx, dkernel[::-1, ::-1].copy()

    return Bug(
        name="rotated kernel",
        mistake="convolution: the gradient of the flipped kernel is not flipped back",
        forward=forward,
        right=right,
        wrong=wrong,
        inputs=(_draw(70, 6, 6), _draw(71, 3, 3)),
        cause="rotated",
    )


def padding_border() -> Bug:
    # deepnet#8: right without padding, wrong with it; dw and db are fine.
    def right(dy, _):
        rows = dy[1:-1].copy()
        rows[0] += dy[0]
        rows[-1] += dy[-1]
        dx = rows[:, 1:-1].copy()
        dx[:, 0] += rows[:, 0]
        dx[:, -1] += rows[:, -1]
        return dx

    return Bug(
        name="padding border",
        mistake="replication padding: what the copies of the border receive is cut off",
        forward=lambda x: (np.pad(x, 1, mode="edge"), None),
        right=right,
        wrong=lambda dy, _: dy[1:-1, 1:-1].copy(),
        inputs=(_draw(8, 6, 6),),
        cause="border|upstream-slice",
    )


def every_maximum() -> Bug:
    # CrypTen#90, MyGrad 78eafdb5: a mask `x == max` gives the whole gradient to every tied maximum.
    def windows(x):
        return x.reshape(2, 2, 3, 2).swapaxes(1, 2).reshape(2, 3, 4)

    def forward(x):
        return windows(x).max(-1), windows(x)

    def unfold(dw):
        return dw.reshape(2, 3, 2, 2).swapaxes(1, 2).reshape(4, 6)

    def right(dy, w):
        return unfold(dy[..., None] * (np.arange(4) == w.argmax(-1, keepdims=True)))

    def wrong(dy, w):
        return unfold(dy[..., None] * (w == w.max(-1, keepdims=True)))

    x = np.array([[3, 3, 1, 0, 2, 2], [0, 1, 2, 1, 2, 0], [1, 0, 3, 1, 0, 2], [2, 1, 0, 3, 1, 1.0]])
    maxima = windows(x) == windows(x).max(-1, keepdims=True)
    return Bug(
        name="every maximum",
        mistake="2 x 2 max-pooling of small whole numbers: each tied maximum gets the whole gradient",
        forward=forward,
        right=right,
        wrong=wrong,
        inputs=(x,),
        cause="ties|tied",
        elements=unfold(maxima & (maxima.sum(-1, keepdims=True) > 1)),
        note="All tied elements are wrong together: alone, each could be the one that gets it.",
    )


def wrong_variable() -> Bug:
    # nanonn#4: the derivative of softplus is a function of its input, and was given the output.
    def forward(x):
        y = np.log1p(np.exp(x))
        return y, y

    return Bug(
        name="wrong variable",
        mistake="softplus: the derivative in terms of the input, `1/(1 + exp(-x))`, applied to the output",
        forward=forward,
        right=lambda dy, y: -dy * np.expm1(-y),
        wrong=lambda dy, y: dy / (1 + np.exp(-y)),
        inputs=(_draw(10, 3, 4),),
        cause="wrong-variable",
    )


def log_parameter() -> Bug:
    # Gaussian-process kernels: d/dl where the parameter is theta = log l.
    points = _draw(110, 6, 3)
    squares = (points[:, None] - points) ** 2

    def forward(theta):
        k = np.exp(-np.sum(squares / np.exp(2 * theta), axis=-1) / 2)
        return k, (k, theta)

    def right(dy, cache):
        k, theta = cache
        return np.einsum("ij,ijd->d", dy * k, squares / np.exp(2 * theta))

    def wrong(dy, cache):
        k, theta = cache
        return np.einsum("ij,ijd->d", dy * k, squares / np.exp(3 * theta))

    return Bug(
        name="log parameter",
        mistake="Gaussian kernel of theta = log(length scale): the derivative for the length scale itself",
        forward=forward,
        right=right,
        wrong=wrong,
        inputs=(np.array([0.9, -0.4, 0.6]),),
        cause="parametrisation",
    )


def dropped_in_float32() -> Bug:
    # GPy 317eef33: a gradient dropped; here that of a penalty, 2 % of the whole, in single precision.
    x, targets = _draw(120, 50, 20).astype(np.float32), _draw(121, 50).astype(np.float32)
    decay = np.float32(0.02)

    def forward(w):
        residual = x @ w - targets
        return (residual @ residual / np.float32(50) + decay * (w @ w)) / np.float32(2), (residual, w)

    return Bug(
        name="float32, 2 %",
        mistake="least squares with weight decay in float32: the penalty, 2 % of the gradient, is dropped",
        forward=forward,
        right=lambda dy, cache: dy * (cache[0] @ x / np.float32(50) + decay * cache[1]),
        wrong=lambda dy, cache: dy * (cache[0] @ x / np.float32(50)),
        inputs=(_draw(122, 20).astype(np.float32),),
        cause="weight-decay",
    )


def upstream_ignored() -> Bug:
    # MyGrad ec60bec0 and most losses written by hand: right as the last layer, wrong with anything behind it.
    labels = np.array([0.0, 1, 1, 0, 1])

    def forward(x):
        return np.sum(np.log1p(np.exp(x)) - labels * x), x

    return Bug(
        name="upstream ignored",
        mistake="logistic loss: its gradient is not multiplied by dy",
        forward=forward,
        right=lambda dy, x: dy * (1 / (1 + np.exp(-x)) - labels),
        wrong=lambda dy, x: 1 / (1 + np.exp(-x)) - labels,  # noqa: ARG005 - the bug
        inputs=(_draw(13, 5),),
        cause="upstream-ignored|not multiplied by grad_output",
    )


# ---- state and memory -----------------------------------------------------------------------------------------------


def accumulates() -> Bug:
    # MXNet#9497, TensorFlow.NET#303: gradients added to those of the call before.
    total = np.zeros((3, 2))

    def wrong(dy, cache):
        x, w = cache
        total[...] += x.T @ dy
        return dy @ w.T, total.copy()

    return Bug(
        name="accumulates",
        mistake="`x @ w`: the gradient of w is added to that of the call before",
        forward=lambda x, w: (x @ w, (x, w)),
        right=lambda dy, cache: (dy @ cache[1].T, cache[0].T @ dy),
        wrong=wrong,
        inputs=(_draw(140, 5, 3), _draw(141, 3, 2)),
        cause="accumulates|not reentrant",
    )


def stale_state() -> Bug:
    # A cache filled once: what was right at the first point is returned for ever.
    kept: list[Array] = []

    def forward(x):
        return np.tanh(x), np.tanh(x)

    def wrong(dy, y):
        if not kept:
            kept.append(1 - y**2)
        return dy * kept[0]

    return Bug(
        name="stale state",
        mistake="tanh: the derivative at the first point is kept and used at every other",
        forward=forward,
        right=lambda dy, y: dy * (1 - y**2),
        wrong=wrong,
        inputs=(_draw(15, 3, 4),),
        cause="stale-gradient",
    )


def upstream_changed() -> Bug:
    # MXNet#18203: a backward that works in the memory of its dy, which others have yet to read.
    def forward(x):
        y = 1 / (1 + np.exp(-x))
        return y, y

    def wrong(dy, y):
        dy *= y * (1 - y)
        return dy

    return Bug(
        name="upstream changed",
        mistake="sigmoid: `dy *= y (1 - y)` in the caller's memory",
        forward=forward,
        right=lambda dy, y: dy * y * (1 - y),
        wrong=wrong,
        inputs=(_draw(16, 3, 4),),
        cause="upstream-changed",
    )


def one_buffer() -> Bug:
    # MyGrad 407b2764: both gradients are one array, and what is written into the second corrupts the first.
    def wrong(dy, cache):
        x, w = cache
        buffer = np.empty_like(x)
        dx, dw = np.multiply(dy, w, out=buffer), np.multiply(dy, x, out=buffer)
        return dx, dw

    return Bug(
        name="one buffer for two",
        mistake="`x * w`: both gradients are computed into the same array, so that dx is dw",
        forward=lambda x, w: (x * w, (x, w)),
        right=lambda dy, cache: (dy * cache[1], dy * cache[0]),
        wrong=wrong,
        inputs=(_draw(170, 8), _draw(171, 8)),
        cause="shares-memory|other-parameter|swapped",
    )


# ---- where checkers are blind ---------------------------------------------------------------------------------------


def tiny_gradient() -> Bug:
    # autograd#412: a log-density whose gradient had the wrong sign; with a wide density it is tiny.
    data = _draw(180, 6)

    def forward(mean):
        z = (data - mean) / 1e4
        return -np.sum(z**2) / 2, z

    return Bug(
        name="tiny gradient",
        mistake="normal log-density with sigma = 1e4, gradients of 1e-8: the wrong sign",
        forward=forward,
        right=lambda dy, z: dy * z / 1e4,
        wrong=lambda dy, z: -dy * z / 1e4,
        inputs=(_draw(181, 6),),
        cause="constant-ratio|sign",
    )


def slope_of_leaky_relu() -> Bug:
    # dl4j#8178: the backward never receives the slope and takes the default. Some inputs are exactly 0: a kink.
    def forward(x):
        return np.where(x > 0, x, 0.2 * x), x

    x = _draw(19, 4, 5)
    x[0, 1] = x[2, 3] = 0.0
    return Bug(
        name="slope, kinks at 0",
        mistake="leaky ReLU of slope 0.2, with zeros among the inputs: backward uses the slope 0.01",
        forward=forward,
        right=lambda dy, x: dy * np.where(x > 0, 1.0, 0.2),
        wrong=lambda dy, x: dy * np.where(x > 0, 1.0, 0.01),
        inputs=(x,),
        cause="wrong-slope|sign-region|constant-ratio",
    )


def memory_layout() -> Bug:
    # MXNet#19817: right for contiguous arrays, wrong after a transposition.
    def wrong(dy, x):
        return (dy.ravel(order="K") * x.ravel(order="K") ** 2).reshape(x.shape)

    return Bug(
        name="memory layout",
        mistake="`x**3 / 3`: elements are taken in the order of memory, as if everything were contiguous",
        forward=lambda x: (x**3 / 3, x),
        right=lambda dy, x: dy * x**2,
        wrong=wrong,
        inputs=(_draw(200, 4, 5),),
        cause="layout",
    )


BUGS: tuple[Callable[[], Bug], ...] = (
    missing_term,
    sign_of_one_element,
    scale_of_outputs,
    n_minus_one,
    broadcast_sum,
    transposed,
    rotated_kernel,
    padding_border,
    every_maximum,
    wrong_variable,
    log_parameter,
    dropped_in_float32,
    upstream_ignored,
    accumulates,
    stale_state,
    upstream_changed,
    one_buffer,
    tiny_gradient,
    slope_of_leaky_relu,
    memory_layout,
)
