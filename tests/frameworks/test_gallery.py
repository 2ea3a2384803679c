"""The gallery stays true: every script runs, and at the release that the page names it prints what the page says."""

import re

import pytest

from benchmarks.gallery import PAGE, SCRIPTS, load, script_of, without_cost

TEXT = PAGE.read_text(encoding="utf-8")


def without_bounds(text):
    """Leave out the bounds of errors: their first digit is rounding, which differs from processor to processor."""
    return re.sub(r"± \S+", "±", text)


def test_there_are_a_dozen():
    assert len(SCRIPTS) >= 12


@pytest.mark.filterwarnings("default")  # of the libraries, which a reader sees too
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_wrong_gradient_of_a_release_is_found(path):
    pytest.importorskip(path.stem.partition("_")[0])
    exhibit = load(path)
    report = exhibit.check()
    if not exhibit.is_at_release:
        return  # it may be mended, and python -m benchmarks.gallery says so
    assert report.verdict == "fail", str(report)
    assert without_bounds(without_cost(report)) in without_bounds(TEXT)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_page_shows_the_script(path):
    assert script_of(path) in TEXT
