"""A study of runs that take a fraction of a second, and its sweeps in this process and others.

As a program, `python -m tests.oversight.studies ARGS` is `python -m oversight.sweep ARGS` with that
study among those it knows.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import configs.rl
from agents.config import PPOConfig
from oversight import sweep, tune
from oversight.rl.config import TrainConfig
from oversight.rl.study import Panel, Study, Tuning
from oversight.runs import cli
from tests.oversight.rl.trained_runs import ROLLOUT

TINY = TrainConfig(
    device="cpu",
    num_envs=16,
    total_timesteps=4 * ROLLOUT,
    eval_every=1,
    eval_episodes=8,
    final_episodes=16,
    checkpoint_every=1,
    held_out=0.8,
    ppo=PPOConfig(hidden_sizes=(16, 16), n_steps=16, batch_size=128),
)
PANEL = Panel(methods=("routed", "naive"), oversight_probabilities=(0.5,), seeds=(0, 1))
TUNING = Tuning(
    trials=3, seeds=(7, 8), oversight_probability=1.0, space={"ppo.learning_rate": (1e-4, 1e-1)}
)
IDS = ["routed-p0.5-seed0", "routed-p0.5-seed1", "naive-p0.5-seed0", "naive-p0.5-seed1"]


def tiny() -> Study:
    """Four runs of four rollouts."""
    return Study(name="tiny", settings=TINY, panels=(PANEL,), tuning=TUNING)


def longer() -> Study:
    """Four runs of thirty rollouts, long enough to be killed."""
    return replace(tiny(), name="longer", settings=replace(TINY, total_timesteps=30 * ROLLOUT))


configs.rl.STUDIES.update(tiny=tiny, longer=longer)


def run_sweep(*args: object) -> int:
    """Sweep in this process; return the exit code."""
    return cli.run(sweep.main, [str(arg) for arg in args])


def run_tune(*args: object) -> int:
    """Tune in this process; return the exit code."""
    return cli.run(tune.main, [str(arg) for arg in args])


def start_sweep(*args: object) -> subprocess.Popen[str]:
    """Start a sweep in a session of its own, its output captured."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.oversight.studies", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def results(folder: Path) -> dict[str, Any]:
    """Return what a sweep wrote."""
    read: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return read


if __name__ == "__main__":
    raise SystemExit(cli.run(sweep.main))
