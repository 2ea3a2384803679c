"""Verdicts over the corpus: nothing right is called wrong, and bugs are caught where the right twin passes.

Rates are asserted over pooled cases, so that one unlucky case is no red test; a right gradient called wrong always is.
"""

import importlib
from dataclasses import dataclass

import numpy as np
import pytest

from gradcheck import check_gradient, check_layer, numerical_gradient
from tests.gradcheck.corpus.case import Case

FAMILIES = ["smooth", "edges", "noise", "scaling", "oscillation", "kinks", "near", "singles"]

SEEDS, MORE_SEEDS = (200,), (200, 201)

BIASED = ("iterate", "quadrature")
"""Their own derivative differs smoothly from the intended one: no difference can tell."""


def cases_of(family, seeds):
    module = importlib.import_module(f"tests.gradcheck.corpus.{family}")
    return [case for seed in seeds for case in module.cases(seed)]


def is_half(case):
    """Whether the point is in float16, where errors of 10 % often remain undecided."""
    return isinstance(case, Case) and case.x.dtype == np.float16


@dataclass
class Count:
    right: int = 0
    inconclusive: int = 0
    bugs: int = 0
    caught: int = 0
    sets: int = 0
    exact: int = 0


def judge(case, gradient):
    if isinstance(case, Case):
        return check_gradient(case.f, gradient, case.x)
    return check_layer(case.forward, gradient, *case.inputs)


def named(report, elements):
    """Whether the report names exactly these elements."""
    parameters = list(report.parameters.values())
    masks = elements if isinstance(elements, tuple) else (elements,)
    return all(
        np.array_equal(parameter.wrong, np.zeros(parameter.shape, bool) if mask is None else mask)
        for parameter, mask in zip(parameters, masks, strict=True)
    )


def count(family, seeds, *, all_bugs):
    """Judge the right gradient of each case, and all its bugs, or one of every other case, in turn."""
    counted = Count()
    for number, case in enumerate(cases_of(family, seeds)):
        report = judge(case, case.right)
        assert report.verdict != "fail", f"{case}: {report}"
        assert report.ok or not getattr(case, "easy", False), f"{case}: {report}"
        counted.right += 1
        counted.inconclusive += not report.ok
        planted = () if is_half(case) else case.bugs
        for bug in planted if all_bugs else np.roll(np.array(planted, dtype=object), -number // 2)[: 1 - number % 2]:
            found = judge(case, bug.gradient)
            counted.bugs += 1
            counted.caught += report.ok and found.verdict == "fail"
            if bug.elements is not None and found.verdict == "fail":
                counted.sets += 1
                counted.exact += named(found, bug.elements)
    return counted


def assert_rates(counted):
    assert counted.inconclusive <= np.ceil(0.08 * counted.right), counted
    assert counted.bugs - counted.caught <= np.ceil(0.05 * counted.bugs), counted
    assert counted.sets - counted.exact <= np.ceil(0.1 * counted.sets), counted


@pytest.mark.parametrize("family", FAMILIES)
def test_right_gradients_pass_and_bugs_are_named(family):
    """With one bug of every other case; the slow tests and `benchmarks.calibration` try all of them."""
    assert_rates(count(family, SEEDS, all_bugs=False))


def test_right_layers_pass_and_bugs_are_named():
    assert_rates(count("layers", (203,), all_bugs=False))


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, "layers"])
def test_right_gradients_pass_and_bugs_are_named_on_more_of_them(family):
    assert_rates(count(family, MORE_SEEDS, all_bugs=True))


@pytest.mark.parametrize("family", [*FAMILIES[:-1], pytest.param(FAMILIES[-1], marks=pytest.mark.slow)])
def test_the_error_bound_covers_the_true_error(family):
    """In 98 % at least of the elements of a family, whose truth is known: 99 % over all."""
    covered = []
    for case in cases_of(family, SEEDS):
        if case.exact is None or case.name.startswith(BIASED):
            continue
        found = numerical_gradient(case.f, case.x)
        covered.append(np.ravel(np.abs(found.value - case.exact) <= found.error_bound))
    assert np.mean(np.concatenate(covered)) >= 0.98


@pytest.mark.parametrize("family", ["kinks", "near"])
def test_a_kink_is_flagged_or_the_interval_holds_both_sides(family):
    for case in cases_of(family, SEEDS):
        if case.sides is None:
            continue
        left, right = case.sides
        found = numerical_gradient(case.f, case.x)
        holds = np.maximum(np.abs(found.value - left), np.abs(found.value - right)) <= found.error_bound
        bent = np.abs(left - right) > 1e-6 * (np.abs(left) + np.abs(right))
        assert np.all((found.kink | holds)[bent]), str(case)
        assert np.mean(found.kink[~bent]) <= 0.01 if np.any(~bent) else True
