"""The help page of the language models' command is the stored one, and tells every flag."""

import re
from pathlib import Path

import pytest

from lm import unlearn
from lm.config import StudyConfig
from oversight import cli
from tests.oversight.test_cli import help_page

STORED = Path(__file__).parent / "help" / "unlearn.txt"


def test_the_help_page_is_the_stored_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the interface shows in the diff of the stored page.

    To store a new one: `COLUMNS=100 python -m lm.unlearn --help > FILE` in help/.
    """
    assert help_page(unlearn.main, monkeypatch) == STORED.read_text(encoding="utf-8")


def test_every_flag_is_on_the_help_page() -> None:
    listed = set(re.findall(r"--[a-z][a-z.-]*", STORED.read_text(encoding="utf-8"))) - {"--help"}
    assert listed == {*cli.flags(cli.Launch), *cli.flags(StudyConfig)}
