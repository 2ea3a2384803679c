"""The directions in which modules may import each other, read from their import statements."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PACKAGES = {
    "": "aliases errors watching",
    "functions": "repeated bits blocks boxes formats containers kinds arrays dense trees selection tasks workers options calls progress points in_place displacements float_errors probe tangents outputs",
    "differences": "counts lengths noise tableau vectorized ladder complex_step jumps sampled_noise steps scale mixed",
    "nonsmooth": "hull lines sampling groups scans searches subdifferential",
    "acceptance": (
        "pooled components parts ledger decide judgement bench other_claims quiet screening other_steps directions together refinement irregular locate individual "
        "first_look whole_claim sections detection subgrid directional rule"
    ),
    "reports": "comparison symmetries transforms text grids serialization markdown plots page report claims summary",
    "diagnosis": (
        "occurring clues candidates movements numbers slices undone projections regions scale penalties rearrangements precision partial shapes layers indices "
        "upstreams adjoints overwrites elementwise mixtures offsets copies near_ties ranking"
    ),
    "checks": (
        "check second_point shared_ties roundoff protocol references ignored blind_spots stairs explanations exchanged equalised run scalar subjects layers pushforwards "
        "linear_maps adjoint jacobians curvature first_order orders arguments autodiff modes "
        "matrices bounded stages composition chains"
    ),
    "mutants": "changes behaviours catalogue planting points score",
}
"""Packages of gradcheck and their modules: each imports only modules before it, and packages before its own."""

ORDER = [
    *(
        place
        for package, names in PACKAGES.items()
        for place in (*(f"{package}.{name}".strip(".") for name in names.split()), *[package][: len(package)])
    ),
    "derivatives",
    "assertions",
    "scipy.arguments",
    "scipy.judging",
    "scipy.problems",
    "scipy.least_squares",
    "scipy",
    "jax.precision",
    "jax.problem",
    "jax.arguments",
    "jax.judging",
    "jax.checks",
    "jax",
    "torch.sparse",
    "torch.tensors",
    "torch.state",
    "torch.precision",
    "torch.remedies",
    "torch.problem",
    "torch.protocol",
    "torch.arguments",
    "torch.judging",
    "torch.checks",
    "torch.own_call",
    "torch",
    "demonstration",
    "command",
    "__main__",
    "testing",
    "testing.settings",
    "testing.tracebacks",
    "testing.records",
    "testing.recorder",
    "testing.planting",
    "testing.calls",
    "testing.rerun",
    "testing.mutation",
    "strategies",
]
"""All modules; what a package itself gives is imported by those after it."""

FOR_TYPES = {
    "errors",
    "watching",
    "testing.records",
    "testing.recorder",
    "reports.transforms",
    "reports.text",
    "reports.markdown",
    "reports.plots",
    "reports.page",
}
"""Modules that name the report in their signatures, which comes after them."""

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


def imported_for_types(path):
    return {
        inner.module
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
        if isinstance(inner, ast.ImportFrom)
    }


@pytest.mark.parametrize("name", ORDER)
def test_imports_inside_gradcheck_go_one_way(name):
    path = FILES[name]
    typing_only = imported_for_types(path) if name in FOR_TYPES else set()
    ours = {i.removeprefix("gradcheck.") for i in imports(path) - typing_only if i.startswith("gradcheck.")}
    assert ours <= set(ORDER[: ORDER.index(name)])


def test_every_module_has_its_place():
    assert set(FILES) == set(ORDER)


def test_the_map_in_the_design_page_names_every_module():
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, flags=re.MULTILINE))
    assert set(PACKAGES) - {""} <= set(rows)
    for name in FILES:
        package, _, module = name.partition(".")
        if module and package in rows and package != "diagnosis":  # whose modules are families of one kind
            assert f"`{module}`" in rows[package], name


def test_gradcheck_needs_numpy_alone():
    code = f"from gradcheck import *; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


def test_only_verification_and_the_command_line_of_network_import_gradcheck():
    allowed = {"verification.py", "__main__.py"}
    for path in (ROOT / "network").rglob("*.py"):
        if path.name not in allowed:
            assert not any(name.split(".")[0] == "gradcheck" for name in imports(path)), path


ENGINE = ("acceptance", "differences", "nonsmooth")

MOST_CONSTANTS = 66
"""Named numbers of the engine; this may only fall. Each is one that a right verdict may hang on."""


def constants(path):
    """Give the names of each assignment of numbers to upper-case names, and what stands behind it."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign) and any(isinstance(part, ast.Constant) for part in ast.walk(node.value)):
            names = [part.id for part in ast.walk(node.targets[0]) if isinstance(part, ast.Name) and part.id.isupper()]
            is_numeric = not any(
                isinstance(part, ast.Constant) and isinstance(part.value, str) for part in ast.walk(node.value)
            )
            if names and is_numeric:
                yield names, after


def test_each_number_says_what_it_bounds():
    silent = []
    for name, path in FILES.items():
        for names, after in constants(path):
            if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
                silent.append(f"{name}: {', '.join(names)}")
    assert not silent, "say behind it what it bounds, its unit and why this value"


def test_the_engine_gets_no_further_constants():
    of_engine = [path for name, path in FILES.items() if name.startswith(ENGINE)]
    assert sum(len(names) for path in of_engine for names, _ in constants(path)) <= MOST_CONSTANTS
