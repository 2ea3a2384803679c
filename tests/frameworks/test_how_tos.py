"""The pages of docs/how-to say what is so: their code runs, block after block, as a reader would run it."""

import contextlib
import io
import re
from pathlib import Path

import pytest

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
NEEDS = {
    "pytorch": "torch", "jax": "jax", "scipy": "scipy", "scikit-learn": "sklearn", "statsmodels": "statsmodels",
    "autograd": "autograd", "mygrad": "mygrad",
}  # fmt: skip


@pytest.mark.filterwarnings("default")  # of the libraries, which a reader sees too
@pytest.mark.parametrize("page", sorted(NEEDS))
def test_the_code_of_a_page_runs(page):
    pytest.importorskip(NEEDS[page])
    text = (HOW_TO / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names = {"__name__": page}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in blocks:
            exec(compile(block, f"{page}.md", "exec"), names)  # noqa: S102 - our own page
    assert (len(blocks) >= 2 and re.search(r"FAIL|elements wrong", printed.getvalue())) or page == "pytorch"


def test_the_pages_of_the_frameworks_are_all_run():
    assert set(NEEDS) <= {path.stem for path in HOW_TO.glob("*.md")}


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_calls_in_the_readme(library):
    pytest.importorskip(library)
    readme = (HOW_TO.parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL) if f"gradcheck.{library}" in b)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102 - our own example
