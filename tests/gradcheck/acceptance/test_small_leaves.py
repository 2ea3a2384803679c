"""Networks all of whose weights are small, as one step after they were zero: gradients are as small as they."""

import numpy as np
import pytest

from gradcheck import check_gradient

RNG = np.random.default_rng(17)
INPUTS, TARGETS = RNG.normal(size=(7, 3)), RNG.normal(size=(7, 2))
PARAMS = {"first": RNG.normal(size=(3, 4)), "bias": RNG.normal(size=4), "second": RNG.normal(size=(4, 2))}


def hidden(params):
    return np.arctan(INPUTS @ params["first"] + params["bias"])


def loss(params):
    return np.mean((hidden(params) @ params["second"] - TARGETS) ** 2)


def gradient(params):
    h = hidden(params)
    error = 2 * (h @ params["second"] - TARGETS) / TARGETS.size
    slope = (error @ params["second"].T) / (1 + np.tan(h) ** 2)
    return {"first": INPUTS.T @ slope, "bias": slope.sum(axis=0), "second": h.T @ error}


def at(size):
    return {name: size * value for name, value in PARAMS.items()}


@pytest.mark.parametrize("size", [1.0, 1e-2, 1e-4, 1e-6])
def test_an_error_of_one_per_cent_shows_at_every_size(size):
    right = check_gradient(loss, gradient, at(size))
    searched = 50 if size < 1e-5 else 0  # for how far to move each leaf
    assert right.ok and right.evaluations <= 2 * 24 + 100 + searched
    for name in PARAMS:
        wrong = check_gradient(loss, lambda p, n=name: {**gradient(p), n: 1.01 * gradient(p)[n]}, at(size))
        assert [leaf for leaf, found in wrong.parameters.items() if found.wrong.any()] == [name]


@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-8])
def test_a_gradient_kept_from_the_first_call_is_noticed_at_every_size(size):
    kept = []

    def stale(params):
        kept.append(gradient(params))
        return kept[0]

    assert check_gradient(loss, stale, at(size)).verdict == "fail"
    assert check_gradient(loss, gradient, at(size)).ok
