"""A function that an environment can be reached from is refused, however it got hold of it."""

import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from envs import GridEnv, PartialOversight, Query, Region, Schedule
from envs.observers.observer import held_environment

GAME = GridEnv(reward="true")


class Held:
    """Holds an environment, in an attribute or in a slot."""

    __slots__ = ("__dict__", "slot")

    def __init__(self, env: object = None, slot: object = None) -> None:
        self.parts = {"env": [env]}
        self.slot = slot

    def __call__(self, observation: Any) -> Any:  # noqa: ANN401
        """Be a function."""
        return np.zeros(len(observation), dtype=np.bool_)

    def method(self, observation: Any) -> Any:  # noqa: ANN401
        """Be a method."""
        return self(observation)


class CallsGlobal:
    """Reads a global environment in its call."""

    def __call__(self, observation: Any) -> Any:  # noqa: ANN401
        """Read it."""
        return GAME.true_reward() > 0


def closure(held: object) -> Callable[[Any], Any]:
    return lambda observation: held and observation


def reads_global(observation: Any) -> Any:  # noqa: ANN401
    return GAME.true_reward() > 0


def calls_reader(observation: Any) -> Any:  # noqa: ANN401
    return [reads_global(each) for each in observation]


def with_default(observation: Any, env: Any = GAME) -> Any:  # noqa: ANN401
    return env.true_reward()


def with_keyword(observation: Any, *, env: Any = GAME) -> Any:  # noqa: ANN401
    return env.true_reward()


def two(env: Any, observation: Any) -> Any:  # noqa: ANN401
    return env.true_reward()


def with_attribute(observation: Any) -> Any:  # noqa: ANN401
    return observation > 0


with_attribute.env = GAME  # type: ignore[attr-defined]

BAD: dict[str, Any] = {
    "closure": closure(GAME),
    "closure over a list": closure([1, GAME]),
    "closure over a dictionary": closure({"a": {"b": (GAME,)}}),
    "closure over a closure": closure(closure(GAME)),
    "closure over a vector": closure(gym.make_vec("CartPole-v1", num_envs=1)),
    "closure over SB3's vector": closure(DummyVecEnv([lambda: gym.make("CartPole-v1")])),
    "global": reads_global,
    "global of a function called": calls_reader,
    "global in a function inside": lambda observation: [GAME for _ in observation],
    "default": with_default,
    "keyword default": with_keyword,
    "attribute of a function": with_attribute,
    "partial": functools.partial(two, GAME),
    "partial with a keyword": functools.partial(with_keyword, env=GAME),
    "partial of a partial": functools.partial(functools.partial(two, GAME)),
    "callable object": Held(GAME),
    "slot": Held(slot=GAME),
    "callable object with a global": CallsGlobal(),
    "bound method": Held(GAME).method,
    "method of the environment": GAME.step,
    "builtin method": [GAME].count,
}


@pytest.mark.parametrize("name", BAD)
def test_it_is_found_and_named(name: str) -> None:
    assert held_environment(BAD[name]) is not None
    with pytest.raises(ValueError, match=r"holds the environment \w+, in which it could read"):
        Region(BAD[name])


def guess(before: Any, action: Any, after: Any, ended: Any, cut: Any) -> Any:  # noqa: ANN401
    return GAME.true_reward()


def test_every_function_of_a_user_is_looked_through() -> None:
    for build in (
        lambda: Query(rule=reads_global),
        lambda: Schedule(reads_global),
        lambda: PartialOversight(GridEnv(), proxy=guess),
    ):
        with pytest.raises(ValueError, match="holds the environment GridEnv"):
            build()


table: dict[str, Any] = {"weights": np.ones(4), "names": ["a"], "env": "CartPole-v1"}
GOOD: list[Any] = [
    lambda observation: observation[:, 0] > table["weights"][0],
    closure([GridEnv]),  # the class is no environment
    Held().method,
    Held(),
    functools.partial(lambda weights, observation: weights, np.ones(3)),
    np.isfinite,
    len,
]


@pytest.mark.parametrize("function", GOOD)
def test_a_function_of_its_arguments_passes(function: Any) -> None:  # noqa: ANN401
    assert held_environment(function) is None
    Region(function)


def test_what_refers_to_itself_is_walked_once() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert held_environment(closure(ring)) is None
