"""Pages in a real browser before a release, at a phone's and a desk's width, light and dark; needs Chromium.

``python -m benchmarks.pages [PAGE.html ...]`` says which pages are wider than the window; without a page it writes some of its own: a
wrong gradient, a right one, and many reports on one page. ``--pictures FOLDER`` keeps what was seen. Two tools of the npm registry
are used where they are named: ``--axe node_modules/axe-core/axe.min.js`` (``npm install axe-core``) for accessibility, and ``--vnu
node_modules/vnu-jar/build/dist/vnu.jar`` (``npm install vnu-jar@23.4.11``, the last that brings its jar along; needs Java) for valid HTML.
Exit code 1 where something is found.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pictures import browse, take
from gradcheck import Report, check_gradient, check_layer, write_html
from gradcheck.demonstration import backward, forward

WIDTHS = {"phone": (390, 844), "desk": (1200, 900)}
"""CSS pixels: a common phone held upright, and a window on a desk."""

SCHEMES = {"light": "--blink-settings=preferredColorScheme=1", "dark": "--blink-settings=preferredColorScheme=0"}
"""Chromium's settings for `prefers-color-scheme`."""

MEASURE = """
addEventListener("load", async () => {
  document.querySelectorAll("details").forEach(one => { one.open = true; });
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const axe = globalThis.axe ? await globalThis.axe.run() : { violations: [] };
  const found = { dark, width: innerWidth, wide: root.scrollWidth, violations: axe.violations.map(one =>
    `${one.id}: ${one.help} (${one.nodes.length} times, first ${one.nodes[0].html.slice(0, 120)})`) };
  const told = parent.document.createElement("pre");
  told.id = "found"; told.textContent = JSON.stringify(found); parent.document.body.append(told);
});
"""


def framed(page: Path, size: tuple[int, int], script: str) -> str:
    """Return a page that shows another one in a frame: a window itself cannot be as narrow as a phone."""
    text = page.read_text(encoding="utf-8").replace("</head>", f"{script}</head>", 1)
    return (
        f"<!doctype html><meta charset='utf-8'><base href='{page.resolve().parent.as_uri()}/'><body style='margin: 0'>"
        f"<iframe style='border: 0; width: {size[0]}px; height: {size[1]}px' srcdoc='{html.escape(text)}'></iframe>"
    )


def look(page: Path, axe: Path | None, pictures: Path | None) -> Iterator[str]:
    """Give what is wrong with a page in every width and colour scheme."""
    scripts = [axe.read_text(encoding="utf-8")] if axe else []
    script = "".join(f"<script>{text}</script>" for text in [*scripts, MEASURE])
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "frame.html"
        for name, size in WIDTHS.items():
            for scheme, option in SCHEMES.items():
                frame.write_text(framed(page, size, script), encoding="utf-8")
                shown = browse(frame, option, "--virtual-time-budget=60000", "--dump-dom")
                told = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
                found = json.loads(html.unescape(told[1])) if told else {}
                view = f"{page.name}, {name}, {scheme}"
                if (found.get("dark"), found.get("width")) != (scheme == "dark", size[0]):
                    yield f"{view}: the browser did not show it so: {found}"
                    continue
                if found["wide"] > size[0]:
                    yield f"{view}: {found['wide']} pixels wide, {size[0]} required"
                yield from (f"{view}: {violation}" for violation in found["violations"])
                if pictures is not None:
                    frame.write_text(framed(page, size, ""), encoding="utf-8")
                    take(frame, pictures / f"{page.stem}-{name}-{scheme}.png", size, option)


def validate(pages: list[Path], vnu: Path) -> Iterator[str]:
    """Give the errors that the W3C's validator finds in pages; its advice, on headings and slashes, is left out."""
    command = ["java", "-jar", str(vnu), "--errors-only", "--format", "gnu", *map(str, pages)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603
    yield from done.stderr.splitlines()


def write_pages(folder: Path) -> list[Path]:
    """Write pages of reports of every sort."""
    rng = np.random.default_rng(0)
    point = {"kernel": rng.normal(size=(8, 3, 3, 3)), "<b>": rng.normal(size=70), "s": np.float64(0.5)}

    def check(name: str, change: Callable[[Any], Any], **options: Any) -> Report:
        return check_gradient(
            lambda p: float(sum(np.sum(np.sin(v)) for v in p.values())),
            lambda p: {k: change(np.cos(v)) if k == name else np.cos(v) for k, v in p.items()},
            point,
            **options,
        )

    demo = check_layer(forward, backward, rng.normal(size=(8, 7)), rng.normal(size=(3, 3)))
    many = {
        "right": check("s", lambda g: g),
        "turned": check("kernel", lambda g: np.flip(g, (2, 3))),
        "scaled & <bold>": check("<b>", lambda g: 2 * g),
        "not a number": check("<b>", lambda g: np.nan * g),
        "of another shape": check("<b>", lambda g: g[:3]),
        "undecided": check("s", lambda g: g, max_evaluations=12),
    }
    write_html({"": demo}, folder / "wrong.html")
    write_html({"": many["right"]}, folder / "right.html")
    write_html(many, folder / "many.html")
    return [folder / f"{name}.html" for name in ("wrong", "right", "many")]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("pages", type=Path, nargs="*", metavar="PAGE.html")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="where to keep what was seen")
    parser.add_argument("--axe", type=Path, metavar="axe.min.js", help="axe-core, of the npm registry")
    parser.add_argument("--vnu", type=Path, metavar="vnu.jar", help="the W3C's validator, vnu-jar of the npm registry")
    options = parser.parse_args()
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pages = options.pages or write_pages(Path(folder))
        found = [fault for page in pages for fault in look(page, options.axe, options.pictures)]
        found += validate(pages, options.vnu) if options.vnu else []
    print("\n".join(found) or f"{len(pages)} pages, {len(WIDTHS) * len(SCHEMES)} views each: nothing found")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
