"""Functions for checks in other processes: they must be found there by name."""

import os
import time
from pathlib import Path

import numpy as np


def value(params):
    return float(np.sum(np.sin(params["w"]) * params["b"]) + params["c"] ** 3)


def gradient(params):
    w, b, c = params["w"], params["b"], params["c"]
    return {"w": np.cos(w) * b, "b": np.sin(w).sum(axis=0), "c": 3 * c**2}


def wrong_gradient(params):
    right = gradient(params)
    right["w"][1, 2] *= -1
    return right


def vectorized(x):
    return np.sum(np.sin(x), axis=-1)


def value_and_gradient(x):
    return float(np.sum(np.sin(x))), np.cos(x)


def layer_forward(x, w):
    return np.tanh(x @ w), (x, w, np.tanh(x @ w))


def layer_backward(dy, cache):
    x, w, y = cache
    d = dy * (1 - y**2)
    return d @ w.T, x.T @ d


def product(x):
    return np.array([x[0] * x[1], np.sin(x[0]), x[1] ** 2])


def cubes(x):
    return float(np.sum(x**3))


def squares(x):
    return x**3 / 3


class LeavesAfter:
    """A function that ends its process, once if ``mark`` is given, at points where the first element is large."""

    def __init__(self, parent, mark=None):
        self.parent = parent
        self.mark = mark

    def __call__(self, x):
        if os.getpid() != self.parent and x[3] > 0.7 and not (self.mark and Path(self.mark).exists()):
            if self.mark:
                Path(self.mark).touch()
            os._exit(1)
        return float(np.sum(np.sin(x)))


class Custom(Exception):  # noqa: N818 - as users name theirs
    """Cannot be unpickled: it takes two arguments and tells its base about one."""

    def __init__(self, one, two):
        super().__init__(one)
        self.two = two


class RaisesAfter:
    """A function that raises at points where the fourth element is large."""

    def __init__(self, error):
        self.error = error

    def __call__(self, x):
        if x[3] > 0.7:
            raise Custom("no", 2) if self.error == "custom" else IndexError("on purpose")
        return float(np.sum(np.sin(x)))


class Slowly:
    """Takes its time, and adds a byte to a file in every call, so that others see how many there were."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, x):
        with Path(self.calls).open("ab") as file:
            file.write(b".")
        time.sleep(0.05)
        return float(np.sum(np.sin(x)))


def tanh_forward(x):
    return np.tanh(x), x


def tanh_backward(dy, x):
    return dy * (1 - np.tanh(x) ** 2)


def matrix_forward(x, w):
    return x @ w, (x, w)


def matrix_backward(dy, cache):
    x, w = cache
    return dy @ w.T, x.T @ dy
