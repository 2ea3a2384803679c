"""How Sphinx builds this folder: ``python -m sphinx -nW docs build/docs``."""

import gradcheck

project = "gradcheck"
author = copyright = "gradcheck contributors"  # noqa: A001 - Sphinx's name
version = release = gradcheck.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
html_theme = "furo"
html_title = f"gradcheck {release}"
html_static_path = ["_static"]
html_css_files = ["reports.css"]
exclude_patterns = ["build"]
nitpicky = True

default_role = "literal"  # single backquotes in docstrings are names and formulas
autodoc_typehints = "none"  # docstrings say it, with shapes
autodoc_member_order = "bysource"
autodoc_mock_imports = ["torch", "jax", "scipy"]  # no framework is needed to read about it
numpydoc_show_class_members = False
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
