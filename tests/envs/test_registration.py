"""Ids, construction and the checkers of Gymnasium and Stable-Baselines3."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from typing import Any, get_args

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common import env_checker

import envs
from envs import GridEnv, GridVectorEnv, partial_grid, partial_grid_vec
from envs.gridworld import OVERSIGHT, Flag
from envs.registration import make_truthful
from envs.wrappers.oversight import Reward

VARIANTS = [
    {"flag": flag, "reward": reward} for flag, reward in product(get_args(Flag), get_args(Reward))
]


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.parametrize("name", envs.IDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_both_checkers_pass_without_a_warning(name: str, variant: dict[str, Any]) -> None:
    env = gym.make(name, **variant)
    check_env(env)
    env_checker.check_env(env, skip_render_check=False)


def test_an_id_with_its_module_needs_no_import() -> None:
    code = "import gymnasium; gymnasium.make('envs:PartialGrid-v0').reset(seed=0)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_make_vec_makes_the_native_environment_by_default() -> None:
    native = gym.make_vec("PartialGrid-v0", num_envs=3, size=4, reward="proxy")
    assert isinstance(native.unwrapped, GridVectorEnv)
    assert (native.num_envs, native.unwrapped.games.size) == (3, 4)
    assert native.oversight.reward == "proxy"  # type: ignore[attr-defined]
    assert native.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    sync = gym.make_vec("PartialGrid-v0", num_envs=3, vectorization_mode="sync")
    assert type(sync) is SyncVectorEnv


def test_a_spec_rebuilds_its_environment() -> None:
    env = gym.make("PartialGrid-v0", size=4, oversight_probability=0.5, flag="hidden")
    rebuilt = gym.make(env.spec)  # type: ignore[arg-type]
    assert isinstance(env.unwrapped, GridEnv)
    assert isinstance(rebuilt.unwrapped, GridEnv)
    games = rebuilt.unwrapped.games
    assert (games.size, games.oversight_probability) == (4, 0.5)
    assert not rebuilt.reset(seed=0)[0][OVERSIGHT].any()
    assert str(rebuilt) == str(env)
    native = gym.make_vec("PartialGrid-v0", num_envs=3, horizon=7)
    again = gym.make_vec(native.spec)  # type: ignore[arg-type]
    assert isinstance(again.unwrapped, GridVectorEnv)
    assert (again.num_envs, again.unwrapped.games.horizon) == (3, 7)


def test_both_environments_share_their_defaults() -> None:
    for single, vectorized in ((GridEnv, GridVectorEnv), (partial_grid, partial_grid_vec)):
        parameters = dict(inspect.signature(vectorized).parameters)
        assert parameters.pop("num_envs").default == 1
        assert parameters == dict(inspect.signature(single).parameters)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 1}, "size must be .* got 1"),
        ({"size": 101}, "size must be"),
        ({"size": 5.0}, "size must be"),
        ({"horizon": 0}, "horizon must be .* got 0"),
        ({"oversight_probability": -0.1}, "oversight_probability must be .* got -0.1"),
        ({"oversight_probability": 1.1}, "oversight_probability must be"),
        ({"oversight_probability": float("nan")}, "got nan"),
        ({"flag": "secret"}, "flag must be one of .* got 'secret'"),
        ({"reward": "both"}, "reward must be one of .* got 'both'"),
        ({"render_mode": "human"}, "render_mode must be one of .* got 'human'"),
    ],
)
def test_argument_is_refused_when_invalid(arguments: dict[str, Any], message: str) -> None:
    for make in (partial_grid, partial_grid_vec):
        with pytest.raises(ValueError, match=message):
            make(**arguments)


@pytest.mark.parametrize("num_envs", [0, -1, 2.0])
def test_number_of_lanes_is_refused_when_not_positive(num_envs: int) -> None:
    with pytest.raises(ValueError, match="num_envs must be"):
        GridVectorEnv(num_envs)


def needs_a_package(**kwargs: object) -> None:
    message = 'Box2D is not installed, run `pip install "gymnasium[box2d]"`'
    raise gym.error.DependencyNotInstalled(message)


def needs_a_module(**kwargs: object) -> None:
    raise ModuleNotFoundError("No module named 'mujoco'")


def breaks(**kwargs: object) -> None:
    raise gym.error.Error("no display")


@pytest.mark.parametrize(
    ("entry_point", "message"),
    [
        (needs_a_package, r"environment 'Odd-v0' needs a package.*pip install .gymnasium\[box2d\]"),
        (needs_a_module, "environment 'Odd-v0' needs a package.*'mujoco'; install it"),
        (breaks, "environment 'Odd-v0' cannot be made: no display"),
    ],
)
def test_registered_environment_is_not_called_unknown(
    monkeypatch: pytest.MonkeyPatch,
    entry_point: Callable[..., None],
    message: str,
) -> None:
    spec = gym.envs.registration.EnvSpec("Odd-v0", entry_point)  # type: ignore[arg-type]
    monkeypatch.setitem(gym.registry, "Odd-v0", spec)
    with pytest.raises(ValueError, match=message) as caught:
        make_truthful("Odd-v0")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CartPol-v1", "unknown environment 'CartPol-v1': did you mean .*CartPole-v1"),
        ("no_such_module:Odd-v0", "needs a package that cannot be imported: No module named"),
        ("Nothing/Odd-v0", "unknown environment 'Nothing/Odd-v0'"),
    ],
)
def test_unknown_environment_is_named(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_truthful(name)
