"""Small training runs in this process and in others, and comparisons of their results."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from agents import METHODS, Method
from agents.checkpoint import read_model_weights, read_state
from oversight import evaluate, train
from oversight.runs import cli
from oversight.runs.folder import RunFolder

ROLLOUT = 16 * 16
TINY = (
    *("--config", "smoke", "--threads", "1", "--device", "cpu"),
    *("--num-envs", "16", "--ppo.n-steps", "16", "--ppo.batch-size", "128"),
    *("--eval-episodes", "8", "--final-episodes", "16", "--grid.horizon", "16"),
)
"""Flags of a run whose rollout takes milliseconds; it checkpoints after each."""
MAZE = (
    *("--env", "CornerMaze-v0", "--threads", "1", "--device", "cpu", "--num-envs", "16"),
    *("--ppo.n-steps", "16", "--ppo.batch-size", "128", "--checkpoint-every", "1"),
    *("--eval-episodes", "8", "--final-episodes", "16"),
)
"""The same in a grid world."""


def rollouts(number: int) -> tuple[str, str]:
    """Return the flag for a run of a number of rollouts."""
    return "--total-timesteps", str(number * ROLLOUT)


def run_train(*args: object) -> int:
    """Train in this process; return the exit code."""
    return cli.run(train.main, [str(arg) for arg in args])


def train_method(folder: Path, method: str) -> Path:
    """Train a method for two rollouts, half of whose squares are overseen; return the folder."""
    flags = ("--method", method, "--oversight-probability", "0.5", "--eval-every", "1")
    assert run_train(*TINY, *rollouts(2), *flags, "--run-dir", folder) == 0
    return folder


def run_evaluate(*args: object) -> int:
    """Evaluate in this process; return the exit code."""
    return cli.run(evaluate.main, [str(arg) for arg in args])


def start(*args: object) -> subprocess.Popen[str]:
    """Start training in another process, whose output is captured."""
    return subprocess.Popen(
        [sys.executable, "-m", "oversight.train", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def summary(folder: Path) -> dict[str, Any]:
    """Return a run's results, read as strict JSON, which has no NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = RunFolder(folder).summary.read_text()
    results: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return results


def outcome(folder: Path) -> dict[str, Any]:
    """Return the weights of a run's model and the state of its agent in the checkpoint."""
    run = RunFolder(folder)
    return {"model": read_model_weights(run.model), "state": read_state(run.checkpoint)["agent"]}


def method_of(folder: Path) -> Method:
    """Return the method of a run."""
    return METHODS[json.loads(RunFolder(folder).config.read_text())["method"]]


def evaluated_policies(folder: Path) -> set[str]:
    """Return the names of the policies that a run evaluates."""
    method = method_of(folder)
    maps = method.network.score_maps
    others = {
        "mixture": len(method.modules) == 2,
        "reversed": method.network.has_reward_map or bool(maps),
    }
    return {"deployed", *method.motivations, *(name for name, exists in others.items() if exists)}


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in files(folder)}


def files(folder: Path) -> list[Path]:
    """Return the files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def difference(one: Any, other: Any, where: str = "") -> str | None:  # noqa: ANN401
    """Return where two nested values first differ, to the bit, or None."""
    if type(one) is not type(other):
        return f"{where}: {type(one)} and {type(other)}"
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
        return None if same else where
    if isinstance(one, dict):
        if list(one) != list(other):
            return f"{where}: {list(one)} and {list(other)}"
        pairs = [(f"{where}/{name}", one[name], other[name]) for name in one]
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            return f"{where}: lengths {len(one)} and {len(other)}"
        pairs = [(f"{where}/{i}", *pair) for i, pair in enumerate(zip(one, other, strict=True))]
    else:
        return None if one == other else where
    return next(filter(None, (difference(a, b, path) for path, a, b in pairs)), None)
