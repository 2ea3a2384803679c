"""Whether our own tests notice when the engine is changed: ``python -m benchmarks.mutation [MODULE ...]``.

Changes one place of a module at a time (a comparison, a sign, a number, an ``and``, a maximum), runs the module's own tests on it
in a process of its own, and lists the changes that no test notices; beside the score stands the one without those that are ``<`` for
``<=``, as two numbers that are measured are never equal. Nothing is written; the changed module exists in that process only. A change with which one test runs longer than ``--patience`` times the time it needs, and a second, counts as noticed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import io
import mmap
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import Phase, settings
from numpy.typing import NDArray

__all__ = ["CORE", "Change", "changes_of", "main", "put_in_place"]

ROOT = Path(__file__).parent.parent
TESTS = "tests/gradcheck"

CORE: dict[str, tuple[str, ...]] = {
    **{
        f"gradcheck.acceptance.{name}": (f"{TESTS}/acceptance/test_{name}.py",)
        for name in ("decide", "irregular", "ledger", "quiet", "refinement", "together")
    },
    **{
        f"gradcheck.nonsmooth.{name}": (f"{TESTS}/nonsmooth/test_{name}.py",)
        for name in ("groups", "sampling", "scans")
    },
    "gradcheck.nonsmooth.subdifferential": (
        f"{TESTS}/nonsmooth/test_hull.py",
        f"{TESTS}/nonsmooth/test_subdifferential.py",
    ),
    "gradcheck.differences.ladder": (
        f"{TESTS}/differences/test_climb.py",
        f"{TESTS}/differences/test_tableau.py",
    ),
    "gradcheck.differences.noise": (f"{TESTS}/differences/test_noise.py",),
    "gradcheck.differences.sampled_noise": (f"{TESTS}/differences/test_sampled_noise.py",),
    "gradcheck.differences.steps": (f"{TESTS}/differences/test_steps.py",),
    "gradcheck.reports.comparison": (f"{TESTS}/test_comparison.py",),
    "gradcheck.checks.protocol": (f"{TESTS}/test_protocol_parts.py", f"{TESTS}/test_protocol.py"),
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
LONGEST = 200.0
"""Seconds that a test may take on the module as it is."""
PYTEST = [
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
    """A change of one place of a source: where, what was there, and what is there now."""

    source: str
    node: int
    line: int
    before: str
    after: str

    @property
    def is_edge(self) -> bool:
        """Whether it is ``<`` for ``<=``, or the other way round: two numbers that are measured are never equal."""
        was, now = (ast.parse(text or "0", mode="eval").body for text in (self.before, self.after))
        sides = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
        return all(isinstance(node, ast.Compare) and isinstance(node.ops[0], sides) for node in (was, now))

    @property
    def tree(self) -> ast.Module:
        """The module that results."""
        tree = ast.parse(self.source)
        _changed(next(same for i, same in enumerate(ast.walk(tree)) if i == self.node))
        return ast.fix_missing_locations(tree)


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
        yield Change(source, number, getattr(node, "lineno", 0), before, ast.unparse(changed))


def _declared(tree: ast.Module) -> set[int]:
    """Return the nodes, by ``id``, of types, decorators, ``strict=`` and numbers of an enumeration, which decide no value."""
    parts: list[ast.AST] = []
    for holder in ast.walk(tree):
        parts += [
            part for part in (getattr(holder, "annotation", None), getattr(holder, "returns", None)) if part is not None
        ]
        parts += getattr(holder, "decorator_list", [])
        parts += [holder] if isinstance(holder, ast.keyword) and holder.arg == "strict" else []
        if isinstance(holder, ast.ClassDef) and any(ast.unparse(base).endswith("Enum") for base in holder.bases):
            parts += [part for part in holder.body if isinstance(part, ast.Assign)]
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


class Trial:
    """A pytest plugin: once the tests are collected it runs them for every change of a module, each in a process that parts from this one.

    The test that noticed the last change runs first.
    """

    def __init__(self, name: str, say: Callable[[str], None], sample: int | None, seed: int, patience: float) -> None:
        self.name, self.say, self.patience = name, say, patience
        path = ROOT / Path(*name.split(".")).with_suffix(".py")
        found = list(changes_of(path.read_text(encoding="utf-8")))
        if sample is not None and sample < len(found):
            found = sorted(random.Random(seed).sample(found, sample), key=lambda change: change.line)  # noqa: S311 - no secret
        self.path, self.changes = path, found
        self.running = np.frombuffer(mmap.mmap(-1, 8), dtype=np.int64)  # shared with the processes that part
        self.seconds: dict[pytest.Item, NDArray[np.float64]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Score the module."""
        items = list(session.items)
        self.seconds = {item: np.frombuffer(mmap.mmap(-1, 8)) for item in items}
        for took in self.seconds.values():
            took[0] = LONGEST
        if not items or self._is_noticed(session, items, None):
            self.say(f"{self.name}: its tests fail as it is; nothing is scored")
            return True
        self.say(f"{self.name}: {len(self.changes)} changes; not noticed:")
        noticed = edges = 0
        for change in self.changes:
            if self._is_noticed(session, items, change.tree):
                noticed += 1
                items.insert(0, items.pop(int(self.running[0])))
            else:
                edges += change.is_edge
                self.say(f"  line {change.line}: {change.before}  ->  {change.after}")
        count = max(1, len(self.changes))
        rest = f"; but for {edges} edges {noticed / max(1, count - edges):.0%}" if edges else ""
        self.say(
            f"{self.name}: {noticed} of {count} noticed ({noticed / count:.0%}{rest}) by {' '.join(CORE[self.name])}"
        )
        return True

    def _is_noticed(self, session: pytest.Session, items: list[pytest.Item], tree: ast.Module | None) -> bool:
        """Run tests on a changed module, or on that which is there; tell whether one fails, or does not end."""
        self.running[0], parent = 0, os.getpid()
        child = os.fork()
        if not child:
            code = NOTICED
            try:
                threading.Thread(target=_end_without, args=(parent,), daemon=True).start()
                if tree is not None:
                    put_in_place(self.name, self.path, tree)
                for number, (item, following) in enumerate(zip(items, [*items[1:], None], strict=True)):
                    self.running[0], began = number, time.monotonic()
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                    if session.testsfailed:
                        break
                    if tree is None:
                        self.seconds[item][0] = time.monotonic() - began
                else:
                    code = UNNOTICED
            finally:
                os._exit(code)
        number, since = 0, time.monotonic()
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status) != UNNOTICED
            if self.running[0] != number:
                number, since = int(self.running[0]), time.monotonic()
            elif time.monotonic() - since > self.patience * (self.seconds[items[number]][0] + 1):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return True
            time.sleep(0.005)


