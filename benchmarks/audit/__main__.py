"""Run the audit of one library."""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from importlib import import_module

import numpy as np

from benchmarks import audit
from gradcheck import GradcheckError, Report

LIBRARIES = ("scikit_learn", "statsmodels", "scipy", "torch", "jax")
WORDS = {"pass": "passes", "fail": "fails", "inconclusive": "cannot tell"}

MOST = 200
"""Characters of an exception of the library."""


def outcome(check: Callable[[], Report]) -> tuple[str, str]:
    """Return the verdict in words, and the reason when it is no pass."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            report = check()
        except GradcheckError as error:
            return "not checked", str(error).splitlines()[0]
        except Exception as error:  # noqa: BLE001 - of the library: the audit goes on
            return "raises", f"{type(error).__name__}: {error}".splitlines()[0][:MOST]
    reason = "" if report.ok else str(report).splitlines()[0]
    return WORDS[report.verdict], reason


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=audit.__doc__)
    parser.add_argument("library", choices=LIBRARIES, type=lambda name: name.replace("-", "_"))
    parser.add_argument("pattern", nargs="?", default="*")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    try:
        cases = import_module(f"benchmarks.audit.{options.library}").cases()
    except ImportError as missing:
        parser.exit(1, f"not tried: {missing}\n")
    for name, check in cases:
        if not fnmatchcase(name, options.pattern):
            continue
        words, reason = outcome(check)
        counts[words] += 1
        if reason:
            print(f"{words:12} {name}: {reason}", flush=True)
    print(", ".join(f"{number} {words}" for words, number in counts.most_common()) or "no such name")


if __name__ == "__main__":
    main()
