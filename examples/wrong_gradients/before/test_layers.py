"""Four tests as there are many. They pass; so do many wrong gradients."""

import numpy as np
from layers import dense_backward, dense_forward

X = np.ones((3, 3))
W = np.array([[1.0, 2.0, 3.0], [2.0, 1.0, 2.0], [3.0, 2.0, 1.0]])
B = np.zeros(3)


def test_shapes():
    y, cache = dense_forward(X, W, B)
    dx, dw, db = dense_backward(np.ones_like(y), cache)
    assert dx.shape == X.shape and dw.shape == W.shape and db.shape == B.shape


def test_weights_against_differences():
    y, cache = dense_forward(X, W, B)
    _, dw, _ = dense_backward(np.ones_like(y), cache)
    step = np.zeros_like(W)
    step[0, 0] = 1e-5
    slope = (dense_forward(X, W + step, B)[0].sum() - dense_forward(X, W - step, B)[0].sum()) / 2e-5
    np.testing.assert_allclose(dw[0, 0], slope, rtol=1e-4)


def test_inputs():
    y, cache = dense_forward(X, W, B)
    dx, _, _ = dense_backward(np.ones_like(y), cache)
    np.testing.assert_allclose(dx, np.ones((3, 3)) @ W.T, rtol=1e-4)


def test_training_lowers_the_loss():
    w = W.copy()
    losses = []
    for _ in range(20):
        y, cache = dense_forward(X, w, B)
        losses.append(np.sum((y - 1) ** 2))
        w -= 0.01 * dense_backward(2 * (y - 1), cache)[1]
    assert losses[-1] < losses[0]