def _end_without(parent: int) -> None:
    """End this process when the one that it parted from has ended, however that came: a changed loop may never end by itself."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(NOTICED)


def put_in_place(name: str, path: Path, tree: ast.Module) -> None:
    """Run a module from a tree, and let all that imported it hold what comes of it."""
    before = sys.modules[name]
    changed = ModuleType(name)
    changed.__file__, changed.__package__ = str(path), before.__package__
    sys.modules[name] = changed  # as a dataclass looks for its module there
    exec(compile(tree, str(path), "exec"), changed.__dict__)  # noqa: S102 - our own module, changed in one place
    for attribute, old in vars(before).items():
        new = vars(changed).get(attribute)
        if isinstance(old, type) and isinstance(new, type) and old.__module__ == name:
            for part, code in vars(new).items():  # for what was made of a class before
                if isinstance(code, FunctionType | property) and not part.startswith("_"):
                    setattr(old, part, code)
    for holder in list(sys.modules.values()):
        held = vars(holder) if isinstance(holder, ModuleType) else {}
        for attribute, value in list(held.items()):
            if value is before:
                held[attribute] = changed
            elif not attribute.startswith("__") and value is vars(before).get(attribute, before):
                held[attribute] = vars(changed)[attribute]


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
    output = sys.stdout
    for name in options.modules:
        trial = Trial(
            name, lambda line: print(line, file=output, flush=True), options.sample, options.seed, options.patience
        )
        with redirect_stdout(io.StringIO()):
            pytest.main([*PYTEST, *CORE[name]], plugins=[trial])


if __name__ == "__main__":
    main()
