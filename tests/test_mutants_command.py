"""The command that counts how many wrong gradients each checker notices."""

import numpy as np
import pytest

from benchmarks import comparison, mutants
from benchmarks.functions import FUNCTIONS
from gradcheck import check_gradient


@pytest.mark.parametrize("plant", FUNCTIONS, ids=lambda plant: plant.__name__)
def test_each_function_has_its_right_gradient(plant):
    function = plant()
    report = check_gradient(function.f, function.grad, function.params)
    assert report.ok, str(report)
    single = {name: p.astype(np.float32) for name, p in function.params.items()}
    assert np.asarray(function.f(single)).dtype == np.float32
    assert all(g.dtype == np.float32 for g in function.grad(single).values())


def test_curvature_makes_no_wrong_claim_valid_in_single_precision():
    """Weight decay in the gradient alone: 1 % of the weights, up to 2 % of an element and far outside every bound."""
    function = next(plant() for plant in FUNCTIONS if plant.__name__ == "recurrent")
    single = {name: p.astype(np.float32) for name, p in function.params.items()}

    def decayed(p):
        gradient = function.grad(p)
        return {**gradient, "h": gradient["h"] + np.float32(0.01) * p["h"]}

    assert check_gradient(function.f, decayed, single).verdict == "fail"


def test_counts_are_of_the_wrong_gradients_and_who_rejects_the_right_one_has_caught_none(monkeypatch):
    def of_right(f, grad, params):
        return False

    monkeypatch.setitem(mutants.JUDGES, "strict", (of_right, "numpy"))
    strict, _ = mutants._ask(("strict", "likelihood", "given", 0))
    blind, survivors = mutants._ask(("CS231n", "likelihood", "given", 0))
    assert strict["places"] == 1 and strict["passed"] == 0 and strict["caught given"] == 0
    assert strict["wrong given"] == blind["wrong given"] > 20
    assert blind["passed"] == 1 and 0 < blind["caught given"] == blind["wrong given"] - len(survivors)


def test_the_section_replaces_itself_and_the_page_before_it_stays(tmp_path, monkeypatch):
    page = tmp_path / "comparison.md"
    page.write_text("# Comparison\n\nbugs\n\n" + mutants.HEADING + "\n\nold\n", encoding="utf-8")
    monkeypatch.setattr(mutants, "PAGE", page)
    monkeypatch.setattr(
        mutants,
        "_ask",
        lambda job: (mutants.Counter({"places": 1, "passed": 1, "wrong given": 4, "caught given": 3}), ["doubled: w"]),
    )
    mutants.main(["--write", "--alone", "--functions", "ridge", "--points", "given"])
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Comparison\n\nbugs\n\n## Some forty") and "old" not in text and text.count("## ") == 1
    assert (
        "| caught, given | 3 of 4 |" in text and "(75.0%)" in text and "misses: doubled: w of ridge at given." in text
    )


def test_the_page_of_twenty_bugs_keeps_the_section(tmp_path, monkeypatch):
    page = tmp_path / "comparison.md"
    page.write_text("old\n\n" + mutants.HEADING + "\n\nkept\n", encoding="utf-8")
    monkeypatch.setattr(comparison, "PAGE", page)
    monkeypatch.setattr(comparison, "MODULES", {"gradcheck": "numpy"})
    monkeypatch.setattr(comparison, "BUGS", comparison.BUGS[5:6])
    comparison.main(["--write"])
    text = page.read_text(encoding="utf-8")
    assert (
        text.startswith("# Comparison")
        and text.endswith(mutants.HEADING + "\n\nkept\n")
        and "| 1 | transposed |" in text
    )
