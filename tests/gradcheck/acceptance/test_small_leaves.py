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
    searched = 58 if size < 1e-5 else 0  # for how far to move each leaf, and whether a longer step shows more
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


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize(("size", "constant"), [(1e-13, 7e3), (1e-11, 7e3)])
def test_where_noise_hides_on_which_side_of_a_bend_an_element_is_no_sign_passes(count, size, constant):
    """The slope of ``|x|**1.5`` goes from -1 to 1 nearer to zero than noise lets anyone see: what holds for one sign holds for the other."""
    x = size * np.random.default_rng(2).uniform(0.5, 1.5, count)

    def f(x):
        return np.sum(np.abs(x) ** 1.5) + constant

    claims = [factor * 1.5 * np.sqrt(x) for factor in (1, -1, 2)]
    assert [check_gradient(f, claim, x).verdict for claim in claims] == ["inconclusive"] * 3


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_at_zeros_and_at_a_kink_that_shows_any_valid_claim_passes(dtype):
    x = np.zeros(4, dtype=dtype)
    for slope in (0.0, 1.0, 0.3):
        assert check_gradient(lambda x: dtype(np.maximum(x, 0).sum()) + 7, np.full(4, slope, dtype), x).ok
    assert check_gradient(lambda x: dtype(np.maximum(x, 0).sum()) + 7, np.full(4, -0.3, dtype), x).verdict == "fail"
