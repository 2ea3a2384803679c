"""What a check says that it could not see, and that it stops saying so when its eyes are opened."""

import functools

import numpy as np
import pytest

from gradcheck import check_gradient, check_layer, check_vjp


def spots(report):
    return " / ".join(report.blind_spots)


def normalise(x, gamma, beta):
    z = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    return gamma * z + beta, (z, gamma, x.std(axis=1, keepdims=True))


def normalise_backward(dy, cache):
    z, gamma, deviation = cache
    dz = dy * gamma
    dx = (dz - dz.mean(axis=1, keepdims=True) - z * (dz * z).mean(axis=1, keepdims=True)) / deviation
    return dx, (dy * z).sum(axis=0), dy.sum(axis=0)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3))


def test_neutral_parameters_hide_what_is_multiplied_or_added():
    report = check_layer(normalise, normalise_backward, X, np.ones(3), np.zeros(3))
    assert report.ok and "gamma: all ones" in spots(report) and "beta: all zeros" in spots(report)
    seeing = check_layer(normalise, normalise_backward, X, RNG.normal(size=3), RNG.normal(size=3))
    assert seeing.ok and "all ones" not in spots(seeing) and "all zeros" not in spots(seeing)


def test_what_gamma_of_one_hides_is_seen_with_another():
    def without_gamma(dy, cache):
        return normalise_backward(
            dy, cache._replace(gamma=1.0) if hasattr(cache, "_replace") else (cache[0], 1.0, cache[2])
        )

    assert check_layer(normalise, without_gamma, X, np.ones(3), np.zeros(3)).ok
    assert not check_layer(normalise, without_gamma, X, np.full(3, 2.0), np.zeros(3)).ok


@pytest.mark.parametrize(
    ("x", "words", "opened"),
    [
        (RNG.normal(size=(3, 3)), "square", RNG.normal(size=(3, 4))),
        (RNG.normal(size=(3, 1)), "size one", RNG.normal(size=(3, 2))),
        (np.abs(RNG.normal(size=(3, 4))), "no negative", RNG.normal(size=(3, 4))),
        (RNG.normal(size=(3, 4)), "no zeros and no equal", np.array([[0.0, 1.0, 1.0], [2.0, -1.0, 3.0]])),
    ],
)
def test_shapes_and_values_hide_what_needs_others(x, words, opened):
    def check(point):
        return check_vjp(lambda x: x**3, lambda dy, x: 3 * x**2 * dy, point)

    assert words in spots(check(x)) and words not in spots(check(opened))


def test_a_batch_of_one():
    def check(n):
        return check_layer(
            lambda x, w: (x @ w, (x, w)), lambda dy, c: (dy @ c[1].T, c[0].T @ dy), RNG.normal(size=(n, 3)), X[:3, :2]
        )

    assert "x: an axis of size one" in spots(check(1)) and "size one" not in spots(check(2))


def test_neutral_arguments_of_the_signature():
    def forward(x, *, stride=1, padding=0):
        return x[::stride] * 2, (x.shape, stride)

    def backward(dy, cache):
        dx = np.zeros(cache[0])
        dx[:: cache[1]] = 2 * dy
        return dx

    assert "stride=1, padding=0" in spots(check_layer(forward, backward, X))
    assert "stride" not in spots(check_layer(functools.partial(forward, stride=2), backward, X))


def test_one_point_and_refused_layouts():
    calls = []

    def refuses(x):
        calls.append(1)
        if len(calls) <= 2 or not x.flags.c_contiguous:  # the first calls are at the second point, here and nearer
            raise ValueError("not here")
        return float((x**2).sum())

    report = check_gradient(refuses, lambda x: 2 * x, X)
    assert report.ok and "one point only" in spots(report) and "refused" in spots(report)
    seeing = check_gradient(lambda x: float((x**2).sum()), lambda x: 2 * x, X)
    assert "one point" not in spots(seeing) and "refused" not in spots(seeing)
