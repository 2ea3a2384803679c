"""How Sphinx builds this folder: ``python -m sphinx -nW docs build/docs``."""

from pathlib import Path

from sphinx.application import Sphinx

import gradcheck

project = "gradcheck"
author = copyright = "gradcheck contributors"  # noqa: A001 - Sphinx's name
version = release = gradcheck.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
html_theme = "furo"
html_title = f"gradcheck {release}"
html_static_path = ["_static"]
html_css_files = ["reports.css"]
html_show_sourcelink = False  # its button stands outside of all landmarks
exclude_patterns = ["build"]
nitpicky = True

default_role = "literal"  # single backquotes in docstrings are names and formulas
autodoc_typehints = "none"  # docstrings say it, with shapes
autodoc_member_order = "bysource"
autodoc_mock_imports = ["torch", "jax", "scipy"]  # no framework is needed to read about it
numpydoc_show_class_members = False
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

ACCESSIBLE = {
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    "<pre>": '<pre tabindex="0">',  # what scrolls can be scrolled by keyboard
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<div id="search-results">': '<h1>Search</h1><div id="search-results">',
    '<aside class="toc-drawer': '<aside aria-label="On this page" class="toc-drawer',
}
"""What the theme writes, and what it takes for keyboards and screen readers; `python -m benchmarks.pages --axe` looks for more."""


def make_accessible(app: Sphinx, exception: Exception | None) -> None:
    """Complete the pages that were written."""
    for page in Path(app.outdir).rglob("*.html") if exception is None else ():
        text = page.read_text(encoding="utf-8")
        for written, complete in ACCESSIBLE.items():
            text = text.replace(written, complete)
        page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Let Sphinx call it at the end."""
    app.connect("build-finished", make_accessible)
