"""Functions for checks on other machines: they must be found there by name."""

import os
import time

import numpy as np


def sines(x):
    return float(np.sum(np.sin(x)))


def slow_sines(x):
    time.sleep(0.01)
    return sines(x)


def divides(x):
    if np.linspace(0.1, 0.9, 60)[3] != x[3]:
        raise IndexError
    return sines(x)


class Dies:
    """A function that ends every process but the one of the check."""

    def __init__(self, parent):
        self.parent = parent

    def __call__(self, x):
        if os.getpid() != self.parent:
            os._exit(1)
        return sines(x)
