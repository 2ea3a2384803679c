"""The tableau of one element: against loops over plain numbers, and at the two sides of every threshold."""

import math

import numpy as np
import pytest

from gradcheck.differences.ladder import Ladder, Measurement, _Pairs
from gradcheck.differences.tableau import extrapolate

INF, NAN = math.inf, math.nan
NAMES = ("value", "bound", "noise", "gap", "curvature", "exhausted")
MULTIPLIER, RATIO = 4.0, 7.8172937


# ---- the same in plain loops ----------------------------------------------------------------------------------------


def extrapolated(sequence, shrink):
    """Richardson: each entry less the error that it shares with the one before."""
    better = list(sequence)
    for j in range(1, len(sequence)):
        if math.isfinite(sequence[j - 1]):
            better[j] = sequence[j] + (sequence[j] - sequence[j - 1]) / (shrink[j - 1] - 1)
    return better


def settled(sequence, noise, more):
    """The levels of least bound, one but for ties: change from the level before and noise, or as far as a finer one that disagrees."""
    levels = range(len(sequence))
    bounds = [INF] + [abs(sequence[j] - sequence[j - 1]) + noise[j] + more[j] for j in levels[1:]]
    bounds = [bound if math.isfinite(bound) else INF for bound in bounds]
    for finer in levels[1:]:
        is_kinked = more[finer] > noise[finer]
        for j in range(finer):
            distance = abs(sequence[j] - sequence[finer])
            if distance > noise[finer] or (is_kinked and not math.isnan(distance)):
                bounds[j] = max(bounds[j], distance + noise[finer] + (more[finer] if is_kinked else 0.0))
    return [(sequence[j], bounds[j], noise[j], j) for j in levels if bounds[j] <= min(bounds) * (1 + 1e-9)]


def measured(ahead, behind, plus, minus, base, noise, longer):
    """Value, bound, noise, gap, curvature and whether it is exhausted, all values finite; several outcomes where levels tie."""
    levels = range(len(ahead))
    h = [(a + b) / 2 for a, b in zip(ahead, behind, strict=True)]
    central = [(plus[j] - minus[j]) / (2 * h[j]) for j in levels]
    forward = [(plus[j] - base) / ahead[j] for j in levels]
    backward = [(base - minus[j]) / behind[j] for j in levels]
    deviation = [max(noise, max(np.spacing(abs(v)) for v in (plus[j], minus[j], base)) / 2) for j in levels]
    jitter = [abs(central[j] - central[j - 1]) * h[j] for j in levels[-3:]]
    shows = len(h) - longer > 4 and max(jitter) <= 16 * min(jitter) and max(jitter) <= 1000 * deviation[-1]
    seen = max(jitter) if shows else 0.0
    blur = [MULTIPLIER * max(deviation[j], seen) / h[j] for j in levels]
    shrink = [h[j - 1] / h[j] for j in levels[1:]]
    bend = [f - b for f, b in zip(forward, backward, strict=True)]
    gaps = settled(extrapolated(bend, shrink), [4 * b for b in blur], [0.0] * len(h))
    gaps = {gap if math.isfinite(bound) and abs(gap) > 3 * bound else 0.0 for gap, bound, _, _ in gaps}
    size = [max(abs(f), abs(b)) for f, b in zip(forward[-3:], backward[-3:], strict=True)]
    growth = [size[1] / size[0], size[2] / size[1]]
    diverges = min(growth) > 1.15 and abs(growth[1] / growth[0] - 1) < 0.1
    diverges = diverges and all(s > 4 * b for s, b in zip(size, blur[-3:], strict=True))
    rise, fall = [plus[j] - base for j in levels[-3:]], [minus[j] - base for j in levels[-3:]]
    change = [max(abs(r), abs(f)) for r, f in zip(rise, fall, strict=True)]
    is_cusp = diverges and all(r * f > 0 for r, f in zip(rise, fall, strict=True))
    is_cusp = is_cusp and 1.15 * change[1] < change[0] and 1.15 * change[2] < change[1]
    outcomes = []
    for gap in gaps:
        more = [0.0] * len(h)
        for j in levels[1:]:
            if gap == 0 and blur[j] > 1e-6 * max(abs(central[j]), abs(bend[j])):
                more[j] = abs(bend[j] - bend[j - 1] / shrink[j - 1]) / 2
        for value, least, own, best in settled(extrapolated(central, [s * s for s in shrink]), blur, more):
            curvature = bend[best] / h[best]
            bound = least + abs(gap) / 2 + abs(ahead[best] - behind[best]) / 2 * abs(curvature)
            bound = INF if diverges else bound
            exhausted = math.isfinite(bound) and MULTIPLIER * deviation[-1] * RATIO / h[-1] > bound
            outcomes.append((value, bound, own, bend[-1] if is_cusp else gap, curvature, exhausted))
    return outcomes


