"""`python -m lm.steer`: route a concept to one dimension of a language model, and steer by it."""

from collections.abc import Sequence

from configs.lm import STEERING_PRESETS
from lm.steering.config import MAY_CHANGE, StudyConfig
from oversight.runs import cli
from oversight.runs.folder import write_config
from oversight.runs.parallel import locked

PROGRAM = "python -m lm.steer"


def main(args: Sequence[str]) -> int:
    """Execute or resume a study of steering; return 1 if a run failed."""
    study, folder = cli.parse_or_resume(StudyConfig, args, STEERING_PRESETS, PROGRAM, MAY_CHANGE)
    # after parsing, since --help does without what follows, which is slow to import
    from lm.steering.study import prepare_study, run_study  # noqa: PLC0415

    folder = prepare_study(study, folder)
    with locked(folder.path):
        write_config(folder, study)
        failed = run_study(study, folder)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
