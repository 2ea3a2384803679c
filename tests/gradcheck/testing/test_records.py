"""What the plugin tells of records, without a pytest inside pytest."""

import json

import numpy as np

from gradcheck import check_chain, check_gradient, mutation_score
from gradcheck.testing import records as told
from gradcheck.watching import Watch, watching


def record(test="t.py::test", name="check_gradient(f)", verdict="pass", error=1e-9, spots=(), worst="w"):
    return {
        "test": test, "name": name, "verdict": verdict, "seed": "0", "evaluations": 10,
        "worst": [worst, error], "blind_spots": list(spots), "report": {"verdict": verdict},
    }  # fmt: skip


def test_rows_are_sorted_by_verdict_and_then_by_error():
    ranked = told.worst_first(
        [record(error=1e-3), record(error=np.inf), record(verdict="fail", error=0.1), record(verdict="inconclusive")]
    )
    assert [(entry["verdict"], entry["worst"][1]) for entry in ranked] == [
        ("fail", 0.1), ("inconclusive", 1e-9), ("pass", np.inf), ("pass", 1e-3),
    ]  # fmt: skip


def test_checks_of_one_test_that_are_alike_share_a_row_with_the_worst_of_them():
    lines = told.lines([*(record(error=10.0**-n) for n in range(3, 9)), record(verdict="fail", error=2.0)])
    assert lines == [
        "7 checks in 1 test: 6 pass, 1 fail; 70 evaluations",
        "  fail  w: relative error 2      t.py::test  check_gradient(f)",
        "  pass  w: relative error 0.001  t.py::test  check_gradient(f), 6 times",
    ]


def test_what_is_left_out_of_the_table_is_counted():
    many = [record(test=f"t.py::test_{n}", error=n * 1e-9) for n in range(30) for _ in range(2)]
    assert told.lines(many)[-1] == "  and 40 pass more; -v shows all"
    assert len(told.lines(many, everything=True)) == 31


def test_blind_spots_are_counted_by_check():
    spots = [record(spots=("square", "square")), record(spots=("square", "noise")), record(spots=("a", "b"))]
    assert told.lines(spots)[-5:] == [
        "not covered:", "  2 checks: square", "  1 check: noise", "  1 check: a", "  and 1 more of other kinds, in the reports",
    ]  # fmt: skip


def test_an_error_that_was_not_measured_is_unknown():
    assert "w: relative error unknown" in told.lines([record(verdict="inconclusive", error=np.inf)])[1]
    assert told.properties([record(error=0.5), record(verdict="fail", error=np.inf)])[:2] == [
        ("gradcheck.verdict", "fail"), ("gradcheck.worst", "w: relative error unknown"),
    ]  # fmt: skip


def test_a_bar_in_a_name_does_not_break_the_table_of_markdown():
    text = told.markdown([record(test="t.py::test[a|b]")])
    assert "| pass | w: relative error 1e-09 | `t.py::test[a\\|b]` | `check_gradient(f)` |" in text
    assert "| ``` t.py::test[a``b] ``` |" in told.markdown([record(test="t.py::test[a``b]")])
    assert told.markdown([]) == "## gradcheck\n\nno check was made.\n"


def test_json_is_strict_and_holds_what_it_promises():
    document = json.loads(told.document([record(error=np.inf)]))
    assert document == {
        "schema": 1,
        "checks": [
            {
                "test": "t.py::test",
                "name": "check_gradient(f)",
                "verdict": "pass",
                "seed": "0",
                "report": {"verdict": "pass"},
            }
        ],
    }


X = np.array([0.5, 2.0])


def cube(x):
    return np.sum(x**3)


def slope(x):
    return 3 * x**2


def watch(labels, reports, **options):
    return watching(
        Watch(options, lambda label, report: (labels.append(label), reports.append(report)), lambda report: False)
    )


def test_a_record_of_a_real_report():
    labels, reports = [], []
    with watch(labels, reports):
        check_gradient(cube, lambda x: 2 * slope(x), X)
    made = told.record_of("t.py::test", labels[0], reports[0], whole=True, as_markdown=True)
    assert made["worst"] == ["params", reports[0].parameters["params"].relative_error]
    assert made["evaluations"] == reports[0].evaluations and made["report"]["verdict"] == "fail"
    assert "2 times the true one" in made["markdown"]
    json.dumps(made)


def test_a_watch_gives_options_and_is_told_once_whoever_calls_whom():
    labels, reports, inner = [], [], []

    def f(x):
        check_gradient(cube, slope, x)
        return cube(x)

    with watch(labels, reports, rng=5, max_evaluations=60):
        mutation_score(check_gradient, cube, slope, X, mutants="sign flipped")  # makes no check of the user's
        check_gradient(f, slope, X)
        check_gradient(f=cube, grad=slope, params=X, rng=7)
        check_chain(
            [
                ("a", lambda x: (2 * x, None), lambda dy, _: 2 * dy, ()),
                ("b" * 70, lambda x: (x, None), lambda dy, _: dy, ()),
            ],
            X,
        )
        with watch(inner, []):
            check_gradient(cube, slope, X)
    check_gradient(cube, slope, X)
    assert labels[:2] == ["check_gradient(f)", "check_gradient(cube)"]
    assert labels[2].startswith("check_chain(a, bbb") and len(labels[2]) <= 60
    assert len(labels) == 3 and inner == ["check_gradient(cube)"]
    assert [report.seed for report in reports[:2]] == ["5", "7"]
    assert reports[0].evaluations <= 60
