"""The experiment of bugs, in small: training, the check's part of a row, and what is said and written."""

import json

import numpy as np
import pytest

from network import __main__ as command
from network import mutants, verification
from network.article.bugs import ALL, BUGS, RIGHT, groups
from tests.pages import faults_of

FOUND = {"verdict": "fail", "images": 1, "evaluations": 101, "wrong": ("W1a",), "relative_error": 0.5, "angle": 20.0}
GOOD = {**FOUND, "verdict": "pass", "wrong": (), "relative_error": 0.0, "angle": 0.0}


def position(name):
    return [bug.name for bug in ALL].index(name)


def test_tasks_cover_each_bug_and_seed_once():
    tasks = mutants.training_tasks(7, None)
    pairs = [(i, seed) for _, _, (members, seeds, _) in tasks for i in members for seed in seeds]
    assert sorted(pairs) == [(i, seed) for i in range(len(ALL)) for seed in range(7)]
    sizes = [len(members) * len(seeds) for _, _, (members, seeds, _) in tasks]
    assert sizes == sorted(sizes, reverse=True) and max(sizes) <= mutants.NETWORKS_AT_ONCE
    assert len(tasks) == 3 + len(groups(ALL)) - 1  # seven seeds of the largest group, three at a time


def test_networks_learn_or_do_not_as_their_gradient_says():
    """First epochs' costs of the same seed, lower with the right gradient than with its opposite."""
    members = [position(name) for name in ("right", "dW1 = 0", "all signs")]
    trained = mutants.train_some(members, (0, 1), 2)
    costs = {name: cost for name, (cost, _) in trained.items()}
    assert np.all(costs["right"] < costs["dW1 = 0"]) and np.all(costs["dW1 = 0"] < costs["all signs"])
    assert all(accuracy.shape == (2,) and np.all((accuracy >= 0) & (accuracy <= 1)) for _, accuracy in trained.values())


@pytest.mark.parametrize("name", ["right", "factor 2, dense", "upstream rotated", "as published"])
def test_what_the_check_says(name):
    found = verification.examine(position(name))
    wrong = {"right": (), "factor 2, dense": ("W3", "W4", "W5"), "upstream rotated": ("W1a", "W1b")}
    assert found["verdict"] == ("pass" if name == "right" else "fail") and found["images"] == 1
    if name in wrong:
        assert found["wrong"] == wrong[name]
    else:
        assert set(found["wrong"]) >= {"W1b", "W2b"}
    assert (found["relative_error"] < 1e-12) is (name == "right")
    assert set(found) == set(FOUND)


def results():
    """Ten networks: one bug cheaper in all, at 99.5 %; one at half; one that is not checked yet."""
    trained = {
        RIGHT.name: (np.full(10, 2.0), np.full(10, 1.0)),
        BUGS[0].name: (np.full(10, 1.0), np.full(10, 0.995)),
        BUGS[1].name: (np.linspace(3, 4, 10), np.full(10, 0.5)),
        BUGS[2].name: (np.full(10, 1.0), np.full(10, 1.0)),
    }
    return trained, {RIGHT.name: GOOD, BUGS[0].name: FOUND, BUGS[1].name: {**FOUND, "images": 2}}


def test_rows_pair_each_bug_with_the_right_gradient():
    rows = mutants.rows_of(*results())
    assert [row.name for row in rows] == [RIGHT.name, BUGS[0].name, BUGS[1].name]
    first, second = rows[1:]
    assert (first.cheaper, first.seeds, first.better, first.tied, first.worse) == (10, 10, 0, 0, 10)
    assert first.cost_ratio == pytest.approx(0.5) and first.p_value < 0.01
    assert second.cheaper == 0 and second.worst == 0.5 and second.cost == pytest.approx(3.5)
    assert mutants.rows_of({}, {}) == []


def test_the_conclusion_is_made_of_the_numbers():
    told = mutants.conclusion(mutants.rows_of(*results()))
    assert told.startswith(
        "1 of 2 wrong gradients leave the mean accuracy on 120 test images at 0.99 or more, and 1 end"
    )
    assert f"({BUGS[0].name})" in told and told.endswith(
        "on 2 images at most says fail to 2 of 2, and pass to the right one."
    )
    assert "not finished" in mutants.conclusion([])


def test_parts_are_put_together_in_order_and_incomplete_bugs_left_out():
    parts = [
        {"a": (np.ones(2), np.zeros(2)), "b": (np.ones(2), np.zeros(2))},
        None,
        {"a": (np.full(1, 3.0), np.ones(1))},
    ]
    merged = mutants.merged(parts)
    assert list(merged) == ["a"] and merged["a"][0].tolist() == [1, 1, 3]
    assert mutants.merged([None]) == {}


def test_the_command_prints_one_table_and_writes_its_files(tmp_path, monkeypatch, capsys):
    def compute(options, trained, checks):
        del options
        trained.update(results()[0])
        checks.update(results()[1])

    monkeypatch.setattr(command, "_compute_mutants", compute)
    assert command.main(["mutants", "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert (
        BUGS[0].name in shown
        and "1 of 2 wrong gradients" in shown
        and "mutants.html, mutants.json, mutants.png" in shown
    )
    kept = json.loads((tmp_path / "mutants.json").read_text())
    assert [row["verdict"] for row in kept["rows"]] == ["pass", "fail", "fail"]
    page = (tmp_path / "mutants.html").read_text()
    assert not faults_of(page)
    assert BUGS[1].mistake in page and "mutants.png" in page
    assert (tmp_path / "mutants.png").stat().st_size > 10_000


def test_interrupted_it_keeps_what_is_done(tmp_path, monkeypatch, capsys):
    def compute(options, trained, checks):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_compute_mutants", compute)
    assert command.main(["mutants", "--no-plots", "--output", str(tmp_path)]) == 130
    assert "Interrupted" in capsys.readouterr().out
    assert "not finished" in json.loads((tmp_path / "mutants.json").read_text())["conclusion"]
