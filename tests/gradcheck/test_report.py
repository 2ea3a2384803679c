"""The text that people read: the verdict first, always in the same order, the worst first, not too long."""

import numpy as np
import pytest

from gradcheck import GradientError, assert_gradient, check_gradient

RNG = np.random.default_rng(0)
MANY = {f"w{i}": RNG.normal(size=(2, 3)) for i in range(40)}


def f(p):
    return float(sum((w**3).sum() for w in p.values()))


def grad(p):
    return {name: 3 * w**2 for name, w in p.items()}


def off(p):
    return {name: 3 * w**2 * (1 + (i % 2) * (0.1 + 0.01 * i)) for i, (name, w) in enumerate(p.items())}


@pytest.fixture(scope="module")
def of_many():
    return check_gradient(f, off, MANY)


def test_parts_come_in_a_fixed_order():
    lines = str(
        check_gradient(f, lambda p: {**grad(p), "w1": 2 * grad(p)["w1"]}, {"w0": MANY["w0"], "w1": MANY["w1"]})
    ).splitlines()
    assert lines[0].startswith("FAIL: w1: 6 of 6 elements wrong; ") and lines[1].startswith(
        "  w1  6 of 6 elements wrong; worst ["
    )
    titles = [line for line in lines if not line.startswith(" ")][1:]
    assert [title.split(":")[0] for title in titles] == ["diagnoses", "not seen", "cost"]
    assert lines[-1].endswith("repeat with rng=0")


def test_a_long_report_is_cut_and_told_in_full_on_request(of_many):
    short, full = str(of_many).splitlines(), of_many.to_text(everything=True).splitlines()
    assert len(short) <= 32 < len(full)
    assert sum(line.split()[0] in MANY for line in full[1 : full.index("diagnoses:")]) == 40
    assert "more; to_text(everything=True) shows all" in str(of_many)


def test_the_worst_come_first(of_many):
    lines = str(of_many).splitlines()
    shown = [int(line.split()[0][1:]) for line in lines[1:9]]
    assert shown == list(range(39, 23, -2))
    assert lines[0].startswith("FAIL: w39: ")


def test_the_error_carries_the_same_text():
    with pytest.raises(GradientError) as caught:
        assert_gradient(f, off, dict(list(MANY.items())[:4]))
    assert str(caught.value).splitlines()[:-1] == str(caught.value.report).splitlines()[:-1]


@pytest.mark.parametrize(
    ("claim", "start"),
    [
        (grad, "PASS: the gradient is right in 1 parameter (6 elements)"),
        (
            lambda p: {name: w * np.nan for name, w in p.items()},
            "FAIL: w0: its gradient is NaN or infinite in 6 of 6 elements",
        ),
        (lambda p: None, "FAIL: w0: its gradient is missing"),
    ],
)
def test_the_first_line_says_it_all(claim, start):
    assert str(check_gradient(f, claim, {"w0": MANY["w0"]})).startswith(start)


def test_the_first_line_of_what_cannot_be_told():
    report = check_gradient(f, grad, MANY, max_evaluations=20)
    assert str(report).startswith("INCONCLUSIVE: ") and "max_evaluations" in str(report).splitlines()[0]
