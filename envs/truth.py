"""check_pays_truth: refuse an environment whose reward is not the true one any more."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv, VectorRewardWrapper, VectorWrapper
from gymnasium.wrappers import NormalizeReward
from gymnasium.wrappers.vector import NormalizeReward as VectorNormalizeReward

from envs.grid.rules import Rules

CHANGERS = (gym.RewardWrapper, NormalizeReward, VectorRewardWrapper, VectorNormalizeReward)
AnyEnv = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]
HIDERS = ("PartialOversight",)  # by name: they live outside and need not be imported here


def check_pays_truth(env: AnyEnv) -> None:
    """Check every wrapper inside, and every lane of a vector environment.

    Raises:
        ValueError: If a wrapper inside changes or hides rewards, or a grid does not pay the truth.
    """
    for layer in _layers(env):
        name = type(layer).__name__
        if isinstance(layer, CHANGERS) or name in HIDERS:
            raise ValueError(
                f"RecordTruth got an environment whose rewards {name} has changed: put RecordTruth "
                f"around the raw environment and {name} around RecordTruth"
            )
        rules = vars(layer).get("rules")
        if isinstance(rules, Rules) and rules.reward != "true":
            raise ValueError(
                f"RecordTruth got {name} with reward={rules.reward!r}, which is not the truth: "
                "build it with reward='true' and hide rewards in a wrapper outside"
            )


def _layers(env: AnyEnv) -> Iterator[AnyEnv]:
    yield env
    if isinstance(env, gym.Wrapper | VectorWrapper):
        yield from _layers(env.env)
    for lane in vars(env).get("envs", ()):
        yield from _layers(lane)
