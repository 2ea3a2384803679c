"""Wrong gradients in releases of good libraries: run every script of `examples/gallery` against what is installed.

``python -m benchmarks.gallery`` says of each whether it is still so; ``--write`` makes `docs/gallery.md` of them.
"""

from __future__ import annotations

import argparse
import ast
import runpy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from gradcheck import Report

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "examples" / "gallery").glob("*.py"))
PAGE = ROOT / "docs" / "gallery.md"

HEAD = """\
# Wrong gradients in current releases

These are good libraries, with careful authors and large test suites. Values are right in every case below but one, which says so, and most users never
meet the case. They stand here because a wrong gradient is easily overlooked: training, fitting and convergence hide it. Each was found by a
check; each script runs as it stands. `python -m benchmarks.gallery` runs them all against the releases that are installed and says which are
fixed by now. A link leads to the project's own discussion, if there was one.

"""


@dataclass(frozen=True)
class Exhibit:
    """One script: what is wrong where, and the functions that show it."""

    path: Path
    names: dict

    @property
    def module(self) -> str:
        """The library to import, which is what the file is named after."""
        return self.path.stem.partition("_")[0]

    @property
    def release(self) -> str:
        """The release in which it was found."""
        return self.names["RELEASE"]

    @property
    def installed(self) -> str:
        """The installed version of the release's library."""
        name = self.release.split()[0]
        return metadata.version({"PyTorch": "torch"}.get(name, name))

    @property
    def is_at_release(self) -> bool:
        """Whether that is the one that is installed."""
        return self.installed.partition("+")[0] == self.release.split()[1]

    def check(self) -> Report:
        """Return the report of the gradient as it is installed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library about its own case
            return self.names["check"]()

    def consequence(self) -> str:
        """Return what comes of it, measured, if the script measures that."""
        return self.names["consequence"]() if "consequence" in self.names else ""


def load(path: Path) -> Exhibit:
    """Run a script's definitions; ImportError when its library is not installed."""
    return Exhibit(path, runpy.run_path(str(path), run_name="gallery"))


def without_cost(report: Report) -> str:
    """Return a report as printed, but for the line that differs from run to run."""
    return "\n".join(line.rstrip() for line in str(report).splitlines() if not line.startswith("cost:"))


def script_of(path: Path) -> str:
    """Return the code of a script, its docstring left to the page."""
    source = path.read_text(encoding="utf-8")
    return "".join(source.splitlines(keepends=True)[ast.parse(source).body[0].end_lineno :]).strip()


def section(exhibit: Exhibit) -> str:
    """Return what the page says of one script."""
    title, _, text = ast.get_docstring(ast.parse(exhibit.path.read_text(encoding="utf-8"))).partition("\n")
    printed = without_cost(exhibit.check())
    consequence = exhibit.consequence()
    if consequence:
        printed += f"\n{consequence}"
    return (
        f"## {title.rstrip('.')}\n{text.rstrip()}\n\nMeasured with {exhibit.release}; `examples/gallery/{exhibit.path.name}`:\n\n"
        f"<!-- not run: tests/frameworks/test_gallery.py runs the script -->\n```python\n{script_of(exhibit.path)}\n```\n\n"
        f"```text\n{printed}\n```\n"
    )


def lines() -> Iterator[str]:
    """Yield one line for each script: what was recorded, and what is so today."""
    for path in SCRIPTS:
        try:
            exhibit = load(path)
        except ImportError as missing:
            yield f"{path.stem:32} not tried: {missing}"
            continue
        report = exhibit.check()
        today = {"fail": "still wrong", "pass": "fixed by now"}.get(report.verdict, "cannot tell")
        yield f"{path.stem:32} found in {exhibit.release}, {today} in {exhibit.installed}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/gallery.md, with every library installed")
    if parser.parse_args().write:
        PAGE.write_text(HEAD + "\n".join(section(load(path)) for path in SCRIPTS), encoding="utf-8")
        return
    for line in lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()
