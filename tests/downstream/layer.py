"""A layer of somebody else's project: softplus with a learnt slope."""

import numpy as np


def forward(x, slope):
    z = slope * x
    return np.logaddexp(0.0, z), (x, slope)


def backward(dy, cache):
    x, slope = cache
    dz = dy / (1.0 + np.exp(-slope * x))
    return dz * slope, np.sum(dz * x, axis=0)


def backward_without_batch_sum(dy, cache):
    """Imitates a broadcast sum that was forgotten and papered over with a mean."""
    x, slope = cache
    dz = dy / (1.0 + np.exp(-slope * x))
    return dz * slope, np.mean(dz * x, axis=0)
