"""The directions in which modules may import each other, read from their import statements."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ORDER = [
    "errors", "trees", "tasks", "workers", "arguments", "progress", "points", "displacements", "evaluation", "tangents", "outputs",
    "noise", "differences", "batching", "complex_step", "pilot", "nearby", "ties", "kinks", "separable", "pieces", "pooled", "bench", "screening", "refinement",
    "directions", "locating", "singly", "crowds", "directional", "acceptance",
    "derivatives", "comparison", "text", "report", "claims",
    "diagnosis.clues", "diagnosis.candidates", "diagnosis.numbers", "diagnosis.symmetries", "diagnosis.regions", "diagnosis.scale",
    "diagnosis.penalties", "diagnosis.rearrangements", "diagnosis.precision", "diagnosis.partial", "diagnosis.layers",
    "diagnosis.ranking", "diagnosis.shapes", "diagnosis", "summary", "elsewhere", "protocol", "blind_spots", "explanations", "session", "claimants", "pushforwards",
    "jacobians", "curvature", "checks", "linear_maps", "adjoint", "matrices", "stages", "composition", "chains", "assertions",
]  # fmt: skip
"""Modules of gradcheck: each imports only modules before it."""

HEAVY = ("torch", "jax", "sklearn", "scipy", "matplotlib", "rich", "hypothesis", "pytest")


FILES = {
    ".".join(path.relative_to(ROOT / "gradcheck").with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "gradcheck").rglob("*.py")
    if path != ROOT / "gradcheck" / "__init__.py"
}
"""Name of a module or package -> its file."""


def imports(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("name", ORDER)
def test_imports_inside_gradcheck_go_one_way(name):
    path = FILES[name]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        alias
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
        if isinstance(inner, ast.ImportFrom)
        for alias in [inner.module]
    }
    ours = {i.removeprefix("gradcheck.") for i in imports(path) - typing_only if i.startswith("gradcheck.")}
    assert ours <= set(ORDER[: ORDER.index(name)])


def test_every_module_has_its_place():
    assert set(FILES) == set(ORDER)


def test_gradcheck_needs_numpy_alone():
    code = f"import gradcheck, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


def test_only_verification_and_the_command_line_of_network_import_gradcheck():
    allowed = {"verification.py", "__main__.py"}
    for path in (ROOT / "network").rglob("*.py"):
        if path.name not in allowed:
            assert not any(name.split(".")[0] == "gradcheck" for name in imports(path)), path
