"""Studies of runs that take a fraction of a second, and their sweeps.

As a program, `python -m tests.oversight.rl.tiny_studies ARGS` is `python -m oversight.sweep ARGS`
with these studies registered.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import configs.rl
from oversight import sweep, tune
from oversight.rl.config import TrainConfig
from oversight.rl.study import Study, declare
from oversight.runs import cli
from oversight.runs.cli import override
from tests.oversight.rl.trained_runs import ROLLOUT

SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "num_envs": 16,
    "total_timesteps": 4 * ROLLOUT,
    "eval_every": 1,
    "eval_episodes": 8,
    "final_episodes": 16,
    "checkpoint_every": 1,
    "held_out": 0.8,
    "grid.horizon": 16,
    "ppo.hidden_sizes": (16, 16),
    "ppo.n_steps": 16,
    "ppo.batch_size": 128,
}
TINY = override(TrainConfig(), SETTINGS)
PANEL = {"methods": ("routed", "naive"), "oversight_probabilities": (0.5,), "seeds": (0, 1)}
TUNING: dict[str, Any] = {
    "trials": 3,
    "seeds": (7, 8),
    "oversight_probability": 1.0,
    "space": {"ppo.learning_rate": (1e-4, 1e-1)},
}
IDS = ["routed-p0.5-seed0", "routed-p0.5-seed1", "naive-p0.5-seed0", "naive-p0.5-seed1"]

DECLARATION: dict[str, Any] = {"settings": SETTINGS, "panels": [PANEL], "tuning": TUNING}
"""Four runs of four rollouts."""
LONGER = {**DECLARATION, "settings": {**SETTINGS, "total_timesteps": 30 * ROLLOUT}}
"""Four runs of thirty rollouts, long enough to be killed."""

WORLDS: dict[str, Any] = {
    "settings": {
        **{name: value for name, value in SETTINGS.items() if not name.startswith("grid.")},
        "eval_every": 2,
        "ppo.n_epochs": 1,
    },
    "panels": [
        {
            "methods": ("score-maps", "naive"),
            "oversight_probabilities": (0.5,),
            "seeds": (10,),
            "variation": world,
            "settings": {"env": env},
        }
        for world, env in (
            ("corner_maze", "CornerMaze-v0"),
            ("absent_supervisor", "AbsentSupervisor-v0"),
        )
    ],
}
"""Four runs of four rollouts, in two grid worlds."""

configs.rl.STUDIES.update(
    tiny=("Four runs of four rollouts.", DECLARATION),
    tiny_worlds=("Four runs of four rollouts, in two grid worlds.", WORLDS),
    longer=("Four runs of thirty rollouts.", LONGER),
)


def tiny() -> Study:
    """Return the study of four runs of four rollouts."""
    return declare("tiny", DECLARATION)


def longer() -> Study:
    """Return the study of four runs of thirty rollouts."""
    return declare("longer", LONGER)


def run_sweep(*args: object) -> int:
    """Sweep in this process; return the exit code."""
    return cli.run(sweep.main, [str(arg) for arg in args])


def run_tune(*args: object) -> int:
    """Tune in this process; return the exit code."""
    return cli.run(tune.main, [str(arg) for arg in args])


def start_sweep(*args: object) -> subprocess.Popen[str]:
    """Start a sweep in a new session, whose output is captured."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.oversight.rl.tiny_studies", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def results(folder: Path) -> dict[str, Any]:
    """Return the results that a sweep wrote."""
    read: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return read


if __name__ == "__main__":
    raise SystemExit(cli.run(sweep.main))
