"""Sphinx configuration: `sphinx-build -W docs build/docs` makes the site."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]

project = "Oversight testbed"
author = "the authors of the Oversight testbed"
project_copyright = author

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # docstrings in Google's style
    "myst_parser",  # pages in Markdown
    "sphinx_copybutton",
    "command_help",
]
exclude_patterns = ["extensions", "examples"]
default_role = "code"  # single backticks in docstrings

html_theme = "furo"
html_title = project
html_theme_options = {"sidebar_hide_name": False}

# Code blocks are doctests; what is copied from them can be pasted into an interpreter or a shell.
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

myst_heading_anchors = 3  # links to headings, as GitHub makes them

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False  # those of Gymnasium, SB3 and PyTorch are on their sites
napoleon_use_ivar = True  # an attribute is documented once
suppress_warnings = ["ref.python"]  # equal names in different modules are not ambiguous to a reader
