"""From the settings of a run to its environment and its agent."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

import envs  # noqa: F401 (registers the ids)
from agents import Method, RoutedPPO, method
from agents.config import PPOConfig
from agents.definition import Reward
from envs.grid.kernel import AGENT
from envs.grid.oversight import any_terminal, erring
from envs.wrappers.vector import PartialOversight
from oversight.config import TrainConfig

TRAINING, EVALUATION, SELECTION, FRESH = 1, 2, 3, 4
"""Uses of randomness: learning, measuring on the way, choosing a checkpoint, judging the choice."""


def make_env(config: TrainConfig, num_envs: int, reward: Reward) -> VectorEnv[Any, Any, Any]:
    """Return the vector environment of a run, paying the reward that its user may see.

    Where the overseer errs, what is paid and told of an observed step is what was reported.
    """
    if reward == "true" or config.heard.silent:
        return _grid(config, num_envs, reward)
    truthful = _grid(config, num_envs, "true")
    observer = erring(config.heard)
    return PartialOversight(truthful, observer=observer, proxy=any_terminal, reward=reward)


def _grid(config: TrainConfig, num_envs: int, reward: Reward) -> VectorEnv[Any, Any, Any]:
    return gym.make_vec(
        config.env,
        num_envs,
        size=config.grid.size,
        horizon=config.grid.horizon,
        flag=config.grid.flag,
        oversight_probability=config.oversight_probability,
        reward=reward,
    )


def make_agent(config: TrainConfig) -> RoutedPPO:
    """Return an untrained agent on the training environment of its method."""
    env = make_env(config, config.num_envs, method(config.method).reward)
    chosen, ppo = method(config.method), config.ppo
    chance = config.oversight_probability * (1 - config.heard.lost)
    if ppo.propensity is None and chance > 0:
        ppo = replace(ppo, propensity=chance)
    if ppo.place is None:
        ppo = replace(ppo, place=AGENT)
    return make_learner(env, chosen, ppo, config.seed, config.device)


def make_learner(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any] | VecEnv,
    chosen: Method,
    ppo: PPOConfig,
    seed: int,
    device: str = "auto",
) -> RoutedPPO:
    """Return an untrained agent on any environment that pays what its method may see."""
    rate = ppo.learning_rate
    agent = RoutedPPO(
        "MotivationPolicy",
        env,
        chosen,
        mixture_coef=ppo.mixture_coef,
        learning_rate=(lambda remaining: rate * remaining) if ppo.anneal else rate,
        n_steps=ppo.n_steps,
        batch_size=ppo.batch_size,
        n_epochs=ppo.n_epochs,
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        ent_coef=ppo.ent_coef,
        vf_coef=ppo.vf_coef,
        max_grad_norm=ppo.max_grad_norm,
        advantage_normalization=ppo.advantage_normalization,
        gradient_clipping=ppo.gradient_clipping,
        bootstrap=ppo.bootstrap,
        timeouts=ppo.timeouts,
        propensity=ppo.propensity,
        place=ppo.place,
        policy_kwargs={"hidden_sizes": ppo.hidden_sizes, "blind": ppo.blind},
        seed=seed,
        device=device,
    )
    assert agent.env is not None
    agent.env.seed(stream_seed(seed, TRAINING))
    return agent


def require_device(device: str) -> None:
    """Raise a ValueError where a GPU is asked for and there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but PyTorch sees no GPU: use auto or cpu")


def stream_seed(seed: int, *stream: int) -> int:
    """Return the seed of one use of randomness in a run, far from those of other runs.

    Lane i of a vector environment takes the seed plus i, so that neighboring seeds would share
    most of their levels.
    """
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1)[0])
