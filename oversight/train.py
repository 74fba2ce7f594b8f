"""`python -m oversight.train`: one run, from its settings to its numbers."""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console

from agents import RoutedPPO, method
from agents.checkpoint import read_state, restore, save_model
from configs.rl import PRESETS
from oversight import cli
from oversight.build import make_agent, require_device
from oversight.callbacks import Checkpoints, Evaluations, Progress, RouteCurves
from oversight.config import TrainConfig
from oversight.evaluation import evaluate_all, policies
from oversight.pictures import module_map
from oversight.record import write_json
from oversight.run import (
    RunFolder,
    commit,
    create,
    interpreter,
    next_free,
    read_config,
    write_config,
)
from oversight.table import results_table
from oversight.tensorboard import make_logger, open_writer

PROGRAM = "python -m oversight.train"
MAY_CHANGE = {
    *("total_timesteps", "device", "threads", "run_dir", "checkpoint_every"),
    *("eval_every", "eval_episodes", "final_episodes"),
}
"""Settings that a resumed run may change; any other would make it another run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The part of the settings that says where a run lies."""

    run_dir: Path | None = None


def main(args: Sequence[str]) -> None:
    """Train as the arguments say, and report."""
    config, folder = settle(args)
    torch.set_num_threads(config.threads)
    agent = make_agent(config)
    before = resume(agent, folder)
    write_config(folder, replace(config, run_dir=None))
    console = Console(stderr=True)
    start = f"{config.method} on {config.env}, run folder {folder.path}"
    console.print(start, highlight=False, markup=False, soft_wrap=True)
    seconds, interrupted = learn(agent, config, folder, before, console)
    report(agent, config, folder, seconds, interrupted)


def settle(args: Sequence[str]) -> tuple[TrainConfig, RunFolder]:
    """Return the settings of a new run or of the one to go on with, and its folder."""
    launch = cli.parse_part(cli.Launch, args)
    if launch.resume is not None:
        return settle_resumed(launch, args)
    base = cli.preset(PRESETS, launch.config or "default")
    config = cli.parse(TrainConfig, base, args, PRESETS, PROGRAM)
    require_device(config.device)
    return config, create(config.run_dir or default_folder(config))


def settle_resumed(launch: cli.Launch, args: Sequence[str]) -> tuple[TrainConfig, RunFolder]:
    """Return the settings of the run to go on with, and its folder."""
    if launch.config is not None:
        raise ValueError("--resume takes the settings of the run: leave --config out")
    beside = cli.parse_part(Place, args).run_dir
    paths = {*(launch.resume or ()), *([] if beside is None else [beside])}
    if len(paths) != 1:
        given = ", ".join(sorted(map(str, paths))) or "none"
        raise ValueError(
            f"--resume needs one run folder, got {given}: --resume FOLDER, or beside --run-dir"
        )
    folder = RunFolder(paths.pop())
    stored = read_config(folder, TrainConfig)
    config = cli.parse(TrainConfig, stored, args, PRESETS, PROGRAM)
    refuse_changes(asdict(stored), asdict(config))
    require_device(config.device)
    return config, folder


def default_folder(config: TrainConfig) -> Path:
    """Return the next free folder named after what a run is about."""
    name = f"{config.method}-p{config.oversight_probability:g}-seed{config.seed}"
    return next_free(Path("runs") / config.env / name)


def refuse_changes(stored: dict[str, Any], given: dict[str, Any], prefix: str = "") -> None:
    """Raise a ValueError for a setting that would make a resumed run another one."""
    for name, old in stored.items():
        new = given[name]
        if isinstance(old, dict):
            refuse_changes(old, new, f"{prefix}{name}.")
        elif old != new and name not in MAY_CHANGE:
            raise ValueError(
                f"the run has {prefix}{name} {old!r}, {new!r} was given: leave the flag out to go "
                "on, or start a new run without --resume"
            )


def resume(agent: RoutedPPO, folder: RunFolder) -> float:
    """Put the agent where the run's checkpoint was written; return the seconds trained before."""
    if not folder.checkpoint.exists():
        return 0.0
    state = read_state(folder.checkpoint)
    if "agent" not in state or not isinstance(state.get("seconds"), float):
        raise ValueError(f"{folder.checkpoint} is not a checkpoint of a training run")
    restore(agent, state["agent"])
    return float(state["seconds"])


def learn(
    agent: RoutedPPO, config: TrainConfig, folder: RunFolder, before: float, console: Console
) -> tuple[float, bool]:
    """Train to the end, or to an interrupt; return the seconds trained and whether it was one."""
    clock = stopwatch(before)
    modules = agent.method.modules
    writer = open_writer(folder.path, config, modules, agent.num_timesteps)
    agent.set_logger(make_logger(writer))
    evaluations = Evaluations(config, writer)
    checkpoints = Checkpoints(folder.checkpoint, config.checkpoint_every, clock)
    progress = Progress(config.total_timesteps, evaluations, console)
    interrupted = False
    try:
        agent.learn(
            config.total_timesteps - agent.num_timesteps,
            [evaluations, checkpoints, RouteCurves(), progress],
            reset_num_timesteps=False,
        )
        checkpoints.write()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        progress.stop()
        checkpoints.restore_signals()
    return clock(), interrupted


def stopwatch(before: float) -> Callable[[], float]:
    """Return a clock that starts now at `before` seconds."""
    start = time.monotonic() - before
    return lambda: time.monotonic() - start


def report(
    agent: RoutedPPO, config: TrainConfig, folder: RunFolder, seconds: float, interrupted: bool
) -> None:
    """Save the policy, measure it, and write and print the results."""
    save_model(agent, folder.model)
    named = policies(agent.policy, method(config.method).deployed)  # type: ignore[arg-type]
    results = evaluate_all(named, config, config.final_episodes, config.seed)
    picture = module_map({n: p for n, p in named.items() if n != "deployed"}, config.grid)
    Image.fromarray(picture).save(folder.module_map)
    write_json(
        folder.summary,
        {
            "env": config.env,
            "method": config.method,
            "seed": config.seed,
            "oversight_probability": config.oversight_probability,
            "env_steps": agent.num_timesteps,
            "wall_seconds": seconds,
            "env_steps_per_second": agent.num_timesteps / seconds,
            "interrupted": interrupted,
            "commit": commit(),
            "eval": results,
        },
    )
    agent.logger.close()
    console = Console()
    title = f"{config.method}, {agent.num_timesteps:,} steps in {seconds:.0f} s"
    console.print(results_table(title, results))
    path, python = shlex.quote(str(folder.path)), interpreter()
    next_steps = {
        **(
            {"interrupted; go on": f"{python} -m oversight.train --resume {path}"}
            if interrupted
            else {}
        ),
        "curves": f"{python} -m tensorboard.main --logdir {path}",
        "a film": f"{python} -m oversight.evaluate {path} --render film.gif",
    }
    for what, command in next_steps.items():
        console.print(f"{what}:  {command}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
