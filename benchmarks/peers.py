"""What the measured functions are compared with, each as ``forward`` and ``backward`` of 3x3 kernels or 2x2 windows.

A peer gets NumPy arrays, prepares what a user would have at hand (tensors, compiled functions, a recorded graph), and
returns a `Call`: only its ``run`` is timed. A peer that is not installed skips its benchmark.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.signal import convolve2d, correlate2d

from network.layers import conv2d_backward, conv2d_forward, max_pool2d_backward, max_pool2d_forward
from tests.network import naive

__all__ = ["CONV2D", "MAX_POOL2D", "Call", "both"]

CONV2D_GEOMETRY = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
MAX_POOL2D_GEOMETRY = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0)}


@dataclass(frozen=True)
class Call:
    """Something to time: ``run(*setup())``, where ``setup`` is not timed and anew before each run if there is one."""

    run: Callable[..., Any]
    setup: Callable[[], tuple[Any, ...]] | None = None

    def results(self):
        """Return what it computes as a tuple of NumPy arrays."""
        results = self.run(*(self.setup() if self.setup else ()))
        return tuple(np.asarray(result) for result in (results if isinstance(results, (tuple, list)) else (results,)))


def both(forward: Call, backward: Call) -> Call:
    """Return forward and backward as one call; where backward consumes a graph, recording that is the forward."""
    if backward.setup is None:
        return Call(lambda: (forward.run(), backward.run()))
    setup, run = backward.setup, backward.run
    return Call(lambda: run(*setup()))


class Ours:
    """The functions that are measured."""

    def conv2d_forward(self, x, w, b):
        return Call(lambda: conv2d_forward(x, w, b, padding=1)[0])

    def conv2d_backward(self, dy, x, w, b):
        _, cache = conv2d_forward(x, w, b, padding=1)
        return Call(lambda: conv2d_backward(dy, cache))

    def max_pool2d_forward(self, x):
        return Call(lambda: max_pool2d_forward(x, 2)[0])

    def max_pool2d_backward(self, dy, x):
        _, cache = max_pool2d_forward(x, 2)
        return Call(lambda: max_pool2d_backward(dy, cache))


class Naive:
    """Loops over the formulas."""

    def conv2d_forward(self, x, w, b):
        return Call(lambda: naive.conv2d(x, w, b, **CONV2D_GEOMETRY))

    def conv2d_backward(self, dy, x, w, b):  # noqa: ARG002 - db does not depend on b
        return Call(lambda: naive.conv2d_gradients(dy, x, w, **CONV2D_GEOMETRY))

    def max_pool2d_forward(self, x):
        return Call(lambda: naive.max_pool2d(x, **MAX_POOL2D_GEOMETRY))

    def max_pool2d_backward(self, dy, x):
        return Call(lambda: naive.max_pool2d_gradient(dy, x, **MAX_POOL2D_GEOMETRY))


class SciPy:
    """One call of SciPy for each image, channel and kernel."""

    def conv2d_forward(self, x, w, b):
        def run():
            y = np.empty((x.shape[0], w.shape[0], *x.shape[2:]), x.dtype)
            for n, o in np.ndindex(*y.shape[:2]):
                y[n, o] = b[o] + sum(correlate2d(x[n, c], w[o, c], "same") for c in range(x.shape[1]))
            return y

        return Call(run)

    def conv2d_backward(self, dy, x, w, b):  # noqa: ARG002
        def run():
            dx, dw = np.zeros_like(x), np.zeros_like(w)
            padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
            for n, o, c in np.ndindex(x.shape[0], *w.shape[:2]):
                dx[n, c] += convolve2d(dy[n, o], w[o, c], "same")
                dw[o, c] += correlate2d(padded[n, c], dy[n, o], "valid")
            return dx, dw, dy.sum((0, 2, 3))

        return Call(run)


class Torch:
    """PyTorch's functions without the recording of a graph, backward as the bare kernel."""

    def __init__(self):
        self.torch = pytest.importorskip("torch")

    def conv2d_forward(self, x, w, b):
        operands = [self.torch.from_numpy(array) for array in (x, w, b)]
        return Call(lambda: self._inference(self.torch.nn.functional.conv2d, *operands, padding=1))

    def conv2d_backward(self, dy, x, w, b):
        operands = [self.torch.from_numpy(array) for array in (dy, x, w)]
        options = ([len(b)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True] * 3)
        return Call(lambda: self.torch.ops.aten.convolution_backward(*operands, *options))

    def max_pool2d_forward(self, x):
        x = self.torch.from_numpy(x)
        return Call(lambda: self._inference(self.torch.nn.functional.max_pool2d, x, 2))

    def max_pool2d_backward(self, dy, x):
        dy, x = self.torch.from_numpy(dy), self.torch.from_numpy(x)
        _, index = self.torch.nn.functional.max_pool2d(x, 2, return_indices=True)
        backward = self.torch.ops.aten.max_pool2d_with_indices_backward
        return Call(lambda: backward(dy, x, [2, 2], [2, 2], [0, 0], [1, 1], False, index))

    def _inference(self, function, *arguments, **options):
        with self.torch.inference_mode():
            return function(*arguments, **options)


