"""Layers as pure pairs: ``y, cache = ..._forward(...)`` and ``gradients = ..._backward(dy, cache)``.

Backward returns the gradients in the order of the forward's array arguments, a single one bare. Leading axes (``...``)
of data and weights broadcast as in `numpy.matmul`, and backward sums over the axes along which an operand was
broadcast. Nothing given is changed, and results share no memory with arguments, cache or each other.
"""

from network.layers.activations import (
    ActivationCache,
    arctan_backward,
    arctan_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from network.layers.convolution import Conv2dCache, conv2d_backward, conv2d_forward
from network.layers.dense import DenseCache, dense_backward, dense_forward
from network.layers.pooling import MaxPool2dCache, max_pool2d_backward, max_pool2d_forward

__all__ = [
    "ActivationCache",
    "Conv2dCache",
    "DenseCache",
    "MaxPool2dCache",
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
