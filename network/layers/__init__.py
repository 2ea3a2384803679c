"""The layers: pure pairs ``y, cache = ..._forward(...)`` and ``gradients = ..._backward(dy, cache)``."""

from network.layers.activations import (
    ArctanCache,
    ReluCache,
    SigmoidCache,
    TanhCache,
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
    "ArctanCache",
    "Conv2dCache",
    "DenseCache",
    "MaxPool2dCache",
    "ReluCache",
    "SigmoidCache",
    "TanhCache",
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
