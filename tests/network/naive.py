"""The layers as loops over the formulas, one number at a time: slow, and easy to believe.

Written for the tests, not from the layers. Images are (N, C, H, W), without leading axes.
"""

import math
from itertools import product

import numpy as np


def output_length(length, kernel, stride, padding, dilation=1):
    """How many windows fit, by trying."""
    starts = range(-padding, length + padding, stride)
    return sum(start + dilation * (kernel - 1) < length + padding for start in starts)


def conv2d_terms(x_shape, w_shape, *, stride, padding, dilation, groups):
    """Yield every (output index, image index, kernel index) whose product is a term of a convolution."""
    samples, _, height, width = x_shape
    outputs, channels, kh, kw = w_shape
    oh = output_length(height, kh, stride[0], padding[0], dilation[0])
    ow = output_length(width, kw, stride[1], padding[1], dilation[1])
    for n, o, i, j, c, u, v in product(*map(range, (samples, outputs, oh, ow, channels, kh, kw))):
        p = i * stride[0] + u * dilation[0] - padding[0]
        q = j * stride[1] + v * dilation[1] - padding[1]
        if 0 <= p < height and 0 <= q < width:
            group = o // (outputs // groups)
            yield (n, o, i, j), (n, group * channels + c, p, q), (o, c, u, v)


def conv2d(x, w, b, **geometry):
    """y of a convolution, in double precision."""
    oh, ow = (
        output_length(
            x.shape[axis], w.shape[axis], *(geometry[name][axis] for name in ("stride", "padding", "dilation"))
        )
        for axis in (-2, -1)
    )
    y = np.zeros((x.shape[0], w.shape[0], oh, ow))
    for at_y, at_x, at_w in conv2d_terms(x.shape, w.shape, **geometry):
        y[at_y] += float(x[at_x]) * float(w[at_w])
    if b is not None:
        for o in range(w.shape[0]):
            y[:, o] += float(b[o])
    return y


def conv2d_gradients(dy, x, w, **geometry):
    """dx, dw and db of a convolution, in double precision."""
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(w.shape[0])
    for at_y, at_x, at_w in conv2d_terms(x.shape, w.shape, **geometry):
        dx[at_x] += float(dy[at_y]) * float(w[at_w])
        dw[at_w] += float(dy[at_y]) * float(x[at_x])
    for at_y in np.ndindex(*dy.shape):
        db[at_y[1]] += float(dy[at_y])
    return dx, dw, db


def max_pool2d_winners(x, *, kernel_size, stride, padding):
    """Yield every (output index, index of the winner in x): the first maximum in row-major order, or the last NaN."""
    *leading, height, width = x.shape
    oh, ow = (
        output_length(length, *entries)
        for length, *entries in zip((height, width), kernel_size, stride, padding, strict=True)
    )
    for *at, i, j in np.ndindex(*leading, oh, ow):
        winner = None
        for u, v in product(range(kernel_size[0]), range(kernel_size[1])):
            p, q = i * stride[0] + u - padding[0], j * stride[1] + v - padding[1]
            if not (0 <= p < height and 0 <= q < width):
                continue
            candidate = (*at, p, q)
            if winner is None or x[candidate] > x[winner] or math.isnan(x[candidate]):
                winner = candidate
        yield (*at, i, j), winner


def max_pool2d(x, **geometry):
    """y of a max pooling."""
    pairs = list(max_pool2d_winners(x, **geometry))
    shape = tuple(1 + max(at_y[axis] for at_y, _ in pairs) for axis in range(x.ndim)) if pairs else (0,) * x.ndim
    y = np.empty(shape, x.dtype)
    for at_y, at_x in pairs:
        y[at_y] = x[at_x]
    return y


def max_pool2d_gradient(dy, x, **geometry):
    """dx of a max pooling, in double precision."""
    dx = np.zeros(x.shape)
    for at_y, at_x in max_pool2d_winners(x, **geometry):
        dx[at_x] += float(dy[at_y])
    return dx


def dense(x, w, b):
    """y of a dense layer, in double precision."""
    y = np.zeros((x.shape[0], w.shape[1]))
    for n, o in np.ndindex(*y.shape):
        y[n, o] = math.fsum(float(x[n, i]) * float(w[i, o]) for i in range(x.shape[1])) + (
            0 if b is None else float(b[o])
        )
    return y


def dense_gradients(dy, x, w):
    """dx, dw and db of a dense layer, in double precision."""
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(w.shape[1])
    for n, i, o in product(range(x.shape[0]), *map(range, w.shape)):
        dx[n, i] += float(dy[n, o]) * float(w[i, o])
        dw[i, o] += float(dy[n, o]) * float(x[n, i])
    for n, o in np.ndindex(*dy.shape):
        db[o] += float(dy[n, o])
    return dx, dw, db