# ---- ladders of many kinds --------------------------------------------------------------------------------------------


def smooth(rng):
    slope, rest = rng.normal(size=2) * 10.0 ** rng.uniform(-6, 1), rng.normal(size=4) * 10.0 ** rng.uniform(-3, 2, 4)
    return lambda t: slope[0] * t + sum(r * t ** (k + 2) for k, r in enumerate(rest))


def kinked(rng):
    """With a gap anywhere between what noise hides and plain, at the point or beside it."""
    own, gap = smooth(rng), 10.0 ** rng.uniform(-7, 1)
    beside = rng.choice([0.0, 0.0, 1e-4, 1e-3, 1e-2]) * rng.normal()
    return lambda t: own(t) + gap * abs(t - beside)


def power(rng):
    """A cusp, or nearly one: the slope grows by a factor about that which tells."""
    exponent, signs = rng.choice([0.3, 0.5, 0.9, 0.92, 0.94, 1.05]), rng.choice([-1.0, 1.0], 2)
    size, own = 10.0 ** rng.uniform(-2, 1), smooth(rng)
    return lambda t: 1e-3 * own(t) + size * (signs[0] if t > 0 else signs[1]) * abs(t) ** exponent


def jumping(rng):
    """A step of all sizes, with a slope that may be as large."""
    own, size = smooth(rng), 10.0 ** rng.uniform(-8, 0)
    return lambda t: own(t) + size * (t > 0)


def tall(rng):
    """Far larger at longer steps, where its rounding is, with a step or none."""
    own, size, jump = smooth(rng), 10.0 ** rng.uniform(0, 13), rng.choice([0.0, 1.0]) * 10.0 ** rng.uniform(-14, -3)
    return lambda t: own(t) + size * t**2 + jump * (t > 0)


KINDS = {"smooth": smooth, "kinked": kinked, "power": power, "jumping": jumping, "tall": tall}


def ladders(kind, count, levels, longer):
    """Values of many functions on a ladder, with noise of all sizes and steps that are rounded."""
    rng = np.random.default_rng(levels + 10 * longer)
    h = 0.03 / RATIO ** np.arange(levels) * np.ones((count, 1))
    ahead, behind = (h * (1 + 10.0 ** rng.uniform(-16, -2, (count, 1)) * rng.normal(size=h.shape)) for _ in range(2))
    noise, base = 10.0 ** rng.uniform(-18, -5), rng.choice([0.37, 1.0])
    plus, minus = np.empty(h.shape), np.empty(h.shape)
    for row in range(count):
        f = KINDS[kind](rng)
        shown = noise * 10.0 ** rng.choice([-3.0, 0.0, 0.0, 1.0, 2.8, 3.3])
        plus[row] = [base + f(t) - f(0.0) + shown * rng.normal() for t in ahead[row]]
        minus[row] = [base + f(-t) - f(0.0) + shown * rng.normal() for t in behind[row]]
    return ahead, behind, plus, minus, base, noise


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("longer", [False, True])
@pytest.mark.parametrize("levels", [4, 5, 6, 9])
def test_as_in_plain_loops(kind, levels, longer):
    ahead, behind, plus, minus, base, noise = ladders(kind, 25, levels, longer)
    found = measure(ahead, behind, plus, minus, base, noise, longer=longer)
    for row in range(len(ahead)):
        outcomes = measured(ahead[row], behind[row], plus[row], minus[row], base, noise, longer)
        got = [getattr(found, name)[row, 0] for name in NAMES]
        assert any(np.allclose(got, wanted, rtol=1e-6, atol=1e-18) for wanted in outcomes), f"{row}: {got}\n{outcomes}"


def measure(ahead, behind, plus, minus, base=0.0, noise=1e-16, *, longer=False):
    """Measure ladders of one function; shapes (m, J)."""
    arrays = (np.asarray(a, float) for a in (ahead, behind))
    values = (np.asarray(v, float)[:, :, None] for v in (plus, minus))
    return Ladder(*arrays, *values, np.array([base]), np.array([noise]), MULTIPLIER, longer).measure()


def of_function(f, levels=6, noise=1e-16):
    h = 0.03 / RATIO ** np.arange(levels)[None]
    value = np.vectorize(f, otypes=[float])
    return measure(h, h, value(h), value(-h), float(f(0.0)), noise)


