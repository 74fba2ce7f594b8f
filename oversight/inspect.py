"""`python -m oversight.inspect RUN`: a map of what each module of a run learned."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
import tyro
from rich.console import Console

from oversight.rl.own_methods import recorded_method
from oversight.rl.result_files import Rule
from oversight.runs import cli
from oversight.runs.folder import RunFolder, read_json
from oversight.runs.settings import COUNT, SEED, THREADS, require_number

if TYPE_CHECKING:
    from oversight.inspection.content import Inspection

PROGRAM = "python -m oversight.inspect"
PACKAGES = ("jinja2", "matplotlib")


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectConfig:
    """Show what each module of a run learned: its ablation, its gradients, and what it does.

    Writes the folder `inspect` into that of the run: a page, the map as a figure, and all numbers.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run of oversight.train, of a study of lm.unlearn, or of one run of that study."""
    weights: Rule = "last"
    """Weights of a run of oversight.train: those at the end of training (last), those that did best
    on held-out observed episodes (observed), or those of the best true return
    (oracle_selection)."""
    episodes: int = 1024
    """Episodes of each evaluation of a run of oversight.train."""
    method: str | None = None
    """Method of a study of lm.unlearn; by default the first one whose trained model has modules."""
    study_seed: int | None = None
    """Seed of a run of a study of lm.unlearn; by default the first one."""
    texts: int = 64
    """Held-out texts of each section of a run of lm.unlearn that are read."""
    examples: int = 4
    """Texts that are shown of each module of a run of lm.unlearn."""
    seed: int = 1_000_000
    """Seed of levels and actions in a run of oversight.train."""
    threads: int = 1
    """CPU threads of PyTorch."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot run, before anything is loaded."""
        for name in ("episodes", "texts", "examples"):
            require_number(name, getattr(self, name), COUNT)
        require_number("threads", self.threads, THREADS)
        require_number("seed", self.seed, SEED)


def main(args: Sequence[str]) -> None:
    """Inspect as the arguments say, print what was found, and write the page."""
    settings = cli.parse(InspectConfig, args, PROGRAM)
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"an inspection needs {', '.join(missing)}: pip install 'oversight-testbed[report]'"
        )
    from oversight.inspection.page import show, write  # noqa: PLC0415 (the extra)

    torch.set_num_threads(settings.threads)
    with Console(stderr=True).status("inspecting"):
        run, inspection = inspect(settings)
        page = write(inspection, run)
    console = Console()
    show(inspection, console)
    console.out(f"page:  {page}", highlight=False)


def inspect(settings: InspectConfig) -> tuple[Path, "Inspection"]:
    """Return the folder of a run, and its inspection.

    Raises:
        ValueError: if the folder holds no run that can be inspected.
    """
    kind = kind_of(settings.run)
    if kind == "rl":
        from oversight.rl import inspection as rl  # noqa: PLC0415 (the extra)

        with recorded_method(RunFolder(settings.run)):
            chosen = rl.RLInspection(
                run=settings.run,
                weights=settings.weights,
                episodes=settings.episodes,
                seed=settings.seed,
            )
            return settings.run, rl.inspect_run(chosen)
    from lm import inspection as lm  # noqa: PLC0415 (slow to import)

    run = lm.choose_run(settings.run, settings.method, settings.study_seed)
    return run, lm.inspect_run(lm.LMInspection(run, settings.texts, settings.examples))


def kind_of(run: Path) -> str:
    """Return whether a folder is that of a run of `oversight.train`, `rl`, or of `lm.unlearn`.

    Raises:
        ValueError: if it is neither.
    """
    if (run / "stages.json").exists():
        return "lm"
    if not run.is_dir():
        raise ValueError(f"{run} is no folder: name that of a run")
    settings = read_json(RunFolder(run).config) if RunFolder(run).config.exists() else {}
    if "env" in settings and "ppo" in settings:
        return "rl"
    if "run" in settings and "method" in settings:
        return "lm"
    raise ValueError(
        f"{run} is no run of oversight.train, and no study or run of lm.unlearn: name a folder "
        "that one of them has written"
    )


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
