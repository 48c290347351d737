"""Settings of the documentation site: the pages of this folder, and a reference that the package writes itself.

``make docs`` builds it. The pages are plain Markdown, so that they can be read where the repository is kept; what only
a site needs (the table of contents, the generated pages) is added while it is built.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from docs import pages  # noqa: E402
from docs.pages import contents, formulas, said  # noqa: E402

project = "xpcs_dask"
author = "the xpcs_dask developers"
copyright = author
html_title = "xpcs_dask"

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
root_doc = "index"
exclude_patterns = ["pages", "_static"]
default_role = "py:obj"  # `fit` in a docstring is a link where there is such a name, and code where there is none
nitpicky = False  # types in docstrings are words ("float64 array, shape (m,)"), not names
suppress_warnings = ["myst.header"]  # a page may skip a level of headings

myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say types in words
autodoc_preserve_defaults = True
numpydoc_show_class_members = False  # autodoc shows them

html_math_renderer = "mathml"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"


def add_contents(app: Any, name: str, source: list[str]) -> None:
    """Give the first page its table of contents, and make downloads of links to what is no page."""
    if name == root_doc:
        source[0] = contents.with_contents(source[0])
    if "/" not in name:  # generated pages lie deeper, and link to pages only
        source[0] = contents.with_downloads(source[0])


def link_pages(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Make links of pages that docstrings name."""
    lines[:] = [said.PAGE.sub(r":doc:`\1 </\1>`", line) for line in lines]


def setup(app: Any) -> None:
    """Set formulas without a script from elsewhere; write the generated pages before the folder is looked through."""
    app.add_html_math_renderer("mathml", (formulas.inline, None), (formulas.block, None))
    app.connect("builder-inited", lambda _: pages.write(HERE / "generated"))
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", link_pages)
