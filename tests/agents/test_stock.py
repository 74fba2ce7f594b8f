"""With a table of ones RoutedPPO is SB3's PPO, bit for bit."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import gymnasium as gym
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents import METHODS, Method, MotivationPolicy, RoutedPPO, VectorEnvAdapter
from agents.methods import ROUTES
from agents.policy import Network
from oversight.routing import RouteTable
from tests.agents.small import (
    ROLLOUT,
    SETTINGS,
    assert_same_training,
    remove_gates,
    small_agent,
    small_env,
)

ONES = Method(
    name="ones",
    summary="a table of ones over a target that no gate has",
    reward="observed",
    table=RouteTable({route: {"anything": 1.0} for route in ROUTES}),
    network=Network(modules=("anything",)),
)


def grid() -> VecEnv:
    return VectorEnvAdapter(small_env(lanes=8))


def dummy(name: str) -> Callable[[], VecEnv]:
    return lambda: DummyVecEnv([lambda: gym.make(name)] * 4)


CASES: dict[str, tuple[Callable[[], VecEnv], dict[str, Any]]] = {
    "native grid": (grid, {"ent_coef": 0.01}),
    "CartPole": (dummy("CartPole-v1"), {}),
    "clipped values": (dummy("CartPole-v1"), {"clip_range_vf": 0.05}),
    "early stop": (dummy("CartPole-v1"), {"target_kl": 2e-4, "learning_rate": 3e-3}),
    "raw advantages": (dummy("CartPole-v1"), {"normalize_advantage": False}),
    "falling rates": (grid, {"learning_rate": lambda x: 1e-3 * x, "clip_range": lambda x: x / 5}),
    "Pendulum": (dummy("Pendulum-v1"), {"normalize_advantage": False, "ent_coef": 0.01}),
    "Pendulum, exploring by state": (dummy("Pendulum-v1"), {"use_sde": True}),
}


def train(agent: PPO) -> PPO:
    return agent.learn(4 * agent.n_steps * agent.n_envs)


@pytest.mark.parametrize(
    "method", [METHODS["naive"], METHODS["unrouted"], ONES], ids=attrgetter("name")
)
def test_any_table_of_ones_is_stock(method: Method) -> None:
    shared: dict[str, Any] = {"n_steps": 32, "batch_size": 64, "seed": 5, "device": "cpu"}
    stock = train(PPO("MlpPolicy", grid(), **shared))
    assert_same_training(train(RoutedPPO("MlpPolicy", grid(), method, **shared)), stock)


@pytest.mark.parametrize("case", CASES)
def test_a_plain_policy_learns_as_in_stock_ppo(case: str) -> None:
    make, settings = CASES[case]
    shared: dict[str, Any] = {"n_steps": 64, "batch_size": 64, "n_epochs": 3, "seed": 3}
    settings = {**shared, **settings, "device": "cpu"}
    stock = train(PPO("MlpPolicy", make(), **settings))
    routed = train(RoutedPPO("MlpPolicy", make(), "naive", **settings))
    assert_same_training(routed, stock)
    assert routed._n_updates == stock._n_updates
    if "target_kl" in settings:
        assert stock._n_updates < 4 * settings["n_epochs"]


@pytest.mark.parametrize(("kl", "epochs"), [(0.149, 2), (0.151, 1)])
def test_an_epoch_stops_at_one_and_a_half_times_the_target(
    kl: float, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.losses.approximate_kl", lambda _: torch.tensor(kl))
    agent = small_agent(target_kl=0.1).learn(ROLLOUT)
    assert agent._n_updates == epochs
    assert bool(agent.policy.optimizer.state) == (epochs == 2)


def test_gates_of_weight_one_change_nothing() -> None:
    # one after the other: SB3 draws actions from the global generator, seeded on construction
    routed = small_agent("unrouted", mixture_coef=0.0).learn(3 * ROLLOUT)
    env = VectorEnvAdapter(small_env("unrouted"))
    stock = PPO(MotivationPolicy, env, **SETTINGS)
    remove_gates(stock.policy)
    assert_same_training(routed, stock.learn(3 * ROLLOUT))


def test_other_policies_cannot_route() -> None:
    with pytest.raises(ValueError, match=r"ActorCriticPolicy has no gates.*'routed'"):
        RoutedPPO("MlpPolicy", grid(), "routed", n_steps=32, batch_size=64)
