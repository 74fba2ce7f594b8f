"""`python -m lm.unlearn`: train models that unlearn by several methods, attack and compare them."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from configs.lm import DOCUMENT_TOKENS, PRESETS
from lm.config import StudyConfig
from lm.training.distributed import ScaleConfig, joined
from oversight.runs import cli
from oversight.runs.folder import write_config
from oversight.runs.parallel import locked

PROGRAM = "python -m lm.unlearn"
MAY_CHANGE = {"method", "seeds", "recalls", "attack", "workers", "run_dir", *ScaleConfig.__slots__}
"""Settings that a resumed study may change: its runs, their attacks, and how they are spread over
processes, but nothing that determines a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _First:
    """The flags that are read before all others."""

    model: str | None = None
    size: str | None = None
    dry_run: bool = False


def main(args: Sequence[str]) -> int:
    """Unlearn as the arguments say; return 1 if a run failed."""
    with joined() as here:
        if here.rank == 0:
            return start(args)
        from lm.study import run_as_worker  # noqa: PLC0415 (slow to import)

        run_as_worker()
        return 0


def start(args: Sequence[str]) -> int:
    """Execute a study, or print its estimate; return 1 if a run failed."""
    first, launch = cli.parse_part(_First, args), cli.parse_part(cli.Launch, args)
    preset = launch.config or ("default" if first.model is None else "pretrained")
    if first.model is not None and first.size is not None:
        raise ValueError(
            f"--size {first.size} and --model {first.model} were given: sizes are of new models, "
            "so leave one of the two out"
        )
    if first.dry_run and launch.resume is not None:
        raise ValueError(
            "--dry-run and --resume were given: estimates are made of new studies, so leave one "
            "of the two out"
        )
    study, folder = cli.parse_or_resume(StudyConfig, args, PRESETS, PROGRAM, MAY_CHANGE, preset)
    # after parsing, since --help does without what follows, which is slow to import
    from lm.dry_run import estimate  # noqa: PLC0415
    from lm.study import prepare_study, run_study, stop_workers  # noqa: PLC0415

    if first.dry_run:
        Console().print(estimate(study, DOCUMENT_TOKENS.get(preset)))
        stop_workers()
        return 0
    if folder is None and preset in DOCUMENT_TOKENS and study.run.data is None:
        raise ValueError(
            f"{preset} is for documents: prepare some, of {DOCUMENT_TOKENS[preset]} tokens a row, "
            "and name their folder by --data; --dry-run estimates the training without them"
        )
    study, folder = prepare_study(study, folder)
    with locked(folder.path):
        write_config(folder, study)
        failed = run_study(study, folder)
    stop_workers()
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
