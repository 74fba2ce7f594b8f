"""Tests of the help pages of the commands: they equal the stored pages and list every flag."""

import re
from pathlib import Path
from typing import Any

import pytest

from lm import ask, facts, prepare, profiles, steer
from lm.ask import AskConfig
from lm.config import StudyConfig
from lm.facts import FactsConfig
from lm.posthoc import POSTHOC
from lm.prepare import PrepareConfig
from lm.profiles import ProfilesConfig
from lm.steering.config import StudyConfig as SteeringStudyConfig
from lm.unlearn import main
from oversight.runs import cli
from tests.oversight.test_help import Command, help_page

HELP = Path(__file__).parent / "help"
COMMANDS: dict[str, Command] = {
    "ask": ask.main,
    "facts": facts.main,
    "prepare": prepare.main,
    "profiles": profiles.main,
    "steer": steer.main,
    "unlearn": main,
}


def stored(command: str) -> str:
    return (HELP / f"{command}.txt").read_text(encoding="utf-8")


def without_posthoc(page: str) -> str:
    """Return a page without the boxes of methods after training, which their registry adds."""
    names = "|".join(POSTHOC)
    return re.sub(rf"^\S+ (?:{names}) options .*?^\u2570.*?\n", "", page, flags=re.S | re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_page_equals_the_stored_page(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """A change of the interface shows in the diff of the stored page.

    To store a new one: `COLUMNS=100 python -m lm.unlearn --help > FILE` in help/.
    """
    page = help_page(COMMANDS[command], monkeypatch)
    assert without_posthoc(page) == without_posthoc(stored(command))


@pytest.mark.parametrize(
    ("command", "schemas"),
    [
        ("ask", (AskConfig,)),
        ("facts", (FactsConfig,)),
        ("prepare", (PrepareConfig,)),
        ("profiles", (ProfilesConfig,)),
        ("steer", (cli.Launch, SteeringStudyConfig)),
        ("unlearn", (cli.Launch, StudyConfig)),
    ],
)
def test_help_page_lists_every_flag(
    monkeypatch: pytest.MonkeyPatch, command: str, schemas: tuple[type[Any], ...]
) -> None:
    page = help_page(COMMANDS[command], monkeypatch)
    listed = set(re.findall(r"--[a-z][a-z.-]*", page)) - {"--help"}
    listed = {flag for flag in listed if not flag.split(".")[-1].lstrip("-").startswith("no-")}
    assert listed == {flag for schema in schemas for flag in cli.flags(schema)}
