"""The rule of acceptance as a table: a claim, what was measured, and what follows; in whatever order it was measured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.acceptance.decide import Outcome, Tolerance, decide, excludes
from gradcheck.acceptance.ledger import Estimate, Kind, Ledger, Limit, Membership
from gradcheck.differences.ladder import Measurement

HERE = np.array([0])
TOLERANCE = Tolerance(1e-7, np.ones(1), np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1), np.full(1, 1e-15))


def difference(value, noise=1e-12, kind=Kind.DIFFERENCE, limited=False):
    return Estimate.difference(
        HERE, np.array([[value]]), np.array([[noise]]), np.zeros((1, 1)), kind=kind, limited=limited
    )


def ladder(value, bound, *, noise=0.0, gap=0.0, exhausted=False, ended=False, kind=Kind.LADDER):
    one = np.ones((1, 1))
    measured = Measurement.nothing(1, 1)
    measured.value, measured.bound, measured.noise, measured.gap = value * one, bound * one, noise * one, gap * one
    measured.exhausted, measured.ended = np.full((1, 1), exhausted), np.full((1, 1), ended)
    return Estimate.measurement(HERE, measured, kind)


def decided(claim, estimates, membership=Membership.UNTESTED):
    ledger = Ledger(1, 1)
    for estimate in estimates:
        ledger.add(estimate)
    ledger.examine(HERE, np.full((1, 1), membership, dtype=np.int8))
    found = decide(np.array([[claim]]), ledger.evidence(HERE), TOLERANCE)
    return Outcome(found.outcome[0, 0]), Limit(found.limit[0, 0]), found


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


@given(numbers, st.lists(estimates, max_size=5), st.sampled_from(list(Membership)), st.randoms(use_true_random=False))
def test_the_order_of_evidence_changes_nothing(claim, evidence, membership, random):
    first = decided(claim, evidence, membership)
    shuffled = random.sample(evidence, len(evidence))
    assert decided(claim, shuffled, membership)[:2] == first[:2]


@given(numbers, st.lists(estimates, max_size=5), st.sampled_from(list(Membership)))
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
    ledger = Ledger(1, 1)
    ledger.add(estimate)
    assert bool(excludes(np.array([[-1.0]]), ledger.evidence(HERE), TOLERANCE)[0, 0]) == rejected
