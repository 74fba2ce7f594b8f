"""Training of agents by every method and option, and evaluation, sweeps and reports of runs.

As a program, `python -m tests.equality.rl` prints the digests of agents that are trained without a
command line, on environments of Gymnasium, as JSON; a case starts it in the checkout under test.
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from PIL import Image

from agents import RoutedPPO
from envs.wrappers import vector
from tests.equality.hashing import (
    Case,
    Digests,
    array_digest,
    file_tensors,
    leaves,
    numbers,
    read_json,
    read_scalars,
    tensor_digests,
)
from tests.equality.names import renamed
from tests.equality.processes import kill_at_checkpoint, run_driver, run_module
from tests.equality.wrappers import guess

OBSERVED = (
    *("appraised", "appraised-unrouted", "routed", "unmixed", "placebo", "unrouted", "naive"),
    *("uds", "imputed", "imputed-local", "pessimistic", "filtered", "filtered-coin", "ipw"),
)
REWARDS = {
    **dict.fromkeys(OBSERVED, "observed"),
    **dict.fromkeys(("paper", "signed", "motivated"), "proxy"),
    **dict.fromkeys(("oracle-sampled", "oracle"), "true"),
}
"""From every method to the reward that its environment pays."""
CLOCK = "second|wall"
"""Matches the paths of numbers that depend on the clock."""
CAPTION = 34
"""Pixels at the top of a picture in which the names of modules stand."""
BOARDS = 372
"""Pixels from the top to the end of the boards, below which later versions explain the arrows."""
ROLLOUT = 16 * 16
SMALL: tuple[object, ...] = (
    *("--config", "smoke", "--device", "cpu", "--threads", 1, "--oversight-probability", 0.5),
    *("--num-envs", 16, "--ppo.n-steps", 16, "--ppo.batch-size", 128, "--held-out", 0.8),
    *("--eval-every", 1, "--eval-episodes", 16, "--final-episodes", 64, "--checkpoint-every", 1),
)
SIX, TEN = (("--total-timesteps", number * ROLLOUT) for number in (6, 10))

OPTIONS: dict[str, tuple[object, ...]] = {
    "advantages of observed": ("--ppo.advantage-normalization", "observed"),
    "advantages by route": ("--ppo.advantage-normalization", "route"),
    "advantages as they are": ("--ppo.advantage-normalization", "none"),
    "clipping by target": ("--ppo.gradient-clipping", "target"),
    "bootstrap observed": ("--ppo.bootstrap", "observed"),
    "bootstrap never": ("--ppo.bootstrap", "never", "--ppo.timeouts", "hidden"),
    "noise": ("--noise.flips", 0.2, "--noise.missed", 0.3, "--noise.lost", 0.2),
    "noise, oracle": ("--method", "oracle", "--noise.flips", 0.3),
    "noise, ipw": ("--method", "ipw", "--noise.lost", 0.4),
    "noise, paper": ("--method", "paper", "--noise.missed", 0.4),
    "blind spot, appraised": ("--method", "appraised", "--noise.unseen-rows", 2),
    "blind modules": ("--ppo.blind", 3),
    "blind modules, appraised": ("--method", "appraised", "--ppo.blind", 3),
    "other place, imputed-local": ("--method", "imputed-local", "--ppo.place", 1),
    "hidden flag": ("--grid.flag", "hidden", "--grid.size", 4, "--grid.horizon", 12),
    "three epochs": ("--ppo.n-epochs", 3, "--ppo.no-anneal", "--seed", 5),
    "propensity, filtered-coin": ("--method", "filtered-coin", "--ppo.propensity", 0.2),
}
PRESETS: dict[str, tuple[object, ...]] = {
    "default": ("--total-timesteps", 2 * 64 * 256, "--eval-every", 1),
    "small": ("--config", "small", "--total-timesteps", 64 * 256),
    "paper": ("--config", "paper", "--total-timesteps", 2 * 32 * 128),
}


def cases() -> dict[str, Case]:
    """Return the cases of this part."""
    few = ("--device", "cpu", "--eval-episodes", 64, "--final-episodes", 64)
    runs: dict[str, tuple[object, ...]] = {
        **{f"method {name}": (*SMALL, *SIX, "--method", name) for name in REWARDS},
        **{f"option {name}": (*SMALL, *SIX, *args) for name, args in OPTIONS.items()},
        **{f"preset {name}": (*few, *args) for name, args in PRESETS.items()},
    }
    return {
        **{name: partial(train, args) for name, args in runs.items()},
        "killed and resumed": resume,
        "evaluated again": evaluate,
        "study": sweep,
        "report": report,
        "other environments": lambda _: run_driver("rl"),
    }


def train(args: tuple[object, ...], scratch: Path) -> Digests:
    """Train by the command line, and return the digests of the run's files."""
    run_module("oversight.train", *args, "--run-dir", scratch / "run")
    return run_digests(scratch / "run")


def run_digests(folder: Path) -> Digests:
    """Return the digests of a run's weights, optimizer, checkpoint, metrics, curves and picture.

    The state of the environment has its own digest, since it depends on the wrappers.
    """
    state = dict(leaves(torch.load(folder / "checkpoint.pt", weights_only=True)))
    environment = {
        path: leaf for path, leaf in state.items() if path.startswith("agent.environment")
    }
    learner = {path: leaf for path, leaf in state.items() if path not in environment}
    return {
        "models": file_tensors(folder, "*.zip"),
        "checkpoint": tensor_digests(learner),
        "counts in checkpoint": numbers(learner, CLOCK),
        "environment in checkpoint": tensor_digests(environment),
        "metrics": numbers(read_json(folder / "summary.json"), CLOCK),
        "curves": sorted(
            f"{step} {value!r}" for step, value in read_scalars(folder, "^(time|final)/")
        ),
        "pictures": sorted(
            array_digest(np.asarray(Image.open(path))[CAPTION:BOARDS])
            for path in folder.glob("*.png")
        ),
    }


