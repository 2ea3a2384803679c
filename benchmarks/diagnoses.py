"""How often the kind of fault is named, and how often noise is: ``python -m benchmarks.diagnoses``.

Runs the planted bugs and the unexplainable errors of ``tests/gradcheck/diagnosis`` at seeds that no test uses. Prints, kind by
kind, in how many cases the first diagnosis is the true one, and of how many random errors nothing is said.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from tests.gradcheck.diagnosis import everyday, fields, networks, noise, pitfalls, planted, reported, textbook

FAMILIES = {
    "arrays": planted.arrays,
    "trees": networks.trees,
    "activations": networks.activations,
    "layers": networks.convolutions,
    "matrices": networks.matrices,
    "shapes": networks.shapes,
    "reported": reported.reported,
    "fields": fields.fields,
    "textbook": textbook.textbook,
    "everyday": everyday.everyday,
    "pitfalls": pitfalls.pitfalls,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1000:1003", help="first:last of the planted bugs, last excluded")
    parser.add_argument("--noise", default="1000:1001", help="first:last of the random errors, last excluded")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    options = parser.parse_args(arguments)
    print(f"python -m benchmarks.diagnoses --seeds {options.seeds} --noise {options.noise}\n")
    _print_planted(options.families, _range(options.seeds))
    _print_noise(_range(options.noise))


def _range(text: str) -> range:
    first, last = (int(part) for part in text.split(":"))
    return range(first, last)


def _print_planted(families: Sequence[str], seeds: range) -> None:
    """Print how often the first diagnosis is the true one, kind by kind."""
    all_of, right = Counter[str](), Counter[str]()
    for family in families:
        for seed in seeds:
            for bug in FAMILIES[family](seed):
                kind = " or ".join(bug.kinds)
                all_of[kind] += 1
                if bug.is_met():
                    right[kind] += 1
                else:
                    print(f"  missed: {bug.name}: {bug.first() or 'nothing said'}")
    print("planted bugs: the first diagnosis is the true one")
    for kind in sorted(all_of):
        print(f"  {kind:<24} {right[kind]:>5} of {all_of[kind]}")
    print(f"  {'all':<24} {right.total():>5} of {all_of.total()} ({right.total() / max(1, all_of.total()):.1%})\n")


def _print_noise(seeds: range) -> None:
    """Print how often an explanation is given of errors that have none."""
    checked = 0
    said = Counter[str]()
    for seed in seeds:
        reports = [*((case.name, case.report()) for case in noise.residuals(seed)), *noise.layers(seed)]
        for name, report in reports:
            for parameter in report.parameters.values():
                if not parameter.wrong.any():
                    continue
                checked += 1
                if parameter.diagnoses:
                    said[parameter.diagnoses[0].kind] += 1
                    print(f"  said of noise: {name}: {parameter.diagnoses[0].message}")
    clear = 1 - said.total() / max(1, checked)
    print(f"random errors: nothing is said of {checked - said.total()} of {checked} ({clear:.2%}); said: {dict(said)}")


if __name__ == "__main__":
    main()
