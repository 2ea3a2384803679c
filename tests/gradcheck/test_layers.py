"""Layers in double and single precision: right ones pass within the cost that is promised, wrong ones are located."""

import numpy as np
import pytest

from gradcheck import check_gradient, check_jacobian, check_layer
from tests.seeds import seeds

# ---- what is promised of right ones, and bugs in them ------------------------------------------------------------------


def dense(x, w, b):
    return x @ w + b, (x, w)


def dense_backward(dy, cache):
    x, w = cache
    return dy @ w.T, x.T @ dy, dy.sum(0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    y = e / e.sum(-1, keepdims=True)
    return y, y


def softmax_backward(dy, y):
    return y * (dy - np.sum(dy * y, -1, keepdims=True))


def attention(q, k, v):
    a, _ = softmax(q @ k.T / q.dtype.type(2))
    return a @ v, (q, k, v, a)


def attention_backward(dy, cache):
    q, k, v, a = cache
    ds = softmax_backward(dy @ v.T, a) / a.dtype.type(2)
    return ds @ k, ds.T @ q, a.T @ dy


def layer_norm(x, gamma):
    centred = x - x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + x.dtype.type(1e-5))
    return centred * scale * gamma, (centred * scale, scale, gamma)


def layer_norm_backward(dy, cache):
    y, scale, gamma = cache
    d = dy * gamma
    return scale * (d - d.mean(-1, keepdims=True) - y * (d * y).mean(-1, keepdims=True)), (dy * y).sum(0)


def average_pool(x):
    n, h, w = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2).mean((2, 4)), None


def average_pool_backward(dy, cache):
    return (dy / dy.dtype.type(4)).repeat(2, 1).repeat(2, 2)


def absolute(x):
    return np.sum(np.abs(x)), x


def absolute_backward(dy, x):
    return dy * np.sign(x)


LAYERS = {
    "dense": (dense, dense_backward, [(4, 3), (3, 5), (5,)]),
    "softmax": (softmax, softmax_backward, [(3, 5)]),
    "attention": (attention, attention_backward, [(3, 4), (5, 4), (5, 2)]),
    "layer norm": (layer_norm, layer_norm_backward, [(6, 4), (4,)]),
    "average pool": (average_pool, average_pool_backward, [(2, 4, 4)]),
    "absolute values": (absolute, absolute_backward, [(9,)]),
}


def inputs(shapes, seed, dtype):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", seeds(3))
def test_right_layers_pass_and_cost_what_is_promised(name, dtype, seed):
    forward, backward, shapes = LAYERS[name]
    point = inputs(shapes, seed, dtype)
    report = check_layer(forward, backward, *point, rng=seed)
    assert report.verdict == "pass", str(report)
    assert report.evaluations <= 2 * sum(part.size for part in point) + 100


@pytest.mark.parametrize(
    ("name", "changed", "bug", "wrong"),
    [
        # the mean in place of the sum over the batch
        ("dense", 2, lambda dy, cache, g: dy.mean(0), np.ones(5)),
        # the last sample is dropped
        ("dense", 0, lambda dy, cache, g: g * (np.arange(4) < 3)[:, None], np.arange(12).reshape(4, 3) > 8),
        # the diagonal of the Jacobian only
        ("softmax", 0, lambda dy, y, g: dy * y * (1 - y), np.ones((3, 5))),
        # the scale of the scores, forgotten
        ("attention", 1, lambda dy, cache, g: 2 * g, np.ones((5, 4))),
        # gamma is one in most tests
        ("layer norm", 0, lambda dy, cache, g: g + dy * (1 - cache[2]) * cache[1], np.ones((6, 4))),
        # everything to one corner of the window
        ("average pool", 0, lambda dy, cache, g: 4 * g * _corners(g), np.ones((2, 4, 4))),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_bugs_are_located(name, changed, bug, wrong, dtype):
    forward, backward, shapes = LAYERS[name]

    def buggy(dy, cache):
        gradients = backward(dy, cache)
        gradients = list(gradients) if isinstance(gradients, tuple) else [gradients]
        gradients[changed] = bug(dy, cache, gradients[changed]).astype(dtype)
        return tuple(gradients)

    report = check_layer(forward, buggy, *inputs(shapes, 1, dtype))
    assert report.verdict == "fail"
    for number, parameter in enumerate(report.parameters.values()):
        expected = wrong if number == changed else np.zeros(parameter.shape)
        np.testing.assert_array_equal(parameter.wrong, expected.astype(bool))


def _corners(g):
    even = np.arange(4) % 2 == 0
    return (even[:, None] & even).astype(g.dtype)


# ---- elements of many sizes in one leaf --------------------------------------------------------------------------------


def ridge(x):
    return x @ x / 2 + np.arctan(x).sum(), lambda x: x + 1 / (1 + x * x)


def mean_of_sines(x):
    u = x / (1 + x * x)
    return np.sin(u).mean() + 1, lambda x: np.cos(x / (1 + x * x)) * (1 - x * x) / (1 + x * x) ** 2 / x.size


@pytest.mark.parametrize("function", [ridge, mean_of_sines])
@pytest.mark.parametrize("spread", [4, 8])
@pytest.mark.parametrize("size", [60, 300])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", seeds(3))
def test_nothing_is_called_wrong_by_steps_far_longer_than_the_element(function, spread, size, dtype, seed):
    """Beside large elements the small ones get steps that pass over all that the function does near them."""
    rng = np.random.default_rng(seed)
    x = (np.exp(spread * rng.normal(size=size)) * rng.choice([-1, 1], size)).astype(dtype)
    with np.errstate(all="ignore"):
        derivative = function(x)[1]
        report = check_gradient(
            lambda x: function(x)[0], lambda x: derivative(x.astype(float)).astype(dtype), x, rng=seed
        )
    assert report.verdict != "fail", str(report)


# ---- many outputs, some of which have nothing to do with the element -----------------------------------------------------


def cholesky(a):
    return np.linalg.cholesky((a + a.T) / 2)


def cholesky_jacobian(a):
    factor = cholesky(a)
    inverse = np.linalg.inv(factor)
    jacobian = np.zeros(a.shape * 2)
    for i, j in np.ndindex(a.shape):
        move = np.zeros_like(a)
        move[i, j] += 0.5
        move[j, i] += 0.5
        inner = np.tril(inverse @ move @ inverse.T)
        jacobian[:, :, i, j] = factor @ (inner - np.diag(np.diag(inner)) / 2)
    return jacobian


@pytest.mark.parametrize("seed", seeds(3))
def test_a_function_is_not_called_where_it_raises(seed):
    """The zeros above the diagonal stand still however far one moves, and say nothing of how near a kink may be."""
    a = np.random.default_rng(seed).normal(size=(4, 4))
    a = a @ a.T + 2 * np.eye(4)
    assert check_jacobian(cholesky, cholesky_jacobian, a, rng=seed).ok

    def one_sign(a):
        jacobian = cholesky_jacobian(a)
        jacobian[0, 0, 0, 0] *= -1
        return jacobian

    report = check_jacobian(cholesky, one_sign, a, rng=seed)
    assert np.argwhere(report.parameters["params"].wrong).tolist() == [[0, 0, 0, 0]]
