"""`import gradcheck` loads nothing; each public name loads what it needs, and type checkers see the same names."""

import ast
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import gradcheck

ROOT = Path(__file__).parent.parent.parent


def printed(code):
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip()


def declared():
    """Name -> module, as the imports for type checkers declare it."""
    tree = ast.parse(Path(gradcheck.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {alias.name: node.module for node in block.body for alias in node.names}


def test_import_alone_loads_no_numpy_and_no_module_of_the_package():
    code = "import gradcheck, sys; print([m for m in sys.modules if m.split('.')[0] == 'numpy' or 'gradcheck.' in m])"
    assert printed(code) == "[]"


def test_the_imports_for_type_checkers_are_those_at_run_time():
    assert declared() == gradcheck._HOMES
    assert sorted(declared()) == gradcheck.__all__


@pytest.mark.parametrize("name", gradcheck.__all__)
def test_every_name_is_loaded_from_its_module(name):
    assert getattr(gradcheck, name) is getattr(import_module(declared()[name]), name)
    assert name in dir(gradcheck)


def test_importing_everything_gives_every_name():
    assert printed("from gradcheck import *; print(compare.__name__, Report.__name__)") == "compare Report"


def test_an_error_needs_no_numpy():
    assert printed("from gradcheck import GradientError; import sys; print('numpy' in sys.modules)") == "False"


def test_what_the_package_lacks_is_an_attribute_error_as_anywhere():
    with pytest.raises(AttributeError, match=r"^module 'gradcheck' has no attribute 'check_gradients'$"):
        gradcheck.check_gradients  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'check_gradients'"):
        from gradcheck import check_gradients  # noqa: F401, PLC0415


def test_a_class_pickled_by_its_public_name_is_loaded_by_it():
    """A process that has imported nothing yet unpickles an error of ours."""
    error = pickle.dumps(gradcheck.InvalidArgument("x"))
    assert printed(f"import pickle; print(type(pickle.loads({error!r})).__name__)") == "InvalidArgument"


@pytest.mark.parametrize("package", ["torch", "jax", "scipy"])
def test_what_a_module_needs_is_named_where_it_is_missing(package):
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == '{package}':\n"
        f"            raise ModuleNotFoundError('blocked', name='{package}')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "import gradcheck\n"
        "try:\n"
        f"    import gradcheck.{package}\n"
        "except gradcheck.MissingDependency as error:\n"
        "    print(error)\n"
    )
    said = printed(code)
    assert f"gradcheck.{package} needs {package}" in said and f"pip install {package}" in said
