"""How many wrong gradients each checker notices: ``python -m benchmarks.mutants --write``.

Plants the catalogue of `gradcheck.mutants` in the gradients of `benchmarks.functions`, at all points at which a function is
differentiable, and asks each checker that is installed; the right gradient is asked about first, and who rejects it has caught
nothing at that point. ``--alone`` leaves the peers out. Writes the last section of ``docs/comparison.md``.
"""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np

import gradcheck
from benchmarks.comparison import MUTANTS, PAGE
from benchmarks.functions import FUNCTIONS
from benchmarks.judges import LAYER_JUDGES, cs231n
from gradcheck.mutants import CATALOGUE, POINTS

__all__ = ["HEADING", "main"]

HEADING = f"{MUTANTS} of usual functions"

INTRODUCTION = """
Made by `python -m benchmarks.mutants --write`: {bugs} bugs (`gradcheck.mutants.CATALOGUE`), each planted in the gradients of
{functions} usual functions (`benchmarks/functions.py`: regressions, networks, normalisation, convolution, attention, a likelihood,
forces of atoms), at up to five points: as given, all zeros, all about 1e-6, one small step from zeros, and in float32. What equals
the right gradient at its point is no bug and left out. At each point the right gradient is asked about first: a checker that
rejects it there has caught nothing there. The peers get a scalar function as a layer with one input for each parameter; central differences as
taught in CS231n go through the parameters one by one.
"""


class Tally(Counter[str]):
    """Counts of one checker: ``"places"``, ``"passed"``, and for each point ``"caught POINT"`` and ``"wrong POINT"``."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the section, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the section into docs/comparison.md")
    parser.add_argument("--alone", action="store_true", help="leave the peers out")
    parser.add_argument("--rng", type=int, default=0, help="seed of the places of the bugs")
    parser.add_argument("--functions", nargs="*", default=[plant.__name__ for plant in FUNCTIONS])
    parser.add_argument("--points", nargs="*", default=list(POINTS))
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    judges = [name for name, (_, module) in JUDGES.items() if importlib.util.find_spec(module)]
    judges = judges[:1] if options.alone else judges
    jobs = [
        (judge, plant.__name__, point, options.rng)
        for judge in judges
        for plant in FUNCTIONS
        for point in plant().points
        if plant.__name__ in options.functions and point in options.points
    ]
    if options.workers > 1:
        with ProcessPoolExecutor(options.workers) as pool:
            answers = list(pool.map(_ask, jobs))
    else:
        answers = [_ask(job) for job in jobs]
    tallies = {judge: Tally() for judge in judges}
    missed: list[str] = []
    for (judge, name, point, _), (tally, survivors) in zip(jobs, answers, strict=True):
        tallies[judge].update(tally)
        if judge == OURS:
            missed += [f"{survivor} of {name} at {point}" for survivor in survivors]
    section = _section(tallies, missed, options.points)
    if options.write:
        kept = PAGE.read_text(encoding="utf-8").partition(HEADING)[0].rstrip()
        PAGE.write_text(f"{kept}\n\n{section}", encoding="utf-8")
    else:
        print(section, end="")


# ---- one checker, one function, one point -------------------------------------------------------------------------------


def _ask(job: tuple[str, str, str, int]) -> tuple[Counter[str], list[str]]:
    """Return the counts of a checker at one point of a function, and what it lets pass."""
    judge, name, point, seed = job
    function = next(plant() for plant in FUNCTIONS if plant.__name__ == name)
    score = partial(gradcheck.mutation_score, f=function.f, grad=function.grad, params=function.params)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = score(JUDGES[judge][0], points=(point,), rng=seed)
        except gradcheck.InvalidArgument:  # it rejects the right gradient
            wrong = score(_anything, points=(point,), rng=seed).survived
            return Counter({"places": 1, f"wrong {point}": len(wrong)}), []
    wrong_count = len(found.caught) + len(found.survived)
    tally = Counter({"places": 1, "passed": 1, f"wrong {point}": wrong_count, f"caught {point}": len(found.caught)})
    return tally, [mutant.name for mutant in found.survived]


def _anything(f: Any, grad: Any, params: Any) -> bool:
    del f, grad, params
    return True


def _of_layer(judge: Callable[..., Any]) -> Callable[..., bool]:
    """Let a judge of layers judge the gradient of a function of a dict of arrays."""

    def passes(f: Any, grad: Any, params: dict[str, Any]) -> bool:
        names = list(params)

        def forward(*arrays: Any) -> Any:
            return f(dict(zip(names, arrays, strict=True))), arrays

        def backward(dy: Any, arrays: Any) -> Any:
            gradients = grad(dict(zip(names, arrays, strict=True)))
            return tuple(dy * gradients[name] for name in names)

        verdict: str = judge(forward, backward, *params.values()).verdict
        return verdict == "pass"

    return passes


def _cs231n(f: Any, grad: Any, params: dict[str, Any]) -> bool:
    """Apply the course's rule to each parameter."""
    return all(
        cs231n(lambda x, n=name: f({**params, n: x}), lambda x, n=name: grad({**params, n: x})[n], value) == "pass"
        for name, value in params.items()
    )


OURS = "gradcheck"
PEERS = ("torch gradcheck", "JAX check_grads", "SciPy check_grad")
JUDGES: dict[str, tuple[Callable[..., Any], str]] = {
    OURS: (gradcheck.check_gradient, "numpy"),
    **{name: (_of_layer(LAYER_JUDGES[name][0]), LAYER_JUDGES[name][1]) for name in PEERS},
    "CS231n": (_cs231n, "numpy"),
}
"""Name -> check, and the module that it needs."""


# ---- the section --------------------------------------------------------------------------------------------------------


def _section(tallies: dict[str, Tally], missed: list[str], points: Sequence[str]) -> str:
    rows = [
        ["right gradients passed", *(_of(tally["passed"], tally["places"]) for tally in tallies.values())],
        *(
            [
                f"caught, {point}",
                *(_of(tally[f"caught {point}"], tally[f"wrong {point}"]) for tally in tallies.values()),
            ]
            for point in points
        ),
    ]
    totals = [
        [sum(tally[f"{kind} {point}"] for point in points) for kind in ("caught", "wrong")]
        for tally in tallies.values()
    ]
    rows.append(["**caught, all**", *(f"**{_of(*total)} ({total[0] / max(1, total[1]):.1%})**" for total in totals)])
    table = [["at", *tallies], ["---"] * (len(tallies) + 1), *rows]
    told = f"What gradcheck misses: {'; '.join(missed)}." if missed else "gradcheck misses none of them."
    lines = [
        HEADING,
        INTRODUCTION.format(
            bugs=len(CATALOGUE) - sum(entry.needs_upstream for entry in CATALOGUE), functions=len(FUNCTIONS)
        ),
        *(f"| {' | '.join(row)} |" for row in table),
        "",
        told,
        "",
    ]
    return "\n".join(lines)


def _of(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}"


if __name__ == "__main__":
    main()
