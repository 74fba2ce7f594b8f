"""Runs of reinforcement learning: every method and option, one that is killed, and what reads runs.

As a program, `python -m tests.equality.rl` prints the digests of agents that are trained without a
command line, on environments of Gymnasium, as JSON; a case starts it in the checkout under test.
"""

import json
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.equality.hashing import (
    Case,
    Digests,
    array_digest,
    file_tensors,
    leaves,
    numbers,
    read_json,
    tensor_digests,
)
from tests.equality.names import keywords, load, renamed
from tests.equality.processes import driver, module, start
from tests.equality.wrappers import guess

REWARDS = {
    **dict.fromkeys(("appraised", "appraised-unrouted", "routed", "unmixed"), "observed"),
    **dict.fromkeys(("placebo", "unrouted", "naive", "uds", "imputed"), "observed"),
    **dict.fromkeys(("imputed-local", "pessimistic", "filtered", "filtered-coin"), "observed"),
    "ipw": "observed",
    **dict.fromkeys(("paper", "signed", "motivated"), "proxy"),
    **dict.fromkeys(("oracle-sampled", "oracle"), "true"),
}
"""Every method, and the reward that its environment pays."""

CAPTION = 34
"""Pixels at the top of a picture in which the names of modules stand."""
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


def cases() -> list[Case]:
    """Return the cases of this part."""
    few = ("--device", "cpu", "--eval-episodes", 64, "--final-episodes", 64)
    runs: dict[str, tuple[object, ...]] = {
        **{f"method {name}": (*SMALL, *SIX, "--method", name) for name in REWARDS},
        **{f"option {name}": (*SMALL, *SIX, *given) for name, given in OPTIONS.items()},
        **{f"preset {name}": (*few, *given) for name, given in PRESETS.items()},
    }
    return [
        *(Case(name, partial(train, given)) for name, given in runs.items()),
        Case("killed and resumed", killed),
        Case("evaluated again", evaluated),
        Case("study", study),
        Case("report", report),
        Case("other environments", lambda _: dict(json.loads(driver("rl")))),
    ]


def train(given: tuple[object, ...], scratch: Path) -> Digests:
    """Train by the command line, and return the digests of what the run left."""
    module("oversight.train", *given, "--run-dir", scratch / "run")
    return run_digests(scratch / "run")


def run_digests(folder: Path) -> Digests:
    """Return the digests of a run's weights, optimizer, checkpoint, metrics, curves and picture.

    The state of the environment is apart, since what is kept of it depends on its wrappers.
    """
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    inside = renamed("agent.environment")
    parts = dict(leaves(state))
    environment = {path: part for path, part in parts.items() if path.startswith(inside)}
    learner = {path: part for path, part in parts.items() if path not in environment}
    return {
        "models": file_tensors(folder, "*.zip"),
        "checkpoint": tensor_digests(learner),
        "counts in checkpoint": numbers(learner, timed),
        "environment in checkpoint": tensor_digests(environment),
        "metrics": numbers(read_json(folder / "summary.json"), timed),
        "curves": curves(folder),
        "pictures": sorted(
            array_digest(np.asarray(Image.open(path))[CAPTION:]) for path in folder.glob("*.png")
        ),
    }


def timed(path: str) -> bool:
    """Return whether a number is one of the clock's."""
    return "second" in path or "wall" in path


