"""README, docs and docstrings say what the code does: every example runs, and prints what stands there."""

import ast
import doctest
import re

import pytest

import gradcheck
from tests.documents import PAGES, ROOT, Block, blocks_of, run, without_cost

README = (ROOT / "README.md").read_text(encoding="utf-8")

EXAMPLES = [
    pytest.param(page, needs, id=" ".join([str(page.relative_to(ROOT)), *(["needs", *sorted(needs)] if needs else [])]))
    for page in PAGES
    for needs in sorted({block.needs for block in blocks_of(page)}, key=sorted)
]


def has_examples(path):
    """Tell whether a docstring of a module has an example, without importing it."""
    text = path.read_text(encoding="utf-8")
    if ">>> " not in text:  # parsing takes a hundred times as long
        return False
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = ast.walk(ast.parse(text))
    return any(">>> " in (ast.get_docstring(node) or "") for node in nodes if isinstance(node, documented))


MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("gradcheck", "network")
    for path in sorted((ROOT / package).rglob("*.py"))
    if has_examples(path)
]


def run_session(examples, name):
    """Run ``>>>`` examples and compare what they print."""
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.FAIL_FAST)
    failures = []
    runner.run(examples, out=failures.append)
    assert not runner.failures, f"{name}\n{''.join(failures)}"


@pytest.mark.parametrize(("page", "needs"), EXAMPLES)
def test_examples_of_a_page_run_and_print_what_it_says(page, needs):
    for library in needs:
        pytest.importorskip(library)
    names = {"__name__": "example"}
    for block in blocks_of(page):
        if not block.needs <= needs:
            continue
        if block.is_session:
            run_session(doctest.DocTestParser().get_doctest(block.code, names, page.name, str(page), 0), page.name)
            continue
        printed = run(page, block, names)
        if block.printed is not None:
            assert without_cost(printed) == without_cost(block.printed)
    for name, test in names.items():
        if name.startswith("test_"):
            test()


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_print_what_they_say(name):
    module = pytest.importorskip(name, exc_type=ImportError)  # gradcheck.torch without PyTorch
    found = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]
    assert found
    for test in found:
        run_session(test, test.name)


def test_an_example_that_prints_something_else_is_noticed(tmp_path):
    """The tests above can fail: values, output of blocks and of sessions are compared."""
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- needs: math -->\n<!-- needs: numpy, json -->\n<!-- setup: x = 2 -->\n```python\nprint(x + 1)\n```\n\n```text\n4\n```\n"
        "<!-- not run: no such thing -->\n```python\n1 / 0\n```\n```python\n>>> x\n3\n```\n",
        encoding="utf-8",
    )
    block, session = blocks_of(page)
    assert block == Block("\n\n\n\nprint(x + 1)\n", "4\n", "x = 2", frozenset({"math", "numpy", "json"}))
    names = {}
    assert run(page, block, names) == "3\n"
    assert session.is_session
    examples = doctest.DocTestParser().get_doctest(session.code, names, "page", str(page), 0)
    with pytest.raises(AssertionError, match=r"Expected:\n\s+3\n\s+Got:\n\s+2"):
        run_session(examples, "page")


def test_both_commands_stand_on_one_line_each():
    for marker in ("main job", "tests"):
        block = README.split(f"<!-- command: {marker} -->")[1].split("```")[1]
        assert len(block.strip().splitlines()) == 2  # the language and the command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    prose = re.sub(r"`[^`\n]+`", "", page.read_text(encoding="utf-8"))  # code has calls that look like links
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", prose):
        assert (page.parent / target).exists(), target


def test_one_version_is_said_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "docs" / "changelog.md").read_text(encoding="utf-8")
    date = re.search(r"^date-released: (\S+)$", citation, re.MULTILINE)[1]
    assert f"version: {gradcheck.__version__}\n" in citation
    assert re.search(r"^## (.*)$", changelog, re.MULTILINE)[1] == f"{gradcheck.__version__} ({date})"
