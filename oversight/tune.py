"""`python -m oversight.tune STUDY`: settings of each method, tuned by observed reward alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from configs.rl import STUDIES
from oversight.rl.agent import require_trainable
from oversight.rl.config import require_device
from oversight.rl.study import find_study
from oversight.rl.tuning import jobs_of, tune_study
from oversight.runs import cli
from oversight.runs.folder import require_file_place
from oversight.runs.parallel import EngineConfig

PROGRAM = "python -m oversight.tune"


@dataclass(frozen=True, kw_only=True)
class TuneConfig(EngineConfig):
    """Tune every method of a study with the budget that it declares, or resume its tuning."""

    study: Annotated[str, tyro.conf.Positional]
    """Name of a study: quick, published, worlds, or your own module:NAME, as in configs/rl.py."""
    env: str | None = None
    """Environment to run the study in, instead of its own, with the default settings there."""
    methods: tuple[str, ...] = ()
    """Methods of the study to tune; by default all."""
    folder: Path | None = None
    """Folder of the tuning; by default studies/STUDY-tuning."""
    save: Path | None = None
    """JSON file of the result; by default tuned.json in the folder. A study may declare it as its
    `tuned` file."""

    def __post_init__(self) -> None:
        """Refuse an engine or a file that cannot be used, before anything is written."""
        super().__post_init__()
        require_file_place(self.save, "--save")


def main(args: Sequence[str]) -> int:
    """Tune as the arguments say; return 1 if a method could not be tuned."""
    settings = cli.parse(TuneConfig, args, PROGRAM)
    study = find_study(settings.study, STUDIES, settings.env)
    require_device(study.settings.device)
    for job in jobs_of(study, settings.methods, Path()):
        require_trainable(replace(study.settings, method=job.method))
    folder = settings.folder or Path("studies") / f"{study.name}-tuning"
    path = settings.save or folder / "tuned.json"
    failed = tune_study(study, settings.methods, folder, path, settings.execute)
    Console().out(f"found:  {path}", highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
