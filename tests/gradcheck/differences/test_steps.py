"""The step with which a leaf is screened, against closed forms."""

import numpy as np
import pytest

from gradcheck.differences.ladder import FIRST_STEP, RATIO
from gradcheck.differences.steps import DEFAULT_STEP, SPACINGS, _balanced, _middle, choose_step
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe


def probe_of(f, x):
    x = np.asarray(x)
    value = np.atleast_1d(np.asarray(f(x.copy()), float))
    return Probe(
        lambda tree: np.atleast_1d(np.asarray(f(tree), float)),
        point_of(x, "x"),
        Output.of(value, "f"),
        np.eye(len(value)),
        Budget(),
    )


def chosen(f, n=6, noise=1e-16, rtol=1e-6, at=0.7):
    probe = probe_of(f, np.full(n, at))
    base, noises = np.atleast_1d(f(np.full(n, at))), np.full(len(probe.cotangents), noise)
    step = choose_step(probe, 0, np.ones(n), base, noises, rtol, np.random.default_rng(0))
    return step, probe.budget.used


@pytest.mark.parametrize("frequency", [1.0, 30.0, 1000.0])
def test_the_truncation_error_of_the_step_is_about_an_eighth_of_what_matters(frequency):
    """That of a central difference of a sine is ``(frequency * step)**2 / 6`` of its slope, where that is not near zero."""
    step, _ = chosen(lambda x: np.sum(np.sin(frequency * (x - 0.7) + 0.3)) / frequency)
    assert 1e-9 < (frequency * step) ** 2 / 6 < 1e-6 / 8 * 1.5


def test_a_linear_function_takes_the_longest_step_that_suits_kinks_or_noise():
    assert chosen(lambda x: np.sum(x)) == (DEFAULT_STEP, 4)
    step, calls = chosen(lambda x: np.sum(x), noise=1e-9)
    assert DEFAULT_STEP < step <= FIRST_STEP and calls == 4


def test_where_nothing_moves_there_is_no_step_and_where_noise_hides_all_it_is_the_longest():
    assert chosen(lambda x: 1.0) == (None, 4)
    assert chosen(lambda x: np.sum(x), noise=10.0)[0] is None


def test_each_factor_of_eight_of_an_oscillation_costs_two_calls():
    calls = [chosen(lambda x, f=f: np.sum(np.sin(f * (x - 0.7) + 0.3)) / f)[1] for f in (1e3, 8e3, 64e3)]
    assert calls[1] - calls[0] in (0, 2, 4) and calls[2] - calls[1] in (0, 2, 4) and calls[2] > calls[0]


@pytest.mark.parametrize(
    ("change", "jitter", "share", "expected"),
    [
        (
            1e-6,
            1e-12,
            1e-6,
            1e-4 * RATIO,
        ),  # truncation is the share at the longer step: that one, as long as it is usual
        (4e-6, 1e-12, 1e-6, DEFAULT_STEP),  # half as long would do, the usual one is shorter
        (1e-2, 1e-16, 1e-6, 1e-4 * RATIO * 1e-2),  # the square root of the ratio of both
    ],
)
def test_a_step_balances_truncation_and_noise(change, jitter, share, expected):
    found = _balanced(1e-4, np.array([change]), np.array([jitter]), np.array([share]))
    assert found == pytest.approx(min(expected, DEFAULT_STEP))


def test_where_no_step_makes_both_small_they_are_least_together():
    """``jitter * s / h + change * (h / (s r))**2`` is least at ``cbrt(jitter s (s r)**2 / (2 change))``; a share of that is taken."""
    step, change, jitter = 1e-4, 1e-2, 1e-5
    found = _balanced(step, np.array([change]), np.array([jitter]), np.array([1e-9]))
    steps = np.geomspace(1e-7, 1e-2, 200_001)
    best = steps[np.argmin(jitter * step / steps + change * (steps / (step * RATIO)) ** 2)]
    assert found == pytest.approx(0.6 * best, rel=1e-3)


def test_no_step_is_shorter_than_numbers_resolve():
    """A wave of a hundred spacings, a tenth of a spacing long: none is resolved."""
    step, _ = chosen(lambda x: np.sum(np.sin(x / (0.1 * np.spacing(0.7)))), n=1)
    assert step is None or step >= SPACINGS * np.spacing(0.7)
    step, _ = chosen(lambda x: np.sum(np.sin((x - 0.7) / (3000 * np.spacing(0.7)))), n=1)
    assert SPACINGS * np.spacing(0.7) <= step <= 3000 * np.spacing(0.7)


@pytest.mark.parametrize("width", [1e-3, 1e-6, 1e-9, 1e-12])
def test_a_pulse_that_both_points_of_a_difference_lie_beyond_is_found(width):
    """Far away on either side the function is the same, and no slope."""
    step, _ = chosen(lambda x: 1 - np.exp(-np.sum(((x - 0.7) / width - 0.4) ** 2)), n=2)
    assert width / 10_000 <= step <= width / 2


def test_the_middle():
    assert _middle(np.array([3.0])) == 3.0 and _middle(np.array([3.0, 1.0, 2.0])) == 2.0
    assert _middle(np.array([4.0, 1.0])) == 2.5
