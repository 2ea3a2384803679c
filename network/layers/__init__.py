"""Layers as pure forward/backward pairs: ``y, cache = x_forward(...)``, ``gradients = x_backward(dy, cache)``.

Backward returns the gradients in the order of the forward's array arguments, a single one bare. Leading axes (``...``)
of data and weights broadcast as in `numpy.matmul`, and backward sums over the axes along which an operand was
broadcast. Nothing given is changed, and results share no memory with arguments, cache or each other.
"""

from network.layers.activations import (
    arctan_backward,
    arctan_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from network.layers.convolution import conv2d_backward, conv2d_forward
from network.layers.dense import dense_backward, dense_forward
from network.layers.pooling import max_pool2d_backward, max_pool2d_forward

__all__ = [
    "arctan_backward",
    "arctan_forward",
    "conv2d_backward",
    "conv2d_forward",
    "dense_backward",
    "dense_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "relu_backward",
    "relu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "tanh_backward",
    "tanh_forward",
]
