"""A report in other forms: JSON and back, HTML, Markdown, a picture, one line."""

import copy
import json
import pickle
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from gradcheck import InvalidArgument, Report, check_gradient, compare, write_html
from gradcheck.reports.grids import blocks_of, grid_of
from gradcheck.reports.text import apart

RNG = np.random.default_rng(3)
POINT = {"kernel": RNG.normal(size=(4, 3, 3, 2)), "b": RNG.normal(size=7), "s": np.float64(0.5)}
HOSTILE = "<img src=x onerror=alert(1)> | `a` \x07\n\udc80 & '\""


def f(p):
    return float(sum(np.sum(np.sin(v)) for v in p.values()))


def grad(p):
    return {name: np.cos(v) for name, v in p.items()}


def off(name, by):
    return lambda p: {k: by(v) if k == name else v for k, v in grad(p).items()}


CASES = {
    "pass": lambda: check_gradient(f, grad, POINT),
    "wrong": lambda: check_gradient(f, off("kernel", lambda v: v[::-1]), POINT),
    "wrong number": lambda: check_gradient(f, off("s", lambda v: 2 * v), POINT),
    "claimed NaN": lambda: check_gradient(f, off("b", lambda v: v * np.nan), POINT),
    "wrong shape": lambda: check_gradient(f, off("b", lambda v: v[:3]), POINT),
    "undecided": lambda: check_gradient(f, grad, POINT, max_evaluations=12),
    "along directions, right": lambda: check_gradient(f, grad, POINT, method="directional"),
    "along directions, wrong": lambda: check_gradient(
        f, off("b", lambda v: v + np.eye(7)[3]), POINT, method="directional"
    ),
    "more wrong elements than are kept": lambda: check_gradient(
        lambda x: float(np.sum(np.sin(x))), lambda x: 1.5 * np.cos(x), np.linspace(0.1, 1.2, 1500)
    ),
    "empty": lambda: check_gradient(f, off("b", lambda v: v), {**POINT, "none": np.zeros((0, 3))}),
    "a hostile name": lambda: check_gradient(
        lambda p: float(np.sum(p[HOSTILE] ** 2)), lambda p: {HOSTILE: 3 * p[HOSTILE]}, {HOSTILE: np.ones(3)}
    ),
}


@pytest.fixture(scope="module", params=CASES)
def report(request):
    return CASES[request.param]()


@pytest.mark.parametrize("arrays", ["wrong", "all", "none"])
def test_text_survives_json(report, arrays):
    text = report.to_json(arrays)
    data = json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} is not strict JSON"))
    text.encode("utf-8")
    assert data["schema"] == 1 and data["verdict"] == report.verdict
    again = Report.from_json(text)
    escaped = str(report).encode("utf-8", "backslashreplace").decode("utf-8")
    assert str(again) == escaped and again.to_text(everything=True).splitlines()[0] == escaped.splitlines()[0]
    assert again.evaluations == report.evaluations and repr(again)[:40] == repr(report)[:40]


def test_all_arrays_survive_json(report):
    again = Report.from_json(report.to_json("all"))
    for one, other in zip(report.parameters.values(), again.parameters.values(), strict=True):
        for name in ("claimed", "reference", "error_bound", "wrong", "undecided", "kink"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.shape == other.shape and one.dtype == other.dtype and str(one.divergence) == str(other.divergence)


def test_wrong_elements_survive_json_and_the_masks_are_whole(report):
    again = Report.from_json(report.to_json())
    for one, other in zip(report.parameters.values(), again.parameters.values(), strict=True):
        np.testing.assert_array_equal(one.wrong, other.wrong)
        np.testing.assert_array_equal(one.undecided, other.undecided)
        kept = ~np.isnan(other.reference)
        np.testing.assert_array_equal(one.reference[kept], other.reference[kept])
        concerned = one.wrong | one.undecided
        assert not np.any(kept & ~concerned) and (not concerned.any() or one.worst() == other.worst())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99, "verdict": "pass", "parameters": {}}'])
def test_what_is_no_report_is_refused(text):
    with pytest.raises(InvalidArgument):
        Report.from_json(text)


def test_an_unknown_choice_of_arrays_is_refused():
    with pytest.raises(InvalidArgument, match="'wrong', 'all', 'none'"):
        CASES["pass"]().to_json("some")


