"""Gradients of cells that few places lie in are valid as any other, and claims beyond all of them are wrong."""

import numpy as np
import pytest

from gradcheck import check_gradient
from tests.seeds import seeds


def layer(seed, units=1):
    """A layer of weights zero, whose outputs have factors of either sign: its gradient in a cell, and the largest it can be along a direction."""
    rng = np.random.default_rng(seed)
    inputs = int(rng.integers(3, 12))
    samples = int(rng.integers(inputs // 2, 2 * inputs))
    data, factors = rng.normal(size=(samples, inputs)), rng.normal(size=(samples, units))

    def f(w):
        return float(np.sum(factors * np.maximum(data @ w.reshape(inputs, units), 0)))

    def gradient(w):
        return (data.T @ (factors * (data @ w.reshape(inputs, units) > 0))).ravel()

    def largest(direction):
        return float(np.maximum(factors * (data @ direction.reshape(inputs, units)), 0).sum())

    return inputs * units, f, gradient, largest, rng


def tied_mean(seed):
    """Elements that are all equal, cut off at their mean."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 9))
    weights = rng.normal(size=count)

    def gradient(x):
        return weights * (x < x.mean()) + np.sum(weights * (x >= x.mean())) / count

    def largest(direction):
        return float(np.abs(weights * direction).sum() + np.abs(weights).sum() * abs(direction.mean()))

    return count, lambda x: float(np.sum(weights * np.minimum(x, np.mean(x)))), gradient, largest, rng


@pytest.mark.parametrize("seed", seeds(40, quick=8))
@pytest.mark.parametrize("made", [layer, lambda seed: layer(seed, 3), tied_mean], ids=["layer", "units", "mean"])
def test_no_gradient_of_a_cell_is_called_wrong_and_nothing_beyond_all_of_them_right(made, seed):
    count, f, gradient, largest, rng = made(seed)
    places = [rng.normal(size=count) * 10.0 ** rng.uniform(-3, 0, count) for _ in range(4)]
    cells = [gradient(place) for place in places]
    for claim in (cells[0], rng.dirichlet(np.ones(4)) @ cells):
        assert check_gradient(f, claim, np.zeros(count), rng=seed).verdict != "fail"
    direction = rng.normal(size=count)
    beyond = cells[0] + direction * (1.3 * largest(direction) - direction @ cells[0]) / (direction @ direction)
    assert check_gradient(f, beyond, np.zeros(count), rng=seed).verdict == "fail"


@pytest.mark.parametrize("count", [4, 7, 10])
def test_a_few_elements_that_tie_with_others_whose_claims_agree_are_valid(count):
    """A mean of some gradients of a largest element with a bound: the others claim zero, as differences of each say of all."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        claim = np.zeros(count)
        claim[rng.permutation(count)[:4]] = 0.1 + 0.6 * rng.dirichlet(np.ones(4))
        for total, verdict in ((0.9, "pass"), (1.2, "fail")):
            x, gradient = np.append(np.ones(count), 3.0), np.append(total * claim, 6.0)
            report = check_gradient(lambda x: min(np.max(x[:-1]), 1.0) + x[-1] ** 2, gradient, x, rng=seed)
            assert report.verdict == verdict, str(report)
