"""`python -m oversight.sweep STUDY`: all runs of a study, and one table of their results."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from configs.rl import STUDIES
from oversight.rl.agent import require_trainable
from oversight.rl.config import require_device
from oversight.rl.study import find_study, restrict
from oversight.rl.sweep import sweep
from oversight.runs import cli
from oversight.runs.folder import interpreter
from oversight.runs.parallel import EngineConfig

PROGRAM = "python -m oversight.sweep"


@dataclass(frozen=True, kw_only=True)
class SweepConfig(EngineConfig):
    """Run a study: finished runs are kept, interrupted ones are resumed."""

    study: Annotated[str, tyro.conf.Positional]
    """Name of a study: quick, published, worlds, tax, labels, or module:NAME of your own."""
    env: str | None = None
    """Environment to run the study in, instead of its own, with the default settings there."""
    methods: tuple[str, ...] = ()
    """Methods of the study to run; by default all."""
    oversight_probabilities: tuple[float, ...] = ()
    """Oversight probabilities of the study to run; by default all."""
    seeds: tuple[int, ...] = ()
    """Seeds of the study to run; by default all."""
    variations: tuple[str, ...] = ()
    """Variations of the study to run, such as one world; by default all."""
    folder: Path | None = None
    """Folder of the study; by default studies/STUDY."""
    known: Path | None = None
    """Results that `oversight.report` exported; their runs count as finished."""


def main(args: Sequence[str]) -> int:
    """Sweep as the arguments say; return 1 if a run failed."""
    settings = cli.parse(SweepConfig, args, PROGRAM)
    study = find_study(settings.study, STUDIES, settings.env)
    require_device(study.settings.device)
    runs = restrict(
        study.runs(),
        settings.methods,
        settings.oversight_probabilities,
        settings.seeds,
        settings.variations,
    )
    for run in {(run.config.method, run.config.env): run for run in runs}.values():
        require_trainable(run.config)
    folder = settings.folder or Path("studies") / study.name
    failed = sweep(study, runs, folder, settings.known, settings.execute)
    shown = {
        "results": folder / "results.json",
        "curves": curves_command(folder),
        "report": report_command(folder),
    }
    for what, where in shown.items():
        Console().out(f"{what}:  {where}", highlight=False)
    return 1 if failed else 0


def report_command(folder: Path) -> str:
    """Return the command that reports a study."""
    return f"{interpreter()} -m oversight.report {shlex.quote(str(folder))}"


def curves_command(folder: Path) -> str:
    """Return the command that shows the curves of a study's runs."""
    return f"{interpreter()} -m tensorboard.main --logdir {shlex.quote(str(folder / 'runs'))}"


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
