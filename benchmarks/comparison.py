"""Twenty planted bugs and what six checkers say of them: ``python -m benchmarks.comparison --write``.

Makes ``docs/comparison.md``. Each checker gets the wrong backward of `benchmarks.bugs` and, apart, the right one: who
rejects that has caught nothing. Checkers that are not installed are said so.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gradcheck
from benchmarks.bugs import BUGS, Bug
from benchmarks.judges import LAYER_JUDGES, Outcome, several
from gradcheck.functions.options import RTOL

__all__ = ["cause", "main", "wrong_elements"]

PAGE = Path(__file__).parent.parent / "docs" / "comparison.md"
MUTANTS = "## Some forty wrong gradients"
"""Heading of the section that `benchmarks.mutants` writes, which stays."""
OURS = "gradcheck"
MODULES = {OURS: "numpy", **{name: module for name, (_, module) in LAYER_JUDGES.items()}}

VERSIONS = (
    ("NumPy", "numpy", "numpy"), ("PyTorch", "torch", "torch"), ("JAX", "jax", "jax"), ("SciPy", "scipy", "scipy"),
    ("Warp", "warp-lang", "warp"), ("OpenMDAO", "openmdao", "openmdao"),
)  # fmt: skip
"""Name, distribution, module."""

INTRODUCTION = """\
# Comparison

Twenty bugs of kinds that real libraries have had, each in a function of a few lines, given to six checkers. Made by
`python -m benchmarks.comparison --write` with {versions}; the functions are in `benchmarks/bugs.py`.

- **caught**: the wrong backward is rejected. The *right* backward of the same function is checked too: a checker that rejects
  both tells nothing.
- **elements**: exactly the wrong elements are named, where there are any (a fault of state or of memory may leave every number
  right). PyTorch says which input and prints both Jacobians; JAX compares one number along a random direction, and SciPy
  returns one.
- **cause**: what is named first is the kind of the bug: in our report the first diagnosis or else finding, in a peer's message
  any word that says it.

