"""What PartialOversight refuses, and that it says how to do it right."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from stable_baselines3.common.monitor import Monitor

from envs import (
    Budget,
    DelayedOversight,
    EpisodeCoin,
    GridEnv,
    Noisy,
    NoisyFlag,
    PartialOversight,
    Query,
    Region,
    Schedule,
    StepCoin,
)
from envs.wrappers import vector
from tests.envs.wrappers.games import Tampered


def cart() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1")


class Seedless(gym.Env[Any, Any]):
    """Takes no seed."""

    observation_space, action_space = spaces.Discrete(2), spaces.Discrete(2)

    def reset(self) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        """Start."""
        return 0, {}


class SeedlessWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """Takes no seed either."""

    def reset(self) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        """Start."""
        return self.env.reset()


INSIDE: dict[str, tuple[Callable[[], gym.Env[Any, Any]], str]] = {
    "statistics": (
        lambda: gym.wrappers.RecordEpisodeStatistics(cart()),
        r"RecordEpisodeStatistics\(PartialOversight\(env\)\)",
    ),
    "normalized": (
        lambda: gym.wrappers.NormalizeReward(cart()),
        r"NormalizeReward\(PartialOversight\(env\)\)",
    ),
    "transformed": (
        lambda: gym.wrappers.TransformReward(cart(), lambda reward: reward),
        r"TransformReward\(PartialOversight\(env\)\)",
    ),
    "monitor": (lambda: Monitor(cart()), r"Monitor\(PartialOversight\(env\)\)"),
    "twice": (lambda: PartialOversight(cart()), "PartialOversight lies inside PartialOversight"),
    "deep": (
        lambda: gym.wrappers.FlattenObservation(gym.wrappers.RecordEpisodeStatistics(cart())),
        r"RecordEpisodeStatistics\(PartialOversight\(env\)\)",
    ),
    "delayed": (
        lambda: DelayedOversight(GridEnv(), steps=1),
        r"DelayedOversight\(PartialOversight\(env\)\)",
    ),
    "seedless": (Seedless, "Seedless.reset takes no seed"),
    "seedless wrapper": (lambda: SeedlessWrapper(cart()), "SeedlessWrapper.reset takes no seed"),
}


@pytest.mark.parametrize("case", INSIDE)
def test_a_wrong_order_is_refused_with_the_right_one(case: str) -> None:
    make, message = INSIDE[case]
    with pytest.raises(ValueError, match=message):
        PartialOversight(make())
    if case != "seedless":  # SyncVectorEnv refuses it first
        with pytest.raises(ValueError, match=message):
            vector.PartialOversight(SyncVectorEnv([make]))


def test_vector_statistics_inside_are_refused() -> None:
    inner = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec("CartPole-v1", num_envs=2))
    with pytest.raises(ValueError, match=r"RecordEpisodeStatistics\(PartialOversight\(env\)\)"):
        vector.PartialOversight(inner)


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"observed_probability": 1.5}, "from 0 to 1, got 1.5"),
    ({"observed_probability": float("nan")}, "from 0 to 1, got nan"),
    ({"observed_probability": "often"}, "from 0 to 1, got 'often'"),
    ({"observed_probability": 0.1, "observer": EpisodeCoin(0.1)}, "not both"),
    ({"observer": 0.1}, "one of envs.observers"),
    ({"flag": "cue"}, "flag must be 'hidden', 'visible' or a NoisyFlag, got 'cue'"),
    ({"reward": "true"}, "reward must be one of .* got 'true'"),
    ({"observer": Query() | Query(0.3)}, "one Query at most"),
    ({"flag": "visible", "observer": Region(np.isfinite, at="arrival")}, "at='start'"),
    ({"allow": ("episode",)}, "allow must name keys"),
    ({"allow": "episode"}, "tuple of info keys"),
    ({"seed": -1}, "seed must be None or from 0"),
    ({"proxy": 1.0}, "proxy must be a function"),
    ({"proxy": lambda *, reward: reward}, "no reward either"),
    ({"proxy": lambda before, action, after, ends, cut, reward: reward}, "no reward either"),
]


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PartialOversight(cart(), **arguments)
    with pytest.raises(ValueError, match=message):
        vector.PartialOversight(gym.make_vec("CartPole-v1", num_envs=2), **arguments)


BUILDERS: list[Callable[[], object]] = [
    lambda: EpisodeCoin(-0.1),
    lambda: StepCoin(2),
    lambda: EpisodeCoin(0.5, stream=-1),
    lambda: Budget(-1),
    lambda: Budget(1, every=0),
    lambda: Noisy(EpisodeCoin(0.5), miss=1.1),
    lambda: Noisy(0.5),  # type: ignore[arg-type]
    lambda: Noisy(EpisodeCoin(0.5), stream=-1),
    lambda: NoisyFlag(miss=1.1),
    lambda: NoisyFlag(false_alarm=np.nan),
    lambda: NoisyFlag(stream=0.5),  # type: ignore[arg-type]
    lambda: Region(3),  # type: ignore[arg-type]
    lambda: Region(np.isfinite, at="end"),  # type: ignore[arg-type]
    lambda: Schedule(lambda: 0.5),  # type: ignore[arg-type,misc]
    lambda: EpisodeCoin(0.5) & 0.5,  # type: ignore[operator]
]


@pytest.mark.parametrize("build", BUILDERS)
def test_bad_observers_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"must be .* got|must be a function|composes with"):
        build()


@pytest.mark.parametrize("reward", [np.nan, np.inf, -np.inf, [1.0, 2.0], None, "much", 1j])
def test_a_bad_reward_is_refused_when_it_is_observed(reward: Any) -> None:  # noqa: ANN401
    class Odd(Tampered):
        """Pays something else than a number."""

        def step(self, action: Any) -> Any:  # noqa: ANN401
            observation, _, *rest = self.env.step(action)
            return observation, reward, *rest

    env = PartialOversight(Odd(cart(), float), observed_probability=1.0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="PartialOversight needs a finite number as reward"):
        env.step(0)
    hidden = PartialOversight(Odd(cart(), float), observed_probability=0.0)
    hidden.reset(seed=0)
    assert hidden.step(0)[1] == 0.0  # never read, so never refused either


SPACES = [
    spaces.Dict({"a": spaces.Discrete(2)}),
    spaces.Tuple([spaces.Discrete(2)]),
    spaces.MultiDiscrete([2, 3]),
    spaces.Box(0, 1, (3, 4)),
    spaces.Box(0, 1, (4, 4, 4)),
]


@pytest.mark.parametrize("space", SPACES)
def test_a_space_without_a_place_for_the_flag_is_refused(space: gym.Space[Any]) -> None:
    env = GridEnv()
    env.observation_space = space
    PartialOversight(env, flag="hidden")
    with pytest.raises(ValueError, match="flag='visible' needs a Discrete space"):
        PartialOversight(env, flag="visible")


class Parts(gym.ObservationWrapper[Any, Any, Any]):
    """Shows an observation in parts, as a dictionary, a tuple or both."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        whole = env.observation_space
        self.observation_space = spaces.Dict({"whole": whole, "two": spaces.Tuple([whole, whole])})

    def observation(self, observation: Any) -> Any:  # noqa: ANN401
        """Show it three times."""
        return {"whole": observation, "two": (observation, -observation)}


def right(observation: Any) -> Any:  # noqa: ANN401
    return observation["two"][1][:, 0] < 0


def test_an_observation_in_parts_is_read_in_parts() -> None:
    whole = PartialOversight(cart(), observer=Region(lambda seen: seen[:, 0] > 0))
    parts = PartialOversight(Parts(cart()), observer=Region(right))
    vectors = vector.PartialOversight(
        SyncVectorEnv([lambda: Parts(cart())] * 2, autoreset_mode="SameStep"),
        observer=Region(right, at="arrival") | Region(right),
    )
    for env in (whole, parts, vectors):
        env.reset(seed=0)
    told = set()
    for _ in range(7):
        expected, given = whole.step(0), parts.step(0)
        assert given[1:] == expected[1:]
        np.testing.assert_array_equal(given[0]["whole"], expected[0])
        told.add(given[1])
        assert vectors.step([0, 0])[4]["observed"][0] >= given[4]["observed"]
    assert told == {0.0, 1.0}
