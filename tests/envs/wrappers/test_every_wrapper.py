"""Every wrapper and observer: checkers, seeds, spaces, ends of episodes, and specs."""

import inspect
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from envs import (
    DelayedOversight,
    EpisodeCoin,
    FixedHorizon,
    NoisyFlag,
    PartialOversight,
    RecordTruth,
    StepCoin,
    partial_grid,
    partial_grid_vec,
    wrappers,
)
from envs.wrappers import vector
from tests.envs.wrappers.environment_factories import GAMES as BARE
from tests.envs.wrappers.environment_factories import frozen, play
from tests.envs.wrappers.observer_factories import OBSERVERS, guess

Env = gym.Env[Any, Any]

# Through gym.make, so that each has a spec; MiniGrid's own wrapper records none.
GAMES: dict[str, Callable[[], Env]] = BARE | {
    "PartialGrid": lambda: gym.make("PartialGrid-v0", reward="true"),
}


def delayed(env: Env, **arguments: Any) -> Env:  # noqa: ANN401
    return DelayedOversight(PartialOversight(env, observed_probability=0.7), **arguments)


WRAPS: dict[str, Callable[..., Env]] = {
    **{name: partial(PartialOversight, observer=OBSERVERS[name]) for name in OBSERVERS},
    "visible": partial(PartialOversight, observer=StepCoin(0.5), flag="visible"),
    "NoisyFlag": partial(PartialOversight, observer=EpisodeCoin(0.5), flag=NoisyFlag(0.2, 0.2)),
    "proxy": partial(PartialOversight, proxy=guess, observed_probability=0.5),
    "learns from proxy": partial(PartialOversight, proxy=guess, reward="proxy", seed=3),
    "FixedHorizon": partial(FixedHorizon, horizon=12),
    "delayed by steps": partial(delayed, steps=3),
    "delayed by episodes": partial(delayed, episodes=1),
    "RecordTruth": RecordTruth,
}

# Every wrapper on one game and every game in two wrappers: the games take turns.
PAIRS = [
    ("CartPole" if wrap == "Query" else game, wrap)
    for wrap, game in zip(WRAPS, cycle(GAMES), strict=False)
]
PAIRS += [(game, wrap) for game in GAMES for wrap in ("visible", "RecordTruth")]
PAIRS = list(dict.fromkeys(PAIRS))
each = pytest.mark.parametrize(("game", "wrap"), PAIRS)


def build(game: str, wrap: str, folder: Path) -> Env:
    """Build a game in a wrapper; each ledger has a file of its own."""
    if wrap == "RecordTruth":
        return RecordTruth(GAMES[game](), Path(mkdtemp(dir=folder)) / "truth.ledger")
    return WRAPS[wrap](GAMES[game]())


@each
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.filterwarnings("ignore:.*value is -?infinity")  # CartPole's, unwrapped as well
@pytest.mark.filterwarnings("ignore:.*symmetric and normalized")  # Pendulum's
def test_both_checkers_pass_without_a_warning(game: str, wrap: str, tmp_path: Path) -> None:
    env = build(game, wrap, tmp_path)
    if game == "MiniGrid":
        env.unwrapped.spec = None  # the checker rebuilds, which MiniGrid's wrapper cannot do
    check_env(env, skip_render_check=True, skip_close_check=True)
    sb3_check_env(env, skip_render_check=True)
    env.close()


@each
def test_seed_repeats_everything_within_the_spaces(game: str, wrap: str, tmp_path: Path) -> None:
    env, twin = build(game, wrap, tmp_path), build(game, wrap, tmp_path)
    given = play(env, 40)
    assert frozen(given) == frozen(play(twin, 40)) == frozen(play(twin, 40))
    assert frozen(given) != frozen(play(twin, 40, seed=1))
    for observation, *rest in given:
        assert observation in env.observation_space
        if len(rest) > 1:
            assert [type(part) for part in rest[:3]] == [float, bool, bool] or wrap == "RecordTruth"
            assert np.isfinite(rest[0])
    for each_env in (env, twin):
        each_env.close()


@each
def test_episodes_end_where_the_game_ends_them(game: str, wrap: str, tmp_path: Path) -> None:
    env, bare = build(game, wrap, tmp_path), GAMES[game]()
    env.action_space.seed(0)
    env.reset(seed=0)
    bare.reset(seed=0)
    ends = set()
    for step in range(1, 61):
        action = env.action_space.sample()
        mine = env.step(action)[2:4]
        if wrap == "Query":
            action %= bare.action_space.n  # type: ignore[attr-defined]
        if wrap == "FixedHorizon":
            assert mine == (False, step % 12 == 0)
            if mine[1]:
                env.reset()
            continue
        assert mine == bare.step(action)[2:4]
        ends.add(mine)
        if any(mine):
            env.reset()
            bare.reset()
    assert len(ends) > 1 or wrap == "FixedHorizon"
    env.close()


@each
def test_environment_rebuilt_from_spec_plays_alike(game: str, wrap: str, tmp_path: Path) -> None:
    if game == "MiniGrid":
        pytest.skip("its own wrapper cannot be rebuilt")
    env, twin = build(game, wrap, tmp_path), build(game, wrap, tmp_path)
    spec = env.spec
    assert spec is not None
    env.close()
    rebuilt = gym.make(spec)
    assert type(rebuilt) is type(env)
    assert frozen(play(rebuilt, 40)) == frozen(play(twin, 40))
    for each_env in (rebuilt, twin):
        each_env.close()


ARGUMENTS: dict[str, dict[str, Any]] = {
    "DelayedOversight": {"steps": None, "episodes": 3},
    "FixedHorizon": {"horizon": 9, "keep": ("observed",)},
    "NormalizeObservedReward": {"gamma": 0.9},
    "PartialOversight": {
        "observed_probability": None,
        "observer": EpisodeCoin(0.25),
        "proxy": guess,
        "reward": "proxy",
        "flag": NoisyFlag(0.5),
        "allow": ("prob",),
        "seed": 3,
    },
    "RecordTruth": {"path": "truth.ledger", "rewards_define_task": True},
}


def test_every_wrapper_is_listed() -> None:
    assert set(ARGUMENTS) == set(vector.__all__) == set(wrappers.__all__)


@pytest.mark.parametrize("module", [wrappers, vector])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_constructor_argument_is_recorded(
    name: str, module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrapper, arguments = getattr(module, name), ARGUMENTS[name]

    def inside() -> Any:  # noqa: ANN401
        truth = name in ("PartialOversight", "RecordTruth", "FixedHorizon")
        reward: Any = "true" if truth else "observed"
        return (
            partial_grid_vec(2, reward=reward) if module is vector else partial_grid(reward=reward)
        )

    first, *others = inspect.signature(wrapper).parameters
    assert first == "env"
    assert set(others) == set(arguments)
    env = wrapper(inside(), **arguments)
    assert env._saved_kwargs == arguments
    assert wrapper(inside(), **env._saved_kwargs)._saved_kwargs == arguments
