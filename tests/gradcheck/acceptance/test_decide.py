"""The rule of acceptance as a table: a claim, what was measured, and what follows; in whatever order it was measured."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gradcheck.acceptance.decide import Outcome, Tolerance, decide, excludes
from gradcheck.acceptance.ledger import Estimate, Kind, Ledger, Limit, Membership, numbers_of
from gradcheck.differences.ladder import Measurement
from gradcheck.differences.lengths import BEYOND

HERE = np.array([0])
TOLERANCE = Tolerance(
    1e-7, np.ones(1), np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1), np.full(1, 1e-15)
)

WHOLE = Tolerance(
    0.0, np.full(1, 100.0), np.full(1, 4.0), np.full(1, 2.0), np.zeros(1), np.zeros(1), np.zeros(1), np.full(1, 1e-15)
)
"""In whole numbers, where both sides of an inequality can be equal: off by 4 is not wrong yet, by 2 still right."""


def difference(value, noise=1e-12, kind=Kind.DIFFERENCE, limited=False):
    return Estimate.difference(
        HERE, np.array([[value]]), np.array([[noise]]), np.zeros((1, 1)), kind=kind, limited=limited
    )


def pair(value, bound):
    return Estimate.pair(HERE, np.array([[value]]), np.array([[bound]]), np.zeros((1, 1)))


def joint(slope, noise=1e-12):
    return Estimate.joint(HERE, np.full(1, noise), np.full(1, slope))


def multiple(value, bound):
    return Estimate.multiple(HERE, np.array([[value]]), np.array([[bound]]))


def ladder(value, bound, *, noise=0.0, gap=0.0, exhausted=False, ended=False, kind=Kind.LADDER):
    one = np.ones((1, 1))
    measured = Measurement.nothing(1, 1)
    measured.value, measured.bound, measured.noise, measured.gap = value * one, bound * one, noise * one, gap * one
    measured.exhausted, measured.ended = np.full((1, 1), exhausted), np.full((1, 1), ended)
    return Estimate.measurement(HERE, measured, kind)


def evidence_of(estimates, membership=Membership.UNTESTED, nonlinear=False):
    ledger = Ledger(1, 1)
    for estimate in estimates:
        ledger.add(estimate)
    ledger.enter_membership(HERE, np.full((1, 1), membership, dtype=np.int8))
    ledger.mark_nonlinear(HERE, np.full((1, 1), nonlinear))
    return ledger.evidence(HERE)


def decided(claim, estimates, membership=Membership.UNTESTED, tolerance=TOLERANCE, *, nonlinear=False):
    evidence = evidence_of(estimates, membership, nonlinear)
    found = decide(np.array([[claim]]), evidence, tolerance)
    return int(found.outcome[0, 0]), int(found.limit[0, 0]), found


TWICE = [ladder(1.0, 1e-9), ladder(1.0, 1e-9)]
TABLE = [
    ("nothing measured", 1.0, [], Membership.UNTESTED, Outcome.OPEN, Limit.NOT_PROBED),
    ("a difference agrees", 1.0, [difference(1.0)], Membership.UNTESTED, Outcome.RIGHT, Limit.NONE),
    ("one of several agrees", 1.0, [difference(1.1), difference(1.0)], Membership.UNTESTED, Outcome.RIGHT, Limit.NONE),
    ("a difference never rejects", 2.0, [difference(1.0)], Membership.UNTESTED, Outcome.OPEN, Limit.CALLS),
    ("noise of all", 1.0, [difference(1.1, 0.2)], Membership.UNTESTED, Outcome.RIGHT_TO_RESOLUTION, Limit.NONE),
    ("infinite noise clears nothing", 1.0, [difference(1.0, np.inf)], Membership.UNTESTED, Outcome.OPEN, Limit.NOISE),
    ("inside", 1.0, [ladder(1.0, 1e-9)], Membership.UNTESTED, Outcome.RIGHT, Limit.NONE),
    ("inside, not settled", 1.0, [ladder(1.0, 0.1)], Membership.UNTESTED, Outcome.OPEN, Limit.STEP),
    ("inside, noise", 1.0, [ladder(1.0, 0.1, exhausted=True)], Membership.UNTESTED, Outcome.RIGHT_TO_RESOLUTION, 0),
    ("outside once", 2.0, TWICE[:1], Membership.UNTESTED, Outcome.OPEN, Limit.CALLS),
    ("outside twice, kinks not looked for", 2.0, TWICE, Membership.UNTESTED, Outcome.OPEN, Limit.KINK),
    ("outside twice, no kink", 2.0, TWICE, Membership.INVALID, Outcome.WRONG, Limit.NONE),
    ("valid at a kink", 2.0, TWICE, Membership.VALID, Outcome.RIGHT, Limit.NONE),
    ("kinks cannot be told", 2.0, TWICE, Membership.OPEN, Outcome.OPEN, Limit.KINK),
    ("zero on a stair", 0.0, TWICE, Membership.STANDING, Outcome.OPEN, Limit.STAIR),
    (
        "zero on a stair that nothing contradicts",
        0.0,
        [difference(0.0)],
        Membership.STANDING,
        Outcome.RIGHT,
        Limit.NONE,
    ),
    ("infinite bound", 2.0, [ladder(1.0, np.inf)] * 2, Membership.INVALID, Outcome.OPEN, Limit.STEP),
    ("a cusp", 2.0, [ladder(1.0, np.inf, gap=3.0)], Membership.VALID, Outcome.OPEN, Limit.KINK),
    (
        "two that contradict each other",
        1.1,
        [ladder(1.0, 0.01), ladder(1.2, 0.01)],
        Membership.INVALID,
        Outcome.OPEN,
        Limit.UNCONFIRMED,
    ),
    (
        "a wide interval saves nothing",
        1.5,
        [*TWICE, ladder(1.5, 2.0)],
        Membership.INVALID,
        Outcome.WRONG,
        Limit.NONE,
    ),
    (
        "a closer difference agrees",
        2.0,
        [*TWICE, difference(2.0, 0.01, Kind.CLOSEST)],
        Membership.INVALID,
        Outcome.RIGHT_TO_RESOLUTION,
        Limit.NONE,
    ),
    (
        "what differences and a ladder exclude, a wider one does not clear",
        0.0,
        [
            difference(1.0, 0.1),
            difference(1.01, 0.1),
            ladder(1.0, 0.6, exhausted=True),
            ladder(1.0, 1.2, exhausted=True),
        ],
        Membership.UNTESTED,
        Outcome.OPEN,
        Limit.UNCONFIRMED,
    ),
    (
        "differences that are apart exclude nothing",
        0.0,
        [
            difference(1.0, 0.1),
            difference(2.3, 0.1),
            ladder(1.0, 0.6, exhausted=True),
            ladder(1.0, 1.2, exhausted=True),
        ],
        Membership.UNTESTED,
        Outcome.RIGHT_TO_RESOLUTION,
        Limit.NONE,
    ),
    ("another quantity", 2.0, [ladder(1.0, 1e-9, kind=Kind.EXACT)], Membership.INVALID, Outcome.WRONG, Limit.NONE),
    ("NaN", np.nan, TWICE, Membership.UNTESTED, Outcome.OPEN, Limit.STEP),
]


@pytest.mark.parametrize(
    ("claim", "estimates", "membership", "outcome", "limit"), [r[1:] for r in TABLE], ids=[r[0] for r in TABLE]
)
def test_what_follows(claim, estimates, membership, outcome, limit):
    assert decided(claim, estimates, membership)[:2] == (outcome, limit)


numbers = st.sampled_from([0.0, 0.999, 1.0, 1.0 + 1e-9, 1.1, 2.0, -1.0])
estimates = st.one_of(
    st.builds(
        difference, numbers, st.sampled_from([1e-12, 1e-3, 0.5]), st.sampled_from([Kind.DIFFERENCE, Kind.CLOSEST])
    ),
    st.builds(
        ladder,
        numbers,
        st.sampled_from([1e-10, 1e-3, 0.5, np.inf]),
        gap=st.sampled_from([0.0, 0.0, 0.7]),
        exhausted=st.booleans(),
        kind=st.sampled_from([Kind.LADDER, Kind.LADDER, Kind.JUMPS]),
    ),
)


@given(
    numbers,
    st.lists(estimates, max_size=5),
    st.sampled_from(list(numbers_of(Membership).values())),
    st.randoms(use_true_random=False),
)
def test_the_order_of_evidence_changes_nothing(claim, evidence, membership, random):
    first = decided(claim, evidence, membership)
    shuffled = random.sample(evidence, len(evidence))
    assert decided(claim, shuffled, membership)[:2] == first[:2]


@example(0.0, [ladder(0.0, np.inf, gap=0.7)], Membership.HIDDEN)
@given(numbers, st.lists(estimates, max_size=5), st.sampled_from(list(numbers_of(Membership).values())))
def test_wrong_is_outside_what_is_reported_and_right_within_something_finite(claim, evidence, membership):
    outcome, _, found = decided(claim, evidence, membership)
    bent = found.gap[0, 0] != 0
    if outcome == Outcome.WRONG and not bent:
        assert abs(claim - found.reference[0, 0]) > found.bound[0, 0]
    if outcome in (Outcome.RIGHT, Outcome.RIGHT_TO_RESOLUTION):
        assert np.isfinite(found.bound[0, 0])


@pytest.mark.parametrize(
    ("estimate", "rejected"),
    [
        (difference(1.0), True),
        (difference(1.0, 3.0), False),
        (ladder(1.0, 1e-9), True),
        (ladder(1.0, np.inf), False),
        (ladder(0.0, 0.5, gap=1.0), True),
    ],
)
def test_what_would_have_rejected_another_claim(estimate, rejected):
    assert bool(excludes(np.array([[-1.0]]), evidence_of([estimate]), TOLERANCE)[0, 0]) == rejected


# ---- in whole numbers: where exactly one outcome ends and the next begins --------------------------------------------------

OPEN, RIGHT, RESOLVED, WRONG = Outcome.OPEN, Outcome.RIGHT, Outcome.RIGHT_TO_RESOLUTION, Outcome.WRONG
UNSEEN, VALID, INVALID, HIDDEN = Membership.UNTESTED, Membership.VALID, Membership.INVALID, Membership.HIDDEN


def among(value, noise, typical=0.0, *, limited=False, kind=Kind.DIFFERENCE, curvature=0.0):
    """Return a difference among others whose noise is ``typical``."""
    return replace(
        difference(value, noise, kind, limited), typical=np.full(1, typical), curvature=np.array([[curvature]])
    )


ZERO = [ladder(0.0, 1.0), ladder(0.0, 1.0)]
DIFFERENCES = [
    # claim, estimates, changes of the tolerance, nonlinear, outcome, limit
    (2.0, [among(0.0, 0.5)], {}, False, RIGHT, Limit.NONE),
    (2.5, [among(0.0, 0.5)], {}, False, OPEN, Limit.CALLS),
    (2.0, [among(0.0, 0.5)], {}, True, OPEN, Limit.CALLS),
    (6.0, [among(0.0, 0.5, curvature=-1.0)], {"spacing": np.ones(1)}, False, RIGHT, Limit.NONE),
    (6.5, [among(0.0, 0.5, curvature=-1.0)], {"spacing": np.ones(1)}, False, OPEN, Limit.CALLS),
    (6.0, [among(0.0, 0.5, curvature=np.inf)], {"spacing": np.ones(1)}, False, OPEN, Limit.CALLS),
    (4.0, [among(0.0, np.inf, np.inf)], {}, False, OPEN, Limit.NOISE),
    # as noisy as the typical element: up to four times its noise
    (20.0, [among(0.0, 20.0, 10.0)], {}, False, RESOLVED, Limit.NONE),
    (20.0, [among(0.0, 20.0, 9.9)], {}, False, OPEN, Limit.NOISE),
    (20.0, [among(0.0, 20.0, 10.0)], {}, True, OPEN, Limit.NOISE),
    (16.0, [among(0.0, 14.0, 10.0)], {}, False, OPEN, Limit.CALLS),
    (10.0, [among(0.0, 40.0)], {"rtol": 0.5}, False, RESOLVED, Limit.NONE),
    (10.0, [among(0.0, 41.0)], {"rtol": 0.5}, False, OPEN, Limit.NOISE),
    # ROUGHLY: 0.3 of the leaf's typical size, or of what was measured
    (10.0, [among(0.0, 20.0, limited=True)], {}, False, RESOLVED, Limit.NONE),
    (10.0, [among(0.0, 21.0, limited=True)], {}, False, OPEN, Limit.NOISE),
    (10.0, [among(0.0, 20.0)], {}, False, OPEN, Limit.NOISE),
    (220.0, [among(200.0, 40.0, limited=True)], {}, False, RESOLVED, Limit.NONE),
    (220.0, [among(200.0, 41.0, limited=True)], {}, False, OPEN, Limit.CALLS),
    # why it is open: contradicted, or noise above 0.3 of the claim
    (100.0, [among(60.0, 40.0)], {}, False, OPEN, Limit.NOISE),
    (100.0, [among(60.0, 39.0)], {}, False, OPEN, Limit.CALLS),
    (100.0, [among(90.0, 30.0)], {}, False, OPEN, Limit.CALLS),
    (100.0, [among(90.0, 31.0)], {}, False, OPEN, Limit.NOISE),
    (9.0, [among(9.0, 0.5, kind=Kind.CLOSEST)], {}, False, OPEN, Limit.CALLS),
]


@pytest.mark.parametrize(("claim", "estimates", "changes", "nonlinear", "outcome", "limit"), DIFFERENCES)
def test_where_plain_differences_end_to_clear(claim, estimates, changes, nonlinear, outcome, limit):
    found = decided(claim, estimates, tolerance=WHOLE._replace(**changes), nonlinear=nonlinear)
    assert found[:2] == (outcome, limit)


INTERVALS = [
    # claim, estimates, changes of the tolerance, membership, outcome, limit, bound
    (1.0, [ladder(0.0, 1.0)], {}, UNSEEN, RIGHT, 0, 1),
    (1.0, [ladder(0.0, 1.5)], {}, UNSEEN, OPEN, Limit.STEP, 1.5),
    (1.0, [pair(0.0, 1.0)], {}, UNSEEN, RIGHT, 0, 1),
    (5.0, [ladder(0.0, 1.0)], {}, UNSEEN, OPEN, Limit.ROUNDOFF, 1),
    (3.0, [ladder(0.0, 1.0)], {}, UNSEEN, OPEN, Limit.STEP, 1),
    (5.5, [ladder(0.0, 1.0)], {}, UNSEEN, OPEN, Limit.CALLS, 1),
    (5.0, [ladder(0.0, 1.0)], {"cleared": np.full(1, 4.0)}, UNSEEN, OPEN, Limit.STEP, 1),
    (5.5, [ladder(0.0, 1.0)], {}, UNSEEN, OPEN, Limit.CALLS, 1),
    (1.0, [ladder(np.inf, 1.0)], {}, UNSEEN, OPEN, Limit.STEP, np.inf),
    # settled: noise forbids better steps, or there is none and the bound is roughly (0.3) enough
    (12.0, [ladder(0.0, 10.0, exhausted=True)], {}, UNSEEN, RESOLVED, 0, 10),
    (12.0, [ladder(0.0, 10.0, exhausted=True)], {}, HIDDEN, RESOLVED, 0, 10),
    (12.5, [ladder(0.0, 10.0, exhausted=True)], {}, UNSEEN, OPEN, Limit.ROUNDOFF, 10),
    (0.0, [ladder(0.0, 30.0, noise=10.0, ended=True)], {}, UNSEEN, RESOLVED, 0, 30),
    (0.0, [ladder(0.0, 31.0, noise=10.0, ended=True)], {}, UNSEEN, OPEN, Limit.STEP, 31),
    (200.0, [ladder(200.0, 60.0, noise=20.0, ended=True)], {}, UNSEEN, RESOLVED, 0, 60),
    (200.0, [ladder(200.0, 60.0, noise=15.0, ended=True)], {}, UNSEEN, OPEN, Limit.STEP, 60),
    (0.0, [ladder(0.0, 20.0), among(90.0, 1.0, limited=True)], {}, UNSEEN, OPEN, Limit.STEP, 20),
    (20.0, [ladder(0.0, 30.0)], {"rtol": 0.5}, UNSEEN, RESOLVED, 0, 30),
    (20.0, [ladder(0.0, 31.0)], {"rtol": 0.5}, UNSEEN, OPEN, Limit.STEP, 31),
    # why it is open
    (0.0, [ladder(0.0, 10.0, noise=5.0)], {}, UNSEEN, OPEN, Limit.STEP, 10),
    (0.0, [ladder(0.0, 10.0, noise=6.0)], {}, UNSEEN, OPEN, Limit.NOISE, 10),
    (99.0, [ladder(0.0, 10.0, noise=6.0)], {}, UNSEEN, OPEN, Limit.CALLS, 10),
    (0.0, [ladder(0.0, np.inf, noise=9.0)], {}, UNSEEN, OPEN, Limit.STEP, np.inf),
    # PLAINLY: 30 bounds of a pair need no ladder; less is no vote
    (64.0, [pair(0.0, 2.0)], {}, INVALID, OPEN, Limit.CALLS, 2),
    (64.5, [pair(0.0, 2.0)], {}, INVALID, WRONG, 0, 2),
    (34.5, [ladder(0.0, 1.0)], {}, INVALID, OPEN, Limit.CALLS, 1),
    (30.0, [pair(0.0, 1.0), pair(0.0, 1.0)], {}, INVALID, OPEN, Limit.UNCONFIRMED, 1),
    (30.0, [pair(0.0, 1.0), ladder(0.0, 1.0)], {}, INVALID, OPEN, Limit.UNCONFIRMED, 1),
    # known to be linear: no look at kinks
    (9.0, ZERO, {}, UNSEEN, OPEN, Limit.KINK, 1),
    (9.0, ZERO, {"smooth": True}, UNSEEN, WRONG, 0, 1),
    (9.0, [multiple(0.0, 1.0)], {}, UNSEEN, WRONG, 0, 1),
    (9.0, [ladder(0.0, 1.0, kind=Kind.EXACT)], {}, UNSEEN, OPEN, Limit.KINK, 1),
    (50.0, [*ZERO, multiple(40.0, 60.0)], {}, UNSEEN, OPEN, Limit.KINK, 1),
    # a wide interval that includes the claim yields to narrow ones that exclude it, if it reaches as far as they are apart
    (50.0, [*ZERO, ladder(40.0, 50.0)], {}, INVALID, WRONG, 0, 1),
    (50.0, [*ZERO, ladder(40.0, 49.0)], {}, INVALID, OPEN, Limit.UNCONFIRMED, 49),
    (50.0, [*ZERO[:1], ladder(40.0, 60.0)], {}, INVALID, OPEN, Limit.UNCONFIRMED, 60),
    # what others say beyond their bounds widens the interval
    (50.0, [ladder(50.0, 1.0), ladder(0.0, 1.0)], {}, INVALID, OPEN, Limit.UNCONFIRMED, 50),
    (50.0, [ladder(50.0, 1.0), ladder(52.0, 4.0)], {}, INVALID, RIGHT, 0, 1),
    (99.0, [ladder(0.0, 1.0), ladder(3.0, 2.0)], {}, INVALID, WRONG, 0, 1),
    (99.0, [ladder(0.0, 1.0), ladder(3.5, 2.0)], {}, INVALID, WRONG, 0, 3.5),
    (-16.0, [ladder(0.0, 1.0), ladder(12.0, 2.0)], {}, INVALID, OPEN, Limit.UNCONFIRMED, 12),
    (-16.5, [ladder(0.0, 1.0), ladder(12.0, 2.0)], {}, INVALID, WRONG, 0, 12),
    # beside a plain difference that clears: only where no interval says anything against it
    (50.0, [among(50.0, 1.0), ladder(50.0, 9.0)], {}, UNSEEN, RIGHT, 0, 1),
    (50.0, [among(50.0, 1.0), ladder(50.0, 9.0, exhausted=True)], {}, UNSEEN, RESOLVED, 0, 9),
    (50.0, [among(50.0, 1.0), ladder(0.0, 9.0)], {}, UNSEEN, OPEN, Limit.CALLS, 9),
    (50.0, [among(50.0, 1.0), ladder(50.0, 9.0, gap=1.0)], {}, UNSEEN, OPEN, Limit.KINK, 9),
    (0.0, [among(0.0, 1.0), joint(7.0, 9.0)], {}, UNSEEN, OPEN, Limit.KINK, 9),
    (50.0, [among(45.0, 14.0, 10.0), ladder(50.0, 9.0)], {}, UNSEEN, OPEN, Limit.STEP, 9),
    # at kinks
    (0.0, [ladder(0.0, 1.0), joint(7.0)], {}, UNSEEN, OPEN, Limit.KINK, 1e-12),
    (0.0, [ladder(0.0, 1.0), joint(7.0)], {}, VALID, RIGHT, 0, 1e-12),
    (0.0, [ladder(0.0, 1.0), joint(-7.0)], {}, INVALID, WRONG, 0, 1e-12),
    (0.0, [ladder(0.0, 1.0), joint(0.0)], {}, INVALID, RIGHT, 0, 1),
    (50.0, [joint(7.0)], {}, UNSEEN, OPEN, Limit.KINK, 1e-12),
    (0.0, [ladder(0.0, 1.0, gap=0.5)], {}, INVALID, WRONG, 0, 1),
    (0.0, [ladder(0.0, 1.0, gap=0.5)], {}, VALID, RIGHT, 0, 1),
    (0.0, [ladder(0.0, 1.0, gap=0.5)], {"smooth": True}, UNSEEN, OPEN, Limit.KINK, 1),
    # DISAGREES: 3.3 bounds, at a kink that noise hides; ROUGHLY: accepted up to 0.3 of the leaf's typical size
    (30.0, [ladder(0.0, 9.1)] * 2, {}, HIDDEN, RESOLVED, 0, 30),
    (30.0, [ladder(0.0, 9.0)] * 2, {}, HIDDEN, WRONG, 0, 9),
    (30.5, [ladder(0.0, 11.0)] * 2, {}, HIDDEN, OPEN, Limit.KINK, 30.5),
    (30.0, [ladder(0.0, 10.0)] * 2, {"size": np.full(1, 99.0)}, HIDDEN, OPEN, Limit.KINK, 30),
    (30.0, [ladder(0.0, 10.0)] * 2, {}, INVALID, WRONG, 0, 10),
    (30.0, [ladder(0.0, 10.0)] * 2, {}, Membership.OPEN, OPEN, Limit.KINK, 10),
    # MOST_HIDDEN: a ladder that takes discontinuities for noise replaces others if its bound is 0.05 of the size or less
    (50.0, [*ZERO, ladder(50.0, 5.0, kind=Kind.JUMPS)], {}, INVALID, OPEN, Limit.STEP, 5),
    (50.0, [*ZERO, ladder(50.0, 5.5, kind=Kind.JUMPS)], {}, INVALID, WRONG, 0, 1),
    (59.0, [*ZERO, ladder(50.0, 5.0, kind=Kind.JUMPS)], {}, INVALID, OPEN, Limit.ROUNDOFF, 5),
    (59.5, [*ZERO, ladder(50.0, 5.0, kind=Kind.JUMPS)], {}, INVALID, WRONG, 0, 1),
    (200.0, [*ZERO, ladder(200.0, 10.0, kind=Kind.JUMPS)], {}, INVALID, OPEN, Limit.STEP, 10),
    # LINKED: a closer difference agrees within its noise and a twentieth of the error at longer steps
    (100.0, [*ZERO, among(90.0, 5.0, kind=Kind.CLOSEST)], {}, INVALID, RESOLVED, 0, 15),
    (100.0, [*ZERO, among(89.5, 5.0, kind=Kind.CLOSEST)], {}, INVALID, WRONG, 0, 1),
    (100.0, [*ZERO, among(100.0, 62.0, kind=Kind.CLOSEST)], {}, INVALID, RESOLVED, 0, 62),
    (100.0, [*ZERO, among(100.0, 63.0, kind=Kind.CLOSEST)], {}, INVALID, WRONG, 0, 1),
    (100.0, [*ZERO, among(100.0, 5.0)], {}, INVALID, WRONG, 0, 1),
    (100.0, [ZERO[0], among(100.0, 5.0, kind=Kind.CLOSEST)], {}, INVALID, OPEN, Limit.CALLS, 1),
    (np.inf, [*ZERO, among(100.0, 5.0, kind=Kind.CLOSEST)], {}, INVALID, WRONG, 0, 1),
    # CLOSE: seen from steps of 1.6 x noise / error on; what is longer beside the element says nothing about it
    (16.0, ZERO, {"magnitude": np.ones(1), "noise": np.full(1, 9.9 * BEYOND)}, INVALID, WRONG, 0, 1),
    (16.0, ZERO, {"magnitude": np.ones(1), "noise": np.full(1, 10.1 * BEYOND)}, INVALID, OPEN, Limit.NOISE, 1),
    (
        16.0,
        [*ZERO, among(16.0, 1.0, kind=Kind.CLOSEST)],
        {"magnitude": np.ones(1), "noise": np.full(1, 10.1 * BEYOND)},
        INVALID,
        RESOLVED,
        0,
        1,
    ),
]


@pytest.mark.parametrize(("claim", "estimates", "changes", "membership", "outcome", "limit", "bound"), INTERVALS)
def test_where_intervals_end_to_decide(claim, estimates, changes, membership, outcome, limit, bound):
    *result, found = decided(claim, estimates, membership, WHOLE._replace(**changes))
    assert (*result, found.bound[0, 0]) == (outcome, limit, bound)


def test_elements_side_by_side_are_decided_as_each_alone():
    rows = [row for row in INTERVALS if not row[2]]
    rows += [(*row[:3], UNSEEN, *row[4:], None) for row in DIFFERENCES if not (row[2] or row[3])]
    on_stair = [ladder(0.0, 1e-12), *[ladder(1.0, 1e-3, noise=1e-3, exhausted=True, kind=Kind.STAIR)] * 2]
    rows += [(1.0, on_stair, {}, Membership.INVALID, Outcome.RIGHT, Limit.NONE, None)]
    ledger = Ledger(len(rows), 1)
    for i, (_, estimates, _, membership, *_) in enumerate(rows):
        for estimate in estimates:
            ledger.add(replace(estimate, indices=np.array([i])))
        ledger.enter_membership(np.array([i]), np.full((1, 1), membership, dtype=np.int8))
    evidence = ledger.evidence(np.arange(len(rows)))
    found = decide(np.array([[row[0]] for row in rows]), evidence, WHOLE)
    assert [(o, i) for o, i in zip(found.outcome[:, 0], found.limit[:, 0], strict=True)] == [row[4:6] for row in rows]


def test_what_is_reported_beside_an_outcome():
    plain = decided(3.0, [among(-2.0, 7.0, 4.0)], tolerance=WHOLE)[2]
    assert (plain.reference, plain.bound, plain.noise, plain.floor) == (-2, 12, 7, 11)
    assert (plain.gap, plain.joint) == (0, 0)
    assert not (plain.contradicted or plain.excluded or plain.rough)
    assert decided(8.0, [among(0.0, 7.0)], tolerance=WHOLE)[2].excluded
    assert not decided(7.0, [among(0.0, 7.0)], tolerance=WHOLE)[2].excluded
    bounded = decided(9.0, [*ZERO, ladder(1.0, 3.0, noise=2.0)], INVALID, WHOLE)[2]
    assert (bounded.reference, bounded.bound, bounded.noise, bounded.floor) == (0, 1, 0, 5)
    assert bounded.contradicted
    assert bounded.excluded
    assert not bounded.rough
    one = decided(9.0, [ladder(0.0, 1.0)], tolerance=WHOLE)[2]
    assert one.excluded
    assert not one.contradicted
    assert not decided(0.0, [ladder(0.0, 1.0)], tolerance=WHOLE)[2].excluded
    closer = [among(100.0, 20.0, kind=Kind.CLOSEST), among(98.0, 3.0, kind=Kind.CLOSEST)]
    near = decided(100.0, [*ZERO, *closer], INVALID, WHOLE)[2]
    assert (near.reference, near.bound, near.floor, near.contradicted) == (98, 5, 9, False)


def test_nothing_measured_reports_nothing():
    found = decided(1.0, [], tolerance=WHOLE)[2]
    assert np.all(np.isnan([found.reference, found.bound, found.noise, found.floor]))
    assert (found.gap, found.joint) == (0, 0)
    assert not (found.contradicted or found.excluded or found.rough)


def test_gaps_and_slopes_of_joint_moves_are_the_largest_and_kept_apart():
    seen = [among(0.0, 1.0), ladder(0.0, 1.0, gap=0.25), ladder(0.0, 1.0, gap=-0.5), joint(0.75), joint(-0.875)]
    found = decided(0.0, seen, tolerance=WHOLE)[2]
    assert (found.gap, found.joint) == (-0.5, -0.875)
    assert decided(0.0, seen[:3], tolerance=WHOLE)[2].joint == 0
    assert decided(0.0, seen[3:], tolerance=WHOLE)[2].gap == 0


@pytest.mark.parametrize(
    ("claim", "estimates", "reference"),
    [
        # what clears comes first, then what noise explains, then the nearest
        (5.0, [among(0.0, 1.0, curvature=-1.0), among(2.0, 9.0, 9.0)], 0.0),
        (5.0, [among(2.0, 1.0), among(0.0, 9.0, 9.0)], 0.0),
        (5.0, [among(2.0, 1.0), among(0.0, 9.0, limited=True)], 0.0),
        (5.0, [among(1.0, 1.0), among(2.0, 1.0)], 2.0),
        (5.0, [among(5.0, 1.0, kind=Kind.CLOSEST), among(0.0, 1.0)], 0.0),
        (5.0, [among(np.nan, 1.0), among(0.0, 1.0)], 0.0),
        # the narrowest of those that include the claim, and of equal ones the least
        (50.0, [ladder(49.0, 6.0), ladder(50.0, 4.0), ladder(51.0, 4.0), ladder(0.0, 1.0)], 50.0),
        (50.0, [ladder(51.0, 4.0), ladder(50.0, 4.0)], 50.0),
        (50.0, [ladder(1.0, 1.0), ladder(0.0, 2.0)], 1.0),
        (50.0, [ladder(np.nan, np.inf), ladder(9.0, np.inf)], 9.0),
    ],
)
def test_which_measurement_is_the_reference(claim, estimates, reference):
    tolerance = WHOLE._replace(spacing=np.full(1, 1.0))
    for order in (estimates, estimates[::-1]):
        assert decided(claim, order, tolerance=tolerance)[2].reference == reference


@pytest.mark.parametrize(
    ("estimates", "rough"),
    [
        ([among(0.0, 9.0, limited=True)], True),
        ([among(0.0, 9.0)], False),
        ([among(0.0, 9.0, 9.0, limited=True)], False),
        ([among(0.0, 9.0, limited=True), among(5.0, 1.0)], False),
        ([among(0.0, 9.0, limited=True), among(1.0, 9.0, 9.0)], False),
        ([among(1.0, 9.0, 9.0)], False),
        ([among(5.0, 1.0)], False),
    ],
)
def test_rough_is_what_nothing_better_accepts(estimates, rough):
    assert decided(5.0, estimates, tolerance=WHOLE)[2].rough == rough


def test_only_open_elements_at_kinks_are_untested():
    assert decided(9.0, ZERO, UNSEEN, WHOLE)[2].untested
    assert not decided(9.0, ZERO, INVALID, WHOLE)[2].untested
    assert not decided(9.0, ZERO[:1], UNSEEN, WHOLE)[2].untested


def test_a_tolerance_is_of_value_rounding_and_what_a_backward_may_be_off_by():
    shape = 2, 2, 3
    evidence = evidence_of(ZERO)._replace(value=np.full(shape, -8.0), curvature=np.full(shape, -5.0))
    spacing = np.array([3.0, 1.0])
    shared = WHOLE._replace(rtol=0.5, spacing=spacing, roundoff=np.array([7.0, 8, 9]), cleared=np.array([1.0, 2, 3]))
    wrong_by, right_to = shared.of(evidence)
    assert np.array_equal(wrong_by[:, 0], [[71, 72, 73], [31, 32, 33]])
    assert np.array_equal(right_to[:, 1], [[65, 66, 67], [25, 26, 27]])
    own = shared._replace(roundoff=np.arange(6.0).reshape(2, 3), cleared=np.zeros((2, 3)))
    wrong_by, right_to = own.of(evidence)
    assert np.array_equal(wrong_by[:, 1], [[64, 65, 66], [27, 28, 29]])
    assert np.array_equal(right_to[:, 1], [[64, 64, 64], [24, 24, 24]])


@pytest.mark.parametrize(
    ("claim", "estimates", "membership", "excluded"),
    [
        (14.0, [], UNSEEN, False),
        (14.0, [among(0.0, 10.0)], UNSEEN, False),
        (14.5, [among(0.0, 10.0)], UNSEEN, True),
        (14.0, [ladder(0.0, 10.0)], UNSEEN, False),
        (14.5, [ladder(0.0, 10.0)], UNSEEN, True),
        (14.5, [ladder(0.0, 10.0, noise=99.0)], UNSEEN, True),
        (14.5, [pair(0.0, 10.0)], UNSEEN, True),
        (14.5, [among(0.0, 1.0, kind=Kind.CLOSEST)], UNSEEN, False),
        (14.5, [among(14.5, 1.0, kind=Kind.CLOSEST), ladder(0.0, 1.0)], UNSEEN, True),
        (14.5, [ladder(14.5, 1.0), ladder(0.0, 1.0)], UNSEEN, False),
        (14.5, [among(np.inf, 1.0)], UNSEEN, False),
        (14.5, [among(np.nan, 1.0), ladder(0.0, 1.0)], UNSEEN, True),
        (0.0, [ladder(0.0, 1.0)], VALID, True),
        (0.0, [ladder(0.0, 1.0)], INVALID, False),
        # a kink is seen sharply when its gap is more than the bound beside it
        (0.0, [ladder(0.0, 1.0, gap=-1.0)], UNSEEN, False),
        (0.0, [ladder(0.0, 1.0, gap=-1.25)], UNSEEN, True),
        (0.0, [ladder(0.0, 1.0, gap=1.25), ladder(0.0, 1.0)], UNSEEN, True),
        (0.0, [joint(7.0, 1.0)], UNSEEN, False),
    ],
)
def test_where_every_estimate_excludes(claim, estimates, membership, excluded):
    evidence = evidence_of(estimates, membership)
    assert bool(excludes(np.array([[claim]]), evidence, WHOLE)[0, 0]) == excluded
    several = excludes(np.array([[[claim]], [[-claim]], [[claim + 1e3]]]), evidence, WHOLE)
    alone = [excludes(np.array([[other]]), evidence, WHOLE) for other in (claim, -claim, claim + 1e3)]
    np.testing.assert_array_equal(several, alone)


@pytest.mark.parametrize("claim", [1.0, 2.0])
def test_on_a_stair_its_trend_decides_whatever_else_was_measured(claim):
    """Shorter steps stand still, and a ladder with jumps for noise says nothing beside those with the stair for noise."""
    still = [ladder(0.0, 1e-12), ladder(0.0, 1e-12), ladder(claim, 1e-3, kind=Kind.JUMPS)]
    stairs = [ladder(1.0, 1e-3, noise=1e-3, exhausted=True, kind=Kind.STAIR)] * 2
    outcome, _, found = decided(claim, still + stairs, Membership.INVALID)
    assert outcome == (Outcome.RIGHT_TO_RESOLUTION if claim == 1 else Outcome.WRONG) and found.reference[0, 0] == 1


@pytest.mark.parametrize(
    ("claim", "bound", "outcome", "limit"),
    [
        (1.0, 0.45, Outcome.RIGHT_TO_RESOLUTION, Limit.NONE),
        (-1.0, 0.45, Outcome.RIGHT_TO_RESOLUTION, Limit.NONE),
        (1.0, 0.55, Outcome.OPEN, Limit.STAIR),  # zero and twice the claim are as good
        (-1.0, 0.55, Outcome.OPEN, Limit.STAIR),
        (0.1, 0.3, Outcome.WRONG, Limit.NONE),
    ],
)
def test_on_a_stair_a_claim_is_cleared_where_half_of_it_would_show(claim, bound, outcome, limit):
    """Beside what was measured on the stair itself."""
    trend = np.copysign(1.0, claim)
    stairs = [ladder(trend, bound, noise=bound, exhausted=True, kind=Kind.STAIR)] * 2
    found = decided(claim, [ladder(0.0, 1e-12), *stairs], Membership.INVALID)
    assert found[:2] == (outcome, limit)


@pytest.mark.parametrize(
    ("claim", "noise", "of_slope", "dwarfed", "wrong"),
    [
        (8.0, 1e-2, 0.1, 1e-3, False),
        (8.0, 1e-2, 0.09, 1e-3, True),  # over a step of 1e-2 / 0.09 they rise by more than 8 times ten of its sizes
        (-8.0, 1e-2, 0.1, 1e-3, False),
        (8.0, 1e-2, 0.1, 0.0, True),  # no element far smaller than others
        (8.0, 1e-2, 0.1, 0.9e-3, True),
        (8.0, 4.3e-3, 0.1, 1e-3, True),  # what noise hides of the error is nearer than its size
    ],
)
def test_over_a_step_far_longer_than_a_small_element_its_own_scale_may_be_passed_over(
    claim, noise, of_slope, dwarfed, wrong
):
    """Measured: a slope of one to within a quarter, over which the functions stand still as far as the claim may tell."""
    tolerance = TOLERANCE._replace(noise=np.full(1, noise), dwarfed=np.full(1, dwarfed))
    outcome, limit, found = decided(
        claim, [ladder(1.0, 0.25, noise=of_slope)] * 2, Membership.INVALID, tolerance=tolerance
    )
    assert (outcome, limit) == ((Outcome.WRONG, Limit.NONE) if wrong else (Outcome.OPEN, Limit.NOISE))
    assert found.contradicted[0, 0] == wrong


@pytest.mark.parametrize(("claim", "closest", "agrees"), [(0.0, 0.0, True), (0.05, 0.0, False), (0.05, 0.05, True)])
def test_a_look_so_close_that_the_functions_stand_still_agrees_with_a_claim_of_zero_alone(claim, closest, agrees):
    outcome, _, found = decided(claim, [*TWICE, difference(closest, kind=Kind.CLOSEST)], Membership.INVALID)
    assert outcome == (Outcome.RIGHT_TO_RESOLUTION if agrees else Outcome.WRONG)
    assert found.reference[0, 0] == (closest if agrees else 1.0)