def resume(scratch: Path) -> Digests:
    """Resume a run that was killed after a checkpoint, and compare it with one that was not."""
    args = (*SMALL, "--total-timesteps", 16 * ROLLOUT, "--method", "imputed")
    whole, killed = scratch / "whole", scratch / "killed"
    run_module("oversight.train", *args, "--run-dir", whole)
    killed.mkdir()
    kill_at_checkpoint(killed, "checkpoint.pt", "oversight.train", *args, "--run-dir", killed)
    run_module("oversight.train", "--resume", killed)
    resumed = run_digests(killed)
    return {**resumed, "equal to the uninterrupted": str(run_digests(whole) == resumed)}


def evaluate(scratch: Path) -> Digests:
    """Return the numbers of evaluations by the weights of each rule, which differ in this run."""
    run, unstable = scratch / "run", ("--ppo.learning-rate", 0.02, "--seed", 2)
    run_module("oversight.train", *SMALL, *unstable, *TEN, "--run-dir", run)
    printed: Digests = {}
    for rule in ("last", "observed", "leaky"):
        args = ("--weights", rule, "--episodes", 50, "--oversight-probability", 0.3)
        table = run_module("oversight.evaluate", run, *args)
        printed[rule] = measurements(table.replace(str(run), ""))
    return printed


def sweep(scratch: Path) -> Digests:
    """Sweep two runs of the quick study."""
    chosen = ("--methods", "routed", "naive", "--oversight-probabilities", "1.0", "--seeds", 0)
    folder = scratch / "study"
    run_module("oversight.sweep", "quick", *chosen, "--workers", 1, "--folder", folder)
    return {
        "results": numbers(read_json(folder / "results.json"), CLOCK),
        "models": file_tensors(folder, "*.zip"),
    }


def report(scratch: Path) -> Digests:
    """Report the published results, and return the numbers of the page and of its tables."""
    printed = run_module("oversight.report", "configs/results/published", "--out", scratch)
    page = (scratch / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"(?s)<(svg|style|script)\b.*?</\1>|<[^>]*>", " ", page)
    tables = [path.read_text(encoding="utf-8") for path in scratch.rglob("*.csv")]
    return {
        "verdict": measurements(printed.replace(str(scratch), "")),
        "page": measurements(text),
        "tables": measurements("\n".join(tables)),
    }


def measurements(text: str) -> list[str]:
    """Return all measurements in a text, sorted: numbers with a sign, decimals or a percentage."""
    words = re.findall(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?%?(?![\w])", text)
    return sorted(number for number in words if re.search(r"[+\-.%]", number))


def main() -> None:
    """Train each method on CartPole-v1, and some on other environments; print the digests."""
    modes = {f"routed, {mode.name}": {"mode": mode} for mode in AutoresetMode}
    pendulum, lake = {"env": "Pendulum-v1"}, {"env": "FrozenLake-v1"}
    agents: dict[str, tuple[str, dict[str, Any]]] = {
        **{name: (name, {}) for name in REWARDS},
        **{name: ("routed", options) for name, options in modes.items()},
        "hidden timeouts": ("routed", {"timeouts": "hidden"}),
        "no bootstrap": ("routed", {"bootstrap": "never"}),
        "observed bootstrap": ("naive", {**pendulum, "bootstrap": "observed"}),
        "continuous actions": ("routed", pendulum),
        "continuous actions, appraised": ("appraised", pendulum),
        "numbered observations": ("routed", lake),
    }
    print(json.dumps({name: agent_digests(*agent) for name, agent in agents.items()}))


def agent_digests(method: str, options: dict[str, Any]) -> Digests:
    """Train an agent; return the digests of its weights, optimizer and last rollout."""
    agent = trained_agent(method, **options)
    arrays = ("observations", "actions", "rewards", "values", "log_probs", "advantages", "returns")
    return {
        "weights": tensor_digests(agent.policy.state_dict()),
        "optimizer": tensor_digests(agent.policy.optimizer.state_dict()),
        "rollout": [array_digest(getattr(agent.rollout_buffer, name)) for name in arrays],
        "generator": array_digest(torch.get_rng_state()),
    }


def trained_agent(
    method: str,
    env: str = "CartPole-v1",
    mode: AutoresetMode = AutoresetMode.SAME_STEP,
    **options: Any,  # noqa: ANN401
) -> RoutedPPO:
    """Return an agent that was trained for four rollouts of 4 lanes of 32 steps."""
    lanes: Any = SyncVectorEnv([lambda: gym.make(env)] * 4, autoreset_mode=mode)
    reward: Any = REWARDS[method]
    if reward != "true":
        proxy = None if env == "Pendulum-v1" or reward == "observed" else guess
        lanes = vector.PartialOversight(lanes, observed_probability=0.5, reward=reward, proxy=proxy)
    settings: dict[str, Any] = {
        **{"n_steps": 32, "batch_size": 64, "n_epochs": 2, "learning_rate": 3e-3, "seed": 0},
        **{"ent_coef": 0.01, "device": "cpu", "propensity": 0.5, **options},
        "policy_kwargs": {"hidden_sizes": (8, 8)},
    }
    return RoutedPPO("MotivationPolicy", lanes, renamed(method), **settings).learn(4 * 128)


if __name__ == "__main__":
    main()
