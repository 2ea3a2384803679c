"""The twenty bugs of docs/comparison.md: each is caught, its right twin passes, and the page speaks of it."""

from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks import comparison
from benchmarks.bugs import BUGS, sign_of_one_element, transposed, upstream_changed
from benchmarks.judges import LAYER_JUDGES
from gradcheck import check_layer

PAGE = comparison.PAGE.read_text(encoding="utf-8")


@pytest.fixture(params=BUGS, ids=[plant.__name__ for plant in BUGS])
def bug(request):
    return request.param()


def test_there_are_twenty_different_bugs():
    assert len({plant().name for plant in BUGS}) == len(BUGS) == 20


def test_the_wrong_backward_fails(bug):
    assert check_layer(bug.forward, bug.wrong, *bug.inputs).verdict == "fail"


def test_the_right_backward_passes(bug):
    report = check_layer(bug.forward, bug.right, *bug.inputs)
    assert report.ok, str(report)


def test_the_page_has_a_row_and_a_section_for_each_bug():
    for number, plant in enumerate(BUGS, 1):
        bug = plant()
        assert f"| {number} | {bug.name} | " in PAGE
        assert f"### {number}. {bug.name}\n\n{bug.mistake}." in PAGE


def test_which_elements_are_wrong():
    (mask,) = comparison.wrong_elements(sign_of_one_element)
    assert np.argwhere(mask).tolist() == [[37, 61]]
    x, w = comparison.wrong_elements(transposed)
    assert not x.any() and np.array_equal(w, ~np.eye(4, dtype=bool))
    (mask,) = comparison.wrong_elements(upstream_changed)
    assert not mask.any()


def test_a_checker_that_is_not_installed_is_said_so(monkeypatch, capsys):
    monkeypatch.setattr(comparison, "MODULES", {"gradcheck": "numpy", "another": "no_such_module"})
    monkeypatch.setattr(comparison, "BUGS", (transposed,))
    comparison.main([])
    assert "| 1 | transposed | caught, elements, cause | not installed |" in capsys.readouterr().out


ALWAYS = ("torch", "jax", "scipy")
"""Modules without which a test is skipped; other peers are asked where they are installed."""


@pytest.mark.parametrize(
    "name", [n for n, (_, module) in LAYER_JUDGES.items() if module in ALWAYS or find_spec(module)]
)
def test_peers_tell_a_plain_bug_from_its_right_twin(name):
    judge, module = LAYER_JUDGES[name]
    pytest.importorskip(module)
    bug = transposed()
    assert judge(bug.forward, bug.right, *bug.inputs).verdict == "pass"
    assert judge(bug.forward, bug.wrong, *bug.inputs).verdict == "fail"
