"""One module alone acts as the whole network with the mixture forced to it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from torch import Tensor

from agents import METHODS, MotivationPolicy, RoutedPPO, VectorEnvAdapter
from envs import partial_grid_vec
from tests.agents.small import (
    ROLLOUT,
    assert_same_training,
    probabilities,
    small_agent,
    small_env,
    weights,
)


@pytest.fixture(scope="module")
def agent() -> RoutedPPO:
    return small_agent().learn(2 * ROLLOUT)


@pytest.fixture(scope="module")
def observations(agent: RoutedPPO) -> Tensor:
    return next(agent.rollout_buffer.get()).observations


@pytest.mark.parametrize(("name", "logit"), [("goal", torch.inf), ("proxy", -torch.inf)])
def test_one_module_is_the_network_with_the_mixture_forced(
    agent: RoutedPPO, observations: Tensor, name: str, logit: float
) -> None:
    alone = agent.with_module(name)
    whole = small_agent().policy
    assert isinstance(whole, MotivationPolicy)
    whole.load_state_dict(agent.policy.state_dict())
    assert whole.net.mixture is not None
    with torch.no_grad():
        whole.net.mixture.get_parameter("4.bias").fill_(logit)
        ours, expected = (probabilities(policy, observations) for policy in (alone, whole))
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
        assert torch.equal(alone.predict_values(observations), whole.predict_values(observations))


@pytest.mark.parametrize("method", METHODS)
def test_what_is_deployed_holds_one_module_and_no_mixture(method: str) -> None:
    agent = small_agent(method)
    deployed = agent.deployed()
    own, trained = deployed.state_dict(), agent.policy.state_dict()
    assert deployed.module_names == (agent.method.deployed,)
    assert not deployed.training
    parts = {name.split(".")[1] for name in own if "." in name}
    inner = {".".join(name.split(".")[1:3]) for name in own if name.startswith("mlp_extractor.")}
    assert parts <= {"experts", "critic", "trunk", "reward_map", "0"}
    assert not any("mixture" in name for name in inner)
    assert {name for name in inner if name.startswith("experts")} == {
        f"experts.{agent.method.deployed}"
    }
    for name, tensor in own.items():
        assert torch.equal(tensor, trained[name]), name
        assert tensor.data_ptr() != trained[name].data_ptr(), name


def test_deploying_leaves_training_alone(agent: RoutedPPO) -> None:
    before = weights(agent.policy)
    alone = agent.deployed()
    with torch.no_grad():
        for parameter in alone.parameters():
            parameter.fill_(0.0)
    for name, tensor in weights(agent.policy).items():
        assert torch.equal(tensor, before[name])


def test_unknown_modules_are_refused(agent: RoutedPPO) -> None:
    with pytest.raises(ValueError, match=r"no module 'mixture': choose from goal, proxy"):
        agent.with_module("mixture")
    with pytest.raises(ValueError, match="'proxy'"):
        agent.deployed().alone("proxy")
    plain = RoutedPPO("MlpPolicy", small_env(), "naive", n_steps=8, batch_size=64, device="cpu")
    with pytest.raises(ValueError, match="has no motivation modules"):
        plain.deployed()


def test_sb3_evaluates_what_is_deployed(agent: RoutedPPO) -> None:
    env = VectorEnvAdapter(partial_grid_vec(16, oversight_probability=1.0, horizon=12))
    env.seed(7)
    rewards, lengths = evaluate_policy(
        agent.deployed(), env, n_eval_episodes=32, return_episode_rewards=True, warn=False
    )
    assert isinstance(rewards, list)
    assert isinstance(lengths, list)
    assert len(rewards) == 32
    assert set(rewards) <= {-1.0, 0.0, 1.0}
    assert max(lengths) <= 12


def test_a_saved_agent_acts_the_same_and_goes_on(agent: RoutedPPO, tmp_path: Path) -> None:
    agent.save(tmp_path / "agent")
    loaded = RoutedPPO.load(tmp_path / "agent", env=VectorEnvAdapter(small_env()), device="cpu")
    assert loaded.method == agent.method
    assert loaded.mixture_coef == agent.mixture_coef
    assert_same_training(loaded, agent)
    observations, _ = small_env().reset(seed=5)
    np.testing.assert_array_equal(
        loaded.predict(observations, deterministic=True)[0],
        agent.predict(observations, deterministic=True)[0],
    )
    before = weights(loaded.policy)
    loaded.learn(ROLLOUT, reset_num_timesteps=False)
    assert loaded.num_timesteps == agent.num_timesteps + ROLLOUT
    assert any(not torch.equal(t, before[n]) for n, t in weights(loaded.policy).items())


def test_an_agent_loads_without_an_environment(agent: RoutedPPO, tmp_path: Path) -> None:
    agent.save(tmp_path / "agent")
    loaded = RoutedPPO.load(tmp_path / "agent", device="cpu")
    for name, tensor in loaded.deployed().state_dict().items():
        assert torch.equal(tensor, agent.policy.state_dict()[name])


def test_callbacks_of_sb3_work(tmp_path: Path) -> None:
    evaluation = VectorEnvAdapter(small_env(lanes=8))
    checkpoint = CheckpointCallback(save_freq=32, save_path=str(tmp_path))
    evaluate = EvalCallback(evaluation, eval_freq=32, n_eval_episodes=8, verbose=0, warn=False)
    agent = small_agent().learn(2 * ROLLOUT, callback=[checkpoint, evaluate])
    saved = sorted(path.name for path in tmp_path.iterdir())
    assert saved == [f"rl_model_{ROLLOUT * n}_steps.zip" for n in (1, 2)]
    assert agent.num_timesteps == 2 * ROLLOUT
    named = ("policy_gradient_loss", "value_loss", "entropy_loss", "mixture_loss", "approx_kl")
    assert {f"train/{name}" for name in named} <= agent.logger.name_to_value.keys()
    assert agent.ep_info_buffer
    assert set(agent.ep_info_buffer[0]) == {"r", "l"}
    assert -1 <= evaluate.last_mean_reward <= 1


def test_a_callback_can_stop_in_the_middle_of_a_rollout() -> None:
    agent = small_agent().learn(10 * ROLLOUT, callback=lambda local, _: local["n_steps"] < 5)
    assert agent.num_timesteps == 6 * 32
    assert agent._n_updates == 0
