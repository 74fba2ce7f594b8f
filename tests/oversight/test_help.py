"""Help pages: each command shows the stored page, which lists all of its flags."""

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from oversight import certify, evaluate, inspect, report, split, sweep, train, tune
from oversight.certify import CertifyConfig
from oversight.evaluate import EvaluateConfig
from oversight.inspect import InspectConfig
from oversight.report import ReportConfig
from oversight.representations.config import StudyConfig
from oversight.rl.config import TrainConfig
from oversight.runs import cli
from oversight.sweep import SweepConfig
from oversight.tune import TuneConfig

Command = Callable[[Sequence[str]], int | None]
HELP = Path(__file__).parent / "help"
COMMANDS: dict[str, Command] = {
    "train": train.main,
    "evaluate": evaluate.main,
    "certify": certify.main,
    "sweep": sweep.main,
    "tune": tune.main,
    "report": report.main,
    "inspect": inspect.main,
    "split": split.main,
}


def help_page(main: Command, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a terminal of 100 columns shows, without colors."""
    monkeypatch.setenv("COLUMNS", "100")
    shown = io.BytesIO()
    terminal = io.TextIOWrapper(shown, encoding="utf-8")
    with contextlib.redirect_stdout(terminal), pytest.raises(SystemExit) as caught:
        cli.run(main, ["--help"])
    assert not caught.value.code
    terminal.flush()
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue().decode())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_page_equals_the_stored_page(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """A change of the interface shows in the diff of the stored page.

    To store a new one: `COLUMNS=100 python -m oversight.train --help > FILE` in help/.
    """
    page = help_page(COMMANDS[command], monkeypatch)
    assert page == (HELP / f"{command}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "schemas"),
    [
        ("train", (cli.Launch, TrainConfig)),
        ("evaluate", (EvaluateConfig,)),
        ("certify", (CertifyConfig,)),
        ("sweep", (SweepConfig,)),
        ("tune", (TuneConfig,)),
        ("report", (ReportConfig,)),
        ("inspect", (InspectConfig,)),
        ("split", (cli.Launch, StudyConfig)),
    ],
)
def test_help_page_lists_every_flag(command: str, schemas: tuple[type, ...]) -> None:
    page = (HELP / f"{command}.txt").read_text(encoding="utf-8")
    listed = set(re.findall(r"--[a-z][a-z0-9.-]*", page)) - {"--help"}
    listed = {name for name in listed if not re.match(r"--(ppo\.)?no-", name)}
    assert listed >= {flag for schema in schemas for flag in cli.flags(schema)}
    assert listed - {"--run-dir", "--resume"} <= {f for each in schemas for f in cli.flags(each)}