class Page(HTMLParser):
    """Every tag is closed in order; the text and the scripts met."""

    VOID = frozenset({"meta", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text, self.ids, self.targets = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for key, value in attrs if key == "id"]
        self.targets += [value for key, value in attrs if key in {"href", "src"}]
        assert not any(key.startswith("on") for key, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def test_the_page_is_well_formed_and_needs_nothing_else(report, tmp_path):
    report.to_html(tmp_path / "page.html")
    page = Page()
    page.feed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert not page.open and not {"script", "img", "link"} & set(page.tags) and not page.targets
    assert report.verdict.upper() in "".join(page.text)
    concerned = any((p.wrong | p.undecided).any() for p in report.parameters.values())
    assert ("svg" in page.tags) == concerned
    fragment = Page()
    fragment.feed(report._repr_html_())
    assert not fragment.open and "script" not in fragment.tags


def test_hovering_over_a_wrong_element_shows_its_numbers():
    report = CASES["wrong number"]()
    titles = re.findall(r"<title>(.*?)</title></rect>", report._repr_html_())
    assert len(titles) == 4  # one element, in four maps
    assert all(title.startswith("[]: claimed 1.75517, true 0.877583 ± ") for title in titles)


def test_a_page_of_many_puts_failures_first(tmp_path):
    reports = {"fine": CASES["pass"](), "open": CASES["undecided"](), "bad & ugly": CASES["wrong"]()}
    write_html(reports, tmp_path / "all.html")
    page = Page()
    page.feed((tmp_path / "all.html").read_text(encoding="utf-8"))
    text = "".join(page.text)
    assert "1 fail, 1 inconclusive, 1 pass" in text
    assert text.index("bad & ugly") < text.index("open") < text.index("fine")
    assert sorted(page.targets) == sorted(f"#{name}" for name in page.ids)
    with pytest.raises(InvalidArgument, match="a Report was required"):
        write_html({"x": 1}, tmp_path / "no.html")


def test_a_million_parameters_stay_small(tmp_path):
    x = RNG.normal(size=(1000, 10))
    report = check_gradient(lambda x: float(np.sum(x * x)), lambda x: 2 * x * (1 + 0.5 * (x > 1)), x)
    arrays = ("claimed", "reference", "error_bound", "wrong", "undecided", "kink")
    few = report.parameters["params"]
    tiled = replace(few, shape=(1000, 1000), **{a: np.tile(getattr(few, a), 100) for a in arrays})
    report, x = replace(report, parameters={"params": tiled}), np.tile(x, 100)
    assert report.verdict == "fail" and len(repr(report)) <= 200 and "\n" not in repr(report)
    text = report.to_json()
    assert len(text) <= 1_000_000 and str(Report.from_json(text)) == str(report)
    everywhere = RNG.random(x.shape) < 0.5  # a pattern that does not compress
    odd = replace(report.parameters["params"], wrong=everywhere, undecided=~everywhere)
    assert len(replace(report, parameters={"params": odd}).to_json()) <= 1_000_000
    layers = {
        f"layers[{i}].w": replace(
            odd,
            name=f"layers[{i}].w",
            shape=(125, 200),
            **{a: getattr(odd, a)[25 * i :][:25].reshape(125, 200) for a in arrays},
        )
        for i in range(40)
    }
    many = replace(report, parameters=layers)
    text = many.to_json()
    assert len(text) <= 1_000_000 and str(Report.from_json(text)) == str(many)
    assert Report.from_json(text).to_json() == text
    for told in (report, many):
        told.to_html(tmp_path / "page.html")
        assert (tmp_path / "page.html").stat().st_size <= 2_000_000


def test_the_one_line_is_short_and_printable(report):
    assert repr(report).isprintable() and len(repr(report)) <= 200 and report.verdict.upper() in repr(report)
    assert all(len(repr(parameter)) <= 250 for parameter in report.parameters.values())


def test_markdown_keeps_its_table_whatever_the_names(report):
    lines = report.to_markdown().splitlines()
    rows = [line for line in lines if line.startswith("| ") and line.endswith(" |")]
    assert len(rows) == 1 + len(report.parameters)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
    assert lines[0].startswith(f"**{report.verdict.upper()}")


def test_reports_pickle(report):
    assert str(pickle.loads(pickle.dumps(report))) == str(report)  # noqa: S301 - our own bytes


def test_a_picture_of_the_worst_parameter():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    report = CASES["wrong"]()
    _, ax = pyplot.subplots()
    assert report.plot(ax=ax) is ax and ax.get_title() == "kernel: fail"
    assert report.plot("b").get_title() == "b: fail"
    with pytest.raises(InvalidArgument, match="'kernel', 'b', 's'"):
        report.plot("W")
    pyplot.close("all")


def test_as_many_digits_as_it_takes_to_see_a_difference():
    assert apart(1.24985, 1.24985) == ("1.24985", "1.24985")
    assert apart(1.0, 1.0 + 1e-9) == ("1", "1.000000001")
    assert apart(2.0, -1.0) == ("2", "-1")
    one, other = apart(0.1, np.nextafter(0.1, 1))
    assert one != other


def test_a_claim_where_the_true_gradient_is_zero_has_no_relative_error():
    report = check_gradient(
        lambda p: float(p["a"].sum()), lambda p: {"a": np.ones(3), "b": np.ones(3)}, {"a": np.ones(3), "b": np.ones(3)}
    )
    assert report.verdict == "fail" and report.parameters["b"].wrong.all() and "e+308" not in str(report)
    told = str(compare({"a": np.ones(3)}, {"a": np.zeros(3)}))
    assert told == "a  true is zero, angle 90 degrees, equal signs 0%, 0.0 digits"


def test_comparisons_print_as_a_table():
    text = str(compare({"a": np.ones(3), "bb": 2.0}, {"a": np.ones(3), "bb": 1.0}))
    assert [line.split("  ")[0].strip() for line in text.splitlines()] == ["a", "bb", "all together"]
    assert "norm ratio 2" in text.splitlines()[1]


@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (31,), (33,), (3, 4), (2, 3, 4), (5, 4, 3, 2), (2, 2, 2, 2, 2), (0, 3), (2, 0, 3)]
)
def test_each_element_has_one_place_on_the_picture(shape):
    grid = grid_of(shape)
    np.testing.assert_array_equal(np.sort(grid[grid >= 0]), np.arange(np.prod(shape)))
    for most in (1, 7, 1000):
        cells = blocks_of(grid, most)
        drawn = [index for row in cells for cell in row for index in cell]
        assert sorted(drawn) == list(range(int(np.prod(shape)))) and sum(map(len, cells)) <= max(most, 1)


