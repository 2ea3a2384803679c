"""The changes that are made to our own modules, to see whether their tests notice."""

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.mutation import CORE, ROOT, changes_of, put_in_place

SOURCE = """
from dataclasses import dataclass
from enum import IntEnum

@dataclass(frozen=True)
class Pair:
    size: int = 3

class Kind(IntEnum):
    FIRST = 1

def f(a: int, b: list[int]) -> int | None:
    if a < 2 and not b:
        return -a + max(b)
    return [x for x, _ in zip(b, b, strict=True)]
"""


def test_each_place_is_changed_once_and_what_decides_no_value_stays():
    found = {
        (change.before.replace("(not b)", "not b"), change.after.replace("(not b)", "not b"))
        for change in changes_of(SOURCE)
    }
    assert found == {
        ("3", "7"),
        ("a < 2", "a <= 2"),
        ("2", "5"),
        ("a < 2 and not b", "a < 2 or not b"),
        ("not b", "not not b"),
        ("-a", "+a"),
        ("-a + max(b)", "-a - max(b)"),
        ("max", "min"),
    }


def test_each_change_is_a_module_that_differs_in_one_line():
    lines = ast.unparse(ast.parse(SOURCE)).splitlines()
    for change in changes_of(SOURCE):
        changed = ast.unparse(change.tree).splitlines()
        assert len(changed) == len(lines) and sum(a != b for a, b in zip(lines, changed, strict=True)) == 1
        compile(change.tree, "changed", "exec")


def test_edges_are_comparisons_that_differ_where_both_sides_are_equal():
    found = {change.after: change.is_edge for change in changes_of(SOURCE + "g = 1 == 2")}
    assert {after for after, is_edge in found.items() if is_edge} == {"a <= 2"} and "1 != 2" in found


def test_a_changed_module_is_held_by_all_that_imported_it_and_by_what_was_made_before(monkeypatch):
    source = "class Pair:\n    def size(self):\n        return 2 + 1\n\ndef f():\n    return 2 + 1\n"
    for change in changes_of(source):
        module, user = ModuleType("changed_here"), ModuleType("user")
        exec(source, module.__dict__)  # noqa: S102 - the lines above
        user.f, user.pair = module.f, module.Pair()
        for one in (module, user):
            monkeypatch.setitem(sys.modules, one.__name__, one)
        put_in_place("changed_here", Path("changed_here.py"), change.tree)
        found = user.f(), user.pair.size()
        assert found != (3, 3) and 3 in found and sys.modules["changed_here"] is not module


def test_a_run_that_is_killed_leaves_no_child_behind():
    """The child is in a loop that a change keeps from ending."""
    code = f"""
import os, sys, threading, time
sys.path.insert(0, {str(ROOT)!r})
from benchmarks.mutation import _end_without
parent = os.getpid()
if not os.fork():
    threading.Thread(target=_end_without, args=(parent,), daemon=True).start()
    print(os.getpid(), flush=True)
    while True:
        pass
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:  # noqa: S603 - our own code
        assert int(run.stdout.readline())
        run.kill()
        assert run.stdout.read() == ""  # it ends when the child has closed its end too


@pytest.mark.parametrize("name", CORE)
def test_the_core_modules_and_their_tests_are_there(name):
    assert (ROOT / Path(*name.split(".")).with_suffix(".py")).is_file()
    assert all((ROOT / path).exists() for path in CORE[name])
