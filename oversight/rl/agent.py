"""The task and the agent of a run: made from its settings, and tried before anything is written."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from agents import Method, RoutedPPO, method
from agents.ppo import PPOConfig
from envs.procgen import PROCGEN
from envs.worlds import WORLDS
from oversight.rl.config import TRAINING, TrainConfig, stream_seed
from oversight.rl.environment import PARTIAL_GRID, require_usable
from oversight.rl.grid_task import PartialGridTask
from oversight.rl.gymnasium_task import GymnasiumTask
from oversight.rl.procgen_task import ProcgenTask
from oversight.rl.task import Task
from oversight.rl.world_task import WorldTask

TASKS: Mapping[str, type[Task]] = {
    PARTIAL_GRID: PartialGridTask,
    **dict.fromkeys(WORLDS, WorldTask),
    **dict.fromkeys(PROCGEN, ProcgenTask),
}
"""The environments with a task of their own, by id."""


def task_of(config: TrainConfig) -> Task:
    """Return the task of a run: that of its environment, or the one that serves all others."""
    return TASKS.get(config.env, GymnasiumTask)(config)


def make_agent(config: TrainConfig) -> RoutedPPO:
    """Return an untrained agent in the training environment of its method."""
    task, chosen = task_of(config), method(config.method)
    env = task.make_env(config.num_envs, chosen.reward)
    ppo = task.complete(config.ppo)
    return make_learner(env, chosen, ppo, config.seed, config.device)


def make_small_agent(config: TrainConfig, propensity: float | None) -> RoutedPPO:
    """Return an untrained agent with the network of a run, two lanes and rollouts of one step.

    Args:
        config: settings of the run.
        propensity: probability that the end of an episode is observed, if it is known.

    Raises:
        ValueError: if no agent can learn with these settings.
    """
    smallest = replace(config.ppo, n_steps=1, batch_size=2, propensity=propensity)
    return make_agent(replace(config, num_envs=2, ppo=smallest))


def require_trainable(config: TrainConfig) -> None:
    """Check that a run can be trained, before anything is written.

    Raises:
        ValueError: if its environment cannot be made or reset, or no agent can learn in it.
    """
    require_usable(config, method(config.method), config.ppo.propensity)
    env = make_small_agent(config, config.ppo.propensity).env
    assert env is not None
    env.close()


def make_learner(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any] | VecEnv,
    chosen: Method,
    ppo: PPOConfig,
    seed: int,
    device: str = "auto",
) -> RoutedPPO:
    """Return an untrained agent in an environment that pays the reward of its method."""
    settings = asdict(ppo)
    rate, anneal = settings.pop("learning_rate"), settings.pop("anneal")
    parts = ("hidden_sizes", "conv_channels", "centered", "masked_channels")
    network = {name: settings.pop(name) for name in parts}
    agent = RoutedPPO(
        "MotivationPolicy",
        env,
        chosen,
        learning_rate=(lambda remaining: rate * remaining) if anneal else rate,
        policy_kwargs=network,
        seed=seed,
        device=device,
        **settings,
    )
    assert agent.env is not None
    agent.env.seed(stream_seed(seed, TRAINING))
    return agent
