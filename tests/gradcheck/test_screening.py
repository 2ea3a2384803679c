"""The first look at the elements: which of them a second step clears, and at what price."""

import numpy as np
import pytest

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.judgement import Claim
from gradcheck.acceptance.ledger import Limit
from gradcheck.acceptance.screening import screen
from gradcheck.differences.lengths import BETWEEN
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe

STEP = 1e-2


def screened(f, slopes, x):
    """Screen claims about the outputs of a function of one number with `STEP`."""
    point, value = point_of(np.array([x]), "params"), f(np.array([x]))
    probe = Probe(f, point, Output.of(value, "f"), np.eye(len(slopes)), Budget())
    claim = Claim(np.array([slopes]), np.zeros(len(slopes)), float(np.finfo(np.float64).eps))
    bench = Bench(probe, value, {0: claim}, 1e-7, np.random.default_rng(0))
    bench.noise, bench.steps, bench.lengths = np.full(len(slopes), 1e-16), {0: STEP}, {0: np.ones(1)}
    screen(bench)
    return bench.judgements[0], probe.budget.used


def wave(x):
    return np.sin(3 * x)


REPEATED = 4
"""Calls by which what contradicts most plainly is measured again."""

WAVE_SLOPE = 3 * np.cos(3.0)


def test_two_steps_give_the_derivative_without_truncation_error():
    found, calls = screened(wave, [WAVE_SLOPE], 1.0)
    assert not found.undecided.any() and calls == 4 + REPEATED
    assert found.reference[0, 0] == pytest.approx(WAVE_SLOPE, rel=1e-7)


@pytest.mark.parametrize("error", [3e-6, -1e-4, 0.1])
def test_they_do_not_clear_another(error):
    found, _ = screened(wave, [WAVE_SLOPE * (1 + error)], 1.0)
    assert (found.limit == Limit.CALLS).all()


def test_what_the_shorter_step_has_cleared_stays_so():
    """The longer step crosses a kink of the second output, so its extrapolation is nonsense."""
    kink = 1 + STEP * (1 + 1 / BETWEEN) / 2
    found, calls = screened(lambda x: np.concatenate([wave(x), np.abs(x - kink)]), [WAVE_SLOPE, -1.0], 1.0)
    assert not found.undecided.any() and calls == 4 + REPEATED
    assert found.reference[0, 1] == pytest.approx(-1.0, rel=1e-9)
