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


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_the_first_diagnosis_is_the_true_one(family):
    """In the first shape of each; `benchmarks.diagnoses` runs all of them at many seeds."""
    one_of_each: dict = {}
    for bug in family(0):
        one_of_each.setdefault(bug.name.split(" (")[0], bug)
    missed = {name: bug.first() for name, bug in one_of_each.items() if not bug.is_met()}
    assert missed == {}


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
