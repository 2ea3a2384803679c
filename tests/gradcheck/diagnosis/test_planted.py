"""On planted bugs the first diagnosis is the true kind; of errors without an explanation nothing is said."""

import itertools

import pytest

from tests.gradcheck.diagnosis import (
    everyday,
    fields,
    near_causes,
    networks,
    noise,
    pitfalls,
    planted,
    reported,
    textbook,
)

FAMILIES = [
    planted.arrays,
    networks.trees,
    networks.activations,
    networks.convolutions,
    networks.matrices,
    networks.shapes,
    reported.reported,
    fields.fields,
    textbook.textbook,
    everyday.everyday,
    pitfalls.pitfalls,
    near_causes.near_causes,
]


def one_of_each(family, kind):
    """Return the first bug of each kind, in the first shape of each."""
    found: dict = {}
    for bug in family(0):
        found.setdefault(kind(bug), bug)
    return found.values()


def assert_told(bugs):
    assert {bug.name: bug.first() for bug in bugs if not bug.is_met()} == {}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_the_first_diagnosis_is_the_true_one(family):
    """Of one bug for each that a family can be told; `benchmarks.diagnoses` runs all bugs in all shapes at many seeds."""
    assert_told(one_of_each(family, lambda bug: (bug.kinds, bug.words)))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_the_first_diagnosis_is_the_true_one_of_every_bug(family):
    assert_told(one_of_each(family, lambda bug: bug.name.split(" (")[0]))


def test_nothing_is_said_of_random_errors():
    cases = itertools.islice(noise.residuals(0), 0, None, 61)  # `benchmarks.diagnoses` runs all of them
    said = {case.name: case.report().parameters["params"].diagnoses for case in cases}
    assert len(said) > 20 and not {name: found for name, found in said.items() if found}


def test_nothing_is_said_of_a_layer_with_random_errors():
    reports = dict(noise.layers(0))
    assert reports
    for name, report in reports.items():
        assert report.verdict == "fail" and not report.parameters["x"].diagnoses, name


@pytest.mark.parametrize("bug", [bug for family in FAMILIES[-6:] for bug in family(1) if bug.right], ids=str)
def test_the_right_twin_passes_without_a_word(bug):
    report = bug.right()
    assert report.verdict == "pass", report
    assert not any(parameter.diagnoses for parameter in report.parameters.values())
