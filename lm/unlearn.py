"""`python -m lm.unlearn`: train models that unlearn by several methods, attack and compare them.

As a function, `from lm import unlearn; unlearn(model, tokenizer, forget=..., retain=...)`, the
module is `lm.api.unlearn`. It is imported by the first call, since the command does without it.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from configs.lm import DOCUMENT_TOKENS, PRESETS
from lm.config import MAY_CHANGE, StudyConfig
from lm.methods import follow_training
from lm.training.distributed import joined
from oversight.runs import cli
from oversight.runs.folder import write_config
from oversight.runs.parallel import locked

if TYPE_CHECKING:
    from lm.api import Unlearned

PROGRAM = "python -m lm.unlearn"


@dataclass(frozen=True, kw_only=True, slots=True)
class _First:
    """The flags that are read before all others."""

    model: str | None = None
    size: str | None = None
    data: Path | None = None
    forget: tuple[Path, ...] = ()
    method: tuple[str, ...] = ()
    sweep: str | None = None
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
    preset = launch.config or _preset(first, resumed=launch.resume is not None)
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

    if folder is None:
        _require_texts(study, preset, dry_run=first.dry_run)
    if first.dry_run:
        Console().print(estimate(study, DOCUMENT_TOKENS.get(preset)))
        stop_workers()
        return 0
    study, folder = prepare_study(study, folder)
    with locked(folder.path):
        write_config(folder, study)
        failed = run_study(study, folder)
    stop_workers()
    return 1 if failed else 0


def _preset(first: _First, *, resumed: bool) -> str:
    """Return the preset that a new study starts from by default.

    Raises:
        ValueError: if a pretrained model is given, and nothing for it to forget.
    """
    if first.forget:
        return "known" if follow_training(first.method) else "texts"
    if first.model is None or resumed:
        return "tax" if first.sweep == "tax" else "default"
    if first.data is None:
        raise ValueError(
            f"--model {first.model} was given without texts: name files of those to forget and to "
            "retain by --forget and --retain, or prepared documents by --data; --config pretrained "
            "teaches the model made-up stories instead, and removes those of one topic"
        )
    return "pretrained"


def _require_texts(study: StudyConfig, preset: str, *, dry_run: bool) -> None:
    """Raise a ValueError if a preset for texts has none, or a study has two kinds of them."""
    run = study.run
    if run.data is not None and run.texts.forget:
        raise ValueError(
            f"--data {run.data} and --forget {run.texts.forget[0]} were given: leave one of the "
            "two out"
        )
    if run.data is not None or run.texts.forget:
        return
    if preset in DOCUMENT_TOKENS and not dry_run:
        raise ValueError(
            f"{preset} is for documents: prepare some, of {DOCUMENT_TOKENS[preset]} tokens a row, "
            "and name their folder by --data; --dry-run estimates the training without them"
        )
    if preset in ("texts", "known"):
        raise ValueError(
            f"{preset} is for your own texts: name files of those to forget and to retain by "
            "--forget and --retain"
        )


class _Callable(ModuleType):
    """A module that is called as the function `lm.api.unlearn`, whose name it has in the package.

    The import system binds a submodule to its name in the package whenever it is imported, so that
    a function of that name would be lost.
    """

    def __call__(self, *args: Any, **settings: Any) -> "Unlearned":  # noqa: ANN401
        """Return `lm.api.unlearn` of the arguments."""
        from lm.api import unlearn  # noqa: PLC0415 (slow to import)

        return unlearn(*args, **settings)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    raise SystemExit(cli.run(main))