def test_matrices_and_kernels_are_drawn_as_they_are():
    np.testing.assert_array_equal(grid_of((2, 3)), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(grid_of((2, 1, 2)), [[0, 1, -1, 2, 3]])
    np.testing.assert_array_equal(grid_of((2, 1, 1, 2)), [[0, 1], [-1, -1], [2, 3]])


def simple(change=lambda g: g, names=("a",), size=4):
    point = {name: np.random.default_rng(3).normal(size=size) for name in names}
    return check_gradient(
        lambda p: sum(float(np.sum(np.sin(v))) for v in p.values()),
        lambda p: {name: change(np.cos(v)) for name, v in p.items()},
        point,
    )


@pytest.mark.parametrize("change", [lambda g: g, lambda g: 2 * g, lambda g: np.nan * g])
def test_a_report_equals_its_copies_and_what_is_read_back(change):
    report = simple(change)
    again = Report.from_json(report.to_json("all"))
    assert report == again == copy.deepcopy(report) and hash(report) == hash(again)
    assert report.parameters["a"] == again.parameters["a"] and report.parameters["a"] != 3
    assert report != simple(lambda g: 3 * g) and report != "a report"


def test_the_json_of_many_wrong_parameters_stays_below_a_megabyte():
    one = simple(lambda g: -2.5 * g, size=20)
    names = [f"encoder.layers.{i}.weight" for i in range(900)]
    parameters = {name: replace(one.parameters["a"], name=name) for name in names}
    findings = tuple(replace(finding, where=name) for name in names for finding in one.findings)
    report = replace(one, parameters=parameters, findings=findings)
    text = report.to_json()
    assert len(text) <= 9e5 and str(Report.from_json(text)) == str(report)
    assert all(entry["elements"]["index"] for entry in json.loads(text)["parameters"].values())


def test_a_shape_that_the_masks_of_a_report_do_not_have_is_damage():
    data = json.loads(simple(lambda g: 2 * g).to_json())
    data["parameters"]["a"]["shape"] = [10**9, 10**9]
    with pytest.raises(InvalidArgument, match="damaged"):
        Report.from_json(json.dumps(data))


@pytest.mark.parametrize("given", [[], "report", None])
def test_many_reports_are_a_mapping(given, tmp_path):
    with pytest.raises(InvalidArgument, match="a mapping of titles to reports"):
        write_html(given, tmp_path / "page.html")


def test_titles_may_be_numbers(tmp_path):
    write_html({1: simple(), 2: simple()}, tmp_path / "page.html")
    assert "<h2 id='r0'>1</h2>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_markdown_strikes_nothing_through():
    assert r"\~\~a\~\~" in simple(names=["~~a~~"]).to_markdown()


def test_what_no_step_measured_is_unknown():
    slopes = np.array([1.0, 2.0, 3.0])
    report = check_gradient(
        lambda x: float(np.sum(np.round(x / 0.4) * 0.4 * slopes) + 0.1 * np.sum(x)),
        lambda x: np.full(3, 0.1),
        np.array([0.2, 0.7, 1.9]),
    )
    assert report.verdict == "inconclusive"
    assert np.isfinite(report.parameters["params"].error_bound[0]) or "true unknown" in str(report)
