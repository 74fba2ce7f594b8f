"""`python -m oversight.train`: train one run and print its results."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from configs.rl import PRESETS
from oversight.rl.agent import require_trainable, task_of
from oversight.rl.config import (
    TrainConfig,
    presets_for,
    require_device,
    require_effect,
    require_memory,
    run_name,
)
from oversight.rl.evaluation import results_table
from oversight.rl.result_files import LOGS
from oversight.rl.training import train
from oversight.runs import cli
from oversight.runs.folder import RunFolder, create, interpreter, next_free, require_new
from oversight.runs.parallel import locked

PROGRAM = "python -m oversight.train"
MAY_CHANGE = {
    *("total_timesteps", "device", "threads", "run_dir", "checkpoint_every"),
    *("eval_every", "eval_episodes", "final_episodes", "audit", "audit_every"),
}
"""Settings that a resumed run may change."""


def main(args: Sequence[str]) -> int:
    """Train as the arguments say, print the results, and return 130 if it was interrupted."""
    presets = presets_for(list(args), PRESETS)
    config, folder = cli.parse_or_resume(TrainConfig, args, presets, PROGRAM, MAY_CHANGE)
    require_device(config.device)
    if folder is None:
        require_effect(config)
    require_trainable(config)
    require_memory(config, task_of(config).observation_size)
    is_new = folder is None
    if folder is None:
        folder = create(config.run_dir or default_folder(config))
    with locked(folder.path):
        if is_new:
            require_new(folder)  # another process may have begun a run there since
        summary = train(config, folder, Console(stderr=True))
    report(summary, config, folder)
    return cli.INTERRUPTED if summary["interrupted"] else 0


def default_folder(config: TrainConfig) -> Path:
    """Return a new folder, named after the environment and the run."""
    return next_free(Path("runs") / config.env.rpartition(":")[2] / run_name(config))


def report(summary: dict[str, Any], config: TrainConfig, folder: RunFolder) -> None:
    """Print the results, and commands for the next steps."""
    console = Console()
    title = (
        f"{summary['method']}, {summary['env_steps']:,} steps in {summary['wall_seconds']:.0f} s"
    )
    console.print(results_table(title, summary["eval"], task_of(config)))
    path, python = shlex.quote(str(folder.path)), interpreter()
    next_steps = {
        **(
            {"interrupted; resume": f"{python} -m oversight.train --resume {path}"}
            if summary["interrupted"]
            else {}
        ),
        "curves": f"{python} -m tensorboard.main --logdir {shlex.quote(str(folder.path / LOGS))}",
        "a film": f"{python} -m oversight.evaluate {path} --render film.gif",
    }
    for what, command in next_steps.items():
        console.out(f"{what}:  {command}", highlight=False)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
