"""Whether our own tests notice when the engine is changed: ``python -m benchmarks.mutation [MODULE ...]``.

Changes one place of a module at a time (a comparison, a sign, a number, an ``and``, a maximum), runs the module's own tests on it
in a process of its own, and lists the changes that no test notices. Nothing is written but byte code, in a temporary directory; the
changed module exists in that process only. A change that makes the tests run longer than ``--patience`` times the time they need counts as noticed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import io
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np  # noqa: F401 - loaded once, before the processes part
import pytest
from hypothesis import Phase, settings

__all__ = ["CORE", "Change", "changes_of", "main"]

ROOT = Path(__file__).parent.parent
TESTS = "tests/gradcheck"

CORE: dict[str, tuple[str, ...]] = {
    "gradcheck.acceptance.decide": (f"{TESTS}/acceptance/test_decide.py",),
    **{
        f"gradcheck.nonsmooth.{name}": (f"{TESTS}/nonsmooth/test_{name}.py",)
        for name in ("subdifferential", "groups", "sampling", "scans")
    },
    "gradcheck.differences.ladder": (
        f"{TESTS}/differences/test_climb.py",
        f"{TESTS}/differences/test_tableau.py",
        f"{TESTS}/differences/test_ladder.py",
    ),
    "gradcheck.differences.noise": (f"{TESTS}/differences/test_noise.py", f"{TESTS}/test_noise.py"),
    "gradcheck.reports.comparison": (f"{TESTS}/test_comparison.py",),
    "gradcheck.checks.protocol": (f"{TESTS}/test_protocol.py",),
}
"""Module -> the tests that are its own."""

OPERATORS: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
NAMES = {
    "maximum": "minimum",
    "minimum": "maximum",
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
    "fmax": "fmin",
    "fmin": "fmax",
    "argmax": "argmin",
    "argmin": "argmax",
}
NOTICED, UNNOTICED = 1, 0
PYTEST = [
    "-x",
    "-q",
    "--assert=plain",
    "-n",
    "0",
    "-p",
    "no:cacheprovider",
    "--no-header",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
]


class Change(NamedTuple):
    """A change of one place: where, what was there, what is there now, and the module that results."""

    line: int
    before: str
    after: str
    tree: ast.Module


def changes_of(source: str) -> Iterator[Change]:
    """Give every change of a source, one at a time."""
    whole = ast.parse(source)
    declared = _declared(whole)
    for number, node in enumerate(ast.walk(whole)):
        if id(node) in declared:
            continue
        before, changed = ast.unparse(node) if isinstance(node, ast.expr) else "", copy.deepcopy(node)
        if not _changed(changed):
            continue
        tree = ast.parse(source)
        _changed(next(same for i, same in enumerate(ast.walk(tree)) if i == number))
        yield Change(getattr(node, "lineno", 0), before, ast.unparse(changed), ast.fix_missing_locations(tree))


def _declared(tree: ast.Module) -> set[int]:
    """Return the nodes, by ``id``, of types, decorators and ``strict=`` or ``slots=``, which decide no value."""
    parts: list[ast.AST] = []
    for holder in ast.walk(tree):
        parts += [
            part for part in (getattr(holder, "annotation", None), getattr(holder, "returns", None)) if part is not None
        ]
        parts += getattr(holder, "decorator_list", [])
        parts += [holder] if isinstance(holder, ast.keyword) and holder.arg == "strict" else []
    return {id(inner) for part in parts for inner in ast.walk(part)}


def _changed(node: ast.AST) -> bool:
    """Change a node in place; tell whether there is anything to change."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in OPERATORS:
        node.ops[0] = OPERATORS[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else node.op
        if not isinstance(node.op, ast.UAdd):
            node.operand = ast.UnaryOp(type(node.op)(), node.operand)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        node.value = not node.value if isinstance(node.value, bool) else node.value * 2 + 1
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        node.attr = NAMES[node.attr]
    elif isinstance(node, ast.Name) and node.id in NAMES:
        node.id = NAMES[node.id]
    else:
        return False
    return True


# ---- one change ---------------------------------------------------------------------------------------------------------


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a tree in place of its file."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """Answer for the module."""
        del path, target
        return importlib.util.spec_from_loader(name, self, origin=str(self.path)) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the tree."""
        module.__file__ = str(self.path)
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)  # noqa: S102 - our own module, changed in one place


def _run(name: str, path: Path, tree: ast.Module, tests: Sequence[str], patience: float) -> tuple[bool, float]:
    """Run tests on a module, in a process that parts from this one; return whether they fail, and the seconds it took."""
    started = time.monotonic()
    child = os.fork()
    if not child:
        code = NOTICED
        try:
            sys.meta_path.insert(0, _Changed(name, path, tree))
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                code = int(pytest.main([*PYTEST, *tests]) != 0)
        finally:
            os._exit(code)
    while time.monotonic() - started < patience:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) != UNNOTICED, time.monotonic() - started
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True, patience


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what is not noticed, and the score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=list(CORE), help=f"among {', '.join(CORE)}")
    parser.add_argument("--sample", type=int, default=None, metavar="N", help="no more changes a module, drawn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=3.0, help="default 3")
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    settings.register_profile("mutation", phases=(Phase.explicit, Phase.generate), derandomize=True, deadline=None)
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"  # a failing example need not be the smallest
    with tempfile.TemporaryDirectory() as folder:
        sys.pycache_prefix = folder  # compiled once, not in every process
        for name in options.modules:
            _score(name, options.sample, options.seed, options.patience)


def _score(name: str, sample: int | None, seed: int, patience: float) -> None:
    path = ROOT / Path(*name.split(".")).with_suffix(".py")
    source = path.read_text(encoding="utf-8")
    fails, seconds = _run(name, path, ast.parse(source), CORE[name], 600)
    if fails:
        print(f"{name}: its tests fail as it is; nothing is scored")
        return
    found = list(changes_of(source))
    if sample is not None and sample < len(found):
        found = sorted(random.Random(seed).sample(found, sample), key=lambda change: change.line)  # noqa: S311 - no secret
    print(f"{name}: {len(found)} changes; not noticed:", flush=True)
    noticed = 0
    for change in found:
        if _run(name, path, change.tree, CORE[name], patience * (seconds + 1))[0]:
            noticed += 1
        else:
            print(f"  line {change.line}: {change.before}  ->  {change.after}", flush=True)
    share = noticed / max(1, len(found))
    print(f"{name}: {noticed} of {len(found)} noticed ({share:.0%}) by {' '.join(CORE[name])}", flush=True)


if __name__ == "__main__":
    main()