def curves(folder: Path) -> list[str]:
    """Return the points of all curves in TensorBoard's files, without their names."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith("time/")]
    return sorted(f"{point.step} {point.value!r}" for tag in tags for point in events.Scalars(tag))


def killed(scratch: Path) -> Digests:
    """Kill a run after a checkpoint, resume it, and compare it with the uninterrupted one."""
    given = (*SMALL, "--total-timesteps", 16 * ROLLOUT, "--method", "imputed")
    module("oversight.train", *given, "--run-dir", scratch / "whole")
    folder = scratch / "killed"
    process = start("oversight.train", *given, "--run-dir", folder)
    while not (folder / "checkpoint.pt").exists() and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError("the run ended before it could be killed")
    module("oversight.train", "--resume", folder)
    whole, resumed = (run_digests(scratch / name) for name in ("whole", "killed"))
    return {**resumed, "equal to the uninterrupted": str(whole == resumed)}


def evaluated(scratch: Path) -> Digests:
    """Evaluate a run by the weights of each rule, which differ in it; return the numbers shown."""
    run, unstable = scratch / "run", ("--ppo.learning-rate", 0.02, "--seed", 2)
    module("oversight.train", *SMALL, *unstable, *TEN, "--run-dir", run)
    printed: Digests = {}
    for rule in ("last", "observed", "leaky"):
        given = ("--weights", rule, "--episodes", 50, "--oversight-probability", 0.3)
        shown = module("oversight.evaluate", run, *given)
        printed[rule] = figures(shown.replace(str(run), ""))
    return printed


def study(scratch: Path) -> Digests:
    """Sweep two runs of the quick study."""
    chosen = ("--methods", "routed", "naive", "--oversight-probabilities", "1.0", "--seeds", 0)
    folder = scratch / "study"
    module("oversight.sweep", "quick", *chosen, "--workers", 1, "--folder", folder)
    return {
        "results": numbers(read_json(folder / "results.json"), timed),
        "models": file_tensors(folder, "*.zip"),
    }


def report(scratch: Path) -> Digests:
    """Report the published results, and return the numbers of the page and of its tables."""
    shown = module("oversight.report", "configs/results/published", "--out", scratch)
    page = (scratch / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"(?s)<(svg|style|script)\b.*?</\1>|<[^>]*>", " ", page)
    tables = [path.read_text(encoding="utf-8") for path in scratch.rglob("*.csv")]
    return {
        "verdict": figures(shown.replace(str(scratch), "")),
        "page": figures(text),
        "tables": figures("\n".join(tables)),
    }


def figures(text: str) -> list[str]:
    """Return all measurements in a text, sorted: numbers with a sign, decimals or a percentage."""
    found = re.findall(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?%?(?![\w])", text)
    return sorted(number for number in found if re.search(r"[+\-.%]", number))


def main() -> None:
    """Train each method on CartPole-v1, and some on other environments; print the digests."""
    same = AutoresetMode.SAME_STEP
    trained: dict[str, Callable[[], Any]] = {
        **{name: partial(agent, name, "CartPole-v1", same) for name in REWARDS},
        **{f"routed, {mode.name}": partial(agent, "routed", "CartPole-v1", mode)
           for mode in AutoresetMode},
        "hidden timeouts": partial(agent, "routed", "CartPole-v1", same, timeouts="hidden"),
        "no bootstrap": partial(agent, "routed", "CartPole-v1", same, bootstrap="never"),
        "observed bootstrap": partial(agent, "naive", "Pendulum-v1", same, bootstrap="observed"),
        "continuous actions": partial(agent, "routed", "Pendulum-v1", same),
        "continuous actions, appraised": partial(agent, "appraised", "Pendulum-v1", same),
        "numbered observations": partial(agent, "routed", "FrozenLake-v1", same),
    }  # fmt: skip
    print(json.dumps({name: agent_digests(make()) for name, make in trained.items()}))


def agent(method: str, env: str, mode: AutoresetMode, **options: Any) -> Any:  # noqa: ANN401
    """Return an agent that was trained for four rollouts of 4 lanes of 32 steps."""
    lanes: Any = SyncVectorEnv([lambda: gym.make(env)] * 4, autoreset_mode=mode)
    pays = REWARDS[method]
    if pays != "true":
        proxy = None if env == "Pendulum-v1" or pays == "observed" else guess
        oversight = keywords(observed_probability=0.5, reward=pays, proxy=proxy)
        lanes = load("envs.wrappers.vector:PartialOversight")(lanes, **oversight)
    settings = keywords(
        **{"n_steps": 32, "batch_size": 64, "n_epochs": 2, "learning_rate": 3e-3, "seed": 0},
        **{"ent_coef": 0.01, "device": "cpu", "propensity": 0.5, **options},
        policy_kwargs=keywords(hidden_sizes=(8, 8)),
    )
    policy = renamed("MotivationPolicy")
    return load("agents:RoutedPPO")(policy, lanes, renamed(method, "--method "), **settings).learn(
        4 * 128
    )


def agent_digests(trained: Any) -> Digests:  # noqa: ANN401
    """Return the digests of an agent's weights, optimizer and last rollout, by SB3's names."""
    buffer = trained.rollout_buffer
    kept = ("observations", "actions", "rewards", "values", "log_probs", "advantages", "returns")
    return {
        "weights": tensor_digests(trained.policy.state_dict()),
        "optimizer": tensor_digests(trained.policy.optimizer.state_dict()),
        "rollout": [array_digest(getattr(buffer, name)) for name in kept],
        "generator": array_digest(torch.get_rng_state()),
    }


if __name__ == "__main__":
    main()
