"""A line through kinks: its pieces against the function that they were made of."""

import numpy as np
import pytest

from gradcheck.nonsmooth.lines import Line

STEP, MOST_POINTS = 0.05, 96


def followed(f, *, noise=1e-9, fine=1e-3, ends=(-np.inf, -np.inf), reach=600.0):
    """Follow a function to the end, unless the ends are given without jumps to them; return the line and its calls."""
    ends = tuple(
        (f(side * reach + STEP) - f(side * reach)) / STEP if end == -np.inf else end
        for side, end in zip((-1, 1), ends, strict=True)
    )
    line, calls = Line(reach, STEP, noise=noise, curved=0.0, fine=fine, ends=ends, most_points=MOST_POINTS), 0
    while len(asked := line.next_positions()):
        line.enter(np.array([f(at) for at in asked]))
        calls += asked.size
    return line, calls


def bent(seed, count, apart=2.0):
    """Kinks at random, no two nearer than ``apart``, and jumps of the slope at them."""
    rng = np.random.default_rng(seed)
    places = np.cumsum(rng.uniform(apart, 20 * apart, count)) - 10 * apart * count
    jumps, first = rng.normal(size=count), rng.normal()
    return lambda t: float(first * t + jumps @ np.maximum(t - places, 0)), first, jumps


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("count", [0, 1, 2, 5, 12])
def test_all_pieces_are_found_at_a_few_calls_each(seed, count):
    f, first, jumps = bent(seed, count)
    line, calls = followed(f)
    slopes = first + np.append(0.0, np.cumsum(jumps))
    assert line.largest[0] == pytest.approx(slopes.max(), abs=1e-6)
    assert line.upper_bound == pytest.approx(first + jumps[jumps > 0].sum(), abs=1e-5)
    at = line.largest[1]
    assert (f(at + STEP) - f(at)) / STEP == pytest.approx(slopes.max(), abs=1e-6)
    assert calls <= 6 + 11 * count


def test_two_kinks_that_make_up_for_each_other_are_no_straight_line():
    line, _ = followed(lambda t: max(0.0, min(t - 20.0, 1.0)))
    assert line.largest[0] == pytest.approx(1.0) and line.upper_bound == pytest.approx(1.0)


def test_what_bends_beyond_the_ends_counts_too():
    line, _ = followed(lambda t: 3.0 * t, ends=(1.0, 4.0))
    assert line.upper_bound == pytest.approx(4.0)
    line, _ = followed(lambda t: 3.0 * t, ends=(5.0, 2.0))
    assert line.upper_bound == pytest.approx(5.0)


@pytest.mark.parametrize("fine", [0.1, 0.02])
def test_what_is_curved_is_followed_to_small_changes_of_the_slope(fine):
    """Up to slope one, and a bump aside: down from 0.86 to -0.86 of two and back."""
    line, calls = followed(lambda t: float(np.hypot(t, 30.0)), fine=fine)
    assert line.upper_bound == pytest.approx(1.0, abs=0.01) and calls <= 20 / fine
    line, _ = followed(lambda t: float(np.hypot(t, 30.0) - np.hypot(t - 200.0, 30.0)), fine=fine)
    grid = np.diff(np.hypot(np.arange(-600, 600), 30) - np.hypot(np.arange(-800, 400), 30))
    assert line.upper_bound == pytest.approx(grid[0] + np.maximum(np.diff(grid), 0).sum(), abs=0.05)


def test_of_very_many_pieces_some_are_looked_at():
    f, first, jumps = bent(0, 300, apart=0.1)
    line, calls = followed(f)
    assert line.points <= MOST_POINTS and calls <= 4 * MOST_POINTS
    assert line.upper_bound <= first + jumps[jumps > 0].sum() + 1e-6


def test_noise_is_no_kink():
    rng = np.random.default_rng(0)
    line, calls = followed(lambda t: 2 * t + 1e-5 * rng.normal(), noise=4e-5)
    assert calls == 6 and line.upper_bound == pytest.approx(2.0, abs=1e-2)