All are called with their defaults: `check_layer(forward, backward, *inputs)`; `torch.autograd.gradcheck` of an
`autograd.Function` around the NumPy code; `jax.test_util.check_grads(..., order=1, modes=("rev",))` of a `custom_vjp` with
`pure_callback`, which gives the NumPy code copies of its immutable arrays; `scipy.optimize.check_grad` of `sum(dy * y)` for a
fixed random `dy` (1 where y is a scalar). SciPy leaves the threshold to its user; here it is 1e-6, or 1e-6 of the gradient's norm.
`warp.autograd.gradcheck` gets a function that records the NumPy backward on Warp's tape; OpenMDAO's `check_partials` and
`assert_check_partials` a component whose Jacobian comes row by row from the backward. Each of them is made for another task than ours, and does
that well: PyTorch's is for operators in double precision and in many modes, JAX's for both modes and second order, SciPy's for a quick look at a
`jac=`, Warp's for kernels on the GPU, OpenMDAO's for models of coupled components, with steps that their authors choose.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a checker says of one backward: ``"raised"`` where it ended in an exception."""

    verdict: str
    message: str
    report: gradcheck.Report | None = None

    def first_line(self) -> str:
        """Return what its user reads first."""
        return self.message.strip().splitlines()[0] if self.verdict != "pass" else "(passes)"


@dataclass(frozen=True, slots=True)
class Result:
    """What one checker says of one bug, and of its right twin."""

    caught: bool
    right_passes: bool
    elements: str
    """``"elements"`` where exactly the wrong ones are named, how many of them where others, empty where none are wrong."""
    cause: bool
    wrong_line: str
    right_line: str

    def cell(self) -> str:
        """Return the result in few words."""
        words = ["caught" if self.caught else "missed"]
        words += [self.elements] if self.elements else []
        words += ["cause"] if self.cause else []
        return ", ".join(words) + ("" if self.right_passes else "; **rejects the right one**")


SUMMARY: dict[str, Callable[[Result], bool]] = {
    "caught": lambda result: result.caught,
    "right ones passed": lambda result: result.right_passes,
    "caught, and the right one passed": lambda result: result.caught and result.right_passes,
    "elements named": lambda result: result.elements == "elements",
    "cause named": lambda result: result.cause,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the page or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/comparison.md instead of printing it")
    options = parser.parse_args(arguments)
    judges = [name for name, module in MODULES.items() if importlib.util.find_spec(module)]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        results = [{name: _result(plant, name) for name in judges} for plant in BUGS]
    page = _page([plant() for plant in BUGS], results)
    if options.write:
        _, heading, rest = PAGE.read_text(encoding="utf-8").partition(MUTANTS)
        PAGE.write_text(f"{page}\n{heading}{rest}" if heading else page, encoding="utf-8")
    else:
        print(page, end="")


# ---- one checker, one bug -------------------------------------------------------------------------------------------


def _result(plant: Callable[[], Bug], name: str) -> Result:
    """Ask a checker about the wrong backward and about the right one."""
    bug, twin = plant(), plant()
    ask = _ask_us if name == OURS else partial(_ask, LAYER_JUDGES[name][0])
    wrong, right = ask(bug.forward, bug.wrong, bug.inputs), ask(twin.forward, twin.right, twin.inputs)
    caught = wrong.verdict in ("fail", "raised")
    return Result(
        caught=caught,
        right_passes=right.verdict == "pass",
        elements=_elements(wrong.report, wrong_elements(plant)) if caught and wrong.report is not None else "",
        cause=caught and bool(re.search(bug.cause, cause(wrong.report) if wrong.report is not None else wrong.message)),
        wrong_line=wrong.first_line(),
        right_line=right.first_line(),
    )


def _ask_us(forward: Any, backward: Any, inputs: tuple[np.ndarray, ...]) -> Answer:
    report = gradcheck.check_layer(forward, backward, *inputs)
    return Answer(report.verdict, str(report), report)


def _ask(judge: Callable[..., Outcome], forward: Any, backward: Any, inputs: tuple[np.ndarray, ...]) -> Answer:
    """Call a peer. What it raises beside its verdict reaches its user too: how that begins and ends."""
    try:
        outcome = judge(forward, backward, *inputs)
    except Exception as error:  # noqa: BLE001 - whatever a peer does with a wrong backward
        lines = f"{type(error).__name__}: {error}".strip().splitlines()
        return Answer("raised", f"{lines[0]}\n{lines[-1]}")
    return Answer(outcome.verdict, outcome.message)


def cause(report: gradcheck.Report) -> str:
    """Return the code of what a report names first as the cause: the first diagnosis, or else finding."""
    if not report.findings:
        return ""
    place = report.parameters.get(report.findings[0].where)
    codes = [finding.code for finding in report.findings if finding.code != "wrong-gradient"]
    if report.findings[0].code == "wrong-gradient" and place is not None:
        codes = [diagnosis.kind for diagnosis in place.diagnoses[:1]] + codes
    return codes[0] if codes else ""


def wrong_elements(plant: Callable[[], Bug]) -> list[np.ndarray]:
    """Return which elements of each input get a wrong gradient from a random ``dy``, after a call somewhere else."""
    bug = plant()
    if bug.elements is not None:
        return [bug.elements]
    y, stored = bug.forward(*(x + np.asarray(0.1, x.dtype) for x in bug.inputs))
    dy = np.asarray(np.random.default_rng(0).normal(size=np.shape(y)), np.asarray(y).dtype)
    bug.wrong(dy.copy(), stored)
    wrong, right = (
        several(backward(dy.copy(), bug.forward(*(x.copy() for x in bug.inputs))[1]))
        for backward in (bug.wrong, bug.right)
    )
    return [
        np.abs(w - r) > RTOL[r.dtype.name] * np.abs(r) if w.shape == r.shape else np.ones(r.shape, bool)
        for w, r in zip(wrong, right, strict=True)
    ]


def _elements(report: gradcheck.Report, right: list[np.ndarray]) -> str:
    """Say whether exactly the wrong elements are named."""
    named = [parameter.wrong for parameter in report.parameters.values()]
    if all(np.array_equal(n, r) for n, r in zip(named, right, strict=True)):
        return "elements" if any(r.any() for r in right) else ""
    found = sum(int(np.sum(n & r)) for n, r in zip(named, right, strict=True))
    mistaken = sum(int(np.sum(n & ~r)) for n, r in zip(named, right, strict=True))
    also = f" and {mistaken} right ones" if mistaken else ""
    return f"{found} of {sum(int(r.sum()) for r in right)} elements{also}"


# ---- the page -------------------------------------------------------------------------------------------------------


def _page(bugs: list[Bug], results: list[dict[str, Result]]) -> str:
    rows = [
        [str(number), bug.name, *(result[name].cell() if name in result else "not installed" for name in MODULES)]
        for number, (bug, result) in enumerate(zip(bugs, results, strict=True), 1)
    ]
    expected = sum(any(mask.any() for mask in wrong_elements(plant)) for plant in BUGS)
    for title, counts in SUMMARY.items():
        total = expected if title == "elements named" else len(BUGS)
        cells = [
            f"**{sum(counts(result[name]) for result in results)} of {total}**" if name in results[0] else ""
            for name in MODULES
        ]
        rows.append(["", f"**{title}**", *cells])
    table = [["#", "bug", *MODULES], ["---"] * (len(MODULES) + 2), *rows]
    lines = [INTRODUCTION.format(versions=_versions()), *(f"| {' | '.join(row)} |" for row in table), "", MESSAGES]
    for number, (bug, result) in enumerate(zip(bugs, results, strict=True), 1):
        sentences = f"{bug.mistake}. {bug.note}".strip()
        lines += [f"### {number}. {bug.name}", "", sentences, "", "```text", *_messages(result), "```", ""]
    return "\n".join(lines)


MESSAGES = """\
## What they say

The first line of each message; SciPy returns a number. "(right)" is what is said of the right backward where that is rejected.
"""


def _messages(result: dict[str, Result]) -> list[str]:
    lines = []
    for name, said in result.items():
        lines.append(f"{name:<25}{said.wrong_line}")
        if not said.right_passes:
            lines.append(f"{'  (right)':<25}{said.right_line}")
    return lines


def _versions() -> str:
    installed = [
        f"{name} {importlib.metadata.version(distribution)}"
        for name, distribution, module in VERSIONS
        if importlib.util.find_spec(module)
    ]
    return f"gradcheck {gradcheck.__version__}, {', '.join(installed)}"


if __name__ == "__main__":
    main()