# ---- closed forms -----------------------------------------------------------------------------------------------------


def test_cubics_are_exact_from_two_levels():
    found = of_function(lambda t: 2 * t - 5 * t**2 + 7 * t**3)
    assert abs(found.value[0, 0] - 2) <= found.bound[0, 0] <= 1e-11
    assert found.curvature[0, 0] == pytest.approx(-10) and not found.kink[0, 0]


def test_the_interval_at_a_kink_holds_both_slopes():
    found = of_function(lambda t: max(-t, 3 * t) + t**2)
    assert found.gap[0, 0] == pytest.approx(4) and found.value[0, 0] == pytest.approx(1)
    assert 2 <= found.bound[0, 0] <= 2.001


@pytest.mark.parametrize("side", [1, -1])
def test_at_the_edge_of_a_domain_one_side_tells(side):
    found = of_function(lambda t: 3 * t + t**2 if side * t >= 0 else NAN)
    assert found.value[0, 0] == pytest.approx(3, abs=1e-9) and found.bound[0, 0] < 1e-9
    assert found.gap[0, 0] == 0 and found.curvature[0, 0] == 0 and not found.exhausted[0, 0]


@pytest.mark.parametrize("sides", [(1, NAN), (NAN, 1)])
def test_cubics_at_the_edge_of_a_domain_are_exact_from_three_levels(sides):
    found = of_function(lambda t: (2 * t - 5 * t**2 + 7 * t**3) * (sides[t < 0] if t else 1), levels=3)
    assert found.value[0, 0] == pytest.approx(2, abs=1e-11)


def test_one_level_on_one_side_says_what_the_slope_is_and_not_how_far_off():
    h = 0.03 / RATIO ** np.arange(6)[None]
    found = measure(h, h, np.where(h == h[0, 0], 3 * h, NAN), np.full(h.shape, NAN))
    assert found.value[0, 0] == pytest.approx(3) and found.bound[0, 0] == INF


@pytest.mark.parametrize("at", [[], [1], [0, 3]])
def test_extrapolation_starts_anew_behind_what_is_not_finite(at):
    sequence, shrink = np.array([3.0, 2.5, 2.1, 2.0, 1.99]), np.array([7.0, 8.0, 7.5, 9.0])
    sequence[at] = NAN
    found = extrapolate(sequence[None, :, None], shrink[None, :, None])
    np.testing.assert_allclose(found[0, :, 0], extrapolated(sequence, shrink))


@pytest.mark.parametrize(
    ("slopes", "noise", "diverges"),
    [
        ((1.0, 1.2, 1.44), 1e-16, True),
        ((1.0, 1.2, 1.32), 1e-16, False),  # no longer by a seventh
        ((1.0, 1.1, 1.32), 1e-16, False),
        ((1.0, 1.2, 1.6), 1e-16, False),  # unsteadily
        ((1.0, 1.2, 1.44), 1e-6, False),  # the last one may be noise
    ],
)
def test_slopes_that_grow_steadily_beyond_noise_have_no_limit(slopes, noise, diverges):
    h = 0.03 / RATIO ** np.arange(6)[None]
    rise = np.array([[0.2, 0.5, 0.9, *slopes]]) * h
    found = measure(h, h, rise, rise, noise=noise)
    assert np.isinf(found.bound[0, 0]) == diverges


def test_pairs_are_kept_by_level_and_a_longer_one_comes_first():
    pairs = _Pairs(3, 1, np.zeros(1), np.zeros(1), MULTIPLIER)
    for level in range(2):
        pairs.put(np.array([0, 2]), level, tuple(np.full((2, 1)[: 1 + (k > 1)], 10.0 * level + k) for k in range(4)))
    assert pairs.levels.tolist() == [2, 0, 2]
    usual = pairs.ladder(np.array([2]), 2)
    assert not usual.longer and usual.ahead.tolist() == [[0, 10]] and usual.minus.tolist() == [[[3], [13]]]
    pair = tuple(np.full((1, 1)[: 1 + (k > 1)], -1.0 - k) for k in range(4))
    assert pairs.ladder(np.array([2]), 2, [pair, pair]).longer == 2
    longer = pairs.ladder(np.array([2]), 2, [pair])
    assert (
        longer.longer == 1 and longer.behind.tolist() == [[-2, 1, 11]] and longer.plus.tolist() == [[[-3], [2], [12]]]
    )


