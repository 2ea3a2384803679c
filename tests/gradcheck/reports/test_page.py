"""The HTML page without a browser: a document that is well formed, named for all readers, and shows what a diagnosis says."""

import re

import numpy as np
import pytest

from gradcheck import check_gradient, write_html
from gradcheck.reports.page import page_of
from gradcheck.reports.transforms import transformed
from tests.pages import faults_of

RNG = np.random.default_rng(8)
HOSTILE = "</title></svg><img src=x onerror='alert(1)'> & \x07\udc80"

CHANGES = {
    "rotated": lambda g: np.flip(g, (2, 3)),
    "transposed": lambda g: np.swapaxes(g, 2, 3),
    "flipped": lambda g: np.flip(g, 3),
    "shifted": lambda g: np.roll(g, 1, 3),
    "shifted, zeros entering": lambda g: np.concatenate([0 * g[:1], g[:-1]]),
    "permuted": lambda g: g[[2, 0, 3, 1]],
    "rotated, times three": lambda g: 3 * np.flip(g, (2, 3)),
    "constant-ratio": lambda g: -2.5 * g,
}


def report_of(change, shape=(4, 3, 3, 3), name="w"):
    return check_gradient(
        lambda p: float(np.sum(np.sin(p[name]))),
        lambda p: {name: change(np.cos(p[name]))},
        {name: RNG.normal(size=shape)},
    )


def maps(text):
    """Return each map of a page: its caption and the shades of its cells."""
    figures = re.findall(r"<figure>(.*?)<figcaption>(.*?)</figcaption></figure>", text, re.DOTALL)
    return {caption: re.findall(r"class='(\w+)", drawn) for drawn, caption in figures}


@pytest.mark.parametrize("name", CHANGES)
def test_the_transform_of_a_diagnosis_is_drawn_and_looks_like_the_claim(name):
    report = report_of(CHANGES[name])
    (parameter,) = report.parameters.values()
    assert parameter.diagnoses[0].kind == name.partition(",")[0]
    words, predicted = transformed(parameter.diagnoses[0], parameter.reference)
    np.testing.assert_allclose(predicted, parameter.claimed, rtol=1e-6, atol=1e-9)
    text = page_of({"": report})
    drawn = maps(text)
    assert list(drawn) == ["error in units of its bound", "claimed gradient", "true gradient", words]
    # a shade may differ where a value lies just at its edge
    assert np.mean(np.array(drawn[words]) == np.array(drawn["claimed gradient"])) > 0.97
    assert not faults_of(text)


def test_a_diagnosis_without_a_transform_draws_none():
    (parameter,) = report_of(lambda g: 0 * g).parameters.values()
    assert parameter.diagnoses[0].kind == "dropped" and transformed(parameter.diagnoses[0], parameter.reference) is None


def test_a_kept_report_draws_the_same_diagnosis():
    report = report_of(CHANGES["rotated"])
    again = type(report).from_json(report.to_json())
    assert list(maps(page_of({"": again}))) == list(maps(page_of({"": report})))


def test_pages_have_no_fault(tmp_path):
    reports = {
        "right": report_of(lambda g: g, (3,)),
        "wrong": report_of(CHANGES["permuted"]),
        "a number": report_of(lambda g: 2 * g, ()),
        "not a number": report_of(lambda g: g * np.nan, (5,)),
        "wrong shape": report_of(lambda g: g[:2], (5,)),
        HOSTILE: report_of(lambda g: 3 * g, (40,), HOSTILE),
    }
    for name, report in reports.items():
        report.to_html(tmp_path / "one.html")
        assert not faults_of((tmp_path / "one.html").read_text(encoding="utf-8")), name
    write_html(reports, tmp_path / "many.html")
    text = (tmp_path / "many.html").read_text(encoding="utf-8")
    assert not faults_of(text) and "<img" not in text and "&lt;img" in text
    assert not faults_of(page_of({}))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("</section>", ""),
        ("role='img'", ""),
        ("<h2>", "<h4>"),
        ("scope='col'", ""),
        ("<table aria-label='parameters'>", "<table>"),
        ("<p class='quiet'>", "<p class='quiet'><img src='x.png'>"),
        ("prefers-color-scheme", "prefers"),
        ("<main>", "<main><a href='https://example.org'>x</a>"),
        ("<th scope='col'>found</th>", "<th scope='col'></th>"),
    ],
)
def test_faults_are_seen(was, becomes):
    text = page_of({"": report_of(lambda g: 3 * g, (4,))})
    assert was in text and faults_of(text.replace(was, becomes))
