"""The noise of a function is measured within a small factor, and what is no noise is not taken for it."""

import zlib

import numpy as np
import pytest

from gradcheck import check_gradient
from gradcheck.differences.lengths import lengths_of
from gradcheck.differences.noise import OFFSETS, noise_from_samples, output_quantum
from gradcheck.differences.sampled_noise import measure_noise
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe

X = np.random.default_rng(3).normal(size=10)


def measured(f, x=X, seed=0):
    point = point_of(x, "params")
    output = Output.of(f(x), "f")
    probe = Probe(f, point, output, np.ones((1, 1)), Budget())
    return float(measure_noise(probe, probe.read(f(x)), {0: lengths_of(x)}, np.random.default_rng(seed))[0])


def scrambled(x):
    """A number in -1..1 that depends on every bit of x."""
    return zlib.crc32(x.tobytes()) % 2**20 / 2**19 - 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("f", "deviation"),
    [
        (lambda x: float(np.float32(np.sin(x).sum())), 6e-8),
        (lambda x: float(np.sin(x).sum() + 1e9 - 1e9), 6e-8),
        (lambda x: round(float(np.sin(x).sum()), 6), 3e-7),
        (lambda x: np.floor(np.sin(x).sum() / 3e-6) * 3e-6, 1e-6),
        (lambda x: float(np.sin(x).sum() + 1e-7 * scrambled(x)), 6e-8),
        (lambda x: float(np.sin(x).sum() + 1e-3 * scrambled(x)), 6e-4),
    ],
    ids=["float32 output", "cancellation", "decimals", "stairs", "small noise", "large noise"],
)
def test_noise_is_measured_within_a_factor_of_eight(f, deviation, seed):
    assert deviation / 8 <= measured(f, seed=seed) <= 8 * deviation


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "f",
    [
        lambda x: float(np.sin(x).sum()),
        lambda x: float(x.sum()),
        lambda x: 3.0,
        lambda x: float(np.sin(1e5 * x).sum()),
        lambda x: float(np.maximum(x - 10, 0).sum()),
        lambda x: float(np.exp(x).prod()),
    ],
    ids=["smooth", "linear", "constant", "fast oscillation", "dead", "product"],
)
def test_what_is_no_noise_is_not_taken_for_it(f, seed):
    assert measured(f, seed=seed) <= 1e-10 * max(1.0, abs(f(X)))


@pytest.mark.parametrize("seed", range(5))
def test_the_rounding_of_float32_parameters_is_no_noise_of_f(seed):
    x = X.astype(np.float32)
    assert measured(lambda x: float(np.sin(x.astype(np.float64)).sum()), x, seed) <= 1e-13


@pytest.mark.parametrize("seed", range(20))
def test_a_kink_among_the_samples_is_no_noise(seed):
    rng = np.random.default_rng(seed)
    kinks = X + 1e-3 * rng.uniform(-1.5, 1.5, size=(40, 10))
    assert measured(lambda x: float(np.abs(x - kinks).sum()), seed=seed) <= 1e-9


@pytest.mark.parametrize("steps", [1.0, 7.0, 0.5, 7.5])
def test_a_staircase_met_at_the_same_place_of_each_stair_is_still_one(steps):
    """The slope times the spacing is a whole number of stairs: the values alone look exactly linear."""
    values = np.round(OFFSETS * steps) * 1e-5 + 0.12345
    assert noise_from_samples(values)[0] > 1e-7 or output_quantum(np.round(values, 5)) == pytest.approx(1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_a_bump_beside_a_flat_region_is_no_staircase(seed):
    """As of a network whose units are dead at the point: somewhere one of them wakes up, and dies again."""
    slopes = np.random.default_rng(seed).normal(size=10)

    def f(x):
        distance = abs((x - X) @ slopes)
        return 2.0 + max(0.0, min(distance - 0.1, 0.4 - distance))

    assert measured(f, seed=seed) < 1e-14


def test_a_linear_function_has_no_grid():
    assert output_quantum(0.1 + np.pi / 100 * OFFSETS) == 0.0


@pytest.mark.parametrize("index", [6, 17, 40])
def test_noise_is_that_near_the_point_where_a_leaf_has_elements_of_all_sizes(index):
    """A thousandth of the largest element is far away for the smallest, and the function far larger there."""
    rng = np.random.default_rng(0)
    scales, powers = 10 ** rng.uniform(-6, 6, 100), rng.choice([-2, 0.5, 2, 3, 4.0], 100)
    x = scales * rng.uniform(0.5, 2, 100)

    def slope(x):
        return powers * (x / scales) ** (powers - 1) / scales

    def wrong(x):
        return slope(x) * (1 + 3e-6 * (np.arange(100) == index))

    def f(x):
        return np.sum((x / scales) ** powers)

    assert check_gradient(f, slope, x).verdict == "pass"
    report = check_gradient(f, wrong, x)
    assert report.parameters["params"].wrong.nonzero()[0].tolist() == [index]
