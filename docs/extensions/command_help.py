"""A directive that shows the help page of a command: `{command-help} oversight.train`."""

import os
import re
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent.parent
COLUMNS = "84"


class CommandHelp(Directive):
    """The output of `python -m MODULE --help`, so that the page never differs from the command."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the help page as a block of text."""
        module = self.arguments[0]
        settings = os.environ | {"COLUMNS": COLUMNS, "TERM": "dumb", "NO_COLOR": "1"}
        command = [sys.executable, "-m", module, "--help"]
        done = subprocess.run(
            command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise self.error(f"python -m {module} --help failed: {done.stderr.strip()}")
        text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).rstrip()
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive to a Sphinx application."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
