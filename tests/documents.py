"""Reading the examples of a page of documentation: its blocks of code, what they need, and what they print.

A page's ``python`` blocks run in order, in one namespace. What follows one directly as a ``text`` block is what it
prints. An HTML comment directly before a block, which readers do not see, may say

- ``<!-- setup: code -->``: code that runs first and defines what the block takes for granted;
- ``<!-- needs: torch -->``: libraries without which the block cannot run;
- ``<!-- not run: reason -->``: that it runs nowhere here.

``needs`` as the first line of a page holds for all of its blocks.
"""

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_COMMENTS = r"(?P<comments>(?:<!--(?:(?!-->).)*-->\s*)*)"
_BLOCK = re.compile(
    rf"{_COMMENTS}^```python\n(?P<code>.*?)^```$(?:\s*^```text\n(?P<printed>.*?)^```$)?", re.DOTALL | re.MULTILINE
)
_PAGE_NEEDS = re.compile(r"\A<!--\s*needs:(?P<text>[^>]*)-->")
_COMMENT = re.compile(r"<!--\s*(?P<kind>setup|needs|not run):\s*(?P<text>.*?)\s*-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block of Python: code padded to its line on the page, and what the page says it prints, if it does."""

    code: str
    printed: str | None
    setup: str = ""
    needs: frozenset[str] = frozenset()
    reason_not_to_run: str = ""

    @property
    def is_session(self):
        return self.code.lstrip().startswith(">>>")


def blocks_of(page):
    """Return the Python blocks of a page that run, in order."""
    text = page.read_text(encoding="utf-8")
    of_page = _PAGE_NEEDS.match(text)
    page_needs = of_page["text"] if of_page else ""
    blocks = []
    for match in _BLOCK.finditer(text):
        said = {found["kind"]: found["text"] for found in _COMMENT.finditer(match["comments"])}
        padding = "\n" * text[: match.start("code")].count("\n")
        needs = frozenset(re.findall(r"\w+", page_needs + said.get("needs", "")))
        blocks.append(
            Block(padding + match["code"], match["printed"], said.get("setup", ""), needs, said.get("not run", ""))
        )
    return [block for block in blocks if not block.reason_not_to_run]


def run(page, block, names):
    """Run a block in a namespace, and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.setup, f"{page} (setup)", "exec"), names)  # noqa: S102 - our own example
        exec(compile(block.code, str(page), "exec"), names)  # noqa: S102
    return printed.getvalue()


def without_cost(text):
    """Leave out the line of a report that differs from run to run."""
    return [line.rstrip() for line in text.strip().splitlines() if not line.startswith("cost:")]
