"""Wrong orders of wrappers are refused with the right one."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor

from envs import (
    DelayedOversight,
    FixedHorizon,
    PartialOversight,
    RecordTruth,
    partial_grid,
    partial_grid_vec,
)
from envs.wrappers import vector


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
    "monitor": (
        lambda: Monitor(cart()),
        r"Monitor\(PartialOversight\(env\)\).*make_vec_env\(lambda: PartialOversight\(gym.make\(id",
    ),
    "twice": (lambda: PartialOversight(cart()), "PartialOversight lies inside PartialOversight"),
    "deep": (
        lambda: gym.wrappers.FlattenObservation(gym.wrappers.RecordEpisodeStatistics(cart())),
        r"RecordEpisodeStatistics\(PartialOversight\(env\)\)",
    ),
    "delayed": (
        lambda: DelayedOversight(partial_grid(), steps=1),
        r"DelayedOversight\(PartialOversight\(env\)\)",
    ),
    "seedless": (Seedless, "Seedless.reset takes no seed"),
    "seedless wrapper": (lambda: SeedlessWrapper(cart()), "SeedlessWrapper.reset takes no seed"),
}


@pytest.mark.parametrize("case", INSIDE)
def test_wrapper_order_is_refused_when_rewards_would_leak(case: str) -> None:
    make, message = INSIDE[case]
    with pytest.raises(ValueError, match=message):
        PartialOversight(make())
    if case != "seedless":  # SyncVectorEnv refuses it first
        with pytest.raises(ValueError, match=message):
            vector.PartialOversight(SyncVectorEnv([make]))


def test_vector_statistics_are_refused_inside_oversight() -> None:
    inner = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec("CartPole-v1", num_envs=2))
    with pytest.raises(ValueError, match=r"RecordEpisodeStatistics\(PartialOversight\(env\)\)"):
        vector.PartialOversight(inner)


def test_oversight_may_lie_inside_oversight_when_it_pays_the_truth() -> None:
    inside = partial_grid(reward="true", oversight_probability=1.0)
    env = PartialOversight(inside, observed_probability=0.0)
    env.reset(seed=0)
    steps = [env.step(action) for action in (0, 1)]
    assert all(step[4] == {"observed": False, "observed_reward": 0.0} for step in steps)


class Holder(gym.Env[Any, Any]):
    """An environment of its own that plays another one, which is no wrapper."""

    def __init__(self, inside: Any) -> None:  # noqa: ANN401
        self.inside = inside
        self.observation_space, self.action_space = inside.observation_space, inside.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment inside."""
        return self.inside.reset(seed=seed)  # type: ignore[no-any-return]

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Step the environment inside."""
        return self.inside.step(action)


class VectorHolder(VectorEnv[Any, Any, Any]):
    """A vector environment that plays another one."""

    def __init__(self, inside: VectorEnv[Any, Any, Any]) -> None:
        self.inside, self.num_envs, self.metadata = inside, inside.num_envs, inside.metadata


class Opaque(gym.Env[Any, Any]):
    """Plays another environment that nobody sees."""

    def __init__(self, inside: gym.Env[Any, Any]) -> None:
        self.observation_space, self.action_space = inside.observation_space, inside.action_space
        self.start, self.play = inside.reset, inside.step

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment inside."""
        return self.start(seed=seed)

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Step the environment inside."""
        return self.play(action)


def hiding_grid() -> gym.Env[Any, Any]:
    return gym.make("PartialGrid-v0", oversight_probability=0.0)


class Renamed(PartialOversight):
    """A subclass under another name."""


HIDING: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "registered": hiding_grid,
    "hidden flag": lambda: gym.make("PartialGrid-v0", flag="hidden"),
    "proxy": lambda: gym.make("PartialGrid-v0", reward="proxy"),
    "observed always": lambda: PartialOversight(cart(), observed_probability=1.0),
    "subclass": lambda: Renamed(cart()),
    "deep": lambda: gym.wrappers.TimeLimit(
        gym.wrappers.FlattenObservation(gym.wrappers.OrderEnforcing(hiding_grid())), 9
    ),
    "held": lambda: gym.wrappers.TimeLimit(Holder(Holder(hiding_grid())), 9),
    "held in a list": lambda: Listed([cart(), hiding_grid()]),
}


class Listed(Holder):
    """Holds several environments, and plays the last one."""

    def __init__(self, several: list[gym.Env[Any, Any]]) -> None:
        super().__init__(several[-1])
        self.several = several
        del self.inside


@pytest.mark.parametrize("case", HIDING)
def test_oversight_of_rewards_already_hidden_is_refused(case: str) -> None:
    message = "PartialOversight lies inside PartialOversight.*reward='true'"
    with pytest.raises(ValueError, match=message):
        PartialOversight(HIDING[case](), observed_probability=1.0)
    with pytest.raises(ValueError, match=message):
        vector.PartialOversight(SyncVectorEnv([HIDING[case]] * 2), observed_probability=1.0)


def test_oversight_of_hiding_vector_environments_is_refused() -> None:
    message = "PartialOversight lies inside PartialOversight"
    hiding, lanes = partial_grid_vec(2), vector.PartialOversight(SyncVectorEnv([cart] * 2))
    for env in (
        hiding,
        gym.make_vec("PartialGrid-v0", 2),
        gym.wrappers.vector.FlattenObservation(lanes),
        lanes,
        VectorHolder(hiding),
    ):
        with pytest.raises(ValueError, match=message):
            vector.PartialOversight(env)


def test_oversight_of_hiding_lanes_in_processes_is_refused() -> None:
    lanes = AsyncVectorEnv([hiding_grid])
    with pytest.raises(ValueError, match="PartialOversight lies inside PartialOversight"):
        vector.PartialOversight(lanes)
    lanes.close()
    for make in (lambda: gym.make("PartialGrid-v0", reward="true"), cart):
        lanes = AsyncVectorEnv([make])
        vector.PartialOversight(lanes).reset(seed=0)
        lanes.close()


def test_oversight_is_refused_at_reset_when_info_says_what_is_observed() -> None:
    message = "says in info what is observed: an oversight lies inside it"
    with pytest.raises(ValueError, match=message):
        PartialOversight(Opaque(hiding_grid())).reset()
    with pytest.raises(ValueError, match=message):
        vector.PartialOversight(SyncVectorEnv([lambda: Opaque(hiding_grid())])).reset()


def test_monitor_of_make_vec_env_is_refused_with_what_works() -> None:
    with pytest.raises(ValueError, match="make_vec_env puts wrapper_class around its Monitor"):
        make_vec_env("CartPole-v1", wrapper_class=PartialOversight)
    env = make_vec_env(lambda: PartialOversight(cart()))
    assert env.env_is_wrapped(Monitor) == [True]


BIG = 10**400


NO_FLOATS: dict[str, Any] = {
    "big": BIG,
    "small": -BIG,
    "too long to print": 10**5000,
    "fraction": Fraction(BIG),
    "string": "5",
    "bytes": b"5",
    "NumPy's string": np.str_("5"),
    "complex": 1j,
    "NumPy's complex": np.complex64(1),
    "nothing": None,
    "list": [1.0],
}


@pytest.mark.parametrize("case", NO_FLOATS)
def test_reward_that_is_no_float_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    reward = NO_FLOATS[case]

    def paying() -> gym.Env[Any, Any]:
        return Paying(reward)

    made: dict[str, gym.Env[Any, Any]] = {
        "PartialOversight": PartialOversight(paying(), observed_probability=1.0),
        "PartialOversight of truth": PartialOversight(paying(), reward="true"),
        "RecordTruth": RecordTruth(paying(), tmp_path / "ledger"),
        "FixedHorizon": FixedHorizon(paying(), 3),
    }
    for name, env in made.items():
        env.reset()
        with pytest.raises(ValueError, match=f"^{name.split()[0]} needs a finite number") as error:
            env.step(0)
        assert len(str(error.value).splitlines()) == 1
        assert len(str(error.value)) < 250
        env.close()


@pytest.mark.parametrize(
    ("reward", "paid"),
    [
        (2, 2.0),
        (True, 1.0),
        (Fraction(1, 4), 0.25),
        (Decimal("0.5"), 0.5),
        (np.int8(3), 3.0),
        (np.array(2.0), 2.0),
        (np.float32(0.5), 0.5),
        (10**300, 1e300),
    ],
)
def test_reward_of_any_real_type_is_paid(reward: Any, paid: float) -> None:  # noqa: ANN401
    env = PartialOversight(Paying(reward), observed_probability=1.0)
    env.reset()
    given = env.step(0)[1]
    assert (given, type(given)) == (paid, float)


def test_reward_that_no_float_holds_is_refused_in_vectors() -> None:
    env = vector.PartialOversight(AsyncVectorEnv([lambda: Paying(BIG)]), observed_probability=1.0)
    env.reset()
    with pytest.raises(ValueError, match="AsyncVectorEnv gave a number that no float holds"):
        env.step(np.zeros(1, int))
    env.close()


@pytest.mark.parametrize(
    "reward",
    [BIG, "1", b"1", None, 1j, [1.0], {}, np.datetime64("2020"), np.ones(1), np.inf, np.nan],
    ids=str,
)
def test_lanes_pay_what_the_single_wrapper_takes(reward: Any) -> None:  # noqa: ANN401
    lanes = SyncVectorEnv([lambda: Paying(1.0), lambda: Paying(reward)])
    for env, action in (
        (PartialOversight(Paying(reward), observed_probability=1.0), 0),
        (vector.PartialOversight(lanes, observed_probability=1.0), np.zeros(2, int)),
    ):
        env.reset()
        with pytest.raises(ValueError, match=r"PartialOversight needs .*finite") as caught:
            env.step(action)
        assert "\n" not in str(caught.value)


class Paying(gym.Env[Any, Any]):
    """Pays one reward."""

    observation_space, action_space = spaces.Discrete(2), spaces.Discrete(2)

    def __init__(self, reward: Any) -> None:  # noqa: ANN401
        self.reward = reward

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start."""
        return 0, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Pay the reward."""
        return 0, self.reward, False, False, {}
