"""The agent of a run has the settings of the run, whatever its environment."""

from dataclasses import replace

import pytest

from agents import MotivationPolicy
from configs.rl import PRESETS
from oversight.rl.agent import make_agent, make_small_agent, require_trainable, task_of
from oversight.rl.config import TrainConfig, default_config
from oversight.rl.grid_task import PartialGridTask
from oversight.rl.gymnasium_task import GymnasiumTask
from oversight.runs.cli import override

GRID = override(TrainConfig(), {**PRESETS["smoke"][1], "device": "cpu"})
CART = override(default_config("CartPole-v1"), {"device": "cpu", "num_envs": 3})


@pytest.mark.parametrize("config", [GRID, CART])
def test_small_agent_has_the_network_of_the_run(config: TrainConfig) -> None:
    agent, small = make_agent(config), make_small_agent(config, propensity=None)
    assert isinstance(agent.policy, MotivationPolicy)
    shapes = [
        {name: tensor.shape for name, tensor in each.policy.state_dict().items()}
        for each in (agent, small)
    ]
    assert shapes[0] == shapes[1]
    assert (agent.n_envs, small.n_envs, small.n_steps) == (config.num_envs, 2, 1)
    assert agent.propensity == config.oversight_probability


def test_learning_rate_falls_to_zero_only_if_it_is_annealed() -> None:
    rates = [
        make_agent(override(CART, {"ppo.anneal": anneal})).lr_schedule(0.5)
        for anneal in (True, False)
    ]
    assert rates == [CART.ppo.learning_rate / 2, CART.ppo.learning_rate]


def test_task_is_that_of_the_environment() -> None:
    assert isinstance(task_of(GRID), PartialGridTask)
    assert isinstance(task_of(CART), GymnasiumTask)


def test_method_without_its_proxy_is_refused() -> None:
    with pytest.raises(ValueError, match="method 'paper' learns from a proxy reward"):
        require_trainable(replace(CART, method="paper"))
