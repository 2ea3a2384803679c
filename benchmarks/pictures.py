"""The pictures of the README; needs Chromium.

``python -m benchmarks.pictures`` writes `docs/pictures/report.png`; ``--article FOLDER``, the output of ``python -m network``, also
`docs/pictures/article.png`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from gradcheck import check_layer
from gradcheck.demonstration import backward, forward

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"


def browse(page: Path, *options: str) -> str:
    """Open a page in a browser without a window; return what it prints."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("needs Chromium: put `chromium` or `google-chrome` on the PATH")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1",
        *options, page.resolve().as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603 - the command is ours
    return done.stdout.decode("utf-8", "replace")


def take(page: Path, picture: Path, size: tuple[int, int], *options: str) -> None:
    """Write what a browser shows of a page, `size` CSS pixels of it."""
    browse(page, f"--window-size={size[0]},{size[1]}", f"--screenshot={picture}", *options)


def take_report(folder: Path) -> None:
    """Take the page of the wrong gradient that `python -m gradcheck demo` prints."""
    rng = np.random.default_rng(0)
    report = check_layer(forward, backward, rng.normal(size=(8, 7)), rng.normal(size=(3, 3)))
    page = folder / "report.html"
    report.to_html(page)
    take(page, PICTURES / "report.png", (900, 760))


def take_article(output: Path, folder: Path) -> None:
    """Take the table of experiments of the main job's page."""
    page = folder / "article.html"
    text = (output / "index.html").read_text(encoding="utf-8")
    head = text.partition("<body")[0]
    (table,) = (part for part in re.findall(r"<table.*?</table>", text, re.DOTALL) if "broken cheaper" in part)
    page.write_text(f"{head}<body class='gradcheck'>{table}</body></html>", encoding="utf-8")
    take(page, PICTURES / "article.png", (820, 240))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("--article", type=Path, metavar="FOLDER", help="the output of python -m network")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        take_report(Path(name))
        if options.article:
            take_article(options.article, Path(name))


if __name__ == "__main__":
    main()