def test_one_sided_slopes_have_twice_the_noise():
    h = 0.03 / RATIO ** np.arange(6)[None]
    found = measure(h, h, 3 * h, np.full(h.shape, NAN), noise=1e-3)
    assert found.noise[0, 0] in (2 * MULTIPLIER * 1e-3 / h)[0]
    assert found.bound[0, 0] == pytest.approx(found.noise[0, 0], rel=1e-6)


@pytest.mark.parametrize("level", [0, 2, 5])
def test_a_level_that_is_not_finite_on_one_side_is_left_out(level):
    h = 0.03 / RATIO ** np.arange(6)[None]
    plus = np.exp(h)
    plus[0, level] = INF
    found = measure(h, h, plus, np.exp(-h), 1.0)
    assert abs(found.value[0, 0] - 1) <= found.bound[0, 0] <= 1e-7 and found.exhausted.all()


def test_one_level_that_is_not_finite_makes_no_edge_of_a_domain():
    """Central differences at the others have half the noise of one-sided ones."""
    h = 0.03 / RATIO ** np.arange(6)[None]
    minus = -3 * h
    minus[0, 3] = NAN
    found = measure(h, h, 3 * h, minus, noise=1e-3)
    assert found.noise[0, 0] == pytest.approx(MULTIPLIER * 1e-3 / h[0, 1]) and found.exhausted[0, 0]


@pytest.mark.parametrize(("levels", "is_exhausted"), [(2, False), (3, False), (4, True), (5, True), (6, True)])
def test_no_shorter_step_does_better_once_the_last_one_is_shorter_than_noise_allows(levels, is_exhausted):
    """The change of a fast wave is truncation until the fourth step, and noise is less than that until then."""
    found = of_function(lambda t: math.sin(20 * t + 0.3), levels=levels, noise=1e-10)
    assert found.exhausted[0, 0] == is_exhausted
    assert found.ended.shape == (1, 1) and not found.ended[0, 0]


def test_beside_elements_inside_a_domain():
    """Edges of one element change nothing for the others."""
    h = 0.03 / RATIO ** np.arange(6) * np.ones((3, 1))
    plus, minus = np.exp(h), np.exp(-h)
    plus[1], minus[2] = NAN, INF
    found = measure(h, h, plus, minus, 1.0)
    np.testing.assert_allclose(found.value[:, 0], 1, rtol=1e-8)
    alone = measure(h[:1], h[:1], plus[:1], minus[:1], 1.0)
    assert found.bound[0] == alone.bound[0] and np.all(found.bound[1:] > found.bound[0])


def test_levels_beyond_an_edge_are_left_out():
    """Logarithm at 0.003: the first pair reaches over zero."""
    h = 0.03 / RATIO ** np.arange(7)[None]
    at = 0.003 + h, np.where(h < 0.003, 0.003 - h, NAN)
    found = measure(h, h, np.log(at[0]), np.log(at[1]), math.log(0.003))
    assert abs(found.value[0, 0] - 1 / 0.003) <= found.bound[0, 0] < 1e-4


def test_nothing_follows_from_values_that_are_not_finite():
    found = of_function(lambda t: NAN if t else 1.0)
    assert not np.isfinite(found.value[0, 0]) and found.bound[0, 0] == INF and not found.exhausted[0, 0]


def at_levels(rise, fall):
    """Measure changes of value to both sides, on a ladder of as many levels."""
    h = 0.03 / RATIO ** np.arange(len(rise))[None]
    return h, measure(h, h, [rise], [fall])


@pytest.mark.parametrize(
    ("last", "jumps"),
    [((1.0, 1.1, 1.19), True), ((1.0, 1.22, 1.0), False), ((-1.0, -1.1, -1.1), True), ((1.0, -1.2, 1.0), False)],
)
def test_a_jump_keeps_its_size_to_a_fifth_and_its_sign(last, jumps):
    rise = np.array([7.0, 3.0, *last])
    assert np.isinf(at_levels(rise, -rise)[1].bound[0, 0]) == jumps


@pytest.mark.parametrize(
    ("shrink", "signs", "is_cusp"),
    [
        ((0.5, 0.5), (1, 1, 1), True),
        ((0.86, 0.86), (1, 1, 1), True),
        ((0.86, 0.88), (1, 1, 1), False),  # no longer by a seventh
        ((0.88, 0.86), (1, 1, 1), False),
        ((0.5, 0.5), (1, 1, -1), False),  # at a pole one side is up and the other down
        ((0.5, 0.5), (-1, 1, 1), False),
        ((0.5, 0.56), (1, 1, 1), False),  # its slope grows unsteadily: an infinite bound is not known
    ],
)
def test_at_a_cusp_both_sides_are_up_or_down_and_fall_with_the_step(shrink, signs, is_cusp):
    sizes = np.cumprod([1.0, 0.5, 0.5, *shrink])
    fall = 0.3 * sizes
    fall[-3:] *= signs
    h, found = at_levels(sizes, fall)
    assert (found.gap[0, 0] == pytest.approx((sizes[-1] + fall[-1]) / h[0, -1])) == is_cusp
    assert np.isinf(found.bound[0, 0]) == (abs(shrink[1] / shrink[0] - 1) < 0.1)


