"""One element that is noisy, or fast, hides nothing of the others."""

import numpy as np
import pytest

from gradcheck import check_gradient
from tests.seeds import seeds

TIMES = np.linspace(0, 1.0, 60)


def sinusoid(seed, span):
    """A fit of amplitude, frequency and phase over many periods: only the frequency is fast."""
    rng = np.random.default_rng(seed)
    t = span * TIMES
    y = 2 * np.sin(2 * np.pi * 0.37 * t + 0.3) + 0.1 * rng.normal(size=60)
    q = np.array([1.7, 0.37 + 1e-3 / span, 0.2])

    def f(q):
        return float(np.mean((q[0] * np.sin(2 * np.pi * q[1] * t + q[2]) - y) ** 2))

    phase = 2 * np.pi * q[1] * t + q[2]
    e = 2 * (q[0] * np.sin(phase) - y) / 60
    slope = e * q[0] * np.cos(phase)
    return f, np.array([e @ np.sin(phase), slope @ (2 * np.pi * t), slope.sum()]), q


def beside_single_precision(seed):
    """A part in single precision, of one element, beside a smooth one of five."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=6)

    def f(x):
        return float(np.sum(np.sin(x[1:]))) + float(np.float32(np.cos(np.float32(x[0]))))

    return f, np.concatenate([[-np.sin(x[0])], np.cos(x[1:])]), x


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("factor", [-1.0, 0.0, 1.01])
@pytest.mark.parametrize("span", [1e5, 1e7])
def test_amplitude_and_phase_are_seen_beside_a_fast_frequency(span, factor, seed):
    f, right, q = sinusoid(seed, span)
    assert check_gradient(f, right, q).ok
    for element in (0, 2):
        claim = right.copy()
        claim[element] *= factor
        report = check_gradient(f, claim, q)
        assert report.verdict == "fail", str(report)
        assert np.flatnonzero(report.parameters["params"].wrong).tolist() == [element]


@pytest.mark.parametrize("seed", seeds(4))
def test_single_precision_in_one_element_hides_nothing_of_the_others(seed):
    f, right, x = beside_single_precision(seed)
    assert check_gradient(f, right, x).ok
    claim = right.copy()
    claim[1 + seed] *= 1.0001
    report = check_gradient(f, claim, x)
    assert np.flatnonzero(report.parameters["params"].wrong).tolist() == [1 + seed], str(report)


def test_single_precision_in_all_of_them_costs_few_calls_more():
    x = np.random.default_rng(0).normal(size=40)
    report = check_gradient(lambda x: float(np.sum(np.sin(np.float32(x)))), np.cos, x)
    assert report.ok and report.evaluations <= 2 * 40 + 100, report.evaluations


@pytest.mark.parametrize("seed", seeds(6, quick=2))
@pytest.mark.parametrize("speed", [1e6, 1e8, 1e10])
def test_near_an_extremum_of_a_fast_wave_the_right_gradient_passes(speed, seed):
    """There the wave is flat from near by, and no staircase."""
    x = np.random.default_rng(seed).normal(size=4)
    x[0] = (np.round(speed * x[0] / np.pi) + 0.502) * np.pi / speed

    def f(x):
        return float(np.exp(x[1]) * np.sin(speed * x[0]) + x[2] * x[3] ** 2)

    wave, amplitude = speed * x[0], np.exp(x[1])
    right = np.array([amplitude * speed * np.cos(wave), amplitude * np.sin(wave), x[3] ** 2, 2 * x[2] * x[3]])
    assert check_gradient(f, right, x, rng=seed).ok


@pytest.mark.parametrize("seed", [64001, 64005, 64018])
def test_elements_that_share_a_kink_are_not_judged_apart_though_its_gap_is_known_to_few_digits(seed):
    """A layer of ReLUs at zero: the gradient of the piece in which none is active is valid for all elements together."""
    rng = np.random.default_rng(seed)
    a, c = rng.normal(size=(6, 64)), rng.normal(size=6)
    f = lambda w: float(c @ np.maximum(a @ w, 0))  # noqa: E731
    assert check_gradient(f, lambda w: a.T @ (c * (a @ w > 0)), np.zeros(64), rng=seed - 64000).ok
    assert (
        check_gradient(f, lambda w: a.T @ c * np.where(np.arange(64) == 2, 3, 1), np.zeros(64), rng=1).verdict == "fail"
    )
