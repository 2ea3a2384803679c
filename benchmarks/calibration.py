"""How often verdicts are right, beside the peers: ``python -m benchmarks.calibration``.

Runs the corpus of ``tests/gradcheck/corpus`` at seeds that no test uses and prints, for each judge that is installed,
how many right gradients it rejects and how many bugs it catches while it passes the right gradient of the same
function; then how well error bounds cover true errors, and what it all costs. Nothing here is timed or asserted.
"""

from __future__ import annotations

import argparse
import importlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import gradcheck
from benchmarks.judges import installed
from tests.gradcheck.corpus.case import Case

FAMILIES = ["smooth", "edges", "noise", "scaling", "oscillation", "kinks", "near", "singles"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1000:1003", help="first:last of the corpus, last excluded")
    parser.add_argument("--families", nargs="*", default=FAMILIES)
    parser.add_argument("--alone", action="store_true", help="leave the peers out")
    options = parser.parse_args(arguments)
    seeds = range(*(int(part) for part in options.seeds.split(":")))
    judges = {name: judge for name, judge in installed().items() if name == "gradcheck" or not options.alone}
    verdicts: dict[str, dict[str, Counter[str]]] = {f: {j: Counter() for j in judges} for f in options.families}
    bounds: dict[str, list[np.ndarray]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for family in options.families:
        for seed in seeds:
            for case in importlib.import_module(f"tests.gradcheck.corpus.{family}").cases(seed):
                for name, judge in judges.items():
                    _judge(case, judge, verdicts[family][name])
                _look_at_ours(case, family, bounds, counts)
    print(f"python -m benchmarks.calibration --seeds {options.seeds}\n")
    _print_verdicts(verdicts, list(judges))
    _print_ours(bounds, counts)


def _judge(case: Case, judge: Callable[..., str], counted: Counter[str]) -> None:
    """Judge a right gradient and its bugs."""
    verdict = judge(case.f, case.right, case.x)
    counted[verdict] += 1
    for bug in case.bugs:
        caught = judge(case.f, bug.gradient, case.x) == "fail"
        counted["bugs"] += 1
        counted["caught"] += caught
        counted["with twin"] += caught and verdict == "pass"


def _look_at_ours(case: Case, family: str, bounds: dict[str, list[np.ndarray]], counts: Counter[str]) -> None:
    """Count exact sets, error bounds and evaluations."""
    for bug in case.bugs:
        report = gradcheck.check_gradient(case.f, bug.gradient, case.x)
        if bug.elements is not None and report.verdict == "fail":
            counts["sets"] += 1
            counts["exact"] += np.array_equal(report.parameters["params"].wrong, bug.elements)
    found = gradcheck.numerical_gradient(case.f, case.x)
    if case.exact is not None:
        with np.errstate(all="ignore"):
            error = np.maximum(np.abs(found.value - case.exact), np.spacing(np.abs(case.exact)))
            bounds[family].append(np.ravel(found.error_bound / error))
        counts["smooth elements"] += case.x.size
        counts["flagged"] += int(np.sum(found.kink))
    if case.sides is not None:
        left, right = case.sides
        bent = np.abs(left - right) > 1e-6 * (np.abs(left) + np.abs(right))
        holds = np.maximum(np.abs(found.value - left), np.abs(found.value - right)) <= found.error_bound
        counts["kinks"] += int(np.sum(bent))
        counts["honest"] += int(np.sum(bent & (found.kink | holds)))
    if family == "smooth":
        report = gradcheck.check_gradient(case.f, case.right, case.x)
        counts["elements"] += case.x.size
        counts["check calls"] += report.evaluations
        counts["gradient calls"] += found.evaluations


def _print_verdicts(verdicts: dict[str, dict[str, Counter[str]]], judges: list[str]) -> None:
    total: dict[str, Counter[str]] = {name: sum((v[name] for v in verdicts.values()), Counter()) for name in judges}
    for title, row in (
        ("right gradients failed", lambda c: _share(c["fail"], c["fail"] + c["pass"] + c["inconclusive"])),
        (
            "right gradients inconclusive",
            lambda c: _share(c["inconclusive"], c["fail"] + c["pass"] + c["inconclusive"]),
        ),
        ("bugs caught", lambda c: _share(c["caught"], c["bugs"])),
        ("bugs caught, and the right twin passes", lambda c: _share(c["with twin"], c["bugs"])),
    ):
        print(f"{title}\n{'':12s}" + "".join(f"{name:>18s}" for name in judges))
        for family, counted in [*verdicts.items(), ("all", total)]:
            print(f"{family:12s}" + "".join(f"{row(counted[name]):>18s}" for name in judges))
        print()
    ours = total["gradcheck"]
    rights = ours["fail"] + ours["pass"] + ours["inconclusive"]
    low, high = _interval(ours["fail"], rights)
    print(f"gradcheck fails {ours['fail']} of {rights} right gradients: 95 % interval {low:.2%} to {high:.2%}\n")


def _print_ours(bounds: dict[str, list[np.ndarray]], counts: Counter[str]) -> None:
    print("error bound / true error\n              covered      median  90 % quantile")
    every = {family: np.concatenate(parts) for family, parts in bounds.items() if parts}
    for family, ratio in [*every.items(), ("all", np.concatenate(list(every.values())))]:
        finite = np.nan_to_num(ratio, nan=0.0, posinf=1e300)
        middle, most = np.quantile(finite, [0.5, 0.9])
        print(f"{family:12s}{np.mean(finite >= 1):9.2%}{middle:12.3g}{most:15.3g}")
    print(f"\nexact set of wrong elements: {_share(counts['exact'], counts['sets'])}")
    print(f"kinks flagged, or held by the interval: {_share(counts['honest'], counts['kinks'])}")
    print(f"smooth elements flagged as kinks: {_share(counts['flagged'], counts['smooth elements'])}")
    if counts["elements"]:
        check, gradient = (counts[name] / counts["elements"] for name in ("check calls", "gradient calls"))
        print(
            f"calls of f an element of smooth cases, overhead included: {check:.2f} a check, {gradient:.2f} numerical_gradient"
        )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} {part / whole:4.0%}" if whole else "-"


def _interval(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a rate."""
    if not trials:
        return 0.0, 1.0
    rate, extra = hits / trials, z * z / trials
    middle = (rate + extra / 2) / (1 + extra)
    half: Any = z * np.sqrt(rate * (1 - rate) / trials + extra / (4 * trials)) / (1 + extra)
    return max(0.0, middle - float(half)), middle + float(half)


if __name__ == "__main__":
    main()
