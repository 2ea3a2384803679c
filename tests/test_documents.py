"""The README says what the code does: its examples run, and its report is what the check prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def without_cost(text):
    return [line.rstrip() for line in text.strip().splitlines() if not line.startswith("cost:")]


def test_the_report_in_the_readme_is_what_the_example_prints():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(blocks("python")[0], {"__name__": "readme"})  # noqa: S102 - our own example
    assert without_cost(printed.getvalue()) == without_cost(blocks("text")[0])


def test_the_test_in_the_readme_passes():
    names = {"__name__": "readme"}
    exec("import numpy as np\n" + blocks("python")[1], names)  # noqa: S102 - our own example
    names["test_scale"]()


def test_both_commands_stand_on_one_line_each():
    for marker in ("main job", "tests"):
        block = README.split(f"<!-- command: {marker} -->")[1].split("```")[1]
        assert len(block.strip().splitlines()) == 2  # the language and the command


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()
