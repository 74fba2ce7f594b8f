"""The settings of an environment: what is made of each, and in which order wrappers lie."""

import json
from dataclasses import asdict, replace
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from agents import method
from configs.rl import PRESETS
from envs.observers import EpisodeCoin, NoisyFlag, StepCoin
from envs.vectorization import Replayed, SeededEpisodes
from envs.wrappers import FixedHorizon, vector
from envs.wrappers.checks import layers
from oversight.rl.agent import make_agent, task_of
from oversight.rl.config import TrainConfig, default_config, presets_for
from oversight.rl.environment import (
    EnvironmentConfig,
    environment_arguments,
    flag_of,
    is_native,
    observer_of,
    propensity_of,
    require_usable,
)
from oversight.runs.cli import override
from oversight.runs.folder import from_json

VALVES = "tests.oversight.valves"


def config(env: str = "CartPole-v1", **settings: Any) -> TrainConfig:  # noqa: ANN401
    """Return small settings of a run."""
    return replace(default_config(env), num_envs=2, **settings)


def kinds(env: Any) -> list[str]:  # noqa: ANN401
    """Return the names of an environment and its wrappers, from the outside in."""
    return [type(layer).__name__ for layer in layers(env)]


def test_wrappers_lie_in_the_order_that_they_document() -> None:
    settings = config(horizon=30, delay_steps=2, normalize_reward=True)
    env = task_of(settings).make_env(2, "observed")
    lane = ["SeededEpisodes", "FixedHorizon", "TimeLimit", "OrderEnforcing", "CartPoleEnv"]
    assert kinds(env) == [
        *("NormalizeObservedReward", "DelayedOversight", "PartialOversight", "SyncLanes"),
        *(lane * 2),
    ]
    assert isinstance(env, vector.NormalizeObservedReward)
    assert env.returns.gamma == settings.ppo.gamma == 0.99
    assert kinds(task_of(settings).make_held_out(1))[:2] == ["PartialOversight", "SyncLanes"]


@pytest.mark.parametrize(
    ("settings", "native", "kind"),
    [
        ({}, True, Replayed),
        ({"vectorization": "native"}, True, Replayed),
        ({"vectorization": "sync"}, False, SyncVectorEnv),
        ({"horizon": 9}, False, SyncVectorEnv),
        ({"vectorization": "async"}, False, AsyncVectorEnv),
    ],
)
def test_lanes_are_native_where_that_is_offered(
    settings: dict[str, Any], native: bool, kind: type[Any]
) -> None:
    assert is_native(config(**settings)) == native
    env = task_of(config(**settings)).make_env(2, "observed")
    assert isinstance(env, vector.PartialOversight)
    assert isinstance(env.env, kind)
    env.close()


def test_arguments_reach_the_environment() -> None:
    settings = config("FrozenLake-v1", env_kwargs='{"map_name": "8x8"}')
    assert environment_arguments(settings) == {"map_name": "8x8"}
    space = task_of(settings).make_env(2, "observed").single_observation_space
    assert space == gym.spaces.Discrete(64)


def test_observer_and_flag_are_read_as_python_reads_them() -> None:
    assert observer_of(config(oversight_probability=0.25)) == EpisodeCoin(0.25)
    settings = config(observer="StepCoin(p)", flag="NoisyFlag(miss=0.1)")
    assert observer_of(settings) == StepCoin(0.1)
    assert flag_of(settings) == NoisyFlag(miss=0.1)
    assert task_of(settings).make_env(2, "observed").single_observation_space.shape == (5,)


def test_propensity_is_that_of_the_default_observer_alone() -> None:
    assert propensity_of(config(oversight_probability=0.25)) == 0.25
    assert propensity_of(config(oversight_probability=0.0)) is None
    assert propensity_of(config(observer="StepCoin(p)")) is None
    assert make_agent(config(method="ipw", oversight_probability=0.25)).propensity == 0.25
    with pytest.raises(ValueError, match=r"'StepCoin\(p\)' .* give --ppo.propensity"):
        require_usable(config(observer="StepCoin(p)"), method("ipw"), None)
    require_usable(config(observer="StepCoin(p)"), method("ipw"), 0.5)


def test_method_that_learns_from_a_proxy_needs_one() -> None:
    for name in ("paper", "signed", "motivated"):
        with pytest.raises(ValueError, match=f"{name}.* give --proxy"):
            require_usable(config(), method(name), None)
        require_usable(config(proxy=f"{VALVES}:fullness"), method(name), None)
        require_usable(TrainConfig(), method(name), None)


def test_settings_are_read_back_from_json() -> None:
    settings = config(
        env_kwargs='{"sutton_barto_reward": true}',
        observer="StepCoin(p) | Budget(3)",
        flag="visible",
        proxy=f"{VALVES}:fullness",
        horizon=30,
        delay_episodes=1,
        normalize_reward=True,
        allow=("x",),
        outcome=f"{VALVES}:how_it_ended",
    )
    data = json.loads(json.dumps(asdict(settings)))
    assert from_json(TrainConfig, data, "a file") == settings


@pytest.mark.parametrize("name", [each for each in PRESETS if "env" in PRESETS[each][1]])
def test_preset_that_names_an_environment_starts_from_its_defaults(name: str) -> None:
    own = PRESETS[name][1]
    config = override(TrainConfig(), presets_for([], PRESETS)[name][1])
    assert config == override(default_config(own["env"]), own)


@pytest.mark.parametrize("name", [each for each in PRESETS if "env" not in PRESETS[each][1]])
def test_presets_start_from_the_defaults_of_their_environment(name: str) -> None:
    grid, cart = (
        override(TrainConfig(), presets_for(args, PRESETS)[name][1])
        for args in ([], ["--env", "CartPole-v1"])
    )
    assert grid == override(TrainConfig(), PRESETS[name][1])
    assert (grid.env, cart.env) == ("PartialGrid-v0", "CartPole-v1")
    own = PRESETS[name][1]
    assert cart.num_envs == own.get("num_envs", 8)
    assert cart.ppo.timeouts == "hidden"


@pytest.mark.parametrize(
    ("env", "name", "centered"),
    [
        ("CornerMaze-v0", "routed", True),
        ("CornerMaze-v0", "reward-map", False),
        ("CornerMaze-v0", "reward-map-unrouted", False),
        ("CornerMaze-v0", "no-such-method", True),
        ("CartPole-v1", "reward-map", False),
    ],
)
def test_boards_are_centered_unless_the_method_has_a_reward_map(
    env: str, name: str, centered: bool
) -> None:
    values = presets_for(["--env", env, "--method", name], PRESETS)["default"][1]
    assert override(TrainConfig(), values).ppo.centered == centered


def test_single_lane_is_seeded_and_fixed() -> None:
    env = task_of(config(horizon=5)).make_env(1, "observed").unwrapped.envs[0]  # type: ignore[attr-defined]
    assert isinstance(env, SeededEpisodes)
    assert isinstance(env.env, FixedHorizon)


def test_certificates_and_runs_share_these_settings() -> None:
    assert {*EnvironmentConfig.__dataclass_fields__} <= {*TrainConfig.__dataclass_fields__}
