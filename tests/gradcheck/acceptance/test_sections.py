"""Claims that are off by a factor in some slices of a leaf, and leaves that one fault spoils all together."""

import numpy as np
import pytest

from gradcheck import check_gradient

SHAPE = (120, 90)
RNG = np.random.default_rng(1)
WEIGHTS = {f"block{i}": RNG.normal(size=SHAPE) for i in range(12)}
POINT = {name: RNG.normal(size=SHAPE) for name in WEIGHTS}


def f(params):
    return sum(np.sum(WEIGHTS[name] * np.sin(leaf)) for name, leaf in params.items())


def gradient(params):
    return {name: WEIGHTS[name] * np.cos(leaf) for name, leaf in params.items()}


def check(fault, *, blocks=2):
    """Check a gradient that ``fault(name, leaf)`` changes in place."""
    point = {f"block{i}": POINT[f"block{i}"] for i in range(blocks)}

    def wrong(params):
        claims = gradient(params)
        for name, leaf in claims.items():
            fault(name, leaf)
        return claims

    return check_gradient(f, wrong, point)


@pytest.mark.parametrize(
    ("where", "factor"),
    [
        (np.s_[40:80], 0.5),
        (np.s_[:, 7:31], 2.0),
        (np.s_[:60], -1.0),
        (np.s_[3:5], 1.5),
        (np.s_[:, -1:], 0.5),
    ],
)
def test_slices_that_are_off_by_a_factor_are_named_exactly(where, factor):
    def fault(name, leaf):
        if name == "block1":
            leaf[where] *= factor

    report = check(fault)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[where] = True
    assert report.verdict == "fail"
    if expected.sum() > 200:  # of few elements each is looked at
        assert report.evaluations <= 200
    np.testing.assert_array_equal(report.parameters["block1"].wrong | report.parameters["block1"].undecided, expected)
    assert report.parameters["block1"].wrong.any()
    assert not report.parameters["block0"].wrong.any()
    wrong = report.parameters["block1"].wrong
    np.testing.assert_allclose(
        report.parameters["block1"].reference[wrong], gradient(POINT)["block1"][wrong], rtol=1e-6
    )


def test_sections_with_different_factors():
    def fault(name, leaf):
        if name == "block0":
            leaf[10:50] *= 0.5
            leaf[80:] *= 3.0

    report = check(fault)
    assert report.verdict == "fail"
    assert report.evaluations <= 250
    wrong = report.parameters["block0"].wrong
    assert wrong[10:50].all() and wrong[80:].all() and not wrong[:10].any() and not wrong[50:80].any()


def test_of_leaves_that_a_fault_spoils_the_last_one_is_sampled():
    noise = np.random.default_rng(2).uniform(0.5, 1.5, (12, *SHAPE))

    def fault(name, leaf):
        number = int(name.removeprefix("block"))
        if number < 9:
            leaf *= noise[number]

    report = check(fault, blocks=12)
    assert report.verdict == "fail"
    assert report.evaluations <= 364
    assert report.parameters["block8"].wrong.any()
    for number in range(12):
        parameter = report.parameters[f"block{number}"]
        assert number < 9 or not (parameter.wrong | parameter.undecided).any()
        assert number >= 9 or (parameter.wrong | parameter.undecided).any()


def test_elements_that_a_section_leaves_over_are_found():
    def fault(name, leaf):
        if name == "block1":
            leaf[40:80] *= 0.5
            leaf[5, 5] += 3.0

    report = check(fault)
    wrong = report.parameters["block1"].wrong
    assert wrong[40:80].all()
    assert wrong[5, 5]
    assert wrong.sum() == 40 * SHAPE[1] + 1


def test_a_right_gradient_costs_nothing_more():
    report = check(lambda name, leaf: None, blocks=12)
    assert report.verdict == "pass"
    assert report.evaluations <= 80
