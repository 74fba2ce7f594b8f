"""`python -m oversight.split`: train codes that gradient routing splits, and certify the split."""

from collections.abc import Sequence
from dataclasses import dataclass

from configs.split import PRESETS, TABLE2, preset_for
from oversight.representations.config import MAY_CHANGE, Data, StudyConfig, Task
from oversight.runs import cli
from oversight.runs.folder import create, require_new, write_config
from oversight.runs.parallel import locked

PROGRAM = "python -m oversight.split"


@dataclass(frozen=True, kw_only=True, slots=True)
class _First:
    """The flags on which the default settings depend."""

    data: Data = "digits"
    task: Task = "reconstruct"


def main(args: Sequence[str]) -> int:
    """Train and compare as the arguments say; return 1 if a run failed."""
    first = cli.parse_part(_First, args)
    start = preset_for(first.data, first.task)
    study, folder = cli.parse_or_resume(StudyConfig, args, PRESETS, PROGRAM, MAY_CHANGE, start)
    # after parsing, since --help does without what follows, which is slow to import
    from oversight.representations.study import (  # noqa: PLC0415
        default_folder,
        require_loadable,
        run_study,
    )

    require_loadable(study, TABLE2)
    is_new = folder is None
    if folder is None:
        folder = create(study.run_dir or default_folder(study))
    with locked(folder.path):
        if is_new:
            require_new(folder)  # another process may have begun a study there since
        write_config(folder, study)
        failed = run_study(study, TABLE2, folder)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
