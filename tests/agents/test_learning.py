"""Seeds decide everything, and the learner sees what the overseer saw."""

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from agents import METHODS, RoutedPPO
from envs import partial_grid_vec
from tests.agents.small import ROLLOUT, assert_same_training, small_agent, small_env, weights

ALLOWED = {
    "observed",
    "observed_reward",
    "TimeLimit.truncated",
    "terminal_observation",
    "episode",
}


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_bits(method: str) -> None:
    agents = []
    for noise in (1, 2):  # the seed, not what was drawn before
        torch.manual_seed(noise)
        np.random.seed(noise)  # noqa: NPY002 (the generator of SB3's buffer)
        agents.append(small_agent(method).learn(2 * ROLLOUT))
    assert_same_training(*agents)


def test_global_numpy_draws_do_not_matter() -> None:
    class Draw(BaseCallback):
        def _on_step(self) -> bool:
            np.random.rand()  # noqa: NPY002
            return True

    assert_same_training(
        small_agent().learn(ROLLOUT, callback=Draw()), small_agent().learn(ROLLOUT)
    )


def test_another_seed_gives_other_parameters() -> None:
    one, other = (weights(small_agent(seed=seed).learn(ROLLOUT).policy) for seed in (0, 1))
    differing = [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]
    assert len(differing) == len(one)


class Recorder(BaseCallback):
    """Keeps what the learner is given."""

    def __init__(self) -> None:
        super().__init__()
        self.infos: list[dict[str, Any]] = []
        self.rewards: list[Any] = []

    def _on_step(self) -> bool:
        self.infos += self.locals["infos"]
        self.rewards.append(self.locals["rewards"].copy())
        return True


@pytest.mark.parametrize("method", METHODS)
def test_the_learner_is_given_only_what_the_overseer_saw(method: str) -> None:
    seen = Recorder()
    small_agent(method).learn(ROLLOUT, callback=seen)
    ended = [info for info in seen.infos if info]
    assert len(ended) > 32
    assert all(set(info) == ALLOWED for info in ended)
    assert all(info["observed_reward"] == 0 for info in ended if not info["observed"])
    assert all(set(info["episode"]) == {"r", "l"} for info in ended)


def test_every_hidden_ending_pays_and_counts_alike() -> None:
    seen = Recorder()
    env = partial_grid_vec(32, oversight_probability=0.0, horizon=12)
    small_agent(env=env).learn(ROLLOUT, callback=seen)
    ended = [info for info in seen.infos if info]
    returns = {bool(info["TimeLimit.truncated"]): info["episode"]["r"] for info in ended}
    assert returns == {False: 1.0, True: 0.0}
    assert not any(info["observed"] for info in ended)
    assert min(rewards.min() for rewards in seen.rewards) == 0.0


def test_settings_reach_sb3() -> None:
    agent = small_agent(gamma=0.5, gae_lambda=0.25, vf_coef=0.125, max_grad_norm=0.75)
    assert isinstance(agent, PPO)
    assert (agent.rollout_buffer.gamma, agent.rollout_buffer.gae_lambda) == (0.5, 0.25)
    assert (agent.vf_coef, agent.max_grad_norm) == (0.125, 0.75)


def test_an_environment_can_be_an_id() -> None:
    settings: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "device": "cpu"}
    agent = RoutedPPO("MotivationPolicy", "PartialGrid-v0", **settings).learn(16)
    assert agent.method is METHODS["routed"]
    assert agent.n_envs == 1
    agent = RoutedPPO(env=small_env(), **settings)
    assert agent.n_envs == 32