class Jax:
    """JAX, compiled; the time to compile is not measured, that to wait for the result is."""

    def __init__(self):
        self.jax = pytest.importorskip("jax")
        self.jax.config.update("jax_enable_x64", True)

    def conv2d_forward(self, x, w, b):
        return self._forward(self._conv2d, x, w, b)

    def conv2d_backward(self, dy, x, w, b):
        return self._backward(self._conv2d, dy, x, w, b)

    def max_pool2d_forward(self, x):
        return self._forward(self._max_pool2d, x)

    def max_pool2d_backward(self, dy, x):
        return self._backward(self._max_pool2d, dy, x)

    def _conv2d(self, x, w, b):
        return self.jax.lax.conv(x, w, (1, 1), "SAME") + b[:, None, None]

    def _max_pool2d(self, x):
        return self.jax.lax.reduce_window(x, -np.inf, self.jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def _forward(self, function, *operands):
        function, operands = self.jax.jit(function), [self.jax.numpy.asarray(operand) for operand in operands]
        return Call(lambda: self.jax.block_until_ready(function(*operands)))

    def _backward(self, function, dy, *operands):
        _, vjp = self.jax.vjp(function, *(self.jax.numpy.asarray(operand) for operand in operands))
        vjp, dy = self.jax.jit(vjp), self.jax.numpy.asarray(dy)
        return Call(lambda: self.jax.block_until_ready(vjp(dy)))


class MyGrad:
    """MyGrad; its backward consumes the graph, so a new one is recorded before each run."""

    def __init__(self):
        self.mygrad = pytest.importorskip("mygrad")
        self.layers = pytest.importorskip("mygrad.nnet.layers")

    def conv2d_forward(self, x, w, b):
        def run():
            with self.mygrad.no_autodiff:
                return self._conv2d(x, w, b)

        return Call(run)

    def conv2d_backward(self, dy, x, w, b):
        return self._backward(self._conv2d, dy, x, w, b)

    def max_pool2d_forward(self, x):
        def run():
            with self.mygrad.no_autodiff:
                return self.layers.max_pool(x, (2, 2), (2, 2))

        return Call(run)

    def max_pool2d_backward(self, dy, x):
        return self._backward(lambda x: self.layers.max_pool(x, (2, 2), (2, 2)), dy, x)

    def _conv2d(self, x, w, b):
        return self.layers.conv_nd(x, w, stride=1, padding=1) + b[:, None, None]

    def _backward(self, function, dy, *operands):
        def setup():
            tensors = [self.mygrad.tensor(operand) for operand in operands]
            return function(*tensors), tensors

        def run(y, tensors):
            y.backward(dy)
            return [tensor.grad for tensor in tensors]

        return Call(run, setup)


class Autograd:
    """HIPS autograd and its convolution; it has no pooling."""

    def __init__(self):
        self.make_vjp = pytest.importorskip("autograd").make_vjp
        self.numpy = pytest.importorskip("autograd.numpy")
        self.convolve = pytest.importorskip("autograd.scipy.signal").convolve

    def conv2d_forward(self, x, w, b):
        return Call(lambda: self._conv2d((x, w, b)))

    def conv2d_backward(self, dy, x, w, b):
        vjp, _ = self.make_vjp(self._conv2d)((x, w, b))
        return Call(lambda: vjp(dy))

    def _conv2d(self, operands):
        x, w, b = operands
        padded = self.numpy.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "constant")
        y = self.convolve(padded, w[:, :, ::-1, ::-1], axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")
        return y + b[:, None, None]


CONV2D: dict[str, type] = {
    "ours": Ours,
    "naive": Naive,
    "scipy": SciPy,
    "torch": Torch,
    "jax": Jax,
    "mygrad": MyGrad,
    "autograd": Autograd,
}
MAX_POOL2D: dict[str, type] = {"ours": Ours, "naive": Naive, "torch": Torch, "jax": Jax, "mygrad": MyGrad}