def test_noise_is_never_less_than_rounding_of_the_values_met():
    found = of_function(lambda t: 1e6 + t, noise=0.0)
    steps = 0.03 / RATIO ** np.arange(6)
    assert np.isclose(found.noise[0, 0], MULTIPLIER * np.spacing(1e6) / 2 / steps, rtol=1e-6).any()


def test_columns_are_apart():
    h = 0.03 / RATIO ** np.arange(6)[None]
    values = [np.stack([np.exp(s * h), np.sin(s * h), np.abs(h)], axis=-1) for s in (1, -1)]
    found = Ladder(h, h, *values, np.array([1.0, 0, 0]), np.full(3, 1e-16), MULTIPLIER, False).measure()
    np.testing.assert_allclose(found.value, [[1, 1, 0]], atol=1e-9)
    assert found.kink.tolist() == [[False, False, True]]


# ---- measurements -----------------------------------------------------------------------------------------------------


def taken(value, bound, noise=0.0, gap=0.0, exhausted=True):
    columns = [np.array([[v]]) for v in (value, bound, noise, gap, 0.0)]
    return Measurement(*columns, np.array([[exhausted]]), np.array([[False]]), np.array([[False]]))


@pytest.mark.parametrize(
    ("changes", "limited"),
    [({}, True), ({"noise": 0.2}, False), ({"gap": 1.0}, False), ({"exhausted": False}, False)],
)
def test_a_longer_step_may_do_better_where_noise_is_most_of_the_bound(changes, limited):
    found = taken(1.0, 1.0, **{"noise": 0.4, **changes})
    assert found.noise_limited.item() is limited


def test_better_ones_replace_worse_ones_but_at_kinks():
    known = Measurement.nothing(3, 1)
    known.put(np.array([0, 2]), Measurement(*(np.repeat(a, 2, axis=0) for a in parts(taken(1.0, 0.5, 0.3)))))
    assert known.bound.ravel().tolist() == [0.5, INF, 0.5] and np.isnan(known.value[1, 0])
    other = Measurement(*(np.repeat(a, 3, axis=0) for a in parts(taken(2.0, 0.4, 0.2))))
    other.gap[1] = 1.0
    known.improve(np.array([2, 1, 0]), other)
    assert known.value.ravel().tolist()[::2] == [2.0, 2.0] and np.isnan(known.value[1, 0])
    assert known.bound.ravel().tolist() == [0.4, INF, 0.4] and known.noise.ravel().tolist() == [0.2, INF, 0.2]
    known.improve(np.array([0]), taken(9.0, 0.4))
    assert known.value[0, 0] == 2.0
    assert known.rows(np.array([2])).bound.ravel().tolist() == [0.4]


def parts(measurement):
    return [getattr(measurement, name) for name in Measurement.__slots__]


def test_nothing_is_no_kink_and_not_settled():
    nothing = Measurement.nothing(2, 3)
    assert np.isnan(nothing.value).all() and np.isinf(nothing.bound).all() and np.isinf(nothing.noise).all()
    assert not (nothing.kink | nothing.exhausted).any() and nothing.ended.shape == (2, 1) and not nothing.ended.any()
    assert nothing.curvature.shape == (2, 3) and not nothing.curvature.any()


@pytest.mark.parametrize(
    ("rounded", "strays"),
    [
        (lambda x: np.sin(x) + x**3, False),
        (lambda x: 3 * x, False),
        (lambda x: np.round(x, 2) + x**2, True),  # jumps within the longest step alone
        (lambda x: np.round(x, 3) + np.sin(x), True),
        (lambda x: np.maximum(x, 0.011) + np.exp(x), True),  # a kink there
    ],
)
def test_differences_that_do_not_approach_their_value_as_those_of_a_smooth_function_stray(rounded, strays):
    h = 0.03 / RATIO ** np.arange(5)[None]
    shift = 0.0023
    found = measure(h, h, rounded(shift + h), rounded(shift - h), base=rounded(shift))
    assert found.strays.tolist() == [[strays]]
