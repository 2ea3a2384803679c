"""Layers with many kinks at once: valid claims at each pass, gradient to every tied maximum does not."""

import numpy as np
import pytest

from gradcheck import check_layer


def windows(x):
    """Cut a map into windows of 2x2: (H, W) -> (H/2, W/2, 4)."""
    h, w = x.shape
    return x.reshape(h // 2, 2, w // 2, 2).swapaxes(1, 2).reshape(h // 2, w // 2, 4)


def unwind(cut):
    h, w, _ = cut.shape
    return cut.reshape(h, w, 2, 2).swapaxes(1, 2).reshape(2 * h, 2 * w)


def pool(x):
    cut = windows(x)
    return cut.max(axis=-1), cut


def to_the_first(dy, cut):
    return unwind(np.eye(4)[cut.argmax(axis=-1)] * dy[..., None])


def to_the_last(dy, cut):
    return unwind(np.eye(4)[3 - cut[..., ::-1].argmax(axis=-1)] * dy[..., None])


def shared(dy, cut):
    tied = cut == cut.max(axis=-1, keepdims=True)
    return unwind(tied / tied.sum(axis=-1, keepdims=True) * dy[..., None])


def to_all(dy, cut):
    return unwind((cut == cut.max(axis=-1, keepdims=True)) * dy[..., None])


def dropped(dy, cut):
    tied = (cut == cut.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True)
    return unwind(np.eye(4)[cut.argmax(axis=-1)] * (dy[..., None] * (tied == 1)))


def blank(share, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(12, 10))
    x[rng.random(x.shape) < share] = 0.0
    return x


@pytest.mark.parametrize(("share", "seed"), [(1.0, 0), (0.8, 0), (0.8, 1), (0.5, 2)])
@pytest.mark.parametrize("backward", [to_the_first, to_the_last, shared])
def test_valid_gradients_at_many_ties_pass(backward, share, seed):
    report = check_layer(pool, backward, blank(share, seed), rng=seed)
    assert report.ok, str(report)


def test_one_tie_among_many_equals():
    """Four tied in a window that nobody else shares, and a hundred zeros elsewhere that are not the largest."""
    x = np.zeros((16, 14))
    x[::2, ::2] = 1 + np.arange(56.0).reshape(8, 7)
    x[:2, :2] = 0.0
    assert check_layer(pool, to_the_first, x).ok
    report = check_layer(pool, to_all, x)
    assert report.verdict == "fail"
    assert set(map(tuple, np.argwhere(report.parameters["x"].wrong))) <= {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize(("share", "seed"), [(1.0, 0), (0.8, 0), (0.8, 1)])
@pytest.mark.parametrize("backward", [to_all, dropped])
def test_invalid_gradients_at_many_ties_fail(backward, share, seed):
    report = check_layer(pool, backward, blank(share, seed), rng=seed)
    assert report.verdict == "fail", str(report)
    tied = windows(blank(share, seed))
    alone = (tied == tied.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True) == 1
    right = unwind(np.broadcast_to(alone, tied.shape))
    assert not np.any(report.parameters["x"].wrong[right])


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_any_slope_of_relu_at_many_zeros_passes(slope, dtype):
    def backward(dy, x):
        return dy * np.where(x > 0, dy.dtype.type(1), np.where(x == 0, dy.dtype.type(slope), dy.dtype.type(0)))

    assert check_layer(lambda x: (np.maximum(x, 0), x), backward, blank(0.6, 1).astype(dtype)).ok


@pytest.mark.parametrize("slope", [1.2, -0.2])
def test_a_slope_beyond_both_sides_fails(slope):
    def backward(dy, x):
        return dy * np.where(x > 0, 1.0, np.where(x == 0, slope, 0.0))

    x = blank(0.6, 1)
    report = check_layer(lambda x: (np.maximum(x, 0), x), backward, x)
    np.testing.assert_array_equal(report.parameters["x"].wrong, x == 0)


def test_relu_after_a_dense_layer_at_a_blank_input():
    """Every output depends on every input there: nothing is separable, and nothing is called wrong."""
    w = np.random.default_rng(0).normal(size=(6, 5))

    def backward(dy, cache):
        return (dy * (cache > 0)) @ w.T

    report = check_layer(lambda x: (np.maximum(x @ w, 0), x @ w), backward, np.zeros((4, 6)))
    assert report.verdict != "fail", str(report)
